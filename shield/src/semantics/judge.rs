// SPDX-License-Identifier: Apache-2.0
//! What a shared cache may do with an answer (RFC 9111, 3).

use std::time::{Duration, SystemTime};

use http::header::{AGE, AUTHORIZATION, DATE, ETAG, EXPIRES, LAST_MODIFIED, SET_COOKIE};
use http::{HeaderMap, Method, StatusCode};
use tokio::time::Instant;

use super::directives::{self, Directives};
use super::policy::milliseconds;
use super::{Policy, RequestHead, fields, vary};

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
    /// What the request sent in the fields of Vary is too long to be remembered.
    Selector,
}

impl Reason {
    /// True if it is the URL's, whoever asks: worth remembering. What one request brought about by what it sent must not
    /// keep others from sharing.
    pub const fn is_of_url(self) -> bool {
        matches!(self, Self::Status | Self::NoStore | Self::Private | Self::SetCookie | Self::Vary)
    }

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
            Self::Selector => "vary-too-long",
        }
    }
}

/// Judges an answer; `requested` is when its request was sent, `received` when its head was here.
///
/// An answer to HEAD is judged like one to GET; that it has no body is for the caller to know.
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
        // Those who wait for a sick origin are not to ask it once more each.
        let sick = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
        return if sick { Verdict::Shared } else { Verdict::Alone(Reason::Status) };
    };
    let (while_revalidating_ms, if_error_ms) = windows_ms(status, &said, defaults);
    let policy = Policy {
        received: received.0,
        initial_age_ms: initial_age_ms(headers, requested.0, received),
        lifetime_ms: if said.no_cache { 0 } else { lifetime_ms },
        while_revalidating_ms,
        if_error_ms,
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
    if status.is_informational() || said.must_understand && !is_understood(status) {
        return Some(Reason::Status);
    }
    if said.no_store && !said.must_understand {
        return Some(Reason::NoStore);
    }
    if said.private {
        return Some(Reason::Private);
    }
    let permitted = said.public || said.must_revalidate || said.s_maxage_ms.is_some();
    if request.headers.contains_key(AUTHORIZATION) && !permitted {
        return Some(Reason::Authorization);
    }
    if headers.contains_key(SET_COOKIE) {
        return Some(Reason::SetCookie);
    }
    if vary::selects_nothing(headers) {
        return Some(Reason::Vary);
    }
    vary::selector(headers, request.headers).is_none().then_some(Reason::Selector)
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
    let (Some(_), None) = (values.next(), values.next()) else { return 0 };
    let Some(expires) = fields::date(headers, &EXPIRES) else { return 0 };
    let made = fields::date(headers, &DATE).unwrap_or(received);
    milliseconds(expires.duration_since(made).unwrap_or_default()).min(directives::SECONDS_MAX * 1_000)
}

/// How long a stale answer may be served, while the origin is asked and when it fails.
///
/// `s-maxage` includes `proxy-revalidate` (RFC 9111, 5.2.2.10), which forbids both. Where an origin writes a window
/// beside it, it means the window, as CDNs read it; only the default of the configuration yields.
fn windows_ms(status: StatusCode, said: &Directives, defaults: &Defaults) -> (u64, u64) {
    if said.no_cache || said.must_revalidate || said.proxy_revalidate {
        return (0, 0);
    }
    let default =
        if said.s_maxage_ms.is_none() && status.is_success() { defaults.stale_if_error } else { Duration::ZERO };
    (said.while_revalidating_ms.unwrap_or(0), said.if_error_ms.unwrap_or(milliseconds(default)))
}

/// Age at arrival: what Age says, and the delay of the answer (`corrected_age_value` of RFC 9111, 4.2.3).
///
/// Date is not held against our clock to make the answer older (`apparent_age`, optional since RFC 9111): one wrong
/// clock would make everything stale. It only makes it younger, by the delay at most: an answer that no cache had, and
/// that was made after the request was sent, spent the time before in waiting for what it tells of. A request that the
/// origin holds until there is something new would get an answer that is stale on arrival otherwise.
fn initial_age_ms(headers: &HeaderMap, requested: Instant, received: (Instant, SystemTime)) -> u64 {
    let delay = received.0.saturating_duration_since(requested);
    if let Some(age) = headers.get(AGE) {
        let first = fields::list(age.as_bytes()).next().and_then(fields::seconds).unwrap_or(0);
        return milliseconds(delay).saturating_add(first.min(directives::SECONDS_MAX) * 1_000);
    }
    // Date has whole seconds: the answer was made at the end of its second at the latest.
    let since_made = fields::date(headers, &DATE)
        .and_then(|made| made.checked_add(Duration::from_secs(1)))
        .map_or(delay, |made| received.1.duration_since(made).unwrap_or_default());
    milliseconds(delay.min(since_made))
}

/// Statuses whose meaning for a cache is known here (RFC 9110, 15).
fn is_understood(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 300..=303 | 307 | 308 | 400..=405 | 410 | 414 | 451 | 500..=504)
}
