// SPDX-License-Identifier: Apache-2.0
//! The MPD, with `$Number$` addressing for low latency and with a SegmentTimeline.
//!
//! The media timeline is Unix time: availabilityStartTime is 1970 and every Period's presentationTimeOffset equals its
//! start, so presentation time is media time in every Period and nothing of it depends on when an origin joined.
//!
//! A lost segment stands as `FailoverContent@valid="false"` in its Representation, and in a timeline as a jump of `S@t`
//! too. Players that do not read the element skip the jump; a new Period for each loss would cut the other tracks as well.

mod sets;
mod template;

use std::time::Duration;

use bytes::Bytes;
use dash_mpd::{
    Latency as LatencyElement, MPD, PatchLocation, Period as PeriodElement, PlaybackRate, ServiceDescription, UTCTiming,
};
use headwater_media::path::Object;
use headwater_media::{
    Generation, Grid, Ladder, MediaDuration, MediaTime, SegmentNumber, Timescale, TrackId, UtcTime, Window,
};

use crate::targets::Targets;

const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
const NAMESPACE: &str = "urn:mpeg:dash:schema:mpd:2011";
const PROFILES: &str = "urn:mpeg:dash:profile:isoff-live:2011,urn:mpeg:dash:profile:cmaf:2019";
const PROFILE_LOW_LATENCY: &str = ",http://www.dashif.org/guidelines/low-latency-live-v5";
/// What a segment may exceed the grid by: an audio frame, or a picture that waits for its key frame.
const SEGMENT_SLACK: MediaDuration = MediaDuration::from_millis(100);

/// What an MPD is rendered from.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// `MPD@id`, the channel's name: what a patch names its MPD by.
    pub id: &'a str,
    /// The tracks.
    pub ladder: &'a Ladder,
    /// Where segments begin.
    pub grid: &'a Grid,
    /// The channel's promises.
    pub targets: &'a Targets,
    /// Oldest first; those that have left every window are not written.
    pub periods: &'a [Period],
    /// What exists of each track.
    pub windows: &'a [(TrackId, &'a Window)],
    /// The longest part target of the channel: the chunk that low latency counts on.
    pub part_target: MediaDuration,
    /// How much is really here. Keep it constant once the window is full: a patch cannot change it.
    pub time_shift_buffer: MediaDuration,
    /// When this MPD became what it is.
    pub publish_time: UtcTime,
    /// Running, or over.
    pub state: State,
    /// What players should aim at.
    pub latency: Latency,
    /// The origin's own clock, `/time`.
    pub utc_timing_url: &'a str,
    /// How long a patch from this MPD will be there; `None` for no patches.
    pub patch_ttl: Option<Duration>,
}

/// A Period: the channel from `first` on, until the next Period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Period {
    /// `Period@id`, of letters, digits, `-`, `_`: patches name it in a path.
    pub id: String,
    /// Its first segment; of a channel's first Period the same one whenever the origin joined.
    pub first: SegmentNumber,
    /// The header of each track; a track that is not named is not in the Period.
    pub generations: Vec<(TrackId, Generation)>,
}

/// Whether more will come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Yes.
    Live,
    /// No.
    Ended {
        /// End of the last sample.
        end: MediaTime,
    },
}

/// `ServiceDescription` latency, milliseconds from a sample's time to its presentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    /// Aimed at.
    pub target_ms: u32,
    /// Not below.
    pub min_ms: u32,
    /// Not above.
    pub max_ms: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Addressing {
    Number,
    Time,
}

/// An MPD before its serialisation: keep the timeline's to compute patches from.
#[derive(Clone, Debug)]
pub struct Document(MPD);

impl Document {
    /// The MPD's text.
    pub fn render(&self) -> Bytes {
        format!("{DECLARATION}{}", self.0).into()
    }

    pub(crate) const fn model(&self) -> &MPD {
        &self.0
    }
}

/// The low-latency MPD, `manifest.mpd`: `$Number$` addressing, segments available as soon as their first chunk is.
pub fn render_number(input: &Input) -> Bytes {
    number(input).render()
}

/// The MPD of complete segments, `timeline.mpd`: SegmentTimeline and `$Time$` addressing, to be followed by patches.
pub fn render_timeline(input: &Input) -> Bytes {
    timeline(input).render()
}

/// As [`render_number`], before serialisation.
pub fn number(input: &Input) -> Document {
    document(input, Addressing::Number)
}

/// As [`render_timeline`], before serialisation.
pub fn timeline(input: &Input) -> Document {
    document(input, Addressing::Time)
}

/// When ended, the MPD is static and its first Period begins with the first segment that is here, presentation time
/// staying media time: a viewer who was there goes on, a new one starts where there is something. Hence
/// `mediaPresentationDuration`, the end of the last Period, counts from 1970 as the Periods' starts do.
fn document(input: &Input, addressing: Addressing) -> Document {
    let live = input.state == State::Live;
    let low_latency = live && addressing == Addressing::Number;
    let segment = input.targets.segment;
    let shown = shown_periods(input);
    let mut mpd = MPD {
        xmlns: Some(NAMESPACE.into()),
        id: Some(input.id.into()),
        profiles: Some(format!("{PROFILES}{}", if low_latency { PROFILE_LOW_LATENCY } else { "" })),
        mpdtype: Some(if live { "dynamic" } else { "static" }.into()),
        availabilityStartTime: chrono::DateTime::from_timestamp_millis(0),
        publishTime: chrono::DateTime::from_timestamp_millis(input.publish_time.millis()),
        maxSegmentDuration: Some((segment + SEGMENT_SLACK).to_std()),
        minBufferTime: Some(if low_latency { input.targets.part_hold_back } else { segment }.to_std()),
        periods: (0..shown.len())
            .map(|index| period(input, &shown, index, addressing))
            // In a timeline, one that has just begun has no segment yet.
            .filter(|period| addressing == Addressing::Number || !period.adaptations.is_empty())
            .collect(),
        ..MPD::default()
    };
    match input.state {
        State::Ended { end } => mpd.mediaPresentationDuration = Some(end.since(epoch(end.timescale())).to_std()),
        State::Live => {
            mpd.minimumUpdatePeriod = Some(segment.to_std());
            mpd.timeShiftBufferDepth = Some(input.time_shift_buffer.to_std());
            let delay = MediaDuration::from_millis(input.latency.target_ms.into());
            mpd.suggestedPresentationDelay = Some(if low_latency { delay } else { input.targets.hold_back() }.to_std());
            mpd.UTCTiming =
                ["http-xsdate", "http-iso", "http-head"].map(|scheme| utc_timing(scheme, input.utc_timing_url)).into();
        }
    }
    if low_latency {
        mpd.ServiceDescription = vec![service_description(input.latency)];
    }
    if let (true, Addressing::Time, Some(ttl)) = (live, addressing, input.patch_ttl) {
        let content = Object::Patch { publish_ms: input.publish_time.millis() }.to_string();
        mpd.PatchLocation = vec![PatchLocation { ttl: Some(ttl.as_secs_f64()), content }];
    }
    Document(mpd)
}

/// A Period as it is written: the segments `first..end`.
struct Shown<'a> {
    period: &'a Period,
    first: SegmentNumber,
    end: SegmentNumber,
    /// The Period before, written or not.
    before: Option<&'a Period>,
}

fn shown_periods<'a>(input: &Input<'a>) -> Vec<Shown<'a>> {
    let firsts = || input.windows.iter().filter_map(|(_, window)| window.first_number());
    let oldest = firsts().min().unwrap_or_default();
    let begin = match input.state {
        State::Live => SegmentNumber(0),
        State::Ended { end } => firsts().max().unwrap_or_else(|| input.grid.number_at(end - input.time_shift_buffer)),
    };
    let mut shown = Vec::with_capacity(input.periods.len());
    for (index, period) in input.periods.iter().enumerate() {
        let end = input.periods.get(index + 1).map_or(SegmentNumber(u64::MAX), |next| next.first);
        if end <= oldest.max(begin) {
            continue;
        }
        let before = index.checked_sub(1).and_then(|i| input.periods.get(i));
        shown.push(Shown { period, first: period.first.max(begin), end, before });
    }
    shown
}

fn period(input: &Input, shown: &[Shown], index: usize, addressing: Addressing) -> PeriodElement {
    let this = &shown[index];
    let start = start_of(input.grid, this.first);
    let end = match (shown.get(index + 1), input.state) {
        (_, State::Live) => None,
        (Some(next), State::Ended { .. }) => Some(start_of(input.grid, next.first)),
        (None, State::Ended { end }) => Some(end),
    };
    PeriodElement {
        id: Some(this.period.id.clone()),
        start: Some(start.since(epoch(start.timescale())).to_std()),
        duration: end.map(|end| end.rescale(Timescale::NANOS).since(start).to_std()),
        adaptations: sets::adaptation_sets(input, this, addressing),
        ..PeriodElement::default()
    }
}

fn start_of(grid: &Grid, number: SegmentNumber) -> MediaTime {
    grid.start(number, Timescale::NANOS)
}

const fn epoch(timescale: Timescale) -> MediaTime {
    MediaTime::new(0, timescale)
}

fn utc_timing(scheme: &str, url: &str) -> UTCTiming {
    UTCTiming {
        schemeIdUri: format!("urn:mpeg:dash:utc:{scheme}:2014"),
        value: Some(url.into()),
        ..UTCTiming::default()
    }
}

fn service_description(latency: Latency) -> ServiceDescription {
    ServiceDescription {
        id: Some("0".into()),
        Latency: vec![LatencyElement {
            min: Some(latency.min_ms.into()),
            max: Some(latency.max_ms.into()),
            target: Some(latency.target_ms.into()),
            referenceId: Some(sets::REFERENCE_TIME_ID.into()),
        }],
        PlaybackRate: vec![PlaybackRate { min: Some(0.96), max: Some(1.04) }],
        ..ServiceDescription::default()
    }
}
