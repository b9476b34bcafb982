// SPDX-License-Identifier: Apache-2.0
//! The one URL grammar of what viewers fetch, and how long each kind of answer stays fresh.
//!
//! ```text
//! /live/{channel}/multivariant.m3u8            /live/{channel}/{track}/media.m3u8
//! /live/{channel}/plain.m3u8                   /live/{channel}/{track}/plain.m3u8
//! /live/{channel}/manifest.mpd                 /live/{channel}/{track}/iframes.m3u8
//! /live/{channel}/timeline.mpd                 /live/{channel}/{track}/init-{generation}.mp4
//! /live/{channel}/timeline-{publish}.mpp       /live/{channel}/{track}/{segment}.m4s
//!                                              /live/{channel}/{track}/t{ticks}.m4s
//!                                              /live/{channel}/{track}/{segment}.{part}.m4s
//! ```
//! `plain` is the twin without parts for players that dislike low-latency tags; `t{ticks}` is DASH `$Time$`, another
//! name for the same stored segment. Parsing borrows and never allocates: it stands on the hot path.

use std::fmt;
use std::time::Duration;

use crate::id::{Generation, PartIndex, SegmentNumber, check_name};

/// What a path under `/live/` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LivePath<'a> {
    /// Channel name, checked.
    pub channel: &'a str,
    /// The object within the channel.
    pub object: Object<'a>,
}

/// An object of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object<'a> {
    /// HLS multivariant playlist, low latency.
    Multivariant,
    /// HLS multivariant playlist over the plain media playlists.
    MultivariantPlain,
    /// DASH MPD, `$Number$` addressing, low latency.
    Manifest,
    /// DASH MPD with SegmentTimeline and `$Time$` addressing.
    Timeline,
    /// MPD patch from the timeline MPD published at this time (milliseconds since the epoch).
    Patch {
        /// `publishTime` of the MPD that the patch starts from.
        publish_ms: i64,
    },
    /// HLS media playlist with parts.
    Media(&'a str),
    /// HLS media playlist without parts.
    Plain(&'a str),
    /// HLS I-frame playlist.
    IFrames(&'a str),
    /// CMAF header.
    Header(&'a str, Generation),
    /// Media segment by number.
    Segment(&'a str, SegmentNumber),
    /// Media segment by start time in ticks of the track's timescale.
    SegmentAt(&'a str, i64),
    /// Part of a segment.
    Part(&'a str, SegmentNumber, PartIndex),
}

/// The prefix of everything viewers fetch.
pub const PREFIX: &str = "/live/";

impl<'a> LivePath<'a> {
    /// Reads an absolute path without query; `None` if it is not of the grammar.
    pub fn parse(path: &'a str) -> Option<Self> {
        let rest = path.strip_prefix(PREFIX)?;
        let (channel, rest) = rest.split_once('/')?;
        check_name(channel).ok()?;
        Object::parse(rest).map(|object| Self { channel, object })
    }
}

impl<'a> Object<'a> {
    /// Reads what follows `/live/{channel}/`.
    pub fn parse(rest: &'a str) -> Option<Self> {
        let Some((track, file)) = rest.split_once('/') else { return Self::parse_channel_file(rest) };
        check_name(track).ok()?;
        match file {
            "media.m3u8" => return Some(Self::Media(track)),
            "plain.m3u8" => return Some(Self::Plain(track)),
            "iframes.m3u8" => return Some(Self::IFrames(track)),
            _ => {}
        }
        if let Some(stem) = file.strip_suffix(".m4s") {
            if let Some(ticks) = stem.strip_prefix('t') {
                return number(ticks).and_then(|t| i64::try_from(t).ok()).map(|t| Self::SegmentAt(track, t));
            }
            return match stem.split_once('.') {
                None => number(stem).map(|n| Self::Segment(track, SegmentNumber(n))),
                Some((segment, part)) => {
                    let part = number(part).and_then(|p| u32::try_from(p).ok())?;
                    number(segment).map(|n| Self::Part(track, SegmentNumber(n), PartIndex(part)))
                }
            };
        }
        let generation = file.strip_prefix("init-")?.strip_suffix(".mp4")?;
        let generation = number(generation).and_then(|g| u32::try_from(g).ok())?;
        Some(Self::Header(track, Generation(generation)))
    }

    fn parse_channel_file(file: &'a str) -> Option<Self> {
        match file {
            "multivariant.m3u8" => Some(Self::Multivariant),
            "plain.m3u8" => Some(Self::MultivariantPlain),
            "manifest.mpd" => Some(Self::Manifest),
            "timeline.mpd" => Some(Self::Timeline),
            _ => {
                let publish = file.strip_prefix("timeline-")?.strip_suffix(".mpp")?;
                number(publish).and_then(|ms| i64::try_from(ms).ok()).map(|publish_ms| Self::Patch { publish_ms })
            }
        }
    }

    /// The track it belongs to, if it is one track's.
    pub const fn track(&self) -> Option<&'a str> {
        match self {
            Self::Media(t) | Self::Plain(t) | Self::IFrames(t) | Self::Header(t, _) => Some(t),
            Self::Segment(t, _) | Self::SegmentAt(t, _) | Self::Part(t, _, _) => Some(t),
            _ => None,
        }
    }

    /// Its media type.
    pub const fn media_type(&self) -> &'static str {
        match self {
            Self::Multivariant | Self::MultivariantPlain | Self::Media(_) | Self::Plain(_) | Self::IFrames(_) => {
                "application/vnd.apple.mpegurl"
            }
            Self::Manifest | Self::Timeline => "application/dash+xml",
            Self::Patch { .. } => "application/dash-patch+xml",
            Self::Header(..) => "video/mp4",
            Self::Segment(..) | Self::SegmentAt(..) | Self::Part(..) => "video/iso.segment",
        }
    }

    /// True for headers, segments and parts: immutable bytes.
    pub const fn is_media(&self) -> bool {
        matches!(self, Self::Header(..) | Self::Segment(..) | Self::SegmentAt(..) | Self::Part(..))
    }
}

impl fmt::Display for LivePath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}/{}", self.channel, self.object)
    }
}

impl fmt::Display for Object<'_> {
    /// The path relative to the channel's folder.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Multivariant => f.write_str("multivariant.m3u8"),
            Self::MultivariantPlain => f.write_str("plain.m3u8"),
            Self::Manifest => f.write_str("manifest.mpd"),
            Self::Timeline => f.write_str("timeline.mpd"),
            Self::Patch { publish_ms } => write!(f, "timeline-{publish_ms}.mpp"),
            Self::Media(t) => write!(f, "{t}/media.m3u8"),
            Self::Plain(t) => write!(f, "{t}/plain.m3u8"),
            Self::IFrames(t) => write!(f, "{t}/iframes.m3u8"),
            Self::Header(t, generation) => write!(f, "{t}/init-{generation}.mp4"),
            Self::Segment(t, n) => write!(f, "{t}/{n}.m4s"),
            Self::SegmentAt(t, ticks) => write!(f, "{t}/t{ticks}.m4s"),
            Self::Part(t, n, p) => write!(f, "{t}/{n}.{p}.m4s"),
        }
    }
}

/// Digits only, no sign, no leading zero: each object has exactly one name.
fn number(text: &str) -> Option<u64> {
    let canonical =
        text == "0" || (!text.starts_with('0') && !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()));
    if canonical { text.parse().ok() } else { None }
}

/// How long an answer may be reused (draft-pantos-hls-rfc8216bis, appendix B.1 of the LL-HLS origin rules).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// A playlist asked for with `_HLS_msn`: its URL names its version.
    Blocking,
    /// An error to such a request.
    BlockingError,
    /// A playlist or MPD asked for without directives.
    Playlist,
    /// An error to such a request.
    PlaylistError,
    /// A header, segment or part: its bytes never change.
    Media,
    /// A missing object that may never come.
    MediaError,
    /// A missing object that is expected after this long.
    Expected(Duration),
}

impl Freshness {
    /// Lifetime under a target duration.
    pub fn lifetime(self, target: Duration) -> Duration {
        match self {
            Self::Blocking => target * 6,
            Self::BlockingError => target * 4,
            Self::Playlist => target / 2,
            Self::PlaylistError | Self::MediaError => target,
            Self::Media => Duration::from_secs(31_536_000),
            Self::Expected(until) => until.saturating_sub(Duration::from_millis(50)).min(target),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_form_reads_back_as_written() {
        let objects = [
            Object::Multivariant,
            Object::MultivariantPlain,
            Object::Manifest,
            Object::Timeline,
            Object::Patch { publish_ms: 1_700_000_000_000 },
            Object::Media("v0"),
            Object::Plain("v0"),
            Object::IFrames("v0"),
            Object::Header("v0", Generation(3)),
            Object::Segment("v0", SegmentNumber(850_000_000)),
            Object::SegmentAt("v0", 21_760_000_000_000),
            Object::Part("v0", SegmentNumber(850_000_000), PartIndex(4)),
        ];
        for object in objects {
            let path = LivePath { channel: "demo", object };
            assert_eq!(LivePath::parse(&path.to_string()), Some(path));
        }
    }

    #[test]
    fn paths_outside_the_grammar_are_nobody() {
        for bad in [
            "/live/",
            "/live/x",
            "/live/../x",
            "/live/a/../b.m4s",
            "/live/a/v0/01.m4s",
            "/live/a/v0/-1.m4s",
            "/live/a/v0/1.2.3.m4s",
            "/live/a/v0/init-.mp4",
            "/live/a/v0/99999999999999999999.m4s",
            "/live/a/v0/1.m4s/",
        ] {
            assert_eq!(LivePath::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "/live/\\PC{0,60}") {
            if let Some(path) = LivePath::parse(&text) {
                prop_assert_eq!(path.to_string(), text);
            }
        }
    }
}
