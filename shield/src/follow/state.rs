// SPDX-License-Identifier: Apache-2.0
//! How following goes, for the API.

use serde::Serialize;
use utoipa::ToSchema;

use super::Following;

/// What comes by events.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FollowState {
    /// Where events come from.
    sources: Vec<SourceState>,
    /// Folders of live streams that edges ask for.
    folders: usize,
    /// Objects that are being fetched before an edge asks.
    prefetching: usize,
    /// Objects that are to be.
    waiting: usize,
}

/// A source of events.
#[derive(Debug, Serialize, ToSchema)]
struct SourceState {
    /// `here`, the server of a feed, or `kafka`.
    source: String,
    /// Nothing was missed since its last event.
    flows: bool,
    /// Events that came.
    events: u64,
    /// Times that events may have been missed.
    gaps: u64,
}

impl Following {
    /// How it goes now.
    pub(crate) fn state(&self) -> FollowState {
        let (prefetching, waiting) = self.queue.len();
        let sources = self.sources.lock();
        let source = |feeding: &std::sync::Arc<super::Feeding>| SourceState {
            source: feeding.via.name().to_owned(),
            flows: feeding.flows(),
            events: feeding.events(),
            gaps: feeding.gaps(),
        };
        FollowState {
            sources: sources.iter().map(source).collect(),
            folders: self.audiences.len(),
            prefetching,
            waiting,
        }
    }
}
