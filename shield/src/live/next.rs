// SPDX-License-Identifier: Apache-2.0
//! Whether an object that an origin does not have is about to come: then a request for it is worth holding.
//!
//! What comes next is known from the newest playlist: a preload hint names it, a number in the last names counts on, an
//! MPD's template tells it. What is older than the list or further ahead will not come, and is refused at once.

use headwater_media::path::{LivePath, Object};
use headwater_media::{PartIndex, SegmentNumber, UtcTime};

use super::progress::{Hls, Position, Progress};

/// How far ahead of the newest playlist an object may be and still be held for: the shield's playlist may be one behind.
const AHEAD_MAX: u64 = 2;
/// Digits of the largest number.
const NUMBER_DIGITS_MAX: usize = 20;

/// What becomes of an object that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// It comes next.
    Next,
    /// The playlist lists it: another origin has it, or this one in a moment.
    Listed,
    /// It has left, or nobody can know its name yet.
    Never,
    /// Its name follows nothing that is known.
    Unknown,
}

/// The names that a playlist ends with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The part that the origin says comes next.
    pub hint: Option<Box<str>>,
    /// The last part.
    pub last_part: Option<Box<str>>,
    /// The part before it.
    pub before_last_part: Option<Box<str>>,
    /// The last segment.
    pub last: Option<Box<str>>,
    /// The segment before it.
    pub before_last: Option<Box<str>>,
    /// An MPD's templates, one for each Representation.
    pub templates: Vec<Template>,
}

/// How an MPD names the segments of a Representation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// What stands before the number or time.
    pub before: Box<str>,
    /// What stands after it.
    pub after: Box<str>,
    /// What the number says.
    pub addressing: Addressing,
}

/// What stands for `$Number$` or `$Time$`, and which of them are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addressing {
    /// Numbers or times told one by one, `first..next`; beyond `next`, which comes next, what is up to `ahead` off.
    Told {
        /// The first that is told.
        first: u64,
        /// The one after the last.
        next: u64,
        /// How far from `next` the next one may be.
        ahead: u64,
    },
    /// Numbers by the clock: `number` ends at `end_ms`, may be asked for `early_ms` before that, and so on every
    /// `duration_us`; it leaves `kept_ms` after its end.
    Clock {
        /// `@startNumber`.
        number: u64,
        /// When that segment ends: milliseconds since the Unix epoch.
        end_ms: i64,
        /// Length of each, in microseconds.
        duration_us: u64,
        /// `@availabilityTimeOffset`.
        early_ms: i64,
        /// `@timeShiftBufferDepth`.
        kept_ms: Option<i64>,
    },
}

/// What becomes of the object under this path (no query), going by the newest playlist that lists its like.
pub fn expected(path: &str, newest: &Progress, now: UtcTime) -> Expected {
    let expected = match newest.position {
        Position::Hls(at) => hls(path, &at, &newest.names),
        Position::Dash(_) => newest.names.templates.iter().rev().find_map(|template| template.expected(path, now)),
    };
    match expected {
        Some(Expected::Next) if newest.position.is_ended() => Expected::Never,
        Some(expected) => expected,
        None => Expected::Unknown,
    }
}

/// How many objects behind the newest an object of a playlist is, 0 and 1 being the edge; `None` if its name follows
/// nothing that is known. So the live edge is told from what somebody reads of a recording.
pub fn behind(path: &str, newest: &Progress, now: UtcTime) -> Option<u64> {
    let names = &newest.names;
    let Position::Hls(at) = newest.position else {
        return names.templates.iter().rev().find_map(|template| template.behind(path, now));
    };
    let ours = LivePath::parse(path).map(|path| path.object);
    if let Some(Object::Segment(_, number) | Object::Part(_, number, _)) = ours {
        return Some(at.next.saturating_sub(number.0));
    }
    let is = |name: &Option<Box<str>>| name.as_deref().is_some_and(|name| ends(path, name));
    if [&names.hint, &names.last_part, &names.before_last_part].into_iter().any(is) {
        return Some(0);
    }
    let segments = Series::of(names.before_last.as_deref(), names.last.as_deref());
    let offset = segments.and_then(|series| series.offset(path)).or(is(&names.last).then_some(0))?;
    u64::try_from(1 - offset.min(1)).ok()
}

fn hls(path: &str, at: &Hls, names: &Names) -> Option<Expected> {
    match LivePath::parse(path).map(|path| path.object) {
        Some(Object::Segment(_, number)) => return Some(segment(number, at)),
        Some(Object::Part(_, number, part)) => return Some(part_of(number, part, at)),
        _ => {}
    }
    let is = |name: &Option<Box<str>>| name.as_deref().is_some_and(|name| ends(path, name));
    if is(&names.hint) {
        return Some(Expected::Next);
    }
    if [&names.last, &names.before_last, &names.last_part, &names.before_last_part].into_iter().any(is) {
        return Some(Expected::Listed);
    }
    let segments = Series::of(names.before_last.as_deref(), names.last.as_deref());
    if let Some(offset) = segments.and_then(|series| series.offset(path)) {
        let listed = at.next.saturating_sub(at.first);
        return Some(by_offset(offset, listed));
    }
    let parts = Series::of(names.before_last_part.as_deref(), names.last_part.as_deref());
    // A part's number may begin anew with each segment: behind the last one nothing is known.
    parts.and_then(|series| series.offset(path)).filter(|offset| *offset > 0).map(|offset| by_offset(offset, 0))
}

fn segment(number: SegmentNumber, at: &Hls) -> Expected {
    match number.0 {
        number if number < at.first => Expected::Never,
        number if number < at.next => Expected::Listed,
        number if number - at.next < AHEAD_MAX => Expected::Next,
        _ => Expected::Never,
    }
}

fn part_of(number: SegmentNumber, part: PartIndex, at: &Hls) -> Expected {
    let (number, part) = (number.0, u64::from(part.0));
    if number != at.next {
        // The first part of the segment after the open one may be next: nobody knows how many parts this one gets.
        let first_of_following = number == at.next.saturating_add(1) && part == 0;
        return match number {
            _ if first_of_following => Expected::Next,
            number if number < at.first || number > at.next => Expected::Never,
            _ => Expected::Listed,
        };
    }
    match part {
        part if part < at.parts => Expected::Listed,
        part if part - at.parts < AHEAD_MAX => Expected::Next,
        _ => Expected::Never,
    }
}

/// `offset` objects after the last one, of which `listed` are in the list.
fn by_offset(offset: i128, listed: u64) -> Expected {
    match offset {
        offset if offset > i128::from(AHEAD_MAX) => Expected::Never,
        1.. => Expected::Next,
        offset if -offset < i128::from(listed) => Expected::Listed,
        _ => Expected::Never,
    }
}

/// Two names in a row that differ in one number.
#[derive(Debug)]
struct Series<'a> {
    before: &'a str,
    after: &'a str,
    /// Digits of the last name's number: a number written with leading zeros keeps its width.
    width: usize,
    last: u64,
    step: u64,
}

impl<'a> Series<'a> {
    fn of(before_last: Option<&str>, last: Option<&'a str>) -> Option<Self> {
        let (earlier, last) = (local(before_last?), local(last?));
        // The number begins where the first differing digits begin, whichever digit of them differs.
        let same = earlier.bytes().zip(last.bytes()).take_while(|(a, b)| a == b).count();
        let start = last.as_bytes()[..same].iter().rposition(|byte| !byte.is_ascii_digit()).map_or(0, |at| at + 1);
        let (was, was_after) = leading_number(earlier.get(start..)?)?;
        let (is, after) = leading_number(last.get(start..)?)?;
        let step = is.parse::<u64>().ok()?.checked_sub(was.parse().ok()?).filter(|step| *step > 0)?;
        let last_number = is.parse().ok()?;
        let before = last.get(..start)?;
        (was_after == after).then_some(Self { before, after, width: is.len(), last: last_number, step })
    }

    /// How many objects after the last one this path is.
    fn offset(&self, path: &str) -> Option<i128> {
        let number = between(path, self.before, self.after)?;
        if number.len() < self.width && (number.starts_with('0') || self.last.to_string().len() < self.width) {
            return None;
        }
        let number: u64 = number.parse().ok()?;
        let distance = i128::from(number) - i128::from(self.last);
        let step = i128::from(self.step);
        // A number between two of them is none of them.
        Some(if distance % step == 0 { distance / step } else { i128::MAX })
    }
}

impl Template {
    fn behind(&self, path: &str, now: UtcTime) -> Option<u64> {
        let asked: u64 = between(path, &self.before, &self.after)?.parse().ok()?;
        match self.addressing {
            Addressing::Told { next, ahead, .. } => Some(next.saturating_sub(asked).div_ceil(ahead.div_ceil(2).max(1))),
            Addressing::Clock { number, end_ms, duration_us, early_ms, .. } => {
                let since_us = (i128::from(now.millis()) - i128::from(end_ms) + i128::from(early_ms)) * 1_000;
                // The number that is available next.
                let next = i128::from(number) + since_us.div_euclid(i128::from(duration_us.max(1))) + 1;
                Some(u64::try_from(next - i128::from(asked)).unwrap_or(0))
            }
        }
    }

    fn expected(&self, path: &str, now: UtcTime) -> Option<Expected> {
        let asked: u64 = between(path, &self.before, &self.after)?.parse().ok()?;
        Some(match self.addressing {
            Addressing::Told { first, .. } if asked < first => Expected::Never,
            Addressing::Told { next, .. } if asked < next => Expected::Listed,
            Addressing::Told { next, ahead, .. } if asked - next <= ahead => Expected::Next,
            Addressing::Told { .. } => Expected::Never,
            Addressing::Clock { number, .. } if asked < number => Expected::Never,
            Addressing::Clock { number, end_ms, duration_us, early_ms, kept_ms } => {
                let after = i128::from(asked - number) * i128::from(duration_us) / 1_000;
                let end = i128::from(end_ms) + after;
                let now = i128::from(now.millis());
                let duration = i128::from(duration_us) / 1_000;
                let available = end - i128::from(early_ms);
                match kept_ms {
                    Some(kept) if now > end + i128::from(kept) + duration => Expected::Never,
                    _ if now >= available => Expected::Listed,
                    _ if available - now <= duration => Expected::Next,
                    _ => Expected::Never,
                }
            }
        })
    }
}

/// What a reference of a playlist adds to the folder it is in: no scheme, host, query, nor steps upwards.
fn local(name: &str) -> &str {
    let name = name.split(['?', '#']).next().unwrap_or_default();
    let name = match name.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => name,
    };
    let mut name = name.trim_start_matches('/');
    while let Some(rest) = name.strip_prefix("../").or_else(|| name.strip_prefix("./")) {
        name = rest;
    }
    name
}

fn ends(path: &str, name: &str) -> bool {
    let name = local(name);
    !name.is_empty() && path.strip_suffix(name).is_some_and(|folder| folder.is_empty() || folder.ends_with('/'))
}

/// The number between two texts at the end of a path; the longest where the text before it ends in digits as well.
fn between<'a>(path: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let rest = path.strip_suffix(after)?;
    let digits = rest.bytes().rev().take_while(u8::is_ascii_digit).take(NUMBER_DIGITS_MAX).count();
    (1..=digits).rev().map(|digits| rest.split_at(rest.len() - digits)).find_map(|(head, number)| {
        let folder = head.strip_suffix(before)?;
        (folder.is_empty() || folder.ends_with('/')).then_some(number)
    })
}

fn leading_number(text: &str) -> Option<(&str, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    (digits > 0).then(|| text.split_at(digits))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::scan;
    use super::*;

    const NOW: UtcTime = UtcTime::from_nanos(0);

    fn playlist(first: u64, names: &[&str]) -> Progress {
        let lines: String = names.iter().map(|name| format!("#EXTINF:2,\n{name}\n")).collect();
        scan(format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:{first}\n{lines}").as_bytes()).unwrap()
    }

    #[test]
    fn our_own_names_tell_their_numbers() {
        let at = Hls { first: 10, next: 20, parts: 2, ..Hls::default() };
        let newest = Progress { position: Position::Hls(at), ..playlist(0, &[]) };
        for (name, outcome) in [
            ("9", Expected::Never),
            ("10", Expected::Listed),
            ("19", Expected::Listed),
            ("20", Expected::Next),
            ("21", Expected::Next),
            ("22", Expected::Never),
            ("18446744073709551615", Expected::Never),
            ("19.3", Expected::Listed),
            ("9.0", Expected::Never),
            ("20.1", Expected::Listed),
            ("20.2", Expected::Next),
            ("20.3", Expected::Next),
            ("20.4", Expected::Never),
            ("21.0", Expected::Next),
            ("21.1", Expected::Never),
        ] {
            assert_eq!(expected(&format!("/live/demo/v0/{name}.m4s"), &newest, NOW), outcome, "{name}");
        }
        let ended = Progress { position: Position::Hls(Hls { ended: true, ..at }), ..newest };
        assert_eq!(expected("/live/demo/v0/20.m4s", &ended, NOW), Expected::Never);
        assert_eq!(expected("/live/demo/v0/19.m4s", &ended, NOW), Expected::Listed);
    }

    #[test]
    fn numbers_in_any_origin_s_names_count_on() {
        for (names, cases) in [
            (
                &["seg00008.ts", "seg00009.ts"][..],
                &[
                    ("/a/seg00010.ts", Expected::Next),
                    ("/a/seg00011.ts", Expected::Next),
                    ("/a/seg00012.ts", Expected::Never),
                    ("/a/seg00009.ts", Expected::Listed),
                    ("/a/seg00008.ts", Expected::Listed),
                    ("/a/seg00007.ts", Expected::Never),
                    ("/a/seg10.ts", Expected::Unknown),
                    ("/a/xseg00010.ts", Expected::Unknown),
                    ("/a/seg00010.mp4", Expected::Unknown),
                ][..],
            ),
            (
                &["../hi/9.m4s?token=a", "../hi/10.m4s?token=b"],
                &[
                    ("/x/hi/11.m4s", Expected::Next),
                    ("/x/lo/11.m4s", Expected::Unknown),
                    ("/x/hi/13.m4s", Expected::Never),
                ],
            ),
            (
                &["https://cdn.example/p/v1_t180180.ts", "https://cdn.example/p/v1_t360360.ts"],
                &[
                    ("/p/v1_t540540.ts", Expected::Next),
                    ("/p/v1_t540541.ts", Expected::Never),
                    ("/p/v2_t540540.ts", Expected::Unknown),
                ],
            ),
            (&["a.ts", "b.ts"], &[("/c.ts", Expected::Unknown), ("/b.ts", Expected::Listed)]),
            (&["5-1.ts", "6-2.ts"], &[("/7-3.ts", Expected::Unknown)]),
            (&["only1.ts"], &[("/only1.ts", Expected::Listed), ("/only2.ts", Expected::Unknown)]),
        ] {
            let newest = playlist(3, names);
            for (path, outcome) in cases {
                assert_eq!(expected(path, &newest, NOW), *outcome, "{path} after {names:?}");
            }
        }
    }

    #[test]
    fn a_hinted_part_and_the_one_after_it_come_next() {
        let text = b"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-PART:DURATION=1,URI=\"p268.0.mp4\"\n#EXT-X-PART:DURATION=1,URI=\"p268.1.mp4\"\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"p268.2.mp4\"\n";
        let newest = scan(text).unwrap();
        for (path, outcome) in [
            ("/v/p268.2.mp4", Expected::Next),
            ("/v/p268.3.mp4", Expected::Next),
            ("/v/p268.4.mp4", Expected::Never),
            ("/v/p268.1.mp4", Expected::Listed),
            ("/v/p269.0.mp4", Expected::Unknown),
        ] {
            assert_eq!(expected(path, &newest, NOW), outcome, "{path}");
        }
    }

    #[test]
    fn the_edge_is_told_from_a_recording() {
        let at = Hls { first: 10, next: 2_000, parts: 2, ..Hls::default() };
        let ours = Progress { position: Position::Hls(at), ..playlist(0, &[]) };
        let theirs = playlist(3, &["seg00098.ts", "seg00099.ts"]);
        for (path, newest, outcome) in [
            ("/live/demo/v0/2000.2.m4s", &ours, Some(0)),
            ("/live/demo/v0/2001.m4s", &ours, Some(0)),
            ("/live/demo/v0/1999.m4s", &ours, Some(1)),
            ("/live/demo/v0/1000.m4s", &ours, Some(1_000)),
            ("/a/seg00100.ts", &theirs, Some(0)),
            ("/a/seg00099.ts", &theirs, Some(1)),
            ("/a/seg00009.ts", &theirs, Some(91)),
            ("/a/other.ts", &theirs, None),
            ("/only1.ts", &playlist(0, &["only1.ts"]), Some(1)),
        ] {
            assert_eq!(behind(path, newest, NOW), outcome, "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_names_are_taken(names in prop::collection::vec("[a-c0-9./?:\u{e9}]{1,12}", 0..5), path in "/[a-c0-9./?\u{e9}]{0,14}") {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let newest = playlist(0, &names);
            let _ = (expected(&path, &newest, NOW), behind(&path, &newest, NOW));
        }

        #[test]
        fn a_series_knows_its_next(stem in "[a-z]{0,3}[0-9]{0,3}_", first in 0u64..10_000, step in 1u64..2_000, count in 2u64..6) {
            let name = |index: u64| format!("{stem}{}.ts", first + index * step);
            let names: Vec<String> = (0..count).map(name).collect();
            let newest = playlist(0, &names.iter().map(String::as_str).collect::<Vec<_>>());
            let ask = |index| expected(&format!("/folder/{}", name(index)), &newest, NOW);
            prop_assert_eq!((ask(count - 1), ask(count), ask(count + 1), ask(count + 2)), (Expected::Listed, Expected::Next, Expected::Next, Expected::Never));
        }
    }
}
