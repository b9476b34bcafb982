// SPDX-License-Identifier: Apache-2.0
//! What the store and the knowledge of playlists cost a request.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fmt::Write;
use std::hint::black_box;
use std::sync::Arc;

use divan::Bencher;
use headwater_shield::live::{canonical, scan};
use headwater_shield::store::{Class, Epoch, Kind, Memory, Purge, Purges, Resident, Tags};

fn main() {
    divan::main();
}

/// What every hit pays.
#[divan::bench]
fn a_hit_touches(bencher: Bencher) {
    let resident = Resident::new("/a".into(), 0, Class::Other);
    bencher.bench(|| black_box(&resident).touch());
}

/// What every fill pays once memory is full: room, eviction, the new place.
#[divan::bench(args = [1_000, 100_000])]
fn a_fill_takes_the_place_of_another(bencher: Bencher, residents: u64) {
    let memory = Memory::new(residents * 10_000, |_| {});
    let mut number = 0_u64;
    let mut fill = || {
        number += 1;
        let charge = memory.charge(10_000).unwrap();
        let resident = Resident::new(format!("/{number}").into(), 0, Class::Other);
        memory.keep(&resident, charge);
        resident
    };
    for _ in 0..residents {
        fill().touch();
    }
    bencher.bench_local(fill);
}

/// What a hit pays: nothing was purged since, or one purge was and a thousand before it.
#[divan::bench(args = [false, true])]
fn purges_are_looked_up(bencher: Bencher, since: bool) {
    let purges = Purges::new(10_000);
    for number in 0..1_000 {
        purges.add(&Purge::Prefix(format!("/live/channel-{number}/").into()), Kind::Hard);
    }
    let mut tags = Tags::default();
    tags.add_path("news", "/live/demo/v0/17.m4s");
    let epoch = Epoch(purges.epoch().0 - u64::from(since));
    bencher.bench(|| purges.covers(black_box("https|a.example|/live/demo/v0/17.m4s"), &tags, epoch));
}

/// What a query pays that is in its form, and one that is not.
#[divan::bench(args = ["_HLS_msn=850000000&_HLS_part=3", "_HLS_part=3&_HLS_msn=850000000"])]
fn a_query_is_put_in_its_form(bencher: Bencher, query: &str) {
    bencher.bench(|| canonical(black_box(query), &[]).len());
}

/// What an answer of an origin pays, by its number of segments.
#[divan::bench(args = [6, 1_000, 10_000])]
fn a_playlist_is_read(bencher: Bencher, segments: u64) {
    let mut text = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:850000000\n".to_owned();
    for number in 0..segments {
        let date = "#EXT-X-PROGRAM-DATE-TIME:2026-11-21T10:00:00.000Z";
        writeln!(text, "{date}\n#EXTINF:2.00000,\n{}.m4s", 850_000_000 + number).unwrap();
    }
    let text: Arc<[u8]> = text.into_bytes().into();
    bencher.counter(divan::counter::BytesCount::of_slice(&text)).bench(|| scan(black_box(&text)).is_some());
}
