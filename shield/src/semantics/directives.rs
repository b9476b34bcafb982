// SPDX-License-Identifier: Apache-2.0
//! Cache directives: Cache-Control in its forgiving list form (RFC 9111, 5.2), targeted fields as strict dictionaries
//! (RFC 9213, 2.1).

use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName};

/// The most that a lifetime may be: 2^31 seconds (RFC 9111, 1.2.2).
const SECONDS_MAX: u64 = 1 << 31;
/// Targeted fields that this cache obeys, the most particular first (RFC 9213, 2.2).
const TARGETS: [HeaderName; 2] =
    [HeaderName::from_static("headwater-cache-control"), HeaderName::from_static("cdn-cache-control")];

/// What an answer says of its storage, whichever field said it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Directives {
    /// A targeted field decided: Cache-Control and Expires do not count.
    pub(super) targeted: bool,
    pub(super) public: bool,
    pub(super) private: bool,
    pub(super) no_store: bool,
    pub(super) no_cache: bool,
    pub(super) must_revalidate: bool,
    pub(super) proxy_revalidate: bool,
    pub(super) must_understand: bool,
    pub(super) immutable: bool,
    pub(super) max_age_ms: Option<u64>,
    pub(super) s_maxage_ms: Option<u64>,
    pub(super) while_revalidating_ms: Option<u64>,
    pub(super) if_error_ms: Option<u64>,
}

/// The directives that count for this cache.
pub(super) fn of_answer(headers: &HeaderMap) -> Directives {
    for name in &TARGETS {
        if let Some(directives) = targeted(headers, name) {
            return directives;
        }
    }
    let mut found = Directives::default();
    each(headers, |name, value| found.take(name, Value::Text(value)));
    found
}

/// True if the client wants nothing that is not stored (RFC 9111, 5.2.1.7).
pub fn only_if_cached(headers: &HeaderMap) -> bool {
    let mut found = false;
    each(headers, |name, _| found |= name.eq_ignore_ascii_case("only-if-cached"));
    found
}

#[derive(Clone, Copy)]
enum Value<'a> {
    Text(Option<&'a str>),
    Milliseconds(u64),
    Flag,
}

impl Directives {
    fn take(&mut self, name: &str, value: Value<'_>) {
        // Several values of one directive: the smallest counts; one that is no number makes the answer stale (4.2.1).
        let least = |old: &mut Option<u64>| {
            let new = value.milliseconds().unwrap_or(0);
            *old = Some(old.map_or(new, |o| o.min(new)));
        };
        match name.to_ascii_lowercase().as_str() {
            "public" => self.public = true,
            "private" => self.private = true,
            "no-store" => self.no_store = true,
            "no-cache" => self.no_cache = true,
            "must-revalidate" => self.must_revalidate = true,
            "proxy-revalidate" => self.proxy_revalidate = true,
            "must-understand" => self.must_understand = true,
            "immutable" => self.immutable = true,
            "max-age" => least(&mut self.max_age_ms),
            "s-maxage" => least(&mut self.s_maxage_ms),
            "stale-while-revalidate" => least(&mut self.while_revalidating_ms),
            "stale-if-error" => least(&mut self.if_error_ms),
            _ => {}
        }
    }
}

impl Value<'_> {
    fn milliseconds(self) -> Option<u64> {
        match self {
            Self::Milliseconds(ms) => Some(ms),
            Self::Flag | Self::Text(None) => None,
            Self::Text(Some(text)) => {
                if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
                    return None;
                }
                Some(text.parse::<u64>().unwrap_or(SECONDS_MAX).min(SECONDS_MAX) * 1_000)
            }
        }
    }
}

/// Calls `take` with each directive of Cache-Control; quoted values are given without their quotes.
fn each<'a>(headers: &'a HeaderMap, mut take: impl FnMut(&'a str, Option<&'a str>)) {
    for value in headers.get_all(CACHE_CONTROL) {
        let Ok(text) = value.to_str() else { continue };
        for item in crate::semantics::fields::list(text) {
            match item.split_once('=') {
                Some((name, value)) => take(name.trim(), Some(value.trim().trim_matches('"'))),
                None => take(item, None),
            }
        }
    }
}

/// A targeted field: none if it is absent, empty or no dictionary.
fn targeted(headers: &HeaderMap, name: &HeaderName) -> Option<Directives> {
    // Placeholder of a strict reader: see `dictionary`.
    let mut found = Directives { targeted: true, ..Directives::default() };
    let mut any = false;
    for value in headers.get_all(name) {
        for item in value.to_str().ok()?.split(',') {
            let item = item.split(';').next()?.trim();
            any = true;
            match item.split_once('=') {
                None => found.take(item, Value::Flag),
                Some((key, number)) => {
                    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
                    let whole: u64 = whole.parse().ok()?;
                    let part: u64 = format!("{part:0<3}").get(..3)?.parse().ok()?;
                    found.take(key, Value::Milliseconds(whole.min(SECONDS_MAX) * 1_000 + part));
                }
            }
        }
    }
    any.then_some(found)
}
