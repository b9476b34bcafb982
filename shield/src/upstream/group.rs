// SPDX-License-Identifier: Apache-2.0
//! A group of origins that serve the same: its configuration, its origins, and what is known of them.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use headwater_events::Publisher;
use headwater_net::signature;
use http::HeaderValue;
use http::uri::{Authority, PathAndQuery};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use super::connect::{self, Address, Pool};
use super::error::Invalid;
use super::health::{Fault, Rules};
use super::latch::Stall;
use super::machine::Machine;
use super::origin::{Deadlines, Origin, Seal, Transport};
use super::siblings::HOP;
use super::voice::Voice;
use super::{Identity, Local, OriginId};
use crate::config::Upstream;

/// The origin of this process among a group's.
const HERE: &str = "here";

/// What is known of the origins, and the news of it.
#[derive(Debug)]
pub(super) struct Known {
    /// Guards what is known; held to read or note one thing.
    pub(super) machine: Mutex<Machine>,
    /// Counts what may make a waiting request look elsewhere.
    pub(super) news: watch::Sender<u64>,
}

impl Known {
    fn tell(&self) {
        self.news.send_modify(|count| *count = count.wrapping_add(1));
    }

    pub(super) fn bad(&self, origin: OriginId, fault: Fault) {
        let fell = self.machine.lock().bad(origin, fault, now());
        if fell {
            self.tell();
        }
    }

    pub(super) fn outrun(&self, origin: OriginId, started: std::time::Instant) {
        let fell = self.machine.lock().outrun(origin, started, now());
        if fell {
            self.tell();
        }
    }

    pub(super) fn checked(&self, origin: OriginId, seen: Result<(), Fault>) {
        let changed = self.machine.lock().checked(origin, seen, now());
        if changed {
            self.tell();
        }
    }
}

/// Tells what became of one answer's body.
#[derive(Clone, Debug)]
pub(super) struct Witness {
    pub(super) known: Arc<Known>,
    pub(super) origin: OriginId,
}

impl Witness {
    pub(super) fn good(&self) {
        self.known.machine.lock().good(self.origin, now());
    }

    pub(super) fn bad(&self, fault: Fault) {
        self.known.bad(self.origin, fault);
    }
}

/// The moment, for what takes time as an argument.
pub(super) fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// Settings in force and the origins they name, the preferred one first.
#[derive(Debug)]
pub(super) struct Members {
    pub(super) origins: Vec<Arc<Origin>>,
    pub(super) settings: Settings,
}

/// What of the configuration a request needs.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) identical: bool,
    pub(super) host: Option<HeaderValue>,
    pub(super) seal: Option<Seal>,
    pub(super) health_path: PathAndQuery,
    pub(super) health_interval: Option<Duration>,
    pub(super) health_timeout: Duration,
    pub(super) deadlines: Deadlines,
    pub(super) held: Duration,
    pub(super) hedge: Option<Duration>,
    /// Everything that a connection is made by; when it changes, connections are made anew.
    connecting: (Duration, usize, Option<std::path::PathBuf>),
}

/// Whom a group is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Among {
    /// Origins: asked one after the other, signed for their lock.
    Origins,
    /// Shields: asked one by one, marked as a hop; any answer shows that one lives.
    Siblings,
}

/// Origins that serve the same under the same paths.
#[derive(Debug)]
pub struct Group {
    pub(super) name: Arc<str>,
    here: Option<Local>,
    pub(super) among: Among,
    pub(super) identity: Identity,
    pub(super) members: ArcSwap<Members>,
    pub(super) known: Arc<Known>,
    pub(super) counts: Counts,
    /// Guards a change of configuration, and holds the id that the next new origin gets.
    next: Mutex<u32>,
}

/// What came of a group over its life.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) hedged: AtomicU64,
    pub(super) hedges_denied: AtomicU64,
}

impl Counts {
    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl Group {
    /// A group as configured; `here` is the origin in this process, where there is one, and `identity` the shield's name.
    ///
    /// # Errors
    /// [`Invalid`] says which setting is of no use.
    pub fn new(
        name: &str,
        upstream: &Upstream,
        here: Option<Local>,
        identity: &Identity,
    ) -> Result<Arc<Self>, Invalid> {
        Self::of(Among::Origins, name, upstream, here, identity)
    }

    pub(super) fn of(
        among: Among,
        name: &str,
        upstream: &Upstream,
        here: Option<Local>,
        identity: &Identity,
    ) -> Result<Arc<Self>, Invalid> {
        let (rules, settings) = settings(name, upstream, among)?;
        let name: Arc<str> = Arc::from(name);
        let machine = Machine::new(Arc::clone(&name), rules, settings.hedge);
        let known = Known { machine: Mutex::new(machine), news: watch::Sender::new(0) };
        let group = Self {
            name,
            here,
            among,
            identity: identity.clone(),
            members: ArcSwap::from_pointee(Members { origins: Vec::new(), settings }),
            known: Arc::new(known),
            counts: Counts::default(),
            next: Mutex::new(0),
        };
        group.reconfigure(upstream)?;
        Ok(Arc::new(group))
    }

    /// Publishes what changes about its origins from now on.
    pub(crate) fn speak(&self, publisher: &Publisher) {
        let voice = Voice { publisher: publisher.clone(), group: Arc::clone(&self.name) };
        self.known.machine.lock().speak(voice);
    }

    /// Takes a new configuration. Origins that stay keep their health, their connections where nothing about those
    /// changed, and the channels that play from them; requests that are open go on.
    ///
    /// # Errors
    /// As [`Self::new`]; what was in force stays so.
    pub fn reconfigure(&self, upstream: &Upstream) -> Result<(), Invalid> {
        let (rules, settings) = settings(&self.name, upstream, self.among)?;
        let mut next = self.next.lock();
        let before = self.members.load();
        let same = before.settings.connecting == settings.connecting;
        let mut tls = None;
        let mut named = HashSet::new();
        let mut origins: Vec<Arc<Origin>> = Vec::new();
        for text in &upstream.origins {
            if !named.insert(text.as_str()) {
                return Err(Invalid::Twice { group: self.name.to_string(), origin: text.clone() });
            }
            let known = before.origins.iter().find(|origin| *origin.name == **text);
            if let Some(origin) = known.filter(|_| same) {
                origins.push(Arc::clone(origin));
                continue;
            }
            let transport = self.transport(text, upstream, &mut tls)?;
            let id = known.map_or_else(
                || {
                    *next += 1;
                    OriginId(*next)
                },
                |known| known.id,
            );
            origins.push(Arc::new(Origin::new(id, Arc::from(text.as_str()), transport, upstream.connections_max)));
        }
        let named = origins.iter().map(|origin| (origin.id, Arc::clone(&origin.name))).collect();
        self.known.machine.lock().reconfigure(rules, settings.hedge, named, now());
        self.members.store(Arc::new(Members { origins, settings }));
        self.known.tell();
        Ok(())
    }

    /// The group's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address of an origin, as configured.
    pub fn name_of(&self, origin: OriginId) -> Option<Arc<str>> {
        self.members.load().origin(origin).map(|origin| Arc::clone(&origin.name))
    }

    /// Its origins, the preferred one first.
    pub fn origins(&self) -> Vec<OriginId> {
        self.members.load().origins.iter().map(|origin| origin.id).collect()
    }

    /// The longest that an answer may take, held ones included.
    pub fn patience(&self) -> Duration {
        let members = self.members.load();
        members.settings.deadlines.total + members.settings.held
    }

    /// The origin of an address, as configured.
    pub fn id_of(&self, name: &str) -> Option<OriginId> {
        self.members.load().origins.iter().find(|origin| *origin.name == *name).map(|origin| origin.id)
    }

    /// The origin whose address, as configured, fits.
    pub(crate) fn find(&self, fits: impl Fn(&str) -> bool) -> Option<OriginId> {
        self.members.load().origins.iter().find(|origin| fits(&origin.name)).map(|origin| origin.id)
    }

    /// Changes whenever an origin goes down or comes up, begins to stall, or the configuration is another.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.known.news.subscribe()
    }

    /// `origin` stalls for `channel`, though it answers: other origins come before it until it [advances](Self::advancing)
    /// again. Telling it again keeps the mark; one that nobody confirms is forgotten after six hold-downs.
    pub fn stalled(&self, origin: OriginId, channel: &Arc<str>, stall: Stall) {
        let news = self.known.machine.lock().stalled(origin, channel, stall, now());
        if news {
            self.known.tell();
        }
    }

    /// `origin` advances `channel`.
    pub fn advancing(&self, origin: OriginId, channel: &str) {
        self.known.machine.lock().advancing(origin, channel, now());
    }

    /// What stalls now: who follows playlists asks these origins again with [`Self::ask_origin`], since nobody else does.
    pub fn stalls(&self) -> Vec<(OriginId, Arc<str>, Stall)> {
        self.known.machine.lock().stalls()
    }

    /// Takes an origin out, as if it were down, or back in: for work on it, and for drills. It is asked last, not never,
    /// for one that answers is better than none. `None` if there is no origin of this address, else whether that is a
    /// change.
    pub fn drain(&self, address: &str, drained: bool) -> Option<bool> {
        let id = self.members.load().origins.iter().find(|origin| *origin.name == *address)?.id;
        let changed = self.known.machine.lock().drain(id, drained, now());
        if changed {
            self.known.tell();
        }
        Some(changed)
    }

    fn transport(
        &self,
        text: &str,
        upstream: &Upstream,
        tls: &mut Option<Arc<rustls::ClientConfig>>,
    ) -> Result<Transport, Invalid> {
        let group = || self.name.to_string();
        if text == HERE {
            let here = self.here.clone().ok_or_else(|| Invalid::Elsewhere { group: group() })?;
            return Ok(Transport::Here(here));
        }
        let unusable = || Invalid::Address { group: group(), origin: text.to_owned() };
        let address = Address::parse(text).ok_or_else(unusable)?;
        if address.secure && tls.is_none() {
            *tls = Some(connect::trust(&self.name, upstream.ca.as_deref())?);
        }
        let pool = Pool::new(address, tls.clone(), ms(upstream.connect_ms)).ok_or_else(unusable)?;
        Ok(Transport::Remote(Arc::new(pool)))
    }
}

impl Members {
    pub(super) fn origin(&self, id: OriginId) -> Option<&Arc<Origin>> {
        self.origins.iter().find(|origin| origin.id == id)
    }
}

fn ms(number: u32) -> Duration {
    Duration::from_millis(u64::from(number))
}

fn settings(group: &str, upstream: &Upstream, among: Among) -> Result<(Rules, Settings), Invalid> {
    let group = || group.to_owned();
    if upstream.origins.is_empty() && among == Among::Origins {
        return Err(Invalid::Empty { group: group() });
    }
    let key = upstream.key.as_deref();
    if key == Some("") {
        return Err(Invalid::Key { group: group() });
    }
    let field = match among {
        Among::Origins => signature::HEADER,
        Among::Siblings => HOP,
    };
    let at_least_one = [
        ("health_timeout_ms", upstream.health_timeout_ms as usize),
        ("rise", upstream.rise as usize),
        ("fall", upstream.fall as usize),
        ("connect_ms", upstream.connect_ms as usize),
        ("first_byte_ms", upstream.first_byte_ms as usize),
        ("between_bytes_ms", upstream.between_bytes_ms as usize),
        ("total_ms", upstream.total_ms as usize),
        ("connections_max", upstream.connections_max),
    ];
    if let Some((key, _)) = at_least_one.iter().find(|(_, number)| *number == 0) {
        return Err(Invalid::Zero { group: group(), key });
    }
    let host = match &upstream.host {
        None => None,
        Some(host) => {
            let unusable = || Invalid::Host { group: group(), host: host.clone() };
            let authority: Authority = host.parse().map_err(|_| unusable())?;
            if authority.as_str().contains('@') {
                return Err(unusable());
            }
            Some(HeaderValue::from_str(host).map_err(|_| unusable())?)
        }
    };
    let unusable = || Invalid::HealthPath { group: group(), path: upstream.health_path.clone() };
    if !upstream.health_path.starts_with('/') {
        return Err(unusable());
    }
    let health_path: PathAndQuery = upstream.health_path.parse().map_err(|_| unusable())?;
    let interval = (upstream.health_interval_ms > 0).then(|| ms(upstream.health_interval_ms));
    let rules = Rules {
        interval,
        rise: upstream.rise,
        fall: upstream.fall,
        hold_down: ms(upstream.hold_down_ms),
        failback_checks: upstream.failback_checks,
    };
    let settings = Settings {
        identical: upstream.identical,
        host,
        seal: key.map(|key| Seal { field, key: Arc::new(signature::Key::new(key)) }),
        health_path,
        health_interval: interval,
        health_timeout: ms(upstream.health_timeout_ms),
        deadlines: Deadlines {
            head: ms(upstream.first_byte_ms),
            between: ms(upstream.between_bytes_ms),
            total: ms(upstream.total_ms),
        },
        held: ms(upstream.held_ms),
        hedge: (upstream.hedge_ms > 0).then(|| ms(upstream.hedge_ms)),
        connecting: (ms(upstream.connect_ms), upstream.connections_max, upstream.ca.clone()),
    };
    Ok((rules, settings))
}
