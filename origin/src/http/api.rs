// SPDX-License-Identifier: Apache-2.0
//! `/api/v1`: what the origin knows of its channels, and their end.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use super::text;
use crate::Origin;
use crate::channel::Command;

/// `GET /api/v1/channels`
pub(super) async fn channels(State(origin): State<Arc<Origin>>) -> Response<Body> {
    let brief = |c: &Arc<crate::Channel>| {
        let view = c.view();
        json!({ "id": c.id.as_str(), "state": view.state.as_str(), "tracks": view.ladder.tracks().len() })
    };
    let all: Vec<Value> = origin.channels().iter().map(brief).collect();
    reply(StatusCode::OK, &json!({ "channels": all, "now": origin.context.clock.now().to_string() }))
}

/// `GET /api/v1/channels/{id}`
pub(super) async fn channel(State(origin): State<Arc<Origin>>, Path(id): Path<String>) -> Response<Body> {
    let Some(channel) = origin.channel(&id) else { return missing(&id) };
    let Some(mut status) = channel.status().await else { return missing(&id) };
    if let Some(object) = status.as_object_mut() {
        object.insert("now".to_owned(), json!(origin.context.clock.now().to_string()));
    }
    reply(StatusCode::OK, &status)
}

/// `POST /api/v1/channels/{id}/end`: playlists get their end, the MPD turns static; the media stays for its window.
pub(super) async fn end(State(origin): State<Arc<Origin>>, Path(id): Path<String>) -> Response<Body> {
    let Some(channel) = origin.channel(&id) else { return missing(&id) };
    let sent = channel.send(Command::End).await;
    let status = if sent { StatusCode::ACCEPTED } else { StatusCode::CONFLICT };
    reply(status, &json!({ "id": id, "state": "ended" }))
}

/// `DELETE /api/v1/channels/{id}`: ends it and forgets its media and numbering.
pub(super) async fn remove(State(origin): State<Arc<Origin>>, Path(id): Path<String>) -> Response<Body> {
    if origin.remove(&id) { reply(StatusCode::OK, &json!({ "id": id, "state": "deleted" })) } else { missing(&id) }
}

fn missing(id: &str) -> Response<Body> {
    reply(StatusCode::NOT_FOUND, &json!({ "error": format!("no channel of the name {id:?}") }))
}

fn reply(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = text(body.to_string(), "application/json");
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
