// SPDX-License-Identifier: Apache-2.0
//! What is measured of Kafka.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use headwater_net::metrics::{Counter, Declaring, Gauge};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Unit;
use rdkafka::error::RDKafkaErrorCode;
use tracing::{info, warn};

use crate::event::Kind;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Dropped {
    kind: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failed {
    error: String,
}

/// Why an event is not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The log has dropped it before the brokers took it.
    Log,
    /// The brokers do not take it.
    Refused,
}

impl Reason {
    const fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Refused => "refused",
        }
    }
}

/// The numbers of the sink; cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    acknowledged: Counter,
    delay: Histogram,
    backlog_events: Gauge,
    backlog_bytes: Gauge,
    dropped: Family<Dropped, Counter>,
    errors: Family<Failed, Counter>,
    connected: Gauge,
    /// As `connected`, to say a change once.
    is_connected: Arc<AtomicBool>,
}

/// Bounds in seconds: a message waits for the linger and a round trip, or for a broker that is away.
const DELAYS: [f64; 13] = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0];

impl Default for Metrics {
    fn default() -> Self {
        Self {
            acknowledged: Counter::default(),
            delay: Histogram::new(DELAYS),
            backlog_events: Gauge::default(),
            backlog_bytes: Gauge::default(),
            dropped: Family::default(),
            errors: Family::default(),
            connected: Gauge::default(),
            is_connected: Arc::default(),
        }
    }
}

impl Metrics {
    /// Declares them.
    pub fn declare(&self, metrics: &mut Declaring<'_>) {
        metrics.add(
            "kafka_acknowledged",
            None,
            &[],
            "Events that the brokers have acknowledged",
            self.acknowledged.clone(),
        );
        metrics.add(
            "kafka_delay",
            Some(Unit::Seconds),
            &[],
            "From the log taking an event to the brokers acknowledging it",
            self.delay.clone(),
        );
        metrics.add(
            "kafka_backlog_events",
            None,
            &[],
            "Events in the log that the brokers have not acknowledged",
            self.backlog_events.clone(),
        );
        metrics.add("kafka_backlog", Some(Unit::Bytes), &[], "Bytes of these, about", self.backlog_bytes.clone());
        metrics.add(
            "kafka_dropped",
            None,
            &["kind", "reason"],
            "Events that the client had and that will not reach the brokers: the log dropped them before they could be sent again (`log`), or the brokers do not take them (`refused`)",
            self.dropped.clone(),
        );
        metrics.add(
            "kafka_errors",
            None,
            &["error"],
            "Errors of the client, by librdkafka's name",
            self.errors.clone(),
        );
        metrics.add("kafka_connected", None, &[], "1 while a broker answers", self.connected.clone());
    }

    pub(super) fn acknowledged(&self, delay: Duration) {
        self.acknowledged.inc();
        self.delay.observe(delay.as_secs_f64());
        self.connected();
    }

    pub(super) fn backlog(&self, events: u64, bytes: u64) {
        self.backlog_events.set(events as i64);
        self.backlog_bytes.set(bytes as i64);
    }

    pub(super) fn dropped(&self, kind: Option<Kind>, reason: Reason, events: u64) {
        let kind = kind.map_or("unknown", Kind::name);
        self.dropped.get_or_create(&Dropped { kind, reason: reason.name() }).inc_by(events);
    }

    pub(super) fn error(&self, code: Option<RDKafkaErrorCode>) {
        let error = code.map_or_else(|| "Unknown".to_owned(), |code| format!("{code:?}"));
        self.errors.get_or_create(&Failed { error }).inc();
    }

    pub(super) fn connected(&self) {
        if !self.is_connected.swap(true, Ordering::Relaxed) {
            self.connected.set(1);
            info!("kafka: a broker answers");
        }
    }

    pub(super) fn disconnected(&self) {
        if self.is_connected.swap(false, Ordering::Relaxed) {
            self.connected.set(0);
            warn!("kafka: no broker answers; events wait in the log");
        }
    }

    /// Events dropped so far, of whatever type.
    pub fn dropped_of(&self, kind: Kind) -> u64 {
        [Reason::Log, Reason::Refused]
            .into_iter()
            .map(|reason| self.dropped.get_or_create(&Dropped { kind: kind.name(), reason: reason.name() }).get())
            .sum()
    }

    /// Events that are not acknowledged, as last measured.
    pub fn backlog_events(&self) -> u64 {
        self.backlog_events.get().unsigned_abs()
    }

    /// Bytes of these.
    pub fn backlog_bytes(&self) -> u64 {
        self.backlog_bytes.get().unsigned_abs()
    }

    /// Events acknowledged so far.
    pub fn acknowledged_events(&self) -> u64 {
        self.acknowledged.get()
    }
}
