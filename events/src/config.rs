// SPDX-License-Identifier: Apache-2.0
//! What an operator says of events: the table `[events]` of an origin or a shield.

use std::path::PathBuf;

use headwater_net::access::KeyId;
use headwater_net::config::Error;
use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

use crate::event::Kinds;

/// Where events go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = Events)]
pub struct Config {
    /// What this node is called in its events; none: the name of the host.
    #[schema(example = "origin-a")]
    pub node: Option<String>,
    /// A folder for the log; none: `events` below `data_dir`, and without that in memory, where it ends with the process.
    #[schema(value_type = Option<String>, example = "/var/lib/headwater/events")]
    pub dir: Option<PathBuf>,
    /// Bytes of the log; its oldest events leave first, and before that the `part.ready` of its older half. In memory it has 33554432 at most.
    pub log_bytes_max: u64,
    /// How long an event stays in the log, in seconds.
    pub log_seconds: u32,
    /// When the log is forced to the disk: `never` (what the kernel has outlives the process, not the machine),
    /// `second`, or `always`, before anybody is told.
    pub sync: Sync,
    /// Events that may wait to be written; past it the oldest `part.ready` goes, counted.
    pub queue_max: usize,
    /// Who may follow the feed at once.
    pub followers_max: usize,
    /// How often a node tells of its load, in milliseconds; 0: never, and a shield not of its deliveries either.
    pub health_ms: u32,
    /// Kafka, beside the log.
    pub kafka: Option<Kafka>,
    /// Where alerts are posted.
    pub webhook: Option<Webhook>,
    /// Thresholds over windows.
    pub alerts: Alerts,
}

/// When the log is forced to the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sync {
    /// When the kernel likes.
    #[default]
    Never,
    /// Once a second.
    Second,
    /// With every write.
    Always,
}

/// Kafka, beside the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Kafka {
    /// Brokers, `host:port` separated by commas. Trusted: who answers there is believed.
    #[schema(example = "kafka-1:9092,kafka-2:9092")]
    pub bootstrap: String,
    /// What the names of the topics begin with.
    pub prefix: String,
    /// Make the topics that are not there; otherwise say what is missing.
    pub create_topics: bool,
    /// Partitions of a topic that is made.
    pub partitions: u32,
    /// Replicas of a topic that is made.
    pub replicas: u32,
    /// Bytes of events that the brokers have not acknowledged; past it the oldest `part.ready` are dropped first, counted.
    pub outbox_bytes_max: u64,
    /// `lz4`, `zstd` or `none`.
    pub compression: String,
    /// Longest wait for company of a message, in milliseconds.
    pub linger_ms: u32,
    /// Any property of librdkafka, `name=value`: TLS, SASL and the rest.
    #[schema(example = json!(["security.protocol=SASL_SSL", "sasl.mechanisms=SCRAM-SHA-512", "sasl.username=headwater"]))]
    pub properties: Vec<String>,
}

/// Where alerts are posted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Webhook {
    /// `http://` or `https://`; each alert is a POST of a CloudEvent.
    #[schema(example = "https://alerts.example/hooks/headwater")]
    pub url: String,
    /// With it each POST is signed: `Webhook-Signature: sha256=…`, the HMAC-SHA-256 of its body.
    pub key: Option<String>,
    /// The types that are posted.
    pub types: String,
}

/// Thresholds over windows; a value of 0 turns a rule off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Alerts {
    /// The window, in seconds.
    pub window_seconds: u32,
    /// How often one begins, in seconds; as the window: they do not overlap.
    pub slide_seconds: u32,
    /// How far out of order events may come, in milliseconds.
    pub delay_ms: u32,
    /// How long a window that was told waits for stragglers, in milliseconds; later ones are counted and left out.
    pub lateness_ms: u32,
    /// Hit ratio of a channel below this, in percent.
    pub hit_percent_min: u32,
    /// Requests to origins a second of a channel above this.
    pub origin_requests_per_second_max: u32,
    /// p95 of fills of a channel above this, in milliseconds.
    pub fill_p95_ms_max: u32,
    /// Answers with 5xx of a channel above this, in thousandths.
    pub error_permille_max: u32,
    /// Requests of a channel in a window below which no rule is applied to it.
    pub requests_min: u32,
    /// Processor time of a node at which congestion is raised, in percent; it is cleared a tenth below.
    pub cpu_percent_max: u32,
    /// Memory of a node, in percent of its bound, likewise.
    pub memory_percent_max: u32,
    /// Bits per second that a node may send; 0: not known, and no congestion from it.
    pub egress_bits_per_second_max: u64,
    /// Of these, in percent, likewise.
    pub egress_percent_max: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            node: None,
            dir: None,
            log_bytes_max: 1 << 30,
            log_seconds: 86_400,
            sync: Sync::Never,
            queue_max: 65_536,
            followers_max: 256,
            health_ms: 1_000,
            kafka: None,
            webhook: None,
            alerts: Alerts::default(),
        }
    }
}

impl Default for Kafka {
    fn default() -> Self {
        Self {
            bootstrap: String::new(),
            prefix: "headwater".to_owned(),
            create_topics: true,
            partitions: 6,
            replicas: 1,
            outbox_bytes_max: 128 << 20,
            compression: "lz4".to_owned(),
            linger_ms: 5,
            properties: Vec::new(),
        }
    }
}

impl Default for Webhook {
    fn default() -> Self {
        Self { url: String::new(), key: None, types: "alert,congestion.*".to_owned() }
    }
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            window_seconds: 10,
            slide_seconds: 10,
            delay_ms: 2_000,
            lateness_ms: 10_000,
            hit_percent_min: 0,
            origin_requests_per_second_max: 0,
            fill_p95_ms_max: 0,
            error_permille_max: 10,
            requests_min: 100,
            cpu_percent_max: 85,
            memory_percent_max: 90,
            egress_bits_per_second_max: 0,
            egress_percent_max: 85,
        }
    }
}

impl Config {
    /// As it may be shown: keys and the values of properties by their ids, of addresses that alerts are posted to no
    /// more than where they lead, since their paths are often secrets.
    #[must_use]
    pub fn without_secrets(&self) -> Self {
        let id = |secret: &str| KeyId::of(secret).as_str().to_owned();
        let mut shown = self.clone();
        if let Some(kafka) = &mut shown.kafka {
            for property in &mut kafka.properties {
                let (name, value) = property.split_once('=').unwrap_or(("", property));
                *property = format!("{name}={}", id(value));
            }
        }
        if let Some(webhook) = &mut shown.webhook {
            webhook.key = webhook.key.as_deref().map(id);
            let leads_to = Url::parse(&webhook.url)
                .ok()
                .and_then(|url| Some((url.scheme().to_owned(), url.host_str()?.to_owned())));
            webhook.url = leads_to
                .map_or_else(|| id(&webhook.url), |(scheme, host)| format!("{scheme}://{host}/{}", id(&webhook.url)));
        }
        shown
    }

    /// What the keys of a table are by default that is absent by default.
    pub fn defaults_below(table: &str) -> Option<serde_json::Value> {
        match table {
            "kafka" => serde_json::to_value(Kafka::default()).ok(),
            "webhook" => serde_json::to_value(Webhook::default()).ok(),
            _ => None,
        }
    }

    /// Checks every range; `name` is what the error calls the table.
    ///
    /// # Errors
    /// [`Error::Value`] for the first value outside its range.
    pub fn check(&self, name: &str) -> Result<(), Error> {
        let least = |key: &str, value: u64, least: u64, expected: &'static str| match value >= least {
            true => Ok(()),
            false => Err(Error::value(&format!("{name}.{key}"), expected, &value)),
        };
        least("log_bytes_max", self.log_bytes_max, 1 << 20, "1048576 bytes or more")?;
        least("log_seconds", u64::from(self.log_seconds), 1, "1 second or more")?;
        least("queue_max", self.queue_max as u64, 16, "16 or more")?;
        if let Some(kafka) = &self.kafka {
            kafka.check().map_err(|error| error.below(name))?;
        }
        if let Some(webhook) = &self.webhook {
            webhook.check().map_err(|error| error.below(name))?;
        }
        self.alerts.check().map_err(|error| error.below(name))
    }
}

impl Kafka {
    fn check(&self) -> Result<(), Error> {
        if self.bootstrap.trim().is_empty() {
            return Err(Error::value("kafka.bootstrap", "brokers, host:port separated by commas", &self.bootstrap));
        }
        // What a topic may be called, with the longest of our names behind it.
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if !(1..=200).contains(&self.prefix.len()) || !self.prefix.chars().all(is_name) {
            return Err(Error::value("kafka.prefix", "1 to 200 letters, digits, '.', '_' or '-'", &self.prefix));
        }
        if !(1..=10_000).contains(&self.partitions) {
            return Err(Error::value("kafka.partitions", "1 to 10000", &self.partitions));
        }
        if !(1..=100).contains(&self.replicas) {
            return Err(Error::value("kafka.replicas", "1 to 100", &self.replicas));
        }
        if self.outbox_bytes_max < 1 << 20 {
            return Err(Error::value("kafka.outbox_bytes_max", "1048576 bytes or more", &self.outbox_bytes_max));
        }
        if !["lz4", "zstd", "none"].contains(&self.compression.as_str()) {
            return Err(Error::value("kafka.compression", "lz4, zstd or none", &self.compression));
        }
        if self.linger_ms > 1_000 {
            return Err(Error::value("kafka.linger_ms", "0 to 1000 milliseconds", &self.linger_ms));
        }
        Ok(())
    }
}

impl Webhook {
    fn check(&self) -> Result<(), Error> {
        let is_url = url::Url::parse(&self.url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if !is_url {
            return Err(Error::value("webhook.url", "http://… or https://…", &self.url));
        }
        match Kinds::read(&self.types) {
            Ok(kinds) if kinds != Kinds::NONE => Ok(()),
            _ => Err(Error::value("webhook.types", "types of events separated by commas", &self.types)),
        }
    }
}

impl Alerts {
    fn check(&self) -> Result<(), Error> {
        let (window, slide) = (self.window_seconds, self.slide_seconds);
        if !(1..=86_400).contains(&window) {
            return Err(Error::value("alerts.window_seconds", "1 to 86400 seconds", &window));
        }
        // Of windows that overlap more, each delivery would tell too many rows.
        if slide == 0 || window % slide != 0 || window / slide > 120 {
            return Err(Error::value(
                "alerts.slide_seconds",
                "a whole part of window_seconds, a 120th at least",
                &slide,
            ));
        }
        if self.hit_percent_min > 100 {
            return Err(Error::value("alerts.hit_percent_min", "0 to 100 percent", &self.hit_percent_min));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_that_their_slide_does_not_divide_are_refused() {
        let check = |window_seconds, slide_seconds| {
            let alerts = Alerts { window_seconds, slide_seconds, ..Alerts::default() };
            Config { alerts, ..Config::default() }.check("events").map_err(|error| error.to_string())
        };
        for (window, slide) in [(10, 10), (60, 10), (120, 1)] {
            check(window, slide).unwrap();
        }
        for (window, slide) in [(10, 0), (10, 4), (10, 20), (3_600, 1)] {
            assert!(check(window, slide).unwrap_err().contains("events.alerts.slide_seconds"), "{window} {slide}");
        }
        assert!(check(0, 1).unwrap_err().contains("events.alerts.window_seconds"));
    }

    #[test]
    fn nothing_secret_is_shown() {
        let kafka = Kafka { properties: vec!["sasl.password=s3cret".to_owned()], ..Kafka::default() };
        let webhook = Webhook {
            url: "https://user:s3cret@a.example/s3cret".to_owned(),
            key: Some("s3cret".into()),
            ..Webhook::default()
        };
        let config = Config { kafka: Some(kafka), webhook: Some(webhook), ..Config::default() };
        let shown = serde_json::to_string(&config.without_secrets()).unwrap();
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(shown.contains("sasl.password=") && shown.contains("https://a.example/"), "{shown}");
    }

    #[test]
    fn what_kafka_would_refuse_is_refused_before() {
        let good = Kafka { bootstrap: "a:9092".to_owned(), ..Kafka::default() };
        let check =
            |kafka| Config { kafka: Some(kafka), ..Config::default() }.check("events").map_err(|e| e.to_string());
        check(good.clone()).unwrap();
        for (key, bad) in [
            ("bootstrap", Kafka::default()),
            ("prefix", Kafka { prefix: "a/b".to_owned(), ..good.clone() }),
            ("partitions", Kafka { partitions: 0, ..good.clone() }),
            ("replicas", Kafka { replicas: 0, ..good.clone() }),
            ("outbox_bytes_max", Kafka { outbox_bytes_max: 0, ..good.clone() }),
            ("compression", Kafka { compression: "gzip".to_owned(), ..good.clone() }),
            ("linger_ms", Kafka { linger_ms: 60_000, ..good.clone() }),
        ] {
            let error = check(bad).unwrap_err();
            assert!(error.contains(&format!("events.kafka.{key}")), "{error}");
        }
    }

    #[test]
    fn a_webhook_without_an_address_or_with_unknown_types_is_refused() {
        let check = |url: &str, types: &str| {
            let webhook = Webhook { url: url.into(), types: types.into(), key: None };
            Config { webhook: Some(webhook), ..Config::default() }.check("events").map_err(|error| error.to_string())
        };
        check("https://a/b", "alert,congestion.*").unwrap();
        assert!(check("a/b", "alert").unwrap_err().contains("events.webhook.url"));
        assert!(check("http://a", "alarm").unwrap_err().contains("events.webhook.types"));
    }
}
