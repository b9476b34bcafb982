// SPDX-License-Identifier: Apache-2.0
//! HTTP/1.1 by hand, for what a client library would not send: bytes when we want, ends where none belongs.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::harness::{SOON, until};

/// A connection.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    host: String,
    read: Vec<u8>,
}

/// An answer as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// The server says that it closes.
    pub(crate) fn closes(&self) -> bool {
        self.header("connection").is_some_and(|v| v.eq_ignore_ascii_case("close"))
    }
}

impl Wire {
    /// Connects to `http://host:port`.
    pub(crate) fn open(base: &str) -> Self {
        let host = base.strip_prefix("http://").expect("plain HTTP").to_owned();
        let stream = TcpStream::connect(&host).unwrap_or_else(|e| panic!("{base}: {e}"));
        stream.set_read_timeout(Some(SOON)).expect("a timeout");
        stream.set_nodelay(true).expect("an option");
        Self { stream, host, read: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    /// A request's head; lines of `headers` end with CR LF.
    pub(crate) fn head(&mut self, method: &str, path: &str, headers: &str) {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", self.host);
        self.send(head.as_bytes());
    }

    /// A whole request with its length.
    pub(crate) fn request(&mut self, method: &str, path: &str, body: &[u8]) -> Answer {
        self.head(method, path, &format!("Content-Length: {}\r\n", body.len()));
        self.send(body);
        self.answer(method)
    }

    /// Head of a body without end, as ffmpeg sends it.
    pub(crate) fn begin(&mut self, path: &str) {
        let headers = "Transfer-Encoding: chunked\r\nUser-Agent: Lavf/59.27.100\r\nAccept: */*\r\nIcy-MetaData: 1\r\n";
        self.head("POST", path, headers);
    }

    /// A chunk of such a body; an empty one ends it.
    pub(crate) fn chunk(&mut self, bytes: &[u8]) {
        self.send(format!("{:x}\r\n", bytes.len()).as_bytes());
        self.send(bytes);
        self.send(b"\r\n");
    }

    /// The next answer; panics if none comes soon. An answer to HEAD has no body.
    pub(crate) fn answer(&mut self, method: &str) -> Answer {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|w| w == b"\r\n\r\n") {
                break at;
            }
            self.more();
        };
        let head = String::from_utf8_lossy(&self.read[..end]).into_owned();
        self.read.drain(..end + 4);
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|l| l.split(' ').nth(1)?.parse().ok()).unwrap_or_else(|| panic!("{head}"));
        let headers: Vec<(String, String)> =
            lines.filter_map(|l| l.split_once(':')).map(|(n, v)| (n.to_owned(), v.trim().to_owned())).collect();
        let mut answer = Answer { status, headers, body: Vec::new() };
        if method == "HEAD" || matches!(status, 100 | 204 | 304) {
            return answer;
        }
        let length = answer.header("content-length").map(|v| v.parse::<usize>().expect("a length"));
        if let Some(length) = length {
            while self.read.len() < length {
                self.more();
            }
            answer.body = self.read.drain(..length).collect();
        } else if answer.header("transfer-encoding").is_some() {
            while let Some(chunk) = self.next_chunk() {
                answer.body.extend(chunk);
            }
        }
        answer
    }

    fn next_chunk(&mut self) -> Option<Vec<u8>> {
        let line = loop {
            if let Some(at) = self.read.windows(2).position(|w| w == b"\r\n") {
                break at;
            }
            self.more();
        };
        let size = String::from_utf8_lossy(&self.read[..line]).into_owned();
        let size = usize::from_str_radix(&size, 16).unwrap_or_else(|e| panic!("{size:?}: {e}"));
        while self.read.len() < line + 2 + size + 2 {
            self.more();
        }
        let chunk = self.read[line + 2..line + 2 + size].to_vec();
        self.read.drain(..line + 2 + size + 2);
        (size > 0).then_some(chunk)
    }

    fn more(&mut self) {
        let mut piece = [0; 65_536];
        let count = self.stream.read(&mut piece).unwrap_or_else(|e| panic!("expected an answer: {e}"));
        assert!(count > 0, "expected an answer, got the end after {:?}", String::from_utf8_lossy(&self.read));
        self.read.extend_from_slice(&piece[..count]);
    }

    /// True if an answer has begun to arrive.
    pub(crate) fn is_answered(&self) -> bool {
        self.stream.set_nonblocking(true).expect("an option");
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).expect("an option");
        !self.read.is_empty() || peeked.is_ok()
    }

    /// True if the server closes within `within`.
    pub(crate) fn is_closed(&mut self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.stream.set_read_timeout(Some(left)).expect("a timeout");
            match self.stream.read(&mut [0; 4_096]) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return false,
                Err(_) => return true,
            }
        }
    }

    /// Resets the connection: it is closed while the answer lies unread, as ffmpeg does on its way out.
    pub(crate) fn reset(self) {
        assert!(until(SOON, || self.is_answered().then_some(())).is_some(), "expected an answer to leave unread");
    }
}
