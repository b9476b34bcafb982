// SPDX-License-Identifier: Apache-2.0
//! The accept loop: HTTP/1.1 and HTTP/2 on one port, with or without TLS, drained on shutdown.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt};
use tracing::{debug, warn};

use crate::{Shutdown, tls};

/// Bounds of a listener.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at once; one more is closed at once.
    pub connections_max: usize,
    /// How long a connection may take for a request head, idle keep-alive time included. Encoders keep idle
    /// connections for a segment and more; closing one makes ffmpeg exit.
    pub head_timeout: Duration,
    /// Streams of one HTTP/2 connection at once.
    pub h2_streams_max: u32,
    /// Bytes of a request head.
    pub head_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 65_536,
            head_timeout: Duration::from_secs(120),
            h2_streams_max: 1_024,
            head_bytes_max: 64 * 1024,
        }
    }
}

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

/// What serves a router's routes on every connection; handlers find the [`Connection`] among the request's extensions.
pub fn routes(
    router: Router,
) -> impl Fn(Connection) -> BoxCloneSyncService<Request<Incoming>, Response<Body>, Infallible> + Clone {
    move |connection| {
        BoxCloneSyncService::new(router.clone().map_request(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(connection.clone());
            request
        }))
    }
}

/// Serves what `service` makes for each connection until the shutdown closes it, then lets open requests finish.
///
/// While the shutdown has only started, connections are taken still: whoever comes is told so by an answer.
pub async fn serve<M, S>(
    listener: TcpListener,
    tls: Option<Arc<tls::Acceptor>>,
    service: M,
    limits: Limits,
    shutdown: Shutdown,
) where
    M: Fn(Connection) -> S + Clone + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.closed() => return,
        };
        let (stream, peer) = match accepted {
            Ok(pair) => pair,
            Err(error) => {
                // Out of descriptors or a connection reset while queued: neither is a reason to stop or to spin.
                warn!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        if open.load(Ordering::Relaxed) >= limits.connections_max {
            debug!(%peer, "connection refused: at the bound");
            continue;
        }
        let guard = Open::new(&open);
        let (tls, service, limits, drain) = (tls.clone(), service.clone(), limits.clone(), shutdown.clone());
        shutdown.spawn_connection(async move {
            let _guard = guard;
            // Small answers must not wait for Nagle.
            let _ = stream.set_nodelay(true);
            let mut connection = Connection::new(peer);
            let stream = QuickAck { stream, quick_ack: Arc::clone(&connection.quick_ack) };
            let served = match tls {
                None => connect(stream, service(connection), &limits, &drain).await,
                Some(acceptor) => match tokio::time::timeout(Duration::from_secs(10), acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => {
                        connection.certified = stream.get_ref().1.peer_certificates().is_some();
                        connect(stream, service(connection), &limits, &drain).await
                    }
                    Ok(Err(error)) => Err(error.into()),
                    Err(elapsed) => Err(elapsed.into()),
                },
            };
            if let Err(error) = served {
                debug!(%peer, %error, "connection ended");
            }
        });
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

async fn connect<I, S>(stream: I, service: S, limits: &Limits, drain: &Shutdown) -> Result<(), BoxError>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        // NB: no pipeline_flush: it copies every body into one buffer without bound.
        .max_buf_size(limits.head_bytes_max.max(8 * 1024));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.h2_streams_max)
        .max_header_list_size(u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX))
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(30));
    let serving = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        served = serving.as_mut() => served,
        () = drain.closed() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    }
}

struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A TCP stream that re-arms quick acknowledgement after reads, once asked to: the kernel forgets the setting.
#[derive(Debug)]
struct QuickAck {
    stream: TcpStream,
    quick_ack: Arc<AtomicBool>,
}

impl AsyncRead for QuickAck {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        #[cfg(target_os = "linux")]
        if polled.is_ready() && self.quick_ack.load(Ordering::Relaxed) {
            let _ = socket2::SockRef::from(&self.stream).set_tcp_quickack(true);
        }
        polled
    }
}

impl AsyncWrite for QuickAck {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
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
