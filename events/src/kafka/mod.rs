// SPDX-License-Identifier: Apache-2.0
//! Kafka beside the log: a sink that publishes what the log holds, and a consumer that follows what others published.
//!
//! The log is the outbox. The sink reads it from the position that the brokers have acknowledged, so nothing is kept
//! twice, and a broker that is slow, dead or full holds up nobody but the sink. What waits too long the log drops, the oldest
//! `part.ready` first. Delivery is at least once and in order
//! per key; copies have the same id. Messages are CloudEvents in structured mode (Kafka protocol binding 1.0.2, 3.3).

mod client;
mod flight;
mod follow;
mod message;
mod metrics;
mod position;
mod producer;
mod running;
mod sink;
mod topics;

pub use client::{Error, check};
pub use follow::{Reading, Start, Until, follow};
pub use metrics::Metrics;
pub use sink::{Left, Sink};
