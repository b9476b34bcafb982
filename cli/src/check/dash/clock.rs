// SPDX-License-Identifier: Apache-2.0
//! What time it is, as the MPD tells its clients to find out (ISO/IEC 23009-1, 5.8.4.11).

use std::time::SystemTime;

use headwater_manifests::dash::read::Mpd;
use headwater_manifests::rules::Rule;
use headwater_media::UtcTime;
use url::Url;

use crate::check::client::{Ask, Client};
use crate::check::report::Findings;

static UTC_TIMING: Rule =
    Rule::must("utc-timing-unavailable", "23009-1 5.8.4.11", "a source of UTC that is named tells the time");

/// The rules of this file.
pub(super) static RULES: &[&Rule] = &[&UTC_TIMING];

/// The presentation's clock against ours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// Theirs less ours, nanoseconds.
    offset: i64,
}

impl Clock {
    /// Now, by the presentation's clock.
    pub(super) fn now(self) -> UtcTime {
        UtcTime::from_nanos(UtcTime::from_system(SystemTime::now()).nanos().saturating_add(self.offset))
    }
}

/// Asks every source that is named; the first that answers sets the clock.
pub(super) async fn tell(client: &Client, base: &Url, mpd: &Mpd, findings: &mut Findings) -> Clock {
    let mut found: Option<i64> = None;
    for (scheme, value) in mpd.utc_timing.iter().take(8) {
        let head = scheme.contains(":http-head:");
        if !head && !scheme.contains(":http-xsdate:") && !scheme.contains(":http-iso:") {
            continue;
        }
        let Some(Ok(url)) = value.split_whitespace().next().map(|uri| base.join(uri)) else { continue };
        let ask = if head { Ask::manifest().head() } else { Ask::manifest() };
        let answer = client.ask(&url, ask).await.ok().filter(|answer| answer.is_ok());
        let told = answer.as_ref().and_then(|answer| {
            if head {
                return httpdate::parse_http_date(answer.header("date")).ok().map(UtcTime::from_system);
            }
            UtcTime::parse(&String::from_utf8_lossy(&answer.body[..answer.body.len().min(64)]))
        });
        findings.verdict.at(url.path()).judge(&UTC_TIMING, told.is_some(), || {
            ("a time".to_owned(), answer.as_ref().map_or_else(|| "no answer".to_owned(), |a| a.status.to_string()))
        });
        let (Some(told), Some(answer)) = (told, answer) else { continue };
        // A date without fractions is half a second behind on average: good for nothing but a first guess.
        if !head || found.is_none() {
            let half = i64::try_from(answer.headed.as_nanos() / 2).unwrap_or(0);
            let ours = UtcTime::from_system(answer.headed_at).nanos();
            let offset = told.nanos().saturating_add(half).saturating_sub(ours);
            if found.is_none() || !head {
                found = Some(offset);
            }
        }
    }
    let offset = found.unwrap_or(0);
    findings.measured.insert("clock of the origin less ours s".to_owned(), offset as f64 / 1e9);
    Clock { offset }
}
