// SPDX-License-Identifier: Apache-2.0
//! What passes through a listener: requests, and bytes as its sockets take and give them.
//!
//! It is counted with every read and write, so counting is an addition to a number of the thread's own.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::metrics::shard;

/// What has passed, counted since the listener began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Requests whose head was read.
    pub requests: u64,
    /// Bytes that sockets took, TLS and heads included.
    pub sent_bytes: u64,
    /// Bytes that sockets gave, likewise.
    pub received_bytes: u64,
}

/// Counts what passes.
#[derive(Debug)]
pub struct Traffic {
    shards: Box<[Shard]>,
}

/// The counts of some threads; two of them share no cache line, nor a pair that is fetched together.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    requests: AtomicU64,
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
}

impl Default for Traffic {
    fn default() -> Self {
        Self { shards: (0..shard::count()).map(|_| Shard::default()).collect() }
    }
}

impl Traffic {
    /// Everything up to now.
    pub fn passed(&self) -> Passed {
        let mut all = Passed::default();
        for shard in &self.shards {
            all.requests += shard.requests.load(Ordering::Relaxed);
            all.sent_bytes += shard.sent_bytes.load(Ordering::Relaxed);
            all.received_bytes += shard.received_bytes.load(Ordering::Relaxed);
        }
        all
    }

    fn own(&self) -> &Shard {
        &self.shards[shard::own()]
    }

    pub(crate) fn asked(&self) {
        self.own().requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.own().sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.own().received_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}
