// SPDX-License-Identifier: Apache-2.0
//! Every metric of the origin, declared once with its unit, help and labels (OpenMetrics); the reference is written from
//! the declarations.

use std::sync::atomic::Ordering;

use headwater_media::{ChannelId, TrackId};
use headwater_net::limits::Tally;
use headwater_net::metrics::{Declared, Declaring, Process, table};
use parking_lot::Mutex;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

pub use headwater_net::metrics::{Counter, Gauge, Seconds};

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

/// A rule that a channel's own manifests have broken.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RuleLabel {
    /// The channel.
    pub channel: String,
    /// The rule's name.
    pub rule: &'static str,
}

/// A bound that refuses.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct BoundLabel {
    /// Its name in the reference of limits.
    pub bound: &'static str,
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

/// Of one kind of object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ClassLabel {
    /// What was asked for.
    pub class: Class,
}

/// Of one state of a channel.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StateLabel {
    /// The state.
    pub state: &'static str,
}

/// Of one outcome.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabel {
    /// `ok` or `refused`.
    pub outcome: &'static str,
}

/// Of one kind of response.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ServedLabel {
    /// What was asked for.
    pub class: Class,
    /// How it was answered.
    pub status: u16,
}

/// Why requests of encoders are refused.
pub(crate) const REFUSALS: [&str; 13] = [
    "idle",
    "no_header",
    "too_big",
    "too_many",
    "too_many_tracks",
    "codec",
    "stopping",
    "broken_media",
    "broken_connection",
    "content_range",
    "inflate_ratio",
    "memory",
    "unfinished",
];

/// The origin's metrics.
#[derive(Debug)]
pub struct Metrics {
    /// Guards the exposition; held for a scrape.
    registry: Mutex<Registry>,
    declared: Vec<Declared>,
    /// Bytes received from encoders.
    pub ingest_bytes: Family<ChannelLabel, Counter>,
    /// Ingest requests refused, by reason.
    pub ingest_refused: Family<DefectLabel, Counter>,
    /// Pushes answered before the log of events had what they published.
    pub ingest_unlogged: Counter,
    /// Open request bodies of encoders.
    pub ingest_open: Family<ChannelLabel, Gauge>,
    /// How late media comes.
    pub ingest_lag: Family<ChannelLabel, Seconds>,
    /// How much later it comes than at first.
    pub drift_seconds: Family<ChannelLabel, Seconds>,
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
    /// What was refused by a bound.
    pub refused: Family<BoundLabel, Counter>,
    /// Requests parked for what comes next.
    pub waiters: Gauge,
    /// Playlists rendered.
    pub renders: Counter,
    /// Responses by kind and status.
    pub served: Family<ServedLabel, Counter>,
    /// Bytes sent to viewers, by kind.
    pub served_bytes: Family<ClassLabel, Counter>,
    /// Reloads of the configuration.
    pub reloads: Family<OutcomeLabel, Counter>,
    /// Manifests of our own tested against the rules.
    pub self_check_texts: Family<ChannelLabel, Counter>,
    /// Rules that they broke.
    pub self_check_violations: Family<RuleLabel, Counter>,
    /// What is looked at when it is asked for.
    pub(crate) scraped: Scraped,
}

/// Metrics that are read off the origin's state at a scrape; rows of what is gone go with it.
#[derive(Debug, Default)]
pub(crate) struct Scraped {
    pub(crate) channels: Family<StateLabel, Gauge>,
    pub(crate) stored_bytes: Family<ChannelLabel, Gauge>,
    pub(crate) unpublished_bytes: Family<ChannelLabel, Gauge>,
    pub(crate) window: Family<TrackLabel, Seconds>,
    pub(crate) last_part_age: Family<TrackLabel, Seconds>,
    pub(crate) connections: Gauge,
    pub(crate) memory_max: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

const CHANNEL: &[&str] = &["channel"];
const TRACK: &[&str] = &["channel", "track"];
const DEFECT: &[&str] = &["channel", "defect"];
const RULE: &[&str] = &["channel", "rule"];

impl Metrics {
    /// Registers every metric.
    pub fn new() -> Self {
        let mut root = Registry::default();
        let publish_delay = Family::<ChannelLabel, Histogram>::new_with_constructor(|| {
            Histogram::new(exponential_buckets(0.0005, 2.0, 15))
        });
        let mut this = Self {
            registry: Mutex::new(Registry::default()),
            declared: Vec::new(),
            ingest_bytes: Family::default(),
            ingest_refused: Family::default(),
            ingest_unlogged: Counter::default(),
            ingest_open: Family::default(),
            ingest_lag: Family::default(),
            drift_seconds: Family::default(),
            defects: Family::default(),
            parts: Family::default(),
            segments: Family::default(),
            gaps: Family::default(),
            publish_delay,
            refused: Family::default(),
            waiters: Gauge::default(),
            renders: Counter::default(),
            served: Family::default(),
            self_check_texts: Family::default(),
            self_check_violations: Family::default(),
            served_bytes: Family::default(),
            reloads: Family::default(),
            scraped: Scraped::default(),
        };
        let mut d = Declaring::new(&mut root, "headwater");
        let (bytes, seconds) = (|| Some(Unit::Bytes), || Some(Unit::Seconds));
        d.add("ingest", bytes(), CHANNEL, "Bytes received from encoders", this.ingest_bytes.clone());
        d.add(
            "ingest_refused",
            None,
            DEFECT,
            "Ingest requests refused, by reason; those of no known channel have none",
            this.ingest_refused.clone(),
        );
        d.add(
            "ingest_unlogged",
            None,
            &[],
            "Pushes answered before the log of events had what they published: it cannot be written, or is slow",
            this.ingest_unlogged.clone(),
        );
        d.add(
            "ingest_open_bodies",
            None,
            CHANNEL,
            "Request bodies of encoders that are open now",
            this.ingest_open.clone(),
        );
        d.add(
            "ingest_lag",
            seconds(),
            CHANNEL,
            "Arrival of the newest part against the end of its media on its own clock",
            this.ingest_lag.clone(),
        );
        d.add(
            "self_check_texts",
            None,
            CHANNEL,
            "Playlists and MPDs of our own tested against the rules",
            this.self_check_texts.clone(),
        );
        d.add(
            "self_check_violations",
            None,
            RULE,
            "Rules that our own playlists and MPDs broke, by the rule's name",
            this.self_check_violations.clone(),
        );
        d.add(
            "source_drift",
            seconds(),
            CHANNEL,
            "Least lag lately against the least at first; grows when the encoder's clock is slow",
            this.drift_seconds.clone(),
        );
        d.add("input_defects", None, DEFECT, "Defects of the input that were survived, by kind", this.defects.clone());
        d.add("parts", None, TRACK, "Parts published", this.parts.clone());
        d.add("segments", None, TRACK, "Segments completed", this.segments.clone());
        d.add("gaps", None, TRACK, "Segments declared lost", this.gaps.clone());
        d.add(
            "part_publish_delay",
            seconds(),
            CHANNEL,
            "From the end of a part's media, on its own clock, to its publication",
            this.publish_delay.clone(),
        );
        let s = &this.scraped;
        d.add(
            "last_part_age",
            seconds(),
            TRACK,
            "Now against the end of the newest part's media",
            s.last_part_age.clone(),
        );
        d.add("window", seconds(), TRACK, "Media that playlists list", s.window.clone());
        d.add("stored", bytes(), CHANNEL, "Media bytes held in memory", s.stored_bytes.clone());
        d.add("unpublished", bytes(), CHANNEL, "Media bytes read and not yet published", s.unpublished_bytes.clone());
        d.add("stored_max", bytes(), &[], "Bound of media bytes over all channels", s.memory_max.clone());
        d.add("channels", None, &["state"], "Channels by state", s.channels.clone());
        d.add("connections", None, &[], "Connections open now", s.connections.clone());
        d.add("refused", None, &["bound"], "What was refused because it was over a bound", this.refused.clone());
        d.add("waiters", None, &[], "Requests parked for what comes next", this.waiters.clone());
        d.add("playlists_rendered", None, &[], "Playlists rendered; one serves every waiter", this.renders.clone());
        d.add("responses", None, &["class", "status"], "Responses to viewers by kind and status", this.served.clone());
        d.add(
            "response",
            bytes(),
            &["class"],
            "Bytes of response bodies to viewers, by kind; of a segment in progress as they are sent",
            this.served_bytes.clone(),
        );
        d.add(
            "configuration_reloads",
            None,
            &["outcome"],
            "Reloads of the configuration, by outcome",
            this.reloads.clone(),
        );
        d.add("build", None, &["version"], "This program", Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]));
        let declared = d.finish();
        root.register_collector(Box::new(Process::new()));
        this.declared = declared.into_iter().chain(Process::declared()).collect();
        *this.registry.lock() = root;
        this
    }

    /// Adds what others measure to the exposition.
    pub fn extend(&self, register: impl FnOnce(&mut Registry)) {
        register(&mut self.registry.lock());
    }

    /// Copies what every bound has counted, the listener's too.
    pub(crate) fn count_refused(&self, tally: &Tally) {
        for (bound, count) in tally.refused() {
            self.refused.get_or_create(&BoundLabel { bound }).inner().store(count, Ordering::Relaxed);
        }
    }

    /// Tells those of the events beside its own.
    pub(crate) fn tell_events(&self, events: &headwater_events::Metrics) {
        events.register(&mut self.registry.lock());
    }

    /// Every metric as it was declared.
    pub fn declared(&self) -> &[Declared] {
        &self.declared
    }

    /// Drops the rows of a channel that is gone.
    pub(crate) fn forget<'a>(
        &self,
        id: &ChannelId,
        tracks: impl Iterator<Item = &'a TrackId>,
        defects: impl Iterator<Item = &'static str>,
    ) {
        let channel = || id.to_string();
        let label = ChannelLabel { channel: channel() };
        self.ingest_bytes.remove(&label);
        self.ingest_open.remove(&label);
        self.ingest_lag.remove(&label);
        self.drift_seconds.remove(&label);
        self.publish_delay.remove(&label);
        for track in tracks {
            let label = TrackLabel { channel: channel(), track: track.to_string() };
            self.parts.remove(&label);
            self.segments.remove(&label);
            self.gaps.remove(&label);
        }
        for defect in defects {
            self.defects.remove(&DefectLabel { channel: channel(), defect });
        }
        for defect in REFUSALS {
            self.ingest_refused.remove(&DefectLabel { channel: channel(), defect });
        }
    }

    /// The exposition text (OpenMetrics). `look` reads what is told by the state of the moment.
    pub(crate) fn scrape(&self, look: impl FnOnce(&Scraped)) -> String {
        let registry = self.registry.lock();
        let Scraped { channels, stored_bytes, unpublished_bytes, window, last_part_age, .. } = &self.scraped;
        channels.clear();
        stored_bytes.clear();
        unpublished_bytes.clear();
        window.clear();
        last_part_age.clear();
        look(&self.scraped);
        let mut text = String::new();
        // Writing into a String does not fail.
        let _ = encode(&mut text, &registry);
        text
    }
}

/// The reference page of the metrics.
pub fn page() -> String {
    format!(
        "# Metrics\n\n<!-- Written by `make reference` from the declarations in origin/src/metrics.rs. -->\n\n\
         `GET /metrics`, OpenMetrics text, open to anybody. A channel that is removed takes its rows with it.\n\n{}",
        table(Metrics::new().declared())
    )
}
