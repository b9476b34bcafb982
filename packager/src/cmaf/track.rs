// SPDX-License-Identifier: Apache-2.0
//! What a source's header (`moov`) says of its tracks.

use bytes::Bytes;
use headwater_media::{Audio, Codec, Kind, Timescale, Video};

use crate::Sample;
use crate::cmaf::boxes::FourCc;
use crate::cmaf::{Error, moov, parameter_sets, sample_entry};

/// A source's header: `ftyp` and `moov`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Tracks we can carry, in header order; at least one.
    pub tracks: Vec<TrackHeader>,
    /// Tracks whose codec we do not carry; their fragments are dropped.
    pub unsupported: Vec<UnsupportedTrack>,
    /// The bytes it was read from, copied: pushed into a reader they give this header again.
    pub source: Bytes,
}

impl Header {
    /// Reads a stored [`Self::source`].
    ///
    /// # Errors
    /// [`Error::Missing`] without a `moov`, and whatever is wrong with it.
    pub fn parse(source: &Bytes) -> Result<Self, Error> {
        moov::parse_source(source, usize::MAX)
    }

    /// The track of that `track_ID`.
    pub fn track(&self, source_id: u32) -> Option<&TrackHeader> {
        self.tracks.iter().find(|t| t.source_id == source_id)
    }
}

/// A track left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnsupportedTrack {
    /// `track_ID`.
    pub source_id: u32,
    /// Type of its sample entry.
    pub four_cc: FourCc,
}

/// One track of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackHeader {
    /// `track_ID` in the source.
    pub source_id: u32,
    /// What it carries.
    pub kind: Kind,
    /// Unit of its times.
    pub timescale: Timescale,
    /// How it is coded.
    pub codec: Codec,
    /// The whole sample entry box as it came (`avc1`, `mp4a`, …): the first, others are refused when used.
    pub sample_entry: Bytes,
    /// BCP 47 tag (`elng`), else ISO 639-2 code (`mdhd`); `None` when undetermined.
    pub language: Option<String>,
    /// Name for people (`udta`/`labl`); the handler's name is the encoder's, not the track's.
    pub label: Option<String>,
    /// `kind` boxes: DASH roles for one.
    pub roles: Vec<Role>,
    /// Shape, for video.
    pub video: Option<Video>,
    /// Shape, for audio.
    pub audio: Option<Audio>,
    /// Bits per second of its `btrt`: the maximum, else the average.
    pub declared_bitrate: Option<u32>,
    /// Its edit list.
    pub edit: Edit,
    /// What fragments leave out.
    pub defaults: Defaults,
}

/// A scheme and a value of it (`kind`, ISO/IEC 14496-12, 8.10.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// `urn:mpeg:dash:role:2011` for one.
    pub scheme: String,
    /// `main`, `subtitle`, …
    pub value: String,
}

/// An edit list of the one shape live encoders write: empty edits, then one media edit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Edit {
    /// Sum of the leading empty edits in ticks of the track: everything happens this much later.
    pub delay: i64,
    /// Where the media edit starts in the media, in ticks of the track: what comes before is not shown.
    pub media_time: i64,
}

/// Sample defaults of `trex`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    /// Sample description used, from 1; 0 without `trex`.
    pub description_index: u32,
    /// Ticks of the track.
    pub duration: u32,
    /// Bytes.
    pub size_bytes: u32,
    /// ISO/IEC 14496-12, 8.8.3.1.
    pub flags: u32,
}

/// How two headers of one track go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compatibility {
    /// Nothing that matters differs.
    Same,
    /// Bit rates, edit list, defaults or words about the track differ: take them over, keep the generation.
    Merged,
    /// Coding or timescale differs: the samples need another header.
    NewGeneration,
}

impl TrackHeader {
    /// A track described by its sample entry alone, as an adapter of another input builds it: codec and shape are read
    /// from the entry; no language, roles or edit list.
    ///
    /// # Errors
    /// [`Error::UnsupportedCodec`], [`Error::SampleEntry`].
    pub fn from_sample_entry(timescale: Timescale, sample_entry: Bytes) -> Result<Self, Error> {
        let described = sample_entry::describe(&sample_entry, &[])?;
        Ok(Self {
            source_id: 1,
            kind: described.kind,
            timescale,
            codec: described.codec,
            sample_entry,
            language: None,
            label: None,
            roles: Vec::new(),
            video: described.video,
            audio: described.audio,
            declared_bitrate: described.bitrate,
            edit: Edit::default(),
            defaults: Defaults::default(),
        })
    }

    /// The header that a sync sample needs because it carries parameter sets that contradict this one's, as a relay's do
    /// whose encoder has changed; `None` if it needs no other.
    pub fn contradicted_by(&self, sample: &Sample) -> Option<Self> {
        if self.kind != Kind::Video || !sample.sync { None } else { parameter_sets::contradicted(self, sample) }
    }

    /// This track coded otherwise; `None` if the entry cannot be read.
    pub(crate) fn with_sample_entry(&self, sample_entry: Bytes) -> Option<Self> {
        let described = sample_entry::describe(&sample_entry, &[]).ok()?;
        let (codec, video) = (described.codec, described.video);
        Some(Self { codec, video, sample_entry, ..self.clone() })
    }

    /// Moves a sample from the media's timeline to the presentation's, as the edit list says.
    ///
    /// Empty edits delay decode times. The media edit's start shifts what is shown: of video by the composition offset
    /// (decode times stay, so they keep to the source's grid), of anything else by the decode time.
    pub fn apply_edit(&self, sample: &mut Sample) {
        sample.decode_time = sample.decode_time.saturating_add(self.edit.delay);
        if self.edit.media_time == 0 {
            return;
        }
        if self.kind == Kind::Video {
            let offset = i64::from(sample.composition_offset).saturating_sub(self.edit.media_time);
            sample.composition_offset = clamp_i32(offset);
        } else {
            sample.decode_time = sample.decode_time.saturating_sub(self.edit.media_time);
        }
    }

    /// Whether samples of a source that now sends `other` still decode with this header.
    pub fn compatible_with(&self, other: &Self) -> Compatibility {
        let coding = self.kind == other.kind
            && self.timescale == other.timescale
            && sample_entry::equal_but_bitrate(&self.sample_entry, &other.sample_entry);
        if !coding {
            return Compatibility::NewGeneration;
        }
        let words = self.edit == other.edit
            && self.defaults == other.defaults
            && self.declared_bitrate == other.declared_bitrate
            && self.sample_entry == other.sample_entry
            && self.language == other.language
            && self.label == other.label
            && self.roles == other.roles;
        if words { Compatibility::Same } else { Compatibility::Merged }
    }
}

fn clamp_i32(value: i64) -> i32 {
    i32::try_from(value).unwrap_or(if value < 0 { i32::MIN } else { i32::MAX })
}
