// SPDX-License-Identifier: Apache-2.0
//! Times no encoder should send: nothing panics, nothing grows without bound, and the channel outlives them.

use bytes::Bytes;
use headwater_media::{Kind, TrackId, UtcTime};
use headwater_packager::Sample;
use headwater_packager::timeline::assembler::{Memory, TrackInput};
use headwater_packager::timeline::{Assembler, Config, Defect, Output};
use proptest::prelude::*;

use crate::ladder::{Network, Shape, send_on};
use crate::rig::{Rig, at, scale, track};

fn time() -> impl Strategy<Value = i64> {
    prop_oneof![
        Just(i64::MIN),
        Just(i64::MAX),
        Just(0),
        any::<i64>(),
        -100_000_i64..100_000,
        (1_699_990_000_i64..1_700_010_000).prop_map(|s| s * 12_800),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Header(u8, Kind, u32),
    Push(u8, u64, Vec<Sample>),
    Advance(i64),
    HintAnchor(i64),
    HintSegment(i64),
    Restart,
}

fn samples() -> impl Strategy<Value = Vec<Sample>> {
    let sample =
        (time(), prop_oneof![Just(0_i32), any::<i32>()], prop_oneof![Just(512_u32), any::<u32>()], any::<bool>());
    let wild = prop::collection::vec(sample, 0..6).prop_map(|samples| {
        let sample = |(decode_time, composition_offset, duration, sync)| Sample {
            decode_time,
            composition_offset,
            duration,
            sync,
            data: Bytes::new(),
        };
        samples.into_iter().map(sample).collect()
    });
    let tidy = (time(), 1_i64..60, 1_u32..2_000).prop_map(|(start, count, duration)| {
        let sample = |i: i64| Sample {
            decode_time: start.saturating_add(i * i64::from(duration)),
            composition_offset: 0,
            duration,
            sync: i % 25 == 0,
            data: Bytes::new(),
        };
        (0..count).map(sample).collect()
    });
    prop_oneof![wild, tidy]
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop::sample::select(vec![Kind::Video, Kind::Audio, Kind::Text, Kind::Metadata]);
    let ticks = prop_oneof![Just(12_800_u32), Just(1_u32), Just(u32::MAX), 1_u32..u32::MAX];
    prop_oneof![
        1 => (0_u8..3, kind, ticks).prop_map(|(t, k, s)| Step::Header(t, k, s)),
        8 => (0_u8..3, 0_u64..4, samples()).prop_map(|(t, b, s)| Step::Push(t, b, s)),
        2 => (0_i64..20_000).prop_map(Step::Advance),
        1 => any::<i64>().prop_map(Step::HintAnchor),
        1 => any::<i64>().prop_map(Step::HintSegment),
        1 => Just(Step::Restart),
    ]
}

fn name(n: u8) -> TrackId {
    track(&format!("t{n}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn anything_is_survived(steps in prop::collection::vec(step(), 1..60)) {
        let mut now = at(0.0);
        let mut assembler = Assembler::new(Config::default(), None);
        for n in 0..3 {
            let kind = if n == 2 { Kind::Audio } else { Kind::Video };
            assembler.header(&name(n), TrackInput { kind, timescale: scale(12_800) });
        }
        let (mut pushed, mut published) = (0, 0);
        for step in steps {
            match step {
                Step::Header(n, kind, ticks) => assembler.header(&name(n), TrackInput { kind, timescale: scale(ticks) }),
                Step::Push(n, body, samples) => {
                    pushed += samples.len();
                    assembler.push(&name(n), body, samples, now);
                }
                Step::Advance(millis) => {
                    now = now + std::time::Duration::from_millis(millis.unsigned_abs());
                    assembler.advance(now);
                }
                Step::HintAnchor(nanos) => assembler.hint_anchor(headwater_media::MediaTime::new(nanos, scale(1_000_000_000)), now),
                Step::HintSegment(ticks) => assembler.hint_segment(headwater_media::MediaDuration::new(ticks, scale(90_000)), now),
                Step::Restart => assembler = Assembler::new(Config::default(), assembler.memory()),
            }
            let outputs = assembler.take();
            if outputs.contains(&Output::Reset) {
                published = 0;
            }
            published += outputs.iter().filter(|o| matches!(o, Output::Part(..) | Output::End { .. })).count();
            // A cue may be written into 64 segments; all else gives no more than came.
            prop_assert!(published <= pushed * 128 + 16, "{published} of {pushed}");
            let _ = assembler.deadline();
        }
    }
}

#[test]
fn one_hostile_fragment_costs_nothing() {
    for hostile in [i64::MAX, i64::MIN, i64::MAX / 3, -1 << 61] {
        let (mut rig, sources) = (Rig::new(at(0.0)), Shape::PLAIN.sources());
        let deliveries = Network::QUIET.deliver(&sources, UtcTime::from_nanos(0));
        let (first, rest) = deliveries.split_at(deliveries.len() / 2);
        rig.now = first[0].at;
        send_on(&mut rig, &sources, first);
        let sample = Sample {
            decode_time: hostile,
            composition_offset: i32::MIN,
            duration: u32::MAX,
            sync: true,
            data: Bytes::new(),
        };
        rig.samples(&track("v0"), 1, vec![sample]);
        for delivery in rest {
            rig.pass(delivery.at.since(rig.now));
            rig.samples(&delivery.id, delivery.body, delivery.samples.clone());
        }
        assert_eq!(rig.defects, [Defect::BadTime]);
        let numbers = rig.numbers(&track("v0"));
        assert_eq!(numbers, rig.numbers(&track("v1")));
        assert!(numbers.windows(2).all(|n| n[0] + 1 == n[1]));
    }
}

#[test]
fn a_track_far_ahead_takes_nobody_with_it() {
    let (mut rig, mut sources) = (Rig::new(at(0.0)), Shape::PLAIN.sources());
    // The sound's clock is 30 minutes fast.
    sources[3].samples.iter_mut().for_each(|s| s.decode_time += 1_800 * 48_000);
    let mut deliveries = Network::QUIET.deliver(&sources, UtcTime::from_nanos(0));
    deliveries
        .iter_mut()
        .filter(|d| d.id == track("a0"))
        .for_each(|d| d.at = d.at - std::time::Duration::from_secs(1_800));
    deliveries.sort_by_key(|d| d.at);
    // The pictures pause for 9 s.
    let (from, to) = (at(8.0), at(17.0));
    deliveries.retain(|d| d.id == track("a0") || d.at < from || d.at > to);
    rig.now = deliveries[0].at;
    send_on(&mut rig, &sources, &deliveries);
    let numbers = rig.numbers(&track("v0"));
    assert!(numbers.last().expect("some") - numbers[0] > 9, "they came back: {numbers:?}");
    assert!(rig.breaks.is_empty());
}

#[test]
fn a_memory_is_kept_whole() {
    let (mut rig, sources) = (Rig::new(at(0.0)), Shape::PLAIN.sources());
    let deliveries = Network::QUIET.deliver(&sources, UtcTime::from_nanos(0));
    rig.now = deliveries[0].at;
    send_on(&mut rig, &sources, &deliveries);
    let memory: Memory = rig.assembler.memory().expect("known");
    assert!(memory.confirmed);
    let again = Assembler::new(Config::default(), Some(memory.clone()));
    assert_eq!(again.memory(), Some(memory));
}
