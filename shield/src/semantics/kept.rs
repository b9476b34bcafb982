// SPDX-License-Identifier: Apache-2.0
//! A policy that outlives the process: its moments told by UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::Policy;
use super::policy::milliseconds;

/// A policy as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Milliseconds since the Unix epoch.
    written_ms: u64,
    age_ms: u64,
    lifetime_ms: u64,
    while_revalidating_ms: u64,
    if_error_ms: u64,
    validate_always: bool,
    immutable: bool,
}

impl Policy {
    /// As it stands at this moment.
    pub fn kept(&self, now: Instant, utc: SystemTime) -> Kept {
        Kept {
            written_ms: milliseconds(utc.duration_since(UNIX_EPOCH).unwrap_or_default()),
            age_ms: milliseconds(self.age(now)),
            lifetime_ms: self.lifetime_ms,
            while_revalidating_ms: self.while_revalidating_ms,
            if_error_ms: self.if_error_ms,
            validate_always: self.validate_always,
            immutable: self.immutable,
        }
    }

    /// As it stands after the time since it was written. A clock that was set back meanwhile makes it no younger than
    /// it was.
    pub fn restored(kept: &Kept, now: Instant, utc: SystemTime) -> Self {
        let written = UNIX_EPOCH + Duration::from_millis(kept.written_ms.min(u64::from(u32::MAX) * 1_000));
        let since = milliseconds(utc.duration_since(written).unwrap_or_default());
        Self {
            received: now,
            initial_age_ms: kept.age_ms.saturating_add(since),
            lifetime_ms: kept.lifetime_ms,
            while_revalidating_ms: kept.while_revalidating_ms,
            if_error_ms: kept.if_error_ms,
            validate_always: kept.validate_always,
            immutable: kept.immutable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn age_goes_on_while_nobody_looks_and_never_back() {
        let (now, utc) = (Instant::now(), SystemTime::now());
        let policy = Policy::new(now, Duration::from_secs(60));
        let kept = policy.kept(now + Duration::from_secs(5), utc);
        let later = Instant::now() + Duration::from_secs(1_000);
        assert_eq!(Policy::restored(&kept, later, utc + Duration::from_secs(7)).age(later), Duration::from_secs(12));
        assert_eq!(Policy::restored(&kept, later, utc - Duration::from_secs(7)).age(later), Duration::from_secs(5));
    }
}
