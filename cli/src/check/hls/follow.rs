// SPDX-License-Identifier: Apache-2.0
//! Follows one media playlist as a player at its edge does: by blocking reloads and hints, or by asking again.

use std::time::{Duration, SystemTime};

use headwater_manifests::hls::read::Media;
use headwater_manifests::rules::Rule;
use headwater_manifests::rules::hls::{delta, media as text, renditions, succession};
use headwater_media::UtcTime;
use tokio::time::Instant;
use url::Url;

use super::media::Reading;
use super::playlist;
use crate::check::client::{Answer, Ask, Client, Error};
use crate::check::http;
use crate::check::report::Findings;

/// Versions in a row that cannot be had before a playlist is given up.
const FAILURES_MAX: u32 = 3;
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
static PART_LATE: Rule = Rule::should(
    "part-late",
    "rfc8216bis 4.4.3.7, 6.2.1",
    "parts come within a part target of each other (seen from here, nine in ten within two)",
);
static NOT_UPDATED: Rule = Rule::must(
    "not-updated-in-time",
    "rfc8216bis 6.2.1",
    "a live playlist has a new segment within one and a half target durations, and two seconds for the way",
);
static WALL_CLOCK: Rule = Rule::should(
    "pdt-wall-clock",
    "rfc8216bis 4.4.4.6",
    "dates are near the present: a low-latency playlist ends at most ten seconds ago and not in the future",
);
static DATE_SKEW: Rule = Rule::should("date-skewed", "RFC 9110 6.6.1", "Date is the present, within three seconds");

/// The rules of this file.
pub(super) static RULES: &[&Rule] = &[
    &BLOCKING_EARLY,
    &BLOCKING_FAILED,
    &BLOCKING_LONG,
    &HINT_FAILED,
    &HINT_DIFFERS,
    &PART_LATE,
    &NOT_UPDATED,
    &WALL_CLOCK,
    &DATE_SKEW,
];

/// What is known of a playlist that was followed.
#[derive(Debug)]
pub(crate) struct Followed {
    pub(crate) url: Url,
    pub(crate) iframes: bool,
    pub(crate) video: bool,
    /// The newest version.
    pub(crate) list: Media,
    pub(crate) peak_bits: u64,
    /// Date less presentation time.
    pub(crate) date_offset: Option<i128>,
    /// A header and a segment.
    pub(crate) sample: Vec<Url>,
}

struct Follower {
    client: Client,
    url: Url,
    list: Media,
    reading: Reading,
    findings: Findings,
    versions: u32,
    failures: u32,
    hints: u32,
    /// From one new part to the next, seconds.
    intervals: Vec<f64>,
    /// From the end of a part's media to its being known here, seconds.
    latencies: Vec<f64>,
    /// When the newest version came.
    renewed: Instant,
}

/// Follows a playlist until `until`, or its end.
///
/// # Errors
/// Why the first version cannot be had.
pub(super) async fn run(
    client: Client,
    url: Url,
    iframes: bool,
    until: Instant,
) -> Result<(Followed, Findings), String> {
    let answer = client.manifest(&url).await.map_err(|error| error.to_string())?;
    let list = playlist(&answer)?;
    let mut findings = Findings::of(url.path());
    findings.count("playlists");
    text::judge(&list, &mut findings.verdict);
    let mut follower = Follower {
        client,
        url: answer.url.clone(),
        list,
        reading: Reading::default(),
        findings,
        versions: 0,
        failures: 0,
        hints: 0,
        intervals: Vec::new(),
        latencies: Vec::new(),
        renewed: Instant::now(),
    };
    follower.dated(&answer);
    follower.begin(iframes).await;
    while Instant::now() < until && !follower.list.ended && follower.failures < FAILURES_MAX {
        if follower.blocks() { follower.reload(until).await } else { follower.poll(until, iframes).await }
    }
    follower.sum_up();
    let Follower { list, reading, findings, .. } = follower;
    let video = reading.is_video();
    let Reading { peak_bits, offset, sample, .. } = reading;
    Ok((Followed { url, iframes, video, list, peak_bits, date_offset: offset, sample }, findings))
}

impl Follower {
    fn blocks(&self) -> bool {
        self.list.part_target.is_some() && self.list.server_control.as_ref().is_some_and(|c| c.can_block_reload)
    }

    fn target(&self) -> Duration {
        Duration::from_secs(self.list.target_duration.unwrap_or(6).clamp(1, 60))
    }

    /// The oldest segment is still there; reading begins with the newest that is whole.
    async fn begin(&mut self, iframes: bool) {
        let list = self.list.clone();
        if iframes {
            return;
        }
        let oldest = Media { segments: list.segments.iter().take(1).cloned().collect(), open: None, ..list.clone() };
        self.reading.take(&self.client, &self.url, &oldest, (0, 0), &mut self.findings).await;
        self.reading.jump();
        let from = if list.ended { list.first_sequence() + 1 } else { list.next_sequence().saturating_sub(1) };
        self.reading.take(&self.client, &self.url, &list, (from, 0), &mut self.findings).await;
    }

    /// One blocking reload, with the hinted part beside it.
    async fn reload(&mut self, until: Instant) {
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

    /// One plain reload, as often as a player of whole segments asks.
    async fn poll(&mut self, until: Instant, iframes: bool) {
        let pause = (self.target() / 2).max(Duration::from_millis(500));
        tokio::time::sleep_until((Instant::now() + pause).min(until)).await;
        let read = match self.client.manifest(&self.url).await {
            Ok(answer) => playlist(&answer).map(|list| (answer, list)),
            Err(error) => Err(error.to_string()),
        };
        let Ok((answer, list)) = read else {
            self.failures += 1;
            self.findings.note(format!("{}: {}", self.url, read.err().unwrap_or_default()));
            return;
        };
        self.failures = 0;
        let due = self.target() * 3 / 2 + Duration::from_secs(2);
        let same = list.edge().0 == self.list.edge().0;
        if !iframes && !list.ended && list.playlist_type.as_deref() != Some("VOD") {
            // Asked every half target, so that much may lie between a segment and its being seen.
            let waited = self.renewed.elapsed();
            self.findings.verdict.judge(&NOT_UPDATED, !same || waited <= due + pause, || {
                (
                    format!("a segment within {:.1} s", due.as_secs_f64()),
                    format!("none for {:.1} s", waited.as_secs_f64()),
                )
            });
        }
        if same {
            succession::judge(&self.list, &list, &mut self.findings.verdict);
            self.list = list;
        } else {
            self.renew(&answer, list).await;
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

    /// Judges a new version, and fetches what it brings.
    async fn renew(&mut self, answer: &Answer, list: Media) {
        self.findings.count("playlists");
        self.versions += 1;
        text::judge(&list, &mut self.findings.verdict);
        succession::judge(&self.list, &list, &mut self.findings.verdict);
        let came = answer.asked + answer.headed;
        if self.versions > 1 {
            let parts = parts_between(&self.list, &list).max(1);
            self.intervals.push(came.saturating_duration_since(self.renewed).as_secs_f64() / parts as f64);
        }
        self.renewed = came;
        self.dated(answer);
        let from = self.list.edge();
        self.list = list;
        if !self.list.iframes_only {
            let list = self.list.clone();
            self.reading.take(&self.client, &self.url, &list, from, &mut self.findings).await;
        }
        if let Some(end) = renditions::end(&self.list) {
            self.latencies.push((i128::from(now(answer.headed_at).nanos()) - end) as f64 / 1e9);
        }
    }

    fn dated(&mut self, answer: &Answer) {
        if let Ok(date) = httpdate::parse_http_date(answer.header("date")) {
            let skew = (UtcTime::from_system(date).nanos() - now(answer.headed_at).nanos()) as f64 / 1e9;
            let age: f64 = answer.header("age").parse().unwrap_or(0.0);
            self.findings.verdict.judge(&DATE_SKEW, skew.abs() <= 3.0 + age, || {
                ("Date of the present".to_owned(), format!("{skew:.1} s off"))
            });
        }
    }

    fn sum_up(&mut self) {
        let place = self.url.path().to_owned();
        let Some(part_target) = self.list.part_target.map(|p| p.seconds_f64()) else { return };
        self.intervals.sort_by(f64::total_cmp);
        self.latencies.sort_by(f64::total_cmp);
        let at = |sorted: &[f64], tenth: usize| sorted.get(sorted.len() * tenth / 10).or(sorted.last()).copied();
        if let Some(most) = at(&self.intervals, 9).filter(|_| self.intervals.len() >= 10) {
            self.findings.verdict.at(&place).judge(&PART_LATE, most <= 2.0 * part_target + 0.05, || {
                (format!("nine in ten within {:.3} s", 2.0 * part_target), format!("{most:.3} s"))
            });
            self.findings.measured.insert(format!("{place} part interval p90 s"), most);
        }
        if let Some(median) = at(&self.latencies, 5) {
            self.findings.measured.insert(format!("{place} edge behind wall clock p50 s"), median);
            self.findings.verdict.at(&place).judge(&WALL_CLOCK, (-1.0..=10.0).contains(&median), || {
                ("an end 0 to 10 s ago".to_owned(), format!("{median:.3} s ago"))
            });
        }
    }
}

/// How many parts were added from one version to the next.
fn parts_between(old: &Media, new: &Media) -> usize {
    let count = |list: &Media, from: u64| -> usize {
        let numbered = (list.first_sequence()..).zip(list.segments.iter().chain(&list.open));
        numbered.filter(|(number, _)| *number >= from).map(|(_, segment)| segment.parts.len()).sum()
    };
    let from = old.next_sequence();
    count(new, from).saturating_sub(count(old, from))
}

fn now(at: SystemTime) -> UtcTime {
    UtcTime::from_system(at)
}

/// `url` with delivery directives after whatever it asks for already.
pub(super) fn with_query(url: &Url, directives: &[(&str, u64)]) -> Url {
    let mut url = url.clone();
    for (name, value) in directives {
        url.query_pairs_mut().append_pair(name, &value.to_string());
    }
    url
}
