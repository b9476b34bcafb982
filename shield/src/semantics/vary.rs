// SPDX-License-Identifier: Apache-2.0
//! Which of several answers of one URL a request selects (RFC 9111, 4.1).

use http::header::{ACCEPT_ENCODING, VARY};
use http::{HeaderMap, HeaderName};

use super::fields;

/// What of a request chose an answer; equal for requests that may have the same one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Selector {
    /// Accept-Encoding counts, and gzip is accepted or not.
    zipped: Option<bool>,
    /// Other fields, by name, with their values.
    rest: Box<[u8]>,
}

/// The most that a selector may hold: what is longer chooses an answer for one client alone.
const BYTES_MAX: usize = 1_024;

/// What selects among the answers of a URL, by the Vary of one of them. None if nothing does, for `*`, for what is no
/// field name, and for values of more than a kilobyte.
///
/// Accept-Encoding counts only as far as it admits gzip or not, as [`super::fields::for_origin`] sends it on: two
/// variants, however many ways there are to write it. Without another field in Vary this allocates nothing.
pub fn selector(answer: &HeaderMap, request: &HeaderMap) -> Option<Selector> {
    let mut selector = Selector::default();
    let mut names: Vec<HeaderName> = Vec::new();
    for name in names_in(answer) {
        // `*` is a token, so it parses: it must not be taken for a field's name.
        let name = HeaderName::from_bytes(name).ok().filter(|n| n.as_str() != "*")?;
        if name == ACCEPT_ENCODING {
            selector.zipped = Some(headwater_net::gzip::accepted(request.get(ACCEPT_ENCODING)));
        } else if !names.contains(&name) {
            names.push(name);
        }
    }
    // Origins that list the same names in another order mean the same.
    names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    let mut rest = Vec::new();
    for name in &names {
        rest.extend_from_slice(name.as_str().as_bytes());
        // Lines are joined and blanks at commas dropped (RFC 9111, 4.1); an absent field is not an empty one.
        if request.contains_key(name) {
            rest.push(b':');
        }
        for item in request.get_all(name).iter().flat_map(|value| fields::list(value.as_bytes())) {
            rest.extend_from_slice(item);
            rest.push(b',');
        }
        // No field value holds a line feed.
        rest.push(b'\n');
        if rest.len() > BYTES_MAX {
            return None;
        }
    }
    selector.rest = rest.into_boxed_slice();
    Some(selector)
}

/// True if no request selects this answer (RFC 9111, 4.1): `*`, or what is no field name.
pub(super) fn selects_nothing(answer: &HeaderMap) -> bool {
    names_in(answer).any(|name| name == b"*" || HeaderName::from_bytes(name).is_err())
}

fn names_in(answer: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    answer.get_all(VARY).iter().flat_map(|value| fields::list(value.as_bytes()))
}
