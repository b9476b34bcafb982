// SPDX-License-Identifier: Apache-2.0
//! The configuration in force, and the request to read it anew.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use http::{Response, StatusCode};
use serde_json::json;

use super::{Problem, channels, problem, reply};
use crate::administration::KeyId;
use crate::reload::Reload;
use crate::{Config, Origin};

/// The configuration in force
///
/// Keys and tokens are told by their ids.
#[utoipa::path(get, path = "/api/v1/config", tag = "operation", security(("token" = [])),
    responses((status = 200, body = Config)))]
pub(super) async fn config(State(origin): State<Arc<Origin>>) -> Response<Body> {
    let config = origin.config();
    let mut told = json!(*config);
    told["shields"]["keys"] = json!(config.shields.keys.iter().map(|key| KeyId::of(key)).collect::<Vec<_>>());
    told["api"]["tokens"] = json!(config.api.tokens.iter().map(|token| KeyId::of(token)).collect::<Vec<_>>());
    told["events"] = json!(config.events.without_secrets());
    told["defaults"] = channels::settings(&config.defaults);
    for (name, channel) in &config.channels {
        told["channels"][name] = channels::settings(channel);
    }
    reply(StatusCode::OK, &told)
}

/// Read the configuration anew, as SIGHUP does
///
/// No push, no viewer and no waiter notices. What cannot be changed while the origin runs is told as `kept`, with the
/// reason; a file that is wrong is refused with its line and leaves everything as it was.
#[utoipa::path(post, path = "/api/v1/reload", tag = "operation", security(("token" = [])),
    responses((status = 200, body = Reload), (status = 409, description = "Refused", body = Problem)))]
pub(super) async fn reload(State(origin): State<Arc<Origin>>) -> Response<Body> {
    match origin.request_reload().await {
        Ok(told) => reply(StatusCode::OK, &told),
        Err(why) => problem(StatusCode::CONFLICT, &why),
    }
}
