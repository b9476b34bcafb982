// SPDX-License-Identifier: Apache-2.0
//! The origin's HTTP: what viewers and edges fetch under `/live/`, encoders' pushes, the API, and the clock.

pub mod api;
mod hit;
mod live;
mod lock;
mod manifest;
mod respond;
mod service;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::{any, get};
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL, CONTENT_TYPE, DATE};
use http::{HeaderValue, Response};

use crate::Origin;
use crate::channel::State as ChannelState;
use crate::metrics::{ChannelLabel, StateLabel, TrackLabel};

pub use manifest::Manifests;
pub use service::Service;

/// Every route of the origin.
pub fn router(origin: Arc<Origin>) -> Router {
    let events = api::events(&origin);
    Router::new()
        .route("/live/{*path}", any(service::live))
        .route("/ingest/{*path}", any(crate::ingest::handle))
        .route("/time", any(time_route))
        .merge(api::router(&origin))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(origin)
        .merge(events)
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

/// Ready once every channel that is receiving media can be played, and until the stop.
async fn readyz(State(origin): State<Arc<Origin>>) -> Response<Body> {
    if origin.context.shutdown.is_started() {
        let mut response = text("stopping\n".to_owned(), "text/plain; charset=utf-8");
        *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
        return response;
    }
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
    let exposition = origin.metrics().scrape(|told| look(&origin, told));
    text(exposition, "application/openmetrics-text; version=1.0.0; charset=utf-8")
}

/// Reads what metrics tell of the moment.
fn look(origin: &Origin, told: &crate::metrics::Scraped) {
    let now = origin.context.clock.now();
    let whole = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    for state in [ChannelState::Starting, ChannelState::Live, ChannelState::Stalled, ChannelState::Ended] {
        told.channels.get_or_create(&StateLabel { state: state.as_str() }).set(0);
    }
    for channel in origin.channels() {
        told.channels.get_or_create(&StateLabel { state: channel.view().state.as_str() }).inc();
        let edges = channel.edges();
        let bytes: u64 = edges.values().map(|edge| edge.store.length_bytes()).sum();
        let label = ChannelLabel { channel: channel.id.to_string() };
        told.stored_bytes.get_or_create(&label).set(whole(bytes));
        told.unpublished_bytes.get_or_create(&label).set(whole(channel.memory.unpublished()));
        for (track, edge) in edges.iter() {
            let snapshot = edge.snapshot();
            let Some(end) = snapshot.window.end() else { continue };
            let label = TrackLabel { channel: channel.id.to_string(), track: track.to_string() };
            told.window.get_or_create(&label).set(snapshot.window.duration().seconds_f64());
            let age = now.nanos().saturating_sub(end.nanos()) as f64 / 1e9;
            told.last_part_age.get_or_create(&label).set(age);
        }
    }
    told.connections.set(whole(origin.context.shutdown.connections() as u64));
    origin.metrics().count_refused(origin.tally());
    told.memory_max.set(whole(origin.config().memory_bytes_max));
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
