// SPDX-License-Identifier: Apache-2.0
//! Legal layouts that need thought: edit lists, priming, composition offsets, muxes, other clocks.

use headwater_media::{MediaDuration, MediaTime, TrackId};
use headwater_packager::timeline::assembler::Memory;

use crate::rig::{Rig, at, header_and_fragments, scale, track, vector};

fn run(name: &str) -> Rig {
    let mut rig = Rig::new(at(0.0));
    rig.body("t", 1, &vector(name));
    rig.pass(std::time::Duration::from_secs(3));
    rig
}

/// Source presentation times of what was published: channel times less the anchor.
fn source_times(rig: &Rig, id: &TrackId) -> Vec<i64> {
    let Memory { anchor, .. } = rig.assembler.memory().expect("the grid is known");
    rig.parts(id)
        .iter()
        .flat_map(|p| p.samples.iter().map(|s| s.presentation_time() - anchor.ticks(p.start.timescale())))
        .collect()
}

#[test]
fn composition_offsets_of_any_writing_give_equal_times() {
    let mut times: Vec<Vec<i64>> = ["bframes_poscts_elst", "bframes_poscts_noedit"]
        .iter()
        .map(|name| source_times(&run(&format!("fmp4/{name}.mp4")), &track("t")))
        .collect();
    times.iter_mut().for_each(|t| t.sort_unstable());
    let (elst, noedit) = (&times[0], &times[1]);
    assert_eq!(elst[0], 0, "the edit list takes the delay back");
    assert_eq!(noedit[0], 1_024, "nothing does: the first picture is 80 ms late");
    let shifted: Vec<i64> = noedit.iter().map(|t| t - 1_024).collect();
    assert_eq!(*elst, shifted);
}

#[test]
fn negative_composition_offsets_start_on_the_grid() {
    let mut rig = Rig::new(at(0.0));
    rig.body("t", 1, &vector("cmaf/v25_bframes_negcts.cmfv"));
    let segments = rig.segments(&track("t"));
    assert_eq!(segments[0].start, MediaTime::new(1_700_000_000, scale(1)));
    assert_eq!(segments[0].number.0, 850_000_000);
}

#[test]
fn priming_does_not_part_picture_and_sound() {
    for name in ["mux_av_one_moof", "mux_av_separate_moof"] {
        let rig = run(&format!("fmp4/{name}.mp4"));
        let (video, audio) = (track("t-video"), track("t-audio"));
        assert_eq!(rig.segment_duration(), MediaDuration::from_millis(2_000), "{name}: the stretched frame is no GOP");
        assert_eq!(rig.resets, 0, "{name}");
        let (v, a) = (source_times(&rig, &video), source_times(&rig, &audio));
        // Both count from their own zero; the first picture is stretched over the priming, the second is in time.
        assert_eq!(v[..2], [0, 786], "{name}");
        assert!(a[0] < 1_024 && a.windows(2).all(|t| t[1] - t[0] == 1_024), "{name}: {:?}", &a[..3]);
        let first = |id: &TrackId| rig.segments(id)[0];
        assert_eq!(first(&video).number, first(&audio).number, "{name}");
        let apart = first(&video).start.since(first(&audio).start);
        assert!(apart.nanos().abs() < 40_000_000, "{name}: {apart:?}");
    }
}

#[test]
fn an_edit_list_moves_priming_before_zero() {
    let rig = run("fmp4/aac_priming_elst.mp4");
    let memory = rig.assembler.memory().expect("known");
    // The first frame, priming, lies before the anchor: what is heard first stands at zero.
    let first = rig.published(&track("t"))[0].decode_time - memory.anchor.ticks(scale(48_000));
    assert_eq!(first.rem_euclid(1_024), 0);
}

#[test]
fn an_empty_edit_of_priming_costs_no_grid() {
    let (header, fragments) = header_and_fragments(&vector("fmp4/video_empty_edit_21ms.mp4"));
    let (mut rig, id) = (Rig::new(at(2.0)), track("t"));
    rig.header(&id, &header.tracks[0]);
    for n in 0..4 {
        let mut part = fragments[0].tracks[0].clone();
        part.samples.iter_mut().for_each(|s| s.decode_time += n * 25_600);
        rig.fragment(&id, 1, &part);
        rig.pass(std::time::Duration::from_secs(2));
    }
    assert_eq!(rig.segment_duration(), MediaDuration::from_millis(2_000));
    assert_eq!((rig.numbers(&id), rig.resets), (vec![850_000_001, 850_000_002, 850_000_003], 0));
    let grid = rig.grid().expect("known");
    let past = rig.segments(&id)[0].start.since(grid.start(rig.segments(&id)[0].number, scale(12_800)));
    assert_eq!(past.ticks(), 269, "21 ms of 12800");
}

#[test]
fn an_empty_edit_as_long_as_unix_time_is_the_epoch() {
    let rig = run("fmp4/empty_edit_is_epoch.mp4");
    let segments = rig.segments(&track("t"));
    let first = segments[0].start;
    assert!(first.since(MediaTime::new(1_700_000_000, scale(1))).nanos() >= 0);
    assert_eq!(segments[0].number, rig.grid().expect("known").number_at(first));
    assert_eq!(rig.grid().expect("known").phase().ticks(), 0);
}

#[test]
fn a_10_mhz_clock_keeps_times_exact() {
    for (name, id) in [("timescale_10MHz.mp4", "t"), ("smooth_live.ismv", "t-video")] {
        let rig = run(&format!("fmp4/{name}"));
        let segments = rig.segments(&track(id));
        assert!(!segments.is_empty(), "{name}");
        assert!(segments.windows(2).all(|s| s[0].number.next() == s[1].number), "{name}");
        assert_eq!(rig.segment_duration(), MediaDuration::from_millis(2_000), "{name}");
        let parts = rig.parts(&track(id));
        assert!(parts[..parts.len() - 1].iter().all(|p| p.duration <= MediaDuration::from_millis(200)), "{name}");
    }
}

#[test]
fn smooth_carries_sound_and_picture_in_step() {
    let rig = run("fmp4/smooth_live.ismv");
    let (video, audio) = (rig.segments(&track("t-video")), rig.segments(&track("t-audio")));
    assert_eq!(video[0].number, audio[0].number);
    assert!(video[0].start.since(audio[0].start).nanos().abs() < 40_000_000);
}

#[test]
fn sizes_of_media_data_do_not_matter() {
    let rig = run("fmp4/mdat_64bit_and_size0.mp4");
    let segments = rig.segments(&track("t"));
    assert!(segments.len() == 4 && segments.windows(2).all(|s| s[0].number.next() == s[1].number));
    assert_eq!(rig.published(&track("t")).len(), 200);
}
