// SPDX-License-Identifier: Apache-2.0
//! What servers share of their metrics (OpenMetrics): each is declared once with its unit, help and labels, and the
//! reference is written from the declarations.

pub mod process;
pub mod shard;

use std::fmt::Write;
use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::{counter, gauge};
use prometheus_client::registry::{Metric, Registry, Unit};

pub use process::Process;

/// A number that only grows.
pub type Counter = counter::Counter;
/// A number that goes up and down.
pub type Gauge = gauge::Gauge;
/// Seconds that go up and down.
pub type Seconds = gauge::Gauge<f64, AtomicU64>;

/// A metric as it was declared.
#[derive(Clone, Debug)]
pub struct Declared {
    /// Its name in the exposition.
    pub name: String,
    /// `counter`, `gauge`, `histogram` or `info`.
    pub kind: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it counts or measures.
    pub help: &'static str,
}

/// Collects the declarations of one server.
#[derive(Debug)]
pub struct Declaring<'a> {
    registry: &'a mut Registry,
    prefix: &'static str,
    declared: Vec<Declared>,
}

impl<'a> Declaring<'a> {
    /// Declares into `root`, every name with `prefix` before it.
    pub fn new(root: &'a mut Registry, prefix: &'static str) -> Self {
        Self { registry: root.sub_registry_with_prefix(prefix), prefix, declared: Vec::new() }
    }

    /// Declares one metric.
    pub fn add(
        &mut self,
        name: &str,
        unit: Option<Unit>,
        labels: &'static [&'static str],
        help: &'static str,
        metric: impl Metric,
    ) {
        let kind = match metric.metric_type() {
            MetricType::Counter => "counter",
            MetricType::Histogram => "histogram",
            MetricType::Info => "info",
            _ => "gauge",
        };
        let suffix = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let named = unit.as_ref().map_or_else(|| name.to_owned(), |unit| format!("{name}_{}", unit.as_str()));
        self.declared.push(Declared { name: format!("{}_{named}{suffix}", self.prefix), kind, labels, help });
        match unit {
            Some(unit) => self.registry.register_with_unit(name, help, unit, metric),
            None => self.registry.register(name, help, metric),
        }
    }

    /// What was declared.
    pub fn finish(self) -> Vec<Declared> {
        self.declared
    }
}

/// The reference of these metrics, a table.
pub fn table(declared: &[Declared]) -> String {
    let mut out = String::from("| metric | type | labels | what |\n|---|---|---|---|\n");
    for metric in declared {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        // Writing into a String does not fail.
        let _ = writeln!(out, "| `{}` | {} | {} | {} |", metric.name, metric.kind, labels.join(", "), metric.help);
    }
    out
}
