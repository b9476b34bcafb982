// SPDX-License-Identifier: Apache-2.0
//! `headwater serve`: the origin by its configuration, until it is told to stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use headwater_net::{Shutdown, listener, tls};
use headwater_origin::{Clock, Config, Origin};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use crate::watch;

/// How long open requests may finish after the stop.
const DRAIN: Duration = Duration::from_secs(10);

/// Where the configuration is, and what overrides it.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Configuration, TOML [default: built-in values]
    #[arg(long, value_name = "FILE", env = "HEADWATER_CONFIG")]
    config: Option<PathBuf>,
    /// Listen here
    #[arg(long, value_name = "ADDRESS:PORT", env = "HEADWATER_LISTEN")]
    listen: Option<SocketAddr>,
    /// Keep headers and numbering here across restarts
    #[arg(long, value_name = "DIR", env = "HEADWATER_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Let any authorised push begin a channel
    #[arg(long, env = "HEADWATER_CHANNELS_FROM_PUSH")]
    channels_from_push: bool,
    /// Certificate chain, PEM; with --tls-key
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
}

impl Options {
    fn config(&self) -> anyhow::Result<Config> {
        let mut config = match &self.config {
            None => Config::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("expected a configuration in {}", path.display()))?;
                Config::parse(&text).with_context(|| format!("in {}", path.display()))?
            }
        };
        if let Some(listen) = self.listen {
            config.listen = listen;
        }
        if self.data_dir.is_some() {
            config.data_dir.clone_from(&self.data_dir);
        }
        config.channels_from_push |= self.channels_from_push;
        if let (Some(certificate), Some(key)) = (&self.tls_certificate, &self.tls_key) {
            config.tls = Some(headwater_origin::config::Tls { certificate: certificate.clone(), key: key.clone() });
        }
        Ok(config)
    }
}

/// A running origin.
pub(crate) struct Running {
    pub(crate) origin: Arc<Origin>,
    pub(crate) address: SocketAddr,
    pub(crate) scheme: &'static str,
}

/// Binds and starts an origin; it serves until `shutdown`.
pub(crate) async fn start(config: Config, shutdown: &Shutdown) -> anyhow::Result<Running> {
    let tls = match &config.tls {
        Some(files) => Some(TlsAcceptor::from(tls::server(&files.certificate, &files.key)?)),
        None => None,
    };
    let scheme = if tls.is_some() { "https" } else { "http" };
    let socket =
        TcpListener::bind(config.listen).await.with_context(|| format!("expected to listen on {}", config.listen))?;
    let address = socket.local_addr()?;
    let origin = Origin::start(config, Clock::System, shutdown.clone())?;
    let service = Arc::clone(&origin).service(watch::router());
    tokio::spawn(listener::serve(socket, tls, service, listener::Limits::default(), shutdown.clone()));
    Ok(Running { origin, address, scheme })
}

/// Lets open requests finish, and says what was left.
pub(crate) async fn drain(shutdown: &Shutdown) {
    if !shutdown.finished(DRAIN).await {
        warn!(tasks = shutdown.remaining(), "stopped with requests unfinished after {} s", DRAIN.as_secs());
    }
}

/// Serves until `shutdown`.
///
/// # Errors
/// If the configuration is wrong or the address cannot be had.
pub(crate) async fn run(options: Options, shutdown: Shutdown) -> anyhow::Result<()> {
    let config = options.config()?;
    let keyless = config.channels_from_push && config.defaults.keys.is_empty();
    let running = start(config, &shutdown).await?;
    info!(address = %running.address, scheme = running.scheme, channels = running.origin.channels().len(), "serving");
    if keyless {
        warn!(
            "any push may begin a channel and no stream key is set: give defaults.keys unless the network is trusted"
        );
    }
    shutdown.started().await;
    info!("stopping");
    drain(&shutdown).await;
    Ok(())
}
