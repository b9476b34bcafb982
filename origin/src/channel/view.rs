// SPDX-License-Identifier: Apache-2.0
//! What a channel shows of itself as a whole: ladder, periods, promises, state; and the manifests over all tracks.

use std::sync::{Arc, OnceLock};

use headwater_manifests::{Targets, hls};
use headwater_media::{Grid, Ladder, UtcTime};

use super::task::Break;
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
