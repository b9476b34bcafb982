// SPDX-License-Identifier: Apache-2.0
//! What is told of a channel as a whole: that it is on air, stalls, breaks, ends, and where its timeline lies.

use headwater_events::Data;
use headwater_events::event::{
    Anchor, ChannelEnded, ChannelResumed, ChannelStalled, ChannelStarted, Discontinuity, Purged, PurgedBy,
    SourceSwitched, TimelineAnchored, Timestamp,
};
use headwater_manifests::bitrate::quantise;
use headwater_media::{Generation, Kind, MediaDuration, SegmentNumber, Timescale, TrackId, UtcTime, path};
use headwater_packager::timeline::Defect;
use headwater_packager::timeline::anchor::Basis;

use super::State;
use super::sources::Switch;
use super::task::Task;

/// What has been told of a channel.
#[derive(Debug, Default)]
pub(super) struct Told {
    started: bool,
    stalled: bool,
    /// What broke the timeline last.
    cause: Option<&'static str>,
    anchored: Option<TimelineAnchored>,
}

impl Task {
    fn tell(&self, time: UtcTime, data: Data) {
        self.context.publisher.publish(time, data);
    }

    fn name(&self) -> String {
        self.channel.id.to_string()
    }

    /// The latest segment of any track that has a part.
    fn latest(&self) -> u64 {
        let writers = self.tracks.values().filter_map(|track| track.writer.as_ref());
        writers.filter_map(|writer| writer.window.last_part()).map(|(number, _)| number.0).max().unwrap_or(0)
    }

    /// Its playlists can be had.
    pub(super) fn tell_started(&mut self, now: UtcTime) {
        if self.told.started {
            return;
        }
        let view = self.channel.view();
        let best = |kind| view.ladder.of(kind).map(|track| track.peak_bitrate).max();
        let best: u64 = [Kind::Video, Kind::Audio].into_iter().filter_map(best).sum();
        let data = ChannelStarted {
            channel: self.name(),
            generation: self.breaks.last().map_or(0, |b| b.generation.0),
            tracks: view.ladder.tracks().iter().map(|track| track.id.to_string()).collect(),
            segment_ns: view.targets.map_or(0, |targets| nanos(targets.segment)),
            bits_per_second: quantise(best),
        };
        self.told.started = true;
        self.tell(now, Data::ChannelStarted(data));
    }

    /// Nothing has come for longer than media that comes in whole segments lets wait.
    pub(super) fn tell_stalled(&mut self, now: UtcTime) {
        let (State::Live, false, false) = (self.state, self.told.stalled, self.draining) else { return };
        let (Some(since), Some(targets)) = (self.last_part, self.channel.view().targets) else { return };
        let most = (self.settings.part().to_std() * 3).max(targets.segment.to_std() * 3 / 2);
        if now.since(since) > most {
            self.told.stalled = true;
            let data = ChannelStalled { channel: self.name(), since: Timestamp(since), sequence: self.latest() };
            self.tell(now, Data::ChannelStalled(data));
        }
    }

    /// A part was published, the first after `silence` began.
    pub(super) fn tell_resumed(&mut self, silence: Option<UtcTime>, now: UtcTime) {
        if !std::mem::take(&mut self.told.stalled) {
            return;
        }
        let stalled = silence.map_or(0, |since| now.since(since).as_millis());
        let data = ChannelResumed {
            channel: self.name(),
            stalled_ms: u64::try_from(stalled).unwrap_or(u64::MAX),
            sequence: self.latest(),
        };
        self.tell(now, Data::ChannelResumed(data));
    }

    /// Nothing follows, of a channel that was on air.
    pub(super) fn tell_ended(&mut self, reason: &str, now: UtcTime) {
        if self.told.started {
            let data = ChannelEnded { channel: self.name(), reason: reason.to_owned() };
            self.tell(now, Data::ChannelEnded(data));
        }
    }

    /// What was under the channel's URLs is not what will be.
    pub(super) fn tell_purged(&self, now: UtcTime) {
        let channel = self.name();
        let value = format!("{}{channel}/", path::PREFIX);
        let data = Purged { by: PurgedBy::Prefix, value, tenant: None, soft: false, channel: Some(channel) };
        self.tell(now, Data::Purged(data));
    }

    /// A track is on air from elsewhere.
    pub(super) fn tell_switched(&self, track: &TrackId, switch: Switch, now: UtcTime) {
        let writer = self.tracks.get(track).and_then(|track| track.writer.as_ref());
        let next = writer.and_then(|w| w.window.open().map(|open| open.number).or_else(|| w.window.next_number()));
        let data = SourceSwitched {
            channel: self.name(),
            track: track.to_string(),
            from: switch.from,
            to: switch.to,
            sequence: next.map_or(0, |number| number.0),
            reason: switch.reason.to_owned(),
        };
        self.tell(now, Data::SourceSwitched(data));
    }

    /// Notes what may break the timeline, for when it does.
    pub(super) fn note_cause(&mut self, defect: Defect) {
        match defect {
            Defect::Restart => self.told.cause = Some("timeline"),
            Defect::HeaderChange => self.told.cause = Some("header"),
            _ => {}
        }
    }

    /// A generation begins at `first`.
    pub(super) fn tell_generation(&mut self, first: SegmentNumber, generation: Generation) {
        let Some(grid) = self.assembler.grid().copied() else { return };
        let data = Discontinuity {
            channel: self.name(),
            generation: generation.0,
            sequence: first.0,
            reason: self.told.cause.take().unwrap_or("header").to_owned(),
        };
        self.tell(grid.start(first, Timescale::NANOS).utc(), Data::Discontinuity(data));
    }

    /// Where the timeline lies, once that is final, and whenever it is laid anew.
    ///
    /// The event's time is the generation's begin; of the first one, whose begin no two origins agree on, it is where the
    /// source's zero lies. So it is the same from a twin and after a restart.
    pub(super) fn tell_anchored(&mut self) {
        let Some(memory) = self.assembler.memory().filter(|memory| memory.confirmed) else { return };
        let data = TimelineAnchored {
            channel: self.name(),
            generation: memory.generation.0,
            sequence: memory.first.0,
            anchor: match memory.anchor.basis {
                Basis::Epoch => Anchor::Source,
                Basis::Manifest => Anchor::Manifest,
                Basis::Arrival => Anchor::Arrival,
                Basis::Continued => Anchor::Continued,
            },
            offset_ns: memory.anchor.offset.nanos(),
            segment_ns: nanos(memory.grid.duration()),
            phase_ns: u64::try_from(memory.grid.phase().nanos()).unwrap_or(0),
        };
        if self.told.anchored.as_ref() == Some(&data) {
            return;
        }
        self.told.anchored = Some(data.clone());
        let begins = match memory.generation {
            Generation(0) => memory.anchor.offset,
            _ => memory.grid.start(memory.first, Timescale::NANOS),
        };
        self.tell(begins.utc(), Data::TimelineAnchored(data));
    }

    /// What was published is withdrawn: the channel begins anew.
    pub(super) fn tell_withdrawn(&mut self, now: UtcTime) {
        self.told = Told::default();
        self.tell_purged(now);
    }
}

fn nanos(duration: MediaDuration) -> u64 {
    u64::try_from(duration.nanos()).unwrap_or(0)
}
