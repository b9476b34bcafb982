// SPDX-License-Identifier: Apache-2.0
//! Asking the origin again, taking its 304 over (RFC 9111, 4.3).

use headwater_shield::semantics::{Unmatched, conditional, merge};
use http::HeaderMap;

use super::{RECEIVED, headers};

#[test]
fn a_stored_answer_is_asked_for_by_its_validators() {
    let mut request = HeaderMap::new();
    assert!(conditional(&headers("etag: W/\"a\"\nlast-modified: Sun, 01 Mar 2026 11:00:00 GMT"), &mut request));
    assert_eq!(request, headers("if-none-match: W/\"a\"\nif-modified-since: Sun, 01 Mar 2026 11:00:00 GMT"));
    // As it was written, quotes or not: it is the origin's to compare.
    let mut request = headers("if-none-match: \"the client's\"");
    assert!(conditional(&headers("etag: a"), &mut request));
    assert_eq!(request, headers("if-none-match: a"));
    let mut request = HeaderMap::new();
    assert!(!conditional(&headers("date: Sun, 01 Mar 2026 12:00:00 GMT"), &mut request));
    assert_eq!(request, HeaderMap::new());
}

/// Stored head, 304, the head afterwards; none: the 304 is about another answer.
const MERGES: &[(&str, &str, Option<&str>)] = &[
    ("etag: \"a\"\nx: 1", "etag: \"a\"\nx: 2", Some("etag: \"a\"\nx: 2")),
    ("etag: \"a\"\nx: 1", "etag: \"a\"", Some("etag: \"a\"\nx: 1")),
    ("etag: \"a\"\nx: 1\nx: 2", "etag: \"a\"\nx: 3", Some("etag: \"a\"\nx: 3")),
    ("etag: \"a\"\nx: 1", "etag: \"a\"\nx: 2\nx: 3", Some("etag: \"a\"\nx: 2\nx: 3")),
    ("etag: \"a\"", "etag: \"a\"\nnew: 1", Some("etag: \"a\"\nnew: 1")),
    (
        "etag: \"a\"\ncache-control: max-age=1",
        "etag: \"a\"\ncache-control: max-age=9",
        Some("etag: \"a\"\ncache-control: max-age=9"),
    ),
    ("etag: \"a\"\nexpires: 0", "etag: \"a\"\nexpires: 1", Some("etag: \"a\"\nexpires: 1")),
    (
        "etag: \"a\"\ncontent-location: /1",
        "etag: \"a\"\ncontent-location: /2",
        Some("etag: \"a\"\ncontent-location: /2"),
    ),
    ("etag: \"a\"\ncontent-foo: 1", "etag: \"a\"\ncontent-foo: 2", Some("etag: \"a\"\ncontent-foo: 2")),
    // What describes the bytes is theirs.
    ("etag: \"a\"\ncontent-length: 9", "etag: \"a\"\ncontent-length: 0", Some("etag: \"a\"\ncontent-length: 9")),
    (
        "etag: \"a\"\ncontent-encoding: gzip",
        "etag: \"a\"\ncontent-encoding: br",
        Some("etag: \"a\"\ncontent-encoding: gzip"),
    ),
    (
        "etag: \"a\"\ncontent-type: video/mp4",
        "etag: \"a\"\ncontent-type: text/plain",
        Some("etag: \"a\"\ncontent-type: video/mp4"),
    ),
    ("etag: \"a\"", "etag: \"a\"\ncontent-range: bytes 0-1/9", Some("etag: \"a\"")),
    (
        "etag: \"a\"\nrepr-digest: sha-256=:AA==:",
        "etag: \"a\"\nrepr-digest: sha-256=:AQ==:",
        Some("etag: \"a\"\nrepr-digest: sha-256=:AA==:"),
    ),
    // What concerns the connection is not stored.
    ("etag: \"a\"", "etag: \"a\"\nconnection: close, x\nx: 1\nkeep-alive: timeout=5", Some("etag: \"a\"")),
    ("etag: \"a\"", "etag: \"a\"\ntransfer-encoding: chunked\nproxy-authenticate: Basic", Some("etag: \"a\"")),
    // Age is that of the 304.
    ("etag: \"a\"\nage: 50", "etag: \"a\"", Some("etag: \"a\"")),
    ("etag: \"a\"\nage: 50", "etag: \"a\"\nage: 3", Some("etag: \"a\"\nage: 3")),
    // Validators: weak ones compare too, what was asked for stays.
    ("etag: \"a\"", "etag: W/\"a\"", Some("etag: \"a\"")),
    ("etag: W/\"a\"", "etag: \"a\"", Some("etag: W/\"a\"")),
    ("etag: \"a\"", "x: 1", Some("etag: \"a\"\nx: 1")),
    ("etag: \"a\"", "etag: \"b\"", None),
    ("etag: \"a\"", "etag: W/\"b\"", None),
    ("last-modified: Sun, 01 Mar 2026 11:00:00 GMT", "etag: \"b\"", None),
    ("last-modified: Sun, 01 Mar 2026 11:00:00 GMT", "last-modified: Sun, 01 Mar 2026 11:00:01 GMT", None),
    ("etag: \"a\"", "last-modified: Sun, 01 Mar 2026 11:00:01 GMT", None),
    (
        "last-modified: Sun, 01 Mar 2026 11:00:00 GMT",
        "x: 1",
        Some("last-modified: Sun, 01 Mar 2026 11:00:00 GMT\nx: 1"),
    ),
    (
        "etag: \"a\"\nlast-modified: Sun, 01 Mar 2026 11:00:00 GMT",
        "etag: \"a\"\nlast-modified: Sun, 01 Mar 2026 11:00:01 GMT",
        Some("etag: \"a\"\nlast-modified: Sun, 01 Mar 2026 11:00:01 GMT"),
    ),
];

#[test]
fn a_304_brings_everything_up_to_date_but_the_bytes() {
    const DATE: &str = "date: Sun, 01 Mar 2026 12:00:00 GMT";
    for (stored, answer, expected) in MERGES {
        let mut head = headers(&format!("{DATE}\n{stored}"));
        let before = head.clone();
        let merged = merge(&mut head, &headers(&format!("{DATE}\n{answer}")), RECEIVED.1);
        match expected {
            Some(expected) => {
                assert_eq!((merged, head), (Ok(()), headers(&format!("{DATE}\n{expected}"))), "{answer:?}")
            }
            None => assert_eq!((merged, head), (Err(Unmatched), before), "{answer:?}"),
        }
    }
}

#[test]
fn a_304_without_a_date_is_of_now() {
    let mut head = headers("etag: \"a\"\ndate: Sun, 01 Mar 2026 11:00:00 GMT");
    merge(&mut head, &headers("etag: \"a\""), RECEIVED.1).unwrap();
    assert_eq!(head, headers("etag: \"a\"\ndate: Sun, 01 Mar 2026 12:00:00 GMT"));
}
