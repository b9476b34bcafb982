// SPDX-License-Identifier: Apache-2.0
//! A node that publishes and serves its feed on a port of its own, and can be killed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use headwater_events::event::{ChannelEnded, ChannelStarted, Data, Role};
use headwater_events::{Config, Event, Publisher, Source, feed};
use headwater_media::UtcTime;
use headwater_net::Shutdown;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;

/// No wait of a test is longer.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A moment, in seconds from a fixed one.
pub(crate) fn at(seconds: i64) -> UtcTime {
    UtcTime::from_nanos(1_790_000_000_000_000_000 + seconds * 1_000_000_000)
}

pub(crate) fn ended(channel: &str) -> Data {
    Data::ChannelEnded(ChannelEnded { channel: channel.to_owned(), reason: "removed".to_owned() })
}

pub(crate) fn started(channel: &str) -> Data {
    Data::ChannelStarted(ChannelStarted {
        channel: channel.to_owned(),
        generation: 0,
        tracks: Vec::new(),
        segment_ns: 1,
        bits_per_second: 1,
    })
}

/// Publishes the end of each channel.
pub(crate) fn publish(publisher: &Publisher, channels: impl IntoIterator<Item = impl AsRef<str>>) {
    for channel in channels {
        publisher.publish(at(0), ended(channel.as_ref()));
    }
}

pub(crate) fn channel_of(event: &Event) -> String {
    event.data.channel().unwrap_or_default().to_owned()
}

/// A metric without labels.
pub(crate) fn gauge(publisher: &Publisher, name: &str) -> f64 {
    let mut registry = prometheus_client::registry::Registry::default();
    publisher.metrics().register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let row = format!("headwater_events_{name} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&row));
    value.unwrap_or_else(|| panic!("{name} is not in\n{text}")).parse().unwrap()
}

/// A node.
pub(crate) struct Node {
    pub(crate) publisher: Publisher,
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: Shutdown,
    config: Config,
    dir: Option<PathBuf>,
    server: Option<JoinHandle<()>>,
}

impl Node {
    pub(crate) async fn start(dir: Option<&Path>) -> Self {
        Self::with(|_| {}, dir).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config), dir: Option<&Path>) -> Self {
        let mut config = Config::default();
        change(&mut config);
        let publisher = open(&config, dir);
        Self::of(publisher, config, dir).await
    }

    /// Of a publisher that is there already.
    pub(crate) async fn of(publisher: Publisher, config: Config, dir: Option<&Path>) -> Self {
        let (address, dir) = ("127.0.0.1:0".parse().unwrap(), dir.map(Path::to_owned));
        let mut node =
            Self { publisher: publisher.clone(), address, shutdown: Shutdown::new(), config, dir, server: None };
        node.serve(publisher).await;
        node
    }

    /// Serves what a publisher publishes, on the port it had before.
    pub(crate) async fn serve(&mut self, publisher: Publisher) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(self.address).unwrap();
        let listener = socket.listen(1_024).unwrap();
        self.address = listener.local_addr().unwrap();
        self.shutdown = Shutdown::new();
        let router = feed::router(&publisher, self.config.followers_max, self.shutdown.clone());
        self.publisher = publisher;
        self.server = Some(tokio::spawn(accept(listener, router)));
    }

    /// Ends the server with all its connections, and the log without a word.
    pub(crate) async fn kill(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
            let _ = server.await;
        }
        self.followers(0).await;
        self.publisher.stop(DEADLINE);
        self.publisher = Publisher::memory(Source::new(Role::Origin, "dead"));
    }

    /// The publisher of the next life.
    pub(crate) fn reopen(&self) -> Publisher {
        open(&self.config, self.dir.as_deref())
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until so many follow.
    pub(crate) async fn followers(&self, count: u32) {
        let until = tokio::time::Instant::now() + DEADLINE;
        while gauge(&self.publisher, "followers") != f64::from(count) {
            assert!(tokio::time::Instant::now() < until, "{count} do not follow");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn connect(&self, target: &str) -> TcpStream {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        let request = format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        socket
    }

    /// The head of an answer, and its body until it has a text.
    pub(crate) async fn get_until(&self, target: &str, last: &str) -> (String, String) {
        let mut socket = self.connect(target).await;
        let mut text = String::new();
        while !text.contains(last) {
            let mut bytes = [0; 4_096];
            let read = tokio::time::timeout(DEADLINE, socket.read(&mut bytes)).await.expect("bytes in time").unwrap();
            assert!(read > 0, "the feed ended: {text}");
            text.push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        // Without the frames of the chunked coding.
        let lines = body.split("\r\n").enumerate().filter(|(n, _)| n % 2 == 1).map(|(_, line)| line);
        (format!("{head}\r\n"), lines.collect())
    }

    /// A whole answer: head and body.
    pub(crate) async fn ask(&self, method: &str, target: &str) -> (String, String) {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        let request = format!("{method} {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        tokio::time::timeout(DEADLINE, socket.read_to_end(&mut bytes)).await.expect("an answer in time").unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (format!("{head}\r\n"), body.to_owned())
    }
}

fn open(config: &Config, dir: Option<&Path>) -> Publisher {
    Publisher::start(config, dir, Source::new(Role::Origin, "n")).unwrap()
}

/// Connections end with this task.
async fn accept(listener: TcpListener, router: axum::Router) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let service = hyper_util::service::TowerToHyperService::new(router.clone());
        let socket = hyper_util::rt::TokioIo::new(socket);
        connections.spawn(async move {
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(socket, service).await;
        });
    }
}
