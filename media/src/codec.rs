// SPDX-License-Identifier: Apache-2.0
//! Codecs: the sample entry's four-character code and the RFC 6381 string that players read.

use std::fmt;

/// What a track is coded with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Codec {
    four_cc: [u8; 4],
    rfc6381: String,
}

impl Codec {
    /// A codec of sample entry `four_cc`, described to players by `rfc6381` (`avc1.42c01e`).
    pub fn new(four_cc: [u8; 4], rfc6381: impl Into<String>) -> Self {
        Self { four_cc, rfc6381: rfc6381.into() }
    }

    /// The sample entry's type.
    pub const fn four_cc(&self) -> [u8; 4] {
        self.four_cc
    }

    /// The `codecs` parameter (RFC 6381).
    pub fn rfc6381(&self) -> &str {
        &self.rfc6381
    }

    /// The family that may share a switching set or an audio group: `avc`, `hevc`, `av1`, `vp9`, `aac`, `ac-3`, `ec-3`, `opus`, `flac`, `wvtt`, `stpp`, or the four-character code.
    pub fn family(&self) -> &str {
        match &self.four_cc {
            b"avc1" | b"avc3" => "avc",
            b"hvc1" | b"hev1" => "hevc",
            b"av01" => "av1",
            b"vp09" => "vp9",
            b"mp4a" => "aac",
            b"Opus" => "opus",
            b"fLaC" => "flac",
            other => std::str::from_utf8(other).unwrap_or("unknown"),
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc6381)
    }
}
