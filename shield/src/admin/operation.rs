// SPDX-License-Identifier: Apache-2.0
//! The configuration in force, the request to read it anew, and origins taken out for work or drills.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use headwater_net::access::KeyId;
use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{Problem, problem, reply, said};
use crate::upstream::GroupState;
use crate::{Config, Shield, Told};

/// Which origin of a group.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Its address, as configured.
    #[schema(example = "http://127.0.0.1:8080")]
    origin: String,
}

/// The configuration in force
///
/// Keys and tokens are told by their ids.
#[utoipa::path(get, path = "/api/v1/config", tag = "operation", security(("token" = [])),
    responses((status = 200, body = Config)))]
pub(super) async fn config(State(shield): State<Arc<Shield>>) -> Response<Body> {
    reply(StatusCode::OK, &without_secrets(&shield.config()))
}

fn without_secrets(config: &Config) -> Value {
    let mut told = json!(config);
    hide(&mut told["api"]["tokens"]);
    hide(&mut told["siblings"]["key"]);
    hide(&mut told["follow"]["token"]);
    told["events"] = json!(config.events.without_secrets());
    for upstream in tables(&mut told["upstreams"]) {
        hide(&mut upstream["key"]);
    }
    for route in tables(&mut told["routes"]) {
        hide(&mut route["token_keys"]);
    }
    told
}

fn tables(value: &mut Value) -> impl Iterator<Item = &mut Value> {
    value.as_object_mut().into_iter().flatten().map(|(_, table)| table)
}

/// Puts ids in the place of secrets.
fn hide(secrets: &mut Value) {
    match secrets {
        Value::String(secret) => *secret = KeyId::of(secret).as_str().to_owned(),
        Value::Array(several) => several.iter_mut().for_each(hide),
        _ => {}
    }
}

/// Read the configuration anew, as SIGHUP does
///
/// No request fails, and what is held stays. What cannot be changed while the shield runs is told as `kept`, with the
/// reason; a file that is wrong is refused with its line and leaves everything as it was.
#[utoipa::path(post, path = "/api/v1/reload", tag = "operation", security(("token" = [])),
    responses((status = 200, body = Told), (status = 409, description = "Refused", body = Problem)))]
pub(super) async fn reload(State(shield): State<Arc<Shield>>) -> Response<Body> {
    match shield.request_reload().await {
        Ok(told) => reply(StatusCode::OK, &told),
        Err(why) => problem(StatusCode::CONFLICT, &why),
    }
}

/// Take an origin out
///
/// As if it were down: its channels are switched at once, and it is asked only where no other answers. It stays out over
/// reloads, until it is put back or the shield starts anew.
#[utoipa::path(post, path = "/api/v1/upstreams/{name}/drain", tag = "operation", security(("token" = [])),
    params(("name" = String, Path, description = "The group")), request_body = Which,
    responses((status = 200, body = GroupState), (status = 404, description = "No such group or origin", body = Problem)))]
pub(super) async fn drain(State(shield): State<Arc<Shield>>, Path(name): Path<String>, body: Body) -> Response<Body> {
    drained(&shield, &name, body, true).await
}

/// Put an origin back
///
/// It is used again as one that has recovered: channels go back to a preferred origin at a segment's begin, after the
/// hold-down.
#[utoipa::path(post, path = "/api/v1/upstreams/{name}/undrain", tag = "operation", security(("token" = [])),
    params(("name" = String, Path, description = "The group")), request_body = Which,
    responses((status = 200, body = GroupState), (status = 404, description = "No such group or origin", body = Problem)))]
pub(super) async fn undrain(State(shield): State<Arc<Shield>>, Path(name): Path<String>, body: Body) -> Response<Body> {
    drained(&shield, &name, body, false).await
}

async fn drained(shield: &Arc<Shield>, name: &str, body: Body, out: bool) -> Response<Body> {
    let which: Which = match said(body).await {
        Ok(which) => which,
        Err(response) => return response,
    };
    let Some(group) = shield.state().groups.get(name).cloned() else {
        let words = format!("expected the name of one of [upstreams], there is none called {name:?}");
        return problem(StatusCode::NOT_FOUND, &words);
    };
    if group.drain(&which.origin, out).is_none() {
        let words = format!("expected the address of an origin of {name}, as configured, got {:?}", which.origin);
        return problem(StatusCode::NOT_FOUND, &words);
    }
    reply(StatusCode::OK, &group.state())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Route, Upstream};
    use headwater_events::config::Webhook;

    #[test]
    fn no_secret_of_the_configuration_is_told() {
        let mut config = Config::default();
        let secret = || "s3cret".to_owned();
        config.api.tokens = vec![secret()];
        config.siblings.key = Some(secret());
        config.follow.token = Some(secret());
        config.events.webhook = Some(Webhook { key: Some(secret()), ..Webhook::default() });
        config.upstreams.insert("main".to_owned(), Upstream { key: Some(secret()), ..Upstream::default() });
        config.routes.insert("live".to_owned(), Route { token_keys: vec![secret()], ..Route::default() });
        let told = without_secrets(&config).to_string();
        assert!(!told.contains("s3cret"), "{told}");
        assert_eq!(told.matches(KeyId::of("s3cret").as_str()).count(), 6);
    }
}
