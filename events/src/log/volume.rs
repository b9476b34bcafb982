// SPDX-License-Identifier: Apache-2.0
//! One file of the log, named by the offset it begins with: `….log`, or `….thinned` once its `part.ready` were dropped.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use headwater_media::UtcTime;
use parking_lot::Mutex;
use tracing::warn;

use super::cursor::{Cursor, Step};
use super::entry::{Lost, Offset, Record};
use super::record::Raw;
use crate::event::Kind;

/// Bytes between places that an index knows.
const STRIDE_BYTES: u64 = 32 << 10;
/// Bytes of records that are read at once, about.
const READ_BYTES_MAX: usize = 1 << 20;

/// A file of the log.
#[derive(Debug)]
pub(super) struct Volume {
    pub(super) first: Offset,
    pub(super) is_thinned: bool,
    pub(super) path: PathBuf,
    /// Guards the index, made when it is first wanted; held while the file is read for it.
    index: Mutex<Option<Arc<Index>>>,
}

/// Where records lie in a file, roughly, and what they are.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    points: Vec<Point>,
    /// The last record.
    pub(super) last: Option<Offset>,
    pub(super) stored_first: Option<UtcTime>,
    pub(super) stored_last: Option<UtcTime>,
    /// How many are `part.ready`.
    pub(super) parts: u64,
    /// Where the last record ends.
    pub(super) end: u64,
    /// Bytes that are no records, before that.
    pub(super) damaged: u64,
}

#[derive(Clone, Copy, Debug)]
struct Point {
    offset: Offset,
    stored: UtcTime,
    position: u64,
}

impl Index {
    /// Adds the record that lies at `position` and ends at `end`.
    pub(super) fn add(&mut self, offset: Offset, stored: UtcTime, kind: Kind, position: u64, end: u64) {
        if self.points.last().is_none_or(|last| position >= last.position + STRIDE_BYTES) {
            self.points.push(Point { offset, stored, position });
        }
        self.last = Some(offset);
        self.stored_first.get_or_insert(stored);
        self.stored_last = Some(stored);
        self.parts += u64::from(kind == Kind::PartReady);
        self.end = end;
    }

    /// Where to read from for a record.
    pub(super) fn position_of(&self, offset: Offset) -> u64 {
        let after = self.points.partition_point(|point| point.offset <= offset);
        after.checked_sub(1).map_or(0, |at| self.points[at].position)
    }

    fn position_before(&self, time: UtcTime) -> u64 {
        let after = self.points.partition_point(|point| point.stored < time);
        after.checked_sub(1).map_or(0, |at| self.points[at].position)
    }
}

/// A stretch of a file.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) volume: Arc<Volume>,
    /// Where the file ends; of one that is not written any more its length.
    pub(super) bytes: u64,
    /// What follows its last record.
    pub(super) end: Offset,
    /// Its index, of the file that is written.
    pub(super) index: Option<Arc<Index>>,
}

impl Span {
    fn index(&self, found: &dyn Fn(u64)) -> io::Result<Arc<Index>> {
        match &self.index {
            Some(index) => Ok(Arc::clone(index)),
            None => self.volume.index(found),
        }
    }
}

impl Volume {
    pub(super) fn new(dir: &Path, first: Offset, is_thinned: bool) -> Self {
        let path = dir.join(format!("{:020}.{}", first.0, if is_thinned { "thinned" } else { "log" }));
        Self { first, is_thinned, path, index: Mutex::default() }
    }

    /// The file of that name; none if it is none of the log's.
    pub(super) fn named(dir: &Path, name: &OsStr) -> Option<Self> {
        let (number, kind) = name.to_str()?.split_once('.')?;
        let is_ours = number.len() == 20 && number.bytes().all(|byte| byte.is_ascii_digit());
        let first = Offset(number.parse().ok().filter(|_| is_ours)?);
        match kind {
            "log" => Some(Self::new(dir, first, false)),
            "thinned" => Some(Self::new(dir, first, true)),
            _ => None,
        }
    }

    pub(super) fn open(&self) -> io::Result<File> {
        File::open(&self.path)
    }

    pub(super) fn bytes(&self) -> io::Result<u64> {
        Ok(std::fs::metadata(&self.path)?.len())
    }

    /// Reads the whole file for where its records lie, and whether bytes follow the last one.
    pub(super) fn scan(&self) -> io::Result<Index> {
        let bytes = self.bytes()?;
        let mut cursor = Cursor::new(self.open()?, 0, bytes);
        let (mut index, mut damaged) = (Index::default(), 0);
        loop {
            let before = cursor.position();
            match cursor.next()? {
                None => return Ok(index),
                Some(Step::Damage(bytes)) => damaged += bytes,
                Some(Step::Record(raw, position)) => {
                    let Raw { offset, stored, kind, .. } = raw;
                    debug_assert!(position >= before);
                    index.damaged += std::mem::take(&mut damaged);
                    let end = cursor.position();
                    index.add(offset, stored, kind, position, end);
                }
            }
        }
    }

    /// The index of a file that is not written any more; `found` hears of damage, once.
    pub(super) fn index(&self, found: impl FnOnce(u64)) -> io::Result<Arc<Index>> {
        let mut held = self.index.lock();
        if let Some(index) = &*held {
            return Ok(Arc::clone(index));
        }
        let index = self.scan()?;
        let damaged = index.damaged + self.bytes()?.saturating_sub(index.end);
        if damaged > 0 {
            warn!(path = %self.path.display(), bytes = damaged, "a file of the events is damaged; what is around it stays");
            found(damaged);
        }
        let index = Arc::new(index);
        *held = Some(Arc::clone(&index));
        Ok(index)
    }

    /// Where to read from for a record, as far as is known without reading.
    pub(super) fn position_of(&self, offset: Offset) -> u64 {
        let index = self.index.try_lock().and_then(|held| held.clone());
        index.map_or(0, |index| index.position_of(offset))
    }

    /// Keeps what is known of it from its writing.
    pub(super) fn know(&self, index: Index) {
        *self.index.lock() = Some(Arc::new(index));
    }
}

/// Reads from a row of files, oldest first; `found` hears of damage. A file that is not there any more is an error, so
/// that the row is looked up anew; one that cannot be read is [`Lost`].
///
/// What is missing within a file that was thinned was dropped on purpose; anything else that is missing is [`Lost`].
pub(super) fn read(
    spans: &[Span],
    from: Offset,
    max: usize,
    found: &dyn Fn(u64),
) -> io::Result<Result<Vec<Record>, Lost>> {
    let mut reading = Reading { wanted: from, records: Vec::new(), bytes: 0, max };
    for span in spans {
        let missing = match reading.read(span, found) {
            Ok(Missing::Nothing) => None,
            Ok(Missing::Until(first)) => Some(first),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(error),
            Err(error) => {
                warn!(path = %span.volume.path.display(), %error, "a file of the events cannot be read");
                Some(span.end)
            }
        };
        // What is before a gap is told first, and when that was taken, that something is missing.
        match missing {
            Some(first) if reading.records.is_empty() => return Ok(Err(Lost { wanted: reading.wanted, first })),
            Some(_) => break,
            None if reading.is_full() => break,
            None => {}
        }
    }
    Ok(Ok(reading.records))
}

/// What is missing where a file was read.
enum Missing {
    Nothing,
    /// From what is wanted to before this.
    Until(Offset),
}

struct Reading {
    wanted: Offset,
    records: Vec<Record>,
    bytes: usize,
    max: usize,
}

impl Reading {
    fn is_full(&self) -> bool {
        self.records.len() >= self.max || self.bytes > READ_BYTES_MAX
    }

    fn read(&mut self, span: &Span, found: &dyn Fn(u64)) -> io::Result<Missing> {
        let position = span.index(found)?.position_of(self.wanted);
        let mut cursor = Cursor::new(span.volume.open()?, position, span.bytes);
        let mut is_damaged = false;
        while !self.is_full()
            && let Some(step) = cursor.next()?
        {
            let Step::Record(raw, _) = step else {
                is_damaged = true;
                continue;
            };
            let is_meant = span.volume.is_thinned && !std::mem::take(&mut is_damaged);
            if raw.offset < self.wanted {
                continue;
            }
            if raw.offset > self.wanted && !is_meant {
                return Ok(Missing::Until(raw.offset));
            }
            self.bytes += raw.json.len();
            self.wanted = raw.offset.after();
            self.records.push(raw.to_record());
        }
        if self.is_full() || self.wanted >= span.end {
            return Ok(Missing::Nothing);
        }
        if !span.volume.is_thinned || is_damaged {
            return Ok(Missing::Until(span.end));
        }
        self.wanted = span.end;
        Ok(Missing::Nothing)
    }
}

/// The first record stored at `time` or later.
pub(super) fn offset_at(spans: &[Span], time: UtcTime, found: &dyn Fn(u64)) -> io::Result<Option<Offset>> {
    for span in spans {
        let index = span.index(found)?;
        if index.stored_last.is_none_or(|last| last < time) {
            continue;
        }
        let mut cursor = Cursor::new(span.volume.open()?, index.position_before(time), span.bytes);
        while let Some(step) = cursor.next()? {
            if let Step::Record(raw, _) = step
                && raw.stored >= time
            {
                return Ok(Some(raw.offset));
            }
        }
    }
    Ok(None)
}
