// SPDX-License-Identifier: Apache-2.0
//! Where a request comes in and its answer goes out: is it well-formed, may it be asked, whose is it; and what became of
//! it, counted and logged when its last byte is sent or its client has left.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use headwater_net::listener::Connection;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use crate::Shield;
use crate::guard::{self, Access, Asked, Edge, Refusal, hygiene};
use crate::handler::{Asking, Target};
use crate::log::Line;
use crate::metrics::{self, Class, Outcome};
use crate::respond::{Note, error, refusal};
use crate::route::{self, Route};
use crate::semantics::fields;
use crate::upstream::Arrival;

impl Shield {
    /// Who is at the other end of a connection.
    pub fn edge(&self, connection: &Connection) -> Edge {
        self.state().guard.edge(connection)
    }

    /// Answers a request of an edge.
    pub async fn answer(self: &Arc<Self>, request: Parts, edge: &Edge) -> Response<Body> {
        let came = Instant::now();
        let log = self.log.load_full();
        let mut line = log.as_ref().map(|log| Line::new(log, edge.peer(), &request));
        let (mut response, route) = self.admitted(&request, edge).await;
        let note = response.extensions_mut().remove::<Note>().unwrap_or_default();
        let waited = came.elapsed();
        if request.headers.contains_key(&fields::TIMING_ASKED) {
            time(&mut response, waited, &note);
        }
        let Some(route) = route else {
            if let Some(line) = &mut line {
                (line.answer.status, line.answer.outcome) = (Some(response.status()), Some(note.outcome));
            }
            return response;
        };
        if self.state().says_load(&route) {
            self.cmsd.append(response.headers_mut(), waited);
        }
        let (path, query) = (request.uri.path(), request.uri.query().unwrap_or(""));
        let class = class(path, query);
        route.counts.answered(class, response.status(), note.outcome);
        let told_of = || self.metrics.known_channel(&route.tenant, route::channel(path));
        let channel = note.channel.or_else(|| route.settings.live.then(told_of));
        if let Some(channel) = &channel {
            channel.answered(note.outcome, response.status(), note.stale);
        }
        if let Some(line) = &mut line {
            let answer = &mut line.answer;
            (answer.status, answer.outcome) = (Some(response.status()), Some(note.outcome));
            answer.route = Some(Arc::from(route.name.as_str()));
            answer.channel = route.settings.live.then(|| Arc::from(route::channel(path)));
            answer.first_byte = Some(waited);
            answer.upstream = note.upstream;
            // Nobody reads a body that is empty.
            answer.whole = http_body::Body::is_end_stream(response.body());
        }
        let counts = Arc::clone(&route.counts);
        response.map(|body| Body::new(Told { body, counts, class, channel, line }))
    }

    async fn admitted(self: &Arc<Self>, request: &Parts, edge: &Edge) -> (Response<Body>, Option<Arc<Route>>) {
        let read = hygiene::target(&request.uri)
            .and_then(|()| hygiene::authority(&request.uri, &request.headers, request.version));
        let host = match read {
            Ok(host) => host,
            Err(refused) => return (self.refuse(&refused), None),
        };
        if self.identity.has_seen(&request.headers) {
            let words = "expected a request that has not passed here before";
            return (refusal(StatusCode::LOOP_DETECTED, words, "loop"), None);
        }
        let target = Target { host, path: request.uri.path(), query: request.uri.query().unwrap_or("") };
        let state = self.state.load_full();
        let Some(route) = state.routes.find(target.host, target.path) else {
            return (refusal(StatusCode::NOT_FOUND, "expected a path that a route serves", "route"), None);
        };
        let kind = route::Kind::of(target.path, target.query);
        let class = match route.settings.live && self.is_live_edge(route, target, kind) {
            true => guard::Class::LiveEdge,
            false => guard::Class::Rest,
        };
        let proven =
            request.uri.path_and_query().map(|told| self.siblings.arrival(&request.method, told, &request.headers));
        if let Some(Arrival::Unproven(error)) = &proven {
            // Answered as an edge is.
            self.tally.refuse("sibling", format_args!("expected a sibling's signature: {error}"));
        }
        let of_sibling = matches!(proven, Some(Arrival::Sibling));
        // A sibling has looked at its edge's token and address itself, and sends neither on.
        let access = if of_sibling { &Access::ANYBODY } else { &route.access };
        let channel = route::channel(target.path);
        let asked = Asked { tenant: &route.tenant, channel, path: target.path, query: target.query, class };
        let pass = match state.guard.admit(edge, access, &asked) {
            Ok(pass) => pass,
            Err(refused) => return (self.refuse(&refused), Some(Arc::clone(route))),
        };
        let asking = Asking { shield: self, route, target, request, kind, of_sibling };
        let response = asking.answer().await;
        (response.map(|body| pass.keep(body)), Some(Arc::clone(route)))
    }

    /// What viewers need to go on: playlists, and media that is new or about to come.
    fn is_live_edge(&self, route: &Arc<Route>, target: Target<'_>, kind: route::Kind) -> bool {
        kind.is_playlist() || kind == route::Kind::Header || self.edges.is_near(route, target.host, target.path)
    }

    fn refuse(&self, refused: &Refusal) -> Response<Body> {
        self.tally.refuse(refused.bound, format_args!("{}", refused.words));
        let mut response = error(refused.status, refused.words, refused.retry_after);
        let limited = matches!(refused.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        let outcome = if limited { Outcome::Limited } else { Outcome::Error };
        response.extensions_mut().insert(Note { outcome, ..Note::default() });
        response
    }
}

/// What counts separately.
pub(crate) fn class(path: &str, query: &str) -> Class {
    match route::Kind::of(path, query) {
        route::Kind::Blocking => Class::Blocking,
        route::Kind::Playlist if path.ends_with(".mpd") || path.ends_with(".mpp") => Class::Manifest,
        route::Kind::Playlist => Class::Playlist,
        route::Kind::Header => Class::Header,
        route::Kind::Media if route::is_part(path) => Class::Part,
        route::Kind::Media => Class::Segment,
        route::Kind::Other => Class::Other,
    }
}

/// Says how long the shield took, and where (Server-Timing, W3C).
fn time(response: &mut Response<Body>, waited: Duration, note: &Note) {
    let total = waited.as_secs_f64() * 1e3;
    let text = format!("shield;dur={total:.3};desc=\"{}\"", note.outcome.as_str());
    if let Ok(value) = HeaderValue::from_str(&text) {
        response.headers_mut().append("server-timing", value);
    }
}

/// A body whose bytes are counted, and whose line is written at its end.
struct Told {
    body: Body,
    counts: Arc<metrics::Route>,
    class: Class,
    channel: Option<Arc<metrics::Channel>>,
    line: Option<Line>,
}

impl http_body::Body for Told {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(Some(data))) = frame.as_ref().map(|frame| frame.as_ref().map(Frame::data_ref)) {
            let bytes = data.len() as u64;
            self.counts.sent(self.class, bytes);
            if let Some(channel) = &self.channel {
                channel.sent(bytes);
            }
            if let Some(line) = &mut self.line {
                line.answer.bytes += bytes;
            }
        }
        let ended = frame.is_none() || self.body.is_end_stream();
        if let Some(line) = &mut self.line {
            line.answer.whole |= ended;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
