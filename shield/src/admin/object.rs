// SPDX-License-Identifier: Apache-2.0
//! What is held under a URL, and whose keys a URL means.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Query, State};
use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};

use super::{Problem, problem, reply};
use crate::Shield;
use crate::object::Object;
use crate::purge::{Keyed, Unknown};
use crate::semantics::Freshness;

/// Which object.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// The whole URL, as an edge would ask for it.
    url: String,
}

/// What is held under a URL.
#[derive(Debug, Serialize, ToSchema)]
struct Held {
    /// The route that serves it.
    route: String,
    /// What it is kept under.
    key: String,
    /// The answers, one for each that differs by what Vary names.
    answers: Vec<HeldAnswer>,
}

/// An answer that is held.
#[derive(Debug, Serialize, ToSchema)]
struct HeldAnswer {
    /// Its status.
    status: u16,
    /// The origin that sent it.
    origin: String,
    /// Its bytes, if that is known.
    length_bytes: Option<u64>,
    /// All of them are here.
    whole: bool,
    /// How old it is.
    age_ms: u64,
    /// For how long it is fresh; of a stale one null.
    fresh_ms: Option<u64>,
    /// For how long it has been stale; of a fresh one null.
    stale_ms: Option<u64>,
    /// Its entity tag.
    etag: Option<String>,
}

/// What is held under a URL
///
/// How old it is, how long it is fresh, and which origin sent it.
#[utoipa::path(get, path = "/api/v1/object", tag = "cache", params(Asked), security(("token" = [])),
    responses((status = 200, body = Held), (status = 400, description = "Not a URL", body = Problem),
        (status = 404, description = "No route serves it, or nothing is held", body = Problem)))]
pub(super) async fn object(State(shield): State<Arc<Shield>>, Query(asked): Query<Asked>) -> Response<Body> {
    let Keyed { route, key } = match shield.keyed(&asked.url) {
        Ok(keyed) => keyed,
        Err(unknown) => return problem(status(&unknown), &unknown.to_string()),
    };
    let objects = shield.index.find(&key).map(|slot| slot.objects()).unwrap_or_default();
    if objects.is_empty() {
        return problem(StatusCode::NOT_FOUND, "expected the URL of an object that is held, nothing is under this one");
    }
    reply(StatusCode::OK, &Held { route, key, answers: objects.iter().map(|object| told(object)).collect() })
}

/// How a URL that means nothing is answered.
pub(super) fn status(unknown: &Unknown) -> StatusCode {
    match unknown {
        Unknown::Url { .. } => StatusCode::BAD_REQUEST,
        Unknown::Route { .. } => StatusCode::NOT_FOUND,
    }
}

fn told(object: &Object) -> HeldAnswer {
    let now = Instant::now();
    let whole = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (fresh_ms, stale_ms) = match object.policy.freshness(now) {
        Freshness::Fresh { .. } if object.is_outdated() => (None, Some(0)),
        Freshness::Fresh { ttl } => (Some(whole(ttl)), None),
        Freshness::Stale { by, .. } => (None, Some(whole(by))),
    };
    HeldAnswer {
        status: object.status.as_u16(),
        origin: object.origin.to_string(),
        length_bytes: object.content.length_bytes(),
        whole: object.content.bytes().is_some(),
        age_ms: whole(object.policy.age(now)),
        fresh_ms,
        stale_ms,
        etag: object.headers.get(http::header::ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned),
    }
}
