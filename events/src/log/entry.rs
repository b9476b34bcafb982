// SPDX-License-Identifier: Apache-2.0
//! What a log takes and what it gives.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use headwater_media::UtcTime;

use crate::event::{self, Event, Kind};

/// Bytes of an event's JSON; larger ones are not taken.
pub(super) const JSON_BYTES_MAX: usize = 512 << 10;
/// Bytes of a channel or a key; larger ones are not taken.
pub(super) const NAME_BYTES_MAX: usize = 4 << 10;

/// Number of an event in a log: grows with each, over restarts too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub u64);

impl Offset {
    /// The next.
    #[must_use]
    pub const fn after(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// An event as a log takes it, encoded once.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its type.
    pub kind: Kind,
    /// Its channel, if it has one.
    pub channel: Option<Arc<str>>,
    /// What orders it among others.
    pub key: Arc<str>,
    /// CloudEvents JSON, one line.
    pub json: Bytes,
}

impl Entry {
    /// Encodes an event; none of one that is larger than a log takes.
    pub fn of(event: &Event) -> Option<Self> {
        let channel = event.data.channel();
        let (key, json) = (event.key(), event.to_json());
        let names = channel.map_or(0, str::len).max(key.len());
        let fits = json.len() <= JSON_BYTES_MAX && names <= NAME_BYTES_MAX;
        fits.then(|| Self { kind: event.kind(), channel: channel.map(Into::into), key: key.into(), json: json.into() })
    }

    /// The record of it at its place.
    pub(super) fn at(&self, offset: Offset, stored: UtcTime) -> Record {
        Record::new(offset, stored, self.kind, self.channel.clone(), Arc::clone(&self.key), &self.json)
    }
}

/// An event as the log holds it.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its number.
    pub offset: Offset,
    /// When the log took it; never earlier than those before it.
    pub stored: UtcTime,
    /// Its type.
    pub kind: Kind,
    /// Its channel, if it has one.
    pub channel: Option<Arc<str>>,
    /// What orders it among others.
    pub key: Arc<str>,
    /// The event, CloudEvents JSON.
    pub json: Bytes,
    /// As the live feed sends it; the JSON is a part of it. Made once, however many follow.
    frame: Bytes,
}

impl Record {
    /// A record of its parts.
    pub(crate) fn new(
        offset: Offset,
        stored: UtcTime,
        kind: Kind,
        channel: Option<Arc<str>>,
        key: Arc<str>,
        json: &[u8],
    ) -> Self {
        let mut frame = Vec::with_capacity(json.len() + 64);
        // Writing into a Vec does not fail.
        let _ = write!(frame, "id: {}\nevent: {kind}\ndata: ", offset.0);
        let start = frame.len();
        frame.extend_from_slice(json);
        frame.extend_from_slice(b"\n\n");
        let frame = Bytes::from(frame);
        let json = frame.slice(start..frame.len() - 2);
        Self { offset, stored, kind, channel, key, json, frame }
    }

    /// The event.
    ///
    /// # Errors
    /// [`event::Error`] if another version wrote another shape.
    pub fn event(&self) -> Result<Event, event::Error> {
        Event::from_json(&self.json)
    }

    /// As a server-sent event.
    pub(crate) fn frame(&self) -> Bytes {
        self.frame.clone()
    }

    /// What it costs to hold it in memory, about.
    pub(super) fn memory_bytes(&self) -> u64 {
        (self.frame.len() + 192) as u64
    }
}

/// What a reader is told where the log does not hold what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected events from {} on, the log goes on at {}", wanted.0, first.0)]
pub struct Lost {
    /// It asked for this one.
    pub wanted: Offset,
    /// The next there is.
    pub first: Offset,
}
