// SPDX-License-Identifier: Apache-2.0
//! The writer of a log's files. It alone appends, begins files and lets them leave; readers see what it has published in
//! [`Listing`] and read without it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use headwater_media::UtcTime;
use tracing::warn;

use super::entry::{Entry, Offset};
use super::error::Error;
use super::folder::{self, Folder};
use super::record;
use super::settings::Settings;
use super::volume::{Index, Span, Volume};
use crate::config::Sync;

/// A file that is not written any more.
#[derive(Clone, Debug)]
pub(super) struct Sealed {
    pub(super) volume: Arc<Volume>,
    pub(super) bytes: u64,
    /// When its last record was stored, about.
    pub(super) newest: UtcTime,
    /// It is known to have no `part.ready`.
    pub(super) is_without_parts: bool,
}

/// The files as readers may read them.
#[derive(Debug)]
pub(super) struct Listing {
    /// Files that are not written any more, oldest first.
    pub(super) sealed: Vec<Sealed>,
    /// The one that is written.
    pub(super) active: Arc<Volume>,
    /// What is written of it.
    pub(super) index: Index,
    /// Its length.
    pub(super) bytes: u64,
}

impl Listing {
    /// The oldest offset that files may hold.
    pub(super) fn first(&self) -> Offset {
        self.sealed.first().map_or(self.active.first, |sealed| sealed.volume.first)
    }

    /// Bytes of all files.
    pub(super) fn total(&self) -> u64 {
        self.sealed.iter().map(|sealed| sealed.bytes).sum::<u64>() + self.bytes
    }

    /// Where the file behind the one at `place` begins.
    pub(super) fn end_of(&self, place: usize) -> Offset {
        self.sealed.get(place + 1).map_or(self.active.first, |sealed| sealed.volume.first)
    }

    /// The files that hold what is at or behind `from`, before `end`.
    pub(super) fn spans(&self, from: Offset, end: Offset) -> Vec<Span> {
        let skipped = self.sealed.partition_point(|sealed| sealed.volume.first <= from).saturating_sub(1);
        let mut spans: Vec<Span> = (skipped..self.sealed.len())
            .map(|place| {
                let Sealed { volume, bytes, .. } = &self.sealed[place];
                Span { volume: Arc::clone(volume), bytes: *bytes, end: self.end_of(place), index: None }
            })
            .collect();
        if from >= self.active.first {
            spans.clear();
        }
        let index = Some(Arc::new(self.index.clone()));
        spans.push(Span { volume: Arc::clone(&self.active), bytes: self.bytes, end, index });
        spans
    }

    /// Goes on in a new file.
    pub(super) fn roll(&mut self, volume: Arc<Volume>, now: UtcTime) {
        let written = std::mem::replace(&mut self.active, volume);
        let index = std::mem::take(&mut self.index);
        let (bytes, newest) = (std::mem::take(&mut self.bytes), index.stored_last.unwrap_or(now));
        let is_without_parts = index.parts == 0;
        written.know(index);
        self.sealed.push(Sealed { volume: written, bytes, newest, is_without_parts });
    }

    /// Bytes of what is at or behind `from`, about.
    pub(super) fn bytes_from(&self, from: Offset) -> u64 {
        let mut bytes = 0;
        for (place, Sealed { volume, bytes: length, .. }) in self.sealed.iter().enumerate() {
            if self.end_of(place) <= from {
                continue;
            }
            let read = if volume.first < from { volume.position_of(from) } else { 0 };
            bytes += length.saturating_sub(read);
        }
        let read = if self.active.first < from { self.index.position_of(from) } else { 0 };
        bytes + self.bytes.saturating_sub(read)
    }
}

/// Writes the files.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) folder: Folder,
    settings: Settings,
    /// The file that is written.
    file: File,
    /// Where its last record ends.
    position: u64,
    /// A write failed: there may be bytes behind the last record.
    is_ragged: bool,
    /// Written and not forced to the disk since then.
    unsynced: Option<Instant>,
}

/// What an opened folder holds.
pub(super) struct Opened {
    pub(super) files: Files,
    pub(super) listing: Listing,
    /// Where the next event stands.
    pub(super) end: Offset,
    /// Bytes that were cut off or are no records, of the last file.
    pub(super) damaged: u64,
}

impl Files {
    /// Takes a folder and cuts off what an end in the middle of a write left.
    pub(super) fn open(dir: &Path, settings: Settings) -> Result<Opened, Error> {
        let folder = Folder::take(dir)?;
        let failed = |doing| move |cause| Error::io(doing, dir, cause);
        let mut volumes = folder::volumes(dir).map_err(failed("to read"))?;
        folder::tidy(dir, &volumes).map_err(failed("to tidy"))?;
        // A thinned file is never written again.
        let last = volumes.pop_if(|last| !last.is_thinned);
        let (active, index) = match last {
            Some(volume) => {
                let index = volume.scan().map_err(|cause| Error::io("to read", &volume.path, cause))?;
                (volume, index)
            }
            None => {
                let first = match volumes.last() {
                    // Its own end is not known, as its last may have been dropped: leave room.
                    Some(thinned) => Offset(thinned.first.0.saturating_add(1 << 32)),
                    None => Offset(0),
                };
                (Arc::new(Volume::new(dir, first, false)), Index::default())
            }
        };
        let path = &active.path;
        let file = open_to_write(path).map_err(|cause| Error::io("to write", path, cause))?;
        let length = file.metadata().map_err(|cause| Error::io("to read", path, cause))?.len();
        let torn = length.saturating_sub(index.end);
        if torn > 0 {
            file.set_len(index.end).map_err(|cause| Error::io("to cut", path, cause))?;
        }
        let damaged = torn + index.damaged;
        if damaged > 0 {
            warn!(path = %path.display(), cut = torn, damaged = index.damaged, "the log of events was not ended in order");
        }
        let mut sealed = Vec::with_capacity(volumes.len());
        for volume in volumes {
            let read = std::fs::metadata(&volume.path).and_then(|it| Ok((it.len(), it.modified()?)));
            let (bytes, modified) = read.map_err(|cause| Error::io("to read", &volume.path, cause))?;
            let (newest, is_without_parts) = (UtcTime::from_system(modified), volume.is_thinned);
            sealed.push(Sealed { volume, bytes, newest, is_without_parts });
        }
        let end = index.last.map_or(active.first, |last| last.after().max(active.first));
        let position = index.end;
        let listing = Listing { sealed, active, bytes: position, index };
        let files = Self { folder, settings, file, position, is_ragged: false, unsynced: None };
        Ok(Opened { files, listing, end, damaged })
    }

    /// Writes records behind the last one, in one write; says where each lies. On an error nothing was added.
    pub(super) fn append(&mut self, entries: &[Entry], first: Offset, stored: UtcTime) -> io::Result<Vec<u64>> {
        let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(entries.len()));
        let mut offset = first;
        for entry in entries {
            record::encode(entry, offset, stored, &mut bytes);
            ends.push(self.position + bytes.len() as u64);
            offset = offset.after();
        }
        self.cut()?;
        self.is_ragged = true;
        self.file.write_all_at(&bytes, self.position)?;
        if self.settings.sync == Sync::Always {
            self.file.sync_data()?;
        } else {
            self.unsynced.get_or_insert_with(Instant::now);
        }
        self.is_ragged = false;
        self.position += bytes.len() as u64;
        Ok(ends)
    }

    /// Removes what a write that failed left behind the last record.
    fn cut(&mut self) -> io::Result<()> {
        if self.is_ragged {
            self.file.set_len(self.position)?;
            self.is_ragged = false;
        }
        Ok(())
    }

    /// True once the file that is written is full.
    pub(super) fn is_full(&self) -> bool {
        self.position >= self.settings.file_bytes_max
    }

    /// Begins a new file. It is there, empty, before the last one is touched again: its name keeps the offset.
    pub(super) fn roll(&mut self, end: Offset) -> io::Result<Arc<Volume>> {
        self.cut()?;
        self.sync()?;
        let volume = Volume::new(&self.folder.path, end, false);
        let file = open_to_write(&volume.path)?;
        if self.settings.sync != Sync::Never {
            self.folder.sync()?;
        }
        (self.file, self.position) = (file, 0);
        Ok(Arc::new(volume))
    }

    /// Forces what is written to the disk, where that is wanted.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if self.unsynced.is_some() && self.settings.sync != Sync::Never {
            self.file.sync_data()?;
        }
        self.unsynced = None;
        Ok(())
    }

    /// The same, if the last time was a second ago.
    pub(super) fn sync_if_due(&mut self) -> io::Result<()> {
        let is_due = self.unsynced.is_some_and(|since| since.elapsed() >= Duration::from_secs(1));
        if is_due { self.sync() } else { Ok(()) }
    }

    /// Lets writes fail, in the middle, as a full disk does; or succeed again.
    #[cfg(test)]
    pub(super) fn fail(&mut self, path: &Path, is_failing: bool) {
        if is_failing {
            self.file.write_all_at(b"\xf5hw\xf6 half a record", self.position).unwrap();
            self.is_ragged = true;
            self.file = File::open(path).unwrap();
        } else {
            self.file = open_to_write(path).unwrap();
        }
    }

    /// Everything is written: forces it to the disk and says so in the folder.
    pub(super) fn close(&mut self) -> io::Result<()> {
        self.cut()?;
        self.file.sync_all()?;
        self.folder.sync()?;
        self.folder.close()
    }
}

fn open_to_write(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}
