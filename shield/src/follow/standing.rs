// SPDX-License-Identifier: Apache-2.0
//! How an object stands towards events: whose it is, whether what was told since made it old, and whether anybody has
//! asked for it yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::Instant;

use super::audience::Audience;
use crate::metrics::Followed;

/// What an object knows of events; held by objects of live routes where events are followed.
#[derive(Debug)]
pub(crate) struct Standing {
    audience: Arc<Audience>,
    /// Of a playlist: what had been told before its origin was asked.
    version: Option<(Version, u64)>,
    /// Fetched ahead, and nobody has asked for it yet.
    unasked: AtomicBool,
    counts: Arc<Followed>,
}

/// Which of an audience's counts makes a playlist old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// Of an HLS playlist.
    Playlist,
    /// Of an MPD.
    Manifest,
}

impl Version {
    /// The one of a path.
    pub(crate) fn of(path: &str) -> Self {
        if path.ends_with(".mpd") || path.ends_with(".mpp") { Self::Manifest } else { Self::Playlist }
    }
}

impl Standing {
    pub(crate) fn new(
        audience: Arc<Audience>,
        version: Option<(Version, u64)>,
        ahead: bool,
        counts: &Arc<Followed>,
    ) -> Self {
        Self { audience, version, unasked: AtomicBool::new(ahead), counts: Arc::clone(counts) }
    }

    /// Somebody asks for it.
    pub(crate) fn asked(&self, now: Instant) {
        self.audience.asks(now);
        if self.unasked.load(Ordering::Relaxed) && self.unasked.swap(false, Ordering::Relaxed) {
            self.counts.used.inc();
        }
    }

    /// An event made it old.
    pub(crate) fn is_superseded(&self) -> bool {
        self.version.is_some_and(|(version, told)| self.audience.version(version) != told)
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        if *self.unasked.get_mut() {
            self.counts.unused.inc();
        }
    }
}
