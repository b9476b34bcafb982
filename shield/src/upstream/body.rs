// SPDX-License-Identifier: Apache-2.0
//! A body on its way from an origin. It ends cleanly only when every byte of it has come: one that is shorter than its
//! Content-Length, lacks its last chunk, or whose stream was reset ends with an error (RFC 9112, 8).

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Method, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};

use super::connect::{H1, Pool};
use super::group::Witness;
use super::health::Fault;
use crate::metrics;

/// Why a body did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The connection ended, the stream was reset, or the framing was broken.
    #[error("expected more after {came_bytes} bytes, {cause}")]
    Broken {
        /// Bytes that had come.
        came_bytes: u64,
        /// What was seen.
        cause: Arc<str>,
    },
    /// It ended at another length than its head said.
    #[error("expected {expected_bytes} bytes, {came_bytes} came")]
    Length {
        /// What the head said.
        expected_bytes: u64,
        /// Bytes that had come.
        came_bytes: u64,
    },
    /// Nothing came for too long.
    #[error("expected more after {came_bytes} bytes, nothing came for {waited:?}")]
    Stalled {
        /// Bytes that had come.
        came_bytes: u64,
        /// How long.
        waited: Duration,
    },
    /// All of it took too long.
    #[error("expected the whole body in time, {came_bytes} bytes came")]
    Late {
        /// Bytes that had come.
        came_bytes: u64,
    },
}

impl BodyError {
    fn fault(&self) -> Fault {
        match self {
            Self::Broken { .. } | Self::Length { .. } => Fault::Broken,
            Self::Stalled { .. } | Self::Late { .. } => Fault::Stalled,
        }
    }
}

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// By its length.
    Length(u64),
    /// By a last chunk or the end of a stream.
    Marked,
    /// By the end of the connection: a crash looks the same, so it is complete only in name (RFC 9112, 6.3).
    Close,
}

impl Framing {
    /// Its length, if that is what tells its end.
    pub const fn length_bytes(self) -> Option<u64> {
        match self {
            Self::Length(bytes) => Some(bytes),
            Self::Marked | Self::Close => None,
        }
    }

    pub(super) fn of(version: Version, status: StatusCode, method: &Method, headers: &HeaderMap, here: bool) -> Self {
        let empty = *method == Method::HEAD
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if empty {
            return Self::Length(0);
        }
        if version >= Version::HTTP_2 || here || headers.contains_key(TRANSFER_ENCODING) {
            return length(headers).map_or(Self::Marked, Self::Length);
        }
        length(headers).map_or(Self::Close, Self::Length)
    }
}

/// The Content-Length, where it is a number.
pub(super) fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Where the bytes come from.
#[derive(Debug)]
pub(super) enum Source {
    Remote(Incoming),
    Here(axum::body::Body),
}

/// What a body keeps until its end.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// The connection, to be used again once the body has come to its end.
    pub(super) connection: Option<(Arc<Pool>, H1)>,
    pub(super) permit: Option<OwnedSemaphorePermit>,
    /// What its bytes are counted by.
    pub(super) counts: Option<Arc<metrics::Channel>>,
}

/// How long a body may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) between: Duration,
    pub(super) until: Instant,
}

/// A body on its way.
#[derive(Debug)]
pub struct Body {
    source: Source,
    framing: Framing,
    patience: Patience,
    came_bytes: u64,
    /// Read already, to be handed on first.
    ahead: Option<Bytes>,
    /// Since when nothing has come while somebody waits.
    waiting: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    kept: Kept,
    /// Whom its end is told to; nobody, for a check.
    witness: Option<Witness>,
    /// Its head was good: if it ends well, so is the answer.
    vouched: bool,
    end: Option<Result<(), BodyError>>,
}

impl Body {
    pub(super) fn new(
        source: Source,
        framing: Framing,
        patience: Patience,
        kept: Kept,
        witness: Option<Witness>,
    ) -> Self {
        let over = match &source {
            Source::Remote(body) => body.is_end_stream(),
            Source::Here(body) => body.is_end_stream(),
        };
        let mut body = Self {
            source,
            framing,
            patience,
            came_bytes: 0,
            ahead: None,
            waiting: None,
            timer: Box::pin(tokio::time::sleep_until(patience.until)),
            kept,
            witness,
            vouched: false,
            end: None,
        };
        if over {
            let _ = body.finish(None);
        }
        body
    }

    /// The next bytes; `None` at the end. Cancel-safe: a dropped call has taken nothing.
    ///
    /// # Errors
    /// [`BodyError`] where it broke off, every time it is asked from then on.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// How its end is known.
    pub const fn framing(&self) -> Framing {
        self.framing
    }

    /// Its head was good: a good end counts for the origin.
    pub(super) fn vouch(&mut self) {
        self.vouched = true;
        if self.end == Some(Ok(())) {
            self.tell(&Ok(()));
        }
    }

    /// It has to have this length; one whose end is merely marked is held to it from here on.
    pub(super) fn expect(&mut self, expected_bytes: u64) -> Result<(), BodyError> {
        match self.framing {
            Framing::Length(told) if told != expected_bytes => {
                Err(BodyError::Length { expected_bytes, came_bytes: told })
            }
            _ => {
                self.framing = Framing::Length(expected_bytes);
                Ok(())
            }
        }
    }

    /// Puts back bytes that were read from the front.
    pub(super) fn put_back(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.ahead = Some(bytes);
        }
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        if let Some(ahead) = self.ahead.take() {
            return Poll::Ready(Ok(Some(ahead)));
        }
        loop {
            if let Some(end) = &self.end {
                return Poll::Ready(end.clone().map(|()| None));
            }
            match self.poll_frame(context) {
                Poll::Ready(Some(Ok(bytes))) => {
                    self.waiting = None;
                    self.came_bytes += bytes.len() as u64;
                    if let Some(channel) = &self.kept.counts {
                        channel.received(bytes.len() as u64);
                    }
                    if matches!(self.framing, Framing::Length(expected) if self.came_bytes > expected) {
                        let _ = self.finish(None);
                    } else if !bytes.is_empty() {
                        return Poll::Ready(Ok(Some(bytes)));
                    }
                }
                Poll::Ready(Some(Err(cause))) => {
                    let came_bytes = self.came_bytes;
                    let _ = self.finish(Some(BodyError::Broken { came_bytes, cause }));
                }
                Poll::Ready(None) => {
                    let _ = self.finish(None);
                }
                Poll::Pending => {
                    let late = std::task::ready!(self.poll_patience(context));
                    let _ = self.finish(Some(late));
                }
            }
        }
    }

    /// Data only; trailers say nothing that is handed on.
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Arc<str>>>> {
        loop {
            let frame = match &mut self.source {
                Source::Remote(body) => {
                    let frame = std::task::ready!(pin!(body).poll_frame(context));
                    frame.map(|frame| frame.map_err(|error| innermost(&error)))
                }
                Source::Here(body) => {
                    let frame = std::task::ready!(pin!(body).poll_frame(context));
                    frame.map(|frame| frame.map_err(|error| innermost(&error)))
                }
            };
            match frame {
                None => return Poll::Ready(None),
                Some(Err(cause)) => return Poll::Ready(Some(Err(cause))),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                }
            }
        }
    }

    fn poll_patience(&mut self, context: &mut Context<'_>) -> Poll<BodyError> {
        let since = match self.waiting {
            Some(since) => since,
            None => {
                let now = Instant::now();
                self.timer.as_mut().reset((now + self.patience.between).min(self.patience.until));
                *self.waiting.insert(now)
            }
        };
        std::task::ready!(self.timer.as_mut().poll(context));
        let (came_bytes, now) = (self.came_bytes, Instant::now());
        if now >= self.patience.until {
            return Poll::Ready(BodyError::Late { came_bytes });
        }
        Poll::Ready(BodyError::Stalled { came_bytes, waited: now - since })
    }

    /// The first end stays; the origin's health is told of it, and a connection that is whole is given back.
    fn finish(&mut self, error: Option<BodyError>) -> Result<(), BodyError> {
        let short = match self.framing {
            Framing::Length(expected_bytes) if expected_bytes != self.came_bytes => {
                Some(BodyError::Length { expected_bytes, came_bytes: self.came_bytes })
            }
            _ => None,
        };
        let end = error.or(short).map_or(Ok(()), Err);
        let Kept { connection, permit, .. } = std::mem::take(&mut self.kept);
        if let Some((pool, sender)) = connection.filter(|_| end.is_ok()) {
            pool.put(sender);
        }
        drop(permit);
        self.tell(&end);
        self.end.insert(end).clone()
    }

    fn tell(&self, end: &Result<(), BodyError>) {
        match (&self.witness, end) {
            (Some(witness), Ok(())) if self.vouched => witness.good(),
            (Some(witness), Err(error)) => witness.bad(error.fault()),
            _ => {}
        }
    }
}

/// What lies at the bottom of an error: the outer ones say only that something went wrong.
pub(super) fn innermost(error: &(dyn std::error::Error + 'static)) -> Arc<str> {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    Arc::from(cause.to_string())
}
