// SPDX-License-Identifier: Apache-2.0
//! How long an answer is fresh, and what it may still do afterwards (RFC 9111, 4.2; RFC 5861; RFC 9213).

use std::time::Duration;

use headwater_shield::semantics::{Policy, Verdict};
use tokio::time::Instant;

use super::{RECEIVED, rows, verdict, words};

/// Answer, milliseconds after its receipt, what it may be used for.
const ROWS: &[(&str, u64, &str)] = &[
    // max-age and s-maxage.
    ("cache-control: max-age=2", 1_999, "fresh 0.001"),
    ("cache-control: max-age=2, must-revalidate", 2_000, "stale 0"),
    ("cache-control: max-age=60, s-maxage=5", 0, "fresh 5"),
    ("cache-control: s-maxage=5, max-age=60", 0, "fresh 5"),
    ("cache-control: max-age=60\ncache-control: s-maxage=5", 0, "fresh 5"),
    ("cache-control: max-age=5, s-maxage=60", 0, "fresh 60"),
    ("cache-control: max-age=0, s-maxage=60\nexpires: Sun, 01 Mar 2026 11:00:00 GMT", 0, "fresh 60"),
    ("cache-control: MaX-aGe=60", 0, "fresh 60"),
    ("cache-control: max-age=60, extension=7, other", 0, "fresh 60"),
    // Large and odd numbers.
    ("cache-control: max-age=2147483647", 0, "fresh 2147483647"),
    ("cache-control: max-age=2147483648", 0, "fresh 2147483648"),
    ("cache-control: max-age=2147483649", 0, "fresh 2147483648"),
    ("cache-control: max-age=99999999999999999999999", 0, "fresh 2147483648"),
    ("cache-control: max-age=003600", 0, "fresh 3600"),
    ("cache-control: max-age=\"60\"", 0, "fresh 60"),
    ("cache-control: max-age = 60", 0, "fresh 60"),
    // What is no number makes the answer stale (RFC 9111, 4.2.1).
    ("cache-control: max-age=-60\netag: \"a\"", 0, "stale 0 if-error"),
    ("cache-control: max-age='60'\netag: \"a\"", 0, "stale 0 if-error"),
    ("cache-control: max-age=60.0\netag: \"a\"", 0, "stale 0 if-error"),
    ("cache-control: max-age=60.5\netag: \"a\"", 0, "stale 0 if-error"),
    ("cache-control: max-age=a60\netag: \"a\"", 0, "stale 0 if-error"),
    ("cache-control: max-age=60a\netag: \"a\"", 0, "stale 0 if-error"),
    ("cache-control: max-age=+60\netag: \"a\"", 0, "stale 0 if-error"),
    ("cache-control: max-age=\netag: \"a\"", 0, "stale 0 if-error"),
    ("cache-control: max-age\netag: \"a\"", 0, "stale 0 if-error"),
    ("cache-control: max-age=\"60\netag: \"a\"", 0, "stale 0 if-error"),
    ("cache-control: s-maxage=x, max-age=60\netag: \"a\"", 0, "stale 0"),
    // Of several the smallest counts, wherever it stands.
    ("cache-control: max-age=60, max-age=1", 0, "fresh 1"),
    ("cache-control: max-age=1, max-age=60", 0, "fresh 1"),
    ("cache-control: max-age=60\ncache-control: max-age=1", 0, "fresh 1"),
    ("cache-control: max-age=1\ncache-control: max-age=60", 0, "fresh 1"),
    ("cache-control: extension=\"max-age=60, x\", max-age=1", 0, "fresh 1"),
    ("cache-control: max-age=1, extension=\"max-age=60\"", 0, "fresh 1"),
    // Age.
    ("cache-control: max-age=60\nage: 20", 0, "fresh 40"),
    ("cache-control: max-age=60\nage: 20", 39_999, "fresh 0.001"),
    ("cache-control: max-age=60\nage: 90\netag: \"a\"", 0, "stale 30"),
    ("cache-control: max-age=60\nage: 89", 0, "stale 29 if-error"),
    ("cache-control: max-age=60\nage: x", 0, "fresh 60"),
    ("cache-control: max-age=60\nage: -20", 0, "fresh 60"),
    ("cache-control: max-age=60\nage: 20.5", 0, "fresh 60"),
    ("cache-control: max-age=60\nage: +20", 0, "fresh 60"),
    ("cache-control: max-age=60\nage: 80, 0", 0, "stale 20 if-error"),
    ("cache-control: max-age=60\nage: 0, 80", 0, "fresh 60"),
    ("cache-control: max-age=60\nage: 80\nage: 0", 0, "stale 20 if-error"),
    ("cache-control: max-age=60\nage: 0\nage: 80", 0, "fresh 60"),
    ("cache-control: max-age=60\nage: 2147483647\netag: \"a\"", 0, "stale 2147483587"),
    ("cache-control: max-age=60\nage: 2147483648\netag: \"a\"", 0, "stale 2147483588"),
    ("cache-control: max-age=60\nage: 99999999999999999999999\netag: \"a\"", 0, "stale 2147483588"),
    ("cache-control: max-age=2147483648\nage: 2147483648\netag: \"a\"", 0, "stale 0 if-error"),
    // A Date far off makes nothing stale and nothing immortal.
    ("cache-control: max-age=60\ndate: Sun, 01 Mar 2020 12:00:00 GMT", 0, "fresh 60"),
    ("cache-control: max-age=60\ndate: Sun, 01 Mar 2037 12:00:00 GMT", 0, "fresh 60"),
    ("cache-control: max-age=60\ndate: yesterday", 0, "fresh 60"),
    // Expires.
    ("expires: Sun, 01 Mar 2026 12:01:00 GMT", 0, "fresh 60"),
    ("expires: Sun, 01 Mar 2026 12:01:00 GMT\ndate: Sun, 01 Mar 2026 12:00:30 GMT", 0, "fresh 30"),
    ("expires: Sun, 01 Mar 2026 12:01:00 GMT\ndate: no date", 0, "fresh 60"),
    ("expires: Sun, 01 Mar 2026 11:00:00 GMT\netag: \"a\"", 0, "stale 0 if-error"),
    ("expires: Sun, 01 Mar 2026 12:00:00 GMT\netag: \"a\"", 0, "stale 0 if-error"),
    ("expires: Sun, 01 Mar 2026 12:05:00 GMT\ndate: Sun, 01 Mar 2026 12:10:00 GMT\netag: \"a\"", 0, "stale 0 if-error"),
    ("expires: Sun, 01 Mar 2026 11:01:00 GMT\ndate: Sun, 01 Mar 2026 11:00:00 GMT", 0, "fresh 60"),
    ("expires: Sun, 01 Mar 2026 12:01:00 GMT\ndate: Sun, 01 Mar 2026 12:00:00 GMT\nage: 50", 0, "fresh 10"),
    ("expires: Sunday, 01-Mar-26 12:01:00 GMT", 0, "fresh 60"),
    ("expires: Sun Mar  1 12:01:00 2026", 0, "fresh 60"),
    ("expires: Fri, 31 Dec 9999 23:59:59 GMT", 0, "fresh 2147483648"),
    ("expires: 0\netag: \"a\"", 0, "stale 0 if-error"),
    ("expires: -1\netag: \"a\"", 0, "stale 0 if-error"),
    ("expires: Sun, 01 Mar 2026 12:01:00 UTC\netag: \"a\"", 0, "stale 0 if-error"),
    ("expires: Sun, 01 Mar 26 12:01:00 GMT\netag: \"a\"", 0, "stale 0 if-error"),
    ("expires: Sun 01 Mar 2026 12:01:00 GMT\netag: \"a\"", 0, "stale 0 if-error"),
    (
        "expires: Sun, 01 Mar 2026 12:01:00 GMT\nexpires: Sun, 01 Mar 2026 12:01:00 GMT\netag: \"a\"",
        0,
        "stale 0 if-error",
    ),
    ("cache-control: max-age=60\nexpires: Sun, 01 Mar 2026 11:00:00 GMT", 0, "fresh 60"),
    ("cache-control: max-age=60\nexpires: 0", 0, "fresh 60"),
    ("cache-control: max-age=0\nexpires: Sun, 01 Mar 2026 13:00:00 GMT\netag: \"a\"", 0, "stale 0 if-error"),
    // Stale windows (RFC 5861).
    (
        "cache-control: max-age=1, stale-while-revalidate=2, stale-if-error=4",
        2_999,
        "stale 1.999 while-revalidating if-error",
    ),
    ("cache-control: max-age=1, stale-while-revalidate=2, stale-if-error=4", 3_000, "stale 2 if-error"),
    ("cache-control: max-age=1, stale-while-revalidate=2, stale-if-error=4", 5_000, "stale 4"),
    ("cache-control: max-age=1, stale-while-revalidate=x", 1_000, "stale 0 if-error"),
    ("cache-control: max-age=1, stale-if-error=0", 1_000, "stale 0"),
    ("cache-control: max-age=1", 30_999, "stale 29.999 if-error"),
    ("cache-control: max-age=1", 31_000, "stale 30"),
    ("cache-control: max-age=1, must-revalidate, stale-while-revalidate=9, stale-if-error=9", 1_000, "stale 0"),
    ("cache-control: max-age=1, proxy-revalidate, stale-while-revalidate=9, stale-if-error=9", 1_000, "stale 0"),
    ("cache-control: max-age=1, no-cache, stale-while-revalidate=9\netag: \"a\"", 1_000, "stale 1"),
    ("cache-control: s-maxage=1", 1_000, "stale 0"),
    ("cache-control: s-maxage=1, stale-while-revalidate=9", 1_000, "stale 0 while-revalidating"),
    ("cache-control: max-age=1, immutable, stale-if-error=0", 1_000, "stale 0"),
    // Targeted fields (RFC 9213): alone they decide, and an invalid one is none.
    ("cdn-cache-control: max-age=60", 0, "fresh 60"),
    ("cdn-cache-control: max-age=99999999999", 0, "fresh 2147483648"),
    ("cdn-cache-control: max-age=60, extension=1", 0, "fresh 60"),
    ("cdn-cache-control: max-age=60\ncache-control: max-age=1", 0, "fresh 60"),
    ("cdn-cache-control: max-age=1\ncache-control: max-age=60", 0, "fresh 1"),
    ("cdn-cache-control: max-age=60\ncache-control: no-store", 0, "fresh 60"),
    ("cdn-cache-control: max-age=60\nexpires: 0", 0, "fresh 60"),
    ("cdn-cache-control: max-age=0\nexpires: Sun, 01 Mar 2026 13:00:00 GMT\netag: \"a\"", 0, "stale 0 if-error"),
    ("cdn-cache-control: no-store\ncache-control: max-age=60", 0, "alone no-store"),
    ("cdn-cache-control: private\ncache-control: max-age=60", 0, "alone private"),
    ("cdn-cache-control: no-cache\ncache-control: max-age=60\netag: \"a\"", 0, "stale 0"),
    ("cdn-cache-control: no-store=?0, max-age=60", 0, "fresh 60"),
    ("cdn-cache-control: max-age=60\nage: 90\netag: \"a\"", 0, "stale 30"),
    ("cdn-cache-control: max-age=60, &&&\ncache-control: no-store", 0, "alone no-store"),
    ("cdn-cache-control: max-age=\"60\"\ncache-control: no-store", 0, "alone no-store"),
    ("cdn-cache-control: MaX-aGe=60\ncache-control: max-age=1", 0, "fresh 1"),
    ("cdn-cache-control: max-age =60\ncache-control: max-age=1", 0, "fresh 1"),
    ("cdn-cache-control:\ncache-control: max-age=1", 0, "fresh 1"),
    ("cdn-cache-control: extension\ncache-control: max-age=1", 0, "stale 0 if-error"),
    ("headwater-cache-control: max-age=0.500\ncache-control: public, max-age=0", 499, "fresh 0.001"),
    ("headwater-cache-control: max-age=0.5\ncdn-cache-control: max-age=9", 0, "fresh 0.5"),
    (
        "headwater-cache-control: max-age=1.25, stale-while-revalidate=0.5",
        1_749,
        "stale 0.499 while-revalidating if-error",
    ),
    ("headwater-cache-control: max-age=-0.5\netag: \"a\"", 0, "stale 0 if-error"),
    ("headwater-cache-control: max-age=0.1234\ncache-control: max-age=1", 0, "fresh 1"),
];

#[test]
fn an_answer_lives_as_long_as_it_says() {
    rows(ROWS.iter().map(|(answer, after_ms, expected)| {
        let found = words(verdict("GET", 200, answer, Duration::ZERO), Duration::from_millis(*after_ms));
        (format!("{answer:?} after {after_ms} ms"), found, *expected)
    }));
}

/// Answer to a request that took ten seconds; its age at arrival in milliseconds.
const DELAYED: &[(&str, u64)] = &[
    // Nothing tells when it was made: at once, for all that is known.
    ("", 10_000),
    ("date: no date", 10_000),
    ("date: Sun, 01 Mar 2026 11:59:49 GMT", 10_000),
    // A clock that is behind says no more than that.
    ("date: Sun, 01 Mar 2020 12:00:00 GMT", 10_000),
    // Made while the request waited: an origin that holds a request for what comes next.
    ("date: Sun, 01 Mar 2026 11:59:55 GMT", 4_000),
    ("date: Sun, 01 Mar 2026 11:59:59 GMT", 0),
    ("date: Sun, 01 Mar 2026 12:00:00 GMT", 0),
    // A clock that is ahead takes away no more than the delay.
    ("date: Sun, 01 Mar 2037 12:00:00 GMT", 0),
    // A cache on the way has told its part; the delay comes on top.
    ("age: 0\ndate: Sun, 01 Mar 2026 12:00:00 GMT", 10_000),
    ("age: 7", 17_000),
    ("age: x", 10_000),
];

#[test]
fn the_delay_of_an_answer_counts_unless_its_date_says_otherwise() {
    for (answer, age_ms) in DELAYED {
        let answer = format!("cache-control: max-age=60\n{answer}");
        let Verdict::Kept(policy) = verdict("GET", 200, &answer, Duration::from_secs(10)) else { panic!("{answer}") };
        assert_eq!(policy.age(RECEIVED.0), Duration::from_millis(*age_ms), "{answer:?}");
        let later = RECEIVED.0 + Duration::from_secs(5);
        assert_eq!(policy.age(later), Duration::from_millis(age_ms + 5_000), "{answer:?}");
    }
}

#[test]
fn a_default_for_failing_origins_is_not_for_errors() {
    let found = words(verdict("GET", 404, "", Duration::ZERO), Duration::from_millis(250));
    assert_eq!(found, "stale 0");
}

#[test]
fn a_policy_can_be_made_shorter() {
    let Verdict::Kept(policy) = verdict("GET", 200, "cache-control: max-age=60\nage: 20", Duration::ZERO) else {
        panic!("a lifetime is kept");
    };
    let at = |ms| RECEIVED.0 + Duration::from_millis(ms);
    let capped = policy.at_most(Duration::from_millis(500));
    assert_eq!(words(Verdict::Kept(capped), Duration::from_millis(499)), "fresh 0.001");
    assert_eq!(words(Verdict::Kept(capped), Duration::from_millis(500)), "stale 0 if-error");
    assert_eq!(policy.at_most(Duration::from_secs(90)), policy);
    let purged = policy.expired(at(1_000));
    assert_eq!(words(Verdict::Kept(purged), Duration::from_secs(1)), "stale 0 if-error");
    assert_eq!(purged.useless_at(), at(31_000));
    assert_eq!(purged.expired(at(2_000)), purged);
}

#[test]
fn what_is_made_here_is_fresh_from_its_receipt_on() {
    let now = Instant::now();
    let policy = Policy::new(now, Duration::from_millis(1_500));
    assert_eq!(policy.lifetime(), Duration::from_millis(1_500));
    assert_eq!(policy.useless_at(), now + Duration::from_millis(1_500));
    assert_eq!(policy.age(now), Duration::ZERO);
}

#[test]
fn directives_that_hits_do_not_ask_for_are_told() {
    let kept = |answer: &str| match verdict("GET", 200, answer, Duration::ZERO) {
        Verdict::Kept(policy) => policy,
        other => panic!("{answer}: {other:?}"),
    };
    assert!(kept("cache-control: max-age=60, immutable").is_immutable());
    assert!(!kept("cache-control: max-age=60").is_immutable());
    assert!(kept("cache-control: no-cache\netag: \"a\"").must_validate());
    assert!(!kept("cache-control: max-age=0\netag: \"a\"").must_validate());
}
