// SPDX-License-Identifier: Apache-2.0
//! The bytes of a connection: whatever is answered to them whole is answered to them in pieces.
#![no_main]

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use headwater_net::Shutdown;
use headwater_net::limits::{Limits, Tally};
use headwater_net::listener::{self, Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What requests are made of. A byte from 128 on is one of these, any other is itself.
const WORDS: [&[u8]; 16] = [
    b"GET /a HTTP/1.1\r\n",
    b"HEAD /b?c HTTP/1.1\r\n",
    b"OPTIONS /d HTTP/1.1\r\n",
    b"POST /e HTTP/1.1\r\n",
    b"host: x\r\n",
    b"\r\n",
    b"content-length: 3\r\n",
    b"transfer-encoding: chunked\r\n",
    b"3\r\nabc\r\n0\r\n",
    b"connection: close\r\n",
    b"upgrade: h2c\r\n",
    b"GET /f HTTP/1.0\r\n",
    b"x: y\r\n ",
    b"\xc3\xa9",
    b"GET ",
    b" HTTP/1.1\r\nhost: x\r\n\r\n",
];

/// Everything that is answered, dates aside.
async fn conversation(bytes: &[u8], length: usize) -> Vec<u8> {
    let router = Router::new().fallback(async |request: http::Request<axum::body::Body>| {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.map_or(0, |body| body.len());
        format!("{} {} {:?} {body}", parts.method, parts.uri, parts.headers)
    });
    let service = listener::routes(router)(Connection::new(([127, 0, 0, 1], 1).into()));
    let (client, server) = tokio::io::duplex(1 << 20);
    let serving = tokio::spawn(async move {
        let tally = Arc::new(Tally::default());
        let _ = listener::serve_stream(server, service, Arc::new(Limits::default()), &tally, &Shutdown::new()).await;
    });
    let (mut reader, mut writer) = tokio::io::split(client);
    let reading = tokio::spawn(async move {
        let mut answers = Vec::new();
        let _ = reader.read_to_end(&mut answers).await;
        answers
    });
    for piece in bytes.chunks(length) {
        let _ = writer.write_all(piece).await;
        // The clock is paused: it goes on when there is nothing left to do.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let answers = reading.await.expect("a reader");
    serving.await.expect("the server does not panic");
    let lines = answers.split(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"date: "));
    lines.collect::<Vec<_>>().join(&b'\n')
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    let word = |byte: &u8| match byte.checked_sub(128) {
        Some(word) => WORDS[usize::from(word) % WORDS.len()].to_vec(),
        None => vec![*byte],
    };
    let written: Vec<u8> = data.iter().flat_map(word).collect();
    // What is wrong with a head that is not whole is told only if it came at once.
    let bytes = [&written[..], b"\r\n\r\n"].concat();
    let whole = runtime.block_on(conversation(&bytes, bytes.len()));
    let length = 1 + usize::from(data.first().copied().unwrap_or(0)) % 23;
    let cut = runtime.block_on(conversation(&bytes, length));
    // Frames of HTTP/2 are answered one by one, as they come.
    if !written.starts_with(b"PRI") {
        assert_eq!(String::from_utf8_lossy(&whole), String::from_utf8_lossy(&cut), "in pieces of {length}");
    }
});
