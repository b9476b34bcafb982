// SPDX-License-Identifier: Apache-2.0
//! Follows a feed elsewhere: reconnects by itself, resumes where it was, and says when it may have missed something.

use std::time::Duration;

use bytes::Bytes;
use headwater_net::Shutdown;
use http::header::{ACCEPT, AUTHORIZATION, RETRY_AFTER};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};
use url::Url;

use super::query::Query;
use super::wire::{Block, Reader};
use super::{LOG, SILENCE_MAX, Since};
use crate::event::Event;
use crate::filter::Filter;
use crate::follow::{Arrival, Follow, Position};
use crate::log::Offset;
use crate::outgoing;

/// Pauses between attempts grow from this to that.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// The longest pause that a server may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

type Client = legacy::Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

/// Why a feed can never be followed.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// No URL of a feed.
    #[error("expected http://host[:port] or https://host[:port] of a feed, got {url}")]
    Url {
        /// What it was.
        url: String,
    },
    /// No token.
    #[error("expected a token of visible characters for a feed")]
    Token,
    /// The system has no certificates to believe.
    #[error("expected certificates of the system to believe {url}: {cause}")]
    Trust {
        /// Whom they are for.
        url: String,
        /// Why there are none.
        cause: String,
    },
}

/// Why a connection brings no more.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("nobody reads any more")]
    Unread,
    #[error("expected a connection, got: {0}")]
    Connect(String),
    #[error("expected the feed, got {status}")]
    Refused { status: StatusCode, retry_after: Option<Duration> },
    #[error("expected an event or a sign of life within {} s", SILENCE_MAX.as_secs())]
    Silent,
    #[error("the feed has ended")]
    Over,
    #[error("expected the feed to go on, got: {0}")]
    Broken(String),
    #[error("the log began anew")]
    Anew,
}

/// Follows the feed at `url`, that of a node or of its feed itself, until `shutdown` is closed or the follower is
/// dropped. `token` is shown as an API's bearer token. An unreachable feed is asked again for ever, after pauses of at most five seconds.
///
/// [`Arrival::Gap`] comes where the feed says that its log does not hold what is next, and where the log is not the one
/// that was followed before; then all of the new one follows.
///
/// # Errors
/// [`Unusable`] if it can never be followed.
pub fn follow(
    url: &str,
    token: Option<&str>,
    filter: Filter,
    since: Since,
    shutdown: Shutdown,
) -> Result<Follow, Unusable> {
    let unusable = || Unusable::Url { url: url.to_owned() };
    let mut parsed = Url::parse(url).map_err(|_| unusable())?;
    if !matches!(parsed.scheme(), "http" | "https") || parsed.query().is_some() || !parsed.username().is_empty() {
        return Err(unusable());
    }
    if matches!(parsed.path(), "" | "/") {
        parsed.set_path("/events");
    }
    parsed.set_fragment(None);
    let token = token.map(bearer).transpose()?;
    let client = client(&parsed)?;
    let (arrivals, follow) = Follow::channel();
    let task = Task { client, url: parsed, token, query: Query { filter, since }, last: None, log: None, arrivals };
    tokio::spawn(async move {
        tokio::select! {
            () = task.run() => {}
            () = shutdown.closed() => {}
        }
    });
    Ok(follow)
}

fn bearer(token: &str) -> Result<HeaderValue, Unusable> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| Unusable::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

fn client(url: &Url) -> Result<Client, Unusable> {
    let untrusted = |cause| Unusable::Trust { url: url.to_string(), cause };
    // One long answer a connection: there is nothing to pool.
    Ok(legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_max_idle_per_host(0)
        .http1_max_headers(100)
        .build(outgoing::connector(url).map_err(untrusted)?))
}

/// What follows.
struct Task {
    client: Client,
    url: Url,
    /// What it is shown, where it wants a token.
    token: Option<HeaderValue>,
    query: Query,
    /// The last event, or the place told with a sign of life.
    last: Option<Offset>,
    /// The log that `last` is of.
    log: Option<HeaderValue>,
    arrivals: mpsc::Sender<Arrival>,
}

impl Task {
    async fn run(mut self) {
        let mut failures = 0_u32;
        let arrivals = self.arrivals.clone();
        loop {
            let before = self.last;
            let ended = tokio::select! {
                ended = self.connection() => ended,
                () = arrivals.closed() => return,
            };
            // An answer that brought something is a success, however it ended.
            if self.last != before {
                if failures > 1 {
                    info!(url = %self.url, "the feed of events is followed again");
                }
                failures = 0;
            }
            let pause = match &ended {
                Ended::Unread => return,
                Ended::Anew => {
                    (self.last, self.query.since) = (None, Since::First);
                    continue;
                }
                Ended::Refused { retry_after: Some(pause), .. } => *pause,
                _ => outgoing::pause(PAUSE, failures),
            };
            failures = failures.saturating_add(1);
            match failures {
                2 => warn!(url = %self.url, %ended, "the feed of events cannot be followed; it is tried again"),
                _ => debug!(url = %self.url, %ended, "the feed of events is connected anew"),
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = arrivals.closed() => return,
            }
        }
    }

    /// One connection, to its end.
    async fn connection(&mut self) -> Ended {
        match self.converse().await {
            Ok(never) => match never {},
            Err(ended) => ended,
        }
    }

    async fn converse(&mut self) -> Result<std::convert::Infallible, Ended> {
        let response = timeout(SILENCE_MAX, self.client.request(self.request()?)).await;
        let response =
            response.map_err(|_| Ended::Silent)?.map_err(|error| Ended::Connect(outgoing::innermost(&error)))?;
        if response.status() != StatusCode::OK {
            return Err(Ended::Refused { status: response.status(), retry_after: retry_after(&response) });
        }
        self.know(response.headers().get(&LOG)).await?;
        let mut body = response.into_body();
        let mut reader = Reader::default();
        loop {
            let Some(frame) = timeout(SILENCE_MAX, body.frame()).await.map_err(|_| Ended::Silent)? else {
                return Err(Ended::Over);
            };
            let frame = frame.map_err(|error| Ended::Broken(outgoing::innermost(&error)))?;
            let Ok(bytes) = frame.into_data() else { continue };
            for block in reader.push(&bytes) {
                self.take(block).await?;
            }
        }
    }

    fn request(&self) -> Result<Request<Empty<Bytes>>, Ended> {
        let mut url = self.url.clone();
        self.query.write(&mut url);
        let mut request = Request::get(url.as_str()).header(ACCEPT, "text/event-stream");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        if let Some(last) = self.last {
            request = request.header("last-event-id", last.0);
        }
        request.body(Empty::new()).map_err(|error| Ended::Connect(error.to_string()))
    }

    /// Goes on only with the log that was followed before: in another one the offsets mean other events.
    async fn know(&mut self, log: Option<&HeaderValue>) -> Result<(), Ended> {
        let is_other = self.log.as_ref().is_some_and(|known| Some(known) != log);
        self.log = log.cloned();
        if is_other {
            self.send(Arrival::Gap).await?;
            return Err(Ended::Anew);
        }
        Ok(())
    }

    async fn take(&mut self, block: Block) -> Result<(), Ended> {
        let place = |id: Option<String>| id.and_then(|id| id.parse().ok()).map(Offset);
        match block {
            Block::Place(id) => self.last = place(id).or(self.last),
            Block::TooBig => self.send(Arrival::Gap).await?,
            Block::Event { name, .. } if name == "lost" => self.send(Arrival::Gap).await?,
            Block::Event { data, id, .. } => {
                let offset = place(id).ok_or_else(|| Ended::Broken("an event without its offset".to_owned()))?;
                // What a later version tells, and this one does not know, is none of ours to miss.
                match Event::from_json(&data) {
                    Ok(event) => self.send(Arrival::Event(Box::new(event), Position::Log(offset))).await?,
                    Err(error) => {
                        debug!(url = %self.url, offset = offset.0, %error, "an event is not understood");
                        self.send(Arrival::Gap).await?;
                    }
                }
                self.last = Some(offset);
            }
        }
        Ok(())
    }

    async fn send(&self, arrival: Arrival) -> Result<(), Ended> {
        self.arrivals.send(arrival).await.map_err(|_| Ended::Unread)
    }
}

fn retry_after(response: &Response<Incoming>) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}
