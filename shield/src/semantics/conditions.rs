// SPDX-License-Identifier: Apache-2.0
//! A client's conditions and ranges against a stored answer (RFC 9110, 13.2.2 and 14.2; RFC 9111, 4.3.2).

use std::time::Duration;

use headwater_net::range::{self, Asked, Spec};
use http::header::{
    DATE, ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::RequestHead;
use super::fields::{self, date};

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
    /// 206 of a body whose length is not known yet. Bytes between two ends can be served once the last is here, as
    /// `bytes first-last/*`; the others need its end.
    Pending(Spec),
    /// 416: no byte of it is asked for.
    Unsatisfiable,
}

/// Weighs the conditions of a GET or HEAD, then its range (RFC 9110, 13.2.2).
pub fn outcome(request: &RequestHead<'_>, stored: &Stored<'_>) -> Outcome {
    // Conditions are about a success (RFC 9110, 13.2.1), a range about a whole body.
    if !stored.status.is_success() {
        return Outcome::Whole;
    }
    let (asked, have) = (request.headers, stored.headers);
    if asked.contains_key(IF_MATCH) {
        if !names(asked, &IF_MATCH, have.get(ETAG), Comparison::Strong) {
            return Outcome::Failed;
        }
    } else if let Some(since) = date(asked, &IF_UNMODIFIED_SINCE)
        && date(have, &LAST_MODIFIED).is_some_and(|modified| modified > since)
    {
        return Outcome::Failed;
    }
    if asked.contains_key(IF_NONE_MATCH) {
        if names(asked, &IF_NONE_MATCH, have.get(ETAG), Comparison::Weak) {
            return Outcome::NotModified;
        }
    } else if let Some(since) = date(asked, &IF_MODIFIED_SINCE)
        && date(have, &LAST_MODIFIED).or_else(|| date(have, &DATE)).is_some_and(|modified| modified <= since)
    {
        return Outcome::NotModified;
    }
    if *request.method != Method::GET || stored.status != StatusCode::OK {
        return Outcome::Whole;
    }
    ranged(asked, stored).unwrap_or(Outcome::Whole)
}

/// What a range asks for; none: the whole.
fn ranged(asked: &HeaderMap, stored: &Stored<'_>) -> Option<Outcome> {
    let mut lines = asked.get_all(RANGE).iter();
    let spec = range::read(lines.next())?;
    if lines.next().is_some() || !range_holds(asked, stored.headers) {
        return None;
    }
    match (stored.length_bytes, spec) {
        (Some(length_bytes), _) => match spec.within(length_bytes) {
            Asked::Whole => None,
            Asked::Part { first, last } => Some(Outcome::Part { first, last }),
            Asked::Unsatisfiable => Some(Outcome::Unsatisfiable),
        },
        // All that is to come: the whole says the same and need not wait for the end.
        (None, Spec::From { first: 0 }) => None,
        (None, _) => Some(Outcome::Pending(spec)),
    }
}

/// If-Range: a strong validator that is the stored one's, byte for byte (RFC 9110, 13.1.5).
fn range_holds(asked: &HeaderMap, have: &HeaderMap) -> bool {
    let Some(condition) = asked.get(IF_RANGE) else { return true };
    if condition.as_bytes().starts_with(b"\"") {
        return have.get(ETAG) == Some(condition);
    }
    // A date is strong only if nothing can have changed within its second (RFC 9110, 8.8.2.2).
    let (Some(modified), Some(made)) = (date(have, &LAST_MODIFIED), date(have, &DATE)) else { return false };
    have.get(LAST_MODIFIED) == Some(condition) && made >= modified + Duration::from_secs(1)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// True if a list of entity tags names `tag` (RFC 9110, 8.8.3.2); `*` names any answer.
fn names(asked: &HeaderMap, condition: &HeaderName, tag: Option<&HeaderValue>, how: Comparison) -> bool {
    let tag = tag.map(HeaderValue::as_bytes);
    asked.get_all(condition).iter().flat_map(|value| fields::list(value.as_bytes())).any(|item| match tag {
        _ if item == b"*" => true,
        None => false,
        Some(tag) if how == Comparison::Strong => item == tag && !tag.starts_with(b"W/"),
        Some(tag) => opaque(item) == opaque(tag),
    })
}

/// An entity tag without its mark of weakness.
pub(super) fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}
