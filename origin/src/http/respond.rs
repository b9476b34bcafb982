// SPDX-License-Identifier: Apache-2.0
//! How answers to viewers look: media type, freshness by class, validators, ranges, CORS; HEAD is GET without a body.

use std::convert::Infallible;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use bytes::Bytes;
use headwater_media::path::Freshness;
use headwater_net::h1::Answer;
use headwater_net::range::{self, Asked};
use headwater_net::{Growing, gzip, tag};
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, CACHE_CONTROL,
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, IF_NONE_MATCH, IF_RANGE, RANGE,
    RETRY_AFTER, VARY,
};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};

use crate::cmsd::STATIC;
use crate::edge::Rendered;
use crate::store::Tagged;

/// Room for what an answer carries, and what the server adds.
const HEADERS: usize = 13;
/// Six target durations of ten seconds.
const MAX_AGE_WRITTEN: u64 = 60;
/// Response headers that a page of another site may read.
pub(super) const EXPOSED: HeaderValue = HeaderValue::from_static(
    "Date, Age, ETag, Content-Length, Content-Range, Server-Timing, CMSD-Static, CMSD-Dynamic",
);
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");
/// Cache lifetime with fractions of a second, for caches that read it (RFC 9213 field of our own shield).
const PRECISE: HeaderName = HeaderName::from_static("headwater-cache-control");

/// Where the fields of an answer are written.
pub(super) trait Fields {
    /// Says a field, once.
    fn say(&mut self, name: HeaderName, value: HeaderValue);
}

impl Fields for HeaderMap {
    fn say(&mut self, name: HeaderName, value: HeaderValue) {
        self.insert(name, value);
    }
}

impl Fields for Answer<'_> {
    fn say(&mut self, name: HeaderName, value: HeaderValue) {
        self.field(&name, &value);
    }
}

/// Says what an answer is, how long it lives with a target duration, and that any page may read it.
pub(super) fn describe(fields: &mut impl Fields, media_type: &'static str, freshness: Freshness, target: Duration) {
    fields.say(CONTENT_TYPE, HeaderValue::from_static(media_type));
    fields.say(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    fields.say(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    if freshness == Freshness::Media {
        fields.say(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
        return;
    }
    let life = freshness.lifetime(target);
    let seconds = life.as_secs();
    fields.say(CACHE_CONTROL, max_age(seconds));
    if life.subsec_millis() > 0
        && let Ok(value) = HeaderValue::from_str(&format!("max-age={}.{:03}", seconds, life.subsec_millis()))
    {
        fields.say(PRECISE, value);
    }
}

/// The validator of a text, and that its coding was chosen.
pub(super) fn describe_text(fields: &mut impl Fields, tag: HeaderValue) {
    fields.say(ETAG, tag);
    fields.say(VARY, HeaderValue::from_static("accept-encoding"));
}

/// The validator of media, and that ranges of it may be asked for.
pub(super) fn describe_media(fields: &mut impl Fields, tag: HeaderValue) {
    fields.say(ETAG, tag);
    fields.say(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
}

/// The coding of a compressed text.
pub(super) fn describe_zipped(fields: &mut impl Fields) {
    fields.say(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
}

/// What of a request decides the form of its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask<'a> {
    pub(super) method: &'a Method,
    pub(super) headers: &'a HeaderMap,
    /// Target duration of the channel.
    pub(super) target: Duration,
    /// CMSD-Static is told.
    pub(super) cmsd: bool,
    /// What is said of a text.
    pub(super) said: &'a HeaderValue,
}

impl Ask<'_> {
    /// A playlist or MPD.
    pub(super) fn text(&self, rendered: &Rendered, media_type: &'static str, freshness: Freshness) -> Response<Body> {
        let zipped = gzip::accepted(self.headers.get(ACCEPT_ENCODING));
        let tag = if zipped { zipped_tag(&rendered.tag) } else { rendered.tag.clone() };
        let mut response = if tag::matches(self.headers.get(IF_NONE_MATCH), &tag) {
            not_modified(if zipped { rendered.gzip().len() } else { rendered.body.len() })
        } else {
            let body = if zipped { rendered.gzip().clone() } else { rendered.body.clone() };
            let mut response = self.body(body);
            if zipped {
                describe_zipped(response.headers_mut());
            }
            response
        };
        self.describe(&mut response, media_type, freshness);
        self.say(&mut response, self.said);
        describe_text(response.headers_mut(), tag);
        response
    }

    /// A header, part or complete segment: immutable, in ranges.
    pub(super) fn media(&self, object: &Tagged, media_type: &'static str) -> Response<Body> {
        if tag::matches(self.headers.get(IF_NONE_MATCH), &object.tag) {
            let mut response = not_modified(object.bytes.len());
            self.describe(&mut response, media_type, Freshness::Media);
            response.headers_mut().insert(ETAG, object.tag.clone());
            self.say(&mut response, &object.said);
            return response;
        }
        let length = object.bytes.len() as u64;
        let same = self.headers.get(IF_RANGE).is_none_or(|v| *v == object.tag);
        let asked = if same { range::parse(self.headers.get(RANGE), length) } else { Asked::Whole };
        let mut response = match asked {
            Asked::Whole => self.body(object.bytes.clone()),
            Asked::Part { first, last } => {
                let (from, to) = (usize::try_from(first).unwrap_or(0), usize::try_from(last).unwrap_or(0));
                let mut response = self.body(object.bytes.slice(from..=to));
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                insert_text(&mut response, CONTENT_RANGE, &format!("bytes {first}-{last}/{length}"));
                response
            }
            Asked::Unsatisfiable => {
                let mut response = status(StatusCode::RANGE_NOT_SATISFIABLE);
                insert_text(&mut response, CONTENT_RANGE, &format!("bytes */{length}"));
                self.describe(&mut response, media_type, Freshness::MediaError);
                return response;
            }
        };
        self.describe(&mut response, media_type, Freshness::Media);
        describe_media(response.headers_mut(), object.tag.clone());
        self.say(&mut response, &object.said);
        response
    }

    /// A segment in progress: from byte 0, then as it grows; no length. If its source fails the response is cut off.
    pub(super) fn growing(&self, body: &Growing, said: &HeaderValue, media_type: &'static str) -> Response<Body> {
        // NB: for HEAD a body of unknown length too: an empty one would be said to have the length 0.
        let body = match *self.method {
            Method::HEAD => Body::from_stream(futures_util::stream::empty::<Result<Bytes, Infallible>>()),
            _ => Body::from_stream(body.stream()),
        };
        let mut response = Response::new(body);
        self.describe(&mut response, media_type, Freshness::Media);
        self.say(&mut response, said);
        response
    }

    /// An error in words, with a life of its own and the CORS headers: without them players see an opaque failure.
    pub(super) fn error(&self, code: StatusCode, freshness: Freshness, words: &str) -> Response<Body> {
        let mut response = self.body(Bytes::from(format!("{words}\n")));
        *response.status_mut() = code;
        self.describe(&mut response, "text/plain; charset=utf-8", freshness);
        if code == StatusCode::SERVICE_UNAVAILABLE {
            insert_text(&mut response, RETRY_AFTER, "1");
        }
        response
    }

    /// The answer to OPTIONS.
    pub(super) fn options(&self) -> Response<Body> {
        let mut response = status(StatusCode::NO_CONTENT);
        let headers = response.headers_mut();
        headers.insert(ALLOW, METHODS);
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*"));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
        response
    }

    /// The answer to any method that is none of ours.
    pub(super) fn method_not_allowed(&self) -> Response<Body> {
        let mut response =
            self.error(StatusCode::METHOD_NOT_ALLOWED, Freshness::MediaError, "expected GET, HEAD or OPTIONS");
        response.headers_mut().insert(ALLOW, METHODS);
        response
    }

    fn body(&self, bytes: Bytes) -> Response<Body> {
        let length = bytes.len();
        let head = self.method == Method::HEAD;
        let mut response = Response::new(if head { Body::empty() } else { Body::from(bytes) });
        if head {
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        response
    }

    fn say(&self, response: &mut Response<Body>, said: &HeaderValue) {
        if self.cmsd {
            response.headers_mut().insert(STATIC, said.clone());
        }
    }

    fn describe(&self, response: &mut Response<Body>, media_type: &'static str, freshness: Freshness) {
        let headers = response.headers_mut();
        headers.reserve(HEADERS);
        describe(headers, media_type, freshness, self.target);
    }
}

/// `public, max-age=N`. The few lifetimes that there are, are written once: every answer carries one.
fn max_age(seconds: u64) -> HeaderValue {
    static WRITTEN: LazyLock<Vec<HeaderValue>> = LazyLock::new(|| (0..=MAX_AGE_WRITTEN).map(write_max_age).collect());
    let written = usize::try_from(seconds).ok().and_then(|at| WRITTEN.get(at).cloned());
    written.unwrap_or_else(|| write_max_age(seconds))
}

fn write_max_age(seconds: u64) -> HeaderValue {
    HeaderValue::from_str(&format!("public, max-age={seconds}"))
        .unwrap_or(HeaderValue::from_static("public, max-age=0"))
}

/// The compressed form is another representation: its validator differs (RFC 9110, 8.8.3.3).
pub(super) fn zipped_tag(tag: &HeaderValue) -> HeaderValue {
    let text = tag.to_str().unwrap_or("\"\"").trim_matches('"');
    HeaderValue::from_str(&format!("\"{text}-gzip\"")).unwrap_or_else(|_| tag.clone())
}

/// The length of what is not sent: the router would say 0 of the empty body (RFC 9110, 8.6).
fn not_modified(length_bytes: usize) -> Response<Body> {
    let mut response = status(StatusCode::NOT_MODIFIED);
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length_bytes));
    response
}

fn status(code: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = code;
    response
}

fn insert_text(response: &mut Response<Body>, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        response.headers_mut().insert(name, value);
    }
}

/// IMF-fixdate (RFC 9110, 5.6.7).
pub(super) fn http_date(time: SystemTime) -> String {
    httpdate::fmt_http_date(time)
}
