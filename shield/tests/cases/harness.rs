// SPDX-License-Identifier: Apache-2.0
//! An origin that does exactly what its script says, byte by byte; a shield in front of it; clients that tell what they
//! got. All over real sockets on this machine.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headwater_events::event::Role;
use headwater_events::{Data, Kind, Offset, Publisher, Source};
use headwater_net::{Shutdown, listener};
use headwater_shield::{Config, Shield};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What is waited for comes within this, or the test fails.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A request as the origin saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    /// Requests for the same target before it.
    pub(crate) nth: usize,
    head: String,
}

impl Seen {
    /// A request that came without a socket.
    pub(crate) fn of(request: &http::request::Parts) -> Self {
        let mut head = format!("{} {}\n", request.method, request.uri);
        for (name, value) in &request.headers {
            head.push_str(&format!("{name}: {}\n", value.to_str().unwrap_or("?")));
        }
        let target = request.uri.path_and_query().map_or("", |target| target.as_str()).to_owned();
        Self { method: request.method.to_string(), target, nth: 0, head }
    }

    /// The value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1);
        lines.find_map(|line| line.split_once(':').filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim()))
    }
}

/// A script that is being played.
pub(crate) type Playing = Pin<Box<dyn Future<Output = std::io::Result<()>> + Send>>;

/// The other end of a scripted origin's connection.
pub(crate) struct Wire {
    stream: TcpStream,
}

impl Wire {
    /// Sends bytes as they are.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await
    }

    /// Sends a whole answer.
    pub(crate) async fn answer(&mut self, status: &str, fields: &str, body: impl AsRef<[u8]>) -> std::io::Result<()> {
        let body = body.as_ref();
        let head = format!("HTTP/1.1 {status}\r\n{fields}content-length: {}\r\n\r\n", body.len());
        self.send([head.as_bytes(), body].concat()).await
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(self) {
        let _ = self.stream.set_zero_linger();
    }

    /// Waits until the other end is gone.
    pub(crate) async fn gone(&mut self) {
        let mut byte = [0; 1];
        let _ = self.stream.read(&mut byte).await;
    }
}

/// An origin by script.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Origin {
    /// Each request is played by `script`, which gets the connection; it may answer, or not.
    pub(crate) async fn start<F, P>(script: F) -> Self
    where
        F: Fn(Seen, Wire) -> P + Send + Sync + 'static,
        P: Future<Output = std::io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let script: Arc<dyn Fn(Seen, Wire) -> Playing + Send + Sync> =
            Arc::new(move |seen, wire| Box::pin(script(seen, wire)));
        let serving = {
            let seen = Arc::clone(&seen);
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(play(stream, Arc::clone(&script), Arc::clone(&seen)));
                }
            })
        };
        Self { address, seen, serving }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Requests so far, without health checks.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }

    /// Requests so far for a target.
    pub(crate) fn count(&self, target: &str) -> usize {
        self.seen.lock().iter().filter(|seen| seen.target == target).count()
    }
}

async fn play(
    mut stream: TcpStream,
    script: Arc<dyn Fn(Seen, Wire) -> Playing + Send + Sync>,
    seen: Arc<Mutex<Vec<Seen>>>,
) {
    // One request a connection: what a script does to it concerns no other.
    let mut head = Vec::new();
    let mut byte = [0; 1];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte).await {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut first = head.lines().next().unwrap_or("").split(' ');
    let (method, target) = (first.next().unwrap_or("").to_owned(), first.next().unwrap_or("").to_owned());
    let mut request = Seen { method, target, nth: 0, head };
    if request.target == "/healthz" {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
        return;
    }
    {
        let mut seen = seen.lock();
        request.nth = seen.iter().filter(|before| before.target == request.target).count();
        seen.push(request.clone());
    }
    let _ = script(request, Wire { stream }).await;
}

/// A shield on a socket.
pub(crate) struct Shielded {
    pub(crate) shield: Arc<Shield>,
    pub(crate) address: SocketAddr,
    /// What it publishes.
    pub(crate) publisher: Publisher,
    shutdown: Shutdown,
}

impl Drop for Shielded {
    fn drop(&mut self) {
        self.shutdown.close();
    }
}

/// A configuration with one route to these origins, and `more` of the upstream's keys, then of the file's.
pub(crate) fn config(origins: &[&Origin], upstream: &str, more: &str) -> Config {
    let urls: Vec<String> = origins.iter().map(|origin| origin.url()).collect();
    configuration(&urls, upstream, more)
}

/// As [`config`], with the origins' addresses.
pub(crate) fn configuration(origins: &[String], upstream: &str, more: &str) -> Config {
    let text = format!(
        "listen = \"127.0.0.1:0\"\n{more}\n[upstreams.main]\norigins = {origins:?}\n{upstream}\n[routes.all]\nprefix = \"/\"\nupstream = \"main\"\n",
    );
    toml::from_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

impl Shielded {
    pub(crate) async fn start(config: Config) -> Self {
        let socket = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        Self::on(socket, config)
    }

    /// As [`Self::start`], under a name of its own: what another of the same name published would be no news to it.
    pub(crate) async fn named(node: &str, config: Config) -> Self {
        let socket = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        Self::on_as(socket, config, node)
    }

    /// A shield that listens on this socket.
    pub(crate) fn on(socket: TcpListener, config: Config) -> Self {
        Self::on_as(socket, config, "test")
    }

    fn on_as(socket: TcpListener, config: Config, node: &str) -> Self {
        let shutdown = Shutdown::new();
        let publisher = Publisher::memory(Source::new(Role::Shield, node));
        let shield =
            Shield::start(config, None, publisher.clone(), shutdown.clone()).expect("a configuration in order");
        let address = socket.local_addr().expect("an address");
        let (service, tally) = (Arc::clone(&shield).service(), Arc::clone(shield.tally()));
        let limits = headwater_net::limits::Limits::default();
        tokio::spawn(listener::serve(socket, None, service, limits, tally, shutdown.clone()));
        Self { shield, address, publisher, shutdown }
    }

    /// What it has published, but for heartbeats.
    pub(crate) fn published(&self) -> Vec<Data> {
        let records = self.publisher.log().read(Offset(0), 1_000).expect("all of it is held");
        let events = records.iter().map(|record| record.event().expect("an event").data);
        events.filter(|data| !matches!(data.kind(), Kind::Health | Kind::Delivery)).collect()
    }

    /// Stops it as its process would: what it is to remember is written.
    pub(crate) async fn stop(self) {
        self.shutdown.start();
        self.shutdown.close();
        let left = self.shutdown.finished(SOON).await;
        assert_eq!(left.work, 0, "everything has come to its end");
    }

    /// A shield in front of one origin.
    pub(crate) async fn of(origin: &Origin) -> Self {
        Self::start(config(&[origin], "", "")).await
    }

    pub(crate) async fn get(&self, target: &str) -> Got {
        self.ask(target, &[]).await
    }

    /// GET with fields, read to its end.
    pub(crate) async fn ask(&self, target: &str, fields: &[(&str, &str)]) -> Got {
        match self.try_begin(target, fields).await {
            Some(reading) => reading.rest().await,
            None => {
                // The connection ended before a head: as visible as an end in the body.
                let (headers, body) = (HeaderMap::new(), Bytes::new());
                Got { status: StatusCode::BAD_GATEWAY, headers, body, whole: false }
            }
        }
    }

    /// GET with fields, up to the head of the answer.
    pub(crate) async fn begin(&self, target: &str, fields: &[(&str, &str)]) -> Reading {
        self.try_begin(target, fields).await.unwrap_or_else(|| panic!("{target}: expected a head"))
    }

    async fn try_begin(&self, target: &str, fields: &[(&str, &str)]) -> Option<Reading> {
        let stream = TcpStream::connect(self.address).await.expect("a listening shield");
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
        let connection = tokio::spawn(async move {
            let _ = connection.await;
        });
        let mut request = Request::builder().uri(target);
        if !fields.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "live.example");
        }
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(Empty::<Bytes>::new()).expect("a request");
        Reading::of(target, sender.send_request(request), Some(Alive(connection))).await
    }

    /// An HTTP/2 connection.
    pub(crate) async fn h2(&self) -> H2 {
        let stream = TcpStream::connect(self.address).await.expect("a listening shield");
        let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.expect("HTTP/2");
        let connection = tokio::spawn(async move {
            let _ = connection.await;
        });
        H2 { sender, _connection: Alive(connection) }
    }
}

/// A client's HTTP/2 connection.
pub(crate) struct H2 {
    sender: hyper::client::conn::http2::SendRequest<Empty<Bytes>>,
    _connection: Alive,
}

impl H2 {
    /// GET on a stream of its own, up to the head of the answer.
    pub(crate) async fn begin(&self, target: &str) -> Reading {
        let request = Request::builder().uri(format!("http://live.example{target}"));
        let request = request.body(Empty::<Bytes>::new()).expect("a request");
        Reading::of(target, self.sender.clone().send_request(request), None).await.expect("a head")
    }
}

/// A task that ends with its handle.
struct Alive(tokio::task::JoinHandle<()>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An answer that is being read.
pub(crate) struct Reading {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: hyper::body::Incoming,
    _connection: Option<Alive>,
}

impl Reading {
    async fn of(
        target: &str,
        answer: impl Future<Output = hyper::Result<http::Response<hyper::body::Incoming>>>,
        connection: Option<Alive>,
    ) -> Option<Self> {
        let answer = tokio::time::timeout(SOON, answer).await;
        let answer = answer.unwrap_or_else(|_| panic!("{target}: no answer")).ok()?;
        let (parts, body) = answer.into_parts();
        Some(Self { status: parts.status, headers: parts.headers, body, _connection: connection })
    }

    /// The next bytes; `Err` if the answer broke off.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, ()>> {
        loop {
            let frame = tokio::time::timeout(SOON, self.body.frame()).await.expect("more of the answer, or its end");
            match frame? {
                Ok(frame) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => return Some(Ok(data)),
                    Err(_) => {}
                },
                Err(_) => return Some(Err(())),
            }
        }
    }

    /// What is left of it.
    pub(crate) async fn rest(mut self) -> Got {
        let mut body = Vec::new();
        let whole = loop {
            match self.next().await {
                Some(Ok(piece)) => body.extend_from_slice(&piece),
                Some(Err(())) => break false,
                None => break true,
            }
        };
        Got { status: self.status, headers: std::mem::take(&mut self.headers), body: body.into(), whole }
    }

    /// The next bytes, so many at least.
    pub(crate) async fn read(&mut self, bytes: usize) -> Vec<u8> {
        let mut read = Vec::new();
        while read.len() < bytes {
            match self.next().await {
                Some(Ok(piece)) => read.extend_from_slice(&piece),
                other => panic!("expected {bytes} bytes, got {} and {other:?}", read.len()),
            }
        }
        read
    }
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// It ended as it should.
    pub(crate) whole: bool,
}

impl Got {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap_or("not text")
    }

    pub(crate) fn field(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    /// What the shield says it did.
    pub(crate) fn cache_status(&self) -> &str {
        self.field("cache-status")
    }
}
