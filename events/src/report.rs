// SPDX-License-Identifier: Apache-2.0
//! The analysis after an event: what the nodes told, in any order and as often as they liked, in; one report out.
//!
//! Copies of an event count once, by its id, so what twins tell of one object is one object. Integers throughout: the
//! same events give the same report.

mod against;
mod channel;
mod chart;
mod incident;
mod node;
mod series;
mod words;

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use headwater_media::UtcTime;
use serde::Serialize;

pub use against::Comparison;
pub use channel::{Channel, Hole};
pub use incident::{Incident, Sort};
pub use node::{Node, Peak};

use crate::event::{Data, Event, Timestamp};
use crate::plan::Plan;

/// Events told apart by their ids; each takes 16 bytes or so. More are left out, and counted.
const EVENTS_MAX: usize = 20_000_000;

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Read {
    /// Events that count.
    pub events: u64,
    /// Of these by type.
    pub by_type: BTreeMap<&'static str, u64>,
    /// Told by the twin of who told it first.
    pub copies_of_twins: u64,
    /// Told again by who told it before.
    pub repeated: u64,
    /// Outside of the time that was asked for.
    pub outside: u64,
    /// Beyond what can be told apart at once.
    pub left_out: u64,
    /// Times that events may be missing: the log or the feed said so.
    pub gaps: u64,
}

/// The report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Where it begins: as asked for, or with the first event.
    pub from: Option<Timestamp>,
    /// Where it ends: as asked for, or with the last event.
    pub to: Option<Timestamp>,
    /// What it was made from.
    pub read: Read,
    /// What went wrong or changed, in order of time.
    pub incidents: Vec<Incident>,
    /// By channel.
    pub channels: Vec<Channel>,
    /// By node.
    pub nodes: Vec<Node>,
    /// Beside the plan, where there is one.
    pub against_plan: Vec<Comparison>,
    /// Lines over time.
    #[serde(skip)]
    series: series::Series,
}

/// A file of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name.
    pub name: &'static str,
    /// Its text.
    pub text: String,
}

/// Reads events into a report.
#[derive(Debug, Default)]
pub struct Reader {
    from: Option<UtcTime>,
    to: Option<UtcTime>,
    first: Option<UtcTime>,
    last: Option<UtcTime>,
    /// Hash of an id → hash of who told it first.
    seen: HashMap<u64, u32>,
    read: Read,
    edges: incident::Edges,
    channels: BTreeMap<String, channel::Tally>,
    nodes: BTreeMap<(u8, String), node::Tally>,
    series: series::Samples,
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

impl Reader {
    /// Takes events from `from` on and before `to`; all of them where that is not said.
    pub fn new(from: Option<UtcTime>, to: Option<UtcTime>) -> Self {
        Self { from, to, ..Self::default() }
    }

    /// Events may be missing here.
    pub fn gap(&mut self) {
        self.read.gaps += 1;
    }

    /// Takes an event.
    pub fn take(&mut self, event: &Event) {
        let time = event.time.0;
        if self.from.is_some_and(|from| time < from) || self.to.is_some_and(|to| time >= to) {
            self.read.outside += 1;
            return;
        }
        let told_by = hash(event.source.as_str()) as u32;
        match self.seen.get(&hash(&event.id)) {
            Some(first) if *first == told_by => {
                self.read.repeated += 1;
                return;
            }
            Some(_) => {
                self.read.copies_of_twins += 1;
                self.told_too(event);
                return;
            }
            None if self.seen.len() >= EVENTS_MAX => {
                self.read.left_out += 1;
                return;
            }
            None => self.seen.insert(hash(&event.id), told_by),
        };
        self.read.events += 1;
        *self.read.by_type.entry(event.kind().name()).or_default() += 1;
        self.first = Some(self.first.map_or(time, |first| first.min(time)));
        self.last = Some(self.last.map_or(time, |last| last.max(time)));
        self.edges.take(event);
        if let Some(channel) = event.data.channel() {
            self.channels.entry(channel.to_owned()).or_default().take(event);
        }
        match &event.data {
            Data::Health(health) => {
                self.nodes.entry((health.role as u8, health.node.clone())).or_default().take(time, health);
                self.series.health(time, health);
            }
            Data::Delivery(delivery) => self.series.delivery(time, delivery),
            _ => {}
        }
    }

    /// What a twin told too: who it is counts, the rest is known.
    fn told_too(&mut self, event: &Event) {
        if let Some(channel) = event.data.channel().and_then(|name| self.channels.get_mut(name)) {
            channel.told_by(event);
        }
        self.edges.told_too(event);
    }

    /// The report, beside a plan if there is one.
    pub fn finish(self, plan: Option<&Plan>) -> Report {
        let (from, to) = (self.from.or(self.first), self.to.or(self.last));
        let series = self.series.finish(self.first, self.last);
        let channels: Vec<Channel> = self.channels.into_iter().map(|(name, tally)| tally.finish(name)).collect();
        let nodes: Vec<Node> = self.nodes.into_iter().filter_map(|((_, name), tally)| tally.finish(name)).collect();
        let incidents = self.edges.finish(from, to, &channels);
        let against_plan = plan.map_or_else(Vec::new, |plan| against::compare(plan, &series, &nodes, &channels));
        Report {
            from: from.map(Timestamp),
            to: to.map(Timestamp),
            read: self.read,
            incidents,
            channels,
            nodes,
            against_plan,
            series,
        }
    }
}

impl Report {
    /// Every file of it: the page, its plots, and the same as JSON.
    pub fn files(&self) -> Vec<File> {
        let plots = self.series.plots(&self.incidents);
        let shown: Vec<(&str, &str)> = plots.iter().map(|plot| (plot.name, plot.title)).collect();
        let mut files = vec![
            File { name: "report.md", text: words::markdown(self, &shown) },
            File { name: "report.json", text: self.json() },
        ];
        files.extend(plots.into_iter().map(|plot| File { name: plot.name, text: plot.svg }));
        files
    }

    /// As JSON.
    pub fn json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a report is strings and numbers");
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests;
