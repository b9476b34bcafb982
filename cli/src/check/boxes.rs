// SPDX-License-Identifier: Apache-2.0
//! What the bytes of a CMAF track say of time, against what manifests say of it.

use std::sync::Arc;

use bytes::Bytes;
use headwater_manifests::rules::{Rule, Verdict};
use headwater_media::{Kind, MediaTime};
use headwater_packager::cmaf::{Error, Event, Header, Limits, Reader};

static UNREADABLE: Rule =
    Rule::must("media-unreadable", "ISO/IEC 14496-12, 23000-19", "headers, parts and segments are whole CMAF boxes");
static CONTINUOUS: Rule = Rule::must(
    "media-continuous",
    "rfc8216bis 3",
    "each part and segment begins where the one before ends, but for discontinuities and gaps",
);

/// The rules of this file.
pub(super) static RULES: &[&Rule] = &[&UNREADABLE, &CONTINUOUS];

/// What one part or segment covers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// Decode time of the first sample, and of what would follow the last.
    pub(super) begin: MediaTime,
    pub(super) end: MediaTime,
    /// Earliest presentation time.
    pub(super) shown: MediaTime,
    /// Longest sample, nanoseconds.
    pub(super) frame: i128,
    /// The first sample decodes alone.
    pub(super) sync: bool,
    /// It has a `prft`.
    pub(super) producer_time: bool,
}

impl Span {
    pub(super) fn duration(&self) -> i128 {
        self.end.since(self.begin).nanos().into()
    }
}

/// Reads one rendition's media in order.
#[derive(Debug, Default)]
pub(super) struct Track {
    header: Option<(String, Arc<Header>)>,
    end: Option<MediaTime>,
    /// Not of a kind that is read here.
    foreign: bool,
}

impl Track {
    /// True if media can be read with the header that has this name.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.foreign || self.header.as_ref().is_some_and(|(known, _)| known == name)
    }

    /// True if this is a track of pictures.
    pub(super) fn is_video(&self) -> bool {
        self.header.as_ref().is_some_and(|(_, header)| header.tracks.iter().any(|t| t.kind == Kind::Video))
    }

    /// Takes a header. A codec that is not carried here makes the track foreign; why is returned.
    pub(super) fn take_header(&mut self, name: &str, bytes: &Bytes, verdict: &mut Verdict) -> Option<String> {
        let mut events = Vec::new();
        let mut reader = Reader::new(Limits::default());
        let read = reader.push(bytes.clone(), &mut events);
        if let Err(error @ (Error::UnsupportedCodec { .. } | Error::SampleEntry { .. })) = &read {
            self.foreign = true;
            return Some(format!("{name}: {error}"));
        }
        let header = events.into_iter().find_map(|e| if let Event::Header(header) = e { Some(header) } else { None });
        verdict.judge(&UNREADABLE, header.is_some(), || {
            let why = read.err().map_or_else(|| "no moov".to_owned(), |e| e.to_string());
            ("a header".to_owned(), format!("{name}: {why}"))
        });
        match header {
            Some(header) => self.header = Some((name.to_owned(), header)),
            None => self.foreign = true,
        }
        None
    }

    /// What comes next does not follow what came.
    pub(super) const fn jump(&mut self) {
        self.end = None;
    }

    /// Reads a part or a segment that follows the last one read.
    pub(super) fn take(&mut self, name: &str, bytes: &Bytes, verdict: &mut Verdict) -> Option<Span> {
        let span = self.read(name, bytes, verdict)?;
        if let Some(end) = self.end.replace(span.end) {
            let error = i128::from(span.begin.since(end).nanos());
            // A tick of rounding, or what a coarse timescale costs.
            verdict.judge(&CONTINUOUS, error.abs() <= 1_000_000, || {
                let words = if error > 0 { "after" } else { "before" };
                (
                    "a begin at the end of what came before".to_owned(),
                    format!("{name} {:.3} s {words} it", error.abs() as f64 / 1e9),
                )
            });
        }
        Some(span)
    }

    /// Reads a part or a segment by itself.
    pub(super) fn read(&self, name: &str, bytes: &Bytes, verdict: &mut Verdict) -> Option<Span> {
        let (_, header) = self.header.as_ref().filter(|_| !self.foreign)?;
        let mut events = Vec::new();
        let mut reader = Reader::with_header(Arc::clone(header), Limits::default());
        let read = reader.push(bytes.clone(), &mut events).and_then(|()| reader.finish(&mut events));
        let whole = matches!(&read, Ok(end) if end.stump_bytes == 0);
        let span = span(header, &events);
        verdict.judge(&UNREADABLE, whole && span.is_some(), || {
            let why = match &read {
                Err(error) => error.to_string(),
                Ok(end) if end.stump_bytes > 0 => format!("{} bytes of a box that is cut off", end.stump_bytes),
                Ok(_) => "no fragment with a decode time".to_owned(),
            };
            ("whole fragments".to_owned(), format!("{name}: {why}"))
        });
        span
    }
}

fn span(header: &Header, events: &[Event]) -> Option<Span> {
    let track = header.tracks.iter().find(|t| t.kind == Kind::Video).or_else(|| header.tracks.first())?;
    let fragments = events.iter().filter_map(|e| if let Event::Fragment(fragment) = e { Some(fragment) } else { None });
    let mut found: Option<Span> = None;
    for fragment in fragments {
        for part in fragment.tracks.iter().filter(|t| t.source_id == track.source_id && t.decode_time.is_some()) {
            for sample in &part.samples {
                let mut sample = sample.clone();
                track.apply_edit(&mut sample);
                let at = |ticks: i64| MediaTime::new(ticks, track.timescale);
                let shown = at(sample.presentation_time());
                let end = at(sample.decode_time.saturating_add(i64::from(sample.duration)));
                let frame = i128::from(end.since(at(sample.decode_time)).nanos());
                let span = found.get_or_insert(Span {
                    begin: at(sample.decode_time),
                    end,
                    shown,
                    frame,
                    sync: sample.sync,
                    producer_time: fragment.producer_time.is_some(),
                });
                span.end = end;
                span.shown = span.shown.min(shown);
                span.frame = span.frame.max(frame);
            }
        }
    }
    found
}
