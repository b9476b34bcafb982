// SPDX-License-Identifier: Apache-2.0
//! What a client gets: of what is held its own share, with the age it has and what the shield did for it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use headwater_net::range::{Asked, Spec};
use http::header::{ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use tokio::time::Instant;

use crate::cmsd::DYNAMIC;
use crate::metrics;
use crate::object::Object;
use crate::semantics::cache_status::{self, Handling};
use crate::semantics::{Outcome, RequestHead, Stored, fields, outcome};

/// Said of an answer that is served because no origin could confirm it or give another.
pub(crate) const ORIGIN_FAILED: &str = "origin-failed";

/// What the log and the counters are told of an answer; it travels with it, and is taken off before it leaves.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    pub(crate) outcome: metrics::Outcome,
    /// The origin that was asked for it.
    pub(crate) upstream: Option<Arc<str>>,
    /// It was stale: confirmed by nobody.
    pub(crate) stale: bool,
    /// What the requests of its channel are counted by, where that is known.
    pub(crate) channel: Option<Arc<metrics::Channel>>,
}

impl Default for Note {
    fn default() -> Self {
        Self { outcome: metrics::Outcome::Error, upstream: None, stale: false, channel: None }
    }
}

impl Note {
    fn of(handling: &Handling, object: &Object, detail: Option<&'static str>) -> Self {
        let outcome = match handling {
            Handling::Hit { .. } => metrics::Outcome::Hit,
            Handling::StaleHit { .. } => metrics::Outcome::Stale,
            Handling::Forwarded(forwarded) if forwarded.collapsed => metrics::Outcome::Collapsed,
            Handling::Forwarded(_) => metrics::Outcome::Miss,
            Handling::Own => metrics::Outcome::Error,
        };
        let upstream = matches!(handling, Handling::Forwarded(_)).then(|| Arc::clone(&object.origin));
        let stale = outcome == metrics::Outcome::Stale || detail == Some(ORIGIN_FAILED);
        Self { outcome, upstream, stale, channel: object.channel.clone() }
    }
}

/// A request's share of an answer.
pub(crate) async fn of_object(
    request: &RequestHead<'_>,
    object: &Object,
    handling: &Handling,
    detail: Option<&'static str>,
) -> Response<Body> {
    let stored =
        Stored { status: object.status, headers: &object.headers, length_bytes: object.content.length_bytes() };
    let mut response = match outcome(request, &stored) {
        Outcome::Whole => whole(request.method, object),
        Outcome::Part { first, last } => part(object, first, last),
        Outcome::NotModified => bodiless(object, StatusCode::NOT_MODIFIED),
        Outcome::Failed => bodiless(object, StatusCode::PRECONDITION_FAILED),
        Outcome::Pending(spec) => pending(object, spec).await,
        Outcome::Unsatisfiable => unsatisfiable(object.content.length_bytes()),
    };
    let headers = response.headers_mut();
    fields::insert_age(headers, object.policy.age(Instant::now()));
    cache_status::append(headers, handling, detail);
    if let (Some(hops), Handling::Forwarded(_)) = (&object.hops, handling)
        && detail != Some(ORIGIN_FAILED)
    {
        headers.append(DYNAMIC, hops.clone());
    }
    response.extensions_mut().insert(Note::of(handling, object, detail));
    response
}

fn with(object: &Object, status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let mut headers = HeaderMap::with_capacity(object.headers.len() + 6);
    headers.clone_from(&object.headers);
    *response.headers_mut() = headers;
    response
}

fn whole(method: &Method, object: &Object) -> Response<Body> {
    if *method == Method::HEAD {
        let mut response = with(object, object.status, Body::empty());
        if let Some(length) = object.content.length_bytes() {
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        return response;
    }
    with(object, object.status, object.content.body(0, None))
}

fn part(object: &Object, first: u64, last: u64) -> Response<Body> {
    let total = object.content.length_bytes().map_or_else(|| "*".to_owned(), |length| length.to_string());
    let mut response = with(object, StatusCode::PARTIAL_CONTENT, object.content.body(first, Some(last)));
    insert_text(response.headers_mut(), CONTENT_RANGE, &format!("bytes {first}-{last}/{total}"));
    response.headers_mut().insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    response
}

/// A range of a body whose length nobody knows yet: once it is all here.
async fn pending(object: &Object, spec: Spec) -> Response<Body> {
    let Ok(bytes) = object.content.complete().await else {
        return error(StatusCode::BAD_GATEWAY, "expected the whole body, the origin broke off", None);
    };
    match spec.within(bytes.length_bytes()) {
        Asked::Whole => with(object, object.status, bytes.body(0, None)),
        Asked::Part { first, last } => part(object, first, last),
        Asked::Unsatisfiable => unsatisfiable(Some(bytes.length_bytes())),
    }
}

fn bodiless(object: &Object, status: StatusCode) -> Response<Body> {
    let mut response = with(object, status, Body::empty());
    if status == StatusCode::NOT_MODIFIED {
        if let Some(length) = object.content.length_bytes() {
            // The length of what is not sent: a server would say 0 of the empty body (RFC 9110, 8.6).
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
    } else {
        response.headers_mut().remove(CONTENT_TYPE);
    }
    response
}

fn unsatisfiable(length: Option<u64>) -> Response<Body> {
    let mut response = error(StatusCode::RANGE_NOT_SATISFIABLE, "expected a range within the object", None);
    if let Some(length) = length {
        insert_text(response.headers_mut(), CONTENT_RANGE, &format!("bytes */{length}"));
    }
    response
}

/// An answer of the shield's own.
pub(crate) fn error(status: StatusCode, words: &str, retry_after: Option<Duration>) -> Response<Body> {
    let mut response = Response::new(Body::from(Bytes::from(format!("{words}\n"))));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    // Edges must not ask a shield in trouble again for every viewer; players of other sites must see why.
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static(if status.is_server_error() { "max-age=1" } else { "no-store" }),
    );
    headers.insert(http::header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    if let Some(after) = retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
    }
    response
}

/// As [`error`], with what the shield says of it.
pub(crate) fn refusal(status: StatusCode, words: &str, detail: &'static str) -> Response<Body> {
    let retry = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(Duration::from_secs(1));
    let mut response = error(status, words, retry);
    cache_status::append(response.headers_mut(), &Handling::Own, Some(detail));
    response
}

fn insert_text(headers: &mut HeaderMap, name: http::HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}
