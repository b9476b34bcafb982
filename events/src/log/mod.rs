// SPDX-License-Identifier: Apache-2.0
//! The embedded log: every event, in order, addressed by its offset.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use headwater_media::UtcTime;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::event::{self, Event, Kind};

/// Number of an event in a log: grows by one, over restarts too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub u64);

/// An event as the log holds it.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its number.
    pub offset: Offset,
    /// When the log took it.
    pub stored: UtcTime,
    /// Its type.
    pub kind: Kind,
    /// Its channel, if it has one.
    pub channel: Option<Arc<str>>,
    /// What orders it among others.
    pub key: Arc<str>,
    /// The event, CloudEvents JSON.
    pub json: Bytes,
}

impl Record {
    /// The event.
    ///
    /// # Errors
    /// [`event::Error`] if another version wrote another shape.
    pub fn event(&self) -> Result<Event, event::Error> {
        Event::from_json(&self.json)
    }
}

/// What a reader is told where the log does not hold what it asks for any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected events from {wanted:?} on, the log begins at {first:?}")]
pub struct Lost {
    /// What it asked for.
    pub wanted: Offset,
    /// The oldest there is.
    pub first: Offset,
}

/// A log.
#[derive(Debug)]
pub struct Log {
    /// Guards the records; held to append and to read, never across an await.
    records: Mutex<VecDeque<Record>>,
    end: watch::Sender<Offset>,
}

impl Log {
    /// A log in memory.
    pub fn memory() -> Self {
        Self { records: Mutex::default(), end: watch::Sender::new(Offset(0)) }
    }

    /// Adds events in their order, and tells readers.
    pub fn append(&self, events: &[Event], now: UtcTime) {
        let mut records = self.records.lock();
        let mut next = self.end.borrow().0;
        for event in events {
            records.push_back(Record {
                offset: Offset(next),
                stored: now,
                kind: event.kind(),
                channel: event.data.channel().map(Into::into),
                key: event.key().into(),
                json: event.to_json().into(),
            });
            next += 1;
        }
        drop(records);
        self.end.send_replace(Offset(next));
    }

    /// Where the next event will stand; changes with each append.
    pub fn end(&self) -> watch::Receiver<Offset> {
        self.end.subscribe()
    }

    /// The oldest event held.
    pub fn first(&self) -> Offset {
        self.records.lock().front().map_or(*self.end.borrow(), |record| record.offset)
    }

    /// Events from `from` on, at most `max`; none at the end.
    ///
    /// # Errors
    /// [`Lost`] if `from` is older than what is held.
    pub fn read(&self, from: Offset, max: usize) -> Result<Vec<Record>, Lost> {
        let records = self.records.lock();
        let first = records.front().map_or(*self.end.borrow(), |record| record.offset);
        if from < first {
            return Err(Lost { wanted: from, first });
        }
        let skip = usize::try_from(from.0 - first.0).unwrap_or(usize::MAX);
        Ok(records.iter().skip(skip).take(max).cloned().collect())
    }
}
