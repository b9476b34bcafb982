// SPDX-License-Identifier: Apache-2.0
//! What changes is an event: CloudEvents that origin and shield publish, the log that keeps them, and who follows it.
//!
//! Serving never waits here: a publisher takes what it is given into a bounded queue, a thread of its own writes it to
//! the log, and the live feed and Kafka read the log.

pub mod config;
pub mod event;
pub mod feed;
pub mod filter;
pub mod follow;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod load;
pub mod log;
mod markdown;
pub mod metrics;
mod outgoing;
pub mod plan;
pub mod position;
pub mod publisher;
pub mod report;
pub mod schema;
pub mod topic;
pub mod unit;
pub mod webhook;
pub mod windows;

pub use config::Config;
pub use event::{Data, Event, Kind, Source};
pub use filter::Filter;
pub use follow::{Arrival, Follow, Position};
pub use load::Load;
pub use log::{Log, Offset, Record};
pub use metrics::Metrics;
pub use position::Positions;
pub use publisher::Publisher;
pub use webhook::Webhook;

#[cfg(test)]
mod tests {
    //! Events to test with.

    use headwater_media::UtcTime;

    use crate::event::{ChannelEnded, Data, PartReady, SegmentReady, Timestamp};

    /// The end of a channel.
    pub(crate) fn channel_ended(channel: &str) -> Data {
        Data::ChannelEnded(ChannelEnded { channel: channel.to_owned(), reason: "removed".to_owned() })
    }

    /// A part of a channel's video.
    pub(crate) fn part_ready(channel: &str, sequence: u64, part: u32) -> Data {
        Data::PartReady(PartReady {
            channel: channel.to_owned(),
            track: "video".to_owned(),
            generation: 0,
            sequence,
            part,
            start: Timestamp(UtcTime::from_nanos(0)),
            duration_ns: 200_000_000,
            bytes: 1_000,
            digest: "00".to_owned(),
            independent: part == 0,
            defects: Vec::new(),
            path: format!("/live/{channel}/video/{sequence}.{part}.m4s"),
        })
    }

    /// A segment of a channel's video.
    pub(crate) fn segment_ready(channel: &str, sequence: u64) -> Data {
        Data::SegmentReady(SegmentReady {
            channel: channel.to_owned(),
            track: "video".to_owned(),
            generation: 0,
            sequence,
            parts: 10,
            start: Timestamp(UtcTime::from_nanos(0)),
            duration_ns: 2_000_000_000,
            bytes: 10_000,
            digest: "00".to_owned(),
            independent: true,
            defects: Vec::new(),
            path: format!("/live/{channel}/video/{sequence}.m4s"),
        })
    }
}
