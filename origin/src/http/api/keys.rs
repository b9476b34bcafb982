// SPDX-License-Identifier: Apache-2.0
//! Stream keys of a channel: told by their ids, made at random, taken away.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use http::{Response, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Problem, blocking, missing, reply};
use crate::Origin;
use crate::administration::KeyId;

/// The keys of a channel.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Keys {
    /// By their ids: the beginning of each one's SHA-256.
    keys: Vec<KeyId>,
}

/// A new key.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NewKey {
    /// Its id.
    id: KeyId,
    /// The key itself; it is not told again.
    key: String,
}

/// The ids of a channel's keys
#[utoipa::path(get, path = "/api/v1/channels/{id}/keys", tag = "keys", params(("id", description = "The channel")),
    security(("token" = [])), responses((status = 200, body = Keys), (status = 404, body = Problem)))]
pub(super) async fn list(State(origin): State<Arc<Origin>>, Path(id): Path<String>) -> Response<Body> {
    match origin.channel(&id) {
        Some(channel) => {
            let keys = channel.settings().keys.iter().map(|key| KeyId::of(key)).collect();
            reply(StatusCode::OK, &Keys { keys })
        }
        None => missing(&id),
    }
}

/// Add a random key to a channel that the API made
///
/// The answer tells it this once. The keys before it stay good until they are deleted, so that encoders can be moved one
/// by one.
#[utoipa::path(post, path = "/api/v1/channels/{id}/keys", tag = "keys", params(("id", description = "The channel")),
    security(("token" = [])), responses((status = 201, body = NewKey), (status = 404, body = Problem),
        (status = 409, description = "Not made by the API, or too many keys", body = Problem)))]
pub(super) async fn add(State(origin): State<Arc<Origin>>, Path(id): Path<String>) -> Response<Body> {
    match blocking(&origin, move |origin| origin.add_key(&id)).await {
        Ok((id, key)) => reply(StatusCode::CREATED, &NewKey { id, key }),
        Err(refused) => refused,
    }
}

/// Take a key away
///
/// A push that runs goes on: a key is asked for at the head of each request. The last key is not taken, since without one
/// any push is admitted.
#[utoipa::path(delete, path = "/api/v1/channels/{id}/keys/{key}", tag = "keys",
    params(("id", description = "The channel"), ("key", description = "The key's id")), security(("token" = [])),
    responses((status = 200, body = Keys), (status = 404, body = Problem),
        (status = 409, description = "Not made by the API, or the last key", body = Problem)))]
pub(super) async fn remove(
    State(origin): State<Arc<Origin>>,
    Path((id, key)): Path<(String, String)>,
) -> Response<Body> {
    let name = id.clone();
    match blocking(&origin, move |origin| origin.remove_key(&name, &key)).await {
        Ok(()) => list(State(origin), Path(id)).await,
        Err(refused) => refused,
    }
}
