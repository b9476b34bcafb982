// SPDX-License-Identifier: Apache-2.0
//! Memory by the byte: what arrives is charged before it is stored, and what is stored leaves to make room.
//!
//! The bound holds at every instant, whoever charges at once: bytes are reserved by one atomic step that fails above the
//! bound, and given back only after the index has let go of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use parking_lot::Mutex;

use super::queues::Queues;
use super::resident::Resident;

/// What an object costs beside the bytes of its key and body: measured 2.7 kB with eight header fields, of which the map
/// of its head takes the most, then its slot in the index; the store's own part is 0.2 kB. Every charge begins with it.
pub const OVERHEAD_BYTES: u64 = 2_816;

/// There is no room: what could leave does not weigh enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected room for {need_bytes} bytes, {free_bytes} of {bytes_max} are free or can be freed")]
pub struct Full {
    /// What was asked for.
    pub need_bytes: u64,
    /// What is free or could leave.
    pub free_bytes: u64,
    /// The bound.
    pub bytes_max: u64,
}

type Evict = Box<dyn Fn(&Arc<Resident>) + Send + Sync>;

/// The memory of the shield: its bound, what is in it, who leaves next.
pub struct Memory {
    bytes_max: AtomicU64,
    /// Bytes of residents and of charges; never above the bound, but while a lowered bound waits for what arrives.
    held: AtomicU64,
    evicted: AtomicU64,
    /// Guards the order in which residents leave. Nothing else is locked while it is held, and no callback runs.
    queues: Mutex<Queues>,
    /// Held while somebody makes room, so that nobody takes what is on its way out for what cannot leave.
    /// It guards nothing else, and is taken before `queues`.
    making_room: Mutex<()>,
    evict: Evict,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (held, max) = (self.held_bytes(), self.bytes_max());
        f.debug_struct("Memory").field("held_bytes", &held).field("bytes_max", &max).finish_non_exhaustive()
    }
}

impl Memory {
    /// A memory of so many bytes. `evict` lets go of an object that leaves: it takes it out of the index if it is still
    /// there. It runs on the thread that needed the room, inside [`Memory::charge`], [`Charge::grow`] and
    /// [`Memory::set_bytes_max`]: never call those with a lock of the index held, nor from `evict`.
    pub fn new(bytes_max: u64, evict: impl Fn(&Arc<Resident>) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            bytes_max: AtomicU64::new(bytes_max),
            held: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            queues: Mutex::default(),
            making_room: Mutex::default(),
            evict: Box::new(evict),
        })
    }

    /// Room for an object that begins to arrive: for these bytes and [`OVERHEAD_BYTES`]. Others leave for it.
    ///
    /// # Errors
    /// [`Full`] if what may leave does not make the room; then nothing has left.
    pub fn charge(self: &Arc<Self>, bytes: u64) -> Result<Charge, Full> {
        let bytes = bytes.saturating_add(OVERHEAD_BYTES);
        self.reserve(bytes)?;
        Ok(Charge { memory: Arc::clone(self), bytes })
    }

    /// Takes in a finished object; what was charged for it becomes its weight. One that was removed before is not
    /// taken in, and its bytes are free again.
    pub fn keep(&self, resident: &Arc<Resident>, mut charge: Charge) {
        if self.queues.lock().keep(resident, charge.bytes) {
            charge.bytes = 0;
        }
    }

    /// Takes out an object that was replaced or purged: its bytes are free when this returns. Twice is once.
    pub fn remove(&self, resident: &Resident) {
        let bytes = self.queues.lock().remove(resident);
        self.held.fetch_sub(bytes, Relaxed);
    }

    /// Changes the bound; a lower one holds when this returns, but for what is arriving and the live edge.
    pub fn set_bytes_max(&self, bytes_max: u64) {
        self.bytes_max.store(bytes_max, Relaxed);
        let _making_room = self.making_room.lock();
        loop {
            let over = self.held_bytes().saturating_sub(bytes_max);
            let leaving = self.leaving(over.min(self.evictable_bytes()));
            if leaving.is_empty() {
                return;
            }
            let freed = self.let_go(&leaving);
            self.held.fetch_sub(freed, Relaxed);
        }
    }

    /// The bound.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max.load(Relaxed)
    }

    /// Bytes of what is in and of what is arriving.
    pub fn held_bytes(&self) -> u64 {
        self.held.load(Relaxed)
    }

    /// Bytes of the live edge, as far as their protection was not found to be over.
    pub fn live_bytes(&self) -> u64 {
        self.queues.lock().live_bytes()
    }

    /// Objects that are in.
    pub fn residents(&self) -> usize {
        self.queues.lock().residents()
    }

    /// Objects that had to leave since the start.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Relaxed)
    }

    fn reserve(&self, bytes: u64) -> Result<(), Full> {
        if self.exchange(0, bytes).is_ok() {
            return Ok(());
        }
        let _making_room = self.making_room.lock();
        let mut freed = 0;
        // Each turn more has left; whoever takes the room in between has used it.
        while let Err(over) = self.exchange(freed, bytes) {
            self.held.fetch_sub(freed, Relaxed);
            let evictable = self.evictable_bytes();
            if evictable < over {
                let bytes_max = self.bytes_max();
                let free_bytes = bytes_max.saturating_sub(self.held_bytes()).saturating_add(evictable);
                return Err(Full { need_bytes: bytes, free_bytes, bytes_max });
            }
            let leaving = self.leaving(over);
            freed = self.let_go(&leaving);
        }
        Ok(())
    }

    /// Gives `freed` back and reserves `bytes` in one step; how many bytes are missing where that is too much.
    fn exchange(&self, freed: u64, bytes: u64) -> Result<(), u64> {
        let bytes_max = self.bytes_max();
        let exchanged = self
            .held
            .fetch_update(Relaxed, Relaxed, |held| (held - freed).checked_add(bytes).filter(|held| *held <= bytes_max));
        exchanged.map(|_| ()).map_err(|held| (held - freed).saturating_add(bytes).saturating_sub(bytes_max))
    }

    fn evictable_bytes(&self) -> u64 {
        let mut queues = self.queues.lock();
        queues.advance(Instant::now());
        queues.evictable_bytes()
    }

    /// Takes objects of so many bytes out of the queues.
    fn leaving(&self, over: u64) -> Vec<Arc<Resident>> {
        let bytes_max = self.bytes_max();
        let mut queues = self.queues.lock();
        let mut leaving = Vec::new();
        let mut bytes = 0;
        while bytes < over {
            let Some(resident) = queues.evict(bytes_max) else { break };
            bytes += resident.bytes();
            leaving.push(resident);
        }
        leaving
    }

    /// Has the index let go; the bytes are still held when this returns.
    fn let_go(&self, leaving: &[Arc<Resident>]) -> u64 {
        self.evicted.fetch_add(leaving.len() as u64, Relaxed);
        leaving.iter().fold(0, |bytes, resident| {
            (self.evict)(resident);
            bytes + resident.bytes()
        })
    }
}

/// Bytes reserved for an object that is arriving; given back when dropped.
#[derive(Debug)]
pub struct Charge {
    memory: Arc<Memory>,
    bytes: u64,
}

impl Charge {
    /// Room for more.
    ///
    /// # Errors
    /// [`Full`] if what may leave does not make the room; the charge is as it was.
    pub fn grow(&mut self, bytes: u64) -> Result<(), Full> {
        self.memory.reserve(bytes)?;
        self.bytes += bytes;
        Ok(())
    }

    /// Gives back what was reserved beyond these bytes (and [`OVERHEAD_BYTES`]).
    pub fn settle(&mut self, bytes: u64) {
        let surplus = self.bytes.saturating_sub(bytes.saturating_add(OVERHEAD_BYTES));
        self.bytes -= surplus;
        self.memory.held.fetch_sub(surplus, Relaxed);
    }

    /// What is reserved, [`OVERHEAD_BYTES`] included.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.memory.held.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    use super::super::resident::Class;
    use super::*;

    /// An index as the handler has one: keys to residents, let go of when told.
    #[derive(Debug, Default)]
    struct Index(Mutex<HashMap<Arc<str>, Arc<Resident>>>);

    impl Index {
        fn with_memory(bytes_max: u64) -> (Arc<Self>, Arc<Memory>) {
            let index = Arc::new(Self::default());
            let inner = Arc::clone(&index);
            let memory = Memory::new(bytes_max, move |resident| {
                let mut map = inner.0.lock();
                if map.get(resident.key()).is_some_and(|held| Arc::ptr_eq(held, resident)) {
                    map.remove(resident.key());
                }
            });
            (index, memory)
        }

        /// A whole fill: replaces what was under the key.
        fn fill(&self, memory: &Arc<Memory>, key: &str, bytes: u64, class: Class) -> Result<Arc<Resident>, Full> {
            let charge = memory.charge(bytes)?;
            let resident = Resident::new(key.into(), 0, class);
            let before = self.0.lock().insert(Arc::clone(resident.key()), Arc::clone(&resident));
            if let Some(before) = before {
                memory.remove(&before);
            }
            memory.keep(&resident, charge);
            Ok(resident)
        }

        fn weight(&self) -> u64 {
            self.0.lock().values().map(|resident| resident.bytes()).sum()
        }
    }

    const KB: u64 = 1_000;

    #[test]
    fn what_was_asked_for_again_outlives_what_was_not() {
        let (index, memory) = Index::with_memory(10 * (KB + OVERHEAD_BYTES));
        for number in 0..10 {
            let resident = index.fill(&memory, &format!("/{number}"), KB, Class::Other).unwrap();
            if number < 5 {
                resident.touch();
            }
        }
        for number in 10..15 {
            index.fill(&memory, &format!("/{number}"), KB, Class::Other).unwrap();
        }
        let map = index.0.lock();
        assert!((0..5).all(|number| map.contains_key(format!("/{number}").as_str())));
        assert!(!(5..10).any(|number| map.contains_key(format!("/{number}").as_str())));
        assert_eq!((memory.evicted(), memory.residents()), (5, 10));
    }

    #[test]
    fn the_live_edge_stays_until_its_time_is_over() {
        let (index, memory) = Index::with_memory(10 * (KB + OVERHEAD_BYTES));
        let live = Class::Live { until: Instant::now() + Duration::from_secs(600) };
        for number in 0..5 {
            index.fill(&memory, &format!("/live/{number}"), KB, live).unwrap();
        }
        for number in 0..100 {
            let crawled = index.fill(&memory, &format!("/dvr/{number}"), KB, Class::Other).unwrap();
            crawled.touch();
        }
        let held = |prefix: &str| index.0.lock().keys().filter(|key| key.starts_with(prefix)).count();
        assert_eq!((held("/live/"), held("/dvr/")), (5, 5));
        let past = Class::Live { until: Instant::now() };
        for number in 5..10 {
            index.fill(&memory, &format!("/live/{number}"), KB, past).unwrap();
        }
        for number in 100..200 {
            index.fill(&memory, &format!("/dvr/{number}"), KB, Class::Other).unwrap();
        }
        assert!((5..10).all(|number| !index.0.lock().contains_key(format!("/live/{number}").as_str())));
    }

    #[test]
    fn what_cannot_leave_makes_full_and_nothing_leaves_in_vain() {
        let (index, memory) = Index::with_memory(10 * (KB + OVERHEAD_BYTES));
        let arriving = memory.charge(8 * (KB + OVERHEAD_BYTES) - OVERHEAD_BYTES).unwrap();
        index.fill(&memory, "/a", KB, Class::Other).unwrap();
        let full = memory.charge(2 * KB + OVERHEAD_BYTES + 1).unwrap_err();
        assert_eq!((full.need_bytes, full.free_bytes), (2 * (KB + OVERHEAD_BYTES) + 1, 2 * (KB + OVERHEAD_BYTES)));
        assert_eq!(memory.residents(), 1);
        assert!(memory.charge(u64::MAX).is_err());
        let mut grows = memory.charge(KB).unwrap();
        grows.grow(KB + OVERHEAD_BYTES).unwrap();
        assert_eq!((memory.residents(), memory.held_bytes()), (0, memory.bytes_max()));
        assert!(grows.grow(1).is_err());
        drop(arriving);
        grows.grow(1).unwrap();
        grows.settle(10);
        assert_eq!(memory.held_bytes(), 10 + OVERHEAD_BYTES);
        drop(grows);
        assert_eq!(memory.held_bytes(), 0);
    }

    #[test]
    fn a_removal_gives_the_bytes_back_once_whenever_it_comes() {
        let (index, memory) = Index::with_memory(1 << 20);
        let resident = index.fill(&memory, "/a", KB, Class::Other).unwrap();
        memory.remove(&resident);
        memory.remove(&resident);
        assert_eq!((memory.held_bytes(), memory.residents()), (0, 0));
        let early = Resident::new("/b".into(), 0, Class::Other);
        let charge = memory.charge(KB).unwrap();
        memory.remove(&early);
        memory.keep(&early, charge);
        assert_eq!((memory.held_bytes(), memory.residents()), (0, 0));
        let live = Class::Live { until: Instant::now() + Duration::from_secs(600) };
        let live = index.fill(&memory, "/c", KB, live).unwrap();
        assert_eq!(memory.live_bytes(), KB + OVERHEAD_BYTES);
        memory.remove(&live);
        assert_eq!((memory.held_bytes(), memory.live_bytes()), (0, 0));
    }

    #[test]
    fn a_lower_bound_holds_at_once() {
        let (index, memory) = Index::with_memory(1 << 20);
        for number in 0..500 {
            index.fill(&memory, &format!("/{number}"), KB, Class::Other).unwrap();
        }
        let arriving = memory.charge(50 * KB).unwrap();
        memory.set_bytes_max(100 * KB);
        assert!(memory.held_bytes() <= 100 * KB);
        assert_eq!(index.weight() + arriving.bytes(), memory.held_bytes());
        memory.set_bytes_max(10 * KB);
        assert_eq!((memory.residents(), memory.held_bytes()), (0, arriving.bytes()));
    }

    /// Fills, growing fills, hits, removals and a changing bound from many threads at once; one watches.
    #[test]
    fn the_bound_is_never_exceeded_by_a_byte() {
        const BYTES_MAX: u64 = 400_000;
        let (index, memory) = Index::with_memory(BYTES_MAX);
        let over = AtomicBool::new(false);
        let done = AtomicBool::new(false);
        let worked = AtomicU64::new(0);
        std::thread::scope(|scope| {
            let watch = scope.spawn(|| {
                while !done.load(Relaxed) {
                    if memory.held_bytes() > BYTES_MAX || index.weight() > BYTES_MAX {
                        over.store(true, Relaxed);
                    }
                    std::thread::yield_now();
                }
            });
            let workers: Vec<_> = (0..8u64)
                .map(|seed| {
                    let (index, memory, worked) = (&index, &memory, &worked);
                    scope.spawn(move || {
                        let mut random = 0x9E37_79B9_7F4A_7C15u64.wrapping_mul(seed + 1);
                        for _ in 0..4_000 {
                            random ^= random << 13;
                            random ^= random >> 7;
                            random ^= random << 17;
                            let key = format!("/{}", random % 300);
                            let bytes = random >> 20 & 0x3FFF;
                            match random >> 60 {
                                0..=8 => {
                                    let until = Instant::now() + Duration::from_micros(random & 0x3F);
                                    let live = random >> 59 & 1 == 1;
                                    let class = if live { Class::Live { until } } else { Class::Other };
                                    worked
                                        .fetch_add(u64::from(index.fill(memory, &key, bytes, class).is_ok()), Relaxed);
                                }
                                9..=10 => {
                                    let Ok(mut charge) = memory.charge(0) else { continue };
                                    while charge.bytes() < bytes && charge.grow(1_000).is_ok() {}
                                }
                                11 => {
                                    let removed = index.0.lock().remove(key.as_str());
                                    if let Some(resident) = removed {
                                        memory.remove(&resident);
                                    }
                                }
                                _ => {
                                    if let Some(resident) = index.0.lock().get(key.as_str()) {
                                        resident.touch();
                                    }
                                }
                            }
                        }
                    })
                })
                .collect();
            for worker in workers {
                worker.join().unwrap();
            }
            done.store(true, Relaxed);
            watch.join().unwrap();
        });
        assert!(!over.load(Relaxed));
        assert!(worked.load(Relaxed) > 2_000 && memory.evicted() > 500);
        assert_eq!(memory.held_bytes(), index.weight());
        // The last protection ends within microseconds.
        while memory.residents() > 0 {
            memory.set_bytes_max(0);
            std::thread::yield_now();
        }
        assert_eq!((memory.held_bytes(), memory.live_bytes(), index.weight()), (0, 0, 0));
    }
}
