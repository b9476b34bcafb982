// SPDX-License-Identifier: Apache-2.0
//! Tracks and the ladder they form.

use std::fmt;
use std::sync::Arc;

use crate::codec::Codec;
use crate::id::TrackId;
use crate::time::{MediaDuration, Timescale};

/// What a track carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
    /// Subtitles or captions (`wvtt`, `stpp`).
    Text,
    /// Timed metadata (`urim`, `evte`); never listed as a rendition.
    Metadata,
}

impl Kind {
    /// `video`, `audio`, `text` or `metadata`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Video => "video",
            Self::Audio => "audio",
            Self::Text => "text",
            Self::Metadata => "metadata",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Frames per second as a fraction: 30000/1001 stays exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrameRate {
    numerator: u32,
    denominator: u32,
}

impl FrameRate {
    /// The rate of frames that each last `duration`; `None` unless it is positive.
    pub fn from_frame_duration(duration: MediaDuration) -> Option<Self> {
        let ticks = u32::try_from(duration.ticks()).ok().filter(|&t| t > 0)?;
        let scale = duration.timescale().ticks_per_second();
        let divisor = gcd(ticks, scale);
        Some(Self { numerator: scale / divisor, denominator: ticks / divisor })
    }

    /// Frames in [`Self::denominator`] seconds.
    pub const fn numerator(self) -> u32 {
        self.numerator
    }

    /// Seconds in which [`Self::numerator`] frames pass.
    pub const fn denominator(self) -> u32 {
        self.denominator
    }

    /// Frames per second, for a manifest's decimal.
    pub fn per_second(self) -> f64 {
        f64::from(self.numerator) / f64::from(self.denominator)
    }
}

impl fmt::Display for FrameRate {
    /// As DASH `@frameRate` writes it: `25`, `30000/1001`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.denominator == 1 {
            write!(f, "{}", self.numerator)
        } else {
            write!(f, "{}/{}", self.numerator, self.denominator)
        }
    }
}

const fn gcd(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// A video track's shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Video {
    /// Width in pixels as coded.
    pub width: u16,
    /// Height in pixels as coded.
    pub height: u16,
    /// Known once a frame's duration is.
    pub frame_rate: Option<FrameRate>,
}

/// An audio track's shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audio {
    /// Samples per second of the decoded sound.
    pub sample_rate: u32,
    /// Channels.
    pub channels: u16,
}

/// One track as manifests see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// Its name in URLs.
    pub id: TrackId,
    /// What it carries.
    pub kind: Kind,
    /// How it is coded.
    pub codec: Codec,
    /// Unit of its times in the stored media.
    pub timescale: Timescale,
    /// Shape, for video.
    pub video: Option<Video>,
    /// Shape, for audio.
    pub audio: Option<Audio>,
    /// BCP 47 tag; `None` when undetermined.
    pub language: Option<String>,
    /// Name for people.
    pub label: Option<String>,
    /// `PART-TARGET` of its playlist: a whole number of its frames. `None`: the track is published in whole segments (text).
    pub part_target: Option<MediaDuration>,
    /// Highest bitrate over one segment of the window, bits per second; 0 until known.
    pub peak_bitrate: u64,
    /// Average bitrate over the window, bits per second; 0 until known.
    pub average_bitrate: u64,
}

/// The tracks of a channel in manifest order: video from the lowest rendition up, audio, text; equal ones by name.
///
/// The order is a function of the tracks alone, never of their arrival, so twin origins write the same manifests.
#[derive(Clone, Debug, Default)]
pub struct Ladder {
    tracks: Vec<Arc<Track>>,
}

impl Ladder {
    /// Sorts `tracks` into manifest order.
    pub fn new(mut tracks: Vec<Arc<Track>>) -> Self {
        tracks.sort_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.id.cmp(&b.id)));
        Self { tracks }
    }

    /// Every track, in manifest order.
    pub fn tracks(&self) -> &[Arc<Track>] {
        &self.tracks
    }

    /// The tracks of one kind, in manifest order.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Arc<Track>> {
        self.tracks.iter().filter(move |t| t.kind == kind)
    }

    /// True if no track is listed.
    pub fn is_empty(&self) -> bool {
        self.tracks.is_empty()
    }
}

fn rank(track: &Track) -> (Kind, &str, u32, &str, u16) {
    let pixels = track.video.as_ref().map_or(0, |v| u32::from(v.width) * u32::from(v.height));
    let channels = track.audio.as_ref().map_or(0, |a| a.channels);
    (track.kind, track.codec.family(), pixels, track.language.as_deref().unwrap_or(""), channels)
}
