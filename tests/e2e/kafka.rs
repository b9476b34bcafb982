// SPDX-License-Identifier: Apache-2.0
//! Events over Apache Kafka itself: nothing is lost and all is in order, whatever happens to the broker.

use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use headwater_events::event::{PartReady, Role, Timestamp};
use headwater_events::kafka::{Metrics, Reading, Sink, Start, Until, follow};
use headwater_events::{Arrival, Data, Filter, Follow, Kind, Publisher, Source, config};
use headwater_media::UtcTime;
use headwater_net::Shutdown;
use headwater_tests::broker::Broker;

const TRACKS: u64 = 25;
/// How long all of it may take to arrive.
const DRAINED: Duration = Duration::from_secs(180);

fn on_this_thread<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(future)
}

fn config(bootstrap: String) -> config::Kafka {
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

/// Publishes 100,000 events and has `harm` done to the broker after a third of them.
fn hundred_thousand(broker: &mut Broker, config: &config::Kafka, harm: impl FnOnce(&mut Broker)) {
    const EVENTS: u64 = 100_000;
    on_this_thread(async {
        let publisher = Publisher::memory(Source::new(Role::Origin, "a"));
        let (metrics, shutdown) = (Metrics::default(), Shutdown::new());
        let sink = Sink::start(config, Arc::clone(publisher.log()), None, metrics.clone()).expect("a client");
        let mut follow = read_all(config, &shutdown);
        let mut came = Came::default();
        let publish = |numbers: std::ops::Range<u64>| {
            for number in numbers {
                publisher.publish(UtcTime::from_nanos(number as i64), part(number));
            }
        };
        publish(0..EVENTS / 3);
        came.read(&mut follow, 10_000).await;
        publish(EVENTS / 3..EVENTS * 2 / 3);
        tokio::task::block_in_place(|| harm(broker));
        publish(EVENTS * 2 / 3..EVENTS);
        came.read(&mut follow, EVENTS as usize).await;
        came.assert_whole(EVENTS);
        assert_eq!(sink.finish(DRAINED).await.events, 0);
        assert_eq!(metrics.dropped_of(Kind::PartReady), 0);
        assert_eq!(metrics.acknowledged_events(), EVENTS);
    });
}

#[test]
fn a_killed_broker_loses_nothing_and_keeps_the_order() {
    let mut broker = Broker::single();
    let config = config(broker.bootstrap());
    hundred_thousand(&mut broker, &config, |broker| {
        broker.kill(0);
        // Long enough for every time limit of a client to be tried.
        std::thread::sleep(Duration::from_secs(8));
        broker.restart(0);
    });
}
