// SPDX-License-Identifier: Apache-2.0
//! What was measured beside what was planned.

use serde::Serialize;

use super::channel::{Channel, permille};
use super::node::Node;
use super::series::Series;
use crate::event::Role;
use crate::plan::Plan;
use crate::unit::Unit;

/// A number of the plan, and what it came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// The plan's key.
    pub key: String,
    /// In words.
    pub about: String,
    /// What both count.
    pub unit: Unit,
    /// Planned.
    pub planned: u64,
    /// Measured, at its peak.
    pub measured: u64,
    /// Measured of planned, percent; none where nothing was planned.
    pub percent: Option<u64>,
}

/// Every figure of the plan that was measured too.
pub(super) fn compare(plan: &Plan, series: &Series, nodes: &[Node], channels: &[Channel]) -> Vec<Comparison> {
    let mut measured: Vec<(String, u64)> = Vec::new();
    for role in [Role::Shield, Role::Origin] {
        let name = role.name();
        let Some([connections, bits, requests]) = series.peak(role) else { continue };
        measured.push((format!("{name}.requests_per_second"), requests));
        measured.push((format!("{name}.bits_per_second"), bits));
        measured.push((format!("{name}.connections"), connections));
        let of_role = || nodes.iter().filter(|node| node.role == name);
        let memory = of_role().map(|node| node.memory_bytes.value).max().unwrap_or(0);
        measured.push((format!("{name}.memory_bytes"), memory));
        let millicores = of_role().map(|node| node.cpu_millicores.value).fold(0, u64::saturating_add);
        measured.push((format!("{name}.millicores"), millicores));
    }
    let sum = |of: fn(&Channel) -> u64| channels.iter().map(of).fold(0, u64::saturating_add);
    let (requests, asked) = (sum(|channel| channel.requests), sum(|channel| channel.origin_requests));
    if let Some(hits) = permille(requests.saturating_sub(asked), requests) {
        measured.push(("shield.hit_permille".to_owned(), hits));
    }
    // Shields count what they ask; where origins do not tell, that is what origins bore.
    if let (Some((requests, bits)), None) = (series.origin_peak(), series.peak(Role::Origin)) {
        measured.push(("origin.requests_per_second".to_owned(), requests));
        measured.push(("origin.bits_per_second".to_owned(), bits));
    }
    let planned = plan.figures.iter().filter_map(|figure| {
        let (_, measured) = measured.iter().find(|(key, _)| *key == figure.key)?;
        let percent = (u128::from(*measured) * 100).checked_div(u128::from(figure.value));
        Some(Comparison {
            key: figure.key.clone(),
            about: figure.about.clone(),
            unit: figure.unit,
            planned: figure.value,
            measured: *measured,
            percent: percent.map(|percent| u64::try_from(percent).unwrap_or(u64::MAX)),
        })
    });
    planned.collect()
}
