// SPDX-License-Identifier: Apache-2.0
//! The short way of a hit: what is held, whole and fresh leaves with its request's read, without a task or a map of
//! fields of its own.
//!
//! Whatever needs a second thought (a range, a condition, a body that is still arriving) takes the long way, which
//! answers these requests alike.

use headwater_net::h1::{Answer, Head, Prepared};
use http::header::{ACCEPT_ENCODING, AGE, VARY};
use http::{HeaderMap, HeaderValue, Method};
use tokio::time::Instant;

use crate::guard::hygiene;
use crate::handler::{KEY, Target};
use crate::metrics::Outcome;
use crate::object::Object;
use crate::semantics::cache_status::{self, CACHE_STATUS, Handling};
use crate::semantics::{Freshness, fields};
use crate::upstream::CDN_LOOP;
use crate::{Shield, gate};

/// Writes the answer if it is a plain hit.
pub(crate) fn hit(shield: &Shield, head: &Head<'_>, answer: &mut Answer<'_>) -> bool {
    if !matches!(*head.method(), Method::GET | Method::HEAD) || needs_thought(head) {
        return false;
    }
    let target = Target { host: head.host(), path: head.path(), query: head.query().unwrap_or("") };
    let state = shield.state();
    let Some(route) = state.routes.find(target.host, target.path) else { return false };
    // NB: what is counted or logged by request takes the long way: it must not be counted twice.
    if route.is_guarded() || state.guard.is_metered() || shield.log.load().is_some() || !hygiene::is_clean(head.path())
    {
        return false;
    }
    let slot = KEY.with_borrow_mut(|key| {
        route.write_key(key, target.host, target.path, target.query);
        shield.index.find(key)
    });
    let Some(slot) = slot else { return false };
    let Some(object) = slot.sole().or_else(|| {
        // Most that varies varies by coding alone; anything else is worth a map.
        let mut selecting = HeaderMap::with_capacity(1);
        if let Some(value) = head.field("accept-encoding") {
            selecting.insert(ACCEPT_ENCODING, HeaderValue::from_bytes(value).ok()?);
        }
        slot.find(&selecting).filter(|found| varies_by_coding(found))
    }) else {
        return false;
    };
    let now = Instant::now();
    let Freshness::Fresh { ttl } = object.policy.freshness(now) else { return false };
    let Some(bytes) = object.content.bytes() else { return false };
    // NB: in this order: a purge that comes to light just now may be a soft one.
    if shield.obey_purges(&slot, &object) || object.is_outdated() {
        return false;
    }
    object.touch();
    answer.prepared(object.prepared.get_or_init(|| Prepared::new(object.status, &object.headers)));
    answer.text(&AGE, format_args!("{}", object.policy.age(now).as_secs()));
    answer.field(&CACHE_STATUS, &cache_status::render(&Handling::Hit { ttl }, None));
    for piece in bytes.pieces() {
        answer.body(piece.clone());
    }
    let class = gate::class(target.path, target.query);
    route.counts.answered(class, object.status, Outcome::Hit);
    route.counts.sent(class, bytes.length_bytes());
    if let Some(channel) = &object.channel {
        channel.hit();
    }
    true
}

fn needs_thought(head: &Head<'_>) -> bool {
    head.fields().any(|(name, _)| {
        // NB: by length first: it tells most fields apart.
        match name.len() {
            5 => name.eq_ignore_ascii_case("range"),
            8 => name.eq_ignore_ascii_case("if-match") || name.eq_ignore_ascii_case(CDN_LOOP.as_str()),
            13 => name.eq_ignore_ascii_case("if-none-match") || name.eq_ignore_ascii_case("cache-control"),
            17 => name.eq_ignore_ascii_case("if-modified-since"),
            19 => name.eq_ignore_ascii_case("if-unmodified-since"),
            _ => name.eq_ignore_ascii_case(fields::TIMING_ASKED.as_str()),
        }
    })
}

fn varies_by_coding(object: &Object) -> bool {
    let mut values = object.headers.get_all(VARY).iter();
    let only = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"accept-encoding");
    values.next().is_some_and(only) && values.next().is_none()
}
