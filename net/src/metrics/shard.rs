// SPDX-License-Identifier: Apache-2.0
//! Which of several copies of a counter a thread adds to, so that threads do not wait for each other's cache lines.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Copies of a counter that is worth having several: a power of two.
pub fn count() -> usize {
    static COUNT: OnceLock<usize> = OnceLock::new();
    *COUNT.get_or_init(|| std::thread::available_parallelism().map_or(1, |n| n.get().next_power_of_two().min(16)))
}

/// This thread's own, below [`count`].
pub fn own() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static OWN: Cell<usize> = Cell::new(NEXT.fetch_add(1, Ordering::Relaxed)));
    OWN.with(Cell::get) & (count() - 1)
}
