// SPDX-License-Identifier: Apache-2.0
//! What the origin answers to each URL of its script.

use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::request::Request;
use super::{Asked, Fault, State, live};
use crate::shield::pattern::Pattern;

/// A dripped body comes in so many steps.
const DRIPS: u32 = 50;

/// Answers one request.
///
/// # Errors
/// If the connection is to end: the client has gone, or the answer was cut on purpose.
pub(super) async fn write(stream: &mut TcpStream, request: &Request, state: &State) -> io::Result<()> {
    let parts: Vec<&str> = request.path.trim_start_matches('/').split('/').collect();
    match parts.as_slice() {
        ["healthz"] => text(stream, request, "200 OK", "no-store", "good\n").await,
        ["counts"] => {
            let counts: Vec<String> = state.counts.iter().map(|c| c.load(Ordering::Relaxed).to_string()).collect();
            text(stream, request, "200 OK", "no-store", &counts.join(" ")).await
        }
        ["fault", name] => {
            let fault = Fault::ALL.iter().position(|fault| fault.name() == *name).unwrap_or(0);
            state.fault.store(u8::try_from(fault).expect("a few"), Ordering::Relaxed);
            text(stream, request, "200 OK", "no-store", name).await
        }
        ["object", size, _] => {
            state.count(Asked::Object);
            match (state.fault(), size.parse()) {
                (Fault::Errors, _) => text(stream, request, "500 Internal Server Error", "no-store", "told to\n").await,
                (fault, Ok(size)) => object(stream, request, size, fault == Fault::Cut).await,
                (_, Err(_)) => missing(stream, request).await,
            }
        }
        ["drip", framing @ ("length" | "chunked"), size, first, last, _] => {
            state.count(Asked::Drip);
            let (Ok(size), Ok(first), Ok(last)) = (size.parse(), first.parse(), last.parse()) else {
                return missing(stream, request).await;
            };
            drip(stream, request, size, [first, last].map(Duration::from_millis), *framing == "chunked").await
        }
        ["live", rendition, "media.m3u8"] => {
            state.count(Asked::Playlist);
            let newest = live::newest(super::now_ms());
            text(stream, request, "200 OK", "max-age=1", &live::playlist(rendition, newest)).await
        }
        ["live", rendition, segment] => {
            state.count(Asked::Segment);
            let number = segment.strip_suffix(".m4s").and_then(|n| n.parse::<u64>().ok());
            let size = live::segment_bytes(rendition);
            match number.filter(|n| *n <= live::newest(super::now_ms())).zip(size) {
                Some((_, size)) => object(stream, request, size, false).await,
                None => missing(stream, request).await,
            }
        }
        ["parts", lifetime @ ("lasting" | "no-cache"), name, "media.m3u8"] => {
            state.count(Asked::Reload);
            let Some(part) = request.number("_HLS_msn").zip(request.number("_HLS_part")).map(live::Part::from) else {
                return missing(stream, request).await;
            };
            live::released(part).await;
            let lifetime = if *lifetime == "lasting" { "max-age=6" } else { "no-cache" };
            let newest = live::Part::newest(super::now_ms()).max(part);
            text(stream, request, "200 OK", lifetime, &live::playlist_of_parts(name, newest)).await
        }
        _ => missing(stream, request).await,
    }
}

async fn missing(stream: &mut TcpStream, request: &Request) -> io::Result<()> {
    text(stream, request, "404 Not Found", "no-store", "not in the script\n").await
}

async fn text(stream: &mut TcpStream, request: &Request, status: &str, cache: &str, body: &str) -> io::Result<()> {
    let kind = if body.starts_with("#EXTM3U") { "application/vnd.apple.mpegurl" } else { "text/plain" };
    let date = httpdate::fmt_http_date(SystemTime::now());
    let mut answer = format!(
        "HTTP/1.1 {status}\r\ndate: {date}\r\ncontent-type: {kind}\r\ncache-control: {cache}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    if !request.is_head() {
        answer.push_str(body);
    }
    stream.write_all(answer.as_bytes()).await
}

/// The fields that every object has in common.
fn fields(etag: &str) -> String {
    let date = httpdate::fmt_http_date(SystemTime::now());
    format!(
        "date: {date}\r\ncontent-type: video/mp4\r\ncache-control: max-age=3600\r\netag: {etag}\r\n\
         last-modified: Thu, 01 Jan 2026 00:00:00 GMT\r\naccept-ranges: bytes\r\n"
    )
}

async fn object(stream: &mut TcpStream, request: &Request, size: u64, cut: bool) -> io::Result<()> {
    let pattern = Pattern::of(&request.path);
    let etag = pattern.etag();
    let fields = fields(&etag);
    if request.header("if-none-match").is_some_and(|validators| validators.contains(&etag)) {
        return stream.write_all(format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n").as_bytes()).await;
    }
    let (status, from, to) = match request.range(size, &etag) {
        Some((from, to)) => (format!("206 Partial Content\r\ncontent-range: bytes {from}-{}/{size}", to - 1), from, to),
        None => ("200 OK".to_owned(), 0, size),
    };
    let mut head = format!("HTTP/1.1 {status}\r\n{fields}content-length: {}\r\n\r\n", to - from).into_bytes();
    if request.is_head() {
        return stream.write_all(&head).await;
    }
    let end = if cut { from + (to - from) / 2 } else { to };
    // The head leaves with the first bytes.
    let first = pattern.slice(from, end - from);
    head.extend_from_slice(first);
    stream.write_all(&head).await?;
    send(stream, pattern, from + first.len() as u64, end).await?;
    if cut { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
}

async fn send(stream: &mut TcpStream, pattern: Pattern, mut at: u64, end: u64) -> io::Result<()> {
    while at < end {
        let piece = pattern.slice(at, end - at);
        stream.write_all(piece).await?;
        at += piece.len() as u64;
    }
    Ok(())
}

/// The first bytes with the head after the first of `times`, the last after the second.
async fn drip(
    stream: &mut TcpStream,
    request: &Request,
    size: u64,
    times: [Duration; 2],
    chunked: bool,
) -> io::Result<()> {
    let (began, pattern) = (Instant::now(), Pattern::of(&request.path));
    let framing = if chunked { "transfer-encoding: chunked".to_owned() } else { format!("content-length: {size}") };
    let head = format!("HTTP/1.1 200 OK\r\n{}{framing}\r\n\r\n", fields(&pattern.etag()));
    let mut at = 0;
    for step in 0..=DRIPS {
        tokio::time::sleep_until(began + times[0] + (times[1] - times[0]) * step / DRIPS).await;
        let end = size * u64::from(step + 1) / u64::from(DRIPS + 1);
        let mut piece = if step == 0 { head.clone().into_bytes() } else { Vec::new() };
        if chunked {
            piece.extend_from_slice(format!("{:x}\r\n", end - at).as_bytes());
        }
        while at < end {
            let bytes = pattern.slice(at, end - at);
            piece.extend_from_slice(bytes);
            at += bytes.len() as u64;
        }
        if chunked {
            piece.extend_from_slice(if step == DRIPS { b"\r\n0\r\n\r\n" } else { b"\r\n" });
        }
        stream.write_all(&piece).await?;
    }
    Ok(())
}
