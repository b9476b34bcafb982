// SPDX-License-Identifier: Apache-2.0
//! Others' MPDs: pushed by encoders as a hint at what their segments are, or fetched from any origin to be checked.
//!
//! Tolerant on purpose, so not by way of the full model: ffmpeg's first MPDs of a live push lack attributes that the
//! schema requires, and one odd duration must not cost the rest. An attribute that cannot be read counts as absent.
//! Any input ends in a value or an error, at bounded cost; entities other than XML's own are not expanded.

pub mod patch;

use headwater_media::{MediaDuration, Timescale, UtcTime};
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use crate::decimal;

/// Longest MPD read.
pub const BYTES_MAX: usize = 4 << 20;
/// Most elements read of one MPD; a Representation counts as [`REPRESENTATION_WEIGHT`] and what it inherits.
pub const ENTRIES_MAX: usize = 100_000;
/// What a Representation counts for.
pub const REPRESENTATION_WEIGHT: usize = 100;
const DEPTH_MAX: usize = 64;
const ATTRIBUTES_MAX: usize = 64;
const ATTRIBUTE_BYTES_MAX: usize = 4_096;

/// Why a text was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Longer than [`BYTES_MAX`].
    #[error("expected at most {max} bytes, got {bytes}")]
    TooLong {
        /// [`BYTES_MAX`].
        max: usize,
        /// Length of the text.
        bytes: usize,
    },
    /// More elements than [`ENTRIES_MAX`], or nested too deep.
    #[error("expected at most {max} elements, not deeply nested")]
    TooMany {
        /// [`ENTRIES_MAX`].
        max: usize,
    },
    /// Not well-formed UTF-8 XML.
    #[error("expected well-formed XML, got an error at byte {at_bytes}")]
    Malformed {
        /// Where reading stopped.
        at_bytes: u64,
    },
    /// Well-formed, but no MPD.
    #[error("expected an MPD element at the root")]
    NotMpd,
}

impl Error {
    /// The HTTP status that answers a push of it.
    pub const fn status(&self) -> u16 {
        match self {
            Self::TooLong { .. } | Self::TooMany { .. } => 413,
            Self::Malformed { .. } | Self::NotMpd => 400,
        }
    }
}

/// An MPD.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mpd {
    /// `@id`.
    pub id: Option<String>,
    /// `@type` is `dynamic`.
    pub dynamic: bool,
    /// `@availabilityStartTime`.
    pub availability_start: Option<UtcTime>,
    /// `@publishTime`.
    pub publish_time: Option<UtcTime>,
    /// `@minimumUpdatePeriod`.
    pub minimum_update_period: Option<MediaDuration>,
    /// `@timeShiftBufferDepth`.
    pub time_shift_buffer: Option<MediaDuration>,
    /// `@mediaPresentationDuration`.
    pub duration: Option<MediaDuration>,
    /// `UTCTiming`: scheme and value, in order.
    pub utc_timing: Vec<(String, String)>,
    /// The first `BaseURL` of the MPD.
    pub base: Option<String>,
    /// The first `PatchLocation`.
    pub patch: Option<PatchLocation>,
    /// `ServiceDescription/Latency`.
    pub latency: Option<Latency>,
    /// In order.
    pub periods: Vec<Period>,
}

/// `PatchLocation`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatchLocation {
    /// As written.
    pub uri: String,
    /// `@ttl`.
    pub ttl: Option<MediaDuration>,
}

/// `ServiceDescription/Latency`, milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// `@target`.
    pub target_ms: Option<u64>,
    /// `@min`.
    pub min_ms: Option<u64>,
    /// `@max`.
    pub max_ms: Option<u64>,
}

/// A Period.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Period {
    /// `@id`.
    pub id: Option<String>,
    /// `@start`.
    pub start: Option<MediaDuration>,
    /// `@duration`.
    pub duration: Option<MediaDuration>,
    /// Of all AdaptationSets, in order.
    pub representations: Vec<Representation>,
}

/// A Representation with what it inherits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Representation {
    /// `@id`.
    pub id: String,
    /// `AdaptationSet@id`.
    pub set: Option<String>,
    /// `@contentType`, or the first half of `@mimeType` where it names one.
    pub content_type: Option<String>,
    /// `@mimeType`.
    pub mime_type: Option<String>,
    /// `@codecs`.
    pub codecs: Option<String>,
    /// `@lang`.
    pub language: Option<String>,
    /// `@bandwidth`, bits per second.
    pub bandwidth: Option<u64>,
    /// The first `BaseURL` of Period, AdaptationSet and Representation, outermost first.
    pub bases: Vec<String>,
    /// `ProducerReferenceTime` is there.
    pub producer_reference_time: bool,
    /// `Resync` is there.
    pub resync: bool,
    /// Its SegmentTemplate.
    pub template: Option<Template>,
}

/// A SegmentTemplate with what it inherits.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    /// `@timescale`.
    pub timescale: Timescale,
    /// `@duration`, in ticks.
    pub duration: Option<u64>,
    /// `@startNumber`.
    pub start_number: u64,
    /// `@presentationTimeOffset`, in ticks.
    pub presentation_time_offset: u64,
    /// `@availabilityTimeOffset`; `INF` is read as absent.
    pub availability_time_offset: Option<MediaDuration>,
    /// `@availabilityTimeComplete` is `false`: segments are there before they are whole.
    pub chunked: bool,
    /// `@endNumber`.
    pub end_number: Option<u64>,
    /// `@media`.
    pub media: Option<String>,
    /// `@initialization`.
    pub initialization: Option<String>,
    /// `SegmentTimeline`, if there is one.
    pub timeline: Option<Vec<Run>>,
    /// `FailoverContent@valid="false"`: start and length of what is lost, in ticks.
    pub lost: Vec<(u64, u64)>,
}

impl Default for Template {
    fn default() -> Self {
        Self {
            timescale: SECOND,
            duration: None,
            start_number: 1,
            presentation_time_offset: 0,
            availability_time_offset: None,
            chunked: false,
            end_number: None,
            media: None,
            initialization: None,
            timeline: None,
            lost: Vec::new(),
        }
    }
}

/// An `S` element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// `@t`, in ticks; absent where it follows the one before.
    pub time: Option<u64>,
    /// `@d`, in ticks.
    pub duration: u64,
    /// `@r`; negative until the next one or the end of the Period.
    pub repeat: i64,
}

const SECOND: Timescale = Timescale::new(1).expect("not zero");

impl Template {
    fn entries(&self) -> usize {
        self.timeline.as_ref().map_or(0, Vec::len) + self.lost.len()
    }

    /// A template's text with its identifiers replaced: `$RepresentationID$`, `$Bandwidth$`, `$Number$` and `$Time$`,
    /// these with an optional width as in `$Number%05d$`, and `$$`. Unknown identifiers stay.
    pub fn expand(template: &str, representation: &Representation, number: u64, time: u64) -> String {
        let mut text = String::with_capacity(template.len() + 16);
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('$') {
            text.push_str(before);
            let Some((identifier, tail)) = after.split_once('$') else {
                text.push('$');
                rest = after;
                break;
            };
            let (name, format) = identifier.split_once('%').unwrap_or((identifier, ""));
            match name {
                "" => text.push('$'),
                "RepresentationID" => text.push_str(&representation.id),
                "Bandwidth" => text.push_str(&padded(representation.bandwidth.unwrap_or(0), format)),
                "Number" => text.push_str(&padded(number, format)),
                "Time" => text.push_str(&padded(time, format)),
                _ => text.push_str(&format!("${identifier}$")),
            }
            rest = tail;
        }
        text.push_str(rest);
        text
    }
}

fn padded(number: u64, format: &str) -> String {
    let width = format.strip_suffix('d').and_then(|f| f.parse::<usize>().ok()).unwrap_or(0).min(20);
    format!("{number:0width$}")
}

/// Reads an MPD.
///
/// # Errors
/// [`Error`] for a text that is no MPD, or beyond the bounds.
pub fn parse(bytes: &[u8]) -> Result<Mpd, Error> {
    if bytes.len() > BYTES_MAX {
        return Err(Error::TooLong { max: BYTES_MAX, bytes: bytes.len() });
    }
    let text = std::str::from_utf8(bytes).map_err(|e| Error::Malformed { at_bytes: e.valid_up_to() as u64 })?;
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    let mut walk = Walk::default();
    loop {
        let event = reader.read_event().map_err(|_| Error::Malformed { at_bytes: reader.error_position() })?;
        match event {
            Event::Start(element) => walk.open(&element, false)?,
            Event::Empty(element) => walk.open(&element, true)?,
            Event::End(_) => walk.close(),
            Event::Text(text) => walk.text(&text.xml10_content()),
            Event::CData(text) => walk.text(&text.xml10_content()),
            Event::GeneralRef(name) => walk.text(entity(&name.xml10_content())),
            Event::Eof if walk.depth > 0 => return Err(Error::Malformed { at_bytes: reader.buffer_position() }),
            Event::Eof => break,
            _ => {}
        }
    }
    if walk.seen_mpd { Ok(walk.mpd) } else { Err(Error::NotMpd) }
}

/// XML's own entities; others are dropped.
fn entity(name: &str) -> &'static str {
    match name {
        "amp" => "&",
        "lt" => "<",
        "gt" => ">",
        "quot" => "\"",
        "apos" => "'",
        _ => "",
    }
}

/// What a level of the tree hands down.
#[derive(Clone, Default)]
struct Inherited {
    representation: Representation,
    template: Option<Template>,
    /// Its own `BaseURL` has come.
    based: bool,
}

#[derive(Default)]
struct Walk {
    mpd: Mpd,
    seen_mpd: bool,
    depth: usize,
    entries: usize,
    period: Inherited,
    set: Inherited,
    /// The Representation being read.
    current: Option<Inherited>,
    /// Elements open now, by what they mean here.
    open: Vec<Level>,
    gaps: bool,
    /// The element whose text is being read, and the text.
    words: Option<(Words, String)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Words {
    Base(Level),
    Patch(Option<MediaDuration>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Mpd,
    Period,
    Set,
    Representation,
    /// An element of words.
    Words,
    Other,
}

impl Walk {
    fn open(&mut self, element: &BytesStart, empty: bool) -> Result<(), Error> {
        let attributes = Attributes::of(element);
        let local = element.local_name();
        let name = local.as_ref();
        if self.depth == 0 && name != "MPD" {
            return Err(Error::NotMpd);
        }
        self.entries += match name {
            "Representation" => REPRESENTATION_WEIGHT + self.set.template.as_ref().map_or(0, Template::entries),
            "AdaptationSet" => 1 + self.period.template.as_ref().map_or(0, Template::entries),
            "S" | "FCS" | "Period" | "UTCTiming" => 1,
            _ => 0,
        };
        if self.entries > ENTRIES_MAX || self.depth >= DEPTH_MAX {
            return Err(Error::TooMany { max: ENTRIES_MAX });
        }
        let level = match name {
            "MPD" if self.depth == 0 => self.open_mpd(&attributes),
            "Period" if self.open.last() == Some(&Level::Mpd) => self.open_period(&attributes),
            "AdaptationSet" if self.open.last() == Some(&Level::Period) => {
                self.set = Inherited { based: false, ..self.period.clone() };
                self.set.representation.set = attributes.text("id");
                inherit(&mut self.set.representation, &attributes);
                Level::Set
            }
            "Representation" if self.open.last() == Some(&Level::Set) => {
                let mut current = Inherited { based: false, ..self.set.clone() };
                inherit(&mut current.representation, &attributes);
                current.representation.id = attributes.text("id").unwrap_or_default();
                self.current = Some(current);
                Level::Representation
            }
            "UTCTiming" => {
                let (scheme, value) = (attributes.text("schemeIdUri"), attributes.text("value"));
                self.mpd.utc_timing.push((scheme.unwrap_or_default(), value.unwrap_or_default()));
                Level::Other
            }
            "BaseURL" => {
                let of = self.open.last().copied().unwrap_or(Level::Other);
                self.words = Some((Words::Base(of), String::new()));
                Level::Words
            }
            "PatchLocation" => {
                let ttl = attributes.text("ttl").and_then(|t| decimal::seconds(&t));
                self.words = Some((Words::Patch(ttl), String::new()));
                Level::Words
            }
            _ => {
                self.open_description(name, &attributes);
                self.open_template_part(name, &attributes);
                Level::Other
            }
        };
        self.depth += 1;
        self.open.push(level);
        if empty {
            self.close();
        }
        Ok(())
    }

    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        match self.open.pop() {
            Some(Level::Representation) => {}
            Some(Level::Words) => return self.close_words(),
            _ => return,
        }
        if let (Some(mut read), Some(period)) = (self.current.take(), self.mpd.periods.last_mut()) {
            read.representation.template = read.template;
            period.representations.push(read.representation);
        }
    }

    fn text(&mut self, text: &str) {
        if let Some((_, words)) = &mut self.words
            && words.len() + text.len() <= ATTRIBUTE_BYTES_MAX
        {
            words.push_str(text);
        }
    }

    /// Only the first of each kind counts at a level: the others are alternatives.
    fn close_words(&mut self) {
        let Some((kind, words)) = self.words.take() else { return };
        let words = words.trim().to_owned();
        let level = match kind {
            Words::Patch(ttl) => {
                self.mpd.patch.get_or_insert(PatchLocation { uri: words, ttl });
                return;
            }
            Words::Base(Level::Mpd) => {
                self.mpd.base.get_or_insert(words);
                return;
            }
            Words::Base(Level::Period) => Some(&mut self.period),
            Words::Base(Level::Set) => Some(&mut self.set),
            Words::Base(Level::Representation) => self.current.as_mut(),
            Words::Base(_) => None,
        };
        if let Some(level) = level
            && !std::mem::replace(&mut level.based, true)
        {
            level.representation.bases.push(words);
        }
    }

    /// What a service says of its latency, and a set of its chunks.
    fn open_description(&mut self, name: &str, attributes: &Attributes) {
        let level = match self.open.last() {
            Some(Level::Set) => Some(&mut self.set),
            Some(Level::Representation) => self.current.as_mut(),
            _ => None,
        };
        match (name, level) {
            ("Latency", _) if self.open.len() == 2 => {
                let [target_ms, min_ms, max_ms] = ["target", "min", "max"].map(|name| attributes.number(name));
                self.mpd.latency.get_or_insert(Latency { target_ms, min_ms, max_ms });
            }
            ("ProducerReferenceTime", Some(level)) => level.representation.producer_reference_time = true,
            ("Resync", Some(level)) => level.representation.resync = true,
            _ => {}
        }
    }

    fn open_mpd(&mut self, attributes: &Attributes) -> Level {
        self.seen_mpd = true;
        self.mpd.id = attributes.text("id");
        self.mpd.dynamic = attributes.text("type").as_deref() == Some("dynamic");
        self.mpd.availability_start = attributes.text("availabilityStartTime").and_then(|t| UtcTime::parse(&t));
        self.mpd.publish_time = attributes.text("publishTime").and_then(|t| UtcTime::parse(&t));
        self.mpd.minimum_update_period = attributes.duration("minimumUpdatePeriod");
        self.mpd.time_shift_buffer = attributes.duration("timeShiftBufferDepth");
        self.mpd.duration = attributes.duration("mediaPresentationDuration");
        Level::Mpd
    }

    fn open_period(&mut self, attributes: &Attributes) -> Level {
        self.period = Inherited::default();
        self.mpd.periods.push(Period {
            id: attributes.text("id"),
            start: attributes.duration("start"),
            duration: attributes.duration("duration"),
            representations: Vec::new(),
        });
        Level::Period
    }

    /// SegmentTemplate and what is in it, at whichever level it stands.
    fn open_template_part(&mut self, name: &str, attributes: &Attributes) {
        let level = match self.open.iter().rev().find(|level| **level != Level::Other) {
            Some(Level::Period) => &mut self.period,
            Some(Level::Set) => &mut self.set,
            Some(Level::Representation) => match &mut self.current {
                Some(current) => current,
                None => return,
            },
            _ => return,
        };
        if name == "SegmentTemplate" {
            merge(level.template.get_or_insert_default(), attributes);
            return;
        }
        let Some(template) = &mut level.template else { return };
        match name {
            "SegmentTimeline" => template.timeline = Some(Vec::new()),
            "S" => {
                template.timeline.get_or_insert_default().push(run(attributes));
            }
            "FailoverContent" => self.gaps = attributes.text("valid").as_deref() == Some("false"),
            "FCS" if self.gaps => {
                template.lost.extend(attributes.number("t").map(|t| (t, attributes.number("d").unwrap_or(u64::MAX))));
            }
            _ => {}
        }
    }
}

fn run(attributes: &Attributes) -> Run {
    Run {
        time: attributes.number("t"),
        duration: attributes.number("d").unwrap_or(0),
        repeat: attributes.text("r").and_then(|r| r.trim().parse().ok()).unwrap_or(0),
    }
}

fn inherit(representation: &mut Representation, attributes: &Attributes) {
    let or = |new: Option<String>, old: &Option<String>| new.or_else(|| old.clone());
    representation.mime_type = or(attributes.text("mimeType"), &representation.mime_type);
    representation.codecs = or(attributes.text("codecs"), &representation.codecs);
    representation.language = or(attributes.text("lang"), &representation.language);
    representation.bandwidth = attributes.number("bandwidth").or(representation.bandwidth);
    let stated = attributes.text("contentType");
    let implied = representation.mime_type.as_deref().and_then(|mime| mime.split_once('/')).map(|(kind, _)| kind);
    let implied = implied.filter(|kind| ["video", "audio", "text"].contains(kind)).map(str::to_owned);
    representation.content_type = stated.or_else(|| representation.content_type.clone()).or(implied);
}

fn merge(template: &mut Template, attributes: &Attributes) {
    let scale = attributes.number("timescale").and_then(|t| u32::try_from(t).ok()).and_then(Timescale::new);
    template.timescale = scale.unwrap_or(template.timescale);
    template.duration = attributes.number("duration").or(template.duration);
    template.start_number = attributes.number("startNumber").unwrap_or(template.start_number);
    template.presentation_time_offset =
        attributes.number("presentationTimeOffset").unwrap_or(template.presentation_time_offset);
    let offset = attributes.text("availabilityTimeOffset").and_then(|t| decimal::seconds(&t));
    template.availability_time_offset = offset.or(template.availability_time_offset);
    if let Some(complete) = attributes.text("availabilityTimeComplete") {
        template.chunked = complete == "false";
    }
    template.end_number = attributes.number("endNumber").or(template.end_number);
    template.media = attributes.text("media").or_else(|| template.media.take());
    template.initialization = attributes.text("initialization").or_else(|| template.initialization.take());
}

/// An element's attributes; those that are malformed are absent.
struct Attributes(Vec<(String, String)>);

impl Attributes {
    fn of(element: &BytesStart) -> Self {
        let mut list = element.attributes();
        // Comparing each name with all before it would cost the square of a hostile element's length.
        list.with_checks(false);
        let read = list.flatten().take(ATTRIBUTES_MAX).filter(|a| a.value.len() <= ATTRIBUTE_BYTES_MAX).filter_map(
            |attribute| {
                let value = attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0).ok()?;
                Some((attribute.key.local_name().as_ref().to_owned(), value.into_owned()))
            },
        );
        Self(read.collect())
    }

    fn text(&self, name: &str) -> Option<String> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.trim().parse().ok()
    }

    fn duration(&self, name: &str) -> Option<MediaDuration> {
        xs_duration(&self.text(name)?)
    }
}

/// An `xs:duration` without years and months, which have no length: `P1DT2H3M4.5S`.
fn xs_duration(text: &str) -> Option<MediaDuration> {
    let (days, time) = text.trim().strip_prefix('P')?.split_once('T').unwrap_or((text.trim().strip_prefix('P')?, ""));
    let mut total: i64 = 0;
    for (fields, units) in [(days, &[('D', 86_400)][..]), (time, &[('H', 3_600), ('M', 60), ('S', 1)][..])] {
        let mut rest = fields;
        for (unit, seconds) in units {
            let Some((value, tail)) = rest.split_once(*unit) else { continue };
            total = total.checked_add(decimal::seconds(value)?.ticks().checked_mul(*seconds)?)?;
            rest = tail;
        }
        if !rest.is_empty() {
            return None;
        }
    }
    Some(MediaDuration::new(total, Timescale::NANOS))
}
