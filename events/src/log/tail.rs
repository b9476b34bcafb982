// SPDX-License-Identifier: Apache-2.0
//! The records that memory holds: the newest of a log on disk, all of one without a folder.

use std::collections::VecDeque;

use headwater_media::UtcTime;

use super::entry::{Offset, Record};
use super::settings::Settings;

/// Records in the order of their offsets.
#[derive(Debug)]
pub(super) struct Tail {
    records: VecDeque<Record>,
    bytes: u64,
    settings: Settings,
}

impl Tail {
    pub(super) fn new(settings: Settings) -> Self {
        Self { records: VecDeque::new(), bytes: 0, settings }
    }

    /// The oldest.
    pub(super) fn first(&self) -> Option<Offset> {
        self.records.front().map(|record| record.offset)
    }

    /// Adds the newest; the oldest leave at the bound.
    pub(super) fn push(&mut self, record: Record) {
        self.bytes += record.memory_bytes();
        self.records.push_back(record);
        while self.bytes > self.settings.memory_bytes_max
            && let Some(oldest) = self.records.pop_front()
        {
            self.bytes -= oldest.memory_bytes();
        }
    }

    /// Records from `from` on.
    pub(super) fn read(&self, from: Offset, max: usize) -> Vec<Record> {
        let start = self.records.partition_point(|record| record.offset < from);
        self.records.range(start..).take(max).cloned().collect()
    }

    /// The first that was stored at `time` or later.
    pub(super) fn offset_at(&self, time: UtcTime) -> Option<Offset> {
        let place = self.records.partition_point(|record| record.stored < time);
        self.records.get(place).map(|record| record.offset)
    }
}
