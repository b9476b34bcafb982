// SPDX-License-Identifier: Apache-2.0
//! Cuts one track's samples into parts and segments.
//!
//! Video segment k begins at the first sync sample whose presentation time is at least `k·D − half a frame`; sound,
//! text and metadata segment k hold the samples that start in `[k·D, (k+1)·D)`. A cut is a function of the samples
//! alone, so origins that joined at different times cut alike from the first border both have seen.

use headwater_media::{Grid, Kind, MediaDuration, MediaTime, PartIndex, SegmentNumber, Timescale};

use crate::Sample;

/// What the cuts of one track depend on; fixed for the life of the channel.
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
    /// How long past a border a segment may wait for a sync sample before it is cut without one, in ticks.
    pub overrun_ticks: i64,
}

/// What a sample completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cut {
    /// A part: one CMAF chunk.
    Part(PartCut),
    /// No further part belongs to this segment.
    End {
        /// The segment.
        number: SegmentNumber,
        /// Samples are missing at its end.
        short: bool,
    },
}

/// A finished part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartCut {
    /// Segment it belongs to.
    pub number: SegmentNumber,
    /// Place in the segment.
    pub index: PartIndex,
    /// First sample decodes alone.
    pub independent: bool,
    /// Earliest presentation time of its samples.
    pub start: MediaTime,
    /// Sum of its samples' durations.
    pub duration: MediaDuration,
    /// Its samples, consecutive in decode order, at least one.
    pub samples: Vec<Sample>,
}

#[derive(Debug)]
struct Open {
    number: SegmentNumber,
    next_index: PartIndex,
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
    /// Presentation time of the last sample seen before joining.
    before: Option<i64>,
    /// Presentation time of the last sample cut.
    last_time: Option<i64>,
    pending: Vec<Sample>,
    pending_ticks: i64,
    /// Decode time of the last sync sample and whether sync samples have met every border so far.
    last_sync: Option<i64>,
    regular: bool,
    irregular_borders: u64,
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
            irregular_borders: 0,
        }
    }

    /// The rules it cuts by.
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Borders that no sync sample met in time.
    pub const fn irregular_borders(&self) -> u64 {
        self.irregular_borders
    }

    /// The open segment's number, or the last one ended.
    pub fn position(&self) -> Option<SegmentNumber> {
        self.open.as_ref().map(|o| o.number).or(self.last)
    }

    /// True while a segment is open.
    pub const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Takes the next sample in decode order, its times on the channel's timeline.
    ///
    /// A part is complete as soon as its last sample is here: the next one would not fit in its target. A jump of more
    /// than half a frame ends the open part; a smaller one is absorbed by the sample before it.
    pub fn push(&mut self, sample: Sample, cuts: &mut Vec<Cut>) {
        if self.rules.kind == Kind::Text {
            return self.push_text(sample, cuts);
        }
        self.push_one(sample, cuts);
    }

    /// A cue that crosses a border is written on both sides of it (ISO/IEC 14496-30, 6.2: samples may be split).
    fn push_text(&mut self, mut sample: Sample, cuts: &mut Vec<Cut>) {
        loop {
            let number = self.rules.grid.number_at(self.time(sample.decode_time));
            let border = self.rules.grid.start(number.next(), self.rules.timescale).ticks();
            let end = sample.decode_time.saturating_add(i64::from(sample.duration));
            let (Ok(before), Ok(after)) = (u32::try_from(border - sample.decode_time), u32::try_from(end - border)) else {
                return self.push_one(sample, cuts);
            };
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
            self.before = Some(sample.presentation_time());
            return;
        }
        self.joined = true;
        self.last_time = Some(sample.presentation_time());
        self.meet_border(&sample, cuts);
        self.bridge(&sample, cuts);
        let end = sample.decode_time.saturating_add(i64::from(sample.duration));
        let last_ticks = i64::from(sample.duration);
        self.pending_ticks += last_ticks;
        self.pending.push(sample);
        let full = self.rules.part_ticks.is_some_and(|part| self.pending_ticks + last_ticks > part);
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
        self.end_segment(true, cuts);
        self.joined = false;
        self.before = None;
        self.last_sync = None;
        self.regular = false;
    }

    /// Ends what is open because the coding changes while time goes on: the next border is proven by what came before.
    pub fn change(&mut self, cuts: &mut Vec<Cut>) {
        let before = self.last_time;
        self.interrupt(cuts);
        self.before = before;
    }

    /// Declares every segment up to `number` lost or done: late samples of them are not cut again.
    pub fn skip_to(&mut self, number: SegmentNumber, cuts: &mut Vec<Cut>) {
        self.interrupt(cuts);
        self.last = self.last.max(Some(number));
    }

    const fn time(&self, ticks: i64) -> MediaTime {
        MediaTime::new(ticks, self.rules.timescale)
    }

    const fn half_frame(&self) -> i64 {
        self.rules.frame_ticks / 2
    }

    /// The segment that a sample at `presentation_time` belongs to, were a border there.
    fn number_at(&self, presentation_time: i64) -> SegmentNumber {
        let tolerance = if self.rules.kind == Kind::Video { self.half_frame() } else { 0 };
        self.rules.grid.number_at(self.time(presentation_time.saturating_add(tolerance)))
    }

    fn grid_start(&self, number: SegmentNumber) -> i64 {
        self.rules.grid.start(number, self.rules.timescale).ticks()
    }

    /// A border is proven when the sample before it was seen on the other side, or when the sample stands on the grid.
    fn joins(&self, sample: &Sample) -> bool {
        let time = sample.presentation_time();
        let number = self.number_at(time);
        if self.last.is_some_and(|last| number <= last) {
            return false;
        }
        if self.rules.kind == Kind::Video && !sample.sync {
            return false;
        }
        let past = time - self.grid_start(number);
        let on_grid = past <= if self.rules.kind == Kind::Video { self.half_frame() } else { i64::from(sample.duration).min(self.rules.frame_ticks) };
        let crossed = self.before.is_some_and(|before| self.number_at(before) < number);
        on_grid || crossed || matches!(self.rules.kind, Kind::Text | Kind::Metadata)
    }

    /// Opens the segment that `sample` begins, if it begins one.
    fn meet_border(&mut self, sample: &Sample, cuts: &mut Vec<Cut>) {
        let time = sample.presentation_time();
        let mut number = self.number_at(time);
        if let Some(open) = &self.open {
            if number <= open.number {
                self.note_sync(sample);
                return;
            }
            let video = self.rules.kind == Kind::Video;
            let overdue = time >= self.grid_start(open.number.next()).saturating_add(self.rules.overrun_ticks);
            if video && !sample.sync && !overdue {
                return;
            }
            if video && !sample.sync {
                self.irregular_borders += 1;
                self.regular = false;
            }
            self.close_part(cuts);
            self.end_segment(false, cuts);
        } else if let Some(last) = self.last
            && number <= last
        {
            number = last.next();
        }
        if self.rules.kind == Kind::Video && !sample.sync && self.last.is_some() && self.regular {
            self.irregular_borders += 1;
            self.regular = false;
        }
        self.note_sync(sample);
        self.open = Some(Open { number, next_index: PartIndex(0), start_decode_time: sample.decode_time });
    }

    /// Learns whether sync samples come at a whole fraction of the segment duration.
    fn note_sync(&mut self, sample: &Sample) {
        if !sample.sync || self.rules.kind != Kind::Video {
            return;
        }
        if let Some(last) = self.last_sync.replace(sample.decode_time) {
            let distance = sample.decode_time - last;
            let segment = self.segment_ticks();
            let rest = if distance > 0 { segment % distance } else { segment };
            self.regular = distance > 0 && (rest <= self.half_frame() || distance - rest <= self.half_frame()) && distance <= segment + self.half_frame();
        }
    }

    fn segment_ticks(&self) -> i64 {
        self.rules.grid.duration().rescale(self.rules.timescale).ticks()
    }

    /// True if a sample that ends at `end` is the last of the open segment, known without seeing the next.
    fn ends_at(&self, end: i64) -> bool {
        let Some(open) = &self.open else { return false };
        match self.rules.kind {
            Kind::Video => self.regular && end >= open.start_decode_time + self.segment_ticks() - self.half_frame(),
            _ => end >= self.grid_start(open.number.next()),
        }
    }

    /// Joins `sample` to the one before it: absorbs jitter, or ends the part at a hole.
    fn bridge(&mut self, sample: &Sample, cuts: &mut Vec<Cut>) {
        let half = self.half_frame();
        let Some(last) = self.pending.last_mut() else { return };
        let step = sample.decode_time - last.decode_time;
        let error = step - i64::from(last.duration);
        if error == 0 {
            return;
        }
        match u32::try_from(step) {
            Ok(duration) if error.abs() <= half && duration > 0 => {
                last.duration = duration;
                self.pending_ticks += error;
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

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn scale(n: u32) -> Timescale {
        Timescale::new(n).unwrap()
    }

    fn video(fps_ticks: i64, timescale: u32, segment: MediaDuration, part_ticks: i64) -> Rules {
        Rules {
            kind: Kind::Video,
            timescale: scale(timescale),
            grid: Grid::new(segment).unwrap(),
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

    const SECOND: MediaDuration = MediaDuration::new(1, match Timescale::new(1) { Some(t) => t, None => panic!() });

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
        let rules = Rules { kind: Kind::Audio, frame_ticks: 1_024, part_ticks: Some(9 * 1_024), ..video(1_024, 48_000, SECOND, 0) };
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
        let holed: Vec<Sample> = samples.into_iter().enumerate().filter(|(i, _)| *i != 7 && *i != 8).map(|(_, s)| s).collect();
        assert_eq!(parts(&cut(rules, &holed))[1].2, 2);
    }

    #[test]
    fn a_long_cue_is_split_at_the_border() {
        let rules = Rules { kind: Kind::Text, frame_ticks: 1, part_ticks: None, ..video(1, 1_000, SECOND, 0) };
        let cue = Sample { decode_time: 100_500, composition_offset: 0, duration: 2_000, sync: true, data: Bytes::from_static(b"cue") };
        let cuts = cut(rules, &[cue]);
        assert_eq!(parts(&cuts), [(100, 0, 1, true), (101, 0, 1, true)]);
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
    }
}
