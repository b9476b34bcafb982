// SPDX-License-Identifier: Apache-2.0
//! Tidy tracks of encoders on UTC: contiguous segments with the numbers of the epoch grid.

use headwater_media::{Kind, MediaDuration, TrackId};

use crate::rig::{EPOCH_SECONDS, Rig, at, header_and_fragments, scale, track, vector};

fn run(name: &str) -> (Rig, TrackId) {
    let (mut rig, id) = (Rig::new(at(0.0)), track("t"));
    rig.body("t", 1, &vector(name));
    rig.pass(std::time::Duration::from_secs(3));
    (rig, id)
}

/// What holds for any track: segments k, k+1, … of the grid, each starting at its border, nothing between them.
fn assert_contiguous(rig: &Rig, id: &TrackId, kind: Kind) {
    let (segments, grid) = (rig.segments(id), *rig.grid().expect("known"));
    assert!(segments.len() >= 2, "{segments:?}");
    for pair in segments.windows(2) {
        assert_eq!(pair[0].number.next(), pair[1].number);
        let gap = pair[1].start.since(pair[0].start) - pair[0].duration;
        assert!(gap.nanos().abs() < 1_000_000, "{gap:?}");
    }
    let frame = rig.plans[id].frame;
    for segment in &segments {
        let past = segment.start.since(grid.start(segment.number, segment.start.timescale()));
        let late = if kind == Kind::Video { MediaDuration::from_millis(100) } else { frame };
        assert!(past.nanos() >= -frame.nanos() / 2 && past < late, "{segment:?} starts {past:?} past its border");
        assert_ne!(segment.short, Some(true));
        assert!(segment.independent);
    }
}

#[test]
fn video_of_any_codec_is_cut_at_its_key_frames() {
    let names = [
        "v25_lo",
        "v25_lo_emsg",
        "v25_lo_lmsg",
        "v25_every_frame",
        "v25_bframes_negcts",
        "v25_hvc1",
        "v25_hev1",
        "v25_av1",
    ];
    for name in names {
        let (rig, id) = run(&format!("cmaf/{name}.cmfv"));
        assert_eq!(rig.segment_duration(), MediaDuration::from_millis(2_000), "{name}");
        assert_contiguous(&rig, &id, Kind::Video);
        let first = rig.segments(&id)[0];
        let (_, fragments) = header_and_fragments(&vector(&format!("cmaf/{name}.cmfv")));
        let sent = fragments[0].tracks[0].samples[0].presentation_time() / 12_800;
        assert!(sent >= EPOCH_SECONDS);
        assert_eq!(first.number.0, sent as u64 / 2, "{name}: floor(t / D)");
        let sent: usize = fragments.iter().map(|f| f.tracks[0].samples.len()).sum();
        assert!(sent - rig.published(&id).len() < 5, "{name}: all but an open part is published");
        assert_eq!((rig.resets, rig.defects.len(), rig.breaks.len()), (0, 0, 0), "{name}");
    }
}

#[test]
fn parts_are_five_frames_whatever_the_fragments() {
    for name in ["v25_lo", "v25_every_frame", "v25_chunked_prft"] {
        let (rig, id) = run(&format!("cmaf/{name}.cmfv"));
        let parts = rig.parts(&id);
        let whole = &parts[..parts.len() - 1];
        assert!(whole.iter().all(|p| p.samples.len() == 5), "{name}");
        assert_eq!(rig.plans[&id].part_target, Some(MediaDuration::from_millis(200)));
    }
}

#[test]
fn a_1001_rate_has_its_own_exact_grid() {
    let (rig, id) = run("cmaf/v2997.cmfv");
    assert_eq!(rig.segment_duration(), MediaDuration::new(60_060, scale(30_000)));
    let parts = rig.parts(&id);
    // The vector is one GOP: its border is the grid's.
    assert_eq!(parts[0].number.0 as i64 * 60_060, parts[0].samples[0].decode_time);
}

#[test]
fn a_48_frame_gop_makes_segments_of_1_92_s() {
    let (rig, id) = run("bad/gop48_vs_50.cmfv");
    assert_eq!(rig.segment_duration(), MediaDuration::from_millis(1_920));
    // 1700000000 s is no multiple of 1.92 s: key frames keep a constant distance from the grid.
    let segments = rig.segments(&id);
    assert!(segments.len() >= 2);
    let grid = rig.grid().expect("known");
    let past: Vec<i64> =
        segments.iter().map(|s| s.start.since(grid.start(s.number, s.start.timescale())).nanos()).collect();
    assert!(past.windows(2).all(|p| p[0] == p[1]), "{past:?}");
}

#[test]
fn sound_alone_is_cut_on_the_wished_grid() {
    for name in ["a48_eng", "a44", "a48_ac3", "a48_eac3", "a48_opus"] {
        let (rig, id) = run(&format!("cmaf/{name}.cmfa"));
        assert_eq!(rig.segment_duration(), MediaDuration::from_millis(2_000), "{name}");
        let segments = rig.segments(&id);
        let (header, fragments) = header_and_fragments(&vector(&format!("cmaf/{name}.cmfa")));
        let sent = fragments[0].tracks[0].samples[0].presentation_time();
        let whole = sent + 1_024 - 1 + i64::from(header.tracks[0].timescale.ticks_per_second()) * 2 - 1;
        assert!(
            segments[0].number.0 as i64 * 2 <= whole / i64::from(header.tracks[0].timescale.ticks_per_second()),
            "{name}"
        );
        let past = segments[0]
            .start
            .since(rig.grid().expect("known").start(segments[0].number, segments[0].start.timescale()));
        assert!(past.ticks() >= 0 && past < rig.plans[&id].frame, "{name}: {past:?}");
        assert!(rig.parts(&id).iter().all(|p| p.duration <= MediaDuration::from_millis(200)), "{name}");
        assert!(rig.defects.is_empty(), "{name}: {:?}", rig.defects);
    }
}

#[test]
fn text_alone_is_cut_in_whole_segments() {
    for name in ["sub_wvtt", "sub_stpp"] {
        let (rig, id) = run(&format!("cmaf/{name}.cmft"));
        let segments = rig.segments(&id);
        assert!(segments.len() >= 2, "{name}: {segments:?}");
        assert_eq!(rig.plans[&id].part_target, None);
        assert!(segments.windows(2).all(|s| s[0].number.next() == s[1].number), "{name}: {segments:?}");
        let grid = rig.grid().expect("known");
        for part in rig.parts(&id) {
            let end = grid.start(part.number.next(), part.start.timescale());
            assert!(part.start + part.duration <= end, "{name}: no cue crosses a border");
        }
    }
}

#[test]
fn event_tracks_are_cut_too() {
    for name in ["scte35_evte", "scte35_urim"] {
        let (rig, id) = run(&format!("cmaf/{name}.cmfm"));
        assert!(!rig.parts(&id).is_empty(), "{name}");
    }
}

#[test]
fn picture_and_sound_have_the_same_numbers() {
    let mut rig = Rig::new(at(0.0));
    rig.body("v", 1, &vector("cmaf/v25_lo.cmfv"));
    rig.now = at(0.0);
    rig.body("a", 2, &vector("cmaf/a48_eng.cmfa"));
    assert_contiguous(&rig, &track("v"), Kind::Video);
    assert_eq!(rig.numbers(&track("v"))[0], rig.numbers(&track("a"))[0]);
}
