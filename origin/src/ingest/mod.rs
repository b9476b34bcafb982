// SPDX-License-Identifier: Apache-2.0
//! HTTP ingest: DASH-IF Live Media Ingest interface 1, and the DASH and HLS pushes of ffmpeg and its kin (interface 2).
//!
//! What encoders forgive decides the manners here: a healthy connection is never closed, a body is read to its end
//! before the answer, and a refusal is answered before it closes.

pub mod auth;
pub mod body;
pub mod digest;
mod hints;
pub mod names;
mod told;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use headwater_net::listener::Connection;
use http::header::{ALLOW, CONNECTION, CONTENT_ENCODING, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use tracing::{info, warn};

use crate::channel::{Channel, Command};
use crate::metrics::{ChannelLabel, DefectLabel};
use crate::{Declined, Origin};
use names::Target;

pub use told::Told;

/// The prefix of publishing points.
pub const PREFIX: &str = "/ingest/";

/// When an encoder may find the origin again that stops now, or another in its place.
const STOPPING_SECONDS: u32 = 2;

/// How long a refused body is read on, so that the answer is not reset on its way.
const LINGER: Duration = Duration::from_secs(2);

/// Answers any request under [`PREFIX`].
pub async fn handle(State(origin): State<Arc<Origin>>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(path) = percent_decode_str(parts.uri.path()).decode_utf8().map(String::from) else {
        return refuse(body, StatusCode::BAD_REQUEST, "expected a path in UTF-8");
    };
    let rest = path.strip_prefix(PREFIX).unwrap_or("").trim_start_matches('/');
    let (channel_name, rest) = rest.split_once('/').unwrap_or((rest, ""));
    if parts.method == Method::OPTIONS {
        return options();
    }
    if rest == "time" && (parts.method == Method::GET || parts.method == Method::HEAD) {
        return crate::http::time(&origin);
    }
    if origin.context.shutdown.is_started() {
        origin.count_refused("stopping");
        return later(body, "expected a running origin, this one is stopping; try again", STOPPING_SECONDS);
    }
    let config = origin.config();
    let connection = parts.extensions.get::<Connection>();
    // Authorisation comes before the body: it decides whether `100 Continue` is sent.
    if config.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some()) && !connection.is_some_and(|c| c.certified) {
        origin.count_refused("no_certificate");
        return refuse(body, StatusCode::FORBIDDEN, "expected a client certificate that tls.client_ca vouches for");
    }
    let keys = origin.keys_of(channel_name);
    let now = origin.context.clock.now();
    let asked = auth::Asked { method: &parts.method, uri: &parts.uri, headers: &parts.headers, now };
    let rest = match auth::check(&keys, rest, &asked, &origin.nonces) {
        auth::Verdict::Admitted(rest) => rest.to_owned(),
        verdict @ (auth::Verdict::Missing | auth::Verdict::Stale) => {
            let stale = verdict == auth::Verdict::Stale;
            origin.count_refused(if stale { "stale" } else { "unauthorised" });
            let words = "expected a stream key: Basic or Digest password, Bearer, ?token= or first folder";
            let mut response = refuse(body, StatusCode::UNAUTHORIZED, words);
            let headers = response.headers_mut();
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"ingest\""));
            for challenge in origin.nonces.challenges(now, stale) {
                headers.append(WWW_AUTHENTICATE, challenge);
            }
            return response;
        }
        auth::Verdict::Wrong => {
            origin.count_refused("forbidden");
            warn!(channel = channel_name, "push refused: wrong key");
            return refuse(body, StatusCode::FORBIDDEN, "expected one of this channel's stream keys, got another");
        }
    };
    match parts.method.as_str() {
        "PUT" | "POST" => {}
        "DELETE" => {
            // What is in our window stays; encoders tidy up what they believe to be their files.
            body::drain(body, LINGER).await;
            return empty(StatusCode::OK);
        }
        "MKCOL" => return empty(StatusCode::CREATED),
        "GET" | "HEAD" => return empty(StatusCode::NOT_FOUND),
        _ => {
            let mut response = refuse(body, StatusCode::METHOD_NOT_ALLOWED, "expected PUT, POST or DELETE");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(ALLOWED));
            return response;
        }
    }
    if let Some(connection) = connection {
        connection.acknowledge_quickly();
    }
    if parts.headers.contains_key(http::header::CONTENT_RANGE) {
        origin.count_refused("content_range");
        return refuse(body, StatusCode::NOT_IMPLEMENTED, "expected a whole body, got a Content-Range");
    }
    let target = match Target::parse(&rest) {
        Ok(target) => target,
        Err(names::Error::Kind) => {
            return refuse(body, StatusCode::UNSUPPORTED_MEDIA_TYPE, &names::Error::Kind.to_string());
        }
        Err(error) => return refuse(body, StatusCode::FORBIDDEN, &error.to_string()),
    };
    let channel = match origin.channel_for_push(channel_name) {
        Ok(channel) => channel,
        Err(declined) => {
            origin.count_refused(declined.reason());
            warn!(channel = channel_name, reason = %declined, "push refused");
            return match declined {
                Declined::Unknown => refuse(body, StatusCode::NOT_FOUND, &declined.to_string()),
                Declined::Name(_) => refuse(body, StatusCode::FORBIDDEN, &declined.to_string()),
                Declined::Full | Declined::Memory => later(body, &declined.to_string(), 10),
            };
        }
    };
    let _place = match Place::take(&origin, &channel) {
        Ok(place) => place,
        Err((bound, max)) => {
            origin.count_refused(bound);
            let words = format!("expected at most {max} request bodies at once; try again");
            origin.context.tally.refuse(bound, format_args!("{words} (channel {channel_name})"));
            return later(body, &words, 1);
        }
    };
    match target {
        Target::Mpd => manifest(&origin, &channel, None, body).await,
        Target::Playlist(path) => manifest(&origin, &channel, Some(path), body).await,
        Target::Stream { name, path, object } => {
            let gzip = parts.headers.get(CONTENT_ENCODING).is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"gzip"));
            let stream = Stream { name: &name, path: &path, object, gzip };
            media(&origin, &channel, stream, body).await
        }
    }
}

/// A place among the bodies that are open, in all and of a channel; freed when dropped.
struct Place<'a> {
    origin: &'a Origin,
    channel: &'a Channel,
}

impl<'a> Place<'a> {
    /// # Errors
    /// The bound that is reached: its name and its number.
    fn take(origin: &'a Origin, channel: &'a Channel) -> Result<Self, (&'static str, usize)> {
        let config = origin.config();
        let limits = &config.ingest;
        let all = origin.bodies.fetch_add(1, Ordering::Relaxed);
        let here = channel.pushes.fetch_add(1, Ordering::Relaxed);
        let place = Self { origin, channel };
        if all >= limits.bodies_max {
            return Err(("bodies", limits.bodies_max));
        }
        if here >= limits.bodies_per_channel_max {
            return Err(("bodies_per_channel", limits.bodies_per_channel_max));
        }
        Ok(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.origin.bodies.fetch_sub(1, Ordering::Relaxed);
        self.channel.pushes.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A body being read. hyper drops the handler when the connection breaks, so its end is told from here.
struct Open {
    channel: Arc<Channel>,
    name: String,
    /// The body's number.
    id: u64,
    /// An endless body, whose begin and end are worth a log line.
    long: bool,
    gauge: crate::metrics::Gauge,
    clock: crate::Clock,
}

impl Open {
    async fn begin(origin: &Origin, channel: &Arc<Channel>, name: &str, long: bool) -> Self {
        let label = ChannelLabel { channel: channel.id.to_string() };
        let gauge = origin.context.metrics.ingest_open.get_or_create_owned(&label);
        gauge.inc();
        if long {
            info!(channel = %channel.id, stream = name, "push begins");
        }
        let clock = origin.context.clock;
        channel.body_opened(clock.now());
        let open =
            Self { channel: Arc::clone(channel), name: name.to_owned(), id: body::next_id(), long, gauge, clock };
        channel.send(Command::Opened { name: name.to_owned() }).await;
        open
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.gauge.dec();
        self.channel.body_closed(self.clock.now());
        if self.long {
            info!(channel = %self.channel.id, stream = self.name, "push ends");
        }
        let (channel, name, body) = (Arc::clone(&self.channel), std::mem::take(&mut self.name), self.id);
        tokio::spawn(async move { channel.send(Command::Closed { name, body }).await });
    }
}

/// What a request's path and headers say of its body.
#[derive(Clone, Copy)]
struct Stream<'a> {
    name: &'a str,
    path: &'a str,
    object: bool,
    gzip: bool,
}

async fn media(origin: &Origin, channel: &Arc<Channel>, stream: Stream<'_>, mut body: Body) -> Response<Body> {
    let Stream { name, path, object, gzip } = stream;
    let bytes =
        origin.context.metrics.ingest_bytes.get_or_create_owned(&ChannelLabel { channel: channel.id.to_string() });
    let open = Open::begin(origin, channel, name, !object).await;
    let received = move |n: u64| {
        bytes.inc_by(n);
    };
    let config = origin.config();
    let context =
        body::Context { channel, id: open.id, limits: &config.ingest, name, path, object, gzip, received: &received };
    match body::read(&context, &mut body).await {
        Ok(()) => {
            origin.tell_of(channel).await;
            empty(StatusCode::OK)
        }
        Err(error) => {
            let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
            warn!(channel = %channel.id, stream = name, path, status = status.as_u16(), "push broken off: {error}");
            // A channel that is gone has taken its rows with it.
            let channel = if channel.is_closed() { String::new() } else { channel.id.to_string() };
            let label = DefectLabel { channel, defect: error.reason() };
            origin.context.metrics.ingest_refused.get_or_create(&label).inc();
            let mut response = refuse(body, status, &error.to_string());
            if status == StatusCode::SERVICE_UNAVAILABLE {
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(STOPPING_SECONDS));
            }
            response
        }
    }
}

async fn manifest(origin: &Origin, channel: &Arc<Channel>, playlist: Option<String>, body: Body) -> Response<Body> {
    channel.send(Command::ExpectHint).await;
    let config = origin.config();
    let limits = &config.ingest;
    let idle = limits.body_idle(channel.settings().segment().to_std());
    match body::read_small(body, limits.manifest_bytes_max, idle).await {
        Ok(text) => {
            match playlist {
                None => hints::mpd(channel, &text).await,
                Some(path) => hints::playlist(channel, &path, &text).await,
            }
            // Media may have waited for what it says.
            origin.tell_of(channel).await;
            empty(StatusCode::OK)
        }
        Err(error) => {
            let label = DefectLabel { channel: channel.id.to_string(), defect: error.reason() };
            origin.context.metrics.ingest_refused.get_or_create(&label).inc();
            close(StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST), &error.to_string())
        }
    }
}

const ALLOWED: &str = "OPTIONS, GET, HEAD, PUT, POST, DELETE, MKCOL";

fn options() -> Response<Body> {
    let mut response = empty(StatusCode::NO_CONTENT);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(ALLOWED));
    response.headers_mut().insert("dav", HeaderValue::from_static("1"));
    response
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn close(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{text}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Answers at once and closes; the body is read on for a moment in the background.
fn refuse(body: Body, status: StatusCode, text: &str) -> Response<Body> {
    tokio::spawn(body::drain(body, LINGER));
    close(status, text)
}

/// As [`refuse`]: not now.
fn later(body: Body, text: &str, seconds: u32) -> Response<Body> {
    let mut response = refuse(body, StatusCode::SERVICE_UNAVAILABLE, text);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}
