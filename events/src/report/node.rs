// SPDX-License-Identifier: Apache-2.0
//! What a node bore.

use headwater_media::UtcTime;
use serde::Serialize;

use super::channel::{add, permille};
use crate::event::{Health, Timestamp};

/// A largest value and when it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Peak {
    /// The value.
    pub value: u64,
    /// When.
    pub at: Timestamp,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Node {
    /// Its name.
    pub node: String,
    /// `origin` or `shield`.
    pub role: &'static str,
    /// Heartbeats that were told.
    pub heartbeats: u64,
    /// Time that they speak of, in milliseconds.
    pub told_ms: u64,
    /// Most connections.
    pub connections: Peak,
    /// Most bits per second sent.
    pub egress_bits_per_second: Peak,
    /// Most requests a second, of an interval.
    pub requests_per_second: Peak,
    /// Most processor time, thousandths of a processor.
    pub cpu_millicores: Peak,
    /// Processors it might use, thousandths.
    pub cpu_millicores_max: u64,
    /// Processor time on average, thousandths of what it might use.
    pub cpu_mean_permille: Option<u64>,
    /// Most memory.
    pub memory_bytes: Peak,
    /// The bound of it; 0: none was known.
    pub memory_bytes_max: u64,
    /// Requests.
    pub requests: u64,
    /// Refused by a bound.
    pub refused: u64,
    /// Bytes sent.
    pub egress_bytes: u64,
    /// Bytes taken.
    pub ingress_bytes: u64,
}

/// A node while heartbeats come.
#[derive(Debug, Default)]
pub(super) struct Tally {
    node: Option<Node>,
    /// Processor time used and allowed, thousandths of a processor times milliseconds.
    cpu: (u128, u128),
}

impl Tally {
    pub(super) fn take(&mut self, time: UtcTime, health: &Health) {
        let at = Timestamp(time);
        let none = Peak { value: 0, at };
        let node = self.node.get_or_insert_with(|| Node {
            node: String::new(),
            role: health.role.name(),
            heartbeats: 0,
            told_ms: 0,
            connections: none,
            egress_bits_per_second: none,
            requests_per_second: none,
            cpu_millicores: none,
            cpu_millicores_max: 0,
            cpu_mean_permille: None,
            memory_bytes: none,
            memory_bytes_max: 0,
            requests: 0,
            refused: 0,
            egress_bytes: 0,
            ingress_bytes: 0,
        });
        node.heartbeats += 1;
        add(&mut node.told_ms, health.interval_ms);
        let per_second = health.requests.saturating_mul(1_000).checked_div(health.interval_ms).unwrap_or(0);
        for (peak, value) in [
            (&mut node.connections, health.connections),
            (&mut node.egress_bits_per_second, health.egress_bits_per_second),
            (&mut node.requests_per_second, per_second),
            (&mut node.cpu_millicores, health.cpu_millicores),
            (&mut node.memory_bytes, health.memory_bytes),
        ] {
            // Of equal peaks the first counts, in whatever order they come.
            if value > peak.value || (value == peak.value && at < peak.at) {
                *peak = Peak { value, at };
            }
        }
        node.cpu_millicores_max = node.cpu_millicores_max.max(health.cpu_millicores_max);
        node.memory_bytes_max = node.memory_bytes_max.max(health.memory_bytes_max);
        add(&mut node.requests, health.requests);
        add(&mut node.refused, health.refused);
        add(&mut node.egress_bytes, health.egress_bytes);
        add(&mut node.ingress_bytes, health.ingress_bytes);
        let weighed = |millicores: u64| u128::from(millicores) * u128::from(health.interval_ms);
        self.cpu.0 = self.cpu.0.saturating_add(weighed(health.cpu_millicores));
        self.cpu.1 = self.cpu.1.saturating_add(weighed(health.cpu_millicores_max));
    }

    pub(super) fn finish(self, name: String) -> Option<Node> {
        // Halved until it fits: the ratio stays.
        let (mut used, mut allowed) = self.cpu;
        while allowed > u128::from(u64::MAX) || used > u128::from(u64::MAX) {
            (used, allowed) = (used / 2, allowed / 2);
        }
        let fit = |value: u128| u64::try_from(value).unwrap_or(u64::MAX);
        self.node.map(|node| Node { node: name, cpu_mean_permille: permille(fit(used), fit(allowed)), ..node })
    }
}
