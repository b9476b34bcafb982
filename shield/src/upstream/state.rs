// SPDX-License-Identifier: Apache-2.0
//! What a group tells of itself, for the API and the metrics.

use std::sync::atomic::Ordering;

use serde::Serialize;
use utoipa::ToSchema;

use super::Group;
use super::group::now;
use super::origin::Transport;

/// A group and its origins.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct GroupState {
    /// Its name.
    pub name: String,
    /// Its origins, the preferred one first.
    pub origins: Vec<OriginState>,
    /// Channels that were switched from one origin to another.
    pub switches: u64,
    /// Requests that were given to a second origin because the first was slow.
    pub hedged: u64,
    /// Requests that would have been, had there been fewer of them.
    pub hedges_denied: u64,
}

/// One origin.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OriginState {
    /// Its address.
    pub name: String,
    /// It is asked before those that are down.
    pub up: bool,
    /// Why it is down.
    pub reason: Option<String>,
    /// How long it has been down.
    pub down_ms: Option<u64>,
    /// How long its heads take, smoothed.
    pub head_ms: Option<u64>,
    /// Requests open now.
    pub in_flight: usize,
    /// Connections open now.
    pub connections: usize,
    /// Requests sent, checks not counted.
    pub requests: u64,
    /// Requests that got no usable answer.
    pub failed: u64,
    /// Requests that were sent to it because another was slow.
    pub hedges: u64,
    /// Bodies of another that it went on with.
    pub resumed: u64,
    /// Kept connections that had ended unnoticed; their requests were sent again.
    pub stale: u64,
    /// Channels that play from it though another is preferred.
    pub channels: usize,
    /// Channels whose playlist stalls there.
    pub stalled: Vec<String>,
}

impl Group {
    /// The group as it is now.
    pub fn state(&self) -> GroupState {
        let members = self.members.load();
        let machine = self.known.machine.lock();
        let (now, stalls) = (now(), machine.stalls());
        let whole = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let preferred = members.origins.first().map(|origin| origin.id);
        let origin = |origin: &std::sync::Arc<super::origin::Origin>| {
            let health = machine.health(origin.id);
            let counts = &origin.counts;
            let away = if Some(origin.id) == preferred { 0 } else { machine.channels_on(origin.id) };
            OriginState {
                name: origin.name.to_string(),
                up: health.is_up(now, machine.rules()),
                reason: health.down().map(|(_, fault)| fault.to_string()),
                down_ms: health.down().map(|(since, _)| whole(now.saturating_duration_since(since))),
                head_ms: health.head_time().map(whole),
                in_flight: origin.in_flight(),
                connections: match &origin.transport {
                    Transport::Remote(pool) => pool.open(),
                    Transport::Here(_) => 0,
                },
                requests: counts.requests.load(Ordering::Relaxed),
                failed: counts.failed.load(Ordering::Relaxed),
                hedges: counts.hedges.load(Ordering::Relaxed),
                resumed: counts.resumed.load(Ordering::Relaxed),
                stale: counts.stale.load(Ordering::Relaxed),
                channels: away,
                stalled: stalls.iter().filter(|(id, ..)| *id == origin.id).map(|(_, c, _)| c.to_string()).collect(),
            }
        };
        GroupState {
            name: self.name.to_string(),
            origins: members.origins.iter().map(origin).collect(),
            switches: machine.switches(),
            hedged: self.counts.hedged.load(Ordering::Relaxed),
            hedges_denied: self.counts.hedges_denied.load(Ordering::Relaxed),
        }
    }
}
