// SPDX-License-Identifier: Apache-2.0
//! Follows one media playlist as a player at its edge does: by blocking reloads and hints, or by asking again.

use std::time::{Duration, SystemTime};

use headwater_manifests::hls::read::Media;
use headwater_manifests::rules::Rule;
use headwater_manifests::rules::hls::{media as text, renditions, succession};
use headwater_media::UtcTime;
use tokio::time::Instant;
use url::Url;

use super::media::Reading;
use super::playlist;
use crate::check::client::{Answer, Client};
use crate::check::report::Findings;

/// Versions in a row that cannot be had before a playlist is given up.
const FAILURES_MAX: u32 = 3;

static PART_LATE: Rule = Rule::should(
    "part-late",
    "rfc8216bis 4.4.3.7, 6.2.1",
    "parts come within a part target of each other (seen from here, nine in ten within two)",
);
pub(super) static NOT_UPDATED: Rule = Rule::must(
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
pub(super) static RULES: &[&Rule] = &[&PART_LATE, &NOT_UPDATED, &WALL_CLOCK, &DATE_SKEW];

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

/// A playlist being followed.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) client: Client,
    pub(super) url: Url,
    pub(super) list: Media,
    reading: Reading,
    pub(super) findings: Findings,
    pub(super) versions: u32,
    pub(super) failures: u32,
    pub(super) hints: u32,
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
    pub(super) fn target(&self) -> Duration {
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
        let from =
            if list.ended { list.first_sequence().saturating_add(1) } else { list.next_sequence().saturating_sub(1) };
        self.reading.take(&self.client, &self.url, &list, (from, 0), &mut self.findings).await;
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

    /// Judges a new version, and fetches what it brings.
    pub(super) async fn renew(&mut self, answer: &Answer, list: Media) {
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
        let segments = list.segments.iter().chain(&list.open).filter(|segment| segment.sequence >= from);
        segments.map(|segment| segment.parts.len()).sum()
    };
    let from = old.next_sequence();
    count(new, from).saturating_sub(count(old, from))
}

fn now(at: SystemTime) -> UtcTime {
    UtcTime::from_system(at)
}
