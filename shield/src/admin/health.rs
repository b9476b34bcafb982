// SPDX-License-Identifier: Apache-2.0
//! Whether the shield lives, whether it should be sent requests, and its metrics.

use std::sync::Arc;
#[cfg(feature = "disk")]
use std::sync::atomic::Ordering::Relaxed;

use axum::body::Body;
use axum::extract::State;
use http::{Response, StatusCode};

use super::text;
use crate::Shield;
use crate::metrics::{OriginLabel, Scraped, UpstreamLabel, told};

const PLAIN: &str = "text/plain; charset=utf-8";

pub(super) async fn healthz() -> Response<Body> {
    text("ok\n", PLAIN)
}

/// Ready while one origin of each group is up, and until the stop.
pub(super) async fn readyz(State(shield): State<Arc<Shield>>) -> Response<Body> {
    let why = if shield.shutdown.is_started() {
        "stopping\n".to_owned()
    } else {
        let groups = shield.state().groups.clone();
        let down = |name: &&String| groups[*name].state().origins.iter().all(|origin| !origin.up);
        match groups.keys().find(down) {
            Some(name) => format!("every origin of {name} is down\n"),
            None => return text("ready\n", PLAIN),
        }
    };
    let mut response = text(why, PLAIN);
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}

pub(super) async fn metrics(State(shield): State<Arc<Shield>>) -> Response<Body> {
    shield.metrics.count_refused(&shield.tally);
    let exposition = shield.metrics.scrape(|scraped| look(&shield, scraped));
    text(exposition, "application/openmetrics-text; version=1.0.0; charset=utf-8")
}

fn whole(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Reads what metrics tell of the moment.
fn look(shield: &Shield, scraped: &Scraped) {
    let memory = &shield.memory;
    scraped.memory.set(whole(memory.held_bytes()));
    scraped.memory_max.set(whole(memory.bytes_max()));
    scraped.objects.set(whole(memory.residents() as u64));
    scraped.keys.set(whole(shield.index.len() as u64));
    let guard = &shield.state().guard;
    scraped.open.set(whole(guard.requests() as u64));
    scraped.held.set(whole(guard.held() as u64));
    scraped.tracked.set(whole(guard.tracked() as u64));
    told(&scraped.evicted, memory.evicted());
    scraped.connections.set(whole(shield.tally.open() as u64));
    if let Some(log) = &*shield.log.load() {
        told(&scraped.log_dropped, log.dropped());
    }
    shield.following.look();
    #[cfg(feature = "disk")]
    if let Some(disk) = &shield.disk {
        let counts = disk.counts();
        scraped.disk_up.set(i64::from(disk.is_on()));
        told(&scraped.disk_hits, counts.hits.load(Relaxed));
        told(&scraped.disk_written, counts.written.load(Relaxed));
        told(&scraped.disk_dropped, counts.dropped.load(Relaxed));
        told(&scraped.disk_failures, counts.failures.load(Relaxed));
    }
    for (name, group) in &shield.state().groups {
        let state = group.state();
        let of_group = UpstreamLabel { upstream: name.clone() };
        told(&scraped.switches.get_or_create(&of_group), state.switches);
        told(&scraped.hedged.get_or_create(&of_group), state.hedged);
        for origin in state.origins {
            let label = OriginLabel { upstream: name.clone(), origin: origin.name };
            scraped.up.get_or_create(&label).set(i64::from(origin.up));
            told(&scraped.origin_requests.get_or_create(&label), origin.requests);
            told(&scraped.origin_failed.get_or_create(&label), origin.failed);
            told(&scraped.origin_hedges.get_or_create(&label), origin.hedges);
            told(&scraped.origin_resumed.get_or_create(&label), origin.resumed);
            told(&scraped.origin_stale.get_or_create(&label), origin.stale);
            scraped.origin_connections.get_or_create(&label).set(whole(origin.connections as u64));
            scraped.origin_in_flight.get_or_create(&label).set(whole(origin.in_flight as u64));
            scraped.latched.get_or_create(&label).set(whole(origin.channels as u64));
            scraped.stalled.get_or_create(&label).set(whole(origin.stalled.len() as u64));
            if let Some(head_ms) = origin.head_ms {
                scraped.origin_head.get_or_create(&label).set(head_ms as f64 / 1e3);
            }
        }
    }
}
