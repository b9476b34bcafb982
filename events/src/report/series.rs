// SPDX-License-Identifier: Apache-2.0
//! Lines over time, from heartbeats and deliveries, second by second and then as wide as a plot can show.

use std::collections::BTreeMap;

use headwater_media::UtcTime;

use super::channel::{add, permille};
use super::chart::{Band, Chart, Line};
use super::incident::Incident;
use crate::event::{Delivery, FillTimes, Health, Role};
use crate::unit::Unit;

/// Columns of a plot, at most.
const COLUMNS_MAX: i64 = 600;
/// Intervals are believed up to this; a node that tells more rarely leaves columns empty.
const INTERVAL_SECONDS_MAX: i64 = 60;
/// Nodes that have a line of their own.
const LINES_MAX: usize = 6;

/// What a node bore in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Load {
    connections: u64,
    egress: u64,
    /// A second.
    requests: u64,
}

/// What shields delivered in a second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Delivered {
    requests: u64,
    hits: u64,
    origin_requests: u64,
    origin_bytes: u64,
    fills: FillTimes,
}

type Loads = BTreeMap<(Role, String), BTreeMap<i64, Load>>;

/// Samples as they come.
#[derive(Debug, Default)]
pub(super) struct Samples {
    loads: Loads,
    delivered: BTreeMap<i64, Delivered>,
    interval_ms: u64,
}

fn second(time: UtcTime, before_ms: u64) -> i64 {
    let before = i64::try_from(before_ms).unwrap_or(0);
    time.millis().saturating_sub(before).div_euclid(1_000)
}

impl Samples {
    pub(super) fn health(&mut self, time: UtcTime, health: &Health) {
        self.interval_ms = self.interval_ms.max(health.interval_ms);
        let loads = self.loads.entry((health.role, health.node.clone())).or_default();
        let load = loads.entry(second(time, health.interval_ms)).or_default();
        load.connections = load.connections.max(health.connections);
        load.egress = load.egress.max(health.egress_bits_per_second);
        let requests = health.requests.saturating_mul(1_000).checked_div(health.interval_ms).unwrap_or(0);
        load.requests = load.requests.max(requests);
    }

    pub(super) fn delivery(&mut self, time: UtcTime, delivery: &Delivery) {
        self.interval_ms = self.interval_ms.max(delivery.interval_ms);
        let delivered = self.delivered.entry(second(time, 0)).or_default();
        add(&mut delivered.requests, delivery.requests);
        add(&mut delivered.hits, delivery.hits);
        add(&mut delivered.origin_requests, delivery.origin_requests);
        add(&mut delivered.origin_bytes, delivery.origin_bytes);
        delivered.fills += &delivery.fills;
    }

    /// Lines between the first and the last event.
    pub(super) fn finish(self, first: Option<UtcTime>, last: Option<UtcTime>) -> Series {
        let interval = i64::try_from(self.interval_ms.div_ceil(1_000)).unwrap_or(i64::MAX);
        let interval = interval.clamp(1, INTERVAL_SECONDS_MAX);
        let seconds = self.loads.values().flat_map(BTreeMap::keys).chain(self.delivered.keys());
        let (low, high) = seconds.fold((i64::MAX, i64::MIN), |(low, high), s| (low.min(*s), high.max(*s)));
        let bounds = first.zip(last).map(|(first, last)| (second(first, 0), second(last, 0)));
        let (low, high) = bounds.map_or((low, high), |(first, last)| (low.min(first), high.max(last)));
        let span = if low <= high { (high - low).saturating_add(1) } else { 0 };
        let width = interval.max(span.div_euclid(COLUMNS_MAX) + i64::from(span % COLUMNS_MAX > 0)).max(1);
        let columns = usize::try_from(span.div_euclid(width) + i64::from(span % width > 0)).unwrap_or(0);
        Series { begin: low, width, columns, interval, loads: self.loads, delivered: self.delivered }
    }
}

/// Samples with a place for each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Series {
    begin: i64,
    width: i64,
    columns: usize,
    interval: i64,
    loads: Loads,
    delivered: BTreeMap<i64, Delivered>,
}

/// A plot as a file.
pub(super) struct Plot {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) svg: String,
}

impl Series {
    /// The most that all nodes of a role bore in one interval: connections, bits per second, requests a second.
    pub(super) fn peak(&self, role: Role) -> Option<[u64; 3]> {
        let mut sums: BTreeMap<i64, [u64; 3]> = BTreeMap::new();
        for (_, loads) in self.loads.iter().filter(|((of, _), _)| *of == role) {
            // A node counts once an interval, however often it told.
            let mut most: BTreeMap<i64, [u64; 3]> = BTreeMap::new();
            for (second, load) in loads {
                let of = most.entry(second.div_euclid(self.interval.max(1))).or_default();
                *of = [of[0].max(load.connections), of[1].max(load.egress), of[2].max(load.requests)];
            }
            for (interval, of) in most {
                let sum = sums.entry(interval).or_default();
                *sum = std::array::from_fn(|i| sum[i].saturating_add(of[i]));
            }
        }
        sums.into_values().reduce(|a, b| std::array::from_fn(|i| a[i].max(b[i])))
    }

    /// The most requests and bits a second from shields to origins in one interval.
    pub(super) fn origin_peak(&self) -> Option<(u64, u64)> {
        let mut sums: BTreeMap<i64, (u64, u64)> = BTreeMap::new();
        for (second, delivered) in &self.delivered {
            let sum = sums.entry(second.div_euclid(self.interval.max(1))).or_default();
            add(&mut sum.0, delivered.origin_requests);
            add(&mut sum.1, delivered.origin_bytes.saturating_mul(8));
        }
        let interval = u64::try_from(self.interval).unwrap_or(1).max(1);
        let rates = sums.into_values().map(|(requests, bits)| (requests.div_ceil(interval), bits / interval));
        rates.reduce(|a, b| (a.0.max(b.0), a.1.max(b.1)))
    }

    fn column(&self, second: i64) -> usize {
        usize::try_from((second.saturating_sub(self.begin)).div_euclid(self.width.max(1))).unwrap_or(0)
    }

    /// Every plot that there are samples for.
    pub(super) fn plots(&self, incidents: &[Incident]) -> Vec<Plot> {
        let bands: Vec<Band> = incidents
            .iter()
            .filter(|incident| incident.sort.is_trouble())
            .map(|incident| Band {
                begin_ms: incident.begin.0.millis(),
                end_ms: incident
                    .begin
                    .0
                    .millis()
                    .saturating_add(i64::try_from(incident.duration_ms).unwrap_or(i64::MAX)),
                label: format!("{} {}", incident.sort.name(), incident.subject),
            })
            .collect();
        let plot = |name, title, unit, lines: Vec<Line>| {
            let any = lines.iter().any(|line| line.points.iter().any(Option::is_some));
            let chart = Chart { title, unit, begin: self.begin, width: self.width, lines, bands: &bands };
            any.then(|| Plot { name, title, svg: chart.svg() })
        };
        [
            plot("egress.svg", "Sent", Unit::BitsPerSecond, self.by_node(|load| load.egress)),
            plot("requests.svg", "Requests", Unit::RequestsPerSecond, self.by_node(|load| load.requests)),
            plot("connections.svg", "Connections", Unit::Count, self.by_node(|load| load.connections)),
            plot(
                "hits.svg",
                "Hit ratio of the shields",
                Unit::Permille,
                vec![self.line("hits", |d| permille(d.hits, d.requests))],
            ),
            plot(
                "fills.svg",
                "Fills to their first byte",
                Unit::Milliseconds,
                [50, 95, 99]
                    .map(|percent| self.line(&format!("p{percent}"), |d| d.fills.percentile_ms(percent)))
                    .into(),
            ),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// A line for each node; past the sixth the rest share one.
    fn by_node(&self, of: impl Fn(&Load) -> u64) -> Vec<Line> {
        let mut lines: Vec<Line> = Vec::new();
        for ((role, node), loads) in &self.loads {
            let mut points = vec![None; self.columns];
            for (second, load) in loads {
                if let Some(point) = points.get_mut(self.column(*second)) {
                    *point = Some(point.unwrap_or(0).max(of(load)));
                }
            }
            match lines.get_mut(LINES_MAX - 1) {
                Some(rest) => {
                    rest.name = "the others".to_owned();
                    for (sum, point) in rest.points.iter_mut().zip(points) {
                        *sum = sum.map_or(point, |sum| Some(sum.saturating_add(point.unwrap_or(0))));
                    }
                }
                None => lines.push(Line { name: format!("{node} ({})", role.name()), points }),
            }
        }
        lines
    }

    fn line(&self, name: &str, of: impl Fn(&Delivered) -> Option<u64>) -> Line {
        let mut columns: BTreeMap<usize, Delivered> = BTreeMap::new();
        for (second, delivered) in &self.delivered {
            let sum = columns.entry(self.column(*second)).or_default();
            add(&mut sum.requests, delivered.requests);
            add(&mut sum.hits, delivered.hits);
            sum.fills += &delivered.fills;
        }
        let points = (0..self.columns).map(|column| columns.get(&column).and_then(&of)).collect();
        Line { name: name.to_owned(), points }
    }
}
