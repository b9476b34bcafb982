// SPDX-License-Identifier: Apache-2.0
//! What a stored answer may be used for at a given moment (RFC 9111, 4.2 to 4.2.4; RFC 5861).

use std::time::Duration;

use tokio::time::Instant;

/// How long an answer lives and what may be done with it afterwards. A few words, copied freely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    pub(super) received: Instant,
    pub(super) initial_age_ms: u64,
    pub(super) lifetime_ms: u64,
    pub(super) while_revalidating_ms: u64,
    pub(super) if_error_ms: u64,
    pub(super) validate_always: bool,
    pub(super) immutable: bool,
}

/// Whether an answer may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// As it is.
    Fresh {
        /// For so much longer.
        ttl: Duration,
    },
    /// Only after asking the origin, or within the windows that it allows.
    Stale {
        /// For how long it has been.
        by: Duration,
        /// It may be served while the origin is asked (RFC 5861, 3).
        while_revalidating: bool,
        /// It may be served when the origin fails (RFC 5861, 4).
        if_error: bool,
    },
}

impl Policy {
    /// Of an answer for those alone who asked before it came: stale at once, and never used again.
    pub fn momentary(received: Instant) -> Self {
        Self {
            received,
            initial_age_ms: 0,
            lifetime_ms: 0,
            while_revalidating_ms: 0,
            if_error_ms: 0,
            validate_always: true,
            immutable: false,
        }
    }

    /// What is fresh for `lifetime` from its receipt on, and then to be asked for.
    pub fn new(received: Instant, lifetime: Duration) -> Self {
        Self {
            received,
            initial_age_ms: 0,
            lifetime_ms: milliseconds(lifetime),
            while_revalidating_ms: 0,
            if_error_ms: 0,
            validate_always: false,
            immutable: false,
        }
    }

    /// How old the answer is (RFC 9111, 4.2.3); it never shrinks while `now` does not.
    pub fn age(&self, now: Instant) -> Duration {
        Duration::from_millis(self.age_ms(now))
    }

    /// Whether the answer may be used.
    pub fn freshness(&self, now: Instant) -> Freshness {
        let age = self.age_ms(now);
        if age < self.lifetime_ms {
            return Freshness::Fresh { ttl: Duration::from_millis(self.lifetime_ms - age) };
        }
        let by = age - self.lifetime_ms;
        Freshness::Stale {
            by: Duration::from_millis(by),
            while_revalidating: by < self.while_revalidating_ms,
            if_error: by < self.if_error_ms,
        }
    }

    /// How long it is fresh in all, from the origin on.
    pub fn lifetime(&self) -> Duration {
        Duration::from_millis(self.lifetime_ms)
    }

    /// The origin is to be asked before each use, whatever fails (`no-cache`).
    pub fn must_validate(&self) -> bool {
        self.validate_always
    }

    /// It does not change while it is fresh (RFC 8246).
    pub fn is_immutable(&self) -> bool {
        self.immutable
    }

    /// When it is of no use any more without asking the origin: fresh and stale windows are over.
    pub fn useless_at(&self) -> Instant {
        let windows = self.while_revalidating_ms.max(self.if_error_ms);
        let left = self.lifetime_ms.saturating_add(windows).saturating_sub(self.initial_age_ms);
        self.received.checked_add(Duration::from_millis(left)).unwrap_or(self.received)
    }

    /// The same, fresh for `ttl` from its receipt on at most.
    #[must_use]
    pub fn at_most(mut self, ttl: Duration) -> Self {
        self.lifetime_ms = self.lifetime_ms.min(self.initial_age_ms.saturating_add(milliseconds(ttl)));
        self
    }

    /// The same, stale from now on (a soft purge): it may still be validated and serve within its windows.
    #[must_use]
    pub fn expired(mut self, now: Instant) -> Self {
        self.lifetime_ms = self.lifetime_ms.min(self.age_ms(now));
        self
    }

    fn age_ms(&self, now: Instant) -> u64 {
        self.initial_age_ms.saturating_add(milliseconds(now.saturating_duration_since(self.received)))
    }
}

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
