// SPDX-License-Identifier: Apache-2.0
//! Releases parts at the pace of their media, so that an encoder's bursts do not become a viewer's.
//!
//! A part whose media ended at `t` and that arrived at `a` is `a − t` late; it is released at `t + Δ`, where Δ is the
//! largest lateness seen lately on its track. For an encoder that sends as it captures Δ is what every part has, and
//! nothing waits; for one that sends whole segments, its first part goes out at once and the others follow one by one.
//! Tracks keep step within a part (rfc8216bis, appendix B): one that is early by more waits for the latest. Not closer:
//! sound whose parts straddle the encoder's chunks is up to a part late, and pictures would wait for it each time.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use headwater_media::{MediaTime, TrackId, UtcTime};

/// The pace of one channel.
#[derive(Debug)]
pub(super) struct Pacer {
    /// How long a lateness is remembered.
    memory: Duration,
    /// Lateness beyond the least by more than this is an outage, not a pace.
    bound_nanos: i64,
    part_nanos: i64,
    enabled: bool,
    tracks: BTreeMap<TrackId, Pace>,
}

#[derive(Debug, Default)]
struct Pace {
    /// Recent latenesses, largest first, each newer than the ones before it.
    recent: VecDeque<(UtcTime, i64)>,
    least: Option<i64>,
    /// Since when arrivals are later than the bound.
    strayed: Option<UtcTime>,
}

impl Pacer {
    /// A pace for segments of `segment` and parts of `part`.
    pub(super) fn new(segment: Duration, part: Duration, enabled: bool) -> Self {
        let nanos = |d: Duration| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX);
        Self {
            memory: (segment * 2 + Duration::from_millis(500)).max(Duration::from_secs(3)),
            bound_nanos: nanos(segment * 2 + Duration::from_secs(1)),
            part_nanos: nanos(part),
            enabled,
            tracks: BTreeMap::new(),
        }
    }

    /// Paces from here on, or does not.
    pub(super) const fn enable(&mut self, enabled: bool) {
        self.enabled = enabled;
    }

    /// Notes that media of `track` ending at `end` arrived at `now`.
    pub(super) fn arrived(&mut self, track: &TrackId, end: MediaTime, now: UtcTime) {
        let late = now.nanos().saturating_sub(end.nanos());
        if !self.tracks.contains_key(track) {
            self.tracks.insert(track.clone(), Pace::default());
        }
        if let Some(pace) = self.tracks.get_mut(track) {
            pace.arrived(late, now, self.memory, self.bound_nanos);
        }
    }

    /// When media of `track` ending at `end` that came at `arrived` is due; `None` for at once.
    pub(super) fn due(&self, track: &TrackId, end: MediaTime, arrived: UtcTime) -> Option<UtcTime> {
        if !self.enabled {
            return None;
        }
        let own = self.tracks.get(track)?.late()?;
        let latest = self.tracks.values().filter_map(|pace| pace.late_at(arrived, self.memory)).max().unwrap_or(own);
        let due = end.nanos().saturating_add(own.max(latest.saturating_sub(self.part_nanos)));
        // Waits shorter than half a part are not worth it; measured from its arrival, or the next wake-up would cut it.
        (due > arrived.nanos().saturating_add(self.part_nanos / 2)).then_some(UtcTime::from_nanos(due))
    }
}

impl Pace {
    fn late(&self) -> Option<i64> {
        self.recent.front().map(|(_, late)| *late)
    }

    /// The lateness of a track that is not silent.
    fn late_at(&self, now: UtcTime, memory: Duration) -> Option<i64> {
        self.recent.back().filter(|(at, _)| *at + memory >= now)?;
        self.late()
    }

    fn arrived(&mut self, late: i64, now: UtcTime, memory: Duration, bound_nanos: i64) {
        while self.recent.front().is_some_and(|(at, _)| *at + memory < now) {
            self.recent.pop_front();
        }
        let least = *self.least.get_or_insert(late);
        if late.saturating_sub(least) > bound_nanos {
            // An outage's backlog comes late once; a source that stays late has a new pace.
            let since = *self.strayed.get_or_insert(now);
            if now.since(since) < memory * 2 {
                return;
            }
            self.least = Some(late);
        } else {
            // A slow clock drifts later and later: the least follows it, slower than any jitter.
            self.least = Some(least.min(late) + late.saturating_sub(least).max(0) / 1_024);
        }
        self.strayed = None;
        while self.recent.back().is_some_and(|(_, l)| *l <= late) {
            self.recent.pop_back();
        }
        self.recent.push_back((now, late));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_media::Timescale;

    fn at(ms: i64) -> UtcTime {
        UtcTime::from_nanos(ms * 1_000_000)
    }

    fn end(ms: i64) -> MediaTime {
        MediaTime::new(ms, Timescale::MILLIS)
    }

    fn track(name: &str) -> TrackId {
        TrackId::new(name).unwrap()
    }

    fn pacer() -> Pacer {
        Pacer::new(Duration::from_secs(2), Duration::from_millis(200), true)
    }

    #[test]
    fn media_sent_as_captured_never_waits() {
        let mut pacer = pacer();
        for part in 1..100 {
            let now = at(part * 200 + 30 + part % 7 * 10);
            pacer.arrived(&track("v0"), end(part * 200), now);
            assert_eq!(pacer.due(&track("v0"), end(part * 200), now), None);
        }
    }

    #[test]
    fn a_burst_is_released_part_by_part() {
        let mut pacer = pacer();
        for segment in 1..4 {
            let now = at(segment * 2_000 + 2_050);
            for part in 1..=10 {
                pacer.arrived(&track("v0"), end(segment * 2_000 + part * 200), now);
            }
            let due: Vec<_> = (1..=10).map(|p| pacer.due(&track("v0"), end(segment * 2_000 + p * 200), now)).collect();
            assert_eq!(due[0], None);
            assert_eq!(due[1], Some(now + Duration::from_millis(200)));
            assert_eq!(due[9], Some(now + Duration::from_millis(1_800)));
        }
    }

    #[test]
    fn an_outage_does_not_become_latency() {
        let mut pacer = pacer();
        pacer.arrived(&track("v0"), end(1_000), at(1_010));
        pacer.arrived(&track("v0"), end(1_200), at(31_200));
        assert_eq!(pacer.due(&track("v0"), end(1_400), at(31_200)), None);
    }

    #[test]
    fn pictures_wait_for_sound_in_chunks_of_another_length_by_less_than_a_part() {
        let mut pacer = pacer();
        for step in 1..50_i64 {
            let now = at(step * 200);
            // Sound parts of 192 ms come with chunks of 200 ms: up to a part late.
            for part in (step - 1) * 200 / 192 + 1..=step * 200 / 192 {
                pacer.arrived(&track("a0"), end(part * 192), now);
            }
            pacer.arrived(&track("v0"), end(step * 200), now);
            let due = pacer.due(&track("v0"), end(step * 200), now);
            assert!(due.is_none_or(|due| due < now + Duration::from_millis(200)), "{due:?}");
        }
    }

    #[test]
    fn pictures_keep_step_with_sound_that_comes_in_bursts() {
        let mut pacer = pacer();
        for part in 1..=10 {
            pacer.arrived(&track("a0"), end(part * 200), at(2_000));
        }
        pacer.arrived(&track("v0"), end(2_000), at(2_000));
        assert_eq!(pacer.due(&track("v0"), end(2_000), at(2_000)), Some(at(2_000 + 1_800 - 200)));
    }
}
