// SPDX-License-Identifier: Apache-2.0
//! Bounds of a listener and of each of its connections; what is over a bound is refused and counted by [`Tally`].

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::warn;

use crate::traffic::Traffic;

/// Bounds of a listener.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at once; one more is answered 503 where it speaks plain HTTP, and closed.
    pub connections_max: usize,
    /// Connections at once from one address (IPv6: one /64 network).
    pub connections_per_peer_max: usize,
    /// How long a TLS handshake may take.
    pub handshake: Duration,
    /// How long a request head may take from its first byte; the first one from the connection on, whatever it speaks.
    pub head: Duration,
    /// How long a connection may be idle between requests. Encoders keep idle connections for a segment and more;
    /// closing one makes ffmpeg exit.
    pub idle: Duration,
    /// Bytes of a request head.
    pub head_bytes_max: usize,
    /// Header fields of a request.
    pub headers_max: usize,
    /// Bytes of a request's path and query.
    pub url_bytes_max: usize,
    /// Streams of one HTTP/2 connection at once.
    pub h2_streams_max: u32,
    /// Requests that one HTTP/2 connection may cancel within [`RESETS_SPAN`].
    pub h2_resets_max: u32,
    /// How long a client may take nothing of what is ready for it.
    pub stall: Duration,
    /// What a client must take of a response on average, beyond [`Self::stall`], while something is ready for it.
    pub send_bytes_per_second_min: u64,
    /// Bytes of a connection that wait, in this process and in the kernel, for the network to take them.
    pub unsent_bytes_max: u32,
}

/// The span in which cancelled requests are counted.
pub const RESETS_SPAN: Duration = Duration::from_secs(10);

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 65_536,
            connections_per_peer_max: 16_384,
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(10),
            idle: Duration::from_secs(120),
            head_bytes_max: 64 << 10,
            headers_max: 100,
            url_bytes_max: 8 << 10,
            h2_streams_max: 1_024,
            h2_resets_max: 1_000,
            stall: Duration::from_secs(30),
            send_bytes_per_second_min: 8 << 10,
            unsent_bytes_max: 128 << 10,
        }
    }
}

/// How often a refusal of one kind is worth a log line.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// Refusals by the bound that made them, how many connections are open, and what passes through them.
#[derive(Debug, Default)]
pub struct Tally {
    open: AtomicUsize,
    open_max: AtomicUsize,
    traffic: Traffic,
    /// Guards the counts; held to count one. Bounds are named in the code, so the table has an end.
    refused: Mutex<BTreeMap<&'static str, Refused>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Refused {
    count: u64,
    told_count: u64,
    told: Option<Instant>,
}

impl Tally {
    /// Counts a refusal. The first of each bound is logged, later ones as one line every ten seconds: a log must not
    /// grow at the pace of an attack.
    pub fn refuse(&self, bound: &'static str, what: std::fmt::Arguments<'_>) {
        let now = Instant::now();
        let mut refused = self.refused.lock();
        let entry = refused.entry(bound).or_default();
        entry.count += 1;
        if entry.told.is_some_and(|told| told + TOLD_EVERY > now) {
            return;
        }
        let count = entry.count - entry.told_count;
        (entry.told, entry.told_count) = (Some(now), entry.count);
        drop(refused);
        warn!(bound, count, "refused: {what}");
    }

    /// Every bound that has refused something, and how often.
    pub fn refused(&self) -> Vec<(&'static str, u64)> {
        self.refused.lock().iter().map(|(bound, refused)| (*bound, refused.count)).collect()
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Connections that may be open; 0 until a listener is bound.
    pub fn open_max(&self) -> usize {
        self.open_max.load(Ordering::Relaxed)
    }

    /// What passes through the connections.
    pub const fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Says how many connections a listener takes; of several listeners the largest bound is told.
    pub(crate) fn bounded(&self, connections_max: usize) {
        self.open_max.fetch_max(connections_max, Ordering::Relaxed);
    }

    pub(crate) fn opened(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// File descriptors this process may have open, where the system says so.
pub fn descriptors_max() -> Option<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn refusals_are_counted_by_bound() {
        let tally = Tally::default();
        for _ in 0..3 {
            tally.refuse("head", format_args!("expected a request head within 10 s"));
        }
        tally.refuse("url", format_args!("expected a shorter URL"));
        assert_eq!(tally.refused(), [("head", 3), ("url", 1)]);
    }
}
