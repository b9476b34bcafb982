// SPDX-License-Identifier: Apache-2.0
//! Others' MPDs: pushed by encoders as a hint at what their segments are, or fetched from any origin to be checked.
//!
//! Tolerant on purpose, so not by way of the full model: ffmpeg's first MPDs of a live push lack attributes that the
//! schema requires, and one odd duration must not cost the rest. An attribute that cannot be read counts as absent.
//! Any input ends in a value or an error, at bounded cost; entities other than XML's own are not expanded.

pub mod patch;
mod walk;

use headwater_media::{MediaDuration, Timescale, UtcTime};
use quick_xml::Reader;
use quick_xml::events::Event;

use walk::{Walk, entity};

/// Longest MPD read.
pub const BYTES_MAX: usize = 4 << 20;
/// Most elements read of one MPD; a Representation counts as [`REPRESENTATION_WEIGHT`] and what it inherits.
pub const ENTRIES_MAX: usize = 100_000;
/// What a Representation counts for.
pub const REPRESENTATION_WEIGHT: usize = 100;

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
