// SPDX-License-Identifier: Apache-2.0
//! The accept loop: HTTP/1.1 and HTTP/2 on one port, with or without TLS, drained on shutdown.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt};
use tracing::{debug, warn};

use crate::h1::Hits;
use crate::limits::{self, Limits, Tally};
use crate::places::Places;
use crate::pulse::{Overdue, Pulse, Watch};
use crate::response::{Pace, Paced, Streams, watched_by_stream};
use crate::watched::Watched;
use crate::{Shutdown, h1, tls};

/// What a handler may ask of its connection.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The other end.
    pub peer: SocketAddr,
    /// The other end showed a certificate of the authority that the listener asks for.
    pub certified: bool,
    quick_ack: Arc<AtomicBool>,
}

impl Connection {
    /// A connection with `peer`.
    pub fn new(peer: SocketAddr) -> Self {
        Self { peer, certified: false, quick_ack: Arc::default() }
    }

    /// Acknowledge received data at once from here on.
    ///
    /// Encoders send a request's head and body in separate packets; Nagle and delayed acknowledgement together cost
    /// 40 ms a segment without this.
    pub fn acknowledge_quickly(&self) {
        self.quick_ack.store(true, Ordering::Relaxed);
    }
}

/// A router on one connection.
pub type Routes = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// What serves a router's routes on every connection; handlers find the [`Connection`] among the request's extensions.
pub fn routes(router: Router) -> impl Fn(Connection) -> Routes + Clone {
    move |connection| {
        BoxCloneSyncService::new(router.clone().map_request(move |mut request: Request<Body>| {
            request.extensions_mut().insert(connection.clone());
            request
        }))
    }
}

/// Descriptors that are left for files and for accepting a connection only to refuse it.
const DESCRIPTORS_SPARE: usize = 128;

/// Serves what `service` makes for each connection until the shutdown closes it, then lets open requests finish.
///
/// While the shutdown has only started, connections are taken still: whoever comes is told so by an answer.
pub async fn serve<M, S>(
    listener: TcpListener,
    tls: Option<Arc<tls::Acceptor>>,
    service: M,
    mut limits: Limits,
    tally: Arc<Tally>,
    shutdown: Shutdown,
) where
    M: Fn(Connection) -> S + Clone + Send + 'static,
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Hits + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    if let Some(descriptors) = limits::descriptors_max().map(|all| all.saturating_sub(DESCRIPTORS_SPARE).max(1))
        && descriptors < limits.connections_max
    {
        warn!(connections = descriptors, "the system's limit of open files bounds connections: raise `ulimit -n`");
        limits.connections_max = descriptors;
    }
    tally.bounded(limits.connections_max);
    let limits = Arc::new(limits);
    let places = Places::new(Arc::clone(&tally));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.closed() => return,
        };
        let (stream, peer) = match accepted {
            Ok(pair) => pair,
            Err(error) => {
                // Out of descriptors or a connection reset while queued: neither is a reason to stop or to spin.
                tally.refuse("accept", format_args!("expected a connection: {error}"));
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let place = match places.take(peer.ip(), &limits) {
            Ok(place) => place,
            Err((bound, max)) => {
                tally.refuse(bound, format_args!("expected at most {max} connections at once"));
                if tls.is_none() {
                    // Into an empty socket buffer: this neither waits nor fails for want of room.
                    let _ = stream.try_write(BUSY);
                }
                continue;
            }
        };
        let (tls, service, limits, drain) = (tls.clone(), service.clone(), Arc::clone(&limits), shutdown.clone());
        let tally = Arc::clone(&tally);
        shutdown.spawn_connection(async move {
            let _place = place;
            // Small answers must not wait for Nagle.
            let _ = stream.set_nodelay(true);
            // What waits here can be withheld from a client that takes nothing; what waits in the kernel cannot.
            #[cfg(target_os = "linux")]
            let _ = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(limits.unsent_bytes_max);
            let mut connection = Connection::new(peer);
            let quick_ack = Arc::clone(&connection.quick_ack);
            let stream = Socket { stream, quick_ack, tally: Arc::clone(&tally) };
            let (tally, drain) = (&tally, &drain);
            let served = match tls {
                None => serve_stream(stream, service(connection), limits, tally, drain).await,
                // Boxed: every plain connection would hold room for a handshake and its keys too.
                Some(acceptor) => {
                    Box::pin(async move {
                        let within = limits.handshake;
                        let accepted = tokio::time::timeout(within, acceptor.accept(stream)).await.inspect_err(|_| {
                            tally.refuse("handshake_time", format_args!("expected a TLS handshake within {within:?}"));
                        });
                        let stream = Box::new(accepted??);
                        connection.certified = stream.get_ref().1.peer_certificates().is_some();
                        serve_stream(stream, service(connection), limits, tally, drain).await
                    })
                    .await
                }
            };
            if let Err(error) = served {
                if let Some(error) = error.downcast_ref::<hyper::Error>().filter(|error| error.is_parse()) {
                    tally.refuse("malformed", format_args!("expected a request of HTTP: {error}"));
                }
                debug!(%peer, %error, "connection ended");
            }
        });
    }
}

/// What a connection over the bound is told.
const BUSY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// Why a connection broke off.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Serves one connection, whatever it runs over.
///
/// # Errors
/// What ended it, if that was not its own end; a bound that it was over is counted.
pub async fn serve_stream<I, S>(
    stream: I,
    service: S,
    limits: Arc<Limits>,
    tally: &Arc<Tally>,
    drain: &Shutdown,
) -> Result<(), BoxError>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Hits + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    let (stream, head_since) = match h1::serve(stream, &service, &limits, tally, drain).await {
        Ok(h1::Served::Closed) => return Ok(()),
        Ok(h1::Served::Other { stream, read, head_since }) => (h1::Rewind::new(stream, read), head_since),
        Err(h1::Broken::Overdue(overdue)) => return Err(end(overdue, tally)),
        Err(broken) => return Err(broken.into()),
    };
    // Boxed: it is larger than all that a connection without it holds.
    Box::pin(serve_other(stream, head_since, service, limits, tally, drain)).await
}

/// Serves HTTP/2, requests with a body, and whatever is to be refused.
async fn serve_other<I, S>(
    stream: I,
    head_since: Instant,
    service: S,
    limits: Arc<Limits>,
    tally: &Arc<Tally>,
    drain: &Shutdown,
) -> Result<(), BoxError>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Hits + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    let mut builder = auto::Builder::new(Streams { limits: Arc::clone(&limits), tally: Arc::clone(tally) });
    builder
        .http1()
        .timer(TokioTimer::new())
        // hyper's own time counts idle time too; `Pulse` tells them apart, and this stands behind it.
        .header_read_timeout(limits.idle + limits.head)
        // Reading: the head. Writing: what may be buffered of a response, beside one piece of it.
        .max_buf_size(limits.head_bytes_max.max(8 * 1024))
        // NB: no pipeline_flush: it copies every body into one buffer without bound.
        .max_headers(limits.headers_max);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.h2_streams_max)
        // h2 itself ends a connection whose CONTINUATION frames go far beyond this, or that resets streams faster than
        // they are accepted (20 at once), or that causes 1,024 errors of its own.
        .max_header_list_size(u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX))
        .max_send_buf_size(usize::try_from(limits.unsent_bytes_max).unwrap_or(usize::MAX))
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(limits.stall);
    let pulse = Pulse::new(Arc::clone(&limits), head_since);
    let service = {
        let (pulse, limits, tally) = (pulse.clone(), Arc::clone(&limits), Arc::clone(tally));
        tower::service_fn(move |request: Request<Incoming>| {
            tally.traffic().asked();
            let guard = pulse.begin(request.version());
            let (service, pulse) = (service.clone(), pulse.clone());
            let refused = check(&request, &limits, &tally);
            let pace = Arc::new(Pace::new(&limits));
            async move {
                let response = match refused {
                    Some(refused) => refused,
                    None => service.oneshot(request.map(Body::new)).await?,
                };
                if !watched_by_stream(&pace) {
                    pulse.answer(Arc::clone(&pace));
                }
                Ok::<_, Infallible>(response.map(|body| Paced::new(body, pace, guard)))
            }
        })
    };
    let mut watch = Watch::new(pulse.clone());
    let serving = builder.serve_connection(TokioIo::new(Watched { stream, pulse }), TowerToHyperService::new(service));
    let mut serving = std::pin::pin!(serving);
    let mut stopping = false;
    loop {
        let overdue = std::future::poll_fn(|cx| watch.poll(cx));
        tokio::select! {
            // NB: in this order: what the connection does decides what it is late with.
            biased;
            served = serving.as_mut() => return served,
            () = drain.closed(), if !stopping => {
                stopping = true;
                serving.as_mut().graceful_shutdown();
            }
            overdue = overdue => return Err(end(overdue, tally)),
        }
    }
}

fn end(overdue: Overdue, tally: &Tally) -> BoxError {
    if let Some(bound) = overdue.bound() {
        tally.refuse(bound, format_args!("{overdue}"));
    }
    overdue.into()
}

/// The refusal of a request whose head is out of bounds, where hyper does not look: it counts fields in HTTP/1 only.
fn check<B>(request: &Request<B>, limits: &Limits, tally: &Tally) -> Option<Response<Body>> {
    let url_bytes = request.uri().path_and_query().map_or(0, |p| p.as_str().len());
    let (bound, status, words) = if url_bytes > limits.url_bytes_max {
        let words = format!("expected at most {} bytes of path and query, got {url_bytes}", limits.url_bytes_max);
        ("url", StatusCode::URI_TOO_LONG, words)
    } else if request.headers().len() > limits.headers_max {
        let words = format!("expected at most {} header fields, got {}", limits.headers_max, request.headers().len());
        ("headers", StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, words)
    } else if request.version() == Version::HTTP_11 && request.headers().get_all(header::HOST).iter().count() != 1 {
        // RFC 9112, 3.2; hyper lets both pass.
        ("host", StatusCode::BAD_REQUEST, "expected one Host field".to_owned())
    } else {
        return None;
    };
    tally.refuse(bound, format_args!("{words}"));
    let mut response = Response::new(Body::from(format!("{words}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    Some(response)
}

/// A TCP stream whose bytes are counted, and that re-arms quick acknowledgement after reads, once asked to: the kernel
/// forgets the setting.
#[derive(Debug)]
struct Socket {
    stream: TcpStream,
    quick_ack: Arc<AtomicBool>,
    tally: Arc<Tally>,
}

impl Socket {
    fn wrote(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(written)) = &polled {
            self.tally.traffic().sent(*written);
        }
        polled
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.tally.traffic().received(buf.filled().len() - before);
        }
        #[cfg(target_os = "linux")]
        if polled.is_ready() && self.quick_ack.load(Ordering::Relaxed) {
            let _ = socket2::SockRef::from(&self.stream).set_tcp_quickack(true);
        }
        polled
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
