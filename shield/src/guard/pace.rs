// SPDX-License-Identifier: Apache-2.0
//! Bytes a second to one edge: its responses are sent more slowly, together no faster than that; none is refused.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::Pass;

/// What may be sent ahead of the rate, in time of it: an edge that was idle begins at once.
const AHEAD: Duration = Duration::from_millis(250);
/// Pieces that a body is cut into: so small that the edge's other responses get their turn, and no smaller.
const PIECE_BYTES: std::ops::RangeInclusive<u64> = 1 << 10..=64 << 10;

/// What one edge has been sent, as the time by which its rate has paid for it.
#[derive(Debug)]
pub struct Pace {
    bytes_per_second: u64,
    start: Instant,
    /// Nanoseconds from the start.
    paid: AtomicU64,
}

impl Pace {
    pub(super) fn new(bytes_per_second: u64) -> Option<Self> {
        (bytes_per_second > 0).then(|| Self { bytes_per_second, start: Instant::now(), paid: AtomicU64::new(0) })
    }

    /// Counts bytes, and says when they may be sent.
    pub fn reserve(&self, bytes: u64, now: Instant) -> Instant {
        let now_ns = nanoseconds(now.saturating_duration_since(self.start));
        let cost = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second);
        let cost = u64::try_from(cost).unwrap_or(u64::MAX);
        // What was not used is not saved up.
        let begin = |paid: u64| paid.max(now_ns);
        let before =
            self.paid.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |p| Some(begin(p).saturating_add(cost)));
        let ahead = begin(before.unwrap_or(0)).saturating_add(cost).saturating_sub(nanoseconds(AHEAD));
        self.start.checked_add(Duration::from_nanos(ahead)).map_or(now, |when| when.max(now))
    }

    /// How many bytes are worth one turn.
    pub fn piece_bytes(&self) -> usize {
        let share = (self.bytes_per_second / 16).clamp(*PIECE_BYTES.start(), *PIECE_BYTES.end());
        usize::try_from(share).unwrap_or(usize::MAX)
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A response body that keeps its place until it is sent or dropped, and keeps its edge's pace.
pub(super) struct Passed {
    body: Body,
    pass: Pass,
    /// What is cut off and not yet sent.
    rest: Bytes,
    /// When the next piece may go.
    wait: Option<Pin<Box<Sleep>>>,
}

impl Passed {
    pub(super) fn new(body: Body, pass: Pass) -> Self {
        Self { body, pass, rest: Bytes::new(), wait: None }
    }
}

impl HttpBody for Passed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let Some(pace) = this.pass.pace() else { return Pin::new(&mut this.body).poll_frame(cx) };
        if this.rest.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                end => return Poll::Ready(end),
            }
        }
        let length = this.rest.len().min(pace.piece_bytes());
        if this.wait.is_none() {
            let now = Instant::now();
            let when = pace.reserve(length as u64, now);
            this.wait = (when > now).then(|| Box::pin(tokio::time::sleep_until(when)));
        }
        if let Some(wait) = &mut this.wait {
            ready!(wait.as_mut().poll(cx));
            this.wait = None;
        }
        Poll::Ready(Some(Ok(Frame::data(this.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (body, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(body.lower() + rest);
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_edge_is_sent_its_rate_and_no_more() {
        let pace = Pace::new(1_000_000).unwrap();
        let start = Instant::now();
        assert_eq!(pace.reserve(250_000, start), start, "a quarter of a second goes ahead");
        assert_eq!(pace.reserve(100_000, start), start + Duration::from_millis(100));
        assert_eq!(pace.reserve(100_000, start), start + Duration::from_millis(200));
        let later = start + Duration::from_secs(60);
        assert_eq!(pace.reserve(250_000, later), later);
        assert_eq!(pace.reserve(1_000_000, later), later + Duration::from_secs(1));
    }

    #[test]
    fn nothing_overflows() {
        assert!(Pace::new(0).is_none());
        let pace = Pace::new(1).unwrap();
        let now = Instant::now();
        for _ in 0..3 {
            assert!(pace.reserve(u64::MAX, now) >= now);
        }
        assert_eq!(pace.piece_bytes(), 1 << 10);
        assert_eq!(Pace::new(u64::MAX).unwrap().piece_bytes(), 64 << 10);
    }
}
