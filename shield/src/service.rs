// SPDX-License-Identifier: Apache-2.0
//! What a connection of the shield is served by.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use headwater_net::h1::{Answer, Head, Hits};
use headwater_net::listener::{self, Connection, Routes};
use http::{Request, Response, Version};
use tower::ServiceExt;

use crate::admin;
use crate::guard::Edge;
use crate::{Shield, hit};

/// The shield on one connection.
///
/// The server clones it for every request, so a clone is a count.
#[derive(Clone)]
pub struct Service {
    inner: Arc<Inner>,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("edge", &self.inner.edge).finish_non_exhaustive()
    }
}

/// The shield's own routes for a connection, made when one of them is asked for: most never are.
type Own = Arc<dyn Fn(Connection) -> Routes + Send + Sync>;

struct Inner {
    shield: Arc<Shield>,
    edge: Edge,
    connection: Connection,
    /// What is the shield's own here, unless that has a listener to itself.
    own: Option<Own>,
}

impl Shield {
    /// What a listener serves its connections by.
    pub fn service(self: Arc<Self>) -> impl Fn(Connection) -> Service + Clone {
        let elsewhere = self.state().config.admin_listen.is_some();
        let own: Option<Own> = (!elsewhere).then(|| Arc::new(listener::routes(admin::router(&self))) as Own);
        move |connection| {
            let edge = self.edge(&connection);
            Service { inner: Arc::new(Inner { shield: Arc::clone(&self), edge, connection, own: own.clone() }) }
        }
    }
}

impl Hits for Service {
    fn hit(&self, head: &Head<'_>, answer: &mut Answer<'_>) -> bool {
        hit::hit(&self.inner.shield, head, answer)
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
        let inner = Arc::clone(&self.inner);
        if let Some(own) = &inner.own
            && admin::is_own(request.uri().path())
        {
            return Box::pin(own(inner.connection.clone()).oneshot(request));
        }
        let (parts, _) = request.into_parts();
        // What HTTP/1.1 brings was looked at as it was read.
        if parts.version == Version::HTTP_2
            && let Some(response) = hit::response(&inner.shield, &parts)
        {
            return Box::pin(std::future::ready(Ok(response)));
        }
        Box::pin(async move { Ok(inner.shield.answer(parts, &inner.edge).await) })
    }
}
