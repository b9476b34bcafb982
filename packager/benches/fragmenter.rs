// SPDX-License-Identifier: Apache-2.0
//! What a byte costs on its way through the packager: reading boxes, and writing chunks.
#![allow(missing_docs, clippy::unwrap_used)]

use bytes::{Bytes, BytesMut};
use divan::Bencher;
use divan::counter::BytesCount;
use headwater_packager::Sample;
use headwater_packager::cmaf::{ChunkOptions, Limits, Reader, write_chunk};

fn main() {
    divan::main();
}

/// A part of 200 ms at 25 frames a second.
const FRAMES: i64 = 5;

fn samples(frame_bytes: usize) -> Vec<Sample> {
    let data = Bytes::from(vec![0x5a; frame_bytes]);
    let sample = |i: i64| Sample {
        decode_time: 1_700_000_000 * 90_000 + i * 3_600,
        composition_offset: 0,
        duration: 3_600,
        sync: i == 0,
        data: data.clone(),
    };
    (0..FRAMES).map(sample).collect()
}

/// Frames of 0.5, 2 and 8 Mb/s.
#[divan::bench(args = [2_500, 10_000, 40_000])]
fn write(bencher: Bencher, frame_bytes: usize) {
    let samples = samples(frame_bytes);
    let length = usize::try_from(FRAMES).unwrap() * frame_bytes;
    bencher.counter(BytesCount::new(length)).bench_local(|| {
        let mut out = BytesMut::new();
        write_chunk(&mut out, &samples, ChunkOptions::default());
        out.freeze()
    });
}

/// A body of whole segments in pieces of so many bytes, as a socket gives them.
#[divan::bench(args = [1_448, 8_192, 65_536])]
fn read(bencher: Bencher, piece_bytes: usize) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../cli/assets/ladder/v2.cmfv");
    let body = Bytes::from(std::fs::read(path).unwrap());
    bencher.counter(BytesCount::new(body.len())).bench_local(|| {
        let (mut reader, mut events, mut count) = (Reader::new(Limits::default()), Vec::new(), 0);
        for at in (0..body.len()).step_by(piece_bytes) {
            reader.push(body.slice(at..(at + piece_bytes).min(body.len())), &mut events).unwrap();
            count += events.drain(..).count();
        }
        count
    });
}
