// SPDX-License-Identifier: Apache-2.0
//! What a node's counters say at a moment.

use std::time::Duration;

use headwater_net::limits::Tally;
use headwater_net::metrics::process;
use headwater_net::traffic::Passed;

/// Bounds of the node as a whole: what they refuse, the node has no room for. What a bound refuses to one client or one
/// channel alone says nothing about the node.
const NODE_BOUNDS: [&str; 7] = ["accept", "bodies", "concurrent", "connections", "crowded", "held", "waiters"];

/// What a node's counters say at a moment. Those of what has passed only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Processor time of the process; `None` where the system does not say.
    pub cpu: Option<Duration>,
    /// Memory of the process, likewise.
    pub memory_bytes: Option<u64>,
    /// Open connections.
    pub connections: u64,
    /// Connections that may be open; 0: not known.
    pub connections_max: u64,
    /// Requests, and bytes in both directions.
    pub passed: Passed,
    /// What bounds refused.
    pub refused: u64,
    /// Of these, by bounds of the node as a whole.
    pub refused_by_node: u64,
    /// Channels, as the node counts them.
    pub channels: u64,
}

impl Reading {
    /// Reads what the process and its listeners have counted.
    pub fn of(tally: &Tally, channels: u64) -> Self {
        let refused = tally.refused();
        let by_node = refused.iter().filter(|(bound, _)| NODE_BOUNDS.contains(bound));
        Self {
            cpu: process::cpu_time(),
            memory_bytes: process::resident_bytes(),
            connections: tally.open() as u64,
            connections_max: tally.open_max() as u64,
            passed: tally.traffic().passed(),
            refused_by_node: by_node.map(|(_, count)| count).sum(),
            refused: refused.iter().map(|(_, count)| count).sum(),
            channels,
        }
    }
}
