// SPDX-License-Identifier: Apache-2.0
//! One long POST to a publishing point (DASH-IF Live Media Ingest v1.2, interface 1), and what an origin's answer means.
//!
//! The answer is read while the body is still being sent: an origin refuses by answering early.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine;
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body::Frame;
use http_body_util::{BodyExt, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

const CONNECT_MAX: Duration = Duration::from_secs(5);
const REASON_BYTES_MAX: usize = 1_024;
const REASON_MAX: Duration = Duration::from_secs(1);

/// Where tracks go and with which key.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    base: Uri,
    authorization: Option<HeaderValue>,
}

/// Why an upload ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// `--to` cannot be used.
    #[error("expected a publishing point like http://127.0.0.1:8080/ingest/demo, got {given}")]
    Target { given: String },
    /// Nobody took the connection.
    #[error("cannot connect to {authority}: {cause}; is the origin running there (headwater serve)?")]
    Connect { authority: String, cause: std::io::Error },
    /// The connection ended before the answer.
    #[error("lost the connection to the origin: {0}")]
    Lost(#[from] hyper::Error),
    /// The origin has stopped reading, or does not answer a whole body.
    #[error("the origin has not {what} for {} s", after.as_secs())]
    Silent { what: &'static str, after: Duration },
    /// The origin closed a body that was not at its end.
    #[error("the origin ended the request early ({status})")]
    Ended { status: StatusCode },
    /// The origin answered with an error.
    #[error("{}{}{}", advice(*status, path), if reason.is_empty() { "" } else { ": " }, reason)]
    Refused { status: StatusCode, path: String, reason: String, retry_after: Option<Duration> },
}

impl Error {
    /// The same request may do better later.
    pub(crate) fn is_retryable(&self) -> bool {
        match self {
            Self::Target { .. } => false,
            // 412: the header is sent first on every connection, so trying again is the cure.
            Self::Refused { status, .. } => status.is_server_error() || matches!(status.as_u16(), 408 | 412 | 429),
            Self::Connect { .. } | Self::Lost(_) | Self::Silent { .. } | Self::Ended { .. } => true,
        }
    }

    /// How long the origin asks to wait.
    pub(crate) const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// What an answer means to who pushes, and what to do.
fn advice(status: StatusCode, path: &str) -> String {
    match status.as_u16() {
        401 | 403 => {
            format!("the origin refused the stream key for {path} ({status}): give the channel's key with --key")
        }
        404 => format!("the origin has no publishing point {path} ({status}): check the channel name in --to"),
        400 => format!(
            "the origin could not read the media of {path} ({status}): each file must hold one fragmented CMAF track"
        ),
        412 => format!("the origin wants the CMAF header of {path} again ({status})"),
        413 => {
            format!("the origin finds the media of {path} too big ({status}): push smaller chunks, or raise its limits")
        }
        415 => format!("the origin does not take this codec in {path} ({status}): leave the track out with --tracks"),
        503 => format!("the origin is full or stopping ({status})"),
        _ => format!("the origin answered {status} to {path}"),
    }
}

impl Target {
    /// Reads `--to` and `--key`.
    ///
    /// # Errors
    /// [`Error::Target`] if `to` is not a plain HTTP URL.
    pub(crate) fn new(to: &str, key: Option<&str>) -> Result<Self, Error> {
        let base: Uri = to.trim_end_matches('/').parse().map_err(|_| Error::Target { given: to.to_owned() })?;
        if base.scheme_str() != Some("http") || base.host().is_none() {
            return Err(Error::Target { given: to.to_owned() });
        }
        let authorization = key.map(|key| {
            let credentials = base64::engine::general_purpose::STANDARD.encode(format!("headwater:{key}"));
            let mut value = HeaderValue::try_from(format!("Basic {credentials}")).expect("base64 is a header value");
            value.set_sensitive(true);
            value
        });
        Ok(Self { base, authorization })
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// [`Error::Connect`] with the system's reason.
    pub(crate) async fn connect(&self) -> Result<TcpStream, Error> {
        let host = self.base.host().unwrap_or_default().trim_matches(['[', ']']);
        let address = (host, self.base.port_u16().unwrap_or(80));
        let connected = match tokio::time::timeout(CONNECT_MAX, TcpStream::connect(address)).await {
            Ok(connected) => connected,
            Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
        };
        let stream = connected.map_err(|cause| Error::Connect { authority: self.authority().to_owned(), cause })?;
        // Chunks are small and each is due now.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }

    /// Sends `chunks` as the body of one POST to `Streams({file_name})` and returns when the origin has answered.
    ///
    /// # Errors
    /// [`Error::Lost`] if the connection ends before an answer, [`Error::Refused`] if the answer is no success.
    pub(crate) async fn post(
        &self,
        stream: TcpStream,
        file_name: &str,
        chunks: mpsc::Receiver<Bytes>,
    ) -> Result<StatusCode, Error> {
        let request = self.request(file_name, Chunks(chunks));
        let path = request.uri().path().to_owned();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut connection = pin!(connection);
        let mut answer = pin!(sender.send_request(request));
        let answered = tokio::select! {
            biased;
            answered = &mut answer => answered,
            // NB: an answer read just before the connection broke is still in `answer`.
            ended = &mut connection => match (answer.await, ended) {
                (Err(_), Err(broken)) => Err(broken),
                (answered, _) => answered,
            },
        }?;
        let (head, body) = answered.into_parts();
        if head.status.is_success() {
            return Ok(head.status);
        }
        let retry_after =
            head.headers.get(header::RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok()).map(Duration::from_secs);
        let reading = tokio::time::timeout(REASON_MAX, Limited::new(body, REASON_BYTES_MAX).collect());
        let reason = tokio::select! {
            biased;
            Ok(Ok(reason)) = reading => String::from_utf8_lossy(&reason.to_bytes()).trim().to_owned(),
            _ = connection => String::new(),
        };
        Err(Error::Refused { status: head.status, path, reason, retry_after })
    }

    fn authority(&self) -> &str {
        self.base.authority().map_or("", |a| a.as_str())
    }

    fn request(&self, file_name: &str, body: Chunks) -> Request<Chunks> {
        let (path, query) = (self.base.path().trim_end_matches('/'), self.base.query());
        let target = query
            .map_or_else(|| format!("{path}/Streams({file_name})"), |q| format!("{path}/Streams({file_name})?{q}"));
        let media_type = match file_name.rsplit('.').next() {
            Some("cmfv") => "video/mp4",
            Some("cmfa") => "audio/mp4",
            _ => "application/mp4",
        };
        let mut request = Request::post(target)
            .header(header::HOST, self.authority())
            .header(header::USER_AGENT, concat!("headwater/", env!("CARGO_PKG_VERSION")))
            .header(header::CONTENT_TYPE, media_type)
            .header("DASH-IF-Ingest", "1.2");
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        request.body(body).expect("a base that parsed and a checked track name make a request")
    }
}

/// A body of unknown length: what a channel brings, until its sender is dropped.
struct Chunks(mpsc::Receiver<Bytes>);

impl http_body::Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(to: &str) -> Target {
        Target::new(to, Some("secret")).unwrap()
    }

    fn body() -> Chunks {
        Chunks(mpsc::channel(1).1)
    }

    #[test]
    fn a_track_is_posted_below_the_publishing_point() {
        let request = target("http://origin:8080/ingest/demo/").request("v0.cmfv", body());
        assert_eq!(request.uri(), "/ingest/demo/Streams(v0.cmfv)");
        assert_eq!(request.headers()[header::HOST], "origin:8080");
        assert_eq!(request.headers()[header::CONTENT_TYPE], "video/mp4");
        assert_eq!(request.headers()[header::AUTHORIZATION], "Basic aGVhZHdhdGVyOnNlY3JldA==");
        let request = target("http://[::1]/ingest/demo?token=t").request("a0.cmfa", body());
        assert_eq!(request.uri(), "/ingest/demo/Streams(a0.cmfa)?token=t");
    }

    #[test]
    fn a_target_that_is_no_http_url_is_refused() {
        for bad in ["127.0.0.1:8080", "https://origin/ingest/demo", "rtmp://origin/live", "/ingest/demo", "http://"] {
            assert!(matches!(Target::new(bad, None), Err(Error::Target { .. })), "{bad}");
        }
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let refused = |status: u16| Error::Refused {
            status: StatusCode::from_u16(status).unwrap(),
            path: "/ingest/demo/Streams(v0.cmfv)".to_owned(),
            reason: String::new(),
            retry_after: None,
        };
        for status in [400, 401, 403, 404, 413, 415] {
            assert!(!refused(status).is_retryable(), "{status}");
        }
        for status in [412, 429, 500, 503] {
            assert!(refused(status).is_retryable(), "{status}");
        }
        assert!(refused(403).to_string().contains("--key"));
    }
}
