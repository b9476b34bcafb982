// SPDX-License-Identifier: Apache-2.0
//! What comes of a body after there is no more room for it: each piece goes from the origin to those who read already,
//! at the pace of the slowest of them, and is kept nowhere.
//!
//! A length that nobody announced may turn out to be more than memory has. Whoever was shown the head by then is owed
//! the rest, so the rest is passed through rather than cut off.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::upstream::Body;

/// Pieces on their way to a reader.
const AHEAD_MAX: usize = 4;
/// Who takes nothing for so long is cut off: the others wait for it. A listener's own bound is most often shorter.
const STALL_MAX: Duration = Duration::from_secs(30);

#[derive(Debug)]
enum Piece {
    Bytes(Bytes),
    End,
}

/// Where readers of a body of unknown length join, in case that there is no room for all of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tail {
    /// Guards the list; `None` once it has begun, for then it is too late to join.
    readers: Arc<Mutex<Joined>>,
}

#[derive(Debug, Default)]
struct Joined {
    begun: bool,
    readers: Vec<mpsc::Sender<Piece>>,
}

impl Tail {
    /// A reader's place; `None` once it has begun.
    pub(crate) fn join(&self) -> Option<Rest> {
        let mut joined = self.readers.lock();
        if joined.begun {
            return None;
        }
        // Those who left are forgotten when the list would grow, so it is never twice as long as there are readers.
        if joined.readers.len() == joined.readers.capacity() {
            joined.readers.retain(|reader| !reader.is_closed());
        }
        let (reader, pieces) = mpsc::channel(AHEAD_MAX);
        joined.readers.push(reader);
        Some(Rest { tail: self.clone(), pieces })
    }

    /// True once what comes is passed through.
    pub(crate) fn has_begun(&self) -> bool {
        self.readers.lock().begun
    }

    /// Begins. Nobody joins any more: what goes before it is still to be had by those who have.
    pub(crate) fn begin(&self) -> Outlet {
        let mut joined = self.readers.lock();
        joined.begun = true;
        Outlet { readers: std::mem::take(&mut joined.readers) }
    }
}

/// Those who are owed the rest. Dropped before its end, it ends as failed.
#[derive(Debug)]
pub(crate) struct Outlet {
    readers: Vec<mpsc::Sender<Piece>>,
}

impl Outlet {
    /// Passes on this piece and what follows it, to its end or until nobody reads any more.
    pub(crate) async fn pour(mut self, first: Bytes, mut body: Body) -> Result<(), crate::upstream::BodyError> {
        let mut piece = Some(first);
        while let Some(bytes) = piece {
            self.send(&bytes).await;
            if self.readers.is_empty() {
                return Ok(());
            }
            piece = body.next().await?;
        }
        for reader in &self.readers {
            let _ = reader.send_timeout(Piece::End, STALL_MAX).await;
        }
        Ok(())
    }

    async fn send(&mut self, bytes: &Bytes) {
        let mut left = Vec::with_capacity(self.readers.len());
        for reader in self.readers.drain(..) {
            if reader.send_timeout(Piece::Bytes(bytes.clone()), STALL_MAX).await.is_ok() {
                left.push(reader);
            }
        }
        self.readers = left;
    }
}

/// A reader's part of what is passed through.
#[derive(Debug)]
pub(crate) struct Rest {
    tail: Tail,
    pieces: mpsc::Receiver<Piece>,
}

impl Rest {
    /// The next piece; `None` at the end. To be asked once all that was kept is read.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ()> {
        if !self.tail.has_begun() {
            return Ok(None);
        }
        match self.pieces.recv().await {
            Some(Piece::Bytes(bytes)) => Ok(Some(bytes)),
            Some(Piece::End) => Ok(None),
            None => Err(()),
        }
    }
}
