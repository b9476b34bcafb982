// SPDX-License-Identifier: Apache-2.0
//! A healthy channel, pushed and watched part by part, while somebody attacks the same origin.
//!
//! Every attack ends in a clear status or a close; the viewer loses nothing; the process stays as small as it was and
//! gives everything back.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use headwater_tests::attacks::{
    FRAMINGS, HEADERS, PING, SETTINGS, continuation_flood, frame, h2_get, preface, range_bomb, rapid_reset,
};

use crate::harness::{Headwater, Process, SOON, get, push, try_request, until};

/// What an attack may make the process grow by, in a build without optimisation: tables, buffers, what the allocator
/// keeps. None of it may follow the attack's size.
const GROWTH_BYTES_MAX: u64 = 96 << 20;

const CONFIGURATION: &str = r"
[defaults]
segment_ms = 1000
window_seconds = 30
[channels.news]
segment_ms = 1000
window_seconds = 30
[channels.silent]
[ingest]
bodies_per_channel_max = 40
[http]
head_seconds = 2
stall_seconds = 2
waiters_per_channel_max = 300
";

/// The origin, its encoder, its viewer.
struct Scene {
    origin: Headwater,
    viewer: Viewer,
    resident_bytes: u64,
    _encoder: Process,
}

impl Scene {
    fn begin() -> Self {
        let origin = Headwater::serve(CONFIGURATION, &[]);
        let encoder = push(&origin, "news", "v0,a0");
        origin.wait_channel("news", |state| state["state"] == "live" && state["tracks"].as_array().is_some());
        let viewer = Viewer::begin(&origin);
        let first = until(SOON, || viewer.parts().checked_sub(5));
        assert!(first.is_some(), "the viewer sees the channel: {}", origin.process.log());
        let resident_bytes = origin.resident_bytes();
        Self { origin, viewer, resident_bytes, _encoder: encoder }
    }

    fn connect(&self) -> TcpStream {
        let address = self.origin.base.strip_prefix("http://").expect("plain HTTP");
        let stream = TcpStream::connect(address).unwrap_or_else(|e| panic!("{address}: {e}"));
        stream.set_read_timeout(Some(SOON)).expect("a timeout");
        stream.set_write_timeout(Some(SOON)).expect("a timeout");
        stream
    }

    /// Sends bytes on a new connection and reads to its close.
    fn send(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // Who is refused in the middle of sending sees a reset.
        let _ = stream.write_all(bytes);
        read_to_close(&mut stream)
    }

    /// The address of the newest whole segment.
    fn segment(&self) -> String {
        let segment = until(SOON, || {
            let media = get(&self.origin.url("/live/news/v0/media.m3u8")).text();
            media.lines().rfind(|line| line.ends_with(".m4s") && !line.starts_with('#')).map(str::to_owned)
        });
        format!("/live/news/v0/{}", segment.expect("a whole segment"))
    }

    fn metric(&self, name: &str) -> f64 {
        let text = get(&self.origin.url("/metrics")).text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.trim().parse().ok()).unwrap_or(0.0)
    }

    fn refused(&self, bound: &str) -> f64 {
        self.metric(&format!("headwater_refused_total{{bound=\"{bound}\"}}"))
    }

    /// After the attack: the viewer goes on, the process is as small as before, and holds nobody.
    fn end(self) {
        let grown = self.origin.resident_bytes().saturating_sub(self.resident_bytes);
        assert!(grown <= GROWTH_BYTES_MAX, "the process grew by {} MB", grown >> 20);
        // The encoder's two, the viewer's, and the one that asks.
        let quiet = || {
            let (waiters, connections) = (self.metric("headwater_waiters"), self.metric("headwater_connections"));
            let bodies = self.metric("headwater_ingest_open_bodies{channel=\"news\"}");
            (waiters <= 1.0 && connections <= 5.0 && bodies == 2.0).then_some(())
        };
        assert!(until(SOON, quiet).is_some(), "{}", get(&self.origin.url("/metrics")).text());
        let seen = self.viewer.parts();
        assert!(until(SOON, || (self.viewer.parts() > seen + 3).then_some(())).is_some(), "the viewer goes on");
        self.viewer.end();
    }
}

fn read_to_close(stream: &mut TcpStream) -> String {
    let begun = Instant::now();
    let mut bytes = Vec::new();
    let mut piece = [0; 65_536];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&piece[..count]),
            Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                panic!("expected a close within {SOON:?}, got {:?}", String::from_utf8_lossy(&bytes))
            }
            Err(_) => break,
        }
        assert!(begun.elapsed() < SOON, "expected a close");
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A client that follows a playlist by blocking reloads and fetches every part of it.
pub(crate) struct Viewer {
    parts: Arc<std::sync::atomic::AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Viewer {
    pub(crate) fn begin(origin: &Headwater) -> Self {
        let (parts, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let base = origin.url("/live/news/v0");
        let thread = std::thread::spawn({
            let (parts, stop) = (Arc::clone(&parts), Arc::clone(&stop));
            move || watch(&base, &parts, &stop)
        });
        Self { parts, stop, thread }
    }

    pub(crate) fn parts(&self) -> usize {
        assert!(!self.thread.is_finished() || self.stop.load(Ordering::Relaxed), "the viewer met an error");
        self.parts.load(Ordering::Relaxed)
    }

    pub(crate) fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("a viewer without complaint");
    }
}

/// Part names of a playlist, oldest first.
fn part_names(playlist: &str) -> Vec<(u64, u64)> {
    let uris =
        playlist.lines().filter_map(|l| l.strip_prefix("#EXT-X-PART:")?.split("URI=\"").nth(1)?.split('"').next());
    let names = uris.filter_map(|uri| {
        let mut fields = uri.split('.');
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    });
    names.collect()
}

fn watch(base: &str, parts: &std::sync::atomic::AtomicUsize, stop: &AtomicBool) {
    let mut newest: Option<(u64, u64)> = None;
    while !stop.load(Ordering::Relaxed) {
        let query =
            newest.map_or_else(String::new, |(segment, part)| format!("?_HLS_msn={segment}&_HLS_part={}", part + 1));
        let answer = get(&format!("{base}/media.m3u8{query}"));
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        for (segment, part) in part_names(&answer.text()) {
            match newest {
                Some(known) if (segment, part) <= known => continue,
                Some((s, p)) => {
                    let next = (segment == s && part == p + 1) || (segment == s + 1 && part == 0);
                    assert!(next, "after {s}.{p} came {segment}.{part}");
                }
                None => {}
            }
            newest = Some((segment, part));
            let media = get(&format!("{base}/{segment}.{part}.m4s"));
            assert!(media.status == 200 && !media.body.is_empty(), "{segment}.{part}: {}", media.status);
            parts.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn a_request_that_two_readers_would_frame_differently_ends_its_connection() {
    let scene = Scene::begin();
    let smuggled = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    for (form, rest) in FRAMINGS {
        let head = format!("POST /ingest/news/Streams(x.cmfv) HTTP/1.1\r\nhost: x\r\n{rest}{smuggled}");
        let answer = scene.send(head.as_bytes());
        // Chunks win over a length (RFC 9112, 6.3), and the connection ends there; all else is an error.
        let framed = matches!(form, "length and chunks" | "chunks and length");
        let expected = if framed { "HTTP/1.1 200" } else { "HTTP/1.1 400" };
        assert!(answer.starts_with(expected), "{form}: {answer:?}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{form}: the smuggled request was answered: {answer:?}");
    }
    assert!(scene.refused("malformed") > 0.0 && scene.refused("host") > 0.0);
    scene.end();
}

#[test]
fn slow_and_silent_connections_are_closed() {
    let scene = Scene::begin();
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let descriptors =
        limits.lines().find_map(|l| l.strip_prefix("Max open files")?.split_whitespace().next()?.parse().ok());
    let many = descriptors.unwrap_or(1_024_usize).saturating_sub(1_200).min(10_000);
    let silent: Vec<TcpStream> = (0..many).map(|_| scene.connect()).collect();
    let mut slow: Vec<TcpStream> = (0..500).map(|_| scene.connect()).collect();
    let head = b"GET /live/news/multivariant.m3u8 HTTP/1.1\r\nhost: x\r\nx-slow: ";
    for stream in &mut slow {
        stream.write_all(head).expect("a new connection takes it");
    }
    // A byte now and then does not buy time.
    let until_closed = |all: &mut Vec<TcpStream>| {
        let closed = until(SOON, || {
            all.retain_mut(|stream| stream.write_all(b"a").is_ok());
            all.is_empty().then_some(())
        });
        assert!(closed.is_some(), "{} connections were kept", all.len());
    };
    until_closed(&mut slow);
    let mut bodies: Vec<TcpStream> = (0..60).map(|_| scene.connect()).collect();
    for stream in &mut bodies {
        let head =
            "POST /ingest/news/Streams(x.cmfv) HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\n\0\r\n";
        stream.write_all(head.as_bytes()).expect("a new connection takes it");
    }
    // Forty of the channel's places, of which its encoder has two.
    let refused = until(SOON, || (scene.refused("bodies_per_channel") == 22.0).then_some(()));
    assert!(refused.is_some(), "{}", scene.refused("bodies_per_channel"));
    drop((bodies, silent));
    assert!(scene.refused("head_time") >= 500.0);
    scene.end();
}

#[test]
fn a_flood_of_frames_ends_its_own_connection_only() {
    let scene = Scene::begin();
    let reload = "/live/silent/multivariant.m3u8";
    let floods = [
        ("rapid reset", rapid_reset(reload)),
        ("continuation", continuation_flood()),
        ("ping", frame(PING, 0, 0, &[7; 8]).repeat(1_000_000)),
        ("settings", frame(SETTINGS, 0, 0, &[]).repeat(1_000_000)),
        ("a frame on no stream", frame(HEADERS, 0x5, 0, &[0x82]).repeat(10)),
    ];
    for (flood, frames) in floods {
        let mut stream = scene.connect();
        stream.write_all(&preface(&[])).expect("a new connection takes it");
        // Nobody reads what the server says: it must stop, not buffer.
        let mut sent = 0;
        for piece in frames.chunks(64 << 10) {
            if stream.write_all(piece).is_err() {
                break;
            }
            sent += piece.len();
        }
        read_to_close(&mut stream);
        println!("{flood}: {sent} of {} bytes taken", frames.len());
        let grown = scene.origin.resident_bytes().saturating_sub(scene.resident_bytes);
        assert!(grown <= GROWTH_BYTES_MAX, "{flood}: the process grew by {} MB", grown >> 20);
    }
    // A client that asks for much and opens no window (SETTINGS_INITIAL_WINDOW_SIZE of 0).
    let mut stalled = scene.connect();
    let mut bytes = preface(&[0, 4, 0, 0, 0, 0]);
    (0..200).for_each(|n| bytes.extend(h2_get(n * 2 + 1, "/live/news/v0/media.m3u8")));
    stalled.write_all(&bytes).expect("a new connection takes it");
    assert!(until(SOON, || (scene.refused("send_rate") >= 200.0).then_some(())).is_some(), "every stream is cut off");
    drop(stalled);
    scene.end();
}

#[test]
fn clients_that_never_read_and_clients_that_wait_take_no_more_than_their_places() {
    let scene = Scene::begin();
    let request = format!("GET {} HTTP/1.1\r\nhost: x\r\n\r\n", scene.segment());
    // Thousands of answers asked for, none read.
    let mut greedy: Vec<TcpStream> = (0..50).map(|_| scene.connect()).collect();
    for stream in &mut greedy {
        stream.set_nonblocking(true).expect("an option");
        let _ = stream.write(request.repeat(2_000).as_bytes());
    }
    let dropped = until(SOON, || (scene.refused("stall") + scene.refused("send_rate") >= 50.0).then_some(()));
    assert!(dropped.is_some(), "who reads nothing is dropped");
    // Each asks as soon as it is connected: on a busy machine four hundred connects take longer than a silent connection
    // may live.
    let ask = |_| {
        let mut stream = scene.connect();
        stream.write_all(b"GET /live/silent/multivariant.m3u8 HTTP/1.1\r\nhost: x\r\n\r\n").expect("a request");
        stream
    };
    let mut waiting: Vec<TcpStream> = (0..400).map(ask).collect();
    let full = until(SOON, || (scene.refused("waiters_per_channel") >= 100.0).then_some(()));
    assert!(full.is_some(), "{} of 400 were refused", scene.refused("waiters_per_channel"));
    // The viewer waits too, at its own channel.
    assert!(scene.metric("headwater_waiters") <= 301.0, "{} are parked", scene.metric("headwater_waiters"));
    let mut answered = 0;
    for stream in &mut waiting {
        stream.set_read_timeout(Some(Duration::from_millis(10))).expect("a timeout");
        let mut head = [0; 12];
        answered += usize::from(stream.read_exact(&mut head).is_ok() && &head == b"HTTP/1.1 503");
    }
    assert!(answered >= 100, "{answered} were told so");
    drop((waiting, greedy));
    scene.end();
}

#[test]
fn what_is_asked_for_in_bulk_allocates_nothing() {
    let scene = Scene::begin();
    let lines = get(&scene.origin.url("/metrics")).text().lines().count();
    // A hundred thousand names that nobody configured, on a few connections.
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let scene = &scene;
            scope.spawn(move || {
                let mut stream = scene.connect();
                for batch in 0..100 {
                    let names = (0..250).map(|n| {
                        format!("GET /live/c{worker}x{batch}x{n}/multivariant.m3u8 HTTP/1.1\r\nhost: x\r\n\r\n")
                    });
                    stream.write_all(names.collect::<String>().as_bytes()).expect("a request");
                    let mut seen = 0;
                    let mut piece = vec![0; 65_536];
                    let mut text = Vec::new();
                    while seen < 250 {
                        let count = stream.read(&mut piece).expect("an answer");
                        assert!(count > 0, "expected an answer");
                        text.extend_from_slice(&piece[..count]);
                        seen = text.windows(12).filter(|w| w == b"HTTP/1.1 404").count();
                    }
                }
            });
        }
    });
    for n in 0..200 {
        let answer = scene.send(
            format!("PUT /ingest/c{n}/Streams(v0.cmfv) HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").as_bytes(),
        );
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    }
    let grown = get(&scene.origin.url("/metrics")).text().lines().count() - lines;
    assert!(grown < 40, "{grown} more lines of metrics");

    let url = scene.origin.url(&scene.segment());
    let whole = get(&url).body;
    let bomb = range_bomb();
    for _ in 0..200 {
        let answer = crate::harness::request("GET", &url, &[("range", &bomb)], &[]);
        assert!(answer.status == 200 && answer.body == whole, "several ranges are answered with the whole");
    }

    let large = format!("GET /healthz HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "a".repeat(4 << 20));
    let many: String = (0..2_000).map(|n| format!("x-{n}: 1\r\n")).collect();
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", "a".repeat(20_000));
    for (request, status) in
        [(large, 431), (format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{many}\r\n"), 431), (long, 414)]
    {
        let answer = scene.send(request.as_bytes());
        // An answer to a head that is not read to its end may be lost in the reset that follows.
        assert!(answer.is_empty() || answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }

    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let mut piece = vec![0; 1 << 20];
    piece[..8].copy_from_slice(&[0, 0x10, 0, 0, b'f', b'r', b'e', b'e']);
    (0..256).for_each(|_| packed.write_all(&piece).expect("memory"));
    let packed = packed.finish().expect("memory");
    let url = scene.origin.url("/ingest/news/Streams(bomb.cmfv)");
    for _ in 0..5 {
        // The refusal may overtake the body, and close.
        if let Ok(answer) = try_request("POST", &url, &[("content-encoding", "gzip")], &packed) {
            assert_eq!(answer.status, 413, "{}", answer.text());
        }
    }
    let refused = scene.metric("headwater_ingest_refused_total{channel=\"news\",defect=\"inflate_ratio\"}");
    assert_eq!(refused, 5.0);
    scene.end();
}
