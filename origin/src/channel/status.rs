// SPDX-License-Identifier: Apache-2.0
//! A channel's state in words and numbers, for the API and the watch page.

use std::collections::BTreeMap;

use headwater_media::{MediaDuration, MediaTime, UtcTime};
use headwater_packager::timeline::intake::Counts;
use serde::Serialize;
use utoipa::ToSchema;

use super::Source;
use super::task::Task;
use crate::channel::commit::TrackWriter;

/// Segments told of each track.
const SEGMENTS_TOLD: usize = 30;

/// State of a channel.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Status {
    /// Its name.
    pub id: String,
    /// `starting`, `live`, `stalled` (no part for three target durations) or `ended`.
    #[schema(example = "live")]
    pub state: &'static str,
    /// Who said that there is this channel.
    pub source: Source,
    /// When its first part was published.
    pub started_at: Option<String>,
    /// Seconds, once learned from the GOP.
    pub segment_duration: Option<f64>,
    /// Longest part in seconds.
    pub part_duration: f64,
    /// `EXT-X-TARGETDURATION`, seconds.
    pub target_duration: Option<u64>,
    /// What playlists list, in seconds.
    pub window_seconds: Option<f64>,
    /// Discontinuities so far.
    pub generation: u32,
    /// `low`: parts are published.
    pub latency_profile: &'static str,
    /// Bodies of encoders that are open now.
    pub ingest_bodies: usize,
    /// Every track with media.
    pub tracks: Vec<TrackStatus>,
    /// What was wrong with the input and survived, by kind.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub defects: BTreeMap<&'static str, u64>,
    /// When this was told.
    pub now: String,
}

/// State of a track.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TrackStatus {
    /// Its name.
    pub id: String,
    /// `video`, `audio`, `text` or `metadata`.
    pub kind: &'static str,
    /// Codec by RFC 6381.
    pub codec: String,
    /// Label of the header.
    pub label: Option<String>,
    /// Language tag.
    pub language: Option<String>,
    /// Picture width.
    pub width: Option<u16>,
    /// Picture height.
    pub height: Option<u16>,
    /// Pictures a second.
    pub frame_rate: Option<String>,
    /// Samples of sound a second.
    pub sample_rate: Option<u32>,
    /// Channels of sound.
    pub channels: Option<u16>,
    /// Mean over the window, bits per second.
    pub bitrate: u64,
    /// Largest segment of the window, bits per second.
    pub peak_bitrate: u64,
    /// Longest part in seconds, a whole number of frames.
    pub part_target: Option<f64>,
    /// Oldest segment listed.
    pub first_segment: Option<u64>,
    /// Newest segment, in progress or whole.
    pub last_segment: Option<u64>,
    /// Newest part of it.
    pub last_part: Option<u32>,
    /// Now against the end of the newest part's media.
    pub last_part_age_ms: Option<i64>,
    /// Media bytes in memory.
    pub stored_bytes: u64,
    /// What was wrong with its input and survived.
    pub defects: TrackDefects,
    /// The newest 30 segments.
    pub segments: Vec<SegmentStatus>,
}

/// What was wrong with a track's input.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct TrackDefects {
    /// Segments lost.
    pub gaps: usize,
    /// Samples that came after their segment.
    pub late: u64,
    /// Samples that came twice.
    pub duplicate: u64,
    /// Samples that never came.
    pub missing: u64,
    /// Samples out of order.
    pub reordered: u64,
}

/// State of a segment.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SegmentStatus {
    /// Its number on the epoch grid.
    pub number: u64,
    /// When its media begins.
    pub start: String,
    /// Seconds.
    pub duration: f64,
    /// Its size.
    pub bytes: u64,
    /// Parts in it.
    pub parts: usize,
    /// Seconds of each.
    pub part_durations: Vec<f64>,
    /// It is lost.
    pub gap: bool,
    /// It begins a new generation.
    pub discontinuity: bool,
    /// It is in progress.
    pub open: bool,
}

impl Task {
    /// The state now.
    pub(super) fn status(&self, now: UtcTime) -> Status {
        let counts = self.source_counts();
        let tracks = self.tracks.iter().filter_map(|(id, track)| {
            let counts = counts.get(id).copied().unwrap_or_default();
            track.writer.as_ref().map(|writer| track_status(writer, counts, now))
        });
        let view = self.channel.view();
        Status {
            id: self.channel.id.to_string(),
            state: self.state().as_str(),
            source: self.channel.source(),
            started_at: self.started.map(|t| t.to_string()),
            segment_duration: view.grid.map(|g| g.duration().seconds_f64()),
            part_duration: self.channel.settings().part().seconds_f64(),
            target_duration: view.targets.map(|t| t.target_duration),
            window_seconds: view.targets.map(|t| t.window.seconds_f64()),
            generation: self.breaks.last().map_or(0, |b| b.generation.0),
            latency_profile: "low",
            ingest_bodies: self.channel.bodies(),
            tracks: tracks.collect(),
            defects: self.defects.clone(),
            now: now.to_string(),
        }
    }
}

fn track_status(writer: &TrackWriter, counts: Counts, now: UtcTime) -> TrackStatus {
    let (track, window) = (writer.track(), &writer.window);
    let durations = |parts: &[headwater_media::Part]| parts.iter().map(|p| p.duration.seconds_f64()).collect();
    let from = window.len().saturating_sub(SEGMENTS_TOLD);
    let whole = window.iter_from(from).map(|s| {
        let told = segment(s.number.0, s.start, s.duration, s.length_bytes, durations(&s.parts));
        SegmentStatus { gap: s.gap, discontinuity: s.discontinuity, ..told }
    });
    let open = window.open().map(|open| {
        let told = segment(open.number.0, open.start, open.duration(), open.length_bytes(), durations(&open.parts));
        SegmentStatus { discontinuity: open.discontinuity, open: true, ..told }
    });
    let last = window.open().map(|o| o.number).or_else(|| window.last().map(|s| s.number));
    TrackStatus {
        id: track.id.to_string(),
        kind: track.kind.as_str(),
        codec: track.codec.rfc6381().to_owned(),
        label: track.label.clone(),
        language: track.language.clone(),
        width: track.video.as_ref().map(|v| v.width),
        height: track.video.as_ref().map(|v| v.height),
        frame_rate: track.video.as_ref().and_then(|v| v.frame_rate).map(|r| r.to_string()),
        sample_rate: track.audio.as_ref().map(|a| a.sample_rate),
        channels: track.audio.as_ref().map(|a| a.channels),
        bitrate: track.average_bitrate,
        peak_bitrate: track.peak_bitrate,
        part_target: track.part_target.map(MediaDuration::seconds_f64),
        first_segment: window.first_number().map(|n| n.0),
        last_segment: last.map(|n| n.0),
        last_part: window.last_part().map(|(_, part)| part.0),
        last_part_age_ms: window.end().map(|end| now.nanos().saturating_sub(end.nanos()) / 1_000_000),
        stored_bytes: writer.edge.store.length_bytes(),
        defects: TrackDefects {
            gaps: window.iter().filter(|s| s.gap).count(),
            late: counts.late,
            duplicate: counts.duplicate,
            missing: counts.missing,
            reordered: counts.reordered,
        },
        segments: whole.chain(open).collect(),
    }
}

fn segment(number: u64, start: MediaTime, duration: MediaDuration, bytes: u64, parts: Vec<f64>) -> SegmentStatus {
    SegmentStatus {
        number,
        start: start.utc().to_string(),
        duration: duration.seconds_f64(),
        bytes,
        parts: parts.len(),
        part_durations: parts,
        gap: false,
        discontinuity: false,
        open: false,
    }
}
