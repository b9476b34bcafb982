// SPDX-License-Identifier: Apache-2.0
//! Whether an origin's playlist goes on: an origin that answers 200 with what it said long ago is as good as down.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64;

use super::progress::{Position, Progress, Step};
use super::recent::Recent;

/// No playlist is expected to move faster than this, whatever target it tells.
const PATIENCE_MIN: Duration = Duration::from_millis(500);

/// How a playlist goes on at one origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// It moved with this answer.
    Moving,
    /// It has not moved, nor was it bound to.
    Waiting,
    /// It has not moved for more than 1.5 target durations while it was asked for.
    Stalled,
    /// It said less than before.
    Back,
    /// It says that nothing more will come.
    Ended,
}

impl Pace {
    /// Counts as a failure of the origin for this channel.
    pub fn is_bad(self) -> bool {
        matches!(self, Self::Stalled | Self::Back)
    }
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    position: Position,
    patience: Duration,
    moved: Instant,
    /// When the request was sent that waits for an answer, if one does.
    asked: Option<Instant>,
}

/// What each origin last told of each playlist; bounded, the longest unasked is forgotten first.
#[derive(Debug)]
pub struct Stalls {
    /// Held for one look.
    seen: Mutex<Recent<(u64, u64), Seen>>,
}

impl Stalls {
    /// Nothing told yet; at most so many pairs of an origin and a playlist.
    pub fn new(pairs_max: usize) -> Self {
        Self { seen: Mutex::new(Recent::new(pairs_max)) }
    }

    /// A request is sent, which the origin may hold: see [`Stalls::pace`].
    pub fn asked(&self, origin: &str, playlist: &str, now: Instant) {
        if let Some(seen) = self.seen.lock().get_mut(key(origin, playlist)) {
            seen.asked.get_or_insert(now);
        }
    }

    /// An origin has answered.
    pub fn told(&self, origin: &str, playlist: &str, progress: &Progress, now: Instant) -> Pace {
        let key = key(origin, playlist);
        let mut table = self.seen.lock();
        let patience = (progress.target * 3 / 2).max(PATIENCE_MIN);
        let fresh = Seen { position: progress.position, patience, moved: now, asked: None };
        let Some(seen) = table.get_mut(key) else {
            table.insert(key, fresh);
            return if progress.position.is_ended() { Pace::Ended } else { Pace::Moving };
        };
        let step = progress.position.against(&seen.position);
        // Who went back is measured by what it says now: it may have begun anew, and moves on from there.
        let moved = if matches!(step, Step::Forward | Step::Anew) { now } else { seen.moved };
        *seen = Seen { moved, ..fresh };
        match step {
            Step::Back => Pace::Back,
            _ if progress.position.is_ended() => Pace::Ended,
            Step::Same if now.saturating_duration_since(moved) > patience => Pace::Stalled,
            Step::Same => Pace::Waiting,
            Step::Forward | Step::Anew => Pace::Moving,
        }
    }

    /// How it goes on without an answer: an origin that holds a request for longer than its playlist may stand still
    /// has stalled. What nobody asked for has not.
    pub fn pace(&self, origin: &str, playlist: &str, now: Instant) -> Pace {
        let mut table = self.seen.lock();
        let Some(seen) = table.get_mut(key(origin, playlist)) else { return Pace::Waiting };
        let since = seen.asked.map(|asked| asked.max(seen.moved));
        match since {
            _ if seen.position.is_ended() => Pace::Ended,
            Some(since) if now.saturating_duration_since(since) > seen.patience => Pace::Stalled,
            _ => Pace::Waiting,
        }
    }
}

fn key(origin: &str, playlist: &str) -> (u64, u64) {
    (xxh3_64(origin.as_bytes()), xxh3_64(playlist.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::super::scan;
    use super::*;

    fn playlist(next: u64, end: &str) -> Progress {
        scan(format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:{next}\n{end}").as_bytes()).unwrap()
    }

    fn told(stalls: &Stalls, start: Instant, answers: &[(u64, u64)]) -> Vec<Pace> {
        let told = |&(ms, next): &(u64, u64)| {
            stalls.told("http://a", "/v.m3u8", &playlist(next, ""), start + Duration::from_millis(ms))
        };
        answers.iter().map(told).collect()
    }

    #[test]
    fn a_playlist_that_stands_still_beyond_one_and_a_half_targets_has_stalled() {
        let paces = told(
            &Stalls::new(10),
            Instant::now(),
            &[(0, 5), (1_000, 5), (3_000, 5), (3_001, 5), (4_000, 6), (6_900, 6)],
        );
        assert_eq!(paces, [Pace::Moving, Pace::Waiting, Pace::Waiting, Pace::Stalled, Pace::Moving, Pace::Waiting]);
    }

    #[test]
    fn going_back_is_bad_once_and_going_on_from_there_is_good() {
        let paces = told(&Stalls::new(10), Instant::now(), &[(0, 50), (1_000, 2), (2_000, 3), (3_000, 3)]);
        assert_eq!(paces, [Pace::Moving, Pace::Back, Pace::Moving, Pace::Waiting]);
        let stuck = told(&Stalls::new(10), Instant::now(), &[(0, 50), (1_000, 2), (3_500, 2)]);
        assert_eq!(stuck, [Pace::Moving, Pace::Back, Pace::Stalled]);
        assert!(Pace::Back.is_bad() && Pace::Stalled.is_bad() && !Pace::Ended.is_bad() && !Pace::Waiting.is_bad());
    }

    #[test]
    fn an_end_is_no_stall() {
        let (stalls, start) = (Stalls::new(10), Instant::now());
        let ended = playlist(5, "#EXT-X-ENDLIST\n");
        assert_eq!(stalls.told("a", "p", &ended, start), Pace::Ended);
        assert_eq!(stalls.told("a", "p", &ended, start + Duration::from_secs(60)), Pace::Ended);
        assert_eq!(stalls.pace("a", "p", start + Duration::from_secs(60)), Pace::Ended);
    }

    #[test]
    fn a_held_request_counts_from_when_it_was_sent() {
        let (stalls, start) = (Stalls::new(10), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        stalls.told("a", "p", &playlist(5, ""), start);
        assert_eq!(stalls.pace("a", "p", at(60)), Pace::Waiting);
        stalls.asked("a", "p", at(60));
        stalls.asked("a", "p", at(62));
        assert_eq!(stalls.pace("a", "p", at(63)), Pace::Waiting);
        assert_eq!(stalls.pace("a", "p", at(64)), Pace::Stalled);
        assert_eq!(stalls.pace("b", "p", at(64)), Pace::Waiting);
        assert_eq!(stalls.told("a", "p", &playlist(6, ""), at(64)), Pace::Moving);
        assert_eq!(stalls.pace("a", "p", at(90)), Pace::Waiting);
    }
}
