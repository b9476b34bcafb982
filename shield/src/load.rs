// SPDX-License-Identifier: Apache-2.0
//! Tells of the shield's load: heartbeats, congestion, and with each answer what edges need to know of it.

use std::sync::Weak;
use std::time::SystemTime;

use headwater_events::event::{Health, Role};
use headwater_events::load::{self, Bounds, Reading, Sampler};
use headwater_media::UtcTime;
use tokio::time::Instant;

use crate::Shield;

/// A shield's sampler. Its bound of memory is the machine's: the store is meant to be full.
pub(crate) fn sampler(shield: &Shield) -> Sampler {
    let config = &shield.state().config.events;
    let first = (read(shield), Instant::now());
    Sampler::new(shield.publisher.clone(), Role::Shield, config, Bounds::look(None), first)
}

/// Tells until the shutdown is closed, or the shield is gone.
pub(crate) async fn tell(shield: Weak<Shield>, sampler: Sampler) {
    let Some(shutdown) = shield.upgrade().map(|shield| shield.shutdown.clone()) else { return };
    let now = || Some((read(&*shield.upgrade()?), UtcTime::from_system(SystemTime::now())));
    let told = |health: &Health| {
        if let Some(shield) = shield.upgrade() {
            shield.cmsd.follow(health, &shield.state().config.events.alerts);
        }
    };
    load::run(sampler, now, told, shutdown).await;
}

fn read(shield: &Shield) -> Reading {
    Reading::of(&shield.tally, u64::try_from(shield.metrics.delivered.get()).unwrap_or(0))
}
