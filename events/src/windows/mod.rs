// SPDX-License-Identifier: Apache-2.0
//! Statistics over windows of event time: what shields delivered of each channel, all of them together.
//!
//! A window holds the deliveries whose time lies in it, whenever they come. The *watermark* is the largest time of any
//! event seen less the delay that is allowed for disorder: a window that ends at or before it is told. A delivery that
//! comes later tells its windows again, until the watermark is past their end by the lateness; what comes after that is
//! counted and left out. Copies of an event count once. So the final rows depend on which events there were, not on the
//! order in which they came, as long as none comes later than delay and lateness together.
//!
//! One watermark serves all nodes: a node that lags is late, it does not hold the others up. The same windows as Flink
//! SQL are in `analytics/`; they tell final rows only, with a watermark that lags by delay and lateness together.

mod alerts;
mod recent;
mod row;
mod table;
mod task;
#[cfg(test)]
mod tests;

use crate::config;

pub use recent::{Recent, Told, router};
pub use row::Row;
pub use table::{Counts, Windows};
pub use task::Task;

/// Which windows there are, and how long they wait. Times are in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Shape {
    /// How long a window is: a whole number of slides.
    pub size_ms: i64,
    /// How often one begins. As its size: they tumble.
    pub slide_ms: i64,
    /// How far out of order events come without being late.
    pub delay_ms: i64,
    /// How long a window that was told still changes.
    pub lateness_ms: i64,
}

impl Shape {
    /// As configured. A window that is no whole number of slides is made longer until it is.
    pub fn new(alerts: &config::Alerts) -> Self {
        let slide_ms = i64::from(alerts.slide_seconds.max(1)) * 1_000;
        let slides = alerts.window_seconds.div_ceil(alerts.slide_seconds.max(1)).max(1);
        Self {
            size_ms: slide_ms * i64::from(slides),
            slide_ms,
            delay_ms: i64::from(alerts.delay_ms),
            lateness_ms: i64::from(alerts.lateness_ms),
        }
    }
}
