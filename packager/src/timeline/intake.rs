// SPDX-License-Identifier: Apache-2.0
//! Puts what arrives for one track into decode order: duplicates out, early fragments held, holes accepted in the end.
//!
//! The key of a fragment is its start time (DASH-IF Ingest, Smooth). The first complete one of equal start wins. A
//! fragment that leaves a hole waits for the missing one until the reorder window closes; nothing waits without bound.

use std::collections::BTreeMap;
use std::time::Duration;

use headwater_media::UtcTime;

use crate::Sample;

/// What happened to arrivals, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Samples of a time already taken.
    pub duplicate: u64,
    /// Samples of a segment already given up.
    pub late: u64,
    /// Holes accepted after the reorder window.
    pub missing: u64,
    /// Fragments that waited for an earlier one.
    pub reordered: u64,
}

#[derive(Debug)]
struct Early {
    source: u64,
    samples: Vec<Sample>,
    received: UtcTime,
}

/// The order of one track's arrivals. Times are ticks of the channel's timeline.
#[derive(Debug)]
pub struct Intake {
    window: Duration,
    early_max: usize,
    expected: Option<i64>,
    early: BTreeMap<i64, Early>,
    counts: Counts,
}

impl Intake {
    /// An intake that holds early fragments for at most `window`, and at most `early_max` of them.
    pub fn new(window: Duration, early_max: usize) -> Self {
        Self { window, early_max, expected: None, early: BTreeMap::new(), counts: Counts::default() }
    }

    /// What was dropped or missed so far.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// End of the last sample taken.
    pub const fn expected(&self) -> Option<i64> {
        self.expected
    }

    /// Forgets the position, keeps the counts: the timeline starts anew.
    pub fn restart(&mut self) {
        self.expected = None;
        self.early.clear();
    }

    /// Samples before `time` are late from now on.
    pub fn give_up_before(&mut self, time: i64) {
        self.expected = Some(self.expected.map_or(time, |e| e.max(time)));
        self.early = self.early.split_off(&time);
    }

    /// Takes a fragment of `source`; what is in order goes to `ready`, in decode order.
    pub fn push(&mut self, source: u64, samples: Vec<Sample>, half_frame: i64, now: UtcTime, ready: &mut Vec<Sample>) {
        let Some(first) = samples.first() else { return };
        match self.expected {
            Some(expected) if first.decode_time > expected.saturating_add(half_frame) => {
                self.counts.reordered += 1;
                self.early.entry(first.decode_time).or_insert(Early { source, samples, received: now });
            }
            _ => self.take(samples, half_frame, ready),
        }
        self.drain(half_frame, now, ready);
    }

    /// Gives up on holes whose window has closed.
    pub fn advance(&mut self, half_frame: i64, now: UtcTime, ready: &mut Vec<Sample>) {
        self.drain(half_frame, now, ready);
    }

    /// When [`Self::advance`] has something to do next.
    pub fn deadline(&self) -> Option<UtcTime> {
        self.early.values().map(|e| e.received + self.window).min()
    }

    fn take(&mut self, samples: Vec<Sample>, half_frame: i64, ready: &mut Vec<Sample>) {
        for sample in samples {
            if self.expected.is_some_and(|expected| sample.decode_time < expected - half_frame) {
                self.counts.duplicate += 1;
                continue;
            }
            self.expected = Some(sample.decode_time.saturating_add(i64::from(sample.duration)));
            ready.push(sample);
        }
    }

    fn drain(&mut self, half_frame: i64, now: UtcTime, ready: &mut Vec<Sample>) {
        while let Some(entry) = self.early.first_entry() {
            let start = *entry.key();
            let fits = self.expected.is_none_or(|expected| start <= expected + half_frame);
            if !fits {
                // A second fragment of the same body that does not fill the hole either: the missing one is not coming
                // on that connection, and no other is known to bring it.
                let source = entry.get().source;
                let expired = entry.get().received + self.window <= now;
                let repeated = self.early.values().filter(|e| e.source == source).count() > 1;
                if !expired && !repeated && self.early.len() <= self.early_max {
                    return;
                }
                self.counts.missing += 1;
            }
            if let Some((_, early)) = self.early.pop_first() {
                self.take(early.samples, half_frame, ready);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    const T0: UtcTime = UtcTime::from_nanos(0);

    fn fragment(start: i64) -> Vec<Sample> {
        (0..2)
            .map(|i| Sample { decode_time: start + i * 10, composition_offset: 0, duration: 10, sync: i == 0, data: Bytes::new() })
            .collect()
    }

    fn starts(samples: &[Sample]) -> Vec<i64> {
        samples.iter().map(|s| s.decode_time).collect()
    }

    #[test]
    fn a_duplicate_is_counted_and_dropped() {
        let (mut intake, mut ready) = (Intake::new(Duration::from_secs(3), 8), Vec::new());
        for start in [0, 20, 0, 20, 40] {
            intake.push(1, fragment(start), 5, T0, &mut ready);
        }
        assert_eq!(starts(&ready), [0, 10, 20, 30, 40, 50]);
        assert_eq!(intake.counts().duplicate, 4);
    }

    #[test]
    fn fragments_that_swap_places_come_out_in_order() {
        let (mut intake, mut ready) = (Intake::new(Duration::from_secs(3), 8), Vec::new());
        for (source, start) in [(1, 0), (2, 40), (3, 20)] {
            intake.push(source, fragment(start), 5, T0, &mut ready);
        }
        assert_eq!(starts(&ready), [0, 10, 20, 30, 40, 50]);
        assert_eq!(intake.counts().missing, 0);
    }

    #[test]
    fn a_hole_is_accepted_when_its_window_closes() {
        let (mut intake, mut ready) = (Intake::new(Duration::from_secs(3), 8), Vec::new());
        intake.push(1, fragment(0), 5, T0, &mut ready);
        intake.push(2, fragment(40), 5, T0, &mut ready);
        assert_eq!(ready.len(), 2);
        intake.advance(5, T0 + Duration::from_millis(2_999), &mut ready);
        assert_eq!(ready.len(), 2);
        intake.advance(5, T0 + Duration::from_secs(3), &mut ready);
        assert_eq!(starts(&ready), [0, 10, 40, 50]);
        assert_eq!(intake.counts().missing, 1);
        intake.push(3, fragment(20), 5, T0, &mut ready);
        assert_eq!(intake.counts().duplicate, 2);
    }

    #[test]
    fn one_body_with_a_hole_waits_for_one_fragment_only() {
        let (mut intake, mut ready) = (Intake::new(Duration::from_secs(3), 8), Vec::new());
        for start in [0, 40, 60] {
            intake.push(1, fragment(start), 5, T0, &mut ready);
        }
        assert_eq!(starts(&ready), [0, 10, 40, 50, 60, 70]);
    }
}
