// SPDX-License-Identifier: Apache-2.0
//! The sink and the consumer against librdkafka's own mock of a cluster, which answers with the errors it is told to.
#![cfg(feature = "kafka")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use headwater_events::event::{PartReady, Role, SegmentReady, Timestamp};
use headwater_events::kafka::{Metrics, Reading, Sink, Start, Until, follow};
use headwater_events::log::Settings;
use headwater_events::metrics::DroppedLabel;
use headwater_events::{Arrival, Data, Event, Filter, Follow, Kind, Log, Publisher, Source, config};
use headwater_media::UtcTime;
use headwater_net::Shutdown;
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

/// How long anything may take that is expected to come soon.
const SOON: Duration = Duration::from_secs(60);
const TRACKS: u64 = 8;

type Cluster = MockCluster<'static, DefaultProducerContext>;

/// A mock of `brokers` with the topics of the prefix `headwater`, six partitions each.
fn cluster(brokers: i32) -> (Cluster, config::Kafka) {
    let cluster = MockCluster::new(brokers).expect("a mock");
    for topic in ["segments", "control", "health", "timeline"] {
        cluster.create_topic(&format!("headwater.{topic}"), 6, 1).expect("a topic");
    }
    let config = config::Kafka { bootstrap: cluster.bootstrap_servers(), ..config::Kafka::default() };
    (cluster, config)
}

fn publisher() -> Publisher {
    Publisher::memory(Source::new(Role::Origin, "a"))
}

fn part(number: u64) -> Data {
    let track = format!("v{}", number % TRACKS);
    let sequence = number / TRACKS;
    Data::PartReady(PartReady {
        path: format!("/live/cup/{track}/{sequence}.0.m4s"),
        channel: "cup".to_owned(),
        track,
        generation: 0,
        sequence,
        part: 0,
        start: Timestamp(UtcTime::from_nanos(0)),
        duration_ns: 200_000_000,
        bytes: 1_000,
        digest: format!("{number:032x}"),
        independent: true,
        defects: Vec::new(),
    })
}

fn segment(sequence: u64) -> Data {
    Data::SegmentReady(SegmentReady {
        channel: "cup".to_owned(),
        track: "v0".to_owned(),
        generation: 0,
        sequence,
        parts: 10,
        start: Timestamp(UtcTime::from_nanos(0)),
        duration_ns: 2_000_000_000,
        bytes: 10_000,
        digest: format!("{sequence:032x}"),
        independent: true,
        defects: Vec::new(),
        path: format!("/live/cup/v0/{sequence}.m4s"),
    })
}

fn publish(publisher: &Publisher, numbers: std::ops::Range<u64>) {
    for number in numbers {
        publisher.publish(UtcTime::from_nanos(number as i64), part(number));
    }
}

fn read_all(config: &config::Kafka, shutdown: &Shutdown) -> Follow {
    let reading = Reading { filter: Filter::default(), start: Start::Beginning, until: Until::Stopped };
    follow(config, reading, shutdown).expect("a client")
}

async fn next_event(follow: &mut Follow) -> Event {
    match tokio::time::timeout(SOON, follow.next()).await.expect("events in time").expect("no end") {
        Arrival::Event(event, _) => *event,
        Arrival::Gap => panic!("a gap"),
    }
}

/// Reads until `count` different events have come; numbers of parts by track, in the order of their first copies.
async fn parts_by_track(follow: &mut Follow, count: usize) -> BTreeMap<String, Vec<u64>> {
    let (mut seen, mut tracks) = (BTreeSet::new(), BTreeMap::<String, Vec<u64>>::new());
    while seen.len() < count {
        let event = next_event(follow).await;
        if let (true, Data::PartReady(part)) = (seen.insert(event.id.clone()), event.data) {
            tracks.entry(part.track).or_default().push(part.sequence);
        }
    }
    tracks
}

fn assert_in_order(tracks: &BTreeMap<String, Vec<u64>>, per_track: u64) {
    assert_eq!(tracks.len() as u64, TRACKS);
    for (track, sequences) in tracks {
        assert_eq!(*sequences, (0..per_track).collect::<Vec<_>>(), "{track}");
    }
}

async fn until(is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, wait).await.expect("in time");
}

/// The sink of `publisher` over `config`, and what it counts.
fn sink(config: &config::Kafka, publisher: &Publisher, folder: Option<&Path>) -> (Sink, Metrics) {
    let metrics = Metrics::default();
    (Sink::start(config, Arc::clone(publisher.log()), folder, metrics.clone()).expect("a client"), metrics)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_arrives_in_order_per_track() {
    let (_cluster, config) = cluster(3);
    let (publisher, shutdown) = (publisher(), Shutdown::new());
    let (sink, metrics) = sink(&config, &publisher, None);
    publish(&publisher, 0..10 * TRACKS);
    let mut follow = read_all(&config, &shutdown);
    assert_in_order(&parts_by_track(&mut follow, 10 * TRACKS as usize).await, 10);
    assert_eq!(sink.finish(SOON).await.events, 0);
    assert_eq!(metrics.acknowledged_events(), 10 * TRACKS);
    assert_eq!(metrics.dropped_of(Kind::PartReady), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_of_brokers_cost_neither_an_event_nor_the_order() {
    use RDKafkaRespErr as Error;
    let (cluster, config) = cluster(3);
    let (publisher, shutdown) = (publisher(), Shutdown::new());
    let (sink, metrics) = sink(&config, &publisher, None);
    let errors = [
        Error::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        Error::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        Error::RD_KAFKA_RESP_ERR__TIMED_OUT,
        Error::RD_KAFKA_RESP_ERR__TRANSPORT,
        Error::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        Error::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        Error::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
    ];
    for (round, error) in (0u64..).zip(errors) {
        cluster.request_errors(RDKafkaApiKey::Produce, &[error, error]);
        publish(&publisher, round * TRACKS..(round + 1) * TRACKS);
    }
    let rounds = errors.len() as u64;
    let mut follow = read_all(&config, &shutdown);
    assert_in_order(&parts_by_track(&mut follow, (rounds * TRACKS) as usize).await, rounds);
    assert_eq!(sink.finish(SOON).await.events, 0);
    assert_eq!(metrics.dropped_of(Kind::PartReady), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_breaks_is_made_anew_and_goes_on_where_it_was() {
    use RDKafkaRespErr as Error;
    let (cluster, config) = cluster(1);
    let (publisher, shutdown) = (publisher(), Shutdown::new());
    for error in [
        Error::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
        Error::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH,
        Error::RD_KAFKA_RESP_ERR_UNKNOWN,
        Error::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
    ] {
        cluster.request_errors(RDKafkaApiKey::Produce, &[error]);
        let (sink, metrics) = sink(&config, &publisher, None);
        publish(&publisher, 0..10 * TRACKS);
        assert_eq!(sink.finish(SOON).await.events, 0, "{error:?}");
        assert_eq!(metrics.dropped_of(Kind::PartReady), 0, "{error:?}");
    }
    let mut follow = read_all(&config, &shutdown);
    assert_in_order(&parts_by_track(&mut follow, 10 * TRACKS as usize).await, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_that_are_away_at_the_start_are_waited_for() {
    let (cluster, config) = cluster(1);
    cluster.broker_down(1).unwrap();
    let (publisher, shutdown) = (publisher(), Shutdown::new());
    let (sink, metrics) = sink(&config, &publisher, None);
    publish(&publisher, 0..10 * TRACKS);
    until(|| metrics.backlog_events() == 10 * TRACKS).await;
    cluster.broker_up(1).unwrap();
    let mut follow = read_all(&config, &shutdown);
    assert_in_order(&parts_by_track(&mut follow, 10 * TRACKS as usize).await, 10);
    assert_eq!(sink.finish(SOON).await.events, 0);
    assert_eq!(metrics.acknowledged_events(), 10 * TRACKS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_goes_on_behind_what_was_acknowledged_to_the_one_before() {
    let (_cluster, config) = cluster(1);
    let (publisher, folder) = (publisher(), tempfile::tempdir().unwrap());
    publish(&publisher, 0..50);
    assert_eq!(sink(&config, &publisher, Some(folder.path())).0.finish(SOON).await.events, 0);
    publish(&publisher, 50..80);
    let (second, metrics) = sink(&config, &publisher, Some(folder.path()));
    assert_eq!(second.finish(SOON).await.events, 0);
    assert_eq!(metrics.acknowledged_events(), 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn past_the_bound_the_oldest_parts_go_first_and_every_one_is_counted() {
    let (cluster, mut config) = cluster(1);
    cluster.broker_down(1).unwrap();
    config.outbox_bytes_max = 100_000;
    let settings = Settings { grace: Duration::ZERO, ..Settings::default() };
    let log = Arc::new(Log::in_memory(settings, Arc::default()));
    let (metrics, shutdown) = (Metrics::default(), Shutdown::new());
    let sink = Sink::start(&config, Arc::clone(&log), None, metrics.clone()).unwrap();
    let append = |data| {
        let event = Event::new(&Source::new(Role::Origin, "a"), UtcTime::from_nanos(0), data);
        log.append(&[event], UtcTime::from_system(SystemTime::now())).unwrap();
    };
    append(segment(0));
    until(|| metrics.backlog_events() == 1).await;
    (0..300).for_each(|number| append(part(number)));
    (1..20).for_each(|number| append(segment(number)));
    log.tick(UtcTime::from_system(SystemTime::now()));
    let label = DroppedLabel { r#type: "part.ready", reason: "held" };
    let dropped = log.metrics().dropped.get_or_create(&label).get();
    assert!((1..300).contains(&dropped), "{dropped}");
    cluster.broker_up(1).unwrap();
    assert_eq!(sink.finish(SOON).await.events, 0);
    let reading = Reading { filter: Filter::default(), start: Start::Beginning, until: Until::End };
    let mut follow = follow(&config, reading, &shutdown).unwrap();
    let (mut parts, mut segments) = (Vec::new(), Vec::new());
    while let Some(arrival) = tokio::time::timeout(SOON, follow.next()).await.expect("an end") {
        let Arrival::Event(event, _) = arrival else { panic!("a gap") };
        match event.data {
            Data::PartReady(part) => parts.push(part.digest),
            Data::SegmentReady(segment) => segments.push(segment.sequence),
            other => panic!("{other:?}"),
        }
    }
    parts.sort();
    let newest: Vec<String> = (dropped..300).map(|number| format!("{number:032x}")).collect();
    assert_eq!(parts, newest, "the oldest are those that are missing, and each is counted");
    assert_eq!(segments, (0..20).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_event_is_counted_and_passed_over() {
    let (_cluster, config) = cluster(1);
    let (publisher, shutdown) = (publisher(), Shutdown::new());
    let foreign: BaseProducer = ClientConfig::new().set("bootstrap.servers", &config.bootstrap).create().unwrap();
    for payload in [&b""[..], b"\xff", b"{}", b"[1]", b"{\"specversion\":\"1.0\"}"] {
        foreign.send(BaseRecord::to("headwater.segments").key("cup/v0").payload(payload)).unwrap();
    }
    foreign.flush(SOON).unwrap();
    let (sink, _) = sink(&config, &publisher, None);
    publish(&publisher, 0..TRACKS);
    assert_eq!(sink.finish(SOON).await.events, 0);
    let reading = Reading { filter: Filter::default(), start: Start::Beginning, until: Until::End };
    let mut follow = follow(&config, reading, &shutdown).unwrap();
    assert_in_order(&parts_by_track(&mut follow, TRACKS as usize).await, 1);
    assert!(tokio::time::timeout(SOON, follow.next()).await.expect("an end").is_none());
    assert_eq!(follow.malformed(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bounded_reading_ends_where_the_topics_ended() {
    let (_cluster, config) = cluster(1);
    let (publisher, shutdown) = (publisher(), Shutdown::new());
    publish(&publisher, 0..50);
    assert_eq!(sink(&config, &publisher, None).0.finish(SOON).await.events, 0);
    let reading = Reading { filter: Filter::default(), start: Start::Beginning, until: Until::End };
    let mut follow = follow(&config, reading, &shutdown).unwrap();
    let mut read = 0;
    while let Some(arrival) = tokio::time::timeout(SOON, follow.next()).await.expect("an end") {
        assert!(matches!(arrival, Arrival::Event(..)), "{arrival:?}");
        read += 1;
    }
    assert_eq!(read, 50);
}
