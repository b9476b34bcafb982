// SPDX-License-Identifier: Apache-2.0
//! The head of a request, where it was read, and whether it is simple enough to be served here.
//!
//! Simple is: GET, HEAD or OPTIONS; HTTP/1.1; a path from `/` on in the characters of RFC 3986; exactly one Host; no
//! body and nothing that speaks of one, nor of another protocol; every line ended by CRLF; within the listener's
//! bounds. A request that is not is not judged further: hyper reads it again, from its first byte.

use std::mem::MaybeUninit;

use http::Method;

use crate::limits::Limits;

/// Header fields that are read here at most.
pub(super) const FIELDS_MAX: usize = 64;

/// Room for the fields of a head.
pub(super) type Room<'a> = [MaybeUninit<httparse::Header<'a>>; FIELDS_MAX];

pub(super) const fn room<'a>() -> Room<'a> {
    [const { MaybeUninit::uninit() }; FIELDS_MAX]
}

/// A request's head, borrowed from the connection's buffer.
#[derive(Clone, Debug)]
pub struct Head<'a> {
    method: Method,
    target: &'a str,
    path_length: usize,
    host: &'a str,
    fields: &'a [httparse::Header<'a>],
    close: bool,
}

impl<'a> Head<'a> {
    /// GET, HEAD or OPTIONS.
    pub const fn method(&self) -> &Method {
        &self.method
    }

    /// The path, as it was sent.
    pub fn path(&self) -> &'a str {
        &self.target[..self.path_length]
    }

    /// What follows the first `?`.
    pub fn query(&self) -> Option<&'a str> {
        self.target.get(self.path_length + 1..)
    }

    /// Path and query.
    pub const fn target(&self) -> &'a str {
        self.target
    }

    /// The value of Host.
    pub const fn host(&self) -> &'a str {
        self.host
    }

    /// The first field of a name, in any case.
    pub fn field(&self, name: &str) -> Option<&'a [u8]> {
        self.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    }

    /// Every field, in order; names in the case they were sent in.
    pub fn fields(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        self.fields.iter().map(|field| (field.name, field.value))
    }

    /// The client wants no further answer on this connection.
    pub(super) const fn is_last(&self) -> bool {
        self.close
    }
}

/// What the bytes at the beginning of a buffer are.
#[derive(Debug)]
pub(super) enum Seen<'a> {
    /// A simple request, and how many bytes its head has.
    Simple(Head<'a>, usize),
    /// The beginning of what may be one.
    Partial,
    /// Anything else.
    Odd,
}

/// A head beyond this that is not whole is read again only when its end may have come, so that one that comes byte by
/// byte is not read as many times.
const AGAIN_BYTES: usize = 4 << 10;

/// Looks at what was read of a request. `begun` bytes of it were found to be partial before.
pub(super) fn look<'a>(read: &'a [u8], begun: usize, limits: &Limits, room: &'a mut Room<'a>) -> Seen<'a> {
    if !is_begun(read) {
        return Seen::Odd;
    }
    if begun > AGAIN_BYTES && !is_whole(read, begun) {
        return if read.len() >= limits.head_bytes_max { Seen::Odd } else { Seen::Partial };
    }
    let mut request = httparse::Request::new(&mut []);
    let length = match request.parse_with_uninit_headers(read, room) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if read.len() < limits.head_bytes_max => return Seen::Partial,
        _ => return Seen::Odd,
    };
    let (Some(method), Some(target), Some(1)) = (request.method, request.path, request.version) else {
        return Seen::Odd;
    };
    let fields: &'a [httparse::Header<'a>] = request.headers;
    if length > limits.head_bytes_max || fields.len() > limits.headers_max || target.len() > limits.url_bytes_max {
        return Seen::Odd;
    }
    // NB: the parser takes a bare LF for a line's end, and no CR but before one: so many lines, so many CRs.
    if read[..length].iter().filter(|byte| **byte == b'\r').count() != fields.len() + 2 {
        return Seen::Odd;
    }
    let method = match method {
        "GET" => Method::GET,
        "HEAD" => Method::HEAD,
        "OPTIONS" => Method::OPTIONS,
        _ => return Seen::Odd,
    };
    if !target.starts_with('/') || !target.bytes().all(|byte| IN_TARGET[usize::from(byte)]) {
        return Seen::Odd;
    }
    let Some((host, close)) = judge(fields) else { return Seen::Odd };
    let path_length = target.bytes().position(|byte| byte == b'?').unwrap_or(target.len());
    Seen::Simple(Head { method, target, path_length, host, fields, close }, length)
}

/// True if this is, or may become, one of the methods served here.
fn is_begun(read: &[u8]) -> bool {
    [&b"GET "[..], b"HEAD ", b"OPTIONS "].iter().any(|method| {
        let length = method.len().min(read.len());
        method[..length] == read[..length]
    })
}

/// True if a head may end in what came after its first `begun` bytes.
fn is_whole(read: &[u8], begun: usize) -> bool {
    let new = &read[begun.saturating_sub(3)..];
    new.windows(2).any(|w| w == b"\n\n") || new.windows(3).any(|w| w == b"\n\r\n")
}

/// The Host, and whether the connection is to end; `None` if a field says that there is more to this request.
fn judge<'a>(fields: &'a [httparse::Header<'a>]) -> Option<(&'a str, bool)> {
    let (mut host, mut close) = (None, false);
    for field in fields {
        let name = field.name;
        // Most names have none of these lengths.
        match name.len() {
            4 if name.eq_ignore_ascii_case("host") => {
                let value = std::str::from_utf8(field.value).ok()?;
                if host.is_some() || value.is_empty() || !field.value.iter().all(|byte| IN_HOST[usize::from(*byte)]) {
                    return None;
                }
                host = Some(value);
            }
            6 if name.eq_ignore_ascii_case("expect") => return None,
            7 if name.eq_ignore_ascii_case("upgrade") || name.eq_ignore_ascii_case("trailer") => return None,
            10 if name.eq_ignore_ascii_case("connection") => {
                let value = std::str::from_utf8(field.value).ok()?;
                for option in value.split(',').map(str::trim) {
                    close |= option.eq_ignore_ascii_case("close");
                    if option.eq_ignore_ascii_case("upgrade") {
                        return None;
                    }
                }
            }
            14 if name.eq_ignore_ascii_case("content-length") => return None,
            14 if name.eq_ignore_ascii_case("http2-settings") => return None,
            17 if name.eq_ignore_ascii_case("transfer-encoding") => return None,
            _ => {}
        }
    }
    Some((host?, close))
}

const fn among(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
}

/// RFC 3986: path and query.
const IN_TARGET: [bool; 256] = among(b"-._~!$&'()*+,;=:@%/?");
/// RFC 3986: host and port.
const IN_HOST: [bool; 256] = among(b"-._~!$&'()*+,;=:%[]");

#[cfg(test)]
mod tests {
    use super::*;

    /// True if it is served here, false if another is to; panics if more is awaited.
    fn served(text: &[u8]) -> bool {
        match look(text, 0, &Limits::default(), &mut room()) {
            Seen::Simple(_, length) => length == text.len(),
            Seen::Odd => false,
            Seen::Partial => panic!("expected a whole head: {}", text.escape_ascii()),
        }
    }

    #[test]
    fn what_is_plainly_simple_is_served_here() {
        for request in [
            "GET / HTTP/1.1\r\nhost: x\r\n\r\n",
            "HEAD /a/b.m3u8?c=d&e=%20 HTTP/1.1\r\nHOST: [::1]:80\r\n\r\n",
            "OPTIONS /a HTTP/1.1\r\nHost:x.example:8080\r\nOrigin: https://a.example\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: x\r\nconnection: keep-alive\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: x\r\nConnection: foo, Close\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: \t x \t\r\naccept: */*\r\nx:\r\n\r\n",
            "GET // HTTP/1.1\r\nhost: x\r\n\r\n",
        ] {
            assert!(served(request.as_bytes()), "{}", request.escape_debug());
        }
    }

    #[test]
    fn what_is_not_is_left_to_another() {
        for request in [
            "POST / HTTP/1.1\r\nhost: x\r\n\r\n",
            "get / HTTP/1.1\r\nhost: x\r\n\r\n",
            "GETS / HTTP/1.1\r\nhost: x\r\n\r\n",
            "GET / HTTP/1.0\r\nhost: x\r\n\r\n",
            "GET / HTTP/2.0\r\nhost: x\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "GET  / HTTP/1.1\r\nhost: x\r\n\r\n",
            "\r\nGET / HTTP/1.1\r\nhost: x\r\n\r\n",
            "\nGET / HTTP/1.1\r\nhost: x\r\n\r\n",
            // Forms of the target.
            "GET http://x/ HTTP/1.1\r\nhost: x\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n",
            "GET /a#b HTTP/1.1\r\nhost: x\r\n\r\n",
            "GET /\u{e9} HTTP/1.1\r\nhost: x\r\n\r\n",
            "GET /<> HTTP/1.1\r\nhost: x\r\n\r\n",
            // Hosts.
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nhost:\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: x\r\nhost: x\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: x/y\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: x, y@z\r\n\r\n",
            // Bodies and other protocols.
            "GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: x\r\nContent-Length: 5\r\n\r\nabcde",
            "GET / HTTP/1.1\r\nhost: x\r\nTRANSFER-ENCODING: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: x\r\nupgrade: h2c\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: x\r\ntrailer: x\r\n\r\n",
            // Field syntax.
            "GET / HTTP/1.1\nhost: x\n\n",
            "GET / HTTP/1.1\r\nhost: x\n\r\n",
            "GET / HTTP/1.1\r\nhost: x\r\n\n",
            "GET / HTTP/1.1\nhost: x\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: x\r\na: b\r\n c\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: x\r\na : b\r\n\r\n",
            "GET / HTTP/1.1\r\nhost : x\r\n\r\n",
            "GET / HTTP/1.1\r\n host: x\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: x\r\na: b\rc\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: x\r\na: b\0c\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: x\r\n: b\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: x\r\nab\r\n\r\n",
        ] {
            assert!(!served(request.as_bytes()), "{}", request.escape_debug());
        }
        let many: String = (0..=FIELDS_MAX).map(|n| format!("x-{n}: 1\r\n")).collect();
        assert!(!served(format!("GET / HTTP/1.1\r\nhost: x\r\n{many}\r\n").as_bytes()));
        let long = "a".repeat(Limits::default().url_bytes_max);
        assert!(!served(format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()));
        let large = "a".repeat(Limits::default().head_bytes_max);
        assert!(!served(format!("GET / HTTP/1.1\r\nhost: x\r\na: {large}\r\n\r\n").as_bytes()));
    }

    #[test]
    fn a_beginning_is_awaited_only_while_it_may_become_simple() {
        let whole = b"OPTIONS /a HTTP/1.1\r\nhost: x\r\n\r\n";
        for length in 1..whole.len() {
            let mut room = room();
            let seen = look(&whole[..length], length - 1, &Limits::default(), &mut room);
            assert!(matches!(seen, Seen::Partial), "{length}: {seen:?}");
        }
        for other in ["P", "Ge", "GET / HTTP/9", "GET / HTTP/1.1\r\nhost :", "HEAD /a\0"] {
            assert!(!served(other.as_bytes()), "{other}");
        }
        let limits = Limits { head_bytes_max: 8 << 10, ..Limits::default() };
        let endless = format!("GET / HTTP/1.1\r\nhost: x\r\na: {}", "a".repeat(8 << 10));
        assert!(matches!(look(endless.as_bytes(), 0, &limits, &mut room()), Seen::Odd));
        assert!(matches!(look(endless.as_bytes(), 8 << 10, &limits, &mut room()), Seen::Odd));
    }

    #[test]
    fn a_head_tells_what_was_sent() {
        let text = b"GET /a?b?c HTTP/1.1\r\nHost: x\r\nA: 1\r\na: 2\r\nConnection: close\r\n\r\nGET";
        let mut room = room();
        let Seen::Simple(head, length) = look(text, 0, &Limits::default(), &mut room) else { panic!("a simple one") };
        assert_eq!((head.method(), head.path(), head.query(), head.host()), (&Method::GET, "/a", Some("b?c"), "x"));
        assert_eq!((head.field("a"), head.field("b"), head.fields().count()), (Some(&b"1"[..]), None, 4));
        assert!(head.is_last() && length == text.len() - 3);
    }
}
