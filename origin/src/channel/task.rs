// SPDX-License-Identifier: Apache-2.0
//! The owner of a channel: takes what encoders send, runs the timeline, releases parts at their pace.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use headwater_media::{Generation, MediaTime, SegmentNumber, TrackId, UtcTime};
use headwater_packager::cmaf::{Compatibility, EventMessage, TrackFragment, TrackHeader};
use headwater_packager::timeline::assembler::TrackInput;
use headwater_packager::timeline::{Assembler, Config, Output, SourceClock};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::commit::TrackWriter;
use super::lag::Lag;
use super::life::Told;
use super::markers::Markers;
use super::pacer::Pacer;
use super::sources::{Sources, Verdict};
use super::{Channel, Command, Context, State};
use crate::config;
use crate::memory::Charge;
use crate::metrics::{ChannelLabel, DefectLabel};

/// What the timeline holds is looked at after so many bytes, beside every tick.
const UNSEEN_BYTES_MAX: u64 = 8 << 20;
/// Generations that are remembered; older ones have left every window of a channel that is any use.
const GENERATIONS_MAX: usize = 64;
/// How often silence is looked at.
pub(super) const TICK: Duration = Duration::from_millis(500);

/// What the task knows of one track beside its timeline.
#[derive(Debug)]
pub(super) struct TrackTask {
    pub(super) name: String,
    pub(super) header: TrackHeader,
    /// The header of each generation, fixed when its first part was cut.
    pub(super) headers: BTreeMap<Generation, TrackHeader>,
    clock: SourceClock,
    /// Who sends it.
    sources: Sources,
    /// What was decided and when, in the order of its release.
    pub(super) queue: VecDeque<Decided>,
    pub(super) writer: Option<TrackWriter>,
    /// The origin stops, and this track's last segment is whole.
    pub(super) drained: bool,
    /// Nobody can switch to it: manifests leave it out.
    pub(super) apart: bool,
}

/// Something decided and not yet published.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) at: UtcTime,
    pub(super) output: Output,
    /// Its bytes, counted while it waits.
    pub(super) charge: Charge,
}

/// A DASH Period, an HLS discontinuity sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Break {
    /// First segment.
    pub first: SegmentNumber,
    /// Its generation.
    pub generation: Generation,
}

#[derive(Debug)]
pub(super) struct Task {
    pub(super) channel: Arc<Channel>,
    pub(super) context: Context,
    pub(super) settings: Arc<config::Channel>,
    pub(super) bounds: config::Ingest,
    pub(super) assembler: Assembler,
    /// What the timeline holds uncut.
    pub(super) unfinished: Charge,
    /// Bytes taken since that was looked at.
    unseen_bytes: u64,
    pub(super) tracks: BTreeMap<TrackId, TrackTask>,
    pub(super) breaks: Vec<Break>,
    pub(super) pacer: Option<Pacer>,
    /// Stream names whose bodies are open, and how many.
    pub(super) expected: BTreeMap<String, u32>,
    pub(super) started: Option<UtcTime>,
    pub(super) last_part: Option<UtcTime>,
    pub(super) state: State,
    pub(super) settled: bool,
    pub(super) defects: BTreeMap<&'static str, u64>,
    pub(super) ended: bool,
    pub(super) told: Told,
    pub(super) markers: Markers,
    lag: Lag,
    /// The origin stops: segments in progress are finished, none is begun.
    pub(super) draining: bool,
}

impl Task {
    pub(super) fn new(channel: Arc<Channel>, context: Context) -> Self {
        let memory = context.ledger.as_ref().and_then(super::Ledger::recall);
        let settings = channel.settings();
        let bounds = channel.bounds.clone();
        let config = Config {
            segment: settings.segment(),
            part: settings.part(),
            reorder: Duration::from_millis(u64::from(bounds.reorder_ms)),
            early_max: bounds.reorder_fragments_max,
            ..Config::default()
        };
        let breaks = memory
            .as_ref()
            .filter(|m| m.generation > Generation(0))
            .map(|m| Break { first: m.first, generation: m.generation });
        let mut task = Self {
            assembler: Assembler::new(config, memory),
            bounds,
            unfinished: context.memory.unfinished(),
            unseen_bytes: 0,
            channel,
            context,
            settings,
            tracks: BTreeMap::new(),
            breaks: breaks.into_iter().collect(),
            pacer: None,
            expected: BTreeMap::new(),
            started: None,
            last_part: None,
            state: State::Starting,
            settled: false,
            defects: BTreeMap::new(),
            ended: false,
            told: Told::default(),
            markers: Markers::default(),
            lag: Lag::default(),
            draining: false,
        };
        let now = task.context.clock.now();
        task.follow(now);
        task
    }

    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        let closed = self.channel.closed.clone();
        let mut settings = self.channel.settings.subscribe();
        let mut next_tick = self.context.clock.now() + TICK;
        loop {
            let now = self.context.clock.now();
            // NB: also while commands come without a pause: a track that fell silent among busy ones is found here.
            if now >= next_tick {
                self.tick();
                next_tick = now + TICK;
            }
            let wait = self.next_deadline(now).min(next_tick).since(now);
            tokio::select! {
                command = inbox.recv() => match command {
                    Some(command) => self.take(command),
                    None => break,
                },
                () = tokio::time::sleep(wait) => self.tick(),
                _ = settings.changed() => {
                    let settings = Arc::clone(&settings.borrow_and_update());
                    self.configure(settings);
                }
                () = self.context.shutdown.started(), if !self.draining => self.draining = true,
                () = self.context.shutdown.closed() => break,
                () = closed.cancelled() => break,
            }
            if self.draining && self.is_drained() {
                break;
            }
        }
        if let (Some(ledger), Some(memory)) = (&self.context.ledger, self.assembler.memory())
            && !closed.is_cancelled()
        {
            ledger.keep(&memory);
        }
        for writer in self.tracks.values_mut().filter_map(|t| t.writer.as_mut()) {
            // Whoever follows a segment in progress would follow it for ever.
            if writer.is_open_whole() {
                writer.end_open(&self.context, false);
            }
            writer.abort_open();
            if closed.is_cancelled() {
                writer.end(&self.context, now_or(self.last_part));
            }
            writer.tell(&self.context);
        }
        let held: u64 =
            self.tracks.values().filter_map(|t| t.writer.as_ref()).map(|w| w.edge.store.length_bytes()).sum();
        self.context.memory.remove(held);
        let now = self.context.clock.now();
        match self.channel.why.get() {
            Some(why) => {
                self.tell_ended(why, now);
                // NB: nobody finds it by its name any more: what is purged now does not come back.
                self.tell_purged(now);
            }
            None if self.ended => {}
            None => self.tell_ended("stopped", now),
        }
        if closed.is_cancelled() {
            self.context.metrics.forget(&self.channel.id, self.tracks.keys(), self.defects.keys().copied());
        }
    }

    /// True once every segment in progress is whole, or nobody is there who could complete it.
    fn is_drained(&self) -> bool {
        let waiting = |t: &TrackTask| {
            let in_progress = t.writer.as_ref().is_some_and(|w| w.window.open().is_some() && !w.is_open_whole());
            !t.drained && (in_progress && !self.expected.is_empty() || !t.queue.is_empty() && t.writer.is_some())
        };
        self.state != State::Live || !self.tracks.values().any(waiting)
    }

    /// Settings were changed: the window's length at once, the rest with the next use.
    fn configure(&mut self, settings: Arc<config::Channel>) {
        self.settings = settings;
        if let Some(pacer) = &mut self.pacer {
            pacer.enable(self.settings.cadence);
        }
        self.show();
        if let Some(targets) = self.channel.view().targets {
            for writer in self.tracks.values_mut().filter_map(|t| t.writer.as_mut()) {
                writer.list(targets.window);
            }
        }
        self.keep_budget(self.context.clock.now());
        info!(channel = %self.channel.id, "settings changed");
    }

    fn take(&mut self, command: Command) {
        let now = self.context.clock.now();
        match command {
            Command::Opened { name } => {
                *self.expected.entry(name).or_default() += 1;
            }
            Command::Closed { name, body } => {
                self.tracks.values_mut().for_each(|track| track.sources.closed(body));
                if let Some(open) = self.expected.get_mut(&name) {
                    *open = open.saturating_sub(1);
                    if *open == 0 {
                        self.expected.remove(&name);
                    }
                }
            }
            Command::Header { name, body, long, track, header } => {
                self.header(name, &track, &header, now);
                if let Some(track) = self.tracks.get_mut(&track) {
                    track.sources.header(body, header.into(), long);
                }
            }
            Command::Fragment { track, body, slate, fragment, messages, charge } => {
                self.unseen_bytes += charge.bytes();
                drop(charge);
                self.fragment(&track, (body, slate), fragment, messages, now);
                if self.unseen_bytes > UNSEEN_BYTES_MAX {
                    self.unseen_bytes = 0;
                    self.keep_unfinished();
                }
            }
            Command::ExpectHint => self.assembler.expect_hint(),
            Command::HintSegment(duration) => self.assembler.hint_segment(duration, now),
            Command::HintAnchor(offset) => self.assembler.hint_anchor(offset, now),
            Command::End => self.end(now),
            Command::CaughtUp(answer) => {
                // NB: whoever asked may have left.
                let _ = answer.send(());
                return;
            }
            Command::Status(answer) => {
                // Whoever asked may have left.
                let _ = answer.send(self.status(now));
                return;
            }
        }
        self.follow(now);
        self.release(now);
    }

    fn tick(&mut self) {
        let now = self.context.clock.now();
        self.assembler.advance(now);
        self.keep_unfinished();
        self.follow(now);
        self.release(now);
        // Another channel's growth may have made this one's share smaller.
        self.keep_budget(now);
        let target = self.channel.view().targets.map_or(Duration::from_secs(6), |t| t.target().to_std() * 3);
        let silent = self.last_part.is_some_and(|at| now.since(at) > target);
        self.tell_stalled(now);
        if self.state == State::Live && silent {
            warn!(channel = %self.channel.id, "stalled: no part for {} s", target.as_secs());
            self.state = State::Stalled;
            for writer in self.tracks.values_mut().filter_map(|t| t.writer.as_mut()) {
                writer.abort_open();
            }
            self.show();
        }
        self.settle(now);
    }

    /// A header of a new track makes it; of a known one it takes effect with the fragments it describes.
    fn header(&mut self, name: String, track: &TrackId, header: &TrackHeader, now: UtcTime) {
        let input = TrackInput { kind: header.kind, timescale: header.timescale };
        let full = self.tracks.len() >= self.bounds.tracks_max;
        match self.tracks.get_mut(track) {
            None if full => self.count_defect("too_many_tracks"),
            None => {
                info!(channel = %self.channel.id, %track, kind = %header.kind, codec = %header.codec, "track");
                self.assembler.header(track, input);
                let state = TrackTask {
                    name,
                    header: header.clone(),
                    headers: BTreeMap::new(),
                    clock: SourceClock::near(self.assembler.source_time(input.timescale, now)),
                    sources: Sources::default(),
                    queue: VecDeque::new(),
                    writer: None,
                    drained: false,
                    apart: false,
                };
                self.tracks.insert(track.clone(), state);
            }
            Some(known) if known.header.compatible_with(header) == Compatibility::Merged => {
                known.header = header.clone();
            }
            Some(_) => {}
        }
        self.follow(now);
    }

    fn fragment(
        &mut self,
        id: &TrackId,
        (body, slate): (u64, bool),
        fragment: TrackFragment,
        mut messages: Vec<EventMessage>,
        now: UtcTime,
    ) {
        if self.ended {
            return;
        }
        let mut rest = fragment.samples;
        let mut written = Some(fragment.decode_time);
        while !rest.is_empty() {
            let Some(track) = self.tracks.get_mut(id) else { return };
            let mut header = track.sources.header_of(body).unwrap_or_else(|| Arc::new(track.header.clone()));
            if let Some(own) = header.contradicted_by(&rest[0]) {
                header = Arc::new(own);
                track.sources.header(body, Arc::clone(&header), false);
            }
            let next = rest.iter().skip(1).position(|sample| header.contradicted_by(sample).is_some());
            let later = next.map_or_else(Vec::new, |at| rest.split_off(at + 1));
            let mut samples = std::mem::replace(&mut rest, later);
            let verdict = track.sources.judge(body, &header, &track.header, now);
            if let Some(switch) = track.sources.switch(body, verdict, now) {
                self.tell_switched(id, switch, now);
            }
            match verdict {
                Verdict::OnAir => {}
                Verdict::TakesOver => self.take_over(id, &header, now),
                Verdict::StandsBy(begins) => {
                    if begins {
                        warn!(channel = %self.channel.id, track = %id, defect = "other_coding", "input defect");
                        self.count_defect("other_coding");
                    }
                    return;
                }
            }
            let Some(track) = self.tracks.get_mut(id) else { return };
            let mut moved = 0;
            if let Some(written) = written.take() {
                // All of the fragment moves as its first sample does.
                let before = samples.first().map_or(0, |s| s.decode_time);
                track.clock.place(written, &mut samples);
                moved = samples.first().map_or(0, |s| s.decode_time).saturating_sub(before);
                rest.iter_mut().for_each(|s| s.decode_time = s.decode_time.saturating_add(moved));
            } else {
                track.clock =
                    SourceClock::near(samples.last().map(|s| s.decode_time.saturating_add(i64::from(s.duration))));
            }
            samples.iter_mut().for_each(|sample| header.apply_edit(sample));
            self.take_messages(id, std::mem::take(&mut messages), &header, &samples, moved);
            if slate {
                self.assembler.push_slate(id, body, samples, now);
            } else {
                self.assembler.push(id, body, samples, now);
            }
        }
    }

    /// What a track sends from here on is coded otherwise.
    fn take_over(&mut self, id: &TrackId, header: &TrackHeader, now: UtcTime) {
        let input = TrackInput { kind: header.kind, timescale: header.timescale };
        // NB: what this ends still belongs to the old header.
        self.assembler.header(id, input);
        self.follow(now);
        if let Some(track) = self.tracks.get_mut(id) {
            let rescaled = track.header.timescale != header.timescale;
            track.header = header.clone();
            if rescaled {
                track.clock = SourceClock::new();
            }
        }
    }

    /// Carries out what the timeline has decided.
    pub(super) fn follow(&mut self, now: UtcTime) {
        let outputs = self.assembler.take();
        if self.ended {
            // What was still on its way when the channel was ended does not bring it back.
            return;
        }
        let mut keep = false;
        for output in outputs {
            match output {
                Output::Grid(grid) => {
                    let duration = grid.duration();
                    info!(channel = %self.channel.id, segment_seconds = %duration.decimal(5), "segment duration");
                    let part = self.settings.part().to_std();
                    self.pacer = Some(Pacer::new(duration.to_std(), part, self.settings.cadence));
                    keep = true;
                    self.show();
                }
                Output::Plan(id, plan) => {
                    keep = true;
                    let (channel, metrics) = (Arc::clone(&self.channel), Arc::clone(&self.context.metrics));
                    let view = self.channel.view();
                    let (Some(targets), Some(grid)) = (view.targets, view.grid) else { continue };
                    if let Some(track) = self.tracks.get_mut(&id) {
                        match &mut track.writer {
                            Some(writer) => writer.replan(plan),
                            None => {
                                track.writer =
                                    Some(TrackWriter::new(&channel, &id, &track.header, plan, targets, grid, &metrics))
                            }
                        }
                    }
                    self.share_edges();
                }
                Output::Part(id, generation, part) => {
                    let end = part.start + part.duration;
                    if let Some(pacer) = &mut self.pacer {
                        pacer.arrived(&id, end, now);
                    }
                    self.measure(end, now);
                    if let Some(track) = self.tracks.get_mut(&id) {
                        track.headers.entry(generation).or_insert_with(|| track.header.clone());
                        let bytes = part.samples.iter().map(|s| s.data.len() as u64).sum();
                        let charge = self.context.memory.on_the_way(bytes);
                        track.queue.push_back(Decided { at: now, output: Output::Part(id, generation, part), charge });
                    }
                }
                Output::End { ref track, .. } | Output::Lost(ref track, _) => {
                    if let Some(track) = self.tracks.get_mut(&track.clone()) {
                        let charge = self.context.memory.on_the_way(0);
                        track.queue.push_back(Decided { at: now, output, charge });
                    }
                }
                Output::Generation { first, generation } => {
                    info!(channel = %self.channel.id, segment = %first, %generation, "discontinuity");
                    self.breaks.push(Break { first, generation });
                    self.tell_generation(first, generation);
                    self.forget_generations();
                    keep = true;
                    // Its headers can be asked for from now on.
                    self.show();
                }
                Output::Apart(id, apart) => {
                    if let Some(track) = self.tracks.get_mut(&id) {
                        track.apart = apart;
                        self.show();
                    }
                }
                Output::Confirmed => keep = true,
                Output::Reset => self.reset(now),
                Output::Defect(track, defect) => {
                    self.note_cause(defect);
                    let track = track.map_or_else(String::new, |t| t.to_string());
                    warn!(channel = %self.channel.id, track, defect = defect.as_str(), "input defect");
                    self.count_defect(defect.as_str());
                }
            }
        }
        if keep {
            self.tell_anchored();
        }
        self.tell_markers();
        if keep && let (Some(ledger), Some(memory)) = (&self.context.ledger, self.assembler.memory()) {
            ledger.keep(&memory);
        }
    }

    /// An encoder that restarts for ever must not grow our tables.
    fn forget_generations(&mut self) {
        if self.breaks.len() <= GENERATIONS_MAX {
            return;
        }
        self.breaks.drain(..self.breaks.len() - GENERATIONS_MAX);
        let oldest = self.breaks.first().map_or(Generation(0), |b| b.generation);
        self.channel.headers.write().retain(|(_, generation), _| *generation >= oldest);
        for track in self.tracks.values_mut() {
            track.headers.retain(|generation, _| *generation >= oldest);
        }
    }

    pub(super) fn count_defect(&mut self, defect: &'static str) {
        *self.defects.entry(defect).or_default() += 1;
        let label = DefectLabel { channel: self.channel.id.to_string(), defect };
        self.context.metrics.defects.get_or_create(&label).inc();
    }

    fn measure(&mut self, end: MediaTime, now: UtcTime) {
        let late = now.nanos().saturating_sub(end.nanos()) as f64 / 1e9;
        let drift = self.lag.observe(late, now);
        let label = ChannelLabel { channel: self.channel.id.to_string() };
        self.context.metrics.ingest_lag.get_or_create(&label).set(late);
        self.context.metrics.drift_seconds.get_or_create(&label).set(drift);
    }

    /// The grid was guessed wrong within the first GOP: what was published is withdrawn.
    fn reset(&mut self, now: UtcTime) {
        warn!(channel = %self.channel.id, "the GOP does not fit the segment duration that was assumed: starting anew");
        for track in self.tracks.values_mut() {
            track.queue.clear();
            track.headers.clear();
            track.apart = false;
            if let Some(writer) = track.writer.take() {
                self.context.memory.remove(writer.edge.store.length_bytes());
            }
        }
        self.channel.headers.write().clear();
        self.breaks.clear();
        self.pacer = None;
        self.started = None;
        self.settled = false;
        self.state = State::Starting;
        self.share_edges();
        self.show();
        self.tell_withdrawn(now);
    }

    fn share_edges(&self) {
        let edges = self.tracks.iter().filter_map(|(id, t)| Some((id.clone(), Arc::clone(&t.writer.as_ref()?.edge))));
        self.channel.edges.store(Arc::new(edges.collect()));
    }

    pub(super) fn source_counts(&self) -> HashMap<TrackId, headwater_packager::timeline::intake::Counts> {
        self.tracks.keys().map(|id| (id.clone(), self.assembler.counts(id))).collect()
    }

    pub(super) const fn state(&self) -> State {
        self.state
    }
}

fn now_or(last: Option<UtcTime>) -> UtcTime {
    last.unwrap_or(UtcTime::from_nanos(0))
}
