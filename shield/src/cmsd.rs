// SPDX-License-Identifier: Apache-2.0
//! CMSD-Dynamic: what the shield tells edges and players of itself with each answer of a live route (CTA-5006).
//!
//! It is a list, a member for each server that the answer came through, the nearest to the player last. A member speaks
//! of one transmission: what servers before this one said goes on with the answer that it came with, and is never told
//! again from the store.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use headwater_events::config::Alerts;
use headwater_events::event::Health;
use headwater_net::structured;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The field.
pub(crate) const DYNAMIC: HeaderName = HeaderName::from_static("cmsd-dynamic");

/// What is said, written anew with each look at the shield's load.
#[derive(Debug)]
pub(crate) struct Cmsd {
    node: String,
    said: ArcSwap<Said>,
}

/// The member's text, but for the delay of an answer.
#[derive(Debug)]
pub(crate) struct Said {
    before_delay: String,
    duress: bool,
    /// With no delay: of a hit, which therefore costs a copy.
    pub(crate) hit: HeaderValue,
}

impl Said {
    fn new(node: &str, max_bitrate_kbps: Option<u64>, duress: bool) -> Self {
        let mut before_delay = node.to_owned();
        if let Some(kbps) = max_bitrate_kbps {
            // Writing into a String does not fail.
            let _ = write!(before_delay, ";mb={kbps}");
        }
        let hit = member(&before_delay, 0, duress);
        Self { before_delay, duress, hit }
    }
}

fn member(before_delay: &str, delay_ms: u128, duress: bool) -> HeaderValue {
    let text = format!("{before_delay};rd={delay_ms}{}", if duress { ";du" } else { "" });
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("\"headwater\""))
}

impl Cmsd {
    /// Of a node of that name, whose load is not known yet.
    pub(crate) fn new(node: &str) -> Self {
        let node = structured::string(node);
        Self { said: ArcSwap::from_pointee(Said::new(&node, None, false)), node }
    }

    /// Takes a look at the shield's load.
    pub(crate) fn follow(&self, health: &Health, alerts: &Alerts) {
        let said = Said::new(&self.node, max_bitrate_kbps(health, alerts), !health.congested.is_empty());
        self.said.store(Arc::new(said));
    }

    /// What is said now.
    pub(crate) fn said(&self) -> Guard<Arc<Said>> {
        self.said.load()
    }

    /// Adds this shield's member, of an answer that took so long to begin.
    pub(crate) fn append(&self, headers: &mut HeaderMap, delay: Duration) {
        let said = self.said();
        let value = match delay.as_millis() {
            0 => said.hit.clone(),
            delay_ms => member(&said.before_delay, delay_ms, said.duress),
        };
        headers.append(DYNAMIC, value);
    }
}

/// What each connection may take, so that all of them together stay below what makes this node congested.
///
/// It is a share of the whole and not of what is free: what a connection takes already is part of its share, and players
/// that were told to take less because others take much would make room, be told to take more, and so on.
fn max_bitrate_kbps(health: &Health, alerts: &Alerts) -> Option<u64> {
    let bound = u128::from(alerts.egress_bits_per_second_max) * u128::from(alerts.egress_percent_max.min(100)) / 100;
    let share = bound.checked_div(u128::from(health.connections))? / 1_000;
    u64::try_from(share).ok().filter(|kbps| *kbps > 0)
}

/// Takes what servers before this one said out of an answer's fields.
pub(crate) fn take(headers: &mut HeaderMap) -> Option<HeaderValue> {
    let before: Vec<HeaderValue> = headers.get_all(&DYNAMIC).iter().cloned().collect();
    headers.remove(&DYNAMIC)?;
    match before.as_slice() {
        [only] => Some(only.clone()),
        several => {
            let several: Vec<&[u8]> = several.iter().map(HeaderValue::as_bytes).collect();
            HeaderValue::from_bytes(&several.join(&b", "[..])).ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use headwater_events::event::{Resource, Role};

    use super::*;

    fn health(connections: u64, congested: Vec<Resource>) -> Health {
        Health {
            node: "edge \"1\"".to_owned(),
            role: Role::Shield,
            interval_ms: 1_000,
            connections,
            requests: 0,
            refused: 0,
            egress_bytes: 0,
            ingress_bytes: 0,
            egress_bits_per_second: 0,
            cpu_millicores: 0,
            cpu_millicores_max: 1_000,
            memory_bytes: 0,
            memory_bytes_max: 0,
            channels: 0,
            congested,
        }
    }

    fn said(cmsd: &Cmsd, delay_ms: u64) -> String {
        let mut headers = HeaderMap::new();
        cmsd.append(&mut headers, Duration::from_millis(delay_ms));
        headers[&DYNAMIC].to_str().unwrap().to_owned()
    }

    #[test]
    fn a_member_says_what_is_known() {
        let cmsd = Cmsd::new("edge \"1\"");
        assert_eq!(said(&cmsd, 0), r#""edge \"1\"";rd=0"#);
        let known = Alerts { egress_bits_per_second_max: 1_000_000_000, egress_percent_max: 80, ..Alerts::default() };
        cmsd.follow(&health(100, Vec::new()), &known);
        assert_eq!(said(&cmsd, 12), r#""edge \"1\"";mb=8000;rd=12"#);
        cmsd.follow(&health(100, vec![Resource::Cpu]), &known);
        assert_eq!(said(&cmsd, 0), r#""edge \"1\"";mb=8000;rd=0;du"#);
        assert_eq!(cmsd.said().hit, said(&cmsd, 0));
        cmsd.follow(&health(0, Vec::new()), &known);
        assert_eq!(said(&cmsd, 3), r#""edge \"1\"";rd=3"#);
        cmsd.follow(&health(100, Vec::new()), &Alerts::default());
        assert_eq!(said(&cmsd, 3), r#""edge \"1\"";rd=3"#);
    }

    #[test]
    fn members_of_several_lines_are_one_list() {
        let mut headers = HeaderMap::new();
        assert_eq!(take(&mut headers), None);
        headers.append(DYNAMIC, HeaderValue::from_static("\"a\";rd=1"));
        headers.append(DYNAMIC, HeaderValue::from_static("\"b\";rd=2"));
        assert_eq!(take(&mut headers).unwrap(), "\"a\";rd=1, \"b\";rd=2");
        assert!(headers.is_empty());
    }
}
