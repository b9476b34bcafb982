// SPDX-License-Identifier: Apache-2.0
//! The product as its users meet it: real processes, encoders, players; nothing in between is replaced.

mod dash;
mod harness;
mod hls;
mod players;
mod pushes;
mod state;
mod twins;
