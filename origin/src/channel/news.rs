// SPDX-License-Identifier: Apache-2.0
//! What is told of a track's media: events that wait until whoever reads can find what they name.
//!
//! Bytes, then numbers, then the live edge, then these. Their times are the media's own, its end on the UTC timeline,
//! so that origins of the same media tell the same.

use headwater_events::event::{PartReady, SegmentExpired, SegmentLost, SegmentReady, Timestamp};
use headwater_events::{Data, Publisher};
use headwater_media::path::{LivePath, Object};
use headwater_media::{ChannelId, MediaDuration, MediaTime, OpenSegment, Part, Segment, TrackId, UtcTime};
use headwater_net::tag;
use http::HeaderValue;

use crate::store::StoredSegment;

/// What is to be told of one track.
#[derive(Debug)]
pub(super) struct News {
    channel: String,
    track: String,
    /// Since the live edge was moved last: a part, a segment's end, a few gaps and what left for them.
    waiting: Vec<(UtcTime, Data)>,
}

impl News {
    pub(super) fn new(channel: &ChannelId, track: &TrackId) -> Self {
        Self { channel: channel.to_string(), track: track.to_string(), waiting: Vec::new() }
    }

    /// A part of `open` is stored.
    pub(super) fn part(&mut self, open: &OpenSegment, part: &Part, digest: &HeaderValue) {
        let data = PartReady {
            channel: self.channel.clone(),
            track: self.track.clone(),
            generation: open.generation.0,
            sequence: open.number.0,
            part: part.index.0,
            start: Timestamp(part.start.utc()),
            duration_ns: nanos(part.duration),
            bytes: part.range.length_bytes,
            digest: tag::text(digest).to_owned(),
            independent: part.independent,
            defects: Vec::new(),
            path: self.path(Object::Part(&self.track, open.number, part.index)),
        };
        self.waiting.push(((part.start + part.duration).utc(), Data::PartReady(data)));
    }

    /// A segment is complete; `short` if samples are missing at its end.
    pub(super) fn segment(&mut self, segment: &Segment, digest: &HeaderValue, short: bool) {
        let data = SegmentReady {
            channel: self.channel.clone(),
            track: self.track.clone(),
            generation: segment.generation.0,
            sequence: segment.number.0,
            parts: u32::try_from(segment.parts.len()).unwrap_or(u32::MAX),
            start: Timestamp(segment.start.utc()),
            duration_ns: nanos(segment.duration),
            bytes: segment.length_bytes,
            digest: tag::text(digest).to_owned(),
            independent: segment.independent,
            defects: short.then(|| "short".to_owned()).into_iter().collect(),
            path: self.path(Object::Segment(&self.track, segment.number)),
        };
        self.waiting.push((segment.end().utc(), Data::SegmentReady(data)));
    }

    /// A segment is given up.
    pub(super) fn lost(&mut self, gap: &Segment) {
        let data = SegmentLost {
            channel: self.channel.clone(),
            track: self.track.clone(),
            generation: gap.generation.0,
            sequence: gap.number.0,
            start: Timestamp(gap.start.utc()),
            duration_ns: nanos(gap.duration),
        };
        self.waiting.push((gap.end().utc(), Data::SegmentLost(data)));
    }

    /// A segment's bytes are gone, when the track had reached `edge`.
    pub(super) fn expired(&mut self, segment: &StoredSegment, edge: MediaTime) {
        let data = SegmentExpired {
            channel: self.channel.clone(),
            track: self.track.clone(),
            generation: segment.generation.0,
            sequence: segment.number.0,
            path: self.path(Object::Segment(&self.track, segment.number)),
        };
        self.waiting.push((edge.utc(), Data::SegmentExpired(data)));
    }

    /// Tells what has waited.
    pub(super) fn tell(&mut self, publisher: &Publisher) {
        self.waiting.drain(..).for_each(|(time, data)| publisher.publish(time, data));
    }

    fn path(&self, object: Object<'_>) -> String {
        LivePath { channel: &self.channel, object }.to_string()
    }
}

fn nanos(duration: MediaDuration) -> u64 {
    u64::try_from(duration.nanos()).unwrap_or(0)
}
