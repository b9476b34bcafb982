// SPDX-License-Identifier: Apache-2.0
//! The settings of a channel, from the file or as the API takes them.

use headwater_media::MediaDuration;
use headwater_net::config::{Error, Key, meant, nearest};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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

impl Channel {
    /// The keys of a channel.
    pub fn keys() -> &'static [Key] {
        super::KEYS.iter().find(|key| key.name == "defaults").map_or(&[], Key::below)
    }

    /// These settings with what `said` says instead: settings of a channel as the API takes them.
    ///
    /// # Errors
    /// In words: a field that is none, or a value of the wrong type or outside its range.
    pub fn with(&self, said: &serde_json::Map<String, serde_json::Value>) -> Result<Self, String> {
        for name in said.keys() {
            let keys = Self::keys();
            if !keys.iter().any(|key| key.name == *name) {
                let nearest = nearest(name, keys.iter().map(|key| key.name.as_str()));
                return Err(format!("expected a field of a channel, got `{name}`{}", meant(nearest)));
            }
        }
        let mut whole = match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(whole)) => whole,
            _ => serde_json::Map::new(),
        };
        for (name, value) in said {
            // Each by itself, so that the error can name it.
            let alone = serde_json::Map::from_iter([(name.clone(), value.clone())]);
            serde_json::from_value::<Self>(alone.into()).map_err(|error| format!("{name}: {error}"))?;
            whole.insert(name.clone(), value.clone());
        }
        let settings: Self = serde_json::from_value(whole.into()).map_err(|error| error.to_string())?;
        settings.check("channel").map_err(|error| error.to_string())?;
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_a_channel_take_known_fields_of_their_types_alone() {
        let with = |json: &str| {
            let said: serde_json::Map<_, _> = serde_json::from_str(json).unwrap();
            Channel::default().with(&said)
        };
        assert_eq!(with(r#"{"segment_ms":1000,"keys":["k"]}"#).unwrap().segment_ms, 1_000);
        assert_eq!(
            with(r#"{"segmentms":1}"#).unwrap_err(),
            "expected a field of a channel, got `segmentms`; did you mean `segment_ms`?"
        );
        assert!(with(r#"{"cadence":3}"#).unwrap_err().starts_with("cadence: invalid type"));
        assert!(with(r#"{"segment_ms":1}"#).unwrap_err().contains("200 to 20000"));
    }
}
