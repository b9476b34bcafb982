// SPDX-License-Identifier: Apache-2.0
//! Which of several answers of one URL a request selects (RFC 9111, 4.1).

use headwater_shield::semantics::selector;

use super::headers;

/// Vary, one request, another, and whether they may have the same answer.
const ROWS: &[(&str, &str, &str, bool)] = &[
    ("", "foo: 1", "foo: 2", true),
    ("foo", "foo: 1", "foo: 1", true),
    ("foo", "foo: 1", "foo: 2", false),
    ("foo", "", "foo: 1", false),
    ("foo", "foo: 1", "", false),
    ("foo", "", "", true),
    ("foo", "foo:", "", false),
    ("Foo", "fOO: 1", "foo: 1", true),
    ("foo", "foo: 1\nother: 2", "other: 3\nfoo: 1", true),
    ("foo, bar", "foo: 1\nbar: 2", "bar: 2\nfoo: 1", true),
    ("foo, bar", "foo: 1\nbar: 2", "foo: 1\nbar: 3", false),
    ("foo, bar", "foo: 1\nbar: 2", "foo: 1", false),
    ("foo, bar, baz", "foo: 1\nbaz: 3", "foo: 1\nbaz: 3", true),
    ("foo, bar, baz", "foo: 1\nbaz: 3", "foo: 3\nbaz: 1", false),
    ("foo\nvary: bar", "foo: 1\nbar: 2", "foo: 1\nbar: 3", false),
    // Values never run into each other.
    ("foo, bar", "foo: 1bar", "foo: 1\nbar: ", false),
    ("foo", "foo: a:b", "foo: a\nfoo: b", false),
    // The same list, written in another way.
    ("foo", "foo: 1, 2", "foo: 1\nfoo: 2", true),
    ("foo", "foo: 1, 2", "foo: 1,2", true),
    ("foo", "foo: 1,  2", "foo: 1 ,2", true),
    ("foo", "foo: 1, 2", "foo: 2, 1", false),
    ("foo", "foo: \"1, 2\"", "foo: \"1,2\"", false),
    // Of Accept-Encoding it counts whether gzip may be sent.
    ("accept-encoding", "accept-encoding: gzip", "accept-encoding: gzip, deflate, br", true),
    ("accept-encoding", "accept-encoding: br, GZIP;q=0.5", "accept-encoding: gzip", true),
    ("accept-encoding", "accept-encoding: br", "", true),
    ("accept-encoding", "accept-encoding: gzip;q=0", "", true),
    ("accept-encoding", "accept-encoding: gzip", "", false),
    ("accept-encoding, foo", "accept-encoding: gzip\nfoo: 1", "accept-encoding: gzip\nfoo: 2", false),
];

#[test]
fn a_variant_is_for_requests_that_are_alike_in_what_it_varies_by() {
    for (vary, one, other, alike) in ROWS {
        let answer = if vary.is_empty() { headers("") } else { headers(&format!("vary: {vary}")) };
        let (one_key, other_key) = (selector(&answer, &headers(one)), selector(&answer, &headers(other)));
        assert!(one_key.is_some() && other_key.is_some(), "{vary:?}");
        assert_eq!(one_key == other_key, *alike, "{vary:?}: {one:?} and {other:?}");
    }
}

#[test]
fn the_order_of_names_in_vary_says_nothing() {
    let request = headers("foo: 1\nbar: 2");
    let of = |vary: &str| selector(&headers(vary), &request);
    assert_eq!(of("vary: foo, bar"), of("vary: bar\nvary: Foo, bar"));
    assert_ne!(of("vary: foo, bar"), of("vary: foo"));
}

#[test]
fn nothing_selects_what_varies_by_everything() {
    for vary in ["*", "foo, *", "*, foo", "no name"] {
        assert_eq!(selector(&headers(&format!("vary: {vary}")), &headers("foo: 1")), None, "{vary}");
    }
}

#[test]
fn a_selector_has_a_bound() {
    let long = format!("foo: {}", "x".repeat(2_000));
    assert_eq!(selector(&headers("vary: foo"), &headers(&long)), None);
}
