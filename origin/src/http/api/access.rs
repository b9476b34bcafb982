// SPDX-License-Identifier: Apache-2.0
//! The API behind those who may use it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use headwater_net::access::{self, CHALLENGE, Refused};
use headwater_net::listener::Connection;
use http::Response;
use http::header::WWW_AUTHENTICATE;

use super::problem;
use crate::Origin;

/// Lets those pass who may read.
pub(super) async fn read(State(origin): State<Arc<Origin>>, request: Request, next: Next) -> Response<Body> {
    match access::read(&origin.config().api.tokens, request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refused) => refuse(refused),
    }
}

/// Lets those pass who may change, or read what is not for everybody.
pub(super) async fn change(State(origin): State<Arc<Origin>>, request: Request, next: Next) -> Response<Body> {
    let peer = request.extensions().get::<Connection>().map(|connection| connection.peer.ip());
    match access::change(&origin.config().api.tokens, peer, request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refused) => refuse(refused),
    }
}

fn refuse(refused: Refused) -> Response<Body> {
    let mut response = problem(refused.status(), &refused.to_string());
    if refused == Refused::Token {
        response.headers_mut().insert(WWW_AUTHENTICATE, CHALLENGE);
    }
    response
}
