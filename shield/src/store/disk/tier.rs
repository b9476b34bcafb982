// SPDX-License-Identifier: Apache-2.0
//! One opened folder: foyer's block engine, used so that it drops nothing and says when it failed.
//!
//! foyer's queue into its write buffer is not a queue: what does not fit in the buffer while a write is under way is
//! dropped, counted only in a metric. So what is handed over at once fits in the buffer, and the next is handed over
//! when it is written. A write that fails is only logged there; here, what is not found after it was written has failed.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use foyer::{
    Age, BlockEngineConfig, DeviceBuilder, FsDeviceBuilder, HybridCache, HybridCacheBuilder, HybridCachePolicy, Load,
    PsyncIoEngineConfig, RecoverMode,
};
use parking_lot::Mutex;

use super::entry::Stored;

/// Bytes written at once, and so the largest object that is kept on disk.
pub(super) const BATCH_BYTES: usize = 16 << 20;
/// What foyer puts around an entry, and to what it is rounded up.
const HEADER_BYTES: usize = 64;
const PAGE_BYTES: usize = 4096;
/// The disk is evicted by blocks: this many, each a file of its own.
const BLOCKS: u64 = 256;
/// A block must take a batch; a smaller disk has fewer of them.
const BLOCK_BYTES_MIN: u64 = 2 * BATCH_BYTES as u64;
/// Below this many blocks there is none to spare for writing.
const BLOCKS_MIN: u64 = 4;
/// A disk that takes longer for a batch has failed.
const WRITE_DEADLINE: Duration = Duration::from_secs(30);
const READ_DEADLINE: Duration = Duration::from_secs(2);

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// There is not enough of it.
    #[error("expected at least {min} bytes of disk, got {bytes_max}")]
    TooSmall {
        /// The least that works.
        min: u64,
        /// What is configured.
        bytes_max: u64,
    },
    /// The file system refused.
    #[error("expected to write in {}, got: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The engine refused.
    #[error("expected the disk tier to open, got: {0}")]
    Engine(foyer::Error),
    /// Part of a batch is not there after it was written.
    #[error("expected {written} objects to be written, {missing} of them were not")]
    Write {
        /// Objects of the batch.
        written: usize,
        /// Those that are not there.
        missing: usize,
    },
    /// A batch took too long.
    #[error("expected {written} objects to be written within {WRITE_DEADLINE:?}")]
    Slow {
        /// Objects of the batch.
        written: usize,
    },
    /// An object that should be there could not be read.
    #[error("expected to read an object, got: {0}")]
    Read(foyer::Error),
    /// The folder is no longer where it was.
    #[error("expected {} to be there", path.display())]
    Removed {
        /// The folder.
        path: PathBuf,
    },
}

/// What a read gave.
#[derive(Debug)]
pub(super) enum Read {
    /// The object; true if it is in the block that leaves next.
    Found(Box<Stored>, bool),
    Miss,
    /// Not within its time; the disk may be busy.
    Late,
}

/// An opened folder.
#[derive(Debug)]
pub(super) struct Tier {
    dir: PathBuf,
    cache: HybridCache<Vec<u8>, Stored>,
    /// Keys of the batch that is being written; true for those that are still wanted. foyer finds what it writes even
    /// after it was deleted. Held to hand one over or to forget it, so that one of the two comes first.
    writing: Mutex<HashMap<Vec<u8>, bool>>,
}

impl Tier {
    /// Opens a folder with what is in it, or empties it first.
    pub(super) async fn open(dir: &Path, bytes_max: u64, emptied: bool) -> Result<Self, Error> {
        let min = BLOCKS_MIN * BLOCK_BYTES_MIN;
        if bytes_max < min {
            return Err(Error::TooSmall { min, bytes_max });
        }
        let block_bytes = (bytes_max / BLOCKS).next_multiple_of(PAGE_BYTES as u64).clamp(BLOCK_BYTES_MIN, 1 << 31);
        let dir = dir.join(format!("blocks-{block_bytes}"));
        prepare(&dir, emptied).map_err(|source| Error::Folder { path: dir.clone(), source })?;
        let device = FsDeviceBuilder::new(&dir).with_capacity(bytes_max as usize).build().map_err(Error::Engine)?;
        let engine = BlockEngineConfig::new(device)
            .with_block_size(block_bytes as usize)
            .with_buffer_pool_size(BATCH_BYTES)
            .with_submit_queue_size_threshold(2 * BATCH_BYTES);
        let cache = HybridCacheBuilder::new()
            .with_name("headwater")
            // Written when it is told, never by way of foyer's own memory, which holds nothing.
            .with_policy(HybridCachePolicy::WriteOnInsertion)
            .with_flush_on_close(false)
            .memory(1)
            .with_shards(1)
            .storage()
            .with_io_engine_config(PsyncIoEngineConfig::new())
            .with_engine_config(engine)
            .with_recover_mode(RecoverMode::Quiet)
            .build()
            .await
            .map_err(Error::Engine)?;
        Ok(Self { dir, cache, writing: Mutex::default() })
    }

    /// What an object takes of a batch.
    pub(super) fn batch_bytes(key: &[u8], stored: &Stored) -> usize {
        (HEADER_BYTES + key.len() + 8 + stored.bytes()).next_multiple_of(PAGE_BYTES)
    }

    /// Says what is written next, before it leaves the queue that it waited in.
    pub(super) fn announce(&self, batch: &[(Vec<u8>, Stored)]) {
        *self.writing.lock() = batch.iter().map(|(key, _)| (key.clone(), true)).collect();
    }

    /// Writes an [announced](Self::announce) batch of at most [`BATCH_BYTES`]; when this returns it is there.
    pub(super) async fn write(&self, batch: Vec<(Vec<u8>, Stored)>) -> Result<usize, Error> {
        if !self.dir.exists() {
            return Err(Error::Removed { path: self.dir.clone() });
        }
        for (key, stored) in batch {
            let writing = self.writing.lock();
            if writing.get(&key) == Some(&true) {
                self.cache.storage_writer(key).force().insert(stored);
            }
        }
        let done = tokio::time::timeout(WRITE_DEADLINE, self.cache.storage().wait()).await;
        let mut writing = std::mem::take(&mut *self.writing.lock());
        writing.retain(|_, wanted| *wanted);
        let written = writing.len();
        done.map_err(|_| Error::Slow { written })?;
        match writing.keys().filter(|key| !self.cache.storage().may_contains(*key)).count() {
            0 => Ok(written),
            missing => Err(Error::Write { written, missing }),
        }
    }

    /// Reads an object.
    pub(super) async fn read(&self, key: &Vec<u8>) -> Result<Read, Error> {
        if self.writing.lock().get(key) == Some(&false) || !self.cache.storage().may_contains(key) {
            return Ok(Read::Miss);
        }
        match tokio::time::timeout(READ_DEADLINE, self.cache.storage().load(key)).await {
            Err(_) | Ok(Ok(Load::Throttled)) => Ok(Read::Late),
            Ok(Ok(Load::Miss)) => Ok(Read::Miss),
            Ok(Ok(Load::Entry { value, populated, .. })) => {
                Ok(Read::Found(Box::new(value), matches!(populated.age, Age::Old)))
            }
            Ok(Ok(Load::Piece { piece, .. })) => Ok(Read::Found(Box::new(piece.value().clone()), false)),
            Ok(Err(error)) => Err(Error::Read(error)),
        }
    }

    /// Forgets an object: no read begun after this finds it.
    pub(super) fn remove(&self, key: &Vec<u8>) {
        let mut writing = self.writing.lock();
        if let Some(wanted) = writing.get_mut(key) {
            *wanted = false;
        }
        if self.cache.storage().may_contains(key) {
            self.cache.storage().delete(key);
        }
    }

    /// Waits until what is under way is done.
    pub(super) async fn close(&self) {
        // What it has to say went to the log; there is nothing left to do about it.
        let _ = tokio::time::timeout(WRITE_DEADLINE, self.cache.close()).await;
    }
}

/// Makes the folder, without the blocks of another size, and sees that it can be written: foyer would only log it.
fn prepare(dir: &Path, emptied: bool) -> io::Result<()> {
    if let Some(parent) = dir.parent().filter(|parent| parent.exists()) {
        for entry in fs::read_dir(parent)? {
            let path = entry?.path();
            let is_blocks = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("blocks-"));
            if is_blocks && (emptied || path != dir) {
                fs::remove_dir_all(path)?;
            }
        }
    }
    fs::create_dir_all(dir)?;
    let probe = dir.join("probe");
    let mut file = fs::File::create(&probe)?;
    file.write_all(&[0; PAGE_BYTES])?;
    file.sync_all()?;
    fs::remove_file(probe)
}
