// SPDX-License-Identifier: Apache-2.0
//! A body of boxes: whatever comes of it whole comes of it in pieces, and what is held is bounded by what came.
#![no_main]

use bytes::Bytes;
use headwater_packager::cmaf::{Error, Event, Header, Limits, Reader};

fn read(body: &Bytes, mut length: usize) -> (Vec<Event>, Result<headwater_packager::cmaf::End, Error>) {
    let mut reader = Reader::new(Limits::default());
    let (mut events, mut rest) = (Vec::new(), body.clone());
    while !rest.is_empty() {
        let piece = rest.split_to(length.clamp(1, rest.len()));
        if let Err(error) = reader.push(piece, &mut events) {
            return (events, Err(error));
        }
        assert!(reader.buffered_bytes() <= body.len() + 64, "held more than came");
        length = length.wrapping_mul(7) % 4_099;
    }
    let end = reader.finish(&mut events);
    (events, end)
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let body = Bytes::copy_from_slice(data);
    let (events, end) = read(&body, usize::MAX);
    for length in [3, 1 + usize::from(data.first().copied().unwrap_or(0))] {
        let pieces = read(&body, length);
        assert_eq!((&events, &end), (&pieces.0, &pieces.1), "in pieces from {length} on");
    }
    for event in &events {
        if let Event::Header(header) = event {
            // What is kept on disk reads back.
            assert_eq!(Header::parse(&header.source).as_ref(), Ok(&**header));
        }
    }
});
