// SPDX-License-Identifier: Apache-2.0
//! Stream keys: as the password of Basic, as `?token=`, or as the first folder of the path; compared in constant time.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use subtle::ConstantTimeEq;

/// What a request showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// Admitted; what is left of the path.
    Admitted(&'a str),
    /// No key was shown: ask for one.
    Missing,
    /// A key was shown and is not one of them.
    Wrong,
}

/// Checks the keys shown by a request for `path`, which is below the publishing point.
pub fn check<'a>(keys: &[String], path: &'a str, query: Option<&str>, headers: &HeaderMap) -> Verdict<'a> {
    let trimmed = path.trim_start_matches('/');
    if keys.is_empty() {
        return Verdict::Admitted(trimmed);
    }
    if let Some((first, rest)) = trimmed.split_once('/')
        && known(keys, first)
    {
        return Verdict::Admitted(rest);
    }
    let token =
        query.and_then(|q| q.split('&').find_map(|a| a.strip_prefix("token=").or_else(|| a.strip_prefix("key="))));
    if let Some(token) = token {
        let token = percent_encoding::percent_decode_str(token).decode_utf8_lossy();
        return if known(keys, &token) { Verdict::Admitted(trimmed) } else { Verdict::Wrong };
    }
    let Some(value) = headers.get(AUTHORIZATION).and_then(|v| v.to_str().ok()) else { return Verdict::Missing };
    let shown = match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Some(token.trim().to_owned()),
        Some((scheme, pair)) if scheme.eq_ignore_ascii_case("basic") => {
            let decoded = STANDARD.decode(pair.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            decoded.and_then(|pair| pair.split_once(':').map(|(_, password)| password.to_owned()))
        }
        _ => None,
    };
    match shown {
        Some(shown) if known(keys, &shown) => Verdict::Admitted(trimmed),
        Some(_) => Verdict::Wrong,
        None => Verdict::Missing,
    }
}

/// Compares with every key, so that the time taken tells nothing.
fn known(keys: &[String], shown: &str) -> bool {
    let found = keys.iter().fold(subtle::Choice::from(0), |found, key| found | key.as_bytes().ct_eq(shown.as_bytes()));
    found.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Vec<String> {
        vec!["old".into(), "s3cret".into()]
    }

    #[test]
    fn a_key_is_taken_from_path_query_and_header() {
        let none = HeaderMap::new();
        assert_eq!(check(&keys(), "/s3cret/Streams(v0)", None, &none), Verdict::Admitted("Streams(v0)"));
        assert_eq!(check(&keys(), "/Streams(v0)", Some("a=b&token=old"), &none), Verdict::Admitted("Streams(v0)"));
        let mut basic = HeaderMap::new();
        basic.insert(AUTHORIZATION, format!("Basic {}", STANDARD.encode("encoder:s3cret")).parse().unwrap());
        assert_eq!(check(&keys(), "/Streams(v0)", None, &basic), Verdict::Admitted("Streams(v0)"));
    }

    #[test]
    fn a_wrong_key_is_told_from_none() {
        let none = HeaderMap::new();
        assert_eq!(check(&keys(), "/Streams(v0)", None, &none), Verdict::Missing);
        assert_eq!(check(&keys(), "/Streams(v0)", Some("token=s3cre"), &none), Verdict::Wrong);
        assert_eq!(check(&[], "/Streams(v0)", None, &none), Verdict::Admitted("Streams(v0)"));
    }
}
