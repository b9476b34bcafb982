// SPDX-License-Identifier: Apache-2.0
//! When a resource counts as short, and when no longer.
//!
//! A resource is short once [`SAMPLES`] samples in a row are at its threshold or above, and no longer once as many in a
//! row are a tenth below it. In between it stays what it was, so that load at a threshold is one event and not many.

use crate::event::Resource;

/// Samples in a row that it takes to raise congestion, and to clear it.
pub const SAMPLES: u32 = 3;

/// Every resource, each with a place in a table.
pub(super) const RESOURCES: [Resource; 5] =
    [Resource::Cpu, Resource::Memory, Resource::Egress, Resource::Connections, Resource::Refusals];

/// At which share of a resource congestion is raised and cleared, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// Raised at this.
    pub raised_at: u64,
}

impl Threshold {
    /// Cleared below this: a tenth less.
    pub const fn cleared_below(self) -> u64 {
        self.raised_at * 9 / 10
    }
}

/// A resource that became short, or that is not any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is short.
    Raised,
    /// It is not any more.
    Cleared,
}

/// One resource over time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Watched {
    is_short: bool,
    /// Samples in a row that speak for the other state.
    against: u32,
}

impl Watched {
    /// Takes a sample; `None` is a resource that cannot be measured, or that nobody wants told, and is never short.
    pub fn sample(&mut self, used_percent: Option<u64>, threshold: Threshold) -> Option<Change> {
        let against = match used_percent {
            Some(used) if self.is_short => used < threshold.cleared_below(),
            Some(used) => used >= threshold.raised_at,
            None => self.is_short,
        };
        self.against = if against { self.against + 1 } else { 0 };
        if self.against < SAMPLES {
            return None;
        }
        (self.is_short, self.against) = (!self.is_short, 0);
        Some(if self.is_short { Change::Raised } else { Change::Cleared })
    }

    /// It is short now.
    pub const fn is_short(&self) -> bool {
        self.is_short
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AT_80: Threshold = Threshold { raised_at: 80 };

    fn changes(samples: &[Option<u64>]) -> Vec<(usize, Change)> {
        let mut watched = Watched::default();
        let sampled = samples.iter().map(|used| watched.sample(*used, AT_80)).enumerate();
        sampled.filter_map(|(at, change)| Some((at, change?))).collect()
    }

    #[test]
    fn a_peak_is_no_congestion_and_a_dip_does_not_end_it() {
        let samples = [99, 99, 10, 80, 80, 80, 10, 10, 72, 71, 71, 71, 80].map(Some);
        assert_eq!(changes(&samples), [(5, Change::Raised), (11, Change::Cleared)]);
    }

    #[test]
    fn what_is_not_measured_any_more_is_not_short() {
        let samples = [Some(90), Some(90), Some(90), None, None, None, None];
        assert_eq!(changes(&samples), [(2, Change::Raised), (5, Change::Cleared)]);
    }

    proptest! {
        #[test]
        fn load_that_swings_about_the_threshold_is_told_once(
            swing in prop::collection::vec(AT_80.cleared_below()..100, 0..400)
        ) {
            prop_assert!(changes(&swing.into_iter().map(Some).collect::<Vec<_>>()).len() <= 1);
        }

        #[test]
        fn every_change_has_its_samples_in_a_row_behind_it(
            samples in prop::collection::vec(prop::option::weighted(0.95, 0_u64..120), 0..400)
        ) {
            let changes = changes(&samples);
            for (at, change) in &changes {
                let behind = &samples[at + 1 - SAMPLES as usize..=*at];
                let speaks = |used: &Option<u64>| match change {
                    Change::Raised => used.is_some_and(|used| used >= AT_80.raised_at),
                    Change::Cleared => used.is_none_or(|used| used < AT_80.cleared_below()),
                };
                prop_assert!(behind.iter().all(speaks));
            }
            for pair in changes.windows(2) {
                prop_assert_ne!(pair[0].1, pair[1].1);
                prop_assert!(pair[1].0 - pair[0].0 >= SAMPLES as usize);
            }
            prop_assert!(changes.first().is_none_or(|(_, change)| *change == Change::Raised));
        }

        #[test]
        fn enough_samples_in_a_row_are_always_heard(
            before in prop::collection::vec(prop::option::of(0_u64..120), 0..50), high in 80_u64..120, low in 0_u64..72
        ) {
            let mut watched = Watched::default();
            before.iter().for_each(|used| { watched.sample(*used, AT_80); });
            (0..SAMPLES).for_each(|_| { watched.sample(Some(high), AT_80); });
            prop_assert!(watched.is_short());
            (0..SAMPLES).for_each(|_| { watched.sample(Some(low), AT_80); });
            prop_assert!(!watched.is_short());
        }
    }
}
