// SPDX-License-Identifier: Apache-2.0
//! Viewers on raw keep-alive connections: parked reloads, held parts, and as many requests as fit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::origin::{Origin, Server};

/// Viewers with a connection each, kept between requests.
pub(crate) struct Crowd {
    idle: Vec<TcpStream>,
}

/// Requests of a crowd that wait for their answers.
pub(crate) struct Parked {
    tasks: Vec<JoinHandle<(TcpStream, Instant)>>,
}

impl Crowd {
    /// Connects `count` viewers.
    pub(crate) async fn connect(origin: &Origin, count: usize) -> Self {
        let mut idle = Vec::with_capacity(count);
        for _ in 0..count {
            idle.push(origin.connect().await);
        }
        Self { idle }
    }

    /// Every viewer asks for `path`.
    pub(crate) async fn ask(&mut self, path: &str) -> Parked {
        let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        let mut tasks = Vec::with_capacity(self.idle.len());
        for mut stream in self.idle.drain(..) {
            stream.write_all(head.as_bytes()).await.expect("a request sent");
            tasks.push(tokio::spawn(async move {
                let mut answer = Vec::with_capacity(4 * 1024);
                read_one(&mut stream, &mut answer).await;
                (stream, Instant::now())
            }));
        }
        Parked { tasks }
    }

    /// Milliseconds from `sent` to each answer's last byte.
    pub(crate) async fn answered(&mut self, parked: Parked, sent: Instant) -> Vec<f64> {
        let mut times = Vec::with_capacity(parked.tasks.len());
        for task in parked.tasks {
            let (stream, at) = task.await.expect("an answer");
            self.idle.push(stream);
            times.push(at.saturating_duration_since(sent).as_secs_f64() * 1e3);
        }
        times
    }
}

/// The address of a reload that waits for a part of the top rendition.
pub(crate) fn reload(channel: &str, part: (i64, u64)) -> String {
    format!("/live/{channel}/v2/media.m3u8?_HLS_msn={}&_HLS_part={}&_HLS_skip=YES", part.0, part.1)
}

/// Waits until so many requests are parked.
pub(crate) async fn until_parked(origin: &Origin, waiters: usize) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while origin.metric("headwater_waiters").await < waiters as u64 {
        assert!(Instant::now() < deadline, "expected {waiters} parked requests");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What a run of requests came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Served {
    requests: u64,
    /// Of one answer, head included.
    bytes: usize,
    cpu: f64,
    seconds: f64,
}

impl std::ops::AddAssign for Served {
    fn add_assign(&mut self, more: Self) {
        self.requests += more.requests;
        self.bytes = more.bytes;
        self.cpu += more.cpu;
        self.seconds += more.seconds;
    }
}

impl Served {
    /// The figures in words: by the request where answers are small, by the byte where they are large.
    pub(crate) fn said(&self) -> String {
        let (requests, gigabytes) = (self.requests as f64, self.bytes as f64 * self.requests as f64 / 1e9);
        if self.bytes < 10_000 {
            let (each, rate) = (self.cpu / requests * 1e6, requests / self.seconds);
            format!("{} bytes: {each:.1} CPU-s per million, {rate:.0} requests/s", self.bytes)
        } else {
            let (each, rate) = (self.cpu / gigabytes, gigabytes / self.seconds);
            format!("{} bytes: {each:.3} CPU-s per GB, {rate:.2} GB/s", self.bytes)
        }
    }
}

/// Asks for `path` again and again on `connections` keep-alive connections.
pub(crate) async fn hammer(server: &Server<'_>, path: &str, connections: usize, length: Duration) -> Served {
    let stop = Arc::new(AtomicBool::new(false));
    let count = Arc::new(AtomicU64::new(0));
    let size = Arc::new(AtomicU64::new(0));
    let mut tasks = Vec::new();
    for _ in 0..connections {
        let mut stream = server.connect().await;
        let (stop, count, size) = (Arc::clone(&stop), Arc::clone(&count), Arc::clone(&size));
        let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        tasks.push(tokio::spawn(async move {
            let mut answer = Vec::with_capacity(1 << 20);
            while !stop.load(Ordering::Relaxed) {
                stream.write_all(head.as_bytes()).await.expect("a request sent");
                let bytes = read_one(&mut stream, &mut answer).await;
                size.store(bytes as u64, Ordering::Relaxed);
                count.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    let (cpu, began) = (server.process.cpu(), Instant::now());
    tokio::time::sleep(length).await;
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.expect("a viewer");
    }
    Served {
        requests: count.load(Ordering::Relaxed),
        bytes: usize::try_from(size.load(Ordering::Relaxed)).unwrap_or(0),
        cpu: server.process.cpu() - cpu,
        seconds: began.elapsed().as_secs_f64(),
    }
}

/// Readers of segments in progress.
pub(crate) struct Followers {
    streams: Vec<BufReader<TcpStream>>,
}

type Following = JoinHandle<(BufReader<TcpStream>, Instant)>;

impl Followers {
    /// Connects `count` readers.
    pub(crate) async fn connect(origin: &Origin, count: usize) -> Self {
        let mut streams = Vec::with_capacity(count);
        for _ in 0..count {
            streams.push(BufReader::with_capacity(256 * 1024, origin.connect().await));
        }
        Self { streams }
    }

    /// Every reader waits for the next chunk of the segment it follows; of a new one, it asks first.
    pub(crate) async fn follow(&mut self, path: &str, anew: bool) -> Vec<Following> {
        let mut following = Vec::with_capacity(self.streams.len());
        for mut stream in self.streams.drain(..) {
            let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
            if anew {
                stream.get_mut().write_all(head.as_bytes()).await.expect("a request sent");
            }
            following.push(tokio::spawn(async move {
                let mut data = Vec::new();
                // The end of the segment before comes on the same connection, then the head, then the chunk.
                while read_chunk(&mut stream, &mut data).await == 0 {}
                (stream, Instant::now())
            }));
        }
        following
    }

    /// Milliseconds from `sent` to each reader's last byte of the chunk.
    pub(crate) async fn read(&mut self, following: Vec<Following>, sent: Instant) -> Vec<f64> {
        let mut times = Vec::with_capacity(following.len());
        for task in following {
            let (stream, at) = task.await.expect("a chunk");
            self.streams.push(stream);
            times.push(at.saturating_duration_since(sent).as_secs_f64() * 1e3);
        }
        times
    }
}

/// Reads one HTTP chunk, past the head of its answer; its size, 0 for the last.
async fn read_chunk(stream: &mut BufReader<TcpStream>, data: &mut Vec<u8>) -> usize {
    let mut line = String::new();
    loop {
        line.clear();
        stream.read_line(&mut line).await.expect("a chunk");
        assert!(!line.is_empty(), "closed early");
        if line.starts_with("HTTP/1.1 ") {
            assert!(line.starts_with("HTTP/1.1 200"), "{line}");
        } else if let Ok(size) = usize::from_str_radix(line.trim(), 16) {
            data.resize(size + 2, 0);
            stream.read_exact(data).await.expect("a whole chunk");
            return size;
        }
    }
}

/// Reads one answer with a Content-Length; its whole size.
async fn read_one(stream: &mut TcpStream, answer: &mut Vec<u8>) -> usize {
    answer.clear();
    let mut need = None;
    loop {
        let read = stream.read_buf(answer).await.expect("an answer");
        assert!(read > 0, "closed early: {}", String::from_utf8_lossy(&answer[..answer.len().min(200)]));
        if need.is_none()
            && let Some(end) = answer.windows(4).position(|w| w == b"\r\n\r\n")
        {
            let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
            assert!(head.starts_with("http/1.1 200"), "{head}");
            let length = head
                .lines()
                .find_map(|l| l.strip_prefix("content-length:"))
                .and_then(|v| v.trim().parse::<usize>().ok());
            need = Some(end + 4 + length.expect("a length"));
        }
        if need.is_some_and(|need| answer.len() >= need) {
            return answer.len();
        }
    }
}
