// SPDX-License-Identifier: Apache-2.0
//! Seconds as manifests write them, read without a float.

use headwater_media::{MediaDuration, Timescale};

/// A decimal number of seconds without sign or exponent, exact to the nanosecond.
pub(crate) fn seconds(text: &str) -> Option<MediaDuration> {
    let (whole, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole: i64 = whole.parse().ok()?;
    let nanos: i64 = format!("{:0<9}", &fraction[..fraction.len().min(9)]).parse().ok()?;
    let nanos = whole.checked_mul(1_000_000_000)?.checked_add(nanos)?;
    Some(MediaDuration::new(nanos, Timescale::NANOS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_read_exactly_or_not_at_all() {
        let nanos = |text| seconds(text).map(MediaDuration::ticks);
        assert_eq!(nanos("2.002"), Some(2_002_000_000));
        assert_eq!(nanos("4."), Some(4_000_000_000));
        assert_eq!(nanos("0.1234567899"), Some(123_456_789));
        for bad in ["", ".5", "-1", "1e3", "NaN", "1.2.3", "99999999999999999999"] {
            assert_eq!(nanos(bad), None, "{bad:?}");
        }
    }
}
