// SPDX-License-Identifier: Apache-2.0
//! What to set: how long caches may keep what, and bounds for the configuration.

use std::time::Duration;

use headwater_media::path::Freshness;
use serde::{Deserialize, Serialize};

use super::Assumptions;
use super::figures::Needs;
use crate::unit::Unit;

/// How long a cache may keep something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifetime {
    /// What.
    pub what: String,
    /// How long, in milliseconds.
    pub ms: u64,
    /// Why.
    pub why: String,
}

/// A bound for the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// `origin` or `shield`.
    pub of: String,
    /// The key.
    pub key: String,
    /// Its value.
    pub value: u64,
    /// What it counts.
    pub unit: Unit,
    /// How it came about.
    pub why: String,
}

/// Lifetimes: those that the origin itself says.
pub(super) fn lifetimes(a: &Assumptions) -> Vec<Lifetime> {
    let target = Duration::from_millis(a.segment_ms.div_ceil(1_000).max(1) * 1_000);
    let lifetime = |what: &str, freshness: Freshness, why: &str| Lifetime {
        what: what.to_owned(),
        ms: u64::try_from(freshness.lifetime(target).as_millis()).unwrap_or(u64::MAX),
        why: why.to_owned(),
    };
    let mut all = vec![
        lifetime("headers, segments", Freshness::Media, "their bytes never change"),
        lifetime("playlists and MPDs", Freshness::Playlist, "half a target duration"),
        lifetime("404 of a playlist or of media", Freshness::MediaError, "negative: a target duration"),
    ];
    if a.part_ms > 0 {
        all.insert(1, lifetime("parts", Freshness::Media, "their bytes never change"));
        all.insert(
            2,
            lifetime("playlists with `_HLS_msn`", Freshness::Blocking, "their URL names their version; six targets"),
        );
        all.push(lifetime("errors to `_HLS_msn`", Freshness::BlockingError, "negative: four targets"));
        let next = Freshness::Expected(Duration::from_millis(a.part_ms));
        all.push(lifetime("404 of the next part", next, "negative: until it is expected, less 50 ms"));
    }
    all
}

/// Bounds: what is expected, and the headroom.
pub(super) fn limits(a: &Assumptions, n: &Needs) -> Vec<Limit> {
    let room = |value: u64| value.saturating_mul(100 + a.headroom_percent).div_ceil(100);
    let limit = |of: &str, key: &str, unit: Unit, value: u64, why: &str| Limit {
        of: of.to_owned(),
        key: key.to_owned(),
        value,
        unit,
        why: format!("{why}, and {} %", a.headroom_percent),
    };
    let (edges, tracks, channels) = (a.edges().max(1), a.tracks(), a.channels);
    let held = |by: u64| by.saturating_mul(2 * tracks);
    let mut all = vec![
        limit("shield", "cache.memory_bytes_max", Unit::Bytes, room(n.shield_memory), "the window in memory"),
        limit(
            "shield",
            "limits.edge_requests_per_second",
            Unit::RequestsPerSecond,
            room(n.shield_requests.div_ceil(edges)),
            "requests of one edge",
        ),
        limit(
            "shield",
            "limits.channel_requests_per_second",
            Unit::RequestsPerSecond,
            room(n.shield_requests.div_ceil(channels)),
            "requests for one channel",
        ),
        limit(
            "shield",
            "http.connections_max",
            Unit::Count,
            room(n.shield_connections),
            "connections of all edges, should one shield be alone",
        ),
        limit(
            "shield",
            "upstreams.NAME.connections_max",
            Unit::Count,
            room(held(channels)),
            "two for each track that is played live",
        ),
        limit("origin", "defaults.window_seconds", Unit::Count, a.window_seconds, "the window"),
        limit("origin", "memory_bytes_max", Unit::Bytes, room(n.origin_memory), "the window in memory"),
        limit("origin", "http.connections_max", Unit::Count, room(n.origin_connections), "connections of all shields"),
        limit(
            "origin and shield",
            "events.alerts.origin_requests_per_second_max",
            Unit::RequestsPerSecond,
            room(n.origin_requests.div_ceil(channels)),
            "requests to origins for one channel",
        ),
    ];
    if a.part_ms > 0 {
        all.insert(
            3,
            limit(
                "shield",
                "limits.held_per_channel_max",
                Unit::Count,
                room(held(edges)),
                "a playlist and a part of each track by each edge",
            ),
        );
        all.insert(
            4,
            limit("shield", "limits.held_max", Unit::Count, room(n.shield_connections), "the same over all channels"),
        );
        all.push(limit(
            "origin",
            "http.waiters_max",
            Unit::Count,
            room(n.origin_connections),
            "the same by each shield",
        ));
    }
    // The window is what it is.
    for limit in all.iter_mut().filter(|limit| limit.key == "defaults.window_seconds") {
        limit.why = "the window, in seconds".to_owned();
    }
    all
}
