// SPDX-License-Identifier: Apache-2.0
//! Where one track's source stands, and whether a fragment goes on from there or begins anew.
//!
//! Time that goes back is one of three things: a fragment or a whole window sent again (ignored), an encoder that
//! started anew (a new generation), or a second encoder that lags behind a living one (ignored). Within one body only
//! the second happens. Otherwise pace tells: what is sent again comes in a burst and ends where the source stood, what
//! is new comes as fast as it plays. Until that is told such fragments are held in [`Doubt`].

use std::collections::VecDeque;
use std::time::Duration;

use headwater_media::{MediaDuration, MediaTime, Timescale, UtcTime};

use super::anchor::{Anchor, Basis};
use crate::Sample;

/// Steps of time up to this are jitter of the network or losses.
const STEP: MediaDuration = MediaDuration::from_millis(10_000);
/// Fragments overtake each other by less than this.
const OVERTAKING: MediaDuration = MediaDuration::from_millis(3_000);
/// A source anchored by its arrival is never this late.
const LATE: Duration = Duration::from_secs(30);
/// Doubt lasts at least and at most this long.
const DOUBT_MIN: Duration = Duration::from_millis(1_500);
const DOUBT_MAX: Duration = Duration::from_secs(10);
/// Bodies of an ended session remembered.
const RETIRED_MAX: usize = 16;

/// One fragment as it came, in source ticks.
#[derive(Debug)]
pub(super) struct Raw {
    pub(super) body: u64,
    pub(super) slate: bool,
    pub(super) samples: Vec<Sample>,
    pub(super) received: UtcTime,
}

impl Raw {
    pub(super) fn bytes(&self) -> usize {
        self.samples.iter().map(|s| s.data.len()).sum()
    }

    fn start(&self) -> i64 {
        self.samples.first().map_or(0, |s| s.decode_time)
    }

    fn end(&self) -> i64 {
        self.samples.last().map_or(0, |s| s.decode_time.saturating_add(i64::from(s.duration)))
    }
}

/// What a fragment does to its track's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It goes on, fills a hole or repeats what is known.
    Follows,
    /// It may begin a new timeline.
    Doubtful,
    /// It begins a new timeline.
    Restarts,
    /// It belongs to a timeline that has ended.
    Retired,
}

/// Where a source stands.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Start of the first fragment of the session.
    origin: Option<i64>,
    last_start: i64,
    /// End of the newest.
    end: Option<i64>,
    body: Option<u64>,
    received: Option<UtcTime>,
    /// The longest fragment, or wait for one.
    longest: Duration,
    retired: VecDeque<u64>,
}

/// What a fragment is judged by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) anchor: Anchor,
    pub(super) timescale: Timescale,
    pub(super) half_frame: i64,
    /// Where the channel stands, on its own timeline.
    pub(super) edge: Option<MediaTime>,
    pub(super) now: UtcTime,
}

impl Progress {
    /// When the newest fragment came.
    pub(super) const fn received(&self) -> Option<UtcTime> {
        self.received
    }

    /// What `raw` does to the track's time.
    pub(super) fn judge(&self, raw: &Raw, place: Place, doubt: Option<&Doubt>) -> Step {
        if self.retired.contains(&raw.body) {
            return Step::Retired;
        }
        let start = raw.start();
        let ticks = |duration: MediaDuration| duration.rescale(place.timescale).ticks();
        let epoch = place.anchor.basis == Basis::Epoch;
        let Some(end) = self.end else { return first_contact(start, place) };
        let back = end.saturating_sub(start);
        if epoch
            && !Anchor::tells_utc(MediaTime::new(start, place.timescale), place.now)
            && back.saturating_abs() > ticks(STEP)
        {
            return Step::Restarts;
        }
        if back <= 0 {
            let elapsed = self.received.map_or(Duration::ZERO, |at| place.now.since(at));
            let leap = back.saturating_neg().saturating_sub(ticks(MediaDuration::from_std(elapsed)));
            return if !epoch && leap > ticks(STEP) { Step::Restarts } else { Step::Follows };
        }
        if start == self.last_start {
            return Step::Follows;
        }
        let at_origin = !epoch && self.origin.is_some_and(|origin| start <= origin.saturating_add(place.half_frame));
        if at_origin && back > ticks(OVERTAKING) || back > ticks(STEP) {
            return if self.body == Some(raw.body) { Step::Restarts } else { Step::Doubtful };
        }
        if doubt.is_some_and(|doubt| raw.end() <= end && doubt.goes_on_at(start, place.half_frame)) {
            return Step::Doubtful;
        }
        Step::Follows
    }

    /// Notes a fragment of the session; true if the session's time advanced.
    pub(super) fn note(&mut self, raw: &Raw, timescale: Timescale) -> bool {
        let (start, end) = (raw.start(), raw.end());
        self.origin.get_or_insert(start);
        self.longest = self.longest.max(length(start, end, timescale)).min(DOUBT_MAX);
        let waited = self.received.map_or(Duration::ZERO, |at| raw.received.since(at));
        self.received = Some(raw.received);
        let advances = self.end.is_none_or(|known| end > known);
        if advances {
            if waited <= OVERTAKING.to_std() {
                self.longest = self.longest.max(waited);
            }
            self.end = Some(end);
            self.last_start = start;
            self.body = Some(raw.body);
        }
        advances
    }

    /// Another session begins with a fragment of `body`.
    pub(super) fn restart(&mut self, body: u64) {
        let mut retired = std::mem::take(&mut self.retired);
        if let Some(last) = self.body.filter(|last| *last != body) {
            if retired.len() == RETIRED_MAX {
                retired.pop_front();
            }
            retired.push_back(last);
        }
        retired.retain(|known| *known != body);
        *self = Self { retired, received: self.received, ..Self::default() };
    }

    /// Forgets where the source stood: another clock counts from here on.
    pub(super) fn forget(&mut self) {
        *self = Self { received: self.received, ..Self::default() };
    }
}

/// A track of which nothing has come yet, or nothing since our restart, in a session that is under way.
fn first_contact(start: i64, place: Place) -> Step {
    let source = MediaTime::new(start, place.timescale);
    let mapped = place.anchor.map(source);
    if place.anchor.basis == Basis::Epoch {
        return if Anchor::tells_utc(source, place.now) { Step::Follows } else { Step::Restarts };
    }
    let Some(mut edge) = place.edge else { return Step::Follows };
    let now = MediaTime::new(place.now.nanos(), Timescale::NANOS);
    if mapped > edge.max(now) + STEP {
        return Step::Restarts;
    }
    if matches!(place.anchor.basis, Basis::Arrival | Basis::Continued) {
        edge = edge.max(now - MediaDuration::from_std(LATE));
    }
    if mapped < edge - STEP { Step::Doubtful } else { Step::Follows }
}

fn length(start: i64, end: i64, timescale: Timescale) -> Duration {
    MediaDuration::new(end.saturating_sub(start), timescale).to_std()
}

/// Fragments that may begin a new timeline.
#[derive(Debug)]
pub(super) struct Doubt {
    since: UtcTime,
    wait: Duration,
    start: i64,
    end: i64,
    samples: usize,
    held: VecDeque<Raw>,
}

impl Doubt {
    /// Doubt about `raw`, of a track whose source stood as `progress` says.
    pub(super) fn new(raw: Raw, progress: &Progress, timescale: Timescale) -> Self {
        let (start, end) = (raw.start(), raw.end());
        let longest = progress.longest.max(length(start, end, timescale));
        let wait = (longest * 3 / 2).clamp(DOUBT_MIN, DOUBT_MAX);
        Self { since: raw.received, wait, start, end, samples: raw.samples.len(), held: VecDeque::from([raw]) }
    }

    /// Adds a fragment; the oldest leave past `samples_max`.
    pub(super) fn add(&mut self, raw: Raw, samples_max: usize) {
        self.end = self.end.max(raw.end());
        self.samples += raw.samples.len();
        self.held.push_back(raw);
        while self.samples > samples_max
            && let Some(oldest) = self.held.pop_front()
        {
            self.samples -= oldest.samples.len();
        }
    }

    /// Samples held.
    pub(super) const fn samples(&self) -> usize {
        self.samples
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.held.iter().map(Raw::bytes).sum()
    }

    /// When pace has told.
    pub(super) fn deadline(&self) -> UtcTime {
        self.since + self.wait
    }

    /// True if it came as fast as it plays, give or take what an encoder or a network has in store.
    pub(super) fn is_paced(&self, now: UtcTime, timescale: Timescale) -> bool {
        length(self.start, self.end, timescale) <= now.since(self.since) * 2 + self.wait + DOUBT_MAX
    }

    /// The fragments held, in order of arrival.
    pub(super) fn into_held(self) -> VecDeque<Raw> {
        self.held
    }

    fn goes_on_at(&self, start: i64, half_frame: i64) -> bool {
        start.saturating_sub(self.end).saturating_abs() <= half_frame.saturating_mul(2).max(1)
    }
}
