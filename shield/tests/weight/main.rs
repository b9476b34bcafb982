// SPDX-License-Identifier: Apache-2.0
//! What a held object costs in memory, by an allocator that counts.

#[allow(dead_code)]
#[path = "../cases/harness.rs"]
mod harness;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use harness::{Origin, Shielded, config};

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const OBJECTS: usize = 500;
const BODY_BYTES: usize = 100_000;

/// What an object may take beside its bytes: its head, its key, its place in the index and the store.
const BESIDE_BYTES: usize = 3_000;

#[tokio::test]
async fn a_held_object_takes_its_bytes_and_little_more() {
    let body = vec![7; BODY_BYTES];
    let origin = Origin::start(move |_, mut wire| {
        let body = body.clone();
        async move { wire.answer("200 OK", "cache-control: max-age=600\r\netag: \"a\"\r\n", body).await }
    })
    .await;
    let shield = Shielded::start(config(&[&origin], "health_interval_ms = 0", "")).await;
    shield.get("/first").await;
    let before = HELD.load(Ordering::Relaxed);
    for object in 0..OBJECTS {
        let got = shield.get(&format!("/{object}.m4s")).await;
        assert_eq!(got.body.len(), BODY_BYTES);
    }
    let each = HELD.load(Ordering::Relaxed).saturating_sub(before) / OBJECTS;
    assert!(each <= BODY_BYTES + BESIDE_BYTES, "{each} bytes for an object of {BODY_BYTES}");
}
