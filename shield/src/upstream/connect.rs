// SPDX-License-Identifier: Apache-2.0
//! Connections to one origin: HTTP/1.1 ones are kept and used again, HTTP/2 (by ALPN) is one for all.
//!
//! On hyper's connections and not on a client over them: the Host that a viewer asked for has to become `:authority`
//! without being the key of a pool that outsiders could grow, the bound on connections has to be exact, and whether a
//! connection was used before decides if its end is the origin's fault.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::uri::{Authority, Scheme, Uri};
use http_body_util::Empty;
use hyper::client::conn::{http1, http2};
use hyper_rustls::ConfigBuilderExt;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::error::Invalid;

/// How long a connection may lie unused. Shorter than servers keep theirs, so that few die under a request.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Header fields of a response.
const HEADERS_MAX: usize = 100;
/// How often an HTTP/2 connection is asked whether it lives, and how long it may think about it.
const PING: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(2));
/// HTTP/2 windows: a segment of a second fits, and one slow reader does not hold up the others.
const H2_WINDOWS: (u32, u32) = (2 << 20, 16 << 20);

/// Connections that are made at once: a crowd that comes over from a dead origin must not overrun the other's listener.
const CONNECTING_MAX: usize = 32;

pub(super) type H1 = http1::SendRequest<Empty<Bytes>>;
pub(super) type H2 = http2::SendRequest<Empty<Bytes>>;

/// Where an origin is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) secure: bool,
    pub(super) authority: Authority,
}

impl Address {
    /// Reads `http://host[:port]` or `https://host[:port]`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let secure = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return None,
        };
        let authority = uri.authority()?.clone();
        let bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
        let plain = !authority.as_str().contains('@') && !authority.host().is_empty();
        (bare && plain).then_some(Self { secure, authority })
    }

    fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(if self.secure { 443 } else { 80 })
    }

    /// The host without the brackets of an IPv6 address.
    fn host(&self) -> &str {
        self.authority.host().trim_start_matches('[').trim_end_matches(']')
    }
}

impl fmt::Display for Address {
    /// In one form, however it was written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.authority.host().to_ascii_lowercase(), self.port())
    }
}

/// Whom connections over TLS believe: the authority in `ca`, else the system's.
pub(super) fn trust(group: &str, ca: Option<&Path>) -> Result<Arc<ClientConfig>, Invalid> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let untrusted = |cause: String| Invalid::Trust { group: group.to_owned(), cause };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| untrusted(error.to_string()))?;
    let builder = match ca {
        None => builder.with_native_roots().map_err(|error| untrusted(error.to_string()))?,
        Some(path) => {
            let unreadable = |cause: String| Invalid::Authority { path: path.to_owned(), cause };
            let mut roots = RootCertStore::empty();
            let read = CertificateDer::pem_file_iter(path).map_err(|error| unreadable(error.to_string()))?;
            for certificate in read {
                let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
                roots.add(certificate).map_err(|error| unreadable(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(unreadable("it has none".to_owned()));
            }
            builder.with_root_certificates(roots)
        }
    };
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// A connection that a request may be sent on.
#[derive(Debug)]
pub(super) enum Lease {
    H1 { sender: H1, reused: bool },
    H2 { sender: H2, reused: bool },
}

#[derive(Debug)]
struct Idle {
    sender: H1,
    since: Instant,
}

/// The connections to one origin.
#[derive(Debug)]
pub(super) struct Pool {
    address: Address,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    connect_max: Duration,
    /// Guards the list, the most recently used last; held to push or pop one.
    idle: Mutex<Vec<Idle>>,
    /// The one HTTP/2 connection. Held across connecting on purpose: whoever waits would make the same one.
    shared: tokio::sync::Mutex<Option<H2>>,
    speaks_h2: AtomicBool,
    connecting: Semaphore,
    open: Arc<AtomicUsize>,
}

impl Pool {
    pub(super) fn new(address: Address, tls: Option<Arc<ClientConfig>>, connect_max: Duration) -> Option<Self> {
        let tls = match tls.filter(|_| address.secure) {
            None => None,
            Some(config) => {
                let name = ServerName::try_from(address.host().to_owned()).ok()?;
                Some((config, name))
            }
        };
        // An https origin is taken to speak HTTP/2 until it says otherwise, so that the first requests share one.
        let speaks_h2 = AtomicBool::new(tls.is_some());
        Some(Self {
            address,
            tls,
            connect_max,
            idle: Mutex::default(),
            shared: tokio::sync::Mutex::default(),
            speaks_h2,
            connecting: Semaphore::new(CONNECTING_MAX),
            open: Arc::default(),
        })
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Connections open now.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// A connection: one that is there, else a new one. The caller bounds how many leases there are at once, and a new
    /// connection is made only when none is idle, so that bound is one on connections.
    pub(super) async fn lease(&self) -> io::Result<Lease> {
        if self.speaks_h2.load(Ordering::Relaxed) {
            let mut shared = self.shared.lock().await;
            if let Some(sender) = shared.as_ref().filter(|sender| !sender.is_closed()) {
                return Ok(Lease::H2 { sender: sender.clone(), reused: true });
            }
            let lease = self.connect().await?;
            match &lease {
                Lease::H2 { sender, .. } => *shared = Some(sender.clone()),
                Lease::H1 { .. } => self.speaks_h2.store(false, Ordering::Relaxed),
            }
            return Ok(lease);
        }
        if let Some(lease) = self.kept().await {
            return Ok(lease);
        }
        let _turn = self.connecting.acquire().await.map_err(io::Error::other)?;
        // One may have become free meanwhile.
        if let Some(lease) = self.kept().await {
            return Ok(lease);
        }
        let lease = self.connect().await?;
        if let Lease::H2 { sender, .. } = &lease {
            self.speaks_h2.store(true, Ordering::Relaxed);
            *self.shared.lock().await = Some(sender.clone());
        }
        Ok(lease)
    }

    async fn kept(&self) -> Option<Lease> {
        while let Some(mut sender) = self.pop() {
            // One whose last body has just ended is ready once its task has run.
            if sender.ready().await.is_ok() {
                return Some(Lease::H1 { sender, reused: true });
            }
        }
        None
    }

    /// Takes back a connection whose response has been read to its end.
    pub(super) fn put(&self, sender: H1) {
        if !sender.is_closed() {
            self.idle.lock().push(Idle { sender, since: Instant::now() });
        }
    }

    /// Lets go of every idle connection: one of them turned out to be dead.
    pub(super) fn forget(&self) {
        self.idle.lock().clear();
        if let Ok(mut shared) = self.shared.try_lock() {
            *shared = None;
        }
    }

    /// Lets go of connections that have been idle for long.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        self.idle.lock().retain(|idle| !idle.sender.is_closed() && now < idle.since + IDLE_MAX);
    }

    fn pop(&self) -> Option<H1> {
        let now = Instant::now();
        let mut idle = self.idle.lock();
        while let Some(Idle { sender, since }) = idle.pop() {
            if !sender.is_closed() && now < since + IDLE_MAX {
                return Some(sender);
            }
        }
        None
    }

    async fn connect(&self) -> io::Result<Lease> {
        let late = || io::Error::new(io::ErrorKind::TimedOut, format!("none within {:?}", self.connect_max));
        tokio::time::timeout(self.connect_max, self.handshake()).await.map_err(|_| late())?
    }

    async fn handshake(&self) -> io::Result<Lease> {
        let tcp = self.dial().await?;
        tcp.set_nodelay(true)?;
        let Some((config, name)) = &self.tls else { return self.h1(tcp).await };
        let stream = TlsConnector::from(Arc::clone(config)).connect(name.clone(), tcp).await?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return self.h1(stream).await;
        }
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(H2_WINDOWS.0)
            .initial_connection_window_size(H2_WINDOWS.1)
            .keep_alive_interval(PING.0)
            .keep_alive_timeout(PING.1)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        self.run(connection);
        Ok(Lease::H2 { sender, reused: false })
    }

    /// Tries each address of the name; each has its share of the time, so that a dead first one does not take it all.
    async fn dial(&self) -> io::Result<TcpStream> {
        let found = tokio::net::lookup_host((self.address.host(), self.address.port())).await?;
        let addresses: Vec<SocketAddr> = found.collect();
        let share = self.connect_max / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            match tokio::time::timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(tcp)) => return Ok(tcp),
                Ok(Err(error)) => last = error,
                Err(_) => last = io::Error::new(io::ErrorKind::TimedOut, format!("{address} did not answer")),
            }
        }
        Err(last)
    }

    async fn h1<S>(&self, stream: S) -> io::Result<Lease>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::Builder::new()
            .max_headers(HEADERS_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        self.run(connection);
        Ok(Lease::H1 { sender, reused: false })
    }

    /// A connection lives until its last sender is dropped or the other end closes it.
    fn run<F>(&self, connection: F)
    where
        F: Future<Output = hyper::Result<()>> + Send + 'static,
    {
        let open = Open::count(&self.open);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to an origin broke off");
            }
            drop(open);
        });
    }
}

/// Counts a connection for as long as it lives.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn count(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(open))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_scheme_and_an_authority() {
        let address = Address::parse("https://origin.example:8443/").unwrap();
        assert_eq!((address.secure, address.host(), address.port()), (true, "origin.example", 8443));
        let address = Address::parse("http://[::1]").unwrap();
        assert_eq!((address.secure, address.host(), address.port()), (false, "::1", 80));
        for odd in ["origin.example", "ftp://a", "http://a/path", "http://a?b", "http://user@a", "http://", "", "here"]
        {
            assert_eq!(Address::parse(odd), None, "{odd}");
        }
    }
}
