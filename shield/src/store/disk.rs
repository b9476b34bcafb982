// SPDX-License-Identifier: Apache-2.0
//! The disk tier: what memory has no room for, over restarts too.
//!
//! A disk that is full, fails or is taken away costs hits and nothing else: objects are read whole before anybody is
//! answered from them, the tier switches itself off with one line in the log, and tries again later with an empty folder.

mod entry;
mod tier;

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use headwater_net::Shutdown;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tracing::{info, warn};

pub use entry::Stored;
use tier::{BATCH_BYTES, Error, Read, Tier};

/// Bytes that wait to be written at most; what comes beyond them is dropped and counted.
const WAITING_BYTES_MAX: usize = 32 << 20;
/// Reads at once: each holds its object in memory before anybody has charged for it.
const READS_MAX: usize = 16;
/// How long a tier that failed stays off.
const OFF: Duration = Duration::from_secs(30);
/// Memory that the tier holds beyond what the store counts: what waits, and twice the buffer it is written from.
pub const MEMORY_BYTES: u64 = (WAITING_BYTES_MAX + 2 * BATCH_BYTES) as u64;

/// An object read back.
#[derive(Debug)]
pub struct Found {
    /// The object.
    pub stored: Stored,
    /// It leaves the disk next: whoever evicts it from memory again had better put it again. Otherwise that would be
    /// a second copy of what is there.
    pub leaving: bool,
}

/// What has happened since the start.
#[derive(Debug, Default)]
pub struct Counts {
    /// Objects written.
    pub written: AtomicU64,
    /// Objects not written, as more came than the disk takes.
    pub dropped: AtomicU64,
    /// Objects not written, as they are too large for the tier.
    pub too_large: AtomicU64,
    /// Reads that found their object.
    pub hits: AtomicU64,
    /// Reads that did not.
    pub misses: AtomicU64,
    /// Reads given up as the disk was busy.
    pub late: AtomicU64,
    /// Times the tier was switched off.
    pub failures: AtomicU64,
}

/// A handle to the disk tier; clones name the same.
#[derive(Clone, Debug)]
pub struct Disk {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    bytes_max: u64,
    /// What is open now; nothing while the tier is off.
    tier: ArcSwapOption<Tier>,
    /// Held to put one in or to take a batch out.
    waiting: Mutex<Waiting>,
    /// Something waits, a read failed, or it is to end.
    woken: Notify,
    read_failed: Mutex<Option<Error>>,
    closing: AtomicBool,
    closed: Notify,
    reads: Semaphore,
    counts: Counts,
}

/// Objects that wait to be written, oldest first.
#[derive(Debug, Default)]
struct Waiting {
    objects: HashMap<Vec<u8>, Stored>,
    order: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Disk {
    /// A tier in this folder, which it makes if it has to, of so many bytes. It opens behind the caller's back: until
    /// then, and whenever the disk fails, nothing is found in it.
    pub fn open(dir: impl Into<PathBuf>, bytes_max: u64, shutdown: &Shutdown) -> Self {
        let inner = Arc::new(Inner {
            dir: dir.into(),
            bytes_max,
            tier: ArcSwapOption::empty(),
            waiting: Mutex::default(),
            woken: Notify::new(),
            read_failed: Mutex::default(),
            closing: AtomicBool::new(false),
            closed: Notify::new(),
            reads: Semaphore::new(READS_MAX),
            counts: Counts::default(),
        });
        let (owner, asked) = (Arc::clone(&inner), shutdown.clone());
        shutdown.spawn(async move {
            tokio::select! {
                () = owner.run() => {}
                () = asked.closed() => {}
            }
            owner.tier.store(None);
            owner.closed.notify_waiters();
        });
        Self { inner }
    }

    /// Takes an object to write it soon. Never waits: where more comes than the disk takes, it is dropped.
    pub fn put(&self, key: &str, selector: &[u8], stored: Stored) {
        let inner = &self.inner;
        let key = entry::key(key, selector);
        if Tier::batch_bytes(&key, &stored) > BATCH_BYTES {
            inner.counts.too_large.fetch_add(1, Relaxed);
            return;
        }
        if !self.is_on() || !inner.waiting.lock().push(key, stored) {
            inner.counts.dropped.fetch_add(1, Relaxed);
            return;
        }
        inner.woken.notify_one();
    }

    /// Looks an object up; it is whole, or it is not there.
    pub async fn get(&self, key: &str, selector: &[u8]) -> Option<Found> {
        let inner = &self.inner;
        let key = entry::key(key, selector);
        let waits = inner.waiting.lock().objects.get(&key).cloned();
        if let Some(stored) = waits {
            inner.counts.hits.fetch_add(1, Relaxed);
            return Some(Found { stored, leaving: false });
        }
        let tier = inner.tier.load_full()?;
        // Never closed.
        let _permit = inner.reads.acquire().await.ok()?;
        let (count, found) = match tier.read(&key).await {
            Ok(Read::Found(stored, leaving)) => (&inner.counts.hits, Some(Found { stored: *stored, leaving })),
            Ok(Read::Miss) => (&inner.counts.misses, None),
            Ok(Read::Late) => (&inner.counts.late, None),
            Err(error) => {
                *inner.read_failed.lock() = Some(error);
                inner.woken.notify_one();
                (&inner.counts.misses, None)
            }
        };
        count.fetch_add(1, Relaxed);
        found
    }

    /// Forgets an object that was replaced: no look-up begun after this finds it.
    pub fn remove(&self, key: &str, selector: &[u8]) {
        let key = entry::key(key, selector);
        self.inner.waiting.lock().remove(&key);
        if let Some(tier) = self.inner.tier.load_full() {
            tier.remove(&key);
        }
    }

    /// True while objects are kept and found.
    pub fn is_on(&self) -> bool {
        self.inner.tier.load().is_some()
    }

    /// What has happened since the start.
    pub fn counts(&self) -> &Counts {
        &self.inner.counts
    }

    /// Writes what waits and closes the folder; the next run finds it all. Then the tier is off.
    pub async fn close(&self) {
        let closed = self.inner.closed.notified();
        tokio::pin!(closed);
        // NB: listen before telling.
        closed.as_mut().enable();
        if self.inner.closing.swap(true, Relaxed) {
            return;
        }
        self.inner.woken.notify_one();
        closed.await;
    }
}

impl Waiting {
    /// False if there is no room.
    fn push(&mut self, key: Vec<u8>, stored: Stored) -> bool {
        let bytes = Tier::batch_bytes(&key, &stored);
        self.remove(&key);
        if self.bytes + bytes > WAITING_BYTES_MAX {
            return false;
        }
        self.bytes += bytes;
        self.order.push_back(key.clone());
        self.objects.insert(key, stored);
        true
    }

    fn remove(&mut self, key: &Vec<u8>) {
        if let Some(stored) = self.objects.remove(key) {
            self.bytes -= Tier::batch_bytes(key, &stored);
            self.order.retain(|waits| waits != key);
        }
    }

    /// The oldest, as many as are written at once.
    fn batch(&mut self) -> Vec<(Vec<u8>, Stored)> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some(key) = self.order.front() {
            let Some(stored) = self.objects.get(key) else { break };
            bytes += Tier::batch_bytes(key, stored);
            if bytes > BATCH_BYTES {
                break;
            }
            let Some((key, stored)) = self.order.pop_front().and_then(|key| self.objects.remove_entry(&key)) else {
                break;
            };
            self.bytes -= Tier::batch_bytes(&key, &stored);
            batch.push((key, stored));
        }
        batch
    }
}

impl Inner {
    /// The one task that opens, writes and switches off.
    async fn run(&self) {
        // What an earlier run left is good; what a disk that failed under this one holds is not.
        let mut emptied = false;
        loop {
            let error = match Tier::open(&self.dir, self.bytes_max, emptied).await {
                Ok(tier) => {
                    info!(dir = %self.dir.display(), bytes_max = self.bytes_max, "disk tier is on");
                    let tier = Arc::new(tier);
                    self.tier.store(Some(Arc::clone(&tier)));
                    let ended = self.write(&tier).await;
                    self.tier.store(None);
                    tier.close().await;
                    match ended {
                        Ok(()) => return,
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            emptied = true;
            *self.waiting.lock() = Waiting::default();
            self.counts.failures.fetch_add(1, Relaxed);
            warn!(dir = %self.dir.display(), retry_seconds = OFF.as_secs(), "disk tier is off: {error}");
            let retry = tokio::time::sleep(OFF);
            tokio::pin!(retry);
            while !self.closing.load(Relaxed) {
                tokio::select! {
                    () = &mut retry => break,
                    () = self.woken.notified() => {}
                }
            }
            if self.closing.load(Relaxed) {
                return;
            }
        }
    }

    /// Writes what comes until the tier is closed or fails.
    async fn write(&self, tier: &Tier) -> Result<(), Error> {
        loop {
            if let Some(error) = self.read_failed.lock().take() {
                return Err(error);
            }
            let batch = {
                let mut waiting = self.waiting.lock();
                let batch = waiting.batch();
                // NB: before the queue is free: who removes an object must find it here or there.
                tier.announce(&batch);
                batch
            };
            if !batch.is_empty() {
                let written = tier.write(batch).await?;
                self.counts.written.fetch_add(written as u64, Relaxed);
                continue;
            }
            if self.closing.load(Relaxed) {
                return Ok(());
            }
            self.woken.notified().await;
        }
    }
}

#[cfg(test)]
mod tests;
