// SPDX-License-Identifier: Apache-2.0
//! Who asks for what: the folders that edges asked for lately, under the hosts by which they asked.
//!
//! The host is part of every key, and no event tells it. So what an event speaks of is fetched under the hosts that edges
//! use, and only for tracks that somebody plays. Whatever an outsider may invent is bounded, and takes no place from what
//! is in use.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::standing::Version;
use crate::route::Route;

/// Folders that are known at once.
const FOLDERS_MAX: usize = 65_536;
/// Hosts of one tenant that are known at once: what is fetched ahead is fetched for each.
const HOSTS_MAX: usize = 8;
/// Tenants come from the configuration, so there are few; a reload may bring others.
const TENANTS_MAX: usize = 4_096;
/// A track that nobody asked for during this is not fetched ahead, where only those are that are asked for.
pub(crate) const ASKED_WITHIN: Duration = Duration::from_secs(120);
/// A host that nobody used for so long makes room.
const HOST_KEPT: Duration = Duration::from_secs(600);

/// A moment in whole seconds since the table was made: coarse, so that a hit most often writes nothing.
#[derive(Debug, Default)]
struct Lately(AtomicU64);

impl Lately {
    fn set(&self, second: u64) {
        // NB: read first: threads that all write would wait for each other's cache line.
        if self.0.load(Ordering::Relaxed) != second {
            self.0.store(second, Ordering::Relaxed);
        }
    }

    /// Second 0 is never.
    fn is_within(&self, span: Duration, second: u64) -> bool {
        let then = self.0.load(Ordering::Relaxed);
        then > 0 && second.saturating_sub(then) <= span.as_secs()
    }
}

/// A host that edges ask by.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) name: Box<str>,
    asked: Lately,
}

/// Those who ask for the objects of one folder, under one host; and what events told of it.
#[derive(Debug)]
pub(crate) struct Audience {
    host: Arc<Host>,
    began: Instant,
    asked: Lately,
    /// Counts what was told that makes another HLS playlist.
    playlists: AtomicU64,
    /// Counts what was told that makes another MPD.
    manifests: AtomicU64,
}

impl Audience {
    /// Somebody asks.
    pub(crate) fn asks(&self, now: Instant) {
        let second = second(self.began, now);
        self.asked.set(second);
        self.host.asked.set(second);
    }

    /// Somebody asked lately.
    pub(crate) fn is_there(&self, now: Instant) -> bool {
        self.asked.is_within(ASKED_WITHIN, second(self.began, now))
    }

    /// How many events have made its playlists, or its MPDs, others.
    pub(crate) fn version(&self, of: Version) -> u64 {
        match of {
            Version::Playlist => &self.playlists,
            Version::Manifest => &self.manifests,
        }
        .load(Ordering::Acquire)
    }
}

fn second(began: Instant, now: Instant) -> u64 {
    now.saturating_duration_since(began).as_secs() + 1
}

/// The folders that were asked for.
#[derive(Debug)]
pub(crate) struct Audiences {
    began: Instant,
    folders: DashMap<Box<str>, Arc<Audience>>,
    hosts: DashMap<Box<str>, Vec<Arc<Host>>>,
    /// When folders were forgotten last; held to forget some.
    swept: Mutex<Option<Instant>>,
}

impl Audiences {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), folders: DashMap::new(), hosts: DashMap::new(), swept: Mutex::new(None) }
    }

    /// The audience of a path's folder, if it is known.
    pub(crate) fn find(&self, route: &Route, host: &str, path: &str) -> Option<Arc<Audience>> {
        self.folders.get(&*name(route, host, folder(path))).map(|found| Arc::clone(&found))
    }

    /// The audience of a path's folder; `None` if there is no room for it.
    pub(crate) fn open(&self, route: &Route, host: &str, path: &str) -> Option<Arc<Audience>> {
        if let Some(found) = self.find(route, host, path) {
            return Some(found);
        }
        let now = Instant::now();
        let host = self.host(route, host, now)?;
        if self.folders.len() >= FOLDERS_MAX {
            self.forget(now);
            if self.folders.len() >= FOLDERS_MAX {
                return None;
            }
        }
        let name = name(route, &host.name, folder(path));
        let entry = self.folders.entry(name).or_insert_with(|| {
            Arc::new(Audience {
                host,
                began: self.began,
                asked: Lately::default(),
                playlists: AtomicU64::new(0),
                manifests: AtomicU64::new(0),
            })
        });
        Some(Arc::clone(&entry))
    }

    /// The hosts under which a route's objects were asked for.
    pub(crate) fn hosts(&self, route: &Route) -> Vec<Arc<Host>> {
        self.hosts.get(&*route.tenant).map(|hosts| hosts.clone()).unwrap_or_default()
    }

    /// How many folders are known.
    pub(crate) fn len(&self) -> usize {
        self.folders.len()
    }

    /// An object of the folder of `path` is new: its playlists that were asked for before are old now, and with a
    /// `segment` the MPDs of the folder above too.
    pub(crate) fn published(&self, route: &Route, host: &str, path: &str, segment: bool) {
        if let Some(audience) = self.find(route, host, path) {
            audience.playlists.fetch_add(1, Ordering::Release);
            audience.manifests.fetch_add(u64::from(segment), Ordering::Release);
        }
        if segment && let Some(above) = self.find(route, host, folder(path).trim_end_matches('/')) {
            above.manifests.fetch_add(1, Ordering::Release);
        }
    }

    fn host(&self, route: &Route, host: &str, now: Instant) -> Option<Arc<Host>> {
        let second = second(self.began, now);
        if self.hosts.len() >= TENANTS_MAX && !self.hosts.contains_key(&*route.tenant) {
            return None;
        }
        let mut hosts = self.hosts.entry(route.tenant.as_str().into()).or_default();
        if let Some(known) = hosts.iter().find(|known| known.name.eq_ignore_ascii_case(host)) {
            return Some(Arc::clone(known));
        }
        if hosts.len() >= HOSTS_MAX {
            // NB: whoever invents hosts must not drive out those in use.
            hosts.retain(|known| known.asked.is_within(HOST_KEPT, second));
            if hosts.len() >= HOSTS_MAX {
                return None;
            }
        }
        let host = Arc::new(Host { name: host.to_ascii_lowercase().into(), asked: Lately::default() });
        host.asked.set(second);
        hosts.push(Arc::clone(&host));
        Some(host)
    }

    /// Makes room: those go that nobody asked for lately. At most once a second, for it looks at all of them.
    fn forget(&self, now: Instant) {
        let mut swept = self.swept.lock();
        if swept.is_some_and(|at| now.saturating_duration_since(at) < Duration::from_secs(1)) {
            return;
        }
        *swept = Some(now);
        self.folders.retain(|_, audience| audience.is_there(now));
    }
}

/// A path's folder, with its slash.
fn folder(path: &str) -> &str {
    path.rfind('/').map_or("", |at| &path[..=at])
}

fn name(route: &Route, host: &str, folder: &str) -> Box<str> {
    format!("{}\n{}{folder}", route.tenant, host.to_ascii_lowercase()).into()
}
