// SPDX-License-Identifier: Apache-2.0
//! Media time as integer ticks, and UTC.
//!
//! Floats appear nowhere: a manifest's decimal is printed from ticks ([`MediaDuration::decimal`]).

use std::cmp::Ordering;
use std::fmt;
use std::num::NonZeroU32;
use std::ops::{Add, Sub};
use std::time::Duration;

const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// Ticks per second of a media timeline (ISO/IEC 14496-12, 8.4.2 `timescale`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timescale(NonZeroU32);

impl Timescale {
    /// A second in milliseconds.
    pub const MILLIS: Self = Self(NonZeroU32::new(1_000).expect("not zero"));
    /// A second in microseconds.
    pub const MICROS: Self = Self(NonZeroU32::new(1_000_000).expect("not zero"));
    /// A second in nanoseconds.
    pub const NANOS: Self = Self(NonZeroU32::new(1_000_000_000).expect("not zero"));

    /// `None` if `ticks_per_second` is zero.
    pub const fn new(ticks_per_second: u32) -> Option<Self> {
        match NonZeroU32::new(ticks_per_second) {
            Some(n) => Some(Self(n)),
            None => None,
        }
    }

    /// Ticks per second.
    pub const fn ticks_per_second(self) -> u32 {
        self.0.get()
    }
}

/// Division that rounds half away from zero.
const fn div_round(n: i128, d: i128) -> i128 {
    if n >= 0 { (n + d / 2) / d } else { -((-n + d / 2) / d) }
}

/// A point on a timeline: ticks since its zero. Points of different timescales compare by value.
#[derive(Clone, Copy, Debug)]
pub struct MediaTime {
    ticks: i64,
    timescale: Timescale,
}

impl MediaTime {
    /// `ticks` on a timeline of `timescale`.
    pub const fn new(ticks: i64, timescale: Timescale) -> Self {
        Self { ticks, timescale }
    }

    /// Ticks since the timeline's zero.
    pub const fn ticks(self) -> i64 {
        self.ticks
    }

    /// The unit of [`Self::ticks`].
    pub const fn timescale(self) -> Timescale {
        self.timescale
    }

    /// The nearest point in another timescale (half away from zero).
    pub fn rescale(self, timescale: Timescale) -> Self {
        Self::new(rescale(self.ticks, self.timescale, timescale), timescale)
    }

    /// The time from `earlier` to `self`, in `self`'s timescale; negative if `self` is earlier.
    pub fn since(self, earlier: Self) -> MediaDuration {
        MediaDuration::new(self.ticks.saturating_sub(earlier.rescale(self.timescale).ticks), self.timescale)
    }

    /// Nanoseconds since the timeline's zero, rounded.
    pub fn nanos(self) -> i64 {
        self.rescale(Timescale::NANOS).ticks
    }

    /// This point read as Unix time.
    pub fn utc(self) -> UtcTime {
        UtcTime::from_nanos(self.nanos())
    }

    /// Saturates instead of overflowing: hostile times stay ordered, never panic.
    pub fn saturating_add(self, duration: MediaDuration) -> Self {
        Self::new(self.ticks.saturating_add(duration.rescale(self.timescale).ticks), self.timescale)
    }
}

impl Add<MediaDuration> for MediaTime {
    type Output = Self;
    fn add(self, duration: MediaDuration) -> Self {
        self.saturating_add(duration)
    }
}

impl Sub<MediaDuration> for MediaTime {
    type Output = Self;
    fn sub(self, duration: MediaDuration) -> Self {
        Self::new(self.ticks.saturating_sub(duration.rescale(self.timescale).ticks), self.timescale)
    }
}

fn rescale(ticks: i64, from: Timescale, to: Timescale) -> i64 {
    if from == to {
        return ticks;
    }
    let n = i128::from(ticks) * i128::from(to.ticks_per_second());
    saturate(div_round(n, i128::from(from.ticks_per_second())))
}

fn saturate(n: i128) -> i64 {
    i64::try_from(n).unwrap_or(if n < 0 { i64::MIN } else { i64::MAX })
}

fn compare(a: i64, a_scale: Timescale, b: i64, b_scale: Timescale) -> Ordering {
    let a = i128::from(a) * i128::from(b_scale.ticks_per_second());
    let b = i128::from(b) * i128::from(a_scale.ticks_per_second());
    a.cmp(&b)
}

macro_rules! ordered_by_value {
    ($name:ident) => {
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.cmp(other) == Ordering::Equal
            }
        }
        impl Eq for $name {}
        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }
        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                compare(self.ticks, self.timescale, other.ticks, other.timescale)
            }
        }
    };
}
ordered_by_value!(MediaTime);
ordered_by_value!(MediaDuration);

/// A length of media in ticks; signed, so that differences are lengths too.
#[derive(Clone, Copy, Debug)]
pub struct MediaDuration {
    ticks: i64,
    timescale: Timescale,
}

impl MediaDuration {
    /// No time at all.
    pub const ZERO: Self = Self { ticks: 0, timescale: Timescale::NANOS };

    /// `ticks` of `timescale`.
    pub const fn new(ticks: i64, timescale: Timescale) -> Self {
        Self { ticks, timescale }
    }

    /// `millis` milliseconds.
    pub const fn from_millis(millis: i64) -> Self {
        Self::new(millis, Timescale::MILLIS)
    }

    /// Length in ticks.
    pub const fn ticks(self) -> i64 {
        self.ticks
    }

    /// The unit of [`Self::ticks`].
    pub const fn timescale(self) -> Timescale {
        self.timescale
    }

    /// The nearest length in another timescale (half away from zero).
    pub fn rescale(self, timescale: Timescale) -> Self {
        Self::new(rescale(self.ticks, self.timescale, timescale), timescale)
    }

    /// `self` × `factor`, exactly.
    pub fn times(self, factor: i64) -> Self {
        Self::new(self.ticks.saturating_mul(factor), self.timescale)
    }

    /// Nanoseconds, rounded.
    pub fn nanos(self) -> i64 {
        self.rescale(Timescale::NANOS).ticks
    }

    /// As a std duration; negative lengths are zero.
    pub fn to_std(self) -> Duration {
        Duration::from_nanos(u64::try_from(self.nanos()).unwrap_or(0))
    }

    /// From a std duration, in nanoseconds.
    pub fn from_std(duration: Duration) -> Self {
        Self::new(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX), Timescale::NANOS)
    }

    /// Seconds as a float, for a library that takes no other form; never for arithmetic.
    pub fn seconds_f64(self) -> f64 {
        self.ticks as f64 / f64::from(self.timescale.ticks_per_second())
    }

    /// Whole seconds, rounded up.
    pub fn seconds_ceil(self) -> u64 {
        let scale = i64::from(self.timescale.ticks_per_second());
        u64::try_from(self.ticks.saturating_add(scale - 1).div_euclid(scale)).unwrap_or(0)
    }

    /// Whole seconds, nearest (half up), as EXTINF is compared with TARGETDURATION.
    pub fn seconds_round(self) -> u64 {
        let scale = i128::from(self.timescale.ticks_per_second());
        u64::try_from(div_round(i128::from(self.ticks), scale)).unwrap_or(0)
    }

    /// Seconds as a decimal of at most `digits` fractional digits (≤ 9), nearest, no trailing zeros: `1.92`, `2.002`, `2`.
    pub fn decimal(self, digits: u32) -> String {
        let unit = 10_i128.pow(digits.min(9));
        let scale = i128::from(self.timescale.ticks_per_second());
        decimal_text(div_round(i128::from(self.ticks) * unit, scale), unit, digits.min(9))
    }

    /// As [`Self::decimal`], rounded up: for a bound that must not be exceeded.
    pub fn decimal_ceil(self, digits: u32) -> String {
        let unit = 10_i128.pow(digits.min(9));
        let scale = i128::from(self.timescale.ticks_per_second());
        let n = i128::from(self.ticks) * unit;
        decimal_text((n + scale - 1).div_euclid(scale), unit, digits.min(9))
    }
}

fn decimal_text(value: i128, unit: i128, digits: u32) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let value = value.abs();
    let (whole, fraction) = (value / unit, value % unit);
    if fraction == 0 {
        return format!("{sign}{whole}");
    }
    let text = format!("{sign}{whole}.{fraction:0width$}", width = digits as usize);
    text.trim_end_matches('0').to_owned()
}

impl Add for MediaDuration {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self::new(self.ticks.saturating_add(other.rescale(self.timescale).ticks), self.timescale)
    }
}

impl Sub for MediaDuration {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self::new(self.ticks.saturating_sub(other.rescale(self.timescale).ticks), self.timescale)
    }
}

/// A UTC instant: nanoseconds since 1970-01-01T00:00:00Z, leap seconds not counted (POSIX).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UtcTime {
    nanos: i64,
}

impl UtcTime {
    /// `nanos` since the Unix epoch.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self { nanos }
    }

    /// Nanoseconds since the Unix epoch.
    pub const fn nanos(self) -> i64 {
        self.nanos
    }

    /// Milliseconds since the Unix epoch, rounded down.
    pub const fn millis(self) -> i64 {
        self.nanos.div_euclid(1_000_000)
    }

    /// The instant a `SystemTime` names.
    pub fn from_system(time: std::time::SystemTime) -> Self {
        match time.duration_since(std::time::UNIX_EPOCH) {
            Ok(after) => Self::from_nanos(i64::try_from(after.as_nanos()).unwrap_or(i64::MAX)),
            Err(before) => Self::from_nanos(-i64::try_from(before.duration().as_nanos()).unwrap_or(i64::MAX)),
        }
    }

    /// This instant as a point of a Unix-time media timeline.
    pub fn media_time(self, timescale: Timescale) -> MediaTime {
        MediaTime::new(self.nanos, Timescale::NANOS).rescale(timescale)
    }

    /// Time since `earlier`; zero if it is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.nanos.saturating_sub(earlier.nanos)).unwrap_or(0))
    }

    /// RFC 3339 with milliseconds, rounded to the nearest: `2026-11-21T10:00:00.000Z`.
    pub fn rfc3339_millis(self) -> String {
        let millis = div_round(i128::from(self.nanos), 1_000_000);
        let seconds = saturate(millis.div_euclid(1_000));
        let (year, month, day, hour, minute, second) = civil(seconds);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", millis.rem_euclid(1_000))
    }

    /// Reads RFC 3339 / ISO 8601 with `Z`, `±hh:mm` or `±hhmm` and any number of fractional digits; a missing zone is UTC.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (date, time) = text.split_once(['T', ' ', 't'])?;
        let mut fields = date.splitn(3, '-');
        let year: i64 = fields.next()?.parse().ok()?;
        let month: i64 = fields.next()?.parse().ok()?;
        let day: i64 = fields.next()?.parse().ok()?;
        let (clock, zone_seconds) = split_zone(time)?;
        let mut fields = clock.splitn(3, ':');
        let hour: i64 = fields.next()?.parse().ok()?;
        let minute: i64 = fields.next()?.parse().ok()?;
        let (second, fraction) = match fields.next()?.split_once('.') {
            Some((whole, fraction)) => (whole.parse::<i64>().ok()?, fraction_nanos(fraction)?),
            None => (0, 0),
        };
        let second = if fraction == 0 && second == 0 {
            clock.rsplit(':').next()?.split('.').next()?.parse().ok()?
        } else {
            second
        };
        let in_range = (0..=9999).contains(&year)
            && (1..=12).contains(&month)
            && (1..=31).contains(&day)
            && (0..=24).contains(&hour)
            && (0..=59).contains(&minute)
            && (0..=60).contains(&second);
        if !in_range {
            return None;
        }
        let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - zone_seconds;
        let nanos = i128::from(seconds) * NANOS_PER_SECOND + i128::from(fraction);
        i64::try_from(nanos).ok().map(Self::from_nanos)
    }
}

impl Add<Duration> for UtcTime {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        Self::from_nanos(self.nanos.saturating_add(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for UtcTime {
    type Output = Self;
    fn sub(self, duration: Duration) -> Self {
        Self::from_nanos(self.nanos.saturating_sub(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for UtcTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339_millis())
    }
}

fn fraction_nanos(digits: &str) -> Option<i64> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits = &digits[..digits.len().min(9)];
    let value: i64 = digits.parse().ok()?;
    Some(value * 10_i64.pow(9 - u32::try_from(digits.len()).ok()?))
}

fn split_zone(time: &str) -> Option<(&str, i64)> {
    if let Some(clock) = time.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let Some(at) = time.rfind(['+', '-']) else { return Some((time, 0)) };
    let (clock, zone) = time.split_at(at);
    let digits: String = zone[1..].chars().filter(char::is_ascii_digit).collect();
    if digits.len() != 4 {
        return None;
    }
    let seconds = digits[..2].parse::<i64>().ok()? * 3_600 + digits[2..].parse::<i64>().ok()? * 60;
    Some((clock, if zone.starts_with('-') { -seconds } else { seconds }))
}

/// Days since 1970-01-01 of a proleptic Gregorian date (Howard Hinnant's algorithm).
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

const fn civil(seconds: i64) -> (i64, i64, i64, i64, i64, i64) {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let mp = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day, rest / 3_600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scale(n: u32) -> Timescale {
        Timescale::new(n).unwrap()
    }

    #[test]
    fn decimals_are_exact_and_bare() {
        assert_eq!(MediaDuration::new(60_060, scale(30_000)).decimal(5), "2.002");
        assert_eq!(MediaDuration::new(96_256, scale(48_000)).decimal(5), "2.00533");
        assert_eq!(MediaDuration::new(2, scale(1)).decimal(5), "2");
        assert_eq!(MediaDuration::new(1_001, scale(6_000)).decimal_ceil(5), "0.16684");
        assert_eq!(MediaDuration::new(-1, scale(4)).decimal(3), "-0.25");
    }

    #[test]
    fn utc_prints_and_reads_back() {
        let t = UtcTime::from_nanos(1_700_000_000_123_456_789);
        assert_eq!(t.to_string(), "2023-11-14T22:13:20.123Z");
        assert_eq!(UtcTime::parse("2023-11-14T22:13:20.123Z").map(UtcTime::millis), Some(1_700_000_000_123));
        assert_eq!(UtcTime::parse("2023-11-14T23:13:20+0100").map(UtcTime::millis), Some(1_700_000_000_000));
        assert_eq!(UtcTime::parse("1970-01-01T00:00:05Z").map(UtcTime::millis), Some(5_000));
        assert_eq!(UtcTime::parse("yesterday"), None);
        assert_eq!(UtcTime::parse("2023-13-14T22:13:20Z"), None);
    }

    #[test]
    fn times_of_other_timescales_compare_by_value() {
        assert_eq!(MediaTime::new(2, scale(1)), MediaTime::new(96_000, scale(48_000)));
        assert!(MediaTime::new(60_060, scale(30_000)) > MediaTime::new(2_001, Timescale::MILLIS));
    }

    proptest! {
        #[test]
        fn any_instant_survives_its_text(millis in 0_i64..4_000_000_000_000) {
            let t = UtcTime::from_nanos(millis * 1_000_000);
            prop_assert_eq!(UtcTime::parse(&t.to_string()), Some(t));
        }

        #[test]
        fn parsing_never_panics(text in "\\PC{0,40}") {
            let _ = UtcTime::parse(&text);
        }
    }
}
