// SPDX-License-Identifier: Apache-2.0
//! What changes is an event: CloudEvents that origin and shield publish, the log that keeps them, and who follows it.
//!
//! Serving never waits here: a publisher takes what it is given into a bounded queue, a thread of its own writes it to
//! the log, and the live feed and Kafka read the log.

pub mod config;
pub mod event;
pub mod filter;
pub mod follow;
pub mod log;
pub mod publisher;
pub mod schema;
pub mod topic;
pub mod windows;

pub use config::Config;
pub use event::{Data, Event, Kind, Source};
pub use filter::Filter;
pub use follow::{Arrival, Follow, Position};
pub use log::{Log, Offset, Record};
pub use publisher::Publisher;
