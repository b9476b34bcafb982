// SPDX-License-Identifier: Apache-2.0
//! Answers by route, class, status and outcome, and their bytes.
//!
//! Every answer is counted here, so counting one is an addition to a number found by its place: no table is looked into,
//! no lock is taken, and threads add to shards of their own, so that they do not wait for each other's cache lines.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use headwater_net::metrics::shard;
use http::StatusCode;
use parking_lot::RwLock;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::{Class, Outcome};

/// Statuses with a row of their own; the last stands for every other, since an origin may send any.
const STATUSES: [u16; 33] = [
    200, 201, 202, 204, 206, 300, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 406, 408, 409, 410, 412, 413,
    414, 416, 421, 429, 431, 500, 502, 503, 504, 0,
];
/// From a status to its place among [`STATUSES`].
static PLACES: [u8; 600] = places();
const ANSWERS: usize = Class::ALL.len() * Outcome::ALL.len() * STATUSES.len();
const CELLS: usize = ANSWERS + Class::ALL.len();

const fn places() -> [u8; 600] {
    let mut places = [STATUSES.len() as u8 - 1; 600];
    let mut at = 0;
    while at + 1 < STATUSES.len() {
        places[STATUSES[at] as usize] = at as u8;
        at += 1;
    }
    places
}

/// What one route has answered; a request's handle to its counters.
#[derive(Debug)]
pub struct Route {
    /// Made when the first thread counts on it.
    shards: Box<[OnceLock<Box<[AtomicU64]>>]>,
}

impl Route {
    fn new() -> Self {
        Self { shards: (0..shard::count()).map(|_| OnceLock::new()).collect() }
    }

    fn cell(&self, at: usize) -> Option<&AtomicU64> {
        let shard = self.shards.get(shard::own())?;
        shard.get_or_init(|| (0..CELLS).map(|_| AtomicU64::new(0)).collect()).get(at)
    }

    /// Counts an answer.
    pub fn answered(&self, class: Class, status: StatusCode, outcome: Outcome) {
        let status = usize::from(PLACES.get(usize::from(status.as_u16())).copied().unwrap_or(STATUSES.len() as u8 - 1));
        let at = (class as usize * Outcome::ALL.len() + outcome as usize) * STATUSES.len() + status;
        if let Some(cell) = self.cell(at) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts bytes of a body that were sent.
    pub fn sent(&self, class: Class, bytes: u64) {
        if let Some(cell) = self.cell(ANSWERS + class as usize) {
            cell.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    fn sum(&self, at: usize) -> u64 {
        let of = |shard: &OnceLock<Box<[AtomicU64]>>| shard.get()?.get(at).map(|cell| cell.load(Ordering::Relaxed));
        self.shards.iter().filter_map(of).sum()
    }
}

/// The counters of every route, by its name.
#[derive(Debug, Default)]
pub(super) struct Routes {
    /// Guards the table; held to add a route of the configuration, and for a scrape.
    routes: RwLock<BTreeMap<String, Arc<Route>>>,
}

impl Routes {
    /// A route's counters; made when there are none.
    pub(super) fn route(&self, name: &str) -> Arc<Route> {
        if let Some(known) = self.routes.read().get(name) {
            return Arc::clone(known);
        }
        Arc::clone(self.routes.write().entry(name.to_owned()).or_insert_with(|| Arc::new(Route::new())))
    }

    /// Drops the rows of routes that are not configured.
    pub(super) fn retain(&self, is_configured: impl Fn(&str) -> bool) {
        self.routes.write().retain(|name, _| is_configured(name));
    }
}

/// Answers, for the exposition.
#[derive(Debug)]
pub(super) struct Answers(pub(super) Arc<Routes>);

impl EncodeMetric for Answers {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        for (name, route) in self.0.routes.read().iter() {
            for class in Class::ALL {
                for outcome in Outcome::ALL {
                    let first = (class as usize * Outcome::ALL.len() + outcome as usize) * STATUSES.len();
                    for (at, status) in STATUSES.iter().enumerate() {
                        let count = route.sum(first + at);
                        if count == 0 {
                            continue;
                        }
                        let status = if *status == 0 { "other".to_owned() } else { status.to_string() };
                        let labels = [
                            ("route", name.as_str()),
                            ("class", class.as_str()),
                            ("status", status.as_str()),
                            ("outcome", outcome.as_str()),
                        ];
                        encoder.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

/// Bytes, for the exposition.
#[derive(Debug)]
pub(super) struct Bytes(pub(super) Arc<Routes>);

impl EncodeMetric for Bytes {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        for (name, route) in self.0.routes.read().iter() {
            for class in Class::ALL {
                let bytes = route.sum(ANSWERS + class as usize);
                if bytes > 0 {
                    let labels = [("route", name.as_str()), ("class", class.as_str())];
                    encoder.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&bytes, None)?;
                }
            }
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}
