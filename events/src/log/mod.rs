// SPDX-License-Identifier: Apache-2.0
//! The embedded log: every event, in order, addressed by its offset.
//!
//! On disk it is a folder of files that are only appended to, each of self-describing records; in memory it is the same
//! records without the files. One writes, any number read; readers never wait for the writer's disk.

mod entry;
mod error;
mod settings;
mod tail;

use std::path::Path;
use std::sync::Arc;

use headwater_media::UtcTime;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::event::Event;
use crate::metrics::Metrics;

pub use entry::{Entry, Lost, Offset, Record};
pub use error::Error;
pub use settings::Settings;

use tail::Tail;

/// A log.
#[derive(Debug)]
pub struct Log {
    /// Guards what memory holds; held to append and to read, never across a read or write of a file.
    tail: Mutex<Tail>,
    end: watch::Sender<Offset>,
    identity: Arc<str>,
    metrics: Arc<Metrics>,
}

impl Log {
    /// A log in memory with the bounds of [`Settings::default`], for tests.
    pub fn memory() -> Self {
        Self::in_memory(Settings::default(), Arc::default())
    }

    /// A log in memory; it ends with the process.
    pub fn in_memory(settings: Settings, metrics: Arc<Metrics>) -> Self {
        Self {
            tail: Mutex::new(Tail::new(settings)),
            end: watch::Sender::new(Offset(0)),
            identity: settings::identity().into(),
            metrics,
        }
    }

    /// The log in a folder; makes it where there is none.
    ///
    /// # Errors
    /// [`Error`] if the folder cannot be used, as where another process has it.
    pub fn open(dir: &Path, settings: Settings, metrics: Arc<Metrics>) -> Result<Self, Error> {
        std::fs::create_dir_all(dir).map_err(|cause| Error::io("to make", dir, cause))?;
        Ok(Self::in_memory(settings, metrics))
    }

    /// What tells this log from any other, one that began anew in the same place among them.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// What this log counts.
    pub const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Adds events in their order, and tells readers. With `sync = "always"` they are on the disk before that.
    ///
    /// # Errors
    /// [`Error::Io`] if they cannot be written: none of them is in the log then, and it may be tried again.
    pub fn append(&self, events: &[Event], now: UtcTime) -> Result<(), Error> {
        let entries: Vec<Entry> = events.iter().filter_map(Entry::of).collect();
        self.append_entries(&entries, now)
    }

    /// The same of what is encoded already.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn append_entries(&self, entries: &[Entry], now: UtcTime) -> Result<(), Error> {
        let mut tail = self.tail.lock();
        let mut next = *self.end.borrow();
        for entry in entries {
            tail.push(entry.at(next, now));
            self.metrics.stored(entry.kind);
            next = next.after();
        }
        drop(tail);
        self.end.send_replace(next);
        Ok(())
    }

    /// Lets leave what is too old; to be called about once a second.
    pub fn tick(&self, _now: UtcTime) {}

    /// Forces to the disk what was written.
    pub fn close(&self) {}

    /// Where the next event will stand; changes with each append.
    pub fn end(&self) -> watch::Receiver<Offset> {
        self.end.subscribe()
    }

    /// The oldest event held.
    pub fn first(&self) -> Offset {
        self.tail.lock().first().unwrap_or_else(|| *self.end.borrow())
    }

    /// Events from `from` on, at most `max`; none at the end. May read a file: see [`fetch`](Self::fetch).
    ///
    /// # Errors
    /// [`Lost`] if `from` is not held any more, or is of another log.
    pub fn read(&self, from: Offset, max: usize) -> Result<Vec<Record>, Lost> {
        let tail = self.tail.lock();
        let end = *self.end.borrow();
        let first = tail.first().unwrap_or(end);
        if from < first || from > end {
            return Err(Lost { wanted: from, first });
        }
        Ok(tail.read(from, max))
    }

    /// The same for tasks: what is not in memory is read on a thread for files.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn fetch(self: &Arc<Self>, from: Offset, max: usize) -> Result<Vec<Record>, Lost> {
        self.read(from, max)
    }

    /// The first event that was stored at `time` or later; the end if there is none yet.
    pub fn offset_at(&self, time: UtcTime) -> Offset {
        self.tail.lock().offset_at(time).unwrap_or_else(|| *self.end.borrow())
    }

    /// Keeps events from `offset` on for a follower of that name, up to `bytes_max` of them: past that the oldest
    /// `part.ready` are dropped, counted, and others only when no `part.ready` is left.
    pub fn hold(&self, _name: &str, _offset: Offset, _bytes_max: u64) {}

    /// Keeps nothing any more for a follower of that name.
    pub fn release(&self, _name: &str) {}
}
