// SPDX-License-Identifier: Apache-2.0
//! The live feed: a log over HTTP as server-sent events (HTML, 9.2), and who follows it from elsewhere.
//!
//! `id` is the offset, `event` the type, `data` the CloudEvent. A follower reads the log at its own pace, so it costs a
//! place in the log and what is on its way to it; one that takes nothing is dropped and resumes where it was.

mod client;
mod follower;
mod query;
mod server;
pub mod wire;

use std::time::Duration;

use headwater_media::UtcTime;

use crate::log::Offset;

pub use client::{Unusable, follow};
pub use query::Invalid;
pub use server::router;

/// The response header that tells logs apart: another value, and offsets mean other events.
pub const LOG: http::HeaderName = http::HeaderName::from_static("headwater-log");

/// How often a follower hears that nothing happened.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// How long a follower may take nothing of what is ready for it.
const STALL_MAX: Duration = Duration::from_secs(30);
/// How long a feed may be silent before it is asked again: three missing keep-alives.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// Where a follower begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Since {
    /// With the oldest event there is.
    First,
    /// With the next event.
    #[default]
    End,
    /// With this one.
    Offset(Offset),
    /// With the first that was stored then or later.
    Time(UtcTime),
}
