// SPDX-License-Identifier: Apache-2.0
//! The product as its users meet it: real processes, encoders, players; nothing in between is replaced.

mod abuse;
mod acknowledged;
mod analytics;
mod audit;
mod boxes;
mod check;
mod cluster;
mod corpus;
mod dash;
mod events;
mod feed;
mod harness;
mod hls;
mod kafka;
mod kills;
mod memory;
mod mpd;
mod operation;
mod players;
mod playlist;
mod pushes;
mod shield;
mod state;
mod twins;
mod warmed;
mod wire;
mod xml;
