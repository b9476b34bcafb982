// SPDX-License-Identifier: Apache-2.0
//! Releases parts at the pace of their media, so that an encoder's bursts do not become a viewer's.
//!
//! A part whose media ended at `t` and that arrived at `a` is `a − t` late; it is released at `t + Δ`, where Δ is the
//! largest lateness seen lately on any track. For an encoder that sends as it captures Δ is what every part has, and
//! nothing waits; for one that sends whole segments, its first part goes out at once and the others follow one by one.

use std::collections::VecDeque;
use std::time::Duration;

use headwater_media::{MediaTime, UtcTime};

/// The pace of one channel.
#[derive(Debug)]
pub(super) struct Pacer {
    /// How long a lateness is remembered.
    memory: Duration,
    /// Lateness beyond the least by more than this is an outage, not a pace.
    bound: Duration,
    /// Waits shorter than this are not worth it.
    slack: Duration,
    enabled: bool,
    /// Recent latenesses, largest first, each newer than the ones before it.
    recent: VecDeque<(UtcTime, i64)>,
    least: Option<i64>,
    /// Since when arrivals are later than the bound.
    strayed: Option<UtcTime>,
}

impl Pacer {
    /// A pace for segments of `segment` and parts of `part`.
    pub(super) fn new(segment: Duration, part: Duration, enabled: bool) -> Self {
        Self {
            memory: (segment * 2 + Duration::from_millis(500)).max(Duration::from_secs(3)),
            bound: segment * 2 + Duration::from_secs(1),
            slack: part / 2,
            enabled,
            recent: VecDeque::new(),
            least: None,
            strayed: None,
        }
    }

    /// Notes that media ending at `end` arrived at `now`.
    pub(super) fn arrived(&mut self, end: MediaTime, now: UtcTime) {
        let late = now.nanos().saturating_sub(end.nanos());
        let memory = self.memory;
        while self.recent.front().is_some_and(|(at, _)| *at + memory < now) {
            self.recent.pop_front();
        }
        let least = *self.least.get_or_insert(late);
        let bound = i64::try_from(self.bound.as_nanos()).unwrap_or(i64::MAX);
        if late.saturating_sub(least) > bound {
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

    /// When media ending at `end` is due; `None` for at once.
    pub(super) fn due(&self, end: MediaTime, now: UtcTime) -> Option<UtcTime> {
        if !self.enabled {
            return None;
        }
        let (_, late) = self.recent.front()?;
        let due = UtcTime::from_nanos(end.nanos().saturating_add(*late));
        (due > now + self.slack).then_some(due)
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

    fn pacer() -> Pacer {
        Pacer::new(Duration::from_secs(2), Duration::from_millis(200), true)
    }

    #[test]
    fn media_sent_as_captured_never_waits() {
        let mut pacer = pacer();
        for part in 1..100 {
            let now = at(part * 200 + 30 + part % 7 * 10);
            pacer.arrived(end(part * 200), now);
            assert_eq!(pacer.due(end(part * 200), now), None);
        }
    }

    #[test]
    fn a_burst_is_released_part_by_part() {
        let mut pacer = pacer();
        for segment in 1..4 {
            let now = at(segment * 2_000 + 2_050);
            for part in 1..=10 {
                pacer.arrived(end(segment * 2_000 + part * 200), now);
            }
            let due: Vec<_> = (1..=10).map(|p| pacer.due(end(segment * 2_000 + p * 200), now)).collect();
            assert_eq!(due[0], None);
            assert_eq!(due[1], Some(now + Duration::from_millis(200)));
            assert_eq!(due[9], Some(now + Duration::from_millis(1_800)));
        }
    }

    #[test]
    fn an_outage_does_not_become_latency() {
        let mut pacer = pacer();
        pacer.arrived(end(1_000), at(1_010));
        pacer.arrived(end(1_200), at(31_200));
        assert_eq!(pacer.due(end(1_400), at(31_200)), None);
    }
}
