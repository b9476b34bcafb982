// SPDX-License-Identifier: Apache-2.0
//! The rules of HTTP caching, one row each: what was asked and answered, when, and what a shared cache makes of it.

#![allow(clippy::unwrap_used)]

mod conditions;
mod fields;
mod freshness;
mod properties;
mod revalidation;
mod storing;
mod variants;

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use headwater_shield::semantics::{Defaults, Freshness, RequestHead, Verdict, judge};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tokio::time::Instant;

/// When answers are received in every row: `Sun, 01 Mar 2026 12:00:00 GMT`.
static RECEIVED: LazyLock<(Instant, SystemTime)> = LazyLock::new(|| {
    let wall = httpdate::parse_http_date("Sun, 01 Mar 2026 12:00:00 GMT").unwrap();
    // Far from the beginning of the clock, so that a request can be earlier.
    (Instant::now() + Duration::from_secs(1_000_000), wall)
});

const DEFAULTS: Defaults = Defaults { negative: Duration::from_millis(250), stale_if_error: Duration::from_secs(30) };

/// Fields written one a line, as in a message.
fn headers(lines: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.split('\n').map(str::trim_start).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').expect("a field is written `name: value`");
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, HeaderValue::from_bytes(value.trim_ascii().as_bytes()).unwrap());
    }
    headers
}

/// What becomes of an answer that took `delay` to come.
fn verdict(request: &str, status: u16, answer: &str, delay: Duration) -> Verdict {
    let (method, asked) = request.split_once('\n').unwrap_or((request, ""));
    let method = if method.is_empty() { Method::GET } else { method.parse().unwrap() };
    let asked = headers(asked);
    let head = RequestHead { method: &method, headers: &asked };
    let requested = (RECEIVED.0 - delay, RECEIVED.1 - delay);
    let status = StatusCode::from_u16(status).unwrap();
    judge(&head, status, &headers(answer), requested, *RECEIVED, &DEFAULTS)
}

/// A verdict in words: `alone private`, `shared`, `fresh 60`, `stale 2`, `stale 2 while-revalidating if-error`.
fn words(verdict: Verdict, after: Duration) -> String {
    let policy = match verdict {
        Verdict::Alone(reason) => return format!("alone {}", reason.as_str()),
        Verdict::Shared => return "shared".to_owned(),
        Verdict::Kept(policy) => policy,
    };
    match policy.freshness(RECEIVED.0 + after) {
        Freshness::Fresh { ttl } => format!("fresh {}", ttl.as_secs_f64()),
        Freshness::Stale { by, while_revalidating, if_error } => {
            let mut text = format!("stale {}", by.as_secs_f64());
            text.push_str(if while_revalidating { " while-revalidating" } else { "" });
            text.push_str(if if_error { " if-error" } else { "" });
            text
        }
    }
}

/// Fails with every row that is not as expected: what was asked, what was found, what was expected.
fn rows<'a>(rows: impl Iterator<Item = (String, String, &'a str)>) {
    let wrong: Vec<String> = rows
        .filter(|(_, found, expected)| found != expected)
        .map(|(row, found, expected)| format!("{row}: expected {expected:?}, found {found:?}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
