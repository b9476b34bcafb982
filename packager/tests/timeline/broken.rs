// SPDX-License-Identifier: Apache-2.0
//! What encoders and networks break, and what must come of it.

use std::time::Duration;

use headwater_media::{Generation, MediaDuration, TrackId};
use headwater_packager::timeline::Defect;

use crate::rig::{Rig, at, track, vector};

const FIRST: u64 = 850_000_000;

fn run(name: &str) -> (Rig, TrackId) {
    let mut rig = Rig::new(at(0.0));
    rig.body("t", 1, &vector(name));
    rig.pass(Duration::from_secs(4));
    (rig, track("t"))
}

/// No segment is longer than its `EXTINF` may say.
fn assert_within_target(rig: &Rig, id: &TrackId) {
    let target = headwater_packager::timeline::assembler::target_duration_seconds(rig.segment_duration());
    for segment in rig.segments(id) {
        assert!(segment.duration.seconds_round() <= target, "{segment:?} in a target of {target} s");
    }
}

#[test]
fn another_header_begins_a_generation() {
    let (rig, id) = run("bad/init_change_midstream.cmfv");
    let segments = rig.segments(&id);
    let seen: Vec<_> = segments.iter().map(|s| (s.number.0, s.generation.0)).collect();
    assert_eq!(seen, [(FIRST, 0), (FIRST + 1, 0), (FIRST + 2, 1), (FIRST + 3, 1)]);
    assert_eq!(rig.breaks, [(segments[2].number, Generation(1))]);
    assert!(rig.defects.contains(&Defect::HeaderChange));
    assert_ne!(segments[1].short, Some(true), "it was whole");
}

#[test]
fn a_restart_from_zero_never_takes_time_back() {
    let (rig, id) = run("bad/restart_tfdt_zero.cmfv");
    let segments = rig.segments(&id);
    let generations: Vec<u32> = segments.iter().map(|s| s.generation.0).collect();
    assert_eq!(generations, [0, 0, 0, 0, 1, 1, 1, 1], "{segments:?}");
    assert_eq!(rig.breaks.len(), 1);
    assert!(segments.windows(2).all(|s| s[0].number < s[1].number && s[0].start < s[1].start));
    assert_eq!(rig.defects, [Defect::Restart]);
    let (last, next) = (segments[3], segments[4]);
    assert!(next.number.0 - last.number.0 <= 2, "it goes on at the next border");
    assert_eq!(next.start, rig.grid().expect("known").start(next.number, next.start.timescale()));
}

#[test]
fn a_missing_fragment_is_a_gap() {
    let (rig, id) = run("bad/missing_fragment.cmfv");
    assert_eq!(rig.numbers(&id), [FIRST, FIRST + 1, FIRST + 3]);
    assert_eq!(rig.assembler.counts(&id).missing, 1);
    assert!(rig.breaks.is_empty(), "a gap is no discontinuity");
}

#[test]
fn fragments_that_change_places_are_put_in_order() {
    // In one body, as fast as it goes: 0, 2, 1.
    let (mut rig, id) = (Rig::new(at(8.0)), track("t"));
    let (header, fragments) = crate::rig::header_and_fragments(&vector("bad/out_of_order.cmfv"));
    rig.header(&id, &header.tracks[0]);
    fragments.iter().for_each(|f| rig.fragment(&id, 1, &f.tracks[0]));
    assert_eq!(rig.numbers(&id), [FIRST, FIRST + 1, FIRST + 2, FIRST + 3]);
    assert_eq!((rig.assembler.counts(&id).reordered, rig.assembler.counts(&id).missing), (1, 0));
    assert_eq!(rig.published(&id).len(), 200);
}

#[test]
fn a_duplicate_is_ignored() {
    let (rig, id) = run("bad/duplicate_fragment.cmfv");
    assert_eq!(rig.numbers(&id), [FIRST, FIRST + 1, FIRST + 2, FIRST + 3]);
    assert_eq!(rig.assembler.counts(&id).duplicate, 50);
    assert!(rig.breaks.is_empty() && rig.defects.is_empty());
}

#[test]
fn a_jitter_of_ticks_is_absorbed() {
    let (rig, id) = run("bad/tfdt_jitter.cmfv");
    assert_eq!(rig.numbers(&id), [FIRST, FIRST + 1, FIRST + 2, FIRST + 3]);
    assert_eq!(rig.segment_duration(), MediaDuration::from_millis(2_000), "the grid has no jitter");
    assert_eq!(rig.resets, 0);
    assert!(rig.parts(&id).iter().all(|p| p.samples.len() == 5));
    assert!(rig.parts(&id).iter().all(|p| p.duration <= MediaDuration::from_millis(200)));
}

#[test]
fn a_32_bit_wrap_is_no_event() {
    let (rig, id) = run("bad/tfdt_v0_wraps_2e32.cmfv");
    let segments = rig.segments(&id);
    assert_eq!(rig.published(&id).len(), 200);
    assert!(segments.windows(2).all(|s| s[0].number.next() == s[1].number), "{segments:?}");
    assert!(rig.breaks.is_empty() && rig.defects.is_empty());
    let times: Vec<i64> = rig.published(&id).iter().map(|s| s.decode_time).collect();
    assert!(times.windows(2).all(|t| t[1] - t[0] == 512));
}

#[test]
fn a_join_within_a_gop_waits_for_the_next() {
    let (rig, id) = run("bad/first_chunk_not_sync.cmfv");
    let segments = rig.segments(&id);
    assert_eq!(segments[0].number.0, FIRST + 1);
    assert!(segments[0].independent);
}

#[test]
fn a_gop_of_48_beside_a_ladder_of_2_s_is_told_and_survived() {
    let mut rig = Rig::new(at(0.0));
    let (ladder, odd) = (track("a"), track("b"));
    rig.body("a", 1, &vector("bad/tfdt_jitter.cmfv"));
    rig.body("b", 2, &vector("bad/gop48_vs_50.cmfv"));
    rig.pass(Duration::from_secs(8));
    assert_eq!(rig.segment_duration(), MediaDuration::from_millis(2_000));
    assert_eq!(rig.numbers(&ladder), [FIRST, FIRST + 1, FIRST + 2, FIRST + 3]);
    assert!(rig.segments(&odd).len() >= 3);
    assert!(rig.defects.contains(&Defect::GopMisfit) && rig.defects.contains(&Defect::NotSwitchable));
    assert_eq!(rig.apart.iter().collect::<Vec<_>>(), [&odd]);
    assert_within_target(&rig, &odd);
}

#[test]
fn the_gop_that_most_renditions_go_by_makes_the_grid() {
    let mut rig = Rig::new(at(0.0));
    // By name the odd one comes first.
    let bodies = [("a", "bad/gop48_vs_50.cmfv"), ("b", "cmaf/v25_lo.cmfv"), ("c", "cmaf/v25_mid.cmfv")];
    let bodies = bodies.map(|(name, file)| (track(name), crate::rig::header_and_fragments(&vector(file))));
    for (id, (header, _)) in &bodies {
        rig.header(id, &header.tracks[0]);
    }
    for n in 0..4 {
        rig.pass(Duration::from_secs(2));
        for (body, (id, (_, fragments))) in bodies.iter().enumerate() {
            rig.fragment(id, body as u64, &fragments[n].tracks[0]);
        }
    }
    rig.pass(Duration::from_secs(4));
    assert_eq!(rig.segment_duration(), MediaDuration::from_millis(2_000));
    assert_eq!(rig.apart.iter().collect::<Vec<_>>(), [&track("a")]);
    for id in ["b", "c"] {
        assert_eq!(rig.numbers(&track(id)), [FIRST, FIRST + 1, FIRST + 2, FIRST + 3]);
    }
}

#[test]
fn a_rendition_that_is_alone_stands_not_apart() {
    for name in ["gop48_vs_50", "idr_interval_drifts", "vfr", "open_gop"] {
        let (rig, _) = run(&format!("bad/{name}.cmfv"));
        assert!(rig.apart.is_empty(), "{name}");
    }
}

#[test]
fn drifting_key_frames_uneven_frames_and_open_gops_give_sane_segments() {
    for name in ["idr_interval_drifts", "vfr", "open_gop"] {
        let (rig, id) = run(&format!("bad/{name}.cmfv"));
        assert_within_target(&rig, &id);
        let segments = rig.segments(&id);
        assert!(segments.len() >= 2, "{name}: {segments:?}");
        assert!(segments.windows(2).all(|s| s[0].number < s[1].number), "{name}");
        assert!(rig.breaks.is_empty(), "{name}");
        let times: Vec<i64> = rig.published(&id).iter().map(|s| s.decode_time).collect();
        assert!(times.windows(2).all(|t| t[0] < t[1]), "{name}");
    }
}

#[test]
fn open_gops_are_cut_by_what_is_shown() {
    let (rig, id) = run("bad/open_gop.cmfv");
    assert_eq!(rig.segment_duration(), MediaDuration::from_millis(2_000));
    let segments = rig.segments(&id);
    assert!(segments.iter().all(|s| s.independent));
    assert!(
        segments
            .windows(2)
            .all(|s| s[0].number.next() == s[1].number && s[1].start.since(s[0].start) == rig.segment_duration())
    );
}

#[test]
fn a_stump_is_never_published() {
    let (rig, id) = run("bad/truncated_end.cmfv");
    assert_eq!(rig.published(&id).len() % 5, 0);
    let (_, whole) = crate::rig::header_and_fragments(&vector("bad/truncated_end.cmfv"));
    let sent: usize = whole.iter().map(|f| f.tracks[0].samples.len()).sum();
    assert_eq!(rig.published(&id).len(), sent);
}

#[test]
fn what_is_sent_again_after_a_cut_completes_the_segment() {
    // Two connections: the first breaks within its second fragment, the other begins with it.
    let whole = vector("bad/cut_then_resend.cmfv");
    let header = whole.windows(4).enumerate().filter(|(_, w)| w == b"ftyp").map(|(at, _)| at - 4).collect::<Vec<_>>();
    assert_eq!(header.len(), 2, "two headers");
    let mut rig = Rig::new(at(0.0));
    rig.body("t", 1, &whole.slice(..header[1]));
    rig.body("t", 2, &whole.slice(header[1]..));
    let id = track("t");
    assert_eq!(rig.numbers(&id)[..2], [FIRST, FIRST + 1]);
    assert!(rig.segments(&id).windows(2).all(|s| s[0].number.next() == s[1].number));
    assert_eq!(rig.assembler.counts(&id).missing, 0);
    assert!(rig.breaks.is_empty() && rig.defects.is_empty());
}
