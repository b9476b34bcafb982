// SPDX-License-Identifier: Apache-2.0
//! What a shared cache may do with an answer (RFC 9111, 3).

use std::time::{Duration, SystemTime};

use http::header::{AGE, AUTHORIZATION, DATE, ETAG, EXPIRES, LAST_MODIFIED, SET_COOKIE, VARY};
use http::{HeaderMap, Method, StatusCode};
use tokio::time::Instant;

use super::directives::{self, Directives};
use super::{Policy, RequestHead};

/// What of the configuration the rules need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    /// How long an error without a lifetime of its own is kept.
    pub negative: Duration,
    /// How long a stale answer may stand in for a failing origin, where the answer does not say.
    pub stale_if_error: Duration,
}

/// What a shared cache may do with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may be stored and used again.
    Kept(Policy),
    /// It answers those who asked before it came, and nobody later: it has no lifetime and nothing to validate it by.
    Shared,
    /// It is for the one client that it was made for.
    Alone(Reason),
}

/// Why an answer is shared with nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Neither GET nor HEAD.
    Method,
    /// A part of a body (206), or 304 to a condition of the client's own.
    Partial,
    /// A status that is not cacheable of itself, without an explicit lifetime.
    Status,
    /// `no-store`.
    NoStore,
    /// `private`.
    Private,
    /// The request was authorized and the answer does not say that others may have it (RFC 9111, 3.5).
    Authorization,
    /// It sets a cookie: a session would be everybody's.
    SetCookie,
    /// `Vary: *`: it depends on what no request says.
    Vary,
}

impl Reason {
    /// As `detail` of Cache-Status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Partial => "partial",
            Self::Status => "status",
            Self::NoStore => "no-store",
            Self::Private => "private",
            Self::Authorization => "authorization",
            Self::SetCookie => "set-cookie",
            Self::Vary => "vary",
        }
    }
}

/// Judges an answer; `requested` is when its request was sent, `received` when its head was here.
pub fn judge(
    request: &RequestHead<'_>,
    status: StatusCode,
    headers: &HeaderMap,
    requested: (Instant, SystemTime),
    received: (Instant, SystemTime),
    defaults: &Defaults,
) -> Verdict {
    let said = directives::of_answer(headers);
    if let Some(reason) = forbidden(request, status, headers, &said) {
        return Verdict::Alone(reason);
    }
    let Some(lifetime_ms) = lifetime_ms(status, headers, &said, received.1, defaults) else {
        return if is_failure(status) { Verdict::Shared } else { Verdict::Alone(Reason::Status) };
    };
    let lifetime_ms = if said.no_cache { 0 } else { lifetime_ms };
    let strict = said.no_cache || said.must_revalidate || said.proxy_revalidate;
    let window = |said_ms: Option<u64>, default: u64| if strict { 0 } else { said_ms.unwrap_or(default) };
    let default_if_error = if said.s_maxage_ms.is_some() { 0 } else { milliseconds(defaults.stale_if_error) };
    let policy = Policy {
        received: received.0,
        initial_age_ms: initial_age_ms(headers, requested.0, received),
        lifetime_ms,
        while_revalidating_ms: window(said.while_revalidating_ms, 0),
        if_error_ms: window(said.if_error_ms, default_if_error),
        validate_always: said.no_cache,
        immutable: said.immutable,
    };
    let validator = headers.contains_key(ETAG) || headers.contains_key(LAST_MODIFIED);
    if validator || policy.useless_at() > received.0 { Verdict::Kept(policy) } else { Verdict::Shared }
}

/// A status that says the origin failed, not the request (RFC 5861, 4).
pub fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

fn forbidden(request: &RequestHead<'_>, status: StatusCode, headers: &HeaderMap, said: &Directives) -> Option<Reason> {
    if !matches!(*request.method, Method::GET | Method::HEAD) {
        return Some(Reason::Method);
    }
    if matches!(status, StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED) {
        return Some(Reason::Partial);
    }
    // `must-understand` undoes the `no-store` beside it, for a status that is known here (RFC 9111, 5.2.2.3).
    if said.no_store && !(said.must_understand && is_understood(status)) {
        return Some(Reason::NoStore);
    }
    if said.must_understand && !is_understood(status) {
        return Some(Reason::Status);
    }
    if said.private {
        return Some(Reason::Private);
    }
    if request.headers.contains_key(AUTHORIZATION)
        && !(said.public || said.must_revalidate || said.s_maxage_ms.is_some())
    {
        return Some(Reason::Authorization);
    }
    if headers.contains_key(SET_COOKIE) {
        return Some(Reason::SetCookie);
    }
    let any = headers.get_all(VARY).iter().any(|v| v.as_bytes().split(|b| *b == b',').any(|n| n.trim_ascii() == b"*"));
    any.then_some(Reason::Vary)
}

/// How long the answer lives; none: it does not say, and its status does not let it be stored without.
fn lifetime_ms(
    status: StatusCode,
    headers: &HeaderMap,
    said: &Directives,
    received: SystemTime,
    defaults: &Defaults,
) -> Option<u64> {
    if let Some(ms) = said.s_maxage_ms.or(said.max_age_ms) {
        return Some(ms);
    }
    if !said.targeted && headers.contains_key(EXPIRES) {
        return Some(expires_ms(headers, received));
    }
    match status.as_u16() {
        404 | 405 | 410 | 414 | 501 => Some(milliseconds(defaults.negative)),
        200 | 203 | 204 | 300 | 301 | 308 => Some(0),
        _ => said.public.then_some(0),
    }
}

/// Expires against Date (RFC 9111, 4.2.1); an invalid or repeated one is in the past (5.3).
fn expires_ms(headers: &HeaderMap, received: SystemTime) -> u64 {
    let mut values = headers.get_all(EXPIRES).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return 0 };
    let Some(expires) = value.to_str().ok().and_then(|t| httpdate::parse_http_date(t).ok()) else { return 0 };
    let date = date(headers).unwrap_or(received);
    milliseconds(expires.duration_since(date).unwrap_or_default())
}

/// Age at arrival (RFC 9111, 4.2.3): what Age says, and the delay of the answer.
fn initial_age_ms(headers: &HeaderMap, requested: Instant, received: (Instant, SystemTime)) -> u64 {
    let text = headers.get(AGE).and_then(|v| v.to_str().ok()).unwrap_or("0");
    let age = text.split(',').next().and_then(|t| t.trim().parse::<u64>().ok()).unwrap_or(0).min(1 << 31);
    let delay = milliseconds(received.0.saturating_duration_since(requested));
    let _ = date(headers);
    age * 1_000 + delay
}

fn date(headers: &HeaderMap) -> Option<SystemTime> {
    headers.get(DATE).and_then(|v| v.to_str().ok()).and_then(|t| httpdate::parse_http_date(t).ok())
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Statuses whose meaning for a cache is known here (RFC 9110, 15).
fn is_understood(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 300..=303 | 307 | 308 | 400..=405 | 410 | 414 | 451 | 500..=504)
}
