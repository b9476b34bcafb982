// SPDX-License-Identifier: Apache-2.0
//! What the operator says of the origin: one TOML file, every key known, a wrong one refused by name.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use headwater_media::MediaDuration;
use serde::Deserialize;

/// The whole configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Certificate and key; without them the listener speaks plain HTTP.
    pub tls: Option<Tls>,
    /// Where headers and numbering survive a restart; without it they do not.
    pub data_dir: Option<PathBuf>,
    /// Media bytes in memory over all channels; past it the oldest media of any channel leaves first.
    pub memory_bytes_max: u64,
    /// Channels at once.
    pub channels_max: usize,
    /// A channel begins with its first authorised push, under the defaults.
    pub channels_from_push: bool,
    /// Settings of every channel that does not say otherwise.
    pub defaults: Channel,
    /// Channels by name.
    pub channels: BTreeMap<String, Channel>,
    /// Bounds of ingest.
    pub ingest: Ingest,
}

/// A certificate chain and its key, PEM.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The chain.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// A channel's settings.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Channel {
    /// Wished segment duration in milliseconds; the whole multiple of the GOP nearest to it is used.
    pub segment_ms: u32,
    /// Longest part in milliseconds.
    pub part_ms: u32,
    /// How long media stays reachable, in seconds. Playlists list the newer half, so that a client that holds an old
    /// playlist finds all it names.
    pub window_seconds: u32,
    /// Media bytes in memory; `0` sets no bound of its own.
    pub memory_bytes_max: u64,
    /// Stream keys; any one of them admits a push. None: any push is admitted.
    pub keys: Vec<String>,
    /// Target latency told to players, in milliseconds; `0`: three parts beyond the hold-back.
    pub latency_ms: u32,
    /// Release bursts at the pace of their media.
    pub cadence: bool,
}

/// Bounds of ingest.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ingest {
    /// One fragment, `moof` and `mdat`.
    pub fragment_bytes_max: usize,
    /// One header.
    pub header_bytes_max: usize,
    /// Any other box.
    pub box_bytes_max: usize,
    /// A pushed manifest.
    pub manifest_bytes_max: usize,
    /// Tracks of a channel.
    pub tracks_max: usize,
    /// Samples of one fragment of one track.
    pub samples_max: usize,
    /// A body that brings nothing for this long, in seconds, has ended.
    pub body_idle_seconds: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 8080)),
            tls: None,
            data_dir: None,
            memory_bytes_max: 4 << 30,
            channels_max: 256,
            channels_from_push: false,
            defaults: Channel::default(),
            channels: BTreeMap::new(),
            ingest: Ingest::default(),
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
        }
    }
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not TOML, an unknown key or a value of the wrong type; the text names the line.
    #[error("{0}")]
    Syntax(#[from] toml::de::Error),
    /// A value outside its range.
    #[error("expected {expected} in {key}, got {found}")]
    Value {
        /// The key.
        key: String,
        /// The range.
        expected: &'static str,
        /// What was there.
        found: String,
    },
}

impl Config {
    /// Reads the TOML text.
    ///
    /// # Errors
    /// [`Error`] names the key, or the line for a text that is not TOML.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let config: Self = toml::from_str(text)?;
        config.check()?;
        Ok(config)
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
                return Err(Error::Value { key: name.clone(), expected: "a channel name", found: error.to_string() });
            }
            channel.check(&name)?;
        }
        Ok(())
    }
}

impl Channel {
    fn check(&self, name: &str) -> Result<(), Error> {
        let range = |key: &str, value: u32, ok: bool, expected: &'static str| {
            if ok {
                Ok(())
            } else {
                Err(Error::Value { key: format!("{name}.{key}"), expected, found: value.to_string() })
            }
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

impl Ingest {
    /// How long a silent body is waited for.
    pub fn body_idle(&self) -> Duration {
        Duration::from_secs(u64::from(self.body_idle_seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_refused_by_name_and_line() {
        let error = Config::parse("listen = \"127.0.0.1:1\"\n[defaults]\nsegmnt_ms = 1\n").unwrap_err().to_string();
        assert!(error.contains("segmnt_ms") && error.contains("line 3"), "{error}");
    }

    #[test]
    fn the_example_states_the_defaults_and_every_key() {
        let text = include_str!("../../headwater.example.toml");
        let example = Config::parse(text).unwrap();
        assert_eq!(format!("{example:?}"), format!("{:?}", Config::default()));
        let uncommented: String = text
            .lines()
            .map(|l| l.strip_prefix("# ").filter(|l| l.contains(" = ") || l.starts_with('[')).unwrap_or(l))
            .fold(String::new(), |all, l| all + l + "\n");
        let all: toml::Table = toml::from_str(&uncommented).unwrap();
        for key in [
            "listen",
            "data_dir",
            "memory_bytes_max",
            "channels_max",
            "channels_from_push",
            "tls",
            "defaults",
            "channels",
            "ingest",
        ] {
            assert!(all.contains_key(key), "{key} is not in the example");
        }
    }

    #[test]
    fn a_value_out_of_range_is_refused_by_key() {
        let error = Config::parse("[channels.news]\nsegment_ms = 1\n").unwrap_err().to_string();
        assert_eq!(error, "expected 200 to 20000 milliseconds in channels.news.segment_ms, got 1");
        assert!(Config::parse("[channels.\"a/b\"]\n").is_err());
    }
}
