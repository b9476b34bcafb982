// SPDX-License-Identifier: Apache-2.0
//! A log's folder as another process reads it, also while its owner writes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use headwater_media::UtcTime;

use super::entry::{Lost, Offset, Record};
use super::error::Error;
use super::volume::{self, Span, Volume};
use super::{LOOKS, folder};

/// The folder as it was when it was looked at last.
#[derive(Debug)]
pub struct Archive {
    dir: PathBuf,
    spans: Vec<Span>,
    end: Offset,
}

impl Archive {
    /// Looks at a folder; writes nothing.
    ///
    /// # Errors
    /// [`Error`] if there is no log, or it cannot be read.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let mut archive = Self { dir: dir.to_owned(), spans: Vec::new(), end: Offset(0) };
        archive.refresh()?;
        if archive.spans.is_empty() {
            return Err(Error::Empty { path: dir.to_owned() });
        }
        Ok(archive)
    }

    /// Looks again: what was written since is read from now on.
    ///
    /// # Errors
    /// [`Error`] if it cannot be read.
    pub fn refresh(&mut self) -> Result<(), Error> {
        let mut looks = 0;
        loop {
            match self.look() {
                Ok(()) => return Ok(()),
                // A file left between the look at the folder and the look at the file.
                Err(cause) if cause.kind() == io::ErrorKind::NotFound && looks < LOOKS && self.dir.is_dir() => {
                    looks += 1
                }
                Err(cause) => return Err(Error::io("to read the log in", &self.dir, cause)),
            }
        }
    }

    fn look(&mut self) -> io::Result<()> {
        let volumes = folder::volumes(&self.dir)?;
        let mut spans = Vec::with_capacity(volumes.len());
        let mut end = Offset(0);
        for (place, volume) in volumes.iter().enumerate() {
            let known = self.spans.iter().find(|span| span.volume.path == volume.path && span.index.is_none());
            let span = match (volumes.get(place + 1), known) {
                (Some(_), Some(known)) => known.clone(),
                (Some(next), None) => {
                    Span { volume: Arc::clone(volume), bytes: volume.bytes()?, end: next.first, index: None }
                }
                (None, _) => last(volume)?,
            };
            end = span.end;
            spans.push(span);
        }
        (self.spans, self.end) = (spans, end);
        Ok(())
    }

    /// The oldest offset there may be.
    pub fn first(&self) -> Offset {
        self.spans.first().map_or(self.end, |span| span.volume.first)
    }

    /// What follows the last event, when it was looked at.
    pub const fn end(&self) -> Offset {
        self.end
    }

    /// Events from `from` on, at most `max` and about a megabyte; none at the end.
    ///
    /// # Errors
    /// [`Lost`] if the folder does not hold them.
    pub fn read(&mut self, from: Offset, max: usize) -> Result<Vec<Record>, Lost> {
        for _ in 0..LOOKS {
            let first = self.first();
            if from < first || from > self.end {
                return Err(Lost { wanted: from, first });
            }
            let skipped = self.spans.partition_point(|span| span.volume.first <= from).saturating_sub(1);
            match volume::read(&self.spans[skipped..], from, max, &|_| {}) {
                Ok(read) => return read,
                Err(_) => {
                    if self.refresh().is_err() {
                        break;
                    }
                }
            }
        }
        Err(Lost { wanted: from, first: self.end.max(from.after()) })
    }

    /// The first event that was stored at `time` or later; the end if there is none.
    pub fn offset_at(&mut self, time: UtcTime) -> Offset {
        for _ in 0..LOOKS {
            if let Ok(found) = volume::offset_at(&self.spans, time, &|_| {}) {
                return found.unwrap_or(self.end);
            }
            if self.refresh().is_err() {
                break;
            }
        }
        self.first()
    }
}

/// The file that may be written just now: what is not whole at its end is still to come.
fn last(volume: &Arc<Volume>) -> io::Result<Span> {
    let index = volume.scan()?;
    let (bytes, end) = (index.end, index.last.map_or(volume.first, Offset::after));
    Ok(Span { volume: Arc::clone(volume), bytes, end, index: Some(Arc::new(index)) })
}
