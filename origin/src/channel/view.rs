// SPDX-License-Identifier: Apache-2.0
//! What a channel shows of itself as a whole: ladder, periods, promises, state; and the manifests over all tracks.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use headwater_manifests::{Targets, hls};
use headwater_media::{Grid, Kind, Ladder, UtcTime};

use super::commit::TrackWriter;
use super::task::{Break, Task};
use crate::edge::Rendered;

/// Where a channel is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No part is published yet.
    Starting,
    /// Parts come.
    Live,
    /// Parts came and stopped.
    Stalled,
    /// It was ended; nothing will follow.
    Ended,
}

impl State {
    /// Its name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Live => "live",
            Self::Stalled => "stalled",
            Self::Ended => "ended",
        }
    }
}

/// A channel's whole at one version.
#[derive(Debug)]
pub struct View {
    /// Where it is in its life.
    pub state: State,
    /// Since when there are parts.
    pub started: Option<UtcTime>,
    /// Every track that is expected has a part: the multivariant playlist may be told.
    pub settled: bool,
    /// The promises, once the grid is known.
    pub targets: Option<Targets>,
    /// The grid, once known.
    pub grid: Option<Grid>,
    /// The tracks with parts.
    pub ladder: Ladder,
    /// Where generations begin.
    pub breaks: Vec<Break>,
    /// Grows with each view of the channel.
    pub revision: usize,
    /// Manifests of this version.
    pub rendered: Rendering,
}

/// Manifests over all tracks, each rendered by the first who asks.
#[derive(Debug, Default)]
pub struct Rendering {
    multivariant: OnceLock<Arc<Rendered>>,
    plain: OnceLock<Arc<Rendered>>,
}

impl View {
    /// A channel that has just been declared.
    pub fn starting() -> Self {
        Self {
            state: State::Starting,
            started: None,
            settled: false,
            targets: None,
            grid: None,
            ladder: Ladder::default(),
            breaks: Vec::new(),
            revision: 0,
            rendered: Rendering::default(),
        }
    }

    /// The multivariant playlist.
    pub fn multivariant(&self, plain: bool) -> Arc<Rendered> {
        let cell = if plain { &self.rendered.plain } else { &self.rendered.multivariant };
        let render = || {
            Arc::new(Rendered::new(hls::multivariant::render(&hls::multivariant::Input {
                ladder: &self.ladder,
                plain,
            })))
        };
        Arc::clone(cell.get_or_init(render))
    }
}

impl Task {
    /// Tells the multivariant playlist once every expected track has a part, or a segment later without it.
    pub(super) fn settle(&mut self, now: UtcTime) {
        let (false, Some(started), Some(targets)) = (self.settled, self.started, self.channel.view().targets) else {
            return;
        };
        let waited = now.since(started);
        let listed: BTreeSet<&str> = self
            .tracks
            .values()
            .filter(|t| t.writer.as_ref().is_some_and(|w| w.window.first_number().is_some()))
            .map(|t| t.name.as_str())
            .collect();
        let tracks = self.tracks.values().all(|t| {
            t.header.kind == Kind::Metadata || t.writer.as_ref().is_some_and(|w| w.window.first_number().is_some())
        });
        let names = self.expected.keys().all(|name| listed.contains(name.as_str()));
        let complete = tracks && names && waited >= self.settings.part().to_std();
        if complete || waited >= targets.segment.to_std() + Duration::from_secs(1) {
            self.settled = true;
            self.show();
            self.tell_started(now);
        }
    }

    /// Publishes a new view of the whole.
    pub(super) fn show(&mut self) {
        let view = self.view();
        self.channel.view.send_replace(Arc::new(view));
    }

    fn view(&mut self) -> View {
        let grid = self.assembler.grid().copied();
        let targets = grid.map(|g| {
            let listed = self.settings.listed(g.duration());
            Targets::new(g.duration(), self.settings.part(), listed)
        });
        let tracks = self.tracks.values_mut().filter(|t| !t.apart).filter_map(|t| t.writer.as_mut());
        let tracks = tracks.filter(|w| w.window.first_number().is_some());
        View {
            state: self.state,
            started: self.started,
            settled: self.settled,
            targets,
            grid,
            ladder: Ladder::new(tracks.map(TrackWriter::show).collect()),
            breaks: self.breaks.clone(),
            revision: self.channel.view().revision + 1,
            rendered: Rendering::default(),
        }
    }
}
