// SPDX-License-Identifier: Apache-2.0
//! What a connection is late with: the bounds of [`pulse`](crate::pulse), for one request at a time and one task.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::limits::Limits;
use crate::pulse::{Overdue, pace_overdue};

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// A head is awaited or under way since then.
    Head(Instant),
    /// Nothing is asked for since then.
    Idle(Instant),
    /// A request is being answered.
    Busy,
}

/// A connection's times, and the one timer that watches them.
#[derive(Debug)]
pub(super) struct Due {
    limits: Arc<Limits>,
    phase: Phase,
    /// Since when the socket takes nothing.
    blocked: Option<Instant>,
    /// Of the response under way: what the socket took, and how long it kept us waiting before.
    given_bytes: u64,
    waited: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Due {
    pub(super) fn new(limits: Arc<Limits>) -> Self {
        let phase = Phase::Head(Instant::now());
        Self { limits, phase, blocked: None, given_bytes: 0, waited: Duration::ZERO, timer: None }
    }

    /// Since when the head is awaited that is not whole yet.
    pub(super) fn head_since(&self) -> Instant {
        match self.phase {
            Phase::Head(since) => since,
            Phase::Idle(_) | Phase::Busy => Instant::now(),
        }
    }

    /// Some of a head came, not all.
    pub(super) fn partial(&mut self) {
        if !matches!(self.phase, Phase::Head(_)) {
            self.phase = Phase::Head(Instant::now());
        }
    }

    /// A request is being answered.
    pub(super) const fn busy(&mut self) {
        self.phase = Phase::Busy;
        self.given_bytes = 0;
        self.waited = Duration::ZERO;
    }

    /// The answer is written.
    pub(super) fn idle(&mut self) {
        self.phase = Phase::Idle(Instant::now());
    }

    /// The socket takes nothing now.
    pub(super) fn blocked(&mut self) {
        self.blocked.get_or_insert_with(Instant::now);
    }

    /// The socket took this.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.given_bytes += bytes as u64;
        if let Some(since) = self.blocked.take() {
            self.waited += since.elapsed();
        }
    }

    /// When this connection is over a bound if nothing changes, and which.
    fn deadline(&self) -> Option<(Instant, Overdue)> {
        let limits = &self.limits;
        let phase = match self.phase {
            Phase::Head(since) => Some((since + limits.head, Overdue::Head(limits.head))),
            Phase::Idle(since) => Some((since + limits.idle, Overdue::Idle(limits.idle))),
            Phase::Busy => None,
        };
        let taken = self.blocked.map(|since| {
            let earned = Duration::from_secs(self.given_bytes / limits.send_bytes_per_second_min.max(1));
            let left = (limits.stall + earned).saturating_sub(self.waited);
            if left < limits.stall {
                (since + left, pace_overdue(limits))
            } else {
                (since + limits.stall, Overdue::Stalled(limits.stall))
            }
        });
        [phase, taken].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// Ready once the connection is over a bound.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Overdue> {
        loop {
            let Some((deadline, overdue)) = self.deadline() else { return Poll::Pending };
            // A timer that goes off early costs less than one that is set anew with each request.
            let timer = match &mut self.timer {
                Some(timer) if timer.deadline() <= deadline && !timer.is_elapsed() => timer,
                Some(timer) => {
                    timer.as_mut().reset(deadline);
                    timer
                }
                none => none.insert(Box::pin(tokio::time::sleep_until(deadline))),
            };
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if deadline <= Instant::now() {
                return Poll::Ready(overdue);
            }
        }
    }
}
