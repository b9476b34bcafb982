// SPDX-License-Identifier: Apache-2.0
//! The origin: takes encoders' pushes, keeps each channel's live window in memory, serves LL-HLS and LL-DASH from it.

mod administration;
pub mod channel;
pub mod clock;
pub mod cmsd;
pub mod config;
pub mod edge;
pub mod http;
mod idle;
pub mod ingest;
mod load;
pub mod memory;
pub mod metrics;
mod reload;
pub mod self_check;
pub mod store;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use dashmap::DashMap;
use headwater_events::Publisher;
use headwater_media::ChannelId;
use headwater_net::Shutdown;
use headwater_net::config::Configuration;
use headwater_net::limits::Tally;
use headwater_net::listener::{self, Connection};
use headwater_net::reload::Reloader;
use headwater_packager::cmaf;
use parking_lot::Mutex;
use tokio::time::Instant;

pub use administration::{KeyId, Refused};
pub use channel::Channel;
pub use clock::Clock;
pub use config::Config;
pub use reload::{Kept, Reload, Request as ReloadRequest};

use crate::administration::Made;
use crate::channel::{Context, Ledger, Source};
use crate::ingest::digest::Nonces;
use crate::metrics::{DefectLabel, Metrics};

/// Why no channel could be had for a push.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Declined {
    /// Not configured, and channels do not begin with a push.
    #[error("expected the name of a configured channel")]
    Unknown,
    /// Not a name.
    #[error(transparent)]
    Name(#[from] headwater_media::id::Error),
    /// At the bound.
    #[error("expected fewer channels than are running; try again later")]
    Full,
    /// What is live already takes all memory.
    #[error("expected memory for another live window, what is live takes all of it; try again later")]
    Memory,
}

impl Declined {
    const fn reason(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown_channel",
            Self::Name(_) => "channel_name",
            Self::Full => "channels_full",
            Self::Memory => "memory",
        }
    }
}

/// The origin's state; shared by every handler.
#[derive(Debug)]
pub struct Origin {
    config: ArcSwap<Config>,
    context: Context,
    channels: DashMap<ChannelId, Arc<Channel>>,
    /// Guards what the API said of the channels it made; held by whoever changes channels, one at a time.
    made: Mutex<Made>,
    /// Who reads the configuration anew, if anybody can.
    reloader: Reloader<Reload>,
    nonces: Nonces,
    /// What is said of playlists and MPDs.
    texts: cmsd::Texts,
    /// Request bodies of encoders that are open.
    bodies: AtomicUsize,
    told: ingest::Told,
}

impl Origin {
    /// Starts the configured channels, and those the API made before a restart.
    ///
    /// # Errors
    /// [`config::Error`] for a configuration with a value out of range.
    pub fn start(
        config: Config,
        clock: Clock,
        publisher: Publisher,
        shutdown: Shutdown,
    ) -> Result<Arc<Self>, config::Error> {
        config.check()?;
        let memory = memory::Budget::new(config.memory_bytes_max);
        let texts = cmsd::Texts::new(publisher.source().node());
        let context = Context {
            clock,
            metrics: Arc::new(Metrics::new()),
            memory: memory::Account::open(&memory),
            tally: Arc::default(),
            ledger: None,
            publisher,
            shutdown,
        };
        context.metrics.tell_events(context.publisher.metrics());
        let origin = Arc::new(Self {
            config: ArcSwap::from_pointee(config),
            context,
            channels: DashMap::new(),
            made: Mutex::default(),
            reloader: Reloader::new("an origin"),
            nonces: Nonces::new(),
            texts,
            bodies: AtomicUsize::new(0),
            told: ingest::Told::default(),
        });
        tokio::spawn(measure(Arc::clone(&memory), origin.context.clone()));
        for (name, settings) in &origin.config().channels {
            if let Ok(id) = ChannelId::new(name) {
                origin.open(id, Source::File, settings.clone());
            }
        }
        origin.recall_made();
        load::tell(&origin);
        origin.context.shutdown.spawn(idle::sweep(Arc::downgrade(&origin), origin.context.shutdown.clone()));
        origin.context.shutdown.spawn(self_check::run(Arc::downgrade(&origin), origin.context.shutdown.clone()));
        Ok(origin)
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// Waits, before an encoder of `channel` is answered, until the log has what was published of its push.
    pub(crate) async fn tell_of(&self, channel: &Channel) {
        let logged = async {
            channel.caught_up().await;
            self.context.publisher.flushed().await;
        };
        self.told.wait(logged, &self.context.metrics.ingest_unlogged).await;
    }

    /// What viewers fetch is for shields alone.
    pub(crate) fn is_locked(&self) -> bool {
        !self.config.load().shields.keys.is_empty()
    }

    /// A channel that exists.
    pub fn channel(&self, name: &str) -> Option<Arc<Channel>> {
        self.channels.get(name).map(|c| Arc::clone(&c))
    }

    /// Every channel, by name.
    pub fn channels(&self) -> Vec<Arc<Channel>> {
        let mut all: Vec<_> = self.channels.iter().map(|c| Arc::clone(&c)).collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }

    /// The channel a push is for; it begins here if the configuration lets it.
    ///
    /// # Errors
    /// [`Declined`] says why not. Nothing is allocated for a channel that is declined.
    pub fn channel_for_push(&self, name: &str) -> Result<Arc<Channel>, Declined> {
        let strained = self.context.memory.budget().is_strained();
        if let Some(channel) = self.channel(name) {
            // One that is live goes on; one that holds nothing yet would be one more.
            return if strained && channel.memory.held() == 0 { Err(Declined::Memory) } else { Ok(channel) };
        }
        let config = self.config();
        if !config.channels_from_push {
            return Err(Declined::Unknown);
        }
        let id = ChannelId::new(name)?;
        // NB: pushes that come at once must not all find the last place free; one may have begun this very channel.
        let _changing = self.made.lock();
        if let Some(channel) = self.channel(name) {
            return Ok(channel);
        }
        if self.channels.len() >= config.channels_max {
            return Err(Declined::Full);
        }
        if strained {
            return Err(Declined::Memory);
        }
        Ok(match config.channels.get(name) {
            Some(settings) => self.open(id, Source::File, settings.clone()),
            None => self.open(id, Source::Push, config.defaults.clone()),
        })
    }

    fn open(&self, id: ChannelId, source: Source, settings: config::Channel) -> Arc<Channel> {
        let opened = self.channels.entry(id.clone()).or_insert_with(|| {
            let ledger = self.ledger(&id);
            let kept = ledger.as_ref().map(Ledger::headers).unwrap_or_default();
            let memory = memory::Account::open(self.context.memory.budget());
            let context = Context { ledger, memory, ..self.context.clone() };
            let channel = Channel::start(id, source, settings, self.config().ingest.clone(), context);
            for (name, source) in kept {
                match cmaf::Header::parse(&source) {
                    Ok(header) => {
                        channel.names.insert(&name, &Arc::new(header));
                    }
                    Err(error) => tracing::warn!(channel = %channel.id, name, %error, "a kept header cannot be read"),
                }
            }
            channel
        });
        Arc::clone(&opened)
    }

    /// What of a channel survives a restart; `None` without a folder for it.
    fn ledger(&self, id: &ChannelId) -> Option<Ledger> {
        let config = self.config();
        Ledger::open(config.data_dir.as_deref()?, id)
            .inspect_err(|error| tracing::warn!(channel = %id, %error, "no state will survive a restart"))
            .ok()
    }

    /// Ends a channel and lets go of its media; its numbering stays for another of the name. `why` is what followers are
    /// told.
    fn close(&self, name: &str, why: &'static str) -> Option<Arc<Channel>> {
        let (_, channel) = self.channels.remove(name)?;
        channel.close(why);
        Some(channel)
    }

    /// The keys that admit a push to `name`; of an unknown channel the defaults', so that names cannot be probed.
    pub fn keys_of(&self, name: &str) -> Vec<String> {
        if let Some(channel) = self.channel(name) {
            return channel.settings().keys.clone();
        }
        let config = self.config();
        config.channels.get(name).map_or(&config.defaults.keys, |channel| &channel.keys).clone()
    }

    /// The metrics of this origin.
    pub fn metrics(&self) -> &Metrics {
        &self.context.metrics
    }

    /// Connections, and refusals by bound; the listener counts here too.
    pub fn tally(&self) -> &Arc<Tally> {
        &self.context.tally
    }

    fn count_refused(&self, reason: &'static str) {
        // NB: not by the name that was asked for: an outsider must not grow the table.
        let label = DefectLabel { channel: String::new(), defect: reason };
        self.context.metrics.ingest_refused.get_or_create(&label).inc();
    }

    /// Every route of the origin and `more`, for a listener.
    pub fn service(self: Arc<Self>, more: Router) -> impl Fn(Connection) -> http::Service + Clone {
        let routes = listener::routes(self.router().merge(more));
        move |connection| {
            let certified = connection.certified;
            http::Service::new(Arc::clone(&self), routes(connection), certified)
        }
    }

    /// Routes of others behind those who may read the API.
    pub fn readable(self: &Arc<Self>, routes: Router) -> Router {
        http::api::readable(self, routes)
    }

    /// Every route of the origin.
    pub fn router(self: &Arc<Self>) -> Router {
        http::router(Arc::clone(self))
    }
}

/// How often the process's memory is measured, at least and at most.
const MEASURED_EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_millis(50));

/// Follows what the system says of the process's memory.
async fn measure(memory: Arc<memory::Budget>, context: Context) {
    while let Some(bytes) = memory::resident_bytes() {
        memory.measured(bytes);
        let (held, due) = (memory.held(), Instant::now() + MEASURED_EVERY.0);
        while Instant::now() < due && !memory.has_moved(held) {
            tokio::select! {
                () = tokio::time::sleep(MEASURED_EVERY.1) => {}
                () = context.shutdown.started() => return,
            }
        }
    }
}
