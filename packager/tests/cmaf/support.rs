// SPDX-License-Identifier: Apache-2.0
//! Reading of vectors, whole and cut.

use std::path::Path;

use bytes::Bytes;
use headwater_packager::cmaf::{End, Error, Event, Fragment, Header, Limits, Reader};

/// A file under the project's `tests/vectors`.
pub(crate) fn vector(name: &str) -> Bytes {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(name);
    Bytes::from(std::fs::read(path).expect("the vector is in the repository"))
}

/// What a body gives when it comes in pieces of these lengths, over and over.
pub(crate) fn read_pieces(body: &Bytes, lengths: &[usize]) -> (Vec<Event>, Result<End, Error>) {
    read_with(Reader::new(Limits::default()), body, lengths)
}

pub(crate) fn read_with(mut reader: Reader, body: &Bytes, lengths: &[usize]) -> (Vec<Event>, Result<End, Error>) {
    let mut events = Vec::new();
    let mut rest = body.clone();
    for &length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let piece = rest.split_to(length.clamp(1, rest.len()));
        if let Err(error) = reader.push(piece, &mut events) {
            return (events, Err(error));
        }
    }
    let end = reader.finish(&mut events);
    (events, end)
}

/// What a good body gives.
pub(crate) fn read(body: &Bytes) -> Vec<Event> {
    let (events, end) = read_pieces(body, &[usize::MAX]);
    end.expect("the body is good");
    events
}

pub(crate) fn headers(events: &[Event]) -> Vec<&Header> {
    let headers = events.iter().filter_map(|e| if let Event::Header(header) = e { Some(&**header) } else { None });
    headers.collect()
}

pub(crate) fn fragments(events: &[Event]) -> Vec<&Fragment> {
    events.iter().filter_map(|e| if let Event::Fragment(fragment) = e { Some(fragment) } else { None }).collect()
}

/// A box: size, type, payload.
pub(crate) fn boxed(kind: &[u8; 4], payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len() + 8).expect("test boxes are small");
    [&size.to_be_bytes()[..], kind, payload].concat()
}

/// Offset of the `nth` occurrence of a box type in `body`, where its size field starts.
pub(crate) fn find_box(body: &[u8], kind: &[u8; 4], nth: usize) -> usize {
    let mut found = body.windows(4).enumerate().filter(|(_, w)| w == kind).map(|(at, _)| at - 4);
    found.nth(nth).expect("the body has such a box")
}
