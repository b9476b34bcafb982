// SPDX-License-Identifier: Apache-2.0
//! When a playlist will change next.
//!
//! An encoder's segments come as regularly as its frames. So once it is known when a change was made, the next one
//! follows from the duration of what was added: asked for just then, a playlist costs one request for each change and is
//! never old. Each look that finds a change tells that it was made since the look before; looking in the middle of that
//! span halves it with each change, until it is as short as a look is worth.

use std::time::Duration;

use tokio::time::Instant;

use crate::live::{Position, Progress, Step};

/// How soon a look that came too early is repeated, and how exactly a change is known: it is seen late by no more.
const EXACT: Duration = Duration::from_millis(20);
/// The share of a period by which clocks may drift apart: 200 parts in a million, twice what a poor quartz does.
const DRIFT: u32 = 5_000;

/// The beat of one playlist.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cadence {
    known: Option<Known>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    position: Position,
    looked: Instant,
    /// The next change is made between these, if one was seen before.
    next: Option<(Instant, Instant)>,
}

impl Cadence {
    /// Takes note of a playlist and says after how long to ask for it again.
    pub(super) fn heard(&mut self, progress: &Progress, now: Instant) -> Duration {
        let period = period(progress);
        let unknown = (progress.target / 2).min(period);
        let position = progress.position;
        let Some(known) = &mut self.known else {
            self.known = Some(Known { position, looked: now, next: None });
            return unknown;
        };
        match position.against(&known.position) {
            Step::Same => {
                known.looked = now;
                // Whoever ceased to change is looked at as if nothing were known.
                let Some((from, to)) = known.next.filter(|(_, to)| now < *to + period * 2) else { return unknown };
                known.next = Some((from.max(now), to));
                to.saturating_duration_since(now).max(EXACT)
            }
            Step::Forward => {
                let since = known.next.map_or(known.looked, |(from, _)| from.max(known.looked));
                let since = since.max(now.checked_sub(period).unwrap_or(since)).min(now);
                let drift = period / DRIFT;
                let (from, to) = (since + period - drift, now + period);
                *known = Known { position, looked: now, next: Some((from, to)) };
                let span = to.saturating_duration_since(from);
                let look = if span > EXACT { from + span / 2 } else { to };
                look.saturating_duration_since(now).max(EXACT)
            }
            Step::Back | Step::Anew => {
                *known = Known { position, looked: now, next: None };
                unknown
            }
        }
    }
}

/// How long until a playlist changes after it has: with parts a part, else the segment that was added last.
fn period(progress: &Progress) -> Duration {
    let period = progress.part_target.or(progress.period).unwrap_or(progress.target);
    period.clamp(Duration::from_millis(20), progress.target.max(Duration::from_millis(20)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::scan;

    fn playlist(segments: u64) -> Progress {
        let text = format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:{segments}\n#EXTINF:1.92,\na.ts\n");
        scan(text.as_bytes()).unwrap()
    }

    /// Looks at a playlist that changes every `period_ms` from `phase_ms` on: looks, and how old what is shown was at most
    /// once the beat was found.
    fn followed(period_ms: u64, phase_ms: u64, changes: u64) -> (u64, Duration) {
        let start = Instant::now();
        let (mut cadence, mut now_ms, mut looks, mut oldest) = (Cadence::default(), 0.0_f64, 0, 0.0_f64);
        let (mut shown, end_ms) = (0, (period_ms * changes + phase_ms) as f64);
        while now_ms < end_ms {
            let made =
                if now_ms < phase_ms as f64 { 0 } else { 1 + ((now_ms - phase_ms as f64) / period_ms as f64) as u64 };
            if made > shown && shown > 8 {
                let since = now_ms - (phase_ms + (shown * period_ms)) as f64;
                oldest = oldest.max(since);
            }
            shown = made;
            looks += 1;
            let wait = cadence.heard(&playlist(made), start + Duration::from_secs_f64(now_ms / 1e3));
            now_ms += wait.as_secs_f64() * 1e3;
        }
        (looks, Duration::from_secs_f64(oldest / 1e3))
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_seen_within_a_moment_for_little_more_than_a_look_each() {
        for phase_ms in [130, 977, 1_501] {
            let (looks, oldest) = followed(1_920, phase_ms, 200);
            assert!(oldest <= Duration::from_millis(25), "{phase_ms}: {oldest:?} old");
            assert!(looks <= 220, "{phase_ms}: {looks} looks for 200 changes");
        }
    }
}
