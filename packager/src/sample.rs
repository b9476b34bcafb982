// SPDX-License-Identifier: Apache-2.0
//! The coded frame that every input becomes and every output is written from.

use bytes::Bytes;

/// One coded frame on its track's timeline, in ticks of that track's timescale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Decode time. On the source's timeline as read; on the channel's once mapped.
    pub decode_time: i64,
    /// Presentation time − decode time, edit list applied.
    pub composition_offset: i32,
    /// How long it lasts.
    pub duration: u32,
    /// Decodes alone (a sync sample).
    pub sync: bool,
    /// The coded bytes, in the sample entry's format.
    pub data: Bytes,
}

impl Sample {
    /// When it is shown.
    pub fn presentation_time(&self) -> i64 {
        self.decode_time.saturating_add(i64::from(self.composition_offset))
    }
}
