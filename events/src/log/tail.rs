// SPDX-License-Identifier: Apache-2.0
//! The records that memory holds: the newest of a log on disk, all of one without a folder.

use std::collections::VecDeque;

use headwater_media::UtcTime;

use super::entry::{Offset, Record};
use super::thin::Dropped;
use crate::event::Kind;

/// Records in the order of their offsets.
#[derive(Debug, Default)]
pub(super) struct Tail {
    records: VecDeque<Record>,
    bytes: u64,
}

impl Tail {
    /// The oldest.
    pub(super) fn first(&self) -> Option<Offset> {
        self.records.front().map(|record| record.offset)
    }

    /// When the oldest was stored.
    pub(super) fn oldest(&self) -> Option<UtcTime> {
        self.records.front().map(|record| record.stored)
    }

    /// What it costs, about.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds the newest.
    pub(super) fn push(&mut self, record: Record) {
        self.bytes += record.memory_bytes();
        self.records.push_back(record);
    }

    /// Records from `from` on.
    pub(super) fn read(&self, from: Offset, max: usize) -> Vec<Record> {
        self.records.range(self.place(from)..).take(max).cloned().collect()
    }

    /// The first that was stored at `time` or later.
    pub(super) fn offset_at(&self, time: UtcTime) -> Option<Offset> {
        let place = self.records.partition_point(|record| record.stored < time);
        self.records.get(place).map(|record| record.offset)
    }

    /// Lets the oldest leave, those before `kept` alone: down to so many bytes, and those stored before `oldest`.
    pub(super) fn leave(&mut self, bytes_max: u64, oldest: UtcTime, kept: Offset) {
        while let Some(front) = self.records.front()
            && front.offset < kept
            && (self.bytes > bytes_max || front.stored < oldest)
        {
            self.pop();
        }
    }

    /// What stands at `from` or behind costs, about.
    pub(super) fn bytes_from(&self, from: Offset) -> u64 {
        self.records.range(self.place(from)..).map(Record::memory_bytes).sum()
    }

    /// Drops of what stands at `from` or behind down to so many bytes: the oldest `part.ready`, and others only when
    /// none is left.
    pub(super) fn shed(&mut self, from: Offset, bytes_max: u64) -> Dropped {
        let (mut held, mut dropped) = (self.bytes_from(from), Dropped::new());
        let mut freed = 0;
        self.records.retain(|record| {
            let stays = held <= bytes_max || record.offset < from || record.kind != Kind::PartReady;
            if !stays {
                held -= record.memory_bytes();
                freed += record.memory_bytes();
                *dropped.entry(record.kind).or_default() += 1;
            }
            stays
        });
        self.bytes -= freed;
        while held > bytes_max
            && let Some(record) = self.pop()
        {
            if record.offset >= from {
                held -= record.memory_bytes();
                *dropped.entry(record.kind).or_default() += 1;
            }
        }
        dropped
    }

    /// Drops the `part.ready` of a stretch, as its file has.
    pub(super) fn thin(&mut self, from: Offset, end: Offset) {
        let mut freed = 0;
        self.records.retain(|record| {
            let stays = record.kind != Kind::PartReady || record.offset < from || record.offset >= end;
            freed += if stays { 0 } else { record.memory_bytes() };
            stays
        });
        self.bytes -= freed;
    }

    fn pop(&mut self) -> Option<Record> {
        let record = self.records.pop_front()?;
        self.bytes -= record.memory_bytes();
        Some(record)
    }

    fn place(&self, from: Offset) -> usize {
        self.records.partition_point(|record| record.offset < from)
    }
}
