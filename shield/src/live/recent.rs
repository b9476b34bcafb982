// SPDX-License-Identifier: Apache-2.0
//! A table of what was used lately, bounded, without a list to keep in order.

use std::collections::HashMap;
use std::hash::Hash;

/// Two halves: what is used moves to the young one; when that is full it becomes the old one, and the old one is
/// forgotten. What is used at least once per half-turn stays.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    half_max: usize,
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Copy + Eq + Hash, V> Recent<K, V> {
    /// At most so many entries.
    pub(super) fn new(entries_max: usize) -> Self {
        Self { half_max: (entries_max / 2).max(1), young: HashMap::new(), old: HashMap::new() }
    }

    /// The entry, which counts as used.
    pub(super) fn get_mut(&mut self, key: K) -> Option<&mut V> {
        if let Some(value) = self.old.remove(&key) {
            self.insert(key, value);
        }
        self.young.get_mut(&key)
    }

    /// Adds or replaces an entry.
    pub(super) fn insert(&mut self, key: K, value: V) {
        self.old.remove(&key);
        if self.young.len() >= self.half_max && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    /// Forgets an entry.
    pub(super) fn remove(&mut self, key: K) {
        self.young.remove(&key);
        self.old.remove(&key);
    }

    /// Every entry, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.old.iter().chain(&self.young)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_the_rest_is_bounded() {
        let mut recent = Recent::new(100);
        recent.insert(0, "used");
        for key in 1..10_000 {
            recent.insert(key, "seen once");
            assert_eq!(recent.get_mut(0), Some(&mut "used"));
            assert!(recent.len() <= 100);
        }
        assert_eq!(recent.get_mut(1), None);
        recent.remove(0);
        assert_eq!(recent.get_mut(0), None);
        assert_eq!(recent.iter().count(), recent.len());
    }
}
