// SPDX-License-Identifier: Apache-2.0
//! A channel's state in words and numbers, for the API and the watch page.

use headwater_media::{MediaTime, UtcTime};
use serde_json::{Value, json};

use super::task::Task;
use crate::channel::commit::TrackWriter;

/// Segments told of each track.
const SEGMENTS_TOLD: usize = 30;

impl Task {
    /// The state now.
    pub(super) fn status(&self, now: UtcTime) -> Value {
        let counts = self.source_counts();
        let tracks = self.tracks.iter().filter_map(|(id, track)| {
            let counts = counts.get(id).copied().unwrap_or_default();
            track.writer.as_ref().map(|writer| track_status(writer, counts, now))
        });
        let view = self.channel.view();
        json!({
            "id": self.channel.id.as_str(),
            "state": self.state().as_str(),
            "started_at": self.started.map(|t| t.to_string()),
            "segment_duration": view.grid.map(|g| g.duration().seconds_f64()),
            "part_duration": self.channel.config.part().seconds_f64(),
            "target_duration": view.targets.map(|t| t.target_duration),
            "window_seconds": view.targets.map(|t| t.window.seconds_f64()),
            "generation": self.breaks.last().map_or(0, |b| b.generation.0),
            "latency_profile": "low",
            "tracks": tracks.collect::<Vec<_>>(),
            "defects": self.defects,
        })
    }
}

fn track_status(writer: &TrackWriter, counts: headwater_packager::timeline::intake::Counts, now: UtcTime) -> Value {
    let (track, window) = (writer.track(), &writer.window);
    let last_part = window.last_part();
    let age = window.end().map(|end| now.nanos().saturating_sub(end.nanos()) / 1_000_000);
    let from = window.len().saturating_sub(SEGMENTS_TOLD);
    let mut segments: Vec<Value> = window
        .iter_from(from)
        .map(|s| {
            let parts: Vec<f64> = s.parts.iter().map(|p| p.duration.seconds_f64()).collect();
            segment(
                s.number.0,
                s.start,
                s.duration.seconds_f64(),
                s.length_bytes,
                &parts,
                (s.gap, s.discontinuity, false),
            )
        })
        .collect();
    if let Some(open) = window.open() {
        let parts: Vec<f64> = open.parts.iter().map(|p| p.duration.seconds_f64()).collect();
        let duration = open.duration().seconds_f64();
        segments.push(segment(
            open.number.0,
            open.start,
            duration,
            open.length_bytes(),
            &parts,
            (false, open.discontinuity, true),
        ));
    }
    let gaps = window.iter().filter(|s| s.gap).count();
    json!({
        "id": track.id.as_str(),
        "kind": track.kind.as_str(),
        "codec": track.codec.rfc6381(),
        "label": track.label,
        "language": track.language,
        "width": track.video.as_ref().map(|v| v.width),
        "height": track.video.as_ref().map(|v| v.height),
        "frame_rate": track.video.as_ref().and_then(|v| v.frame_rate).map(|r| r.to_string()),
        "sample_rate": track.audio.as_ref().map(|a| a.sample_rate),
        "channels": track.audio.as_ref().map(|a| a.channels),
        "bitrate": track.average_bitrate,
        "peak_bitrate": track.peak_bitrate,
        "part_target": track.part_target.map(|p| p.seconds_f64()),
        "first_segment": window.first_number().map(|n| n.0),
        "last_segment": window.open().map(|o| o.number).or_else(|| window.last().map(|s| s.number)).map(|n| n.0),
        "last_part": last_part.map(|(_, part)| part.0),
        "last_part_age_ms": age,
        "stored_bytes": writer.edge.store.length_bytes(),
        "defects": {
            "gaps": gaps,
            "late": counts.late,
            "duplicate": counts.duplicate,
            "missing": counts.missing,
            "reordered": counts.reordered,
        },
        "segments": segments,
    })
}

fn segment(
    number: u64,
    start: MediaTime,
    duration: f64,
    bytes: u64,
    parts: &[f64],
    flags: (bool, bool, bool),
) -> Value {
    let (gap, discontinuity, open) = flags;
    json!({
        "number": number,
        "start": start.utc().to_string(),
        "duration": duration,
        "bytes": bytes,
        "parts": parts.len(),
        "part_durations": parts,
        "gap": gap,
        "discontinuity": discontinuity,
        "open": open,
    })
}
