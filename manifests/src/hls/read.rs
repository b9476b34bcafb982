// SPDX-License-Identifier: Apache-2.0
//! Others' playlists: pushed by encoders, or fetched from any origin to be checked.
//!
//! m3u8-rs reads what it reads faithfully. Around it stands a line scanner, since on foreign text m3u8-rs takes a title
//! with a comma for a segment, a fraction in `TARGETDURATION` for a URI, holds seconds as `f32` and drops what follows the
//! last segment: it gets a copy that names only what it knows, in the form it expects, and the scanner keeps the rest.
//! Tags that are unknown or malformed are counted and passed over. Any input ends in a value or an error, at bounded cost.

mod attributes;
mod media;
mod multivariant;

use headwater_media::{MediaDuration, UtcTime};

/// Longest playlist read.
pub const BYTES_MAX: usize = 4 << 20;
/// Most segments, and most parts, read of one playlist.
pub const ENTRIES_MAX: usize = 30_000;

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
    /// More segments or parts than [`ENTRIES_MAX`].
    #[error("expected at most {max} segments and parts")]
    TooMany {
        /// [`ENTRIES_MAX`].
        max: usize,
    },
    /// Not UTF-8, or not begun by `#EXTM3U`.
    #[error("expected #EXTM3U at the start of UTF-8 text")]
    NotPlaylist,
}

impl Error {
    /// The HTTP status that answers a push of it.
    pub const fn status(&self) -> u16 {
        match self {
            Self::TooLong { .. } | Self::TooMany { .. } => 413,
            Self::NotPlaylist => 400,
        }
    }
}

/// A playlist of either kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Playlist {
    /// Renditions.
    Multivariant(Multivariant),
    /// Segments.
    Media(Box<Media>),
}

/// A multivariant playlist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Multivariant {
    /// `EXT-X-INDEPENDENT-SEGMENTS`.
    pub independent_segments: bool,
    /// `EXT-X-STREAM-INF` and `EXT-X-I-FRAME-STREAM-INF`, in order.
    pub variants: Vec<Variant>,
    /// `EXT-X-MEDIA`, in order.
    pub renditions: Vec<Rendition>,
    /// Lines passed over: unknown or malformed.
    pub ignored: usize,
}

/// A variant stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variant {
    /// Of I-frames alone.
    pub iframes: bool,
    /// Its media playlist, as written.
    pub uri: String,
    /// `BANDWIDTH`, bits per second.
    pub bandwidth: u64,
    /// `AVERAGE-BANDWIDTH`, bits per second.
    pub average_bandwidth: Option<u64>,
    /// `CODECS`.
    pub codecs: Option<String>,
    /// `RESOLUTION`: width and height.
    pub resolution: Option<(u64, u64)>,
    /// `FRAME-RATE`, frames in 1,000 seconds.
    pub frame_rate_millis: Option<u64>,
    /// `AUDIO` group.
    pub audio: Option<String>,
    /// `SUBTITLES` group.
    pub subtitles: Option<String>,
}

/// An alternative rendition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendition {
    /// `TYPE`: `AUDIO`, `SUBTITLES`, ….
    pub media_type: String,
    /// `GROUP-ID`.
    pub group: String,
    /// `NAME`.
    pub name: String,
    /// `LANGUAGE`.
    pub language: Option<String>,
    /// `DEFAULT`.
    pub default: bool,
    /// `AUTOSELECT`.
    pub autoselect: bool,
    /// `CHANNELS`.
    pub channels: Option<String>,
    /// Its media playlist, as written.
    pub uri: Option<String>,
}

/// A media playlist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Media {
    /// `EXT-X-VERSION`.
    pub version: Option<u64>,
    /// `EXT-X-TARGETDURATION`, seconds; a fraction is rounded up.
    pub target_duration: Option<u64>,
    /// `EXT-X-PLAYLIST-TYPE`.
    pub playlist_type: Option<String>,
    /// `EXT-X-MEDIA-SEQUENCE`.
    pub media_sequence: u64,
    /// `EXT-X-DISCONTINUITY-SEQUENCE`.
    pub discontinuity_sequence: u64,
    /// `EXT-X-INDEPENDENT-SEGMENTS`.
    pub independent_segments: bool,
    /// `EXT-X-I-FRAMES-ONLY`.
    pub iframes_only: bool,
    /// `EXT-X-ENDLIST`.
    pub ended: bool,
    /// `EXT-X-SERVER-CONTROL`.
    pub server_control: Option<ServerControl>,
    /// `EXT-X-PART-INF`.
    pub part_target: Option<MediaDuration>,
    /// `EXT-X-SKIP`: segments left out before the first listed.
    pub skipped_segments: u64,
    /// `EXT-X-SKIP` names date ranges that were removed (`RECENTLY-REMOVED-DATERANGES`).
    pub removed_dateranges: bool,
    /// Complete segments, in order.
    pub segments: Vec<Segment>,
    /// The segment that parts after the last complete one belong to; without URI and duration.
    pub open: Option<Segment>,
    /// `EXT-X-PRELOAD-HINT`, in order.
    pub hints: Vec<Hint>,
    /// `EXT-X-RENDITION-REPORT`, in order.
    pub reports: Vec<Report>,
    /// Lines passed over: unknown or malformed.
    pub ignored: usize,
    /// What is wrong with the text itself.
    pub faults: Faults,
}

/// Lines that a tolerant reader gets by with; of each kind the first [`FAULTS_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Known tags whose value cannot be read, and URIs without `EXTINF`.
    pub malformed: Vec<String>,
    /// Tags that a playlist may have once and that came again.
    pub repeated: Vec<String>,
    /// Tags of a segment after its first part, and tags of the playlist after its first segment.
    pub misplaced: Vec<String>,
}

/// Faults kept of each kind.
pub const FAULTS_MAX: usize = 8;

impl Media {
    /// Number of the segment after the last complete one.
    pub fn next_sequence(&self) -> u64 {
        self.first_sequence().saturating_add(self.segments.len() as u64)
    }

    /// Number of the first segment listed; what a delta skips is not.
    pub const fn first_sequence(&self) -> u64 {
        self.media_sequence.saturating_add(self.skipped_segments)
    }

    /// Parts of the segment that is not complete.
    pub fn open_parts(&self) -> &[Part] {
        self.open.as_ref().map_or(&[], |open| &open.parts)
    }

    /// The first part that is not there yet: what a client waits for next.
    pub fn edge(&self) -> (u64, u64) {
        (self.next_sequence(), self.open_parts().len() as u64)
    }

    /// A listed segment by its number.
    pub fn segment(&self, sequence: u64) -> Option<&Segment> {
        let index = usize::try_from(sequence.checked_sub(self.first_sequence())?).ok()?;
        self.segments.get(index)
    }
}

/// `EXT-X-SERVER-CONTROL`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerControl {
    /// `CAN-BLOCK-RELOAD`.
    pub can_block_reload: bool,
    /// `CAN-SKIP-UNTIL`.
    pub can_skip_until: Option<MediaDuration>,
    /// `CAN-SKIP-DATERANGES`.
    pub can_skip_dateranges: bool,
    /// `HOLD-BACK`.
    pub hold_back: Option<MediaDuration>,
    /// `PART-HOLD-BACK`.
    pub part_hold_back: Option<MediaDuration>,
}

/// A media segment with all that applies to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Media sequence number.
    pub sequence: u64,
    /// As written.
    pub uri: String,
    /// `EXTINF`, to the nanosecond.
    pub duration: MediaDuration,
    /// `EXT-X-BYTERANGE`.
    pub byte_range: Option<Range>,
    /// `EXT-X-DISCONTINUITY` stands before it.
    pub discontinuity: bool,
    /// The `EXT-X-MAP` in force.
    pub map: Option<Map>,
    /// `EXT-X-PROGRAM-DATE-TIME` of its own.
    pub program_date_time: Option<UtcTime>,
    /// `EXT-X-GAP`.
    pub gap: bool,
    /// An `EXT-X-KEY` other than `NONE` is in force.
    pub encrypted: bool,
    /// `EXT-X-PART`, in order.
    pub parts: Vec<Part>,
}

impl Default for Segment {
    fn default() -> Self {
        Self {
            sequence: 0,
            uri: String::new(),
            duration: MediaDuration::ZERO,
            byte_range: None,
            discontinuity: false,
            map: None,
            program_date_time: None,
            gap: false,
            encrypted: false,
            parts: Vec::new(),
        }
    }
}

/// A byte range as written: without offset it follows the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// How many.
    pub length_bytes: u64,
    /// First byte.
    pub offset_bytes: Option<u64>,
}

/// `EXT-X-MAP`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    /// As written.
    pub uri: String,
    /// `BYTERANGE`.
    pub byte_range: Option<Range>,
}

/// `EXT-X-PART`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// As written.
    pub uri: String,
    /// `DURATION`, to the nanosecond.
    pub duration: MediaDuration,
    /// `INDEPENDENT`.
    pub independent: bool,
    /// `GAP`.
    pub gap: bool,
    /// `BYTERANGE`.
    pub byte_range: Option<Range>,
}

/// `EXT-X-PRELOAD-HINT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// `TYPE`: `PART` or `MAP`.
    pub hint_type: String,
    /// As written.
    pub uri: String,
    /// `BYTERANGE-START`.
    pub start_bytes: Option<u64>,
    /// `BYTERANGE-LENGTH`.
    pub length_bytes: Option<u64>,
}

/// `EXT-X-RENDITION-REPORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// As written.
    pub uri: String,
    /// `LAST-MSN`.
    pub last: Option<u64>,
    /// `LAST-PART`.
    pub part: Option<u64>,
}

/// Reads a playlist of either kind.
///
/// # Errors
/// [`Error`] for a text that is no playlist, or beyond the bounds.
pub fn parse(bytes: &[u8]) -> Result<Playlist, Error> {
    if bytes.len() > BYTES_MAX {
        return Err(Error::TooLong { max: BYTES_MAX, bytes: bytes.len() });
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Error::NotPlaylist)?;
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if text.lines().next().is_none_or(|line| line.trim_end() != "#EXTM3U") {
        return Err(Error::NotPlaylist);
    }
    let multivariant = text.lines().any(|line| {
        ["#EXT-X-STREAM-INF:", "#EXT-X-I-FRAME-STREAM-INF:", "#EXT-X-MEDIA:"].iter().any(|tag| line.starts_with(tag))
    });
    if multivariant {
        return Ok(Playlist::Multivariant(multivariant::parse(text)));
    }
    media::parse(text).map(|media| Playlist::Media(Box::new(media)))
}

fn integer(text: &str) -> Option<u64> {
    let text = text.trim();
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn range(text: &str) -> Option<Range> {
    let (length, offset) = match text.trim().split_once('@') {
        Some((length, offset)) => (length, Some(integer(offset)?)),
        None => (text, None),
    };
    Some(Range { length_bytes: integer(length)?, offset_bytes: offset })
}
