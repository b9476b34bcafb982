// SPDX-License-Identifier: Apache-2.0
//! Cache directives: Cache-Control in its forgiving list form (RFC 9111, 5.2), targeted fields as strict dictionaries
//! (RFC 9213, 2.1).

use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName};
use sfparse::{Parser, Value};

use super::fields;

/// The most that a lifetime may be: 2^31 seconds (RFC 9111, 1.2.2).
pub(super) const SECONDS_MAX: u64 = 1 << 31;
/// Our own targeted field: as CDN-Cache-Control, with fractions of a second.
const PRECISE: HeaderName = HeaderName::from_static("headwater-cache-control");
/// The fields that this cache obeys, the most particular first (RFC 9213, 2.2).
const TARGETS: [HeaderName; 2] = [PRECISE, HeaderName::from_static("cdn-cache-control")];

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
    each(headers, |name, value| match found.field(name) {
        Some(Field::Flag(flag)) => *flag = true,
        // Of several values the smallest counts; one that is no number makes the answer stale (RFC 9111, 4.2.1).
        Some(Field::Span(span)) => {
            let new = value.and_then(fields::seconds).map_or(0, |seconds| seconds.min(SECONDS_MAX) * 1_000);
            *span = Some(span.map_or(new, |old| old.min(new)));
        }
        None => {}
    });
    found
}

/// True if the client wants nothing that is not stored (RFC 9111, 5.2.1.7).
pub fn only_if_cached(headers: &HeaderMap) -> bool {
    let mut found = false;
    each(headers, |name, _| found |= name.eq_ignore_ascii_case(b"only-if-cached"));
    found
}

enum Field<'a> {
    Flag(&'a mut bool),
    Span(&'a mut Option<u64>),
}

impl Directives {
    fn field(&mut self, name: &[u8]) -> Option<Field<'_>> {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        let flag = match () {
            () if is("public") => &mut self.public,
            () if is("private") => &mut self.private,
            () if is("no-store") => &mut self.no_store,
            () if is("no-cache") => &mut self.no_cache,
            () if is("must-revalidate") => &mut self.must_revalidate,
            () if is("proxy-revalidate") => &mut self.proxy_revalidate,
            () if is("must-understand") => &mut self.must_understand,
            () if is("immutable") => &mut self.immutable,
            () if is("max-age") => return Some(Field::Span(&mut self.max_age_ms)),
            () if is("s-maxage") => return Some(Field::Span(&mut self.s_maxage_ms)),
            () if is("stale-while-revalidate") => return Some(Field::Span(&mut self.while_revalidating_ms)),
            () if is("stale-if-error") => return Some(Field::Span(&mut self.if_error_ms)),
            () => return None,
        };
        Some(Field::Flag(flag))
    }
}

/// Calls `take` with each directive of Cache-Control; quoted values are given without their quotes.
fn each<'a>(headers: &'a HeaderMap, mut take: impl FnMut(&'a [u8], Option<&'a [u8]>)) {
    for item in headers.get_all(CACHE_CONTROL).iter().flat_map(|value| fields::list(value.as_bytes())) {
        match item.iter().position(|b| *b == b'=') {
            Some(at) => {
                let value = item[at + 1..].trim_ascii();
                let quoted = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\""));
                take(item[..at].trim_ascii(), Some(quoted.unwrap_or(value)));
            }
            None => take(item, None),
        }
    }
}

/// A targeted field; none if it is absent, empty, no dictionary, or gives a directive a value of the wrong type.
fn targeted(headers: &HeaderMap, name: &HeaderName) -> Option<Directives> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?.as_bytes();
    let Some(second) = lines.next() else { return dictionary(first, *name == PRECISE) };
    let mut joined = first.to_vec();
    for line in std::iter::once(second).chain(lines) {
        joined.extend_from_slice(b", ");
        joined.extend_from_slice(line.as_bytes());
    }
    dictionary(&joined, *name == PRECISE)
}

fn dictionary(text: &[u8], fractions: bool) -> Option<Directives> {
    let mut parser = Parser::new(text);
    let mut found = Directives::default();
    while let Some((name, value)) = parser.parse_dict().ok()? {
        found.targeted = true;
        match (found.field(name.as_bytes()), value) {
            (None, _) => {}
            (Some(Field::Flag(flag)), Value::Bool(said)) => *flag = said,
            // `private="x"` and `no-cache="x"`: as if without the names.
            (Some(Field::Flag(flag)), Value::String { .. } | Value::Token(_)) => *flag = true,
            (Some(Field::Span(span)), Value::Integer(seconds)) => {
                *span = Some(u64::try_from(seconds).unwrap_or(0).min(SECONDS_MAX) * 1_000);
            }
            (Some(Field::Span(span)), Value::Decimal { numer, denom }) if fractions => {
                let ms = i128::from(numer) * 1_000 / i128::from(denom.max(1));
                *span = Some(u64::try_from(ms).unwrap_or(0).min(SECONDS_MAX * 1_000));
            }
            (Some(_), _) => return None,
        }
    }
    found.targeted.then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[(&'static str, &str)]) -> Directives {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        of_answer(&headers)
    }

    #[test]
    fn the_most_particular_field_decides() {
        let all = [
            ("cache-control", "no-store"),
            ("cdn-cache-control", "max-age=7"),
            ("headwater-cache-control", "max-age=0.500"),
        ];
        assert_eq!(of(&all).max_age_ms, Some(500));
        assert_eq!(of(&all[..2]).max_age_ms, Some(7_000));
        assert!(!of(&all[..2]).no_store && of(&all[..1]).no_store);
    }

    #[test]
    fn a_targeted_field_that_is_no_dictionary_is_as_if_absent() {
        for broken in ["", "max-age=\"9\"", "max-age=9, &&&", "max-age =9", "max-age=9,", "MAX-AGE=9", "max-age=0.5"] {
            let found = of(&[("cache-control", "max-age=3"), ("cdn-cache-control", broken)]);
            assert_eq!((found.targeted, found.max_age_ms), (false, Some(3_000)), "{broken:?}");
        }
        assert_eq!(of(&[("cdn-cache-control", "max-age=9;x=1, new=(a b)")]).max_age_ms, Some(9_000));
        assert_eq!(
            of(&[("cdn-cache-control", "max-age=9"), ("cdn-cache-control", "no-cache")]).max_age_ms,
            Some(9_000)
        );
    }

    #[test]
    fn a_quote_that_is_never_closed_hides_nothing() {
        assert!(of(&[("cache-control", "x=\"y, no-store")]).no_store);
        assert!(!of(&[("cache-control", "x=\"y, no-store\"")]).no_store);
        assert!(!of(&[("cache-control", "x=\"y\\\", no-store\"")]).no_store);
    }
}
