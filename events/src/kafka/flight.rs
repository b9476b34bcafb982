// SPDX-License-Identifier: Apache-2.0
//! The events that the client has and the brokers have not acknowledged, and up to where everything is.
//!
//! No clock, no client, no log: whoever owns it reads the log and tells what was read. What waits behind is the log's to
//! keep and to bound.

use std::collections::VecDeque;

use headwater_media::UtcTime;

use crate::event::Kind;
use crate::log::{Offset, Record};

/// Events that the client has at once, and those behind one of them that is late.
const EVENTS_MAX: usize = 10_000;
/// Bytes that it has at once.
const BYTES_MAX: u64 = 8 << 20;

/// An event that the client was handed.
#[derive(Clone, Copy, Debug)]
struct Flying {
    offset: Offset,
    bytes: u64,
    kind: Kind,
    stored: UtcTime,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The client has it.
    Sent,
    /// To be handed over again.
    Again,
    /// Acknowledged, or given up.
    Done,
}

/// What left the flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Landed {
    /// Its type.
    pub(super) kind: Kind,
    /// When the log took it.
    pub(super) stored: UtcTime,
}

/// What flies.
#[derive(Debug)]
pub(super) struct Flight {
    /// By offset; the first is not done.
    flying: VecDeque<Flying>,
    bytes: u64,
    /// The next to be handed over.
    next: Offset,
    /// The first that was never handed over.
    fresh: Offset,
}

impl Flight {
    /// Everything from `position` on is to be sent.
    pub(super) fn from(position: Offset) -> Self {
        Self { flying: VecDeque::new(), bytes: 0, next: position, fresh: position }
    }

    /// Everything before this is acknowledged or given up.
    pub(super) fn position(&self) -> Offset {
        self.flying.front().map_or(self.next, |first| first.offset)
    }

    /// The record to be read and handed over next.
    pub(super) fn next(&self) -> Offset {
        self.next
    }

    /// True if another may be handed over.
    pub(super) fn has_room(&self) -> bool {
        self.next < self.fresh || self.flying.len() < EVENTS_MAX && self.bytes < BYTES_MAX
    }

    /// How many the brokers have not acknowledged.
    pub(super) fn len(&self) -> u64 {
        self.flying.iter().filter(|flying| flying.state != State::Done).count() as u64
    }

    /// True if nothing flies.
    pub(super) fn is_empty(&self) -> bool {
        self.flying.is_empty()
    }

    /// The log has nothing between the next to be handed over and `offset`; how many were to be handed over again.
    pub(super) fn skip_to(&mut self, offset: Offset) -> u64 {
        let mut gone = 0;
        for flying in self.flying.iter_mut().filter(|f| f.offset < offset && f.state == State::Again) {
            flying.state = State::Done;
            self.bytes -= flying.bytes;
            gone += 1;
        }
        self.next = self.next.max(offset);
        self.fresh = self.fresh.max(self.next);
        self.settle();
        gone
    }

    /// The log has none of those that were to be handed over again; how many they were.
    pub(super) fn skip_rest(&mut self) -> u64 {
        self.skip_to(self.fresh)
    }

    /// True if `record`, the next, is to be handed over; false if it was acknowledged.
    pub(super) fn wants(&self, record: &Record) -> bool {
        self.find(record.offset).is_none_or(|at| self.flying[at].state != State::Done)
    }

    /// `record`, the next, was handed over, or is not [wanted](Self::wants).
    pub(super) fn pass(&mut self, record: &Record) {
        let offset = record.offset;
        match self.find(offset) {
            Some(at) if self.flying[at].state == State::Again => self.flying[at].state = State::Sent,
            Some(_) => {}
            None => {
                let bytes = (record.json.len() + record.key.len()) as u64;
                let (kind, stored, state) = (record.kind, record.stored, State::Sent);
                self.flying.push_back(Flying { offset, bytes, kind, stored, state });
                self.bytes += bytes;
            }
        }
        self.next = offset.after();
        self.fresh = self.fresh.max(self.next);
        self.settle();
    }

    /// The event at `offset` is acknowledged, or given up; `None` if it was before.
    pub(super) fn land(&mut self, offset: Offset) -> Option<Landed> {
        let at = self.find(offset)?;
        let flying = &mut self.flying[at];
        if flying.state == State::Done {
            return None;
        }
        flying.state = State::Done;
        self.bytes -= flying.bytes;
        let landed = Landed { kind: flying.kind, stored: flying.stored };
        self.settle();
        Some(landed)
    }

    /// The type of the event at `offset`, if it flies.
    pub(super) fn kind(&self, offset: Offset) -> Option<Kind> {
        let flying = &self.flying[self.find(offset)?];
        (flying.state != State::Done).then_some(flying.kind)
    }

    /// The client is gone: what it had is to be handed over again, from the position on.
    pub(super) fn rewind(&mut self) {
        for flying in self.flying.iter_mut().filter(|flying| flying.state == State::Sent) {
            flying.state = State::Again;
        }
        self.next = self.position();
    }

    fn find(&self, offset: Offset) -> Option<usize> {
        self.flying.binary_search_by_key(&offset, |flying| flying.offset).ok()
    }

    fn settle(&mut self) {
        while self.flying.front().is_some_and(|first| first.state == State::Done && first.offset < self.next) {
            self.flying.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(events: u64) -> Vec<Record> {
        let record = |offset| {
            let (offset, stored) = (Offset(offset), UtcTime::from_nanos(0));
            Record::new(offset, stored, Kind::PartReady, None, "key".into(), b"{}")
        };
        (0..events).map(record).collect()
    }

    /// Hands over what it wants, at most `max`; offsets of what was sent.
    fn hand_over(flight: &mut Flight, log: &[Record], max: usize) -> Vec<u64> {
        let mut sent = Vec::new();
        for record in log {
            if record.offset < flight.next() || sent.len() == max {
                continue;
            }
            flight.skip_to(record.offset);
            if flight.wants(record) {
                sent.push(record.offset.0);
            }
            flight.pass(record);
        }
        sent
    }

    #[test]
    fn the_position_is_the_end_of_the_longest_acknowledged_beginning() {
        let mut flight = Flight::from(Offset(0));
        assert_eq!(hand_over(&mut flight, &log(4), 9), [0, 1, 2, 3]);
        flight.land(Offset(1));
        flight.land(Offset(2));
        assert_eq!(flight.position(), Offset(0));
        flight.land(Offset(0));
        assert_eq!((flight.position(), flight.len()), (Offset(3), 1));
        assert!(flight.land(Offset(3)).is_some());
        assert!(flight.land(Offset(3)).is_none(), "once");
        assert_eq!((flight.position(), flight.bytes), (Offset(4), 0));
    }

    #[test]
    fn a_new_client_gets_what_is_not_acknowledged_once_more_in_order() {
        let mut flight = Flight::from(Offset(0));
        hand_over(&mut flight, &log(5), 4);
        flight.land(Offset(0));
        flight.land(Offset(2));
        flight.rewind();
        assert_eq!(hand_over(&mut flight, &log(5), 9), [1, 3, 4]);
        for offset in [1, 3, 4] {
            assert!(flight.land(Offset(offset)).is_some());
        }
        assert_eq!((flight.position(), flight.bytes), (Offset(5), 0));
    }

    #[test]
    fn an_acknowledgement_of_the_old_client_counts_during_the_second_sending() {
        let mut flight = Flight::from(Offset(0));
        hand_over(&mut flight, &log(2), 2);
        flight.rewind();
        flight.land(Offset(0));
        assert_eq!(hand_over(&mut flight, &log(2), 9), [1]);
        assert_eq!(flight.position(), Offset(1));
    }

    #[test]
    fn what_the_log_has_dropped_holds_nothing_up() {
        let (mut flight, log) = (Flight::from(Offset(0)), log(8));
        hand_over(&mut flight, &log, 4);
        flight.rewind();
        assert_eq!(hand_over(&mut flight, &[log[1].clone(), log[6].clone()], 9), [1, 6]);
        assert_eq!((flight.position(), flight.len()), (Offset(1), 2));
        flight.land(Offset(1));
        assert_eq!(flight.position(), Offset(6));
        flight.rewind();
        assert_eq!(flight.skip_to(Offset(8)), 1);
        assert_eq!((flight.position(), flight.bytes), (Offset(8), 0));
    }

    #[test]
    fn a_flight_that_is_full_has_room_for_those_that_fly_again() {
        let mut flight = Flight::from(Offset(0));
        hand_over(&mut flight, &log(EVENTS_MAX as u64), EVENTS_MAX);
        assert!(!flight.has_room());
        flight.rewind();
        assert!(flight.has_room());
    }
}
