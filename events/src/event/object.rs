// SPDX-License-Identifier: Apache-2.0
//! Events of media: what became ready, what never will, what is gone.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Timestamp;

/// A part that can be fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PartReady {
    /// Its channel.
    pub channel: String,
    /// Its track.
    pub track: String,
    /// Generation of its header.
    pub generation: u32,
    /// Media sequence number of its segment.
    pub sequence: u64,
    /// Index in its segment.
    pub part: u32,
    /// Presentation time of its first sample on the UTC timeline.
    pub start: Timestamp,
    /// Duration in nanoseconds.
    pub duration_ns: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// XXH3 of its bytes, 128 bits, hexadecimal: what its ETag is made of.
    pub digest: String,
    /// It begins with a sync sample.
    pub independent: bool,
    /// What is wrong with it; nothing as a rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub defects: Vec<String>,
    /// Where it can be fetched, relative to the origin.
    pub path: String,
}

/// A complete segment that can be fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SegmentReady {
    /// Its channel.
    pub channel: String,
    /// Its track.
    pub track: String,
    /// Generation of its header.
    pub generation: u32,
    /// Media sequence number.
    pub sequence: u64,
    /// How many parts it has.
    pub parts: u32,
    /// Presentation time of its first sample on the UTC timeline.
    pub start: Timestamp,
    /// Duration in nanoseconds.
    pub duration_ns: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// XXH3 of its bytes, 128 bits, hexadecimal: what its ETag is made of.
    pub digest: String,
    /// It begins with a sync sample.
    pub independent: bool,
    /// What is wrong with it; nothing as a rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub defects: Vec<String>,
    /// Where it can be fetched, relative to the origin.
    pub path: String,
}

/// A segment that will never come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SegmentLost {
    /// Its channel.
    pub channel: String,
    /// Its track.
    pub track: String,
    /// Generation it would have had.
    pub generation: u32,
    /// Media sequence number.
    pub sequence: u64,
    /// Where it would begin on the UTC timeline.
    pub start: Timestamp,
    /// Duration in nanoseconds.
    pub duration_ns: u64,
}

/// A segment whose bytes are gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SegmentExpired {
    /// Its channel.
    pub channel: String,
    /// Its track.
    pub track: String,
    /// Generation of its header.
    pub generation: u32,
    /// Media sequence number.
    pub sequence: u64,
    /// Where it could be fetched.
    pub path: String,
}
