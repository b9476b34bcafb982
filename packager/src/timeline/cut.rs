// SPDX-License-Identifier: Apache-2.0
//! What cutting gives: parts, and the ends of segments.

use headwater_media::{MediaDuration, MediaTime, PartIndex, SegmentNumber};

use crate::Sample;

/// What a sample completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cut {
    /// A part: one CMAF chunk.
    Part(PartCut),
    /// No further part belongs to this segment.
    End {
        /// The segment.
        number: SegmentNumber,
        /// Samples are missing at its end.
        short: bool,
    },
}

/// A finished part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartCut {
    /// Segment it belongs to.
    pub number: SegmentNumber,
    /// Place in the segment.
    pub index: PartIndex,
    /// First sample decodes alone.
    pub independent: bool,
    /// Earliest presentation time of its samples.
    pub start: MediaTime,
    /// Sum of its samples' durations.
    pub duration: MediaDuration,
    /// Its samples, consecutive in decode order, at least one.
    pub samples: Vec<Sample>,
}
