// SPDX-License-Identifier: Apache-2.0
//! Events of channels and their timelines.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Timestamp;

/// A channel is on air: its playlists and manifests can be fetched, and parts of every track they list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChannelStarted {
    /// Its name.
    pub channel: String,
    /// Its generation.
    pub generation: u32,
    /// Its tracks by name.
    pub tracks: Vec<String>,
    /// Segment duration in nanoseconds.
    pub segment_ns: u64,
    /// Bits per second of its best picture and sound, as the manifests say them.
    pub bits_per_second: u64,
}

/// Nothing follows on a channel that was on air.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChannelEnded {
    /// Its name.
    pub channel: String,
    /// `ended` by the API, what it has can still be fetched; `removed` by the API or a reload, or `idle`, nothing can;
    /// `stopped` with the origin.
    pub reason: String,
}

/// A channel that was on air brings nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChannelStalled {
    /// Its name.
    pub channel: String,
    /// When its last part was published.
    pub since: Timestamp,
    /// The latest segment of any track.
    pub sequence: u64,
}

/// It goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChannelResumed {
    /// Its name.
    pub channel: String,
    /// How long nothing came, in milliseconds.
    pub stalled_ms: u64,
    /// The segment it goes on with.
    pub sequence: u64,
}

/// A track is on air from another sender or in another coding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceSwitched {
    /// Its channel.
    pub channel: String,
    /// The track.
    pub track: String,
    /// Who sent it before: the codec, a slash, and which sender of this track it is in the order they came.
    pub from: String,
    /// Who sends it now, likewise.
    pub to: String,
    /// First segment from there.
    pub sequence: u64,
    /// `coding` of the same sender, or the one before has `ended` or fallen `silent`.
    pub reason: String,
}

/// A new generation begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Discontinuity {
    /// Its channel.
    pub channel: String,
    /// The new generation, the discontinuity sequence number.
    pub generation: u32,
    /// Its first segment.
    pub sequence: u64,
    /// `header` or `timeline`: what was incompatible.
    pub reason: String,
}

/// Timed metadata that came with the media.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Marker {
    /// Its channel.
    pub channel: String,
    /// The track of metadata it came with; what comes with pictures or sound is of the whole channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track: Option<String>,
    /// Scheme, `urn:scte:scte35:2013:bin` for splices.
    pub scheme: String,
    /// Its value within the scheme.
    pub value: String,
    /// Its number within the scheme: copies have the same.
    pub id: u32,
    /// When it begins on the UTC timeline.
    pub start: Timestamp,
    /// How long it lasts, in milliseconds, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Its message, base64.
    pub data: String,
}

/// How a source's timeline was laid on UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Anchor {
    /// The source tells UTC itself.
    Source,
    /// By a pushed manifest: the clock of an MPD, or the date of a segment of an HLS playlist.
    Manifest,
    /// By the arrival of the first key frame.
    Arrival,
    /// The source began anew: right after what it had published.
    Continued,
}

/// Where a source's timeline lies on UTC: the ledger of a channel. Its event's time is where its generation begins; of the
/// first one, where the source's zero lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TimelineAnchored {
    /// Its channel.
    pub channel: String,
    /// Its generation.
    pub generation: u32,
    /// First segment of that generation; 0 of the first one.
    pub sequence: u64,
    /// How it was laid, in this run of the origin or before a restart.
    pub anchor: Anchor,
    /// Nanoseconds to add to the source's time for UTC; 0 where the source tells UTC.
    pub offset_ns: i64,
    /// Segment duration in nanoseconds.
    pub segment_ns: u64,
    /// Where segment 0 begins on UTC, modulo the segment duration, in nanoseconds.
    pub phase_ns: u64,
}
