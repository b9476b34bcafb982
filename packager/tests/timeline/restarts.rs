// SPDX-License-Identifier: Apache-2.0
//! Encoders that start anew: one new generation on all tracks, and time that never goes back.

use std::time::Duration;

use headwater_media::{Generation, MediaTime, SegmentNumber, TrackId, UtcTime};
use headwater_packager::timeline::Defect;

use crate::ladder::{Delivery, Network, Shape, Source, send_on};
use crate::rig::{Rig, at, track};

/// A ladder from zero that is started at each of these seconds and runs until the next but one before.
fn runs(rig: &mut Rig, starts: &[f64], seconds: i64, network: Network) -> Vec<Source> {
    let sources = Shape { from_seconds: 0, seconds, ..Shape::PLAIN }.sources();
    for (n, start) in starts.iter().enumerate() {
        let network = Network { seed: network.seed + n as u64, ..network };
        let deliveries = network
            .deliver(&sources, at(*start))
            .into_iter()
            .map(|d| Delivery { body: d.body + 1_000 * n as u64, ..d });
        let deliveries: Vec<Delivery> = deliveries.collect();
        if n == 0 {
            rig.now = deliveries[0].at;
        }
        if n == 0 {
            send_on(rig, &sources, &deliveries);
        } else {
            for delivery in deliveries {
                rig.pass(delivery.at.since(rig.now));
                rig.samples(&delivery.id, delivery.body, delivery.samples);
            }
        }
    }
    rig.pass(Duration::from_secs(5));
    sources
}

/// Every segment of every track has the generation that the breaks tell.
fn assert_generations(rig: &Rig, ids: &[TrackId]) {
    for id in ids {
        for segment in rig.segments(id) {
            let told =
                rig.breaks.iter().rev().find(|(first, _)| *first <= segment.number).map_or(Generation(0), |b| b.1);
            assert_eq!(segment.generation, told, "{id} {:?} of {:?}", segment.number, rig.breaks);
        }
    }
}

fn ids(sources: &[Source]) -> Vec<TrackId> {
    sources.iter().map(|s| s.id.clone()).collect()
}

#[test]
fn all_tracks_begin_one_generation_at_one_segment() {
    for fragment_max in [1, 5, 60] {
        let mut rig = Rig::new(at(0.0));
        let sources = runs(&mut rig, &[0.0, 27.0], 24, Network { fragment_max, delay_ms: 50, ..Network::QUIET });
        assert_eq!(rig.breaks.len(), 1, "{:?}", rig.breaks);
        assert_eq!(rig.defects.iter().filter(|d| **d == Defect::Restart).count(), 4);
        assert_generations(&rig, &ids(&sources));
        let first = rig.breaks[0].0;
        for id in ids(&sources) {
            let segments = rig.segments(&id);
            let begins = segments.iter().find(|s| s.generation == Generation(1)).expect("it came back");
            assert_eq!(begins.number, first, "{id}");
            assert!(segments.windows(2).all(|s| s[0].start < s[1].start && s[0].number < s[1].number));
        }
        // Sound stays with its picture: both zeros are one moment.
        let start = |id: &str| {
            let segments = rig.segments(&track(id));
            segments.iter().find(|s| s.number == first).expect("known").start
        };
        assert_eq!(start("v0"), start("v1"));
        assert!(start("a0").since(start("v0")).nanos().abs() < 1_000_000, "{:?}", start("a0").since(start("v0")));
    }
}

#[test]
fn a_restart_within_seconds_of_the_start_is_seen() {
    let mut rig = Rig::new(at(0.0));
    let sources = runs(&mut rig, &[0.0, 9.0], 8, Network::QUIET);
    assert_eq!(rig.breaks.len(), 1, "{:?}", rig.breaks);
    assert_generations(&rig, &ids(&sources));
    assert!(rig.segments(&track("v0")).iter().filter(|s| s.generation == Generation(1)).count() >= 3);
}

#[test]
fn restarts_without_end_cost_no_memory_and_no_time() {
    let mut rig = Rig::new(at(0.0));
    let starts: Vec<f64> = (0..12).map(|n| f64::from(n) * 14.0).collect();
    let sources = runs(&mut rig, &starts, 12, Network::QUIET);
    assert_eq!(rig.breaks.len(), 11, "{:?}", rig.breaks);
    assert_generations(&rig, &ids(&sources));
    assert!(format!("{:?}", rig.assembler).matches("Session {").count() <= 2);
    // Time kept to the clock: what is published last was taken lately.
    let last = *rig.published(&track("v0")).last().expect("some");
    let late = rig.now.nanos() - MediaTime::new(last.decode_time, sources[0].input.timescale).nanos();
    assert!(late < 15_000_000_000, "{late}");
}

#[test]
fn a_clock_that_leaves_utc_is_a_restart_at_once() {
    let mut rig = Rig::new(at(0.0));
    let (utc, zero) = (
        Shape { seconds: 10, ..Shape::PLAIN }.sources(),
        Shape { from_seconds: 0, seconds: 10, ..Shape::PLAIN }.sources(),
    );
    let first = Network::QUIET.deliver(&utc, UtcTime::from_nanos(0));
    let then = Network { seed: 7, ..Network::QUIET }.deliver(&zero, at(12.0));
    rig.now = first[0].at;
    send_on(&mut rig, &utc, &first);
    for delivery in then {
        rig.pass(delivery.at.since(rig.now));
        rig.samples(&delivery.id, delivery.body + 50, delivery.samples);
    }
    assert_eq!(rig.breaks.len(), 1);
    assert_generations(&rig, &ids(&utc));
}

#[test]
fn a_pause_of_a_minute_is_a_gap_not_a_break() {
    for from_seconds in [0, crate::rig::EPOCH_SECONDS] {
        let sources = Shape { from_seconds, seconds: 100, ..Shape::PLAIN }.sources();
        let zero = if from_seconds == 0 { at(0.0) } else { UtcTime::from_nanos(0) };
        let mut deliveries = Network::QUIET.deliver(&sources, zero);
        deliveries.retain(|d| d.at < at(20.0) || d.at > at(80.0));
        let mut rig = Rig::new(deliveries[0].at);
        send_on(&mut rig, &sources, &deliveries);
        assert!(rig.breaks.is_empty(), "{:?}", rig.breaks);
        for id in ids(&sources) {
            let numbers = rig.numbers(&id);
            assert_eq!(numbers.windows(2).filter(|n| n[0] + 1 != n[1]).count(), 1, "{numbers:?}");
        }
    }
}

#[test]
fn an_encoder_that_restarts_while_the_origin_is_down_is_noticed() {
    let sources = Shape { from_seconds: 0, seconds: 20, ..Shape::PLAIN }.sources();
    let mut rig = Rig::new(at(0.0));
    let before = Network::QUIET.deliver(&sources, at(0.0));
    rig.now = before[0].at;
    send_on(&mut rig, &sources, &before);
    let memory = rig.assembler.memory().expect("known");
    let last = memory.last.expect("published");
    // The origin is gone for a minute; the encoder counts from zero again.
    let after = Network::QUIET.deliver(&sources, at(80.0));
    let mut back = Rig::with(headwater_packager::timeline::Config::default(), Some(memory), after[0].at);
    send_on(&mut back, &sources, &after);
    assert_eq!(back.breaks.len(), 1, "{:?}", back.breaks);
    assert_generations(&back, &ids(&sources));
    assert!(back.numbers(&track("v0"))[0] > last.0);
    assert!(back.numbers(&track("v0")).len() >= 7);
}

#[test]
fn a_leap_ahead_is_a_restart() {
    let sources = Shape { from_seconds: 0, seconds: 30, ..Shape::PLAIN }.sources();
    let mut deliveries = Network::QUIET.deliver(&sources, at(0.0));
    for delivery in deliveries.iter_mut().filter(|d| d.captured >= at(14.2)) {
        let source = sources.iter().find(|s| s.id == delivery.id).expect("known");
        let leap = 100_000 * i64::from(source.input.timescale.ticks_per_second());
        delivery.samples.iter_mut().for_each(|s| s.decode_time += leap);
    }
    let mut rig = Rig::new(deliveries[0].at);
    send_on(&mut rig, &sources, &deliveries);
    assert_eq!(rig.breaks.len(), 1, "{:?}", rig.breaks);
    assert_generations(&rig, &ids(&sources));
    let numbers: Vec<SegmentNumber> = rig.segments(&track("v0")).iter().map(|s| s.number).collect();
    assert!(numbers[numbers.len() - 1].0 - numbers[0].0 < 20, "time stays with the clock: {numbers:?}");
}
