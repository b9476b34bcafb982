// SPDX-License-Identifier: Apache-2.0
//! One line of the access log: the Combined Log Format of Apache and nginx, and what a cache has to say behind it.
//!
//! Whatever a client sends is one field of one line: quotes, backslashes, control characters and bytes past ASCII are
//! written as `\xHH`, so no request forges a line or a field.

use std::cell::RefCell;
use std::fmt::{self, Write};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::header::{RANGE, REFERER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version, request};

use super::Log;
use crate::metrics::Outcome;

/// Bytes of a line that one field of a client's may take; what is longer is cut.
const FIELD_MAX: usize = 2_048;

/// A request while it is answered; its line is written when this is dropped, so one that breaks off has a line too.
#[derive(Debug)]
pub struct Line {
    log: Arc<Log>,
    edge: IpAddr,
    came: (SystemTime, Instant),
    method: Method,
    uri: Uri,
    version: Version,
    referer: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
    range: Option<HeaderValue>,
    /// What it was answered with.
    pub answer: Answer,
}

/// What a request was answered with, as far as it has come.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The status, once it is known.
    pub status: Option<StatusCode>,
    /// What became of it.
    pub outcome: Option<Outcome>,
    /// The route that it took.
    pub route: Option<Arc<str>>,
    /// The origin that was asked for it.
    pub upstream: Option<Arc<str>>,
    /// The channel that it is of.
    pub channel: Option<Arc<str>>,
    /// How long the first byte of its answer took.
    pub first_byte: Option<Duration>,
    /// Bytes of its body that were sent.
    pub bytes: u64,
    /// The body was sent to its end.
    pub whole: bool,
}

impl Line {
    /// The line of a request of `edge` that came now.
    pub fn new(log: &Arc<Log>, edge: IpAddr, request: &request::Parts) -> Self {
        let field = |name| HeaderMap::get(&request.headers, name).cloned();
        Self {
            log: Arc::clone(log),
            edge: edge.to_canonical(),
            came: (SystemTime::now(), Instant::now()),
            method: request.method.clone(),
            uri: request.uri.clone(),
            version: request.version,
            referer: field(REFERER),
            user_agent: field(USER_AGENT),
            range: field(RANGE),
            answer: Answer::default(),
        }
    }

    /// How long ago the request came.
    pub fn age(&self) -> Duration {
        self.came.1.elapsed()
    }

    /// Appends the line, its end included.
    fn render(&self, out: &mut String) -> fmt::Result {
        write!(out, "{} - - [", self.edge)?;
        date(self.came.0, out)?;
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        out.push_str("] \"");
        escaped(self.method.as_str().as_bytes(), out)?;
        out.push(' ');
        escaped(path.as_bytes(), out)?;
        write!(out, " {:?}\" ", self.version)?;
        // 499, as nginx has it: whoever asked left before there was an answer.
        write!(out, "{} {} ", self.answer.status.map_or(499, |status| status.as_u16()), self.answer.bytes)?;
        quoted(self.referer.as_ref().map(HeaderValue::as_bytes), out)?;
        out.push(' ');
        quoted(self.user_agent.as_ref().map(HeaderValue::as_bytes), out)?;
        let answer = &self.answer;
        write!(out, " cache={} route=", answer.outcome.map_or("-", Outcome::as_str))?;
        quoted(answer.route.as_deref().map(str::as_bytes), out)?;
        out.push_str(" upstream=");
        quoted(answer.upstream.as_deref().map(str::as_bytes), out)?;
        out.push_str(" channel=");
        quoted(answer.channel.as_deref().map(str::as_bytes), out)?;
        out.push_str(" range=");
        quoted(self.range.as_ref().map(HeaderValue::as_bytes), out)?;
        out.push_str(" first_byte_ms=");
        match answer.first_byte {
            Some(time) => milliseconds(time, out)?,
            None => out.push('-'),
        }
        out.push_str(" total_ms=");
        milliseconds(self.age(), out)?;
        out.push_str(if answer.whole { " end=whole\n" } else { " end=cut\n" });
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // Writing into a String does not fail.
        self.log.append(|out| {
            let _ = self.render(out);
        });
    }
}

fn milliseconds(time: Duration, out: &mut String) -> fmt::Result {
    let tenths = time.as_micros() / 100;
    write!(out, "{}.{}", tenths / 10, tenths % 10)
}

/// `21/Nov/2026:18:02:12 +0000`; a thread writes the same second once.
fn date(at: SystemTime, out: &mut String) -> fmt::Result {
    thread_local!(static WRITTEN: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) });
    let second = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    WRITTEN.with(|written| {
        let mut written = written.borrow_mut();
        if written.0 != second {
            // `Sat, 21 Nov 2026 18:02:12 GMT`, of fixed width.
            let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
            let part = |from: usize, to: usize| text.get(from..to).unwrap_or("-");
            let (day, month, year, time) = (part(5, 7), part(8, 11), part(12, 16), part(17, 25));
            *written = (second, format!("{day}/{month}/{year}:{time} +0000"));
        }
        out.write_str(&written.1)
    })
}

fn quoted(field: Option<&[u8]>, out: &mut String) -> fmt::Result {
    out.push('"');
    escaped(field.unwrap_or(b"-"), out)?;
    out.push('"');
    Ok(())
}

fn escaped(bytes: &[u8], out: &mut String) -> fmt::Result {
    let mut left = &bytes[..bytes.len().min(FIELD_MAX)];
    while !left.is_empty() {
        let plain = left.iter().position(|byte| !is_plain(*byte)).unwrap_or(left.len());
        let (begin, rest) = left.split_at(plain);
        // Plain bytes are ASCII.
        out.push_str(std::str::from_utf8(begin).unwrap_or_default());
        left = rest;
        if let Some((byte, rest)) = rest.split_first() {
            write!(out, "\\x{byte:02X}")?;
            left = rest;
        }
    }
    Ok(())
}

const fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn rendered(request: Request<()>, answer: Answer) -> String {
        let log = Arc::new(Log::detached());
        let mut line = Line::new(&log, "::ffff:192.0.2.7".parse().unwrap(), &request.into_parts().0);
        line.came.0 = UNIX_EPOCH + Duration::from_secs(1_795_284_132);
        line.answer = answer;
        let mut out = String::new();
        line.render(&mut out).unwrap();
        out
    }

    #[test]
    fn a_line_is_of_the_combined_format_with_what_the_cache_did_behind_it() {
        let request = Request::get("http://edge.example/live/news/v1/7.m4s?a=b")
            .header("user-agent", "edge/1.0")
            .header("range", "bytes=0-99")
            .body(())
            .unwrap();
        let answer = Answer {
            status: Some(StatusCode::PARTIAL_CONTENT),
            outcome: Some(Outcome::Collapsed),
            route: Some("live".into()),
            upstream: Some("http://a.example:8080".into()),
            channel: Some("news".into()),
            first_byte: Some(Duration::from_micros(12_345)),
            bytes: 100,
            whole: true,
        };
        let line = rendered(request, answer);
        let (before, after) = line.split_once(" total_ms=").unwrap();
        assert_eq!(
            before,
            "192.0.2.7 - - [21/Nov/2026:18:02:12 +0000] \"GET /live/news/v1/7.m4s?a=b HTTP/1.1\" 206 100 \"-\" \
             \"edge/1.0\" cache=collapsed route=\"live\" upstream=\"http://a.example:8080\" channel=\"news\" \
             range=\"bytes=0-99\" first_byte_ms=12.3"
        );
        assert!(after.ends_with(" end=whole\n"), "{after}");
    }

    #[test]
    fn no_client_forges_a_line_or_a_field() {
        let forged = b"x\" 200 0 \"-\" \"-\" cache=hit\\\xe2\x80\xa8\t";
        let request = Request::get("/a%0A192.0.2.1")
            .header("user-agent", HeaderValue::from_bytes(forged).unwrap())
            .header("referer", HeaderValue::from_bytes(b"\xff\x80").unwrap())
            .body(())
            .unwrap();
        let channel = Some("a\n10.0.0.1 - - [now] \"GET / HTTP/1.1\" 200 1".into());
        let line = rendered(request, Answer { channel, ..Answer::default() });
        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)), "{line}");
        assert!(
            line.contains("\"\\xFF\\x80\" \"x\\x22 200 0 \\x22-\\x22 \\x22-\\x22 cache=hit\\x5C\\xE2\\x80\\xA8\\x09\""),
            "{line}"
        );
        // Fields are told apart by quotes alone: request, referer, agent, route, upstream, channel, range.
        assert_eq!(line.matches('"').count(), 14);
        assert!(line.contains("\" 499 0 ") && line.ends_with("end=cut\n"), "{line}");
    }

    #[test]
    fn a_field_without_an_end_is_cut() {
        let long = "x".repeat(100_000);
        let request = Request::get("/").header("user-agent", long).body(()).unwrap();
        assert!(rendered(request, Answer::default()).len() < 2 * FIELD_MAX);
    }
}
