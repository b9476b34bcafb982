// SPDX-License-Identifier: Apache-2.0
//! Manifests, pure: ladder and windows in, HLS playlists and DASH MPDs out, and others' manifests back into numbers.
//!
//! No clock, no socket, no randomness: the same window and the same arguments give the same bytes on every origin, so a
//! validator over the bytes agrees between twins and a shield may take either one's answer.

pub mod bitrate;
pub mod dash;
mod decimal;
pub mod hls;
pub mod rules;
pub mod targets;

pub use targets::Targets;
