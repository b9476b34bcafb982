// SPDX-License-Identifier: Apache-2.0
//! From an encoder's samples to cuts on the channel's epoch grid.
//!
//! [`Assembler`] is the whole of a channel's timeline: it maps source time ([`anchor`]), orders what arrives
//! ([`intake`]), learns the grid, and cuts each track into parts and segments ([`segmenter`]). Arrival times come in as
//! arguments and decide only *whether* something is late or lost, never what bytes are written.

pub mod anchor;
pub mod assembler;
pub mod intake;
pub mod segmenter;

pub use assembler::{Assembler, Config, Defect, Output, TrackPlan};
pub use segmenter::{Cut, PartCut, Segmenter};
