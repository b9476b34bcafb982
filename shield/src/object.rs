// SPDX-License-Identifier: Apache-2.0
//! One answer as the shield holds it: its head, what the rules say of it, and a body that may still be arriving.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use futures_util::Stream;
use headwater_net::Growing;
use headwater_net::growing::{self, End, Failed};
use headwater_net::h1::Prepared;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::cmsd;
use crate::follow::Standing;
use crate::metrics;
use crate::semantics::Policy;
use crate::store::{Charge, Epoch, Kind, Purges, Resident, Tags};
use crate::tail::{Outlet, Rest, Tail};
use crate::whole::Whole;

/// The head of an answer as it is held.
#[derive(Debug)]
pub struct Head {
    /// Its status.
    pub status: StatusCode,
    /// End-to-end fields as the origin sent them; no Age, no Content-Length.
    pub headers: HeaderMap,
    /// Who sent it.
    pub origin: Arc<str>,
    /// What the requests of its channel are counted by.
    pub channel: Option<Arc<metrics::Channel>>,
    /// How it stands towards events, where they are followed.
    pub(crate) standing: Option<Standing>,
}

/// An answer that may serve more than one request.
#[derive(Debug)]
pub struct Object {
    /// Its status.
    pub status: StatusCode,
    /// End-to-end fields as the origin sent them; no Age, no Content-Length.
    pub headers: HeaderMap,
    /// How long it may be served.
    pub policy: Policy,
    /// Its bytes; a head that was confirmed shares them with the one before.
    pub content: Arc<Content>,
    /// Who sent it.
    pub origin: Arc<str>,
    /// What the requests of its channel are counted by.
    pub channel: Option<Arc<metrics::Channel>>,
    /// How it stands towards events, where they are followed.
    standing: Option<Standing>,
    /// What it can be purged by, beside its key.
    pub tags: Tags,
    /// Purges up to this one are known not to concern it.
    epoch: AtomicU64,
    /// Purged softly: stale from now on.
    outdated: AtomicBool,
    /// What servers before this one said of the transmission that brought it (CMSD-Dynamic).
    pub(crate) hops: Option<HeaderValue>,
    /// Its head as text, from its first hit on.
    pub(crate) prepared: OnceLock<Prepared>,
}

impl Object {
    /// An answer with this head, whose fill began at `epoch`.
    pub fn new(head: Head, policy: Policy, content: Arc<Content>, tags: Tags, epoch: Epoch) -> Self {
        let Head { status, mut headers, origin, channel, standing } = head;
        let hops = cmsd::take(&mut headers);
        let (epoch, outdated) = (AtomicU64::new(epoch.0), AtomicBool::new(false));
        let prepared = OnceLock::new();
        Self { status, headers, policy, content, origin, channel, standing, tags, epoch, outdated, hops, prepared }
    }

    /// Purges up to this one are known not to concern it.
    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Relaxed))
    }

    /// What purges that came since the last look make of it.
    pub fn purged(&self, key: &str, purges: &Purges) -> Option<Kind> {
        let (known, now) = (Epoch(self.epoch.load(Ordering::Relaxed)), purges.epoch());
        if known == now {
            return None;
        }
        let covered = purges.covers(key, &self.tags, known);
        if covered.is_none() {
            self.epoch.store(now.0, Ordering::Relaxed);
        }
        covered
    }

    /// Makes it stale.
    pub fn outdate(&self) {
        self.outdated.store(true, Ordering::Relaxed);
    }

    /// True once it was purged softly, and for a playlist that an event has made old.
    pub fn is_outdated(&self) -> bool {
        self.outdated.load(Ordering::Relaxed) || self.standing.as_ref().is_some_and(Standing::is_superseded)
    }

    /// A request is answered with it: what is asked for is fetched ahead.
    pub(crate) fn asked(&self, now: Instant) {
        if let Some(standing) = &self.standing {
            standing.asked(now);
        }
    }

    /// Says that it was asked for.
    pub fn touch(&self) {
        if let Some(resident) = self.content.resident() {
            resident.touch();
        }
    }
}

/// The bytes of an answer: arriving, then whole.
///
/// Whole ones are copied out of what they were read into; what readers of the growing form still hold goes with them.
#[derive(Debug)]
pub struct Content {
    /// As the origin announced it.
    length_bytes: Option<u64>,
    whole: Arc<OnceLock<Whole>>,
    /// Held to clone or drop a handle.
    growing: Mutex<Option<Growing>>,
    /// The room it takes while the store does not know it.
    charge: OnceLock<Charge>,
    /// Its place in the store, once it is whole and kept. Here and not at the head: a head that was confirmed has the
    /// same bytes, and they leave once.
    resident: OnceLock<Arc<Resident>>,
    /// For what comes after there is no more room.
    tail: Tail,
}

impl Content {
    /// Bytes that will arrive; `length_bytes` of them if that is known.
    pub fn growing(length_bytes: Option<u64>) -> (Self, Growing) {
        let growing = Growing::new();
        let arriving = Mutex::new(Some(growing.clone()));
        let content = Self {
            length_bytes,
            whole: Arc::default(),
            growing: arriving,
            charge: OnceLock::new(),
            resident: OnceLock::new(),
            tail: Tail::default(),
        };
        (content, growing)
    }

    /// Bytes that are here.
    pub fn whole(whole: Whole) -> Self {
        Self {
            length_bytes: Some(whole.length_bytes()),
            whole: Arc::new(OnceLock::from(whole)),
            growing: Mutex::new(None),
            charge: OnceLock::new(),
            resident: OnceLock::new(),
            tail: Tail::default(),
        }
    }

    /// Counts its bytes for as long as anybody holds it.
    pub(crate) fn account(&self, charge: Charge) {
        let _ = self.charge.set(charge);
    }

    /// The store has it from now on.
    pub(crate) fn reside(&self, resident: Arc<Resident>) {
        let _ = self.resident.set(resident);
    }

    /// Its place in the store, if it has or had one.
    pub(crate) fn resident(&self) -> Option<&Arc<Resident>> {
        self.resident.get()
    }

    /// It can still be served: it did not break off, and memory has not let go of it.
    pub(crate) fn is_sound(&self) -> bool {
        if self.bytes().is_some() {
            return self.resident().is_none_or(|resident| !resident.is_gone());
        }
        let ended = self.growing.lock().as_ref().and_then(Growing::ended);
        ended != Some(End::Failed) && !self.tail.has_begun()
    }

    /// All bytes, once they are here.
    pub fn bytes(&self) -> Option<&Whole> {
        self.whole.get()
    }

    /// How many bytes there are or will be, if that is known.
    pub fn length_bytes(&self) -> Option<u64> {
        self.whole.get().map(Whole::length_bytes).or(self.length_bytes)
    }

    /// Every byte has come: readers from now on take slices of the whole.
    pub(crate) fn seal(&self, whole: Whole) {
        // NB: whole before the growing form goes: a reader must find one of them.
        let _ = self.whole.set(whole);
        *self.growing.lock() = None;
    }

    /// What comes is passed through, to those who read already.
    pub(crate) fn is_spilling(&self) -> bool {
        self.tail.has_begun()
    }

    /// There is no room for more: those who read already get the rest through what this returns.
    pub(crate) fn spill(&self) -> Outlet {
        self.tail.begin()
    }

    /// A response body of the bytes from `first` to `last`, both included; to the end without `last`.
    ///
    /// The caller has checked them against [`Self::length_bytes`] where that is known.
    pub fn body(&self, first: u64, last: Option<u64>) -> Body {
        if let Some(whole) = self.bytes() {
            return whole.body(first, last);
        }
        let Some(growing) = self.growing.lock().clone() else {
            // Sealed in between.
            return self.bytes().map_or_else(Body::empty, |whole| whole.body(first, last));
        };
        let end = last.map(|last| last + 1).or(self.length_bytes);
        let left = end.map(|end| end.saturating_sub(first));
        // What has a length has its room from the beginning.
        let rest = self.length_bytes.is_none().then(|| self.tail.join());
        let rest = match rest {
            // Too late: it is being passed through to those who came before.
            Some(None) => return measured(futures_util::stream::iter([Err(Failed { length_bytes: 0 })]), None),
            Some(rest) => rest,
            None => None,
        };
        let whole = Arc::clone(&self.whole);
        measured(
            window(Following { kept: Some(growing.reader()), whole, left: None, rest, read_bytes: 0 }, first, left),
            left,
        )
    }

    /// Waits until every byte is here.
    ///
    /// # Errors
    /// [`Failed`] if they will not come.
    pub async fn complete(&self) -> Result<Whole, Failed> {
        if let Some(whole) = self.bytes() {
            return Ok(whole.clone());
        }
        let growing = self.growing.lock().clone();
        if let Some(growing) = growing {
            let mut reader = growing.reader();
            while reader.next().await?.is_some() {}
        }
        self.bytes().cloned().ok_or(Failed { length_bytes: 0 })
    }
}

/// A reader of bytes that arrive, over all that is kept and then what is only passed through.
struct Following {
    kept: Option<growing::Reader>,
    whole: Arc<OnceLock<Whole>>,
    /// What is left of the whole, once that is there.
    left: Option<std::vec::IntoIter<Bytes>>,
    rest: Option<Rest>,
    read_bytes: u64,
}

impl Following {
    fn take_left(&mut self) -> Option<Bytes> {
        let piece = self.left.as_mut()?.next()?;
        self.read_bytes += piece.len() as u64;
        Some(piece)
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Failed> {
        if self.left.is_some() {
            return Ok(self.take_left());
        }
        if let Some(kept) = &mut self.kept {
            // NB: from the whole once that is there: a slow reader would keep every piece beside it.
            if let Some(whole) = self.whole.get() {
                self.left = Some(whole.slice(self.read_bytes, whole.length_bytes()).into_iter());
                self.kept = None;
                return Ok(self.take_left());
            }
            if let Some(chunk) = kept.next().await? {
                self.read_bytes += chunk.len() as u64;
                return Ok(Some(chunk));
            }
            // What was kept is not needed any more by this one.
            self.kept = None;
        }
        let Some(rest) = &mut self.rest else { return Ok(None) };
        let chunk = rest.next().await.map_err(|()| Failed { length_bytes: self.read_bytes })?;
        self.read_bytes += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        Ok(chunk)
    }
}

/// The bytes of an arriving body after the first `skip`, at most `left` of them.
fn window(following: Following, skip: u64, left: Option<u64>) -> impl Stream<Item = Result<Bytes, Failed>> + Send {
    futures_util::stream::unfold((following, skip, left), |(mut reader, mut skip, mut left)| async move {
        loop {
            if left == Some(0) {
                return None;
            }
            let mut chunk = match reader.next().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return None,
                Err(failed) => return Some((Err(failed), (reader, 0, Some(0)))),
            };
            if skip >= chunk.len() as u64 {
                skip -= chunk.len() as u64;
                continue;
            }
            chunk = chunk.slice(usize::try_from(skip).unwrap_or(0)..);
            skip = 0;
            if let Some(left) = &mut left {
                chunk.truncate(usize::try_from(*left).unwrap_or(usize::MAX).min(chunk.len()));
                *left -= chunk.len() as u64;
            }
            return Some((Ok(chunk), (reader, skip, left)));
        }
    })
}

/// A body of pieces whose length is told where it is known, so that a stump can be seen as one.
pub(crate) fn measured<S, E>(pieces: S, length_bytes: Option<u64>) -> Body
where
    S: Stream<Item = Result<Bytes, E>> + Send + 'static,
    E: std::error::Error + Send + Sync + 'static,
{
    Body::new(Measured { pieces: Box::pin(pieces), left: length_bytes })
}

struct Measured<S> {
    pieces: Pin<Box<S>>,
    left: Option<u64>,
}

impl<S, E> http_body::Body for Measured<S>
where
    S: Stream<Item = Result<Bytes, E>> + Send,
{
    type Data = Bytes;
    type Error = E;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        let polled = self.pieces.as_mut().poll_next(cx);
        if let (Poll::Ready(Some(Ok(piece))), Some(left)) = (&polled, &mut self.left) {
            *left = left.saturating_sub(piece.len() as u64);
        }
        polled.map(|next| next.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

/// Ends a growing body as failed when whoever fills it is gone.
#[derive(Debug)]
pub(crate) struct Pen {
    growing: Growing,
}

impl Pen {
    pub(crate) const fn new(growing: Growing) -> Self {
        Self { growing }
    }

    pub(crate) fn append(&self, chunk: Bytes) {
        self.growing.append(chunk);
    }

    pub(crate) fn complete(self) {
        self.growing.end(End::Complete);
    }
}

impl Drop for Pen {
    fn drop(&mut self) {
        // The first end stays.
        self.growing.end(End::Failed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn read(body: Body) -> Result<Bytes, axum::Error> {
        body.collect().await.map(http_body_util::Collected::to_bytes)
    }

    #[tokio::test]
    async fn a_range_of_an_arriving_body_is_that_of_the_whole() {
        for (first, last, expected) in
            [(0, None, "abcdef"), (2, Some(3), "cd"), (1, Some(4), "bcde"), (5, None, "f"), (0, Some(0), "a")]
        {
            let (content, growing) = Content::growing(Some(6));
            let pen = Pen::new(growing);
            let body = content.body(first, last);
            let expected_length = expected.len() as u64;
            assert_eq!(http_body::Body::size_hint(&body).exact(), Some(expected_length), "{first}-{last:?}");
            let reading = tokio::spawn(read(body));
            for chunk in ["ab", "c", "def"] {
                pen.append(Bytes::from_static(chunk.as_bytes()));
                tokio::task::yield_now().await;
            }
            content.seal(Whole::of(vec![Bytes::from_static(b"abcdef")]));
            pen.complete();
            assert_eq!(reading.await.unwrap().unwrap(), expected);
            assert_eq!(read(content.body(first, last)).await.unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn a_body_whose_source_is_gone_ends_with_an_error() {
        let (content, growing) = Content::growing(None);
        let pen = Pen::new(growing);
        pen.append(Bytes::from_static(b"ab"));
        let body = content.body(0, None);
        drop(pen);
        assert!(read(body).await.is_err());
        assert!(content.complete().await.is_err());
    }
}
