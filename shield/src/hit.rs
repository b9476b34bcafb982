// SPDX-License-Identifier: Apache-2.0
//! The short way of a hit: what is held, whole and fresh leaves with its request's read, without a task or a map of
//! fields of its own.
//!
//! Whatever needs a second thought (a range, a condition, a body that is still arriving) takes the long way, which
//! answers these requests alike.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use headwater_net::h1::{Answer, Head, Prepared};
use http::header::{ACCEPT_ENCODING, AGE, HOST, VARY};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Response};
use tokio::time::Instant;

use crate::cmsd::DYNAMIC;
use crate::guard::hygiene;
use crate::handler::{KEY, Target};
use crate::metrics::Outcome;
use crate::object::Object;
use crate::route::Route;
use crate::semantics::cache_status::{self, CACHE_STATUS, Handling};
use crate::semantics::{Freshness, fields};
use crate::upstream::CDN_LOOP;
use crate::whole::Whole;
use crate::{Shield, State, gate};

/// Writes the answer if it is a plain hit.
pub(crate) fn hit(shield: &Shield, head: &Head<'_>, answer: &mut Answer<'_>) -> bool {
    if !matches!(*head.method(), Method::GET | Method::HEAD) || head.fields().any(|(name, _)| needs_thought(name)) {
        return false;
    }
    let target = Target { host: head.host(), path: head.path(), query: head.query().unwrap_or("") };
    let state = shield.state();
    let Some(Found { route, object, whole, ttl, now }) = find(shield, &state, target, || head.field("accept-encoding"))
    else {
        return false;
    };
    answer.prepared(object.prepared.get_or_init(|| Prepared::new(object.status, &object.headers)));
    answer.text(&AGE, format_args!("{}", object.policy.age(now).as_secs()));
    answer.field(&CACHE_STATUS, &cache_status::render(&Handling::Hit { ttl }, None));
    if state.says_load(route) {
        answer.field(&DYNAMIC, &shield.cmsd.said().hit);
    }
    for piece in whole.pieces() {
        answer.body(piece.clone());
    }
    let sent_bytes = if *head.method() == Method::HEAD { 0 } else { whole.length_bytes() };
    count(route, target, &object, sent_bytes);
    true
}

/// The same for a request that others have read: of HTTP/2.
pub(crate) fn response(shield: &Shield, request: &Parts) -> Option<Response<Body>> {
    let plain = request.method == Method::GET && !request.headers.contains_key(HOST);
    if !plain || request.headers.keys().any(|name| needs_thought(name.as_str())) {
        return None;
    }
    let host = request.uri.authority().map(Authority::as_str).filter(|host| !host.contains('@'))?;
    let target = Target { host, path: request.uri.path(), query: request.uri.query().unwrap_or("") };
    let state = shield.state();
    let coding = || request.headers.get(ACCEPT_ENCODING).map(HeaderValue::as_bytes);
    let Found { route, object, whole, ttl, now } = find(shield, &state, target, coding)?;
    let mut response = Response::new(whole.body(0, None));
    *response.status_mut() = object.status;
    let mut headers = object.headers.clone();
    fields::insert_age(&mut headers, object.policy.age(now));
    cache_status::append(&mut headers, &Handling::Hit { ttl }, None);
    if state.says_load(route) {
        shield.cmsd.append(&mut headers, Duration::ZERO);
    }
    *response.headers_mut() = headers;
    count(route, target, &object, whole.length_bytes());
    Some(response)
}

/// An answer that is whole and fresh.
struct Found<'a> {
    route: &'a Route,
    object: Arc<Object>,
    whole: Whole,
    ttl: Duration,
    now: Instant,
}

fn find<'a, 'b>(
    shield: &Shield,
    state: &'a State,
    target: Target<'_>,
    coding: impl FnOnce() -> Option<&'b [u8]>,
) -> Option<Found<'a>> {
    let route = state.routes.find(target.host, target.path)?;
    // NB: what is counted or logged by request takes the long way: it must not be counted twice.
    if route.is_guarded() || state.guard.is_metered() || shield.log.load().is_some() || !hygiene::is_clean(target.path)
    {
        return None;
    }
    let slot = KEY.with_borrow_mut(|key| {
        route.write_key(key, target.host, target.path, target.query);
        shield.index.find(key)
    })?;
    let object = slot.sole().or_else(|| {
        // Most that varies varies by coding alone; anything else is worth a map.
        let mut selecting = HeaderMap::with_capacity(1);
        if let Some(value) = coding() {
            selecting.insert(ACCEPT_ENCODING, HeaderValue::from_bytes(value).ok()?);
        }
        slot.find(&selecting).filter(|found| varies_by_coding(found))
    })?;
    let now = Instant::now();
    let Freshness::Fresh { ttl } = object.policy.freshness(now) else { return None };
    let whole = object.content.bytes()?.clone();
    // NB: in this order: a purge that comes to light just now may be a soft one.
    if shield.obey_purges(&slot, &object) || object.is_outdated() {
        return None;
    }
    object.touch();
    object.asked(now);
    Some(Found { route, object, whole, ttl, now })
}

fn count(route: &Route, target: Target<'_>, object: &Object, sent_bytes: u64) {
    let class = gate::class(target.path, target.query);
    route.counts.answered(class, object.status, Outcome::Hit);
    route.counts.sent(class, sent_bytes);
    if let Some(channel) = &object.channel {
        channel.hit(sent_bytes);
    }
}

/// True for a field that the long way has to look at.
fn needs_thought(name: &str) -> bool {
    // NB: by length first: it tells most fields apart.
    match name.len() {
        5 => name.eq_ignore_ascii_case("range"),
        8 => name.eq_ignore_ascii_case("if-match") || name.eq_ignore_ascii_case(CDN_LOOP.as_str()),
        13 => name.eq_ignore_ascii_case("if-none-match") || name.eq_ignore_ascii_case("cache-control"),
        17 => name.eq_ignore_ascii_case("if-modified-since"),
        19 => name.eq_ignore_ascii_case("if-unmodified-since"),
        _ => name.eq_ignore_ascii_case(fields::TIMING_ASKED.as_str()),
    }
}

fn varies_by_coding(object: &Object) -> bool {
    let mut values = object.headers.get_all(VARY).iter();
    let only = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"accept-encoding");
    values.next().is_some_and(only) && values.next().is_none()
}
