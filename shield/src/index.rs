// SPDX-License-Identifier: Apache-2.0
//! What the shield knows of each URL: answers it holds, answers on their way, and whether waiting for another's makes
//! sense.
//!
//! A hit takes one shard's read lock for as long as it takes to find the slot, and no lock after that.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use dashmap::DashMap;
use http::HeaderMap;
use http::header::{AUTHORIZATION, VARY};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::fill::Fill;
use crate::object::{Content, Object};
use crate::semantics::{Selector, selector};

/// Variants of one URL that are held; the oldest goes for another.
const VARIANTS_MAX: usize = 16;

/// Slots by key.
#[derive(Debug)]
pub struct Index {
    slots: DashMap<Arc<str>, Arc<Slot>>,
    keys_max: usize,
}

impl Index {
    /// An empty index of at most `keys_max` keys.
    pub fn new(keys_max: usize) -> Self {
        Self { slots: DashMap::new(), keys_max }
    }

    /// The slot of a key that is known.
    pub fn find(&self, key: &str) -> Option<Arc<Slot>> {
        self.slots.get(key).map(|slot| Arc::clone(&slot))
    }

    /// The slot of a key; `None` if it is unknown and no further one fits.
    pub fn open(&self, key: &str) -> Option<Arc<Slot>> {
        if let Some(slot) = self.find(key) {
            return Some(slot);
        }
        if self.slots.len() >= self.keys_max {
            return None;
        }
        let key: Arc<str> = Arc::from(key);
        let slot = self.slots.entry(Arc::clone(&key)).or_insert_with(|| Arc::new(Slot::new(key)));
        Some(Arc::clone(&slot))
    }

    /// Forgets a slot that holds nothing.
    pub fn close(&self, slot: &Slot) {
        // NB: nobody but the caller has a handle: whoever found it a moment ago may be about to begin a fill in it.
        if !slot.held.load().objects.is_empty() {
            // Most often: without the lock that every look-up of the shard waits for.
            return;
        }
        let ours = |found: &Arc<Slot>| std::ptr::eq(Arc::as_ptr(found), slot) && Arc::strong_count(found) <= 2;
        self.slots.remove_if(&*slot.key, |_, found| ours(found) && found.is_idle());
    }

    /// Every slot, for what concerns many: purges, the API.
    pub fn each(&self, mut look: impl FnMut(&Arc<Slot>)) {
        // NB: handles first: `look` may change the index.
        let slots: Vec<_> = self.slots.iter().map(|slot| Arc::clone(&slot)).collect();
        slots.iter().for_each(&mut look);
    }

    /// Keys known.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// True if no key is known.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Forgets keys that hold nothing and that no memory of theirs concerns any more.
    pub fn sweep(&self, now: Instant) {
        self.slots.retain(|_, slot| Arc::strong_count(slot) > 1 || !slot.is_idle_at(now));
    }
}

/// An answer and what of a request selects it.
pub type Variant = (Selector, Arc<Object>);

/// Answers held, by what of a request selects them.
#[derive(Clone, Debug, Default)]
struct Held {
    /// Oldest first; all have the Vary of the last.
    objects: Vec<Variant>,
}

impl Held {
    /// What of a request counts here; `None` if nobody else's request can be like it.
    fn selector(&self, request: &HeaderMap) -> Option<Selector> {
        match self.objects.last().filter(|(_, newest)| newest.headers.contains_key(VARY)) {
            Some((_, newest)) => selector(&newest.headers, request),
            None => Some(Selector::default()),
        }
    }

    fn find(&self, request: &HeaderMap) -> Option<&Arc<Object>> {
        let wanted = self.selector(request)?;
        self.objects.iter().find(|(found, _)| *found == wanted).map(|(_, object)| object)
    }
}

/// Everything about one URL.
#[derive(Debug)]
pub struct Slot {
    key: Arc<str>,
    held: ArcSwap<Held>,
    /// Held to begin, join or end a fill, and to change what is held.
    turn: Mutex<Turns>,
}

#[derive(Debug, Default)]
struct Turns {
    fills: Vec<(Company, Arc<Fill>)>,
    alone_until: Option<Instant>,
}

/// Who may wait for the same fill. What is answered to credentials is mostly for nobody else, so those who bring none do
/// not wait for it: one request with some could send all others to the origin.
#[derive(Debug, PartialEq, Eq)]
struct Company {
    selector: Selector,
    authorized: bool,
}

/// What a request that is not served from what is held does next.
#[derive(Debug)]
pub enum Turn {
    /// Begin this fill and read along.
    Lead(Lead),
    /// Read what another began.
    Follow(Arc<Fill>),
    /// Ask by oneself: what comes may not be shared.
    Alone,
}

impl Slot {
    fn new(key: Arc<str>) -> Self {
        Self { key, held: ArcSwap::default(), turn: Mutex::default() }
    }

    /// Its key.
    pub fn key(&self) -> &Arc<str> {
        &self.key
    }

    /// The held answer that fits a request.
    pub fn find(&self, request: &HeaderMap) -> Option<Arc<Object>> {
        self.held.load().find(request).map(Arc::clone)
    }

    /// The held answer if there is one for all requests; costs no look at their fields.
    pub fn sole(&self) -> Option<Arc<Object>> {
        let held = self.held.load();
        let (_, newest) = held.objects.last()?;
        (!newest.headers.contains_key(VARY)).then(|| Arc::clone(newest))
    }

    /// Every held answer.
    pub fn objects(&self) -> Vec<Arc<Object>> {
        self.held.load().objects.iter().map(|(_, object)| Arc::clone(object)).collect()
    }

    /// Joins the fill that fits a request or begins one.
    pub fn turn(self: &Arc<Self>, request: &HeaderMap, now: Instant, begin: impl FnOnce() -> Arc<Fill>) -> Turn {
        let mut turns = self.turn.lock();
        if turns.alone_until.is_some_and(|until| until > now) {
            return Turn::Alone;
        }
        turns.alone_until = None;
        let Some(selector) = self.held.load().selector(request) else { return Turn::Alone };
        let company = Company { selector, authorized: request.contains_key(AUTHORIZATION) };
        if let Some((_, fill)) = turns.fills.iter().find(|(found, _)| *found == company) {
            return Turn::Follow(Arc::clone(fill));
        }
        let fill = begin();
        turns.fills.push((company, Arc::clone(&fill)));
        Turn::Lead(Lead { slot: Arc::clone(self), fill })
    }

    /// Remembers for a while that nothing here may be shared.
    pub fn alone(&self, until: Instant) {
        self.turn.lock().alone_until = Some(until);
    }

    /// Holds an answer; those that are not held any more for it are returned.
    pub fn hold(&self, request: &HeaderMap, object: Arc<Object>) -> Vec<Variant> {
        let _turn = self.turn.lock();
        let mut held = Held::clone(&self.held.load());
        // NB: one that nothing selects is for one alone, and never comes here.
        let selector = selector(&object.headers, request).unwrap_or_default();
        // Answers that vary by other fields than the newest cannot be told apart any more.
        let mut replaced = Vec::new();
        if held.objects.last().is_some_and(|(_, newest)| vary_alike(newest, &object)) {
            let at = held.objects.iter().position(|(found, _)| *found == selector);
            replaced.extend(at.map(|at| held.objects.remove(at)));
            if held.objects.len() >= VARIANTS_MAX {
                replaced.push(held.objects.remove(0));
            }
        } else {
            replaced.append(&mut held.objects);
        }
        held.objects.push((selector, object));
        self.held.store(Arc::new(held));
        replaced
    }

    /// Lets go of an answer that came to nothing, however often its head was confirmed meanwhile, and holds again what
    /// it had replaced. What came after it stays.
    pub fn withdraw(&self, object: &Object, replaced: Vec<Variant>) {
        let _turn = self.turn.lock();
        let held = self.held.load_full();
        let others = held.objects.iter().filter(|(_, found)| !Arc::ptr_eq(&found.content, &object.content));
        let mut objects: Vec<_> = others.cloned().collect();
        if objects.len() == held.objects.len() {
            return;
        }
        for (selector, before) in replaced {
            let fits = objects.iter().all(|(taken, other)| *taken != selector && vary_alike(other, &before));
            if fits && before.content.is_sound() {
                objects.insert(0, (selector, before));
            }
        }
        self.held.store(Arc::new(Held { objects }));
    }

    /// True if these bytes are held, under this head or another.
    pub fn holds(&self, content: &Arc<Content>) -> bool {
        self.held.load().objects.iter().any(|(_, found)| Arc::ptr_eq(&found.content, content))
    }

    /// Lets go of an answer; true if it was held.
    pub fn drop_object(&self, object: &Object) -> bool {
        let _turn = self.turn.lock();
        let held = self.held.load_full();
        let objects: Vec<_> =
            held.objects.iter().filter(|(_, found)| !std::ptr::eq(Arc::as_ptr(found), object)).cloned().collect();
        let dropped = objects.len() != held.objects.len();
        if dropped {
            self.held.store(Arc::new(Held { objects }));
        }
        dropped
    }

    fn end(&self, fill: &Arc<Fill>) {
        self.turn.lock().fills.retain(|(_, found)| !Arc::ptr_eq(found, fill));
    }

    fn is_idle(&self) -> bool {
        let turns = self.turn.lock();
        turns.fills.is_empty() && turns.alone_until.is_none() && self.held.load().objects.is_empty()
    }

    fn is_idle_at(&self, now: Instant) -> bool {
        let mut turns = self.turn.lock();
        if turns.alone_until.is_some_and(|until| until <= now) {
            turns.alone_until = None;
        }
        drop(turns);
        self.is_idle()
    }
}

fn vary_alike(a: &Object, b: &Object) -> bool {
    a.headers.get_all(VARY).iter().eq(b.headers.get_all(VARY).iter())
}

/// The right and the duty to fill a slot. Dropped in whatever way, the next request may begin another fill and those
/// who follow this one are told.
#[derive(Debug)]
pub struct Lead {
    slot: Arc<Slot>,
    fill: Arc<Fill>,
}

impl Lead {
    /// The fill.
    pub fn fill(&self) -> &Arc<Fill> {
        &self.fill
    }

    /// Where it goes.
    pub fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }

    /// Lets later requests begin anew: this answer is not for them.
    pub fn release(&self) {
        self.slot.end(&self.fill);
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.slot.end(&self.fill);
        self.fill.abandon();
    }
}

/// How long a sweep waits for the next.
pub(crate) const SWEPT_EVERY: Duration = Duration::from_secs(10);
