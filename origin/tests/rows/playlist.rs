// SPDX-License-Identifier: Apache-2.0
//! Media playlists as an independent reader (quick-m3u8) takes them apart; a tag it does not know fails the test.

use quick_m3u8::config::ParsingOptionsBuilder;
use quick_m3u8::tag::KnownTag;
use quick_m3u8::tag::hls::Tag;
use quick_m3u8::{HlsLine, Reader};

/// A part as listed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Part {
    pub(crate) uri: String,
    pub(crate) duration: f64,
    pub(crate) independent: bool,
}

/// A segment as listed; the open one has no URI.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Segment {
    pub(crate) sequence: u64,
    /// Discontinuity sequence number.
    pub(crate) discontinuities: u64,
    pub(crate) uri: Option<String>,
    pub(crate) duration: f64,
    /// Its own `EXT-X-MAP`, else that of the segment before.
    pub(crate) map: Option<String>,
    pub(crate) discontinuity: bool,
    /// Milliseconds since the epoch.
    pub(crate) date: Option<i64>,
    pub(crate) gap: bool,
    pub(crate) parts: Vec<Part>,
}

/// `EXT-X-SERVER-CONTROL`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Control {
    pub(crate) block: bool,
    pub(crate) skip_until: f64,
    pub(crate) skip_dateranges: bool,
    pub(crate) hold_back: f64,
    pub(crate) part_hold_back: f64,
}

/// `EXT-X-RENDITION-REPORT`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Report {
    pub(crate) uri: String,
    pub(crate) last: u64,
    pub(crate) part: Option<u64>,
}

/// A media playlist.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Playlist {
    pub(crate) text: String,
    pub(crate) version: u64,
    pub(crate) target: u64,
    pub(crate) sequence: u64,
    pub(crate) discontinuity_sequence: u64,
    pub(crate) control: Option<Control>,
    pub(crate) part_target: Option<f64>,
    pub(crate) skipped: Option<u64>,
    pub(crate) segments: Vec<Segment>,
    /// Parts after the last whole segment.
    pub(crate) open: Option<Segment>,
    /// Type and URI.
    pub(crate) hints: Vec<(String, String)>,
    pub(crate) reports: Vec<Report>,
    pub(crate) ended: bool,
    pub(crate) typed: bool,
}

impl Playlist {
    /// Reads a media playlist.
    pub(crate) fn read(text: &str) -> Self {
        let mut this = Self { text: text.to_owned(), ..Self::default() };
        let options = ParsingOptionsBuilder::new().with_parsing_for_all_tags().build();
        let mut reader = Reader::from_str(text, options);
        let mut segment = Segment::default();
        let mut begun = false;
        let mut map = None;
        while let Some(line) = reader.read_line().unwrap_or_else(|e| panic!("expected a playlist: {e}: {text}")) {
            let tag = match line {
                HlsLine::KnownTag(KnownTag::Hls(tag)) => tag,
                HlsLine::Uri(uri) => {
                    segment.uri = Some(uri.into_owned());
                    this.close(&mut segment, &mut map);
                    begun = false;
                    continue;
                }
                other => panic!("expected a known tag, got {other:?} in {text}"),
            };
            begun |= this.take(tag, &mut segment);
        }
        if begun {
            this.number(&mut segment, &mut map);
            this.open = Some(segment);
        }
        this
    }

    /// Takes a tag; true if it belongs to a segment.
    fn take(&mut self, tag: Tag<'_>, segment: &mut Segment) -> bool {
        let before_parts = || assert!(segment.parts.is_empty(), "expected {tag:?} before the segment's first part");
        match &tag {
            Tag::Version(v) => self.version = v.version(),
            Tag::Targetduration(t) => self.target = t.target_duration(),
            Tag::MediaSequence(s) => self.sequence = s.media_sequence(),
            Tag::DiscontinuitySequence(s) => self.discontinuity_sequence = s.discontinuity_sequence(),
            Tag::Endlist(_) => self.ended = true,
            Tag::PlaylistType(_) => self.typed = true,
            Tag::PartInf(p) => self.part_target = Some(p.part_target()),
            Tag::ServerControl(c) => {
                self.control = Some(Control {
                    block: c.can_block_reload(),
                    skip_until: c.can_skip_until().unwrap_or(0.0),
                    skip_dateranges: c.can_skip_dateranges(),
                    hold_back: c.hold_back().unwrap_or(0.0),
                    part_hold_back: c.part_hold_back().unwrap_or(0.0),
                });
            }
            Tag::Skip(s) => {
                assert!(self.skipped.is_none(), "expected one EXT-X-SKIP");
                self.skipped = Some(s.skipped_segments());
            }
            Tag::PreloadHint(h) => self.hints.push((h.hint_type().to_string(), h.uri().to_owned())),
            Tag::RenditionReport(r) => {
                self.reports.push(Report { uri: r.uri().to_owned(), last: r.last_msn(), part: r.last_part() });
            }
            Tag::Inf(i) => segment.duration = i.duration(),
            Tag::Discontinuity(_) => {
                before_parts();
                segment.discontinuity = true;
            }
            Tag::Map(m) => {
                before_parts();
                segment.map = Some(m.uri().to_owned());
            }
            Tag::ProgramDateTime(d) => {
                before_parts();
                segment.date = Some(instant(&d.program_date_time()));
            }
            Tag::Gap(_) => segment.gap = true,
            Tag::Part(p) => {
                let (uri, duration) = (p.uri().to_owned(), p.duration());
                segment.parts.push(Part { uri, duration, independent: p.independent() });
            }
            _ => {}
        }
        matches!(
            tag,
            Tag::Inf(_) | Tag::Discontinuity(_) | Tag::Map(_) | Tag::ProgramDateTime(_) | Tag::Gap(_) | Tag::Part(_)
        )
    }

    fn number(&mut self, segment: &mut Segment, map: &mut Option<String>) {
        segment.sequence = self.next_sequence();
        let before = self.segments.last().map_or(self.discontinuity_sequence, |s| s.discontinuities);
        segment.discontinuities = before + u64::from(segment.discontinuity);
        *map = segment.map.take().or_else(|| map.take());
        segment.map.clone_from(map);
    }

    fn close(&mut self, segment: &mut Segment, map: &mut Option<String>) {
        self.number(segment, map);
        self.segments.push(std::mem::take(segment));
    }

    /// The number after the last whole segment's.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.sequence + self.skipped.unwrap_or(0) + self.segments.len() as u64
    }

    /// Parts of the open segment.
    pub(crate) fn open_parts(&self) -> &[Part] {
        self.open.as_ref().map_or(&[], |open| &open.parts)
    }

    /// Whole segments and the open one.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().chain(&self.open)
    }

    pub(crate) fn segment(&self, sequence: u64) -> Option<&Segment> {
        self.all().find(|s| s.sequence == sequence)
    }

    /// The newest segment and part listed.
    pub(crate) fn newest(&self) -> (u64, u64) {
        let newest = self.all().last().unwrap_or_else(|| panic!("expected a segment in {}", self.text));
        (newest.sequence, (newest.parts.len() as u64).saturating_sub(1))
    }

    /// Every URI of media that it names: maps, segments, parts.
    pub(crate) fn uris(&self) -> Vec<String> {
        let mut uris: Vec<String> = Vec::new();
        for segment in self.all() {
            let map = segment.map.iter().filter(|m| !uris.contains(m)).cloned().collect::<Vec<_>>();
            uris.extend(map);
            uris.extend(segment.uri.iter().filter(|_| !segment.gap).cloned());
            uris.extend(segment.parts.iter().map(|p| p.uri.clone()));
        }
        uris
    }

    /// The URI of the hint of that type.
    pub(crate) fn hint(&self, kind: &str) -> Option<&str> {
        self.hints.iter().find(|(k, _)| k == kind).map(|(_, uri)| uri.as_str())
    }

    /// When its newest sample ends, in milliseconds since the epoch.
    pub(crate) fn end_ms(&self) -> f64 {
        let newest = self.all().last().expect("a segment");
        let parts: f64 = newest.parts.iter().map(|p| p.duration).sum();
        let length = if newest.uri.is_some() { newest.duration } else { parts };
        newest.date.expect("a date") as f64 + length * 1_000.0
    }
}

fn instant(date: &quick_m3u8::date::DateTime) -> i64 {
    let (month, day) = (i64::from(date.date_month), i64::from(date.date_mday));
    // Days since the epoch in the civil calendar, years counted from March.
    let year = i64::from(date.date_fullyear) - i64::from(month <= 2);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + of_year - 719_468;
    assert_eq!((date.timezone_offset.time_hour, date.timezone_offset.time_minute), (0, 0), "dates are UTC");
    let minutes = i64::from(date.time_hour) * 60 + i64::from(date.time_minute);
    (days * 86_400 + minutes * 60) * 1_000 + (date.time_second * 1_000.0).round() as i64
}
