// SPDX-License-Identifier: Apache-2.0
//! What became of a post, and whether and when it is worth another.

use std::fmt;
use std::time::{Duration, SystemTime};

use http::{HeaderValue, StatusCode};

/// The longest pause that a receiver may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);

/// What became of a post.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The receiver has it.
    Taken,
    /// It will never have it.
    Refused(StatusCode),
    /// It may have it another time; after that pause, if it says so.
    Failed(Trouble, Option<Duration>),
}

/// Why it failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Nobody answers.
    Away(String),
    /// The answer.
    Status(StatusCode),
}

impl Outcome {
    /// What an answer means (RFC 9110, 15).
    pub(super) fn of(status: StatusCode, retry_after: Option<&HeaderValue>, now: SystemTime) -> Self {
        if status.is_success() {
            return Self::Taken;
        }
        let again = matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
        if again || status.is_server_error() {
            return Self::Failed(Trouble::Status(status), retry_after.and_then(|value| wait(value, now)));
        }
        // A redirection too: who moved is told so by a person, and not by whoever answers at the old place.
        Self::Refused(status)
    }

    /// As it is counted.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Refused(_) => "refused",
            Self::Failed(..) => "failed",
        }
    }
}

impl Trouble {
    /// True if it may be this event that the receiver fails at, and others would pass.
    pub(super) const fn is_the_events(&self) -> bool {
        match self {
            Self::Away(_) => false,
            Self::Status(status) => !matches!(status.as_u16(), 408 | 429 | 502 | 503 | 504),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away(cause) => write!(f, "expected an answer, got: {cause}"),
            Self::Status(status) => write!(f, "expected 2xx, got {status}"),
        }
    }
}

/// Seconds or a date (RFC 9110, 10.2.3), bounded; `None` for neither.
fn wait(value: &HeaderValue, now: SystemTime) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_final_or_worth_another_try() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777 - 30);
        let of = |status, after: Option<&str>| {
            let after = after.map(|text| HeaderValue::from_str(text).unwrap());
            Outcome::of(StatusCode::from_u16(status).unwrap(), after.as_ref(), now)
        };
        for status in [200, 202, 204] {
            assert_eq!(of(status, None), Outcome::Taken);
        }
        for status in [301, 307, 400, 401, 404, 410, 415] {
            assert_eq!(of(status, Some("5")).name(), "refused", "{status}");
        }
        let failed = |status, wait: Option<u64>| {
            Outcome::Failed(Trouble::Status(StatusCode::from_u16(status).unwrap()), wait.map(Duration::from_secs))
        };
        for (status, after, wait) in [
            (408, None, None),
            (429, Some("7"), Some(7)),
            (503, Some("Sun, 06 Nov 1994 08:49:37 GMT"), Some(30)),
            (503, Some("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0)),
            (500, Some("soon"), None),
            (500, Some("-1"), None),
            (502, Some("99999999"), Some(600)),
        ] {
            assert_eq!(of(status, after), failed(status, wait), "{status} {after:?}");
        }
    }
}
