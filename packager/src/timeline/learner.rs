// SPDX-License-Identifier: Apache-2.0
//! Learns from a track's first samples how long its GOP and its frames are.
//!
//! What is learned must be the same whichever minute of the stream one learns from: encoders that round their times
//! are read as the frame rate they mean, and one odd GOP, such as the first of an encoder that cuts on UTC, is not
//! taken for the rule.

use std::collections::BTreeMap;

use headwater_media::{MediaDuration, MediaTime, Timescale};

use crate::Sample;

/// An irregular source has been looked at for long enough.
const LOOK_MILLIS: i64 = 12_000;
/// A GOP longer than this is not followed.
const GOP_MILLIS_MAX: i64 = 10_000;
/// A GOP longer than this need not be seen twice.
const GOP_MILLIS_LONG: i64 = 4_000;
/// Ticks by which encoders are seen to miss the time they mean.
const JITTER_TICKS: i128 = 3;

/// What is known of a video track's GOP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gop {
    /// No two sync samples yet.
    Unknown,
    /// One has been seen; another may differ.
    Seen(MediaDuration),
    /// Two in a row are alike, or it is too long to wait for another.
    Regular(MediaDuration),
    /// There is no rule.
    Irregular,
}

/// What the first samples of a video track tell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evidence {
    /// Presentation time of the first sync sample.
    pub(super) first: MediaTime,
    /// Usual frame.
    pub(super) frame: MediaDuration,
    /// Its GOP.
    pub(super) gop: Gop,
}

/// Reads what `samples`, in decode order, tell.
pub(super) fn read(samples: &[Sample], scale: Timescale) -> Option<Evidence> {
    let at = samples.iter().position(|s| s.sync)?;
    let run = &samples[at..];
    let frame = usual_frame(run)?;
    let first = run[0].presentation_time();
    let seen = run.last()?.decode_time.saturating_sub(run[0].decode_time);
    let gop = gop(run, frame, scale, MediaDuration::new(seen, scale));
    Some(Evidence { first: MediaTime::new(first, scale), frame: MediaDuration::new(frame, scale), gop })
}

fn gop(run: &[Sample], frame: i64, scale: Timescale, seen: MediaDuration) -> Gop {
    let mut earlier: Option<MediaDuration> = None;
    let mut first = Gop::Unknown;
    let mut opened = 0;
    let mut holed = false;
    for (at, pair) in run.windows(2).enumerate() {
        let (before, sample, at) = (&pair[0], &pair[1], at + 1);
        let step = sample.decode_time.saturating_sub(before.decode_time);
        holed |= step.saturating_sub(i64::from(before.duration)) > frame / 2;
        if !sample.sync {
            continue;
        }
        if std::mem::take(&mut holed) {
            // Across a hole nothing is told.
            (earlier, opened) = (None, at);
            continue;
        }
        let distance = sample.presentation_time().saturating_sub(run[opened].presentation_time());
        let frames = i64::try_from(at - opened).unwrap_or(i64::MAX);
        opened = at;
        if distance <= 0 {
            continue;
        }
        let length = meant_length(distance, frames, frame, scale);
        let alike = earlier
            .is_some_and(|e| (e - length).nanos().saturating_abs() <= MediaDuration::new(frame, scale).nanos() / 2);
        if alike {
            return Gop::Regular(length);
        }
        if first == Gop::Unknown {
            first = Gop::Seen(length);
        }
        earlier = Some(length);
    }
    match (first, earlier) {
        (Gop::Seen(only), Some(last)) if only == last && only >= MediaDuration::from_millis(GOP_MILLIS_LONG) => {
            Gop::Regular(only)
        }
        _ if seen >= MediaDuration::from_millis(LOOK_MILLIS) => Gop::Irregular,
        (first, _) => first,
    }
}

/// How long `samples` are meant to last together.
pub(super) fn whole_length(samples: &[Sample], scale: Timescale) -> Option<MediaDuration> {
    let total: i64 = samples.iter().map(|s| i64::from(s.duration)).sum();
    let frames = i64::try_from(samples.len()).unwrap_or(i64::MAX);
    Some(meant_length(total, frames, usual_frame(samples)?, scale))
}

/// The length an encoder means by two sync samples `distance` ticks and `frames` samples apart.
fn meant_length(distance: i64, frames: i64, frame: i64, scale: Timescale) -> MediaDuration {
    let nominal = frames.saturating_mul(frame);
    // One frame stretched over the sound's priming, as muxers do at the start.
    let stretched = (distance.saturating_sub(nominal)).saturating_abs();
    let plain = stretched <= frames.max(i64::try_from(JITTER_TICKS).unwrap_or(0));
    if !plain && stretched.saturating_mul(5) <= frame.saturating_mul(3) {
        return meant_length(nominal, frames, frame, scale);
    }
    let count = if plain { frames } else { (distance.saturating_add(frame / 2)) / frame.max(1) };
    at_a_usual_rate(distance, count.max(1), scale).unwrap_or(MediaDuration::new(distance, scale))
}

/// `count` frames at the frame rate in use anywhere whose length is nearest to `distance` ticks, if it is near.
fn at_a_usual_rate(distance: i64, count: i64, scale: Timescale) -> Option<MediaDuration> {
    let ticks = i128::from(scale.ticks_per_second());
    let (distance, frames) = (i128::from(distance), i128::from(count));
    let whole =
        u32::try_from((frames * ticks + distance / 2) / distance.max(1)).ok().filter(|fps| (1..=240).contains(fps));
    let rates =
        whole.map(|fps| (fps, 1)).into_iter().chain([24_000, 30_000, 48_000, 60_000, 120_000].map(|n| (n, 1_001)));
    // Distances as multiples of 1/numerator tick, to stay whole.
    let miss = |(numerator, denominator): (u32, u32)| {
        let (numerator, denominator) = (i128::from(numerator), i128::from(denominator));
        ((distance * numerator - frames * denominator * ticks).abs() * 1_000_000) / numerator
    };
    let best = rates.min_by_key(|rate| miss(*rate))?;
    let miss = miss(best);
    if miss == 0 || miss > JITTER_TICKS * 1_000_000 {
        return None;
    }
    Some(MediaDuration::new(count.checked_mul(i64::from(best.1))?, Timescale::new(best.0)?))
}

/// The whole multiple of `gop` nearest to `wish`, at least one; a GOP past ten seconds is not followed.
pub(super) fn nearest_multiple(gop: MediaDuration, wish: MediaDuration) -> MediaDuration {
    if gop.nanos() <= 0 || gop > MediaDuration::from_millis(GOP_MILLIS_MAX) {
        return wish;
    }
    let (wish, gop_nanos) = (i128::from(wish.nanos()), i128::from(gop.nanos()));
    let times = (wish * 2 + gop_nanos) / (gop_nanos * 2);
    gop.times(i64::try_from(times.max(1)).unwrap_or(1))
}

/// The most frequent duration, of equally frequent ones the shortest; rounded up if it is one that rounding makes
/// differ by a tick, so that any three frames in a row tell the same.
pub(super) fn usual_frame(samples: &[Sample]) -> Option<i64> {
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    for sample in samples.iter().take(256) {
        *counts.entry(sample.duration).or_default() += 1;
    }
    let usual = counts.iter().filter(|(d, _)| **d > 0).max_by(|a, b| a.1.cmp(b.1).then(b.0.cmp(a.0)));
    let usual = *usual?.0;
    let longer = usual.checked_add(1).filter(|d| counts.contains_key(d));
    Some(i64::from(longer.unwrap_or(usual)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn scale(n: u32) -> Timescale {
        Timescale::new(n).unwrap()
    }

    /// Frames at the given times, sync where the second is true.
    fn run(times: &[(i64, bool)]) -> Vec<Sample> {
        let next = times.iter().skip(1).map(|t| t.0).chain([times[times.len() - 1].0 + 40]);
        let sample = |((time, sync), next): (&(i64, bool), i64)| Sample {
            decode_time: *time,
            composition_offset: 0,
            duration: u32::try_from(next - time).unwrap(),
            sync: *sync,
            data: Bytes::new(),
        };
        times.iter().zip(next).map(sample).collect()
    }

    fn learned(times: &[(i64, bool)], n: u32) -> Gop {
        read(&run(times), scale(n)).unwrap().gop
    }

    fn rounded(fps: (i64, i64), n: i64, gop: usize, count: usize, from: usize) -> Vec<(i64, bool)> {
        (from..from + count).map(|i| (i as i64 * fps.1 * n / fps.0, i % gop == 0)).collect()
    }

    #[test]
    fn any_minute_of_a_rounded_stream_tells_the_same_gop() {
        let meant = MediaDuration::new(60 * 1_001, scale(30_000));
        for from in (0..60_000).step_by(601) {
            for n in [1_000, 90_000, 10_000_000] {
                let gop = learned(&rounded((30_000, 1_001), n, 60, 200, from), n as u32);
                assert_eq!(gop, Gop::Regular(meant), "{n} from {from}");
            }
        }
    }

    #[test]
    fn exact_times_are_taken_as_they_are() {
        let gop = learned(&rounded((25, 1), 12_800, 48, 100, 0), 12_800);
        assert_eq!(gop, Gop::Regular(MediaDuration::new(48 * 512, scale(12_800))));
    }

    #[test]
    fn the_first_short_gop_of_an_encoder_is_not_the_rule() {
        let times: Vec<_> = (0..110).map(|i| (i * 40, i == 0 || i % 50 == 7)).collect();
        assert_eq!(learned(&times[..20], 1_000), Gop::Seen(MediaDuration::from_millis(280)));
        assert_eq!(learned(&times, 1_000), Gop::Regular(MediaDuration::from_millis(2_000)));
    }

    #[test]
    fn no_rule_is_found_where_there_is_none() {
        let times: Vec<_> = (0..320).map(|i: i64| (i * 40, [0, 40, 77, 140, 165, 300].contains(&i))).collect();
        assert_eq!(learned(&times, 1_000), Gop::Irregular);
    }

    #[test]
    fn a_stretched_first_frame_does_not_count() {
        let times: Vec<_> = (0..60).map(|i| (if i == 0 { 0 } else { i * 512 + 274 }, i % 50 == 0)).collect();
        assert_eq!(learned(&times, 12_800), Gop::Seen(MediaDuration::from_millis(2_000)));
    }

    #[test]
    fn a_hole_is_no_gop() {
        let mut samples = run(&(0..200).map(|i| (i * 40, i % 50 == 0)).collect::<Vec<_>>());
        samples.drain(60..110);
        assert_eq!(read(&samples, scale(1_000)).unwrap().gop, Gop::Seen(MediaDuration::from_millis(2_000)));
    }

    #[test]
    fn multiples_come_near_the_wish() {
        let wish = MediaDuration::from_millis(2_000);
        let of = |millis| nearest_multiple(MediaDuration::from_millis(millis), wish).rescale(Timescale::MILLIS).ticks();
        assert_eq!([480, 960, 1_000, 1_920, 4_000, 40].map(of), [1_920, 1_920, 2_000, 1_920, 4_000, 2_000]);
        assert_eq!(nearest_multiple(MediaDuration::from_millis(12_000), wish), wish);
    }
}
