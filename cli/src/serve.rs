// SPDX-License-Identifier: Apache-2.0
//! `headwater serve`: the origin by its configuration, until it is told to stop.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use headwater_net::shutdown::Left;
use headwater_net::{Shutdown, listener, tls};
use headwater_origin::config::Tls;
use headwater_origin::{Clock, Config, Origin};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use crate::{reload, watch};

/// Where the configuration is, and what overrides it.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Configuration, TOML [default: built-in values]
    #[arg(long, value_name = "FILE", env = "HEADWATER_CONFIG")]
    config: Option<PathBuf>,
    /// Say whether the configuration is in order, and do nothing else
    #[arg(long)]
    check_config: bool,
    /// Threads that serve [default: one for each processor]
    #[arg(long, value_name = "N", env = "HEADWATER_WORKERS")]
    pub(crate) workers: Option<NonZeroUsize>,
    /// Listen here
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Keep headers and numbering here across restarts
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Let any authorised push begin a channel
    #[arg(long)]
    channels_from_push: bool,
    /// Certificate chain, PEM; with --tls-key
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
}

impl Options {
    /// Options that say where to listen and to keep state, if that is said.
    pub(crate) fn over(listen: Option<SocketAddr>, data_dir: Option<PathBuf>) -> Self {
        Self { listen, data_dir, ..Self::default() }
    }

    /// Reads the configuration: the file, over it the environment, over both these options.
    ///
    /// # Errors
    /// Names the file, the line or the variable, and the key.
    pub(crate) fn load(&self) -> anyhow::Result<Config> {
        let Some(path) = &self.config else { return self.layer("") };
        let text =
            std::fs::read_to_string(path).with_context(|| format!("expected a configuration in {}", path.display()))?;
        self.layer(&text).with_context(|| format!("in {}", path.display()))
    }

    /// As [`Self::load`], from a text.
    pub(crate) fn layer(&self, text: &str) -> anyhow::Result<Config> {
        let utf8 = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        let variables: Vec<_> = std::env::vars_os().filter_map(utf8).collect();
        let mut config = Config::layered(text, &variables)?;
        if let Some(listen) = self.listen {
            config.listen = listen;
        }
        if self.data_dir.is_some() {
            config.data_dir.clone_from(&self.data_dir);
        }
        config.channels_from_push |= self.channels_from_push;
        if let (Some(certificate), Some(key)) = (&self.tls_certificate, &self.tls_key) {
            let client_ca = config.tls.and_then(|tls| tls.client_ca);
            config.tls = Some(Tls { certificate: certificate.clone(), key: key.clone(), client_ca });
        }
        Ok(config)
    }
}

/// The files of a listener's certificate.
pub(crate) fn files(tls: &Tls) -> tls::Files {
    tls::Files { certificate: tls.certificate.clone(), key: tls.key.clone(), client_ca: tls.client_ca.clone() }
}

/// A running origin.
pub(crate) struct Running {
    pub(crate) origin: Arc<Origin>,
    pub(crate) address: SocketAddr,
    pub(crate) scheme: &'static str,
    pub(crate) tls: Option<Arc<tls::Acceptor>>,
}

/// Binds and starts an origin; it serves until `shutdown`.
pub(crate) async fn start(config: Config, shutdown: &Shutdown) -> anyhow::Result<Running> {
    let tls = config.tls.as_ref().map(|tls| tls::Acceptor::new(&files(tls))).transpose()?.map(Arc::new);
    let scheme = if tls.is_some() { "https" } else { "http" };
    let socket =
        TcpListener::bind(config.listen).await.with_context(|| format!("expected to listen on {}", config.listen))?;
    let address = socket.local_addr()?;
    let origin = Origin::start(config, Clock::System, shutdown.clone())?;
    let service = Arc::clone(&origin).service(watch::router());
    let (limits, tally) = (origin.config().http.listener.limits(), Arc::clone(origin.tally()));
    tokio::spawn(listener::serve(socket, tls.clone(), service, limits, tally, shutdown.clone()));
    Ok(Running { origin, address, scheme, tls })
}

/// Lets encoders, segments in progress and open requests finish, and says what was left.
pub(crate) async fn drain(origin: &Origin, shutdown: &Shutdown) {
    let deadline = origin.config().drain();
    let left = shutdown.finished(deadline).await;
    if left == Left::default() {
        info!("stopped, nothing was left");
        return;
    }
    let (channels, connections) = (left.work, left.connections);
    warn!(channels, connections, "stopped with these unfinished after {} s", deadline.as_secs());
}

/// Serves until `shutdown`.
///
/// # Errors
/// If the configuration is wrong or the address cannot be had.
pub(crate) async fn run(options: Options, shutdown: Shutdown) -> anyhow::Result<()> {
    let config = options.load()?;
    if options.check_config {
        if let Some(tls) = &config.tls {
            tls::Acceptor::new(&files(tls))?;
        }
        println!("the configuration is in order: {} channels, listening on {}", config.channels.len(), config.listen);
        return Ok(());
    }
    // NB: before anybody can send one: a hang-up that nobody waits for ends a process.
    let hangup = signal(SignalKind::hangup())?;
    let keyless = config.channels_from_push && config.defaults.keys.is_empty();
    let running = start(config, &shutdown).await?;
    info!(address = %running.address, scheme = running.scheme, channels = running.origin.channels().len(), "serving");
    if keyless {
        warn!(
            "any push may begin a channel and no stream key is set: give defaults.keys unless the network is trusted"
        );
    }
    let reloading = reload::follow(&running, &options, hangup);
    tokio::select! {
        () = reloading => {}
        () = shutdown.started() => {}
    }
    info!("stopping");
    drain(&running.origin, &shutdown).await;
    Ok(())
}
