// SPDX-License-Identifier: Apache-2.0
//! What a server does with directives that are wrong, late or unknown, and how it describes its objects.

use headwater_manifests::hls::read::Media;
use headwater_manifests::rules::Rule;
use url::Url;

use super::follow::Followed;
use super::playlist;
use super::reload::with_query;
use crate::check::client::{Answer, Client};
use crate::check::http::{self, Class};
use crate::check::report::Findings;

static PART_ALONE: Rule =
    Rule::must("part-without-msn", "rfc8216bis 6.2.5.2", "_HLS_part without _HLS_msn is answered 400");
static OLD_MSN: Rule = Rule::must(
    "old-msn",
    "rfc8216bis 6.2.5.2",
    "a segment that is there or was is answered at once with the current playlist",
);
static FAR_MSN: Rule =
    Rule::should("msn-too-far", "rfc8216bis 6.2.5.2", "a segment more than two ahead is answered 400");
static FAR_PART: Rule =
    Rule::should("part-too-far", "rfc8216bis 6.2.5.2", "a part beyond the Advance Part Limit is answered 400");
static BAD_NUMBER: Rule =
    Rule::should("bad-directive", "rfc8216bis 6.2.5", "a directive that is no number is answered 400");
static UNKNOWN: Rule = Rule::should("unknown-query", "rfc8216bis 6.2.5", "unknown arguments are ignored");
static SAME_POSITION: Rule = Rule::must(
    "same-position-differs",
    "rfc8216bis appendix B.1",
    "one version has the same bytes for everyone, in whatever order its directives stand",
);
static ENDED: Rule = Rule::must(
    "ended-with-directives",
    "rfc8216bis 6.2.5.2",
    "an ended playlist is answered at once, whatever is asked",
);

/// The rules of this file.
pub(super) static RULES: &[&Rule] =
    &[&PART_ALONE, &OLD_MSN, &FAR_MSN, &FAR_PART, &BAD_NUMBER, &UNKNOWN, &SAME_POSITION, &ENDED];

/// Looks at the manners of the server of one rendition.
pub(super) async fn server(client: &Client, rendition: &Followed, findings: &mut Findings) {
    let target = rendition.list.target_duration.unwrap_or(6);
    http::object(client, &rendition.url, Class::Playlist, target, findings).await;
    for url in &rendition.sample {
        http::object(client, url, Class::Media, target, findings).await;
    }
    if let Some(url) = rendition.sample.last() {
        http::far_future(client, url, target, findings).await;
    }
    let control = rendition.list.server_control.as_ref();
    if control.is_none() {
        return;
    }
    let Ok(answer) = client.manifest(&rendition.url).await else { return };
    let Ok(list) = playlist(&answer) else { return };
    let probe = Probe { client, url: &rendition.url, list: &list, target };
    findings.verdict.at(rendition.url.path());
    if list.ended {
        probe.ended(findings).await;
    } else if list.server_control.as_ref().is_some_and(|c| c.can_block_reload) {
        probe.directives(findings).await;
        probe.position(findings).await;
    }
}

struct Probe<'a> {
    client: &'a Client,
    url: &'a Url,
    list: &'a Media,
    target: u64,
}

impl Probe<'_> {
    async fn ask(&self, query: &str) -> Option<Answer> {
        let mut url = self.url.clone();
        let query = url.query().map_or_else(|| query.to_owned(), |own| format!("{own}&{query}"));
        url.set_query(Some(&query));
        self.client.manifest(&url).await.ok()
    }

    async fn refused(&self, rule: &'static Rule, query: String, findings: &mut Findings) {
        let Some(answer) = self.ask(&query).await else { return };
        findings
            .verdict
            .judge(rule, answer.status.as_u16() == 400, || (format!("400 to {query}"), answer.status.to_string()));
        if answer.status.is_client_error() {
            http::error_lifetime(&answer, 4 * self.target, findings);
        }
    }

    async fn taken(&self, rule: &'static Rule, query: String, findings: &mut Findings) {
        let Some(answer) = self.ask(&query).await else { return };
        // At once, but for the way: a blocked request would take as long as a part.
        let read = playlist(&answer);
        findings
            .verdict
            .judge(rule, read.is_ok(), || (format!("the playlist to {query}"), read.err().unwrap_or_default()));
    }

    async fn directives(&self, findings: &mut Findings) {
        let (segment, part) = self.list.edge();
        self.refused(&PART_ALONE, "_HLS_part=0".into(), findings).await;
        self.refused(&FAR_MSN, format!("_HLS_msn={}", segment.saturating_add(50)), findings).await;
        for bad in ["-1", "x", "1.5", "99999999999999999999999"] {
            self.refused(&BAD_NUMBER, format!("_HLS_msn={bad}"), findings).await;
        }
        if self.list.part_target.is_some() {
            self.refused(&FAR_PART, format!("_HLS_msn={segment}&_HLS_part={}", part + 1_000), findings).await;
        }
        let first = self.list.first_sequence();
        for old in [first, first.saturating_sub(20)] {
            self.taken(&OLD_MSN, format!("_HLS_msn={old}"), findings).await;
        }
        self.taken(&UNKNOWN, "viewer=1&_HLS_unheard_of=2".into(), findings).await;
    }

    /// Two clients wait for one position, and say so in another order.
    async fn position(&self, findings: &mut Findings) {
        let Some(fresh) = self.ask("").await else { return };
        let Ok(fresh) = playlist(&fresh) else { return };
        let (segment, part) = fresh.edge();
        let one = with_query(self.url, &[("_HLS_msn", segment), ("_HLS_part", part)]);
        let other = with_query(self.url, &[("_HLS_part", part), ("_HLS_msn", segment)]);
        let (Ok(one), Ok(other)) = tokio::join!(self.client.manifest(&one), self.client.manifest(&other)) else {
            return;
        };
        let (Ok(a), Ok(b)) = (playlist(&one), playlist(&other)) else { return };
        if a.edge() == b.edge() {
            findings.verdict.judge(&SAME_POSITION, one.body == other.body, || {
                (format!("one text of segment {segment} part {part}"), "two")
            });
        }
    }

    async fn ended(&self, findings: &mut Findings) {
        let next = self.list.next_sequence();
        for query in [format!("_HLS_msn={}", next.saturating_add(1)), "_HLS_skip=YES".into()] {
            self.taken(&ENDED, query, findings).await;
        }
    }
}
