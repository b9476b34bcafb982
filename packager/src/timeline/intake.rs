// SPDX-License-Identifier: Apache-2.0
//! Puts what arrives for one track into decode order: duplicates out, early fragments held, holes accepted in the end.
//!
//! The key of a fragment is its start time (DASH-IF Ingest, Smooth). The first complete one of equal start wins. A
//! fragment that leaves a hole waits for the missing one until the reorder window closes; so does one of another
//! encoder that cannot go on from the samples before it. Nothing waits without bound.

use std::collections::BTreeMap;
use std::time::Duration;

use headwater_media::UtcTime;

use super::candidates::Candidates;
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
    /// Samples before a border that could be proven, and those of a timeline that ended before it could be placed.
    pub unjoined: u64,
}

#[derive(Debug)]
struct Early {
    body: u64,
    /// Real media of the same time is worth waiting for.
    slate: bool,
    samples: Vec<Sample>,
    received: UtcTime,
}

/// A fragment as it arrives.
#[derive(Debug)]
pub struct Arrival {
    /// The body it came in.
    pub body: u64,
    /// A slate (`slat`), which real media of the same time replaces.
    pub slate: bool,
    /// Its samples, in decode order.
    pub samples: Vec<Sample>,
    /// When it came.
    pub received: UtcTime,
}

/// The order of one track's arrivals. Times are ticks of the channel's timeline.
#[derive(Debug)]
pub struct Intake {
    window: Duration,
    early_max: usize,
    /// Where the next sample belongs, unless something was given up or starts anew.
    expected: Option<i64>,
    /// End of the last sample taken.
    reached: Option<i64>,
    /// What starts before is late, whatever is missing.
    floor: Option<i64>,
    early: BTreeMap<i64, Early>,
    /// The last two bodies heard.
    heard: [Option<(u64, UtcTime)>; 2],
    candidates: Candidates,
    counts: Counts,
}

impl Intake {
    /// An intake that holds early fragments for at most `window`, and at most `early_max` of them.
    pub fn new(window: Duration, early_max: usize) -> Self {
        Self {
            window,
            early_max,
            expected: None,
            reached: None,
            floor: None,
            early: BTreeMap::new(),
            heard: [None; 2],
            candidates: Candidates::default(),
            counts: Counts::default(),
        }
    }

    /// What was dropped or missed so far.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Bytes of what waits for an earlier fragment.
    pub fn early_bytes(&self) -> usize {
        self.early.values().flat_map(|early| &early.samples).map(|s| s.data.len()).sum()
    }

    /// Counts samples that were not even looked at.
    pub const fn count_late(&mut self, samples: usize) {
        self.counts.late += samples as u64;
    }

    /// Counts samples that repeat what is known.
    pub const fn count_duplicate(&mut self, samples: usize) {
        self.counts.duplicate += samples as u64;
    }

    /// End of the last sample taken.
    pub const fn reached(&self) -> Option<i64> {
        self.reached
    }

    /// The timeline or the coding starts anew at or after `floor`; counts go on.
    pub fn restart(&mut self, floor: Option<i64>) {
        self.expected = None;
        self.floor = floor;
        self.count_early_late(i64::MAX);
        self.early.clear();
        self.candidates.clear();
    }

    /// Samples before `time` are late from now on, and a hole up to whatever comes next is no news.
    pub fn give_up_before(&mut self, time: i64) {
        self.floor = self.floor.max(Some(time));
        self.expected = self.expected.filter(|expected| *expected > time);
        self.count_early_late(time);
        self.early = self.early.split_off(&time);
    }

    /// What waits from before `time` will not be taken any more.
    fn count_early_late(&mut self, time: i64) {
        self.counts.late += self.early.range(..time).map(|(_, early)| early.samples.len() as u64).sum::<u64>();
    }

    /// Counts samples that were never placed.
    pub const fn count_unjoined(&mut self, samples: usize) {
        self.counts.unjoined += samples as u64;
    }

    /// Takes a fragment; what is in order goes to `ready`, in decode order. A slate waits while another body may bring
    /// real media of its time.
    pub fn push(&mut self, arrival: Arrival, half_frame: i64, ready: &mut Vec<Sample>) {
        let Arrival { body, slate, samples, received } = arrival;
        self.hear(body, received);
        let rest = self.drop_known(body, samples, half_frame);
        if let Some(first) = rest.first() {
            let fits = self.fits(first.decode_time, half_frame);
            let waits = slate && self.has_rival(body, received);
            if fits && !waits && (first.sync || self.candidates.may_continue(body)) {
                self.take(body, rest, half_frame, ready);
            } else {
                self.counts.reordered += u64::from(!fits);
                self.hold(Early { body, slate, received, samples: rest });
            }
        }
        self.drain(half_frame, received, ready);
    }

    /// The first of equal start wins, but real media over a slate.
    fn hold(&mut self, early: Early) {
        let Some(start) = early.samples.first().map(|s| s.decode_time) else { return };
        match self.early.get_mut(&start) {
            Some(known) if known.slate && !early.slate => *known = early,
            Some(_) => self.counts.duplicate += early.samples.len() as u64,
            None => {
                self.early.insert(start, early);
            }
        }
    }

    /// Gives up on holes whose window has closed.
    pub fn advance(&mut self, half_frame: i64, now: UtcTime, ready: &mut Vec<Sample>) {
        self.drain(half_frame, now, ready);
    }

    /// Takes everything early as if its window had closed: nothing more will come.
    pub fn flush(&mut self, half_frame: i64, now: UtcTime, ready: &mut Vec<Sample>) {
        self.drain(half_frame, now + self.window, ready);
    }

    /// When [`Self::advance`] has something to do next.
    pub fn deadline(&self) -> Option<UtcTime> {
        self.early.values().map(|e| e.received + self.window).min()
    }

    fn fits(&self, start: i64, half_frame: i64) -> bool {
        self.expected.is_none_or(|expected| start <= expected.saturating_add(half_frame))
    }

    fn hear(&mut self, body: u64, now: UtcTime) {
        if self.heard[0].is_some_and(|(last, _)| last != body) {
            self.heard[1] = self.heard[0];
        }
        self.heard[0] = Some((body, now));
    }

    /// True if a body other than `body` may yet bring what is missing.
    fn hears_another(&self, body: u64, now: UtcTime) -> bool {
        self.heard.iter().flatten().any(|(other, at)| *other != body && *at + self.window > now)
    }

    /// True if a body other than `body` may yet bring what is real: one that sends whole segments is heard as often.
    fn has_rival(&self, body: u64, now: UtcTime) -> bool {
        self.heard.iter().flatten().any(|(other, at)| *other != body && *at + self.window * 2 > now)
    }

    /// Leaves out the leading samples whose time is taken or given up.
    fn drop_known(&mut self, body: u64, mut samples: Vec<Sample>, half_frame: i64) -> Vec<Sample> {
        let known = samples.iter().take_while(|s| self.is_known(s, half_frame)).count();
        for sample in samples.drain(..known) {
            if self.floor.is_some_and(|floor| sample.decode_time < floor) {
                self.counts.late += 1;
            } else {
                self.counts.duplicate += 1;
                self.candidates.compare(body, &sample);
            }
        }
        samples
    }

    fn is_known(&self, sample: &Sample, half_frame: i64) -> bool {
        let given_up = self.floor.is_some_and(|floor| sample.decode_time < floor);
        given_up || self.expected.is_some_and(|expected| sample.decode_time < expected.saturating_sub(half_frame))
    }

    fn take(&mut self, body: u64, samples: Vec<Sample>, half_frame: i64, ready: &mut Vec<Sample>) {
        for sample in samples {
            if self.is_known(&sample, half_frame) {
                self.counts.duplicate += 1;
                continue;
            }
            self.expected = Some(sample.decode_time.saturating_add(i64::from(sample.duration)));
            self.reached = self.expected;
            self.candidates.taken(body, &sample);
            ready.push(sample);
        }
    }

    fn drain(&mut self, half_frame: i64, now: UtcTime, ready: &mut Vec<Sample>) {
        while let Some((&start, early)) = self.early.first_key_value() {
            let body = early.body;
            let stale = early.samples.last().is_none_or(|s| self.is_known(s, half_frame));
            let fits = self.fits(start, half_frame);
            let sync = early.samples.first().is_some_and(|s| s.sync);
            let slate = early.slate && self.has_rival(body, now);
            let goes_on = fits && !slate && (sync || self.candidates.may_continue(body));
            if !stale && !goes_on {
                // A second fragment of the same body that does not fill the hole either: the missing one is not coming
                // on that connection.
                let repeated = !fits
                    && self.early.values().filter(|e| e.body == body).nth(1).is_some()
                    && !self.hears_another(body, now);
                let expired = early.received + self.window <= now;
                if !expired && !repeated && self.early.len() <= self.early_max {
                    return;
                }
                self.counts.missing += u64::from(!fits || !slate);
            }
            let Some((_, early)) = self.early.pop_first() else { return };
            let mut samples = self.drop_known(body, early.samples, half_frame);
            if !self.candidates.may_continue(body) {
                // Pictures of another encoder: those that refer to samples we do not have are of no use.
                let usable = samples.iter().position(|s| s.sync).unwrap_or(samples.len());
                self.counts.late += usable as u64;
                samples.drain(..usable);
            }
            self.take(body, samples, half_frame, ready);
        }
    }
}
