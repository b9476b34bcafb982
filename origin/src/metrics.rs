// SPDX-License-Identifier: Apache-2.0
//! Every metric of the origin, declared once with its unit and help (OpenMetrics).

use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// A number that only grows.
pub type Counter = counter::Counter;
/// A number that goes up and down.
pub type Gauge = gauge::Gauge;

/// Of one channel.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ChannelLabel {
    /// The channel.
    pub channel: String,
}

/// Of one track.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TrackLabel {
    /// The channel.
    pub channel: String,
    /// The track.
    pub track: String,
}

/// A defect of a channel's input.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DefectLabel {
    /// The channel.
    pub channel: String,
    /// What was wrong.
    pub defect: &'static str,
}

/// Kinds of what is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, missing_docs)]
pub enum Class {
    playlist,
    blocking,
    manifest,
    header,
    segment,
    part,
}

/// Of one kind of response.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ServedLabel {
    /// What was asked for.
    pub class: Class,
    /// How it was answered.
    pub status: u16,
}

/// The origin's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    /// Bytes received from encoders.
    pub ingest_bytes: Family<ChannelLabel, Counter>,
    /// Ingest requests refused, by status.
    pub ingest_refused: Family<DefectLabel, Counter>,
    /// Open request bodies of encoders.
    pub ingest_open: Family<ChannelLabel, Gauge>,
    /// Defects survived.
    pub defects: Family<DefectLabel, Counter>,
    /// Parts published.
    pub parts: Family<TrackLabel, Counter>,
    /// Segments completed.
    pub segments: Family<TrackLabel, Counter>,
    /// Segments declared lost.
    pub gaps: Family<TrackLabel, Counter>,
    /// From the end of a part's media to its publication.
    pub publish_delay: Family<ChannelLabel, Histogram>,
    /// Media bytes in memory.
    pub stored_bytes: Family<ChannelLabel, Gauge>,
    /// Requests parked for what comes next.
    pub waiters: Gauge,
    /// Playlists rendered.
    pub renders: Counter,
    /// Responses by kind and status.
    pub served: Family<ServedLabel, Counter>,
    /// Source clock against UTC.
    pub drift_seconds: Family<ChannelLabel, gauge::Gauge<f64, AtomicU64>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Registers every metric.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("headwater");
        let publish_delay = Family::<ChannelLabel, Histogram>::new_with_constructor(|| {
            Histogram::new(exponential_buckets(0.0005, 2.0, 15))
        });
        let this = Self {
            ingest_bytes: Family::default(),
            ingest_refused: Family::default(),
            ingest_open: Family::default(),
            defects: Family::default(),
            parts: Family::default(),
            segments: Family::default(),
            gaps: Family::default(),
            publish_delay,
            stored_bytes: Family::default(),
            waiters: Gauge::default(),
            renders: Counter::default(),
            served: Family::default(),
            drift_seconds: Family::default(),
            registry: Mutex::new(Registry::default()),
        };
        registry.register_with_unit("ingest", "Bytes received from encoders", Unit::Bytes, this.ingest_bytes.clone());
        registry.register("ingest_refused", "Ingest requests refused, by reason", this.ingest_refused.clone());
        registry.register(
            "ingest_open_bodies",
            "Request bodies of encoders that are open now",
            this.ingest_open.clone(),
        );
        registry.register("input_defects", "Defects of the input that were survived, by kind", this.defects.clone());
        registry.register("parts", "Parts published", this.parts.clone());
        registry.register("segments", "Segments completed", this.segments.clone());
        registry.register("gaps", "Segments declared lost", this.gaps.clone());
        registry.register_with_unit(
            "part_publish_delay",
            "From the end of a part's media, on its own clock, to its publication",
            Unit::Seconds,
            this.publish_delay.clone(),
        );
        registry.register_with_unit("stored", "Media bytes held in memory", Unit::Bytes, this.stored_bytes.clone());
        registry.register("waiters", "Requests parked for what comes next", this.waiters.clone());
        registry.register("playlists_rendered", "Playlists rendered; one serves every waiter", this.renders.clone());
        registry.register("responses", "Responses to viewers by kind and status", this.served.clone());
        registry.register_with_unit(
            "source_drift",
            "Arrival of a track's newest sample against its own time; grows when the encoder's clock is slow",
            Unit::Seconds,
            this.drift_seconds.clone(),
        );
        *this.registry.lock() = registry;
        this
    }

    /// The exposition text (OpenMetrics).
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing into a String does not fail.
        let _ = encode(&mut text, &self.registry.lock());
        text
    }
}
