// SPDX-License-Identifier: Apache-2.0
//! An origin in this process under a clock that stands still, and clients that ask its router directly.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use headwater_events::event::{Kinds, Role};
use headwater_events::{Arrival, Event, Filter, Follow, Offset, Publisher};
use headwater_media::UtcTime;
use headwater_net::Shutdown;
use headwater_net::listener::Connection;
use headwater_net::shutdown::Left;
use headwater_origin::{Clock, Config, Origin, config};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tower::ServiceExt;

use crate::playlist::Playlist;

/// When every test begins: a border of every grid used here.
pub(crate) const BASE: UtcTime = UtcTime::from_nanos(1_700_000_000 * 1_000_000_000);
/// The channel of every test.
pub(crate) const CHANNEL: &str = "news";

pub(crate) const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(crate) const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Two-second segments, parts of a fifth of a second, and the shortest window there is.
pub(crate) fn settings() -> config::Channel {
    config::Channel { window_seconds: 1, ..config::Channel::default() }
}

/// One origin with one channel.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) origin: Arc<Origin>,
    pub(crate) clock: Clock,
    publisher: Publisher,
    shutdown: Shutdown,
    router: Router,
}

impl Stage {
    /// An origin whose clock reads [`BASE`] now.
    pub(crate) fn new() -> Self {
        Self::with(settings())
    }

    pub(crate) fn with(channel: config::Channel) -> Self {
        Self::at(channel, Clock::starting_at(BASE), None)
    }

    /// An origin under its own clock, with or without a folder for what survives a restart.
    pub(crate) fn at(channel: config::Channel, clock: Clock, data_dir: Option<&Path>) -> Self {
        Self::start(Config { data_dir: data_dir.map(Path::to_owned), ..Config::default() }, channel, clock)
    }

    /// An origin by any configuration, with its one channel.
    pub(crate) fn configured(config: Config, channel: config::Channel) -> Self {
        Self::start(config, channel, Clock::starting_at(BASE))
    }

    fn start(config: Config, channel: config::Channel, clock: Clock) -> Self {
        let config = Config { channels: BTreeMap::from([(CHANNEL.to_owned(), channel)]), ..config };
        let shutdown = Shutdown::new();
        let publisher = Publisher::memory(headwater_events::Source::new(Role::Origin, "test"));
        let origin = Origin::start(config, clock, publisher.clone(), shutdown.clone());
        let origin = origin.expect("settings within their ranges");
        let router = origin.router();
        Self { origin, clock, publisher, shutdown, router }
    }

    /// Follows what it tells from its first event on.
    pub(crate) fn events(&self, filter: Filter) -> Follow {
        Follow::log(Arc::clone(self.publisher.log()), filter, Offset(0))
    }

    /// What it has told so far, of these types.
    pub(crate) async fn told(&self, kinds: &str) -> Vec<Event> {
        let kinds = Kinds::read(kinds).expect("names of types");
        let mut follow = self.events(Filter { kinds, ..Filter::default() });
        let mut told = Vec::new();
        while let Ok(Some(Arrival::Event(event, _))) = tokio::time::timeout(millis(1), follow.next()).await {
            told.push(*event);
        }
        told
    }

    /// Stops the origin's tasks, as the end of its process would.
    pub(crate) async fn stop(self) {
        assert_eq!(self.shutdown.finished(seconds(5)).await, Left::default(), "every task heeds the shutdown");
    }

    pub(crate) fn router(&self) -> Router {
        self.router.clone()
    }

    /// Sends a request and reads the answer to its end.
    pub(crate) async fn ask(&self, request: Request<Body>) -> Answer {
        answer(self.router.clone(), request, self.clock).await
    }

    /// GET of a path under the channel.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(request(Method::GET, path, &[])).await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask(request(Method::GET, path, headers)).await
    }

    pub(crate) async fn head(&self, path: &str) -> Answer {
        self.ask(request(Method::HEAD, path, &[])).await
    }

    /// GET that may be held: it runs beside the test.
    pub(crate) fn park(&self, path: &str) -> Parked {
        let asked = answer(self.router.clone(), request(Method::GET, path, &[]), self.clock);
        Parked { task: tokio::spawn(asked) }
    }

    /// POST to the channel's API.
    pub(crate) async fn end_channel(&self) {
        let uri = format!("/api/v1/channels/{CHANNEL}/end");
        assert_eq!(self.ask(local(Method::POST, &uri, "")).await.status, StatusCode::ACCEPTED);
        settle().await;
    }

    /// A request to the API from this machine, and its answer.
    pub(crate) async fn change(&self, method: Method, path: &str, body: &str) -> (StatusCode, serde_json::Value) {
        let answer = self.ask(local(method, &format!("/api/v1/{path}"), body)).await;
        (answer.status, serde_json::from_slice(&answer.body).expect("JSON"))
    }

    /// Asks the origin's tasks to finish, as SIGTERM does.
    pub(crate) fn begin_stop(&self) {
        self.shutdown.start();
    }

    /// An exposition's lines that begin so.
    pub(crate) async fn metrics(&self, name: &str) -> Vec<String> {
        let text = self.get("/metrics").await.text();
        text.lines().filter(|line| line.starts_with(name)).map(str::to_owned).collect()
    }

    /// A track's low-latency playlist as it stands.
    pub(crate) async fn media(&self, track: &str) -> Playlist {
        self.playlist(&format!("{track}/media.m3u8")).await
    }

    /// Any media playlist, with its query.
    pub(crate) async fn playlist(&self, path: &str) -> Playlist {
        let answer = self.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
        Playlist::read(&answer.text())
    }

    /// A client that reloads a track's playlist part by part until it ends or an answer is an error.
    pub(crate) fn follow(&self, track: &'static str) -> Follower {
        let (router, clock) = (self.router.clone(), self.clock);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut path = format!("{track}/media.m3u8");
            loop {
                let answer = answer(router.clone(), request(Method::GET, &path, &[]), clock).await;
                if answer.status != StatusCode::OK {
                    return answer.status;
                }
                let playlist = Playlist::read(&answer.text());
                let (segment, part) = playlist.newest();
                let named = playlist.open_parts().last().map(|p| p.uri.clone());
                if let Some(uri) = named.or_else(|| playlist.segments.last().and_then(|s| s.uri.clone()))
                    && playlist.segments.last().is_none_or(|s| !s.gap)
                {
                    let media = request(Method::GET, &format!("{track}/{uri}"), &[]);
                    let head = router.clone().oneshot(media).await.unwrap_or_else(|never| match never {});
                    assert_eq!(head.status(), StatusCode::OK, "{uri} is named, so it can be read");
                }
                path = format!("{track}/media.m3u8?_HLS_msn={segment}&_HLS_part={}", part + 1);
                let ended = playlist.ended;
                noted.lock().push(Seen { at: answer.headed, playlist });
                if ended {
                    return StatusCode::OK;
                }
            }
        });
        Follower { task, seen }
    }

    /// Playlists rendered so far.
    pub(crate) fn renders(&self) -> u64 {
        self.origin.metrics().renders.get()
    }

    /// Requests parked now.
    pub(crate) fn waiters(&self) -> i64 {
        self.origin.metrics().waiters.get()
    }

    pub(crate) fn now(&self) -> UtcTime {
        self.clock.now()
    }
}

/// Lets everything that can happen at this instant happen; the clock moves by a millisecond.
pub(crate) async fn settle() {
    tokio::time::sleep(millis(1)).await;
}

/// A request for a path under the channel, or for an absolute one.
pub(crate) fn request(method: Method, path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let uri = if path.starts_with('/') { path.to_owned() } else { format!("/live/{CHANNEL}/{path}") };
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).expect("a request")
}

/// A request that came over a connection from this machine.
pub(crate) fn local(method: Method, uri: &str, body: &str) -> Request<Body> {
    let connection = Connection::new(([127, 0, 0, 1], 50_000).into());
    let request = Request::builder().method(method).uri(uri).header("host", "localhost").extension(connection);
    request.body(Body::from(body.to_owned())).expect("a request")
}

async fn answer(router: Router, request: Request<Body>, clock: Clock) -> Answer {
    let response = router.oneshot(request).await.unwrap_or_else(|never| match never {});
    let headed = clock.now();
    let (parts, body) = response.into_parts();
    let collected = body.collect().await;
    let broken = collected.is_err();
    let body = collected.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    Answer { status: parts.status, headers: parts.headers, body, broken, headed, ended: clock.now() }
}

/// A response, read whole.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The body broke off before its end.
    pub(crate) broken: bool,
    /// When its head came.
    pub(crate) headed: UtcTime,
    /// When its last byte came.
    pub(crate) ended: UtcTime,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's value; empty without it.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a header in ASCII"))
    }

    /// `max-age`, exact where the origin says it with fractions.
    pub(crate) fn life(&self) -> f64 {
        let precise = self.header("headwater-cache-control");
        let text = if precise.is_empty() { self.header("cache-control") } else { precise };
        let age = text.split("max-age=").nth(1).and_then(|t| t.split(',').next());
        age.and_then(|t| t.trim().parse().ok()).unwrap_or_else(|| panic!("expected a max-age in {text:?}"))
    }
}

/// A request under way.
#[derive(Debug)]
pub(crate) struct Parked {
    task: JoinHandle<Answer>,
}

impl Parked {
    pub(crate) fn is_held(&self) -> bool {
        !self.task.is_finished()
    }

    pub(crate) async fn answer(self) -> Answer {
        self.task.await.expect("the request runs to its end")
    }

    /// The client goes away.
    pub(crate) fn leave(self) {
        self.task.abort();
    }
}

/// A playlist as a client got it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) at: UtcTime,
    pub(crate) playlist: Playlist,
}

/// A client that follows a playlist.
#[derive(Debug)]
pub(crate) struct Follower {
    task: JoinHandle<StatusCode>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Follower {
    /// Goes away with every playlist it saw; it must not have met an error.
    pub(crate) async fn leave(self) -> Vec<Seen> {
        if self.task.is_finished() {
            let last = self.task.await.expect("a client without complaint");
            assert_eq!(last, StatusCode::OK, "the client met an error");
        } else {
            self.task.abort();
        }
        let seen = self.seen.lock().clone();
        assert!(!seen.is_empty(), "the client saw a playlist");
        seen
    }
}

/// An empty folder of this test's own.
pub(crate) fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).expect("the test's folder can be made");
    path
}
