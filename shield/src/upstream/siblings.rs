// SPDX-License-Identifier: Apache-2.0
//! Shields beside this one: a miss is asked of the one that a key belongs to, so that an origin is asked once by all of
//! them together.
//!
//! Which one that is every shield works out for itself (highest random weight: when one goes, only its keys move). A
//! request among siblings carries a mark that proves where it comes from, and is never passed to a third. While a
//! sibling waits for us we wait for no sibling over the same key, so there is no circle of shields that wait for each
//! other, whatever each of them thinks of who is alive.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use headwater_net::{Shutdown, signature};
use http::header::HeaderName;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method};
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::connect::Address;
use super::error::Invalid;
use super::group::{Among, Group, now};
use super::{Answer, Ask, GroupState, Identity, OriginId};
use crate::config::{self, Upstream};

/// The mark of a request among siblings: a signature by their key (see [`signature`]).
pub const HOP: HeaderName = HeaderName::from_static("headwater-hop");

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// An edge, or a viewer.
    Edge,
    /// A sibling: it is answered from here or from an origin, never from another sibling; hold a [`Visit`] meanwhile.
    Sibling,
    /// It claims to be a sibling's and is not. To be treated as an edge's.
    Unproven(signature::Error),
}

/// The shields beside this one.
#[derive(Debug)]
pub struct Siblings {
    ring: ArcSwap<Ring>,
    group: Arc<Group>,
    /// Guards who waits for whom, by the hash of a key; held to count one.
    busy: Mutex<HashMap<u64, Busy>>,
}

#[derive(Debug, Default)]
struct Ring {
    /// The others, by the hash of their address; the own one is `None`.
    members: Vec<(u64, Option<Arc<str>>)>,
    keys: Vec<signature::Key>,
    wait: Duration,
}

#[derive(Debug, Default)]
struct Busy {
    visits: u32,
    asks: u32,
    stop: CancellationToken,
}

impl Siblings {
    /// As configured; without others every key is our own.
    ///
    /// # Errors
    /// [`Invalid`] says what is of no use.
    pub fn new(config: &config::Siblings, identity: &Identity) -> Result<Arc<Self>, Invalid> {
        let ring = Ring::new(config)?;
        let group = Group::of(Among::Siblings, "siblings", &upstream(config), None, identity)?;
        Ok(Arc::new(Self { ring: ArcSwap::from_pointee(ring), group, busy: Mutex::default() }))
    }

    /// Takes a new configuration; siblings that stay keep their health.
    ///
    /// # Errors
    /// As [`Self::new`]; what was in force stays so.
    pub fn reconfigure(&self, config: &config::Siblings) -> Result<(), Invalid> {
        let ring = Ring::new(config)?;
        self.group.reconfigure(&upstream(config))?;
        self.ring.store(Arc::new(ring));
        Ok(())
    }

    /// Checks that the others live, until the shutdown is closed.
    pub async fn run(self: Arc<Self>, shutdown: Shutdown) {
        Arc::clone(&self.group).run(shutdown).await;
    }

    /// The siblings as they are now.
    pub fn state(&self) -> GroupState {
        self.group.state()
    }

    /// What a request says of where it comes from.
    pub fn arrival(&self, method: &Method, target: &PathAndQuery, headers: &HeaderMap) -> Arrival {
        if !headers.contains_key(HOP) {
            return Arrival::Edge;
        }
        let ring = self.ring.load();
        match signature::verify(&ring.keys, method, target.as_str(), headers, &HOP, SystemTime::now()) {
            Ok(()) => Arrival::Sibling,
            Err(error) => Arrival::Unproven(error),
        }
    }

    /// A sibling waits for `key` until the visit is dropped: whoever here waits for a sibling over it stops, and nobody
    /// begins to.
    pub fn visit(self: &Arc<Self>, key: &[u8]) -> Visit {
        let hash = xxh3_64(key);
        let mut busy = self.busy.lock();
        let entry = busy.entry(hash).or_default();
        entry.visits += 1;
        entry.stop.cancel();
        drop(busy);
        Visit { siblings: Arc::clone(self), hash }
    }

    /// Asks the sibling that `key` belongs to, with the path that the client asked for.
    ///
    /// `None` if it belongs to this shield, or the sibling cannot help: it is down, answers with an error of its own, is
    /// slower than it may be, or waits for us. An origin is to be asked then; what was lost is `wait_ms` at most.
    pub async fn ask(&self, key: &[u8], ask: &Ask) -> Option<Answer> {
        let sibling = self.belongs_to(key)?;
        let waiting = self.wait_for(xxh3_64(key))?;
        let started = Instant::now();
        let wait = self.ring.load().wait;
        // NB: before the request: a sibling that goes down right after is news.
        let gone = self.goes_down(sibling);
        let answered = tokio::select! {
            biased;
            () = waiting.stop.cancelled() => None,
            answered = self.group.ask_origin(sibling, ask) => answered.ok(),
            () = gone => None,
            () = tokio::time::sleep(wait), if !ask.held => {
                self.group.known.outrun(sibling, started.into_std());
                None
            }
        };
        answered.filter(|answer| is_of_use(answer.head.status.as_u16()))
    }

    /// The living sibling that `key` belongs to; `None` if that is this shield.
    pub fn belongs_to(&self, key: &[u8]) -> Option<OriginId> {
        let ring = self.ring.load();
        let members = self.group.members.load();
        let machine = self.group.known.machine.lock();
        let mut best: Option<(u64, Option<OriginId>)> = None;
        for (hash, name) in &ring.members {
            let id = match name {
                None => None,
                Some(name) => match members.origins.iter().find(|origin| origin.name == *name) {
                    Some(origin) if machine.is_usable(origin.id, None, now()) => Some(origin.id),
                    _ => continue,
                },
            };
            let weight = xxh3_64_with_seed(key, *hash);
            if best.is_none_or(|(most, _)| weight > most) {
                best = Some((weight, id));
            }
        }
        best.and_then(|(_, id)| id)
    }

    fn wait_for(&self, hash: u64) -> Option<Waiting<'_>> {
        let mut busy = self.busy.lock();
        let entry = busy.entry(hash).or_default();
        if entry.visits > 0 {
            return None;
        }
        entry.asks += 1;
        Some(Waiting { siblings: self, hash, stop: entry.stop.clone() })
    }

    async fn goes_down(&self, sibling: OriginId) {
        let mut news = self.group.known.news.subscribe();
        while self.group.known.machine.lock().is_usable(sibling, None, now()) {
            if news.changed().await.is_err() {
                return;
            }
        }
    }

    fn release(&self, hash: u64, ended: impl FnOnce(&mut Busy)) {
        let mut busy = self.busy.lock();
        let Some(entry) = busy.get_mut(&hash) else { return };
        ended(entry);
        if entry.visits == 0 {
            if entry.asks == 0 {
                busy.remove(&hash);
            } else if entry.stop.is_cancelled() {
                entry.stop = CancellationToken::new();
            }
        }
    }
}

/// A sibling waits for us.
#[derive(Debug)]
pub struct Visit {
    siblings: Arc<Siblings>,
    hash: u64,
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.siblings.release(self.hash, |busy| busy.visits = busy.visits.saturating_sub(1));
    }
}

/// We wait for a sibling.
struct Waiting<'a> {
    siblings: &'a Siblings,
    hash: u64,
    stop: CancellationToken,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.siblings.release(self.hash, |busy| busy.asks = busy.asks.saturating_sub(1));
    }
}

/// An answer about the object, not about the sibling or its bounds.
fn is_of_use(status: u16) -> bool {
    !matches!(status, 401 | 403 | 407 | 408 | 421 | 425 | 429 | 500..)
}

impl Ring {
    fn new(config: &config::Siblings) -> Result<Self, Invalid> {
        let keys = config.key.iter().map(|key| signature::Key::new(key)).collect();
        let wait = Duration::from_millis(u64::from(config.wait_ms));
        if config.others.is_empty() {
            return Ok(Self { members: Vec::new(), keys, wait });
        }
        if config.key.as_ref().is_none_or(|key| key.is_empty()) {
            return Err(Invalid::Sibling("key"));
        }
        let own = config.own.as_ref().ok_or(Invalid::Sibling("own"))?;
        let mut members = vec![(weight_of(own)?, None)];
        for other in &config.others {
            let hash = weight_of(other)?;
            if members.iter().any(|(known, _)| *known == hash) {
                return Err(Invalid::Twice { group: "siblings".to_owned(), origin: other.clone() });
            }
            members.push((hash, Some(Arc::from(other.as_str()))));
        }
        Ok(Self { members, keys, wait })
    }
}

/// The seed of a sibling's weights: every shield must make the same of its address, however it is written.
fn weight_of(address: &str) -> Result<u64, Invalid> {
    let unusable = || Invalid::Address { group: "siblings".to_owned(), origin: address.to_owned() };
    let address = Address::parse(address).ok_or_else(unusable)?;
    Ok(xxh3_64(address.to_string().as_bytes()))
}

fn upstream(config: &config::Siblings) -> Upstream {
    Upstream { origins: config.others.clone(), key: config.key.clone(), hedge_ms: 0, ..Upstream::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shield(own: &str, others: &[&str]) -> Arc<Siblings> {
        let config = config::Siblings {
            own: Some(own.to_owned()),
            others: others.iter().map(|other| (*other).to_owned()).collect(),
            key: Some("shared".to_owned()),
            ..config::Siblings::default()
        };
        Siblings::new(&config, &Identity::new()).unwrap()
    }

    fn owner(siblings: &Siblings, own: &str, key: u32) -> String {
        let owner = siblings.belongs_to(&key.to_be_bytes());
        owner.map_or(own.to_owned(), |id| siblings.group.name_of(id).unwrap().to_string())
    }

    const NAMES: [&str; 3] = ["http://a:1", "http://b:1", "http://c:1"];

    #[tokio::test]
    async fn every_shield_finds_the_same_owner_and_each_owns_its_share() {
        let a = shield(NAMES[0], &[NAMES[1], NAMES[2]]);
        let b = shield(NAMES[1], &["http://c:1/", "http://A:1"]);
        let mut owned = HashMap::new();
        for key in 0..3_000 {
            let by_a = owner(&a, NAMES[0], key);
            let by_b = owner(&b, NAMES[1], key).to_lowercase();
            assert_eq!(by_a, by_b.trim_end_matches('/'), "{key}");
            *owned.entry(by_a).or_insert(0) += 1;
        }
        assert_eq!(owned.len(), 3);
        assert!(owned.values().all(|share| (850..1_150).contains(share)), "{owned:?}");
    }

    #[tokio::test]
    async fn when_one_goes_only_its_keys_move() {
        let three = shield(NAMES[0], &[NAMES[1], NAMES[2]]);
        let two = shield(NAMES[0], &[NAMES[1]]);
        for key in 0..1_000 {
            let before = owner(&three, NAMES[0], key);
            if before != NAMES[2] {
                assert_eq!(before, owner(&two, NAMES[0], key), "{key}");
            }
        }
    }

    #[tokio::test]
    async fn a_mark_is_believed_from_a_sibling_alone() {
        let (ours, key) = (shield(NAMES[0], &[NAMES[1]]), signature::Key::new("shared"));
        let target = PathAndQuery::from_static("/live/news/1.m4s");
        let arrival = |key: &signature::Key, signed: &str| {
            let mark = key.sign(&Method::GET, signed, SystemTime::now());
            ours.arrival(&Method::GET, &target, &HeaderMap::from_iter([(HOP, mark)]))
        };
        assert_eq!(ours.arrival(&Method::GET, &target, &HeaderMap::new()), Arrival::Edge);
        assert_eq!(arrival(&key, "/live/news/1.m4s"), Arrival::Sibling);
        assert_eq!(arrival(&key, "/live/news/2.m4s"), Arrival::Unproven(signature::Error::Wrong));
        assert_eq!(
            arrival(&signature::Key::new("other"), "/live/news/1.m4s"),
            Arrival::Unproven(signature::Error::Wrong)
        );
    }

    #[tokio::test]
    async fn while_a_sibling_visits_nobody_waits_for_a_sibling_over_the_same_key() {
        let ours = shield(NAMES[0], &[NAMES[1]]);
        let hash = xxh3_64(b"key");
        let waiting = ours.wait_for(hash).unwrap();
        let visit = ours.visit(b"key");
        assert!(waiting.stop.is_cancelled());
        assert!(ours.wait_for(hash).is_none());
        assert!(ours.wait_for(xxh3_64(b"another")).is_some());
        let second = ours.visit(b"key");
        drop(visit);
        assert!(ours.wait_for(hash).is_none());
        drop(second);
        let again = ours.wait_for(hash).unwrap();
        assert!(!again.stop.is_cancelled());
        drop((waiting, again));
        assert!(ours.busy.lock().is_empty());
    }
}
