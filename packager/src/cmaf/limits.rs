// SPDX-License-Identifier: Apache-2.0
//! Bounds of one body.

/// What a body may ask of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest box other than `mdat` and `moov`.
    pub box_bytes_max: usize,
    /// Largest `moov`.
    pub header_bytes_max: usize,
    /// Largest fragment: `moof` and its `mdat` together.
    pub fragment_bytes_max: usize,
    /// Most tracks in a header.
    pub tracks_max: usize,
    /// Most samples of one track in a fragment.
    pub samples_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            box_bytes_max: 4 << 20,
            header_bytes_max: 1 << 20,
            fragment_bytes_max: 64 << 20,
            tracks_max: 16,
            samples_max: 16_384,
        }
    }
}
