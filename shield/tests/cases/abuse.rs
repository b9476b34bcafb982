// SPDX-License-Identifier: Apache-2.0
//! Somebody attacks the shield while a stream is watched through it: each attack ends in a clear status or a close, and
//! the watcher loses nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::attacks::{FRAMINGS, continuation_flood, preface, range_bomb, rapid_reset};
use crate::harness::{Origin, SOON, Shielded, Wire, config};

const LIFE: &str = "cache-control: max-age=60\r\n";
const BODY: &str = "0123456789";

/// An origin, a shield, and a viewer that asks for one segment after the other.
struct Scene {
    origin: Origin,
    shield: Arc<Shielded>,
    seen: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    viewer: tokio::task::JoinHandle<()>,
}

impl Scene {
    async fn begin() -> Self {
        let origin = Origin::start(|_, mut wire: Wire| async move { wire.answer("200 OK", LIFE, BODY).await }).await;
        let shield = Arc::new(Shielded::start(config(&[&origin], "", "")).await);
        let (seen, stop) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let viewer = tokio::spawn({
            let (shield, seen, stop) = (Arc::clone(&shield), Arc::clone(&seen), Arc::clone(&stop));
            async move {
                while !stop.load(Ordering::Relaxed) {
                    let segment = seen.load(Ordering::Relaxed) / 2;
                    let got = shield.get(&format!("/live/{segment}.m4s")).await;
                    assert_eq!((got.text(), got.whole), (BODY, true), "segment {segment}");
                    seen.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Self { origin, shield, seen, stop, viewer }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.shield.address).await.expect("a listening shield")
    }

    /// Sends bytes on a new connection and reads to its close.
    async fn send(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        let mut read = Vec::new();
        let (mut from, mut to) = stream.split();
        // Who is refused in the middle of sending sees a reset.
        let both = async { tokio::join!(to.write_all(bytes), from.read_to_end(&mut read)) };
        assert!(tokio::time::timeout(SOON, both).await.is_ok(), "expected a close");
        String::from_utf8_lossy(&read).into_owned()
    }

    /// The viewer has lost nothing and goes on.
    async fn end(self) {
        let before = self.seen.load(Ordering::Relaxed);
        let goes_on = async {
            while self.seen.load(Ordering::Relaxed) < before + 10 {
                assert!(!self.viewer.is_finished(), "the viewer met an error");
                tokio::task::yield_now().await;
            }
        };
        assert!(tokio::time::timeout(SOON, goes_on).await.is_ok(), "the viewer goes on");
        self.stop.store(true, Ordering::Relaxed);
        self.viewer.await.expect("a viewer without complaint");
    }
}

#[tokio::test]
async fn a_request_that_two_readers_would_frame_differently_smuggles_nothing() {
    let scene = Scene::begin().await;
    for method in ["GET", "POST"] {
        for (form, rest) in FRAMINGS {
            let smuggled = "GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n";
            let answer = scene.send(format!("{method} /a HTTP/1.1\r\nhost: x\r\n{rest}{smuggled}").as_bytes()).await;
            let status = answer.split(' ').nth(1).unwrap_or("none");
            // Chunks win over a length, and the connection ends there (RFC 9112, 6.3); all else is an error.
            let framed = matches!(form, "length and chunks" | "chunks and length");
            let expected: &[&str] = if framed { &["200", "405"] } else { &["400", "405", "200"] };
            assert!(expected.contains(&status), "{method}, {form}: {answer:?}");
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{method}, {form}: {answer:?}");
        }
    }
    assert_eq!(scene.origin.count("/smuggled"), 0);
    scene.end().await;
}

#[tokio::test]
async fn a_flood_of_frames_ends_its_own_connection_only() {
    let scene = Scene::begin().await;
    for (flood, frames) in [("rapid reset", rapid_reset("/a")), ("continuation", continuation_flood())] {
        scene.send(&[preface(&[]), frames].concat()).await;
        assert!(scene.origin.count("/a") <= 1, "{flood}: what is cancelled is fetched once at most");
    }
    scene.end().await;
}

#[tokio::test]
async fn connections_that_send_a_head_by_and_by_keep_nobody_out() {
    let scene = Scene::begin().await;
    let mut slow = Vec::new();
    for _ in 0..1_000 {
        let mut stream = scene.connect().await;
        stream.write_all(b"GET /a HTTP/1.1\r\nhost: x\r\nx-slow: ").await.expect("a new connection takes it");
        slow.push(stream);
    }
    assert_eq!(scene.origin.count("/a"), 0);
    scene.end().await;
}

#[tokio::test]
async fn many_ranges_cost_no_more_than_the_whole() {
    let scene = Scene::begin().await;
    for _ in 0..50 {
        let got = scene.shield.ask("/a", &[("range", &range_bomb())]).await;
        assert_eq!((got.status.as_u16(), got.text()), (200, BODY));
    }
    assert_eq!(scene.origin.count("/a"), 1);
    scene.end().await;
}

#[tokio::test]
async fn heads_and_urls_without_end_are_refused() {
    let scene = Scene::begin().await;
    let large = format!("GET /a HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "a".repeat(4 << 20));
    let many: String = (0..2_000).map(|n| format!("x-{n}: 1\r\n")).collect();
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", "a".repeat(20_000));
    for (request, status) in [(large, 431), (format!("GET /a HTTP/1.1\r\nhost: x\r\n{many}\r\n"), 431), (long, 414)] {
        let answer = scene.send(request.as_bytes()).await;
        // An answer to a head that is not read to its end may be lost in the reset that follows.
        assert!(answer.is_empty() || answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
    assert!(scene.origin.seen().iter().all(|seen| seen.target.starts_with("/live/")));
    scene.end().await;
}
