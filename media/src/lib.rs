// SPDX-License-Identifier: Apache-2.0
//! The nouns of live video, pure: no clock, no socket, no async.
//!
//! Everything here is a value. Time is integer ticks with its [`time::Timescale`], so rates such as
//! 30000/1001 stay exact from the encoder's sample to the manifest's decimal.

pub mod codec;
pub mod grid;
pub mod id;
pub mod ladder;
pub mod path;
pub mod time;
pub mod window;

pub use codec::Codec;
pub use grid::Grid;
pub use id::{ChannelId, Generation, PartIndex, SegmentNumber, TrackId};
pub use ladder::{Audio, FrameRate, Kind, Ladder, Track, Video};
pub use time::{MediaDuration, MediaTime, Timescale, UtcTime};
pub use window::{ByteRange, OpenSegment, Part, Segment, Window};
