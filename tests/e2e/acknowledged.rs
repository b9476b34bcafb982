// SPDX-License-Identifier: Apache-2.0
//! kill -9 of an origin that tells Kafka: what an encoder or a viewer was told is in the topics, once and in order.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use headwater_events::event::SegmentReady;
use headwater_events::kafka::{Reading, Start, Until, follow};
use headwater_events::log::Archive;
use headwater_events::topic::Topic;
use headwater_events::{Arrival, Data, Event, Filter};
use headwater_net::Shutdown;
use headwater_tests::broker::Broker;

use crate::feed::Feed;
use crate::harness::{Headwater, Process, SOON, Scratch, free_port, program, until};
use crate::kafka::{config, on_this_thread};
use crate::kills::{Moments, seed};
use crate::pushes::{sample, seconds_now};
use crate::wire::Wire;

/// Bursts are published at once: what waits for its time is media that nobody was given yet.
const TOML: &str = "[events]\nnode = \"a\"\n[channels.live]\nsegment_ms = 1000\ncadence = false\n";
/// Answers that a kill follows at once.
const ANSWERS: u64 = 20;
/// Segments between kills: an origin knows from the second on that each ends where its GOP does.
const SEGMENTS: u64 = 2;
const KILLS: u32 = 5;
/// Seconds of the sample's loop.
const LOOP: u64 = 8;
/// Its ticks in a second.
const SCALE: u64 = 12_800;

/// An origin on one port and one folder, before a broker.
struct Site {
    broker: Broker,
    folder: Scratch,
    port: u16,
}

impl Site {
    fn new(name: &str) -> Self {
        Self { broker: Broker::single(), folder: Scratch::new(name), port: free_port() }
    }

    fn start(&self) -> Headwater {
        let (folder, brokers) = (self.folder.path.display().to_string(), self.broker.bootstrap());
        Headwater::serve_on(self.port, TOML, &["--data-dir", &folder, "--kafka", &brokers])
    }

    /// Ends the origin in order, so that Kafka has all of its log, and reads both.
    fn end(&self, mut origin: Headwater) -> Told {
        origin.process.terminate();
        assert_eq!(origin.process.wait(SOON), Some(0), "{}", origin.process.log());
        let log = origin.process.log();
        assert!(!log.contains("not acknowledged by Kafka"), "{log}");
        let (logged, topics) = (in_log(&self.folder.path.join("events")), self.in_kafka());
        let (logged, topics) = (Told::of(logged), Told::of(topics));
        assert!(topics.ids_by_key.keys().eq(logged.ids_by_key.keys()));
        for (key, ids) in &topics.ids_by_key {
            assert_eq!(*ids, logged.ids_by_key[key], "{key:?}: topic and log tell the same in the same order");
        }
        topics
    }

    fn in_kafka(&self) -> Vec<Event> {
        on_this_thread(async {
            let reading = Reading { filter: Filter::default(), start: Start::Beginning, until: Until::End };
            let mut follow = follow(&config(self.broker.bootstrap()), reading, &Shutdown::new()).expect("a client");
            let mut events = Vec::new();
            while let Some(arrival) = tokio::time::timeout(SOON, follow.next()).await.expect("the topics' end") {
                let Arrival::Event(event, _) = arrival else { panic!("a gap after {} events", events.len()) };
                events.push(*event);
            }
            events
        })
    }
}

fn in_log(folder: &Path) -> Vec<Event> {
    let mut archive = Archive::open(folder).expect("a log");
    let (mut from, mut events) = (archive.first(), Vec::new());
    while from < archive.end() {
        let records = archive.read(from, 1_000).expect("nothing has left");
        from = records.last().expect("more before the end").offset.after();
        events.extend(records.iter().map(|record| record.event().expect("an event")));
    }
    events
}

/// What was told, copies removed by id.
struct Told {
    ids_by_key: BTreeMap<(Topic, String), Vec<String>>,
    /// Numbers of `segment.ready` of each track, in the order they were told.
    segments: BTreeMap<String, Vec<u64>>,
}

impl Told {
    fn of(events: Vec<Event>) -> Self {
        let mut told = Self { ids_by_key: BTreeMap::new(), segments: BTreeMap::new() };
        let mut seen = HashSet::new();
        for event in events {
            if !seen.insert(event.id.clone()) {
                continue;
            }
            told.ids_by_key.entry((Topic::of(event.kind()), event.key())).or_default().push(event.id.clone());
            if let Data::SegmentReady(SegmentReady { track, sequence, .. }) = event.data {
                told.segments.entry(track).or_default().push(sequence);
            }
        }
        told
    }

    fn assert_in_order(&self) {
        for (track, numbers) in &self.segments {
            assert!(numbers.is_sorted_by(|one, next| one < next), "{track}: {numbers:?}");
        }
    }
}

#[test]
fn a_segment_whose_push_was_answered_is_told_whatever_kills_the_origin_then() {
    let site = Site::new("answered");
    let mut origin = site.start();
    let mut next = seconds_now() - ANSWERS * SEGMENTS - 10;
    let mut push = |origin: &Headwater| {
        let pieces = sample("v0.cmfv", SCALE, next - next % LOOP);
        let body = pieces.between(next * SCALE, (next + 1) * SCALE);
        let answer = Wire::open(&origin.base).request("PUT", &format!("/ingest/live/v0/{next}.cmfv"), &body);
        assert_eq!(answer.status, 200, "{}", origin.process.log());
        next += 1;
        next - 1
    };
    let header = sample("v0.cmfv", SCALE, 0).header;
    assert_eq!(Wire::open(&origin.base).request("PUT", "/ingest/live/v0/init.cmfv", &header).status, 200);
    let mut answered = BTreeSet::new();
    for _ in 0..ANSWERS {
        answered.extend((0..SEGMENTS).map(|_| push(&origin)));
        origin.process.kill();
        origin = site.start();
    }
    let told = site.end(origin);
    told.assert_in_order();
    let segments: BTreeSet<u64> = told.segments.get("v0").into_iter().flatten().copied().collect();
    let lost: Vec<&u64> = answered.difference(&segments).collect();
    assert!(lost.is_empty(), "answered with 200 and never told: {lost:?} of {answered:?}");
}

#[test]
fn what_a_viewer_was_told_of_long_pushes_is_in_kafka_whenever_the_origin_is_killed() {
    let seed = seed();
    println!("HEADWATER_SEED={seed}");
    let (site, mut moments) = (Site::new("viewed"), Moments(seed));
    let mut origin = site.start();
    let to = origin.url("/ingest/live");
    let push = Process::spawn(Command::new(program()).args(["push", "--to", &to, "--tracks", "v0,a0"]));
    let mut read = BTreeSet::new();
    for kill in 0..KILLS {
        let feed = Feed::open(&origin.url("/events?types=segment.ready"));
        feed.wait("a segment", |_| true);
        // Between a part and the next, within a write, at a segment's end: the moment is chance on purpose.
        std::thread::sleep(moments.next(Duration::from_millis(1_500)));
        origin.process.kill();
        let ended = until(SOON, || feed.has_ended().then_some(()));
        assert!(ended.is_some(), "kill {kill}: the feed ends with its server");
        read.extend(feed.events().iter().map(|event| event["id"].as_str().expect("an id").to_owned()));
        origin = site.start();
    }
    Feed::open(&origin.url("/events?types=segment.ready")).wait("a segment after the last kill", |_| true);
    drop(push);
    let told = site.end(origin);
    told.assert_in_order();
    let ids: HashSet<&String> = told.ids_by_key.values().flatten().collect();
    let lost: Vec<&String> = read.iter().filter(|id| !ids.contains(id)).collect();
    assert!(lost.is_empty(), "read in the feed and not in Kafka: {lost:?}");
    assert!(read.len() >= KILLS as usize, "{read:?}");
}
