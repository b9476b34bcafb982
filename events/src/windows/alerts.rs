// SPDX-License-Identifier: Apache-2.0
//! Thresholds over windows: rows in, alerts out.
//!
//! A rule fires for a channel at the first window past its threshold and is resolved at the first later one that is
//! better than it by a tenth, so a value that hovers there does not ring. A window changes a rule once at most and no
//! older window changes it afterwards, so an alert's id, which names the window's end, names one change.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::row::Row;
use crate::config;
use crate::event::{Alert, AlertState, Severity};

/// Windows in a row without requests to judge a channel by, after which what fires is resolved.
const QUIET_WINDOWS: i64 = 6;
/// Past it the channels of which least was heard lately are forgotten, unless a rule fires for them.
const CHANNELS_MAX: usize = 65_536;

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Rule {
    HitRatio,
    OriginRequests,
    FillP95,
    Errors,
}

/// What a rule measures against.
#[derive(Clone, Copy, Debug)]
struct Scale {
    /// In the unit of the measured value; 0: the rule is off.
    bound: u64,
    /// What value and bound are divided by to be told.
    divisor: u32,
    unit: &'static str,
}

impl Rule {
    const ALL: [Self; 4] = [Self::HitRatio, Self::OriginRequests, Self::FillP95, Self::Errors];

    const fn name(self) -> &'static str {
        match self {
            Self::HitRatio => "hit_ratio",
            Self::OriginRequests => "origin_requests",
            Self::FillP95 => "fill_p95",
            Self::Errors => "errors",
        }
    }

    const fn severity(self) -> Severity {
        match self {
            Self::Errors => Severity::Critical,
            _ => Severity::Warning,
        }
    }

    fn scale(self, alerts: &config::Alerts) -> Scale {
        let (bound, divisor, unit) = match self {
            Self::HitRatio => (u64::from(alerts.hit_percent_min) * 10, 10, "% of requests are hits"),
            Self::OriginRequests => {
                let bound = u64::from(alerts.origin_requests_per_second_max) * 1_000;
                (bound, 1_000, " requests a second to origins")
            }
            Self::FillP95 => (u64::from(alerts.fill_p95_ms_max), 1, " ms at the most for 95 of 100 fills"),
            Self::Errors => (u64::from(alerts.error_permille_max), 10, "% of requests fail with 5xx"),
        };
        Scale { bound, divisor, unit }
    }

    /// What a window says of it; `None` if it says nothing.
    const fn value(self, row: &Row) -> Option<u64> {
        match self {
            Self::HitRatio => row.hit_permille,
            Self::OriginRequests => Some(row.origin_requests_per_1000_s),
            Self::FillP95 => row.fill_p95_ms,
            Self::Errors => row.error_permille,
        }
    }

    const fn is_crossed(self, value: u64, bound: u64) -> bool {
        match self {
            Self::HitRatio => value < bound,
            _ => value > bound && bound > 0,
        }
    }

    /// Better than the bound by a tenth of what there is beyond it.
    const fn is_well(self, value: u64, bound: u64) -> bool {
        match self {
            Self::HitRatio => value >= bound + 1_000_u64.saturating_sub(bound) / 10,
            _ => value <= bound - bound / 10 || bound == 0,
        }
    }
}

/// What fires.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Standing {
    /// End of the latest window at which silence was looked for.
    settled_ms: Option<i64>,
    /// By name.
    channels: BTreeMap<String, Channel>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Channel {
    /// End of the latest window that it was judged by.
    judged_ms: i64,
    rules: BTreeMap<Rule, Changed>,
}

/// A rule that fired once at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Changed {
    is_firing: bool,
    /// End of the window that changed it.
    at_ms: i64,
    /// What was measured when it was judged last.
    value: u64,
}

impl Standing {
    /// What a row changes.
    pub(super) fn judge(&mut self, row: &Row, alerts: &config::Alerts) -> Vec<Alert> {
        let mut told = self.settle(row, alerts);
        let end_ms = row.window_end.0.millis();
        // Of what is older than this the changes are forgotten: it could ring a second time.
        let is_old = self.settled_ms.is_some_and(|settled| end_ms < settled.saturating_sub(quiet_ms(row)));
        if is_old || row.requests == 0 || row.requests < u64::from(alerts.requests_min) {
            return told;
        }
        let fresh = || Channel { judged_ms: end_ms, rules: BTreeMap::new() };
        let channel = self.channels.entry(row.channel.clone()).or_insert_with(fresh);
        channel.judged_ms = channel.judged_ms.max(end_ms);
        for rule in Rule::ALL {
            let Some(value) = rule.value(row) else { continue };
            let Scale { bound, .. } = rule.scale(alerts);
            let known = channel.rules.get_mut(&rule);
            if known.as_ref().is_some_and(|known| end_ms <= known.at_ms) {
                continue;
            }
            let was_firing = known.as_ref().is_some_and(|known| known.is_firing);
            let changes = if was_firing { rule.is_well(value, bound) } else { rule.is_crossed(value, bound) };
            if changes {
                channel.rules.insert(rule, Changed { is_firing: !was_firing, at_ms: end_ms, value });
                told.push(alert(rule, &row.channel, !was_firing, value, rule.scale(alerts), row, ""));
            } else if let Some(known) = known {
                known.value = value;
            }
        }
        self.forget();
        told
    }

    /// Resolves, once a window, what fires for channels that had nothing to be judged by for long.
    fn settle(&mut self, row: &Row, alerts: &config::Alerts) -> Vec<Alert> {
        let end_ms = row.window_end.0.millis();
        if self.settled_ms.is_some_and(|settled| end_ms <= settled) {
            return Vec::new();
        }
        self.settled_ms = Some(end_ms);
        let since_ms = end_ms.saturating_sub(quiet_ms(row));
        let mut told = Vec::new();
        for (name, channel) in self.channels.iter_mut().filter(|(_, channel)| channel.judged_ms < since_ms) {
            for (rule, changed) in channel.rules.iter_mut().filter(|(_, changed)| changed.is_firing) {
                let why = "; too few requests to judge it by any more";
                told.push(alert(*rule, name, false, changed.value, rule.scale(alerts), row, why));
                *changed = Changed { is_firing: false, at_ms: end_ms, ..*changed };
            }
        }
        self.channels.retain(|_, channel| {
            channel.judged_ms >= since_ms || channel.rules.values().any(|changed| changed.at_ms >= since_ms)
        });
        told
    }

    fn forget(&mut self) {
        while self.channels.len() > CHANNELS_MAX {
            let idle = self.channels.iter().filter(|(_, channel)| !channel.rules.values().any(|c| c.is_firing));
            let Some(oldest) = idle.min_by_key(|(_, channel)| channel.judged_ms).map(|(name, _)| name.clone()) else {
                return;
            };
            self.channels.remove(&oldest);
        }
    }
}

fn quiet_ms(row: &Row) -> i64 {
    (row.window_end.0.millis() - row.window_start.0.millis()).saturating_mul(QUIET_WINDOWS)
}

fn alert(rule: Rule, channel: &str, fires: bool, value: u64, scale: Scale, row: &Row, why: &str) -> Alert {
    let Scale { bound, divisor, unit } = scale;
    let [value, threshold] = [value, bound].map(|number| number as f64 / f64::from(divisor));
    let against = match (fires, rule) {
        (true, Rule::HitRatio) => "expected at least",
        (true, _) => "expected at most",
        (false, _) => "resolved, the threshold is",
    };
    Alert {
        rule: rule.name().to_owned(),
        channel: Some(channel.to_owned()),
        state: if fires { AlertState::Firing } else { AlertState::Resolved },
        severity: rule.severity(),
        value,
        threshold,
        window_start: row.window_start,
        window_end: row.window_end,
        text: format!("{channel}: {value}{unit}, {against} {threshold}{why}"),
    }
}

#[cfg(test)]
mod tests {
    use headwater_media::UtcTime;
    use proptest::prelude::*;

    use super::*;
    use crate::event::Delivery;
    use crate::windows::row::Sums;

    const RULES: config::Alerts = config::Alerts {
        window_seconds: 10,
        slide_seconds: 10,
        delay_ms: 0,
        lateness_ms: 0,
        hit_percent_min: 90,
        origin_requests_per_second_max: 0,
        fill_p95_ms_max: 0,
        error_permille_max: 10,
        requests_min: 100,
        cpu_percent_max: 0,
        memory_percent_max: 0,
        egress_bits_per_second_max: 0,
        egress_percent_max: 0,
    };

    fn row(channel: &str, window: i64, requests: u64, hits: u64, errors: u64) -> Row {
        let mut sums = Sums::default();
        let fills = crate::event::FillTimes::default();
        sums.take(&Delivery {
            node: "n".into(),
            channel: channel.into(),
            interval_ms: 1_000,
            requests,
            hits,
            stale: 0,
            errors,
            refused: 0,
            bytes: 0,
            origin_requests: 0,
            prefetches: 0,
            origin_bytes: 0,
            fills,
        });
        Row::new(channel, window * 10_000, 10_000, &sums)
    }

    fn changes(standing: &mut Standing, row: &Row) -> Vec<(String, String, AlertState)> {
        let told = standing.judge(row, &RULES);
        told.into_iter().map(|alert| (alert.rule, alert.channel.unwrap_or_default(), alert.state)).collect()
    }

    #[test]
    fn a_rule_fires_once_and_is_resolved_once_a_tenth_better() {
        let mut standing = Standing::default();
        let fired = standing.judge(&row("news", 1, 1_000, 1_000, 11), &RULES);
        let [alert] = fired.as_slice() else { panic!("expected one alert, got {fired:?}") };
        assert_eq!(
            (alert.rule.as_str(), alert.state, alert.severity),
            ("errors", AlertState::Firing, Severity::Critical)
        );
        assert_eq!((alert.value, alert.threshold), (1.1, 1.0));
        assert_eq!(alert.text, "news: 1.1% of requests fail with 5xx, expected at most 1");
        assert_eq!(alert.window_end.0, UtcTime::from_nanos(20_000_000_000));
        assert_eq!(changes(&mut standing, &row("news", 2, 1_000, 1_000, 50)), []);
        assert_eq!(changes(&mut standing, &row("news", 3, 1_000, 1_000, 10)), [], "not better by a tenth");
        assert_eq!(
            changes(&mut standing, &row("news", 4, 1_000, 1_000, 9)),
            [("errors".into(), "news".into(), AlertState::Resolved)]
        );
        assert_eq!(changes(&mut standing, &row("news", 5, 1_000, 1_000, 9)), []);
    }

    #[test]
    fn a_hit_ratio_fires_below_its_bound_for_its_channel_alone() {
        let mut standing = Standing::default();
        assert_eq!(
            changes(&mut standing, &row("a", 1, 1_000, 899, 0)),
            [("hit_ratio".into(), "a".into(), AlertState::Firing)]
        );
        assert_eq!(changes(&mut standing, &row("b", 1, 1_000, 900, 0)), []);
        assert_eq!(changes(&mut standing, &row("a", 2, 1_000, 909, 0)), []);
        assert_eq!(
            changes(&mut standing, &row("a", 3, 1_000, 910, 0)),
            [("hit_ratio".into(), "a".into(), AlertState::Resolved)]
        );
    }

    #[test]
    fn few_requests_are_not_judged_and_long_silence_resolves() {
        let mut standing = Standing::default();
        assert_eq!(changes(&mut standing, &row("a", 1, 99, 99, 99)), []);
        assert_eq!(
            changes(&mut standing, &row("a", 1, 100, 100, 100)),
            [("errors".into(), "a".into(), AlertState::Firing)]
        );
        assert_eq!(changes(&mut standing, &row("a", 7, 1, 1, 0)), []);
        assert_eq!(
            changes(&mut standing, &row("b", 8, 1, 1, 0)),
            [("errors".into(), "a".into(), AlertState::Resolved)]
        );
        changes(&mut standing, &row("b", 15, 1, 1, 0));
        assert_eq!(standing.channels.len(), 0);
    }

    #[test]
    fn a_rule_that_was_turned_off_is_resolved() {
        let mut standing = Standing::default();
        standing.judge(&row("a", 1, 100, 100, 100), &RULES);
        let off = config::Alerts { error_permille_max: 0, ..RULES };
        let told = standing.judge(&row("a", 2, 100, 100, 100), &off);
        assert_eq!(told.into_iter().map(|alert| alert.state).collect::<Vec<_>>(), [AlertState::Resolved]);
    }

    proptest! {
        #[test]
        fn alerts_take_turns_and_no_two_have_one_id(
            rows in prop::collection::vec((0..40_i64, 0..3_u8, 0..200_u64, 0..20_u64), 1..200)
        ) {
            let mut standing = Standing::default();
            let mut ids = std::collections::BTreeSet::new();
            let mut firing = std::collections::BTreeSet::new();
            for (window, channel, hits, errors) in rows {
                for alert in standing.judge(&row(&channel.to_string(), window, 200, hits, errors), &RULES) {
                    let id = (alert.rule.clone(), alert.channel.clone(), alert.state, alert.window_end);
                    prop_assert!(ids.insert(id), "{alert:?} came before");
                    let key = (alert.rule, alert.channel);
                    let turned = match alert.state {
                        AlertState::Firing => firing.insert(key),
                        AlertState::Resolved => firing.remove(&key),
                    };
                    prop_assert!(turned);
                }
            }
        }
    }
}
