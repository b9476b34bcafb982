// SPDX-License-Identifier: Apache-2.0
//! `headwater shield`: a shield by its configuration, until it is told to stop; and the one within `serve` and `demo`.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use headwater_events::Publisher;
use headwater_events::event::Role;
use headwater_net::listener::Connection;
use headwater_net::{Shutdown, tls};
use headwater_origin::Origin;
use headwater_shield::config::{Config, HERE, Route, Upstream};
use headwater_shield::upstream::Local;
use headwater_shield::{Shield, Told};
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use crate::listen::events::Events;
use crate::listen::reload::{self, Askers, Done};
use crate::listen::{self, Bound, Listening, watch};

/// Where the configuration is, and what overrides it.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Configuration, TOML
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
}

impl Options {
    /// Reads the configuration: the file, over it the environment, over both these options.
    ///
    /// # Errors
    /// Names the file, the line or the variable, and the key.
    fn load(&self) -> anyhow::Result<Config> {
        let path = self.config.as_deref();
        let text = listen::text(path)?;
        let checked = || -> anyhow::Result<Config> {
            let mut config: Config = listen::layer(&text)?;
            config.listen = self.listen.unwrap_or(config.listen);
            config.check_alone()?;
            Ok(config)
        };
        let file = || path.map_or_else(|| "without --config FILE".to_owned(), |path| format!("in {}", path.display()));
        checked().with_context(file)
    }
}

/// What a shield before this process's origin serves where its configuration does not say: what is for everybody.
pub(crate) fn before_origin(config: &mut Config) {
    if !config.upstreams.is_empty() || !config.routes.is_empty() {
        return;
    }
    // It answers as long as this process does, so there is nothing to check.
    let here = Upstream { origins: vec![HERE.to_owned()], health_interval_ms: 0, ..Upstream::default() };
    config.upstreams.insert(HERE.to_owned(), here);
    for (name, prefix) in [("live", "/live/"), ("time", "/time"), ("watch", "/watch"), ("channels", "/api/v1/channels")]
    {
        let (upstream, prefix) = (HERE.to_owned(), prefix.to_owned());
        config.routes.insert(name.to_owned(), Route { prefix, upstream, live: name == "live", ..Route::default() });
    }
}

/// A running shield.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) shield: Arc<Shield>,
    pub(crate) listening: Listening,
}

/// Binds and starts a shield; it serves until `shutdown`. `origin` is the one in this process, where there is one.
pub(crate) async fn start(
    config: Config,
    origin: Option<&Arc<Origin>>,
    publisher: Publisher,
    shutdown: &Shutdown,
) -> anyhow::Result<Running> {
    let bound = Bound::new(config.listen, files(&config).as_ref()).await?;
    let admin = match config.admin_listen {
        Some(address) => Some(Bound::new(address, None).await?),
        None => None,
    };
    let limits = config.http.limits();
    let here = origin.map(local);
    let shield = Shield::start(config, here.as_ref(), publisher, shutdown.clone())?;
    let tally = Arc::clone(shield.tally());
    if let Some(admin) = admin {
        let administration = Arc::clone(&shield).administration();
        let listening = admin.serve(administration, limits.clone(), &tally, shutdown);
        info!(address = %listening.address, "administration of the shield");
    }
    let listening = bound.serve(Arc::clone(&shield).service(), limits, &tally, shutdown);
    Ok(Running { shield, listening })
}

/// The origin of this process, asked without a socket.
fn local(origin: &Arc<Origin>) -> Local {
    // NB: no address of this machine: what comes through a shield comes from anywhere, and is never let change things.
    let nobody = Connection::new(SocketAddr::from(([0, 0, 0, 0], 0)));
    Local::new(Arc::clone(origin).service(watch::router())(nobody))
}

fn files(config: &Config) -> Option<tls::Files> {
    let tls = config.tls.as_ref()?;
    Some(tls::Files { certificate: tls.certificate.clone(), key: tls.key.clone(), client_ca: tls.client_ca.clone() })
}

impl Running {
    /// Puts a checked configuration in force.
    ///
    /// # Errors
    /// Why not; the old one is in force then.
    pub(crate) fn reload(&self, config: Config) -> anyhow::Result<Told> {
        self.listening.reload(files(&config).as_ref())?;
        Ok(self.shield.reload(config)?)
    }

    /// Counts a reload that was refused, and says why.
    pub(crate) fn refused(&self, error: &anyhow::Error) -> String {
        let why = format!("{error:#}");
        self.shield.reload_refused(&why);
        why
    }
}

/// Serves until `shutdown`.
///
/// # Errors
/// If the configuration is wrong or the address cannot be had.
pub(crate) async fn run(options: Options, shutdown: Shutdown) -> anyhow::Result<()> {
    let config = options.load()?;
    if options.check_config {
        if let Some(files) = files(&config) {
            tls::Acceptor::new(&files)?;
        }
        println!("the configuration is in order: {} routes, listening on {}", config.routes.len(), config.listen);
        return Ok(());
    }
    // NB: before anybody can send one: a hang-up that nobody waits for ends a process.
    let hangup = signal(SignalKind::hangup())?;
    let events = Events::start(&config.events, None, Role::Shield, &shutdown)?;
    let running = start(config, None, events.publisher().clone(), &shutdown).await?;
    running.shield.metrics().extend(|registry| events.register(registry));
    let Listening { address, .. } = running.listening;
    info!(%address, scheme = running.listening.scheme(), routes = running.shield.config().routes.len(), "shielding");
    let askers = Askers { shield: running.shield.reload_requests(), ..Askers::default() };
    let reloading = reload::follow(hangup, askers, || {
        running.shield.reopen_log();
        let told = options.load().and_then(|config| running.reload(config)).map_err(|error| running.refused(&error))?;
        Ok(Done { origin: None, shield: Some(told) })
    });
    tokio::select! {
        () = reloading => {}
        () = shutdown.started() => {}
    }
    info!("stopping");
    listen::drain(running.shield.config().drain(), &shutdown).await;
    running.shield.close_log();
    events.finish().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use headwater_net::config::Configuration;

    use super::*;

    #[test]
    fn a_shield_before_the_origin_serves_what_is_for_everybody_unless_it_is_told() {
        let mut config = Config::default();
        before_origin(&mut config);
        assert_eq!(config.check(), Ok(()));
        assert!(config.routes.values().all(|route| route.prefix != "/" && !route.prefix.starts_with("/ingest")));
        let mut said = Config::default();
        said.upstreams.insert("main".to_owned(), Upstream::default());
        let before = said.clone();
        before_origin(&mut said);
        assert_eq!(said, before);
    }
}
