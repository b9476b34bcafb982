// SPDX-License-Identifier: Apache-2.0
//! What a connection is served by: the routes, and beside them a short way for what viewers fetch.
//!
//! A playlist or a part is found by one look at its path, so `/live/` skips the router and its boxes: they cost a
//! playlist hit more than finding it does.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::State;
use headwater_net::h1::{Answer, Head, Hits};
use http::{Request, Response};
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

use super::{hit, live, lock};
use crate::Origin;

type Routes = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// The origin on one connection.
///
/// The server clones it for every request, so a clone is a count.
#[derive(Clone, Debug)]
pub struct Service {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    origin: Arc<Origin>,
    routes: Routes,
    /// The client showed a certificate that the listener's authority vouches for.
    certified: bool,
}

impl Service {
    /// Serves `/live/` itself and leaves the rest to `routes`.
    pub(crate) fn new(origin: Arc<Origin>, routes: Routes, certified: bool) -> Self {
        Self { inner: Arc::new(Inner { origin, routes, certified }) }
    }
}

impl tower::Service<Request<Body>> for Service {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if let Some(refused) = lock::refusal(&self.inner.origin, self.inner.certified, &request) {
            return Box::pin(std::future::ready(Ok(refused)));
        }
        if !request.uri().path().starts_with("/live/") {
            return Box::pin(self.inner.routes.clone().oneshot(request));
        }
        let (parts, _) = request.into_parts();
        let origin = Arc::clone(&self.inner.origin);
        Box::pin(async move { Ok(live::handle(origin, parts).await) })
    }
}

impl Hits for Service {
    fn hit(&self, head: &Head<'_>, answer: &mut Answer<'_>) -> bool {
        let open = self.inner.certified || !self.inner.origin.is_locked();
        open && hit::hit(&self.inner.origin, head, answer)
    }
}

/// The same as a route, for a router without a listener.
pub(super) async fn live(State(origin): State<Arc<Origin>>, request: Request<Body>) -> Response<Body> {
    let (parts, _) = request.into_parts();
    live::handle(origin, parts).await
}
