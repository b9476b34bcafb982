// SPDX-License-Identifier: Apache-2.0
//! The head of an answer as text: what was prepared, what is said anew, and how its body is framed (RFC 9112, 6).

use std::fmt;
use std::io::Write;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body::Body as _;

use super::date;
use super::output::Output;

/// Room for most heads, or for what is added to one that was prepared.
const HEAD_BYTES: usize = 512;

/// A status and fields, written once for many answers.
#[derive(Clone, Debug)]
pub struct Prepared {
    status: StatusCode,
    lines: Bytes,
    dated: bool,
}

impl Prepared {
    /// Writes them. What frames a message or belongs to a connection is left out: the server says that itself.
    pub fn new(status: StatusCode, headers: &HeaderMap) -> Self {
        let mut lines = Vec::with_capacity(512);
        status_line(&mut lines, status);
        for (name, value) in headers.iter().filter(|(name, _)| !is_ours(name)) {
            field(&mut lines, name, value);
        }
        Self { status, lines: lines.into(), dated: headers.contains_key(header::DATE) }
    }
}

/// An answer that is being written: status first, then fields, then the body.
#[derive(Debug)]
pub struct Answer<'a> {
    output: &'a mut Output,
    status: Option<StatusCode>,
    dated: bool,
}

impl<'a> Answer<'a> {
    /// Onto an output with nothing in it.
    pub(super) const fn new(output: &'a mut Output) -> Self {
        Self { output, status: None, dated: false }
    }

    /// Begins with a status, anew.
    pub fn status(&mut self, status: StatusCode) {
        self.output.clear();
        let out = self.output.text();
        out.reserve(HEAD_BYTES);
        status_line(out, status);
        (self.status, self.dated) = (Some(status), false);
    }

    /// Begins with what was prepared, anew.
    pub fn prepared(&mut self, prepared: &Prepared) {
        self.output.clear();
        let out = self.output.text();
        out.reserve(HEAD_BYTES + prepared.lines.len());
        out.extend_from_slice(&prepared.lines);
        (self.status, self.dated) = (Some(prepared.status), prepared.dated);
    }

    /// Adds a field. Content-Length, Date and what belongs to the connection are the server's to say.
    pub fn field(&mut self, name: &HeaderName, value: &HeaderValue) {
        if !is_ours(name) {
            self.dated |= name == header::DATE;
            field(self.output.text(), name, value);
        }
    }

    /// Adds a field of written text; a character that ends a line becomes a space.
    pub fn text(&mut self, name: &HeaderName, value: fmt::Arguments<'_>) {
        if is_ours(name) {
            return;
        }
        self.dated |= name == header::DATE;
        let out = self.output.text();
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        let begin = out.len();
        // Writing to memory does not fail.
        let _ = out.write_fmt(value);
        for byte in &mut out[begin..] {
            if byte.is_ascii_control() && *byte != b'\t' {
                *byte = b' ';
            }
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Adds bytes to the body.
    pub fn body(&mut self, bytes: Bytes) {
        self.output.data(bytes);
    }

    /// Ends the head and queues all. `false` if nothing was begun.
    pub(super) fn finish(self, method: &Method, last: bool) -> bool {
        let Some(status) = self.status else { return false };
        let length = self.output.length_bytes() as u64;
        if !has_body(method, status) {
            self.output.leave_out();
        }
        let out = self.output.text();
        if has_length(status) {
            length_field(out, length);
        }
        end(out, last, self.dated);
        self.output.head();
        true
    }
}

/// How a response's body is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Nothing follows the head.
    None,
    /// So many bytes.
    Length(u64),
    /// In chunks.
    Chunked,
}

/// Queues the head of a response; how its body goes, and whether it is the last of the connection.
pub(super) fn head(output: &mut Output, response: &Response<Body>, method: &Method, last: bool) -> (Framing, bool) {
    let (status, headers, body) = (response.status(), response.headers(), response.body());
    let out = output.text();
    out.reserve(64 + headers.len() * 48);
    status_line(out, status);
    let mut last = last;
    for (name, value) in headers {
        if *name == header::CONNECTION {
            last |= value.to_str().is_ok_and(|text| text.split(',').any(|o| o.trim().eq_ignore_ascii_case("close")));
        }
        if !is_ours(name) {
            field(out, name, value);
        }
    }
    let said = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let exact = body.size_hint().exact();
    let framing = if !has_body(method, status) {
        // A HEAD tells what a GET would; of an empty body only what the service says of it.
        let told = said.or(exact.filter(|length| *length > 0));
        if let (true, Some(length)) = (status != StatusCode::NO_CONTENT && *method == Method::HEAD, told) {
            length_field(out, length);
        }
        Framing::None
    } else if let Some(length) = exact.or(said) {
        length_field(out, length);
        if length == 0 { Framing::None } else { Framing::Length(length) }
    } else {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
        Framing::Chunked
    };
    end(out, last, headers.contains_key(header::DATE));
    output.head();
    (framing, last)
}

/// What the server says itself.
fn is_ours(name: &HeaderName) -> bool {
    matches!(*name, header::CONTENT_LENGTH | header::TRANSFER_ENCODING | header::CONNECTION | header::TRAILER)
}

/// RFC 9110, 6.4.1.
fn has_body(method: &Method, status: StatusCode) -> bool {
    *method != Method::HEAD && has_length(status)
}

/// RFC 9110, 8.6, and none on a 304: not every client of old expects it there.
fn has_length(status: StatusCode) -> bool {
    !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) && !status.is_informational()
}

fn status_line(out: &mut Vec<u8>, status: StatusCode) {
    if status == StatusCode::OK {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or("<none>").as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn field(out: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn length_field(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"content-length: ");
    out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn end(out: &mut Vec<u8>, last: bool, dated: bool) {
    if last {
        out.extend_from_slice(b"connection: close\r\n");
    }
    if !dated {
        date::write(out);
    }
    out.extend_from_slice(b"\r\n");
}
