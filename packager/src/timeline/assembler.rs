// SPDX-License-Identifier: Apache-2.0
//! One channel's timeline: every track's fragments in, cuts on one grid out.
//!
//! The assembler decides four things once and then keeps them: where the source's zero lies ([`Anchor`]), how long a
//! segment is (a whole multiple of the GOP nearest to the wish), each track's part target (a whole number of its
//! frames), and, for every incompatible change, at which segment a new generation begins.

use std::collections::BTreeMap;
use std::time::Duration;

use headwater_media::{Generation, Grid, Kind, MediaDuration, MediaTime, SegmentNumber, Timescale, TrackId, UtcTime};

use super::anchor::{Anchor, Basis};
use super::intake::{Counts, Intake};
use super::segmenter::{Cut, PartCut, Rules, Segmenter};
use crate::Sample;

/// What the operator wishes for a channel.
#[derive(Clone, Debug)]
pub struct Config {
    /// Wished segment duration; the whole multiple of the GOP nearest to it is used.
    pub segment: MediaDuration,
    /// Longest part.
    pub part: MediaDuration,
    /// How long a fragment that leaves a hole waits for the missing one.
    pub reorder: Duration,
    /// How far a track may fall behind the others before its segments are declared lost.
    pub late: Duration,
    /// How long media from zero waits for a manifest that tells its place in time.
    pub hint: Duration,
    /// Samples held per track while the timeline is being learned.
    pub held_samples_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            segment: MediaDuration::from_millis(2_000),
            part: MediaDuration::from_millis(200),
            reorder: Duration::from_secs(2),
            late: Duration::from_secs(4),
            hint: Duration::from_secs(3),
            held_samples_max: 4_096,
        }
    }
}

/// What a new track brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackInput {
    /// What it carries.
    pub kind: Kind,
    /// Unit of its samples' times.
    pub timescale: Timescale,
}

/// What was decided for a track; fixed for the channel's life, but for the frame of a later generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackPlan {
    /// Usual duration of a sample.
    pub frame: MediaDuration,
    /// `PART-TARGET`; `None` publishes whole segments.
    pub part_target: Option<MediaDuration>,
}

/// Something wrong with the input that was survived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Defect {
    /// The GOP does not fit the segment grid.
    GopMisfit,
    /// A track fell behind and its segments are given up.
    Lost,
    /// Samples came while the timeline was unknown, past the bound.
    Overflow,
    /// The encoder's timeline started anew.
    Restart,
    /// The encoder's header changed.
    HeaderChange,
}

impl Defect {
    /// Its name in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GopMisfit => "gop_misfit",
            Self::Lost => "lost",
            Self::Overflow => "overflow",
            Self::Restart => "restart",
            Self::HeaderChange => "header_change",
        }
    }
}

/// What the channel has to do.
#[derive(Clone, Debug)]
pub enum Output {
    /// The grid is known; it comes before any part.
    Grid(Grid),
    /// A track's plan is known; it comes before its first part.
    Plan(TrackId, TrackPlan),
    /// A part of a track, and the generation its segment belongs to.
    Part(TrackId, Generation, PartCut),
    /// No further part belongs to that segment.
    End {
        /// Whose.
        track: TrackId,
        /// Which.
        number: SegmentNumber,
        /// Samples are missing at its end.
        short: bool,
    },
    /// Every segment of the track up to and with this one that is not published is lost.
    Lost(TrackId, SegmentNumber),
    /// From `first` on, segments belong to a new generation.
    Generation {
        /// First segment of it, on every track.
        first: SegmentNumber,
        /// Its number.
        generation: Generation,
    },
    /// The first guess of the grid was wrong: forget everything published, the channel begins now.
    Reset,
    /// Count and log.
    Defect(Option<TrackId>, Defect),
}

/// What survives a restart of the origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// The grid.
    pub grid: Grid,
    /// Where the last source's zero lies.
    pub anchor: Anchor,
    /// First segment of the newest generation.
    pub first: SegmentNumber,
    /// The newest generation.
    pub generation: Generation,
    /// Plans by track.
    pub plans: BTreeMap<TrackId, TrackPlan>,
    /// The newest segment published.
    pub last: Option<SegmentNumber>,
}

#[derive(Debug)]
struct Raw {
    source: u64,
    samples: Vec<Sample>,
    received: UtcTime,
}

#[derive(Debug)]
struct TrackState {
    input: TrackInput,
    plan: Option<TrackPlan>,
    /// Index into `anchors`.
    anchor: Option<usize>,
    /// Before the anchor is known.
    raw: Vec<Raw>,
    raw_samples: usize,
    intake: Intake,
    /// In order, on the channel's timeline, before the grid is confirmed.
    held: Vec<Sample>,
    segmenter: Option<Segmenter>,
    generation: Generation,
    /// The next segment that opens begins a generation.
    changed: bool,
    first_source: Option<i64>,
    last_source: Option<i64>,
    last_received: Option<UtcTime>,
    irregular_seen: u64,
    /// Duration of the first fragment that opened with its only sync sample.
    opening: Option<i64>,
    /// A new segmenter does not cut segments up to this one again.
    resume_after: Option<SegmentNumber>,
}

impl TrackState {
    fn half_frame(&self) -> i64 {
        let ticks = self.plan.map(|p| p.frame.rescale(self.input.timescale).ticks());
        ticks.or_else(|| typical_duration(&self.held)).unwrap_or(2) / 2
    }
}

/// The timeline of one channel.
#[derive(Debug)]
pub struct Assembler {
    config: Config,
    tracks: BTreeMap<TrackId, TrackState>,
    anchors: Vec<Anchor>,
    grid: Option<Grid>,
    /// The GOP has been seen to fit the grid, or the grid was given.
    confirmed: bool,
    /// Segment duration told by a pushed manifest.
    segment_hint: Option<MediaDuration>,
    /// Offset of source zero told by a pushed manifest.
    anchor_hint: Option<MediaTime>,
    /// A manifest is expected to tell the source's place in time.
    expects_hint: bool,
    first: SegmentNumber,
    generation: Generation,
    first_media: Option<UtcTime>,
    restart_floor: Option<SegmentNumber>,
    known_plans: BTreeMap<TrackId, TrackPlan>,
    outputs: Vec<Output>,
}

impl Assembler {
    /// A timeline that knows nothing yet, or what it knew before.
    pub fn new(config: Config, memory: Option<Memory>) -> Self {
        let mut this = Self {
            config,
            tracks: BTreeMap::new(),
            anchors: Vec::new(),
            grid: None,
            confirmed: false,
            segment_hint: None,
            anchor_hint: None,
            expects_hint: false,
            first: SegmentNumber(0),
            generation: Generation(0),
            first_media: None,
            restart_floor: None,
            known_plans: BTreeMap::new(),
            outputs: Vec::new(),
        };
        if let Some(memory) = memory {
            this.grid = Some(memory.grid);
            this.confirmed = true;
            this.anchors.push(memory.anchor);
            this.first = memory.first;
            this.generation = memory.generation;
            this.known_plans = memory.plans;
            this.restart_floor = memory.last;
            this.outputs.push(Output::Grid(memory.grid));
        }
        this
    }

    /// What to keep across a restart; `None` before the grid is known.
    pub fn memory(&self) -> Option<Memory> {
        let mut plans = self.known_plans.clone();
        plans.extend(self.tracks.iter().filter_map(|(id, t)| t.plan.map(|p| (id.clone(), p))));
        let last = self.tracks.values().filter_map(|t| t.segmenter.as_ref()?.position()).max();
        Some(Memory {
            grid: self.grid?,
            anchor: *self.anchors.last()?,
            first: self.first,
            generation: self.generation,
            plans,
            last: last.max(self.restart_floor),
        })
    }

    /// Takes what has been decided since the last call.
    pub fn take(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// The grid, once known.
    pub const fn grid(&self) -> Option<&Grid> {
        self.grid.as_ref()
    }

    /// What happened to a track's arrivals.
    pub fn counts(&self, track: &TrackId) -> Counts {
        self.tracks.get(track).map(|t| t.intake.counts()).unwrap_or_default()
    }

    /// Media of this channel comes with a manifest that may tell its place in time.
    pub const fn expect_hint(&mut self) {
        self.expects_hint = true;
    }

    /// A pushed manifest says how long its segments are.
    pub fn hint_segment(&mut self, duration: MediaDuration, now: UtcTime) {
        if duration.ticks() > 0 && duration <= MediaDuration::from_millis(20_000) {
            self.segment_hint = Some(duration);
            self.settle(now);
        }
    }

    /// A pushed manifest says that source time zero is `offset` on the UTC timeline.
    pub fn hint_anchor(&mut self, offset: MediaTime, now: UtcTime) {
        self.anchor_hint = Some(offset);
        self.settle(now);
    }

    /// A track's header, the first or one that changed incompatibly.
    pub fn header(&mut self, id: &TrackId, input: TrackInput) {
        let Some(track) = self.tracks.get_mut(id) else {
            let plan = self.known_plans.get(id).copied();
            let mut intake = Intake::new(self.config.reorder, 32);
            if let (Some(floor), Some(grid)) = (self.restart_floor, self.grid) {
                // What was published before a restart of the origin is not published again.
                intake.give_up_before(grid.start(floor.next(), input.timescale).ticks());
            }
            self.tracks.insert(
                id.clone(),
                TrackState {
                    input,
                    plan,
                    anchor: None,
                    raw: Vec::new(),
                    raw_samples: 0,
                    intake,
                    held: Vec::new(),
                    segmenter: None,
                    generation: self.generation,
                    changed: false,
                    first_source: None,
                    last_source: None,
                    last_received: None,
                    irregular_seen: 0,
                    opening: None,
                    resume_after: self.restart_floor,
                },
            );
            return;
        };
        self.outputs.push(Output::Defect(Some(id.clone()), Defect::HeaderChange));
        track.changed = true;
        if track.input != input {
            let expected = track.intake.expected().map(|e| MediaTime::new(e, track.input.timescale).rescale(input.timescale).ticks());
            track.input = input;
            track.last_source = None;
            track.first_source = None;
            track.intake.restart();
            if let Some(expected) = expected {
                track.intake.give_up_before(expected);
            }
            if let Some(segmenter) = track.segmenter.take() {
                let mut cuts = Vec::new();
                let mut old = segmenter;
                track.resume_after = old.position();
                old.interrupt(&mut cuts);
                let generation = track.generation;
                emit(&mut self.outputs, id, generation, cuts);
                track.plan = track.plan.map(|p| TrackPlan { frame: MediaDuration::new(0, input.timescale), ..p });
            }
        } else if let Some(segmenter) = &mut track.segmenter
            && segmenter.is_open()
        {
            // A segment never mixes two headers: what is open ends here unless the next sample begins a new one anyway.
            let mut cuts = Vec::new();
            segmenter.change(&mut cuts);
            let generation = track.generation;
            emit(&mut self.outputs, id, generation, cuts);
        }
    }

    /// A fragment of a track whose header is known; times in source ticks, edit list applied, 32-bit times unrolled.
    pub fn push(&mut self, id: &TrackId, source: u64, samples: Vec<Sample>, now: UtcTime) {
        if samples.is_empty() || !self.tracks.contains_key(id) {
            return;
        }
        self.first_media.get_or_insert(now);
        let restart = self.restarted(id, &samples, now);
        let Some(track) = self.tracks.get_mut(id) else { return };
        track.last_received = Some(now);
        if track.opening.is_none() && samples[0].sync {
            let lone = samples.iter().filter(|s| s.sync).count() == 1;
            track.opening = Some(if lone { samples.iter().map(|s| i64::from(s.duration)).sum() } else { 0 });
        }
        if restart {
            track.anchor = None;
            track.first_source = None;
        }
        track.last_source = samples.last().map(|s| s.decode_time);
        track.first_source = track.first_source.or(samples.first().map(|s| s.decode_time));
        track.raw_samples += samples.len();
        if track.raw_samples > self.config.held_samples_max && track.anchor.is_none() {
            let dropped = track.raw.drain(..).map(|r| r.samples.len()).sum::<usize>();
            track.raw_samples -= dropped.min(track.raw_samples);
            self.outputs.push(Output::Defect(Some(id.clone()), Defect::Overflow));
        }
        track.raw.push(Raw { source, samples, received: now });
        if restart {
            self.outputs.push(Output::Defect(Some(id.clone()), Defect::Restart));
            self.reanchor(id, now);
        }
        self.settle(now);
    }

    /// Gives up on what is late at `now`; call at [`Self::deadline`] or about twice a second.
    pub fn advance(&mut self, now: UtcTime) {
        self.settle(now);
        let ids: Vec<TrackId> = self.tracks.keys().cloned().collect();
        for id in ids {
            let mut ready = Vec::new();
            if let Some(track) = self.tracks.get_mut(&id) {
                let half = track.half_frame();
                track.intake.advance(half, now, &mut ready);
            }
            self.cut(&id, ready);
        }
        self.give_up_lost(now);
    }

    /// When an early fragment stops waiting.
    pub fn deadline(&self) -> Option<UtcTime> {
        self.tracks.values().filter_map(|t| t.intake.deadline()).min()
    }

    /// True if the track's time starts anew with `samples`.
    fn restarted(&self, id: &TrackId, samples: &[Sample], now: UtcTime) -> bool {
        let Some(track) = self.tracks.get(id) else { return false };
        let (Some(index), Some(last), Some(first)) = (track.anchor, track.last_source, samples.first()) else { return false };
        let scale = track.input.timescale;
        let anchor = self.anchors[index];
        let ticks = |seconds: i64| i64::from(scale.ticks_per_second()) * seconds;
        let back = last - first.decode_time;
        if anchor.basis == Basis::Epoch {
            // A UTC source never restarts; one that leaves UTC has.
            return !Anchor::tells_utc(MediaTime::new(first.decode_time, scale), now) && back > ticks(3);
        }
        let origin = track.first_source.unwrap_or(first.decode_time);
        let at_origin = first.decode_time <= origin + track.half_frame() && back > 2 * track.half_frame();
        let far_back = back > ticks(60);
        let mapped = anchor.map(MediaTime::new(first.decode_time, scale)).nanos();
        let ahead = first.decode_time - last > ticks(10) && mapped - now.nanos() > 10_000_000_000;
        at_origin || far_back || ahead
    }

    /// Finds the anchor of a track whose timeline started anew: the newest one if it fits, else a new one.
    fn reanchor(&mut self, id: &TrackId, now: UtcTime) {
        let Some(track) = self.tracks.get(id) else { return };
        let Some(first) = track.raw.first().and_then(|r| r.samples.first()) else { return };
        let scale = track.input.timescale;
        let source = MediaTime::new(first.presentation_time(), scale);
        let end = track.intake.expected().map_or(MediaTime::new(0, scale), |e| MediaTime::new(e, scale));
        let newest = self.anchors.len().checked_sub(1);
        if let Some(newest) = newest {
            let mapped = self.anchors[newest].map(source);
            let near = (mapped.nanos() - now.nanos()).abs() <= 30_000_000_000;
            if near && mapped >= end - MediaDuration::new(track.half_frame(), scale) {
                return self.adopt(id, newest);
            }
        }
        let ends = self.tracks.values().filter_map(|t| t.intake.expected().map(|e| MediaTime::new(e, t.input.timescale)));
        let floor = ends.max().unwrap_or(end).max(MediaTime::new(now.nanos(), Timescale::NANOS).min(end + MediaDuration::from_millis(3_600_000)));
        let anchor = if Anchor::tells_utc(source, now) {
            Anchor::EPOCH
        } else if let Some(grid) = &self.grid {
            let border = grid.start(grid.number_at(floor).next(), scale);
            let offset = MediaTime::new(border.ticks() - source.ticks(), scale);
            Anchor { offset, basis: Basis::Continued }
        } else {
            Anchor::at(source, floor, MediaDuration::new(1, scale), Basis::Arrival)
        };
        self.anchors.push(anchor);
        let index = self.anchors.len() - 1;
        self.adopt(id, index);
    }

    fn adopt(&mut self, id: &TrackId, index: usize) {
        let Some(track) = self.tracks.get_mut(id) else { return };
        track.anchor = Some(index);
        track.changed = true;
        if let Some(segmenter) = &mut track.segmenter {
            let mut cuts = Vec::new();
            segmenter.interrupt(&mut cuts);
            let generation = track.generation;
            emit(&mut self.outputs, id, generation, cuts);
        }
    }

    /// Decides whatever can be decided by now, and moves samples as far as they can go.
    fn settle(&mut self, now: UtcTime) {
        if self.anchors.is_empty()
            && let Some(anchor) = self.find_anchor(now)
        {
            self.anchors.push(anchor);
        }
        if self.anchors.is_empty() {
            return;
        }
        let ids: Vec<TrackId> = self.tracks.keys().cloned().collect();
        for id in &ids {
            let ready = self.map_raw(id, now);
            self.cut(id, ready);
        }
        if !self.confirmed {
            self.learn(now);
            for id in &ids {
                self.cut(id, Vec::new());
            }
        }
    }

    /// The first source's zero on the UTC timeline, from the evidence in the order of the module's table.
    fn find_anchor(&self, now: UtcTime) -> Option<Anchor> {
        let mut waiting = self.tracks.values().filter(|t| !t.raw.is_empty()).peekable();
        waiting.peek()?;
        let utc = waiting.any(|t| {
            let first = t.raw.first().and_then(|r| r.samples.first());
            first.is_some_and(|s| Anchor::tells_utc(MediaTime::new(s.decode_time, t.input.timescale), now))
        });
        if utc {
            return Some(Anchor::EPOCH);
        }
        let waited = self.first_media.map_or(Duration::ZERO, |first| now.since(first));
        let key = self.tracks.values().filter(|t| t.input.kind == Kind::Video).find_map(first_key_frame);
        if let Some(offset) = self.anchor_hint {
            let frame = key.map_or(MediaDuration::from_millis(1), |k| k.frame);
            let scale = key.map_or(Timescale::MILLIS, |k| k.time.timescale());
            return Some(Anchor::at(MediaTime::new(0, scale), offset, frame, Basis::Manifest));
        }
        if self.expects_hint && waited < self.config.hint {
            return None;
        }
        let any = || self.tracks.values().find_map(first_key_frame);
        let key = key.or_else(|| if waited >= Duration::from_secs(1) { any() } else { None })?;
        let captured = MediaTime::new(key.received.nanos(), Timescale::NANOS) - key.length;
        Some(Anchor::at(key.time, captured, key.frame, Basis::Arrival))
    }

    fn map_raw(&mut self, id: &TrackId, _now: UtcTime) -> Vec<Sample> {
        let mut ready = Vec::new();
        let newest = self.anchors.len() - 1;
        let Some(track) = self.tracks.get_mut(id) else { return ready };
        if track.raw.is_empty() {
            return ready;
        }
        let index = *track.anchor.get_or_insert(newest);
        let offset = self.anchors[index].ticks(track.input.timescale);
        let half = track.half_frame();
        track.raw_samples = 0;
        for raw in std::mem::take(&mut track.raw) {
            let mut samples = raw.samples;
            for sample in &mut samples {
                sample.decode_time = sample.decode_time.saturating_add(offset);
            }
            track.intake.push(raw.source, samples, half, raw.received, &mut ready);
        }
        ready
    }

    /// Learns the segment duration from the first GOP, or checks the guess against it.
    fn learn(&mut self, now: UtcTime) {
        let Some(anchor) = self.anchors.first().copied() else { return };
        let video = self.tracks.values().filter(|t| t.input.kind == Kind::Video);
        let evidence = video.filter(|t| !t.held.is_empty()).find_map(evidence);
        let wish = self.config.segment;
        let Some(evidence) = evidence else {
            let waited = self.first_media.map_or(Duration::ZERO, |first| now.since(first));
            let video_expected = self.tracks.values().any(|t| t.input.kind == Kind::Video);
            let sound = self.tracks.values().any(|t| !t.held.is_empty());
            if self.grid.is_none() && sound && !video_expected && waited >= Duration::from_secs(1) {
                self.fix(wish, anchor, None);
                self.confirmed = true;
            }
            return;
        };
        if let Some(gop) = evidence.gop {
            let segment = nearest_multiple(gop, wish);
            let misfit = self.grid.is_some_and(|g| (g.duration() - segment).nanos().abs() > evidence.frame.nanos() / 2);
            if misfit {
                self.outputs.push(Output::Defect(None, Defect::GopMisfit));
                self.outputs.push(Output::Reset);
                self.grid = None;
                for track in self.tracks.values_mut() {
                    track.segmenter = None;
                }
            }
            self.confirmed = true;
            if self.grid.is_none() {
                self.fix(segment, anchor, Some((evidence.first, gop)));
            }
            return;
        }
        if evidence.seen >= MediaDuration::from_millis(12_000) {
            self.confirmed = true;
        }
        if self.grid.is_some() {
            return;
        }
        let guess = match self.segment_hint {
            Some(hint) => Some(nearest_multiple(hint, wish)),
            // A whole fragment that opens with its only sync sample and is about as long as the wish: one GOP.
            None if evidence.opening.times(4) >= wish.times(3) => Some(nearest_multiple(evidence.opening, wish)),
            None if anchor.basis != Basis::Epoch || self.confirmed => Some(wish),
            None => Grid::new(wish).and_then(|grid| {
                let nearest = grid.start(grid.number_at(evidence.first + evidence.frame), evidence.first.timescale());
                let off = (evidence.first.ticks() - nearest.ticks()).abs();
                (off * 2 <= evidence.frame.ticks()).then_some(wish)
            }),
        };
        if let Some(segment) = guess {
            self.fix(segment, anchor, Some((evidence.first, segment)));
        }
    }

    /// Fixes the grid. A source that tells UTC is cut on the epoch; any other on its own zero, or where its first key
    /// frame stands when that is a little later (priming, reordering): the same for every join of a regular source.
    fn fix(&mut self, segment: MediaDuration, anchor: Anchor, first: Option<(MediaTime, MediaDuration)>) {
        let origin = match (anchor.basis, first) {
            (Basis::Epoch, _) => MediaTime::new(0, segment.timescale()),
            (Basis::Arrival | Basis::Continued, Some((first, _))) => first,
            (Basis::Manifest, Some((first, gop))) => {
                let gop = gop.nanos().max(1);
                let past = (first.nanos() - anchor.offset.nanos()).rem_euclid(gop);
                if past * 4 <= gop { anchor.offset + MediaDuration::new(past, Timescale::NANOS) } else { anchor.offset }
            }
            (_, None) => anchor.offset,
        };
        if let Some(grid) = Grid::with_phase(segment, origin) {
            self.grid = Some(grid);
            self.outputs.push(Output::Grid(grid));
        }
    }

    /// Sends samples through the track's segmenter, or holds them until there is one.
    fn cut(&mut self, id: &TrackId, ready: Vec<Sample>) {
        let Some(track) = self.tracks.get_mut(id) else { return };
        if !self.confirmed || track.segmenter.is_none() {
            track.held.extend(ready.iter().cloned());
            if track.held.len() > self.config.held_samples_max {
                let excess = track.held.len() - self.config.held_samples_max;
                track.held.drain(..excess);
                self.outputs.push(Output::Defect(Some(id.clone()), Defect::Overflow));
            }
        }
        let Some(grid) = self.grid else { return };
        let samples = if track.segmenter.is_some() {
            ready
        } else {
            let Some(plan) = plan(&track.plan, track.input, &track.held, &self.config, self.confirmed) else { return };
            if track.held.is_empty() {
                return;
            }
            self.outputs.push(Output::Plan(id.clone(), plan));
            track.plan = Some(plan);
            let mut segmenter = Segmenter::new(rules(track.input, plan, grid));
            if let Some(floor) = track.resume_after {
                segmenter.skip_to(floor, &mut Vec::new());
            }
            track.segmenter = Some(segmenter);
            track.held.clone()
        };
        if self.confirmed {
            track.held = Vec::new();
        }
        let mut cuts = Vec::new();
        for sample in samples {
            let Some(track) = self.tracks.get_mut(id) else { return };
            let Some(segmenter) = &mut track.segmenter else { return };
            segmenter.push(sample, &mut cuts);
            self.deliver(id, &mut cuts);
        }
    }

    /// Gives each cut its generation: a changed track opens a new one, or joins the one just opened by another track.
    fn deliver(&mut self, id: &TrackId, cuts: &mut Vec<Cut>) {
        for cut in cuts.drain(..) {
            let Some(track) = self.tracks.get_mut(id) else { return };
            if let Cut::Part(part) = &cut
                && part.index.0 == 0
            {
                let number = part.number;
                if track.changed {
                    let joins = track.generation < self.generation && number >= self.first && number.0 - self.first.0 <= 1;
                    if !joins {
                        self.generation = self.generation.next();
                        self.first = number;
                        self.outputs.push(Output::Generation { first: number, generation: self.generation });
                    }
                    track.changed = false;
                }
                if number >= self.first {
                    track.generation = self.generation;
                }
                let irregular = track.segmenter.as_ref().map_or(0, Segmenter::irregular_borders);
                if irregular > track.irregular_seen {
                    track.irregular_seen = irregular;
                    self.outputs.push(Output::Defect(Some(id.clone()), Defect::GopMisfit));
                }
            }
            let generation = track.generation;
            emit(&mut self.outputs, id, generation, vec![cut]);
        }
    }

    /// A track that is far behind the others has lost what they have: they go on without it.
    fn give_up_lost(&mut self, now: UtcTime) {
        let Some(grid) = self.grid else { return };
        let edge = self.tracks.values().filter_map(|t| t.segmenter.as_ref()?.position()).max();
        let Some(edge) = edge else { return };
        let late = MediaDuration::from_std(self.config.late) + grid.duration();
        let mut lost = Vec::new();
        for (id, track) in &mut self.tracks {
            let Some(segmenter) = &mut track.segmenter else { continue };
            let Some(position) = segmenter.position() else { continue };
            let scale = track.input.timescale;
            let behind = grid.start(edge, scale).since(grid.start(position.next(), scale));
            let silent = track.last_received.is_none_or(|at| MediaDuration::from_std(now.since(at)) >= late);
            if behind < late || !silent || edge.0 == 0 {
                continue;
            }
            let through = SegmentNumber(edge.0 - 1);
            if position >= through {
                continue;
            }
            let mut cuts = Vec::new();
            segmenter.skip_to(through, &mut cuts);
            track.intake.give_up_before(grid.start(edge, scale).ticks());
            lost.push((id.clone(), track.generation, cuts, through));
        }
        for (id, generation, cuts, through) in lost {
            emit(&mut self.outputs, &id, generation, cuts);
            self.outputs.push(Output::Defect(Some(id.clone()), Defect::Lost));
            self.outputs.push(Output::Lost(id, through));
        }
    }
}

fn emit(outputs: &mut Vec<Output>, id: &TrackId, generation: Generation, cuts: Vec<Cut>) {
    outputs.extend(cuts.into_iter().map(|cut| match cut {
        Cut::Part(part) => Output::Part(id.clone(), generation, part),
        Cut::End { number, short } => Output::End { track: id.clone(), number, short },
    }));
}

#[derive(Clone, Copy)]
struct KeyFrame {
    time: MediaTime,
    frame: MediaDuration,
    /// From the key frame to the end of what had arrived with it.
    length: MediaDuration,
    received: UtcTime,
}

fn first_key_frame(track: &TrackState) -> Option<KeyFrame> {
    let scale = track.input.timescale;
    for raw in &track.raw {
        let Some(at) = raw.samples.iter().position(|s| s.sync) else { continue };
        let key = &raw.samples[at];
        let length: i64 = raw.samples[at..].iter().map(|s| i64::from(s.duration)).sum();
        let frame = typical_duration(&raw.samples).unwrap_or(1);
        return Some(KeyFrame {
            time: MediaTime::new(key.presentation_time(), scale),
            frame: MediaDuration::new(frame, scale),
            length: MediaDuration::new(length, scale),
            received: raw.received,
        });
    }
    None
}

struct Evidence {
    first: MediaTime,
    frame: MediaDuration,
    /// Distance of the first two sync samples.
    gop: Option<MediaDuration>,
    /// The first fragment that opened with its only sync sample.
    opening: MediaDuration,
    /// From the first sync sample to the end of what is here.
    seen: MediaDuration,
}

/// What the held samples of a video track tell of its GOP.
fn evidence(track: &TrackState) -> Option<Evidence> {
    let (held, scale) = (&track.held, track.input.timescale);
    let at = held.iter().position(|s| s.sync)?;
    let run = &held[at..];
    let first = &run[0];
    let last = run.last()?;
    let second = run[1..].iter().find(|s| s.sync);
    let seen = last.decode_time + i64::from(last.duration) - first.decode_time;
    Some(Evidence {
        first: MediaTime::new(first.presentation_time(), scale),
        frame: MediaDuration::new(typical_duration(run)?, scale),
        gop: second.map(|s| MediaDuration::new(s.decode_time - first.decode_time, scale)),
        opening: MediaDuration::new(track.opening.unwrap_or(0), scale),
        seen: MediaDuration::new(seen, scale),
    })
}

/// The whole multiple of `gop` nearest to `wish`, at least one; a GOP past ten seconds is not followed.
fn nearest_multiple(gop: MediaDuration, wish: MediaDuration) -> MediaDuration {
    if gop.ticks() <= 0 || gop > MediaDuration::from_millis(10_000) {
        return wish;
    }
    let (wish, gop_nanos) = (i128::from(wish.nanos()), i128::from(gop.nanos()));
    let times = (wish * 2 + gop_nanos) / (gop_nanos * 2);
    gop.times(i64::try_from(times.max(1)).unwrap_or(1))
}

/// The most frequent duration; of equally frequent ones the shortest.
fn typical_duration(samples: &[Sample]) -> Option<i64> {
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    for sample in samples.iter().take(256) {
        *counts.entry(sample.duration).or_default() += 1;
    }
    let best = counts.into_iter().filter(|(d, _)| *d > 0).max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(&a.0)));
    best.map(|(duration, _)| i64::from(duration))
}

/// A track's plan, once enough samples are here to tell its usual frame from an odd first one.
fn plan(known: &Option<TrackPlan>, input: TrackInput, held: &[Sample], config: &Config, confirmed: bool) -> Option<TrackPlan> {
    if let Some(plan) = known
        && plan.frame.ticks() > 0
    {
        return Some(*plan);
    }
    let scale = input.timescale;
    let total: i64 = held.iter().map(|s| i64::from(s.duration)).sum();
    let text = matches!(input.kind, Kind::Text | Kind::Metadata);
    let part = config.part.rescale(scale).ticks();
    let enough = held.len() >= 3 || (!held.is_empty() && (total >= part || confirmed && text));
    if !enough {
        return None;
    }
    let frame = typical_duration(held)?;
    let part_target = match known {
        Some(plan) => plan.part_target,
        None if text => None,
        None => Some(MediaDuration::new((part / frame).max(1) * frame, scale)),
    };
    Some(TrackPlan { frame: MediaDuration::new(frame, scale), part_target })
}

fn rules(input: TrackInput, plan: TrackPlan, grid: Grid) -> Rules {
    let scale = input.timescale;
    let frame_ticks = plan.frame.rescale(scale).ticks().max(1);
    // EXTINF may round to TARGETDURATION but not above it.
    let target = target_duration_seconds(grid.duration());
    let longest = MediaDuration::from_millis(i64::try_from(target).unwrap_or(1) * 1_000 + 499);
    let overrun = (longest - grid.duration()).rescale(scale).ticks() - 2 * frame_ticks;
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
