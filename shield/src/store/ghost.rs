// SPDX-License-Identifier: Apache-2.0
//! What was let go of unasked lately, by hash: who comes back from here was evicted too early.

use std::collections::{HashMap, VecDeque};

/// Hashes in the order they came; bounded by what the caller says.
#[derive(Debug, Default)]
pub(super) struct Ghost {
    order: VecDeque<(u64, u32)>,
    latest: HashMap<u64, u32>,
    serial: u32,
}

impl Ghost {
    /// Remembers one more, of at most `entries_max`; the oldest is forgotten.
    pub(super) fn insert(&mut self, hash: u64, entries_max: usize) {
        self.serial = self.serial.wrapping_add(1);
        self.latest.insert(hash, self.serial);
        self.order.push_back((hash, self.serial));
        while self.order.len() > entries_max {
            let Some((hash, serial)) = self.order.pop_front() else { break };
            // One that left and came again counts from its last time.
            if self.latest.get(&hash) == Some(&serial) {
                self.latest.remove(&hash);
            }
        }
    }

    /// Whether it was here; it is no longer.
    pub(super) fn take(&mut self, hash: u64) -> bool {
        self.latest.remove(&hash).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_and_the_last_time_counts() {
        let mut ghost = Ghost::default();
        ghost.insert(1, 2);
        ghost.insert(2, 2);
        ghost.insert(1, 2);
        assert!(ghost.take(1) && !ghost.take(1));
        assert!(ghost.take(2));
        for hash in 0..1_000 {
            ghost.insert(hash, 10);
        }
        assert_eq!((ghost.order.len(), ghost.latest.len()), (10, 10));
        assert!(!ghost.take(989) && ghost.take(990));
    }
}
