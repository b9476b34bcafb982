// SPDX-License-Identifier: Apache-2.0
//! What the operator says of the origin: one TOML file, overridden by the environment; every key known, a wrong one
//! refused by name and line.
//!
//! The comments on the keys are their documentation: `make reference` writes the example file and the reference page
//! from them.

mod channel;
mod http;
pub mod reference;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use headwater_net::config::{self, Configuration};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};
use utoipa::ToSchema;

pub use channel::Channel;
pub use headwater_net::config::{Error, Key};
pub use http::Http;

/// The whole configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where to listen, HTTP/1.1 and HTTP/2 on one port.
    #[schema(value_type = String)]
    pub listen: SocketAddr,
    /// Headers, numbering and channels made by the API survive a restart here; without it they do not.
    #[schema(value_type = Option<String>, example = "/var/lib/headwater")]
    pub data_dir: Option<PathBuf>,
    /// What the process may hold in memory: media has what the rest of it leaves. Past it the oldest media leaves first,
    /// of channels that hold more than their share; the live edge stays. What does not fit even so is refused with 503.
    pub memory_bytes_max: u64,
    /// Channels at once; a push for one more is answered 503.
    pub channels_max: usize,
    /// A channel begins with its first authorised push, under the defaults.
    pub channels_from_push: bool,
    /// A channel that began with a push ends and is removed, numbering included, when nothing has been pushed to it for
    /// this long and for its window; 0: never.
    pub channels_idle_seconds: u32,
    /// How long a stop may take: encoders finish their requests, segments in progress their last part, viewers their
    /// downloads; what is left then is cut off.
    pub drain_seconds: u32,
    /// TLS 1.2 and 1.3; without this table the listener speaks plain HTTP. A reload reads the files anew.
    pub tls: Option<Tls>,
    /// Who may use the API.
    pub api: Api,
    /// The lock: who may fetch what is for viewers.
    pub shields: Shields,
    /// Settings of every channel that does not say otherwise.
    pub defaults: Channel,
    /// A channel by name, with what differs from the defaults.
    #[schema(example = json!({ "news": { "segment_ms": 1000, "keys": ["change-me"] } }))]
    pub channels: BTreeMap<String, Channel>,
    /// What becomes of events.
    pub events: headwater_events::Config,
    /// Bounds of ingest.
    pub ingest: Ingest,
    /// Our own playlists and MPDs are tested against the rules of HLS and DASH while they are served, as many as fit in.
    pub self_check: SelfCheck,
    /// Bounds of connections and requests.
    pub http: Http,
}

/// A certificate chain and its key, PEM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate chain, PEM.
    #[schema(value_type = String, example = "/etc/headwater/chain.pem")]
    pub certificate: PathBuf,
    /// Its key, PEM.
    #[schema(value_type = String, example = "/etc/headwater/key.pem")]
    pub key: PathBuf,
    /// Authority of client certificates, PEM. With it a push needs such a certificate, beside its key.
    #[schema(value_type = Option<String>, example = "/etc/headwater/encoders.pem")]
    pub client_ca: Option<PathBuf>,
}

/// Who may use the API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    /// Bearer tokens; any one of them admits. None: anybody may read, changes are admitted from this machine alone.
    pub tokens: Vec<String>,
}

/// The lock: who may fetch what is for viewers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Shields {
    /// Keys of the shields in front. With any, what viewers fetch (`/live/` and `/time`) is answered where a request is
    /// signed with one of them or comes with a certificate that `tls.client_ca` vouches for; anybody else gets 403.
    /// Several let one be replaced.
    pub keys: Vec<String>,
}

/// Bounds of ingest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Ingest {
    /// One fragment, moof and mdat.
    pub fragment_bytes_max: usize,
    /// One CMAF header.
    pub header_bytes_max: usize,
    /// Any other box.
    pub box_bytes_max: usize,
    /// A pushed manifest.
    pub manifest_bytes_max: usize,
    /// Tracks of a channel.
    pub tracks_max: usize,
    /// Samples of one fragment of one track.
    pub samples_max: usize,
    /// A body that brings nothing for this long, and for four segments, has ended.
    pub body_idle_seconds: u32,
    /// Bytes a second read of one body; one that brings more is read more slowly. 0: as fast as it comes.
    pub body_bytes_per_second_max: u64,
    /// How many times larger than what came a gzip body may unfold.
    pub inflate_ratio_max: u64,
    /// Request bodies open at once, over all channels.
    pub bodies_max: usize,
    /// Request bodies open at once, of one channel.
    pub bodies_per_channel_max: usize,
    /// How long a fragment that leaves a hole waits for the missing one, in milliseconds.
    pub reorder_ms: u32,
    /// Fragments of a track that may wait so.
    pub reorder_fragments_max: usize,
    /// Bytes of a channel that may be read and not yet published; past it reading waits.
    pub unpublished_bytes_max: u64,
}

/// Testing of our own manifests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SelfCheck {
    /// Processor time that it may take for each channel and hour; 0 turns it off. What breaks a rule is counted in
    /// `headwater_self_check_violations` and logged.
    pub cpu_ms_per_channel_hour: u32,
}

impl Default for SelfCheck {
    fn default() -> Self {
        Self { cpu_ms_per_channel_hour: 160 }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 8080)),
            data_dir: None,
            memory_bytes_max: 4 << 30,
            channels_max: 256,
            channels_from_push: false,
            channels_idle_seconds: 3_600,
            drain_seconds: 10,
            tls: None,
            api: Api::default(),
            shields: Shields::default(),
            defaults: Channel::default(),
            channels: BTreeMap::new(),
            events: headwater_events::Config::default(),
            ingest: Ingest::default(),
            self_check: SelfCheck::default(),
            http: Http::default(),
        }
    }
}

impl Default for Ingest {
    fn default() -> Self {
        Self {
            fragment_bytes_max: 64 << 20,
            header_bytes_max: 1 << 20,
            box_bytes_max: 4 << 20,
            manifest_bytes_max: 2 << 20,
            tracks_max: 32,
            samples_max: 16_384,
            body_idle_seconds: 60,
            body_bytes_per_second_max: 125_000_000,
            inflate_ratio_max: 100,
            bodies_max: 4_096,
            bodies_per_channel_max: 256,
            reorder_ms: 2_000,
            reorder_fragments_max: 256,
            unpublished_bytes_max: 256 << 20,
        }
    }
}

impl Config {
    /// Reads the TOML text alone.
    ///
    /// # Errors
    /// [`Error`] names line and key.
    pub fn parse(text: &str) -> Result<Self, Error> {
        config::read(text, &[])
    }

    /// Reads the TOML text, overridden by those of `variables` (names and values) that name keys.
    ///
    /// `HEADWATER_DEFAULTS__SEGMENT_MS` is `segment_ms` of `[defaults]`; lists are separated by commas.
    ///
    /// # Errors
    /// [`Error`] names the line or the variable, and the key.
    pub fn layered(text: &str, variables: &[(String, String)]) -> Result<Self, Error> {
        config::read(text, variables)
    }

    fn longest_segment(&self) -> Duration {
        let all = std::iter::once(&self.defaults).chain(self.channels.values());
        all.map(|channel| channel.segment().to_std()).max().unwrap_or_default()
    }
}

static KEYS: LazyLock<Vec<Key>> = LazyLock::new(Key::of::<Config>);

impl Configuration for Config {
    const PREFIX: &'static str = "HEADWATER_";
    const OTHERS: &'static [&'static str] =
        &["HEADWATER_CONFIG", "HEADWATER_KEY", "HEADWATER_TOKEN", "HEADWATER_WORKERS"];

    fn keys() -> &'static [Key] {
        &KEYS
    }

    fn defaults_below(path: &str) -> Option<serde_json::Value> {
        headwater_events::Config::defaults_below(path.strip_prefix("events.")?)
    }

    /// A channel says only what differs.
    fn inherit(table: &mut Table) {
        let Some(defaults) = table.get("defaults").and_then(Value::as_table).cloned() else { return };
        let Some(channels) = table.get_mut("channels").and_then(Value::as_table_mut) else { return };
        for channel in channels.iter_mut().filter_map(|(_, channel)| channel.as_table_mut()) {
            for (key, value) in &defaults {
                channel.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
    }

    fn check(&self) -> Result<(), Error> {
        let channels = self.channels.iter().map(|(name, channel)| (format!("channels.{name}"), channel));
        for (name, channel) in std::iter::once(("defaults".to_owned(), &self.defaults)).chain(channels) {
            if let Some(id) = name.strip_prefix("channels.")
                && let Err(error) = headwater_media::id::check_name(id)
            {
                return Err(Error::value(&name, "a channel name", &error));
            }
            channel.check(&name)?;
        }
        if self.api.tokens.iter().any(String::is_empty) {
            return Err(Error::value("api.tokens", "tokens of at least one character", &"\"\""));
        }
        if self.shields.keys.iter().any(String::is_empty) {
            return Err(Error::value("shields.keys", "keys of at least one character", &"\"\""));
        }
        self.events.check("events")?;
        self.ingest.check()?;
        self.http.check(self.longest_segment())
    }
}

impl Config {
    /// How long a stop may take.
    pub fn drain(&self) -> Duration {
        Duration::from_secs(u64::from(self.drain_seconds))
    }

    /// How long a channel of a push may be left alone; `None`: for ever.
    pub fn channels_idle(&self) -> Option<Duration> {
        (self.channels_idle_seconds > 0).then(|| Duration::from_secs(u64::from(self.channels_idle_seconds)))
    }
}

impl Ingest {
    fn check(&self) -> Result<(), Error> {
        let at_least = |key: &str, value: u64, least: u64, expected: &'static str| match value >= least {
            true => Ok(()),
            false => Err(Error::value(&format!("ingest.{key}"), expected, &value)),
        };
        at_least("body_idle_seconds", u64::from(self.body_idle_seconds), 1, "1 second or more")?;
        at_least("inflate_ratio_max", self.inflate_ratio_max, 1, "1 or more")?;
        at_least("bodies_max", self.bodies_max as u64, 1, "1 or more")?;
        at_least("bodies_per_channel_max", self.bodies_per_channel_max as u64, 1, "1 or more")?;
        at_least("tracks_max", self.tracks_max as u64, 1, "1 or more")?;
        at_least("samples_max", self.samples_max as u64, 1, "1 or more")?;
        let fragment = self.fragment_bytes_max as u64;
        at_least("unpublished_bytes_max", self.unpublished_bytes_max, fragment, "fragment_bytes_max or more")
    }

    /// How long a silent body of a channel with such segments is waited for. One whose segment is whole only when it is
    /// sent is silent for a segment, and an encoder that is late with one for more.
    pub fn body_idle(&self, segment: Duration) -> Duration {
        Duration::from_secs(u64::from(self.body_idle_seconds)).max(segment * 4)
    }
}
