// SPDX-License-Identifier: Apache-2.0
//! A plan for people.

use std::fmt::Write;

use super::Plan;
use crate::unit::Unit;

fn assumed(plan: &Plan) -> String {
    let a = &plan.assumptions;
    let latency = if a.part_ms > 0 { format!("parts of {} ms", a.part_ms) } else { "no parts".to_owned() };
    let ladder: Vec<String> = a
        .ladder
        .iter()
        .map(|r| format!("{} {} {} %", r.name, Unit::BitsPerSecond.show(r.bits_per_second), r.share_percent))
        .collect();
    format!(
        "{} viewers, {} channels of {}, sound {}; segments of {} ms, {latency}, a window of {} s; {} edges, {} shields, {} \
         origins",
        Unit::Count.show(a.viewers),
        a.channels,
        ladder.join(", "),
        Unit::BitsPerSecond.show(a.audio_bits_per_second),
        a.segment_ms,
        a.window_seconds,
        a.edges(),
        a.shields,
        a.origins,
    )
}

pub(super) fn text(plan: &Plan) -> String {
    let mut out = format!("{}\n\n", assumed(plan));
    for figure in &plan.figures {
        let (about, value) = (&figure.about, figure.unit.show(figure.value));
        let _ = writeln!(out, "{about:40}{value:>14}   = {}", figure.formula);
    }
    let _ = writeln!(
        out,
        "\n{:24}{:>10}{:>8}{:>14}{:>14}{:>14}",
        "region", "viewers", "edges", "to viewers", "each edge", "to shields"
    );
    for region in &plan.regions {
        let (viewers, bits) = (Unit::Count.show(region.viewers), Unit::BitsPerSecond.show(region.bits_per_second));
        let each = Unit::BitsPerSecond.show(region.edge_bits_per_second);
        let asked = Unit::RequestsPerSecond.show(region.shield_requests_per_second);
        let _ = writeln!(out, "{:24}{viewers:>10}{:>8}{bits:>14}{each:>14}{asked:>14}", region.name, region.edges);
    }
    out.push_str("\nhow long caches may keep it\n");
    for lifetime in &plan.lifetimes {
        let _ = writeln!(out, "  {:38}{:>14}   {}", lifetime.what, life(lifetime.ms), lifetime.why);
    }
    out.push_str("\nbounds to set\n");
    for limit in &plan.limits {
        let key = format!("{}: {}", limit.of, limit.key);
        let _ = writeln!(out, "  {key:62} = {:<14} {}", limit.value, limit.why);
    }
    out
}

pub(super) fn markdown(plan: &Plan) -> String {
    let mut out = format!("# Capacity\n\n{}.\n\n| what | needed | formula |\n|---|---|---|\n", cell(&assumed(plan)));
    for figure in &plan.figures {
        let _ = writeln!(
            out,
            "| {} | {} | {} |",
            cell(&figure.about),
            figure.unit.show(figure.value),
            cell(&figure.formula)
        );
    }
    out.push_str("\n## Regions\n\n| region | viewers | edges | to viewers | each edge | to shields |\n|---|---|---|---|---|---|\n");
    for region in &plan.regions {
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} |",
            cell(&region.name),
            Unit::Count.show(region.viewers),
            region.edges,
            Unit::BitsPerSecond.show(region.bits_per_second),
            Unit::BitsPerSecond.show(region.edge_bits_per_second),
            Unit::RequestsPerSecond.show(region.shield_requests_per_second),
        );
    }
    out.push_str("\n## Lifetimes in caches\n\n| what | lifetime | why |\n|---|---|---|\n");
    for lifetime in &plan.lifetimes {
        let _ = writeln!(out, "| {} | {} | {} |", lifetime.what, life(lifetime.ms), lifetime.why);
    }
    out.push_str("\n## Bounds\n\n| of | key | value | why |\n|---|---|---|---|\n");
    for limit in &plan.limits {
        let _ = writeln!(out, "| {} | `{}` | {} | {} |", limit.of, limit.key, limit.value, limit.why);
    }
    out
}

fn life(ms: u64) -> String {
    if ms >= 31_536_000_000 { "a year".to_owned() } else { Unit::Milliseconds.show(ms) }
}

/// Text that stays in its cell.
fn cell(text: &str) -> String {
    crate::markdown::cell(text)
}
