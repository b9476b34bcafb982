// SPDX-License-Identifier: Apache-2.0
//! Compressed bodies: no more is unfolded at once than a step can hold, however it is cut.
#![no_main]

use bytes::Bytes;
use headwater_net::gzip::Inflater;

/// Unfolded bytes up to the end or the bound; `None` for what is not gzip.
fn unfold(data: &[u8], length: usize) -> Option<Vec<u8>> {
    const BYTES_MAX: usize = 1 << 20;
    let (mut inflater, mut out) = (Inflater::default(), Vec::new());
    for piece in data.chunks(length) {
        inflater.push(Bytes::copy_from_slice(piece));
        while let Some(bytes) = inflater.unfold().ok()? {
            out.extend_from_slice(&bytes);
            if out.len() > BYTES_MAX {
                return None;
            }
        }
    }
    out.extend_from_slice(&inflater.finish().ok()?);
    Some(out)
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    assert_eq!(unfold(data, usize::MAX), unfold(data, 5));
    // What is compressed comes back.
    let packed = headwater_net::gzip::compress(data);
    assert_eq!(unfold(&packed, 7).as_deref(), Some(data));
});
