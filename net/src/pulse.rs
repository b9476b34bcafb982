// SPDX-License-Identifier: Apache-2.0
//! What a connection is doing and since when, so that one that does nothing is closed.
//!
//! hyper bounds the time of an HTTP/1 head only, idle time included, and of an HTTP/2 connection nothing. Here every
//! state has its own time: no byte yet, a head under way, idle, and a client that does not take what is ready for it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Version;
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep};

use crate::limits::{Limits, RESETS_SPAN};
use crate::response::Pace;

/// Which bound a connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Overdue {
    /// No whole request head.
    #[error("expected a whole request head within {0:?}")]
    Head(Duration),
    /// No further request.
    #[error("expected a further request within {0:?}")]
    Idle(Duration),
    /// Nothing is taken.
    #[error("expected the client to take what is ready for it within {0:?}")]
    Stalled(Duration),
    /// Too slow on average.
    #[error("expected the client to take at least {0} bytes of a response a second")]
    Slow(u64),
    /// Requests are made and cancelled.
    #[error("expected at most {0} cancelled requests within ten seconds")]
    Resets(u32),
}

impl Overdue {
    /// The bound's name in metrics; `None` for the usual end of an idle connection.
    pub(crate) const fn bound(self) -> Option<&'static str> {
        match self {
            Self::Head(_) => Some("head_time"),
            Self::Idle(_) => None,
            Self::Stalled(_) => Some("stall"),
            Self::Slow(_) => Some("send_rate"),
            Self::Resets(_) => Some("h2_resets"),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// A head is awaited or under way since then.
    Head(Instant),
    /// Nothing is asked for since then.
    Idle(Instant),
    /// Requests are being answered.
    Busy,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    requests: usize,
    /// On HTTP/2 bytes do not mean a request: windows and pings come while nothing is asked for.
    h2: bool,
    /// Since when the socket takes nothing.
    blocked: Option<Instant>,
    /// The response of HTTP/1 under way; those of HTTP/2 watch themselves.
    response: Option<Arc<Pace>>,
    cancelled: u32,
    cancelled_since: Instant,
}

/// The pulse of one connection; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Pulse {
    limits: Arc<Limits>,
    /// Held for a look or a change of state.
    state: Arc<Mutex<State>>,
}

impl Pulse {
    /// Of a connection whose first head is awaited since then.
    pub(crate) fn new(limits: Arc<Limits>, head_since: Instant) -> Self {
        let now = Instant::now();
        let state = State {
            phase: Phase::Head(head_since),
            requests: 0,
            h2: false,
            blocked: None,
            response: None,
            cancelled: 0,
            cancelled_since: now,
        };
        Self { limits, state: Arc::new(Mutex::new(state)) }
    }

    /// Bytes came.
    pub(crate) fn read(&self) {
        let mut state = self.state.lock();
        if let (Phase::Idle(_), false) = (state.phase, state.h2) {
            state.phase = Phase::Head(Instant::now());
        }
    }

    /// Bytes left.
    pub(crate) fn wrote(&self) {
        self.state.lock().blocked = None;
    }

    /// The socket takes nothing now.
    pub(crate) fn blocked(&self) {
        self.state.lock().blocked.get_or_insert_with(Instant::now);
    }

    /// A request's head is whole; it is under way until its guard goes.
    pub(crate) fn begin(&self, version: Version) -> Request {
        let mut state = self.state.lock();
        state.requests += 1;
        state.phase = Phase::Busy;
        state.h2 = version == Version::HTTP_2;
        Request { pulse: self.clone(), answered: false }
    }

    /// The response whose pace is to be watched here.
    pub(crate) fn answer(&self, pace: Arc<Pace>) {
        self.state.lock().response = Some(pace);
    }

    fn end(&self, answered: bool) {
        let now = Instant::now();
        let mut state = self.state.lock();
        state.requests -= 1;
        state.response = None;
        if state.requests == 0 {
            state.phase = Phase::Idle(now);
        }
        if !answered {
            if state.cancelled_since + RESETS_SPAN <= now {
                (state.cancelled, state.cancelled_since) = (0, now);
            }
            state.cancelled += 1;
        }
    }

    /// When this connection is over a bound if nothing changes, and which.
    fn deadline(&self, now: Instant) -> Option<(Instant, Overdue)> {
        let limits = &self.limits;
        let state = self.state.lock();
        if state.h2 && state.cancelled > limits.h2_resets_max {
            return Some((now, Overdue::Resets(limits.h2_resets_max)));
        }
        let phase = match state.phase {
            Phase::Head(since) => Some((since + limits.head, Overdue::Head(limits.head))),
            Phase::Idle(since) => Some((since + limits.idle, Overdue::Idle(limits.idle))),
            Phase::Busy => None,
        };
        let blocked = state.blocked.map(|since| (since + limits.stall, Overdue::Stalled(limits.stall)));
        let slow = state.response.as_ref().and_then(|pace| pace.deadline(now)).map(|at| (at, pace_overdue(limits)));
        [phase, blocked, slow].into_iter().flatten().min_by_key(|(at, _)| *at)
    }
}

pub(crate) const fn pace_overdue(limits: &Limits) -> Overdue {
    Overdue::Slow(limits.send_bytes_per_second_min)
}

/// A request under way.
#[derive(Debug)]
pub(crate) struct Request {
    pulse: Pulse,
    answered: bool,
}

impl Request {
    /// The answer is whole.
    pub(crate) const fn answered(&mut self) {
        self.answered = true;
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.pulse.end(self.answered);
    }
}

/// Polled beside the connection it watches, in the same task: whatever changes the state polls it again.
#[derive(Debug)]
pub(crate) struct Watch {
    pulse: Pulse,
    armed: Option<Pin<Box<Sleep>>>,
}

impl Watch {
    pub(crate) const fn new(pulse: Pulse) -> Self {
        Self { pulse, armed: None }
    }

    /// Ready once the connection is over a bound.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Overdue> {
        loop {
            let now = Instant::now();
            let Some((deadline, overdue)) = self.pulse.deadline(now) else { return Poll::Pending };
            if deadline <= now {
                return Poll::Ready(overdue);
            }
            // A timer that goes off early costs less than one that is set anew with each request.
            let timer = match &mut self.armed {
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
        }
    }
}
