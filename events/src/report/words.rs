// SPDX-License-Identifier: Apache-2.0
//! A report as a page.

use std::fmt::Write;

use super::{Channel, Incident, Node, Report};
use crate::event::Timestamp;
use crate::markdown::cell;
use crate::unit::Unit;

/// Incidents that the page lists; the JSON has all.
const INCIDENTS_MAX: usize = 500;

pub(super) fn markdown(report: &Report, plots: &[(&str, &str)]) -> String {
    let mut out = String::from("# Report\n\n");
    summary(&mut out, report);
    incidents(&mut out, &report.incidents);
    against(&mut out, report);
    delivery(&mut out, &report.channels);
    media(&mut out, &report.channels);
    nodes(&mut out, &report.nodes);
    if !plots.is_empty() {
        out.push_str("\n## Over time\n");
    }
    for (name, title) in plots {
        let _ = write!(out, "\n![{title}]({name})\n");
    }
    made_from(&mut out, report);
    out
}

fn summary(out: &mut String, report: &Report) {
    let (Some(from), Some(to)) = (report.from, report.to) else {
        out.push_str("No events.\n");
        return;
    };
    let lasted = u64::try_from(to.0.millis().saturating_sub(from.0.millis())).unwrap_or(0);
    let _ = writeln!(out, "{} to {}, {}.\n", clock(from), clock(to), Unit::Milliseconds.show(lasted));
    let sum = |of: fn(&Channel) -> u64| report.channels.iter().map(of).fold(0, u64::saturating_add);
    let (requests, asked) = (sum(|c| c.requests), sum(|c| c.origin_requests));
    let _ = writeln!(out, "| | |\n|---|---|");
    let mut row = |name: &str, value: String| {
        let _ = writeln!(out, "| {name} | {value} |");
    };
    let open = report.incidents.iter().filter(|incident| incident.end.is_none()).count();
    row("incidents", format!("{}, {open} of them not over", report.incidents.len()));
    row(
        "segments",
        format!(
            "{}; {} lost, {} missing without a word",
            sum(|c| c.segments),
            sum(|c| c.segments_lost),
            sum(|c| c.segments_missing)
        ),
    );
    if requests > 0 {
        row("requests to shields", count(requests));
        row("requests of shields to origins, ahead of need among them", count(asked));
        row("answered with 5xx", count(sum(|c| c.errors)));
        let (bytes, from_origins) = (Unit::Bytes.show(sum(|c| c.bytes)), Unit::Bytes.show(sum(|c| c.origin_bytes)));
        row("sent by shields", bytes);
        row("taken from origins by them", from_origins);
    }
}

fn incidents(out: &mut String, incidents: &[Incident]) {
    out.push_str("\n## Incidents\n\n");
    if incidents.is_empty() {
        out.push_str("None.\n");
        return;
    }
    out.push_str(
        "| from | to | lasted | what | about | times | told by | in words |\n|---|---|---|---|---|---|---|---|\n",
    );
    for incident in incidents.iter().take(INCIDENTS_MAX) {
        let end = incident.end.map_or_else(|| "not over".to_owned(), clock);
        let about = match incident.channels.as_slice() {
            [channel] if *channel != incident.subject => format!("{} ({channel})", incident.subject),
            _ => incident.subject.clone(),
        };
        let _ = writeln!(
            out,
            "| {} | {end} | {} | {} | {} | {} | {} | {} |",
            clock(incident.begin),
            Unit::Milliseconds.show(incident.duration_ms),
            incident.sort.name(),
            cell(&about),
            incident.times,
            cell(&incident.nodes.join(", ")),
            cell(&incident.text),
        );
    }
    if incidents.len() > INCIDENTS_MAX {
        let _ = writeln!(out, "\n{} more are in `report.json`.", incidents.len() - INCIDENTS_MAX);
    }
}

fn against(out: &mut String, report: &Report) {
    if report.against_plan.is_empty() {
        return;
    }
    out.push_str("\n## Against the plan\n\nPeaks beside what was planned.\n\n| what | planned | measured | of it |\n|---|---|---|---|\n");
    for row in &report.against_plan {
        let percent = row.percent.map_or_else(|| "–".to_owned(), |percent| format!("{percent} %"));
        let (planned, measured) = (row.unit.show(row.planned), row.unit.show(row.measured));
        let _ = writeln!(out, "| {} | {planned} | {measured} | {percent} |", cell(&row.about));
    }
}

fn delivery(out: &mut String, channels: &[Channel]) {
    let delivered: Vec<&Channel> =
        channels.iter().filter(|channel| channel.requests > 0 || channel.origin_requests > 0).collect();
    if delivered.is_empty() {
        return;
    }
    out.push_str(
        "\n## Delivery\n\nOffload is what shields kept from origins. A fill's time is that to its first byte: the bound of \
         the class it lies in.\n\n\
         | channel | requests | hits | offload, requests | offload, bytes | sent | from origins | stale | 5xx | refused | \
         fills | p50 | p95 | p99 |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    let share = |value: Option<u64>| value.map_or_else(|| "–".to_owned(), |value| Unit::Permille.show(value));
    let time = |value: Option<u64>| value.map_or_else(|| "–".to_owned(), |value| Unit::Milliseconds.show(value));
    for c in delivered {
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            cell(&c.channel),
            count(c.requests),
            share(c.hit_permille),
            share(c.offload_requests_permille),
            share(c.offload_bytes_permille),
            Unit::Bytes.show(c.bytes),
            Unit::Bytes.show(c.origin_bytes),
            count(c.stale),
            count(c.errors),
            count(c.refused),
            count(c.fills),
            time(c.fill_p50_ms),
            time(c.fill_p95_ms),
            time(c.fill_p99_ms),
        );
    }
}

fn media(out: &mut String, channels: &[Channel]) {
    let with_media: Vec<&Channel> = channels.iter().filter(|channel| !channel.origins.is_empty()).collect();
    if with_media.is_empty() {
        return;
    }
    out.push_str(
        "\n## Media\n\nA segment is lost when no origin had it, missing when its number is not among those that came and \
         nobody said why.\n\n\
         | channel | told by | tracks | segments | parts | bytes | lost | of media | missing | source switches | \
         discontinuities |\n|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for c in &with_media {
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            cell(&c.channel),
            cell(&c.origins.join(", ")),
            cell(&c.tracks.join(", ")),
            c.segments,
            c.parts,
            Unit::Bytes.show(c.media_bytes),
            c.segments_lost,
            Unit::Milliseconds.show(c.lost_ms),
            c.segments_missing,
            c.source_switches,
            c.discontinuities,
        );
    }
    for c in with_media.iter().filter(|channel| !channel.holes.is_empty()) {
        let holes = c.holes.iter().map(|hole| match hole.first == hole.last {
            true => format!("{} of {}", hole.first, hole.track),
            false => format!("{} to {} of {}", hole.first, hole.last, hole.track),
        });
        let _ = writeln!(out, "\nMissing in {}: {}.", cell(&c.channel), cell(&holes.collect::<Vec<_>>().join(", ")));
    }
}

fn nodes(out: &mut String, nodes: &[Node]) {
    if nodes.is_empty() {
        return;
    }
    out.push_str(
        "\n## Nodes\n\nEach number is the peak, and when it was.\n\n\
         | node | connections | sent | requests | processor | on average | memory | refused |\n|---|---|---|---|---|---|---|---|\n",
    );
    for n in nodes {
        let at = |text: String, at: Timestamp| format!("{text}, {}", short(at));
        let memory = match n.memory_bytes_max {
            0 => Unit::Bytes.show(n.memory_bytes.value),
            max => format!("{} of {}", Unit::Bytes.show(n.memory_bytes.value), Unit::Bytes.show(max)),
        };
        let cpu = format!(
            "{} of {}",
            Unit::Millicores.show(n.cpu_millicores.value),
            Unit::Millicores.show(n.cpu_millicores_max)
        );
        let _ = writeln!(
            out,
            "| {} ({}) | {} | {} | {} | {} | {} | {} | {} |",
            cell(&n.node),
            n.role,
            at(count(n.connections.value), n.connections.at),
            at(Unit::BitsPerSecond.show(n.egress_bits_per_second.value), n.egress_bits_per_second.at),
            at(Unit::RequestsPerSecond.show(n.requests_per_second.value), n.requests_per_second.at),
            at(cpu, n.cpu_millicores.at),
            n.cpu_mean_permille.map_or_else(|| "–".to_owned(), |mean| Unit::Permille.show(mean)),
            at(memory, n.memory_bytes.at),
            count(n.refused),
        );
    }
}

fn made_from(out: &mut String, report: &Report) {
    let read = &report.read;
    let _ = write!(
        out,
        "\n## Made from\n\n{} events; {} copies of twins, {} told again, {} outside of the time.\n",
        read.events, read.copies_of_twins, read.repeated, read.outside
    );
    if read.gaps > 0 {
        let _ = writeln!(out, "\nEvents may be missing: the log or the feed said so {} times.", read.gaps);
    }
    if read.left_out > 0 {
        let _ = writeln!(out, "\n{} events more than can be told apart at once were left out.", read.left_out);
    }
}

/// Day and time, to the second.
fn clock(time: Timestamp) -> String {
    let written = time.0.rfc3339_millis();
    format!("{} {}", written.get(..10).unwrap_or_default(), written.get(11..19).unwrap_or_default())
}

/// Time, to the second.
fn short(time: Timestamp) -> String {
    time.0.rfc3339_millis().get(11..19).unwrap_or_default().to_owned()
}

fn count(value: u64) -> String {
    Unit::Count.show(value)
}
