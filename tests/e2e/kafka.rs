// SPDX-License-Identifier: Apache-2.0
//! Events over Apache Kafka itself: nothing is lost and all is in order, whatever happens to the broker.

use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use headwater_events::event::{Kinds, PartReady, Role, Timestamp};
use headwater_events::kafka::{Metrics, Reading, Sink, Start, Until, follow};
use headwater_events::{Arrival, Config, Data, Filter, Follow, Kind, Publisher, Source, config, schema};
use headwater_media::UtcTime;
use headwater_net::Shutdown;
use headwater_tests::broker::{Broker, PASSWORD, Tls, USER};

use crate::harness::{Scratch, project, run};

pub(crate) const TRACKS: u64 = 25;
const SOON: Duration = Duration::from_secs(60);
/// How long all of it may take to arrive.
const DRAINED: Duration = Duration::from_secs(180);

/// A publisher whose log is on a disk, and as long as a test needs.
fn publisher(folder: &Scratch) -> Publisher {
    let config = Config { log_bytes_max: 1 << 30, queue_max: 1 << 20, ..Config::default() };
    Publisher::start(&config, Some(&folder.path), Source::new(Role::Origin, "a")).expect("a log")
}

pub(crate) fn on_this_thread<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(future)
}

pub(crate) fn config(bootstrap: String) -> config::Kafka {
    config::Kafka { bootstrap, ..config::Kafka::default() }
}

fn part(number: u64) -> Data {
    let (track, sequence) = (format!("v{}", number % TRACKS), number / TRACKS);
    Data::PartReady(PartReady {
        path: format!("/live/cup/{track}/{sequence}.0.m4s"),
        channel: "cup".to_owned(),
        track,
        generation: 0,
        sequence,
        part: 0,
        start: Timestamp(UtcTime::from_nanos(1_790_000_000_000_000_000)),
        duration_ns: 200_000_000,
        bytes: 1_000,
        digest: format!("{number:032x}"),
        independent: true,
        defects: Vec::new(),
    })
}

/// What came of each track, copies removed by id.
#[derive(Default)]
struct Came {
    ids: HashSet<String>,
    tracks: BTreeMap<String, Vec<u64>>,
    copies: usize,
}

impl Came {
    /// Reads until `count` different events have come.
    async fn read(&mut self, follow: &mut Follow, count: usize) {
        let deadline = tokio::time::Instant::now() + DRAINED;
        while self.ids.len() < count {
            let next = tokio::time::timeout_at(deadline, follow.next()).await;
            let next = next.unwrap_or_else(|_| panic!("expected {count} events, got {}", self.ids.len()));
            match next.expect("no end") {
                Arrival::Event(event, _) if !self.ids.insert(event.id.clone()) => self.copies += 1,
                Arrival::Event(event, _) => {
                    let Data::PartReady(part) = event.data else { panic!("a part: {event:?}") };
                    self.tracks.entry(part.track).or_default().push(part.sequence);
                }
                Arrival::Gap => panic!("a gap after {} events", self.ids.len()),
            }
        }
    }

    fn assert_whole(&self, events: u64) {
        assert_eq!(self.tracks.len() as u64, TRACKS);
        for (track, sequences) in &self.tracks {
            assert_eq!(sequences.len() as u64, events / TRACKS, "{track}");
            assert!(sequences.iter().copied().eq(0..events / TRACKS), "{track} is out of order");
        }
    }
}

fn read_all(config: &config::Kafka, shutdown: &Shutdown) -> Follow {
    let reading = Reading { filter: Filter::default(), start: Start::Beginning, until: Until::Stopped };
    follow(config, reading, shutdown).expect("a client")
}

fn publish(publisher: &Publisher, numbers: std::ops::Range<u64>) {
    for number in numbers {
        publisher.publish(UtcTime::from_nanos(number as i64), part(number));
    }
}

/// Publishes 100,000 events and has `harm` done to the broker after a third of them; none may be lost or out of order.
pub(crate) fn hundred_thousand(broker: &mut Broker, config: &config::Kafka, harm: impl FnOnce(&mut Broker)) {
    const EVENTS: u64 = 100_000;
    let folder = Scratch::new("log");
    on_this_thread(async {
        let (publisher, metrics, shutdown) = (publisher(&folder), Metrics::default(), Shutdown::new());
        let log = Arc::clone(publisher.log());
        let config = &config::Kafka { outbox_bytes_max: 1 << 30, ..config.clone() };
        let sink = Sink::start(config, log, Some(&folder.path), metrics.clone()).expect("a client");
        let (mut follow, mut came) = (read_all(config, &shutdown), Came::default());
        publish(&publisher, 0..EVENTS / 3);
        came.read(&mut follow, 10_000).await;
        publish(&publisher, EVENTS / 3..EVENTS * 2 / 3);
        tokio::task::block_in_place(|| harm(broker));
        publish(&publisher, EVENTS * 2 / 3..EVENTS);
        came.read(&mut follow, EVENTS as usize).await;
        came.assert_whole(EVENTS);
        assert_eq!(sink.finish(DRAINED).await.events, 0);
        assert_eq!(metrics.dropped_of(Kind::PartReady), 0);
        assert_eq!(metrics.acknowledged_events(), EVENTS);
        assert_eq!(publisher.stop(SOON), 0);
    });
}

/// kill -9, away for a while, and back.
pub(crate) fn away(broker: &mut Broker, node: usize, seconds: u64) {
    broker.kill(node);
    // The time itself is what is tried: every limit of the clients runs meanwhile.
    std::thread::sleep(Duration::from_secs(seconds));
    broker.restart(node);
}

#[test]
fn a_killed_broker_loses_nothing_and_keeps_the_order() {
    let mut broker = Broker::single();
    let config = config(broker.bootstrap());
    hundred_thousand(&mut broker, &config, |broker| away(broker, 0, 8));
}

#[test]
fn a_client_of_others_reads_every_type_and_each_message_keeps_its_schema() {
    let (broker, folder) = (Broker::single(), Scratch::new("kcat"));
    let config = config(broker.bootstrap());
    on_this_thread(async {
        let publisher = publisher(&folder);
        let sink = Sink::start(&config, Arc::clone(publisher.log()), None, Metrics::default()).expect("a client");
        for &kind in Kind::ALL {
            let event = schema::example(kind);
            publisher.publish(event.time.0, event.data);
        }
        publisher.flushed().await;
        assert_eq!(sink.finish(SOON).await.events, 0);
        publisher.stop(SOON);
    });
    let mut told = String::new();
    for topic in ["segments", "control", "health", "timeline"] {
        let topic = format!("headwater.{topic}");
        let messages = run("kcat", &["-b", &config.bootstrap, "-t", &topic, "-C", "-e", "-J", "-q"], SOON);
        let file = folder.path.join(&topic);
        std::fs::write(&file, messages).expect("a scratch file");
        let (script, schemas) = (project("tests/kafka/validate.py"), project("docs/reference/events"));
        let arguments = [script.as_path(), &schemas, &file].map(|path| path.to_str().expect("UTF-8"));
        told.push_str(&run(python(), &arguments, SOON));
    }
    for &kind in Kind::ALL {
        let topic = headwater_events::topic::Topic::of(kind).of_prefix("headwater");
        let line = format!("{topic} {} 1\n", kind.name());
        assert!(told.contains(&line), "expected {line:?} in\n{told}");
    }
    let topics = run("kcat", &["-b", &config.bootstrap, "-L"], SOON);
    for topic in ["segments", "control", "health", "timeline"] {
        assert!(topics.contains(&format!("topic \"headwater.{topic}\" with 6 partitions")), "{topics}");
    }
}

/// One that knows JSON Schema: the first, or the system's.
fn python() -> &'static str {
    let knows = |python: &&str| {
        let asked = std::process::Command::new(python).args(["-c", "import jsonschema"]).output();
        asked.is_ok_and(|output| output.status.success())
    };
    ["python3", "/usr/bin/python3"].into_iter().find(knows).expect("Python with jsonschema")
}

#[test]
fn a_broker_that_stands_still_holds_up_nobody_and_gets_all_of_it_later() {
    let (broker, folder) = (Broker::single(), Scratch::new("frozen"));
    let config = config(broker.bootstrap());
    on_this_thread(async {
        let (publisher, metrics) = (publisher(&folder), Metrics::default());
        let sink = Sink::start(&config, Arc::clone(publisher.log()), None, metrics.clone()).expect("a client");
        publish(&publisher, 0..1_000);
        while metrics.acknowledged_events() < 1_000 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        broker.freeze(0);
        publish(&publisher, 1_000..51_000);
        // What is in the log has reached everybody else: the feed, the shield, the statistics.
        tokio::time::timeout(SOON, publisher.flushed()).await.expect("the log waits for nobody");
        let mut follow = Follow::log(Arc::clone(publisher.log()), Filter::default(), headwater_events::Offset(0));
        let mut came = Came::default();
        came.read(&mut follow, 51_000).await;
        assert!(metrics.acknowledged_events() < 51_000, "the broker stands still");
        broker.thaw(0);
        assert_eq!(sink.finish(DRAINED).await.events, 0);
        assert_eq!(metrics.acknowledged_events(), 51_000);
        publisher.stop(SOON);
    });
}

#[test]
fn a_group_shares_the_work_and_goes_on_behind_what_was_dealt_with() {
    const EVENTS: u64 = 2_000;
    let (broker, folder) = (Broker::single(), Scratch::new("group"));
    let config = config(broker.bootstrap());
    let group = |shutdown: &Shutdown| {
        let start = Start::Group("warmers".to_owned());
        // One topic alone: of four the newcomer may get partitions where nothing comes.
        let kinds = Kinds::NONE.with(Kind::PartReady);
        let reading = Reading { filter: Filter { kinds, channels: Vec::new() }, start, until: Until::Stopped };
        follow(&config, reading, shutdown).expect("a client")
    };
    on_this_thread(async {
        let (publisher, metrics) = (publisher(&folder), Metrics::default());
        let sink = Sink::start(&config, Arc::clone(publisher.log()), None, metrics.clone()).expect("a client");
        publish(&publisher, 0..EVENTS);
        publisher.flushed().await;
        while metrics.acknowledged_events() < EVENTS {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let mut dealt_with = HashSet::new();
        let deal = async |follow: &mut Follow, dealt_with: &mut HashSet<String>, until: usize| {
            let mut read = 0;
            while dealt_with.len() < until {
                let next = tokio::time::timeout(SOON, follow.next()).await.expect("events in time");
                let Some(Arrival::Event(event, position)) = next else { panic!("{next:?}") };
                assert!(dealt_with.insert(event.id.clone()), "{} was dealt with before a restart", event.id);
                follow.done(&position);
                read += 1;
            }
            read
        };
        // One of them stops in the middle, in order; the next goes on with the rest and nothing else.
        let first = Shutdown::new();
        let mut follow = group(&first);
        deal(&mut follow, &mut dealt_with, 700).await;
        first.start();
        while let Some(arrival) = follow.next().await {
            let Arrival::Event(event, position) = arrival else { panic!("a gap") };
            assert!(dealt_with.insert(event.id.clone()));
            follow.done(&position);
        }
        drop(follow);
        let second = Shutdown::new();
        let mut follow = group(&second);
        deal(&mut follow, &mut dealt_with, EVENTS as usize).await;
        // A third takes over some of the partitions of the second.
        let mut third = group(&second);
        publish(&publisher, EVENTS..2 * EVENTS);
        let (mut seen, mut by_third) = (HashSet::new(), 0);
        while seen.len() < EVENTS as usize || by_third == 0 {
            let (arrival, is_third) = tokio::select! {
                arrival = follow.next() => (arrival, false),
                arrival = third.next() => (arrival, true),
                () = tokio::time::sleep(Duration::from_millis(200)) => {
                    // Until the group has settled the second may have had them all.
                    let number = 2 * EVENTS + seen.len() as u64;
                    publish(&publisher, number..number + TRACKS);
                    continue;
                }
            };
            let Some(Arrival::Event(event, position)) = arrival else { panic!("{arrival:?}") };
            seen.insert(event.id);
            by_third += usize::from(is_third);
            if is_third { third.done(&position) } else { follow.done(&position) }
        }
        sink.finish(SOON).await;
        publisher.stop(SOON);
    });
}

#[test]
fn properties_of_librdkafka_lead_through_tls_and_scram() {
    let folder = Scratch::new("tls");
    let key = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let certificate = key.cert.pem();
    let tls = Tls { key_and_certificate: &format!("{}{certificate}", key.signing_key.serialize_pem()) };
    let broker = Broker::with_tls(&tls);
    let authority = folder.path.join("authority.pem");
    std::fs::write(&authority, certificate).expect("a scratch file");
    let properties = [
        "security.protocol=SASL_SSL".to_owned(),
        format!("ssl.ca.location={}", authority.display()),
        "sasl.mechanisms=SCRAM-SHA-512".to_owned(),
        format!("sasl.username={USER}"),
        format!("sasl.password={PASSWORD}"),
    ];
    let config = config::Kafka { properties: properties.to_vec(), ..config(broker.tls()) };
    on_this_thread(async {
        let publisher = Publisher::memory(Source::new(Role::Origin, "a"));
        let sink = Sink::start(&config, Arc::clone(publisher.log()), None, Metrics::default()).expect("a client");
        publish(&publisher, 0..TRACKS);
        assert_eq!(sink.finish(SOON).await.events, 0);
        let (shutdown, mut came) = (Shutdown::new(), Came::default());
        came.read(&mut read_all(&config, &shutdown), TRACKS as usize).await;
        came.assert_whole(TRACKS);
    });
}
