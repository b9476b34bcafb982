// SPDX-License-Identifier: Apache-2.0
//! Writes one track: chunk bytes into the store, numbers into the window, and only then the news to whoever waits.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::BytesMut;
use headwater_manifests::Targets;
use headwater_manifests::bitrate::quantise;
use headwater_manifests::hls::media::{Hint, Report};
use headwater_media::{
    ByteRange, Generation, Grid, MediaDuration, MediaTime, OpenSegment, Part, PartIndex, Segment, SegmentNumber, Track,
    TrackId, UtcTime, Window,
};
use headwater_packager::cmaf::{ChunkOptions, TrackHeader, header, write_chunk};
use headwater_packager::timeline::{PartCut, TrackPlan};

use super::news::News;
use super::task::Break;
use super::{Channel, Context};
use crate::cmsd;
use crate::edge::{LiveEdge, Publication};
use crate::metrics::{ChannelLabel, Metrics, TrackLabel};
use crate::store::Tagged;

/// Playlists hold at least this many segments, whatever the budgets say (rfc8216bis, 6.2.2 wants three).
pub(super) const SEGMENTS_MIN: usize = 6;

/// The writer of one track.
#[derive(Debug)]
pub(super) struct TrackWriter {
    pub(super) edge: Arc<LiveEdge>,
    pub(super) window: Window,
    id: TrackId,
    label: TrackLabel,
    track: Track,
    plan: TrackPlan,
    targets: Targets,
    grid: Grid,
    /// Largest span this playlist has listed, by which removed segments stay reachable.
    listed: MediaDuration,
    /// The window was shortened: until this segment what was listed before stays reachable.
    listed_until: Option<SegmentNumber>,
    key_frame: Option<ByteRange>,
    generation: Option<Generation>,
    /// Sizes of recent segments for the bitrates: (bytes, nanoseconds).
    sizes: VecDeque<(u64, i64)>,
    shown: Option<Arc<Track>>,
    ended: bool,
    /// Nothing will complete the open segment.
    aborted: bool,
    /// What is told after the edge has moved.
    news: News,
}

impl TrackWriter {
    pub(super) fn new(
        channel: &Channel,
        id: &TrackId,
        header: &TrackHeader,
        plan: TrackPlan,
        targets: Targets,
        grid: Grid,
        metrics: &Metrics,
    ) -> Self {
        // A part longer than promised would break PART-HOLD-BACK: such a track is listed in whole segments.
        let part_target = plan.part_target.filter(|p| *p <= channel.settings().part());
        let edge = LiveEdge::new(id.clone(), targets, metrics.renders.clone());
        Self {
            edge: Arc::new(edge),
            window: Window::new(),
            id: id.clone(),
            label: TrackLabel { channel: channel.id.to_string(), track: id.to_string() },
            track: describe(id, header, plan, part_target),
            plan,
            targets,
            grid,
            listed: targets.window,
            listed_until: None,
            key_frame: None,
            generation: None,
            sizes: VecDeque::new(),
            shown: None,
            ended: false,
            aborted: false,
            news: News::new(&channel.id, id),
        }
    }

    /// A later generation of the track has other frames.
    pub(super) fn replan(&mut self, plan: TrackPlan) {
        self.plan = TrackPlan { part_target: self.plan.part_target, ..plan };
    }

    pub(super) const fn track(&self) -> &Track {
        &self.track
    }

    /// Publishes a part's bytes and numbers; the news follows with [`Self::publish`].
    #[allow(clippy::too_many_arguments)]
    pub(super) fn part(
        &mut self,
        channel: &Channel,
        context: &Context,
        track_header: &TrackHeader,
        generation: Generation,
        breaks: &[Break],
        cut: PartCut,
        now: UtcTime,
    ) {
        if self.window.next_number().is_some_and(|next| cut.number < next) {
            return;
        }
        let opens = self.window.open().is_none_or(|open| open.number != cut.number);
        if opens {
            self.end_open(context, true);
            self.fill_gaps(context, breaks, cut.number);
            self.begin(channel, context, track_header, generation);
        }
        let mut open = match self.window.open() {
            Some(open) => (**open).clone(),
            None => self.open_segment(generation, &cut),
        };
        let mut out = BytesMut::new();
        let first = cut.index.0 == 0;
        let decode_time = cut.samples.first().map_or(0, |s| s.decode_time);
        let options = ChunkOptions {
            // Grows with segment and part, a function of their numbers alone.
            sequence_number: (u32::try_from(cut.number.0 & 0x00ff_ffff).unwrap_or(0) << 8) | (cut.index.0 & 0xff),
            first_of_segment: first,
            producer_time: first.then(|| MediaTime::new(decode_time, self.track.timescale).utc()),
            last_of_stream: false,
        };
        let layout = write_chunk(&mut out, &cut.samples, options);
        let offset_bytes = open.length_bytes();
        if first {
            self.key_frame =
                cut.independent.then_some(ByteRange { offset_bytes: 0, length_bytes: layout.first_sample_end_bytes });
        }
        let part = Part {
            index: PartIndex(u32::try_from(open.parts.len()).unwrap_or(u32::MAX)),
            start: cut.start,
            duration: cut.duration,
            independent: cut.independent,
            range: ByteRange { offset_bytes, length_bytes: layout.length_bytes },
        };
        open.parts.push(part);
        context.memory.add(out.len() as u64);
        let said = self.said(context);
        let next = match self.is_whole(&open) {
            true => (open.number.next(), PartIndex(0)),
            false => (open.number, PartIndex(part.index.0 + 1)),
        };
        let tagged = Tagged::new(out.freeze(), said.part(layout.length_bytes, cut.duration, next));
        let growing = || said.growing(cut.number, self.targets.segment);
        // NB: bytes before numbers: whoever learns of the part must find it.
        let tag = self.edge.store.append(cut.number, open.start, open.generation, tagged, growing);
        self.news.part(&open, &part, &tag);
        self.window.set_open(Some(Arc::new(open)));
        self.aborted = false;
        let metrics = &context.metrics;
        metrics.parts.get_or_create(&self.label).inc();
        let channel_label = ChannelLabel { channel: self.label.channel.clone() };
        let delay = now.nanos().saturating_sub((cut.start + cut.duration).nanos()).max(0) as f64 / 1e9;
        metrics.publish_delay.get_or_create(&channel_label).observe(delay);
    }

    /// Who says what of this track's media.
    fn said<'a>(&self, context: &'a Context) -> cmsd::Media<'a> {
        cmsd::Media { node: context.publisher.source().node(), kind: self.track.kind }
    }

    fn open_segment(&self, generation: Generation, cut: &PartCut) -> OpenSegment {
        OpenSegment {
            number: cut.number,
            start: cut.start,
            generation,
            discontinuity_sequence: u64::from(generation.0),
            discontinuity: self.changes(generation),
            independent: cut.independent,
            parts: Vec::new(),
        }
    }

    /// True if a segment of `generation` follows one of another.
    fn changes(&self, generation: Generation) -> bool {
        self.window
            .last()
            .map_or(self.generation.is_some_and(|g| g != generation), |last| last.generation != generation)
    }

    /// The first segment of a generation brings its header.
    fn begin(&mut self, channel: &Channel, context: &Context, track_header: &TrackHeader, generation: Generation) {
        let key = (self.id.clone(), generation);
        if !channel.headers.read().contains_key(&key) {
            let bytes = header::write(track_header);
            channel.headers.write().insert(key, Tagged::new(bytes, self.said(context).header()));
        }
        if self.generation.is_some_and(|known| known != generation) {
            self.track = describe(&self.id, track_header, self.plan, self.track.part_target);
            self.shown = None;
        }
        self.generation = Some(generation);
    }

    fn fill_gaps(&mut self, context: &Context, breaks: &[Break], until: SegmentNumber) {
        let Some(next) = self.window.next_number() else { return };
        let missing = until.0.saturating_sub(next.0);
        let listed = self.targets.window.nanos() / self.targets.segment.nanos().max(1);
        if missing > u64::try_from(listed).unwrap_or(0).max(SEGMENTS_MIN as u64) {
            // Nothing listed would be left: the window begins anew.
            while self.window.pop_front().is_some() {}
            self.window = Window::new();
            self.forget(context);
            return;
        }
        for number in next.0..until.0 {
            self.append_gap(context, breaks, SegmentNumber(number));
        }
    }

    fn append_gap(&mut self, context: &Context, breaks: &[Break], number: SegmentNumber) {
        let Some(last) = self.window.last().cloned() else { return };
        // Where its first sample would stand: on the grid, however early the one before it broke off.
        let scale = last.start.timescale();
        let start = self.grid.start(number, scale).max(last.end());
        let until = self.grid.start(number.next(), scale).max(start);
        let generation = breaks
            .iter()
            .rev()
            .find(|b| b.first <= number)
            .map_or(last.generation, |b| b.generation.max(last.generation));
        let gap = Segment {
            number,
            start,
            duration: until.since(start),
            generation,
            discontinuity_sequence: u64::from(generation.0),
            discontinuity: generation != last.generation,
            gap: true,
            independent: false,
            length_bytes: 0,
            parts: Vec::new(),
            key_frame: None,
        };
        self.news.lost(&gap);
        self.window.append(Arc::new(gap));
        context.metrics.gaps.get_or_create(&self.label).inc();
        self.trim(context);
    }

    /// Ends the open segment, if it is this one; `short` if samples are missing at its end.
    pub(super) fn end_segment(&mut self, context: &Context, number: SegmentNumber, short: bool) {
        if self.window.open().is_some_and(|open| open.number == number) {
            self.end_open(context, short);
        }
    }

    /// Ends the open segment, whichever it is.
    pub(super) fn end_open(&mut self, context: &Context, short: bool) {
        let Some(open) = self.window.open().cloned() else { return };
        let duration = open.duration();
        let segment = Segment {
            number: open.number,
            start: open.start,
            duration,
            generation: open.generation,
            discontinuity_sequence: open.discontinuity_sequence,
            discontinuity: open.discontinuity,
            gap: false,
            independent: open.independent,
            length_bytes: open.length_bytes(),
            parts: open.parts.clone(),
            key_frame: self.key_frame.take(),
        };
        // Several segments short of the usual would show a false peak.
        if duration.times(2) >= self.targets.segment {
            self.sizes.push_back((segment.length_bytes, duration.nanos()));
        }
        let said = self.said(context).segment(segment.number, segment.length_bytes, duration, segment.end());
        if let Some(tag) = self.edge.store.seal(open.number, said) {
            self.news.segment(&segment, &tag, short);
        }
        self.window.append(Arc::new(segment));
        context.metrics.segments.get_or_create(&self.label).inc();
        self.trim(context);
        self.rate();
    }

    /// The segment in progress has all its media, though the next one has not begun.
    pub(super) fn is_open_whole(&self) -> bool {
        self.window.open().is_some_and(|open| self.is_whole(open))
    }

    fn is_whole(&self, open: &OpenSegment) -> bool {
        let until = self.grid.start(open.number.next(), open.start.timescale());
        // Rounded times of frames may fall short of the grid by a tick or two, never by half a frame.
        (open.start + open.duration()).nanos() + self.plan.frame.nanos() / 2 >= until.nanos()
    }

    /// The window is that long from here on; what was listed stays reachable as long as promised.
    pub(super) fn list(&mut self, window: MediaDuration) {
        if window < self.listed {
            self.listed_until = self.window.next_number().map(|next| SegmentNumber(next.0 + self.count(self.listed)));
        }
        self.targets.window = window;
    }

    /// Segments of a span, rounded up.
    fn count(&self, span: MediaDuration) -> u64 {
        let per = self.targets.segment.nanos().max(1);
        u64::try_from((span.nanos() + per - 1) / per).unwrap_or(0)
    }

    /// Declares every segment up to `through` lost.
    pub(super) fn lose(&mut self, context: &Context, breaks: &[Break], through: SegmentNumber) {
        self.end_open(context, true);
        self.fill_gaps(context, breaks, through.next());
    }

    fn trim(&mut self, context: &Context) {
        let listed = |window: &Window| window.duration();
        while self.window.len() > SEGMENTS_MIN && listed(&self.window) - self.first_duration() >= self.targets.window {
            self.pop();
        }
        self.forget(context);
    }

    fn first_duration(&self) -> MediaDuration {
        self.window.first().map_or(MediaDuration::ZERO, |s| s.duration)
    }

    fn pop(&mut self) {
        self.listed = self.listed.max(self.window.duration());
        self.window.pop_front();
        while self.sizes.len() > self.window.len().max(1) {
            self.sizes.pop_front();
        }
    }

    /// Lets go of the bytes of segments that no playlist a client may hold still names.
    fn forget(&mut self, context: &Context) {
        if self.listed_until.is_some_and(|until| self.window.next_number() > Some(until)) {
            self.listed = self.window.duration().max(self.targets.window);
            self.listed_until = None;
        }
        let Some(first) = self.window.first() else { return };
        let count = self.count(self.listed + self.targets.segment);
        let before = SegmentNumber(first.number.0.saturating_sub(count));
        self.let_go(context, before);
    }

    /// Forgets the bytes of segments before this one; returns how many.
    fn let_go(&mut self, context: &Context, before: SegmentNumber) -> u64 {
        let gone = self.edge.store.forget_before(before);
        let freed = gone.iter().map(|segment| segment.length_bytes()).sum();
        context.memory.remove(freed);
        for segment in &gone {
            self.news.expired(segment, self.window.end().unwrap_or(segment.start));
        }
        freed
    }

    /// True if a segment can go while `keep` stay listed.
    pub(super) fn can_give(&self, keep: usize) -> bool {
        let unlisted = self.edge.store.first().zip(self.window.first_number()).is_some_and(|(s, w)| s < w);
        unlisted || self.window.len() > keep
    }

    /// Lets the oldest segment go, unlisted ones before listed ones; returns the bytes freed.
    pub(super) fn give_oldest(&mut self, context: &Context) -> u64 {
        if let (Some(stored), Some(first)) = (self.edge.store.first(), self.window.first_number())
            && stored >= first
        {
            self.pop();
        }
        let Some(first) = self.window.first_number().or_else(|| self.edge.store.first()) else { return 0 };
        let oldest = self.edge.store.first().map_or(first, |stored| stored.next().min(first));
        self.let_go(context, oldest)
    }

    fn rate(&mut self) {
        let bits =
            |bytes: u64, nanos: i64| bytes.saturating_mul(8_000_000_000) / u64::try_from(nanos).unwrap_or(1).max(1);
        self.track.peak_bitrate = self.sizes.iter().map(|(bytes, nanos)| bits(*bytes, *nanos)).max().unwrap_or(0);
        let (bytes, nanos) = self.sizes.iter().fold((0, 0), |(b, n), (bytes, nanos)| (b + bytes, n + nanos));
        self.track.average_bitrate = bits(bytes, nanos);
    }

    /// The track as manifests show it; before a whole segment, by the parts so far.
    pub(super) fn show(&mut self) -> Arc<Track> {
        let mut track = self.track.clone();
        if track.peak_bitrate == 0
            && let Some(open) = self.window.open()
        {
            let nanos = u64::try_from(open.duration().nanos()).unwrap_or(1).max(1);
            track.peak_bitrate = open.length_bytes().saturating_mul(8_000_000_000) / nanos;
            track.average_bitrate = track.peak_bitrate;
        }
        let track = Arc::new(track);
        self.shown = Some(Arc::clone(&track));
        track
    }

    /// True if manifests would now print other bitrates.
    pub(super) fn ladder_changed(&self) -> bool {
        self.shown.as_ref().is_none_or(|shown| {
            let differs = |a: u64, b: u64| quantise(a) != quantise(b);
            self.track.peak_bitrate != 0
                && (differs(shown.peak_bitrate, self.track.peak_bitrate)
                    || differs(shown.average_bitrate, self.track.average_bitrate))
        })
    }

    /// What this track surely holds once another has reached `limit`: a report that is the same on every origin whose
    /// tracks are in step within a part.
    pub(super) fn report_at(&self, id: &TrackId, limit: MediaTime) -> Option<Report> {
        let parts = self.track.part_target.is_some();
        let open = self.window.open().filter(|_| parts);
        if let Some(open) = open
            && let Some(part) = open.parts.iter().rev().find(|p| p.start + p.duration <= limit)
        {
            return Some(Report { track: id.clone(), last: open.number, part: Some(part.index) });
        }
        let recent = self.window.iter_from(self.window.len().saturating_sub(4)).collect::<Vec<_>>();
        for segment in recent.into_iter().rev() {
            if !parts && segment.end() <= limit {
                return Some(Report { track: id.clone(), last: segment.number, part: None });
            }
            if let Some(part) = segment.parts.iter().rev().find(|p| parts && p.start + p.duration <= limit) {
                return Some(Report { track: id.clone(), last: segment.number, part: Some(part.index) });
            }
        }
        Report::of(id.clone(), &self.window)
    }

    /// Tells whoever waits, then whoever follows events.
    pub(super) fn publish(&mut self, context: &Context, reports: Vec<Report>, pending: Option<Break>, now: UtcTime) {
        let next = match self.window.open() {
            Some(open) => open.number.next(),
            None => self.window.next_number().unwrap_or_default(),
        };
        let pending_header =
            pending.filter(|b| b.first == next && Some(b.generation) != self.generation).map(|b| b.generation);
        self.edge.publish(Publication {
            window: self.window.clone(),
            reports,
            targets: self.targets,
            part_target: self.track.part_target,
            ended: self.ended,
            hint: Hint::Next,
            pending_header,
            published: now,
        });
        self.tell(context);
    }

    /// Tells whoever follows events what they can find by now.
    pub(super) fn tell(&mut self, context: &Context) {
        self.news.tell(&context.publisher);
    }

    /// The source is silent: whoever follows the segment in progress is cut off, so that no cache keeps a stump.
    pub(super) fn abort_open(&mut self) {
        if let Some(open) = self.window.open()
            && !self.aborted
        {
            self.edge.store.abort(open.number);
            self.aborted = true;
        }
    }

    /// Nothing will follow.
    pub(super) fn end(&mut self, context: &Context, now: UtcTime) {
        self.ended = true;
        self.publish(context, Vec::new(), None, now);
    }
}

fn describe(id: &TrackId, header: &TrackHeader, plan: TrackPlan, part_target: Option<MediaDuration>) -> Track {
    let video = header.video.clone().map(|mut video| {
        video.frame_rate = video.frame_rate.or_else(|| headwater_media::FrameRate::from_frame_duration(plan.frame));
        video
    });
    Track {
        id: id.clone(),
        kind: header.kind,
        codec: header.codec.clone(),
        timescale: header.timescale,
        video,
        audio: header.audio.clone(),
        language: header.language.clone(),
        label: header.label.clone(),
        part_target,
        peak_bitrate: 0,
        average_bitrate: 0,
    }
}
