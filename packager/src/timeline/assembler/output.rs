// SPDX-License-Identifier: Apache-2.0
//! What goes into a timeline beside samples, and what comes out.

use std::collections::BTreeMap;
use std::time::Duration;

use headwater_media::{Generation, Grid, Kind, MediaDuration, SegmentNumber, Timescale, TrackId};

use crate::timeline::anchor::Anchor;
use crate::timeline::cut::PartCut;

/// What the operator wishes for a channel.
#[derive(Clone, Debug)]
pub struct Config {
    /// Wished segment duration; the whole multiple of the GOP nearest to it is used.
    pub segment: MediaDuration,
    /// Longest part.
    pub part: MediaDuration,
    /// How long a fragment that leaves a hole waits for the missing one.
    pub reorder: Duration,
    /// Fragments of a track that may wait so.
    pub early_max: usize,
    /// How far a track may fall behind the others before its segments are declared lost.
    pub late: Duration,
    /// How long media from zero waits for a manifest that tells its place in time.
    pub hint: Duration,
    /// Samples held per track while the timeline is being learned.
    pub held_samples_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            segment: MediaDuration::from_millis(2_000),
            part: MediaDuration::from_millis(200),
            reorder: Duration::from_secs(2),
            early_max: 256,
            late: Duration::from_secs(4),
            hint: Duration::from_secs(3),
            held_samples_max: 4_096,
        }
    }
}

/// What a new track brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackInput {
    /// What it carries.
    pub kind: Kind,
    /// Unit of its samples' times.
    pub timescale: Timescale,
}

/// What was decided for a track; fixed for the channel's life, but for the frame of a later generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackPlan {
    /// Usual duration of a sample.
    pub frame: MediaDuration,
    /// `PART-TARGET`; `None` publishes whole segments.
    pub part_target: Option<MediaDuration>,
}

/// Something wrong with the input that was survived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Defect {
    /// The GOP does not fit the segment grid.
    GopMisfit,
    /// A track fell behind and its segments are given up.
    Lost,
    /// Samples came while the timeline was unknown, past the bound.
    Overflow,
    /// The encoder's timeline started anew.
    Restart,
    /// The encoder's header changed.
    HeaderChange,
    /// A rendition's GOP does not fit the segments of the others: nobody can switch to it.
    NotSwitchable,
    /// A fragment's times are none that media can have.
    BadTime,
}

impl Defect {
    /// Its name in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GopMisfit => "gop_misfit",
            Self::Lost => "lost",
            Self::Overflow => "overflow",
            Self::Restart => "restart",
            Self::HeaderChange => "header_change",
            Self::NotSwitchable => "not_switchable",
            Self::BadTime => "bad_time",
        }
    }
}

/// What the channel has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// The grid is known; it comes before any part.
    Grid(Grid),
    /// The grid is final: what [`Assembler::memory`](super::Assembler::memory) gives is worth keeping.
    Confirmed,
    /// A track's plan is known; it comes before its first part.
    Plan(TrackId, TrackPlan),
    /// A part of a track, and the generation its segment belongs to as far as is known by now: a later
    /// [`Self::Generation`] takes over segments from its first on that are not published yet.
    Part(TrackId, Generation, PartCut),
    /// No further part belongs to that segment.
    End {
        /// Whose.
        track: TrackId,
        /// Which.
        number: SegmentNumber,
        /// Samples are missing at its end.
        short: bool,
    },
    /// Every segment of the track up to and with this one that is not published is lost.
    Lost(TrackId, SegmentNumber),
    /// From `first` on, segments belong to a new generation.
    Generation {
        /// First segment of it, on every track.
        first: SegmentNumber,
        /// Its number.
        generation: Generation,
    },
    /// Whether the rendition stands apart from now on: its borders wander against those of the others.
    Apart(TrackId, bool),
    /// The first guess of the grid was wrong: forget everything published, the channel begins now.
    Reset,
    /// Count and log.
    Defect(Option<TrackId>, Defect),
}

/// What survives a restart of the origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// The grid.
    pub grid: Grid,
    /// The grid is final, no guess.
    pub confirmed: bool,
    /// Where the last source's zero lies.
    pub anchor: Anchor,
    /// First segment of the newest generation.
    pub first: SegmentNumber,
    /// The newest generation.
    pub generation: Generation,
    /// Plans by track.
    pub plans: BTreeMap<TrackId, TrackPlan>,
    /// The newest segment published.
    pub last: Option<SegmentNumber>,
}
