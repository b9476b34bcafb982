// SPDX-License-Identifier: Apache-2.0
//! Fetching ahead: fills that events begin. A bounded number runs at once and a bounded number waits, of which the oldest
//! goes for another: what is late is worth the least.

use std::collections::VecDeque;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, Uri, Version};
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::warn;
use xxhash_rust::xxh3::Xxh3;

use crate::Shield;
use crate::fill::{Failure, Fill, Stage};
use crate::index::{Slot, Turn};
use crate::metrics::Ahead;
use crate::object::Object;
use crate::route::{self, Kind, Route};
use crate::semantics::{Freshness, fields};
use crate::task::Errand;
use crate::upstream::Ask;
use crate::whole::Whole;

/// Those that may wait, for each that may run.
const WAITING_PER_RUNNING: usize = 16;

/// An object that an event told of, as an edge would ask for it.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) route: Arc<Route>,
    pub(super) host: Box<str>,
    pub(super) path: Box<str>,
    /// The digest of its bytes by the event, hexadecimal.
    pub(super) digest: Box<str>,
    /// When the event came.
    pub(super) told: Instant,
}

/// What runs and what waits.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Held to add or take one.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    running: usize,
    waiting: VecDeque<Wish>,
}

/// What becomes of a wish.
enum Begun {
    Now(Wish),
    Later,
    /// The oldest went for it.
    InPlaceOfAnother,
}

impl Queue {
    /// How many run and how many wait.
    pub(super) fn len(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.running, state.waiting.len())
    }

    fn begin(&self, wish: Wish, running_max: usize) -> Begun {
        let mut state = self.state.lock();
        if state.running < running_max {
            state.running += 1;
            return Begun::Now(wish);
        }
        let full = state.waiting.len() >= running_max.saturating_mul(WAITING_PER_RUNNING);
        let oldest = if full { state.waiting.pop_front() } else { None };
        state.waiting.push_back(wish);
        oldest.map_or(Begun::Later, |_| Begun::InPlaceOfAnother)
    }
}

/// One of those that run; its place is given back however its task ends.
struct Runner {
    shield: Arc<Shield>,
    holds: bool,
}

impl Runner {
    async fn run(mut self, first: Wish) {
        let mut next = Some(first);
        while let Some(wish) = next {
            let outcome = self.shield.fetch_ahead(&wish).await;
            self.shield.following.counts.ahead(outcome);
            next = self.next();
        }
    }

    /// The next that waits; the place goes back under the same lock, so that nobody who comes then is left waiting.
    fn next(&mut self) -> Option<Wish> {
        let mut state = self.shield.following.queue.state.lock();
        let next = state.waiting.pop_front();
        if next.is_none() {
            state.running -= 1;
            self.holds = false;
        }
        next
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        if self.holds {
            self.shield.following.queue.state.lock().running -= 1;
        }
    }
}

impl Shield {
    /// Fetches what an event told of, now or soon.
    pub(super) fn wish(self: &Arc<Self>, wish: Wish) {
        let running_max = self.state().config.follow.prefetches_max;
        match self.following.queue.begin(wish, running_max) {
            Begun::Later => {}
            Begun::InPlaceOfAnother => self.following.counts.ahead(Ahead::Dropped),
            Begun::Now(wish) => self.spawn(Runner { shield: Arc::clone(self), holds: true }.run(wish)),
        }
    }

    async fn fetch_ahead(self: &Arc<Self>, wish: &Wish) -> Ahead {
        let mut key = String::new();
        wish.route.write_key(&mut key, &wish.host, &wish.path, "");
        let Some(slot) = self.index.open(&key) else { return Ahead::Dropped };
        let outcome = self.fill_ahead(&slot, wish).await;
        self.index.close(&slot);
        outcome
    }

    async fn fill_ahead(self: &Arc<Self>, slot: &Arc<Slot>, wish: &Wish) -> Ahead {
        let (nothing, now) = (HeaderMap::new(), Instant::now());
        if slot.find(&nothing).is_some_and(|held| self.is_there(slot, &held, now)) {
            return Ahead::Held;
        }
        if usize::try_from(self.metrics.filling.get()).unwrap_or(0) >= self.state().config.cache.fills_max {
            return Ahead::Dropped;
        }
        let mut own = None;
        let turn = slot.turn(&nothing, now, || {
            let (fill, waiting) = Fill::begin();
            own = Some(waiting);
            fill
        });
        match (turn, own) {
            (Turn::Lead(lead), Some(mut waiting)) => {
                let Some(errand) = self.errand_ahead(slot, wish) else { return Ahead::Failed };
                errand.run(lead).await;
                match waiting.stage().await {
                    Stage::Ready(ready) => self.is_whole(wish, &ready.object),
                    Stage::Failed(Failure::Abandoned) => Ahead::Missing,
                    Stage::Failed(_) | Stage::Alone | Stage::Asking => Ahead::Failed,
                }
            }
            (Turn::Follow(fill), _) => {
                // It may have been asked for too early, and be held for this.
                fill.nudge();
                Ahead::Arriving
            }
            (Turn::Lead(_) | Turn::Alone, _) => Ahead::Failed,
        }
    }

    /// Held, and not an error that somebody who came too early was given.
    fn is_there(&self, slot: &Slot, held: &Arc<Object>, now: Instant) -> bool {
        let fresh = matches!(held.policy.freshness(now), Freshness::Fresh { .. }) && held.status.is_success();
        fresh && !self.obey_purges(slot, held) && !held.is_outdated() && held.content.is_sound()
    }

    fn errand_ahead(self: &Arc<Self>, slot: &Slot, wish: &Wish) -> Option<Errand> {
        let Wish { route, host, path, .. } = wish;
        let uri: Uri = path.parse().ok()?;
        let mut headers = HeaderMap::new();
        fields::append_via(&mut headers, Version::HTTP_11);
        Some(Errand {
            shield: Arc::clone(self),
            route: Arc::clone(route),
            kind: Kind::Media,
            host: host.to_string(),
            key: Arc::clone(slot.key()),
            path: path.to_string(),
            query: String::new(),
            request: HeaderMap::new(),
            ask: Ask {
                method: Method::GET,
                host: HeaderValue::from_str(host).ok(),
                headers,
                at_edge: true,
                boundary: true,
                channel: Some(Arc::from(route::channel(path))),
                counts: Some(self.metrics.channel(&route.tenant, route::channel(path))),
                ..Ask::get(route.target(&uri))
            },
            held: None,
            epoch: self.purges.epoch(),
            behind: Vec::new(),
            of_sibling: false,
            version: None,
            ahead: true,
        })
    }

    fn is_whole(&self, wish: &Wish, object: &Object) -> Ahead {
        let Some(whole) = object.content.bytes() else { return Ahead::Failed };
        let counts = &self.following.counts;
        counts.whole_after.observe(wish.told.elapsed().as_secs_f64());
        // The origin is right about its bytes whatever was told of them.
        if !wish.digest.is_empty() && digest(whole) != *wish.digest && counts.digest_mismatches.inc() == 0 {
            warn!(
                path = %wish.path,
                told = %wish.digest,
                "an object is not what its event tells: further ones are only counted"
            );
        }
        Ahead::Filled
    }
}

fn digest(whole: &Whole) -> String {
    let mut digest = Xxh3::new();
    whole.pieces().iter().for_each(|piece| digest.update(piece));
    format!("{:032x}", digest.digest128())
}
