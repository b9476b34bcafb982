// SPDX-License-Identifier: Apache-2.0
//! Every metric of events, declared once; origin and shield tell them beside their own.

use headwater_net::metrics::{Counter, Declared, Declaring, Gauge, Seconds, table};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::event::Kind;

/// Of one type.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TypeLabel {
    /// Its name.
    pub r#type: &'static str,
}

/// Of one type and one cause.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DroppedLabel {
    /// Its name.
    pub r#type: &'static str,
    /// Why it was dropped.
    pub reason: &'static str,
}

/// Why an event was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The queue to the log was full.
    Queue,
    /// It is larger than an event may be.
    TooBig,
    /// It came when the log was closed already.
    Stopped,
    /// Whoever holds the log's files was too far behind it.
    Held,
}

impl Reason {
    /// As the label's value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::TooBig => "too_big",
            Self::Stopped => "stopped",
            Self::Held => "held",
        }
    }
}

/// The metrics of events; clones share their values.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Events stored, by type.
    pub published: Family<TypeLabel, Counter>,
    /// Events that were in the log already.
    pub repeated: Counter,
    /// Events dropped, by type and cause.
    pub dropped: Family<DroppedLabel, Counter>,
    /// Events that wait to be stored.
    pub queued: Gauge,
    /// From publication to the log.
    pub delay: Histogram,
    /// Bytes of the log.
    pub log_bytes: Gauge,
    /// Age of the log's oldest event.
    pub log_age: Seconds,
    /// Where the log ends.
    pub log_end: Gauge,
    /// Writes that failed; they are tried again.
    pub write_errors: Counter,
    /// Bytes of the log that are no records.
    pub damaged_bytes: Counter,
    /// Who follows the feed now.
    pub followers: Gauge,
    /// Followers that were dropped, or refused.
    pub followers_dropped: Family<FollowerLabel, Counter>,
    /// Posts of the webhook, by what became of them.
    pub webhook: Family<OutcomeLabel, Counter>,
}

/// What became of a post, or of a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabel {
    /// Its name.
    pub outcome: &'static str,
}

/// Why a follower was dropped.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FollowerLabel {
    /// `slow`: it took nothing for too long; `refused`: one too many.
    pub reason: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            published: Family::default(),
            repeated: Counter::default(),
            dropped: Family::default(),
            queued: Gauge::default(),
            delay: Histogram::new(exponential_buckets(0.0001, 2.0, 18)),
            log_bytes: Gauge::default(),
            log_age: Seconds::default(),
            log_end: Gauge::default(),
            write_errors: Counter::default(),
            damaged_bytes: Counter::default(),
            followers: Gauge::default(),
            followers_dropped: Family::default(),
            webhook: Family::default(),
        }
    }
}

impl Metrics {
    /// Declares them in an exposition; says what was declared.
    pub fn register(&self, root: &mut Registry) -> Vec<Declared> {
        let mut d = Declaring::new(root, "headwater_events");
        let (bytes, seconds) = (|| Some(Unit::Bytes), || Some(Unit::Seconds));
        d.add("published", None, &["type"], "Events that the log took, by type", self.published.clone());
        d.add(
            "repeated",
            None,
            &[],
            "Events that were published again, as after a restart, and are in the log already",
            self.repeated.clone(),
        );
        d.add(
            "dropped",
            None,
            &["type", "reason"],
            "Events dropped: `queue` was full, `too_big`, `stopped` already, or `held` too long for who is behind",
            self.dropped.clone(),
        );
        d.add("queued", None, &[], "Events that wait for the log", self.queued.clone());
        d.add("publish_delay", seconds(), &[], "From publication to the log", self.delay.clone());
        d.add("log", bytes(), &[], "Bytes of the log", self.log_bytes.clone());
        d.add("log_age", seconds(), &[], "Age of the oldest event in the log", self.log_age.clone());
        d.add("log_end", None, &[], "Offset of the next event", self.log_end.clone());
        d.add(
            "log_write_errors",
            None,
            &[],
            "Writes of the log that failed and were tried again",
            self.write_errors.clone(),
        );
        d.add(
            "log_damaged",
            bytes(),
            &[],
            "Bytes of the log that were found to be no records",
            self.damaged_bytes.clone(),
        );
        d.add("followers", None, &[], "Who follows the feed now", self.followers.clone());
        d.add(
            "followers_dropped",
            None,
            &["reason"],
            "Followers of the feed that were dropped: `slow`, or `refused` as one too many",
            self.followers_dropped.clone(),
        );
        d.add(
            "webhook_posts",
            None,
            &["outcome"],
            "Posts of the webhook: `taken`, `refused`, or `failed` and tried again; `given_up`: events after their last try",
            self.webhook.clone(),
        );
        d.finish()
    }

    /// Counts an event that the log took.
    pub(crate) fn stored(&self, kind: Kind) {
        self.published.get_or_create(&TypeLabel { r#type: kind.name() }).inc();
    }

    /// Counts events that are dropped.
    pub(crate) fn count_dropped(&self, kind: Kind, reason: Reason, count: u64) {
        self.dropped.get_or_create(&DroppedLabel { r#type: kind.name(), reason: reason.name() }).inc_by(count);
    }

    /// Counts a post of the webhook.
    pub(crate) fn webhook_post(&self, outcome: &'static str) {
        self.webhook.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// Posts of the webhook so far that came to this.
    #[cfg(test)]
    pub(crate) fn webhook_posts(&self, outcome: &'static str) -> u64 {
        self.webhook.get_or_create(&OutcomeLabel { outcome }).get()
    }

    /// Counts a follower that is sent away.
    pub(crate) fn drop_follower(&self, reason: &'static str) {
        self.followers_dropped.get_or_create(&FollowerLabel { reason }).inc();
    }
}

/// The events' part of the reference page of the metrics.
pub fn page() -> String {
    let declared = Metrics::default().register(&mut Registry::default());
    format!("\n## Events\n\nTold by origin and shield, each of its own node.\n\n{}", table(&declared))
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn what_is_counted_is_told_under_its_declared_name() {
        let (metrics, mut registry) = (Metrics::default(), Registry::default());
        let declared = metrics.register(&mut registry);
        metrics.stored(Kind::PartReady);
        metrics.count_dropped(Kind::PartReady, Reason::Queue, 3);
        metrics.drop_follower("slow");
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for row in [
            "headwater_events_published_total{type=\"part.ready\"} 1\n",
            "headwater_events_dropped_total{type=\"part.ready\",reason=\"queue\"} 3\n",
            "headwater_events_followers_dropped_total{reason=\"slow\"} 1\n",
        ] {
            assert!(text.contains(row), "{row} is not in\n{text}");
        }
        // Nothing is told of a family that has no row yet.
        let told: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        let is_declared = |told: &str| {
            let of = |metric: &Declared| told == format!("{} {}", metric.name.trim_end_matches("_total"), metric.kind);
            declared.iter().any(of)
        };
        assert!(told.len() > 10, "{text}");
        for told in told {
            assert!(is_declared(told), "{told} is not declared");
        }
    }
}
