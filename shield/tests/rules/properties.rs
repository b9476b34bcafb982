// SPDX-License-Identifier: Apache-2.0
//! What holds for any bytes at all.

use std::time::Duration;

use headwater_shield::semantics::{
    Freshness, Outcome, RequestHead, Stored, Verdict, conditional, fields, judge, merge, outcome, selector,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::{DEFAULTS, RECEIVED};

const NAMES: &[&str] = &[
    "age",
    "authorization",
    "cache-control",
    "cdn-cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expires",
    "headwater-cache-control",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "range",
    "set-cookie",
    "vary",
    "x",
];

/// Words that the rules know, and any bytes between them.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let known = select(vec![
        "max-age=",
        "s-maxage=",
        "0.5",
        "7",
        "-1",
        "99999999999999999999",
        "no-store",
        "no-cache",
        "private",
        "public",
        "must-revalidate",
        "stale-while-revalidate=",
        "stale-if-error=",
        ", ",
        ",",
        ";",
        "=",
        "\"",
        "\\",
        "*",
        "W/",
        "\"a\"",
        "\"b\"",
        "bytes=",
        "-",
        "x",
        "accept-encoding",
        "content-length",
        "Sun, 01 Mar 2026 12:00:00 GMT",
        "Sun, 01 Mar 2020 12:00:00 GMT",
        "http://a.example/",
        "/",
        "..",
        "(",
        ")",
        "?0",
        ":",
    ]);
    let piece = prop_oneof![8 => known.prop_map(|s| s.as_bytes().to_vec()), 1 => vec(any::<u8>(), 0..4)];
    vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

fn head() -> impl Strategy<Value = HeaderMap> {
    vec((select(NAMES), value()), 0..6).prop_map(|lines| {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            // Other bytes never come through the parser of a message.
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                headers.append(HeaderName::from_static(name), value);
            }
        }
        headers
    })
}

fn described(headers: &HeaderMap) -> Vec<(&'static str, Vec<HeaderValue>)> {
    let of_body = ["content-length", "content-encoding", "content-type", "content-range", "etag"];
    of_body.iter().map(|name| (*name, headers.get_all(*name).iter().cloned().collect())).collect()
}

proptest! {
    #[test]
    fn any_answer_has_a_verdict_and_its_age_only_grows(
        asked in head(), answer in head(), status in 100_u16..600, delay_ms in 0_u64..10_000, steps_ms in vec(0_u64..100_000, 1..5),
    ) {
        let request = RequestHead { method: &Method::GET, headers: &asked };
        let delay = Duration::from_millis(delay_ms);
        let requested = (RECEIVED.0 - delay, RECEIVED.1 - delay);
        let status = StatusCode::from_u16(status).unwrap();
        let Verdict::Kept(policy) = judge(&request, status, &answer, requested, *RECEIVED, &DEFAULTS) else { return Ok(()) };
        let mut now = RECEIVED.0;
        let (mut age, mut was_stale) = (policy.age(now), false);
        for step_ms in steps_ms {
            now += Duration::from_millis(step_ms);
            prop_assert_eq!(policy.age(now), age + Duration::from_millis(step_ms));
            age = policy.age(now);
            match policy.freshness(now) {
                Freshness::Fresh { ttl } => {
                    prop_assert!(!was_stale && !ttl.is_zero());
                    prop_assert_eq!(age + ttl, policy.lifetime());
                }
                Freshness::Stale { by, while_revalidating, if_error } => {
                    was_stale = true;
                    prop_assert_eq!(age - by, policy.lifetime());
                    prop_assert!(now < policy.useless_at() || !while_revalidating && !if_error);
                }
            }
            let purged = matches!(policy.expired(now).freshness(now), Freshness::Stale { .. });
            prop_assert!(purged);
        }
    }

    #[test]
    fn a_304_never_changes_what_is_said_of_the_body(stored in head(), answer in head()) {
        let mut merged = stored.clone();
        match merge(&mut merged, &answer, RECEIVED.1) {
            Ok(()) => prop_assert_eq!(described(&merged), described(&stored)),
            Err(_) => prop_assert_eq!(&merged, &stored),
        }
        let mut again = merged.clone();
        if merge(&mut again, &answer, RECEIVED.1).is_ok() {
            prop_assert_eq!(again, merged);
        }
    }

    #[test]
    fn any_request_has_an_outcome_within_the_body(asked in head(), stored in head(), length_bytes in 0_u64..1_000) {
        let request = RequestHead { method: &Method::GET, headers: &asked };
        let known = Stored { status: StatusCode::OK, headers: &stored, length_bytes: Some(length_bytes) };
        if let Outcome::Part { first, last } = outcome(&request, &known) {
            prop_assert!(first <= last && last < length_bytes);
        }
        // A body that is still growing answers the same conditions.
        let growing = Stored { length_bytes: None, ..known };
        prop_assert_eq!(
            outcome(&request, &known) == Outcome::NotModified,
            outcome(&request, &growing) == Outcome::NotModified
        );
    }

    #[test]
    fn an_answer_that_is_asked_for_again_by_its_tag_has_not_changed(tag in "(W/)?\"[a-z ,]{0,8}\"") {
        let mut stored = HeaderMap::new();
        stored.insert("etag", HeaderValue::from_str(&tag).unwrap());
        let mut asked = HeaderMap::new();
        prop_assert!(conditional(&stored, &mut asked));
        let request = RequestHead { method: &Method::GET, headers: &asked };
        let stored = Stored { status: StatusCode::OK, headers: &stored, length_bytes: Some(1) };
        prop_assert_eq!(outcome(&request, &stored), Outcome::NotModified);
    }

    #[test]
    fn a_request_selects_what_it_selected_before(answer in head(), asked in head()) {
        prop_assert_eq!(selector(&answer, &asked), selector(&answer, &asked.clone()));
        // What goes upstream selects the same variant as the client's own request.
        let sent = fields::for_origin(&asked);
        if answer.get("vary").is_some_and(|vary| vary == "accept-encoding") {
            prop_assert_eq!(selector(&answer, &sent), selector(&answer, &asked));
        }
    }
}
