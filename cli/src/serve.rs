// SPDX-License-Identifier: Apache-2.0
//! `headwater serve`: the origin by its configuration, and a shield before it where one is wished, until it is told to
//! stop.

mod config;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use headwater_events::event::Role;
use headwater_net::{Shutdown, tls};
use headwater_origin::config::Tls;
use headwater_origin::{Clock, Origin};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use self::config::Config;
use crate::listen::events::Events;
use crate::listen::reload::{self, Askers, Done};
use crate::listen::{self, Bound, Listening, watch};
use crate::shield;

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
    /// Run a shield before the origin, in this process, and have it listen here
    #[arg(long, value_name = "ADDRESS:PORT")]
    shield: Option<SocketAddr>,
    /// Keep headers, numbering and events here across restarts
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Publish events to Kafka too, through these brokers
    #[arg(long, value_name = "HOST:PORT")]
    kafka: Option<String>,
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
    /// Options that say where to listen, to keep state and to publish, if that is said.
    pub(crate) fn over(
        listen: Option<SocketAddr>,
        shield: Option<SocketAddr>,
        data_dir: Option<PathBuf>,
        kafka: Option<String>,
    ) -> Self {
        Self { listen, shield, data_dir, kafka, ..Self::default() }
    }

    /// Reads the configuration: the file, over it the environment, over both these options.
    ///
    /// # Errors
    /// Names the file, the line or the variable, and the key.
    pub(crate) fn load(&self) -> anyhow::Result<Config> {
        let Some(path) = &self.config else { return self.layer("") };
        let text = listen::text(Some(path))?;
        self.layer(&text).with_context(|| format!("in {}", path.display()))
    }

    /// As [`Self::load`], from a text.
    pub(crate) fn layer(&self, text: &str) -> anyhow::Result<Config> {
        let mut config: Config = listen::layer(text)?;
        if let Some(listen) = self.shield {
            config.shield.get_or_insert_default().listen = listen;
        }
        let origin = &mut config.origin;
        if let Some(brokers) = &self.kafka {
            origin.events.kafka.get_or_insert_default().bootstrap.clone_from(brokers);
        }
        if let Some(shield) = &mut config.shield {
            shield::before_origin(shield);
            // Both are one node, with one log.
            shield.events.clone_from(&origin.events);
        }
        if let Some(listen) = self.listen {
            origin.listen = listen;
        }
        if self.data_dir.is_some() {
            origin.data_dir.clone_from(&self.data_dir);
        }
        origin.channels_from_push |= self.channels_from_push;
        if let (Some(certificate), Some(key)) = (&self.tls_certificate, &self.tls_key) {
            let client_ca = origin.tls.take().and_then(|tls| tls.client_ca);
            origin.tls = Some(Tls { certificate: certificate.clone(), key: key.clone(), client_ca });
        }
        Ok(config)
    }
}

/// The files of a listener's certificate.
pub(crate) fn files(tls: &Tls) -> tls::Files {
    tls::Files { certificate: tls.certificate.clone(), key: tls.key.clone(), client_ca: tls.client_ca.clone() }
}

/// A running origin, and the shield before it.
pub(crate) struct Running {
    pub(crate) origin: Arc<Origin>,
    pub(crate) listening: Listening,
    pub(crate) shield: Option<shield::Running>,
    events: Events,
}

/// Binds and starts an origin and its shield; they serve until `shutdown`.
pub(crate) async fn start(config: Config, shutdown: &Shutdown) -> anyhow::Result<Running> {
    let Config { origin: config, shield } = config;
    let bound = Bound::new(config.listen, config.tls.as_ref().map(files).as_ref()).await?;
    let events = Events::start(&config.events, config.data_dir.as_deref(), Role::Origin, shutdown)?;
    let publisher = events.publisher().clone();
    let origin = Origin::start(config, Clock::System, publisher.clone(), shutdown.clone())?;
    origin.metrics().extend(|registry| events.register(registry));
    let service = Arc::clone(&origin).service(watch::router().merge(origin.readable(events.windows())));
    let limits = origin.config().http.listener.limits();
    let listening = bound.serve(service, limits, origin.tally(), shutdown);
    let shield = match shield {
        Some(config) => {
            let running = shield::start(config, Some(&origin), publisher.of(Role::Shield), shutdown).await?;
            running.shield.metrics().extend(|registry| events.register(registry));
            Some(running)
        }
        None => None,
    };
    Ok(Running { origin, listening, shield, events })
}

impl Running {
    /// Lets encoders, segments in progress and open requests finish, and then what was told of them be written; says
    /// what was left.
    pub(crate) async fn drain(self, shutdown: &Shutdown) {
        let shield = self.shield.as_ref().map(|running| running.shield.config().drain());
        listen::drain(self.origin.config().drain().max(shield.unwrap_or_default()), shutdown).await;
        if let Some(running) = &self.shield {
            running.shield.close_log();
        }
        self.events.finish().await;
    }

    /// Reads the configuration anew: all of it is good, or nothing changes.
    fn reload(&self, options: &Options) -> Result<Done, String> {
        let refused = |error: anyhow::Error| {
            let why = format!("{error:#}");
            self.origin.reload_refused(&why);
            if let Some(running) = &self.shield {
                running.refused(&error);
            }
            why
        };
        if let Some(running) = &self.shield {
            running.shield.reopen_log();
        }
        let Config { origin, shield } = options.load().map_err(refused)?;
        self.listening.reload(origin.tls.as_ref().map(files).as_ref()).map_err(|error| refused(error.into()))?;
        if self.shield.is_some() != shield.is_some() {
            warn!("not changed by the reload: a shield begins or ends with a restart");
        }
        // NB: first what may be refused.
        let told = match (&self.shield, shield) {
            (Some(running), Some(config)) => Some(running.reload(config).map_err(refused)?),
            _ => None,
        };
        Ok(Done { origin: Some(self.origin.reload(origin)), shield: told })
    }
}

/// Serves until `shutdown`.
///
/// # Errors
/// If the configuration is wrong or an address cannot be had.
pub(crate) async fn run(options: Options, shutdown: Shutdown) -> anyhow::Result<()> {
    let config = options.load()?;
    if options.check_config {
        if let Some(tls) = &config.origin.tls {
            tls::Acceptor::new(&files(tls))?;
        }
        let (channels, listen) = (config.origin.channels.len(), config.origin.listen);
        println!("the configuration is in order: {channels} channels, listening on {listen}");
        return Ok(());
    }
    // NB: before anybody can send one: a hang-up that nobody waits for ends a process.
    let hangup = signal(SignalKind::hangup())?;
    let keyless = config.origin.channels_from_push && config.origin.defaults.keys.is_empty();
    let running = start(config, &shutdown).await?;
    let Running { origin, listening, shield, .. } = &running;
    info!(address = %listening.address, scheme = listening.scheme(), channels = origin.channels().len(), "serving");
    if let Some(shield) = shield {
        info!(address = %shield.listening.address, scheme = shield.listening.scheme(), "shielding");
    }
    if keyless {
        warn!(
            "any push may begin a channel and no stream key is set: give defaults.keys unless the network is trusted"
        );
    }
    let asks_shield = shield.as_ref().and_then(|running| running.shield.reload_requests());
    let askers = Askers { origin: origin.reload_requests(), shield: asks_shield };
    let reloading = reload::follow(hangup, askers, || running.reload(&options));
    tokio::select! {
        () = reloading => {}
        () = shutdown.started() => {}
    }
    info!("stopping");
    running.drain(&shutdown).await;
    Ok(())
}
