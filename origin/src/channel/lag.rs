// SPDX-License-Identifier: Apache-2.0
//! How late a source's media comes, and whether it comes later and later: the encoder's clock against ours.
//!
//! Lateness swings with every burst; the least of it does not. Drift is the least lately against the least at first.

use std::time::Duration;

use headwater_media::UtcTime;

/// How long the least is looked for.
const SPAN: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Lag {
    first: Option<f64>,
    last: Option<f64>,
    /// The least of the span under way, and when it began.
    now: Option<(UtcTime, f64)>,
}

impl Lag {
    /// Notes that media came `late` seconds after its own time; returns the drift in seconds, 0 in the first spans.
    pub(super) fn observe(&mut self, late: f64, now: UtcTime) -> f64 {
        let (begun, least) = *self.now.get_or_insert((now, late));
        if now.since(begun) >= SPAN {
            self.first.get_or_insert(least);
            self.last = Some(least);
            self.now = Some((now, late));
        } else {
            self.now = Some((begun, least.min(late)));
        }
        self.last.unwrap_or_default() - self.first.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_are_no_drift_and_a_slow_clock_is() {
        let (mut steady, mut slow) = (Lag::default(), Lag::default());
        let mut drift = (0.0, 0.0);
        for tenths in 0..1_200 {
            let now = UtcTime::from_nanos(tenths * 100_000_000);
            let burst = (tenths % 20) as f64 / 10.0;
            drift = (steady.observe(0.3 + burst, now), slow.observe(0.3 + burst + tenths as f64 / 1e4, now));
        }
        assert_eq!(drift.0, 0.0);
        assert!((drift.1 - 0.1).abs() < 0.02, "a hundredth of a second in every ten: {}", drift.1);
    }
}
