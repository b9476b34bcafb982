// SPDX-License-Identifier: Apache-2.0
//! One movie fragment as it came: `moof` and all its media data.

use crate::Sample;
use crate::cmaf::ProducerTime;

/// A whole fragment: every sample has its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// `sequence_number` of its `mfhd`; senders restart it as they like.
    pub sequence: u32,
    /// Its tracks' samples, in the order of its `traf` boxes; never empty.
    pub tracks: Vec<TrackFragment>,
    /// What its segment says of itself.
    pub brands: Brands,
    /// The wall clock that its `prft` ties to it.
    pub producer_time: Option<ProducerTime>,
}

/// One track's samples in a fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackFragment {
    /// `track_ID` in the source's header.
    pub source_id: u32,
    /// Decode time of the first sample; `None` if the fragment has neither `tfdt` nor `tfxd`.
    pub decode_time: Option<SourceTime>,
    /// Samples in decode order, never empty. Their decode times count on from [`Self::decode_time`] (as a signed
    /// number), or from 0 without one; the edit list is not applied, see
    /// [`TrackHeader::apply_edit`](crate::cmaf::TrackHeader::apply_edit).
    pub samples: Vec<Sample>,
}

/// A decode time as the source wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceTime {
    /// Ticks of the track's timescale.
    pub ticks: u64,
    /// Width of the field, 32 or 64: a 32-bit time wraps, and the caller unrolls it.
    pub bits: u8,
}

/// Brands of the segment type (`styp`) that precedes a fragment; they hold until the next `styp` or header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Brands {
    /// `lmsg`: the last segment of this push.
    pub last: bool,
    /// `slat`: a slate, replaceable by real media of the same time.
    pub slate: bool,
}
