// SPDX-License-Identifier: Apache-2.0
//! A request's head, as much of it as the script needs.

use std::io;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// The longest head that is read.
const HEAD_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug)]
pub(crate) struct Request {
    pub(super) path: String,
    pub(super) query: String,
    head: String,
}

impl Request {
    /// The next request of a connection; `None` when it ends between two.
    pub(super) async fn read(stream: &mut TcpStream, unread: &mut Vec<u8>) -> io::Result<Option<Self>> {
        loop {
            if let Some(end) = unread.windows(4).position(|w| w == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&unread[..end]).into_owned();
                unread.drain(..end + 4);
                let target = head.split_whitespace().nth(1).unwrap_or_default();
                // Some caches ask an origin as a proxy: with scheme and authority.
                let target = target.strip_prefix("http://").map_or(target, |t| t.find('/').map_or("/", |at| &t[at..]));
                let (path, query) = target.split_once('?').unwrap_or((target, ""));
                return Ok(Some(Self { path: path.to_owned(), query: query.to_owned(), head }));
            }
            if unread.len() > HEAD_BYTES_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if stream.read_buf(unread).await? == 0 {
                return Ok(None);
            }
        }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }

    pub(super) fn is_head(&self) -> bool {
        self.head.starts_with("HEAD ")
    }

    /// Whoever asks wants no further answer on the connection; some health checks wait for its end.
    pub(super) fn is_last(&self) -> bool {
        self.header("connection").is_some_and(|options| options.eq_ignore_ascii_case("close"))
    }

    /// A parameter of the query as a number.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        let pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(key, _)| *key == name).find_map(|(_, value)| value.parse().ok())
    }

    /// First and past-the-last byte that are asked for of `size`; `None` for all of them.
    pub(super) fn range(&self, size: u64, etag: &str) -> Option<(u64, u64)> {
        if self.header("if-range").is_some_and(|validator| validator != etag) {
            return None;
        }
        let (from, to) = self.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        if from.is_empty() {
            return Some((size.saturating_sub(to.parse().ok()?), size));
        }
        let from: u64 = from.parse().ok()?;
        let to = to.parse::<u64>().map_or(size, |last| (last + 1).min(size));
        (from < to).then_some((from, to))
    }
}
