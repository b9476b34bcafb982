// SPDX-License-Identifier: Apache-2.0
//! What is known of each of many outsiders: a table with a bound, that forgets who was not seen for longest.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

use parking_lot::Mutex;

/// Below so many entries one lock is enough.
const SPLIT_FROM: usize = 1_024;
const SHARDS: usize = 16;

/// Entries by key. Those that somebody holds are never forgotten; whoever holds them is bounded elsewhere.
#[derive(Debug)]
pub(super) struct Table<K, V> {
    /// Each held for one look-up.
    shards: Box<[Mutex<Generations<K, V>>]>,
    /// Entries of one generation of one shard.
    generation_max: usize,
    hasher: RandomState,
}

/// Entries seen lately, and those seen before. When the new generation is full, the old one goes: two look-ups at most,
/// and no list to keep in order.
#[derive(Debug)]
struct Generations<K, V> {
    new: HashMap<K, Arc<V>>,
    old: HashMap<K, Arc<V>>,
}

impl<K: Hash + Eq, V> Table<K, V> {
    /// An empty table of `entries_max` entries.
    pub(super) fn new(entries_max: usize) -> Self {
        let shards = if entries_max < SPLIT_FROM { 1 } else { SHARDS };
        let empty = || Mutex::new(Generations { new: HashMap::new(), old: HashMap::new() });
        Self {
            shards: std::iter::repeat_with(empty).take(shards).collect(),
            generation_max: (entries_max / shards / 2).max(1),
            hasher: RandomState::new(),
        }
    }

    /// The entry of `key`, made if there is none.
    pub(super) fn find(&self, key: K, make: impl FnOnce() -> V) -> Arc<V> {
        let at = usize::try_from(self.hasher.hash_one(&key) % self.shards.len() as u64).unwrap_or(0);
        let mut shard = self.shards[at].lock();
        if let Some(found) = shard.new.get(&key) {
            return Arc::clone(found);
        }
        if shard.new.len() >= self.generation_max {
            let gone = std::mem::take(&mut shard.new);
            let gone = std::mem::replace(&mut shard.old, gone);
            shard.new.extend(gone.into_iter().filter(|(_, entry)| Arc::strong_count(entry) > 1));
        }
        let entry = shard.old.remove(&key).or_else(|| shard.new.get(&key).cloned()).unwrap_or_else(|| Arc::new(make()));
        shard.new.insert(key, Arc::clone(&entry));
        entry
    }

    /// Entries.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock()).map(|shard| shard.new.len() + shard.old.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn who_was_not_seen_for_longest_is_forgotten() {
        let table = Table::new(4);
        let seen = |key: u32| table.find(key, AtomicU32::default).fetch_add(1, Ordering::Relaxed);
        for round in 0..100 {
            assert_eq!(seen(0), round, "somebody who comes again and again is known");
            assert_eq!(seen(1_000 + round), 0);
            assert!(table.len() <= 4);
        }
        assert_eq!(seen(1_000), 0);
    }

    #[test]
    fn an_entry_that_is_held_stays_the_same() {
        let table = Table::new(4);
        let held = table.find(0, AtomicU32::default);
        for other in 1..100 {
            table.find(other, AtomicU32::default);
        }
        assert!(Arc::ptr_eq(&held, &table.find(0, AtomicU32::default)));
        drop(held);
        assert!(table.len() <= 5);
    }

    #[test]
    fn a_large_table_is_bounded_too() {
        let table = Table::new(2_000);
        for key in 0..20_000_u32 {
            table.find(key, || ());
        }
        assert!(table.len() <= 2_000, "{}", table.len());
    }
}
