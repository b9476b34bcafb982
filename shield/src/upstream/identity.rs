// SPDX-License-Identifier: Apache-2.0
//! Who this shield is among those that a request passes (RFC 8586): every request that leaves carries its name in
//! CDN-Loop, and one that arrives with it has gone in a circle.

use std::sync::Arc;

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};
use ring::rand::{SecureRandom, SystemRandom};

/// The field (RFC 8586, 2).
pub const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// A shield's name in CDN-Loop; clones are the same.
#[derive(Clone, Debug)]
pub struct Identity {
    name: Arc<str>,
}

impl Default for Identity {
    fn default() -> Self {
        Self::new()
    }
}

impl Identity {
    /// A name of this life: two shields never share one, whatever their configuration.
    pub fn new() -> Self {
        let mut bytes = [0; 8];
        // Without random bytes the place in memory has to do: all that is asked for is not to be another's name.
        if SystemRandom::new().fill(&mut bytes).is_err() {
            bytes = (std::ptr::from_ref(&bytes) as usize as u64 ^ u64::from(std::process::id())).to_be_bytes();
        }
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { name: Arc::from(format!("headwater-{text}")) }
    }

    /// As it stands in the field.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A request with these fields has passed this shield before.
    pub fn has_seen(&self, headers: &HeaderMap) -> bool {
        let values = headers.get_all(CDN_LOOP).iter().filter_map(|value| value.to_str().ok());
        let names = values.flat_map(|value| value.split(',')).map(|name| name.split(';').next().unwrap_or("").trim());
        names.into_iter().any(|name| name == &*self.name)
    }

    /// Adds the name; what others put there stays.
    pub(super) fn mark(&self, headers: &mut HeaderMap) {
        if let Ok(name) = HeaderValue::from_str(&self.name) {
            headers.append(CDN_LOOP, name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_comes_back_is_known_among_the_names_of_others() {
        let (own, other) = (Identity::new(), Identity::new());
        let mut headers = HeaderMap::new();
        headers.insert(CDN_LOOP, HeaderValue::from_static("cdn.example; p=\"a\""));
        other.mark(&mut headers);
        assert!(!own.has_seen(&headers));
        own.mark(&mut headers);
        assert!(own.has_seen(&headers) && other.has_seen(&headers));
    }

    #[test]
    fn a_name_that_is_part_of_another_is_not_the_same() {
        let own = Identity::new();
        let mut headers = HeaderMap::new();
        headers.insert(CDN_LOOP, HeaderValue::from_str(&format!("{}0, x{}; a=b", own.name(), own.name())).unwrap());
        assert!(!own.has_seen(&headers));
    }
}
