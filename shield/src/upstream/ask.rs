// SPDX-License-Identifier: Apache-2.0
//! One request, and as many origins as it takes: the next is asked when one fails, is slow, or goes down meanwhile. The
//! first good head wins and the other requests are dropped.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::StatusCode;
use tokio::sync::watch;
use tokio::time::Instant;

use super::error::{Cause, Error};
use super::group::{Counts, Known, Members, Witness, now};
use super::health::Fault;
use super::origin::{Deadlines, Heard, Origin, Outgoing};
use super::{Answer, Ask, Group, OriginId};

/// How long an answer that is worth bettering waits for a better one, where hedges are off.
const BETTER_MAX: Duration = Duration::from_millis(250);

impl Group {
    /// Asks the origins, the one that the channel plays from first, and returns the first good head.
    ///
    /// Where every origin answers badly the best of the answers is returned: a 404 rather than a 502. An answer that
    /// several origins failed with a 5xx is held against none of them: it may be the request that is at fault.
    ///
    /// # Errors
    /// [`Error::Failed`] if no origin gave a head.
    pub async fn ask(&self, ask: &Ask) -> Result<Answer, Error> {
        let members = self.members.load_full();
        let order = self.known.machine.lock().order(ask.channel.as_ref(), ask.boundary, now());
        let order = order.into_iter().filter_map(|id| members.origin(id).cloned()).collect();
        Race::new(self, &members, ask, order).run().await
    }

    /// Asks one origin and no other, whatever is known of it.
    ///
    /// # Errors
    /// [`Error::Failed`] if it gave no head.
    pub async fn ask_origin(&self, origin: OriginId, ask: &Ask) -> Result<Answer, Error> {
        let members = self.members.load_full();
        let order = members.origin(origin).cloned().into_iter().collect();
        Race::new(self, &members, ask, order).run().await
    }

    /// A request as this group's origins are to see it.
    pub(super) fn outgoing(&self, members: &Members, ask: &Ask) -> Outgoing {
        let settings = &members.settings;
        let host = settings.host.clone().or_else(|| ask.host.clone());
        let mut outgoing = Outgoing::new(ask, host, settings.seal.clone());
        self.identity.mark(&mut outgoing.headers);
        outgoing
    }
}

/// What a head is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    /// The origin could not do it.
    Failed,
    /// It may be there at another origin already.
    Missing,
    Good,
}

fn worth(status: StatusCode, at_edge: bool) -> Worth {
    // 501 and 505 are of the request's making: every origin says the same.
    if status.is_server_error() && !matches!(status.as_u16(), 501 | 505) {
        Worth::Failed
    } else if at_edge && matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE) {
        Worth::Missing
    } else {
        Worth::Good
    }
}

type Attempt = Pin<Box<dyn Future<Output = (Arc<Origin>, Result<Heard, Cause>)> + Send>>;

struct Race<'a> {
    known: &'a Arc<Known>,
    counts: &'a Counts,
    ask: &'a Ask,
    outgoing: Arc<Outgoing>,
    deadlines: Deadlines,
    hedge: Option<Duration>,
    left: std::vec::IntoIter<Arc<Origin>>,
    running: FuturesUnordered<Attempt>,
    /// Who is asked now, since when.
    waiting: Vec<(Arc<Origin>, Instant)>,
    /// When the next origin is asked beside those that are.
    hedge_at: Option<Instant>,
    /// When the best of the answers that came is good enough.
    better_until: Option<Instant>,
    best: Option<(Worth, Arc<Origin>, Heard)>,
    failed: Option<(Arc<Origin>, Cause)>,
    /// Who answered with a 5xx: a fault if another origin can do it.
    blamed: Vec<(OriginId, u16)>,
    news: watch::Receiver<u64>,
    attempts: u32,
}

impl<'a> Race<'a> {
    fn new(group: &'a Group, members: &Members, ask: &'a Ask, mut order: Vec<Arc<Origin>>) -> Self {
        let settings = &members.settings;
        if !ask.is_repeatable() {
            order.truncate(1);
        }
        let held = if ask.held { settings.held } else { Duration::ZERO };
        Self {
            known: &group.known,
            counts: &group.counts,
            ask,
            outgoing: Arc::new(group.outgoing(members, ask)),
            deadlines: Deadlines { head: settings.deadlines.head + held, ..settings.deadlines },
            hedge: settings.hedge,
            left: order.into_iter(),
            running: FuturesUnordered::new(),
            waiting: Vec::new(),
            hedge_at: None,
            better_until: None,
            best: None,
            failed: None,
            blamed: Vec::new(),
            news: group.known.news.subscribe(),
            attempts: 0,
        }
    }

    async fn run(mut self) -> Result<Answer, Error> {
        self.start();
        loop {
            if self.running.is_empty() {
                return self.settle();
            }
            tokio::select! {
                biased;
                Some((origin, outcome)) = self.running.next() => {
                    self.waiting.retain(|(waiting, _)| waiting.id != origin.id);
                    if let Some(won) = self.came(origin, outcome) {
                        return Ok(won);
                    }
                    self.start();
                }
                () = until(self.better_until) => return self.settle(),
                () = until(self.hedge_at) => self.hedge(),
                Ok(()) = self.news.changed() => self.look_elsewhere(),
            }
        }
    }

    /// Asks the next origin, if there is one.
    fn start(&mut self) -> bool {
        let Some(origin) = self.left.next() else {
            self.hedge_at = None;
            return false;
        };
        self.attempts += 1;
        let now = Instant::now();
        self.waiting.push((Arc::clone(&origin), now));
        let more = self.left.len() > 0 && !self.ask.held;
        self.hedge_at = self.hedge.filter(|_| more).map(|hedge| now + hedge);
        let (outgoing, deadlines) = (Arc::clone(&self.outgoing), self.deadlines);
        let witness = Witness { known: Arc::clone(self.known), origin: origin.id };
        self.running.push(Box::pin(async move {
            let outcome = origin.ask(&outgoing, deadlines, witness).await;
            (origin, outcome)
        }));
        true
    }

    fn hedge(&mut self) {
        self.hedge_at = None;
        let (Some((slow, started)), Some(next)) = (self.waiting.last(), self.left.as_slice().first()) else { return };
        let mut machine = self.known.machine.lock();
        // One that is down is asked when all else has failed, not because another takes a moment.
        if !machine.is_usable(next.id, self.ask.channel.as_deref(), now()) {
            return;
        }
        if !machine.may_hedge(slow.id, started.into_std()) {
            Counts::count(&self.counts.hedges_denied);
            return;
        }
        drop(machine);
        Counts::count(&self.counts.hedged);
        next.counts.hedges.fetch_add(1, Ordering::Relaxed);
        self.start();
    }

    /// Whoever is waited for may have gone down meanwhile: nothing is gained by waiting for it alone.
    fn look_elsewhere(&mut self) {
        let machine = self.known.machine.lock();
        let channel = self.ask.channel.as_deref();
        let usable = self.waiting.iter().any(|(origin, _)| machine.is_usable(origin.id, channel, now()));
        drop(machine);
        if !usable {
            self.start();
        }
    }

    /// Takes what came of one origin; the answer if that settles it.
    fn came(&mut self, origin: Arc<Origin>, outcome: Result<Heard, Cause>) -> Option<Answer> {
        let mut heard = match outcome {
            Ok(heard) => heard,
            Err(cause) => {
                origin.counts.failed.fetch_add(1, Ordering::Relaxed);
                if let Some(fault) = fault(&cause) {
                    self.known.bad(origin.id, fault);
                }
                self.failed = Some((origin, cause));
                return None;
            }
        };
        let took = heard.received.instant.saturating_duration_since(heard.requested.instant);
        self.known.machine.lock().heard(origin.id, (!self.ask.held).then_some(took), now());
        let worth = worth(heard.head.status, self.ask.at_edge);
        if worth == Worth::Good {
            self.won();
            heard.body.vouch();
            return Some(self.answer(origin, heard));
        }
        if worth == Worth::Failed {
            origin.counts.failed.fetch_add(1, Ordering::Relaxed);
            self.blamed.push((origin.id, heard.head.status.as_u16()));
        } else {
            heard.body.vouch();
            self.better_until.get_or_insert(Instant::now() + self.hedge.unwrap_or(BETTER_MAX));
        }
        if self.best.as_ref().is_none_or(|(best, ..)| worth > *best) {
            self.best = Some((worth, origin, heard));
        }
        None
    }

    /// An origin could do it: those that could not are at fault, and so are those that stayed silent.
    fn won(&self) {
        for (origin, status) in &self.blamed {
            self.known.bad(*origin, Fault::Status(*status));
        }
        for (origin, started) in &self.waiting {
            self.known.outrun(origin.id, started.into_std());
        }
    }

    /// Nobody can do it, or not in time.
    fn settle(mut self) -> Result<Answer, Error> {
        if let Some((_, origin, heard)) = self.best.take() {
            return Ok(self.answer(origin, heard));
        }
        let (origin, cause) = match self.failed.take() {
            Some((origin, cause)) => (Arc::clone(&origin.name), cause),
            None => (Arc::from("no origin"), Cause::Connect("none is configured".into())),
        };
        Err(Error::Failed { origin, cause, attempts: self.attempts })
    }

    fn answer(&self, origin: Arc<Origin>, heard: Heard) -> Answer {
        let Heard { head, body, requested, received } = heard;
        Answer { head, body, origin: origin.id, requested, received, attempts: self.attempts }
    }
}

/// What a failure tells of the origin; a lack of free connections tells of us.
pub(super) fn fault(cause: &Cause) -> Option<Fault> {
    match cause {
        Cause::Connect(_) => Some(Fault::Connect),
        Cause::Late(_) => Some(Fault::Late),
        Cause::Broken(_) => Some(Fault::Broken),
        Cause::Busy(_) => None,
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
