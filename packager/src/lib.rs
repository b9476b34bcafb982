// SPDX-License-Identifier: Apache-2.0
//! Packaging, pure: an encoder's bytes in; samples, cuts and canonical CMAF chunks out.
//!
//! No clock, no socket, no async, no randomness. What leaves this crate is a function of the samples and the channel's
//! configuration alone, so two origins fed the same encoder write the same bytes.

pub mod cmaf;
pub mod sample;
pub mod timeline;

pub use sample::Sample;
