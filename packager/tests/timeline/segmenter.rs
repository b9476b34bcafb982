// SPDX-License-Identifier: Apache-2.0
//! The cutter of one track: parts, borders, joins.

use bytes::Bytes;
use headwater_media::{Grid, Kind, MediaDuration, SegmentNumber};
use headwater_packager::Sample;
use headwater_packager::timeline::segmenter::Rules;
use headwater_packager::timeline::{Cut, Segmenter};
use proptest::prelude::*;

use crate::rig::scale;

fn video(fps_ticks: i64, timescale: u32, segment: MediaDuration, part_ticks: i64) -> Rules {
    Rules {
        kind: Kind::Video,
        timescale: scale(timescale),
        grid: Grid::new(segment).expect("positive"),
        frame_ticks: fps_ticks,
        part_ticks: Some(part_ticks),
        overrun_ticks: i64::from(timescale) / 2 - fps_ticks,
    }
}

fn frames(first: i64, count: i64, ticks: i64, gop: i64) -> Vec<Sample> {
    (0..count)
        .map(|i| Sample {
            decode_time: first + i * ticks,
            composition_offset: 0,
            duration: ticks as u32,
            sync: i % gop == 0,
            data: Bytes::from(vec![i as u8; 3]),
        })
        .collect()
}

fn cut(rules: Rules, samples: &[Sample]) -> Vec<Cut> {
    let mut cuts = Vec::new();
    let mut segmenter = Segmenter::new(rules);
    for s in samples {
        segmenter.push(s.clone(), &mut cuts);
    }
    cuts
}

fn parts(cuts: &[Cut]) -> Vec<(u64, u32, usize, bool)> {
    cuts.iter()
        .filter_map(|c| match c {
            Cut::Part(p) => Some((p.number.0, p.index.0, p.samples.len(), p.independent)),
            Cut::End { .. } => None,
        })
        .collect()
}

const SECOND: MediaDuration = MediaDuration::from_millis(1_000);

#[test]
fn a_part_closes_on_its_last_frame_not_on_the_next_one() {
    let rules = video(512, 12_800, SECOND, 5 * 512);
    let samples = frames(12_800 * 100, 5, 512, 25);
    assert_eq!(parts(&cut(rules.clone(), &samples[..4])), []);
    assert_eq!(parts(&cut(rules, &samples)), [(100, 0, 5, true)]);
}

#[test]
fn a_regular_segment_ends_with_its_last_frame() {
    let rules = video(512, 12_800, SECOND, 5 * 512);
    let cuts = cut(rules, &frames(12_800 * 100, 50, 512, 25));
    assert_eq!(cuts.iter().filter(|c| matches!(c, Cut::End { .. })).count(), 2);
    assert_eq!(cuts.last(), Some(&Cut::End { number: SegmentNumber(101), short: false }));
    assert_eq!(parts(&cuts).len(), 10);
}

#[test]
fn a_join_inside_a_segment_waits_for_the_next_border() {
    let rules = video(512, 12_800, MediaDuration::new(2, scale(1)), 5 * 512);
    // Two GOPs a segment: the sync sample in the middle of segment 50 is no border.
    let cuts = cut(rules, &frames(12_800 * 101, 60, 512, 25));
    assert_eq!(parts(&cuts)[0], (51, 0, 5, true));
}

#[test]
fn key_frames_beside_the_grid_are_borders_all_the_same() {
    let rules = video(512, 12_800, MediaDuration::new(2, scale(1)), 5 * 512);
    // Segment 50 begins at 100 s, its first sync sample stands at 101 s.
    let cuts = cut(rules, &frames(12_800 * 99, 300, 512, 50));
    let first: Vec<_> = parts(&cuts).into_iter().filter(|p| p.1 == 0).collect();
    assert_eq!(first[..3], [(50, 0, 5, true), (51, 0, 5, true), (52, 0, 5, true)]);
    assert!(parts(&cuts).iter().filter(|p| p.0 == 50).count() == 10);
}

#[test]
fn a_missing_sync_sample_costs_no_more_than_the_overrun() {
    let rules = video(512, 12_800, SECOND, 5 * 512);
    let cuts = cut(rules, &frames(12_800 * 100, 100, 512, 1_000));
    let first = parts(&cuts).into_iter().find(|p| p.0 == 101).unwrap();
    assert_eq!((first.1, first.3), (0, false));
    let length: usize = parts(&cuts).iter().filter(|p| p.0 == 100).map(|p| p.2).sum();
    assert!(length * 40 < 1_500, "rounds to the target duration: {length} frames");
}

#[test]
fn audio_segments_hold_the_samples_that_start_in_them() {
    let rules =
        Rules { kind: Kind::Audio, frame_ticks: 1_024, part_ticks: Some(9 * 1_024), ..video(1_024, 48_000, SECOND, 0) };
    let first = 48_000 * 100 - 1_024 * 3;
    let cuts = cut(rules, &frames(first, 200, 1_024, 1));
    let starts: Vec<i64> = cuts
        .iter()
        .filter_map(|c| match c {
            Cut::Part(p) if p.index.0 == 0 => Some(p.samples[0].decode_time),
            _ => None,
        })
        .collect();
    for (i, start) in starts.iter().enumerate() {
        let border = 48_000 * (100 + i as i64);
        assert!((border..border + 1_024).contains(start), "{start} at {border}");
    }
}

#[test]
fn jitter_of_a_tick_is_no_gap_and_a_hole_ends_the_part() {
    let rules = video(512, 12_800, SECOND, 5 * 512);
    let mut samples = frames(12_800 * 100, 25, 512, 25);
    samples[7].decode_time += 2;
    let cuts = cut(rules.clone(), &samples);
    assert_eq!(parts(&cuts).iter().map(|p| p.2).collect::<Vec<_>>(), [5, 5, 5, 5, 5]);
    let holed: Vec<Sample> =
        samples.into_iter().enumerate().filter(|(i, _)| *i != 7 && *i != 8).map(|(_, s)| s).collect();
    assert_eq!(parts(&cut(rules, &holed))[1].2, 2);
}

#[test]
fn a_long_cue_is_split_at_the_border() {
    let rules = Rules { kind: Kind::Text, frame_ticks: 1, part_ticks: None, ..video(1, 1_000, SECOND, 0) };
    let cue = Sample {
        decode_time: 100_500,
        composition_offset: 0,
        duration: 2_000,
        sync: true,
        data: Bytes::from_static(b"cue"),
    };
    let before = Sample { decode_time: 100_000, duration: 500, ..cue.clone() };
    assert_eq!(parts(&cut(rules.clone(), &[before, cue.clone()])), [(100, 0, 2, true), (101, 0, 1, true)]);
    assert_eq!(
        parts(&cut(rules, &[cue])),
        [(101, 0, 1, true)],
        "whether others came before it in its segment is not known"
    );
}

proptest! {
    #[test]
    fn joiners_agree_from_the_first_border_both_saw(start in 0_usize..120, gop in prop::sample::select(vec![12_i64, 24, 25, 48, 50]),
                                                     jitter in prop::collection::vec(-1_i64..2, 300)) {
        let rules = video(512, 12_800, MediaDuration::new(gop * 512 * if gop < 20 { 2 } else { 1 }, scale(12_800)), 5 * 512);
        let grid = rules.grid.duration().ticks();
        let mut samples = frames(grid * 1_000, 300, 512, gop);
        for (s, j) in samples.iter_mut().zip(&jitter) {
            s.decode_time += j;
        }
        let all: Vec<_> = cut(rules.clone(), &samples).into_iter().filter(|c| matches!(c, Cut::Part(_))).collect();
        let late: Vec<_> = cut(rules, &samples[start..]).into_iter().filter(|c| matches!(c, Cut::Part(_))).collect();
        prop_assert!(!late.is_empty());
        prop_assert_eq!(&all[all.len() - late.len()..], &late[..]);
    }

    #[test]
    fn sound_joins_at_the_first_sample_of_a_segment_only(start in 0_usize..400, ticks in prop::sample::select(vec![1_024_i64, 1_536, 960]),
                                                        millis in prop::sample::select(vec![1_000_i64, 1_920, 2_000, 2_002]),
                                                        jitter in prop::collection::vec(-2_i64..3, 500)) {
        let rules = Rules { kind: Kind::Audio, ..video(ticks, 48_000, MediaDuration::from_millis(millis), 9 * ticks) };
        let mut samples = frames(48_000 * 1_000, 500, ticks, 1);
        for (s, j) in samples.iter_mut().zip(&jitter) {
            s.decode_time += j;
        }
        let all: Vec<_> = cut(rules.clone(), &samples).into_iter().filter(|c| matches!(c, Cut::Part(_))).collect();
        let late: Vec<_> = cut(rules, &samples[start..]).into_iter().filter(|c| matches!(c, Cut::Part(_))).collect();
        prop_assert_eq!(&all[all.len() - late.len()..], &late[..]);
    }
}

#[test]
fn a_cue_without_end_is_cut_off() {
    let rules = Rules { kind: Kind::Text, frame_ticks: 1, part_ticks: None, ..video(1, 1_000, SECOND, 0) };
    let cue =
        Sample { decode_time: 100_500, composition_offset: 0, duration: u32::MAX, sync: true, data: Bytes::new() };
    assert!(cut(rules, &[cue]).len() <= 128);
}
