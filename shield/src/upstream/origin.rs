// SPDX-License-Identifier: Apache-2.0
//! One origin: sends it a request over a socket, or straight to the service in this process, and waits for the head.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use headwater_net::signature;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderName, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, response};
use http_body::Body as _;
use http_body_util::Empty;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tower::ServiceExt;

use super::body::{Body, Framing, Kept, Patience, Source, innermost};
use super::connect::{H1, Lease, Pool};
use super::error::Cause;
use super::group::Witness;
use super::siblings::HOP;
use super::{Ask, Local, Moment, OriginId};
use crate::metrics;

/// Fields of one connection, and those that a client must not speak in our name.
const NOT_SENT: [HeaderName; 12] = [
    HOP,
    CONNECTION,
    CONTENT_LENGTH,
    HOST,
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    signature::HEADER,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Requests on one connection after another died unused before a new one is made in any case.
const STALE_MAX: u32 = 1;

/// A request as it is sent.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) target: PathAndQuery,
    pub(super) host: Option<HeaderValue>,
    pub(super) headers: HeaderMap,
    pub(super) seal: Option<Seal>,
    pub(super) counts: Option<Arc<metrics::Channel>>,
}

/// What proves to the other end who asks.
#[derive(Clone, Debug)]
pub(super) struct Seal {
    pub(super) field: HeaderName,
    pub(super) key: Arc<signature::Key>,
}

impl Outgoing {
    pub(super) fn new(ask: &Ask, host: Option<HeaderValue>, seal: Option<Seal>) -> Self {
        let mut headers = ask.headers.clone();
        for name in &NOT_SENT {
            headers.remove(name);
        }
        let (method, target, counts) = (ask.method.clone(), ask.target.clone(), ask.counts.clone());
        Self { method, target, host, headers, seal, counts }
    }

    fn is_repeatable(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD)
    }

    /// HTTP/2 has the host in `:authority`, HTTP/1.1 in a field.
    fn request<B>(&self, over: Over<'_>, body: B) -> Option<Request<B>> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.headers_mut() = self.headers.clone();
        if let Some(Seal { field, key }) = &self.seal {
            let value = key.sign(&self.method, self.target.as_str(), SystemTime::now());
            request.headers_mut().insert(field, value);
        }
        let own = |pool: &Pool| HeaderValue::from_str(pool.address().authority.as_str()).ok();
        match over {
            Over::H1(pool) => {
                let host = self.host.clone().or_else(|| own(pool))?;
                *request.uri_mut() = Uri::from(self.target.clone());
                request.headers_mut().insert(HOST, host);
            }
            Over::H2(pool) => {
                let host = self.host.clone().or_else(|| own(pool))?;
                let uri = Uri::builder().scheme("https").authority(host.as_bytes());
                *request.uri_mut() = uri.path_and_query(self.target.clone()).build().ok()?;
                *request.version_mut() = Version::HTTP_2;
            }
            Over::Here => {
                *request.uri_mut() = Uri::from(self.target.clone());
                let host = self.host.clone().unwrap_or(HeaderValue::from_static("localhost"));
                request.headers_mut().insert(HOST, host);
            }
        }
        Some(request)
    }
}

#[derive(Clone, Copy)]
enum Over<'a> {
    H1(&'a Pool),
    H2(&'a Pool),
    Here,
}

/// How long an answer may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadlines {
    pub(super) head: Duration,
    pub(super) between: Duration,
    pub(super) total: Duration,
}

#[derive(Debug)]
pub(super) enum Transport {
    Remote(Arc<Pool>),
    Here(Local),
}

/// What came of an origin over its life.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) requests: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) hedges: AtomicU64,
    pub(super) resumed: AtomicU64,
    pub(super) stale: AtomicU64,
}

/// One origin of a group.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) id: OriginId,
    pub(super) name: Arc<str>,
    pub(super) transport: Transport,
    pub(super) counts: Counts,
    connections_max: usize,
    permits: Arc<Semaphore>,
}

/// A head that came, with its body.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) head: response::Parts,
    pub(super) body: Body,
    pub(super) requested: Moment,
    pub(super) received: Moment,
}

impl Origin {
    pub(super) fn new(id: OriginId, name: Arc<str>, transport: Transport, connections_max: usize) -> Self {
        let permits = Arc::new(Semaphore::new(connections_max));
        Self { id, name, transport, counts: Counts::default(), connections_max, permits }
    }

    /// Requests that are open now.
    pub(super) fn in_flight(&self) -> usize {
        self.connections_max - self.permits.available_permits()
    }

    /// Sends a request and waits for its head.
    pub(super) async fn ask(
        &self,
        outgoing: &Outgoing,
        deadlines: Deadlines,
        witness: Witness,
    ) -> Result<Heard, Cause> {
        self.counts.requests.fetch_add(1, Ordering::Relaxed);
        if let Some(channel) = &outgoing.counts {
            channel.asked();
        }
        let until = Instant::now() + deadlines.head;
        let permit = tokio::time::timeout_at(until, Arc::clone(&self.permits).acquire_owned()).await;
        let Ok(Ok(permit)) = permit else { return Err(Cause::Busy(self.connections_max)) };
        self.exchange(outgoing, deadlines, until, Some(permit), Some(witness)).await
    }

    /// Asks for the health page and reads it. Needs no free connection: an origin whose connections are all in use is
    /// not down.
    pub(super) async fn check(&self, outgoing: &Outgoing, deadlines: Deadlines) -> Result<StatusCode, Cause> {
        let until = Instant::now() + deadlines.head;
        let mut heard = self.exchange(outgoing, deadlines, until, None, None).await?;
        loop {
            match heard.body.next().await {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(heard.head.status),
                Err(error) => return Err(Cause::Broken(error.to_string().into())),
            }
        }
    }

    async fn exchange(
        &self,
        outgoing: &Outgoing,
        deadlines: Deadlines,
        head_until: Instant,
        permit: Option<OwnedSemaphorePermit>,
        witness: Option<Witness>,
    ) -> Result<Heard, Cause> {
        let requested = Moment::now();
        let sent = match &self.transport {
            Transport::Remote(pool) => {
                let sent = tokio::time::timeout_at(head_until, self.send(pool, outgoing)).await;
                if sent.is_err() {
                    // What holds the others up as well is let go of: a new connection may fare better.
                    pool.forget();
                }
                sent
            }
            Transport::Here(service) => tokio::time::timeout_at(head_until, call(service, outgoing)).await,
        };
        let (response, connection) = sent.map_err(|_| Cause::Late(deadlines.head))??;
        let received = Moment::now();
        let (head, source) = response.into_parts();
        let here = matches!(self.transport, Transport::Here(_));
        let framing = match (&source, Framing::of(head.version, head.status, &outgoing.method, &head.headers, here)) {
            // Without a socket there is no server that writes the length of what is there already.
            (Source::Here(body), Framing::Marked) => body.size_hint().exact().map_or(Framing::Marked, Framing::Length),
            (_, framing) => framing,
        };
        let patience = Patience { between: deadlines.between, until: head_until.max(Instant::now() + deadlines.total) };
        let kept = Kept { connection, permit, counts: outgoing.counts.clone() };
        let body = Body::new(source, framing, patience, kept, witness);
        Ok(Heard { head, body, requested, received })
    }

    /// A kept connection may have been closed by the other end while the request was on its way: that is nobody's fault,
    /// and a request that may be repeated is sent again, on a new one.
    async fn send(&self, pool: &Arc<Pool>, outgoing: &Outgoing) -> Result<Sent, Cause> {
        let mut stale = 0;
        loop {
            let lease = pool.lease().await.map_err(|error| Cause::Connect(error.to_string().into()))?;
            let unsendable = || Cause::Broken("the request cannot be written".into());
            let (sent, reused) = match lease {
                Lease::H1 { mut sender, reused } => {
                    let request = outgoing.request(Over::H1(pool), Empty::<Bytes>::new()).ok_or_else(unsendable)?;
                    let sent = sender.send_request(request).await;
                    (sent.map(|response| (response, Some((Arc::clone(pool), sender)))), reused)
                }
                Lease::H2 { mut sender, reused } => {
                    let request = outgoing.request(Over::H2(pool), Empty::<Bytes>::new()).ok_or_else(unsendable)?;
                    let ready = sender.ready().await;
                    let sent = match ready {
                        Ok(()) => sender.send_request(request).await,
                        Err(error) => Err(error),
                    };
                    (sent.map(|response| (response, None)), reused)
                }
            };
            match sent {
                Ok((response, connection)) => return Ok((response.map(Source::Remote), connection)),
                Err(error) if reused && stale < STALE_MAX && outgoing.is_repeatable() && !error.is_parse() => {
                    stale += 1;
                    self.counts.stale.fetch_add(1, Ordering::Relaxed);
                    pool.forget();
                }
                Err(error) => return Err(Cause::Broken(innermost(&error))),
            }
        }
    }
}

type Sent = (Response<Source>, Option<(Arc<Pool>, H1)>);

async fn call(service: &Local, outgoing: &Outgoing) -> Result<Sent, Cause> {
    let request = outgoing.request(Over::Here, axum::body::Body::empty());
    let request = request.ok_or_else(|| Cause::Broken("the request cannot be written".into()))?;
    let Ok(response) = service.clone().oneshot(request).await;
    Ok((response.map(Source::Here), None))
}
