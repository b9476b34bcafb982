// SPDX-License-Identifier: Apache-2.0
//! Tells each second what was delivered of each channel, for windows, reports and alerts.
//!
//! Seconds are those of UTC, so that what several shields tell of one second lies in one window. Each begins where the
//! one before ended: nothing is told twice or left out, whatever the clock does.

use std::sync::Weak;
use std::time::{Duration, SystemTime};

use headwater_events::event::{Data, Delivery, FillTimes};
use headwater_media::UtcTime;
use tokio::time::Instant;

use crate::Shield;
use crate::metrics::Counts;

const SECOND_NS: i64 = 1_000_000_000;

/// Tells until the shutdown is closed, and then of the rest; ends with the shield.
pub(crate) async fn tell(shield: Weak<Shield>) {
    let Some(shutdown) = shield.upgrade().map(|shield| shield.shutdown.clone()) else { return };
    let mut seconds = Seconds::new(now());
    loop {
        let since = Instant::now();
        let closed = tokio::select! {
            () = tokio::time::sleep(seconds.left(now())) => false,
            () = shutdown.closed() => true,
        };
        let Some(shield) = shield.upgrade() else { return };
        let (begin, interval) = seconds.advance(now(), since.elapsed());
        shield.tell_deliveries(begin, interval);
        if closed {
            return;
        }
    }
}

impl Shield {
    fn tell_deliveries(&self, begin: UtcTime, interval: Duration) {
        let deliveries = self.metrics.deliveries();
        self.metrics.delivered.set(i64::try_from(deliveries.len()).unwrap_or(i64::MAX));
        let node = self.publisher.source().node();
        for (channel, counts) in deliveries {
            self.publisher.publish(begin, Data::Delivery(delivery(node, &channel, interval, counts)));
        }
    }
}

fn delivery(node: &str, channel: &str, interval: Duration, counts: Counts) -> Delivery {
    Delivery {
        node: node.to_owned(),
        channel: channel.to_owned(),
        interval_ms: u64::try_from(interval.as_millis()).unwrap_or(u64::MAX),
        requests: counts.requests,
        hits: counts.hits,
        stale: counts.stale,
        errors: counts.errors,
        refused: counts.refused,
        bytes: counts.sent_bytes,
        origin_requests: counts.origin_requests,
        prefetches: counts.prefetches,
        origin_bytes: counts.received_bytes,
        fills: FillTimes::of(counts.fills),
    }
}

fn now() -> UtcTime {
    UtcTime::from_system(SystemTime::now())
}

fn second_of(time: UtcTime) -> i64 {
    time.nanos().div_euclid(SECOND_NS)
}

/// Intervals of whole seconds, each later than the one before.
struct Seconds {
    /// Where the interval begins that is open.
    begin: i64,
}

impl Seconds {
    fn new(now: UtcTime) -> Self {
        Self { begin: second_of(now) }
    }

    /// How long the open interval lasts yet; never longer than a second, whatever was done to the clock.
    fn left(&self, now: UtcTime) -> Duration {
        let left = (self.begin + 1).saturating_mul(SECOND_NS).saturating_sub(now.nanos());
        Duration::from_nanos(u64::try_from(left.clamp(0, SECOND_NS)).unwrap_or(0))
    }

    /// Ends the open interval after `elapsed`: where it began, and how long it was.
    ///
    /// It is longer than a second if this comes late. If the clock has gone on by more than the time that passed, what
    /// was counted lies before the new time, not in the time that was left out.
    fn advance(&mut self, now: UtcTime, elapsed: Duration) -> (UtcTime, Duration) {
        let end = second_of(now).max(self.begin + 1);
        let length = i64::try_from(elapsed.as_secs_f64().round() as u64).unwrap_or(i64::MAX).max(1);
        let begin = self.begin.max(end.saturating_sub(length));
        self.begin = end;
        let begin_at = UtcTime::from_nanos(begin.saturating_mul(SECOND_NS));
        (begin_at, Duration::from_secs(u64::try_from(end - begin).unwrap_or(1)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: i64) -> UtcTime {
        UtcTime::from_nanos(1_790_000_000_000_000_000 + ms * 1_000_000)
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn seconds_are_those_of_the_clock() {
        let mut seconds = Seconds::new(at(700));
        assert_eq!(seconds.left(at(700)), ms(300));
        assert_eq!(seconds.advance(at(1_001), ms(301)), (at(0), ms(1_000)));
        // A timer that goes off early.
        assert_eq!(seconds.advance(at(1_999), ms(998)), (at(1_000), ms(1_000)));
        assert_eq!(seconds.left(at(1_999)), ms(1_000));
        assert_eq!(seconds.advance(at(5_100), ms(3_101)), (at(2_000), ms(3_000)));
    }

    #[test]
    fn a_clock_that_is_set_leaves_no_second_of_hours_and_none_twice() {
        let mut seconds = Seconds::new(at(0));
        assert_eq!(seconds.advance(at(3_600_000), ms(1_000)), (at(3_599_000), ms(1_000)));
        assert_eq!(seconds.advance(at(1_000), ms(1_000)), (at(3_600_000), ms(1_000)));
        assert_eq!(seconds.left(at(1_000)), ms(1_000));
    }

    proptest! {
        #[test]
        fn intervals_follow_each_other_whatever_the_clock_says(
            steps in prop::collection::vec((-10_000_i64..10_000, 0_u64..5_000), 1..50)
        ) {
            let (mut seconds, mut now, mut end) = (Seconds::new(at(0)), 0, at(0));
            for (step, elapsed) in steps {
                now += step;
                prop_assert!(seconds.left(at(now)) <= ms(1_000));
                let (begin, length) = seconds.advance(at(now), ms(elapsed));
                prop_assert!(begin >= end && length >= ms(1_000));
                end = begin + length;
            }
        }
    }
}
