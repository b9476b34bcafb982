// SPDX-License-Identifier: Apache-2.0
//! Posts events to a URL: CloudEvents in structured mode (HTTP protocol binding 1.0.2, 3.2), one a request, in order.
//!
//! Each is posted at least once: how far it got is kept after every event, and an event that is posted again has the same
//! id. A receiver that is away, or says that it is, is waited for as long as the log holds the event; one that answers
//! with another error of its own is asked [`TRIES_MAX`] times; one that refuses an event is not asked again.

mod answer;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use headwater_net::{Shutdown, durable};
use http::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderName, HeaderValue, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use ring::hmac;
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};
use url::Url;

use crate::config;
use crate::event::{Event, Kinds};
use crate::filter::Filter;
use crate::follow::{Arrival, Follow, Position};
use crate::log::{Log, Offset};
use crate::metrics::Metrics;
use crate::outgoing;
use crate::position::Positions;

use answer::{Outcome, Trouble};

/// How often an event is posted to a receiver that answers with an error of its own.
pub const TRIES_MAX: u32 = 10;
/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Pauses between attempts grow from this to that.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));
/// Bytes of an answer that are read, so that its connection can be used again.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// The HMAC-SHA-256 of the body: `sha256=` and hexadecimal digits.
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

type Client = legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Why a webhook can never post.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No URL that can be posted to.
    #[error("expected http://… or https://… to post events to, got {0}")]
    Url(String),
    /// No type has that name.
    #[error("expected types of events separated by commas, got {0}")]
    Type(String),
    /// The system has no certificates to believe.
    #[error("expected certificates of the system to believe {url}: {cause}")]
    Trust {
        /// Whom they are for.
        url: String,
        /// Why there are none.
        cause: String,
    },
}

/// Where events are posted.
#[derive(Debug)]
pub struct Webhook {
    client: Client,
    url: Url,
    key: Option<hmac::Key>,
    kinds: Kinds,
    pause: (Duration, Duration),
    /// Where it is kept how far it got, if it is.
    file: Option<PathBuf>,
    state: State,
    metrics: Arc<Metrics>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct State {
    /// Of which log; empty: of Kafka.
    log: String,
    positions: Positions,
}

/// An event was not dealt with: shutdown.
struct Stopped;

impl Webhook {
    /// What `config` names; how far it got is kept in `file`.
    ///
    /// # Errors
    /// [`Error`] for a configuration with which nothing can be posted.
    pub fn new(config: &config::Webhook, file: Option<PathBuf>, metrics: Arc<Metrics>) -> Result<Self, Error> {
        let not_posted_to = || Error::Url(config.url.clone());
        let url = Url::parse(&config.url).map_err(|_| not_posted_to())?;
        if !matches!(url.scheme(), "http" | "https") || !url.username().is_empty() || url.password().is_some() {
            return Err(not_posted_to());
        }
        let kinds = Kinds::read(&config.types).map_err(Error::Type)?;
        if kinds == Kinds::NONE {
            return Err(Error::Type(config.types.clone()));
        }
        let untrusted = |cause| Error::Trust { url: config.url.clone(), cause };
        let client = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(1)
            .http1_max_headers(100)
            .build(outgoing::connector(&url).map_err(untrusted)?);
        let key = config.key.as_deref().map(|key| hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()));
        Ok(Self { client, url, key, kinds, pause: PAUSE, file, state: State::default(), metrics })
    }

    /// The events that it is to be given.
    pub fn filter(&self) -> Filter {
        Filter { kinds: self.kinds, ..Filter::default() }
    }

    /// Posts what comes into a log in this process, from where it got before; a new one begins at the end of the log, so
    /// that nobody is told what is long past.
    pub async fn run_over(mut self, log: Arc<Log>, shutdown: Shutdown) {
        match self.read() {
            Some(state) if state.log == log.identity() => self.state = state,
            // The log began anew: all of it is to be posted.
            Some(_) => {}
            None => {
                if let Some(last) = log.end().borrow().0.checked_sub(1) {
                    self.state.positions.pass(Position::Log(Offset(last)));
                }
            }
        }
        log.identity().clone_into(&mut self.state.log);
        let from = self.state.positions.next(&log);
        let follow = Follow::log(log, self.filter(), from);
        self.run(follow, shutdown).await;
    }

    /// Posts what comes until there is nothing to follow, or until shutdown is asked for.
    pub async fn run(mut self, mut follow: Follow, shutdown: Shutdown) {
        self.keep(&follow).await;
        loop {
            let arrival = tokio::select! {
                arrival = follow.next() => arrival,
                () = shutdown.started() => return,
            };
            match arrival {
                Some(Arrival::Event(event, position)) => {
                    if self.deal_with(&event, &shutdown).await.is_err() {
                        return;
                    }
                    self.state.positions.pass(position);
                    self.keep(&follow).await;
                }
                Some(Arrival::Gap) => warn!("webhook: events may be missing that were to be posted"),
                None => return,
            }
        }
    }

    /// Posts an event until it is taken, refused or given up.
    async fn deal_with(&self, event: &Event, shutdown: &Shutdown) -> Result<(), Stopped> {
        let body = Bytes::from(event.to_json());
        let (mut failures, mut errors) = (0_u32, 0_u32);
        loop {
            let outcome = tokio::select! {
                outcome = self.post(body.clone()) => outcome,
                () = shutdown.started() => return Err(Stopped),
            };
            self.metrics.webhook_post(outcome.name());
            let (trouble, asked) = match outcome {
                Outcome::Taken => {
                    if failures > 1 {
                        info!(id = event.id, failures, "webhook: posted at last");
                    }
                    return Ok(());
                }
                Outcome::Refused(status) => {
                    warn!(id = event.id, %status, "webhook: the receiver refuses an event; it is not posted again");
                    return Ok(());
                }
                Outcome::Failed(trouble, asked) => (trouble, asked),
            };
            if trouble.is_the_events() {
                errors += 1;
            }
            if errors >= TRIES_MAX {
                self.metrics.webhook_post("given_up");
                warn!(id = event.id, %trouble, "webhook: given up an event after {TRIES_MAX} tries");
                return Ok(());
            }
            if failures == 1 {
                warn!(id = event.id, %trouble, "webhook: an event cannot be posted; it is tried again");
            }
            let pause = asked.unwrap_or_else(|| outgoing::pause(self.pause, failures));
            failures = failures.saturating_add(1);
            tokio::select! {
                () = sleep(pause) => {}
                () = shutdown.started() => return Err(Stopped),
            }
        }
    }

    async fn post(&self, body: Bytes) -> Outcome {
        let request = match self.request(body) {
            Ok(request) => request,
            Err(error) => return Outcome::Failed(Trouble::Away(error.to_string()), None),
        };
        let talk = async {
            let response = self.client.request(request).await.map_err(|error| outgoing::innermost(&error))?;
            let (head, body) = response.into_parts();
            // What it says beside its status is not looked at.
            let _ = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            Ok(Outcome::of(head.status, head.headers.get(RETRY_AFTER), SystemTime::now()))
        };
        match timeout(ANSWER_MAX, talk).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(cause)) => Outcome::Failed(Trouble::Away(cause), None),
            Err(_) => {
                let cause = format!("expected an answer within {} s", ANSWER_MAX.as_secs());
                Outcome::Failed(Trouble::Away(cause), None)
            }
        }
    }

    fn request(&self, body: Bytes) -> http::Result<Request<Full<Bytes>>> {
        let mut request = Request::post(self.url.as_str())
            .header(CONTENT_TYPE, "application/cloudevents+json; charset=utf-8")
            .header(USER_AGENT, concat!("headwater/", env!("CARGO_PKG_VERSION")));
        if let Some(key) = &self.key {
            request = request.header(SIGNATURE, signature(key, &body)?);
        }
        request.body(Full::new(body))
    }

    fn read(&self) -> Option<State> {
        let file = self.file.as_deref()?;
        let invalid = |cause| io::Error::new(io::ErrorKind::InvalidData, cause);
        let read = durable::read(file)
            .and_then(|content| content.map(|content| serde_json::from_slice(&content).map_err(invalid)).transpose());
        read.unwrap_or_else(|error| {
            warn!(file = %file.display(), %error, "webhook: begins at the end of the log");
            None
        })
    }

    /// Keeps how far it got, and tells a group of Kafka.
    async fn keep(&mut self, follow: &Follow) {
        if let Some(file) = self.file.clone() {
            let state = self.state.clone();
            let written = tokio::task::spawn_blocking(move || {
                durable::write(&file, &serde_json::to_vec(&state).map_err(io::Error::other)?)
            });
            if let Err(error) = written.await.map_err(io::Error::other).flatten() {
                warn!(%error, "webhook: how far it got could not be written: events may be posted again");
            }
        }
        self.state.positions.tell(follow);
    }
}

fn signature(key: &hmac::Key, body: &[u8]) -> http::Result<HeaderValue> {
    let mac = hmac::sign(key, body);
    let digits: String = mac.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(HeaderValue::try_from(format!("sha256={digits}"))?)
}

#[cfg(test)]
mod tests;
