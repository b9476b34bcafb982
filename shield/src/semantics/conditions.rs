// SPDX-License-Identifier: Apache-2.0
//! A client's conditions and ranges against a stored answer (RFC 9110, 13.2.2 and 14.2; RFC 9111, 4.3.2).

use std::time::SystemTime;

use headwater_net::range::{self, Asked, Spec};
use http::header::{
    DATE, ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::RequestHead;

/// What of a stored answer its conditions are measured by.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    /// Its status.
    pub status: StatusCode,
    /// Its fields.
    pub headers: &'a HeaderMap,
    /// Bytes of its body; none while it grows and its head did not tell.
    pub length_bytes: Option<u64>,
}

/// What a request gets of a stored answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of it, with its own status.
    Whole,
    /// 304: the client has it.
    NotModified,
    /// 412: a condition does not hold.
    Failed,
    /// 206 with these bytes, both ends included.
    Part {
        /// First byte.
        first: u64,
        /// Last byte.
        last: u64,
    },
    /// 206 of a body whose length is not known yet: once its bytes are here.
    Pending(Spec),
    /// 416: no byte of it is asked for.
    Unsatisfiable,
}

/// Weighs the conditions of a request, then its range.
pub fn outcome(request: &RequestHead<'_>, stored: &Stored<'_>) -> Outcome {
    // Conditions are about a success (RFC 9110, 13.2.1); a range about a whole body.
    if !stored.status.is_success() {
        return Outcome::Whole;
    }
    let asked = request.headers;
    let tag = stored.headers.get(ETAG);
    if let Some(list) = joined(asked, &IF_MATCH) {
        if !any_tag(list, tag, true) {
            return Outcome::Failed;
        }
    } else if let Some(since) = date(asked, &IF_UNMODIFIED_SINCE)
        && modified(stored.headers).is_some_and(|m| m > since)
    {
        return Outcome::Failed;
    }
    if let Some(list) = joined(asked, &IF_NONE_MATCH) {
        if any_tag(list, tag, false) {
            return Outcome::NotModified;
        }
    } else if let Some(since) = date(asked, &IF_MODIFIED_SINCE)
        && modified(stored.headers).is_some_and(|m| m <= since)
    {
        return Outcome::NotModified;
    }
    if *request.method != Method::GET || stored.status != StatusCode::OK || !range_holds(asked, stored.headers) {
        return Outcome::Whole;
    }
    let Some(spec) = range::read(asked.get(RANGE)) else { return Outcome::Whole };
    let Some(length_bytes) = stored.length_bytes else { return Outcome::Pending(spec) };
    match spec.within(length_bytes) {
        Asked::Whole => Outcome::Whole,
        Asked::Part { first, last } => Outcome::Part { first, last },
        Asked::Unsatisfiable => Outcome::Unsatisfiable,
    }
}

/// If-Range: a strong validator that is the stored one's, byte for byte (RFC 9110, 13.1.5).
fn range_holds(asked: &HeaderMap, stored: &HeaderMap) -> bool {
    let Some(condition) = asked.get(IF_RANGE) else { return true };
    if condition.as_bytes().starts_with(b"\"") {
        return stored.get(ETAG) == Some(condition);
    }
    stored.get(LAST_MODIFIED) == Some(condition)
}

fn joined<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<http::header::GetAll<'a, HeaderValue>> {
    headers.contains_key(name).then(|| headers.get_all(name))
}

fn any_tag(list: http::header::GetAll<'_, HeaderValue>, tag: Option<&HeaderValue>, strong: bool) -> bool {
    let tag = tag.and_then(|t| t.to_str().ok());
    list.iter().filter_map(|v| v.to_str().ok()).flat_map(super::fields::list).any(|item| {
        if item == "*" {
            return true;
        }
        let Some(tag) = tag else { return false };
        if strong {
            return item == tag && !tag.starts_with("W/");
        }
        item.strip_prefix("W/").unwrap_or(item) == tag.strip_prefix("W/").unwrap_or(tag)
    })
}

fn modified(stored: &HeaderMap) -> Option<SystemTime> {
    date(stored, &LAST_MODIFIED).or_else(|| date(stored, &DATE))
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    headers.get(name).and_then(|v| v.to_str().ok()).and_then(|t| httpdate::parse_http_date(t).ok())
}
