// SPDX-License-Identifier: Apache-2.0
//! Which fields pass through a cache, in either direction, and which it makes itself (RFC 9110, 7.6; RFC 9111, 3.1).

use std::time::{Duration, SystemTime};

use bytes::BytesMut;
use http::header::{
    ACCEPT_ENCODING, AGE, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG,
    EXPECT, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::{HeaderMap, HeaderName, HeaderValue, Version};

/// Fields that concern one connection or one proxy only, whether Connection names them or not.
const HOP_BY_HOP: [HeaderName; 11] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authenticate"),
    HeaderName::from_static("proxy-authentication-info"),
    HeaderName::from_static("proxy-authorization"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("http2-settings"),
];

/// A request that asks for Server-Timing says so by this field.
pub const TIMING_ASKED: HeaderName = HeaderName::from_static("headwater-timing");

/// Conditions and ranges: a cache answers them itself, from the whole.
const CONDITIONS: [HeaderName; 6] = [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, IF_RANGE, RANGE];

/// Fields that describe the bytes of a body.
const OF_BODY: [HeaderName; 8] = [
    CONTENT_LENGTH,
    CONTENT_ENCODING,
    CONTENT_RANGE,
    CONTENT_TYPE,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
];

/// Removes what concerns one connection only, what Connection names included.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .flat_map(|value| list(value.as_bytes()))
            .filter_map(|name| HeaderName::from_bytes(name).ok())
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// A client's fields as they go upstream for a fill that others share: for the whole, without conditions, in one of two
/// codings. Everything else is passed on, cache directives too (RFC 9111, 5.2).
pub fn for_origin(headers: &HeaderMap) -> HeaderMap {
    let mut out = headers.clone();
    strip_hop_by_hop(&mut out);
    // A fill sends no body, whatever the client announced.
    for name in CONDITIONS.iter().chain(&[CONTENT_LENGTH, EXPECT]) {
        out.remove(name);
    }
    out.remove(ACCEPT_ENCODING);
    if headwater_net::gzip::accepted(headers.get(ACCEPT_ENCODING)) {
        out.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    }
    out
}

/// A client's fields as they go upstream for that client alone: conditions and ranges are the origin's to answer.
pub fn for_passing(headers: &HeaderMap) -> HeaderMap {
    let mut out = headers.clone();
    strip_hop_by_hop(&mut out);
    out
}

/// True if a request asks for less than the whole, or on a condition.
pub fn is_conditional(headers: &HeaderMap) -> bool {
    CONDITIONS.iter().any(|name| headers.contains_key(name))
}

/// An answer's fields as they are stored: without what concerns one connection, without Age, with a Date. To be called
/// after the answer is judged.
pub fn for_storage(headers: &mut HeaderMap, received: SystemTime) {
    strip_hop_by_hop(headers);
    headers.remove(AGE);
    // One that is no date is as good as none, and worse downstream.
    if date(headers, &DATE).is_none() {
        insert_date(headers, received);
    }
}

/// A stored head as that of a 304: without what describes a body that is not sent (RFC 9110, 15.4.5).
pub fn for_not_modified(headers: &mut HeaderMap) {
    for name in &OF_BODY {
        headers.remove(name);
    }
}

/// The same fields, copied out of what they were read into: a slice of a connection's buffer would keep all of that for
/// as long as the answer is held.
pub fn owned(headers: &HeaderMap) -> HeaderMap {
    let mut text = BytesMut::with_capacity(headers.values().map(HeaderValue::len).sum());
    headers.values().for_each(|value| text.extend_from_slice(value.as_bytes()));
    let mut text = text.freeze();
    let mut out = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let copied = HeaderValue::from_maybe_shared(text.split_to(value.len()));
        // What was a value is one.
        out.append(name.clone(), copied.unwrap_or_else(|_| value.clone()));
    }
    out
}

/// Says how old a stored answer is, in whole seconds (RFC 9111, 5.1).
pub fn insert_age(headers: &mut HeaderMap, age: Duration) {
    headers.insert(AGE, HeaderValue::from(age.as_secs()));
}

/// Adds this cache to Via (RFC 9110, 7.6.3); `version` is that of the message received.
pub fn append_via(headers: &mut HeaderMap, version: Version) {
    let value = match version {
        Version::HTTP_10 => "1.0 headwater",
        Version::HTTP_2 => "2 headwater",
        Version::HTTP_3 => "3 headwater",
        _ => "1.1 headwater",
    };
    headers.append(VIA, HeaderValue::from_static(value));
}

/// True for fields that a 304 may not change: those of the body, and the validator that it confirmed (RFC 9111, 3.2).
pub(super) fn is_fixed(name: &HeaderName) -> bool {
    OF_BODY.contains(name) || *name == ETAG
}

/// The members of a comma-separated list, trimmed. Commas within quotes separate nothing; a quote that is never closed
/// is a character like others, so that it hides nothing that follows it.
pub(super) fn list(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = member_end(text);
        rest = text.get(end + 1..);
        Some(text[..end].trim_ascii())
    })
    .filter(|item| !item.is_empty())
}

fn member_end(text: &[u8]) -> usize {
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b',' => return at,
            b'"' => at += quoted_length(&text[at..]).unwrap_or(1),
            _ => at += 1,
        }
    }
    text.len()
}

/// Bytes of the quoted string that `text` begins with, its quotes included.
fn quoted_length(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// A number of whole seconds: digits alone; more of them than fit stand for the largest number.
pub(super) fn seconds(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    digits.then(|| text.iter().fold(0_u64, |n, b| n.saturating_mul(10).saturating_add(u64::from(b - b'0'))))
}

/// A date in any of the three forms (RFC 9110, 5.6.7); none if it is absent or something else.
pub(super) fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    headers.get(name).and_then(|v| v.to_str().ok()).and_then(|t| httpdate::parse_http_date(t).ok())
}

/// Says when an answer was made, where its origin did not (RFC 9110, 6.6.1).
pub(super) fn insert_date(headers: &mut HeaderMap, received: SystemTime) {
    if let Ok(value) = HeaderValue::from_str(&httpdate::fmt_http_date(received)) {
        headers.insert(DATE, value);
    }
}
