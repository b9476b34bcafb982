// SPDX-License-Identifier: Apache-2.0
//! `GET /events` and the schemas beside it.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::routing::any;
use headwater_net::Shutdown;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};
use tokio::sync::Semaphore;

use super::follower::{self, Follower};
use super::query::Query;
use super::{LOG, Since};
use crate::event::Kind;
use crate::log::{Log, Offset};
use crate::publisher::Publisher;

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");
const TEXT: &str = "text/plain; charset=utf-8";
const SCHEMA: &str = "application/schema+json";

/// What the handlers share.
#[derive(Debug)]
struct Feed {
    publisher: Publisher,
    /// One for each follower.
    places: Arc<Semaphore>,
    shutdown: Shutdown,
}

/// The routes `/events`, `/events/schemas` and `/events/schemas/{type}.json` of what a publisher's node tells. Feeds end
/// when `shutdown` is closed.
pub fn router(publisher: &Publisher, followers_max: usize, shutdown: Shutdown) -> Router {
    let feed = Arc::new(Feed {
        publisher: publisher.clone(),
        places: Arc::new(Semaphore::new(followers_max.min(Semaphore::MAX_PERMITS))),
        shutdown,
    });
    Router::new()
        .route("/events", any(events))
        .route("/events/schemas", any(schemas))
        .route("/events/schemas/{file}", any(schema))
        .with_state(feed)
}

async fn events(State(feed): State<Arc<Feed>>, method: Method, uri: Uri, headers: HeaderMap) -> Response<Body> {
    if let Some(other) = other_method(&method) {
        return other;
    }
    let query = match Query::read(uri.query().unwrap_or_default(), &headers) {
        Ok(query) => query,
        Err(invalid) => return answer(StatusCode::BAD_REQUEST, TEXT, format!("{invalid}\n")),
    };
    if method == Method::HEAD {
        return stream(feed.publisher.log(), Body::empty());
    }
    let Ok(place) = Arc::clone(&feed.places).try_acquire_owned() else {
        feed.publisher.metrics().drop_follower("refused");
        let mut refused = answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, "too many follow already\n".to_owned());
        refused.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
        return refused;
    };
    let from = begin(feed.publisher.log(), query.since).await;
    let follower = Follower::new(&feed.publisher, query.filter, from, place);
    stream(feed.publisher.log(), Body::from_stream(follower::start(follower, &feed.shutdown)))
}

/// Where a follower begins.
async fn begin(log: &Arc<Log>, since: Since) -> Offset {
    match since {
        Since::First => log.first(),
        Since::End => *log.end().borrow(),
        Since::Offset(offset) => offset,
        Since::Time(time) => {
            let searched = Arc::clone(log);
            let found = tokio::task::spawn_blocking(move || searched.offset_at(time)).await;
            found.unwrap_or_else(|_| log.first())
        }
    }
}

fn stream(log: &Log, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    describe(&mut response, "text/event-stream");
    let headers = response.headers_mut();
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    if let Ok(identity) = HeaderValue::from_str(log.identity()) {
        headers.insert(LOG, identity);
    }
    response
}

async fn schemas(method: Method) -> Response<Body> {
    if let Some(other) = other_method(&method) {
        return other;
    }
    let paths: serde_json::Map<_, _> =
        Kind::ALL.iter().map(|kind| (kind.name().to_owned(), format!("/events/schemas/{kind}.json").into())).collect();
    answer(StatusCode::OK, "application/json", serde_json::Value::Object(paths).to_string())
}

async fn schema(Path(file): Path<String>, method: Method) -> Response<Body> {
    if let Some(other) = other_method(&method) {
        return other;
    }
    let Some(kind) = file.strip_suffix(".json").and_then(Kind::named) else {
        return answer(StatusCode::NOT_FOUND, TEXT, "expected a type of events and .json\n".to_owned());
    };
    answer(StatusCode::OK, SCHEMA, crate::schema::text(kind))
}

/// The answer to whatever is not GET or HEAD.
fn other_method(method: &Method) -> Option<Response<Body>> {
    if method == Method::GET || method == Method::HEAD {
        return None;
    }
    if method != Method::OPTIONS {
        let mut refused = answer(StatusCode::METHOD_NOT_ALLOWED, TEXT, "expected GET, HEAD or OPTIONS\n".to_owned());
        refused.headers_mut().insert(ALLOW, METHODS);
        return Some(refused);
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ALLOW, METHODS);
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    Some(response)
}

/// A whole answer; of HEAD the server leaves out the body.
fn answer(status: StatusCode, media_type: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    describe(&mut response, media_type);
    response
}

fn describe(response: &mut Response<Body>, media_type: &'static str) {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("*"));
}
