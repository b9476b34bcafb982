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

/// One range of bytes, of a body whose length may not be known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spec {
    /// From this byte to the end.
    From {
        /// First byte.
        first: u64,
    },
    /// These bytes, as far as there are so many; both ends included.
    Between {
        /// First byte.
        first: u64,
        /// Last byte.
        last: u64,
    },
    /// So many bytes at the end.
    Suffix {
        /// How many.
        length_bytes: u64,
    },
}

impl Spec {
    /// The bytes that are meant of a body of `length_bytes`.
    pub fn within(self, length_bytes: u64) -> Asked {
        let (first, last) = match self {
            Self::From { first } => (first, u64::MAX),
            Self::Between { first, last } => (first, last),
            Self::Suffix { length_bytes: 0 } => return Asked::Unsatisfiable,
            Self::Suffix { length_bytes: suffix } => (length_bytes.saturating_sub(suffix), u64::MAX),
        };
        if first >= length_bytes {
            return Asked::Unsatisfiable;
        }
        Asked::Part { first, last: last.min(length_bytes - 1) }
    }
}

/// Reads a Range header: none if there is none, one that we ignore, or more than one range.
pub fn read(value: Option<&HeaderValue>) -> Option<Spec> {
    let (unit, spec) = value?.to_str().ok()?.trim().split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    if spec.contains(',') {
        return None;
    }
    let (first, last) = spec.split_once('-')?;
    let (first, last) = (first.trim(), last.trim());
    if first.is_empty() {
        return Some(Spec::Suffix { length_bytes: number(last)? });
    }
    let first = number(first)?;
    if last.is_empty() {
        return Some(Spec::From { first });
    }
    let last = number(last)?;
    (first <= last).then_some(Spec::Between { first, last })
}

/// Reads a Range header against a body of `length_bytes`.
pub fn parse(value: Option<&HeaderValue>, length_bytes: u64) -> Asked {
    read(value).map_or(Asked::Whole, |spec| spec.within(length_bytes))
}

/// Digits alone; more of them than fit stand for the largest number.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
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
