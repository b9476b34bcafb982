// SPDX-License-Identifier: Apache-2.0
//! An object as the store knows it: whose it is, what it weighs, how it is wanted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// How an object is to be treated when room is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Of the live edge: it stays until then, however rarely it is asked for.
    Live {
        /// When it is an object like any other; three target durations after it was new is a good time.
        until: Instant,
    },
    /// Anything else.
    Other,
}

/// Where a resident is; changed under the lock of the queues alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Place {
    /// Not yet kept.
    Outside,
    /// Among the new ones, on probation.
    Small,
    /// Among those that were asked for again.
    Main,
    /// Of the live edge.
    Live,
    /// Evicted or removed; it never comes back.
    Gone,
}

/// How often an object has been asked for counts up to this: more would only make it leave later than it should.
const TOUCHES_MAX: u8 = 3;
const TOUCHES: u8 = 0b011;
/// Whether it was asked for at all since it came, whatever became of the count.
const WANTED: u8 = 0b100;

/// One object in the store: the index holds it beside the object itself.
#[derive(Debug)]
pub struct Resident {
    key: Arc<str>,
    variant: u64,
    class: Class,
    touched: AtomicU8,
    // The rest is written under the lock of the queues alone.
    place: AtomicU8,
    node: AtomicU32,
    bytes: AtomicU64,
}

impl Resident {
    /// An object under this key, not yet kept. `variant` tells apart what shares a key; the store only hands it back.
    pub fn new(key: Arc<str>, variant: u64, class: Class) -> Arc<Self> {
        Arc::new(Self {
            key,
            variant,
            class,
            touched: AtomicU8::new(0),
            place: AtomicU8::new(Place::Outside as u8),
            node: AtomicU32::new(0),
            bytes: AtomicU64::new(0),
        })
    }

    /// A hit. Takes no lock; most often one load.
    pub fn touch(&self) {
        let touched = self.touched.load(Relaxed);
        // Two hits at once may count as one: the count steers a guess.
        if touched & TOUCHES < TOUCHES_MAX {
            self.touched.store((touched + 1) | WANTED, Relaxed);
        }
    }

    /// What it is kept under.
    pub fn key(&self) -> &Arc<str> {
        &self.key
    }

    /// Which of those that share the key.
    pub fn variant(&self) -> u64 {
        self.variant
    }

    /// How it is treated.
    pub fn class(&self) -> Class {
        self.class
    }

    /// Its weight; zero until it is kept.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Worth a write to disk when memory lets go of it: it was asked for again, or somebody may go back to it as it was
    /// of the live edge. What one client read once is not.
    pub fn is_worth_keeping(&self) -> bool {
        self.touched.load(Relaxed) & WANTED != 0 || matches!(self.class, Class::Live { .. })
    }

    /// It was let go of, and its bytes are given back.
    pub fn is_gone(&self) -> bool {
        self.place() == Place::Gone
    }

    pub(super) fn touches(&self) -> u8 {
        self.touched.load(Relaxed) & TOUCHES
    }

    pub(super) fn set_touches(&self, touches: u8) {
        self.touched.store((self.touched.load(Relaxed) & WANTED) | touches, Relaxed);
    }

    pub(super) fn place(&self) -> Place {
        match self.place.load(Relaxed) {
            place if place == Place::Outside as u8 => Place::Outside,
            place if place == Place::Small as u8 => Place::Small,
            place if place == Place::Main as u8 => Place::Main,
            place if place == Place::Live as u8 => Place::Live,
            _ => Place::Gone,
        }
    }

    pub(super) fn set_place(&self, place: Place) {
        self.place.store(place as u8, Relaxed);
    }

    pub(super) fn node(&self) -> u32 {
        self.node.load(Relaxed)
    }

    pub(super) fn set_node(&self, node: u32) {
        self.node.store(node, Relaxed);
    }

    pub(super) fn set_bytes(&self, bytes: u64) {
        self.bytes.store(bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touches_are_counted_up_to_three_and_wanted_stays() {
        let resident = Resident::new("k".into(), 0, Class::Other);
        assert_eq!((resident.touches(), resident.is_worth_keeping()), (0, false));
        for _ in 0..9 {
            resident.touch();
        }
        assert_eq!(resident.touches(), 3);
        resident.set_touches(0);
        assert_eq!((resident.touches(), resident.is_worth_keeping()), (0, true));
    }
}
