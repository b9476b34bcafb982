// SPDX-License-Identifier: Apache-2.0
//! Requests that two servers could read in two ways, refused: what a shield takes for one URL an origin must not take for
//! another (RFC 9110, 17.1; RFC 3986, 7).
//!
//! Nothing is normalised. A path is passed on as it came or not at all.

use std::net::Ipv6Addr;

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, StatusCode, Uri, Version};

use super::Refusal;

const fn unclean(words: &'static str, bound: &'static str) -> Refusal {
    Refusal { status: StatusCode::BAD_REQUEST, retry_after: None, words, bound }
}

const HOST_REFUSED: Refusal = unclean("expected one Host, the one of the request's target", "host");
const PATH_REFUSED: Refusal =
    unclean("expected a path without dot segments, backslashes, control characters or encodings of them", "path");

/// The host that a request is for, with its port; empty for a request of HTTP/1.0 that names none.
///
/// # Errors
/// 400 for none, several, one that is no host, one with a user's name, and one that differs from the target's (RFC 9112,
/// 3.2; RFC 9113, 8.3.1).
pub fn authority<'a>(uri: &'a Uri, headers: &'a HeaderMap, version: Version) -> Result<&'a str, Refusal> {
    let mut lines = headers.get_all(HOST).iter();
    let (first, second) = (lines.next(), lines.next());
    if second.is_some() {
        return Err(HOST_REFUSED);
    }
    let named = match first {
        Some(value) => Some(value.to_str().ok().filter(|host| is_host(host)).ok_or(HOST_REFUSED)?),
        None => None,
    };
    match (uri.authority().map(Authority::as_str), named) {
        (Some(target), _) if !is_host(target) => Err(HOST_REFUSED),
        (Some(target), Some(named)) if !target.eq_ignore_ascii_case(named) => Err(HOST_REFUSED),
        // Only HTTP/1.1 wants the field beside an absolute target.
        (Some(_), None) if version == Version::HTTP_11 => Err(HOST_REFUSED),
        (Some(host), _) | (None, Some(host)) => Ok(host),
        (None, None) if version == Version::HTTP_10 => Ok(""),
        (None, None) => Err(HOST_REFUSED),
    }
}

/// Checks a target: its scheme, its path and its query.
///
/// # Errors
/// 400 for anything but a path, for segments of dots, backslashes and control characters, plain or encoded, for encoded
/// slashes, for what is encoded twice, and for a percent sign without two digits.
pub fn target(uri: &Uri) -> Result<(), Refusal> {
    if !matches!(uri.scheme_str(), None | Some("http" | "https")) {
        return Err(unclean("expected http or https", "scheme"));
    }
    if is_clean(uri.path()) && uri.query().unwrap_or("").bytes().all(is_plain) { Ok(()) } else { Err(PATH_REFUSED) }
}

/// A host as it may stand in a URL, with or without a port.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            if address.parse::<Ipv6Addr>().is_err() {
                return false;
            }
            (address, port.strip_prefix(':').or(port.is_empty().then_some("0")))
        }
        None => text.split_once(':').map_or((text, Some("0")), |(host, port)| (host, Some(port))),
    };
    let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':');
    let digits = |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok();
    !host.is_empty() && host.bytes().all(known) && port.is_some_and(digits)
}

/// Neither a control character nor a blank, a letter of another alphabet or a backslash.
const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'\\' && byte != b'#'
}

pub(crate) fn is_clean(path: &str) -> bool {
    // One pass for what every request has: nothing is encoded, and no segment begins with a dot.
    let (mut before, mut simple) = (b'/', path.starts_with('/'));
    for byte in path.bytes() {
        if !is_plain(byte) {
            return false;
        }
        simple &= byte != b'%' && !(byte == b'.' && before == b'/');
        before = byte;
    }
    simple || path.starts_with('/') && is_clean_decoded(path)
}

/// A second round of decoding must find nothing to decode, and the first must have hidden nothing.
pub(crate) fn is_clean_decoded(path: &str) -> bool {
    let Some(read) = decoded(path) else { return false };
    let dangerous = |b: &u8| b.is_ascii_control() || *b == b'\\';
    let slashes = read.iter().filter(|b| **b == b'/').count();
    let twice = read.windows(3).any(|w| w[0] == b'%' && w[1].is_ascii_hexdigit() && w[2].is_ascii_hexdigit());
    if read.iter().any(dangerous) || slashes != path.matches('/').count() || twice {
        return false;
    }
    !String::from_utf8_lossy(&read).split('/').any(is_dots)
}

/// `.` and `..`, whatever parameters follow: some servers cut these off first.
fn is_dots(segment: &str) -> bool {
    matches!(segment.split(';').next(), Some("." | ".."))
}

/// The bytes that a path stands for; none if a percent sign is without its two digits.
fn decoded(path: &str) -> Option<Vec<u8>> {
    let mut bytes = path.bytes();
    let mut out = Vec::with_capacity(path.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let (high, low) = (hex(bytes.next()?)?, hex(bytes.next()?)?);
        out.push(high << 4 | low);
    }
    Some(out)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    #[test]
    fn a_path_that_can_be_read_in_two_ways_is_refused() {
        for path in [
            "/live/../x",
            "/..",
            "/.",
            "/live/./x",
            "/live/..",
            "/live/.",
            "/%2e%2e/x",
            "/%2E./x",
            "/.%2e",
            "/live/%2e",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a%00b",
            "/a%0ab",
            "/a%7fb",
            "/a%1fb",
            "/%252e%252e/",
            "/a%252fb",
            "/a%25%32%66b",
            "/a%2",
            "/a%",
            "/a%zzb",
            "/a%+1",
            "/a;x/..;y/b",
            "/..;/b",
            "/%2e%2e%3b/b",
        ] {
            let uri: Uri = path.parse().unwrap();
            assert!(target(&uri).is_err(), "{path}");
        }
        // What `Uri` does not take never comes here; what another parser may let through is refused too.
        for path in ["/a\\b", "/a b", "/a\tb", "/\u{e9}", "/a\0b", "/a#b", "*", "", "live/x", "x:80"] {
            assert!(!is_clean(path), "{path}");
        }
    }

    #[test]
    fn a_path_of_a_stream_passes() {
        for path in [
            "/",
            "/live/news/index.m3u8",
            "/live/news/video.720p/1.2.m4s?_HLS_msn=5&_HLS_part=2",
            "/a//b",
            "/...",
            "/.well-known/x",
            "/a..b/..c/d..",
            "/a%20b",
            "/%E2%82%AC",
            "/100%25",
            "/100%25.mp4",
            "/a;v=1/b",
            "/~a/(b)!$&'*+,;=:@",
            "/x?a=%2e%2e/%2f",
            "http://a.example/live/x",
            "https://a.example:8443/",
        ] {
            assert_eq!(target(&path.parse().unwrap()), Ok(()), "{path}");
        }
        for other in ["ftp://a.example/x", "*", "a.example:443"] {
            assert!(target(&other.parse().unwrap()).is_err(), "{other}");
        }
    }

    #[test]
    fn a_request_names_one_host() {
        let of = |uri: &str, hosts: &[&str], version| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(HOST, HeaderValue::from_bytes(host.as_bytes()).unwrap());
            }
            authority(&uri.parse().unwrap(), &headers, version).map(str::to_owned)
        };
        let (old, one, two) = (Version::HTTP_10, Version::HTTP_11, Version::HTTP_2);
        for (uri, hosts, version, expected) in [
            ("/x", &["a.example"][..], one, Ok("a.example")),
            ("/x", &["A.example:8080"], one, Ok("A.example:8080")),
            ("/x", &["[2001:db8::1]:80"], one, Ok("[2001:db8::1]:80")),
            ("/x", &["192.0.2.1"], old, Ok("192.0.2.1")),
            ("/x", &[], old, Ok("")),
            ("/x", &[], one, Err(HOST_REFUSED)),
            ("/x", &[""], one, Err(HOST_REFUSED)),
            ("/x", &["a.example", "a.example"], one, Err(HOST_REFUSED)),
            ("/x", &["a.example", "b.example"], one, Err(HOST_REFUSED)),
            ("/x", &["a.example, b.example"], one, Err(HOST_REFUSED)),
            ("/x", &["user@a.example"], one, Err(HOST_REFUSED)),
            ("/x", &["a.example/x"], one, Err(HOST_REFUSED)),
            ("/x", &["a.example:x"], one, Err(HOST_REFUSED)),
            ("/x", &["a.example:99999"], one, Err(HOST_REFUSED)),
            ("/x", &[":80"], one, Err(HOST_REFUSED)),
            ("/x", &["a.example:"], one, Err(HOST_REFUSED)),
            ("/x", &["a.example:+80"], one, Err(HOST_REFUSED)),
            ("/x", &["a.example:80:80"], one, Err(HOST_REFUSED)),
            ("/x", &["[a.example]"], one, Err(HOST_REFUSED)),
            ("/x", &["[::1"], one, Err(HOST_REFUSED)),
            ("/x", &["[::1]x"], one, Err(HOST_REFUSED)),
            ("/x", &["[::1]"], one, Ok("[::1]")),
            ("/x", &["::1"], one, Err(HOST_REFUSED)),
            ("/x", &["a example"], one, Err(HOST_REFUSED)),
            ("/x", &["\u{e9}.example"], one, Err(HOST_REFUSED)),
            ("/x", &["a.example%00"], one, Err(HOST_REFUSED)),
            ("http://a.example/x", &["a.example"], one, Ok("a.example")),
            ("http://a.example/x", &["A.EXAMPLE"], one, Ok("a.example")),
            ("http://a.example/x", &["b.example"], one, Err(HOST_REFUSED)),
            ("http://a.example/x", &["a.example:80"], one, Err(HOST_REFUSED)),
            ("http://a.example/x", &[], one, Err(HOST_REFUSED)),
            ("http://u:p@a.example/x", &["a.example"], one, Err(HOST_REFUSED)),
            ("https://a.example/x", &[], two, Ok("a.example")),
            ("https://a.example/x", &["a.example"], two, Ok("a.example")),
            ("https://a.example/x", &["b.example"], two, Err(HOST_REFUSED)),
            ("/x", &[], two, Err(HOST_REFUSED)),
        ] {
            assert_eq!(of(uri, hosts, version), expected.map(str::to_owned), "{uri} {hosts:?} {version:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_clean_stays_clean_when_it_is_decoded(path in "/([a-z./%;]|%2[eEfF5]|%5[cC]|%00|\\\\){0,8}") {
            if is_clean(&path) {
                let once = decoded(&path).unwrap();
                let text = String::from_utf8_lossy(&once).into_owned();
                prop_assert!(!text.split('/').any(|segment| segment == "." || segment == ".."));
                prop_assert_eq!(text.matches('/').count(), path.matches('/').count());
                prop_assert!(!text.contains('\\') && !text.contains('\0'));
            }
        }
    }
}
