// SPDX-License-Identifier: Apache-2.0
//! What can be wrong with a body of ISO base media boxes.

use crate::cmaf::boxes::FourCc;

/// Why a body was refused. The reader that returned it stays failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A field or child reaches past the end of its box.
    #[error("expected {need_bytes} more bytes in '{kind}', got {have_bytes}")]
    Truncated {
        /// The box that ends too early.
        kind: FourCc,
        /// Bytes the field takes.
        need_bytes: u64,
        /// Bytes left.
        have_bytes: u64,
    },
    /// A size that does not even hold the box's own header.
    #[error("expected '{kind}' to hold its own header, got a size of {size_bytes} bytes")]
    BoxSize {
        /// The box.
        kind: FourCc,
        /// Its claimed size.
        size_bytes: u64,
    },
    /// The bytes where a box should start are none.
    #[error("expected a box type, got '{found}'")]
    NotABox {
        /// What stood in the type's place.
        found: FourCc,
    },
    /// A box, or a fragment's `moof` and `mdat` together, past its bound.
    #[error("expected at most {max_bytes} bytes of '{kind}', got {size_bytes}")]
    TooBig {
        /// The box.
        kind: FourCc,
        /// Claimed size.
        size_bytes: u64,
        /// Bound from [`Limits`](crate::cmaf::Limits).
        max_bytes: u64,
    },
    /// More tracks, samples or `mdat` boxes than the bound.
    #[error("expected at most {max} {what}, got {count}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many came.
        count: u64,
        /// Bound.
        max: u64,
    },
    /// A mandatory box is absent.
    #[error("expected '{kind}' in '{parent}'")]
    Missing {
        /// The absent box.
        kind: FourCc,
        /// Where it belongs.
        parent: FourCc,
    },
    /// A field whose value has no meaning.
    #[error("expected a valid {field} in '{kind}', got {value}")]
    Field {
        /// The box.
        kind: FourCc,
        /// The field.
        field: &'static str,
        /// What came.
        value: u64,
    },
    /// The codec configuration cannot be read.
    #[error("expected a readable sample entry '{four_cc}': {detail}")]
    SampleEntry {
        /// The sample entry's type.
        four_cc: FourCc,
        /// What the decoder of sample entries said.
        detail: String,
    },
    /// No track of the header has a codec we carry.
    #[error("expected a supported codec, got '{four_cc}'")]
    UnsupportedCodec {
        /// The first track's sample entry.
        four_cc: FourCc,
    },
    /// A fragment of a track that no header describes.
    #[error("expected a header before a fragment of track {source_id}")]
    NoHeader {
        /// `track_ID` of the fragment.
        source_id: u32,
    },
    /// A sample's bytes are not in the fragment's `mdat`.
    #[error(
        "expected {size_bytes} bytes of track {source_id} at offset {offset_bytes} within the fragment's media data"
    )]
    SampleOutside {
        /// `track_ID` of the fragment.
        source_id: u32,
        /// From the start of the body.
        offset_bytes: i64,
        /// Sample size.
        size_bytes: u32,
    },
    /// Another `moof` or header began before the last fragment had its bytes.
    #[error("expected {need_bytes} bytes of media data after a moof, got {have_bytes}")]
    NoMediaData {
        /// Sum of the sample sizes.
        need_bytes: u64,
        /// Bytes of `mdat` that came.
        have_bytes: u64,
    },
}

impl Error {
    /// HTTP status a sender should see (DASH-IF Live Media Ingest v1.2): 412 asks it for the header again.
    pub const fn status(&self) -> u16 {
        match self {
            Self::NoHeader { .. } => 412,
            Self::TooBig { .. } | Self::TooMany { .. } => 413,
            Self::UnsupportedCodec { .. } => 415,
            _ => 400,
        }
    }
}
