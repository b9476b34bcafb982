// SPDX-License-Identifier: Apache-2.0
//! What became of requests by channel. Channels are what edges ask for, so there are as many as an outsider likes: those
//! past the bound are counted together.
//!
//! A hit adds to two numbers of its channel, which its object has at hand; nothing is looked up for it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use headwater_events::event::FillTimes;
use http::StatusCode;
use parking_lot::Mutex;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::Outcome;

/// Channels with rows of their own: a scrape has three for each.
const CHANNELS_MAX: usize = 1_000;
/// What those beyond are counted as.
const OTHER: &str = "other";

/// What became of a channel's requests; a handle that what belongs to the channel keeps.
#[derive(Debug, Default)]
pub struct Channel {
    hits: AtomicU64,
    sent_bytes: AtomicU64,
    misses: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
    stale: AtomicU64,
    errors: AtomicU64,
    origin_requests: AtomicU64,
    prefetches: AtomicU64,
    received_bytes: AtomicU64,
    fills: [AtomicU64; 16],
    /// What [`Channels::take`] has told; held by it alone.
    told: Mutex<Counts>,
}

impl Channel {
    /// Counts a request that was answered from what was stored, with so many bytes.
    pub fn hit(&self, sent_bytes: u64) {
        self.hits.fetch_add(1, Ordering::Relaxed);
        self.sent(sent_bytes);
    }

    /// Counts an answer whose bytes are counted as they are sent.
    pub fn answered(&self, outcome: Outcome, status: StatusCode, stale: bool) {
        let count = match outcome {
            Outcome::Hit | Outcome::Collapsed | Outcome::Stale => &self.hits,
            Outcome::Miss | Outcome::Bypass => &self.misses,
            Outcome::Limited => &self.refused,
            Outcome::Error => &self.failed,
        };
        count.fetch_add(1, Ordering::Relaxed);
        if stale {
            self.stale.fetch_add(1, Ordering::Relaxed);
        }
        if status.is_server_error() && outcome != Outcome::Limited {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts bytes of a body that were sent.
    pub fn sent(&self, bytes: u64) {
        self.sent_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts a request to an origin.
    pub fn asked(&self) {
        self.origin_requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a fill that an event has begun, before anybody asked.
    pub fn prefetched(&self) {
        self.prefetches.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts bytes of a body from an origin.
    pub fn received(&self, bytes: u64) {
        self.received_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts a fill whose head took so long.
    pub fn filled(&self, first_byte: Duration) {
        let class = FillTimes::class(u64::try_from(first_byte.as_millis()).unwrap_or(u64::MAX));
        if let Some(count) = self.fills.get(class) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn counts(&self) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (hits, misses, failed, refused) =
            (read(&self.hits), read(&self.misses), read(&self.failed), read(&self.refused));
        Counts {
            requests: hits + misses + failed + refused,
            hits,
            stale: read(&self.stale),
            errors: read(&self.errors),
            refused,
            sent_bytes: read(&self.sent_bytes),
            origin_requests: read(&self.origin_requests),
            prefetches: read(&self.prefetches),
            received_bytes: read(&self.received_bytes),
            fills: std::array::from_fn(|class| read(&self.fills[class])),
        }
    }

    fn take(&self) -> Counts {
        let now = self.counts();
        now.since(&std::mem::replace(&mut self.told.lock(), now))
    }

    fn is_told(&self) -> bool {
        *self.told.lock() == self.counts()
    }
}

/// What became of a channel's requests, and of requests for it, up to a moment or between two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    pub(crate) hits: u64,
    pub(crate) stale: u64,
    pub(crate) errors: u64,
    pub(crate) refused: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) origin_requests: u64,
    pub(crate) prefetches: u64,
    pub(crate) received_bytes: u64,
    pub(crate) fills: [u64; 16],
}

impl Counts {
    fn since(&self, before: &Self) -> Self {
        self.with(before, u64::wrapping_sub)
    }

    fn with(&self, other: &Self, op: fn(u64, u64) -> u64) -> Self {
        Self {
            requests: op(self.requests, other.requests),
            hits: op(self.hits, other.hits),
            stale: op(self.stale, other.stale),
            errors: op(self.errors, other.errors),
            refused: op(self.refused, other.refused),
            sent_bytes: op(self.sent_bytes, other.sent_bytes),
            origin_requests: op(self.origin_requests, other.origin_requests),
            prefetches: op(self.prefetches, other.prefetches),
            received_bytes: op(self.received_bytes, other.received_bytes),
            fills: std::array::from_fn(|class| op(self.fills[class], other.fills[class])),
        }
    }
}

/// Which of a channel's numbers is told.
#[derive(Clone, Copy, Debug)]
pub(super) enum Told {
    Hits,
    Misses,
    OriginRequests,
}

/// The counters of every channel, by tenant and name.
#[derive(Debug)]
pub(super) struct Channels {
    max: usize,
    known: DashMap<(Box<str>, Box<str>), Arc<Channel>>,
    other: Arc<Channel>,
}

impl Default for Channels {
    fn default() -> Self {
        Self::bounded(CHANNELS_MAX)
    }
}

impl Channels {
    fn bounded(max: usize) -> Self {
        Self { max, known: DashMap::new(), other: Arc::default() }
    }

    /// A channel's counters. At the bound, channels that nothing refers to any more make room.
    pub(super) fn channel(&self, tenant: &str, name: &str) -> Arc<Channel> {
        let key = (tenant.into(), name.into());
        if let Some(known) = self.known.get(&key) {
            return Arc::clone(&known);
        }
        if self.known.len() >= self.max {
            // NB: what is not told yet stays until it is, or it would never be.
            self.known.retain(|_, channel| Arc::strong_count(channel) > 1 || !channel.is_told());
        }
        // NB: two that begin at once may make it one more than the bound; a bound to the last one would be a lock.
        if self.known.len() >= self.max {
            return Arc::clone(&self.other);
        }
        Arc::clone(&self.known.entry(key).or_default())
    }

    /// A channel's counters if it has some, else those of all others.
    pub(super) fn known(&self, tenant: &str, name: &str) -> Arc<Channel> {
        let known = self.known.get(&(tenant.into(), name.into()));
        known.map_or_else(|| Arc::clone(&self.other), |known| Arc::clone(&known))
    }

    /// What was counted since the last call, of channels that had anything; channels of one name are one, whosever they
    /// are.
    pub(super) fn take(&self) -> BTreeMap<Box<str>, Counts> {
        let mut all: BTreeMap<Box<str>, Counts> = BTreeMap::new();
        let mut add = |name: &str, channel: &Channel| {
            let taken = channel.take();
            if taken != Counts::default() {
                let sum = all.entry(name.into()).or_default();
                *sum = sum.with(&taken, u64::wrapping_add);
            }
        };
        for channel in &self.known {
            add(&channel.key().1, &channel);
        }
        add(OTHER, &self.other);
        all
    }
}

/// One number of every channel, for the exposition.
#[derive(Debug)]
pub(super) struct OfChannels(pub(super) Arc<Channels>, pub(super) Told);

impl OfChannels {
    fn of(&self, channel: &Channel) -> u64 {
        match self.1 {
            Told::Hits => &channel.hits,
            Told::Misses => &channel.misses,
            Told::OriginRequests => &channel.origin_requests,
        }
        .load(Ordering::Relaxed)
    }
}

impl EncodeMetric for OfChannels {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        for channel in &self.0.known {
            let (tenant, name) = channel.key();
            let labels = [("tenant", tenant.as_ref()), ("channel", name.as_ref())];
            encoder.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&self.of(&channel), None)?;
        }
        let others = self.of(&self.0.other);
        if others > 0 {
            let labels = [("tenant", OTHER), ("channel", OTHER)];
            encoder.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&others, None)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_past_the_bound_are_counted_together_until_one_is_let_go() {
        let channels = Channels::bounded(2);
        let (first, second) = (channels.channel("news", "one"), channels.channel("news", "two"));
        first.hit(0);
        second.answered(Outcome::Miss, StatusCode::OK, false);
        channels.channel("news", "three").hit(0);
        channels.channel("other", "one").hit(0);
        assert_eq!((channels.known.len(), channels.other.hits.load(Ordering::Relaxed)), (2, 2));
        drop(second);
        channels.channel("news", "three").hit(0);
        assert_eq!(channels.other.hits.load(Ordering::Relaxed), 3, "its last request is not told yet");
        channels.take();
        channels.channel("news", "three").hit(0);
        assert_eq!(channels.other.hits.load(Ordering::Relaxed), 3);
        assert!(channels.known.contains_key(&("news".into(), "three".into())));
        assert_eq!(channels.channel("news", "one").hits.load(Ordering::Relaxed), 1);
    }
    #[test]
    fn every_request_is_told_once_and_channels_of_a_name_together() {
        let channels = Channels::bounded(2);
        let (ours, theirs) = (channels.channel("news", "one"), channels.channel("sport", "one"));
        ours.hit(10);
        ours.answered(Outcome::Stale, StatusCode::OK, true);
        theirs.answered(Outcome::Error, StatusCode::BAD_GATEWAY, false);
        theirs.answered(Outcome::Limited, StatusCode::SERVICE_UNAVAILABLE, false);
        theirs.filled(Duration::from_millis(3));
        channels.known("news", "unheard of").answered(Outcome::Miss, StatusCode::NOT_FOUND, false);
        let taken = channels.take();
        let one = taken["one"];
        assert_eq!((one.requests, one.hits, one.stale, one.errors, one.refused), (4, 2, 1, 1, 1));
        assert_eq!((one.sent_bytes, FillTimes::of(one.fills).le_5), (10, 1));
        assert_eq!((taken.len(), taken[OTHER].requests), (2, 1));
        assert!(channels.take().is_empty());
        ours.hit(1);
        assert_eq!(channels.take()["one"], Counts { requests: 1, hits: 1, sent_bytes: 1, ..Counts::default() });
    }
}
