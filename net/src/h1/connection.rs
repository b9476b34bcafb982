// SPDX-License-Identifier: Apache-2.0
//! One connection, request by request, until it ends or has to be another's.
//!
//! Whoever answers is dropped as soon as the client goes: while an answer is awaited or written the socket is read too.
//! What comes meanwhile is the next request, and no more of it is taken than a head may have.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri};
use http_body::Body as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use tower::ServiceExt;

use super::Hits;
use super::answer::{self, Answer, Framing};
use super::due::Due;
use super::head::{self, Head, Seen};
use super::output::Output;
use crate::Shutdown;
use crate::limits::{Limits, Tally};
use crate::pulse::Overdue;
use crate::response::PIECE_BYTES;
use crate::shutdown::Closing;

/// Bytes of one read: most heads, and nothing is allocated for it.
const READ_BYTES: usize = 4 << 10;
/// Pieces of a body that are gathered for one write.
const PIECES_MAX: usize = 32;

/// How serving here ended.
pub(crate) enum Served<I> {
    /// The connection is closed.
    Closed,
    /// What comes next is for another to read, from `read` on; its head is awaited since then.
    Other { stream: I, read: Bytes, head_since: Instant },
}

/// Why a connection broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("expected the connection to go on: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Overdue(#[from] Overdue),
    #[error("expected the client to wait for its answer, it closed the connection")]
    Gone,
    #[error("expected the whole body of a response: {0}")]
    Body(axum::Error),
    #[error("expected {missing_bytes} more bytes of a response's body")]
    Short { missing_bytes: u64 },
}

/// Serves simple requests until one is not, or the connection ends.
pub(crate) async fn serve<I, S>(
    stream: I,
    service: &S,
    limits: &Arc<Limits>,
    tally: &Tally,
    drain: &Shutdown,
) -> Result<Served<I>, Broken>
where
    I: AsyncRead + AsyncWrite + Unpin,
    S: tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Hits + Clone,
{
    let mut connection = Connection {
        stream,
        input: BytesMut::new(),
        begun: 0,
        output: Output::default(),
        due: Due::new(Arc::clone(limits)),
        closing: drain.closing(),
        limits: Arc::clone(limits),
    };
    loop {
        let last = match connection.step(service) {
            Step::Read if connection.read().await? => continue,
            Step::Read => true,
            Step::Other => {
                let Connection { stream, input, due, .. } = connection;
                return Ok(Served::Other { stream, read: input.freeze(), head_since: due.head_since() });
            }
            Step::Ready { last } => {
                tally.traffic().asked();
                poll_fn(|cx| connection.poll_flush(cx)).await?;
                last
            }
            Step::Ask { request, last } => {
                tally.traffic().asked();
                let method = request.method().clone();
                let Ok(response) = connection.wait(service.clone().oneshot(request)).await?;
                connection.respond(response, &method, last).await?
            }
        };
        if last {
            connection.close().await?;
            return Ok(Served::Closed);
        }
        connection.due.idle();
    }
}

/// What is to be done for what was read.
// A request is moved once, right away; a box for it would cost more.
#[allow(clippy::large_enum_variant)]
enum Step {
    /// Read more.
    Read,
    /// Let another read it.
    Other,
    /// An answer waits to be written.
    Ready { last: bool },
    /// The service is to answer.
    Ask { request: Request<Body>, last: bool },
}

struct Connection<I> {
    stream: I,
    input: BytesMut,
    /// How much of `input` was found to be the beginning of a head.
    begun: usize,
    output: Output,
    due: Due,
    closing: Closing,
    limits: Arc<Limits>,
}

impl<I: AsyncRead + AsyncWrite + Unpin> Connection<I> {
    fn step<S: Hits>(&mut self, service: &S) -> Step {
        if self.input.is_empty() {
            return Step::Read;
        }
        let mut room = head::room();
        let (head, length) = match head::look(&self.input, self.begun, &self.limits, &mut room) {
            Seen::Simple(head, length) => (head, length),
            Seen::Partial => {
                self.begun = self.input.len();
                self.due.partial();
                return Step::Read;
            }
            Seen::Odd => return Step::Other,
        };
        let last = head.is_last() || self.closing.is_closed();
        let mut answer = Answer::new(&mut self.output);
        let step = if service.hit(&head, &mut answer) && answer.finish(head.method(), last) {
            Step::Ready { last }
        } else {
            self.output.clear();
            let Some(request) = request(&head, &self.input[..length]) else { return Step::Other };
            Step::Ask { request, last }
        };
        self.due.busy();
        self.input.advance(length);
        self.begun = 0;
        step
    }

    /// Reads once; nothing at the end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut room = [const { MaybeUninit::<u8>::uninit() }; READ_BYTES];
        let mut read = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
        self.input.extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    }

    /// Waits for more of a request; `false` if none will come.
    async fn read(&mut self) -> Result<bool, Broken> {
        poll_fn(|cx| {
            if let Poll::Ready(read) = self.poll_read(cx)? {
                return Poll::Ready(Ok(read > 0));
            }
            if self.input.is_empty() {
                // An idle connection holds nothing.
                self.input = BytesMut::new();
                self.output.release();
            }
            if self.closing.poll(cx).is_ready() {
                return Poll::Ready(Ok(false));
            }
            self.due.poll(cx).map(|overdue| Err(overdue.into()))
        })
        .await
    }

    /// While the client waits for us: takes what it sends, ready if it goes or is over a bound.
    fn poll_peer<T>(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, Broken>> {
        while self.input.len() < self.limits.head_bytes_max {
            match self.poll_read(cx)? {
                Poll::Ready(0) => return Poll::Ready(Err(Broken::Gone)),
                Poll::Ready(_) => {}
                Poll::Pending => break,
            }
        }
        self.due.poll(cx).map(|overdue| Err(overdue.into()))
    }

    /// Waits for `work`, or drops it with the connection.
    async fn wait<F: Future>(&mut self, work: F) -> Result<F::Output, Broken> {
        let mut work = pin!(work);
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Ok(done)),
            Poll::Pending => self.poll_peer(cx),
        })
        .await
    }

    /// Writes what waits.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        loop {
            let polled = if self.output.is_empty() {
                Pin::new(&mut self.stream).poll_flush(cx).map_ok(|()| 0)
            } else {
                self.output.poll_write(&mut self.stream, cx)
            };
            let Poll::Ready(written) = polled? else {
                self.due.blocked();
                return self.poll_peer(cx);
            };
            self.due.wrote(written);
            if written == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Sends a response; true if the connection ends with it.
    async fn respond(&mut self, response: Response<Body>, method: &Method, last: bool) -> Result<bool, Broken> {
        let last = last || self.closing.is_closed();
        let (mut framing, last) = answer::head(&mut self.output, &response, method, last);
        let mut body = response.into_body();
        loop {
            let whole = poll_fn(|cx| match self.poll_body(&mut body, &mut framing, cx) {
                Poll::Pending if self.output.is_empty() => self.poll_peer(cx),
                Poll::Pending => Poll::Ready(Ok(false)),
                ready => ready,
            })
            .await?;
            poll_fn(|cx| self.poll_flush(cx)).await?;
            if whole {
                return Ok(last);
            }
        }
    }

    /// Queues what the body has, as much as one write should have; true at its end.
    fn poll_body(
        &mut self,
        body: &mut Body,
        framing: &mut Framing,
        cx: &mut Context<'_>,
    ) -> Poll<Result<bool, Broken>> {
        while *framing != Framing::None {
            if self.output.length_bytes() >= PIECE_BYTES || self.output.pieces() >= PIECES_MAX {
                return Poll::Ready(Ok(false));
            }
            let frame = match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                Some(frame) => frame.map_err(Broken::Body)?,
                None => {
                    if let Framing::Length(missing_bytes) = *framing {
                        return Poll::Ready(Err(Broken::Short { missing_bytes }));
                    }
                    self.output.line(b"0\r\n\r\n");
                    break;
                }
            };
            let Ok(mut data) = frame.into_data() else { continue };
            if data.is_empty() {
                continue;
            }
            match framing {
                Framing::None => {}
                Framing::Length(left) => {
                    data.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= data.len() as u64;
                    let whole = *left == 0;
                    self.output.data(data);
                    if whole {
                        break;
                    }
                }
                Framing::Chunked => {
                    self.output.line(format!("{:x}\r\n", data.len()).as_bytes());
                    self.output.data(data);
                    self.output.line(b"\r\n");
                }
            }
        }
        Poll::Ready(Ok(true))
    }

    /// Says that nothing more will come.
    async fn close(&mut self) -> Result<(), Broken> {
        self.due.busy();
        poll_fn(|cx| match Pin::new(&mut self.stream).poll_shutdown(cx) {
            Poll::Ready(closed) => Poll::Ready(closed.map_err(Broken::Io)),
            Poll::Pending => {
                self.due.blocked();
                self.due.poll(cx).map(|overdue| Err(overdue.into()))
            }
        })
        .await
    }
}

/// The request as a service takes it. The bytes of its head are copied once, its values are slices of that.
fn request(head: &Head<'_>, read: &[u8]) -> Option<Request<Body>> {
    let whole = Bytes::copy_from_slice(read);
    let of = |part: &[u8]| {
        let from = part.as_ptr() as usize - read.as_ptr() as usize;
        whole.slice(from..from + part.len())
    };
    let mut request = Request::new(Body::empty());
    *request.method_mut() = head.method().clone();
    *request.uri_mut() = Uri::from_maybe_shared(of(head.target().as_bytes())).ok()?;
    let headers = request.headers_mut();
    headers.reserve(head.fields().count());
    for (name, value) in head.fields() {
        // An empty value may be a slice from elsewhere.
        let value = if value.is_empty() { Bytes::new() } else { of(value) };
        headers.append(HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_maybe_shared(value).ok()?);
    }
    Some(request)
}
