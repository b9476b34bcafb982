// SPDX-License-Identifier: Apache-2.0
//! The disk tier on a real folder: restarts, removals, and every way a disk can fail.

use std::fs;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::store::{Epoch, Tags};

const DISK_BYTES: u64 = 256 << 20;
const DEADLINE: Duration = Duration::from_secs(60);

fn object(number: usize, bytes: usize) -> Stored {
    let body = vec![number as u8; bytes].into();
    let head = Bytes::from(format!("head of {number}"));
    Stored { head, body: crate::store::compact(&[body]), tags: Tags::from_hashes(vec![number as u64]), epoch: Epoch(7) }
}

async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let waiting = async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.unwrap_or_else(|_| panic!("expected {what} within {DEADLINE:?}"));
}

async fn opened(dir: &Path) -> Disk {
    let disk = Disk::open(dir, DISK_BYTES, &Shutdown::new());
    until("the tier to open", || disk.is_on()).await;
    disk
}

async fn filled(dir: &Path, objects: usize) -> Disk {
    let disk = opened(dir).await;
    for number in 0..objects {
        disk.put(&format!("/{number}"), b"v", object(number, 100_000));
    }
    until("all to be written", || disk.counts().written.load(Relaxed) == objects as u64).await;
    disk
}

/// The files that hold objects.
fn blocks(dir: &TempDir) -> Vec<PathBuf> {
    let folders = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    folders.flat_map(|folder| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_is_written_whole_and_outlives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let disk = filled(dir.path(), 200).await;
    assert_eq!(disk.counts().dropped.load(Relaxed), 0);
    disk.close().await;
    assert!(!disk.is_on() && disk.get("/7", b"v").await.is_none());
    let disk = opened(dir.path()).await;
    for number in 0..200 {
        let found = disk.get(&format!("/{number}"), b"v").await.unwrap();
        assert_eq!(found.stored, object(number, 100_000));
    }
    assert!(disk.get("/7", b"w").await.is_none() && disk.get("/200", b"v").await.is_none());
    disk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_when_it_closes_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let disk = opened(dir.path()).await;
    for number in 0..100 {
        disk.put(&format!("/{number}"), b"", object(number, 100_000));
        assert_eq!(disk.get(&format!("/{number}"), b"").await.unwrap().stored, object(number, 100_000));
    }
    disk.close().await;
    let disk = opened(dir.path()).await;
    for number in 0..100 {
        assert!(disk.get(&format!("/{number}"), b"").await.is_some(), "{number}");
    }
    disk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_the_disk_takes_is_dropped_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let disk = opened(dir.path()).await;
    let body = object(1, 1 << 20);
    for number in 0..300 {
        disk.put(&format!("/{number}"), b"", body.clone());
    }
    disk.put("/large", b"", object(1, BATCH_BYTES));
    let counts = disk.counts();
    let dropped = counts.dropped.load(Relaxed);
    assert!(dropped > 0 && counts.too_large.load(Relaxed) == 1);
    until("the rest to be written", || counts.written.load(Relaxed) == 300 - dropped).await;
    assert!(disk.is_on() && counts.failures.load(Relaxed) == 0);
    disk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_removed_is_not_found_wherever_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let disk = filled(dir.path(), 20).await;
    disk.remove("/3", b"v");
    assert!(disk.get("/3", b"v").await.is_none());
    assert!(disk.get("/4", b"v").await.is_some());
    // One after the other, some are waiting when they are removed, some are being written.
    for number in 100..200 {
        let key = format!("/{number}");
        disk.put(&key, b"v", object(number, 50_000));
        if number % 3 == 0 {
            tokio::task::yield_now().await;
        }
        disk.remove(&key, b"v");
        assert!(disk.get(&key, b"v").await.is_none());
    }
    disk.put("/end", b"", object(1, 10));
    until("the queue to be empty", || disk.inner.waiting.lock().order.is_empty()).await;
    disk.close().await;
    assert_eq!(disk.counts().failures.load(Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_removed_while_it_is_written_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let tier = Tier::open(dir.path(), DISK_BYTES, false).await.unwrap();
    let batch: Vec<_> = (0..10).map(|number| (entry::key(&number.to_string(), b""), object(number, 100_000))).collect();
    let keys: Vec<_> = batch.iter().map(|(key, _)| key.clone()).collect();
    tier.announce(&batch);
    tier.remove(&keys[1]);
    let writing = tier.write(batch);
    tokio::pin!(writing);
    // Handed over, not yet written.
    let _ = futures_util::poll!(writing.as_mut());
    tier.remove(&keys[2]);
    for removed in [1, 2] {
        assert!(matches!(tier.read(&keys[removed]).await.unwrap(), Read::Miss));
    }
    assert_eq!(writing.await.unwrap(), 8);
    for (number, key) in keys.iter().enumerate() {
        let found =
            matches!(tier.read(key).await.unwrap(), Read::Found(stored, _) if *stored == object(number, 100_000));
        assert_eq!(found, !matches!(number, 1 | 2), "{number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupted_file_gives_right_bytes_or_none() {
    let dir = tempfile::tempdir().unwrap();
    let disk = filled(dir.path(), 50).await;
    for path in blocks(&dir) {
        let mut bytes = fs::read(&path).unwrap();
        bytes.iter_mut().skip(10_000).step_by(300_000).for_each(|byte| *byte ^= 0x55);
        fs::write(&path, bytes).unwrap();
    }
    let mut found = 0;
    for number in 0..50 {
        if let Some(object_found) = disk.get(&format!("/{number}"), b"v").await {
            assert_eq!(object_found.stored, object(number, 100_000));
            found += 1;
        }
    }
    assert!((1..50).contains(&found), "{found}");
    disk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_cannot_be_read_is_switched_off_and_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let disk = filled(dir.path(), 5).await;
    for path in blocks(&dir) {
        fs::File::options().write(true).open(path).unwrap().set_len(0).unwrap();
    }
    assert!(disk.get("/1", b"v").await.is_none());
    until("the tier to be off", || disk.counts().failures.load(Relaxed) == 1).await;
    assert!(!disk.is_on() && disk.get("/2", b"v").await.is_none());
    disk.put("/new", b"", object(1, 10));
    assert_eq!(disk.counts().dropped.load(Relaxed), 1);
    assert_eq!(disk.counts().failures.load(Relaxed), 1);
    disk.close().await;
}

#[tokio::test]
async fn a_tier_that_was_off_comes_back_empty() {
    let dir = tempfile::tempdir().unwrap();
    let disk = filled(dir.path(), 5).await;
    fs::remove_dir_all(dir.path()).unwrap();
    disk.put("/new", b"", object(1, 10));
    until("the tier to be off", || disk.counts().failures.load(Relaxed) == 1).await;
    tokio::time::pause();
    tokio::time::advance(OFF).await;
    tokio::time::resume();
    until("the tier to be on", || disk.is_on()).await;
    assert!(disk.get("/1", b"v").await.is_none());
    disk.put("/new", b"", object(1, 10));
    until("it to be written", || disk.counts().written.load(Relaxed) == 6).await;
    disk.close().await;
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_leaves_the_tier_off() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "in the way").unwrap();
    for (path, bytes_max) in [(file.as_path(), DISK_BYTES), (dir.path(), 1 << 20)] {
        let disk = Disk::open(path, bytes_max, &Shutdown::new());
        until("the tier to be off", || disk.counts().failures.load(Relaxed) == 1).await;
        disk.put("/a", b"", object(1, 10));
        assert!(disk.get("/a", b"").await.is_none());
        disk.close().await;
    }
}

const FULL_DIR: &str = "HEADWATER_TEST_FULL_DIR";

/// A disk that takes no more bytes: the kernel's bound of a file's size, in a process of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_cannot_be_written_is_switched_off() {
    if let Ok(dir) = std::env::var(FULL_DIR) {
        let disk = opened(Path::new(&dir)).await;
        assert!(disk.get("/1", b"v").await.is_some());
        for number in 100..110 {
            disk.put(&format!("/{number}"), b"v", object(number, 1_000_000));
        }
        until("the tier to be off", || disk.counts().failures.load(Relaxed) == 1).await;
        assert!(disk.get("/109", b"v").await.is_none() && disk.get("/1", b"v").await.is_none());
        disk.close().await;
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 5).await.close().await;
    let status = Command::new("sh")
        // The bound is in units of 512 bytes. Without the trap its excess would be a signal that kills.
        .args([
            "-c",
            "trap '' XFSZ; ulimit -f 2000; exec \"$0\" --exact \"$1\"",
            &std::env::current_exe().unwrap().to_string_lossy(),
        ])
        .arg("store::disk::tests::a_disk_that_cannot_be_written_is_switched_off")
        .env(FULL_DIR, dir.path())
        .status()
        .unwrap();
    assert!(status.success());
}
