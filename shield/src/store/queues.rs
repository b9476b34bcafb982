// SPDX-License-Identifier: Apache-2.0
//! Who leaves when room is short: S3-FIFO weighted by bytes, the live edge apart.
//!
//! New objects enter a small queue (a tenth of the bytes); what is asked for again before it reaches the end goes to the
//! main queue, what is not leaves and its hash is remembered: if it comes back soon it enters the main queue at once
//! (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023). So a crawl through a recording passes
//! through the small queue and pushes out nothing that viewers watch. No queue moves on a hit.
//!
//! Objects of the live edge wait beside the queues until their protection ends: then those that were asked for join the
//! main queue, where a full turn without being asked for ends their stay, the others the small one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::ghost::Ghost;
use super::list::{List, Slab};
use super::resident::{Class, Place, Resident};

/// The small queue's share of the bytes, one in this many.
const SMALL_SHARE: u64 = 10;
/// Asked for this often on probation, an object joins the main queue.
const PROMOTED_AT: u8 = 1;
/// Members of a queue looked at for one that may leave: a bound of the time the lock is held.
const STEPS_MAX: usize = 256;
/// Hashes remembered at most, and never more than there are residents.
const GHOST_MAX: usize = 1 << 20;
const GHOST_MIN: usize = 1 << 10;

#[derive(Debug, Default)]
struct Queue {
    list: List,
    bytes: u64,
}

/// All residents, in the order they would leave.
#[derive(Debug, Default)]
pub(super) struct Queues {
    slab: Slab<Arc<Resident>>,
    small: Queue,
    main: Queue,
    /// By the end of their protection. The second number tells apart what ends together.
    live: BTreeMap<(Instant, u32), Arc<Resident>>,
    live_serial: u32,
    live_bytes: u64,
    ghost: Ghost,
    residents: usize,
}

impl Queues {
    /// Takes in a new object of this weight; false if it was removed before it came.
    pub(super) fn keep(&mut self, resident: &Arc<Resident>, bytes: u64) -> bool {
        if resident.place() != Place::Outside {
            return false;
        }
        resident.set_bytes(bytes);
        self.residents += 1;
        match resident.class() {
            Class::Live { until } => {
                self.live_serial = self.live_serial.wrapping_add(1);
                resident.set_place(Place::Live);
                resident.set_node(self.live_serial);
                self.live_bytes += bytes;
                self.live.insert((until, self.live_serial), Arc::clone(resident));
            }
            Class::Other if self.ghost.take(hash(resident)) => self.enter(Place::Main, Arc::clone(resident)),
            Class::Other => self.enter(Place::Small, Arc::clone(resident)),
        }
        true
    }

    /// Takes out an object; its weight if it was in.
    pub(super) fn remove(&mut self, resident: &Resident) -> u64 {
        let bytes = resident.bytes();
        match resident.place() {
            Place::Gone => return 0,
            Place::Outside => {
                resident.set_place(Place::Gone);
                return 0;
            }
            Place::Live => {
                if let Class::Live { until } = resident.class() {
                    self.live.remove(&(until, resident.node()));
                }
                self.live_bytes -= bytes;
            }
            Place::Small => {
                self.small.list.remove(&mut self.slab, resident.node());
                self.small.bytes -= bytes;
            }
            Place::Main => {
                self.main.list.remove(&mut self.slab, resident.node());
                self.main.bytes -= bytes;
            }
        }
        resident.set_place(Place::Gone);
        self.residents -= 1;
        bytes
    }

    /// The one to leave next, if any may: it is out when this returns.
    pub(super) fn evict(&mut self, bytes_max: u64) -> Option<Arc<Resident>> {
        for step in 0.. {
            let forced = step >= STEPS_MAX;
            if self.small.bytes > bytes_max / SMALL_SHARE || self.main.list.is_empty() {
                let resident = self.small.list.pop_front(&mut self.slab)?;
                self.small.bytes -= resident.bytes();
                if resident.touches() >= PROMOTED_AT && !forced {
                    resident.set_touches(0);
                    self.enter(Place::Main, resident);
                    continue;
                }
                self.ghost.insert(hash(&resident), self.residents.clamp(GHOST_MIN, GHOST_MAX));
                return Some(self.leave(resident));
            }
            let resident = self.main.list.pop_front(&mut self.slab)?;
            self.main.bytes -= resident.bytes();
            match resident.touches() {
                touches @ 1.. if !forced => {
                    resident.set_touches(touches - 1);
                    self.enter(Place::Main, resident);
                }
                _ => return Some(self.leave(resident)),
            }
        }
        None
    }

    /// Lets the live edge of the past join the others.
    pub(super) fn advance(&mut self, now: Instant) {
        while let Some(oldest) = self.live.first_entry() {
            if oldest.key().0 > now {
                break;
            }
            let resident = oldest.remove();
            self.live_bytes -= resident.bytes();
            let place = if resident.touches() > 0 { Place::Main } else { Place::Small };
            // What it was asked for at the edge says nothing of what comes.
            resident.set_touches(0);
            self.enter(place, resident);
        }
    }

    /// Bytes that may leave.
    pub(super) fn evictable_bytes(&self) -> u64 {
        self.small.bytes + self.main.bytes
    }

    /// Bytes of the live edge.
    pub(super) fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// Objects in all.
    pub(super) fn residents(&self) -> usize {
        self.residents
    }

    fn enter(&mut self, place: Place, resident: Arc<Resident>) {
        let queue = if place == Place::Main { &mut self.main } else { &mut self.small };
        queue.bytes += resident.bytes();
        resident.set_place(place);
        let node = queue.list.push_back(&mut self.slab, Arc::clone(&resident));
        resident.set_node(node);
    }

    fn leave(&mut self, resident: Arc<Resident>) -> Arc<Resident> {
        self.residents -= 1;
        resident.set_place(Place::Gone);
        resident
    }
}

fn hash(resident: &Resident) -> u64 {
    xxh3_64_with_seed(resident.key().as_bytes(), resident.variant())
}
