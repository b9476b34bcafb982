// SPDX-License-Identifier: Apache-2.0
//! The epoch grid: segment k of a channel begins at `phase + k × duration` on every track, on every origin.
//!
//! DASH-IF Live Media Ingest v1.2 ("source sync") places boundaries at K × duration since 1970; `phase` is zero for
//! such sources. A source whose zero was mapped to UTC keeps its own grid: its phase is where that zero fell.

use crate::id::SegmentNumber;
use crate::time::{MediaDuration, MediaTime, Timescale};

/// Where segments begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    duration: MediaDuration,
    phase: MediaTime,
}

impl Grid {
    /// A grid of `duration` (> 0) through the epoch.
    ///
    /// # Errors
    /// `None` if `duration` is not positive.
    pub fn new(duration: MediaDuration) -> Option<Self> {
        Self::with_phase(duration, MediaTime::new(0, Timescale::NANOS))
    }

    /// A grid through `origin` and every multiple of `duration` from it.
    ///
    /// # Errors
    /// `None` if `duration` is not positive.
    pub fn with_phase(duration: MediaDuration, origin: MediaTime) -> Option<Self> {
        if duration.ticks() <= 0 {
            return None;
        }
        let (o, os) = (i128::from(origin.ticks()), i128::from(origin.timescale().ticks_per_second()));
        let (d, ds) = (i128::from(duration.ticks()), i128::from(duration.timescale().ticks_per_second()));
        // origin mod duration in 1/(os·ds) s, printed back in the finest timescale that is exact for the usual rates.
        let rest = (o * ds).rem_euclid(d * os);
        let phase = if rest == 0 {
            MediaTime::new(0, duration.timescale())
        } else {
            let whole = o - (o * ds).div_euclid(d * os) * d * os / ds;
            if (d * os) % ds == 0 {
                MediaTime::new(i64::try_from(whole).unwrap_or(0), origin.timescale())
            } else {
                MediaTime::new(i64::try_from(rest * 1_000_000_000 / (os * ds)).unwrap_or(0), Timescale::NANOS)
            }
        };
        Some(Self { duration, phase })
    }

    /// Nominal segment duration.
    pub const fn duration(&self) -> MediaDuration {
        self.duration
    }

    /// Start of segment 0, in `[0, duration)`.
    pub const fn phase(&self) -> MediaTime {
        self.phase
    }

    /// The segment whose span holds `time`: floor((time − phase) / duration); times before segment 0 count as 0.
    pub fn number_at(&self, time: MediaTime) -> SegmentNumber {
        let (t, ts) = (i128::from(time.ticks()), i128::from(time.timescale().ticks_per_second()));
        let (p, ps) = (i128::from(self.phase.ticks()), i128::from(self.phase.timescale().ticks_per_second()));
        let (d, ds) = (i128::from(self.duration.ticks()), i128::from(self.duration.timescale().ticks_per_second()));
        // (t/ts − p/ps) / (d/ds)
        let n = (t * ps - p * ts) * ds;
        SegmentNumber(u64::try_from(n.div_euclid(ts * ps * d)).unwrap_or(0))
    }

    /// The first tick of `timescale` that is not before the grid's point `number`.
    pub fn start(&self, number: SegmentNumber, timescale: Timescale) -> MediaTime {
        let s = i128::from(timescale.ticks_per_second());
        let (p, ps) = (i128::from(self.phase.ticks()), i128::from(self.phase.timescale().ticks_per_second()));
        let (d, ds) = (i128::from(self.duration.ticks()), i128::from(self.duration.timescale().ticks_per_second()));
        // (n·d/ds + p/ps) · s, rounded up
        let exact = (i128::from(number.0) * d * ps + p * ds) * s;
        let per = ds * ps;
        let ticks = exact.div_euclid(per) + i128::from(exact.rem_euclid(per) != 0);
        MediaTime::new(i64::try_from(ticks).unwrap_or(i64::MAX), timescale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scale(n: u32) -> Timescale {
        Timescale::new(n).unwrap()
    }

    #[test]
    fn a_1001_rate_keeps_its_grid_exact_for_decades() {
        let grid = Grid::new(MediaDuration::new(60_060, scale(30_000))).unwrap();
        let n = SegmentNumber(849_150_849);
        let start = grid.start(n, scale(30_000));
        assert_eq!(start.ticks(), 849_150_849 * 60_060);
        assert_eq!(grid.number_at(start), n);
        assert_eq!(grid.number_at(MediaTime::new(start.ticks() - 1, scale(30_000))), SegmentNumber(n.0 - 1));
    }

    #[test]
    fn a_mapped_source_keeps_its_own_borders() {
        let two = MediaDuration::new(2, scale(1));
        let grid = Grid::with_phase(two, MediaTime::new(1_700_000_001_234, Timescale::MILLIS)).unwrap();
        assert_eq!(grid.phase(), MediaTime::new(1_234, Timescale::MILLIS));
        let at = MediaTime::new(1_700_000_001_234, Timescale::MILLIS);
        assert_eq!(grid.number_at(at), SegmentNumber(850_000_000));
        assert_eq!(grid.start(SegmentNumber(850_000_000), Timescale::MILLIS), at);
    }

    proptest! {
        #[test]
        fn every_start_lies_in_its_own_segment(n in 0_u64..2_000_000_000, d in 1_i64..600_000, ds in 1_u32..100_000,
                                               p in 0_i64..4_000_000_000, ts in 1_u32..10_000_000) {
            let duration = MediaDuration::new(d, scale(ds));
            let grid = Grid::with_phase(duration, MediaTime::new(p, scale(90_000))).unwrap();
            // A segment shorter than a tick of the track has no tick of its own.
            prop_assume!(duration >= MediaDuration::new(1, scale(ts)));
            let start = grid.start(SegmentNumber(n), scale(ts));
            prop_assume!(start.ticks() < i64::MAX / 4);
            prop_assert_eq!(grid.number_at(start), SegmentNumber(n));
        }
    }
}
