// SPDX-License-Identifier: Apache-2.0
//! What is assumed of an event.

use serde::{Deserialize, Serialize};

/// A rendition of the ladder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rendition {
    /// Its name.
    pub name: String,
    /// Its pictures, bits per second.
    pub bits_per_second: u64,
    /// Viewers that watch it, percent.
    pub share_percent: u64,
}

/// Where viewers are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// Its name.
    pub name: String,
    /// Viewers there, percent.
    pub share_percent: u64,
    /// Caches there that ask shields, each for itself.
    pub edges: u64,
}

/// What is assumed of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Assumptions {
    /// Viewers at once, at the peak.
    pub viewers: u64,
    /// Channels of this ladder that are watched.
    pub channels: u64,
    /// Pictures.
    pub ladder: Vec<Rendition>,
    /// Sound, bits per second.
    pub audio_bits_per_second: u64,
    /// Where viewers are.
    pub regions: Vec<Region>,
    /// What HTTP, TLS, TCP, IP and playlists add to media, percent.
    pub overhead_percent: u64,
    /// Segment duration, milliseconds.
    pub segment_ms: u64,
    /// Part duration, milliseconds; 0: no low latency.
    pub part_ms: u64,
    /// How long media stays reachable, seconds.
    pub window_seconds: u64,
    /// Shields.
    pub shields: u64,
    /// Origins, twins of one another.
    pub origins: u64,
    /// Requests that a cache sends again for what it had, percent.
    pub again_percent: u64,
    /// Hit ratio of the edges as measured, thousandths; none: what one request an edge and object makes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edge_hit_permille: Option<u64>,
    /// Hit ratio of the shields as measured, thousandths; none: what one request a shield and object makes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shield_hit_permille: Option<u64>,
    /// Edges speak TLS with shields.
    pub tls: bool,
    /// How far limits stand above what is expected, percent.
    pub headroom_percent: u64,
}

impl Default for Assumptions {
    fn default() -> Self {
        let rendition = |name: &str, bits_per_second, share_percent| Rendition {
            name: name.to_owned(),
            bits_per_second,
            share_percent,
        };
        Self {
            viewers: 100_000,
            channels: 1,
            ladder: vec![
                rendition("1080p", 6_000_000, 45),
                rendition("720p", 3_000_000, 30),
                rendition("480p", 1_400_000, 15),
                rendition("360p", 700_000, 10),
            ],
            audio_bits_per_second: 128_000,
            regions: vec![Region { name: "all".to_owned(), share_percent: 100, edges: 20 }],
            overhead_percent: 10,
            segment_ms: 2_000,
            part_ms: 200,
            window_seconds: 900,
            shields: 2,
            origins: 2,
            again_percent: 5,
            edge_hit_permille: None,
            shield_hit_permille: None,
            tls: true,
            headroom_percent: 50,
        }
    }
}

/// Why no plan can follow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A value outside its range.
    #[error("expected {expected} in {name}, got {got}")]
    Value {
        /// Its name.
        name: String,
        /// What it may be.
        expected: &'static str,
        /// What it was.
        got: u64,
    },
    /// Shares that are no whole.
    #[error("expected the shares of {name} to be 100 percent together, got {got}")]
    Shares {
        /// Of what.
        name: &'static str,
        /// Their sum.
        got: u64,
    },
}

impl Assumptions {
    /// Renditions and sound.
    pub(super) fn tracks(&self) -> u64 {
        self.ladder.len() as u64 + u64::from(self.audio_bits_per_second > 0)
    }

    /// Edges of all regions.
    pub(super) fn edges(&self) -> u64 {
        self.regions.iter().map(|region| region.edges).fold(0, u64::saturating_add)
    }

    /// All renditions and sound, bits per second.
    pub(super) fn ladder_bits_per_second(&self) -> u64 {
        let pictures = self.ladder.iter().map(|rendition| rendition.bits_per_second).fold(0, u64::saturating_add);
        pictures.saturating_add(self.audio_bits_per_second)
    }

    /// Checks every range.
    ///
    /// # Errors
    /// [`Error`] for the first that is outside.
    pub fn check(&self) -> Result<(), Error> {
        let within = |name: &str, got: u64, range: std::ops::RangeInclusive<u64>, expected| match range.contains(&got) {
            true => Ok(()),
            false => Err(Error::Value { name: name.to_owned(), expected, got }),
        };
        within("viewers", self.viewers, 1..=10_000_000_000, "1 to 10000000000")?;
        within("channels", self.channels, 1..=100_000, "1 to 100000")?;
        within("ladder", self.ladder.len() as u64, 1..=100, "1 to 100 renditions")?;
        within("regions", self.regions.len() as u64, 1..=1_000, "1 to 1000 regions")?;
        within("overhead_percent", self.overhead_percent, 0..=100, "0 to 100")?;
        within("segment_ms", self.segment_ms, 100..=60_000, "100 to 60000")?;
        within("part_ms", self.part_ms, 0..=self.segment_ms, "0 to segment_ms")?;
        if self.part_ms > 0 {
            within("part_ms", self.part_ms, 20..=60_000, "0, or 20 and more")?;
        }
        within("window_seconds", self.window_seconds, 1..=1_000_000, "1 to 1000000")?;
        within("shields", self.shields, 1..=10_000, "1 to 10000")?;
        within("origins", self.origins, 1..=100, "1 to 100")?;
        within("again_percent", self.again_percent, 0..=1_000, "0 to 1000")?;
        within("edge_hit_permille", self.edge_hit_permille.unwrap_or(0), 0..=1_000, "0 to 1000")?;
        within("shield_hit_permille", self.shield_hit_permille.unwrap_or(0), 0..=1_000, "0 to 1000")?;
        within("headroom_percent", self.headroom_percent, 0..=1_000, "0 to 1000")?;
        within("audio_bits_per_second", self.audio_bits_per_second, 0..=100_000_000, "0 to 100000000")?;
        for rendition in &self.ladder {
            let name = format!("ladder.{}.bits_per_second", rendition.name);
            within(&name, rendition.bits_per_second, 1_000..=1_000_000_000, "1000 to 1000000000")?;
        }
        for region in &self.regions {
            within(&format!("regions.{}.edges", region.name), region.edges, 1..=1_000_000, "1 to 1000000")?;
        }
        let whole = |name, shares: &mut dyn Iterator<Item = u64>| match shares.fold(0, u64::saturating_add) {
            100 => Ok(()),
            got => Err(Error::Shares { name, got }),
        };
        whole("ladder", &mut self.ladder.iter().map(|rendition| rendition.share_percent))?;
        whole("regions", &mut self.regions.iter().map(|region| region.share_percent))
    }
}
