// SPDX-License-Identifier: Apache-2.0
//! One step of a low-latency player at the edge: a blocking reload, the hinted part beside it, a delta now and then.

use std::time::Duration;

use headwater_manifests::hls::read::Media;
use headwater_manifests::rules::Rule;
use headwater_manifests::rules::hls::{delta, media as text};
use tokio::time::Instant;
use url::Url;

use super::follow::{Follower, NOT_UPDATED};
use super::playlist;
use crate::check::client::{Answer, Ask, Error};
use crate::check::http;

/// Every so many versions a delta is fetched beside the full playlist.
const DELTA_EVERY: u32 = 4;
/// Hinted parts that are fetched once more when they are listed.
const HINTS_COMPARED: u32 = 12;

static BLOCKING_EARLY: Rule = Rule::must(
    "blocking-answer-early",
    "rfc8216bis 6.2.5.2",
    "a blocking reload is answered with the segment and part it waits for, or later ones",
);
static BLOCKING_FAILED: Rule =
    Rule::must("blocking-reload-failed", "rfc8216bis 6.2.5.2", "a blocking reload for what comes next is answered");
static BLOCKING_LONG: Rule =
    Rule::should("blocked-too-long", "rfc8216bis 6.2.5.2", "a reload is blocked for at most three target durations");
static HINT_FAILED: Rule = Rule::must(
    "hint-failed",
    "rfc8216bis 6.2.6",
    "a hinted part can be asked for at once and is held until it is whole",
);
static HINT_DIFFERS: Rule =
    Rule::must("hint-differs", "rfc8216bis 4.4.5.3", "a hinted part has the bytes that it has when listed");

/// The rules of this file.
pub(super) static RULES: &[&Rule] = &[&BLOCKING_EARLY, &BLOCKING_FAILED, &BLOCKING_LONG, &HINT_FAILED, &HINT_DIFFERS];

impl Follower {
    /// True if the server answers blocking reloads for parts.
    pub(super) fn blocks(&self) -> bool {
        self.list.part_target.is_some() && self.list.server_control.as_ref().is_some_and(|c| c.can_block_reload)
    }

    /// One blocking reload, with the hinted part beside it.
    pub(super) async fn reload(&mut self, until: Instant) {
        let (segment, part) = self.list.edge();
        let url = with_query(&self.url, &[("_HLS_msn", segment), ("_HLS_part", part)]);
        let deadline = self.target() * 3 + Duration::from_secs(5);
        let hint = self.list.hints.iter().find(|h| h.hint_type == "PART" && h.start_bytes.is_none());
        let hint = hint.and_then(|hint| self.url.join(&hint.uri).ok());
        let client = self.client.clone();
        let hinted = async {
            match &hint {
                Some(url) if self.hints < HINTS_COMPARED => Some(client.ask(url, Ask::media().within(deadline)).await),
                _ => None,
            }
        };
        let reloaded = client.ask(&url, Ask::manifest().within(deadline));
        let (answer, hinted) = tokio::join!(reloaded, hinted);
        // Nothing is said of what was under way when the time was over.
        if answer.is_err() && Instant::now() >= until + deadline {
            return;
        }
        let read = answer.as_ref().map_err(Error::to_string).and_then(playlist);
        // A server gives up after three target durations without media, as it should: it is the media that is missing.
        if let Ok(answer) = &answer
            && answer.status.as_u16() == 503
            && answer.headed >= self.target() * 5 / 2
        {
            let due = self.target().as_secs_f64() * 1.5 + 2.0;
            self.findings.verdict.judge(&NOT_UPDATED, false, || {
                (format!("a segment within {due:.1} s"), format!("none for {:.1} s", answer.headed.as_secs_f64()))
            });
            return self.rejoin().await;
        }
        self.findings.verdict.judge(&BLOCKING_FAILED, read.is_ok(), || {
            (format!("segment {segment} part {part}"), read.as_ref().err().cloned().unwrap_or_default())
        });
        let (Ok(answer), Ok(list)) = (answer, read) else {
            self.failures += 1;
            tokio::time::sleep(Duration::from_millis(500)).await;
            return self.rejoin().await;
        };
        self.failures = 0;
        let late = self.target() * 3 + Duration::from_secs(1);
        self.findings.verdict.judge(&BLOCKING_LONG, answer.headed <= late, || {
            (format!("at most {} s", late.as_secs()), format!("{:.1} s", answer.headed.as_secs_f64()))
        });
        self.findings.verdict.judge(&BLOCKING_EARLY, list.edge() > (segment, part) || list.ended, || {
            (
                format!("segment {segment} part {part} or later"),
                format!("less than segment {} part {}", list.edge().0, list.edge().1),
            )
        });
        if list.edge() <= (segment, part) && !list.ended {
            // A server that does not wait would be asked without a pause.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        if self.versions == 0 {
            http::blocking_lifetime(&answer, self.target().as_secs(), &mut self.findings);
        }
        if self.versions % DELTA_EVERY == 1 {
            self.delta(&url, &list).await;
        }
        if let (Some(hinted), Some(url)) = (hinted, hint) {
            self.hint(hinted, &url, &list).await;
        }
        self.renew(&answer, list).await;
    }

    /// A hinted part came as hinted; one that will not come is not found.
    async fn hint(&mut self, hinted: Result<Answer, Error>, url: &Url, list: &Media) {
        self.hints += 1;
        let parts = list.segments.iter().chain(&list.open).flat_map(|s| &s.parts);
        let listed = parts.filter(|p| p.byte_range.is_none()).any(|p| self.url.join(&p.uri).ok().as_ref() == Some(url));
        if !listed {
            return;
        }
        let fault = match &hinted {
            Ok(answer) if answer.is_ok() => None,
            Ok(answer) => Some(answer.status.to_string()),
            Err(error) => Some(error.to_string()),
        };
        self.findings.verdict.judge(&HINT_FAILED, fault.is_none(), || {
            (format!("the part {}", url.path()), fault.clone().unwrap_or_default())
        });
        let Ok(hinted) = hinted else { return };
        if let Ok(again) = self.client.ask(url, Ask::media()).await
            && hinted.is_ok()
            && again.is_ok()
        {
            self.findings.count("hinted parts");
            self.findings.verdict.judge(&HINT_DIFFERS, hinted.body == again.body, || {
                (
                    format!("{} bytes as listed", again.body.len()),
                    format!("{} bytes as hinted, or others", hinted.body.len()),
                )
            });
        }
    }

    /// The same position as a delta, laid over the version before.
    async fn delta(&mut self, url: &Url, full: &Media) {
        let Some(control) = &full.server_control else { return };
        let Some(_) = control.can_skip_until else { return };
        for skip in if control.can_skip_dateranges { &["YES", "v2"][..] } else { &["YES"] } {
            let mut url = url.clone();
            url.query_pairs_mut().append_pair("_HLS_skip", skip);
            let Ok(answer) = self.client.manifest(&url).await else { continue };
            let Ok(delta) = playlist(&answer) else { continue };
            self.findings.count("deltas");
            let verdict = &mut self.findings.verdict;
            text::judge(&delta, verdict);
            let Some(merged) = delta::judge(&self.list, &delta, verdict) else { continue };
            // The position may hold more by now.
            if delta.skipped_segments > 0 && merged.edge() == full.edge() {
                delta::compare(&merged, full, verdict);
            }
        }
    }

    /// After a failure: whatever is there now.
    async fn rejoin(&mut self) {
        if let Ok(answer) = self.client.manifest(&self.url).await
            && let Ok(list) = playlist(&answer)
        {
            self.renew(&answer, list).await;
        }
    }
}

/// `url` with delivery directives after whatever it asks for already.
pub(super) fn with_query(url: &Url, directives: &[(&str, u64)]) -> Url {
    let mut url = url.clone();
    for (name, value) in directives {
        url.query_pairs_mut().append_pair(name, &value.to_string());
    }
    url
}
