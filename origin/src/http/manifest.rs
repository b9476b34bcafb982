// SPDX-License-Identifier: Apache-2.0
//! DASH manifests of a channel: one MPD for each complete segment, rendered once, and patches from the recent ones.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::body::Body;
use headwater_manifests::dash::mpd::{self, Document, Input, Latency, Period, State};
use headwater_manifests::dash::patch;
use headwater_media::path::{Freshness, Object};
use headwater_media::{Generation, Kind, MediaDuration, SegmentNumber, TrackId, UtcTime, Window};
use http::Response;
use parking_lot::Mutex;

use super::live::{Answer, Unready};
use crate::channel::{Channel, State as ChannelState, View};
use crate::edge::{Rendered, Snapshot};

/// MPDs kept to patch from.
const PATCHABLE: usize = 32;

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
        let view = match self.settled().await {
            Ok(view) => view,
            Err(Unready::Starting) => return self.starting(),
            Err(Unready::Full) => return self.full(),
        };
        match self.channel.manifests.render(self.channel, &view, object == Object::Timeline) {
            Some(rendered) => self.ask.text(&rendered, object.media_type(), Freshness::Playlist),
            None => self.starting(),
        }
    }

    /// A patch from the newest MPD is held until there is a newer one: dash.js loads the whole MPD when nothing is new.
    pub(super) async fn patch(&self, publish_ms: i64) -> Response<Body> {
        if let Some(complete) = self.channel.manifests.newest(publish_ms) {
            let Ok(_parked) = self.parked() else { return self.full() };
            let (view, edges) = (self.channel.view(), self.channel.edges());
            let newer = async {
                for edge in listed(&view).filter_map(|id| edges.get(id)) {
                    edge.reached(|s| s.ended || s.window.last().is_some_and(|last| last.number > complete)).await;
                }
            };
            // Without one the patch says that nothing is new.
            let _ = tokio::time::timeout(self.ask.target * 3, newer).await;
        }
        let view = self.channel.view();
        match self.channel.manifests.patch(self.channel, &view, publish_ms) {
            Some(rendered) => self.ask.text(&rendered, Object::Patch { publish_ms }.media_type(), Freshness::Playlist),
            None => self.starting(),
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

    /// The newest MPD, as readers get it or would.
    pub(crate) fn text(&self, channel: &Channel, timeline: bool) -> Option<bytes::Bytes> {
        let view = channel.view();
        if !view.settled {
            return None;
        }
        let snapshots = snapshots(channel, &view);
        let version = version(&view, &snapshots)?;
        let known = {
            let cache = self.state.lock();
            let kept = if timeline { &cache.timeline } else { &cache.number };
            kept.as_ref().filter(|(known, _)| *known == version).map(|(_, rendered)| rendered.body.clone())
        };
        known.or_else(|| document(channel, &view, &snapshots, timeline).map(|(_, document)| document.render()))
    }

    /// The newest complete segment of the timeline MPD, if it is the one of that publish time.
    fn newest(&self, publish_ms: i64) -> Option<SegmentNumber> {
        let cache = self.state.lock();
        let (newest_ms, _) = cache.documents.back()?;
        let (version, _) = cache.timeline.as_ref()?;
        (*newest_ms == publish_ms && !version.ended).then_some(version.complete)
    }

    /// The patch to the newest MPD. From one that is not kept or differs too much, a patch that fits none: dash.js and
    /// shaka then load the MPD, while an error makes them ask for the same patch until they stall.
    fn patch(&self, channel: &Channel, view: &Arc<View>, publish_ms: i64) -> Option<Arc<Rendered>> {
        self.render(channel, view, true)?;
        let cache = self.state.lock();
        let (_, to) = cache.documents.back()?;
        let from = cache.documents.iter().find(|(ms, _)| *ms == publish_ms);
        let patch = from.and_then(|(_, from)| patch::between(from, to)).unwrap_or_else(|| patch::misfit(to));
        Some(Arc::new(Rendered::new(patch)))
    }
}

fn snapshots(channel: &Channel, view: &View) -> Vec<(TrackId, Arc<Snapshot>)> {
    let edges = channel.edges();
    listed(view).filter_map(|id| Some((id.clone(), edges.get(id)?.snapshot()))).collect()
}

/// The tracks that stand in an MPD.
fn listed(view: &View) -> impl Iterator<Item = &TrackId> {
    view.ladder.tracks().iter().filter(|t| t.kind != Kind::Metadata).map(|t| &t.id)
}

/// The newest segment that is complete on every track that has one; before the first, the one before it.
fn complete(snapshots: &[(TrackId, Arc<Snapshot>)]) -> Option<SegmentNumber> {
    let complete = snapshots.iter().filter_map(|(_, s)| s.window.last().map(|last| last.number)).min();
    let open = || snapshots.iter().filter_map(|(_, s)| s.window.open().map(|open| open.number)).min();
    complete.or_else(|| open().map(|number| SegmentNumber(number.0.saturating_sub(1))))
}

/// The window without what is not complete on every track yet, so that an MPD follows from its publish time alone.
fn until(window: &Window, complete: SegmentNumber) -> Window {
    if window.last().is_none_or(|last| last.number <= complete) {
        return window.clone();
    }
    let mut shown = Window::new();
    for segment in window.iter().take_while(|s| s.number <= complete) {
        shown.append(Arc::clone(segment));
    }
    shown
}

fn version(view: &Arc<View>, snapshots: &[(TrackId, Arc<Snapshot>)]) -> Option<Version> {
    let complete = complete(snapshots)?;
    // The address stands for the version: a view is never changed, and the cache keeps none that is gone.
    Some(Version { view: view.revision, complete, ended: view.state == ChannelState::Ended })
}

fn document(
    channel: &Channel,
    view: &View,
    snapshots: &[(TrackId, Arc<Snapshot>)],
    timeline: bool,
) -> Option<(i64, Document)> {
    let (grid, targets) = (view.grid?, view.targets?);
    let complete = complete(snapshots)?;
    let ended = view.state == ChannelState::Ended;
    let shown: Vec<Window> =
        snapshots.iter().map(|(_, s)| if ended { s.window.clone() } else { until(&s.window, complete) }).collect();
    let end = snapshots.iter().filter_map(|(_, s)| s.window.end()).max()?;
    let settings = channel.settings();
    let part = settings.part();
    // A function of the windows, so that twin origins publish the same MPD: the end of the newest complete segment.
    let publish_time = UtcTime::from_nanos(grid.start(complete.next(), headwater_media::Timescale::MILLIS).nanos());
    // Numbers promise every segment of the buffer on every track, so it begins where the last of them does.
    let common = shown.iter().filter_map(Window::first_number).max()?;
    let here = publish_time.nanos() - grid.start(common, headwater_media::Timescale::NANOS).nanos();
    let full = targets.window.nanos() / 1_000_000_000;
    // A timeline names its segments itself, and a patch cannot change its depth: there it is constant from the start.
    let depth = if timeline { full } else { (here / 1_000_000_000).clamp(0, full) };
    let buffer = MediaDuration::from_millis(depth * 1_000).max(part);
    let tracks: Vec<&TrackId> = snapshots.iter().map(|(id, _)| id).collect();
    let period = |id: String, first: SegmentNumber, generation: Generation| Period {
        id,
        first,
        generations: tracks.iter().map(|t| ((*t).clone(), generation)).collect(),
    };
    // NB: from 1, not 0: ffmpeg adds a segment's ticks to its clock when neither availabilityStartTime nor
    // presentationTimeOffset differs from zero.
    let mut periods = vec![period("0".to_owned(), SegmentNumber(1), Generation(0))];
    let oldest = shown.iter().filter_map(Window::first_number).min()?;
    for b in &view.breaks {
        if b.first <= oldest {
            periods.clear();
        }
        periods.push(period(b.generation.to_string(), b.first, b.generation));
    }
    let windows: Vec<(TrackId, &Window)> =
        snapshots.iter().zip(&shown).map(|((id, _), window)| (id.clone(), window)).collect();
    let target_ms =
        if settings.latency_ms > 0 { i64::from(settings.latency_ms) } else { part.times(6).nanos() / 1_000_000 + 300 };
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
        state: if ended { State::Ended { end } } else { State::Live },
        latency: Latency { target_ms, min_ms: target_ms / 2, max_ms: target_ms * 4 },
        utc_timing_url: "/time",
        patch_ttl: timeline.then(|| targets.segment.to_std() * 16),
    };
    let document = if timeline { mpd::timeline(&input) } else { mpd::number(&input) };
    Some((publish_time.millis(), document))
}
