// SPDX-License-Identifier: Apache-2.0
//! Cuts one track's samples into parts and segments.
//!
//! Video segment k begins at the first sync sample whose presentation time is at least `k·D − half a frame`; sound,
//! text and metadata segment k hold the samples that start in `[k·D, (k+1)·D)`. A cut is a function of the samples
//! alone, so origins that joined at different times cut alike from the first border both have seen.

use headwater_media::{Grid, Kind, MediaDuration, MediaTime, PartIndex, SegmentNumber, Timescale};

use super::cut::{Cut, PartCut};
use crate::Sample;

/// Most segments one cue is written into; what it lasts beyond them is left out.
const CUE_SEGMENTS_MAX: usize = 64;

/// What the cuts of one track depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Decides which rule of the border applies.
    pub kind: Kind,
    /// Unit of the samples' times.
    pub timescale: Timescale,
    /// Where segments begin.
    pub grid: Grid,
    /// Usual sample duration in ticks.
    pub frame_ticks: i64,
    /// Longest part in ticks; `None` publishes whole segments.
    pub part_ticks: Option<i64>,
    /// How long past its usual length a segment may wait for a sync sample before it is cut without one, in ticks.
    pub overrun_ticks: i64,
}

impl Rules {
    /// How far before a border a sample may start and still begin it. Of pictures half a frame; of anything else a
    /// millisecond, which is what times rounded by an encoder miss by.
    fn tolerance(&self) -> i64 {
        match self.kind {
            Kind::Video => self.frame_ticks / 2,
            _ => (i64::from(self.timescale.ticks_per_second()) / 1_000).min(self.frame_ticks / 8),
        }
    }

    /// Times closer than this are the same, written by an encoder that rounds.
    fn jitter(&self) -> i64 {
        (i64::from(self.timescale.ticks_per_second()) / 1_000).min(self.frame_ticks / 8)
    }

    fn segment_ticks(&self) -> i64 {
        self.grid.duration().rescale(self.timescale).ticks()
    }

    fn border(&self, number: SegmentNumber) -> i64 {
        self.grid.start(number, self.timescale).ticks()
    }

    /// The segment that a sample at `presentation_time` belongs to, were a border there.
    fn number_at(&self, presentation_time: i64) -> SegmentNumber {
        self.grid.number_at(MediaTime::new(presentation_time.saturating_add(self.tolerance()), self.timescale))
    }
}

#[derive(Debug)]
struct Open {
    number: SegmentNumber,
    next_index: PartIndex,
    /// Presentation time of its first sample.
    start: i64,
    start_decode_time: i64,
}

/// The cutter of one track.
#[derive(Debug)]
pub struct Segmenter {
    rules: Rules,
    open: Option<Open>,
    /// The segment last ended; later samples never go back to it.
    last: Option<SegmentNumber>,
    joined: bool,
    /// Presentation time from which every sample was seen and none joined.
    before: Option<i64>,
    /// Presentation time of the last sample cut.
    last_time: Option<i64>,
    pending: Vec<Sample>,
    pending_ticks: i64,
    /// Presentation time of the last sync sample, and whether the last two came a whole fraction of a segment apart.
    last_sync: Option<i64>,
    regular: bool,
    /// The last distance of two sync samples that is no whole fraction of a segment.
    odd: Option<i64>,
    misfit: bool,
    irregular_borders: u64,
    /// Samples left out because no border before them could be proven.
    unjoined: u64,
}

impl Segmenter {
    /// A cutter that joins at the first border it can prove.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            open: None,
            last: None,
            joined: false,
            before: None,
            last_time: None,
            pending: Vec::new(),
            pending_ticks: 0,
            last_sync: None,
            regular: false,
            odd: None,
            misfit: false,
            irregular_borders: 0,
            unjoined: 0,
        }
    }

    /// A cutter by other rules that goes on where `earlier`, [changed](Self::change), left off.
    pub fn follow(rules: Rules, earlier: &Self) -> Self {
        let scale = earlier.rules.timescale;
        let rescale = |time: i64| MediaTime::new(time, scale).rescale(rules.timescale).ticks();
        let (last, before) = (earlier.position(), earlier.before.map(rescale));
        let (irregular_borders, unjoined) = (earlier.irregular_borders, earlier.unjoined);
        Self { last, before, irregular_borders, unjoined, ..Self::new(rules) }
    }

    /// The rules it cuts by.
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Borders that no sync sample met in time.
    pub const fn irregular_borders(&self) -> u64 {
        self.irregular_borders
    }

    /// Samples left out because no border before them could be proven.
    pub const fn unjoined(&self) -> u64 {
        self.unjoined
    }

    /// Bytes of the part being filled.
    pub fn pending_bytes(&self) -> usize {
        self.pending.iter().map(|s| s.data.len()).sum()
    }

    /// Its GOP has a rule, and the segment is no whole multiple of it: its borders wander against those of others.
    pub const fn is_misfit(&self) -> bool {
        self.misfit
    }

    /// The open segment's number, or the last one ended.
    pub fn position(&self) -> Option<SegmentNumber> {
        self.open.as_ref().map(|o| o.number).or(self.last)
    }

    /// Takes the next sample in decode order, its times on the channel's timeline.
    ///
    /// A part is complete as soon as its last sample is here: the next one would not fit in its target. A jump of more
    /// than half a frame ends the open part; a smaller one is absorbed.
    pub fn push(&mut self, sample: Sample, cuts: &mut Vec<Cut>) {
        if self.rules.kind == Kind::Text {
            return self.push_text(sample, cuts);
        }
        self.push_one(sample, cuts);
    }

    /// A cue that crosses a border is written on both sides of it (ISO/IEC 14496-30, 6.2: samples may be split).
    fn push_text(&mut self, mut sample: Sample, cuts: &mut Vec<Cut>) {
        for _ in 0..CUE_SEGMENTS_MAX {
            let border = self.rules.border(self.rules.number_at(sample.decode_time).next());
            let end = sample.decode_time.saturating_add(i64::from(sample.duration));
            let before = u32::try_from(border.saturating_sub(sample.decode_time)).unwrap_or(0);
            let after = u32::try_from(end.saturating_sub(border)).unwrap_or(0);
            if before == 0 || after == 0 {
                return self.push_one(sample, cuts);
            }
            let rest = Sample { decode_time: border, duration: after, ..sample.clone() };
            sample.duration = before;
            self.push_one(sample, cuts);
            sample = rest;
        }
    }

    fn push_one(&mut self, sample: Sample, cuts: &mut Vec<Cut>) {
        if !self.joined && !self.joins(&sample) {
            self.before.get_or_insert(sample.presentation_time());
            self.unjoined += 1;
            return;
        }
        self.joined = true;
        self.last_time = self.last_time.max(Some(sample.presentation_time()));
        self.meet_border(&sample, cuts);
        self.bridge(&sample, cuts);
        let end = sample.decode_time.saturating_add(i64::from(sample.duration));
        let last_ticks = i64::from(sample.duration);
        self.pending_ticks = self.pending_ticks.saturating_add(last_ticks);
        self.pending.push(sample);
        let full = self.rules.part_ticks.is_some_and(|part| self.pending_ticks.saturating_add(last_ticks) > part);
        let ended = self.ends_at(end);
        if full || ended {
            self.close_part(cuts);
        }
        if ended {
            self.end_segment(false, cuts);
        }
    }

    /// Ends what is open because what follows is not its continuation; the next segment starts at a proven border.
    pub fn interrupt(&mut self, cuts: &mut Vec<Cut>) {
        self.close_part(cuts);
        let next = self.last_time.map(|time| self.rules.number_at(time.saturating_add(self.rules.frame_ticks)));
        let short = self.open.as_ref().is_some_and(|open| next.is_none_or(|next| next <= open.number));
        self.end_segment(short, cuts);
        self.joined = false;
        self.before = None;
        self.last_time = None;
        self.last_sync = None;
        self.regular = false;
        self.odd = None;
    }

    /// Ends what is open because the coding changes while time goes on: the next border is proven by what came before.
    pub fn change(&mut self, cuts: &mut Vec<Cut>) {
        let before = if self.joined { self.last_time } else { self.before };
        self.interrupt(cuts);
        self.before = before;
    }

    /// Segments up to `number` are published already: they are not cut again.
    pub fn resume_after(&mut self, number: SegmentNumber) {
        self.last = self.last.max(Some(number));
    }

    /// Declares every segment up to `number` lost or done: late samples of them are not cut again.
    pub fn skip_to(&mut self, number: SegmentNumber, cuts: &mut Vec<Cut>) {
        self.interrupt(cuts);
        self.last = self.last.max(Some(number));
    }

    const fn half_frame(&self) -> i64 {
        self.rules.frame_ticks / 2
    }

    /// A border is proven when what came before it was seen from the other side on, or when the sample stands on the
    /// grid: no sample that could have begun the segment has been missed.
    fn joins(&self, sample: &Sample) -> bool {
        let time = sample.presentation_time();
        let number = self.rules.number_at(time);
        if self.last.is_some_and(|last| number <= last) {
            return false;
        }
        if self.rules.kind == Kind::Video && !sample.sync {
            return false;
        }
        let past = time.saturating_sub(self.rules.border(number));
        let frame = match self.rules.kind {
            Kind::Video => self.rules.frame_ticks,
            // A text sample is split at the border, so what follows one stands on it.
            Kind::Text => self.rules.tolerance().max(1),
            _ => i64::from(sample.duration).min(self.rules.frame_ticks),
        };
        let on_grid = past < frame.saturating_sub(self.rules.tolerance()).max(1);
        let crossed = self.before.is_some_and(|before| self.rules.number_at(before) < number);
        on_grid || crossed
    }

    /// Opens the segment that `sample` begins, if it begins one.
    fn meet_border(&mut self, sample: &Sample, cuts: &mut Vec<Cut>) {
        let start = sample.presentation_time();
        let mut number = self.rules.number_at(start);
        let unmet = self.rules.kind == Kind::Video && !sample.sync;
        if let Some(open) = &self.open {
            if number <= open.number {
                return self.note_sync(sample);
            }
            // By the segment's own length: key frames may keep a constant distance from the grid.
            let longest = self.rules.segment_ticks().saturating_add(self.rules.overrun_ticks);
            let overdue = sample.decode_time >= open.start_decode_time.saturating_add(longest);
            if unmet && !overdue {
                return;
            }
            self.close_part(cuts);
            self.end_segment(false, cuts);
        } else if let Some(last) = self.last
            && number <= last
        {
            number = last.next();
        }
        if unmet && self.last.is_some() {
            self.irregular_borders += 1;
            self.regular = false;
        }
        self.note_sync(sample);
        let (next_index, start_decode_time) = (PartIndex(0), sample.decode_time);
        self.open = Some(Open { number, next_index, start, start_decode_time });
    }

    /// Learns whether sync samples come at a whole fraction of the segment duration.
    fn note_sync(&mut self, sample: &Sample) {
        if !sample.sync || self.rules.kind != Kind::Video {
            return;
        }
        let time = sample.presentation_time();
        if let Some(last) = self.last_sync.replace(time) {
            let (distance, segment) = (time.saturating_sub(last), self.rules.segment_ticks());
            let rest = if distance > 0 { segment % distance } else { segment };
            let near = self.half_frame();
            let fraction = distance > 0 && distance <= segment.saturating_add(near);
            let regular = fraction && (rest <= near || distance - rest <= near);
            let odd = if regular { None } else { Some(distance) };
            if regular && self.regular {
                self.misfit = false;
            } else if let (Some(one), Some(other)) = (self.odd, odd) {
                self.misfit |= distance > 0 && (one - other).abs() <= near;
            }
            (self.regular, self.odd) = (regular, odd);
        }
    }

    /// True if a sample that ends at `end` is the last of the open segment, known without seeing the next.
    fn ends_at(&self, end: i64) -> bool {
        let Some(open) = &self.open else { return false };
        match self.rules.kind {
            Kind::Video => {
                let segment = self.rules.segment_ticks();
                let over = end >= open.start_decode_time.saturating_add(segment - self.half_frame());
                // NB: where the next sync sample is expected there must be a border, else its segment goes on.
                self.regular && over && self.rules.number_at(open.start.saturating_add(segment)) > open.number
            }
            _ => self.rules.number_at(end) > open.number,
        }
    }

    /// Joins `sample` to the one before it: a jitter is let be, a step is absorbed, a hole ends the part.
    fn bridge(&mut self, sample: &Sample, cuts: &mut Vec<Cut>) {
        let (half, jitter) = (self.half_frame(), self.rules.jitter());
        let Some(last) = self.pending.last_mut() else { return };
        let step = sample.decode_time.saturating_sub(last.decode_time);
        let error = step.saturating_sub(i64::from(last.duration));
        if error.unsigned_abs() <= jitter.unsigned_abs() {
            // What a part's times miss by is made good at the start of the next.
            return;
        }
        match u32::try_from(step) {
            Ok(duration) if error.unsigned_abs() <= half.unsigned_abs() && duration > 0 => {
                last.duration = duration;
                self.pending_ticks = self.pending_ticks.saturating_add(error);
            }
            _ => self.close_part(cuts),
        }
    }

    fn close_part(&mut self, cuts: &mut Vec<Cut>) {
        let Some(open) = &mut self.open else { return };
        let samples = std::mem::take(&mut self.pending);
        let ticks = std::mem::take(&mut self.pending_ticks);
        let Some(first) = samples.first() else { return };
        let start = samples.iter().map(Sample::presentation_time).min().unwrap_or(0);
        let part = PartCut {
            number: open.number,
            index: open.next_index,
            independent: first.sync,
            start: MediaTime::new(start, self.rules.timescale),
            duration: MediaDuration::new(ticks, self.rules.timescale),
            samples,
        };
        open.next_index = open.next_index.next();
        cuts.push(Cut::Part(part));
    }

    fn end_segment(&mut self, short: bool, cuts: &mut Vec<Cut>) {
        if let Some(open) = self.open.take() {
            self.last = Some(open.number);
            cuts.push(Cut::End { number: open.number, short });
        }
    }
}
