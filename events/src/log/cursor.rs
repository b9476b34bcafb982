// SPDX-License-Identifier: Apache-2.0
//! Reads the records of a file one after the other, around damage, with a bound on memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::entry::Offset;
use super::record::{self, BYTES_MAX, Next, Raw};

/// Bytes that are read at once; any record fits.
const WINDOW: usize = 1 << 20;
const _: () = assert!(BYTES_MAX < WINDOW);
/// Bytes of the first read: most readers want a few records.
const FIRST_WINDOW: usize = 64 << 10;

/// What lies next in a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// A record and where it lies.
    Record(Raw<'a>, u64),
    /// Bytes that are none.
    Damage(u64),
}

/// A place in a file.
#[derive(Debug)]
pub(super) struct Cursor {
    file: File,
    /// Where the window begins.
    position: u64,
    /// Where to stop.
    end: u64,
    window: Vec<u8>,
    /// What of the window was read.
    at: usize,
    /// Bytes of the next window.
    ahead: usize,
    /// The least offset the next record may have: a copy of an older one is damage too.
    floor: Offset,
}

impl Cursor {
    /// Reads from `position`, where a record begins or damage, up to `end`.
    pub(super) fn new(file: File, position: u64, end: u64) -> Self {
        Self { file, position, end, window: Vec::new(), at: 0, ahead: FIRST_WINDOW, floor: Offset(0) }
    }

    /// The next record or stretch of damage; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Step<'_>>> {
        let mut damaged = 0;
        // Where the record lies in the window, and its length: it is read again below, as a borrow cannot leave a loop.
        let length = loop {
            if self.at == self.window.len() && !self.refill()? {
                return Ok((damaged > 0).then_some(Step::Damage(damaged)));
            }
            let skip = match record::next(&self.window[self.at..]) {
                Next::Record(raw, length) if raw.offset >= self.floor => break length,
                Next::Record(_, length) => length,
                Next::Damage(bytes) => bytes,
                // Seen from its first byte, what does not end within a window or before the end is no record.
                Next::Partial if self.at == 0 && (self.is_last() || self.window.len() > BYTES_MAX) => 1,
                Next::Partial => {
                    self.refill()?;
                    continue;
                }
            };
            self.at += skip;
            damaged += skip as u64;
        };
        if damaged > 0 {
            return Ok(Some(Step::Damage(damaged)));
        }
        let start = self.at;
        self.at += length;
        let Next::Record(raw, _) = record::next(&self.window[start..]) else {
            return Err(io::Error::other("a record was read and is gone"));
        };
        self.floor = raw.offset.after();
        Ok(Some(Step::Record(raw, self.position + start as u64)))
    }

    /// Where the next step begins.
    pub(super) fn position(&self) -> u64 {
        self.position + self.at as u64
    }

    /// The window reaches the end.
    fn is_last(&self) -> bool {
        self.position + self.window.len() as u64 >= self.end
    }

    /// Moves the window on to what was not read; false at the end.
    fn refill(&mut self) -> io::Result<bool> {
        self.position += self.at as u64;
        self.at = 0;
        let left = usize::try_from(self.end.saturating_sub(self.position)).unwrap_or(usize::MAX);
        self.window.resize(left.min(self.ahead), 0);
        self.ahead = WINDOW;
        let mut filled = 0;
        while filled < self.window.len() {
            match self.file.read_at(&mut self.window[filled..], self.position + filled as u64) {
                Ok(0) => {
                    // Shorter than it was said to be: what is there is all.
                    self.end = self.position + filled as u64;
                    break;
                }
                Ok(bytes) => filled += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.window.truncate(filled);
        Ok(filled > 0)
    }
}
