// SPDX-License-Identifier: Apache-2.0
//! The lock: where shields' keys are configured, what viewers fetch is for shields alone. Whoever comes past them, a
//! viewer who found the origin's address or another's edge, is refused before anything is looked up.
//!
//! It is on the listener and not on the routes: a shield in this process asks those without a socket.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use headwater_net::signature::{self, Key};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};

use crate::Origin;

/// Counts refusals under this name.
const BOUND: &str = "unsigned";

/// Requests of this path are locked. The API, pushes, health and metrics have rules of their own.
fn is_locked(path: &str) -> bool {
    path.starts_with("/live/") || path == "/time"
}

/// What anybody is told who is no shield; `None`: the request may go on. A client with a certificate of the listener's
/// authority needs no signature.
pub(super) fn refusal(origin: &Origin, certified: bool, request: &Request<Body>) -> Option<Response<Body>> {
    if certified || !origin.is_locked() || !is_locked(request.uri().path()) {
        return None;
    }
    let keys: Vec<Key> = origin.config().shields.keys.iter().map(|key| Key::new(key)).collect();
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let error = signature::verify(&keys, request.method(), target, request.headers(), &signature::HEADER, now(origin));
    let error = error.err()?;
    origin.tally().refuse(BOUND, format_args!("{error}"));
    let mut response = Response::new(Body::from(format!("{error}\n")));
    *response.status_mut() = StatusCode::FORBIDDEN;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Some(response)
}

fn now(origin: &Origin) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(origin.context.clock.now().millis()).unwrap_or(0))
}
