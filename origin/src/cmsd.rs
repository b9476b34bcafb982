// SPDX-License-Identifier: Apache-2.0
//! CMSD-Static: what the origin tells caches and players of an object beside its bytes (CTA-5006).
//!
//! It is written with the object and follows from it and the grid alone: but for the node's name, origins that publish
//! the same say the same. The next object is named as a playlist would announce it; whether it comes is not known yet.

use headwater_media::path::Object;
use headwater_media::{Kind, MediaDuration, MediaTime, PartIndex, SegmentNumber};
use headwater_net::structured;
use http::{HeaderName, HeaderValue};

/// The field.
pub(crate) const STATIC: HeaderName = HeaderName::from_static("cmsd-static");

/// What is said of playlists and MPDs: nothing but whose and what they are.
#[derive(Clone, Debug)]
pub(crate) struct Texts {
    hls: [HeaderValue; 2],
    dash: [HeaderValue; 2],
}

impl Texts {
    /// Of the node of that name.
    pub(crate) fn new(node: &str) -> Self {
        let of = |format| ["l", "v"].map(|stream| Said { format, ..Said::of(node, "m", stream) }.write());
        Self { hls: of(Some("h")), dash: of(Some("d")) }
    }

    /// Of a text of that type, while the channel is on air or once it has `ended`.
    pub(crate) fn of(&self, media_type: &str, ended: bool) -> &HeaderValue {
        let of_format = if media_type.starts_with("application/dash") { &self.dash } else { &self.hls };
        &of_format[usize::from(ended)]
    }
}

/// What is said of a segment, under each of its names.
#[derive(Clone, Debug)]
pub struct OfSegment {
    /// By number.
    pub by_number: HeaderValue,
    /// By time, which is DASH.
    pub by_time: HeaderValue,
}

/// Says it of one track's media.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Media<'a> {
    pub(crate) node: &'a str,
    pub(crate) kind: Kind,
}

impl Media<'_> {
    /// Of a CMAF header.
    pub(crate) fn header(&self) -> HeaderValue {
        Said::of(self.node, "i", "l").write()
    }

    /// Of a part; the next one is the first of the next segment, if this one completes its own.
    pub(crate) fn part(&self, bytes: u64, duration: MediaDuration, next: (SegmentNumber, PartIndex)) -> HeaderValue {
        let next = Object::Part("", next.0, next.1);
        let format = Some("h");
        Said { duration: Some(duration), bytes: self.rated(bytes), next: Some(next), format, ..self.said() }.write()
    }

    /// Of a segment that is complete.
    pub(crate) fn segment(
        &self,
        number: SegmentNumber,
        bytes: u64,
        duration: MediaDuration,
        end: MediaTime,
    ) -> OfSegment {
        let said = Said { duration: Some(duration), bytes: self.rated(bytes), ..self.said() };
        let next = Some(Object::Segment("", number.next()));
        let next_by_time = Some(Object::SegmentAt("", end.ticks()));
        OfSegment {
            by_number: Said { next, ..said }.write(),
            by_time: Said { next: next_by_time, format: Some("d"), ..said }.write(),
        }
    }

    /// Of a segment that is still growing, which will be about so long.
    pub(crate) fn growing(&self, number: SegmentNumber, duration: MediaDuration) -> OfSegment {
        let said = Said { duration: Some(duration), ..self.said() };
        OfSegment {
            by_number: Said { next: Some(Object::Segment("", number.next())), ..said }.write(),
            // NB: where the next one begins is not known before this one ends.
            by_time: Said { format: Some("d"), ..said }.write(),
        }
    }

    /// Bytes of what has a bitrate.
    fn rated(&self, bytes: u64) -> Option<u64> {
        matches!(self.kind, Kind::Video | Kind::Audio).then_some(bytes)
    }

    fn said(&self) -> Said<'_> {
        let object_type = match self.kind {
            Kind::Video => "v",
            Kind::Audio => "a",
            Kind::Text => "tt",
            Kind::Metadata => "o",
        };
        Said::of(self.node, object_type, "l")
    }
}

/// The dictionary.
#[derive(Clone, Copy, Debug)]
struct Said<'a> {
    /// For the bitrate.
    bytes: Option<u64>,
    duration: Option<MediaDuration>,
    node: &'a str,
    next: Option<Object<'a>>,
    object_type: &'static str,
    /// Of what serves both there is none.
    format: Option<&'static str>,
    stream: &'static str,
}

impl<'a> Said<'a> {
    const fn of(node: &'a str, object_type: &'static str, stream: &'static str) -> Self {
        Self { bytes: None, duration: None, node, next: None, object_type, format: None, stream }
    }

    fn write(&self) -> HeaderValue {
        let mut text = String::with_capacity(96);
        let mut say = |key: &str, value: &str| {
            text.push_str(if text.is_empty() { "" } else { "," });
            text.extend([key, "=", value]);
        };
        let ms = self.duration.map(|duration| u64::try_from(rounded(duration.nanos(), 1_000_000)).unwrap_or(0));
        if let (Some(bytes), Some(ms @ 1..)) = (self.bytes, ms) {
            // Bits a millisecond are kilobits a second.
            say("br", &(bytes.saturating_mul(8).saturating_add(ms / 2) / ms).to_string());
        }
        if let Some(ms) = ms {
            say("d", &ms.to_string());
        }
        say("n", &structured::string(self.node));
        if let Some(next) = &self.next {
            // Relative to this object: both are in the folder of the track. Its characters need no encoding in a URL.
            say("nor", &structured::string(next.to_string().trim_start_matches('/')));
        }
        say("ot", self.object_type);
        if let Some(format) = self.format {
            say("sf", format);
        }
        say("st", self.stream);
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("st=l"))
    }
}

const fn rounded(value: i64, by: i64) -> i64 {
    (value + by / 2).div_euclid(by)
}

#[cfg(test)]
mod tests {
    use headwater_media::Timescale;

    use super::*;

    #[test]
    fn each_kind_of_object_has_its_words() {
        let (video, text) = (Media { node: "a", kind: Kind::Video }, Media { node: "a", kind: Kind::Text });
        let (number, part) = (SegmentNumber(7), MediaDuration::from_millis(200));
        assert_eq!(video.header(), "n=\"a\",ot=i,st=l");
        let next = (number, PartIndex(3));
        assert_eq!(video.part(50_000, part, next), "br=2000,d=200,n=\"a\",nor=\"7.3.m4s\",ot=v,sf=h,st=l");
        assert_eq!(text.part(50_000, part, next), "d=200,n=\"a\",nor=\"7.3.m4s\",ot=tt,sf=h,st=l");
        let end = MediaTime::new(48_048, Timescale::new(24_000).unwrap());
        let whole = video.segment(number, 500_500, MediaDuration::from_millis(2_002), end);
        assert_eq!(whole.by_number, "br=2000,d=2002,n=\"a\",nor=\"8.m4s\",ot=v,st=l");
        assert_eq!(whole.by_time, "br=2000,d=2002,n=\"a\",nor=\"t48048.m4s\",ot=v,sf=d,st=l");
        let growing = video.growing(number, MediaDuration::from_millis(2_000));
        assert_eq!(growing.by_number, "d=2000,n=\"a\",nor=\"8.m4s\",ot=v,st=l");
        assert_eq!(growing.by_time, "d=2000,n=\"a\",ot=v,sf=d,st=l");
    }

    #[test]
    fn a_text_says_whether_more_will_come() {
        let texts = Texts::new("rack \"7\"");
        assert_eq!(texts.of("application/vnd.apple.mpegurl", false), "n=\"rack \\\"7\\\"\",ot=m,sf=h,st=l");
        assert_eq!(texts.of("application/dash+xml", true), "n=\"rack \\\"7\\\"\",ot=m,sf=d,st=v");
    }

    #[test]
    fn a_part_without_duration_has_no_bitrate() {
        let sound = Media { node: "a", kind: Kind::Audio };
        let next = (SegmentNumber(1), PartIndex(0));
        assert_eq!(sound.part(9, MediaDuration::ZERO, next), "d=0,n=\"a\",nor=\"1.0.m4s\",ot=a,sf=h,st=l");
    }
}
