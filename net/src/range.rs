// SPDX-License-Identifier: Apache-2.0
//! Byte ranges of a request (RFC 9110, 14.1.2): one range is served, several are answered with the whole.

use http::HeaderValue;

/// What a Range header asks of a body of known length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// No range, one we ignore, or more than one.
    Whole,
    /// These bytes; both ends included.
    Part {
        /// First byte.
        first: u64,
        /// Last byte.
        last: u64,
    },
    /// No byte of the body is asked for: 416.
    Unsatisfiable,
}

/// Reads a Range header against a body of `length_bytes`.
pub fn parse(value: Option<&HeaderValue>, length_bytes: u64) -> Asked {
    let Some(text) = value.and_then(|v| v.to_str().ok()) else { return Asked::Whole };
    let Some(spec) = text.trim().strip_prefix("bytes=") else { return Asked::Whole };
    if spec.contains(',') {
        return Asked::Whole;
    }
    let Some((first, last)) = spec.split_once('-') else { return Asked::Whole };
    let (first, last) = (first.trim(), last.trim());
    if first.is_empty() {
        return match last.parse::<u64>() {
            Ok(0) => Asked::Unsatisfiable,
            Ok(_) if length_bytes == 0 => Asked::Unsatisfiable,
            Ok(n) => Asked::Part { first: length_bytes.saturating_sub(n), last: length_bytes - 1 },
            Err(_) => Asked::Whole,
        };
    }
    let Ok(first) = first.parse::<u64>() else { return Asked::Whole };
    let last = if last.is_empty() { u64::MAX } else { last.parse().unwrap_or(0) };
    if last < first {
        return Asked::Whole;
    }
    if first >= length_bytes {
        return Asked::Unsatisfiable;
    }
    Asked::Part { first, last: last.min(length_bytes - 1) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn asked(text: &str) -> Asked {
        parse(Some(&HeaderValue::from_str(text).unwrap()), 100)
    }

    #[test]
    fn the_forms_of_a_range() {
        assert_eq!(asked("bytes=0-9"), Asked::Part { first: 0, last: 9 });
        assert_eq!(asked("bytes=90-"), Asked::Part { first: 90, last: 99 });
        assert_eq!(asked("bytes=-10"), Asked::Part { first: 90, last: 99 });
        assert_eq!(asked("bytes=50-1000"), Asked::Part { first: 50, last: 99 });
        assert_eq!(asked("bytes=100-"), Asked::Unsatisfiable);
        assert_eq!(asked("bytes=-0"), Asked::Unsatisfiable);
        for whole in ["bytes=9-0", "bytes=0-1,5-6", "lines=1-2", "bytes=x-y", "bytes=5"] {
            assert_eq!(asked(whole), Asked::Whole, "{whole}");
        }
    }

    proptest! {
        #[test]
        fn a_range_never_leaves_the_body(text in "bytes=[0-9-]{0,12}", length in 0_u64..1_000) {
            let value = HeaderValue::from_str(&text).unwrap();
            if let Asked::Part { first, last } = parse(Some(&value), length) {
                prop_assert!(first <= last && last < length);
            }
        }
    }
}
