// SPDX-License-Identifier: Apache-2.0
//! Requests without a body, through the listener: the answers are hyper's, whoever serves them and however they come.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::any;
use bytes::Bytes;
use futures_util::stream;
use headwater_net::growing::End;
use headwater_net::h1::{Answer, Head, Hits, Prepared};
use headwater_net::limits::{Limits, Tally};
use headwater_net::listener::{self, Connection};
use headwater_net::{Growing, Shutdown};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, ETAG};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::{mpsc, oneshot};

/// Longer than a connection may be idle.
const SOON: Duration = Duration::from_secs(200);

/// A client's end of a connection with `service`, and what stops the server.
fn connect<S>(service: S) -> (DuplexStream, Arc<Tally>, Shutdown)
where
    S: tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Hits
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
{
    let (client, server) = tokio::io::duplex(64 << 10);
    let (tally, shutdown) = (Arc::new(Tally::default()), Shutdown::new());
    let (counted, drain) = (Arc::clone(&tally), shutdown.clone());
    tokio::spawn(async move {
        let _ = listener::serve_stream(server, service, Arc::new(Limits::default()), &counted, &drain).await;
    });
    (client, tally, shutdown)
}

fn response(status: u16, body: Body, fields: &[(HeaderName, &'static str)]) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    for (name, value) in fields {
        response.headers_mut().append(name, HeaderValue::from_static(value));
    }
    response
}

fn pieces(failing: bool) -> Body {
    let pieces = [Ok("one"), Ok(""), Ok("two, which is longer than any other"), Ok("3")];
    let end = failing.then(|| Err(std::io::Error::other("the source failed")));
    Body::from_stream(stream::iter(pieces.into_iter().chain(end)))
}

/// What a request was, in words.
async fn echo(request: Request<Body>) -> String {
    let (parts, _) = request.into_parts();
    let fields: Vec<_> = parts.headers.iter().collect();
    format!("{} {:?} {:?} {fields:?}", parts.method, parts.uri, parts.version)
}

fn router() -> Router {
    Router::new()
        .route("/echo", any(echo))
        .route("/empty", any(async || response(200, Body::empty(), &[])))
        .route("/large", any(async || Body::from(vec![b'7'; 700_000])))
        .route("/pieces", any(async || response(200, pieces(false), &[])))
        .route("/failing", any(async || response(200, pieces(true), &[])))
        .route("/measured", any(async || response(206, pieces(false), &[(CONTENT_LENGTH, "39")])))
        .route("/short", any(async || response(200, pieces(false), &[(CONTENT_LENGTH, "50")])))
        .route("/long", any(async || response(200, pieces(false), &[(CONTENT_LENGTH, "10")])))
        .route("/nothing", any(async || response(204, Body::empty(), &[])))
        .route("/same", any(async || response(304, Body::empty(), &[(ETAG, "\"1\""), (CONTENT_LENGTH, "7")])))
        .route("/last", any(async || response(200, "last".into(), &[(CONNECTION, "close")])))
        .route("/dated", any(async || response(404, "?".into(), &[(DATE, "Sun, 06 Nov 1994 08:49:37 GMT")])))
}

/// What came, up to the close of the connection.
async fn rest(stream: &mut DuplexStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = tokio::time::timeout(SOON, stream.read_to_end(&mut bytes)).await.expect("the server closes");
    bytes
}

/// Status line, sorted fields but the date of now, and everything after them.
fn told(answer: &[u8]) -> (String, Vec<String>, Vec<u8>) {
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or(answer.len());
    let text = String::from_utf8_lossy(&answer[..end]).into_owned();
    let mut lines = text.split("\r\n").map(str::to_owned);
    let status = lines.next().unwrap_or_default();
    let now = |line: &String| line.starts_with("date: ") && !line.contains(" 1994 ");
    let (dates, mut fields): (Vec<_>, Vec<_>) = lines.partition(now);
    fields.extend(dates.iter().map(|_| "date: now".to_owned()));
    fields.sort();
    (status, fields, answer.get(end + 4..).unwrap_or_default().to_vec())
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_the_same_as_hyper_gives() {
    let paths =
        ["empty", "large", "pieces", "failing", "measured", "short", "long", "nothing", "same", "last", "dated"];
    let mut requests: Vec<String> = Vec::new();
    for method in ["GET", "HEAD", "OPTIONS"] {
        for path in paths {
            requests.push(format!("{method} /{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"));
        }
    }
    for fields in ["", "x:\r\n", "x: 1\r\nX: 2\r\n", "accept: \u{e9}, a;b=\"c\"\r\n", "connection: close\r\n"] {
        requests.push(format!("GET /echo?a=%20b HTTP/1.1\r\nHost: x:80\r\n{fields}\r\n"));
    }
    requests.push("GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n".to_owned());
    for request in requests {
        let service = || listener::routes(router())(Connection::new(([127, 0, 0, 1], 1).into()));
        let (mut one, ..) = connect(service());
        one.write_all(request.as_bytes()).await.expect("the server goes on");
        let ours = rest(&mut one).await;
        // A request with a length, though it is 0, takes the connection to hyper.
        let (mut two, ..) = connect(service());
        two.write_all(b"GET /empty HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
            .await
            .expect("the server goes on");
        let mut first = vec![0; 1_024];
        let length = two.read(&mut first).await.expect("an answer");
        assert!(first[..length].starts_with(b"HTTP/1.1 200"));
        two.write_all(request.as_bytes()).await.expect("the server goes on");
        let theirs = rest(&mut two).await;
        let (ours, mut theirs) = (told(&ours), told(&theirs));
        if theirs.0.contains(" 204 ") {
            // RFC 9110, 8.6, forbids what the router and hyper say of it together.
            theirs.1.retain(|field| field != "content-length: 0");
        }
        if request.contains("failing") && ours.0.is_empty() {
            // The stump may be cut off anywhere.
            continue;
        }
        assert_eq!((&ours.0, &ours.1), (&theirs.0, &theirs.1), "{request}");
        let same = ours.2 == theirs.2 || (request.contains("failing") || request.contains("short"));
        assert!(same, "{request}: {} and {}", ours.2.escape_ascii(), theirs.2.escape_ascii());
        assert!(!ours.2.ends_with(b"0\r\n\r\n") || !request.contains("failing"), "{request}");
    }
}

/// Everything that is answered to `bytes` in pieces of these lengths, dates aside.
async fn conversation(bytes: &[u8], lengths: &[usize]) -> String {
    let (client, ..) = connect(listener::routes(router())(Connection::new(([127, 0, 0, 1], 1).into())));
    let (mut reader, mut writer) = tokio::io::split(client);
    let reading = tokio::spawn(async move {
        let mut answers = Vec::new();
        let _ = reader.read_to_end(&mut answers).await;
        answers
    });
    let (mut left, mut lengths) = (bytes, lengths.iter().cycle());
    while !left.is_empty() {
        let length = lengths.next().map_or(left.len(), |length| (*length).clamp(1, left.len()));
        let _ = writer.write_all(&left[..length]).await;
        left = &left[length..];
        // The clock is paused: it goes on when there is nothing left to do.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let answers = reading.await.expect("a reader");
    let text: Vec<String> = answers
        .split(|byte| *byte == b'\n')
        .map(|line| line.escape_ascii().to_string())
        .filter(|line| !line.starts_with("date: "))
        .collect();
    text.join("\n")
}

fn requests() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        4 => "(GET|HEAD|OPTIONS) /(echo|pieces|measured|nothing|same|\\?a=b)",
        1 => "(GET|POST|PRI|get|G) [ -~]{0,12}",
    ];
    let version = prop_oneof![8 => Just("HTTP/1.1"), 1 => Just("HTTP/1.0"), 1 => Just("HTTP/1")];
    let field = prop_oneof![
        6 => Just("host: x".to_owned()),
        3 => "[a-z]{1,6}: ?[ -~]{0,10}",
        1 => Just("connection: close".to_owned()),
        1 => Just("content-length: 0".to_owned()),
        1 => "[ -~]{0,8}",
    ];
    let end = prop_oneof![12 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r")];
    let fields = prop::collection::vec((field, end.clone()), 0..4);
    let request = (line, version, end.clone(), fields, end).prop_map(|(line, version, end, fields, last)| {
        let fields: String = fields.into_iter().map(|(field, end)| format!("{field}{end}")).collect();
        format!("{line} {version}{end}{fields}{last}")
    });
    // NB: with an end to every head: what is wrong with one that is not whole hyper tells only if it came at once.
    prop::collection::vec(request, 1..4).prop_map(|requests| (requests.concat() + "\r\n\r\n").into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn however_requests_are_cut_they_get_the_same_answers(
        bytes in requests(),
        lengths in prop::collection::vec(1_usize..40, 1..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        let (whole, cut) = runtime.expect("a runtime").block_on(async {
            (conversation(&bytes, &[bytes.len()]).await, conversation(&bytes, &lengths).await)
        });
        prop_assert_eq!(whole, cut, "{}", bytes.escape_ascii());
    }
}

/// A service that answers when it is told to; says when it is asked and when it is dropped.
#[derive(Clone, Debug)]
struct Told {
    asked: mpsc::UnboundedSender<(String, oneshot::Sender<Response<Body>>)>,
}

impl Hits for Told {}

impl tower::Service<Request<Body>> for Told {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (answer, answered) = oneshot::channel();
        let _ = self.asked.send((request.uri().path().to_owned(), answer));
        Box::pin(async move { Ok(answered.await.unwrap_or_else(|_| response(500, Body::empty(), &[]))) })
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")
}

async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, work).await.expect("in time")
}

/// Reads until what came ends so.
async fn until(stream: &mut DuplexStream, end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        let mut piece = [0; 4_096];
        let length = soon(stream.read(&mut piece)).await.expect("the server goes on");
        assert!(length > 0, "closed after {text:?}");
        text.push_str(&String::from_utf8_lossy(&piece[..length]));
    }
    text
}

#[tokio::test]
async fn an_answer_nobody_waits_for_is_dropped() {
    let (asked, mut asks) = mpsc::unbounded_channel();
    let (mut client, ..) = connect(Told { asked });
    client.write_all(get("/parked").as_bytes()).await.expect("the server goes on");
    let (_, mut answer) = soon(asks.recv()).await.expect("a request");
    // What comes meanwhile does not hide that the client goes.
    client.write_all(get("/next").as_bytes()).await.expect("the server goes on");
    drop(client);
    soon(answer.closed()).await;
    assert!(soon(asks.recv()).await.is_none(), "the connection is gone");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (asked, mut asks) = mpsc::unbounded_channel();
    let (mut client, ..) = connect(Told { asked });
    client.write_all((get("/one") + &get("/two") + "GET /thr").as_bytes()).await.expect("the server goes on");
    let (path, one) = soon(asks.recv()).await.expect("a request");
    assert_eq!(path, "/one");
    client.write_all(b"ee HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("the server goes on");
    one.send(response(200, "first".into(), &[])).expect("it is awaited");
    until(&mut client, "first").await;
    for (expected, body) in [("/two", "second"), ("/three", "third")] {
        let (path, answer) = soon(asks.recv()).await.expect("a request");
        assert_eq!(path, expected);
        answer.send(response(200, body.into(), &[])).expect("it is awaited");
        until(&mut client, body).await;
    }
}

#[tokio::test]
async fn a_close_ends_connections_with_their_last_answer() {
    let (asked, mut asks) = mpsc::unbounded_channel();
    let (mut client, _, shutdown) = connect(Told { asked: asked.clone() });
    let (mut idle, _, idle_shutdown) = connect(Told { asked });
    client.write_all((get("/parked") + &get("/next")).as_bytes()).await.expect("the server goes on");
    let (_, answer) = soon(asks.recv()).await.expect("a request");
    idle_shutdown.close();
    assert!(rest(&mut idle).await.is_empty());
    shutdown.close();
    answer.send(response(200, "last".into(), &[])).expect("it is awaited");
    let text = String::from_utf8_lossy(&rest(&mut client).await).into_owned();
    assert!(text.contains("\r\nconnection: close\r\n") && text.ends_with("\r\n\r\nlast"), "{text}");
}

#[tokio::test]
async fn a_growing_body_is_sent_as_it_grows_and_never_ends_cleanly_if_it_fails() {
    let (asked, mut asks) = mpsc::unbounded_channel();
    let (mut client, ..) = connect(Told { asked });
    for end in [End::Complete, End::Failed] {
        client.write_all(get("/growing").as_bytes()).await.expect("the server goes on");
        let (_, answer) = soon(asks.recv()).await.expect("a request");
        let growing = Growing::new();
        answer.send(response(200, Body::from_stream(growing.stream()), &[])).expect("it is awaited");
        let head = until(&mut client, "\r\n\r\n").await;
        assert!(head.contains("transfer-encoding: chunked") && !head.contains("content-length"), "{head}");
        for chunk in ["first", "second and longer"] {
            growing.append(Bytes::from_static(chunk.as_bytes()));
            assert_eq!(until(&mut client, "\r\n").await, format!("{:x}\r\n{chunk}\r\n", chunk.len()));
        }
        growing.append(Bytes::from_static(b"a"));
        growing.append(Bytes::from_static(b"b"));
        growing.end(end);
        if end == End::Complete {
            assert_eq!(until(&mut client, "\r\n0\r\n\r\n").await, "1\r\na\r\n1\r\nb\r\n0\r\n\r\n");
        } else {
            assert!(!rest(&mut client).await.ends_with(b"0\r\n\r\n"));
        }
    }
}

/// Answers everything at once, but what is missing.
#[derive(Clone, Debug)]
struct Ready {
    prepared: Prepared,
    told: Told,
}

impl Hits for Ready {
    fn hit(&self, head: &Head<'_>, answer: &mut Answer<'_>) -> bool {
        answer.prepared(&self.prepared);
        answer.text(&HeaderName::from_static("seen"), format_args!("{}\r\nx: y", head.target()));
        answer.field(&CONTENT_LENGTH, &HeaderValue::from_static("1"));
        answer.body(Bytes::from_static(b"in "));
        answer.body(Bytes::from_static(b"pieces"));
        head.path() != "/missing"
    }
}

impl tower::Service<Request<Body>> for Ready {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = <Told as tower::Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.told.call(request)
    }
}

#[tokio::test]
async fn what_is_ready_is_answered_without_the_service() {
    let mut headers = HeaderMap::new();
    headers.insert(ETAG, HeaderValue::from_static("\"1\""));
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    let (asked, mut asks) = mpsc::unbounded_channel();
    let service = Ready { prepared: Prepared::new(StatusCode::OK, &headers), told: Told { asked } };
    let (mut client, ..) = connect(service);
    client.write_all(get("/a?b").as_bytes()).await.expect("the server goes on");
    let answer = until(&mut client, "in pieces").await;
    let (status, fields, _) = told(answer.as_bytes());
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert_eq!(fields, ["content-length: 9", "date: now", "etag: \"1\"", "seen: /a?b  x: y"]);
    client.write_all(get("/missing").as_bytes()).await.expect("the server goes on");
    let (path, answer) = soon(asks.recv()).await.expect("a request");
    assert_eq!(path, "/missing");
    answer.send(response(404, "none".into(), &[])).expect("it is awaited");
    let answer = until(&mut client, "none").await;
    assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n") && !answer.contains("seen"), "{answer}");
    let last = format!("{} /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", Method::HEAD);
    client.write_all(last.as_bytes()).await.expect("the server goes on");
    let answer = String::from_utf8_lossy(&rest(&mut client).await).into_owned();
    assert!(answer.contains("content-length: 9\r\nconnection: close\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
}
