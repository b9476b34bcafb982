// SPDX-License-Identifier: Apache-2.0
//! The bounds of connections, through real sockets: what is over one is closed and counted, and others go on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use headwater_net::limits::{Limits, Tally};
use headwater_net::{Growing, Shutdown, listener};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const SOON: Duration = Duration::from_secs(20);
const LARGE_BYTES: usize = 16 << 20;

struct Server {
    address: SocketAddr,
    tally: Arc<Tally>,
    shutdown: Shutdown,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shutdown.start();
    }
}

/// A server with short times.
async fn serve(limits: Limits) -> Server {
    let growing = Growing::new();
    growing.append(Bytes::from_static(b"first"));
    let router = Router::new()
        .route("/small", get(async || "small"))
        .route("/large", get(async || Body::from(vec![7; LARGE_BYTES])))
        .route("/growing", get(async move || Body::from_stream(growing.stream())));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("the server goes on");
    let address = listener.local_addr().expect("a valid one");
    let (tally, shutdown) = (Arc::new(Tally::default()), Shutdown::new());
    let service = listener::routes(router);
    tokio::spawn(listener::serve(listener, None, service, limits, Arc::clone(&tally), shutdown.clone()));
    Server { address, tally, shutdown }
}

impl Server {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("the server goes on")
    }

    /// A client whose kernel takes little of what its program does not read.
    async fn connect_narrowly(&self) -> TcpStream {
        let socket = tokio::net::TcpSocket::new_v4().expect("a valid one");
        socket.set_recv_buffer_size(64 << 10).expect("a valid one");
        socket.connect(self.address).await.expect("the server goes on")
    }

    async fn h2(&self) -> http2::SendRequest<Empty<Bytes>> {
        let io = TokioIo::new(self.connect().await);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.expect("the server goes on");
        tokio::spawn(connection);
        sender
    }

    fn request(&self, path: &str) -> Request<Empty<Bytes>> {
        Request::get(format!("http://{}{path}", self.address)).body(Empty::new()).expect("a valid one")
    }

    fn refused(&self, bound: &str) -> u64 {
        self.tally.refused().iter().find(|(name, _)| *name == bound).map_or(0, |(_, count)| *count)
    }
}

/// Everything up to the close of the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset is a close too.
    let _ = tokio::time::timeout(SOON, stream.read_to_end(&mut bytes)).await.expect("the server closes");
    String::from_utf8_lossy(&bytes).into_owned()
}

fn short() -> Limits {
    Limits { head: Duration::from_millis(200), stall: Duration::from_millis(200), ..Limits::default() }
}

async fn until(mut holds: impl FnMut() -> bool) {
    let reached = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, reached).await.expect("in time");
}

#[tokio::test]
async fn a_connection_that_brings_no_head_is_closed_whatever_it_speaks() {
    let server = serve(short()).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let beginnings: [&[u8]; 5] = [b"", b"G", b"GET /small HTTP/1.1\r\nhost: x\r\n", &preface[..7], preface];
    for beginning in beginnings {
        let mut stream = server.connect().await;
        stream.write_all(beginning).await.expect("the server goes on");
        rest(&mut stream).await;
    }
    assert_eq!(server.refused("head_time"), beginnings.len() as u64);
    until(|| server.tally.open() == 0).await;
}

#[tokio::test]
async fn a_slow_head_on_a_kept_connection_is_closed_while_an_idle_one_stays() {
    let server = serve(short()).await;
    let (mut slow, mut idle) = (server.connect().await, server.connect().await);
    let request = b"GET /small HTTP/1.1\r\nhost: x\r\n\r\n";
    for stream in [&mut slow, &mut idle] {
        stream.write_all(request).await.expect("the server goes on");
        let mut answer = [0; 1_024];
        assert!(stream.read(&mut answer).await.expect("the server goes on") > 0);
    }
    slow.write_all(b"GET /sm").await.expect("the server goes on");
    rest(&mut slow).await;
    // Idle for longer than a head may take.
    idle.write_all(request).await.expect("the server goes on");
    let mut answer = [0; 1_024];
    assert!(idle.read(&mut answer).await.expect("the server goes on") > 0);
}

#[tokio::test]
async fn a_connection_idle_for_too_long_is_closed_without_complaint() {
    let server = serve(Limits { idle: Duration::from_millis(200), ..Limits::default() }).await;
    let mut one = server.connect().await;
    one.write_all(b"GET /small HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("the server goes on");
    assert!(rest(&mut one).await.ends_with("small"));
    let mut two = server.h2().await;
    assert_eq!(two.send_request(server.request("/small")).await.expect("the server goes on").status(), StatusCode::OK);
    until(|| server.tally.open() == 0).await;
    assert_eq!(server.tally.refused(), []);
}

#[tokio::test]
async fn a_client_that_never_reads_is_dropped() {
    let server = serve(short()).await;
    let mut stream = server.connect_narrowly().await;
    stream.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("the server goes on");
    until(|| server.tally.open() == 1).await;
    until(|| server.tally.open() == 0).await;
    assert_eq!(server.refused("stall") + server.refused("send_rate"), 1);
}

#[tokio::test]
async fn a_client_that_reads_too_slowly_is_dropped() {
    let server = serve(Limits { send_bytes_per_second_min: 1 << 40, stall: Duration::from_secs(1), ..short() }).await;
    let mut stream = server.connect_narrowly().await;
    stream.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("the server goes on");
    let mut read = 0;
    let mut piece = vec![0; 1_024];
    while let Ok(count) = stream.read(&mut piece).await
        && count > 0
    {
        read += count;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(read < LARGE_BYTES);
    assert_eq!(server.refused("send_rate"), 1);
}

#[tokio::test]
async fn a_stalled_stream_is_cut_off_and_others_of_its_connection_go_on() {
    let server = serve(short()).await;
    let mut client = server.h2().await;
    // The client's window fills, and nobody reads.
    let stalled = client.send_request(server.request("/large")).await.expect("the server goes on");
    until(|| server.refused("send_rate") == 1).await;
    assert!(stalled.into_body().collect().await.is_err(), "it was reset");
    let other = client.send_request(server.request("/small")).await.expect("the server goes on");
    assert_eq!(other.into_body().collect().await.expect("the server goes on").to_bytes(), "small");
}

#[tokio::test]
async fn a_stream_that_never_gets_a_window_is_cut_off() {
    let server = serve(short()).await;
    let io = TokioIo::new(server.connect().await);
    let builder = {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(0);
        builder
    };
    let (mut client, connection) = builder.handshake(io).await.expect("the server goes on");
    tokio::spawn(connection);
    let stalled = client.send_request(server.request("/small")).await.expect("the server goes on");
    assert!(stalled.into_body().collect().await.is_err(), "it was reset");
    assert_eq!(server.refused("send_rate"), 1);
}

#[tokio::test]
async fn a_reader_that_waits_for_us_is_not_slow() {
    let server = serve(short()).await;
    let mut client = server.h2().await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /growing HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("the server goes on");
    let growing = client.send_request(server.request("/growing")).await.expect("the server goes on");
    // Longer than anything may stall.
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!((server.tally.open(), server.tally.refused()), (2, vec![]));
    drop(growing);
}

#[tokio::test]
async fn a_connection_too_many_is_told_so() {
    let server = serve(Limits { connections_max: 2, ..Limits::default() }).await;
    let _first = [server.connect().await, server.connect().await];
    until(|| server.tally.open() == 2).await;
    let answer = rest(&mut server.connect().await).await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 1"), "{answer}");
    assert_eq!(server.refused("connections"), 1);
}

#[tokio::test]
async fn heads_out_of_bounds_are_answered() {
    let server = serve(Limits { url_bytes_max: 100, headers_max: 10, ..Limits::default() }).await;
    let long = format!("/{}", "a".repeat(200));
    let many: String = (0..20).map(|n| format!("x-{n}: 1\r\n")).collect();
    let large = format!("x: {}\r\n", "a".repeat(100 << 10));
    for (path, headers, status) in [(long.as_str(), "", 414), ("/small", many.as_str(), 431), ("/small", &large, 431)] {
        let mut stream = server.connect().await;
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
        let _ = stream.write_all(request.as_bytes()).await;
        let answer = rest(&mut stream).await;
        // An answer to a head that is not read to its end may be lost in the reset that follows.
        let lost = answer.is_empty() && headers.len() > 64 << 10;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) || lost, "{status}: {answer}");
    }
    for host in ["", "host: x\r\nhost: y\r\n"] {
        let mut stream = server.connect().await;
        stream.write_all(format!("GET /small HTTP/1.1\r\n{host}\r\n").as_bytes()).await.expect("the server goes on");
        assert!(rest(&mut stream).await.starts_with("HTTP/1.1 400"), "{host}");
    }
    let mut client = server.h2().await;
    let answer = client.send_request(server.request(&long)).await.expect("the server goes on");
    assert_eq!(answer.status(), StatusCode::URI_TOO_LONG);
    let mut request = server.request("/small");
    for n in 0..20 {
        let name = http::HeaderName::from_bytes(format!("x-{n}").as_bytes()).expect("a valid one");
        request.headers_mut().insert(name, http::HeaderValue::from_static("1"));
    }
    let answer = client.send_request(request).await.expect("the server goes on");
    assert_eq!(answer.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
}
