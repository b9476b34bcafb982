// SPDX-License-Identifier: Apache-2.0
//! A client's conditions and ranges, answered from what is stored (RFC 9110, 13 and 14; RFC 9111, 4.3.2).

use headwater_net::range::Spec;
use headwater_shield::semantics::{Outcome, RequestHead, Stored, outcome};
use http::{Method, StatusCode};

use super::headers;

const WHOLE: Outcome = Outcome::Whole;
const SAME: Outcome = Outcome::NotModified;
const FAILED: Outcome = Outcome::Failed;
const NOTHING: Outcome = Outcome::Unsatisfiable;

const fn part(first: u64, last: u64) -> Outcome {
    Outcome::Part { first, last }
}

/// A strong tag, changed an hour before it was sent.
const STRONG: &str = "etag: \"a\"\nlast-modified: Sun, 01 Mar 2026 11:00:00 GMT\ndate: Sun, 01 Mar 2026 12:00:00 GMT";
const WEAK: &str = "etag: W/\"a\"";
/// Without a validator of its own.
const DATED: &str = "date: Sun, 01 Mar 2026 12:00:00 GMT";
/// Changed in the very second in which it was sent.
const JUST_CHANGED: &str = "last-modified: Sun, 01 Mar 2026 12:00:00 GMT\ndate: Sun, 01 Mar 2026 12:00:00 GMT";

/// Request, stored head of a body of 100 bytes, what the client gets.
const ROWS: &[(&str, &str, Outcome)] = &[
    ("", STRONG, WHOLE),
    // If-None-Match: weak comparison, lists, any.
    ("if-none-match: \"a\"", STRONG, SAME),
    ("if-none-match: \"b\"", STRONG, WHOLE),
    ("if-none-match: W/\"a\"", STRONG, SAME),
    ("if-none-match: \"a\"", WEAK, SAME),
    ("if-none-match: W/\"a\"", WEAK, SAME),
    ("if-none-match: w/\"a\"", WEAK, WHOLE),
    ("if-none-match: a", STRONG, WHOLE),
    ("if-none-match: \"a\", \"b\", \"c\"", STRONG, SAME),
    ("if-none-match: \"b\", \"a\", \"c\"", STRONG, SAME),
    ("if-none-match: \"b\", \"c\", \"a\"", STRONG, SAME),
    ("if-none-match: \"b\"\nif-none-match: \"a\"", STRONG, SAME),
    ("if-none-match: \"x, \"a\"", STRONG, WHOLE),
    ("if-none-match: *", STRONG, SAME),
    ("if-none-match: *", DATED, SAME),
    ("if-none-match: \"a\"", DATED, WHOLE),
    ("if-none-match: \"a,b\"", "etag: \"a,b\"", SAME),
    ("if-none-match: \"\u{e9}\"", "etag: \"\u{e9}\"", SAME),
    // It makes If-Modified-Since count for nothing.
    ("if-none-match: \"b\"\nif-modified-since: Sun, 01 Mar 2026 11:00:00 GMT", STRONG, WHOLE),
    ("if-none-match: \"a\"\nif-modified-since: Sun, 01 Mar 2020 11:00:00 GMT", STRONG, SAME),
    // If-Modified-Since.
    ("if-modified-since: Sun, 01 Mar 2026 11:00:00 GMT", STRONG, SAME),
    ("if-modified-since: Sun, 01 Mar 2026 11:30:00 GMT", STRONG, SAME),
    ("if-modified-since: Sun, 01 Mar 2026 10:59:59 GMT", STRONG, WHOLE),
    ("if-modified-since: Sunday, 01-Mar-26 11:00:00 GMT", STRONG, SAME),
    ("if-modified-since: yesterday", STRONG, WHOLE),
    ("if-modified-since: Sun, 01 Mar 2026 12:00:00 GMT", DATED, SAME),
    ("if-modified-since: Sun, 01 Mar 2026 11:59:59 GMT", DATED, WHOLE),
    // If-Match: strong comparison.
    ("if-match: \"a\"", STRONG, WHOLE),
    ("if-match: \"b\", \"a\"", STRONG, WHOLE),
    ("if-match: \"b\"", STRONG, FAILED),
    ("if-match: W/\"a\"", STRONG, FAILED),
    ("if-match: W/\"a\"", WEAK, FAILED),
    ("if-match: *", DATED, WHOLE),
    ("if-match: \"a\"", DATED, FAILED),
    ("if-match: \"a\"\nif-unmodified-since: Sun, 01 Mar 2020 11:00:00 GMT", STRONG, WHOLE),
    ("if-match: \"b\"\nif-none-match: \"a\"", STRONG, FAILED),
    ("if-match: \"a\"\nif-none-match: \"a\"", STRONG, SAME),
    // If-Unmodified-Since: only where there is a date of change.
    ("if-unmodified-since: Sun, 01 Mar 2026 11:00:00 GMT", STRONG, WHOLE),
    ("if-unmodified-since: Sun, 01 Mar 2026 10:00:00 GMT", STRONG, FAILED),
    ("if-unmodified-since: Sun, 01 Mar 2026 10:00:00 GMT", DATED, WHOLE),
    ("if-unmodified-since: yesterday", STRONG, WHOLE),
    // Ranges.
    ("range: bytes=0-9", STRONG, part(0, 9)),
    ("range: bytes=90-", STRONG, part(90, 99)),
    ("range: bytes=-10", STRONG, part(90, 99)),
    ("range: bytes=-1000", STRONG, part(0, 99)),
    ("range: bytes=50-1000", STRONG, part(50, 99)),
    ("range: bytes=50-99999999999999999999999", STRONG, part(50, 99)),
    ("range: BYTES=0-9", STRONG, part(0, 9)),
    ("range: bytes=100-", STRONG, NOTHING),
    ("range: bytes=99999999999999999999999-", STRONG, NOTHING),
    ("range: bytes=-0", STRONG, NOTHING),
    ("range: bytes=9-0", STRONG, WHOLE),
    ("range: bytes=0-1,5-6", STRONG, WHOLE),
    ("range: bytes=0-1\nrange: bytes=5-6", STRONG, WHOLE),
    ("range: bytes=+1-5", STRONG, WHOLE),
    ("range: bytes=1-x", STRONG, WHOLE),
    ("range: seconds=1-2", STRONG, WHOLE),
    ("if-none-match: \"a\"\nrange: bytes=0-9", STRONG, SAME),
    ("if-none-match: \"b\"\nrange: bytes=0-9", STRONG, part(0, 9)),
    // If-Range: strong only.
    ("if-range: \"a\"\nrange: bytes=0-9", STRONG, part(0, 9)),
    ("if-range: \"b\"\nrange: bytes=0-9", STRONG, WHOLE),
    ("if-range: W/\"a\"\nrange: bytes=0-9", STRONG, WHOLE),
    ("if-range: W/\"a\"\nrange: bytes=0-9", WEAK, WHOLE),
    ("if-range: \"a\"\nrange: bytes=0-9", WEAK, WHOLE),
    ("if-range: \"a\"\nrange: bytes=0-9", DATED, WHOLE),
    ("if-range: \"b\"\nrange: bytes=200-", STRONG, WHOLE),
    ("if-range: Sun, 01 Mar 2026 11:00:00 GMT\nrange: bytes=0-9", STRONG, part(0, 9)),
    ("if-range: Sun, 01 Mar 2026 11:30:00 GMT\nrange: bytes=0-9", STRONG, WHOLE),
    ("if-range: Sun, 01 Mar 2026 12:00:00 GMT\nrange: bytes=0-9", JUST_CHANGED, WHOLE),
    ("if-range: \"a\"", STRONG, WHOLE),
];

fn ask(method: &Method, asked: &str, status: StatusCode, stored: &str, length_bytes: Option<u64>) -> Outcome {
    let (asked, stored) = (headers(asked), headers(stored));
    let request = RequestHead { method, headers: &asked };
    outcome(&request, &Stored { status, headers: &stored, length_bytes })
}

#[test]
fn a_condition_decides_what_of_the_stored_answer_is_sent() {
    for (asked, stored, expected) in ROWS {
        let found = ask(&Method::GET, asked, StatusCode::OK, stored, Some(100));
        assert_eq!(found, *expected, "{asked:?} of {stored:?}");
    }
}

#[test]
fn an_error_is_sent_whole_whatever_was_asked() {
    for asked in ["if-none-match: *", "if-match: \"b\"", "range: bytes=0-9"] {
        assert_eq!(ask(&Method::GET, asked, StatusCode::NOT_FOUND, STRONG, Some(100)), WHOLE, "{asked}");
    }
    assert_eq!(
        ask(&Method::GET, "range: bytes=0-9", StatusCode::NON_AUTHORITATIVE_INFORMATION, STRONG, Some(100)),
        WHOLE
    );
}

#[test]
fn head_knows_conditions_and_no_ranges() {
    assert_eq!(ask(&Method::HEAD, "if-none-match: \"a\"", StatusCode::OK, STRONG, Some(100)), SAME);
    assert_eq!(ask(&Method::HEAD, "range: bytes=0-9", StatusCode::OK, STRONG, Some(100)), WHOLE);
}

#[test]
fn a_range_of_a_body_without_known_length_waits_for_its_bytes() {
    let growing = |asked| ask(&Method::GET, asked, StatusCode::OK, STRONG, None);
    assert_eq!(growing("range: bytes=5-9"), Outcome::Pending(Spec::Between { first: 5, last: 9 }));
    assert_eq!(growing("range: bytes=5-"), Outcome::Pending(Spec::From { first: 5 }));
    assert_eq!(growing("range: bytes=-5"), Outcome::Pending(Spec::Suffix { length_bytes: 5 }));
    assert_eq!(growing("range: bytes=0-"), WHOLE);
    assert_eq!(growing("range: bytes=5-9\nif-range: \"b\""), WHOLE);
    assert_eq!(growing("range: bytes=5-9\nif-none-match: \"a\""), SAME);
}

#[test]
fn an_empty_body_has_no_ranges() {
    for asked in ["range: bytes=0-", "range: bytes=-5"] {
        assert_eq!(ask(&Method::GET, asked, StatusCode::OK, STRONG, Some(0)), NOTHING, "{asked}");
    }
}
