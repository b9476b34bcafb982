// SPDX-License-Identifier: Apache-2.0
//! What may be stored, and for whom (RFC 9111, 3).

use std::time::Duration;

use headwater_shield::semantics::{Defaults, Reason, RequestHead, judge};
use http::{HeaderMap, Method, StatusCode};

use super::{DEFAULTS, RECEIVED, headers, rows, verdict, words};

/// Request (method, then fields), status, answer; what becomes of it.
const ROWS: &[(&str, u16, &str, &str)] = &[
    // An explicit lifetime is enough, whatever the status.
    ("GET", 200, "cache-control: max-age=60", "fresh 60"),
    ("HEAD", 200, "cache-control: max-age=60", "fresh 60"),
    ("GET", 203, "cache-control: max-age=60", "fresh 60"),
    ("GET", 204, "cache-control: max-age=60", "fresh 60"),
    ("GET", 299, "cache-control: max-age=60", "fresh 60"),
    ("GET", 301, "cache-control: max-age=60", "fresh 60"),
    ("GET", 302, "cache-control: max-age=60", "fresh 60"),
    ("GET", 307, "cache-control: max-age=60", "fresh 60"),
    ("GET", 400, "cache-control: max-age=60", "fresh 60"),
    ("GET", 404, "cache-control: max-age=60", "fresh 60"),
    ("GET", 410, "cache-control: max-age=60", "fresh 60"),
    ("GET", 499, "cache-control: max-age=60", "fresh 60"),
    ("GET", 500, "cache-control: max-age=60", "fresh 60"),
    ("GET", 503, "cache-control: max-age=60", "fresh 60"),
    ("GET", 599, "cache-control: max-age=60", "fresh 60"),
    // Methods.
    ("POST", 200, "cache-control: max-age=60", "alone method"),
    ("PUT", 200, "cache-control: max-age=60", "alone method"),
    ("DELETE", 200, "cache-control: max-age=60", "alone method"),
    ("OPTIONS", 200, "cache-control: max-age=60", "alone method"),
    ("PROPFIND", 200, "cache-control: max-age=60", "alone method"),
    // Parts, and answers to a client's own condition.
    ("GET", 206, "cache-control: max-age=60\ncontent-range: bytes 0-1/9", "alone partial"),
    ("GET", 304, "cache-control: max-age=60", "alone partial"),
    ("GET", 103, "cache-control: max-age=60", "alone status"),
    // Without a lifetime: by status. None is guessed from Last-Modified.
    ("GET", 200, "", "stale 0 if-error"),
    ("GET", 200, "etag: \"a\"", "stale 0 if-error"),
    ("GET", 200, "last-modified: Sun, 01 Mar 2020 12:00:00 GMT", "stale 0 if-error"),
    ("GET", 404, "", "fresh 0.25"),
    ("GET", 405, "", "fresh 0.25"),
    ("GET", 410, "", "fresh 0.25"),
    ("GET", 414, "", "fresh 0.25"),
    ("GET", 501, "", "fresh 0.25"),
    ("GET", 302, "", "alone status"),
    ("GET", 302, "cache-control: public", "shared"),
    ("GET", 307, "etag: \"a\"", "alone status"),
    ("GET", 400, "", "alone status"),
    ("GET", 401, "", "alone status"),
    ("GET", 403, "", "alone status"),
    ("GET", 599, "cache-control: public\netag: \"a\"", "stale 0"),
    // Those who wait for a sick origin get its one answer.
    ("GET", 429, "", "shared"),
    ("GET", 500, "", "shared"),
    ("GET", 502, "", "shared"),
    ("GET", 503, "retry-after: 1", "shared"),
    ("GET", 504, "", "shared"),
    // no-store.
    ("GET", 200, "cache-control: no-store", "alone no-store"),
    ("GET", 200, "cache-control: nO-StOrE", "alone no-store"),
    ("GET", 200, "cache-control: no-store, max-age=60\nexpires: Sun, 01 Mar 2026 13:00:00 GMT", "alone no-store"),
    ("GET", 200, "cache-control: max-age=60\ncache-control: no-store", "alone no-store"),
    ("GET", 200, "cache-control: max-age=60, no-store=1", "alone no-store"),
    ("GET", 404, "cache-control: no-store", "alone no-store"),
    ("GET", 503, "cache-control: no-store", "alone no-store"),
    ("GET", 200, "cache-control: x=\"\u{e9}\", no-store", "alone no-store"),
    // must-understand.
    ("GET", 200, "cache-control: max-age=60, no-store, must-understand", "fresh 60"),
    ("GET", 599, "cache-control: max-age=60, no-store, must-understand", "alone status"),
    ("GET", 599, "cache-control: max-age=60, must-understand", "alone status"),
    // private.
    ("GET", 200, "cache-control: private", "alone private"),
    ("GET", 200, "cache-control: private, max-age=60", "alone private"),
    ("GET", 200, "cache-control: private=\"set-cookie\", max-age=60", "alone private"),
    ("GET", 200, "cache-control: public, private, max-age=60", "alone private"),
    // Requests with credentials (RFC 9111, 3.5).
    ("GET\nauthorization: Basic eDp5", 200, "cache-control: max-age=60", "alone authorization"),
    ("GET\nauthorization: Basic eDp5", 200, "expires: Sun, 01 Mar 2026 13:00:00 GMT", "alone authorization"),
    ("GET\nauthorization: Basic eDp5", 404, "", "alone authorization"),
    ("GET\nauthorization: Basic eDp5", 200, "cache-control: max-age=60, public", "fresh 60"),
    ("GET\nauthorization: Basic eDp5", 200, "cache-control: max-age=60, must-revalidate", "fresh 60"),
    ("GET\nauthorization: Basic eDp5", 200, "cache-control: s-maxage=60", "fresh 60"),
    ("GET\nauthorization: Basic eDp5", 200, "cdn-cache-control: max-age=60, public", "fresh 60"),
    (
        "GET\nauthorization: Basic eDp5",
        200,
        "cdn-cache-control: max-age=60\ncache-control: public",
        "alone authorization",
    ),
    ("GET\nauthorization: Basic eDp5", 200, "cache-control: max-age=60, proxy-revalidate", "alone authorization"),
    // A session must not become everybody's; a client's cookie is no reason.
    ("GET", 200, "cache-control: public, max-age=60\nset-cookie: session=1", "alone set-cookie"),
    ("GET\ncookie: session=1", 200, "cache-control: max-age=60", "fresh 60"),
    // Directives of the request are advice (RFC 9111, 5.2.1), Pragma none at all.
    ("GET\ncache-control: no-store", 200, "cache-control: max-age=60", "fresh 60"),
    ("GET\ncache-control: no-cache", 200, "cache-control: max-age=60", "fresh 60"),
    ("GET\npragma: no-cache", 200, "cache-control: max-age=60\npragma: no-cache", "fresh 60"),
    // What no request selects.
    ("GET", 200, "cache-control: max-age=60\nvary: *", "alone vary"),
    ("GET", 200, "cache-control: max-age=60\nvary: *, *", "alone vary"),
    ("GET", 200, "cache-control: max-age=60\nvary: *\nvary: *", "alone vary"),
    ("GET", 200, "cache-control: max-age=60\nvary: , *", "alone vary"),
    ("GET", 200, "cache-control: max-age=60\nvary:\nvary: *", "alone vary"),
    ("GET", 200, "cache-control: max-age=60\nvary: origin, *", "alone vary"),
    ("GET", 200, "cache-control: max-age=60\nvary: *, origin", "alone vary"),
    ("GET", 200, "cache-control: max-age=60\nvary: no name", "alone vary"),
    ("GET", 200, "cache-control: max-age=60\nvary: origin", "fresh 60"),
    // What is of use to those who asked at the same time only.
    ("GET", 200, "cache-control: no-cache", "shared"),
    ("GET", 200, "cache-control: max-age=0, must-revalidate", "shared"),
    ("GET", 200, "cache-control: s-maxage=0", "shared"),
    ("GET", 200, "cache-control: max-age=0, proxy-revalidate", "shared"),
    // A validator or a window makes the same worth keeping.
    ("GET", 200, "cache-control: no-cache\netag: W/\"a\"", "stale 0"),
    ("GET", 200, "cache-control: no-cache, max-age=60, stale-if-error=60\netag: \"a\"", "stale 0"),
    ("GET", 200, "cache-control: No-CaChE=\"set-cookie\", max-age=60\netag: \"a\"", "stale 0"),
    ("GET", 200, "cache-control: max-age=0, stale-while-revalidate=5, stale-if-error=0", "stale 0 while-revalidating"),
    ("GET", 200, "cache-control: max-age=0, stale-if-error=5", "stale 0 if-error"),
];

#[test]
fn an_answer_is_kept_shared_or_one_clients_alone() {
    rows(ROWS.iter().map(|(request, status, answer, expected)| {
        let found = words(verdict(request, *status, answer, Duration::ZERO), Duration::ZERO);
        (format!("{request:?} {status} {answer:?}"), found, *expected)
    }));
}

#[test]
fn an_answer_that_is_of_no_use_later_is_for_those_who_wait() {
    for (answer, expected) in [("", "shared"), ("cache-control: max-age=0", "shared"), ("etag: \"a\"", "stale 0")] {
        let defaults = Defaults { stale_if_error: Duration::ZERO, ..DEFAULTS };
        let request = RequestHead { method: &Method::GET, headers: &HeaderMap::new() };
        let found = judge(&request, StatusCode::OK, &headers(answer), *RECEIVED, *RECEIVED, &defaults);
        assert_eq!(words(found, Duration::ZERO), expected, "{answer:?}");
    }
}

#[test]
fn a_request_that_selects_by_too_much_is_answered_alone() {
    let request = format!("GET\norigin: {}", "x".repeat(2_000));
    let found = verdict(&request, 200, "cache-control: max-age=60\nvary: origin", Duration::ZERO);
    assert_eq!(words(found, Duration::ZERO), "alone vary-too-long");
    assert_eq!(words(verdict(&request, 200, "cache-control: max-age=60", Duration::ZERO), Duration::ZERO), "fresh 60");
}

#[test]
fn what_one_request_brought_about_is_not_held_against_its_url() {
    for (reason, of_url) in [
        (Reason::NoStore, true),
        (Reason::Private, true),
        (Reason::SetCookie, true),
        (Reason::Vary, true),
        (Reason::Status, true),
        (Reason::Authorization, false),
        (Reason::Selector, false),
        (Reason::Method, false),
        (Reason::Partial, false),
    ] {
        assert_eq!(reason.is_of_url(), of_url, "{reason:?}");
    }
}
