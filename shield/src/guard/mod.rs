// SPDX-License-Identifier: Apache-2.0
//! Who may ask, how often, how much at once and how fast.
//!
//! Everything an outsider can make the shield remember has a bound, and with every limit at 0 a request costs three
//! counters. What of an edge counts is found once for its connection; its requests take no lock.

mod access;
pub mod hygiene;
mod meter;
mod pace;
mod table;
pub mod token;

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use axum::body::Body;
use headwater_net::listener::Connection;
use http::StatusCode;

pub use access::Access;
pub use pace::Pace;

use meter::{Meter, Rate};
use pace::Passed;
use table::Table;

use crate::config::Limits;

#[cfg(test)]
mod tests;

/// Why a request is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// 400, 403, 429 or 503.
    pub status: StatusCode,
    /// When to come again, where that is known: whole seconds, one at least.
    pub retry_after: Option<Duration>,
    /// What was expected, for whoever asked.
    pub words: &'static str,
    /// What refused it, for counting.
    pub bound: &'static str,
}

/// How much depends on a request being answered now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// What players need to go on: the newest playlists, parts and segments, and what they are held for.
    LiveEdge,
    /// Everything else: it is refused first.
    Rest,
}

/// A request, as far as it counts.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Whose cache it is about.
    pub tenant: &'a str,
    /// The channel, among the tenant's.
    pub channel: &'a str,
    /// The path, as it came.
    pub path: &'a str,
    /// The query, as it came.
    pub query: &'a str,
    /// How much depends on it.
    pub class: Class,
}

/// Limits, and what counts against them.
#[derive(Debug)]
pub struct Guard {
    limits: Limits,
    edges: Arc<Table<IpAddr, EdgeCounts>>,
    channels: Arc<Table<u64, ChannelCounts>>,
    channel_rate: Option<Rate>,
    /// What channels are known by: their names are outsiders' to choose, so nothing is kept of them.
    hasher: RandomState,
    all: Arc<Counts>,
}

/// What counts of all together.
#[derive(Debug, Default)]
struct Counts {
    /// Requests that are being answered.
    requests: AtomicUsize,
    /// Requests that are held for what comes next.
    held: AtomicUsize,
}

/// What counts of one edge.
#[derive(Debug)]
struct EdgeCounts {
    all: Arc<Counts>,
    rate: Option<Meter>,
    pace: Option<Pace>,
    requests: AtomicUsize,
}

/// What counts of one channel.
#[derive(Debug)]
struct ChannelCounts {
    rate: Option<Meter>,
    held: AtomicUsize,
}

/// One edge, as its connection knows it.
#[derive(Clone, Debug)]
pub struct Edge {
    peer: IpAddr,
    certified: bool,
    counts: Arc<EdgeCounts>,
    /// Where the counts are from: a reload may have made others.
    table: Arc<Table<IpAddr, EdgeCounts>>,
}

/// A place among the requests that are being answered; dropping it leaves.
#[derive(Debug)]
pub struct Pass {
    edge: Arc<EdgeCounts>,
}

/// A place among the requests that are held for what comes next; dropping it leaves.
#[derive(Debug)]
pub struct Held {
    all: Arc<Counts>,
    channel: Arc<ChannelCounts>,
}

impl Guard {
    /// A guard that has seen nobody.
    pub fn new(limits: &Limits) -> Self {
        Self::counting(Arc::default(), limits)
    }

    /// A guard with other limits, for a reload: requests that are being answered count on. Rates do too, unless a limit
    /// has changed: then they begin anew.
    #[must_use]
    pub fn with(&self, limits: &Limits) -> Self {
        if *limits != self.limits {
            return Self::counting(Arc::clone(&self.all), limits);
        }
        Self {
            limits: limits.clone(),
            edges: Arc::clone(&self.edges),
            channels: Arc::clone(&self.channels),
            channel_rate: self.channel_rate,
            hasher: self.hasher.clone(),
            all: Arc::clone(&self.all),
        }
    }

    fn counting(all: Arc<Counts>, limits: &Limits) -> Self {
        Self {
            edges: Arc::new(Table::new(limits.tracked_max)),
            channels: Arc::new(Table::new(limits.tracked_max)),
            channel_rate: Rate::new(limits.channel_requests_per_second, limits.channel_burst),
            hasher: RandomState::new(),
            all,
            limits: limits.clone(),
        }
    }

    /// The limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// True if requests are counted or paced one by one; without that a hit takes no place.
    pub fn is_metered(&self) -> bool {
        let limits = &self.limits;
        limits.edge_requests_per_second > 0
            || limits.channel_requests_per_second > 0
            || limits.edge_bytes_per_second > 0
    }

    /// What is known of the edge at the other end of a connection; to be asked once for each.
    pub fn edge(&self, connection: &Connection) -> Edge {
        let peer = connection.peer.ip().to_canonical();
        let counts = self.counts(peer);
        Edge { peer, certified: connection.certified, counts, table: Arc::clone(&self.edges) }
    }

    /// Admits a request that `access` permits and that is within every limit.
    ///
    /// # Errors
    /// The refusal of the first bound that it is over. What is refused counts for nothing, but for the edge's rate.
    pub fn admit(&self, edge: &Edge, access: &Access, asked: &Asked<'_>) -> Result<Pass, Refusal> {
        let counts =
            if Arc::ptr_eq(&edge.table, &self.edges) { Arc::clone(&edge.counts) } else { self.counts(edge.peer) };
        // First, so that nobody can try tokens faster than he may ask.
        if let Some(rate) = &counts.rate {
            rate.count()
                .map_err(|wait| too_many("edge_rate", "expected fewer requests a second of this edge", wait))?;
        }
        access.check(edge, asked.path, asked.query, SystemTime::now)?;
        if self.channel_rate.is_some()
            && let Some(rate) = &self.channel(asked.tenant, asked.channel).rate
        {
            let words = "expected fewer requests a second for this channel";
            rate.count().map_err(|wait| too_many("channel_rate", words, wait))?;
        }
        self.place(counts, asked.class)
    }

    /// A place for a request that is to be held for what comes next.
    ///
    /// # Errors
    /// 429 if the channel has no place left, 503 if the shield has none.
    pub fn hold(&self, tenant: &str, channel: &str) -> Result<Held, Refusal> {
        let channel = self.channel(tenant, channel);
        // NB: counted first, so that two at once cannot both take the last place; given back by `Held` on refusal.
        let held = Held { all: Arc::clone(&self.all), channel };
        let (all, of_channel) =
            (held.all.held.fetch_add(1, Ordering::Relaxed), held.channel.held.fetch_add(1, Ordering::Relaxed));
        if all >= self.limits.held_max {
            return Err(overloaded("held", "expected fewer requests that wait"));
        }
        if of_channel >= self.limits.held_per_channel_max {
            return Err(too_many("held_per_channel", "expected fewer requests that wait for this channel", SOON));
        }
        Ok(held)
    }

    /// Requests that are being answered.
    pub fn requests(&self) -> usize {
        self.all.requests.load(Ordering::Relaxed)
    }

    /// Requests that are held for what comes next.
    pub fn held(&self) -> usize {
        self.all.held.load(Ordering::Relaxed)
    }

    /// Edges and channels that are told apart.
    pub fn tracked(&self) -> usize {
        self.edges.len() + self.channels.len()
    }

    fn place(&self, edge: Arc<EdgeCounts>, class: Class) -> Result<Pass, Refusal> {
        // NB: counted first, as above.
        let pass = Pass { edge };
        let all = pass.edge.all.requests.fetch_add(1, Ordering::Relaxed);
        let of_edge = pass.edge.requests.fetch_add(1, Ordering::Relaxed);
        let max = self.limits.concurrent_max;
        if all >= max {
            return Err(overloaded("concurrent", "expected fewer requests at once"));
        }
        if class == Class::Rest && all >= max - max / 10 {
            return Err(overloaded("crowded", "expected fewer requests at once, only the live edge is served now"));
        }
        if of_edge >= self.limits.edge_concurrent_max {
            return Err(too_many("edge_concurrent", "expected fewer requests at once of this edge", SOON));
        }
        Ok(pass)
    }

    fn counts(&self, peer: IpAddr) -> Arc<EdgeCounts> {
        let limits = &self.limits;
        self.edges.find(site(peer), || EdgeCounts {
            all: Arc::clone(&self.all),
            rate: Rate::new(limits.edge_requests_per_second, limits.edge_burst).map(Meter::new),
            pace: Pace::new(limits.edge_bytes_per_second),
            requests: AtomicUsize::new(0),
        })
    }

    fn channel(&self, tenant: &str, channel: &str) -> Arc<ChannelCounts> {
        let key = self.hasher.hash_one((tenant, channel));
        let make = || ChannelCounts { rate: self.channel_rate.map(Meter::new), held: AtomicUsize::new(0) };
        self.channels.find(key, make)
    }
}

impl Edge {
    /// Its address.
    pub fn peer(&self) -> IpAddr {
        self.peer
    }

    /// True if it showed a certificate of the listener's authority.
    pub fn certified(&self) -> bool {
        self.certified
    }
}

impl Pass {
    /// The pace of the edge, where it has one.
    pub fn pace(&self) -> Option<&Pace> {
        self.edge.pace.as_ref()
    }

    /// Keeps the place until `body` is sent or dropped, and sends it at the edge's pace.
    pub fn keep(self, body: Body) -> Body {
        Body::new(Passed::new(body, self))
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.edge.all.requests.fetch_sub(1, Ordering::Relaxed);
        self.edge.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.held.fetch_sub(1, Ordering::Relaxed);
        self.channel.held.fetch_sub(1, Ordering::Relaxed);
    }
}

/// When a place may be free again: nobody knows, so the least that can be said.
const SOON: Duration = Duration::from_secs(1);

fn too_many(bound: &'static str, words: &'static str, wait: Duration) -> Refusal {
    // Rounded up: whoever comes a fraction of a second early is refused again.
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let retry_after = Some(Duration::from_secs(seconds.max(1)));
    Refusal { status: StatusCode::TOO_MANY_REQUESTS, retry_after, words, bound }
}

fn overloaded(bound: &'static str, words: &'static str) -> Refusal {
    Refusal { status: StatusCode::SERVICE_UNAVAILABLE, retry_after: Some(SOON), words, bound }
}

/// Whose an address is: of IPv6 a whole /64 is one site's.
fn site(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}
