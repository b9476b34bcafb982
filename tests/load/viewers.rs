// SPDX-License-Identifier: Apache-2.0
//! Viewers on raw keep-alive connections: parked reloads, held parts, and as many requests as fit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::origin::Origin;

/// Requests that wait for one part.
pub(crate) struct Parked {
    playlists: Vec<JoinHandle<Instant>>,
    parts: Vec<JoinHandle<Instant>>,
}

/// Parks `waiters` playlist reloads and as many requests for the announced part.
pub(crate) async fn park(origin: &Origin, channel: &str, part: (i64, u64), waiters: usize) -> Parked {
    let (msn, index) = part;
    let list = format!("/live/{channel}/v2/media.m3u8?_HLS_msn={msn}&_HLS_part={index}&_HLS_skip=YES");
    let held = format!("/live/{channel}/v2/{msn}.{index}.m4s");
    let playlists = requests(origin, &list, waiters).await;
    let parts = requests(origin, &held, waiters).await;
    until_parked(origin, waiters * 2).await;
    Parked { playlists, parts }
}

/// Parks playlist reloads only.
pub(crate) async fn park_playlists(origin: &Origin, channel: &str, part: (i64, u64), waiters: usize) -> Parked {
    let list = format!("/live/{channel}/v2/media.m3u8?_HLS_msn={}&_HLS_part={}&_HLS_skip=YES", part.0, part.1);
    let playlists = requests(origin, &list, waiters).await;
    until_parked(origin, waiters).await;
    Parked { playlists, parts: Vec::new() }
}

async fn until_parked(origin: &Origin, waiters: usize) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while origin.metric("headwater_waiters").await < waiters as u64 {
        assert!(Instant::now() < deadline, "expected {waiters} parked requests");
    }
}

async fn requests(origin: &Origin, path: &str, count: usize) -> Vec<JoinHandle<Instant>> {
    let mut tasks = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = origin.connect().await;
        let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("a request sent");
        tasks.push(tokio::spawn(async move {
            let mut answer = Vec::with_capacity(16 * 1024);
            read_one(&mut stream, &mut answer).await;
            Instant::now()
        }));
    }
    tasks
}

impl Parked {
    /// Milliseconds from `sent` to each answer's last byte: playlists, parts.
    pub(crate) async fn answered(self, sent: Instant) -> (Vec<f64>, Vec<f64>) {
        let mut times = (Vec::new(), Vec::new());
        for (tasks, into) in [(self.playlists, &mut times.0), (self.parts, &mut times.1)] {
            for task in tasks {
                let at = task.await.expect("an answer");
                into.push(at.saturating_duration_since(sent).as_secs_f64() * 1e3);
            }
        }
        times
    }
}

/// p50, p99 and the largest, in milliseconds.
pub(crate) fn percentiles(times: &mut [f64]) -> String {
    if times.is_empty() {
        return "none".to_owned();
    }
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    format!("p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms", at(0.5), at(0.99), at(1.0))
}

/// What a run of requests came to.
pub(crate) struct Served {
    pub(crate) requests: u64,
    /// Of one answer, head included.
    pub(crate) bytes: usize,
    pub(crate) cpu: f64,
    pub(crate) seconds: f64,
}

impl Served {
    pub(crate) fn rate(&self) -> f64 {
        self.requests as f64 / self.seconds
    }
}

/// Asks for `path` again and again on `connections` keep-alive connections.
pub(crate) async fn hammer(origin: &Origin, path: &str, connections: usize, length: Duration) -> Served {
    let stop = Arc::new(AtomicBool::new(false));
    let count = Arc::new(AtomicU64::new(0));
    let size = Arc::new(AtomicU64::new(0));
    let mut tasks = Vec::new();
    for _ in 0..connections {
        let mut stream = origin.connect().await;
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
    let (cpu, began) = (origin.cpu(), Instant::now());
    tokio::time::sleep(length).await;
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.expect("a viewer");
    }
    Served {
        requests: count.load(Ordering::Relaxed),
        bytes: usize::try_from(size.load(Ordering::Relaxed)).unwrap_or(0),
        cpu: origin.cpu() - cpu,
        seconds: began.elapsed().as_secs_f64(),
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
            let length = head.lines().find_map(|l| l.strip_prefix("content-length:")).and_then(|v| v.trim().parse::<usize>().ok());
            need = Some(end + 4 + length.expect("a length"));
        }
        if need.is_some_and(|need| answer.len() >= need) {
            return answer.len();
        }
    }
}
