// SPDX-License-Identifier: Apache-2.0
//! DASH MPDs, any origin's: what they tell of the live edge and how they name segments (ISO/IEC 23009-1, 5.3).
//!
//! Tolerant: an attribute that cannot be read counts as absent. Text that is no XML is no MPD.

use std::time::Duration;

use headwater_media::UtcTime;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::next::{Addressing, Names, Template};
use super::progress::{Dash, Position, Progress};

/// Representations whose names are remembered.
const TEMPLATES_MAX: usize = 256;
const DEPTH_MAX: usize = 64;
const ATTRIBUTES_MAX: usize = 64;
const VALUE_BYTES_MAX: usize = 2_048;
/// How often an MPD that does not say it is expected to change.
const TARGET: Duration = Duration::from_secs(10);

/// A SegmentTemplate as far as one level of the tree tells it.
#[derive(Clone, Debug, Default)]
struct Told {
    media: Option<String>,
    timescale: Option<u64>,
    duration: Option<u64>,
    number: Option<u64>,
    end_number: Option<u64>,
    offset: Option<u64>,
    early_seconds: Option<String>,
    timeline: Option<Timeline>,
}

/// A SegmentTimeline: where it begins and ends.
#[derive(Clone, Copy, Debug, Default)]
struct Timeline {
    first: Option<u64>,
    end: u64,
    segments: u64,
    last_duration: u64,
    /// The last run goes on to the end of the Period: its end is not told.
    open: bool,
}

/// Which element a SegmentTemplate belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Period,
    Set,
    Representation,
}

#[derive(Debug, Default)]
struct Walk {
    at: Dash,
    seen_mpd: bool,
    update_us: Option<i64>,
    segment_us: Option<i64>,
    kept_us: Option<i64>,
    /// Where the last Period ends if it says so: where the next one begins.
    period_end_us: Option<i64>,
    levels: [Told; 3],
    level: usize,
    representation: (String, String),
    templates: Vec<Template>,
}

/// Reads an MPD; `None` for anything else.
pub(super) fn scan(text: &[u8]) -> Option<Progress> {
    let text = std::str::from_utf8(text).ok()?;
    if !text.trim_start().starts_with('<') {
        return None;
    }
    let mut reader = Reader::from_str(text);
    let mut walk = Walk::default();
    let mut depth = 0usize;
    loop {
        match reader.read_event().ok()? {
            Event::Start(element) => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return None;
                }
                walk.open(&element)?;
            }
            Event::Empty(element) => {
                walk.open(&element)?;
                walk.close(element.local_name().as_ref());
            }
            Event::End(element) => {
                depth = depth.saturating_sub(1);
                walk.close(element.local_name().as_ref());
            }
            Event::Eof => break,
            _ => {}
        }
    }
    walk.finish()
}

impl Walk {
    fn open(&mut self, element: &BytesStart) -> Option<()> {
        let name = element.local_name();
        let name = name.as_ref();
        if !self.seen_mpd && name != "MPD" {
            return None;
        }
        match name {
            "MPD" => self.open_mpd(element),
            "Period" => self.open_period(element),
            "AdaptationSet" => self.enter(Level::Set),
            "Representation" => {
                self.enter(Level::Representation);
                let get = |name| attribute(element, name).unwrap_or_default();
                self.representation = (get("id"), get("bandwidth"));
            }
            "SegmentTemplate" => self.open_template(element),
            "S" => self.open_run(element),
            _ => {}
        }
        Some(())
    }

    fn close(&mut self, name: &str) {
        match name {
            "Representation" => {
                self.name_segments();
                self.level = Level::Set as usize;
            }
            "AdaptationSet" => self.level = Level::Period as usize,
            _ => {}
        }
    }

    fn enter(&mut self, level: Level) {
        self.level = level as usize;
        self.levels[self.level] = Told::default();
    }

    fn open_mpd(&mut self, element: &BytesStart) {
        self.seen_mpd = true;
        let date = |name| attribute(element, name).and_then(|text| UtcTime::parse(&text)).map(UtcTime::millis);
        let duration = |name| attribute(element, name).and_then(|text| duration_us(&text));
        self.at.start_ms = date("availabilityStartTime");
        self.at.publish_ms = date("publishTime");
        self.at.ended = attribute(element, "type").is_none_or(|kind| kind != "dynamic");
        self.update_us = duration("minimumUpdatePeriod");
        self.segment_us = duration("maxSegmentDuration");
        self.kept_us = duration("timeShiftBufferDepth");
    }

    fn open_period(&mut self, element: &BytesStart) {
        let start = attribute(element, "start").and_then(|text| duration_us(&text));
        let length = attribute(element, "duration").and_then(|text| duration_us(&text));
        let first = self.at.period_us.is_none() && self.templates.is_empty();
        self.at.period_us = start.or(self.period_end_us).or(first.then_some(0));
        self.period_end_us = self.at.period_us.zip(length).map(|(start, length)| start.saturating_add(length));
        self.at.end_us = None;
        self.levels = Default::default();
        self.level = Level::Period as usize;
    }

    fn open_template(&mut self, element: &BytesStart) {
        let number = |name| attribute(element, name).and_then(|text| text.trim().parse().ok());
        self.levels[self.level] = Told {
            media: attribute(element, "media"),
            timescale: number("timescale"),
            duration: number("duration"),
            number: number("startNumber"),
            end_number: number("endNumber"),
            offset: number("presentationTimeOffset"),
            early_seconds: attribute(element, "availabilityTimeOffset"),
            timeline: None,
        };
    }

    fn open_run(&mut self, element: &BytesStart) {
        let number = |name| attribute(element, name).and_then(|text| text.trim().parse::<u64>().ok());
        let repeat: i64 = attribute(element, "r").and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        let timeline = self.levels[self.level].timeline.get_or_insert_default();
        let (start, duration) = (number("t").unwrap_or(timeline.end), number("d").unwrap_or(0));
        let count = u64::try_from(repeat).unwrap_or(0).saturating_add(1);
        timeline.open = repeat < 0;
        timeline.first.get_or_insert(start);
        timeline.end = start.saturating_add(duration.saturating_mul(count));
        timeline.segments = timeline.segments.saturating_add(count);
        timeline.last_duration = duration;
    }

    /// What the levels tell together, the inner ones first.
    fn told(&self) -> Told {
        let [period, set, own] = &self.levels;
        fn first<T: Clone>(inner: &Option<T>, middle: &Option<T>, outer: &Option<T>) -> Option<T> {
            inner.as_ref().or(middle.as_ref()).or(outer.as_ref()).cloned()
        }
        Told {
            media: first(&own.media, &set.media, &period.media),
            timescale: first(&own.timescale, &set.timescale, &period.timescale),
            duration: first(&own.duration, &set.duration, &period.duration),
            number: first(&own.number, &set.number, &period.number),
            end_number: first(&own.end_number, &set.end_number, &period.end_number),
            offset: first(&own.offset, &set.offset, &period.offset),
            early_seconds: first(&own.early_seconds, &set.early_seconds, &period.early_seconds),
            timeline: first(&own.timeline, &set.timeline, &period.timeline),
        }
    }

    fn name_segments(&mut self) {
        let told = self.told();
        let timescale = told.timescale.filter(|scale| *scale > 0).unwrap_or(1);
        let micros =
            |ticks: u64| i64::try_from(u128::from(ticks) * 1_000_000 / u128::from(timescale)).unwrap_or(i64::MAX);
        let period_us = self.at.period_us.unwrap_or(0);
        if let Some(timeline) = told.timeline.filter(|timeline| !timeline.open) {
            let end = micros(timeline.end).saturating_sub(micros(told.offset.unwrap_or(0))).saturating_add(period_us);
            self.at.end_us = self.at.end_us.max(Some(end));
            self.segment_us = self.segment_us.max(Some(micros(timeline.last_duration)));
        }
        let duration_us = told.duration.map(micros).filter(|duration| *duration > 0);
        self.segment_us = self.segment_us.max(duration_us);
        let Some((before, by_time, after)) = told.media.as_deref().and_then(|media| self.split(media)) else { return };
        let number = told.number.unwrap_or(1);
        let addressing = match (told.timeline, told.end_number, duration_us) {
            (Some(timeline), _, _) if timeline.open => return,
            (Some(timeline), _, _) if by_time => {
                let first = timeline.first.unwrap_or(0);
                Addressing::Told {
                    first,
                    next: timeline.end,
                    ahead: timeline.last_duration.saturating_mul(2).saturating_sub(1),
                }
            }
            (Some(timeline), _, _) => {
                Addressing::Told { first: number, next: number.saturating_add(timeline.segments), ahead: 1 }
            }
            (None, Some(end), _) if !by_time => {
                Addressing::Told { first: number, next: end.saturating_add(1), ahead: 1 }
            }
            (None, None, Some(duration)) if !by_time => {
                let Some(start_ms) = self.at.start_ms else { return };
                let early = told.early_seconds.as_deref().and_then(duration_us_of).unwrap_or(0);
                Addressing::Clock {
                    number,
                    end_ms: start_ms.saturating_add(period_us.saturating_add(duration) / 1_000),
                    duration_us: duration.unsigned_abs(),
                    early_ms: early / 1_000,
                    kept_ms: self.kept_us.map(|kept| kept / 1_000),
                }
            }
            _ => return,
        };
        if self.templates.len() < TEMPLATES_MAX {
            self.templates.push(Template { before: before.into(), after: after.into(), addressing });
        }
    }

    /// A media template cut at its number or time, with what names the Representation put in. `None` if it has other
    /// variables: then its names are not known.
    fn split(&self, media: &str) -> Option<(String, bool, String)> {
        let (id, bandwidth) = &self.representation;
        let (mut before, mut after, mut by_time) = (String::new(), String::new(), None);
        for (index, piece) in media.split('$').enumerate() {
            let text = if by_time.is_none() { &mut before } else { &mut after };
            match piece.split('%').next().unwrap_or_default() {
                _ if index % 2 == 0 => text.push_str(piece),
                "" => text.push('$'),
                "RepresentationID" => text.push_str(id),
                "Bandwidth" => text.push_str(bandwidth),
                "Number" if by_time.is_none() => by_time = Some(false),
                "Time" if by_time.is_none() => by_time = Some(true),
                _ => return None,
            }
        }
        let after = after.split(['?', '#']).next().unwrap_or_default().to_owned();
        Some((before, by_time?, after))
    }

    fn finish(self) -> Option<Progress> {
        let target = self.segment_us.max(self.update_us).filter(|target| *target > 0);
        self.seen_mpd.then(|| Progress {
            position: Position::Dash(self.at),
            target: target.map_or(TARGET, |target| Duration::from_micros(target.unsigned_abs())),
            period: None,
            part_target: None,
            can_block_reload: false,
            names: Names { templates: self.templates, ..Names::default() },
        })
    }
}

fn attribute(element: &BytesStart, name: &str) -> Option<String> {
    let mut list = element.attributes();
    // Comparing each name with all before it would cost the square of a hostile element's length.
    list.with_checks(false);
    let found = list.flatten().take(ATTRIBUTES_MAX).find(|attribute| attribute.key.local_name().as_ref() == name)?;
    if found.value.len() > VALUE_BYTES_MAX {
        return None;
    }
    Some(found.normalized_value(quick_xml::XmlVersion::Implicit1_0).ok()?.into_owned())
}

/// An `xs:duration` without years and months, which have no length: `P1DT2H3M4.5S`, in microseconds.
fn duration_us(text: &str) -> Option<i64> {
    let text = text.trim().strip_prefix('P')?;
    let (days, time) = text.split_once('T').unwrap_or((text, ""));
    let mut total = 0i64;
    for (fields, units) in [(days, &[('D', 86_400)][..]), (time, &[('H', 3_600), ('M', 60), ('S', 1)][..])] {
        let mut rest = fields;
        for (unit, seconds) in units {
            let Some((value, tail)) = rest.split_once(*unit) else { continue };
            total = total.checked_add(duration_us_of(value)?.checked_mul(*seconds)?)?;
            rest = tail;
        }
        if !rest.is_empty() {
            return None;
        }
    }
    Some(total)
}

/// A decimal number of seconds, in microseconds.
fn duration_us_of(text: &str) -> Option<i64> {
    let (whole, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    if !fraction.bytes().chain(whole.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let whole: i64 = whole.parse().ok()?;
    let micros = fraction.bytes().chain(std::iter::repeat(b'0')).take(6);
    let micros = micros.fold(0, |micros, digit| micros * 10 + i64::from(digit - b'0'));
    whole.checked_mul(1_000_000)?.checked_add(micros)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Expected, Step, behind, expected, scan};
    use super::*;

    const TIMELINE: &str = r#"<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="dynamic" availabilityStartTime="1970-01-01T00:00:00Z" publishTime="2026-11-21T10:00:08.000Z" minimumUpdatePeriod="PT2S" maxSegmentDuration="PT2S" timeShiftBufferDepth="PT60S">
 <Period id="0" start="PT10S"><AdaptationSet><SegmentTemplate timescale="90000" presentationTimeOffset="900000" startNumber="7" media="$RepresentationID$/t$Time$.m4s?a=1&amp;b=2">
  <SegmentTimeline><S t="900000" d="180000" r="2"/><S d="90000"/></SegmentTimeline></SegmentTemplate>
  <Representation id="v0" bandwidth="1"/><Representation id="v1" bandwidth="2"><SegmentTemplate media="$Bandwidth$-$Number%05d$.m4s"/></Representation></AdaptationSet></Period>
</MPD>"#;

    fn at(progress: &Progress) -> Dash {
        match progress.position {
            Position::Dash(at) => at,
            Position::Hls(_) => panic!("expected DASH"),
        }
    }

    #[test]
    fn a_timeline_is_read_to_its_edge() {
        let progress = scan(TIMELINE.as_bytes()).unwrap();
        assert_eq!(at(&progress).period_us, Some(10_000_000));
        assert_eq!(at(&progress).end_us, Some(17_000_000));
        assert_eq!((at(&progress).start_ms, at(&progress).ended), (Some(0), false));
        assert_eq!(progress.target, Duration::from_secs(2));
        let now = UtcTime::from_nanos(0);
        for (path, outcome) in [
            ("/x/v0/t899999.m4s", Expected::Never),
            ("/x/v0/t900000.m4s", Expected::Listed),
            ("/x/v0/t1530000.m4s", Expected::Next),
            ("/x/v0/t1620000.m4s", Expected::Next),
            ("/x/v0/t1710000.m4s", Expected::Never),
            ("/x/v9/t1530000.m4s", Expected::Unknown),
            ("/x/2-00006.m4s", Expected::Never),
            ("/x/2-00010.m4s", Expected::Listed),
            ("/x/2-00011.m4s", Expected::Next),
            ("/x/2-00013.m4s", Expected::Never),
        ] {
            assert_eq!(expected(path, &progress, now), outcome, "{path}");
        }
        for (path, outcome) in
            [("/x/v0/t1530000.m4s", 0), ("/x/v0/t1440000.m4s", 1), ("/x/v0/t900000.m4s", 7), ("/x/2-00010.m4s", 1)]
        {
            assert_eq!(behind(path, &progress, now), Some(outcome), "{path}");
        }
        let newer = scan(TIMELINE.replace("r=\"2\"", "r=\"3\"").as_bytes()).unwrap();
        assert_eq!((newer.against(&progress), progress.against(&newer)), (Step::Forward, Step::Back));
    }

    #[test]
    fn numbers_by_the_clock_come_when_the_mpd_says() {
        let text = r#"<MPD type="dynamic" availabilityStartTime="2026-11-21T10:00:00Z" timeShiftBufferDepth="PT20S"><Period start="PT0S"><AdaptationSet>
            <SegmentTemplate timescale="1000" duration="2000" startNumber="1" availabilityTimeOffset="1.5" media="$RepresentationID$-$Number$.m4s"/><Representation id="a"/></AdaptationSet></Period></MPD>"#;
        let progress = scan(text.as_bytes()).unwrap();
        let at = |seconds: f64| {
            let start = UtcTime::parse("2026-11-21T10:00:00Z").unwrap().nanos();
            UtcTime::from_nanos(start + (seconds * 1e9) as i64)
        };
        // Segment 5 is from 8 to 10 s, available from 8.5 s on, and gone after 10 + 20 + 2 s.
        for (seconds, outcome) in [
            (6.4, Expected::Never),
            (6.5, Expected::Next),
            (8.4, Expected::Next),
            (8.5, Expected::Listed),
            (32.0, Expected::Listed),
            (32.1, Expected::Never),
        ] {
            assert_eq!(expected("/a-5.m4s", &progress, at(seconds)), outcome, "{seconds}");
        }
        for (seconds, outcome) in [(0.0, 0), (8.4, 0), (8.5, 1), (10.4, 1), (10.5, 2), (108.5, 51)] {
            assert_eq!(behind("/a-5.m4s", &progress, at(seconds)), Some(outcome), "{seconds}");
        }
        assert_eq!(expected("/a-0.m4s", &progress, at(1.0)), Expected::Never);
        assert_eq!(expected("/a-18446744073709551615.m4s", &progress, at(1.0)), Expected::Never);
    }

    #[test]
    fn what_ffmpeg_writes_is_read_to_its_end() {
        let progress = scan(include_bytes!("../../../tests/vectors/dash/manifest.mpd")).unwrap();
        assert!(at(&progress).ended);
        assert_eq!(progress.target, Duration::from_secs(2));
    }

    #[test]
    fn an_open_run_and_an_unknown_variable_tell_nothing() {
        let progress = scan(TIMELINE.replace("r=\"2\"/><S d=\"90000\"", "r=\"-1\"").as_bytes()).unwrap();
        assert_eq!((at(&progress).end_us, progress.names.templates.len()), (None, 0));
        let progress = scan(TIMELINE.replace("$Time$", "$Number$.$SubNumber$").as_bytes()).unwrap();
        assert_eq!(progress.names.templates.len(), 1);
    }

    #[test]
    fn other_texts_are_none() {
        for other in ["", "<html><body/></html>", "<MPD", "<MPD type=\"dynamic\"><Period></MPD>", "{}", "<!-- -->"] {
            assert_eq!(scan(other.as_bytes()), None, "{other}");
        }
        let deep = format!("<MPD>{}", "<a>".repeat(10_000));
        assert_eq!(scan(deep.as_bytes()), None);
    }

    #[test]
    fn durations_are_read_to_the_microsecond() {
        for (text, micros) in [
            ("PT2S", Some(2_000_000)),
            ("P1DT1H1M1.5S", Some(90_061_500_000)),
            ("PT0.0000019S", Some(1)),
            ("P1Y", None),
            ("2S", None),
            ("PT-2S", None),
            ("PT99999999999999S", None),
        ] {
            assert_eq!(duration_us(text), micros, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "<MPD( [a-zA-Z]{1,9}=\"[^\"<&]{0,20}\"){0,4}>\\PC{0,80}") {
            let _ = scan(text.as_bytes());
        }

        #[test]
        fn any_numbers_are_taken(numbers in prop::collection::vec("-?[0-9]{1,20}", 8)) {
            let [t, d, r, scale, offset, number, end, early] = &numbers[..] else { unreachable!() };
            for timeline in [format!("<SegmentTimeline><S t=\"{t}\" d=\"{d}\" r=\"{r}\"/><S d=\"{d}\" r=\"{r}\"/></SegmentTimeline>"), String::new()] {
                let text = format!("<MPD type=\"dynamic\" availabilityStartTime=\"2026-11-21T10:00:00Z\" timeShiftBufferDepth=\"PT{t}S\"><Period start=\"PT{t}S\" duration=\"PT{d}S\"><AdaptationSet><SegmentTemplate duration=\"{d}\" timescale=\"{scale}\" presentationTimeOffset=\"{offset}\" startNumber=\"{number}\" endNumber=\"{end}\" availabilityTimeOffset=\"{early}\" media=\"$Number$.m4s\">{timeline}</SegmentTemplate><Representation/></AdaptationSet></Period></MPD>");
                let Some(progress) = scan(text.as_bytes()) else { continue };
                prop_assert_eq!(progress.against(&progress), Step::Same);
                let (path, now) = (format!("/{number}.m4s"), UtcTime::from_nanos(i64::MAX));
                let _ = (expected(&path, &progress, now), behind(&path, &progress, now));
            }
        }
    }
}
