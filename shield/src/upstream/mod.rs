// SPDX-License-Identifier: Apache-2.0
//! Origins that serve the same, asked as if they were one: a request fails only if every one of them fails it.
//!
//! [`Group::ask`] chooses an origin, goes on to the next where that helps, and hands back the first good head with a
//! [`Body`] that never ends cleanly before its end. [`Group::resume`] goes on with a body that broke off, byte-exactly
//! or not at all. What is known of the origins' health is a pure machine ([`health`], [`latch`]) that is told the time.

mod ask;
mod body;
mod budget;
mod check;
mod connect;
mod error;
mod group;
pub mod health;
mod identity;
pub mod latch;
mod machine;
mod origin;
mod resume;
mod siblings;
mod state;
mod voice;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, response};
use tower::util::BoxCloneSyncService;

use crate::metrics;

pub use body::{Body, BodyError, Framing};
pub use error::{Cause, Error, Invalid};
pub use group::Group;
pub use identity::{CDN_LOOP, Identity};
pub use latch::Stall;
pub use resume::Resume;
pub use siblings::{Arrival, HOP, Siblings, Visit};
pub use state::{GroupState, OriginState};

/// The origin in this process: asked without a socket.
pub type Local = BoxCloneSyncService<Request<axum::body::Body>, Response<axum::body::Body>, Infallible>;

/// What is asked of a group.
#[derive(Clone, Debug)]
pub struct Ask {
    /// GET and HEAD go on to another origin where one fails, anything else is asked once.
    pub method: Method,
    /// Path and query as the origin is to see them.
    pub target: PathAndQuery,
    /// The Host that was asked for; one that the configuration names comes before it.
    pub host: Option<HeaderValue>,
    /// End-to-end fields, conditional ones included.
    pub headers: HeaderMap,
    /// The origin may hold it for what comes next: its head may take longer, and no hedge is made.
    pub held: bool,
    /// It is at the live edge: a 404 of one origin is worth asking the next.
    pub at_edge: bool,
    /// It begins a segment: the channel may go back to its preferred origin here.
    pub boundary: bool,
    /// The channel whose origin is kept to, and whose stalls count.
    pub channel: Option<Arc<str>>,
    /// What is counted of its channel's requests to origins.
    pub counts: Option<Arc<metrics::Channel>>,
}

impl Ask {
    /// GET of `target`, with nothing else said.
    pub fn get(target: PathAndQuery) -> Self {
        Self {
            method: Method::GET,
            target,
            host: None,
            headers: HeaderMap::new(),
            held: false,
            at_edge: false,
            boundary: false,
            channel: None,
            counts: None,
        }
    }

    /// May be asked of several origins (RFC 9110, 9.2.2; methods that bring a body are left out on purpose).
    fn is_repeatable(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD)
    }
}

/// Names an origin of a group for the group's life, over reloads of the configuration too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OriginId(u32);

impl OriginId {
    /// None of the group's: a sibling.
    pub(crate) const ELSEWHERE: Self = Self(u32::MAX);
}

/// A moment on both clocks: the one that never jumps, and UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Never goes back.
    pub instant: Instant,
    /// UTC.
    pub utc: SystemTime,
}

impl Moment {
    fn now() -> Self {
        Self { instant: tokio::time::Instant::now().into_std(), utc: SystemTime::now() }
    }
}

/// The head that was taken, and the body behind it.
#[derive(Debug)]
pub struct Answer {
    /// Status and fields as they came.
    pub head: response::Parts,
    /// What follows.
    pub body: Body,
    /// Who answered.
    pub origin: OriginId,
    /// When the request that brought this answer was sent (RFC 9111, 4.2.3: `request_time`).
    pub requested: Moment,
    /// When its head came (`response_time`).
    pub received: Moment,
    /// Origins that were asked for it, this one included.
    pub attempts: u32,
}
