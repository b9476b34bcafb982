// SPDX-License-Identifier: Apache-2.0
//! A disk behind a memory that is too small, and disks that fail: what is on it saves requests, and whatever becomes of
//! it no answer is wrong or cut.

use std::path::Path;

use tokio::time::Instant;

use crate::harness::{Origin, SOON, Shielded, Wire, config};

const OBJECTS: usize = 20;
const BODY_BYTES: usize = 50_000;

async fn origin() -> Origin {
    Origin::start(|seen, mut wire: Wire| async move {
        wire.answer("200 OK", "cache-control: max-age=600\r\n", body(&seen.target)).await
    })
    .await
}

/// Other bytes under each name.
fn body(target: &str) -> Vec<u8> {
    target.bytes().cycle().take(BODY_BYTES).collect()
}

/// A shield whose memory holds a few of the objects.
async fn start(origin: &Origin, folder: &Path) -> Shielded {
    let more = format!("[cache]\nmemory_bytes_max = 300000\ndisk_bytes_max = 268435456\ndisk_dir = {folder:?}");
    Shielded::start(config(&[origin], "", &more)).await
}

/// Asks for every object, twice each: what is asked for once alone is not worth a disk's while.
async fn round(shield: &Shielded) {
    for n in 0..OBJECTS {
        let target = format!("/{n}.bin");
        for _ in 0..2 {
            let got = shield.get(&target).await;
            assert!(got.whole && got.status.is_success() && got.body == body(&target), "{target}: {:?}", got.headers);
        }
    }
    assert!(shield.shield.memory().held_bytes() <= 300_000);
}

/// Rounds until one of them needs no origin.
async fn warm(shield: &Shielded, origin: &Origin) {
    let until = Instant::now() + SOON;
    loop {
        let before = origin.seen().len();
        round(shield).await;
        if origin.seen().len() == before {
            return;
        }
        assert!(Instant::now() < until, "the disk saves the origin nothing");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_memory_lets_go_of_is_asked_of_the_disk() {
    let (origin, folder) = (origin().await, tempfile::tempdir().expect("a folder"));
    let shield = start(&origin, folder.path()).await;
    warm(&shield, &origin).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_cannot_be_costs_hits_and_nothing_else() {
    let (origin, file) = (origin().await, tempfile::NamedTempFile::new().expect("a file"));
    let shield = start(&origin, &file.path().join("below")).await;
    for _ in 0..3 {
        round(&shield).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_loses_or_garbles_what_it_holds_costs_hits_and_nothing_else() {
    let (origin, folder) = (origin().await, tempfile::tempdir().expect("a folder"));
    let shield = start(&origin, folder.path()).await;
    warm(&shield, &origin).await;
    let mut folders = vec![folder.path().to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            if entry.path().is_dir() { folders.push(entry.path()) } else { files.push(entry.path()) }
        }
    }
    assert!(!files.is_empty(), "something is on disk");
    for file in &files {
        let length = std::fs::metadata(file).expect("a file").len();
        // The same size, another content; then nothing at all.
        let garbled: Vec<u8> = (0..length.min(64 << 20)).map(|n| (n * 31 % 251) as u8).collect();
        std::fs::write(file, garbled).expect("a file that can be written");
    }
    round(&shield).await;
    for file in &files {
        let _ = std::fs::remove_file(file);
    }
    for _ in 0..2 {
        round(&shield).await;
    }
}
