// SPDX-License-Identifier: Apache-2.0
//! What of the log the brokers have not acknowledged: what is in flight, what waits behind it, and what is given up when
//! more waits than may.
//!
//! No clock, no client, no log: whoever owns it reads the log and tells what was read.

use std::collections::VecDeque;

use headwater_media::UtcTime;

use crate::event::Kind;
use crate::log::{Offset, Record};

/// Events handed to the client at once, and those behind one of them that is late.
const FLIGHT_EVENTS_MAX: usize = 10_000;
/// Bytes handed to the client at once.
const FLIGHT_BYTES_MAX: u64 = 8 << 20;

/// An event handed to the client.
#[derive(Clone, Copy, Debug)]
struct Flight {
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

/// What to do with a record that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Hand it to the client.
    Send,
    /// Nothing: it is acknowledged or given up.
    Pass,
}

/// What left the flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Landed {
    /// Its type.
    pub(super) kind: Kind,
    /// When the log took it.
    pub(super) stored: UtcTime,
}

/// The events between the acknowledged position and the end of the log.
#[derive(Debug)]
pub(super) struct Outbox {
    bytes_max: u64,
    /// By offset; the first is not done.
    flight: VecDeque<Flight>,
    flight_bytes: u64,
    /// The next to be handed over.
    next: Offset,
    /// The first that was never handed over.
    fresh: Offset,
    /// Up to here what waits from `fresh` on is counted.
    counted: Offset,
    waiting_events: u64,
    waiting_bytes: u64,
    /// `part.ready` before this are given up.
    no_parts_before: Offset,
    /// Anything before this is given up.
    nothing_before: Offset,
}

impl Outbox {
    /// Everything from `position` on is to be sent.
    pub(super) fn new(position: Offset, bytes_max: u64) -> Self {
        Self {
            bytes_max,
            flight: VecDeque::new(),
            flight_bytes: 0,
            next: position,
            fresh: position,
            counted: position,
            waiting_events: 0,
            waiting_bytes: 0,
            no_parts_before: position,
            nothing_before: position,
        }
    }

    /// Everything before this is acknowledged or given up.
    pub(super) fn position(&self) -> Offset {
        self.flight.front().map_or(self.next, |first| first.offset)
    }

    /// The record to be read and handed over next.
    pub(super) fn next(&self) -> Offset {
        self.next
    }

    /// The record from which on what waits is still to be counted.
    pub(super) fn counted(&self) -> Offset {
        self.counted
    }

    /// True if another may be handed to the client.
    pub(super) fn has_room(&self) -> bool {
        self.next < self.fresh || self.flight.len() < FLIGHT_EVENTS_MAX && self.flight_bytes < FLIGHT_BYTES_MAX
    }

    /// Events and bytes that are not acknowledged, as far as they are counted.
    pub(super) fn backlog(&self) -> (u64, u64) {
        let flying = self.flight.iter().filter(|flight| flight.state != State::Done).count() as u64;
        (flying + self.waiting_events, self.flight_bytes + self.waiting_bytes)
    }

    /// True if nothing is in flight.
    pub(super) fn is_landed(&self) -> bool {
        self.flight.is_empty()
    }

    /// What to do with `record`, the one at [`next`](Self::next) or the first behind it; [`Self::sent`] or
    /// [`Self::passed`] must follow, or nothing has happened.
    pub(super) fn turn(&self, record: &Record) -> Turn {
        let offset = record.offset;
        match self.flight.binary_search_by_key(&offset, |flight| flight.offset) {
            Ok(at) if self.flight[at].state == State::Done => Turn::Pass,
            Ok(_) => Turn::Send,
            Err(_) if self.is_given_up(record) => Turn::Pass,
            Err(_) => Turn::Send,
        }
    }

    fn is_given_up(&self, record: &Record) -> bool {
        record.offset < self.nothing_before || record.kind == Kind::PartReady && record.offset < self.no_parts_before
    }

    /// The client has `record`.
    pub(super) fn sent(&mut self, record: &Record) {
        let (offset, bytes) = (record.offset, size(record));
        match self.flight.binary_search_by_key(&offset, |flight| flight.offset) {
            Ok(at) => self.flight[at].state = State::Sent,
            Err(at) => {
                let flight = Flight { offset, bytes, kind: record.kind, stored: record.stored, state: State::Sent };
                self.flight.insert(at, flight);
                self.flight_bytes += bytes;
            }
        }
        self.go_past(record);
    }

    /// `record` needs nothing more.
    pub(super) fn passed(&mut self, record: &Record) {
        self.go_past(record);
    }

    fn go_past(&mut self, record: &Record) {
        if record.offset >= self.fresh && record.offset < self.counted && !self.is_given_up(record) {
            self.waiting_events = self.waiting_events.saturating_sub(1);
            self.waiting_bytes = self.waiting_bytes.saturating_sub(size(record));
        }
        self.next = Offset(record.offset.0 + 1);
        self.fresh = self.fresh.max(self.next);
        if self.counted <= self.fresh {
            self.counted = self.fresh;
            // The log may have dropped some that were counted.
            self.waiting_events = 0;
            self.waiting_bytes = 0;
        }
        self.settle();
    }

    fn settle(&mut self) {
        while self.flight.front().is_some_and(|first| first.state == State::Done && first.offset < self.next) {
            self.flight.pop_front();
        }
    }

    /// The event at `offset` is acknowledged, or given up by the caller.
    pub(super) fn land(&mut self, offset: Offset) -> Option<Landed> {
        let at = self.flight.binary_search_by_key(&offset, |flight| flight.offset).ok()?;
        let flight = &mut self.flight[at];
        if flight.state == State::Done {
            return None;
        }
        flight.state = State::Done;
        self.flight_bytes -= flight.bytes;
        let landed = Landed { kind: flight.kind, stored: flight.stored };
        self.settle();
        Some(landed)
    }

    /// The type of the event at `offset`, if it flies.
    pub(super) fn flying(&self, offset: Offset) -> Option<Kind> {
        let at = self.flight.binary_search_by_key(&offset, |flight| flight.offset).ok()?;
        Some(self.flight[at]).filter(|flight| flight.state != State::Done).map(|flight| flight.kind)
    }

    /// The client is gone: what it had is to be handed over again, from the position on.
    pub(super) fn rewind(&mut self) {
        for flight in &mut self.flight {
            if flight.state == State::Sent {
                flight.state = State::Again;
            }
        }
        let Some(first) = self.flight.front() else { return };
        self.next = first.offset;
    }

    /// Counts records that wait, in order from [`counted`](Self::counted) on.
    pub(super) fn count(&mut self, records: &[Record]) {
        for record in records {
            if record.offset < self.counted {
                continue;
            }
            if !self.is_given_up(record) {
                self.waiting_events += 1;
                self.waiting_bytes += size(record);
            }
            self.counted = Offset(record.offset.0 + 1);
        }
    }

    /// Where the next to be given up may lie, if more waits than may: the oldest part, and only without one the oldest of
    /// anything. What the client has is not among them.
    pub(super) fn victim(&self) -> Option<Victim> {
        if self.flight_bytes + self.waiting_bytes <= self.bytes_max {
            return None;
        }
        let parts = self.no_parts_before.max(self.fresh);
        let any = self.nothing_before.max(self.fresh);
        [Victim { from: parts, parts_only: true }, Victim { from: any, parts_only: false }]
            .into_iter()
            .find(|victim| victim.from < self.counted)
    }

    /// Gives `record`, the first from `victim` on, up if it is one of those; true if it was.
    pub(super) fn give_up(&mut self, victim: Victim, record: &Record) -> bool {
        let was = self.is_given_up(record);
        let past = Offset(record.offset.0 + 1);
        if victim.parts_only {
            self.no_parts_before = past;
        } else {
            self.nothing_before = past;
        }
        let is = !was && record.offset < self.counted && self.is_given_up(record);
        if is {
            self.waiting_events = self.waiting_events.saturating_sub(1);
            self.waiting_bytes = self.waiting_bytes.saturating_sub(size(record));
        }
        is
    }

    /// The log holds nothing before `first` any more; how many were still to be handed over.
    pub(super) fn lost(&mut self, first: Offset) -> u64 {
        let mut lost = first.0.saturating_sub(self.fresh.0);
        for flight in self.flight.iter_mut().filter(|f| f.offset < first && f.state == State::Again) {
            flight.state = State::Done;
            self.flight_bytes -= flight.bytes;
            lost += 1;
        }
        self.next = self.next.max(first);
        self.fresh = self.fresh.max(first);
        // What is gone was counted with the others: they are counted anew.
        self.waiting_events = 0;
        self.waiting_bytes = 0;
        self.counted = self.fresh;
        self.settle();
        lost
    }
}

/// Where to look for what is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Victim {
    /// The record to look at.
    pub(super) from: Offset,
    parts_only: bool,
}

/// Bytes that an event counts for.
fn size(record: &Record) -> u64 {
    (record.json.len() + record.key.len()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records of 100 bytes; `p` is a part, `s` a segment.
    fn log(kinds: &str) -> Vec<Record> {
        let kind = |c| if c == 'p' { Kind::PartReady } else { Kind::SegmentReady };
        let record = |(offset, c)| {
            Record::new(Offset(offset as u64), UtcTime::from_nanos(0), kind(c), None, "key".into(), &[b' '; 97])
        };
        kinds.chars().enumerate().map(record).collect()
    }

    /// Hands over what it wants of the log; offsets of what was sent.
    fn hand_over(outbox: &mut Outbox, log: &[Record], max: usize) -> Vec<u64> {
        let mut sent = Vec::new();
        for record in &log[usize::try_from(outbox.next().0).unwrap()..] {
            if sent.len() == max {
                break;
            }
            match outbox.turn(record) {
                Turn::Send => {
                    outbox.sent(record);
                    sent.push(record.offset.0);
                }
                Turn::Pass => outbox.passed(record),
            }
        }
        sent
    }

    /// Counts the log and gives up what is too much; offsets of it.
    fn bound(outbox: &mut Outbox, log: &[Record]) -> Vec<u64> {
        outbox.count(log);
        let mut gone = Vec::new();
        while let Some(victim) = outbox.victim() {
            let record = &log[usize::try_from(victim.from.0).unwrap()];
            if outbox.give_up(victim, record) {
                gone.push(record.offset.0);
            }
        }
        gone
    }

    #[test]
    fn the_position_is_the_end_of_the_longest_acknowledged_beginning() {
        let log = log("ppps");
        let mut outbox = Outbox::new(Offset(0), 1_000);
        assert_eq!(hand_over(&mut outbox, &log, 9), [0, 1, 2, 3]);
        outbox.land(Offset(1));
        outbox.land(Offset(2));
        assert_eq!(outbox.position(), Offset(0));
        outbox.land(Offset(0));
        assert_eq!(outbox.position(), Offset(3));
        assert_eq!(outbox.backlog(), (1, 100));
        outbox.land(Offset(3));
        assert_eq!((outbox.position(), outbox.backlog()), (Offset(4), (0, 0)));
    }

    #[test]
    fn a_new_client_gets_what_is_not_acknowledged_once_more_in_order() {
        let log = log("pppps");
        let mut outbox = Outbox::new(Offset(0), 1_000);
        hand_over(&mut outbox, &log, 4);
        outbox.land(Offset(0));
        outbox.land(Offset(2));
        outbox.rewind();
        assert_eq!(hand_over(&mut outbox, &log, 9), [1, 3, 4]);
        assert_eq!(outbox.backlog(), (3, 300));
        for offset in [1, 3, 4] {
            assert!(outbox.land(Offset(offset)).is_some());
        }
        assert_eq!((outbox.position(), outbox.backlog()), (Offset(5), (0, 0)));
    }

    #[test]
    fn an_acknowledgement_of_the_old_client_counts_during_the_second_sending() {
        let log = log("pp");
        let mut outbox = Outbox::new(Offset(0), 1_000);
        hand_over(&mut outbox, &log, 2);
        outbox.rewind();
        outbox.land(Offset(0));
        assert_eq!(hand_over(&mut outbox, &log, 9), [1]);
        assert_eq!(outbox.position(), Offset(1));
    }

    #[test]
    fn the_oldest_parts_are_given_up_first_and_only_then_the_oldest_of_anything() {
        let log = log("pspspsss");
        let mut outbox = Outbox::new(Offset(0), 500);
        hand_over(&mut outbox, &log, 1);
        assert_eq!(bound(&mut outbox, &log), [2, 4, 1]);
        assert_eq!(outbox.backlog(), (5, 500));
        assert_eq!(hand_over(&mut outbox, &log, 9), [3, 5, 6, 7], "what the client has is not given up");
        assert_eq!(outbox.backlog(), (5, 500));
    }

    #[test]
    fn what_was_given_up_stays_given_up_after_a_new_client() {
        let log = log("ppsps");
        let mut outbox = Outbox::new(Offset(0), 300);
        hand_over(&mut outbox, &log, 1);
        assert_eq!(bound(&mut outbox, &log), [1, 3]);
        assert_eq!(hand_over(&mut outbox, &log, 1), [2]);
        outbox.rewind();
        assert_eq!(hand_over(&mut outbox, &log, 9), [0, 2, 4]);
        assert_eq!(outbox.backlog(), (3, 300));
    }

    #[test]
    fn what_the_log_has_dropped_is_passed_over_and_counted() {
        let log = log("pppppppp");
        let mut outbox = Outbox::new(Offset(0), 10_000);
        hand_over(&mut outbox, &log, 2);
        outbox.count(&log);
        assert_eq!(outbox.lost(Offset(5)), 3);
        outbox.count(&log);
        assert_eq!(outbox.backlog(), (5, 500), "two fly, three wait");
        assert_eq!(outbox.position(), Offset(0));
        assert_eq!(hand_over(&mut outbox, &log, 9), [5, 6, 7]);
    }
}
