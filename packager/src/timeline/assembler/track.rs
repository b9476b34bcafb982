// SPDX-License-Identifier: Apache-2.0
//! One track of a timeline: what has come, how far it got, and the plan it is cut by.

use headwater_media::{Generation, Grid, Kind, MediaDuration, MediaTime, SegmentNumber, UtcTime};

use super::output::{Config, TrackInput, TrackPlan};
use crate::Sample;
use crate::timeline::intake::{Arrival, Counts, Intake};
use crate::timeline::learner;
use crate::timeline::progress::{Doubt, Progress, Raw};
use crate::timeline::segmenter::{Rules, Segmenter};

/// EXTINF may round to TARGETDURATION but not above it.
const ROUNDS_DOWN_MILLIS: i64 = 499;

/// The state of one track.
#[derive(Debug)]
pub(super) struct TrackState {
    pub(super) input: TrackInput,
    pub(super) plan: Option<TrackPlan>,
    /// The source timeline it is on.
    pub(super) session: Option<u64>,
    /// Before the session's anchor is known.
    pub(super) raw: Vec<Raw>,
    pub(super) progress: Progress,
    pub(super) doubt: Option<Doubt>,
    pub(super) intake: Intake,
    /// In order, on the channel's timeline, before the grid is confirmed or the track planned.
    pub(super) held: Vec<Sample>,
    pub(super) segmenter: Option<Segmenter>,
    /// The segmenter before a change of header.
    pub(super) earlier: Option<Segmenter>,
    pub(super) generation: Generation,
    /// Its next segment is of another generation, which is still to be announced.
    pub(super) changed: bool,
    /// The newest segment of which a part has been told, or the loss.
    pub(super) told: Option<SegmentNumber>,
    pub(super) irregular_seen: u64,
    /// It has been told that nobody can switch to it.
    pub(super) apart: bool,
    /// Duration of the first fragment, if it opened with its only sync sample, else zero.
    pub(super) opening: Option<MediaDuration>,
    /// A new segmenter does not cut segments up to this one again.
    pub(super) resume_after: Option<SegmentNumber>,
    /// Given up for lost, and nothing has come since.
    pub(super) absent: bool,
}

impl TrackState {
    pub(super) fn new(input: TrackInput, plan: Option<TrackPlan>, generation: Generation, config: &Config) -> Self {
        Self {
            input,
            plan,
            session: None,
            raw: Vec::new(),
            progress: Progress::default(),
            doubt: None,
            intake: Intake::new(config.reorder, config.early_max),
            held: Vec::new(),
            segmenter: None,
            earlier: None,
            generation,
            changed: false,
            told: None,
            irregular_seen: 0,
            apart: false,
            opening: None,
            resume_after: None,
            absent: false,
        }
    }

    /// Bytes of samples that are here and not cut.
    pub(super) fn held_bytes(&self) -> usize {
        let raw: usize = self.raw.iter().map(Raw::bytes).sum();
        let doubt = self.doubt.as_ref().map_or(0, Doubt::bytes);
        let held: usize = self.held.iter().map(|s| s.data.len()).sum();
        let pending = self.segmenter.as_ref().map_or(0, Segmenter::pending_bytes);
        raw + doubt + self.intake.early_bytes() + held + pending
    }

    /// What was published before a restart of the origin is not published again.
    pub(super) fn resume_after(&mut self, floor: SegmentNumber, grid: &Grid) {
        self.resume_after = Some(floor);
        self.give_up_through(floor, grid);
    }

    /// What belongs to segments up to `number` is late.
    pub(super) fn give_up_through(&mut self, number: SegmentNumber, grid: &Grid) {
        // NB: a segment may begin half a frame before its border.
        let border = grid.start(number.next(), self.input.timescale).ticks();
        self.intake.give_up_before(border.saturating_sub(self.half_frame()));
    }

    pub(super) fn half_frame(&self) -> i64 {
        let planned = self.plan.map(|p| p.frame.rescale(self.input.timescale).ticks()).filter(|ticks| *ticks > 0);
        planned.or_else(|| learner::usual_frame(&self.held)).unwrap_or(2) / 2
    }

    /// End of what is in order, on the channel's timeline.
    pub(super) fn end(&self) -> Option<MediaTime> {
        self.intake.reached().map(|ticks| MediaTime::new(ticks, self.input.timescale))
    }

    /// The segment being cut, or the last one cut.
    pub(super) fn position(&self) -> Option<SegmentNumber> {
        self.segmenter.as_ref().or(self.earlier.as_ref()).and_then(Segmenter::position)
    }

    /// Something of it has been published, if only before a restart of the origin.
    pub(super) fn is_published(&self) -> bool {
        self.position().is_some() || self.resume_after.is_some() && self.plan.is_some()
    }

    /// What happened to its arrivals.
    pub(super) fn counts(&self) -> Counts {
        let segmenter = self.segmenter.as_ref().or(self.earlier.as_ref()).map_or(0, Segmenter::unjoined);
        let counts = self.intake.counts();
        Counts { unjoined: counts.unjoined + segmenter, ..counts }
    }

    /// Forgets what has come of a run or a coding that has ended and was not cut.
    pub(super) fn forget_unplaced(&mut self) {
        let raw: usize = self.raw.iter().map(|raw| raw.samples.len()).sum();
        let held = if self.segmenter.is_none() { self.held.len() } else { 0 };
        let doubtful = self.doubt.take().map_or(0, |doubt| doubt.samples());
        self.intake.count_unjoined(raw + held + doubtful);
        self.raw.clear();
        self.held.clear();
    }

    /// Takes a fragment to be mapped; false if the bound made room by forgetting what had come before.
    pub(super) fn accept(&mut self, raw: Raw, samples_max: usize) -> bool {
        self.absent = false;
        if self.opening.is_none() && raw.samples[0].sync {
            let lone = raw.samples.iter().filter(|s| s.sync).count() == 1;
            let length = learner::whole_length(&raw.samples, self.input.timescale).filter(|_| lone);
            self.opening = Some(length.unwrap_or(MediaDuration::ZERO));
        }
        let samples: usize = self.raw.iter().map(|r| r.samples.len()).sum();
        let room = self.raw.is_empty() || samples + raw.samples.len() <= samples_max;
        if !room {
            self.raw.clear();
        }
        self.raw.push(raw);
        room
    }

    /// Maps what has come by `offset` ticks and returns what is in order.
    pub(super) fn map(&mut self, offset: i64) -> Vec<Sample> {
        let mut ready = Vec::new();
        let half = self.half_frame();
        for raw in std::mem::take(&mut self.raw) {
            let mut samples = raw.samples;
            for sample in &mut samples {
                sample.decode_time = sample.decode_time.saturating_add(offset);
            }
            let arrival = Arrival { body: raw.body, slate: raw.slate, samples, received: raw.received };
            self.intake.push(arrival, half, &mut ready);
        }
        ready
    }

    /// Holds samples for learning; false if the oldest had to leave.
    pub(super) fn hold(&mut self, samples: &[Sample], samples_max: usize) -> bool {
        self.held.extend_from_slice(samples);
        let excess = self.held.len().saturating_sub(samples_max);
        self.held.drain(..excess);
        excess == 0
    }

    /// Plans the track once enough samples are held to tell its usual frame from an odd first one.
    pub(super) fn plan(&self, config: &Config, confirmed: bool) -> Option<TrackPlan> {
        if let Some(plan) = self.plan
            && plan.frame.ticks() > 0
        {
            return Some(plan);
        }
        let scale = self.input.timescale;
        let total: i64 = self.held.iter().map(|s| i64::from(s.duration)).sum();
        let text = matches!(self.input.kind, Kind::Text | Kind::Metadata);
        let part = config.part.rescale(scale).ticks();
        let enough = self.held.len() >= 3 || !self.held.is_empty() && (total >= part || confirmed && text);
        if !enough {
            return None;
        }
        let frame = learner::usual_frame(&self.held)?;
        let part_target = match self.plan {
            Some(plan) => plan.part_target,
            None if text => None,
            None => {
                // NB: by the wish, not by the grid: that may still be a guess, and a part target never changes.
                let segment = config.segment.rescale(scale).ticks();
                Some(MediaDuration::new(without_crumb(part_ticks(part, frame), frame, segment), scale))
            }
        };
        Some(TrackPlan { frame: MediaDuration::new(frame, scale), part_target })
    }

    /// A segmenter for `plan`, going on where an earlier one left off.
    pub(super) fn start_segmenter(&mut self, plan: TrackPlan, grid: Grid) {
        let rules = rules(self.input, plan, grid);
        let mut segmenter = match self.earlier.take() {
            Some(earlier) => Segmenter::follow(rules, &earlier),
            None => Segmenter::new(rules),
        };
        if let Some(floor) = self.resume_after {
            segmenter.resume_after(floor);
        }
        self.plan = Some(plan);
        self.segmenter = Some(segmenter);
    }

    /// The last moment of the samples that wait, if something is to be done then.
    pub(super) fn deadline(&self) -> Option<UtcTime> {
        let doubt = self.doubt.as_ref().map(Doubt::deadline);
        self.intake.deadline().into_iter().chain(doubt).min()
    }
}

/// `part` or a few frames less, so that the last part of a segment is no crumb: players at the live edge look parts up
/// by time and pass over one of a frame or two (hls.js then stands still for seconds).
fn without_crumb(part: i64, frame: i64, segment: i64) -> i64 {
    let longest = part / frame;
    // A segment that is no whole number of frames has now the one, now the other.
    let (fewer, more) = (segment / frame, (segment + frame - 1) / frame);
    let fits = |frames: i64| [fewer, more].iter().all(|n| n % frames == 0 || (n % frames) * 3 >= frames);
    let frames = (1..=longest).rev().take_while(|frames| frames * 10 >= longest * 7).find(|frames| fits(*frames));
    frames.map_or(part, |frames| if frames == longest { part } else { frames * frame })
}

/// The longest part of at most `part` ticks that is a whole number of frames, at least one. Frames that a rounding made
/// a tick longer still count.
fn part_ticks(part: i64, frame: i64) -> i64 {
    let frames = ((part + part / frame) / frame).max(1);
    if frames > 1 { (frames * frame).min(part) } else { frame }
}

fn rules(input: TrackInput, plan: TrackPlan, grid: Grid) -> Rules {
    let scale = input.timescale;
    let frame_ticks = plan.frame.rescale(scale).ticks().max(1);
    let target = target_duration_seconds(grid.duration());
    let longest = MediaDuration::from_millis(i64::try_from(target).unwrap_or(1) * 1_000 + ROUNDS_DOWN_MILLIS);
    let overrun = (longest - grid.duration()).rescale(scale).ticks().saturating_sub(frame_ticks.saturating_mul(2));
    Rules {
        kind: input.kind,
        timescale: scale,
        grid,
        frame_ticks,
        part_ticks: plan.part_target.map(|p| p.rescale(scale).ticks()),
        overrun_ticks: overrun.max(frame_ticks),
    }
}

/// TARGETDURATION of a grid: its duration in whole seconds, rounded up unless it is within a tenth above one.
pub fn target_duration_seconds(segment: MediaDuration) -> u64 {
    (segment - MediaDuration::from_millis(100)).seconds_ceil().max(1)
}

#[cfg(test)]
mod tests {
    use super::{part_ticks, without_crumb};

    #[test]
    fn the_last_part_of_a_segment_is_no_crumb() {
        assert_eq!(
            without_crumb(9 * 1_024, 1_024, 48_000),
            8 * 1_024,
            "47 frames a second: 5 x 8 and 7, not 5 x 9 and 2"
        );
        assert_eq!(without_crumb(9 * 1_024, 1_024, 96_000), 9 * 1_024);
        assert_eq!(without_crumb(9 * 1_024, 1_024, 92_160), 9 * 1_024, "90 frames are 10 x 9");
        assert_eq!(without_crumb(5 * 512, 512, 12_800), 5 * 512);
        assert_eq!(without_crumb(5 * 512, 512, 48 * 512), 5 * 512);
    }

    #[test]
    fn a_part_is_the_most_whole_frames_that_fit() {
        assert_eq!(part_ticks(2_560, 512), 2_560);
        assert_eq!(part_ticks(9_600, 1_024), 9 * 1_024);
        assert_eq!(part_ticks(6_000, 1_001), 5 * 1_001);
        assert_eq!(part_ticks(2_560, 20_000), 20_000, "a frame longer than a part is one");
        assert_eq!(part_ticks(2_000_000, 333_334), 2_000_000, "30 frames a second at 10 MHz, rounded up");
    }
}
