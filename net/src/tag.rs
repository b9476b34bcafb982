// SPDX-License-Identifier: Apache-2.0
//! Strong validators (RFC 9110, 8.8.3) made from the bytes alone: twin servers of the same bytes agree on them.

use http::HeaderValue;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// The digest behind [`of`].
pub fn digest(bytes: &[u8]) -> u128 {
    xxh3_128(bytes)
}

/// The ETag of a digest.
pub fn of_digest(digest: u128) -> HeaderValue {
    let text = format!("\"{digest:032x}\"");
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("\"0\""))
}

/// The ETag of these bytes.
pub fn of(bytes: &[u8]) -> HeaderValue {
    of_digest(digest(bytes))
}

/// The digest of an ETag of ours as it says it: 32 hexadecimal digits.
pub fn text(tag: &HeaderValue) -> &str {
    tag.to_str().unwrap_or_default().trim_matches('"')
}

/// The ETag of bytes that come one piece after another; each piece is read once.
#[derive(Clone, Default)]
pub struct Running(Box<Xxh3>);

impl Running {
    /// Goes on with these bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The ETag of all of them.
    pub fn tag(&self) -> HeaderValue {
        of_digest(self.0.digest128())
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Running").field(&self.tag()).finish()
    }
}

/// True if an If-None-Match value names `tag` (weak comparison, RFC 9110, 13.1.2).
pub fn matches(if_none_match: Option<&HeaderValue>, tag: &HeaderValue) -> bool {
    let (Some(list), Ok(tag)) = (if_none_match.and_then(|v| v.to_str().ok()), tag.to_str()) else { return false };
    list.split(',').map(str::trim).any(|t| t == "*" || t.strip_prefix("W/").unwrap_or(t) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_validator_names_its_bytes() {
        let tag = of(b"bytes");
        assert_eq!(tag, of(b"bytes"));
        assert_ne!(tag, of(b"other"));
        assert!(matches(Some(&tag), &tag));
        assert!(matches(Some(&HeaderValue::from_static("*")), &tag));
        let weak = HeaderValue::from_str(&format!("\"x\", W/{}", tag.to_str().unwrap())).unwrap();
        assert!(matches(Some(&weak), &tag));
        assert!(!matches(Some(&HeaderValue::from_static("\"x\"")), &tag));
        assert!(!matches(None, &tag));
    }

    #[test]
    fn a_validator_of_pieces_is_that_of_the_whole() {
        let bytes: Vec<u8> = (0..4_096_u32).flat_map(u32::to_be_bytes).collect();
        for length in [0, 1, 240, 241, 1_024, 16_384] {
            let mut running = Running::default();
            bytes[..length].chunks(77).for_each(|piece| running.push(piece));
            assert_eq!(running.tag(), of(&bytes[..length]), "{length} bytes");
            assert_eq!(text(&running.tag()), format!("{:032x}", digest(&bytes[..length])));
        }
    }
}
