// SPDX-License-Identifier: Apache-2.0
//! What came of events.

use headwater_events::Kind;
use headwater_net::metrics::{Counter, Declaring, Gauge};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Unit;

labels! {
    /// What became of an object that an event told of.
    Ahead {
        /// It was fetched.
        Filled = "filled",
        /// It was held already.
        Held = "held",
        /// It was on its way already.
        Arriving = "arriving",
        /// The origin did not have it.
        Missing = "missing",
        /// It could not be fetched, or not be kept.
        Failed = "failed",
        /// There was no room among those to be fetched.
        Dropped = "dropped",
    }
}

labels! {
    /// Why nothing was done about an event.
    Ignored {
        /// No route leads to what it tells of.
        Route = "route",
        /// What it tells of is no object of a stream.
        Path = "path",
        /// Nobody asks for what it tells of.
        Unasked = "unasked",
        /// It was seen before.
        Twice = "twice",
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TypeLabel {
    r#type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// Of one source of events.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct SourceLabel {
    pub(crate) source: String,
}

/// What events brought about.
#[derive(Debug)]
pub struct Followed {
    events: Family<TypeLabel, Counter>,
    ignored: Family<ReasonLabel, Counter>,
    ignored_by: [Counter; Ignored::ALL.len()],
    prefetches: Family<OutcomeLabel, Counter>,
    prefetches_by: [Counter; Ahead::ALL.len()],
    /// What was fetched ahead and then asked for.
    pub(crate) used: Counter,
    /// What was fetched ahead and let go of unasked.
    pub(crate) unused: Counter,
    /// From the arrival of an event to the last byte of what it told of.
    pub(crate) whole_after: Histogram,
    pub(crate) digest_mismatches: Counter,
    pub(crate) running: Gauge,
    pub(crate) waiting: Gauge,
    pub(crate) up: Family<SourceLabel, Gauge>,
    pub(crate) gaps: Family<SourceLabel, Counter>,
}

impl Default for Followed {
    fn default() -> Self {
        let (ignored, prefetches) = (Family::default(), Family::default());
        let of = |why: Ignored| ignored.get_or_create_owned(&ReasonLabel { reason: why.as_str() });
        let outcome = |how: Ahead| prefetches.get_or_create_owned(&OutcomeLabel { outcome: how.as_str() });
        Self {
            events: Family::default(),
            ignored_by: Ignored::ALL.map(of),
            prefetches_by: Ahead::ALL.map(outcome),
            ignored,
            prefetches,
            used: Counter::default(),
            unused: Counter::default(),
            whole_after: Histogram::new(exponential_buckets(0.0005, 2.0, 14)),
            digest_mismatches: Counter::default(),
            running: Gauge::default(),
            waiting: Gauge::default(),
            up: Family::default(),
            gaps: Family::default(),
        }
    }
}

impl Followed {
    pub(super) fn declare(&self, d: &mut Declaring<'_>) {
        let seconds = || Some(Unit::Seconds);
        d.add("follow_events", None, &["type"], "Events that were followed", self.events.clone());
        let ignored = "Events of objects about which nothing was done";
        d.add("follow_ignored", None, &["reason"], ignored, self.ignored.clone());
        let up = "1: events of this source come; 0: some may be missing, or it is broken";
        d.add("follow_up", None, &["source"], up, self.up.clone());
        d.add("follow_gaps", None, &["source"], "Times that events may have been missed", self.gaps.clone());
        let prefetches = "Objects that events told of, by what became of them";
        d.add("prefetches", None, &["outcome"], prefetches, self.prefetches.clone());
        d.add("prefetched_used", None, &[], "Objects fetched ahead that were asked for", self.used.clone());
        d.add("prefetched_unused", None, &[], "Those that left without having been asked for", self.unused.clone());
        let whole = "From an event's arrival to the last byte of what it told of";
        d.add("prefetch_duration", seconds(), &[], whole, self.whole_after.clone());
        d.add("prefetching", None, &[], "Objects that are being fetched ahead", self.running.clone());
        d.add("prefetch_waiting", None, &[], "Objects that are to be", self.waiting.clone());
        let mismatches = "Objects whose bytes were others than their event told";
        d.add("digest_mismatches", None, &[], mismatches, self.digest_mismatches.clone());
    }

    /// Counts an event.
    pub(crate) fn event(&self, kind: Kind) {
        self.events.get_or_create(&TypeLabel { r#type: kind.name() }).inc();
    }

    /// Counts what became of an object that an event told of.
    pub(crate) fn ahead(&self, outcome: Ahead) {
        self.prefetches_by[outcome as usize].inc();
    }

    /// Counts an event about which nothing was done.
    pub(crate) fn ignored(&self, why: Ignored) {
        self.ignored_by[why as usize].inc();
    }
}
