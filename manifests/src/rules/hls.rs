// SPDX-License-Identifier: Apache-2.0
//! The rules of HLS playlists (draft-pantos-hls-rfc8216bis), from one text, from two versions of it, and across renditions.

pub mod delta;
pub mod media;
pub mod multivariant;
pub mod parts;
pub mod renditions;
pub mod succession;

use super::Rule;

/// Every rule of HLS that is judged from text alone.
pub fn all() -> Vec<&'static Rule> {
    let groups = [media::RULES, parts::RULES, succession::RULES, delta::RULES, renditions::RULES, multivariant::RULES];
    groups.into_iter().flatten().copied().collect()
}

/// Nanoseconds as seconds, for words.
pub(crate) fn seconds(nanos: i128) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let text = format!("{sign}{}.{:09}", nanos.abs() / 1_000_000_000, nanos.abs() % 1_000_000_000);
    format!("{} s", text.trim_end_matches('0').trim_end_matches('.'))
}
