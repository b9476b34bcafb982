// SPDX-License-Identifier: Apache-2.0
//! What this cache did with a request, in words that others read (Cache-Status, RFC 9211).

use std::fmt::Write;
use std::sync::LazyLock;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// The field.
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// Hits with fewer seconds to live than this are written once for the process: most of a live stream's.
const WRITTEN: usize = 4_096;

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

/// One member of the list.
pub fn render(handling: &Handling, detail: Option<&'static str>) -> HeaderValue {
    static HITS: LazyLock<Vec<HeaderValue>> =
        LazyLock::new(|| (0..WRITTEN).map(|ttl| value(&format!("headwater; hit; ttl={ttl}"))).collect());
    if let (Handling::Hit { ttl }, None) = (handling, detail)
        && let Some(written) = usize::try_from(ttl.as_secs()).ok().and_then(|at| HITS.get(at))
    {
        return written.clone();
    }
    let mut text = String::with_capacity(64);
    text.push_str("headwater");
    // NB: writing into a String cannot fail.
    let _ = match handling {
        Handling::Hit { ttl } => write!(text, "; hit; ttl={}", ttl.as_secs()),
        Handling::StaleHit { by } => write!(text, "; hit; ttl=-{}", by.as_secs()),
        Handling::Forwarded(forwarded) => forwarded.write(&mut text),
        Handling::Own => Ok(()),
    };
    if let Some(detail) = detail {
        let _ = write!(text, "; detail={detail}");
    }
    value(&text)
}

impl Forwarded {
    fn write(&self, text: &mut String) -> std::fmt::Result {
        write!(text, "; fwd={}", self.why.as_str())?;
        if let Some(status) = self.status {
            write!(text, "; fwd-status={}", status.as_u16())?;
        }
        if self.stored {
            text.push_str("; stored");
        }
        if self.collapsed {
            text.push_str("; collapsed");
        }
        Ok(())
    }
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

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("headwater"))
}
