// SPDX-License-Identifier: Apache-2.0
//! SegmentTemplates. Each Representation has its own, whole: its header's name holds its generation.

use dash_mpd::{FailoverContent, Fcs, S, SegmentTemplate, SegmentTimeline};
use headwater_media::{Generation, Grid, MediaDuration, Segment, SegmentNumber, Track};

use super::{Input, SEGMENT_SLACK, Shown, State};

/// Ticks of the `$Number$` templates at least, so that chunks print in them too.
const TICKS_MIN: u64 = 1_000;

/// The unit of the `$Number$` templates: one in which the grid's duration and phase are whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NumberScale {
    timescale: u64,
    duration: u64,
    phase: u64,
}

impl NumberScale {
    pub(super) fn of(grid: &Grid) -> Self {
        let duration = reduced(grid.duration().ticks(), grid.duration().timescale().ticks_per_second());
        let phase = reduced(grid.phase().ticks(), grid.phase().timescale().ticks_per_second());
        let common = duration.1 / gcd(duration.1, phase.1) * phase.1;
        // A phase in no common unit is rounded, alike on every track.
        let exact = if common <= u64::from(u32::MAX) { common } else { duration.1 };
        let timescale = exact * TICKS_MIN.div_ceil(exact);
        let phase_ticks = u128::from(phase.0) * u128::from(timescale) / u128::from(phase.1);
        Self {
            timescale,
            duration: duration.0.saturating_mul(timescale / duration.1),
            phase: u64::try_from(phase_ticks).unwrap_or(0),
        }
    }

    /// Where a segment begins, in ticks.
    pub(super) const fn time_of(self, number: SegmentNumber) -> u64 {
        self.phase.saturating_add(number.0.saturating_mul(self.duration))
    }

    pub(super) fn ticks_ceil(self, duration: MediaDuration) -> u64 {
        let ticks = u128::try_from(duration.ticks()).unwrap_or(0) * u128::from(self.timescale);
        u64::try_from(ticks.div_ceil(duration.timescale().ticks_per_second().into())).unwrap_or(u64::MAX)
    }
}

pub(super) fn number(
    input: &Input,
    shown: &Shown,
    track: &Track,
    generation: Generation,
    chunked: bool,
) -> SegmentTemplate {
    let scale = NumberScale::of(input.grid);
    let mut lost: Vec<Fcs> = Vec::new();
    for segment in segments_of(input, shown, track).filter(|s| s.gap) {
        lose(&mut lost, scale.time_of(segment.number), scale.duration);
    }
    SegmentTemplate {
        media: Some("$RepresentationID$/$Number$.m4s".into()),
        initialization: Some(initialization(generation)),
        startNumber: Some(shown.first.0),
        // Tracks end at different segments; players ask for no further one.
        endNumber: if matches!(input.state, State::Ended { .. }) { last_number(input, shown, track) } else { None },
        duration: Some(scale.duration as f64),
        timescale: Some(scale.timescale),
        presentationTimeOffset: Some(scale.time_of(shown.first)),
        availabilityTimeOffset: chunked.then(|| availability_offset(input)),
        availabilityTimeComplete: chunked.then_some(false),
        failover_content: failover(lost),
        ..SegmentTemplate::default()
    }
}

pub(super) fn timeline(input: &Input, shown: &Shown, track: &Track, generation: Generation) -> SegmentTemplate {
    let start = input.grid.start(shown.first, track.timescale);
    let (mut runs, mut lost): (Vec<S>, Vec<Fcs>) = (Vec::new(), Vec::new());
    let slack = ticks(SEGMENT_SLACK.rescale(track.timescale).ticks());
    let mut end: Option<u64> = None;
    for segment in segments_of(input, shown, track) {
        let time = ticks(segment.start.rescale(track.timescale).ticks());
        let duration = ticks(segment.duration.rescale(track.timescale).ticks());
        // A segment that was cut short, and a gap that was told by the grid, leave a rest that is lost as well.
        if let Some(end) = end.filter(|end| time > end.saturating_add(slack)) {
            lose(&mut lost, end, time - end);
        }
        end = Some(time.saturating_add(duration));
        if segment.gap {
            lose(&mut lost, time, duration);
        } else {
            extend(&mut runs, time, duration);
        }
    }
    SegmentTemplate {
        media: Some("$RepresentationID$/t$Time$.m4s".into()),
        initialization: Some(initialization(generation)),
        timescale: Some(track.timescale.ticks_per_second().into()),
        presentationTimeOffset: Some(ticks(start.ticks())),
        failover_content: failover(lost),
        SegmentTimeline: Some(SegmentTimeline { segments: runs }),
        ..SegmentTemplate::default()
    }
}

/// Adds a segment to the last run, or opens one. Every `S` states its `t` and `r`, so that a patch never has to add an
/// attribute to one that a player holds already.
fn extend(runs: &mut Vec<S>, time: u64, duration: u64) {
    if let Some(run) = runs.last_mut() {
        let repeat = u64::try_from(run.r.unwrap_or(0)).unwrap_or(0);
        let end = run.t.unwrap_or(0) + run.d * (repeat + 1);
        if end == time && run.d == duration {
            run.r = Some(i64::try_from(repeat + 1).unwrap_or(i64::MAX));
            return;
        }
        // The name of a segment is its time, so an overlap is taken from the end of the one before.
        if end > time && repeat == 0 && time > run.t.unwrap_or(0) {
            run.d = time - run.t.unwrap_or(0);
        }
    }
    runs.push(S { t: Some(time), d: duration, r: Some(0), ..S::default() });
}

fn lose(lost: &mut Vec<Fcs>, time: u64, duration: u64) {
    match lost.last_mut() {
        Some(last) if last.t + last.d.unwrap_or(0) == time => last.d = Some(last.d.unwrap_or(0) + duration),
        _ => lost.push(Fcs { t: time, d: Some(duration) }),
    }
}

fn failover(lost: Vec<Fcs>) -> Option<FailoverContent> {
    (!lost.is_empty()).then_some(FailoverContent { valid: Some(false), fcs_list: lost })
}

fn initialization(generation: Generation) -> String {
    format!("$RepresentationID$/init-{generation}.mp4")
}

/// Segment less chunk duration, in whole microseconds, rounded down: never before the chunk is promised.
fn availability_offset(input: &Input) -> f64 {
    let segment = input.targets.segment;
    let (a, b) = (i128::from(segment.ticks()), i128::from(input.part_target.ticks()));
    let (a_scale, b_scale) = (scale_of(segment), scale_of(input.part_target));
    let micros = ((a * b_scale - b * a_scale) * 1_000_000).div_euclid(a_scale * b_scale).max(0);
    micros as f64 / 1_000_000.0
}

fn scale_of(duration: MediaDuration) -> i128 {
    duration.timescale().ticks_per_second().into()
}

/// The track's complete segments within the Period, gaps among them.
fn segments_of<'a>(input: &Input<'a>, shown: &Shown, track: &Track) -> impl Iterator<Item = &'a Segment> {
    let window = input.windows.iter().find(|(id, _)| *id == track.id).map(|(_, window)| *window);
    let (first, end) = (shown.first.0, shown.end);
    window.into_iter().flat_map(move |window| {
        let skip = first.saturating_sub(window.first_number().unwrap_or_default().0);
        let segments = window.iter_from(usize::try_from(skip).unwrap_or(usize::MAX));
        segments.take_while(move |s| s.number < end).map(|s| &**s)
    })
}

fn last_number(input: &Input, shown: &Shown, track: &Track) -> Option<u64> {
    segments_of(input, shown, track).filter(|s| !s.gap).last().map(|s| s.number.0)
}

pub(super) fn has_segments(input: &Input, shown: &Shown, track: &Track) -> bool {
    segments_of(input, shown, track).any(|segment| !segment.gap)
}

fn ticks(signed: i64) -> u64 {
    u64::try_from(signed).unwrap_or(0)
}

fn reduced(ticks: i64, per_second: u32) -> (u64, u64) {
    let (ticks, per_second) = (u64::try_from(ticks).unwrap_or(0), u64::from(per_second));
    let divisor = gcd(ticks, per_second);
    (ticks / divisor, per_second / divisor)
}

const fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    if a == 0 { 1 } else { a }
}
