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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const BYTES: u64 = 100_000;

    /// A cache of so many equal objects, by either policy.
    trait Policy {
        /// Asks for a key; true if it was there.
        fn ask(&mut self, key: &str) -> bool;
    }

    struct Ours {
        objects: u64,
        queues: Queues,
        index: HashMap<String, Arc<Resident>>,
    }

    impl Policy for Ours {
        fn ask(&mut self, key: &str) -> bool {
            if let Some(resident) = self.index.get(key) {
                resident.touch();
                return true;
            }
            if self.queues.residents() as u64 == self.objects {
                let leaving = self.queues.evict(self.objects * BYTES).unwrap();
                self.index.remove(&**leaving.key()).unwrap();
            }
            let resident = Resident::new(key.into(), 0, Class::Other);
            self.queues.keep(&resident, BYTES);
            self.index.insert(key.to_owned(), resident);
            false
        }
    }

    #[derive(Default)]
    struct Lru {
        objects: u64,
        clock: u64,
        used: HashMap<String, u64>,
        order: BTreeMap<u64, String>,
    }

    impl Policy for Lru {
        fn ask(&mut self, key: &str) -> bool {
            self.clock += 1;
            let before = self.used.insert(key.to_owned(), self.clock);
            if let Some(before) = before {
                self.order.remove(&before);
            }
            self.order.insert(self.clock, key.to_owned());
            if self.used.len() as u64 > self.objects {
                let (_, key) = self.order.pop_first().unwrap();
                self.used.remove(&key);
            }
            before.is_some()
        }
    }

    /// Viewers' hits per request, and a crawler beside them: ten channels at their edge, asked for by six caches each with
    /// lags of up to eight segments; viewers all over the last 400 segments, the near ones more; and `crawled` objects of
    /// old recordings for each step, each asked for once.
    fn viewers_hit_ratio(policy: &mut dyn Policy, crawled: u64) -> f64 {
        let mut random = 0x2545_F491_4F6C_DD1Du64;
        let mut next = move |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let (mut asked, mut hit, mut crawl) = (0u32, 0u32, 0u64);
        for step in 400..900u64 {
            for channel in 0..10 {
                for edge in 0..6 {
                    let lag = (channel + edge * 3) % 9;
                    asked += 1;
                    hit += u32::from(policy.ask(&format!("/{channel}/{}", step - lag)));
                }
                for _ in 0..2 {
                    // Nearer is likelier: a product of two uniform numbers.
                    let back = next(400) * next(400) / 400;
                    asked += 1;
                    hit += u32::from(policy.ask(&format!("/{channel}/{}", step - back)));
                }
            }
            for _ in 0..crawled {
                crawl += 1;
                policy.ask(&format!("/recording/{crawl}"));
            }
        }
        f64::from(hit) / f64::from(asked)
    }

    #[test]
    fn a_crawl_costs_viewers_less_than_a_least_recently_used_cache() {
        for objects in [300, 1_000] {
            let mut row = Vec::new();
            for crawled in [0, 20, 100] {
                let mut ours = Ours { objects, queues: Queues::default(), index: HashMap::new() };
                let mut lru = Lru { objects, ..Lru::default() };
                row.push((viewers_hit_ratio(&mut ours, crawled), viewers_hit_ratio(&mut lru, crawled)));
            }
            println!("{objects} objects, hit ratio (ours, LRU) with 0, 20, 100 crawled a step: {row:.3?}");
            assert!(row.iter().skip(1).all(|(ours, lru)| ours > lru));
            assert!(row[0].0 > row[0].1 - 0.01);
        }
    }

    proptest! {
        /// Whatever is kept, removed, evicted and advanced in whatever order: the sums are those of what is in.
        #[test]
        fn the_sums_are_those_of_what_is_in(steps in prop::collection::vec((0u8..6, 0u64..40, 0u64..5_000), 0..400)) {
            let start = Instant::now();
            let mut queues = Queues::default();
            let mut index: HashMap<u64, Arc<Resident>> = HashMap::new();
            for (step, key, bytes) in steps {
                match step {
                    0 | 1 => {
                        let until = start + Duration::from_millis(bytes);
                        let class = if step == 0 { Class::Live { until } } else { Class::Other };
                        let resident = Resident::new(key.to_string().into(), 0, class);
                        prop_assert!(queues.keep(&resident, bytes));
                        if let Some(before) = index.insert(key, resident) {
                            prop_assert_eq!(queues.remove(&before), before.bytes());
                            prop_assert_eq!(queues.remove(&before), 0);
                        }
                    }
                    2 => drop(index.remove(&key).map(|resident| queues.remove(&resident))),
                    3 => if let Some(resident) = index.get(&key) { resident.touch() },
                    4 => queues.advance(start + Duration::from_millis(bytes)),
                    _ => {
                        let evictable = queues.evictable_bytes();
                        match queues.evict(bytes * 20) {
                            Some(resident) => {
                                prop_assert_eq!(queues.evictable_bytes(), evictable - resident.bytes());
                                index.remove(&resident.key().parse().unwrap()).unwrap();
                            }
                            None => prop_assert_eq!(evictable, 0),
                        }
                    }
                }
                let sum: u64 = index.values().map(|resident| resident.bytes()).sum();
                prop_assert_eq!(queues.evictable_bytes() + queues.live_bytes(), sum);
                prop_assert_eq!(queues.residents(), index.len());
            }
        }
    }

    #[test]
    fn a_main_queue_that_is_asked_for_all_the_time_lets_go_all_the_same() {
        let mut queues = Queues::default();
        let residents: Vec<_> = (0..10_000)
            .map(|key| {
                let resident = Resident::new(key.to_string().into(), 0, Class::Other);
                queues.keep(&resident, BYTES);
                (0..3).for_each(|_| resident.touch());
                resident
            })
            .collect();
        for _ in 0..10 {
            assert!(queues.evict(10_000 * BYTES).is_some());
        }
        assert_eq!(queues.residents(), residents.len() - 10);
    }
}
