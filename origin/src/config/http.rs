// SPDX-License-Identifier: Apache-2.0
//! `[http]` of the origin: what every listener is bounded by, and the requests that wait.

use std::time::Duration;

use headwater_net::config::{self, Error, beside};
use serde::Serialize;
use serde::de::{Deserialize, Deserializer, MapAccess};
use utoipa::ToSchema;

/// Bounds of connections and requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(default)]
pub struct Http {
    /// What every listener is bounded by.
    #[serde(flatten)]
    pub listener: config::Http,
    /// Requests parked for what comes next, over all channels.
    pub waiters_max: usize,
    /// Requests parked for what comes next, of one channel.
    pub waiters_per_channel_max: usize,
    /// Tell caches and players what an object is and which comes next (CMSD-Static, CTA-5006).
    pub cmsd: bool,
}

impl Default for Http {
    fn default() -> Self {
        Self { listener: config::Http::default(), waiters_max: 200_000, waiters_per_channel_max: 100_000, cmsd: true }
    }
}

impl<'de> Deserialize<'de> for Http {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut http = Self::default();
        let Self { listener, waiters_max, waiters_per_channel_max, cmsd } = &mut http;
        *listener = beside::read(deserializer, &mut Own { waiters_max, waiters_per_channel_max, cmsd })?;
        Ok(http)
    }
}

/// Takes the keys that are not the listener's.
struct Own<'a> {
    waiters_max: &'a mut usize,
    waiters_per_channel_max: &'a mut usize,
    cmsd: &'a mut bool,
}

impl<'de> beside::Own<'de> for Own<'_> {
    fn take<M: MapAccess<'de>>(&mut self, key: &str, map: &mut M) -> Result<bool, M::Error> {
        match key {
            "waiters_max" => *self.waiters_max = map.next_value()?,
            "waiters_per_channel_max" => *self.waiters_per_channel_max = map.next_value()?,
            "cmsd" => *self.cmsd = map.next_value()?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Http {
    pub(super) fn check(&self, segment: Duration) -> Result<(), Error> {
        // An encoder that finds its connection closed between two segments exits.
        let idle_min = Duration::from_secs(60).max(segment * 6);
        self.listener.check((idle_min, "at least 60 seconds and six of the longest segments"))
    }
}
