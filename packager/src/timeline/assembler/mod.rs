// SPDX-License-Identifier: Apache-2.0
//! One channel's timeline: every track's fragments in, cuts on one grid out.
//!
//! The assembler decides four things once and then keeps them: where the source's zero lies
//! ([`Anchor`](super::anchor::Anchor)), how long a segment is (a whole multiple of the GOP nearest to the wish), each
//! track's part target (a whole number of its frames), and, for every incompatible change, at which segment a new
//! generation begins.

mod anchoring;
mod delivery;
mod learning;
mod output;
mod track;

use std::collections::BTreeMap;
use std::time::Duration;

use headwater_media::{Generation, Grid, Kind, MediaDuration, MediaTime, SegmentNumber, Timescale, TrackId, UtcTime};

pub use self::output::{Config, Defect, Memory, Output, TrackInput, TrackPlan};
pub use self::track::target_duration_seconds;

use self::anchoring::Session;
use self::learning::Learning;
use self::track::TrackState;
use super::anchor::Basis;
use super::intake::Counts;
use super::progress::{Doubt, Place, Raw, Step};
use super::segmenter::Segmenter;
use crate::Sample;

/// Media times lie within this many seconds of zero: some 270 years.
const SECONDS_MAX: i64 = 1 << 33;
/// More ticks a second than these are nobody's: grid arithmetic is exact up to here.
const TICKS_PER_SECOND_MAX: i64 = 1 << 30;
/// Longer than anything waits for evidence.
const WAITS_MAX: Duration = Duration::from_secs(60);
/// A frame or a cue that claims to last longer is cut short.
const FRAME_SECONDS_MAX: i64 = 10;
const CUE_SECONDS_MAX: i64 = 3_600;

/// The timeline of one channel.
#[derive(Debug)]
pub struct Assembler {
    config: Config,
    tracks: BTreeMap<TrackId, TrackState>,
    /// Source timelines that tracks are on, oldest first.
    sessions: Vec<Session>,
    grid: Option<Grid>,
    learning: Learning,
    /// Offset of source zero told by a pushed manifest.
    anchor_hint: Option<MediaTime>,
    /// A manifest is expected to tell the source's place in time.
    expects_hint: bool,
    /// First segment of the newest generation.
    first: SegmentNumber,
    generation: Generation,
    /// Where each of the recent generations begins, oldest first.
    generations: Vec<(SegmentNumber, Generation)>,
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
            sessions: Vec::new(),
            grid: None,
            learning: Learning::default(),
            anchor_hint: None,
            expects_hint: false,
            first: SegmentNumber(0),
            generation: Generation(0),
            generations: Vec::new(),
            first_media: None,
            restart_floor: None,
            known_plans: BTreeMap::new(),
            outputs: Vec::new(),
        };
        if let Some(memory) = memory {
            this.grid = Some(memory.grid);
            this.learning.confirmed = memory.confirmed;
            this.sessions.push(Session::recalled(memory.anchor));
            this.first = memory.first;
            this.generation = memory.generation;
            this.generations.push((memory.first, memory.generation));
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
        let last = self.tracks.values().filter_map(TrackState::position).max();
        Some(Memory {
            grid: self.grid?,
            confirmed: self.learning.confirmed,
            anchor: self.sessions.iter().rev().find_map(|s| s.anchor)?,
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
        self.tracks.get(track).map(TrackState::counts).unwrap_or_default()
    }

    /// Bytes of a track's samples that are here and not cut: what waits for an earlier fragment, for the grid, or for
    /// the end of its part. Costs a look at each of them.
    pub fn held_bytes(&self, track: &TrackId) -> usize {
        self.tracks.get(track).map_or(0, TrackState::held_bytes)
    }

    /// Channel time of a time of the source that a track is on; `None` while its zero is not known.
    pub fn place(&self, track: &TrackId, source: MediaTime) -> Option<MediaTime> {
        let session = self.tracks.get(track)?.session?;
        Some(self.sessions.iter().find(|s| s.id == session)?.anchor?.map(source))
    }

    /// What the newest source's clock should show at `now`, in ticks of `timescale`, if its zero is known: where a
    /// 32-bit clock that has wrapped before stands.
    pub fn source_time(&self, timescale: Timescale, now: UtcTime) -> Option<i64> {
        let anchor = self.sessions.last()?.anchor.filter(|anchor| anchor.basis != Basis::Epoch)?;
        Some(now.media_time(timescale).ticks().saturating_sub(anchor.ticks(timescale)))
    }

    /// Media of this channel comes with a manifest that may tell its place in time.
    pub const fn expect_hint(&mut self) {
        self.expects_hint = true;
    }

    /// A pushed manifest says how long its segments are.
    pub fn hint_segment(&mut self, duration: MediaDuration, now: UtcTime) {
        if duration.ticks() > 0 && duration <= MediaDuration::from_millis(20_000) {
            self.learning.hint = Some(duration);
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
        if self.tracks.contains_key(id) {
            return self.change_header(id, input);
        }
        let plan = self.known_plans.get(id).copied();
        let mut track = TrackState::new(input, plan, self.generation, &self.config);
        if let (Some(floor), Some(grid)) = (self.restart_floor, &self.grid) {
            track.resume_after(floor, grid);
        }
        self.tracks.insert(id.clone(), track);
    }

    /// A fragment of a track whose header is known; times in source ticks, edit list applied, 32-bit times unrolled.
    pub fn push(&mut self, id: &TrackId, body: u64, samples: Vec<Sample>, now: UtcTime) {
        self.arrive(id, Raw { body, slate: false, samples, received: now }, now);
    }

    /// As [`Self::push`], of a fragment that says it is a slate: real media of the same time is worth waiting for.
    pub fn push_slate(&mut self, id: &TrackId, body: u64, samples: Vec<Sample>, now: UtcTime) {
        self.arrive(id, Raw { body, slate: true, samples, received: now }, now);
    }

    fn arrive(&mut self, id: &TrackId, mut raw: Raw, now: UtcTime) {
        let Some(track) = self.tracks.get(id) else { return };
        if raw.samples.is_empty() {
            return;
        }
        if !is_sane(&mut raw.samples, track.input) {
            return self.outputs.push(Output::Defect(Some(id.clone()), Defect::BadTime));
        }
        self.first_media.get_or_insert(now);
        self.step(id, raw, now);
        self.settle(now);
    }

    /// Gives up on what is late at `now`; call at [`Self::deadline`] or about twice a second.
    pub fn advance(&mut self, now: UtcTime) {
        let ids: Vec<TrackId> = self.tracks.keys().cloned().collect();
        self.resolve_doubts(now);
        self.settle(now);
        for id in &ids {
            let mut ready = Vec::new();
            if let Some(track) = self.tracks.get_mut(id) {
                let half = track.half_frame();
                track.intake.advance(half, now, &mut ready);
            }
            self.cut(id, &ready);
        }
        self.give_up_lost(now);
    }

    /// Nothing will follow: what waits for something missing is taken without it, and what is open ends.
    pub fn end(&mut self, now: UtcTime) {
        self.advance(now);
        self.settle(now + WAITS_MAX);
        let ids: Vec<TrackId> = self.tracks.keys().cloned().collect();
        for id in &ids {
            let mut ready = Vec::new();
            if let Some(track) = self.tracks.get_mut(id) {
                let half = track.half_frame();
                track.intake.flush(half, now, &mut ready);
            }
            self.cut(id, &ready);
            self.interrupt(id, Segmenter::interrupt);
            // What could not be placed in time by now never will be.
            self.tracks.get_mut(id).into_iter().for_each(TrackState::forget_unplaced);
        }
    }

    /// When something that waits stops waiting.
    pub fn deadline(&self) -> Option<UtcTime> {
        self.tracks.values().filter_map(TrackState::deadline).min()
    }

    /// Decides whether a fragment goes on from where its track stands, and takes it accordingly.
    fn step(&mut self, id: &TrackId, raw: Raw, now: UtcTime) {
        let edge = self.edge();
        let newest = self.sessions.last().and_then(|s| s.anchor);
        let Some(track) = self.tracks.get_mut(id) else { return };
        let scale = track.input.timescale;
        let anchor = match track.session {
            Some(session) => self.sessions.iter().find(|s| s.id == session).and_then(|s| s.anchor),
            None => newest,
        };
        let half_frame = track.half_frame();
        let step = anchor.map_or(Step::Follows, |anchor| {
            let place = Place { anchor, timescale: scale, half_frame, edge, now };
            track.progress.judge(&raw, place, track.doubt.as_ref())
        });
        match step {
            Step::Follows => self.note(id, raw),
            Step::Doubtful => match &mut track.doubt {
                Some(doubt) => doubt.add(raw, self.config.held_samples_max),
                None => track.doubt = Some(Doubt::new(raw, &track.progress, scale)),
            },
            Step::Restarts => {
                track.doubt = None;
                self.restart(id, [raw], now);
            }
            Step::Retired => track.intake.count_late(raw.samples.len()),
        }
    }

    /// Takes a fragment of the run its track is on.
    fn note(&mut self, id: &TrackId, raw: Raw) {
        let session = self.newest_session(raw.received);
        let Some(track) = self.tracks.get_mut(id) else { return };
        track.session.get_or_insert(session);
        if track.progress.note(&raw, track.input.timescale)
            && let Some(doubt) = track.doubt.take()
        {
            track.intake.count_duplicate(doubt.samples());
        }
        if !track.accept(raw, self.config.held_samples_max) {
            self.outputs.push(Output::Defect(Some(id.clone()), Defect::Overflow));
        }
    }

    /// What was doubtful for long enough is a new timeline if it keeps the pace of one; then so is what is doubtful on
    /// other tracks.
    fn resolve_doubts(&mut self, now: UtcTime) {
        let mut restarts = false;
        for track in self.tracks.values_mut() {
            let Some(doubt) = track.doubt.take_if(|doubt| doubt.deadline() <= now) else { continue };
            if doubt.is_paced(now, track.input.timescale) {
                track.doubt = Some(doubt);
                restarts = true;
            } else {
                track.intake.count_duplicate(doubt.samples());
            }
        }
        if !restarts {
            return;
        }
        let doubts: Vec<_> = self.tracks.iter_mut().filter_map(|(id, t)| Some((id.clone(), t.doubt.take()?))).collect();
        for (id, doubt) in doubts {
            self.restart(&id, doubt.into_held(), now);
        }
    }

    /// Decides whatever can be decided by now, and moves samples as far as they can go.
    fn settle(&mut self, now: UtcTime) {
        self.find_anchors(now);
        self.announce_generations();
        let ids: Vec<TrackId> = self.tracks.keys().cloned().collect();
        for id in &ids {
            let ready = self.map(id);
            self.cut(id, &ready);
        }
        if !self.learning.confirmed && !self.sessions.is_empty() {
            self.learn(now);
            for id in &ids {
                self.cut(id, &[]);
            }
        }
        self.tell_apart();
    }

    /// Tells which renditions cannot be switched to: those that do not fit while another does.
    fn tell_apart(&mut self) {
        let misfit = |t: &TrackState| t.segmenter.as_ref().is_some_and(Segmenter::is_misfit);
        let videos = || self.tracks.values().filter(|t| t.input.kind == Kind::Video && t.segmenter.is_some());
        let others = self.learning.confirmed && videos().any(|t| !misfit(t));
        for (id, track) in &mut self.tracks {
            let apart = others && misfit(track);
            if std::mem::replace(&mut track.apart, apart) == apart {
                continue;
            }
            if apart {
                self.outputs.push(Output::Defect(Some(id.clone()), Defect::NotSwitchable));
            }
            self.outputs.push(Output::Apart(id.clone(), apart));
        }
    }

    /// The newest time any track has reached, or had before a restart.
    fn edge(&self) -> Option<MediaTime> {
        let floor = self.restart_floor.zip(self.grid).map(|(floor, grid)| grid.start(floor.next(), Timescale::NANOS));
        self.tracks.values().filter_map(TrackState::end).chain(floor).max()
    }

    /// A track's coding changes: its next segment begins a generation, and a segment never mixes two headers.
    fn change_header(&mut self, id: &TrackId, input: TrackInput) {
        self.outputs.push(Output::Defect(Some(id.clone()), Defect::HeaderChange));
        self.interrupt(id, Segmenter::change);
        let Some(track) = self.tracks.get_mut(id) else { return };
        track.changed |= track.is_published();
        track.forget_unplaced();
        track.opening = None;
        let half = MediaDuration::new(track.half_frame(), track.input.timescale);
        let floor = track.end().map(|end| (end - half).rescale(input.timescale).ticks());
        track.intake.restart(floor);
        if track.input != input {
            track.input = input;
            track.progress.forget();
        }
        track.plan = track.plan.map(|plan| TrackPlan { frame: MediaDuration::new(0, input.timescale), ..plan });
        if let Some(segmenter) = track.segmenter.take() {
            track.earlier = Some(segmenter);
        }
        self.announce_generations();
        if self.grid.is_some() {
            // What has been seen of the old coding is all that will be.
            self.end_learning();
        }
    }
}

/// True if the fragment's times are such as media can have. Durations beyond reason are cut short.
fn is_sane(samples: &mut [Sample], input: TrackInput) -> bool {
    let ticks_per_second = i64::from(input.timescale.ticks_per_second());
    let seconds = if matches!(input.kind, Kind::Video | Kind::Audio) { FRAME_SECONDS_MAX } else { CUE_SECONDS_MAX };
    let longest = u32::try_from(seconds * ticks_per_second).unwrap_or(u32::MAX);
    let bound = (SECONDS_MAX / 2).saturating_mul(ticks_per_second);
    samples.iter_mut().for_each(|s| s.duration = s.duration.min(longest));
    let within = |time: i64| -bound < time && time < bound;
    ticks_per_second <= TICKS_PER_SECOND_MAX
        && samples.iter().all(|s| within(s.decode_time) && within(s.presentation_time()))
}
