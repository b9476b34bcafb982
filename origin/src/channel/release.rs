// SPDX-License-Identifier: Apache-2.0
//! From decisions to readers: what the timeline has decided is written and told, each part when its pace says so.

use headwater_media::{TrackId, UtcTime};
use headwater_packager::timeline::Output;
use tracing::info;

use super::State;
use super::task::{Decided, TICK, Task, TrackTask};

impl Task {
    /// When there is something to do without a command.
    pub(super) fn next_deadline(&self, now: UtcTime) -> UtcTime {
        let tracks = self.tracks.iter().filter(|(_, t)| !t.drained);
        let due = tracks.filter_map(|(id, t)| t.queue.front().map(|front| self.due(id, front).unwrap_or(now)));
        due.chain(self.assembler.deadline()).min().unwrap_or(now + TICK)
    }

    /// When a decision is due; `None` for at once. Only parts are paced, what stands between them goes along.
    fn due(&self, id: &TrackId, decided: &Decided) -> Option<UtcTime> {
        let Output::Part(_, _, part) = &decided.output else { return None };
        self.pacer.as_ref()?.due(id, part.start + part.duration, decided.at)
    }

    /// Publishes every part that is due.
    pub(super) fn release(&mut self, now: UtcTime) {
        self.write_out(now, true, |task, id, front| task.due(id, front).is_none_or(|due| due <= now));
        self.settle(now);
    }

    /// Publishes what has come to its last sample, completes what is open, and says that nothing will follow.
    pub(super) fn end(&mut self, now: UtcTime) {
        if self.ended {
            return;
        }
        self.assembler.end(now);
        self.follow(now);
        // NB: the end is told with the last of it, so that who waits sees it.
        self.write_out(now, false, |_, _, _| true);
        self.ended = true;
        self.state = State::Ended;
        self.settled = true;
        for writer in self.tracks.values_mut().filter_map(|t| t.writer.as_mut()) {
            writer.end_open(&self.context, false);
            writer.end(&self.context, now);
        }
        info!(channel = %self.channel.id, "ended");
        self.show();
        if self.started.is_some() {
            self.tell_started(now);
        }
        self.tell_ended("ended", now);
    }

    fn write_out(&mut self, now: UtcTime, tell: bool, is_due: impl Fn(&Self, &TrackId, &Decided) -> bool) {
        let ids: Vec<TrackId> = self.tracks.keys().cloned().collect();
        let mut any = false;
        for id in &ids {
            let mut published = false;
            while !self.is_track_drained(id)
                && let Some(front) = self.tracks.get(id).and_then(|t| t.queue.front())
                && is_due(self, id, front)
            {
                published |= self.write_next(id, now, tell);
            }
            if published {
                let before = self.last_part.replace(now);
                self.tell_resumed(before, now);
                if self.started.is_none() || self.state != State::Live {
                    self.started.get_or_insert(now);
                    self.state = State::Live;
                    info!(channel = %self.channel.id, "live");
                    self.show();
                }
            }
            any |= published;
        }
        if any && tell {
            self.keep_budget(now);
        }
    }

    /// True once the origin stops and the track's segment in progress is whole: no other is begun.
    fn is_track_drained(&mut self, id: &TrackId) -> bool {
        let Some(track) = self.tracks.get_mut(id).filter(|_| self.draining) else { return false };
        track.drained |= track.writer.as_ref().is_none_or(|w| w.window.open().is_none());
        track.drained
    }

    /// Writes the oldest decision of a track and, if asked to, tells whoever waits. True if it was a part.
    fn write_next(&mut self, id: &TrackId, now: UtcTime, tell: bool) -> bool {
        let Some(TrackTask { queue, writer, headers, header, .. }) = self.tracks.get_mut(id) else { return false };
        // NB: its charge goes when it is written, or is of no use.
        let Some(Decided { output, charge: _charge, .. }) = queue.pop_front() else { return false };
        let Some(writer) = writer else { return false };
        let (is_part, told) = match output {
            Output::Part(_, generation, part) => {
                // A break that another track told of since this part was cut holds for it too.
                let since = self.breaks.iter().rev().find(|b| b.first <= part.number).map(|b| b.generation);
                let generation = since.map_or(generation, |since| since.max(generation));
                let header = headers.get(&generation).unwrap_or(header);
                // The segment's end belongs to the version of its last part.
                let ends = matches!(queue.front(), Some(Decided { output: Output::End { .. }, .. }));
                writer.part(&self.channel, &self.context, header, generation, &self.breaks, part, now);
                (true, !ends)
            }
            Output::End { number, short, .. } => {
                writer.end_segment(&self.context, number, short);
                (false, true)
            }
            Output::Lost(_, number) => {
                writer.lose(&self.context, &self.breaks, number);
                (false, true)
            }
            _ => (false, false),
        };
        if tell && told {
            self.publish(id, now);
        }
        is_part
    }

    pub(super) fn publish(&mut self, id: &TrackId, now: UtcTime) {
        let Some(end) = self.tracks.get(id).and_then(|t| t.writer.as_ref()).and_then(|w| w.window.end()) else {
            return;
        };
        let limit = end - self.settings.part();
        let reports = self.tracks.iter().filter(|(other, track)| *other != id && !track.apart);
        let reports = reports.filter_map(|(other, t)| t.writer.as_ref()?.report_at(other, limit)).collect();
        let pending = self.breaks.last().copied();
        if let Some(writer) = self.tracks.get_mut(id).and_then(|t| t.writer.as_mut()) {
            writer.publish(&self.context, reports, pending, now);
            if writer.ladder_changed() {
                self.show();
            }
        }
    }
}
