// SPDX-License-Identifier: Apache-2.0
//! The rules of MPDs (ISO/IEC 23009-1, DASH-IF IOP), from one text and from two versions of it.

pub mod mpd;
pub mod patch;
pub mod succession;
pub mod timeline;

use super::Rule;

/// Every rule of DASH that is judged from text alone.
pub fn all() -> Vec<&'static Rule> {
    [mpd::RULES, timeline::RULES, succession::RULES, patch::RULES].into_iter().flatten().copied().collect()
}
