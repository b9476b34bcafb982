// SPDX-License-Identifier: Apache-2.0
//! The viewer that a check sends out: HTTP/1.1 and HTTP/2 over TCP and TLS, with a bound on every body and every wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version, header};
use http_body_util::{BodyExt, Empty};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::Instant;
use url::Url;

use super::trust;

/// Largest manifest taken.
pub(crate) const MANIFEST_BYTES_MAX: usize = 4 << 20;
/// Largest header, part or segment taken.
pub(crate) const MEDIA_BYTES_MAX: usize = 64 << 20;
/// What one check may take in all.
const TOTAL_BYTES_MAX: u64 = 4 << 30;
const CONNECT_MAX: Duration = Duration::from_secs(10);
const REDIRECTS_MAX: u32 = 5;
/// Pieces of a body whose arrival is noted.
const ARRIVALS_MAX: usize = 256;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Nobody took the connection, or TLS failed.
    #[error("expected a connection to {authority}, got: {cause}")]
    Connect { authority: String, cause: String },
    /// The connection ended before the answer, or within it.
    #[error("expected an answer to {url}, got: {cause}")]
    Lost { url: String, cause: String },
    /// No answer, or none whole, in time.
    #[error("expected an answer within {} s from {url}", after.as_secs())]
    Late { url: String, after: Duration },
    /// More than is taken.
    #[error("expected at most {max} bytes from {url}")]
    TooBig { url: String, max: u64 },
    /// A redirection that leads nowhere.
    #[error("expected at most {REDIRECTS_MAX} redirections to http or https from {url}")]
    Redirected { url: String },
}

/// What is asked for, and how.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    method: Method,
    headers: Vec<(HeaderName, HeaderValue)>,
    bytes_max: usize,
    deadline: Duration,
}

impl Ask {
    /// A manifest, by GET.
    pub(crate) fn manifest() -> Self {
        Self {
            method: Method::GET,
            headers: vec![(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"))],
            bytes_max: MANIFEST_BYTES_MAX,
            deadline: Duration::from_secs(15),
        }
    }

    /// A header, part or segment, by GET.
    pub(crate) fn media() -> Self {
        Self { bytes_max: MEDIA_BYTES_MAX, ..Self::manifest() }
    }

    /// By HEAD.
    pub(crate) fn head(self) -> Self {
        Self { method: Method::HEAD, ..self }
    }

    /// With a header instead of what was there; one that cannot be written is left out.
    pub(crate) fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.retain(|(other, _)| *other != name);
            self.headers.push((name, value));
        }
        self
    }

    /// The bytes from `offset` on, `length` of them.
    pub(crate) fn range(self, offset: u64, length: u64) -> Self {
        let last = offset.saturating_add(length).saturating_sub(1);
        self.with(header::RANGE, &format!("bytes={offset}-{last}"))
    }

    /// Waits this long for the whole answer.
    pub(crate) fn within(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }
}

/// An answer, read whole.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// Where it came from, after redirections.
    pub(crate) url: Url,
    pub(crate) status: StatusCode,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// When the request was sent.
    pub(crate) asked: Instant,
    /// Wall clock when the head came.
    pub(crate) headed_at: SystemTime,
    /// From the request to the head.
    pub(crate) headed: Duration,
    /// From the request to the end of the body.
    pub(crate) ended: Duration,
    /// Pieces of the body: from the request to each, and bytes so far.
    pub(crate) arrivals: Vec<(Duration, usize)>,
    /// The body broke off.
    pub(crate) broken: bool,
    pub(crate) redirects: u32,
}

impl Answer {
    /// A header's value; empty without it.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    pub(crate) fn is_ok(&self) -> bool {
        self.status.is_success() && !self.broken
    }
}

/// How much was fetched.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) requests: AtomicU64,
    pub(crate) bytes: AtomicU64,
}

/// A client; clones share connections and counts.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: legacy::Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    pub(crate) counts: Arc<Counts>,
}

impl Client {
    /// With the platform's roots; `insecure` takes any certificate.
    pub(crate) fn new(insecure: bool) -> anyhow::Result<Self> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_MAX));
        tcp.set_nodelay(true);
        let tls = HttpsConnectorBuilder::new().with_tls_config(trust::client(insecure)?);
        let connector = tls.https_or_http().enable_http1().enable_http2().wrap_connector(tcp);
        let http = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(10))
            .http1_max_headers(100)
            .build(connector);
        Ok(Self { http, counts: Arc::default() })
    }

    /// Asks and reads the answer to its end, over redirections.
    ///
    /// # Errors
    /// [`Error`]; a status that is an error is an answer, and so is a body that breaks off.
    pub(crate) async fn ask(&self, url: &Url, ask: Ask) -> Result<Answer, Error> {
        let late = Error::Late { url: url.to_string(), after: ask.deadline };
        tokio::time::timeout(ask.deadline, self.follow(url, &ask)).await.map_err(|_| late)?
    }

    /// GET of a manifest.
    pub(crate) async fn manifest(&self, url: &Url) -> Result<Answer, Error> {
        self.ask(url, Ask::manifest()).await
    }

    async fn follow(&self, url: &Url, ask: &Ask) -> Result<Answer, Error> {
        let mut url = url.clone();
        for redirects in 0..=REDIRECTS_MAX {
            let answer = self.once(&url, ask, redirects).await?;
            let location = answer.header("location");
            if !matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308) || location.is_empty() {
                return Ok(answer);
            }
            match url.join(location) {
                Ok(next) if matches!(next.scheme(), "http" | "https") => url = next,
                _ => break,
            }
        }
        Err(Error::Redirected { url: url.to_string() })
    }

    async fn once(&self, url: &Url, ask: &Ask, redirects: u32) -> Result<Answer, Error> {
        let lost = |cause: &dyn std::error::Error| Error::Lost { url: url.to_string(), cause: innermost(cause) };
        let mut request = Request::builder().method(ask.method.clone()).uri(url.as_str());
        for (name, value) in &ask.headers {
            request = request.header(name, value);
        }
        let request = request
            .header(header::USER_AGENT, concat!("headwater-check/", env!("CARGO_PKG_VERSION")))
            .header(header::ORIGIN, "https://player.example")
            .body(Empty::new())
            .map_err(|error| lost(&error))?;
        self.counts.requests.fetch_add(1, Ordering::Relaxed);
        let asked = Instant::now();
        let response = self.http.request(request).await.map_err(|error| match error.is_connect() {
            true => Error::Connect { authority: url.authority().to_owned(), cause: innermost(&error) },
            false => lost(&error),
        })?;
        let (headed, headed_at) = (asked.elapsed(), SystemTime::now());
        let (head, mut body) = response.into_parts();
        let (mut bytes, mut arrivals, mut broken) = (BytesMut::new(), Vec::new(), false);
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                broken = true;
                break;
            };
            let Ok(data) = frame.into_data() else { continue };
            let total = self.counts.bytes.fetch_add(data.len() as u64, Ordering::Relaxed) + data.len() as u64;
            if bytes.len() + data.len() > ask.bytes_max || total > TOTAL_BYTES_MAX {
                let max = if total > TOTAL_BYTES_MAX { TOTAL_BYTES_MAX } else { ask.bytes_max as u64 };
                return Err(Error::TooBig { url: url.to_string(), max });
            }
            bytes.extend_from_slice(&data);
            if arrivals.len() < ARRIVALS_MAX && !data.is_empty() {
                arrivals.push((asked.elapsed(), bytes.len()));
            }
        }
        Ok(Answer {
            url: url.clone(),
            status: head.status,
            version: head.version,
            headers: head.headers,
            body: bytes.freeze(),
            asked,
            headed_at,
            headed,
            ended: asked.elapsed(),
            arrivals,
            broken,
            redirects,
        })
    }
}

/// The cause that says something: what wraps it repeats itself.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
