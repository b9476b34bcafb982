// SPDX-License-Identifier: Apache-2.0
//! One window of one channel as a row: what was delivered in it, and the ratios and rates that follow from that.
//!
//! Every number is an integer, ratios in thousandths, rates rounded down: whoever computes the same row, in whatever
//! language, writes the same digits.

use headwater_media::UtcTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::event::{Delivery, FillTimes, Timestamp};

/// What was delivered of a channel in a time, over all nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sums {
    deliveries: u64,
    requests: u64,
    hits: u64,
    stale: u64,
    errors: u64,
    refused: u64,
    bytes: u64,
    origin_requests: u64,
    prefetches: u64,
    origin_bytes: u64,
    fills: FillTimes,
}

impl Sums {
    /// Adds one event. Sums stop at the largest number there is: no input overflows them.
    pub(super) fn take(&mut self, delivery: &Delivery) {
        self.add(&Self {
            deliveries: 1,
            requests: delivery.requests,
            hits: delivery.hits,
            stale: delivery.stale,
            errors: delivery.errors,
            refused: delivery.refused,
            bytes: delivery.bytes,
            origin_requests: delivery.origin_requests,
            prefetches: delivery.prefetches,
            origin_bytes: delivery.origin_bytes,
            fills: delivery.fills.clone(),
        });
    }

    /// Adds what was delivered in another time.
    pub(super) fn add(&mut self, other: &Self) {
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        add(&mut self.deliveries, other.deliveries);
        add(&mut self.requests, other.requests);
        add(&mut self.hits, other.hits);
        add(&mut self.stale, other.stale);
        add(&mut self.errors, other.errors);
        add(&mut self.refused, other.refused);
        add(&mut self.bytes, other.bytes);
        add(&mut self.origin_requests, other.origin_requests);
        add(&mut self.prefetches, other.prefetches);
        add(&mut self.origin_bytes, other.origin_bytes);
        self.fills += &other.fills;
    }
}

/// A window of a channel. Its times are those of the deliveries, not of the clock that computes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[schema(as = Window)]
pub struct Row {
    /// The channel.
    pub channel: String,
    /// Where the window begins; a multiple of the slide since 1970.
    #[schema(value_type = String, example = "2026-09-21T14:13:20.000Z")]
    pub window_start: Timestamp,
    /// Where it ends; the first instant that is not in it.
    #[schema(value_type = String, example = "2026-09-21T14:13:30.000Z")]
    pub window_end: Timestamp,
    /// Deliveries counted.
    pub deliveries: u64,
    /// Requests answered.
    pub requests: u64,
    /// Those that no origin was asked for.
    pub hits: u64,
    /// Those answered with what was stale.
    pub stale: u64,
    /// Those answered with a 5xx.
    pub errors: u64,
    /// Those refused by a bound.
    pub refused: u64,
    /// Bytes sent.
    pub bytes: u64,
    /// Requests to origins.
    pub origin_requests: u64,
    /// Of these, asked for by an event before anybody.
    pub prefetches: u64,
    /// Bytes from origins.
    pub origin_bytes: u64,
    /// Fills whose time was taken.
    pub fills: u64,
    /// Hits of a thousand requests; none without requests.
    pub hit_permille: Option<u64>,
    /// Errors of a thousand requests; none without requests.
    pub error_permille: Option<u64>,
    /// Requests to origins in a thousand seconds at this rate.
    pub origin_requests_per_1000_s: u64,
    /// Bits per second sent.
    pub bits_per_second: u64,
    /// The bound of the class in which the 95th of a hundred fills lies, in milliseconds; none without fills.
    pub fill_p95_ms: Option<u64>,
    /// How often this window was told before: a late delivery tells it again.
    pub revision: u32,
    /// It does not change any more.
    #[serde(rename = "final")]
    pub is_final: bool,
}

impl Row {
    pub(super) fn new(channel: &str, start_ms: i64, size_ms: i64, sums: &Sums) -> Self {
        let rate = |count: u64, unit: u64| share(count, unit, size_ms.unsigned_abs()).unwrap_or_default();
        Self {
            channel: channel.to_owned(),
            window_start: timestamp(start_ms),
            window_end: timestamp(start_ms.saturating_add(size_ms)),
            deliveries: sums.deliveries,
            requests: sums.requests,
            hits: sums.hits,
            stale: sums.stale,
            errors: sums.errors,
            refused: sums.refused,
            bytes: sums.bytes,
            origin_requests: sums.origin_requests,
            prefetches: sums.prefetches,
            origin_bytes: sums.origin_bytes,
            fills: sums.fills.count(),
            hit_permille: share(sums.hits, 1_000, sums.requests),
            error_permille: share(sums.errors, 1_000, sums.requests),
            origin_requests_per_1000_s: rate(sums.origin_requests, 1_000_000),
            bits_per_second: rate(sums.bytes, 8_000),
            fill_p95_ms: sums.fills.percentile_ms(95),
            revision: 0,
            is_final: false,
        }
    }
}

/// `count × unit / whole`, rounded down; none of nothing.
fn share(count: u64, unit: u64, whole: u64) -> Option<u64> {
    let share = (u128::from(count) * u128::from(unit)).checked_div(u128::from(whole))?;
    Some(u64::try_from(share).unwrap_or(u64::MAX))
}

fn timestamp(ms: i64) -> Timestamp {
    Timestamp(UtcTime::from_nanos(ms.saturating_mul(1_000_000)))
}
