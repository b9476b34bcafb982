// SPDX-License-Identifier: Apache-2.0
//! DASH manifests of a channel: one MPD for each complete segment, rendered once, and patches from the recent ones.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use headwater_manifests::dash::mpd::{self, Document, Input, Latency, Period, State};
use headwater_manifests::dash::patch;
use headwater_media::path::{Freshness, Object};
use headwater_media::{Generation, Kind, MediaDuration, SegmentNumber, TrackId, UtcTime};
use http::{Response, StatusCode};
use parking_lot::Mutex;

use super::live::Answer;
use crate::channel::{Channel, State as ChannelState, View};
use crate::edge::{Rendered, Snapshot};

/// MPDs kept to patch from.
const PATCHABLE: usize = 32;
/// Longest a first MPD is held.
const START_DEADLINE: Duration = Duration::from_secs(10);

/// The MPDs of one channel.
#[derive(Debug, Default)]
pub struct Manifests {
    /// Guards the newest ones; held for one rendering, so that each version is rendered once.
    state: Mutex<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    number: Option<(Version, Arc<Rendered>)>,
    timeline: Option<(Version, Arc<Rendered>)>,
    documents: VecDeque<(i64, Document)>,
}

/// What an MPD is a function of, beside the windows up to `complete`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Version {
    view: usize,
    complete: SegmentNumber,
    ended: bool,
}

impl Answer<'_> {
    pub(super) async fn mpd(&self, object: Object<'_>) -> Response<Body> {
        let mut views = self.channel.watch();
        let ready = views.wait_for(|view| view.settled && !view.ladder.is_empty());
        let Ok(Ok(view)) = tokio::time::timeout(START_DEADLINE, ready).await.map(|r| r.map(|v| Arc::clone(&v))) else {
            return self.starting();
        };
        match self.channel.manifests.render(self.channel, &view, object == Object::Timeline) {
            Some(rendered) => self.ask.text(&rendered, object.media_type(), Freshness::Playlist),
            None => self.starting(),
        }
    }

    pub(super) fn patch(&self, publish_ms: i64) -> Response<Body> {
        let view = self.channel.view();
        match self.channel.manifests.patch(self.channel, &view, publish_ms) {
            Some(rendered) => self.ask.text(&rendered, Object::Patch { publish_ms }.media_type(), Freshness::Playlist),
            None => self.ask.error(StatusCode::GONE, Freshness::PlaylistError, "no patch from that MPD: load it anew"),
        }
    }
}

impl Manifests {
    fn render(&self, channel: &Channel, view: &Arc<View>, timeline: bool) -> Option<Arc<Rendered>> {
        let snapshots = snapshots(channel, view);
        let version = version(view, &snapshots)?;
        let mut cache = self.state.lock();
        let kept = if timeline { &cache.timeline } else { &cache.number };
        if let Some((known, rendered)) = kept
            && *known == version
        {
            return Some(Arc::clone(rendered));
        }
        let document = document(channel, view, &snapshots, timeline)?;
        let rendered = Arc::new(Rendered::new(document.1.render()));
        if timeline {
            if cache.documents.back().is_none_or(|(ms, _)| *ms != document.0) {
                cache.documents.push_back(document);
            }
            while cache.documents.len() > PATCHABLE {
                cache.documents.pop_front();
            }
            cache.timeline = Some((version, Arc::clone(&rendered)));
        } else {
            cache.number = Some((version, Arc::clone(&rendered)));
        }
        Some(rendered)
    }

    fn patch(&self, channel: &Channel, view: &Arc<View>, publish_ms: i64) -> Option<Arc<Rendered>> {
        self.render(channel, view, true)?;
        let cache = self.state.lock();
        let (_, from) = cache.documents.iter().find(|(ms, _)| *ms == publish_ms)?;
        let (_, to) = cache.documents.back()?;
        patch::between(from, to).map(|patch| Arc::new(Rendered::new(patch)))
    }
}

fn snapshots(channel: &Channel, view: &View) -> Vec<(TrackId, Arc<Snapshot>)> {
    let edges = channel.edges();
    let listed = view.ladder.tracks().iter().filter(|t| t.kind != Kind::Metadata);
    listed.filter_map(|t| Some((t.id.clone(), edges.get(&t.id)?.snapshot()))).collect()
}

fn version(view: &Arc<View>, snapshots: &[(TrackId, Arc<Snapshot>)]) -> Option<Version> {
    let complete = snapshots.iter().map(|(_, s)| s.window.last().map_or(SegmentNumber(0), |l| l.number)).min()?;
    // The address stands for the version: a view is never changed, and the cache keeps none that is gone.
    Some(Version { view: view.revision, complete, ended: view.state == ChannelState::Ended })
}

fn document(channel: &Channel, view: &View, snapshots: &[(TrackId, Arc<Snapshot>)], timeline: bool) -> Option<(i64, Document)> {
    let (grid, targets) = (view.grid?, view.targets?);
    let complete = snapshots.iter().map(|(_, s)| s.window.last().map_or(SegmentNumber(0), |l| l.number)).min()?;
    let end = snapshots.iter().filter_map(|(_, s)| s.window.end()).max()?;
    let here = snapshots.iter().map(|(_, s)| s.window.duration()).filter(|d| d.ticks() > 0).min();
    let whole_seconds = here.map_or(0, |d| d.nanos() / 1_000_000_000);
    let listed = targets.window.nanos() / 1_000_000_000;
    let buffer = MediaDuration::from_millis(whole_seconds.min(listed) * 1_000).max(targets.segment);
    let tracks: Vec<&TrackId> = snapshots.iter().map(|(id, _)| id).collect();
    let period = |id: String, first: SegmentNumber, generation: Generation| Period {
        id,
        first,
        generations: tracks.iter().map(|t| ((*t).clone(), generation)).collect(),
    };
    let mut periods = vec![period("0".to_owned(), SegmentNumber(0), Generation(0))];
    let oldest = snapshots.iter().filter_map(|(_, s)| s.window.first_number()).min()?;
    for b in &view.breaks {
        if b.first <= oldest {
            periods.clear();
        }
        periods.push(period(b.generation.to_string(), b.first, b.generation));
    }
    let windows: Vec<(TrackId, &headwater_media::Window)> = snapshots.iter().map(|(id, s)| (id.clone(), &s.window)).collect();
    // A function of the windows, so that twin origins publish the same MPD: the end of the newest complete segment.
    let publish_time = UtcTime::from_nanos(grid.start(complete.next(), headwater_media::Timescale::MILLIS).nanos());
    let part = channel.config.part();
    let target_ms = if channel.config.latency_ms > 0 {
        i64::from(channel.config.latency_ms)
    } else {
        part.times(6).nanos() / 1_000_000 + 300
    };
    let target_ms = u32::try_from(target_ms).unwrap_or(1_500);
    let input = Input {
        id: channel.id.as_str(),
        ladder: &view.ladder,
        grid: &grid,
        targets: &targets,
        periods: &periods,
        windows: &windows,
        part_target: part,
        time_shift_buffer: buffer,
        publish_time,
        state: if view.state == ChannelState::Ended { State::Ended { end } } else { State::Live },
        latency: Latency { target_ms, min_ms: target_ms / 2, max_ms: target_ms * 4 },
        utc_timing_url: "/time",
        patch_ttl: timeline.then(|| targets.segment.to_std() * 16),
    };
    let document = if timeline { mpd::timeline(&input) } else { mpd::number(&input) };
    Some((publish_time.millis(), document))
}
