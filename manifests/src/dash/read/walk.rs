// SPDX-License-Identifier: Apache-2.0
//! The walk through an MPD's elements: what each level hands down, and what an element says.

use headwater_media::{MediaDuration, Timescale, UtcTime};
use quick_xml::events::BytesStart;

use super::{
    ENTRIES_MAX, Error, Latency, Mpd, PatchLocation, Period, REPRESENTATION_WEIGHT, Representation, Run, Template,
};
use crate::decimal;

const DEPTH_MAX: usize = 64;
const ATTRIBUTES_MAX: usize = 64;
const ATTRIBUTE_BYTES_MAX: usize = 4_096;

/// XML's own entities; others are dropped.
pub(super) fn entity(name: &str) -> &'static str {
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

/// Reads element by element into an MPD.
#[derive(Default)]
pub(super) struct Walk {
    pub(super) mpd: Mpd,
    pub(super) seen_mpd: bool,
    pub(super) depth: usize,
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
    pub(super) fn open(&mut self, element: &BytesStart, empty: bool) -> Result<(), Error> {
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

    pub(super) fn close(&mut self) {
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

    pub(super) fn text(&mut self, text: &str) {
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

pub(super) fn run(attributes: &Attributes) -> Run {
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
pub(super) struct Attributes(Vec<(String, String)>);

impl Attributes {
    pub(super) fn of(element: &BytesStart) -> Self {
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

    pub(super) fn text(&self, name: &str) -> Option<String> {
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
