// SPDX-License-Identifier: Apache-2.0
//! A client on a keep-alive connection that checks every byte: status, framing, content.

mod framing;

use std::fmt;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::pattern::Pattern;
use framing::{Framing, Step};

/// What is done with a body.
#[derive(Clone, Copy)]
pub(crate) enum Want {
    /// It is kept.
    Body,
    /// It is these bytes, so many of them.
    Bytes(Pattern, u64),
}

impl Want {
    /// What an object of that path and size has to be.
    pub(crate) fn of(path: &str, size: u64) -> Self {
        Self::Bytes(Pattern::of(path), size)
    }
}

/// A whole, right answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// When the first byte of the body came, or the head of an empty one.
    pub(crate) first: Instant,
    /// When it was whole.
    pub(crate) last: Instant,
    pub(crate) body_bytes: u64,
    pub(crate) body: Vec<u8>,
    /// What the nearest cache says that it did (Cache-Status, RFC 9211), in small letters; empty if it does not.
    pub(crate) cache_status: String,
}

/// Why there is no right answer.
#[derive(Debug)]
pub(crate) enum Error {
    Io(std::io::Error),
    Status(String),
    /// The connection ended before the answer did.
    Short {
        have_bytes: u64,
    },
    Framing,
    /// Bytes other than the origin's, or not as many.
    Wrong {
        at_bytes: u64,
    },
    Late,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(e) => write!(f, "{e}"),
            Self::Status(line) => write!(f, "expected 200, got {line}"),
            Self::Short { have_bytes } => write!(f, "closed after {have_bytes} bytes"),
            Self::Framing => f.write_str("framing that is neither a length nor chunks"),
            Self::Wrong { at_bytes } => write!(f, "wrong bytes after {at_bytes}"),
            Self::Late => f.write_str("no whole answer in time"),
        }
    }
}

impl From<std::io::Error> for Error {
    fn from(e: std::io::Error) -> Self {
        Self::Io(e)
    }
}

pub(crate) struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
    /// Bytes a second it takes at most.
    pace: Option<u64>,
}

const READ_BYTES: usize = 64 * 1024;
/// Whom every client asks for.
pub(crate) const HOST: &str = "shield.example";

/// The head of an answer, in small letters.
struct Head(String);

impl Head {
    fn line(&self) -> &str {
        self.0.lines().next().unwrap_or_default()
    }

    fn status(&self) -> &str {
        self.line().split(' ').nth(1).unwrap_or_default()
    }

    /// What the last of all caches, the nearest, says.
    fn cache_status(&self) -> &str {
        let mut fields = self.0.lines().filter_map(|line| line.strip_prefix("cache-status:"));
        fields.next_back().and_then(|field| field.rsplit(',').next()).unwrap_or_default().trim()
    }
}

impl Connection {
    pub(crate) async fn open(port: u16) -> std::io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, unread: Vec::new(), pace: None })
    }

    /// Connects `count` times.
    pub(crate) async fn crowd(port: u16, count: usize) -> std::io::Result<Vec<Self>> {
        let mut crowd = Vec::with_capacity(count);
        for _ in 0..count {
            crowd.push(Self::open(port).await?);
        }
        Ok(crowd)
    }

    /// The same client taking so many bytes a second.
    pub(crate) fn slowly(mut self, bytes_per_second: u64) -> Self {
        self.pace = Some(bytes_per_second);
        self
    }

    /// As [`Self::get`], given up after `wait`.
    pub(crate) async fn get_within(&mut self, path: &str, want: Want, wait: Duration) -> Result<Answer, Error> {
        tokio::time::timeout(wait, self.get(path, want)).await.map_err(|_| Error::Late)?
    }

    /// Asks, reads and checks. After an error the connection is of no more use.
    pub(crate) async fn get(&mut self, path: &str, want: Want) -> Result<Answer, Error> {
        let head = self.ask(path).await?;
        if head.status() != "200" {
            return Err(Error::Status(head.line().to_owned()));
        }
        self.body(&head, want).await
    }

    /// As [`Self::get`]; `None` if nothing is there.
    pub(crate) async fn find(&mut self, path: &str) -> Result<Option<Answer>, Error> {
        let head = self.ask(path).await?;
        match head.status() {
            "200" => self.body(&head, Want::Body).await.map(Some),
            "404" => self.body(&head, Want::Body).await.map(|_| None),
            _ => Err(Error::Status(head.line().to_owned())),
        }
    }

    async fn ask(&mut self, path: &str) -> Result<Head, Error> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
        self.stream.write_all(request.as_bytes()).await?;
        self.head().await
    }

    async fn body(&mut self, head: &Head, want: Want) -> Result<Answer, Error> {
        let mut framing = Framing::of(&head.0).ok_or(Error::Framing)?;
        let now = Instant::now();
        let cache_status = head.cache_status().to_owned();
        let mut answer = Answer { first: now, last: now, body_bytes: 0, body: Vec::new(), cache_status };
        let mut unread = std::mem::take(&mut self.unread);
        let mut at = 0;
        loop {
            match framing.step(&unread[at..]) {
                Step::Skip(bytes) => at += bytes,
                Step::Body(bytes) => {
                    if answer.body_bytes == 0 {
                        answer.first = Instant::now();
                    }
                    let body = &unread[at..at + bytes];
                    match want {
                        Want::Body => answer.body.extend_from_slice(body),
                        Want::Bytes(pattern, _) if pattern.fits(answer.body_bytes, body) => {}
                        Want::Bytes(..) => return Err(Error::Wrong { at_bytes: answer.body_bytes }),
                    }
                    answer.body_bytes += bytes as u64;
                    at += bytes;
                }
                Step::More => {
                    unread.drain(..at);
                    at = 0;
                    if self.read(&mut unread).await? == 0 {
                        return Err(Error::Short { have_bytes: answer.body_bytes });
                    }
                }
                Step::Done => break,
                Step::Broken => return Err(Error::Framing),
            }
        }
        unread.drain(..at);
        self.unread = unread;
        answer.last = Instant::now();
        match want {
            Want::Bytes(_, size) if size != answer.body_bytes => Err(Error::Wrong { at_bytes: answer.body_bytes }),
            _ => Ok(answer),
        }
    }

    async fn head(&mut self) -> Result<Head, Error> {
        let mut unread = std::mem::take(&mut self.unread);
        let end = loop {
            if let Some(end) = unread.windows(4).position(|w| w == b"\r\n\r\n") {
                break end;
            }
            if self.read(&mut unread).await? == 0 {
                return Err(Error::Short { have_bytes: 0 });
            }
        };
        let head = Head(String::from_utf8_lossy(&unread[..end]).to_ascii_lowercase());
        unread.drain(..end + 4);
        self.unread = unread;
        Ok(head)
    }

    async fn read(&mut self, unread: &mut Vec<u8>) -> std::io::Result<usize> {
        let most = match self.pace {
            None => READ_BYTES,
            Some(pace) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                usize::try_from(pace / 10).unwrap_or(READ_BYTES)
            }
        };
        unread.reserve(most);
        (&mut self.stream).take(most as u64).read_buf(unread).await
    }
}

#[cfg(test)]
mod tests {
    use super::Head;

    #[test]
    fn the_nearest_cache_is_the_last_of_the_last_field() {
        let head = "http/1.1 200 ok\r\ncache-status: far; hit\r\ncache-status: near; hit, nearest; fwd=miss";
        assert_eq!(Head(head.to_owned()).cache_status(), "nearest; fwd=miss");
        assert_eq!(Head("http/1.1 404 not found".to_owned()).cache_status(), "");
    }
}
