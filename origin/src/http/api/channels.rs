// SPDX-License-Identifier: Apache-2.0
//! Channels: told, made, changed, ended, deleted.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use http::{Response, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{Problem, blocking, missing, object, reply};
use crate::administration::{Changed, KeyId};
use crate::channel::{Channel, Command, Source, Status};
use crate::{Origin, config};

/// Every channel in brief.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Channels {
    /// By name.
    channels: Vec<Brief>,
    /// When this was told.
    now: String,
}

/// A channel in brief.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Brief {
    /// Its name.
    id: String,
    /// `starting`, `live`, `stalled` or `ended`.
    state: &'static str,
    /// Who said that there is this channel.
    source: Source,
    /// Tracks with media.
    tracks: usize,
}

/// A channel's settings.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Described {
    /// Its name.
    id: String,
    /// Who said that there is this channel.
    source: Source,
    /// It will be there after a restart.
    kept: bool,
    /// What is in force; keys by their ids.
    #[schema(value_type = config::Channel)]
    settings: Value,
}

/// What became of a channel.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Fate {
    /// Its name.
    id: String,
    /// `ended` or `deleted`.
    state: &'static str,
    /// What brings it back, if anything does.
    #[serde(skip_serializing_if = "Option::is_none")]
    returns: Option<&'static str>,
}

/// Settings as they may be told.
pub(super) fn settings(channel: &config::Channel) -> Value {
    let keys: Vec<KeyId> = channel.keys.iter().map(|key| KeyId::of(key)).collect();
    let mut value = json!(channel);
    value["keys"] = json!(keys);
    value
}

fn described(changed: &Changed) -> Described {
    let channel: &Channel = &changed.channel;
    Described {
        id: channel.id.to_string(),
        source: channel.source(),
        kept: changed.kept,
        settings: settings(&channel.settings()),
    }
}

/// Every channel with its state
#[utoipa::path(get, path = "/api/v1/channels", tag = "channels", responses((status = 200, body = Channels)))]
pub(super) async fn list(State(origin): State<Arc<Origin>>) -> Response<Body> {
    let brief = |c: &Arc<Channel>| {
        let view = c.view();
        let (state, tracks) = (view.state.as_str(), view.ladder.tracks().len());
        Brief { id: c.id.to_string(), state, source: c.source(), tracks }
    };
    let channels = origin.channels().iter().map(brief).collect();
    reply(StatusCode::OK, &Channels { channels, now: origin.context.clock.now().to_string() })
}

/// State of a channel
#[utoipa::path(get, path = "/api/v1/channels/{id}", tag = "channels", params(("id", description = "Its name")),
    responses((status = 200, body = Status), (status = 404, body = Problem)))]
pub(super) async fn state(State(origin): State<Arc<Origin>>, Path(id): Path<String>) -> Response<Body> {
    let Some(channel) = origin.channel(&id) else { return missing(&id) };
    match channel.status().await {
        Some(status) => reply(StatusCode::OK, &status),
        None => missing(&id),
    }
}

/// Make a channel, or give one that the API made these settings
///
/// Fields that are not given have the value of `[defaults]`. A channel that began with a push is kept from here on. The
/// channel survives a restart where `data_dir` is set.
#[utoipa::path(put, path = "/api/v1/channels/{id}", tag = "channels", params(("id", description = "Its name")),
    request_body = config::Channel, security(("token" = [])), responses(
        (status = 201, description = "Made", body = Described), (status = 200, description = "Changed", body = Described),
        (status = 400, description = "No name, or no settings", body = Problem),
        (status = 409, description = "Configured in the file, or a field that is fixed for a channel's life", body = Problem),
        (status = 503, description = "At the bound of channels", body = Problem)))]
pub(super) async fn put(State(origin): State<Arc<Origin>>, Path(id): Path<String>, body: Body) -> Response<Body> {
    let said = match object(body).await {
        Ok(said) => said,
        Err(refused) => return refused,
    };
    match blocking(&origin, move |origin| origin.put_channel(&id, said)).await {
        Ok(changed) => {
            let status = if changed.created { StatusCode::CREATED } else { StatusCode::OK };
            reply(status, &described(&changed))
        }
        Err(refused) => refused,
    }
}

/// Change some settings of a channel that the API made
///
/// `null` takes the value of `[defaults]` again. In force at once, except `segment_ms` and `part_ms`, which are refused:
/// they are fixed for a channel's life.
#[utoipa::path(patch, path = "/api/v1/channels/{id}", tag = "channels", params(("id", description = "Its name")),
    request_body = config::Channel, security(("token" = [])), responses((status = 200, body = Described),
        (status = 400, description = "No settings", body = Problem), (status = 404, body = Problem),
        (status = 409, description = "Not made by the API, or a field that is fixed for a channel's life", body = Problem)))]
pub(super) async fn patch(State(origin): State<Arc<Origin>>, Path(id): Path<String>, body: Body) -> Response<Body> {
    let said = match object(body).await {
        Ok(said) => said,
        Err(refused) => return refused,
    };
    match blocking(&origin, move |origin| origin.patch_channel(&id, &said)).await {
        Ok(changed) => reply(StatusCode::OK, &described(&changed)),
        Err(refused) => refused,
    }
}

/// End a channel: playlists get their end, the MPD turns static
///
/// Media stays until the channel is deleted.
#[utoipa::path(post, path = "/api/v1/channels/{id}/end", tag = "channels", params(("id", description = "Its name")),
    security(("token" = [])), responses((status = 202, body = Fate), (status = 404, body = Problem),
        (status = 409, description = "It is being deleted", body = Problem)))]
pub(super) async fn end(State(origin): State<Arc<Origin>>, Path(id): Path<String>) -> Response<Body> {
    let Some(channel) = origin.channel(&id) else { return missing(&id) };
    let sent = channel.send(Command::End).await;
    let status = if sent { StatusCode::ACCEPTED } else { StatusCode::CONFLICT };
    reply(status, &Fate { id, state: "ended", returns: None })
}

/// End a channel and forget it, its media, its numbering and its settings
///
/// One of the configuration begins anew with the next reload or restart: take it out of the file to be rid of it. One that
/// began with a push may begin with another.
#[utoipa::path(delete, path = "/api/v1/channels/{id}", tag = "channels", params(("id", description = "Its name")),
    security(("token" = [])), responses((status = 200, body = Fate), (status = 404, body = Problem)))]
pub(super) async fn remove(State(origin): State<Arc<Origin>>, Path(id): Path<String>) -> Response<Body> {
    let name = id.clone();
    let source = match blocking(&origin, move |origin| Ok(origin.remove(&name))).await {
        Ok(Some(source)) => source,
        Ok(None) => return missing(&id),
        Err(refused) => return refused,
    };
    let returns = match source {
        Source::File => Some("with the next reload or restart: it is in the configuration"),
        Source::Push if origin.config().channels_from_push => Some("with the next push"),
        Source::Push | Source::Api => None,
    };
    reply(StatusCode::OK, &Fate { id, state: "deleted", returns })
}
