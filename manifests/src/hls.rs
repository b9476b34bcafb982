// SPDX-License-Identifier: Apache-2.0
//! HLS (draft-pantos-hls-rfc8216bis): playlists out, delivery directives and others' playlists in.

pub mod directives;
pub mod media;
pub mod multivariant;
pub mod read;
mod tags;
