// SPDX-License-Identifier: Apache-2.0
//! Stream keys: as the password of Basic or Digest, as Bearer, as `?token=`, or as the first folder of the path; compared
//! in constant time.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use headwater_media::UtcTime;
use headwater_net::access::known;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, Uri};

use super::digest::{self, Nonces};

/// What a request showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// Admitted; what is left of the path.
    Admitted(&'a str),
    /// No key was shown: ask for one.
    Missing,
    /// A key was proved by a challenge that is too old: ask again.
    Stale,
    /// A key was shown and is not one of them.
    Wrong,
}

/// What of a request shows a key.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its target.
    pub uri: &'a Uri,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// When it came.
    pub now: UtcTime,
}

/// Checks the keys shown by a request for `path`, which is below the publishing point.
pub fn check<'a>(keys: &[String], path: &'a str, asked: &Asked<'_>, nonces: &Nonces) -> Verdict<'a> {
    let (query, headers) = (asked.uri.query(), asked.headers);
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
        Some((scheme, parameters)) if scheme.eq_ignore_ascii_case("digest") => {
            let target = asked.uri.path_and_query().map_or("/", |target| target.as_str());
            return match nonces.check(parameters, asked.method.as_str(), target, keys, asked.now) {
                digest::Verdict::Right => Verdict::Admitted(trimmed),
                digest::Verdict::Stale => Verdict::Stale,
                digest::Verdict::Wrong => Verdict::Wrong,
            };
        }
        _ => None,
    };
    match shown {
        Some(shown) if known(keys, &shown) => Verdict::Admitted(trimmed),
        Some(_) => Verdict::Wrong,
        None => Verdict::Missing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict<'a>(keys: &[&str], path: &'a str, query: &str, authorization: Option<&str>) -> Verdict<'a> {
        let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(AUTHORIZATION, value.parse().unwrap());
        }
        let uri: Uri = format!("/ingest/news{path}{query}").parse().unwrap();
        let asked = Asked { method: &Method::PUT, uri: &uri, headers: &headers, now: UtcTime::from_nanos(0) };
        check(&keys, path, &asked, &Nonces::new())
    }

    const KEYS: [&str; 2] = ["old", "s3cret"];

    #[test]
    fn a_key_is_taken_from_path_query_and_header() {
        let admitted = Verdict::Admitted("Streams(v0)");
        let basic = format!("Basic {}", STANDARD.encode("encoder:s3cret"));
        assert_eq!(verdict(&KEYS, "/s3cret/Streams(v0)", "", None), admitted);
        assert_eq!(verdict(&KEYS, "/Streams(v0)", "?a=b&token=old", None), admitted);
        assert_eq!(verdict(&KEYS, "/Streams(v0)", "", Some(&basic)), admitted);
        assert_eq!(verdict(&KEYS, "/Streams(v0)", "", Some("Bearer old")), admitted);
    }

    #[test]
    fn a_wrong_key_is_told_from_none() {
        assert_eq!(verdict(&KEYS, "/Streams(v0)", "", None), Verdict::Missing);
        assert_eq!(verdict(&KEYS, "/Streams(v0)", "", Some("Negotiate x")), Verdict::Missing);
        assert_eq!(verdict(&KEYS, "/Streams(v0)", "?token=s3cre", None), Verdict::Wrong);
        assert_eq!(verdict(&KEYS, "/Streams(v0)", "", Some("Digest x")), Verdict::Wrong);
        assert_eq!(verdict(&[], "/Streams(v0)", "", None), Verdict::Admitted("Streams(v0)"));
    }
}
