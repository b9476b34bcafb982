// SPDX-License-Identifier: Apache-2.0
//! What the shield knows of live streams by the playlists that pass through it.

use std::sync::Arc;

use http::HeaderMap;

use crate::route::Route;
use crate::upstream::OriginId;

/// What a playlist turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// As new as any before, or nothing that can be compared.
    Fine,
    /// Older than what clients have seen.
    Back,
}

/// What is known of each stream's edge.
#[derive(Debug, Default)]
pub(crate) struct Edges {}

/// Something that is expected next.
#[derive(Debug)]
pub(crate) struct Next {}

impl Next {
    /// Waits until a playlist tells of it.
    pub(crate) async fn published(&self) {}
}

impl Edges {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Takes note of a playlist.
    pub(crate) fn hear(
        &self,
        _route: &Arc<Route>,
        _path: &str,
        _origin: OriginId,
        _headers: &HeaderMap,
        _text: &[u8],
    ) -> Heard {
        Heard::Fine
    }

    /// What a missing object is waited for by; `None` if it is not what comes next.
    pub(crate) fn next(&self, _route: &Arc<Route>, _path: &str) -> Option<Next> {
        None
    }

    /// True if an origin may hold a request for this until it is there.
    pub(crate) fn is_ahead(&self, _route: &Arc<Route>, _path: &str) -> bool {
        false
    }
}
