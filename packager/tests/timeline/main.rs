// SPDX-License-Identifier: Apache-2.0
//! The timeline against real encoders' bytes, against itself, and against hostile input.

mod broken;
mod determinism;
mod hostile;
mod ladder;
mod layouts;
mod properties;
mod restarts;
mod rig;
mod segmenter;
mod several_bodies;
mod several_tracks;
mod tidy;
