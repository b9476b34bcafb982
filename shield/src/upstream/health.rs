// SPDX-License-Identifier: Apache-2.0
//! Whether an origin is up: what checks and requests saw of it, counted in a row. No clock and no socket of its own.

use std::fmt;
use std::time::{Duration, Instant};

/// When an origin is up and when down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How often an origin is checked; `None`: never.
    pub interval: Option<Duration>,
    /// Good checks in a row that make it up.
    pub rise: u32,
    /// Bad checks or requests in a row that make it down.
    pub fall: u32,
    /// After a switch, no further one for this long; without checks, how long an origin stays down before it is tried.
    pub hold_down: Duration,
    /// Good checks in a row before the preferred origin is used again.
    pub failback_checks: u32,
}

/// What was bad about an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No connection.
    Connect,
    /// No head in time.
    Late,
    /// Silent until another origin, asked later, had answered.
    Outrun,
    /// The connection ended or broke the protocol.
    Broken,
    /// A body brought nothing for too long, or took too long.
    Stalled,
    /// A request that another origin could answer was answered with this status.
    Status(u16),
    /// A check was answered with this status.
    Check(u16),
    /// The operator took it out.
    Drained,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => write!(f, "no connection"),
            Self::Late => write!(f, "no response in time"),
            Self::Outrun => write!(f, "silent while another origin answered"),
            Self::Broken => write!(f, "connection broke off"),
            Self::Stalled => write!(f, "body stood still"),
            Self::Status(status) => write!(f, "status {status}"),
            Self::Check(status) => write!(f, "health check answered {status}"),
            Self::Drained => write!(f, "drained by the operator"),
        }
    }
}

/// An origin went from one to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It may be asked again.
    Up,
    /// It is asked last from here on, because of this.
    Down(Fault),
}

/// What is known of one origin. A new one is up: the first request decides otherwise as well as a check would.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    down: Option<(Instant, Fault)>,
    /// Since when the operator has it taken out, whatever checks say.
    drained: Option<Instant>,
    checks_good: u32,
    bad: u32,
    last_fault: Option<Fault>,
    heard: Option<Instant>,
    head_time: Option<Duration>,
}

impl Health {
    /// A check was answered well (`Ok`) or not.
    pub fn checked(&mut self, seen: Result<(), Fault>, now: Instant, rules: &Rules) -> Option<Change> {
        match seen {
            Ok(()) => {
                self.heard = Some(now);
                self.bad = 0;
                self.checks_good = self.checks_good.saturating_add(1);
                if self.down.is_some() && self.checks_good >= rules.rise {
                    self.down = None;
                    return Some(Change::Up);
                }
                None
            }
            Err(fault) => self.bad(fault, now, rules),
        }
    }

    /// A head came; the body decides whether the answer was good.
    pub fn heard(&mut self, after: Option<Duration>, now: Instant) {
        self.heard = Some(now);
        if let Some(after) = after {
            self.head_time = Some(self.head_time.map_or(after, |usual| (usual * 7 + after) / 8));
        }
    }

    /// A request was answered to its end.
    pub fn good(&mut self, now: Instant, rules: &Rules) -> Option<Change> {
        self.bad = 0;
        // Checks, where there are any, say when an origin is up again: an origin that is down is asked when all are.
        if self.down.is_some() && rules.interval.is_none() && self.is_up(now, rules) {
            self.down = None;
            return Some(Change::Up);
        }
        None
    }

    /// A check or a request went wrong.
    pub fn bad(&mut self, fault: Fault, now: Instant, rules: &Rules) -> Option<Change> {
        self.checks_good = 0;
        self.bad = self.bad.saturating_add(1);
        self.last_fault = Some(fault);
        if self.down.is_none() {
            if self.bad < rules.fall {
                return None;
            }
            self.down = Some((now, fault));
            return Some(Change::Down(fault));
        }
        if rules.interval.is_none() && self.is_up(now, rules) {
            // It was on trial.
            self.down = Some((now, fault));
        }
        None
    }

    /// It may be asked first. Without checks an origin that is down is tried again after a while.
    pub fn is_up(&self, now: Instant, rules: &Rules) -> bool {
        match self.down {
            _ if self.drained.is_some() => false,
            None => true,
            Some((since, _)) => rules.interval.is_none() && now.saturating_duration_since(since) >= rules.hold_down,
        }
    }

    /// It has been good for long enough to be used again.
    pub fn is_proven(&self, now: Instant, rules: &Rules) -> bool {
        self.is_up(now, rules) && (rules.interval.is_none() || self.checks_good >= rules.failback_checks)
    }

    /// Since when and why it is down.
    pub fn down(&self) -> Option<(Instant, Fault)> {
        self.drained.map(|since| (since, Fault::Drained)).or(self.down)
    }

    /// Takes it out, or back in as it is then. True if that is a change.
    pub fn drain(&mut self, drained: bool, now: Instant) -> bool {
        let before = self.drained;
        self.drained = drained.then(|| before.unwrap_or(now));
        before.is_some() != drained
    }

    /// Nothing at all came from it since `then`.
    pub fn is_silent_since(&self, then: Instant) -> bool {
        self.heard.is_none_or(|heard| heard < then)
    }

    /// How long its heads usually take; held requests do not count.
    pub fn head_time(&self) -> Option<Duration> {
        self.head_time
    }

    /// What was bad last.
    pub fn last_fault(&self) -> Option<Fault> {
        self.last_fault
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RULES: Rules = Rules {
        interval: Some(Duration::from_secs(1)),
        rise: 2,
        fall: 2,
        hold_down: Duration::from_secs(10),
        failback_checks: 5,
    };
    const UNCHECKED: Rules = Rules { interval: None, ..RULES };

    #[test]
    fn faults_in_a_row_take_an_origin_down_and_a_good_answer_between_them_does_not_count_towards_it() {
        let (mut health, now) = (Health::default(), Instant::now());
        assert_eq!(health.bad(Fault::Connect, now, &RULES), None);
        health.good(now, &RULES);
        assert_eq!(health.bad(Fault::Connect, now, &RULES), None);
        assert_eq!(health.bad(Fault::Late, now, &RULES), Some(Change::Down(Fault::Late)));
        assert_eq!(health.bad(Fault::Late, now, &RULES), None, "it is down already");
        assert!(!health.is_up(now, &RULES));
    }

    #[test]
    fn good_checks_in_a_row_bring_it_up_and_requests_do_not() {
        let (mut health, now) = (Health::default(), Instant::now());
        health.bad(Fault::Connect, now, &RULES);
        health.checked(Err(Fault::Check(503)), now, &RULES);
        assert_eq!(health.down().map(|(_, fault)| fault), Some(Fault::Check(503)));
        assert_eq!(health.good(now, &RULES), None);
        assert_eq!(health.checked(Ok(()), now, &RULES), None);
        assert_eq!(health.checked(Err(Fault::Late), now, &RULES), None);
        assert_eq!(health.checked(Ok(()), now, &RULES), None);
        assert_eq!(health.checked(Ok(()), now, &RULES), Some(Change::Up));
    }

    #[test]
    fn without_checks_it_is_tried_again_after_the_hold_down() {
        let (mut health, now) = (Health::default(), Instant::now());
        for _ in 0..2 {
            health.bad(Fault::Connect, now, &UNCHECKED);
        }
        let later = now + UNCHECKED.hold_down;
        assert!(!health.is_up(now, &UNCHECKED) && health.is_up(later, &UNCHECKED));
        health.bad(Fault::Connect, later, &UNCHECKED);
        assert!(!health.is_up(later, &UNCHECKED), "one fault on trial is enough");
        let much_later = later + UNCHECKED.hold_down;
        assert_eq!(health.good(much_later, &UNCHECKED), Some(Change::Up));
    }

    proptest! {
        #[test]
        fn it_is_down_exactly_from_the_fall_to_the_rise(seen in prop::collection::vec(any::<bool>(), 0..200)) {
            let (mut health, now) = (Health::default(), Instant::now());
            let (mut up, mut streak, mut last) = (true, 0, None);
            for good in seen {
                streak = if last == Some(good) { streak + 1 } else { 1 };
                last = Some(good);
                health.checked(if good { Ok(()) } else { Err(Fault::Late) }, now, &RULES);
                if streak >= if good { RULES.rise } else { RULES.fall } {
                    up = good;
                }
                prop_assert_eq!(health.is_up(now, &RULES), up);
            }
        }
    }
}
