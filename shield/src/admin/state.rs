// SPDX-License-Identifier: Apache-2.0
//! The shield as it is now.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use http::{Response, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::reply;
use crate::Shield;
use crate::follow::FollowState;
use crate::upstream::GroupState;

/// A shield.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = State)]
pub(super) struct Now {
    /// This program.
    version: &'static str,
    /// Groups of origins.
    upstreams: Vec<GroupState>,
    /// What is held.
    cache: CacheState,
    /// What comes by events.
    follow: FollowState,
    /// Routes, in the order in which they are looked through.
    routes: Vec<RouteState>,
    /// Requests that are being answered.
    requests: usize,
    /// Those of them that are held for what comes next.
    held: usize,
    /// Connections of edges open now.
    connections: usize,
    /// It is stopping.
    stopping: bool,
}

/// What is held.
#[derive(Debug, Serialize, ToSchema)]
struct CacheState {
    /// Bytes in memory, of what is arriving too.
    memory_bytes: u64,
    /// Their bound.
    memory_bytes_max: u64,
    /// Those of them that stay, for they are of the live edge.
    live_bytes: u64,
    /// Objects in memory.
    objects: usize,
    /// URLs of which something is known.
    keys: usize,
    /// Objects that left memory for others.
    evicted: u64,
}

/// A route.
#[derive(Debug, Serialize, ToSchema)]
struct RouteState {
    /// Its name.
    name: String,
    /// Whose objects it shares.
    tenant: String,
    /// Its hosts; none: any.
    hosts: Vec<String>,
    /// What its paths begin with.
    prefix: String,
    /// Its group of origins.
    upstream: String,
}

/// The shield as it is now
///
/// Each origin's health and why it is down, the channels that play from another than the preferred one, and what is held.
#[utoipa::path(get, path = "/api/v1/state", tag = "state", security(("token" = [])),
    responses((status = 200, body = Now)))]
pub(super) async fn state(State(shield): State<Arc<Shield>>) -> Response<Body> {
    let state = shield.state();
    let memory = &shield.memory;
    let route = |route: &Arc<crate::route::Route>| RouteState {
        name: route.name.clone(),
        tenant: route.tenant.clone(),
        hosts: route.settings.hosts.clone(),
        prefix: route.settings.prefix.clone(),
        upstream: route.settings.upstream.clone(),
    };
    let now = Now {
        version: env!("CARGO_PKG_VERSION"),
        upstreams: state.groups.values().map(|group| group.state()).collect(),
        cache: CacheState {
            memory_bytes: memory.held_bytes(),
            memory_bytes_max: memory.bytes_max(),
            live_bytes: memory.live_bytes(),
            objects: memory.residents(),
            keys: shield.index.len(),
            evicted: memory.evicted(),
        },
        follow: shield.following.state(),
        routes: state.routes.all().iter().map(route).collect(),
        requests: state.guard.requests(),
        held: state.guard.held(),
        connections: shield.tally.open(),
        stopping: shield.shutdown.is_started(),
    };
    reply(StatusCode::OK, &now)
}
