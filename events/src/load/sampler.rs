// SPDX-License-Identifier: Apache-2.0
//! From one reading of a node's counters to the next: a heartbeat, and what has become short or no longer is.

use std::time::Duration;

use headwater_media::UtcTime;
use headwater_net::Machine;
use tokio::time::Instant;
use tracing::{info, warn};

use super::congestion::{Change, RESOURCES, Threshold, Watched};
use super::{Load, Reading};
use crate::config::{Alerts, Config};
use crate::event::{Congestion, Data, Health, Resource, Role};
use crate::publisher::Publisher;

/// Share of the connections that may be open, in percent, at which they count as short.
const CONNECTIONS_PERCENT: u64 = 90;
/// Share of what came that bounds of the node refused, in percent, at which it counts as congested.
const REFUSALS_PERCENT: u64 = 5;
/// Refusals in a sample below which their share says nothing.
const REFUSALS_MIN: u64 = 10;

/// What a node may use at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Processor time a second, thousandths of one processor.
    pub cpu_millicores: u64,
    /// Memory; 0: none is known.
    pub memory_bytes: u64,
}

impl Bounds {
    /// What the machine leaves to this process, and of its memory what the configuration does, where that says.
    pub fn look(memory_bytes_max: Option<u64>) -> Self {
        let machine = Machine::look();
        let memory = machine.memory_bytes.into_iter().chain(memory_bytes_max).min();
        Self { cpu_millicores: machine.cpu_millicores, memory_bytes: memory.unwrap_or(0) }
    }
}

/// Makes heartbeats of readings.
#[derive(Debug)]
pub struct Sampler {
    publisher: Publisher,
    role: Role,
    /// None: nobody is told of load, only of congestion.
    every: Option<Duration>,
    alerts: Alerts,
    bounds: Bounds,
    load: Load,
    watched: [Watched; RESOURCES.len()],
    before: (Reading, Instant),
}

impl Sampler {
    /// Of a node whose counters begin with `first`; tells by `publisher`.
    pub fn new(publisher: Publisher, role: Role, config: &Config, bounds: Bounds, first: (Reading, Instant)) -> Self {
        let every = Duration::from_millis(u64::from(config.health_ms));
        Self {
            publisher,
            role,
            every: (!every.is_zero()).then_some(every),
            alerts: config.alerts.clone(),
            bounds,
            load: Load::default(),
            watched: Default::default(),
            before: first,
        }
    }

    /// What is short, as the latest sample has it.
    pub fn load(&self) -> Load {
        self.load.clone()
    }

    /// How often it wants a reading; `None` if it publishes no heartbeats.
    pub const fn every(&self) -> Option<Duration> {
        self.every
    }

    /// Takes a reading and publishes what follows from it.
    pub fn sample(&mut self, reading: &Reading, now: Instant, utc: UtcTime) -> Health {
        let (before, since) = std::mem::replace(&mut self.before, (*reading, now));
        let mut health = self.health(&before, reading, now.saturating_duration_since(since));
        for (at, resource) in RESOURCES.into_iter().enumerate() {
            let (used, threshold) = self.used(resource, &health, &before, reading);
            if let Some(change) = self.watched[at].sample(used, threshold) {
                self.tell(utc, resource, change, used.unwrap_or(0), threshold);
            }
        }
        let short = RESOURCES.iter().zip(&self.watched).filter(|(_, watched)| watched.is_short());
        health.congested = short.map(|(resource, _)| *resource).collect();
        if self.every.is_some() {
            self.publisher.publish(utc, Data::Health(health.clone()));
        }
        health
    }

    fn health(&self, before: &Reading, now: &Reading, interval: Duration) -> Health {
        let of_interval = |now: u64, before: u64| now.saturating_sub(before);
        let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1);
        let egress_bytes = of_interval(now.passed.sent_bytes, before.passed.sent_bytes);
        let cpu = now.cpu.unwrap_or_default().saturating_sub(before.cpu.unwrap_or_default());
        Health {
            node: self.publisher.source().node().to_owned(),
            role: self.role,
            interval_ms,
            connections: now.connections,
            requests: of_interval(now.passed.requests, before.passed.requests),
            refused: of_interval(now.refused, before.refused),
            egress_bytes,
            ingress_bytes: of_interval(now.passed.received_bytes, before.passed.received_bytes),
            egress_bits_per_second: share(egress_bytes.saturating_mul(8), 1_000, interval_ms),
            cpu_millicores: share(u64::try_from(cpu.as_micros()).unwrap_or(u64::MAX), 1, interval_ms),
            cpu_millicores_max: self.bounds.cpu_millicores,
            memory_bytes: now.memory_bytes.unwrap_or(0),
            memory_bytes_max: self.bounds.memory_bytes,
            channels: now.channels,
            congested: Vec::new(),
        }
    }

    /// How much of a resource is used, in percent, and at what it is short.
    fn used(&self, resource: Resource, health: &Health, before: &Reading, now: &Reading) -> (Option<u64>, Threshold) {
        let of = |used: u64, max: u64| (max > 0).then(|| share(used, 100, max));
        let (used, raised_at) = match resource {
            Resource::Cpu => {
                (of(health.cpu_millicores, health.cpu_millicores_max), u64::from(self.alerts.cpu_percent_max))
            }
            Resource::Memory => {
                (of(health.memory_bytes, health.memory_bytes_max), u64::from(self.alerts.memory_percent_max))
            }
            Resource::Egress => {
                let used = of(health.egress_bits_per_second, self.alerts.egress_bits_per_second_max);
                (used, u64::from(self.alerts.egress_percent_max))
            }
            Resource::Connections => (of(now.connections, now.connections_max), CONNECTIONS_PERCENT),
            Resource::Refusals => {
                let refused = now.refused_by_node.saturating_sub(before.refused_by_node);
                let used = if refused < REFUSALS_MIN { Some(0) } else { of(refused, refused.max(health.requests)) };
                (used, REFUSALS_PERCENT)
            }
        };
        (used.filter(|_| raised_at > 0), Threshold { raised_at })
    }

    fn tell(&self, utc: UtcTime, resource: Resource, change: Change, used_percent: u64, threshold: Threshold) {
        let node = self.publisher.source().node().to_owned();
        let (raised_at_percent, cleared_below_percent) = (threshold.raised_at, threshold.cleared_below());
        let (role, name) = (self.role, resource.name());
        let congestion = Congestion { node, role, resource, used_percent, raised_at_percent, cleared_below_percent };
        match change {
            Change::Raised => warn!(resource = name, used_percent, "congestion"),
            Change::Cleared => info!(resource = name, used_percent, "congestion is over"),
        }
        self.load.set(resource, change == Change::Raised);
        let data = match change {
            Change::Raised => Data::CongestionRaised(congestion),
            Change::Cleared => Data::CongestionCleared(congestion),
        };
        self.publisher.publish(utc, data);
    }
}

/// `amount` × `times` ÷ `by`, whatever their size.
fn share(amount: u64, times: u64, by: u64) -> u64 {
    let wide = u128::from(amount) * u128::from(times) / u128::from(by.max(1));
    u64::try_from(wide).unwrap_or(u64::MAX)
}
