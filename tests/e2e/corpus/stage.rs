// SPDX-License-Identifier: Apache-2.0
//! One origin process for every case, with a healthy channel beside them that nothing may disturb.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde_json::Value;

use crate::harness::{Headwater, Process, SOON, push, request, until};
use crate::playlist::Playlist;

/// The healthy channel.
const NEIGHBOUR: &str = "neighbour";

/// Bursts leave at once, so that a case takes no longer than what it waits for; bounds small enough to be met.
const TOML: &str = "channels_from_push = true\nchannels_max = 400\n\
    [defaults]\nwindow_seconds = 120\ncadence = false\n\
    [channels.neighbour]\nwindow_seconds = 120\n\
    [ingest]\nbody_idle_seconds = 4\nfragment_bytes_max = 4000000\n";

/// A running origin and its neighbour.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) origin: Headwater,
    _neighbour: Process,
}

impl Stage {
    /// Shared by the tests that run at the same time; it ends with the last of them.
    pub(crate) fn shared() -> Arc<Self> {
        /// Guards the start; held while it starts.
        static SHARED: Mutex<Weak<Stage>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return running;
        }
        let origin = Headwater::serve(TOML, &[]);
        let neighbour = push(&origin, NEIGHBOUR, "v0,a0");
        origin.wait_channel(NEIGHBOUR, |state| state["state"] == "live");
        let started = Arc::new(Self { origin, _neighbour: neighbour });
        *shared = Arc::downgrade(&started);
        started
    }

    /// A channel that no other case has.
    pub(crate) fn channel(&self, name: &str) -> Channel<'_> {
        Channel { origin: &self.origin, name: name.to_owned() }
    }

    /// The healthy channel has neither gap nor discontinuity nor defect.
    pub(crate) fn undisturbed(&self) {
        let state = self.origin.channel(NEIGHBOUR);
        assert_eq!((&state["state"], &state["generation"]), (&"live".into(), &0.into()), "{state:#}");
        assert_eq!(state["defects"], serde_json::json!({}), "{state:#}");
        for track in ["v0", "a0"] {
            let text = self.origin.get(&format!("/live/{NEIGHBOUR}/{track}/media.m3u8")).text();
            let list = Playlist::read(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
            assert_eq!(list.faults(), Vec::<String>::new(), "{text}");
            assert!(list.segments.iter().all(|s| !s.gap && !s.discontinuity), "{text}");
        }
    }
}

/// A channel of one case.
#[derive(Clone, Debug)]
pub(crate) struct Channel<'a> {
    pub(crate) origin: &'a Headwater,
    pub(crate) name: String,
}

impl Channel<'_> {
    pub(crate) fn path(&self, file: &str) -> String {
        format!("/ingest/{}/{file}", self.name)
    }

    pub(crate) fn state(&self) -> Value {
        self.origin.channel(&self.name)
    }

    /// A track's state; `Null` if it has none.
    pub(crate) fn track(&self, id: &str) -> Value {
        of_track(&self.state(), id)
    }

    /// Waits until a track satisfies `ready`.
    pub(crate) fn wait(&self, id: &str, ready: impl Fn(&Value) -> bool) -> Value {
        of_track(&self.origin.wait_channel(&self.name, |state| ready(&of_track(state, id))), id)
    }

    /// Nothing will follow.
    pub(crate) fn end(&self) {
        let path = format!("/api/v1/channels/{}/end", self.name);
        assert_eq!(request("POST", &self.origin.url(&path), &[], b"").status, 202);
        self.origin.wait_channel(&self.name, |state| state["state"] == "ended");
    }

    /// Forgets the channel.
    pub(crate) fn forget(&self) {
        let path = format!("/api/v1/channels/{}", self.name);
        assert_eq!(request("DELETE", &self.origin.url(&path), &[], b"").status, 200);
    }

    pub(crate) fn playlist(&self, id: &str) -> Playlist {
        let text = self.origin.get(&format!("/live/{}/{id}/media.m3u8", self.name)).text();
        Playlist::read(&text).unwrap_or_else(|e| panic!("{}/{id}: {e}\n{text}", self.name))
    }

    /// Log lines of this channel that tell `fact`, once there are as many as are `expected`.
    pub(crate) fn told(&self, fact: &str, expected: usize) -> usize {
        until(SOON, || (self.told_now(fact) >= expected).then_some(()));
        self.told_now(fact)
    }

    fn told_now(&self, fact: &str) -> usize {
        let (log, name) = (self.origin.process.log(), format!("channel={}", self.name));
        log.lines().filter(|l| l.contains(fact) && l.split(' ').any(|word| word == name)).count()
    }

    /// Bytes of bodies that the origin has read.
    pub(crate) fn received_bytes(&self) -> u64 {
        self.counted("headwater_ingest_bytes", "")
    }

    /// Bodies that are open now.
    pub(crate) fn open_bodies(&self) -> u64 {
        let (text, label) = (self.origin.get("/metrics").text(), format!("channel=\"{}\"", self.name));
        let line = text.lines().find(|l| l.starts_with("headwater_ingest_open_bodies{") && l.contains(&label));
        line.and_then(|l| l.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
    }

    /// A counter of this channel.
    pub(crate) fn counted(&self, metric: &str, label: &str) -> u64 {
        let text = self.origin.get("/metrics").text();
        let channel = format!("channel=\"{}\"", self.name);
        let of_channel = text
            .lines()
            .filter(|l| l.starts_with(&format!("{metric}_total{{")) && l.contains(&channel) && l.contains(label));
        of_channel.filter_map(|l| l.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }
}

fn of_track(state: &Value, id: &str) -> Value {
    let track = state["tracks"].as_array().and_then(|tracks| tracks.iter().find(|t| t["id"] == id));
    track.cloned().unwrap_or(Value::Null)
}

/// Seconds of media that a track's state shows, gaps left out.
pub(crate) fn seconds(track: &Value) -> f64 {
    let segments = track["segments"].as_array().cloned().unwrap_or_default();
    segments.iter().filter(|s| s["gap"] == false).filter_map(|s| s["duration"].as_f64()).sum()
}
