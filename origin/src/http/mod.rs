// SPDX-License-Identifier: Apache-2.0
//! The origin's HTTP: what viewers and edges fetch under `/live/`, encoders' pushes, the API, and the clock.

mod api;
mod live;
mod manifest;
mod respond;
mod service;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::{any, get, post};
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL, CONTENT_TYPE, DATE};
use http::{HeaderValue, Response};

use crate::Origin;
use crate::channel::State as ChannelState;

pub use manifest::Manifests;
pub use service::Service;

/// Every route of the origin.
pub fn router(origin: Arc<Origin>) -> Router {
    Router::new()
        .route("/live/{*path}", any(service::live))
        .route("/ingest/{*path}", any(crate::ingest::handle))
        .route("/time", any(time_route))
        .route("/api/v1/channels", get(api::channels))
        .route("/api/v1/channels/{id}", get(api::channel).delete(api::remove))
        .route("/api/v1/channels/{id}/end", post(api::end))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(origin)
}

async fn time_route(State(origin): State<Arc<Origin>>) -> Response<Body> {
    time(&origin)
}

/// UTC as text with milliseconds, for DASH UTCTiming and the watch page; the `Date` header serves `http-head`.
pub(crate) fn time(origin: &Origin) -> Response<Body> {
    let now = origin.context.clock.now();
    let mut response = text(now.to_string(), "text/plain; charset=utf-8");
    let date = std::time::UNIX_EPOCH + std::time::Duration::from_millis(u64::try_from(now.millis()).unwrap_or(0));
    if let Ok(value) = HeaderValue::from_str(&respond::http_date(date)) {
        response.headers_mut().insert(DATE, value);
    }
    response
}

async fn healthz() -> Response<Body> {
    text("ok\n".to_owned(), "text/plain; charset=utf-8")
}

/// Ready once every configured channel that is receiving media can be played.
async fn readyz(State(origin): State<Arc<Origin>>) -> Response<Body> {
    let starting = origin
        .channels()
        .iter()
        .filter(|c| {
            let view = c.view();
            view.state == ChannelState::Live && !view.settled
        })
        .count();
    let mut response = text(
        if starting == 0 { "ready\n".to_owned() } else { format!("{starting} channels are starting\n") },
        "text/plain; charset=utf-8",
    );
    if starting > 0 {
        *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

async fn metrics(State(origin): State<Arc<Origin>>) -> Response<Body> {
    let stored = &origin.context.metrics.stored_bytes;
    for channel in origin.channels() {
        let label = crate::metrics::ChannelLabel { channel: channel.id.to_string() };
        let bytes: u64 = channel.edges().values().map(|e| e.store.length_bytes()).sum();
        stored.get_or_create(&label).set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
    text(origin.metrics().encode(), "application/openmetrics-text; version=1.0.0; charset=utf-8")
}

fn text(body: String, media_type: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, respond::EXPOSED);
    response
}
