// SPDX-License-Identifier: Apache-2.0
//! HTTP/1.1 on one keep-alive connection, plain or within TLS.

use std::io;
use std::mem::MaybeUninit;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::super::certificate::NAME;
use super::super::client::Error;
use super::{Target, Turn};

/// `MSG_TRUNC` of Linux: on a TCP socket the bytes are dropped, not copied.
const DROPPED: i32 = 0x20;
/// The first read of an answer: its head and all of a small body.
const FIRST_BYTES: usize = 8 * 1024;

pub(super) async fn plain(port: u16, target: &Target, turn: &Turn) -> Result<(), Error> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let request = request(target);
    let mut buffer = vec![0; FIRST_BYTES + usize::try_from(target.size).unwrap_or(0)];
    let mut room = vec![MaybeUninit::<u8>::uninit(); 4 << 20];
    while !turn.over.get() {
        stream.write_all(&request).await?;
        if turn.count() || target.size < FIRST_BYTES as u64 {
            whole(&mut stream, &mut buffer, target).await?;
            continue;
        }
        let (have, head_bytes) = head(&mut stream, &mut buffer[..FIRST_BYTES], target).await?;
        let mut left = head_bytes + usize::try_from(target.size).unwrap_or(0) - have;
        while left > 0 {
            let most = left.min(room.len());
            let socket = SockRef::from(&stream);
            let dropped =
                stream.async_io(Interest::READABLE, || socket.recv_with_flags(&mut room[..most], DROPPED)).await?;
            if dropped == 0 {
                return Err(Error::Short { have_bytes: target.size - left as u64 });
            }
            left -= dropped;
        }
    }
    Ok(())
}

pub(super) async fn tls(port: u16, connector: &TlsConnector, target: &Target, turn: &Turn) -> Result<(), Error> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
    let mut stream = connector.connect(name, stream).await?;
    let request = request(target);
    let mut buffer = vec![0; FIRST_BYTES + usize::try_from(target.size).unwrap_or(0)];
    while !turn.over.get() {
        stream.write_all(&request).await?;
        stream.flush().await?;
        turn.count();
        whole(&mut stream, &mut buffer, target).await?;
    }
    let _ = stream.shutdown().await;
    Ok(())
}

fn request(target: &Target) -> Vec<u8> {
    format!("GET {} HTTP/1.1\r\nhost: {NAME}\r\n\r\n", target.path).into_bytes()
}

/// Reads a whole answer and compares it.
async fn whole<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    buffer: &mut [u8],
    target: &Target,
) -> Result<(), Error> {
    let (mut have, head_bytes) = head(stream, buffer, target).await?;
    let end = head_bytes + usize::try_from(target.size).unwrap_or(0);
    while have < end {
        have += read(stream, &mut buffer[have..end]).await?;
    }
    if have > end || !target.pattern().fits(0, &buffer[head_bytes..end]) {
        return Err(Error::Wrong { at_bytes: 0 });
    }
    Ok(())
}

/// Reads until the head is there; bytes read and bytes of the head.
async fn head<S: AsyncRead + Unpin>(
    stream: &mut S,
    buffer: &mut [u8],
    target: &Target,
) -> Result<(usize, usize), Error> {
    let mut have = 0;
    loop {
        have += read(stream, &mut buffer[have..]).await?;
        let Some(end) = buffer[..have].windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let head = &buffer[..end];
        if !head.starts_with(b"HTTP/1.1 200") {
            return Err(Error::Status(String::from_utf8_lossy(head).lines().next().unwrap_or_default().to_owned()));
        }
        return if length(head) == Some(target.size) { Ok((have, end + 4)) } else { Err(Error::Framing) };
    }
}

/// The value of Content-Length.
fn length(head: &[u8]) -> Option<u64> {
    const NAME: &[u8] = b"content-length:";
    let mut lines = head.split(|byte| *byte == b'\n');
    let line = lines.find(|line| line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)))?;
    std::str::from_utf8(&line[NAME.len()..]).ok()?.trim().parse().ok()
}

async fn read<S: AsyncRead + Unpin>(stream: &mut S, into: &mut [u8]) -> Result<usize, Error> {
    match stream.read(into).await? {
        0 => Err(Error::Short { have_bytes: 0 }),
        bytes => Ok(bytes),
    }
}
