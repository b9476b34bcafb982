// SPDX-License-Identifier: Apache-2.0
//! Tracks among each other: late, lost and come back, of several clocks, and of one generation.

use std::time::Duration;

use bytes::Bytes;
use headwater_media::{Generation, Kind, MediaDuration, MediaTime, TrackId, UtcTime};
use headwater_packager::timeline::assembler::TrackInput;
use headwater_packager::timeline::{Defect, Output};

use crate::ladder::{Delivery, Network, Shape, Source, send_on};
use crate::rig::{Rig, at, scale, track};

fn deliveries(sources: &[Source]) -> Vec<Delivery> {
    Network::QUIET.deliver(sources, UtcTime::from_nanos(0))
}

fn run(sources: &[Source], deliveries: &[Delivery]) -> Rig {
    let mut rig = Rig::new(deliveries[0].at);
    send_on(&mut rig, sources, deliveries);
    rig
}

#[test]
fn sound_that_starts_late_stops_nobody() {
    let sources = Shape::PLAIN.sources();
    let all = deliveries(&sources);
    let late: Vec<Delivery> = all.iter().filter(|d| d.id != track("a0") || d.at > at(2.0)).cloned().collect();
    let rig = run(&sources, &late);
    let (video, sound) = (rig.numbers(&track("v0")), rig.numbers(&track("a0")));
    assert_eq!(video[0], 850_000_000);
    assert_eq!(sound[0], 850_000_001);
    assert_eq!(rig.lost.len() + rig.defects.len(), 0);
    // The first part went out as soon as it was there.
    let mut early = Rig::new(all[0].at);
    let first: Vec<Delivery> = all.iter().filter(|d| d.id != track("a0") && d.at < at(2.3)).cloned().collect();
    send_on(&mut early, &sources, &first);
    assert!(early.parts(&track("v0")).len() >= 10);
}

#[test]
fn a_lost_track_comes_back_at_a_border_of_the_same_generation() {
    let sources = Shape { seconds: 40, ..Shape::PLAIN }.sources();
    let mut without = deliveries(&sources);
    without.retain(|d| d.id != track("v1") || d.at < at(10.3) || d.at > at(25.0));
    let rig = run(&sources, &without);
    assert!(rig.defects.contains(&Defect::Lost));
    assert_eq!(rig.defects.iter().filter(|d| **d == Defect::Lost).count(), 1, "told once");
    assert!(rig.lost.windows(2).all(|l| l[0].1 < l[1].1), "gaps keep pace with the others");
    let segments = rig.segments(&track("v1"));
    let back = segments.iter().find(|s| s.start > MediaTime::new(1_700_000_020, scale(1))).expect("it came back");
    assert_eq!((back.number.0, back.independent), (850_000_013, true));
    assert!(rig.breaks.is_empty());
    assert!(rig.segments(&track("v0")).windows(2).all(|s| s[0].number.next() == s[1].number));
}

#[test]
fn a_change_of_one_track_is_told_to_all() {
    let sources = Shape::PLAIN.sources();
    let all = deliveries(&sources);
    let mut rig = Rig::new(all[0].at);
    let (before, after) = all.split_at(all.iter().position(|d| d.captured > at(12.0)).expect("24 s"));
    send_on(&mut rig, &sources, before);
    // The whole ladder changes its coding, each track in its own moment.
    for delivery in after {
        rig.pass(delivery.at.since(rig.now));
        let first =
            delivery.samples.iter().any(|s| MediaTime::new(s.decode_time, scale(12_800)).nanos() >= at(12.0).nanos());
        if delivery.id != track("a0")
            && first
            && rig.defects.is_empty() == (delivery.id == track("v0"))
            && rig.defects.len() < 3
        {
            let source = sources.iter().find(|s| s.id == delivery.id).expect("known");
            rig.assembler.header(&delivery.id, source.input);
            rig.follow();
        }
        rig.samples(&delivery.id, delivery.body, delivery.samples.clone());
    }
    assert_eq!(rig.breaks.len(), 1, "{:?}", rig.breaks);
    let first = rig.breaks[0].0;
    for source in &sources {
        for segment in rig.segments(&source.id) {
            // A track that had begun the segment already keeps it as it is; an origin that has not published it yet
            // takes the break over.
            if segment.number != first {
                assert_eq!(
                    segment.generation,
                    Generation(u32::from(segment.number > first)),
                    "{} {:?}",
                    source.id,
                    segment.number
                );
            }
        }
    }
}

#[test]
fn another_timescale_goes_on_where_the_old_one_ended() {
    let (old, new) = (Shape::PLAIN.video(0), Shape { timescale: 90_000, ..Shape::PLAIN }.video(0));
    let mut rig = Rig::new(at(0.0));
    rig.assembler.header(&old.id, old.input);
    for (n, (old_gop, new_gop)) in old.samples.chunks(50).zip(new.samples.chunks(50)).enumerate() {
        rig.pass(Duration::from_secs(2));
        if n == 5 {
            rig.assembler.header(&old.id, new.input);
        }
        rig.samples(&old.id, 1 + n as u64, if n < 5 { old_gop } else { new_gop }.to_vec());
    }
    let segments = rig.segments(&old.id);
    let generations: Vec<u32> = segments.iter().map(|s| s.generation.0).collect();
    assert_eq!(generations, [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1]);
    assert!(segments.windows(2).all(|s| s[0].number.next() == s[1].number));
    assert_eq!(segments[5].start, MediaTime::new(1_700_000_010, scale(1)));
    assert_eq!(rig.plans[&old.id].frame, MediaDuration::new(3_600, scale(90_000)));
    assert_eq!(rig.plans[&old.id].part_target, Some(MediaDuration::from_millis(200)));
}

#[test]
fn text_beside_pictures_shares_their_numbers() {
    let mut sources = vec![Shape::PLAIN.video(0)];
    let input = TrackInput { kind: Kind::Text, timescale: scale(1_000) };
    let cue = |n: i64| headwater_packager::Sample {
        decode_time: 1_700_000_000_000 + n * 700,
        composition_offset: 0,
        duration: 700,
        sync: true,
        data: Bytes::from_static(b"vtte"),
    };
    sources.push(Source { id: track("t0"), input, samples: (0..34).map(cue).collect() });
    let rig = run(&sources, &deliveries(&sources));
    let (video, text) = (rig.numbers(&track("v0")), rig.numbers(&track("t0")));
    assert_eq!(video[..10], text[..10]);
    let grid = *rig.grid().expect("known");
    for part in rig.parts(&track("t0")) {
        assert!(
            part.start >= grid.start(part.number, scale(1_000))
                && part.start + part.duration <= grid.start(part.number.next(), scale(1_000))
        );
    }
}

#[test]
fn the_wish_becomes_a_whole_multiple_of_the_gop() {
    for (rate, gop, millis) in
        [((25, 1), 25, 2_000), ((25, 1), 48, 1_920), ((50, 1), 48, 1_920), ((25, 1), 100, 4_000), ((25, 1), 40, 1_600)]
    {
        let sources = Shape { rate, gop, seconds: 32, ..Shape::PLAIN }.sources();
        let rig = run(&sources, &deliveries(&sources));
        assert_eq!(rig.segment_duration(), MediaDuration::from_millis(millis), "{rate:?} {gop}");
        assert!(rig.resets <= 1);
        let segments = rig.segments(&track("v2"));
        assert!(segments.windows(2).all(|s| s[0].number.next() == s[1].number && s[1].independent));
    }
}

#[test]
fn a_guess_that_was_wrong_is_withdrawn_once() {
    // The first key frame is on the wished grid by chance; the GOP is 1.92 s.
    let shape = Shape { gop: 48, from_seconds: 1_700_000_016, ..Shape::PLAIN };
    let mut sources = shape.sources();
    let first = sources[0].samples[0].decode_time;
    for source in &mut sources {
        let scale = i64::from(source.input.timescale.ticks_per_second());
        let shift = 1_700_000_016 * scale - first * scale / 12_800;
        source.samples.iter_mut().for_each(|s| s.decode_time += shift);
    }
    let all = deliveries(&sources);
    let mut rig = Rig::new(all[0].at);
    for source in &sources {
        rig.assembler.header(&source.id, source.input);
    }
    let (mut resets, mut confirmed) = (0, 0);
    for delivery in &all {
        rig.pass(delivery.at.since(rig.now));
        rig.assembler.push(&delivery.id, delivery.body, delivery.samples.clone(), rig.now);
        for output in rig.assembler.take() {
            resets += usize::from(output == Output::Reset);
            confirmed += usize::from(output == Output::Confirmed);
        }
    }
    assert_eq!((resets, confirmed), (1, 1));
    assert_eq!(rig.segment_duration(), MediaDuration::from_millis(1_920));
}

#[test]
fn pictures_that_never_come_are_not_waited_for() {
    let sources = Shape::PLAIN.sources();
    let mut sound = deliveries(&sources);
    sound.retain(|d| d.id == track("a0"));
    let rig = run(&sources, &sound);
    let ids: Vec<TrackId> = sources.iter().map(|s| s.id.clone()).filter(|id| !rig.parts(id).is_empty()).collect();
    assert_eq!(ids, [track("a0")]);
    assert!(rig.numbers(&track("a0")).len() >= 10);
}
