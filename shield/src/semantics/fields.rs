// SPDX-License-Identifier: Apache-2.0
//! Which fields pass through a cache, in either direction, and which it makes itself (RFC 9110, 7.6; RFC 9111, 3.1).

use std::time::{Duration, SystemTime};

use http::header::{
    ACCEPT_ENCODING, AGE, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG,
    IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE, VIA,
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

/// Conditions and ranges: a cache answers them itself and asks upstream for the whole.
const CONDITIONS: [HeaderName; 6] = [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, IF_RANGE, RANGE];

/// Removes what concerns one connection only, what Connection names included.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|v| v.to_str().ok())
            .flat_map(|text| text.split(','))
            .filter_map(|name| name.trim().parse().ok())
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// A client's fields as they go upstream for a shared fill: whole, unconditional, in one of two codings.
pub fn for_origin(headers: &HeaderMap) -> HeaderMap {
    let mut out = headers.clone();
    strip_hop_by_hop(&mut out);
    for name in &CONDITIONS {
        out.remove(name);
    }
    let zipped = headwater_net::gzip::accepted(headers.get(ACCEPT_ENCODING));
    out.remove(ACCEPT_ENCODING);
    if zipped {
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

/// An answer's fields as they are stored: without what concerns one connection, without Age, with a Date.
pub fn for_storage(headers: &mut HeaderMap, received: SystemTime) {
    strip_hop_by_hop(headers);
    headers.remove(AGE);
    if !headers.contains_key(DATE)
        && let Ok(value) = HeaderValue::from_str(&httpdate::fmt_http_date(received))
    {
        headers.insert(DATE, value);
    }
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

/// True for fields that describe the stored bytes: a 304 neither changes nor, going down, carries them.
pub fn describes_body(name: &HeaderName) -> bool {
    matches!(*name, CONTENT_LENGTH | CONTENT_ENCODING | CONTENT_RANGE | CONTENT_TYPE)
}

/// True for fields that a 304 may not change: those of the body, of the connection, and the validator it confirmed.
pub(super) fn is_fixed(name: &HeaderName) -> bool {
    describes_body(name) || HOP_BY_HOP.contains(name) || *name == ETAG
}

/// The members of a comma-separated list; commas within quotes separate nothing.
pub(super) fn list(text: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    text.split(move |c| {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' => return !quoted,
            _ => {}
        }
        false
    })
    .map(str::trim)
    .filter(|item| !item.is_empty())
}
