// SPDX-License-Identifier: Apache-2.0
//! Keeps a channel within its bytes: the oldest media of all its tracks leaves first, then the live window gets
//! shorter, and only what does not fit even so is refused to its encoders.

use headwater_media::{TrackId, UtcTime};
use headwater_packager::timeline::assembler::TrackInput;
use tracing::warn;

use super::commit::SEGMENTS_MIN;
use super::task::Task;

/// A live window that does not fit may shrink to this (rfc8216bis, 6.2.2: three target durations).
const SEGMENTS_LEAST: usize = 3;

impl Task {
    /// Lets go of what is beyond the channel's bytes or its share of the process's.
    pub(super) fn keep_budget(&mut self, now: UtcTime) {
        let bound = match self.settings.memory_bytes_max {
            0 => u64::MAX,
            bytes_max => bytes_max,
        };
        let mut excess = self.context.memory.excess(bound);
        let over = excess > 0;
        if over {
            excess = self.shed(excess, SEGMENTS_MIN);
        }
        if excess > 0 {
            self.context.memory.budget().strain();
            excess = self.shed(excess, SEGMENTS_LEAST);
        }
        let overdrawn = excess > 0;
        if overdrawn {
            // What is refused from here on will not push the window on: it gives way by itself.
            self.shed(excess, 1);
        }
        if over {
            // What is gone must not stay listed, on a track that gets no new part either.
            let ids: Vec<TrackId> = self.tracks.keys().cloned().collect();
            ids.iter().for_each(|id| self.publish(id, now));
        }
        if overdrawn != self.context.memory.is_overdrawn() {
            self.context.memory.overdraw(overdrawn);
            if overdrawn {
                let held = self.context.memory.held();
                warn!(channel = %self.channel.id, held, "the live window does not fit in memory: pushes are refused");
            }
        }
    }

    /// Lets the oldest segments go, of whichever track, until `excess` bytes are free or every window has `keep`
    /// segments left; returns what is missing.
    fn shed(&mut self, mut excess: u64, keep: usize) -> u64 {
        while excess > 0 {
            let writers = self.tracks.values_mut().filter_map(|track| track.writer.as_mut());
            let givers = writers.filter(|writer| writer.can_give(keep));
            let Some(oldest) = givers.min_by_key(|writer| writer.edge.store.oldest().map(|start| start.nanos())) else {
                break;
            };
            excess = excess.saturating_sub(oldest.give_oldest(&self.context));
        }
        excess
    }

    /// Looks at what the timeline holds without having cut it: a part that never ends, a hole that is never filled.
    /// A track that holds too much begins anew.
    pub(super) fn keep_unfinished(&mut self) {
        let bytes = |task: &Self, id: &TrackId| task.assembler.held_bytes(id) as u64;
        let ids: Vec<TrackId> = self.tracks.keys().cloned().collect();
        let mut all: u64 = ids.iter().map(|id| bytes(self, id)).sum();
        while all > self.bounds.unpublished_bytes_max {
            let Some(id) = ids.iter().max_by_key(|id| bytes(self, id)) else { break };
            let Some(track) = self.tracks.get(id) else { break };
            let input = TrackInput { kind: track.header.kind, timescale: track.header.timescale };
            warn!(channel = %self.channel.id, track = %id, bytes = all, "expected parts that end: the track begins anew");
            self.assembler.header(id, input);
            self.count_defect("unpublished_overflow");
            let left = ids.iter().map(|id| bytes(self, id)).sum();
            if left >= all {
                break;
            }
            all = left;
        }
        self.unfinished.resize(all);
    }
}
