// SPDX-License-Identifier: Apache-2.0
//! Tells of the origin's load: heartbeats, and congestion.

use std::sync::{Arc, Weak};

use headwater_events::event::Role;
use headwater_events::load::{self, Bounds, Reading, Sampler};
use tokio::time::Instant;

use crate::Origin;
use crate::channel::State;

/// Begins to tell; ends with the origin.
pub(crate) fn tell(origin: &Arc<Origin>) {
    let config = origin.config();
    let bounds = Bounds::look(Some(config.memory_bytes_max));
    let publisher = origin.context.publisher.clone();
    let first = (read(origin), Instant::now());
    let sampler = Sampler::new(publisher, Role::Origin, &config.events, bounds, first);
    let (weak, clock) = (Arc::downgrade(origin), origin.context.clock);
    let now = move || Weak::upgrade(&weak).map(|origin| (read(&origin), clock.now()));
    // Not among the work that a stop waits for: load is told until the last answer.
    tokio::spawn(load::run(sampler, now, |_| {}, origin.context.shutdown.clone()));
}

fn read(origin: &Origin) -> Reading {
    let on_air = origin.channels.iter().filter(|channel| channel.view().state == State::Live).count();
    Reading::of(&origin.context.tally, on_air as u64)
}
