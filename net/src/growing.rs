// SPDX-License-Identifier: Apache-2.0
//! A body that grows: one append-only list of byte chunks with an end state, read by any number of readers.
//!
//! Readers pull at their own pace and share the chunks; a slow one holds reference counts, never copies. A failed body
//! ends every reader with an error, so a stump can never be taken for the whole (RFC 9112, 8: an incomplete message).

use std::sync::{Arc, Weak};

use bytes::Bytes;
use futures_util::Stream;
use parking_lot::RwLock;
use tokio::sync::watch;

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Every byte is here.
    Complete,
    /// No further byte will come and some are missing.
    Failed,
}

/// The body broke off before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected more of a body that was still growing, its source failed after {length_bytes} bytes")]
pub struct Failed {
    /// Bytes that had come.
    pub length_bytes: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Edge {
    chunks: usize,
    length_bytes: u64,
    end: Option<End>,
}

#[derive(Debug)]
struct Inner {
    /// Guards the list only; held for a push or the clone of one handle.
    chunks: RwLock<Vec<Bytes>>,
    edge: watch::Sender<Edge>,
}

/// A handle to a growing body; clones name the same body.
#[derive(Clone, Debug)]
pub struct Growing {
    inner: Arc<Inner>,
}

impl Default for Growing {
    fn default() -> Self {
        Self::new()
    }
}

impl Growing {
    /// An empty body.
    pub fn new() -> Self {
        Self { inner: Arc::new(Inner { chunks: RwLock::new(Vec::new()), edge: watch::Sender::new(Edge::default()) }) }
    }

    /// Appends a chunk and wakes the readers; ignored after the end.
    pub fn append(&self, chunk: Bytes) {
        let length = chunk.len() as u64;
        self.inner.edge.send_if_modified(|edge| {
            if edge.end.is_some() {
                return false;
            }
            // NB: bytes before edge: a woken reader must find them.
            self.inner.chunks.write().push(chunk);
            edge.chunks += 1;
            edge.length_bytes += length;
            true
        });
    }

    /// Ends the body; the first end stays.
    pub fn end(&self, end: End) {
        self.inner.edge.send_if_modified(|edge| {
            let first = edge.end.is_none();
            edge.end.get_or_insert(end);
            first
        });
    }

    /// Lets go of the bytes: whoever has not read them all is cut off.
    pub fn withdraw(&self) {
        // NB: edge before bytes: a reader that finds no chunk must find the failure.
        self.inner.edge.send_modify(|edge| edge.end = Some(End::Failed));
        *self.inner.chunks.write() = Vec::new();
    }

    /// A handle that keeps nothing alive.
    pub fn downgrade(&self) -> Fading {
        Fading { inner: Arc::downgrade(&self.inner) }
    }

    /// How it ended, if it has.
    pub fn ended(&self) -> Option<End> {
        self.inner.edge.borrow().end
    }

    /// Bytes so far.
    pub fn length_bytes(&self) -> u64 {
        self.inner.edge.borrow().length_bytes
    }

    /// A reader from the first byte.
    pub fn reader(&self) -> Reader {
        Reader { inner: Arc::clone(&self.inner), edge: self.inner.edge.subscribe(), next: 0 }
    }

    /// A reader as a stream, for a response body.
    pub fn stream(&self) -> impl Stream<Item = Result<Bytes, Failed>> + Send + use<> {
        futures_util::stream::unfold(Some(self.reader()), |reader| async {
            let mut reader = reader?;
            match reader.next().await {
                Ok(Some(chunk)) => Some((Ok(chunk), Some(reader))),
                Ok(None) => None,
                Err(failed) => Some((Err(failed), None)),
            }
        })
    }
}

/// A body that lives as long as its readers.
#[derive(Clone, Debug, Default)]
pub struct Fading {
    inner: Weak<Inner>,
}

impl Fading {
    /// The body, if anybody still reads it.
    pub fn upgrade(&self) -> Option<Growing> {
        self.inner.upgrade().map(|inner| Growing { inner })
    }
}

/// One reader's place in a growing body.
#[derive(Debug)]
pub struct Reader {
    inner: Arc<Inner>,
    edge: watch::Receiver<Edge>,
    next: usize,
}

impl Reader {
    /// The next chunk; `None` at a complete end. Cancel-safe: a dropped call has taken nothing.
    ///
    /// # Errors
    /// [`Failed`] once every chunk of a failed body is read.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failed> {
        loop {
            let edge = *self.edge.borrow_and_update();
            if self.next < edge.chunks {
                let Some(chunk) = self.inner.chunks.read().get(self.next).cloned() else {
                    return Err(Failed { length_bytes: edge.length_bytes });
                };
                self.next += 1;
                return Ok(Some(chunk));
            }
            match edge.end {
                Some(End::Complete) => return Ok(None),
                Some(End::Failed) => return Err(Failed { length_bytes: edge.length_bytes }),
                None => {}
            }
            // The sender lives in `inner`, which this reader holds: changed() cannot fail.
            if self.edge.changed().await.is_err() {
                return Err(Failed { length_bytes: edge.length_bytes });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(mut reader: Reader) -> Result<Vec<u8>, Failed> {
        let mut bytes = Vec::new();
        while let Some(chunk) = reader.next().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    #[tokio::test]
    async fn early_and_late_readers_get_the_same_bytes() {
        let body = Growing::new();
        let early = tokio::spawn(all(body.reader()));
        body.append(Bytes::from_static(b"ab"));
        let middle = tokio::spawn(all(body.reader()));
        tokio::task::yield_now().await;
        body.append(Bytes::from_static(b"cd"));
        body.end(End::Complete);
        body.append(Bytes::from_static(b"after the end"));
        assert_eq!(early.await.unwrap().unwrap(), b"abcd");
        assert_eq!(middle.await.unwrap().unwrap(), b"abcd");
        assert_eq!(all(body.reader()).await.unwrap(), b"abcd");
    }

    #[tokio::test]
    async fn a_failed_body_never_ends_cleanly() {
        let body = Growing::new();
        body.append(Bytes::from_static(b"ab"));
        body.end(End::Failed);
        body.end(End::Complete);
        assert_eq!(all(body.reader()).await, Err(Failed { length_bytes: 2 }));
    }

    #[tokio::test]
    async fn a_reader_of_a_body_that_is_withdrawn_is_cut_off() {
        let body = Growing::new();
        body.append(Bytes::from_static(b"ab"));
        body.append(Bytes::from_static(b"cd"));
        body.end(End::Complete);
        let mut reader = body.reader();
        assert_eq!(reader.next().await.unwrap().unwrap(), "ab");
        let fading = body.downgrade();
        drop(body);
        fading.upgrade().unwrap().withdraw();
        assert_eq!(reader.next().await, Err(Failed { length_bytes: 4 }));
        drop(reader);
        assert!(fading.upgrade().is_none());
    }
}
