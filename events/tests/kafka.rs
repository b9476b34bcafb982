// SPDX-License-Identifier: Apache-2.0
//! The sink and the consumer against librdkafka's own mock of a cluster, which answers with the errors it is told to.
#![cfg(feature = "kafka")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use headwater_events::event::{PartReady, Role, SegmentReady, Timestamp};
use headwater_events::kafka::{Metrics, Reading, Sink, Start, Until, follow};
use headwater_events::{Arrival, Data, Event, Filter, Follow, Kind, Publisher, Source, config};
use headwater_media::UtcTime;
use headwater_net::Shutdown;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

/// How long anything may take that is expected to come soon.
const SOON: Duration = Duration::from_secs(60);
const TRACKS: u64 = 8;

type Cluster = MockCluster<'static, DefaultProducerContext>;

/// A mock of `brokers` with the topics of the prefix `headwater`, six partitions each.
fn cluster(brokers: i32) -> (Cluster, config::Kafka) {
    let cluster = MockCluster::new(brokers).unwrap();
    for topic in ["segments", "control", "health", "timeline"] {
        cluster.create_topic(&format!("headwater.{topic}"), 6, 1).unwrap();
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
    follow(config, reading, shutdown).unwrap()
}

async fn next_event(follow: &mut Follow) -> (Event, headwater_events::Position) {
    loop {
        match tokio::time::timeout(SOON, follow.next()).await.expect("events in time").expect("no end") {
            Arrival::Event(event, position) => return (*event, position),
            Arrival::Gap => panic!("a gap"),
        }
    }
}

/// Reads until `count` different events have come; numbers of parts by track, in the order of their first copies.
async fn parts_by_track(follow: &mut Follow, count: usize) -> BTreeMap<String, Vec<u64>> {
    let (mut seen, mut tracks) = (BTreeSet::new(), BTreeMap::<String, Vec<u64>>::new());
    while seen.len() < count {
        let (event, _) = next_event(follow).await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_arrives_in_order_per_track() {
    let (_cluster, config) = cluster(3);
    let (publisher, shutdown, metrics) = (publisher(), Shutdown::new(), Metrics::default());
    let sink = Sink::start(&config, Arc::clone(publisher.log()), None, metrics.clone()).unwrap();
    publish(&publisher, 0..10 * TRACKS);
    let mut follow = read_all(&config, &shutdown);
    assert_in_order(&parts_by_track(&mut follow, 10 * TRACKS as usize).await, 10);
    assert_eq!(sink.finish(SOON).await.events, 0);
    assert_eq!(metrics.acknowledged_events(), 10 * TRACKS);
    assert_eq!(metrics.dropped_of(Kind::PartReady), 0);
    let _ = segment(0);
}
