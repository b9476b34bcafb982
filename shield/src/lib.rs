// SPDX-License-Identifier: Apache-2.0
//! The shield: takes the misses of CDN edges, asks an origin once for each object, and hides from viewers when an origin
//! dies.

pub mod admin;
mod arriving;
mod cmsd;
pub mod config;
mod deliveries;
mod edge;
pub mod fill;
pub mod follow;
mod gate;
pub mod guard;
mod handler;
mod hit;
pub mod index;
pub mod live;
mod load;
pub mod log;
pub mod metrics;
pub mod object;
mod obtain;
mod purge;
mod reload;
mod respond;
pub mod route;
pub mod semantics;
pub mod service;
#[cfg(feature = "disk")]
mod shelf;
pub mod store;
mod tail;
mod task;
pub mod upstream;
pub mod whole;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption};
use headwater_events::Publisher;
use headwater_net::limits::Tally;
use headwater_net::reload::Reloader;
use headwater_net::{Shutdown, network};
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::warn;

pub use config::Config;
pub use reload::Told;

use crate::cmsd::Cmsd;
use crate::edge::Edges;
use crate::follow::Following;
use crate::guard::Guard;
use crate::index::{Index, Slot};
use crate::live::Marks;
use crate::log::Log;
use crate::metrics::Metrics;
use crate::object::Object;
use crate::reload::Checking;
use crate::route::{Route, Routes};
use crate::semantics::Defaults;
use crate::store::{Memory, Purges, Resident};
use crate::upstream::{Group, Identity, Local, Siblings};

/// Purges that a fill may have missed: as many as may come while one lasts.
const PURGES_RECENT: usize = 4_096;

/// What of playlists is remembered over a restart, in the folder of the disk tier.
const MARKS_FILE: &str = "marks";
/// The purges, beside them.
const PURGES_FILE: &str = "purges";
/// Playlists whose newest version is remembered.
const MARKS_MAX: usize = 65_536;

/// Why a shield could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A group of origins cannot be.
    #[error(transparent)]
    Upstream(#[from] upstream::Invalid),
    /// A route cannot be.
    #[error("expected networks of edges as 192.0.2.0/24 in routes.{route}.edges: {source}")]
    Route {
        /// Its name.
        route: String,
        /// What was wrong.
        source: network::Error,
    },
    /// Events cannot be followed.
    #[error(transparent)]
    Follow(#[from] follow::Error),
    /// The access log cannot be written.
    #[error("expected to write the access log {name:?}: {source}")]
    Log {
        /// Its name.
        name: String,
        /// Why not.
        source: std::io::Error,
    },
}

/// A shield: what it holds, and what it knows of its origins. Shared by every connection.
#[derive(Debug)]
pub struct Shield {
    state: ArcSwap<State>,
    index: Index,
    memory: Arc<Memory>,
    purges: Purges,
    /// What was purged is about to be looked for.
    sweeping: AtomicBool,
    edges: Edges,
    identity: Identity,
    tally: Arc<Tally>,
    metrics: Metrics,
    /// Where requests are logged, if they are.
    log: ArcSwapOption<Log>,
    /// The origin in this process, for groups that name it.
    here: Option<Local>,
    /// Who reads the configuration anew, if anybody can.
    reloader: Reloader<Told>,
    /// Guards which groups' origins are checked; held to reload.
    checking: Mutex<Checking>,
    siblings: Arc<Siblings>,
    #[cfg(feature = "disk")]
    disk: Option<store::Disk>,
    /// Who is told what changed.
    publisher: Publisher,
    cmsd: Cmsd,
    /// What is known by events, and what they have begun.
    following: Following,
    shutdown: Shutdown,
}

/// What a reload replaces.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) config: Config,
    pub(crate) routes: Routes,
    pub(crate) groups: BTreeMap<String, Arc<Group>>,
    pub(crate) guard: Guard,
    pub(crate) defaults: Defaults,
    /// How long a URL is remembered whose answer may not be shared.
    pub(crate) uncacheable: Duration,
}

impl State {
    /// What `config` makes of these groups; requests that `before` has admitted count on.
    fn new(
        config: Config,
        groups: BTreeMap<String, Arc<Group>>,
        metrics: &Metrics,
        before: Option<&Self>,
    ) -> Result<Self, Error> {
        let defaults = Defaults {
            negative: Duration::from_millis(u64::from(config.cache.negative_ms)),
            stale_if_error: Duration::from_secs(u64::from(config.cache.stale_if_error_seconds)),
        };
        let routes = Routes::new(&config, metrics, |name| groups.get(name).cloned())?;
        let uncacheable = Duration::from_millis(u64::from(config.cache.uncacheable_ms));
        let guard = before.map_or_else(|| Guard::new(&config.limits), |before| before.guard.with(&config.limits));
        Ok(Self { config, routes, groups, guard, defaults, uncacheable })
    }

    /// True if answers of a route say how loaded this shield is.
    fn says_load(&self, route: &Route) -> bool {
        self.config.cmsd && route.settings.live
    }
}

impl Shield {
    /// Starts a shield; `here` is the origin in this process, where there is one.
    ///
    /// # Errors
    /// [`Error`] for a group that cannot be, or an access log that cannot be opened.
    pub fn start(
        config: Config,
        here: Option<&Local>,
        publisher: Publisher,
        shutdown: Shutdown,
    ) -> Result<Arc<Self>, Error> {
        let identity = Identity::new();
        let mut groups = BTreeMap::new();
        for (name, settings) in &config.upstreams {
            let group = Group::new(name, settings, here.cloned(), &identity)?;
            group.speak(&publisher);
            groups.insert(name.clone(), group);
        }
        let cache = config.cache.clone();
        let open = |name: &str| Log::open(name).map_err(|source| Error::Log { name: name.to_owned(), source });
        let log = config.access_log.as_deref().map(open).transpose()?;
        let kept = cache.disk_dir.clone();
        let metrics = Metrics::new();
        metrics.tell_events(publisher.metrics());
        let siblings = Siblings::new(&config.siblings, &identity)?;
        let state = State::new(config, groups, &metrics, None)?;
        let shield = Arc::new_cyclic(|weak: &Weak<Self>| {
            let weak = weak.clone();
            let evict = move |resident: &Arc<Resident>| {
                if let Some(shield) = weak.upgrade() {
                    shield.evicted(resident);
                }
            };
            Self {
                state: ArcSwap::from_pointee(state),
                index: Index::new(cache.keys_max),
                memory: Memory::new(cache.memory_bytes_max, evict),
                purges: purges(cache.disk_dir.as_deref()),
                sweeping: AtomicBool::new(false),
                edges: Edges::new(marks(cache.disk_dir.as_deref())),
                identity,
                tally: Arc::default(),
                following: Following::new(publisher.source().clone(), &metrics.followed),
                metrics,
                log: ArcSwapOption::new(log),
                here: here.cloned(),
                reloader: Reloader::new("a shield"),
                checking: Mutex::default(),
                siblings: Arc::clone(&siblings),
                #[cfg(feature = "disk")]
                disk: cache
                    .disk_dir
                    .as_ref()
                    .map(|dir| store::Disk::open(dir.join("objects"), cache.disk_bytes_max, &shutdown)),
                cmsd: Cmsd::new(publisher.source().node()),
                publisher,
                shutdown: shutdown.clone(),
            }
        });
        let groups = shield.state().groups.clone();
        *shield.checking.lock() = groups.into_iter().map(|(name, group)| (name, shield.check(&group))).collect();
        // Not among the work that a stop waits for: siblings are asked until the last answer.
        tokio::spawn(siblings.run(shutdown.clone()));
        tokio::spawn(load::tell(Arc::downgrade(&shield), load::sampler(&shield)));
        if shield.config().events.health_ms > 0 {
            tokio::spawn(deliveries::tell(Arc::downgrade(&shield)));
        }
        shutdown.spawn(sweep(Arc::downgrade(&shield), shutdown.clone()));
        shutdown.spawn(edge::follow(Arc::downgrade(&shield), kept, shutdown.clone()));
        shield.follow_configured()?;
        Ok(shield)
    }

    pub(crate) fn state(&self) -> arc_swap::Guard<Arc<State>> {
        self.state.load()
    }

    /// The configuration in force.
    pub fn config(&self) -> Config {
        self.state.load().config.clone()
    }

    /// What it counts.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Connections, and refusals by bound; the listener counts here too.
    pub fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// The store in memory.
    pub fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// What was purged of late, and what is to be.
    pub fn purges(&self) -> &Purges {
        &self.purges
    }

    /// Runs a fill to its end; a stop waits for it.
    fn spawn(&self, fill: impl Future<Output = ()> + Send + 'static) {
        self.shutdown.spawn(fill);
    }

    fn evicted(&self, resident: &Arc<Resident>) {
        let Some(slot) = self.index.find(resident.key()) else { return };
        for object in slot.objects() {
            if object.content.resident().is_some_and(|found| Arc::ptr_eq(found, resident)) {
                #[cfg(feature = "disk")]
                if let Some(disk) = self.disk.as_ref().filter(|_| resident.is_worth_keeping()) {
                    shelf::put(disk, resident.key(), &object);
                }
                slot.drop_object(&object);
            }
        }
        self.index.close(&slot);
    }

    /// Gives back the room of what is not held any more.
    fn let_go(&self, object: &Object) {
        if let Some(resident) = object.content.resident() {
            self.memory.remove(resident);
        }
    }

    /// A purge that came while an object was arriving is about that object too.
    ///
    /// True if it is gone.
    fn obey_purges(&self, slot: &Slot, object: &Arc<Object>) -> bool {
        match object.purged(slot.key(), &self.purges) {
            Some(store::Kind::Hard) => {
                if slot.drop_object(object) {
                    self.let_go(object);
                }
                true
            }
            Some(store::Kind::Soft) => {
                object.outdate();
                false
            }
            None => false,
        }
    }
}

/// Purges of an earlier run, where what they concern may lie on disk.
fn purges(folder: Option<&Path>) -> Purges {
    let Some(folder) = folder else { return Purges::new(PURGES_RECENT) };
    let path = folder.join(PURGES_FILE);
    let open = || Purges::open(&path, PURGES_RECENT, SystemTime::now());
    let opened = open().or_else(|error| {
        warn!(%error, "no purges are known from before: all that was on disk counts as purged");
        std::fs::remove_file(&path)?;
        open()
    });
    opened.unwrap_or_else(|_| Purges::new(PURGES_RECENT))
}

/// Marks of an earlier run, or none.
fn marks(folder: Option<&Path>) -> Marks {
    let Some(folder) = folder else { return Marks::new(MARKS_MAX) };
    Marks::open(&folder.join(MARKS_FILE), MARKS_MAX).unwrap_or_else(|error| {
        warn!(%error, "no marks of playlists are known from before: one may go back once");
        Marks::new(MARKS_MAX)
    })
}

/// Forgets what nothing is known of any more, now and then.
async fn sweep(shield: Weak<Shield>, shutdown: Shutdown) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(index::SWEPT_EVERY) => {}
            () = shutdown.started() => return,
        }
        let Some(shield) = shield.upgrade() else { return };
        shield.index.sweep(Instant::now());
    }
}
