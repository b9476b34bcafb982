// SPDX-License-Identifier: Apache-2.0
//! The process's budget of media bytes: what is held is counted, and who adds past the bound sheds its own oldest.

use std::sync::atomic::{AtomicU64, Ordering};

/// Media bytes held against a bound.
#[derive(Debug)]
pub struct Budget {
    held: AtomicU64,
    bytes_max: AtomicU64,
}

impl Budget {
    /// A budget of `bytes_max`.
    pub const fn new(bytes_max: u64) -> Self {
        Self { held: AtomicU64::new(0), bytes_max: AtomicU64::new(bytes_max) }
    }

    /// Another bound from here on; who adds next sheds down to it.
    pub fn bound(&self, bytes_max: u64) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    /// Counts bytes in; true while the bound holds.
    pub fn add(&self, bytes: u64) -> bool {
        self.held.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.bytes_max.load(Ordering::Relaxed)
    }

    /// Counts bytes out; true while the bound holds.
    pub fn remove(&self, bytes: u64) -> bool {
        self.held.fetch_sub(bytes, Ordering::Relaxed).saturating_sub(bytes) <= self.bytes_max.load(Ordering::Relaxed)
    }

    /// Bytes held.
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }
}
