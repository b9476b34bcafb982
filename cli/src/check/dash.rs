// SPDX-License-Identifier: Apache-2.0
//! Checks a DASH presentation.

use headwater_manifests::dash::read::Mpd;
use headwater_manifests::rules::{Rule, dash as rules};

use super::client::{Answer, Client};
use super::report::Findings;

/// Every rule that this may judge.
pub(super) fn all_rules() -> Vec<&'static Rule> {
    rules::all()
}

/// Checks what `first` began with for `seconds`.
pub(super) async fn check(_client: &Client, _first: &Answer, mpd: Mpd, _seconds: u64) -> Findings {
    let mut findings = Findings::default();
    rules::mpd::judge(&mpd, &mut findings.verdict);
    findings
}
