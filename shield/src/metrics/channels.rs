// SPDX-License-Identifier: Apache-2.0
//! Hits, misses and origin requests by channel. Channels are what edges ask for, so there are as many as an outsider
//! likes: those past the bound are counted together.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// Channels with rows of their own: a scrape has three for each.
const CHANNELS_MAX: usize = 1_000;
/// What those beyond are counted as.
const OTHER: &str = "other";

/// What became of a channel's requests; a handle that what belongs to the channel keeps.
#[derive(Debug, Default)]
pub struct Channel {
    hits: AtomicU64,
    misses: AtomicU64,
    origin_requests: AtomicU64,
}

impl Channel {
    /// Counts a request that was answered from what was stored or already arriving.
    pub fn hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that was not.
    pub fn missed(&self) {
        self.misses.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request to an origin.
    pub fn asked(&self) {
        self.origin_requests.fetch_add(1, Ordering::Relaxed);
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
            self.known.retain(|_, channel| Arc::strong_count(channel) > 1);
        }
        // NB: two that begin at once may make it one more than the bound; a bound to the last one would be a lock.
        if self.known.len() >= self.max {
            return Arc::clone(&self.other);
        }
        Arc::clone(&self.known.entry(key).or_default())
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
        first.hit();
        second.missed();
        channels.channel("news", "three").hit();
        channels.channel("other", "one").hit();
        assert_eq!((channels.known.len(), channels.other.hits.load(Ordering::Relaxed)), (2, 2));
        drop(second);
        channels.channel("news", "three").hit();
        assert_eq!(channels.other.hits.load(Ordering::Relaxed), 2);
        assert!(channels.known.contains_key(&("news".into(), "three".into())));
        assert_eq!(channels.channel("news", "one").hits.load(Ordering::Relaxed), 1);
    }
}
