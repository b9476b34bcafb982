// SPDX-License-Identifier: Apache-2.0
//! A response as it leaves: in pieces of a bounded size, and at the pace at which its client takes them.
//!
//! Pieces are slices, never copies, and a slice keeps the whole object in memory. So the time that a client may take
//! is what bounds how much media outlives its window, however many connections there are.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::rt::Executor;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::limits::{Limits, Tally};
use crate::pulse::{Request, pace_overdue};

/// How far a client is with a response, and how long it has kept us waiting.
#[derive(Debug)]
pub(crate) struct Pace {
    stall: Duration,
    bytes_per_second_min: u64,
    /// Held to note a piece.
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    given_bytes: u64,
    waited: Duration,
    /// A piece was given then and no further one asked for since.
    waiting: Option<Instant>,
}

impl Pace {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            stall: limits.stall,
            bytes_per_second_min: limits.send_bytes_per_second_min.max(1),
            state: Mutex::default(),
        }
    }

    fn asked(&self) {
        let mut state = self.state.lock();
        if let Some(since) = state.waiting.take() {
            state.waited += since.elapsed();
        }
    }

    fn gave(&self, bytes: usize) {
        let mut state = self.state.lock();
        state.given_bytes += bytes as u64;
        state.waiting = Some(Instant::now());
    }

    /// When the client will have been too slow; `None` while it waits for us.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        let state = *self.state.lock();
        let since = state.waiting?;
        let earned = Duration::from_secs(state.given_bytes / self.bytes_per_second_min);
        let left = (self.stall + earned).saturating_sub(state.waited).min(self.stall);
        (since + left).max(now).into()
    }

    /// Waits until the client has been too slow.
    async fn too_slow(&self) {
        loop {
            let now = Instant::now();
            match self.deadline(now) {
                Some(at) if at <= now => return,
                Some(at) => tokio::time::sleep_until(at).await,
                // It is we who are slow; nothing can be overdue sooner than this.
                None => tokio::time::sleep(self.stall).await,
            }
        }
    }
}

/// Bytes handed to hyper at once. Each costs a write, so most segments should be one; and a client at the least rate
/// allowed by default must take one before it counts as stalled: 30 s of 8 KiB.
pub(crate) const PIECE_BYTES: usize = 240 << 10;

/// A response's body, watched.
#[derive(Debug)]
pub(crate) struct Paced {
    inner: Body,
    rest: Bytes,
    pace: Arc<Pace>,
    request: Request,
}

impl Paced {
    pub(crate) fn new(inner: Body, pace: Arc<Pace>, mut request: Request) -> Self {
        if inner.is_end_stream() {
            request.answered();
        }
        // A stream without a window is not even asked for its first byte.
        pace.gave(0);
        Self { inner, rest: Bytes::new(), pace, request }
    }
}

impl http_body::Body for Paced {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.pace.asked();
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                None => {
                    self.request.answered();
                    return Poll::Ready(None);
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
            }
        }
        let length = self.rest.len().min(PIECE_BYTES);
        let piece = self.rest.split_to(length);
        self.pace.gave(length);
        if self.is_end_stream() {
            self.request.answered();
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (self.inner.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(inner.lower() + rest);
        hint
    }
}

tokio::task_local! {
    /// The place of the response that an HTTP/2 stream's task answers with.
    static STREAM: Arc<Mutex<Option<Arc<Pace>>>>;
}

/// Hands the response's pace to the task of its HTTP/2 stream; false on HTTP/1, which has none.
pub(crate) fn watched_by_stream(pace: &Arc<Pace>) -> bool {
    STREAM.try_with(|place| *place.lock() = Some(Arc::clone(pace))).is_ok()
}

/// Runs the streams of an HTTP/2 connection, each cut off by itself when its client is too slow: others on the same
/// connection go on. Dropping the task is what makes hyper reset the stream.
#[derive(Clone, Debug)]
pub(crate) struct Streams {
    pub(crate) limits: Arc<Limits>,
    pub(crate) tally: Arc<Tally>,
}

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, stream: F) {
        let Self { limits, tally } = self.clone();
        let place = Arc::new(Mutex::new(None::<Arc<Pace>>));
        let slow = {
            let (place, stall) = (Arc::clone(&place), limits.stall);
            async move {
                loop {
                    let pace = place.lock().clone();
                    match pace {
                        Some(pace) => return pace.too_slow().await,
                        // Still being answered: nothing can be overdue sooner than this.
                        None => tokio::time::sleep(stall).await,
                    }
                }
            }
        };
        tokio::spawn(STREAM.scope(place, async move {
            tokio::select! {
                biased;
                _ = stream => {}
                () = slow => {
                    let overdue = pace_overdue(&limits);
                    tally.refuse(overdue.bound().unwrap_or("stream"), format_args!("{overdue}"));
                }
            }
        }));
    }
}
