// SPDX-License-Identifier: Apache-2.0
//! Which of several answers of one URL a request selects (RFC 9111, 4.1).

use http::header::{ACCEPT_ENCODING, VARY};
use http::{HeaderMap, HeaderName};

/// What of a request chose an answer; equal for requests that may have the same one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Selector {
    /// Accept-Encoding counts, and gzip is accepted or not.
    zipped: Option<bool>,
    /// Other fields, by name, with their values.
    rest: Box<[u8]>,
}

/// What selects among the answers of a URL, by the Vary of one of them; none for `*`.
///
/// Accept-Encoding counts only as far as it admits gzip or not, as [`super::fields::for_origin`] sends it on: two
/// variants, however many ways there are to write it.
pub fn selector(answer: &HeaderMap, request: &HeaderMap) -> Option<Selector> {
    let mut selector = Selector::default();
    let mut names: Vec<HeaderName> = Vec::new();
    for value in answer.get_all(VARY) {
        for name in value.to_str().ok()?.split(',').map(str::trim).filter(|n| !n.is_empty()) {
            if name == "*" {
                return None;
            }
            let name: HeaderName = name.parse().ok()?;
            if name == ACCEPT_ENCODING {
                selector.zipped = Some(headwater_net::gzip::accepted(request.get(ACCEPT_ENCODING)));
            } else {
                names.push(name);
            }
        }
    }
    names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    let mut rest = Vec::new();
    for name in &names {
        rest.extend_from_slice(name.as_str().as_bytes());
        for value in request.get_all(name) {
            rest.push(b':');
            rest.extend_from_slice(value.as_bytes().trim_ascii());
        }
        // No field value holds a line feed.
        rest.push(b'\n');
    }
    selector.rest = rest.into_boxed_slice();
    Some(selector)
}
