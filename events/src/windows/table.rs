// SPDX-License-Identifier: Apache-2.0
//! The windows that are open: events and the time in, rows out. No clock, no task.
//!
//! Deliveries are summed once, in panes as long as the slide; a window is the sum of its panes.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use headwater_media::UtcTime;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use xxhash_rust::xxh3::xxh3_128;

use super::Shape;
use super::row::{Row, Sums};
use crate::event::{Data, Delivery, Event};

/// Deliveries that open windows may hold; more are counted and left out.
const OPEN_MAX: usize = 1 << 20;
/// How far ahead of the clock an event may be at least; otherwise as far as it may be behind.
const AHEAD_MS: i64 = 1_000;

/// What became of the events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Counts {
    /// Deliveries that count.
    pub taken: u64,
    /// Copies.
    pub duplicates: u64,
    /// Later than delay and lateness allow.
    pub late: u64,
    /// Ahead of the clock.
    pub ahead: u64,
    /// More than open windows may hold.
    pub over: u64,
}

/// Windows over deliveries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Windows {
    shape: Shape,
    /// The largest time of any event.
    seen_ms: Option<i64>,
    /// By begin.
    panes: BTreeMap<i64, Pane>,
    /// How often a window was told, by its end and channel; forgotten when it is final.
    told: BTreeMap<i64, BTreeMap<String, u32>>,
    counts: Counts,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Pane {
    channels: BTreeMap<String, Sums>,
    /// XXH3 of the ids of what was taken, the two halves of its 128 bits.
    ids: HashSet<(u64, u64)>,
}

impl Windows {
    /// No event yet.
    pub fn new(shape: Shape) -> Self {
        Self { shape, seen_ms: None, panes: BTreeMap::new(), told: BTreeMap::new(), counts: Counts::default() }
    }

    /// Which windows these are.
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// What became of the events so far.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes an event that came at `now`, and tells what it changed: windows that it adds to though they were told, then
    /// those that its time closes. Events other than deliveries move the time alone.
    pub fn push(&mut self, event: &Event, now: UtcTime) -> Vec<Row> {
        let time_ms = event.time.0.millis();
        // One node with a wrong clock must not make all others late.
        if time_ms > now.millis().saturating_add(self.shape.delay_ms.max(AHEAD_MS)) {
            self.counts.ahead += 1;
            return Vec::new();
        }
        let mut rows = Vec::new();
        if let Data::Delivery(delivery) = &event.data {
            self.take(time_ms, &event.id, delivery, &mut rows);
        }
        self.advance(time_ms, &mut rows);
        rows
    }

    /// Tells every window that is open: no event will come any more.
    pub fn finish(mut self) -> Vec<Row> {
        let mut rows = Vec::new();
        self.advance(i64::MAX, &mut rows);
        rows
    }

    fn take(&mut self, time_ms: i64, id: &str, delivery: &Delivery, rows: &mut Vec<Row>) {
        let begin = time_ms.div_euclid(self.shape.slide_ms).saturating_mul(self.shape.slide_ms);
        if begin.saturating_add(self.shape.size_ms) <= self.final_until() {
            self.counts.late += 1;
            return;
        }
        let held: usize = self.panes.values().map(|pane| pane.ids.len()).sum();
        let digest = xxh3_128(id.as_bytes());
        let digest = ((digest >> 64) as u64, digest as u64);
        let pane = self.panes.entry(begin).or_default();
        if pane.ids.contains(&digest) {
            self.counts.duplicates += 1;
            return;
        }
        if held >= OPEN_MAX {
            self.counts.over += 1;
            return;
        }
        pane.ids.insert(digest);
        pane.channels.entry(delivery.channel.clone()).or_default().take(delivery);
        self.counts.taken += 1;
        let (done, told) = (self.final_until(), self.told_until());
        for end in self.ends(begin).filter(|end| done < *end && *end <= told) {
            rows.extend(self.tell(end, &delivery.channel, false));
        }
    }

    /// The time is `time_ms` at least: tells the windows that it closes.
    fn advance(&mut self, time_ms: i64, rows: &mut Vec<Row>) {
        if self.seen_ms.is_some_and(|seen| time_ms <= seen) {
            return;
        }
        let (told, done) = (self.told_until(), self.final_until());
        self.seen_ms = Some(time_ms);
        let (tell, finish) = (self.ends_within(told, self.told_until()), self.ends_within(done, self.final_until()));
        for end in tell.union(&finish) {
            let is_final = finish.contains(end);
            for channel in self.channels(*end) {
                rows.extend(self.tell(*end, &channel, is_final));
            }
            if is_final {
                self.told.remove(end);
            }
        }
        let done = self.final_until();
        let size_ms = self.shape.size_ms;
        self.panes.retain(|begin, _| begin.saturating_add(size_ms) > done);
    }

    /// Windows that end at or before it were told: the last instant of each is not after the watermark.
    fn told_until(&self) -> i64 {
        self.seen_ms.map_or(i64::MIN, |seen| seen.saturating_sub(self.shape.delay_ms).saturating_add(1))
    }

    /// Windows that end at or before it do not change any more.
    fn final_until(&self) -> i64 {
        let wait = self.shape.delay_ms.saturating_add(self.shape.lateness_ms);
        self.seen_ms.map_or(i64::MIN, |seen| seen.saturating_sub(wait).saturating_add(1))
    }

    /// Where the windows end that a pane is in.
    fn ends(&self, begin: i64) -> impl Iterator<Item = i64> + use<> {
        let Shape { size_ms, slide_ms, .. } = self.shape;
        (1..=size_ms / slide_ms).map(move |slides| begin.saturating_add(slides.saturating_mul(slide_ms)))
    }

    /// Where windows that hold anything end, after `after` and not after `until`.
    fn ends_within(&self, after: i64, until: i64) -> BTreeSet<i64> {
        // Most events cross no border, and need not look at every pane.
        let slide_ms = self.shape.slide_ms;
        if after.div_euclid(slide_ms) == until.div_euclid(slide_ms) {
            return BTreeSet::new();
        }
        let ends = self.panes.keys().flat_map(|begin| self.ends(*begin));
        ends.filter(|end| after < *end && *end <= until).collect()
    }

    fn panes_of(&self, end: i64) -> impl Iterator<Item = &Pane> {
        self.panes.range(end.saturating_sub(self.shape.size_ms)..end).map(|(_, pane)| pane)
    }

    fn channels(&self, end: i64) -> BTreeSet<String> {
        self.panes_of(end).flat_map(|pane| pane.channels.keys().cloned()).collect()
    }

    /// The row of a window, and that it was told; none if nothing was delivered of the channel.
    fn tell(&mut self, end: i64, channel: &str, is_final: bool) -> Option<Row> {
        let mut sums = Sums::default();
        let mut any = false;
        for pane in self.panes_of(end) {
            if let Some(more) = pane.channels.get(channel) {
                sums.add(more);
                any = true;
            }
        }
        if !any {
            return None;
        }
        let told = self.told.entry(end).or_default().entry(channel.to_owned()).or_default();
        let revision = *told;
        *told = told.saturating_add(1);
        let Shape { size_ms, .. } = self.shape;
        let row = Row::new(channel, end.saturating_sub(size_ms), size_ms, &sums);
        Some(Row { revision, is_final, ..row })
    }
}
