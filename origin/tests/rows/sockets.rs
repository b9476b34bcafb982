// SPDX-License-Identifier: Apache-2.0
//! The same through real sockets, in real time: HTTP/1.1 and HTTP/2 on one port, and held requests that hold up nobody.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headwater_media::UtcTime;
use headwater_net::Shutdown;
use headwater_net::limits::Limits;
use headwater_net::listener::{Connection, routes, serve, serve_stream};
use headwater_origin::Clock;
use http::{HeaderMap, Request, StatusCode, Version};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};

use crate::encoder::{Encoder, Source};
use crate::playlist::Playlist;
use crate::stage::{CHANNEL, Stage, settings};

const SOON: Duration = Duration::from_secs(20);

/// A channel on a port, whose encoder stopped after a few seconds of media: what comes next is held.
async fn serving() -> (Stage, SocketAddr, Encoder, Shutdown) {
    // The media is of the past, so that it needs no waiting for; its pace is not asked for.
    let channel = headwater_origin::config::Channel { cadence: false, ..settings() };
    let stage = Stage::at(channel, Clock::System, None);
    let whole = stage.now().millis() / 2_000 * 2_000;
    let from = UtcTime::from_nanos((whole - 20_000) * 1_000_000);
    let mut encoder = Encoder::from(stage.clock, from, vec![Source::video("v0"), Source::audio("a0")]);
    encoder.connect(&stage);
    encoder.until(from + Duration::from_millis(9_130)).await;
    let shutdown = Shutdown::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let (service, tally) = (routes(stage.router()), Arc::clone(stage.origin.tally()));
    shutdown.spawn(serve(listener, None, service, Limits::default(), tally, shutdown.clone()));
    (stage, address, encoder, shutdown)
}

fn get(address: SocketAddr, path: &str) -> Request<Empty<Bytes>> {
    let uri = format!("http://{address}/live/{CHANNEL}/{path}");
    Request::get(uri).header("host", address.to_string()).body(Empty::new()).expect("a request")
}

async fn h2(address: SocketAddr) -> http2::SendRequest<Empty<Bytes>> {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    tokio::spawn(connection);
    sender
}

async fn h1(address: SocketAddr) -> http1::SendRequest<Empty<Bytes>> {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
    tokio::spawn(connection);
    sender
}

struct Got {
    version: Version,
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

async fn read(answer: impl Future<Output = hyper::Result<http::Response<hyper::body::Incoming>>>) -> Got {
    let read = async {
        let (parts, body) = answer.await.expect("an answer").into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        Got { version: parts.version, status: parts.status, headers: parts.headers, body }
    };
    tokio::time::timeout(SOON, read).await.expect("an answer in time")
}

fn text(got: &Got) -> String {
    String::from_utf8_lossy(&got.body).into_owned()
}

#[tokio::test]
async fn a_held_request_does_not_delay_others_on_the_same_connection() {
    let (stage, address, mut encoder, shutdown) = serving().await;
    let mut client = h2(address).await;
    let playlist = Playlist::read(&text(&read(client.send_request(get(address, "v0/media.m3u8"))).await));
    let (segment, part) = playlist.newest();
    let reload = format!("v0/media.m3u8?_HLS_msn={segment}&_HLS_part={}", part + 1);
    let hinted = format!("v0/{}", playlist.hint("PART").expect("a hint"));
    let held: Vec<_> = (0..40)
        .map(|n| tokio::spawn(read(client.send_request(get(address, if n % 2 == 0 { &reload } else { &hinted })))))
        .collect();
    while stage.waiters() < 40 {
        tokio::task::yield_now().await;
    }
    // Forty held, and everything else is answered on the same connection.
    for uri in playlist.uris() {
        let got = read(client.send_request(get(address, &format!("v0/{uri}")))).await;
        assert_eq!((got.status, got.version), (StatusCode::OK, Version::HTTP_2), "{uri}");
    }
    assert!(held.iter().all(|task| !task.is_finished()));
    let until = encoder.captured() + Duration::from_millis(230);
    encoder.until(until).await;
    for task in held {
        let got = task.await.expect("an answer");
        assert_eq!(got.status, StatusCode::OK);
        assert!(!got.body.is_empty());
    }
    shutdown.start();
}

#[tokio::test]
async fn both_versions_of_http_give_the_same_answers() {
    let (_stage, address, _encoder, shutdown) = serving().await;
    let (mut one, mut two) = (h1(address).await, h2(address).await);
    for path in ["multivariant.m3u8", "v0/media.m3u8", "v0/init-0.mp4", "v0/media.m3u8?_HLS_part=1", "v0/1.m4s"] {
        let (a, b) =
            (read(one.send_request(get(address, path))).await, read(two.send_request(get(address, path))).await);
        assert_eq!((a.version, b.version), (Version::HTTP_11, Version::HTTP_2));
        assert_eq!((a.status, &a.body), (b.status, &b.body), "{path}");
        for name in ["date", "content-type", "content-length", "cache-control", "access-control-allow-origin"] {
            assert!(a.headers.contains_key(name) && b.headers.contains_key(name), "{path}: {name}");
        }
        let Some(tag) = a.headers.get("etag") else { continue };
        let mut again = get(address, path);
        again.headers_mut().insert("if-none-match", tag.clone());
        let (c, d) = (read(one.send_request(again.clone())).await, read(two.send_request(again)).await);
        assert_eq!((c.status, d.status), (StatusCode::NOT_MODIFIED, StatusCode::NOT_MODIFIED), "{path}");
        assert!(c.body.is_empty() && d.body.is_empty(), "{path}");
    }
    shutdown.start();
}

#[tokio::test]
async fn a_connection_that_breaks_frees_the_places_it_held() {
    let (stage, address, _encoder, shutdown) = serving().await;
    let mut client = h2(address).await;
    let (segment, part) =
        Playlist::read(&text(&read(client.send_request(get(address, "v0/media.m3u8"))).await)).newest();
    let reload = format!("v0/media.m3u8?_HLS_msn={segment}&_HLS_part={}", part + 1);
    let held: Vec<_> = (0..20).map(|_| tokio::spawn(client.send_request(get(address, &reload)))).collect();
    let waits_for = async |count: i64| {
        let reached = async {
            while stage.waiters() != count {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(SOON, reached).await.expect("the places are taken or freed");
    };
    waits_for(20).await;
    for task in &held {
        task.abort();
    }
    waits_for(0).await;
    shutdown.start();
}

/// Status and fields of an answer without its date, sorted, and its body.
async fn raw(stage: &Stage, request: &str) -> (Vec<String>, Vec<u8>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (mut client, server) = tokio::io::duplex(1 << 20);
    let service = Arc::clone(&stage.origin).service(axum::Router::new())(Connection::new(([127, 0, 0, 1], 1).into()));
    let (tally, shutdown) = (Arc::clone(stage.origin.tally()), Shutdown::new());
    let serving = serve_stream(server, service, Arc::new(Limits::default()), &tally, &shutdown);
    let asking = async {
        client.write_all(request.as_bytes()).await.expect("the server goes on");
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.expect("an answer");
        answer
    };
    let (served, answer) = tokio::join!(serving, asking);
    served.expect("a connection without complaint");
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let mut lines: Vec<String> = head.lines().filter(|l| !l.starts_with("date: ")).map(str::to_owned).collect();
    lines.sort();
    (lines, answer[end + 4..].to_vec())
}

#[tokio::test]
async fn what_is_answered_at_once_is_what_the_routes_would_answer() {
    let (stage, address, _encoder, shutdown) = serving().await;
    let mut client = h2(address).await;
    let playlist = Playlist::read(&text(&read(client.send_request(get(address, "v0/media.m3u8"))).await));
    let (segment, part) = playlist.newest();
    let mut paths: Vec<String> = playlist.uris().iter().map(|uri| format!("v0/{uri}")).collect();
    let lists = ["multivariant.m3u8", "plain.m3u8", "v0/media.m3u8", "v0/plain.m3u8", "v0/iframes.m3u8"];
    paths.extend(lists.map(str::to_owned));
    paths.extend(["v0/init-0.mp4", "v0/init-9.mp4", "v0/1.m4s", "v9/media.m3u8", "manifest.mpd"].map(str::to_owned));
    for query in [format!("_HLS_msn={segment}&_HLS_part={part}"), "_HLS_skip=YES".to_owned(), "_HLS_part=1".to_owned()]
    {
        paths.push(format!("v0/media.m3u8?{query}"));
    }
    for path in paths {
        for method in ["GET", "HEAD"] {
            for fields in ["", "accept-encoding: br, gzip\r\n", "if-range: \"x\"\r\n"] {
                let ask = |more: &str| {
                    format!(
                        "{method} /live/{CHANNEL}/{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{fields}{more}\r\n"
                    )
                };
                // A condition that nothing meets is not answered at once.
                let (at_once, routed) =
                    (raw(&stage, &ask("")).await, raw(&stage, &ask("if-none-match: \"x\"\r\n")).await);
                assert_eq!(at_once, routed, "{}", ask(""));
            }
        }
    }
    shutdown.start();
}
