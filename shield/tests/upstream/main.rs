// SPDX-License-Identifier: Apache-2.0
//! Groups of origins against origins that misbehave on purpose, over real sockets: origin, group and what is asked in
//! one place, read top to bottom.

#![allow(clippy::unwrap_used)]

mod bodies;
mod checks;
mod failover;
mod hedging;
mod resuming;
mod script;
mod secure;
mod siblings;
