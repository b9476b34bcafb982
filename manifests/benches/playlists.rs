// SPDX-License-Identifier: Apache-2.0
//! What rendering costs, by the length of the window: a delta must cost the same for a minute as for six hours.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::sync::Arc;

use common::{FIRST, half, input, open, segment};
use divan::Bencher;
use headwater_manifests::Targets;
use headwater_manifests::hls::media::{Skip, render, render_plain};
use headwater_media::{MediaDuration, SegmentNumber, Window};

/// Segments of two seconds: a minute, an hour, six hours.
const LENGTHS: [u64; 3] = [30, 1_800, 10_800];

fn main() {
    divan::main();
}

fn window(segments: u64) -> Window {
    let mut window = Window::new();
    (0..segments).for_each(|n| window.append(Arc::new(segment(FIRST + n))));
    window.set_open(Some(Arc::new(open(FIRST + segments, 3))));
    window
}

fn targets(segments: u64) -> Targets {
    Targets::new(common::two(), half(), MediaDuration::from_millis(i64::try_from(segments).unwrap() * 2_000))
}

#[divan::bench(args = LENGTHS)]
fn delta(bencher: Bencher, segments: u64) {
    let (window, targets) = (window(segments), targets(segments));
    bencher.bench_local(|| render(&input(&window, &targets, &[]), Skip::V1));
}

#[divan::bench(args = LENGTHS)]
fn full(bencher: Bencher, segments: u64) {
    let (window, targets) = (window(segments), targets(segments));
    bencher.bench_local(|| render(&input(&window, &targets, &[]), Skip::None));
}

#[divan::bench(args = LENGTHS)]
fn plain(bencher: Bencher, segments: u64) {
    let (window, targets) = (window(segments), targets(segments));
    bencher.bench_local(|| render_plain(&input(&window, &targets, &[])));
}

/// What the owner of a window does for each segment: append one, drop one, publish a snapshot.
#[divan::bench(args = LENGTHS)]
fn slide(bencher: Bencher, segments: u64) {
    let mut window = window(segments);
    let mut next = window.next_number().unwrap_or(SegmentNumber(FIRST)).0;
    let mut snapshot = window.clone();
    bencher.bench_local(|| {
        window.append(Arc::new(segment(next)));
        window.pop_front();
        next += 1;
        snapshot = window.clone();
        snapshot.len()
    });
}
