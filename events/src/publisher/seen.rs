// SPDX-License-Identifier: Apache-2.0
//! What the log took lately that is told alike whenever it is told, so that it is not stored twice when it is published
//! again after a restart: a window of media, an alert that is computed again.

use std::collections::{HashSet, VecDeque};

use xxhash_rust::xxh3::xxh3_64;

use crate::event::Kind;
use crate::log::{Entry, Log, Offset};
use crate::topic::Topic;

/// Events that are remembered: the windows of a hundred channels of five tracks.
const REMEMBERED: usize = 131_072;
/// Read from the log at once.
const BATCH: usize = 1_024;

/// Digests of the last of such events; as many as fit.
#[derive(Debug, Default)]
pub(super) struct Seen {
    digests: HashSet<u64>,
    order: VecDeque<u64>,
}

/// True for what is told alike whenever it is told: its time is the media's own, or a window's.
fn is_repeatable(kind: Kind) -> bool {
    matches!(Topic::of(kind), Topic::Segments | Topic::Timeline)
        || matches!(kind, Kind::Discontinuity | Kind::Marker | Kind::Alert)
}

impl Seen {
    /// What the log holds of them.
    pub(super) fn of(log: &Log) -> Self {
        let mut seen = Self::default();
        let end = log.end().borrow().0;
        let mut from = Offset(end.saturating_sub(REMEMBERED as u64)).max(log.first());
        while from.0 < end {
            match log.read(from, BATCH) {
                Ok(records) => {
                    let Some(last) = records.last() else { break };
                    from = last.offset.after();
                    for record in &records {
                        seen.see(record.kind, &record.json);
                    }
                }
                Err(lost) if lost.first > from => from = lost.first,
                Err(_) => break,
            }
        }
        seen
    }

    /// True if nothing equal in every byte was stored lately; it is taken for stored from now on.
    pub(super) fn is_new(&mut self, entry: &Entry) -> bool {
        self.see(entry.kind, &entry.json)
    }

    fn see(&mut self, kind: Kind, json: &[u8]) -> bool {
        if !is_repeatable(kind) {
            return true;
        }
        let digest = xxh3_64(json);
        if !self.digests.insert(digest) {
            return false;
        }
        self.order.push_back(digest);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.digests.remove(&oldest);
        }
        true
    }
}
