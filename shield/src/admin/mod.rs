// SPDX-License-Identifier: Apache-2.0
//! `/.headwater/`: what a shield knows of itself and its origins, and how it is told to purge, drain and reload.
//!
//! Everything has this one folder, whose name begins with a dot, so that it is in nobody's way: whatever stands before a
//! foreign origin must leave `/api` and `/metrics` to it. On `admin_listen` the folder may be left out.

mod description;
mod health;
mod object;
mod operation;
mod purge;
mod state;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::routing::{get, post};
use headwater_events::feed;
use headwater_net::access::{self, CHALLENGE, Refused};
use headwater_net::listener::{self, Connection};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use crate::Shield;

pub use description::{document, page};

/// What every path of the shield's own begins with.
pub const FOLDER: &str = "/.headwater";
/// A request's body.
const BODY_BYTES_MAX: usize = 64 << 10;
/// It is small, so it comes soon.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// Why a request was refused.
#[derive(Debug, Serialize, ToSchema)]
struct Problem {
    /// What was expected and what came.
    error: String,
}

/// Whether a path is in the folder.
pub(crate) fn is_own(path: &str) -> bool {
    path.strip_prefix(FOLDER).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The routes, each behind those who may use it; the folder before them.
pub(crate) fn router(shield: &Arc<Shield>) -> Router {
    Router::new().nest(FOLDER, inner(shield))
}

fn inner(shield: &Arc<Shield>) -> Router {
    let read = Router::new()
        .route("/api/v1/state", get(state::state))
        .route("/api/v1/object", get(object::object))
        .route_layer(from_fn_with_state(Arc::clone(shield), may_read));
    let change = Router::new()
        .route("/api/v1/config", get(operation::config))
        .route("/api/v1/reload", post(operation::reload))
        .route("/api/v1/purge", post(purge::purge))
        .route("/api/v1/upstreams/{name}/drain", post(operation::drain))
        .route("/api/v1/upstreams/{name}/undrain", post(operation::undrain))
        .route_layer(from_fn_with_state(Arc::clone(shield), may_change));
    let open = Router::new()
        .route("/api/v1/", get(description::browse))
        .route("/api/v1/openapi.json", get(description::json))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics));
    // What the shield tells; before an origin in this process, what both tell.
    let followers_max = shield.state().config.events.followers_max;
    let feed = feed::router(&shield.publisher, followers_max, shield.shutdown.clone())
        .route_layer(from_fn_with_state(Arc::clone(shield), may_read));
    read.merge(change).merge(open).with_state(Arc::clone(shield)).merge(feed)
}

impl Shield {
    /// What the listener of `admin_listen` serves its connections by.
    pub fn administration(self: Arc<Self>) -> impl Fn(Connection) -> listener::Routes + Clone + use<> {
        listener::routes(router(&self).merge(inner(&self)))
    }
}

async fn may_read(State(shield): State<Arc<Shield>>, request: Request, next: Next) -> Response<Body> {
    let admitted = access::read(&shield.state().config.api.tokens, request.headers());
    admit(admitted, request, next).await
}

async fn may_change(State(shield): State<Arc<Shield>>, request: Request, next: Next) -> Response<Body> {
    let peer = request.extensions().get::<Connection>().map(|connection| connection.peer.ip());
    let admitted = access::change(&shield.state().config.api.tokens, peer, request.uri(), request.headers());
    admit(admitted, request, next).await
}

async fn admit(admitted: Result<(), Refused>, request: Request, next: Next) -> Response<Body> {
    let Err(refused) = admitted else { return next.run(request).await };
    let mut response = problem(refused.status(), &refused.to_string());
    if refused == Refused::Token {
        response.headers_mut().insert(WWW_AUTHENTICATE, CHALLENGE);
    }
    response
}

/// What a request's body says.
async fn said<T: DeserializeOwned>(body: Body) -> Result<T, Response<Body>> {
    let bytes = match tokio::time::timeout(BODY_WITHIN, to_bytes(body, BODY_BYTES_MAX)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) => {
            let words = format!("expected a body of at most {BODY_BYTES_MAX} bytes: {error}");
            return Err(problem(StatusCode::PAYLOAD_TOO_LARGE, &words));
        }
        Err(_) => {
            let words = format!("expected the body within {} s", BODY_WITHIN.as_secs());
            return Err(problem(StatusCode::REQUEST_TIMEOUT, &words));
        }
    };
    serde_json::from_slice(&bytes)
        .map_err(|error| problem(StatusCode::BAD_REQUEST, &format!("expected a JSON object: {error}")))
}

fn problem(status: StatusCode, error: &str) -> Response<Body> {
    reply(status, &Problem { error: error.to_owned() })
}

fn reply(status: StatusCode, body: &impl Serialize) -> Response<Body> {
    let mut response = text(serde_json::to_string(body).unwrap_or_default(), "application/json");
    *response.status_mut() = status;
    response
}

fn text(body: impl Into<Body>, media_type: &'static str) -> Response<Body> {
    let mut response = Response::new(body.into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
