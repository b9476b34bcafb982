// SPDX-License-Identifier: Apache-2.0
//! How often something may happen: so many times a second, with a burst (`governor`, the generic cell rate algorithm).

use std::num::NonZeroU32;
use std::ops::Add;
use std::time::Duration;

use governor::clock::{Clock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

/// What a meter allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate(Quota);

impl Rate {
    /// `per_second` in the long run, at most `burst` at once; none for 0 a second, which is without a bound.
    pub(super) fn new(per_second: u32, burst: u32) -> Option<Self> {
        let quota = Quota::per_second(NonZeroU32::new(per_second)?);
        Some(Self(quota.allow_burst(NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN))))
    }
}

/// Counts what happens; one atomic word, no lock.
#[derive(Debug)]
pub(super) struct Meter(RateLimiter<NotKeyed, InMemoryState, Watch, NoOpMiddleware<Moment>>);

impl Meter {
    pub(super) fn new(rate: Rate) -> Self {
        Self(RateLimiter::direct_with_clock(rate.0, Watch))
    }

    /// Counts one more.
    ///
    /// # Errors
    /// How long it is until one more is allowed.
    pub(super) fn count(&self) -> Result<(), Duration> {
        self.0.check().map_err(|until| until.wait_time_from(Watch.now()))
    }
}

/// The runtime's clock, which tests can stop.
#[derive(Clone, Copy, Debug)]
struct Watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Moment(Instant);

impl Clock for Watch {
    type Instant = Moment;

    fn now(&self) -> Moment {
        Moment(Instant::now())
    }
}

impl Reference for Moment {
    fn duration_since(&self, earlier: Self) -> Nanos {
        self.0.saturating_duration_since(earlier.0).into()
    }

    fn saturating_sub(&self, duration: Nanos) -> Self {
        Self(self.0.checked_sub(duration.into()).unwrap_or(self.0))
    }
}

impl Add<Nanos> for Moment {
    type Output = Self;

    fn add(self, duration: Nanos) -> Self {
        Self(self.0.checked_add(duration.into()).unwrap_or(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_and_then_the_rate() {
        let meter = Meter::new(Rate::new(10, 3).unwrap());
        assert_eq!([meter.count(), meter.count(), meter.count()], [Ok(()); 3]);
        assert_eq!(meter.count(), Err(Duration::from_millis(100)));
        tokio::time::advance(Duration::from_millis(100)).await;
        assert_eq!(meter.count(), Ok(()));
        assert_eq!(meter.count(), Err(Duration::from_millis(100)));
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!([meter.count(), meter.count(), meter.count()], [Ok(()); 3]);
        assert!(meter.count().is_err());
    }

    #[test]
    fn no_rate_is_no_bound() {
        assert_eq!(Rate::new(0, 3), None);
    }
}
