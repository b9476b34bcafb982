// SPDX-License-Identifier: Apache-2.0
//! What pushed manifests tell: how long segments are, and where a source that counts from zero lies in time.
//!
//! They are hints, never copied to viewers: they can be early, incomplete and name media that is not here yet.

use bytes::Bytes;
use headwater_manifests::{dash, hls};
use headwater_media::{Kind, MediaDuration, MediaTime, Timescale};
use headwater_packager::cmaf::Header;
use tracing::debug;

use super::names::Target;
use crate::channel::{Channel, Command};

/// Takes what an MPD tells.
pub(super) async fn mpd(channel: &Channel, text: &Bytes) {
    let manifest = match dash::read::parse(text) {
        Ok(manifest) => manifest,
        Err(error) => {
            debug!(channel = %channel.id, %error, "a pushed MPD tells nothing");
            return;
        }
    };
    let Some(period) = manifest.periods.first() else { return };
    let template = period.representations.iter().find_map(|r| r.template.as_ref());
    if let Some(template) = template
        && let Some(ticks) = template.duration.and_then(|d| i64::try_from(d).ok())
    {
        channel.send(Command::HintSegment(MediaDuration::new(ticks, template.timescale))).await;
    }
    let Some(start) = manifest.availability_start else { return };
    let offset = template
        .map_or(0, |t| MediaTime::new(i64::try_from(t.presentation_time_offset).unwrap_or(0), t.timescale).nanos());
    let zero = start.nanos().saturating_add(period.start.map_or(0, MediaDuration::nanos)).saturating_sub(offset);
    channel.send(Command::HintAnchor(MediaTime::new(zero, Timescale::NANOS))).await;
}

/// Takes what an HLS playlist tells: the date of a segment whose media has come gives the source's zero.
pub(super) async fn playlist(channel: &Channel, path: &str, text: &Bytes) {
    let Ok(hls::read::Playlist::Media(media)) = hls::read::parse(text) else { return };
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let beside = |uri: &str| {
        let file = uri.split(['?', '#']).next().unwrap_or(uri);
        if folder.is_empty() { file.to_owned() } else { format!("{folder}/{file}") }
    };
    let name = |path: &str| match Target::parse(path) {
        Ok(Target::Stream { name, .. }) => Some(name),
        _ => None,
    };
    for segment in media.segments.iter().rev() {
        let segment_path = beside(&segment.uri);
        // Sound is cut at its own frames and starts early by its priming: pictures tell the grid.
        let sound = name(&segment_path).and_then(|n| channel.names.header(&n, true)).is_some_and(|h| !has_video(&h));
        if sound && channel.names.any(has_video) {
            return;
        }
        if let Some(map) = &segment.map
            && let (Some(of), Some(to)) = (name(&segment_path), name(&beside(&map.uri)))
            && of != to
        {
            channel.names.map(&of, &to);
        }
        let (Some(date), Some(start)) = (segment.program_date_time, channel.names.start_of(&segment_path)) else {
            continue;
        };
        if !sound {
            channel.send(Command::HintSegment(segment.duration)).await;
        }
        let zero = date.nanos().saturating_sub(start.nanos());
        channel.send(Command::HintAnchor(MediaTime::new(zero, Timescale::NANOS))).await;
        return;
    }
}

fn has_video(header: &Header) -> bool {
    header.tracks.iter().any(|t| t.kind == Kind::Video)
}
