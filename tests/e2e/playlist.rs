// SPDX-License-Identifier: Apache-2.0
//! A strict reader of playlists, written against the specification alone: it shares nothing with what writes them.
//!
//! Times are nanoseconds. An unknown tag, an attribute without a value or a tag in the wrong place is an error.

use std::collections::BTreeMap;

/// One media playlist as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Playlist {
    pub(crate) version: u64,
    pub(crate) target: i64,
    pub(crate) part_target: Option<i64>,
    pub(crate) control: Attributes,
    pub(crate) media_sequence: u64,
    pub(crate) discontinuity_sequence: u64,
    pub(crate) independent: bool,
    pub(crate) i_frames: bool,
    /// `SKIPPED-SEGMENTS`.
    pub(crate) skipped: usize,
    pub(crate) segments: Vec<Segment>,
    /// What stands after the last whole segment; its `uri` is empty.
    pub(crate) open: Segment,
    pub(crate) hints: Vec<Attributes>,
    pub(crate) reports: Vec<Attributes>,
    pub(crate) ended: bool,
}

/// A segment and what stands before its URI.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) uri: String,
    pub(crate) duration: i64,
    /// PROGRAM-DATE-TIME.
    pub(crate) date: Option<i64>,
    /// EXT-X-MAP that stands at this segment.
    pub(crate) map: Option<String>,
    pub(crate) discontinuity: bool,
    pub(crate) gap: bool,
    pub(crate) byte_range: Option<String>,
    pub(crate) parts: Vec<Part>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) uri: String,
    pub(crate) duration: i64,
    pub(crate) independent: bool,
    pub(crate) gap: bool,
}

pub(crate) type Attributes = BTreeMap<String, String>;

impl Playlist {
    /// Reads a media playlist.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        if lines.next() != Some("#EXTM3U") || !text.ends_with('\n') {
            return Err(format!("expected #EXTM3U first and a newline last in {text:?}"));
        }
        let mut this = Self::default();
        let mut next = Segment::default();
        for line in lines {
            let tail = !this.hints.is_empty() || !this.reports.is_empty() || this.ended;
            let media = !this.segments.is_empty() || next != Segment::default();
            let (tag, value) = line.split_once(':').unwrap_or((line, ""));
            let number = || value.parse::<u64>().map_err(|e| format!("{line}: {e}"));
            match tag {
                "" => {}
                "#EXT-X-VERSION"
                | "#EXT-X-TARGETDURATION"
                | "#EXT-X-PART-INF"
                | "#EXT-X-SERVER-CONTROL"
                | "#EXT-X-MEDIA-SEQUENCE"
                | "#EXT-X-DISCONTINUITY-SEQUENCE"
                | "#EXT-X-SKIP"
                    if media || tail =>
                {
                    return Err(format!("{line}: expected before the first segment"));
                }
                "#EXT-X-VERSION" => this.version = number()?,
                "#EXT-X-TARGETDURATION" => {
                    this.target = i64::try_from(number()?).map_err(|e| e.to_string())? * 1_000_000_000
                }
                "#EXT-X-MEDIA-SEQUENCE" => this.media_sequence = number()?,
                "#EXT-X-DISCONTINUITY-SEQUENCE" => this.discontinuity_sequence = number()?,
                "#EXT-X-INDEPENDENT-SEGMENTS" => this.independent = true,
                "#EXT-X-I-FRAMES-ONLY" => this.i_frames = true,
                "#EXT-X-SERVER-CONTROL" => this.control = attributes(value)?,
                "#EXT-X-PART-INF" => this.part_target = Some(nanos(wanted(&attributes(value)?, "PART-TARGET", line)?)?),
                "#EXT-X-SKIP" => {
                    let skipped = wanted(&attributes(value)?, "SKIPPED-SEGMENTS", line)?.parse::<usize>();
                    this.skipped = skipped.map_err(|e| format!("{line}: {e}"))?;
                }
                "#EXT-X-PRELOAD-HINT" => this.hints.push(attributes(value)?),
                "#EXT-X-RENDITION-REPORT" => this.reports.push(attributes(value)?),
                "#EXT-X-ENDLIST" => this.ended = true,
                _ if tail => {
                    return Err(format!("{line}: expected nothing but hints and reports after the first of them"));
                }
                "#EXTINF" => next.duration = nanos(value.trim_end_matches(','))?,
                "#EXT-X-PROGRAM-DATE-TIME" => {
                    next.date = Some(date(value).ok_or_else(|| format!("{line}: not a date"))?)
                }
                "#EXT-X-DISCONTINUITY" => next.discontinuity = true,
                "#EXT-X-GAP" => next.gap = true,
                "#EXT-X-BYTERANGE" => next.byte_range = Some(value.to_owned()),
                "#EXT-X-MAP" if next.parts.is_empty() => {
                    next.map = Some(wanted(&attributes(value)?, "URI", line)?.to_owned())
                }
                "#EXT-X-PART" => next.parts.push(part(value)?),
                _ if tag.starts_with('#') => return Err(format!("{line}: an unknown tag, or one out of place")),
                _ => {
                    next.uri = line.to_owned();
                    this.segments.push(std::mem::take(&mut next));
                }
            }
        }
        this.open = next;
        Ok(this)
    }

    /// Number of the first segment that stands here, skipped ones not counted.
    pub(crate) fn first(&self) -> u64 {
        self.media_sequence + self.skipped as u64
    }

    /// Number of the segment after the last whole one.
    pub(crate) fn next(&self) -> u64 {
        self.first() + self.segments.len() as u64
    }

    /// Segments with their numbers.
    pub(crate) fn numbered(&self) -> impl DoubleEndedIterator<Item = (u64, &Segment)> {
        let first = self.first();
        self.segments.iter().enumerate().map(move |(i, s)| (first + i as u64, s))
    }

    /// Newest segment number and part count in it: what a playlist's age is told by.
    pub(crate) fn edge(&self) -> (u64, usize) {
        (self.next(), self.open.parts.len())
    }

    pub(crate) fn hint(&self, kind: &str) -> Option<&str> {
        let of_kind = self.hints.iter().find(|h| h.get("TYPE").is_some_and(|t| t == kind));
        of_kind.and_then(|h| h.get("URI")).map(String::as_str)
    }

    /// Sum of the whole segments' durations.
    pub(crate) fn duration(&self) -> i64 {
        self.segments.iter().map(|s| s.duration).sum()
    }

    /// This delta laid over `base`, as a client does it (rfc8216bis, 6.3.7).
    pub(crate) fn merged(&self, base: &Self) -> Result<Self, String> {
        let from = usize::try_from(self.media_sequence.checked_sub(base.first()).ok_or("the base begins too late")?);
        let from = from.map_err(|e| e.to_string())?;
        let kept = base.segments.get(from..from + self.skipped).ok_or("the base lacks what is skipped")?;
        let mut whole = self.clone();
        // What may be skipped is older than what may have parts.
        whole.segments.splice(0..0, kept.iter().map(|s| Segment { parts: Vec::new(), ..s.clone() }));
        whole.skipped = 0;
        Ok(whole)
    }

    /// The playlist with the header of every segment at every segment: a delta repeats it where the full one does not.
    pub(crate) fn spelt_out(mut self) -> Self {
        let mut map = None;
        for segment in &mut self.segments {
            let own = segment.map.take().or_else(|| map.clone());
            segment.map.clone_from(&own);
            map = own;
        }
        let own = self.open.map.take().or(map);
        self.open.map = own;
        self
    }

    /// What the rules forbid in any single version (ll-hls rules for live media playlists); empty if all is well.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut rule = |holds: bool, text: String| {
            if !holds {
                faults.push(text);
            }
        };
        let control = |name: &str| self.control.get(name).and_then(|v| nanos(v).ok()).unwrap_or(0);
        let second = 1_000_000_000;
        rule(self.version >= 6, format!("version {}", self.version));
        rule(self.skipped == 0 || self.version >= 9, "EXT-X-SKIP wants version 9".into());
        rule(
            self.control.is_empty() || control("CAN-SKIP-UNTIL") >= 6 * self.target,
            "CAN-SKIP-UNTIL under 6 targets".into(),
        );
        rule(self.control.is_empty() || control("HOLD-BACK") >= 3 * self.target, "HOLD-BACK under 3 targets".into());
        if let Some(part) = self.part_target {
            rule(control("PART-HOLD-BACK") >= 3 * part, "PART-HOLD-BACK under 3 part targets".into());
            rule(
                self.ended || self.control.get("CAN-BLOCK-RELOAD").is_some_and(|v| v == "YES"),
                "no CAN-BLOCK-RELOAD".into(),
            );
        }
        for (number, segment) in self.numbered() {
            rule(
                (segment.duration + second / 2) / second * second <= self.target,
                format!("segment {number} above target"),
            );
            rule(segment.duration > 0, format!("segment {number} without duration"));
            rule(segment.date.is_some(), format!("segment {number} without date"));
            let parts: i64 = segment.parts.iter().map(|p| p.duration).sum();
            let count = i64::try_from(segment.parts.len()).unwrap_or(0);
            let rounding = 10_000 * (count + 1);
            rule(
                count == 0 || (parts - segment.duration).abs() <= rounding,
                format!("segment {number}: parts make {parts}"),
            );
        }
        let first = self.segments.first().unwrap_or(&self.open);
        rule(first.map.is_some(), "no EXT-X-MAP at the first segment".into());
        for pair in self.segments.windows(2) {
            let (Some(a), Some(b)) = (pair[0].date, pair[1].date) else { continue };
            let error = b - a - pair[0].duration;
            rule(
                pair[1].discontinuity || error.abs() <= 1_000_000,
                format!("{}: the next date is {error} ns off", pair[0].uri),
            );
        }
        if let (Some(last), Some(date)) = (self.segments.last(), self.open.date) {
            let error = date - last.date.unwrap_or(0) - last.duration;
            rule(
                error.abs() <= 1_000_000 || self.open.discontinuity,
                format!("the open segment's date is {error} ns off"),
            );
        }
        self.part_faults(&mut rule);
        faults
    }

    fn part_faults(&self, rule: &mut impl FnMut(bool, String)) {
        let Some(target) = self.part_target else {
            rule(
                self.open.parts.is_empty() && self.segments.iter().all(|s| s.parts.is_empty()),
                "parts without PART-INF".into(),
            );
            return;
        };
        let mut after: i64 = self.open.parts.iter().map(|p| p.duration).sum();
        let mut all: Vec<(&Part, bool)> = Vec::new();
        for segment in self.segments.iter().rev() {
            let count = segment.parts.len();
            rule(count == 0 || after < 3 * self.target, format!("{}: parts three targets from the end", segment.uri));
            rule(
                count > 0 || segment.gap || after >= 3 * self.target,
                format!("{}: no parts near the end", segment.uri),
            );
            all.extend(segment.parts.iter().enumerate().map(|(i, p)| (p, i + 1 == count)));
            after += segment.duration;
        }
        all.extend(self.open.parts.iter().map(|p| (p, false)));
        for (part, last) in all {
            // Printed in hundred-thousandths: half of one either way.
            rule(part.duration <= target + 10_000, format!("{} longer than the part target", part.uri));
            let long = part.duration * 100 >= target * 85;
            rule(
                long || last || part.independent || part.gap,
                format!("{}: {} ns is under 85 % of the part target", part.uri, part.duration),
            );
        }
        rule(self.open.parts.is_empty() || self.open.date.is_some(), "the open segment has no date".into());
        let hints = self.hints.iter().filter(|h| h.get("TYPE").is_some_and(|t| t == "PART")).count();
        rule(hints == usize::from(!self.ended), format!("{hints} part hints"));
        rule(
            self.hints.iter().filter(|h| h.get("TYPE").is_some_and(|t| t == "MAP")).count() <= 1,
            "two map hints".into(),
        );
    }
}

fn part(value: &str) -> Result<Part, String> {
    let attributes = attributes(value)?;
    let yes = |name: &str| attributes.get(name).is_some_and(|v| v == "YES");
    Ok(Part {
        uri: wanted(&attributes, "URI", value)?.to_owned(),
        duration: nanos(wanted(&attributes, "DURATION", value)?)?,
        independent: yes("INDEPENDENT"),
        gap: yes("GAP"),
    })
}

fn wanted<'a>(attributes: &'a Attributes, name: &str, line: &str) -> Result<&'a str, String> {
    attributes.get(name).map(String::as_str).ok_or_else(|| format!("{line}: expected {name}"))
}

/// An attribute list; quotes are taken off.
pub(crate) fn attributes(text: &str) -> Result<Attributes, String> {
    let mut found = Attributes::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or_else(|| format!("{text}: expected NAME=VALUE"))?;
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => {
                let (value, after) = quoted.split_once('"').ok_or_else(|| format!("{text}: an open quote"))?;
                (value, after)
            }
            None => after.split_at(after.find(',').unwrap_or(after.len())),
        };
        let known = found.insert(name.to_owned(), value.to_owned());
        if known.is_some() || !name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-') {
            return Err(format!("{text}: {name} twice, or not a name"));
        }
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    Ok(found)
}

/// A decimal number of seconds.
pub(crate) fn nanos(text: &str) -> Result<i64, String> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let wrong = || format!("{text}: expected decimal seconds");
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let whole: i64 = whole.parse().map_err(|_| wrong())?;
    let fraction: i64 = format!("{fraction:0<9}").parse().map_err(|_| wrong())?;
    Ok(whole * 1_000_000_000 + fraction)
}

/// `2024-02-29T12:00:00.000Z` in nanoseconds of Unix time.
pub(crate) fn date(text: &str) -> Option<i64> {
    let (day, time) = text.strip_suffix('Z')?.split_once('T')?;
    let day: Vec<i64> = day.split('-').map(|n| n.parse().ok()).collect::<Option<_>>()?;
    let [year, month, day] = day[..] else { return None };
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let clock: Vec<i64> = clock.split(':').map(|n| n.parse().ok()).collect::<Option<_>>()?;
    let [hours, minutes, seconds] = clock[..] else { return None };
    // Days of the civil calendar since 1970, years beginning in March.
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    let whole = ((days * 24 + hours) * 60 + minutes) * 60 + seconds;
    Some(whole * 1_000_000_000 + nanos(&format!("0.{fraction}")).ok()?)
}

/// One line of a multivariant playlist that names a media playlist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rendition {
    /// `#EXT-X-STREAM-INF`, `#EXT-X-MEDIA` or `#EXT-X-I-FRAME-STREAM-INF`.
    pub(crate) tag: String,
    pub(crate) attributes: Attributes,
    pub(crate) uri: String,
}

/// Every media playlist that a multivariant playlist names.
pub(crate) fn renditions(text: &str) -> Result<Vec<Rendition>, String> {
    let mut found = Vec::new();
    let mut stream = None;
    for line in text.lines() {
        let (tag, value) = line.split_once(':').unwrap_or((line, ""));
        match tag {
            "#EXT-X-STREAM-INF" => stream = Some(attributes(value)?),
            "#EXT-X-MEDIA" | "#EXT-X-I-FRAME-STREAM-INF" => {
                let attributes = attributes(value)?;
                if let Some(uri) = attributes.get("URI").cloned() {
                    found.push(Rendition { tag: tag.to_owned(), attributes, uri });
                }
            }
            _ if line.starts_with('#') || line.is_empty() => {}
            _ => {
                let attributes = stream.take().ok_or_else(|| format!("{line}: a variant without EXT-X-STREAM-INF"))?;
                found.push(Rendition { tag: "#EXT-X-STREAM-INF".to_owned(), attributes, uri: line.to_owned() });
            }
        }
    }
    Ok(found)
}

#[test]
fn dates_and_decimals_are_read_to_the_nanosecond() {
    assert_eq!(date("1970-01-01T00:00:00.000Z"), Some(0));
    assert_eq!(date("2024-02-29T12:00:01.250Z"), Some(1_709_208_001_250_000_000));
    assert_eq!(nanos("2.002"), Ok(2_002_000_000));
    assert!(nanos("2,0").is_err() && nanos("").is_err());
}

#[test]
fn a_tag_out_of_place_is_refused() {
    let head = "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n";
    assert!(Playlist::read(&format!("{head}#EXTINF:2.0,\n1.m4s\n#EXT-X-MEDIA-SEQUENCE:1\n")).is_err());
    assert!(Playlist::read(&format!("{head}#EXT-X-UNHEARD-OF:1\n")).is_err());
    let read = Playlist::read(&format!("{head}#EXTINF:2.0,\n1.m4s\n")).unwrap();
    assert_eq!((read.segments.len(), read.duration()), (1, 2_000_000_000));
}
