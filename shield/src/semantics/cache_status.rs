// SPDX-License-Identifier: Apache-2.0
//! What this cache did with a request, in words that others read (Cache-Status, RFC 9211).

use std::io::{self, Cursor, Write};
use std::sync::LazyLock;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// The field.
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// Hits with fewer seconds to live than this are written once for the process: most of a live stream's.
const WRITTEN: usize = 4_096;
/// Room for a member with a detail.
const BYTES_MAX: usize = 192;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handling {
    /// Answered from what is stored.
    Hit {
        /// For how long that is still fresh.
        ttl: Duration,
    },
    /// Answered from what is stored, though it is stale: the origin is being asked, or failed.
    StaleHit {
        /// For how long it has been.
        by: Duration,
    },
    /// Asked of the origin.
    Forwarded(Forwarded),
    /// Answered by the shield itself: refused, or out of reach.
    Own,
}

/// Why a request went upstream (RFC 9211, 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Nothing was stored under its URL.
    UriMiss,
    /// What was stored does not fit its fields.
    VaryMiss,
    /// Nothing was stored, and the cache does not say which of the two.
    Miss,
    /// What was stored is stale.
    Stale,
    /// Only parts of it were stored.
    Partial,
    /// Its method is not answered from what is stored.
    Method,
    /// The request wanted it.
    Request,
    /// The cache does not serve such requests.
    Bypass,
}

/// How a request went upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// Why.
    pub why: Why,
    /// What the origin said, where that is not what the client gets.
    pub status: Option<StatusCode>,
    /// The answer is stored.
    pub stored: bool,
    /// It went with others' in one request.
    pub collapsed: bool,
}

/// Adds what this cache did after what others upstream did. `detail` is a token that explains it to operators.
pub fn append(headers: &mut HeaderMap, handling: &Handling, detail: Option<&'static str>) {
    headers.append(CACHE_STATUS, render(handling, detail));
}

/// One member of the list. Most hits cost nothing, others one small allocation.
pub fn render(handling: &Handling, detail: Option<&'static str>) -> HeaderValue {
    if let (Handling::Hit { ttl }, None) = (handling, detail)
        && let Some(written) = usize::try_from(ttl.as_secs()).ok().and_then(|at| HITS.get(at))
    {
        return written.clone();
    }
    let mut line = Cursor::new([0_u8; BYTES_MAX]);
    let written = write(&mut line, handling, detail);
    debug_assert!(written.is_ok(), "a detail is a short token");
    let length = usize::try_from(line.position()).unwrap_or(0);
    HeaderValue::from_bytes(&line.get_ref()[..length]).unwrap_or(HeaderValue::from_static("headwater"))
}

/// The short hits. Static text, so that a clone counts no references: all threads would meet in one counter.
static HITS: LazyLock<Vec<HeaderValue>> = LazyLock::new(|| {
    let write = |ttl| Box::leak(format!("headwater; hit; ttl={ttl}").into_boxed_str());
    (0..WRITTEN).map(|ttl| HeaderValue::from_static(write(ttl))).collect()
});

fn write(line: &mut impl Write, handling: &Handling, detail: Option<&'static str>) -> io::Result<()> {
    match handling {
        Handling::Hit { ttl } => write!(line, "headwater; hit; ttl={}", ttl.as_secs())?,
        Handling::StaleHit { by } => write!(line, "headwater; hit; ttl=-{}", by.as_secs())?,
        Handling::Forwarded(Forwarded { why, status, stored, collapsed }) => {
            write!(line, "headwater; fwd={}", why.as_str())?;
            if let Some(status) = status {
                write!(line, "; fwd-status={}", status.as_str())?;
            }
            if *stored {
                line.write_all(b"; stored")?;
            }
            if *collapsed {
                line.write_all(b"; collapsed")?;
            }
        }
        Handling::Own => line.write_all(b"headwater")?,
    }
    detail.map_or(Ok(()), |detail| write!(line, "; detail={detail}"))
}

impl Why {
    fn as_str(self) -> &'static str {
        match self {
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Miss => "miss",
            Self::Stale => "stale",
            Self::Partial => "partial",
            Self::Method => "method",
            Self::Request => "request",
            Self::Bypass => "bypass",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(handling: Handling, detail: Option<&'static str>) -> String {
        render(&handling, detail).to_str().unwrap().to_owned()
    }

    #[test]
    fn each_handling_has_its_words() {
        let ttl = Duration::from_secs;
        let forwarded = Forwarded { why: Why::UriMiss, status: None, stored: true, collapsed: false };
        let followed = Forwarded { collapsed: true, ..forwarded };
        let validated = Forwarded { why: Why::Stale, status: Some(StatusCode::NOT_MODIFIED), ..forwarded };
        let passed = Forwarded { why: Why::Method, stored: false, ..forwarded };
        for (handling, detail, text) in [
            (Handling::Hit { ttl: ttl(0) }, None, "headwater; hit; ttl=0"),
            (Handling::Hit { ttl: ttl(4_095) }, None, "headwater; hit; ttl=4095"),
            (Handling::Hit { ttl: ttl(31_535_999) }, None, "headwater; hit; ttl=31535999"),
            (Handling::Hit { ttl: ttl(9) }, Some("disk"), "headwater; hit; ttl=9; detail=disk"),
            (Handling::StaleHit { by: ttl(3) }, None, "headwater; hit; ttl=-3"),
            (Handling::Forwarded(forwarded), None, "headwater; fwd=uri-miss; stored"),
            (Handling::Forwarded(followed), None, "headwater; fwd=uri-miss; stored; collapsed"),
            (Handling::Forwarded(validated), None, "headwater; fwd=stale; fwd-status=304; stored"),
            (Handling::Forwarded(passed), Some("private"), "headwater; fwd=method; detail=private"),
            (Handling::Own, Some("limited"), "headwater; detail=limited"),
        ] {
            assert_eq!(said(handling, detail), text);
        }
    }

    #[test]
    fn what_an_upstream_cache_said_comes_first() {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_STATUS, HeaderValue::from_static("ExampleCache; hit"));
        append(&mut headers, &Handling::Hit { ttl: Duration::from_secs(1) }, None);
        let lines: Vec<_> = headers.get_all(CACHE_STATUS).iter().collect();
        assert_eq!(lines, ["ExampleCache; hit", "headwater; hit; ttl=1"]);
    }

    #[test]
    fn a_line_is_a_list_of_structured_fields() {
        let all = [
            render(&Handling::StaleHit { by: Duration::from_secs(2) }, Some("origin-down")),
            render(&Handling::Hit { ttl: Duration::from_secs(u64::from(u32::MAX)) }, None),
        ];
        for line in all {
            let mut parser = sfparse::Parser::new(line.as_bytes());
            assert!(matches!(parser.parse_list(), Ok(Some(sfparse::Value::Token(_)))));
            while parser.parse_param().unwrap().is_some() {}
            assert!(parser.parse_list().unwrap().is_none());
        }
    }
}
