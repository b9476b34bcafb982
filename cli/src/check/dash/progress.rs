// SPDX-License-Identifier: Apache-2.0
//! A segment asked for while it is being written (DASH-IF low latency): it comes as it grows, and is what it becomes.

use std::time::Duration;

use headwater_manifests::dash::read::Mpd;
use headwater_manifests::rules::Rule;
use headwater_media::MediaDuration;

use super::clock::Clock;
use super::{Place, media};
use crate::check::client::{Ask, Client};
use crate::check::report::Findings;

static REFUSED: Rule = Rule::must(
    "in-progress-refused",
    "DASH-IF low latency 9.X.4.2",
    "a segment can be fetched once its first chunk is promised",
);
static LATE: Rule = Rule::should(
    "first-chunk-late",
    "DASH-IF low latency 9.X.4.2",
    "the first bytes of a segment come when its first chunk is promised, or within half a second",
);
static LENGTH: Rule =
    Rule::should("in-progress-length", "RFC 9110 8.6", "the answer of a segment in progress states no length");
static AT_ONCE: Rule = Rule::should(
    "in-progress-held-back",
    "DASH-IF low latency 9.X.4.2",
    "a segment in progress comes in chunks as they are made",
);
static DIFFERS: Rule = Rule::must(
    "in-progress-differs",
    "DASH-IF low latency 9.X.4.2",
    "a segment that was followed while it grew is what it is when whole",
);

/// The rules of this file.
pub(super) static RULES: &[&Rule] = &[&REFUSED, &LATE, &LENGTH, &AT_ONCE, &DIFFERS];

/// Waits for the next segment's first chunk, follows the segment to its end and fetches it once more.
pub(super) async fn watch(client: &Client, mpd: &Mpd, place: &Place, clock: Clock, findings: &mut Findings) {
    let offset = place.template.availability_time_offset.unwrap_or(MediaDuration::ZERO);
    let Some(count) = media::elapsed(mpd, place, clock.now(), offset) else { return };
    // The one after what is available: its first chunk is promised soon.
    let number = place.template.start_number.saturating_add(count);
    let Some(due) = promised(mpd, place, count, offset) else { return };
    let wait = Duration::from_nanos(u64::try_from(due.saturating_sub(clock.now().nanos())).unwrap_or(0));
    if wait > Duration::from_secs(15) {
        return;
    }
    tokio::time::sleep(wait).await;
    let Some(url) = place.url(number, 0) else { return };
    let answer = client.ask(&url, Ask::media().within(Duration::from_secs(40))).await;
    findings.verdict.at(&place.representation.id);
    let fault = match &answer {
        Ok(answer) if answer.is_ok() => None,
        Ok(answer) => Some(format!("{}{}", answer.status, if answer.broken { ", broken off" } else { "" })),
        Err(error) => Some(error.to_string()),
    };
    findings.verdict.judge(&REFUSED, fault.is_none(), || {
        (format!("200 to {} at its time", url.path()), fault.clone().unwrap_or_default())
    });
    let Ok(answer) = answer else { return };
    if !answer.is_ok() {
        return;
    }
    findings.count("segments in progress");
    let length = answer.header("content-length");
    // HTTP/2 has frames instead, and no length in either where none is known.
    findings
        .verdict
        .judge(&LENGTH, length.is_empty(), || ("none".to_owned(), format!("{length} by {:?}", answer.version)));
    let first = answer.arrivals.first().map_or(answer.ended, |(at, _)| *at);
    findings.verdict.judge(&LATE, first <= Duration::from_millis(500), || {
        (format!("{} at its time", url.path()), format!("first bytes {:.3} s later", first.as_secs_f64()))
    });
    let spread = answer.ended.saturating_sub(first);
    let chunked = answer.arrivals.len() > 1 && spread > Duration::from_millis(20);
    findings.verdict.judge(&AT_ONCE, chunked, || {
        (
            "several pieces over time".to_owned(),
            format!("{} within {:.3} s", answer.arrivals.len(), spread.as_secs_f64()),
        )
    });
    findings.measured.insert(format!("{} first chunk after its time s", place.representation.id), first.as_secs_f64());
    if let Ok(whole) = client.ask(&url, Ask::media()).await
        && whole.is_ok()
    {
        findings.verdict.judge(&DIFFERS, whole.body == answer.body, || {
            (format!("{} bytes of {}", whole.body.len(), url.path()), format!("{} bytes, or others", answer.body.len()))
        });
    }
}

/// When the first chunk of the segment after `count` others is promised, nanoseconds of Unix time.
fn promised(mpd: &Mpd, place: &Place, count: u64, offset: MediaDuration) -> Option<i64> {
    let template = &place.template;
    let ticks = i64::try_from(template.duration?.checked_mul(count.checked_add(1)?)?).ok()?;
    let start = mpd.availability_start?.media_time(headwater_media::Timescale::NANOS) + place.period_start;
    let end = start + MediaDuration::new(ticks, template.timescale);
    Some((end - offset).nanos())
}
