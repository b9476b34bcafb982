// SPDX-License-Identifier: Apache-2.0
//! Asking the origin whether a stored answer still holds, and taking over what it says (RFC 9111, 4.3.1 to 4.3.4).

use std::time::SystemTime;

use http::HeaderMap;
use http::header::{AGE, DATE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};

use super::conditions::opaque;
use super::fields;

/// A 304 that is about another answer than the stored one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a 304 for the stored validator, it names another")]
pub struct Unmatched;

/// Makes a request conditional on the stored answer being out of date; false if that has no validator.
pub fn conditional(stored: &HeaderMap, request: &mut HeaderMap) -> bool {
    let mut any = false;
    for (validator, condition) in [(ETAG, IF_NONE_MATCH), (LAST_MODIFIED, IF_MODIFIED_SINCE)] {
        if let Some(value) = stored.get(validator) {
            request.insert(condition, value.clone());
            any = true;
        }
    }
    any
}

/// Takes the fields of a 304 over into the stored head, which is then to be judged anew.
///
/// What describes the bytes stays as it is stored (RFC 9111, 3.2). Age becomes that of the 304 and is there for
/// [`super::judge`] only: [`fields::for_storage`] takes it away again.
///
/// # Errors
/// [`Unmatched`] if the 304 is about another answer; the stored head is unchanged and is to be asked for whole.
pub fn merge(stored: &mut HeaderMap, answer: &HeaderMap, received: SystemTime) -> Result<(), Unmatched> {
    if !is_about(stored, answer) {
        return Err(Unmatched);
    }
    let mut new = answer.clone();
    fields::strip_hop_by_hop(&mut new);
    stored.remove(AGE);
    for name in new.keys().filter(|name| !fields::is_fixed(name)) {
        stored.remove(name);
        for value in new.get_all(name) {
            stored.append(name.clone(), value.clone());
        }
    }
    if fields::date(&new, &DATE).is_none() {
        fields::insert_date(stored, received);
    }
    Ok(())
}

/// True if a 304 names the stored validator, or none (RFC 9111, 4.3.4).
fn is_about(stored: &HeaderMap, answer: &HeaderMap) -> bool {
    match (answer.get(ETAG), stored.get(ETAG)) {
        (Some(new), Some(old)) => opaque(new.as_bytes()) == opaque(old.as_bytes()),
        (Some(_), None) => false,
        (None, _) => match (answer.get(LAST_MODIFIED), stored.get(LAST_MODIFIED)) {
            (Some(new), Some(old)) => new == old,
            (Some(_), None) => false,
            (None, _) => true,
        },
    }
}
