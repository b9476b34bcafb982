// SPDX-License-Identifier: Apache-2.0
//! What went wrong or changed: begins and ends found for one another, and what is near of one kind told once.

use std::collections::{BTreeMap, BTreeSet};

use headwater_media::UtcTime;
use serde::Serialize;

use super::channel::Channel;
use crate::event::{AlertState, Data, Event, Severity, Timestamp};

/// Of one kind and subject, nearer than this: one incident.
const NEAR_NS: i128 = 10_000_000_000;

/// What an incident is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// A channel brought nothing.
    Stall,
    /// Segments never came.
    Gap,
    /// Numbers are missing, and nobody said why.
    Hole,
    /// Another sender went on air.
    SourceSwitch,
    /// A generation began.
    Discontinuity,
    /// An origin was not asked.
    OriginDown,
    /// A group of origins was served by another.
    OriginSwitch,
    /// A resource ran short.
    Congestion,
    /// A threshold was crossed.
    Alert,
    /// A channel went off the air.
    ChannelEnd,
}

impl Sort {
    /// In words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stall => "stall",
            Self::Gap => "gap",
            Self::Hole => "hole",
            Self::SourceSwitch => "source switch",
            Self::Discontinuity => "discontinuity",
            Self::OriginDown => "origin down",
            Self::OriginSwitch => "origin switch",
            Self::Congestion => "congestion",
            Self::Alert => "alert",
            Self::ChannelEnd => "channel end",
        }
    }

    /// True of what lasts and what viewers may notice: plots show it as a band.
    pub(super) const fn is_trouble(self) -> bool {
        matches!(self, Self::Stall | Self::Gap | Self::Hole | Self::OriginDown | Self::Congestion | Self::Alert)
    }
}

/// Something that went wrong or changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Incident {
    /// What it is.
    pub sort: Sort,
    /// What it is about: a channel, an origin, a node's resource, a rule.
    pub subject: String,
    /// Channels it touches.
    pub channels: Vec<String>,
    /// Who told of it.
    pub nodes: Vec<String>,
    /// When it began.
    pub begin: Timestamp,
    /// When it ended; none: it had not when the report ends.
    pub end: Option<Timestamp>,
    /// How long it lasted, to the report's end if it had not ended, in milliseconds.
    pub duration_ms: u64,
    /// How often it was told: segments, switches, alerts.
    pub times: u64,
    /// In words of who told of it first.
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// It ends, having lasted so many nanoseconds where that is known.
    End(Option<i128>),
    /// It is over as soon as it is told, or lasts so many nanoseconds.
    Once(i128),
    /// It begins.
    Begin,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    at_ns: i128,
    step: Step,
    channel: Option<String>,
    text: String,
}

/// Sort and subject, and who told of it.
type Key = (Sort, String, String);

/// Begins and ends as they come.
#[derive(Debug, Default)]
pub(super) struct Edges {
    told: BTreeMap<Key, Vec<Edge>>,
    /// Segments that were ready somewhere, by channel, track, generation and number: no gap.
    ready: BTreeSet<(String, String, u32, u64)>,
    lost: Vec<(String, String, u32, u64, Key, Edge)>,
}

fn ns(time: UtcTime) -> i128 {
    i128::from(time.nanos())
}

impl Edges {
    fn add(&mut self, event: &Event, sort: Sort, subject: &str, at_ns: i128, step: Step, text: String) {
        let key = (sort, subject.to_owned(), event.source.node().to_owned());
        let channel = event.data.channel().map(str::to_owned);
        self.told.entry(key).or_default().push(Edge { at_ns, step, channel, text });
    }

    pub(super) fn take(&mut self, event: &Event) {
        let at = ns(event.time.0);
        match &event.data {
            Data::ChannelStalled(d) => {
                let text = format!("nothing came after segment {}", d.sequence);
                // It began when the last part came; where that is not believable, when it was told.
                let since = Some(ns(d.since.0)).filter(|since| *since <= at).unwrap_or(at);
                self.add(event, Sort::Stall, &d.channel, since, Step::Begin, text);
            }
            Data::ChannelResumed(d) => {
                let lasted = i128::from(d.stalled_ms) * 1_000_000;
                let text = format!("it went on with segment {}", d.sequence);
                self.add(event, Sort::Stall, &d.channel, at, Step::End(Some(lasted)), text);
            }
            Data::ChannelEnded(d) => {
                self.add(event, Sort::Stall, &d.channel, at, Step::End(None), String::new());
                self.add(event, Sort::ChannelEnd, &d.channel, at, Step::Once(0), d.reason.clone());
            }
            Data::SegmentReady(d) => {
                self.ready.insert((d.channel.clone(), d.track.clone(), d.generation, d.sequence));
            }
            Data::SegmentLost(d) => {
                let key = (Sort::Gap, d.channel.clone(), event.source.node().to_owned());
                let (at_ns, step) = (ns(d.start.0), Step::Once(i128::from(d.duration_ns)));
                let text = format!("segment {} of {} never came", d.sequence, d.track);
                let edge = Edge { at_ns, step, channel: Some(d.channel.clone()), text };
                self.lost.push((d.channel.clone(), d.track.clone(), d.generation, d.sequence, key, edge));
            }
            Data::SourceSwitched(d) => {
                let text = format!("{} from {} to {}: {}", d.track, d.from, d.to, d.reason);
                self.add(event, Sort::SourceSwitch, &d.channel, at, Step::Once(0), text);
            }
            Data::Discontinuity(d) => {
                let text = format!("generation {} from segment {} on: {}", d.generation, d.sequence, d.reason);
                self.add(event, Sort::Discontinuity, &d.channel, at, Step::Once(0), text);
            }
            Data::UpstreamDown(d) | Data::UpstreamUp(d) => {
                let is_down = matches!(event.data, Data::UpstreamDown(_));
                let step = if is_down { Step::Begin } else { Step::End(None) };
                let subject = format!("{} of {}", d.origin, d.upstream);
                // An origin that comes up first was not down before: only an end with words can do without a begin.
                let text = if is_down { d.reason.clone() } else { String::new() };
                self.add(event, Sort::OriginDown, &subject, at, step, text);
            }
            Data::UpstreamSwitched(d) => {
                let text = format!("from {} to {}: {}", d.from, d.to, d.reason);
                self.add(event, Sort::OriginSwitch, &d.upstream, at, Step::Once(0), text);
            }
            Data::CongestionRaised(d) | Data::CongestionCleared(d) => {
                let is_raised = matches!(event.data, Data::CongestionRaised(_));
                let step = if is_raised { Step::Begin } else { Step::End(None) };
                let subject = format!("{} of {}", d.resource.name(), d.node);
                let text = format!("{} % used, raised at {} %", d.used_percent, d.raised_at_percent);
                self.add(event, Sort::Congestion, &subject, at, step, text);
            }
            Data::Alert(d) => {
                let subject = d.channel.as_ref().map_or_else(|| d.rule.clone(), |c| format!("{} of {c}", d.rule));
                let severity = if d.severity == Severity::Critical { "critical: " } else { "" };
                let text = format!("{severity}{}", d.text);
                match d.state {
                    AlertState::Firing => {
                        self.add(event, Sort::Alert, &subject, ns(d.window_start.0), Step::Begin, text)
                    }
                    AlertState::Resolved => {
                        self.add(event, Sort::Alert, &subject, ns(d.window_end.0), Step::End(None), text)
                    }
                }
            }
            _ => {}
        }
    }

    /// A twin told what is known: it too noticed.
    pub(super) fn told_too(&mut self, event: &Event) {
        let is_told_by_each = matches!(
            event.data,
            Data::SegmentLost(_) | Data::SourceSwitched(_) | Data::Discontinuity(_) | Data::Alert(_)
        );
        if is_told_by_each {
            self.take(event);
        }
    }

    /// The incidents in order of their begin.
    pub(super) fn finish(mut self, from: Option<UtcTime>, to: Option<UtcTime>, channels: &[Channel]) -> Vec<Incident> {
        for (channel, track, generation, sequence, key, edge) in std::mem::take(&mut self.lost) {
            if !self.ready.contains(&(channel, track, generation, sequence)) {
                self.told.entry(key).or_default().push(edge);
            }
        }
        let (from, to) = (from.map_or(i128::MIN, ns), to.map_or(i128::MAX, ns));
        let mut spans: BTreeMap<(Sort, String), Vec<Span>> = BTreeMap::new();
        for ((sort, subject, node), edges) in self.told {
            spans.entry((sort, subject)).or_default().extend(paired(edges, &node, from));
        }
        let merged = spans.into_iter().flat_map(|((sort, subject), spans)| merged(sort, &subject, spans, to));
        let mut incidents: Vec<Incident> = merged.chain(holes(channels)).collect();
        incidents.sort_by(|a, b| (a.begin, a.sort, &a.subject).cmp(&(b.begin, b.sort, &b.subject)));
        incidents
    }
}

/// From a begin to its end.
#[derive(Debug)]
struct Span {
    begin: i128,
    end: Option<i128>,
    channel: Option<String>,
    node: String,
    text: String,
}

/// Finds each begin its end. An end alone began when it says, or before the report; a second begin changes nothing.
fn paired(mut edges: Vec<Edge>, node: &str, from: i128) -> Vec<Span> {
    edges.sort();
    // A copy that its twin told again.
    edges.dedup();
    let mut spans: Vec<Span> = Vec::new();
    let mut open = None;
    for edge in edges {
        let span = |begin, end| Span {
            begin,
            end,
            channel: edge.channel.clone(),
            node: node.to_owned(),
            text: edge.text.clone(),
        };
        match (edge.step, open) {
            (Step::Once(lasts), _) => spans.push(span(edge.at_ns, Some(edge.at_ns + lasts))),
            (Step::Begin, None) => {
                open = Some(spans.len());
                spans.push(span(edge.at_ns, None));
            }
            (Step::Begin, Some(_)) => {}
            (Step::End(_), Some(at)) => {
                spans[at].end = Some(edge.at_ns);
                open = None;
            }
            (Step::End(Some(lasted)), None) => spans.push(span(edge.at_ns - lasted, Some(edge.at_ns))),
            // Nothing says that it began, unless the report begins within it.
            (Step::End(None), None) if !edge.text.is_empty() && from > i128::MIN && spans.is_empty() => {
                spans.push(span(from.min(edge.at_ns), Some(edge.at_ns)));
            }
            (Step::End(None), None) => {}
        }
    }
    spans
}

/// Puts together what overlaps or is near, whoever told of it.
fn merged(sort: Sort, subject: &str, mut spans: Vec<Span>, to: i128) -> Vec<Incident> {
    spans.sort_by_key(|span| (span.begin, span.end));
    // Each with its channels, and who told of it how often: twins tell of one thing each once.
    let mut groups: Vec<(Span, BTreeSet<String>, BTreeMap<String, u64>)> = Vec::new();
    for span in spans {
        let near = groups.last().is_some_and(|(last, ..)| last.end.is_none_or(|end| span.begin <= end + NEAR_NS));
        match groups.last_mut().filter(|_| near) {
            Some((last, channels, nodes)) => {
                last.end = last.end.zip(span.end).map(|(a, b)| a.max(b));
                channels.extend(span.channel);
                *nodes.entry(span.node).or_default() += 1;
            }
            None => {
                let nodes = BTreeMap::from([(span.node.clone(), 1)]);
                groups.push((span, BTreeSet::new(), nodes));
                if let Some((span, channels, _)) = groups.last_mut() {
                    channels.extend(span.channel.take());
                }
            }
        }
    }
    let incident = |(span, channels, nodes): (Span, BTreeSet<String>, BTreeMap<String, u64>)| {
        let until = span.end.unwrap_or(to.max(span.begin));
        Incident {
            sort,
            subject: subject.to_owned(),
            channels: channels.into_iter().collect(),
            times: nodes.values().copied().max().unwrap_or(1),
            nodes: nodes.into_keys().collect(),
            begin: timestamp(span.begin),
            end: span.end.map(timestamp),
            duration_ms: u64::try_from((until - span.begin) / 1_000_000).unwrap_or(0),
            text: span.text,
        }
    };
    groups.into_iter().map(incident).collect()
}

/// Numbers that are missing, each hole an incident of its own.
fn holes(channels: &[Channel]) -> impl Iterator<Item = Incident> {
    let all = channels.iter().flat_map(|channel| channel.holes.iter().map(move |hole| (&channel.channel, hole)));
    all.map(|(channel, hole)| Incident {
        sort: Sort::Hole,
        subject: channel.clone(),
        channels: vec![channel.clone()],
        nodes: Vec::new(),
        begin: hole.begin,
        end: Some(hole.end),
        duration_ms: u64::try_from(hole.end.0.millis().saturating_sub(hole.begin.0.millis())).unwrap_or(0),
        times: hole.last - hole.first + 1,
        text: format!("nobody told of segments {} to {} of {}", hole.first, hole.last, hole.track),
    })
}

/// Times are of events, so what does not fit is what arithmetic made of them.
fn timestamp(ns: i128) -> Timestamp {
    let fit = i64::try_from(ns).unwrap_or(if ns < 0 { i64::MIN } else { i64::MAX });
    Timestamp(UtcTime::from_nanos(fit))
}
