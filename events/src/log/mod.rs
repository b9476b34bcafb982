// SPDX-License-Identifier: Apache-2.0
//! The embedded log: every event, in order, addressed by its offset.
//!
//! On disk it is a folder of files that are only appended to, each of self-describing records; in memory it is the same
//! records without the files. One writes, any number read; readers never wait for the writer's disk.

mod archive;
mod cursor;
mod entry;
mod error;
mod files;
mod folder;
pub mod record;
mod retention;
mod settings;
mod tail;
#[cfg(test)]
mod tests;
mod thin;
mod volume;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use headwater_media::UtcTime;
use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::warn;

use crate::event::Event;
use crate::metrics::Metrics;

pub use archive::Archive;
pub use entry::{Entry, Lost, Offset, Record};
pub use error::Error;
pub use settings::Settings;

use files::{Files, Listing};
use retention::Holds;
use tail::Tail;

/// How often a reader looks the files up anew because one has left before it was opened.
const LOOKS: usize = 8;

/// A log.
#[derive(Debug)]
pub struct Log {
    /// Guards the writing; held while files are written. Readers do not take it.
    writer: Mutex<Writer>,
    /// Guards what readers look at; held for moments, never while a file is read or written.
    shared: Mutex<Shared>,
    end: watch::Sender<Offset>,
    identity: Arc<str>,
    settings: Settings,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct Writer {
    /// None: the log is in memory.
    files: Option<Files>,
    /// When the last event was stored.
    stored: UtcTime,
    /// When retention may be looked after again.
    retention_at: Instant,
}

#[derive(Debug)]
struct Shared {
    tail: Tail,
    listing: Option<Listing>,
    holds: Holds,
}

impl Shared {
    fn first(&self, end: Offset) -> Offset {
        match &self.listing {
            Some(listing) => listing.first(),
            None => self.tail.first().unwrap_or(end),
        }
    }
}

impl Log {
    /// A log in memory with the bounds of [`Settings::default`], for tests.
    pub fn memory() -> Self {
        Self::in_memory(Settings::default(), Arc::default())
    }

    /// A log in memory; it ends with the process.
    pub fn in_memory(settings: Settings, metrics: Arc<Metrics>) -> Self {
        Self::new(None, None, Offset(0), settings::identity().into(), settings, metrics)
    }

    /// The log in a folder; makes it where there is none. What an end in the middle of a write left is cut off.
    ///
    /// # Errors
    /// [`Error`] if the folder cannot be used, as where another process has it.
    pub fn open(dir: &Path, settings: Settings, metrics: Arc<Metrics>) -> Result<Self, Error> {
        let opened = Files::open(dir, settings)?;
        metrics.damaged_bytes.inc_by(opened.damaged);
        let identity = Arc::clone(&opened.files.folder.identity);
        let log = Self::new(Some(opened.files), Some(opened.listing), opened.end, identity, settings, metrics);
        log.tell();
        Ok(log)
    }

    fn new(
        files: Option<Files>,
        listing: Option<Listing>,
        end: Offset,
        identity: Arc<str>,
        settings: Settings,
        metrics: Arc<Metrics>,
    ) -> Self {
        let newest = listing.as_ref().and_then(|it| it.index.stored_last.or(it.sealed.last().map(|last| last.newest)));
        let stored = newest.unwrap_or(UtcTime::from_nanos(i64::MIN));
        let writer = Writer { files, stored, retention_at: Instant::now() + settings.grace };
        Self {
            writer: Mutex::new(writer),
            shared: Mutex::new(Shared { tail: Tail::default(), listing, holds: Holds::default() }),
            end: watch::Sender::new(end),
            identity,
            settings,
            metrics,
        }
    }

    /// What tells this log from any other, one that began anew in the same place among them.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// What this log counts.
    pub const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Adds events in their order, and tells readers. With `sync = "always"` they are on the disk before that. Those
    /// that are larger than a log takes are left out.
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
        if entries.is_empty() {
            return Ok(());
        }
        let mut writer = self.writer.lock();
        let first = *self.end.borrow();
        // Readers search by time, so it does not go back with the machine's clock.
        let stored = now.max(writer.stored);
        let ends = match &mut writer.files {
            Some(files) => self.write(files, entries, first, stored).inspect_err(|_| {
                self.metrics.write_errors.inc();
            })?,
            None => Vec::new(),
        };
        writer.stored = stored;
        let mut next = first;
        let mut shared = self.shared.lock();
        for (place, entry) in entries.iter().enumerate() {
            if let (Some(listing), Some(end)) = (&mut shared.listing, ends.get(place)) {
                let position = std::mem::replace(&mut listing.bytes, *end);
                listing.index.add(next, stored, entry.kind, position, *end);
            }
            shared.tail.push(entry.at(next, stored));
            next = next.after();
        }
        // NB: before the records can be seen: a reader behind the last one is not beyond the end.
        self.end.send_replace(next);
        drop(shared);
        for entry in entries {
            self.metrics.stored(entry.kind);
        }
        self.retain(&mut writer, stored);
        Ok(())
    }

    fn write(&self, files: &mut Files, entries: &[Entry], first: Offset, stored: UtcTime) -> Result<Vec<u64>, Error> {
        let failed = |files: &Files, cause| Error::io("to write the log in", &files.folder.path, cause);
        if files.is_full() {
            self.roll(files, first, stored).map_err(|cause| failed(files, cause))?;
        }
        files.append(entries, first, stored).map_err(|cause| failed(files, cause))
    }

    /// Goes on in a new file.
    fn roll(&self, files: &mut Files, end: Offset, now: UtcTime) -> io::Result<()> {
        let volume = files.roll(end)?;
        if let Some(listing) = &mut self.shared.lock().listing {
            listing.roll(volume, now);
        }
        Ok(())
    }

    /// Lets leave what is too old, and forces to the disk what is due; to be called about once a second.
    pub fn tick(&self, now: UtcTime) {
        let mut writer = self.writer.lock();
        if let Some(files) = &mut writer.files
            && let Err(error) = files.sync_if_due()
        {
            self.metrics.write_errors.inc();
            warn!(%error, "the log of events cannot be forced to the disk; it is tried again");
        }
        self.retain(&mut writer, now);
        drop(writer);
        self.tell();
        let oldest = self.oldest().map_or(0.0, |oldest| now.since(oldest).as_secs_f64());
        self.metrics.log_age.set(oldest);
    }

    /// Forces to the disk what was written, and says so in the folder: the log was ended in order.
    pub fn close(&self) {
        if let Some(files) = &mut self.writer.lock().files
            && let Err(error) = files.close()
        {
            warn!(%error, "the log of events cannot be ended in order");
        }
    }

    /// Where the next event will stand; changes with each append.
    pub fn end(&self) -> watch::Receiver<Offset> {
        self.end.subscribe()
    }

    /// The oldest event held, or behind which it is.
    pub fn first(&self) -> Offset {
        let shared = self.shared.lock();
        shared.first(*self.end.borrow())
    }

    /// Events from `from` on, at most `max` and about a megabyte; none at the end. Offsets may be missing between them,
    /// of `part.ready` that were dropped for a [`hold`](Self::hold). Reads a file where memory does not have them: tasks
    /// [`fetch`](Self::fetch).
    ///
    /// # Errors
    /// [`Lost`] if `from` is not held any more, cannot be read, or is beyond the end, so that it is of another log.
    pub fn read(&self, from: Offset, max: usize) -> Result<Vec<Record>, Lost> {
        for _ in 0..LOOKS {
            let spans = {
                let shared = self.shared.lock();
                let end = *self.end.borrow();
                if let Some(held) = shared.held(from, end, max) {
                    return held;
                }
                shared.listing.as_ref().map(|listing| listing.spans(from, end)).unwrap_or_default()
            };
            let found = |bytes| {
                self.metrics.damaged_bytes.inc_by(bytes);
            };
            // On an error a file has just left, or was thinned.
            if let Ok(read) = volume::read(&spans, from, max, &found) {
                return read;
            }
        }
        let first = self.first().max(from.after());
        Err(Lost { wanted: from, first })
    }

    /// The same for tasks: what memory does not have is read on a thread for files.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn fetch(self: &Arc<Self>, from: Offset, max: usize) -> Result<Vec<Record>, Lost> {
        let held = self.shared.lock().held(from, *self.end.borrow(), max);
        if let Some(held) = held {
            return held;
        }
        let log = Arc::clone(self);
        let read = tokio::task::spawn_blocking(move || log.read(from, max)).await;
        // A thread is missing only where the runtime ends.
        read.unwrap_or_else(|_| Ok(Vec::new()))
    }

    /// The first event that was stored at `time` or later; the end if there is none yet. May read a file.
    pub fn offset_at(&self, time: UtcTime) -> Offset {
        for _ in 0..LOOKS {
            let (spans, end) = {
                let shared = self.shared.lock();
                let end = *self.end.borrow();
                let is_in_tail = shared.listing.is_none() || shared.tail.oldest().is_some_and(|oldest| oldest < time);
                if is_in_tail {
                    return shared.tail.offset_at(time).unwrap_or(end);
                }
                let spans = shared.listing.as_ref().map(|listing| listing.spans(listing.first(), end));
                (spans.unwrap_or_default(), end)
            };
            let found = |bytes| {
                self.metrics.damaged_bytes.inc_by(bytes);
            };
            if let Ok(found) = volume::offset_at(&spans, time, &found) {
                return found.unwrap_or(end);
            }
        }
        self.first()
    }

    /// Lets writes fail in their middle, as on a full disk, or succeed again.
    #[cfg(test)]
    pub(crate) fn fail(&self, is_failing: bool) {
        let path = self.shared.lock().listing.as_ref().map(|listing| listing.active.path.clone()).unwrap();
        self.writer.lock().files.as_mut().unwrap().fail(&path, is_failing);
    }

    fn oldest(&self) -> Option<UtcTime> {
        let shared = self.shared.lock();
        let Some(listing) = &shared.listing else { return shared.tail.oldest() };
        let first = listing.sealed.first().map(|sealed| sealed.newest);
        first.or(listing.index.stored_first)
    }

    /// Tells its size and place.
    fn tell(&self) {
        let shared = self.shared.lock();
        let bytes = shared.listing.as_ref().map_or_else(|| shared.tail.bytes(), Listing::total);
        drop(shared);
        self.metrics.log_bytes.set(bytes as i64);
        self.metrics.log_end.set(self.end.borrow().0 as i64);
    }
}

impl Shared {
    /// What can be answered without a file.
    fn held(&self, from: Offset, end: Offset, max: usize) -> Option<Result<Vec<Record>, Lost>> {
        let first = self.first(end);
        if from < first || from > end {
            return Some(Err(Lost { wanted: from, first }));
        }
        let is_in_tail = from == end || self.tail.first().is_some_and(|oldest| oldest <= from);
        is_in_tail.then(|| Ok(self.tail.read(from, max)))
    }
}
