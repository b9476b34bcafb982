// SPDX-License-Identifier: Apache-2.0
//! `[http]`: a listener's bounds as an operator says them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Error;
use crate::limits::Limits;

/// Bounds of connections and requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = Listener)]
pub struct Http {
    /// Connections at once; one more is answered 503 and closed.
    pub connections_max: usize,
    /// Connections at once from one address (IPv6: one /64 network).
    pub connections_per_peer_max: usize,
    /// How long a TLS handshake may take, in seconds.
    pub handshake_seconds: u32,
    /// How long a request head may take, in seconds; the first one from the connection on.
    pub head_seconds: u32,
    /// How long a connection may be idle between requests, in seconds.
    pub idle_seconds: u32,
    /// Bytes of a request head.
    pub head_bytes_max: u32,
    /// Header fields of a request.
    pub headers_max: usize,
    /// Bytes of a request's path and query.
    pub url_bytes_max: usize,
    /// Streams of one HTTP/2 connection at once.
    pub h2_streams_max: u32,
    /// Requests that one HTTP/2 connection may cancel within ten seconds.
    pub h2_resets_max: u32,
    /// How long a client may take nothing of what is ready for it, in seconds.
    pub stall_seconds: u32,
    /// Bytes a second a client must take of a response while they are ready for it.
    pub send_bytes_per_second_min: u64,
    /// Bytes of a connection that wait for the network to take them.
    pub unsent_bytes_max: u32,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            connections_max: 65_536,
            connections_per_peer_max: 16_384,
            handshake_seconds: 10,
            head_seconds: 10,
            idle_seconds: 120,
            head_bytes_max: 64 << 10,
            headers_max: 100,
            url_bytes_max: 8 << 10,
            h2_streams_max: 1_024,
            h2_resets_max: 1_000,
            stall_seconds: 30,
            send_bytes_per_second_min: 8 << 10,
            unsent_bytes_max: 128 << 10,
        }
    }
}

impl Http {
    /// Every key of these by its path, for what cannot change while the listener is open.
    pub const KEYS: [&str; 13] = [
        "http.connections_max",
        "http.connections_per_peer_max",
        "http.handshake_seconds",
        "http.head_seconds",
        "http.idle_seconds",
        "http.head_bytes_max",
        "http.headers_max",
        "http.url_bytes_max",
        "http.h2_streams_max",
        "http.h2_resets_max",
        "http.stall_seconds",
        "http.send_bytes_per_second_min",
        "http.unsent_bytes_max",
    ];

    /// Checks every range. `idle_min` is the shortest idle time that is let pass, in words too.
    ///
    /// # Errors
    /// [`Error::Value`] for the first value outside its range.
    pub fn check(&self, idle_min: (Duration, &'static str)) -> Result<(), Error> {
        let value = |key: &str, value: u32, ok: bool, expected: &'static str| match ok {
            true => Ok(()),
            false => Err(Error::value(&format!("http.{key}"), expected, &value)),
        };
        value("head_seconds", self.head_seconds, self.head_seconds > 0, "1 second or more")?;
        value("handshake_seconds", self.handshake_seconds, self.handshake_seconds > 0, "1 second or more")?;
        value("stall_seconds", self.stall_seconds, self.stall_seconds > 0, "1 second or more")?;
        let idle = Duration::from_secs(u64::from(self.idle_seconds));
        value("idle_seconds", self.idle_seconds, idle >= idle_min.0, idle_min.1)?;
        value("head_bytes_max", self.head_bytes_max, self.head_bytes_max >= 8 << 10, "8192 bytes or more")?;
        value("unsent_bytes_max", self.unsent_bytes_max, self.unsent_bytes_max >= 4 << 10, "4096 bytes or more")
    }

    /// The same for the listener.
    pub fn limits(&self) -> Limits {
        let seconds = |n: u32| Duration::from_secs(u64::from(n));
        Limits {
            connections_max: self.connections_max,
            connections_per_peer_max: self.connections_per_peer_max,
            handshake: seconds(self.handshake_seconds),
            head: seconds(self.head_seconds),
            idle: seconds(self.idle_seconds),
            head_bytes_max: usize::try_from(self.head_bytes_max).unwrap_or(usize::MAX),
            headers_max: self.headers_max,
            url_bytes_max: self.url_bytes_max,
            h2_streams_max: self.h2_streams_max,
            h2_resets_max: self.h2_resets_max,
            stall: seconds(self.stall_seconds),
            send_bytes_per_second_min: self.send_bytes_per_second_min,
            unsent_bytes_max: self.unsent_bytes_max,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listener_has_the_defaults_of_the_configuration() {
        assert_eq!(format!("{:?}", Http::default().limits()), format!("{:?}", Limits::default()));
    }
}
