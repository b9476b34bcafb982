// SPDX-License-Identifier: Apache-2.0
//! DASH (ISO/IEC 23009-1): MPDs and their patches out, others' MPDs in.

pub mod mpd;
pub mod patch;
pub mod read;
