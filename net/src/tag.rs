// SPDX-License-Identifier: Apache-2.0
//! Strong validators (RFC 9110, 8.8.3) made from the bytes alone: twin servers of the same bytes agree on them.

use http::HeaderValue;
use xxhash_rust::xxh3::xxh3_128;

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
}
