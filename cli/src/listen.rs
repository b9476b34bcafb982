// SPDX-License-Identifier: Apache-2.0
//! What every server of this program does alike: read its file, bind, serve, drain.

pub(crate) mod events;
pub(crate) mod reload;
pub(crate) mod watch;

use std::convert::Infallible;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::body::Body;
use headwater_net::config::{self, Configuration};
use headwater_net::h1::Hits;
use headwater_net::limits::{Limits, Tally};
use headwater_net::listener::{self, Connection};
use headwater_net::shutdown::Left;
use headwater_net::{Shutdown, tls};
use http::{Request, Response};
use tokio::net::TcpListener;
use tower::Service;
use tracing::{info, warn};

/// A configuration's text; without a file it is empty, and where it stands for errors.
pub(crate) fn text(path: Option<&Path>) -> anyhow::Result<String> {
    let Some(path) = path else { return Ok(String::new()) };
    std::fs::read_to_string(path).with_context(|| format!("expected a configuration in {}", path.display()))
}

/// Reads a configuration: the text, over it the environment.
pub(crate) fn layer<T: Configuration>(text: &str) -> Result<T, config::Error> {
    let utf8 = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    let variables: Vec<_> = std::env::vars_os().filter_map(utf8).collect();
    config::read(text, &variables)
}

/// A listener that is bound.
#[derive(Debug)]
pub(crate) struct Bound {
    socket: TcpListener,
    listening: Listening,
}

/// Where a listener listens, and by which certificate.
#[derive(Clone, Debug)]
pub(crate) struct Listening {
    pub(crate) address: SocketAddr,
    tls: Option<Arc<tls::Acceptor>>,
}

impl Bound {
    /// Binds.
    pub(crate) async fn new(address: SocketAddr, tls: Option<&tls::Files>) -> anyhow::Result<Self> {
        let tls = tls.map(tls::Acceptor::new).transpose()?.map(Arc::new);
        let socket = TcpListener::bind(address).await.with_context(|| format!("expected to listen on {address}"))?;
        let listening = Listening { address: socket.local_addr()?, tls };
        Ok(Self { socket, listening })
    }

    /// Serves until the shutdown closes.
    pub(crate) fn serve<M, S>(self, service: M, limits: Limits, tally: &Arc<Tally>, shutdown: &Shutdown) -> Listening
    where
        M: Fn(Connection) -> S + Clone + Send + 'static,
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Hits + Clone + Send + Sync + 'static,
        S::Future: Send,
    {
        let Self { socket, listening } = self;
        let (tls, tally) = (listening.tls.clone(), Arc::clone(tally));
        tokio::spawn(listener::serve(socket, tls, service, limits, tally, shutdown.clone()));
        listening
    }
}

impl Listening {
    /// `https` or `http`.
    pub(crate) const fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Where a person on this machine finds it.
    pub(crate) fn base(&self) -> String {
        let ip = self.address.ip();
        let ip = if ip.is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { ip };
        format!("{}://{}", self.scheme(), SocketAddr::new(ip, self.address.port()))
    }

    /// Reads the certificate anew.
    pub(crate) fn reload(&self, files: Option<&tls::Files>) -> Result<(), tls::Error> {
        let (Some(acceptor), Some(files)) = (&self.tls, files) else { return Ok(()) };
        acceptor.reload(files)?;
        info!(certificate = %files.certificate.display(), "certificate read anew");
        Ok(())
    }
}

/// Lets everybody finish until the deadline, and says what was left.
pub(crate) async fn drain(deadline: Duration, shutdown: &Shutdown) {
    let left = shutdown.finished(deadline).await;
    if left == Left::default() {
        info!("stopped, nothing was left");
        return;
    }
    let (work, connections) = (left.work, left.connections);
    warn!(work, connections, "stopped with these unfinished after {} s", deadline.as_secs());
}
