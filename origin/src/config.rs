// SPDX-License-Identifier: Apache-2.0
//! What the operator says of the origin: one TOML file, overridden by the environment; every key known, a wrong one
//! refused by name and line.
//!
//! The comments on the keys are their documentation: `make reference` writes the example file and the reference page
//! from them.

mod keys;
mod layers;
pub mod reference;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use headwater_media::MediaDuration;
use headwater_net::limits::Limits;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use keys::{Key, Kind, nearest};
pub use layers::{Error, Place};

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
    /// Settings of every channel that does not say otherwise.
    pub defaults: Channel,
    /// A channel by name, with what differs from the defaults.
    #[schema(example = json!({ "news": { "segment_ms": 1000, "keys": ["change-me"] } }))]
    pub channels: BTreeMap<String, Channel>,
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

/// A channel's settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = Channel)]
pub struct Channel {
    /// Wished segment duration; the whole multiple of the encoder's GOP nearest to it is used, and said in the log.
    /// Fixed for a channel's life.
    pub segment_ms: u32,
    /// Longest part (LL-HLS) and chunk (LL-DASH). Fixed for a channel's life.
    pub part_ms: u32,
    /// How long media stays reachable. Playlists list the newer half of it, at least six segments, so that a client
    /// that holds an old playlist still finds everything it names.
    pub window_seconds: u32,
    /// Media bytes in memory of one channel; 0: as many as its window weighs.
    pub memory_bytes_max: u64,
    /// Stream keys; any one of them admits a push. None: any push is admitted.
    pub keys: Vec<String>,
    /// Latency that players are told to aim at in DASH; 0: six parts and 300 ms.
    pub latency_ms: u32,
    /// Release an encoder's bursts at the pace of their media.
    pub cadence: bool,
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
            defaults: Channel::default(),
            channels: BTreeMap::new(),
            ingest: Ingest::default(),
            self_check: SelfCheck::default(),
            http: Http::default(),
        }
    }
}

impl Default for Channel {
    fn default() -> Self {
        Self {
            segment_ms: 2_000,
            part_ms: 200,
            window_seconds: 900,
            memory_bytes_max: 0,
            keys: Vec::new(),
            latency_ms: 0,
            cadence: true,
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
        layers::read(text, &[])
    }

    /// Reads the TOML text, overridden by those of `variables` (names and values) that name keys.
    ///
    /// `HEADWATER_DEFAULTS__SEGMENT_MS` is `segment_ms` of `[defaults]`; lists are separated by commas.
    ///
    /// # Errors
    /// [`Error`] names the line or the variable, and the key.
    pub fn layered(text: &str, variables: &[(String, String)]) -> Result<Self, Error> {
        layers::read(text, variables)
    }

    /// Checks every range.
    ///
    /// # Errors
    /// [`Error::Value`] for the first value outside its range.
    pub fn check(&self) -> Result<(), Error> {
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
        self.ingest.check()?;
        self.http.check(self.longest_segment())
    }

    fn longest_segment(&self) -> Duration {
        let all = std::iter::once(&self.defaults).chain(self.channels.values());
        all.map(|channel| channel.segment().to_std()).max().unwrap_or_default()
    }
}

impl Channel {
    /// Checks every range; `name` is what the error calls the table.
    ///
    /// # Errors
    /// [`Error::Value`] for the first value outside its range.
    pub fn check(&self, name: &str) -> Result<(), Error> {
        let range = |key: &str, value: u32, ok: bool, expected: &'static str| {
            if ok { Ok(()) } else { Err(Error::value(&format!("{name}.{key}"), expected, &value)) }
        };
        range("segment_ms", self.segment_ms, (200..=20_000).contains(&self.segment_ms), "200 to 20000 milliseconds")?;
        range(
            "part_ms",
            self.part_ms,
            (20..=self.segment_ms).contains(&self.part_ms),
            "20 milliseconds to segment_ms",
        )?;
        range(
            "window_seconds",
            self.window_seconds,
            (1..=86_400 * 7).contains(&self.window_seconds),
            "1 second to 7 days",
        )?;
        if let Some(short) = self.keys.iter().find(|key| key.is_empty()) {
            return Err(Error::value(&format!("{name}.keys"), "keys of at least one character", &format!("{short:?}")));
        }
        Ok(())
    }

    /// Wished segment duration.
    pub fn segment(&self) -> MediaDuration {
        MediaDuration::from_millis(i64::from(self.segment_ms))
    }

    /// Longest part.
    pub fn part(&self) -> MediaDuration {
        MediaDuration::from_millis(i64::from(self.part_ms))
    }

    /// How much a playlist lists: half of what is kept, at least six segments of `segment`.
    pub fn listed(&self, segment: MediaDuration) -> MediaDuration {
        let half = MediaDuration::from_millis(i64::from(self.window_seconds) * 500)
            - segment.rescale(headwater_media::Timescale::MILLIS);
        half.max(segment.times(6))
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

/// Bounds of connections and requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Connections at once; one more is answered 503 and closed.
    pub connections_max: usize,
    /// Connections at once from one address (IPv6: one /64 network).
    pub connections_per_peer_max: usize,
    /// How long a TLS handshake may take, in seconds.
    pub handshake_seconds: u32,
    /// How long a request head may take, in seconds; the first one from the connection on.
    pub head_seconds: u32,
    /// How long a connection may be idle between requests, in seconds.
    pub idle_seconds: u32,
    /// Bytes of a request head.
    pub head_bytes_max: u32,
    /// Header fields of a request.
    pub headers_max: usize,
    /// Bytes of a request's path and query.
    pub url_bytes_max: usize,
    /// Streams of one HTTP/2 connection at once.
    pub h2_streams_max: u32,
    /// Requests that one HTTP/2 connection may cancel within ten seconds.
    pub h2_resets_max: u32,
    /// How long a client may take nothing of what is ready for it, in seconds.
    pub stall_seconds: u32,
    /// Bytes a second a client must take of a response while they are ready for it.
    pub send_bytes_per_second_min: u64,
    /// Bytes of a connection that wait for the network to take them.
    pub unsent_bytes_max: u32,
    /// Requests parked for what comes next, over all channels.
    pub waiters_max: usize,
    /// Requests parked for what comes next, of one channel.
    pub waiters_per_channel_max: usize,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            connections_max: 65_536,
            connections_per_peer_max: 16_384,
            handshake_seconds: 10,
            head_seconds: 10,
            idle_seconds: 120,
            head_bytes_max: 64 << 10,
            headers_max: 100,
            url_bytes_max: 8 << 10,
            h2_streams_max: 1_024,
            h2_resets_max: 1_000,
            stall_seconds: 30,
            send_bytes_per_second_min: 8 << 10,
            unsent_bytes_max: 128 << 10,
            waiters_max: 200_000,
            waiters_per_channel_max: 100_000,
        }
    }
}

impl Http {
    fn check(&self, segment: Duration) -> Result<(), Error> {
        let value = |key: &str, value: u32, ok: bool, expected: &'static str| match ok {
            true => Ok(()),
            false => Err(Error::value(&format!("http.{key}"), expected, &value)),
        };
        value("head_seconds", self.head_seconds, self.head_seconds > 0, "1 second or more")?;
        value("handshake_seconds", self.handshake_seconds, self.handshake_seconds > 0, "1 second or more")?;
        value("stall_seconds", self.stall_seconds, self.stall_seconds > 0, "1 second or more")?;
        // An encoder that finds its connection closed between two segments exits.
        let idle = Duration::from_secs(u64::from(self.idle_seconds));
        let long = idle >= Duration::from_secs(60).max(segment * 6);
        value("idle_seconds", self.idle_seconds, long, "at least 60 seconds and six of the longest segments")?;
        value("head_bytes_max", self.head_bytes_max, self.head_bytes_max >= 8 << 10, "8192 bytes or more")?;
        value("unsent_bytes_max", self.unsent_bytes_max, self.unsent_bytes_max >= 4 << 10, "4096 bytes or more")
    }

    /// The listener's share of these.
    pub fn limits(&self) -> Limits {
        let seconds = |n: u32| Duration::from_secs(u64::from(n));
        Limits {
            connections_max: self.connections_max,
            connections_per_peer_max: self.connections_per_peer_max,
            handshake: seconds(self.handshake_seconds),
            head: seconds(self.head_seconds),
            idle: seconds(self.idle_seconds),
            head_bytes_max: usize::try_from(self.head_bytes_max).unwrap_or(usize::MAX),
            headers_max: self.headers_max,
            url_bytes_max: self.url_bytes_max,
            h2_streams_max: self.h2_streams_max,
            h2_resets_max: self.h2_resets_max,
            stall: seconds(self.stall_seconds),
            send_bytes_per_second_min: self.send_bytes_per_second_min,
            unsent_bytes_max: self.unsent_bytes_max,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listener_has_the_defaults_of_the_configuration() {
        assert_eq!(format!("{:?}", Http::default().limits()), format!("{:?}", Limits::default()));
    }

    #[test]
    fn an_idle_time_that_would_break_encoders_is_refused() {
        let error = Config::parse("[http]\nidle_seconds = 30\n").unwrap_err().to_string();
        assert!(error.contains("expected at least 60 seconds") && error.ends_with("got 30"), "{error}");
        assert!(Config::parse("[http]\nidle_seconds = 100\n[channels.long]\nsegment_ms = 20000\n").is_err());
        let ingest = Ingest { body_idle_seconds: 5, ..Ingest::default() };
        assert_eq!(ingest.body_idle(Duration::from_secs(6)), Duration::from_secs(24));
    }

    #[test]
    fn a_value_out_of_range_is_refused_by_line_and_key() {
        let error = Config::parse("[channels.news]\nsegment_ms = 1\n").unwrap_err().to_string();
        assert_eq!(error, "line 2: expected 200 to 20000 milliseconds in channels.news.segment_ms, got 1");
        assert!(Config::parse("[channels.\"a/b\"]\n").is_err());
        assert!(Config::parse("[api]\ntokens = [\"\"]\n").is_err());
    }

    #[test]
    fn a_channel_has_what_the_defaults_say_and_it_does_not() {
        let text = "[channels.news]\npart_ms = 500\n[defaults]\nsegment_ms = 1000\nkeys = [\"k\"]\n";
        let config = Config::parse(text).unwrap();
        let news = &config.channels["news"];
        assert_eq!((news.segment_ms, news.part_ms, &news.keys), (1_000, 500, &vec!["k".to_owned()]));
    }
}
