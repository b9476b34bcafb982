// SPDX-License-Identifier: Apache-2.0
//! From an encoder's samples to cuts on the channel's epoch grid.
//!
//! [`Assembler`] is the whole of a channel's timeline: it maps source time ([`anchor`], [`clock`]), tells what follows
//! from what starts anew (`progress`), orders what arrives ([`intake`]), learns the grid (`learner`), and cuts each
//! track into parts and segments ([`segmenter`]). Arrival times come in as arguments and decide only *whether*
//! something is late, lost or new, never what bytes are written.

pub mod anchor;
pub mod assembler;
mod candidates;
pub mod clock;
mod cut;
pub mod intake;
mod learner;
mod progress;
pub mod segmenter;

pub use assembler::{Assembler, Config, Defect, Output, TrackPlan};
pub use clock::SourceClock;
pub use cut::{Cut, PartCut};
pub use segmenter::Segmenter;
