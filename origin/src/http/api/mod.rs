// SPDX-License-Identifier: Apache-2.0
//! `/api/v1`: what the origin knows of its channels, and how they are made, changed and ended while it runs.

mod access;
mod channels;
mod description;
mod feed;
mod keys;
mod operation;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, post, put};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::text;
use crate::Origin;
use crate::administration::Refused;

pub use description::{document, page};

/// A request's body.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// It is small, so it comes soon.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// Why a request was refused.
#[derive(Debug, Serialize, ToSchema)]
struct Problem {
    /// What was expected and what came.
    error: String,
}

/// Other routes, behind those who may read.
pub(crate) fn readable(origin: &Arc<Origin>, routes: Router) -> Router {
    routes.route_layer(from_fn_with_state(Arc::clone(origin), access::read))
}

/// The feed of events.
pub(super) fn events(origin: &Arc<Origin>) -> Router {
    feed::router(origin)
}

/// The routes, each behind those who may use it.
pub(super) fn router(origin: &Arc<Origin>) -> Router<Arc<Origin>> {
    let read = Router::new()
        .route("/api/v1/channels", get(channels::list))
        .route("/api/v1/channels/{id}", get(channels::state))
        .route_layer(from_fn_with_state(Arc::clone(origin), access::read));
    let change = Router::new()
        .route("/api/v1/channels/{id}", put(channels::put).patch(channels::patch).delete(channels::remove))
        .route("/api/v1/channels/{id}/end", post(channels::end))
        .route("/api/v1/channels/{id}/keys", get(keys::list).post(keys::add))
        .route("/api/v1/channels/{id}/keys/{key}", delete(keys::remove))
        .route("/api/v1/config", get(operation::config))
        .route("/api/v1/reload", post(operation::reload))
        .route_layer(from_fn_with_state(Arc::clone(origin), access::change));
    let open =
        Router::new().route("/api/v1/", get(description::browse)).route("/api/v1/openapi.json", get(description::json));
    read.merge(change).merge(open)
}

/// The object in a request's body; an empty body is an empty object.
async fn object(body: Body) -> Result<Map<String, Value>, Response<Body>> {
    let read = tokio::time::timeout(BODY_WITHIN, to_bytes(body, BODY_BYTES_MAX)).await;
    let bytes = match read {
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
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_slice(&bytes)
        .map_err(|error| problem(StatusCode::BAD_REQUEST, &format!("expected a JSON object: {error}")))
}

/// Carries out a change, which may write a file, beside the runtime's workers.
async fn blocking<T: Send + 'static>(
    origin: &Arc<Origin>,
    change: impl FnOnce(&Arc<Origin>) -> Result<T, Refused> + Send + 'static,
) -> Result<T, Response<Body>> {
    let origin = Arc::clone(origin);
    let done = tokio::task::spawn_blocking(move || change(&origin)).await;
    match done {
        Ok(Ok(changed)) => Ok(changed),
        Ok(Err(refused)) => {
            let status = StatusCode::from_u16(refused.status()).unwrap_or(StatusCode::BAD_REQUEST);
            Err(problem(status, &refused.to_string()))
        }
        Err(_) => {
            Err(problem(StatusCode::INTERNAL_SERVER_ERROR, "expected the change to be carried out, it broke off"))
        }
    }
}

fn missing(id: &str) -> Response<Body> {
    problem(StatusCode::NOT_FOUND, &Refused::Unknown(id.to_owned()).to_string())
}

fn problem(status: StatusCode, error: &str) -> Response<Body> {
    reply(status, &Problem { error: error.to_owned() })
}

fn reply(status: StatusCode, body: &impl Serialize) -> Response<Body> {
    let mut response = text(serde_json::to_string(body).unwrap_or_default(), "application/json");
    *response.status_mut() = status;
    response
}

fn html(body: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
