// SPDX-License-Identifier: Apache-2.0
//! The media of one Representation: there when the MPD promises it, and of the time that the MPD gives it.

use std::time::Duration;

use bytes::Bytes;
use headwater_manifests::dash::read::{self, Mpd, Template};
use headwater_manifests::rules::Rule;
use headwater_manifests::rules::dash::timeline::spans;
use headwater_media::{MediaDuration, MediaTime, Timescale, UtcTime};
use tokio::time::Instant;
use url::Url;

use super::clock::Clock;
use super::{Place, places, progress};
use crate::check::boxes::{Span, Track};
use crate::check::client::{Ask, Client};
use crate::check::report::Findings;

static HEADER: Rule =
    Rule::must("initialization-missing", "23009-1 5.3.9.2.2", "an initialization segment that is named can be fetched");
static AVAILABLE: Rule = Rule::must(
    "segment-unavailable",
    "23009-1 A.3.4, 5.3.9.5.3",
    "each segment that the MPD makes available can be fetched, unless it is declared lost",
);
static TIME: Rule = Rule::must(
    "segment-time",
    "23009-1 5.3.9.6, DASH-IF IOP 4.3",
    "a segment holds the time that the MPD gives it: by $Time$ exactly, by $Number$ within half a segment",
);
static DURATION: Rule =
    Rule::should("segment-duration", "23009-1 5.3.9.6", "a segment lasts as long as its timeline says, to a frame");
static PRODUCER_TIME: Rule =
    Rule::should("prft-missing", "DASH-IF low latency 9.X.4.2", "media in chunks tells its wall clock by prft");

/// The rules of this file.
pub(super) static RULES: &[&Rule] = &[&HEADER, &AVAILABLE, &TIME, &DURATION, &PRODUCER_TIME];

/// Segments in a row that are followed between two looks at the time.
const STEP_MAX: u64 = 8;

/// Whole seconds of a template's segments, rounded up.
pub(super) fn segment_seconds(template: &Template) -> u64 {
    duration(template).seconds_ceil().min(60)
}

fn duration(template: &Template) -> MediaDuration {
    let longest = || spans(template).iter().map(|span| span.duration).max();
    ticks(template, template.duration.or_else(longest).unwrap_or(0))
}

fn ticks(template: &Template, ticks: u64) -> MediaDuration {
    MediaDuration::new(i64::try_from(ticks).unwrap_or(i64::MAX), template.timescale)
}

/// The newest segment that is there whole at `now`: its number, and its time where a timeline tells it.
pub(super) fn newest(mpd: &Mpd, place: &Place, now: UtcTime) -> Option<(u64, u64)> {
    let template = &place.template;
    if template.timeline.is_some() {
        return last_of_timeline(template);
    }
    if !mpd.dynamic {
        return template.end_number.or(Some(template.start_number)).map(|number| (number, 0));
    }
    let count = elapsed(mpd, place, now, MediaDuration::ZERO)?;
    (count > 0).then(|| (template.start_number.saturating_add(count - 1), 0))
}

/// How many segments of a number template have become available at `now`, with `ahead` of their ends.
pub(super) fn elapsed(mpd: &Mpd, place: &Place, now: UtcTime, ahead: MediaDuration) -> Option<u64> {
    let start = mpd.availability_start?.media_time(Timescale::NANOS) + place.period_start;
    let since = (now.media_time(Timescale::NANOS) + ahead).since(start).nanos();
    u64::try_from(since.checked_div(duration(&place.template).nanos())?).ok()
}

fn last_of_timeline(template: &Template) -> Option<(u64, u64)> {
    let spans = spans(template);
    let last = spans.last()?;
    let count: u64 = spans.iter().fold(0, |count, span| count.saturating_add(span.count));
    Some((template.start_number.saturating_add(count).saturating_sub(1), last.end().saturating_sub(last.duration)))
}

fn is_lost(template: &Template, time: u64) -> bool {
    template.lost.iter().any(|(t, d)| (*t..t.saturating_add(*d)).contains(&time))
}

/// Where a segment of a number template begins, in the media's own time.
fn start_of(template: &Template, number: u64) -> u64 {
    let index = number.saturating_sub(template.start_number);
    template.presentation_time_offset.saturating_add(index.saturating_mul(template.duration.unwrap_or(0)))
}

struct Reader<'a> {
    client: &'a Client,
    findings: Findings,
    track: Track,
}

/// Fetches the media of a Representation as it becomes available.
pub(super) async fn follow(
    client: &Client,
    url: &Url,
    mut mpd: Mpd,
    mut place: Place,
    clock: Clock,
    until: Instant,
) -> Findings {
    let mut reader = Reader { client, findings: Findings::of(&place.representation.id), track: Track::default() };
    let Some(header) = place.header() else {
        reader.findings.note(format!("{} names no initialization segment", place.representation.id));
        return reader.findings;
    };
    let Some(bytes) = reader.fetch(&header, &HEADER).await else { return reader.findings };
    if let Some(why) = reader.track.take_header(header.path(), &bytes, &mut reader.findings.verdict) {
        reader.findings.note(why);
    }
    reader.oldest(&mpd, &place, clock).await;
    let mut last: Option<(u64, u64)> = None;
    let mut watched = 0;
    while let Some(newest) = newest(&mpd, &place, clock.now()) {
        reader.new_segments(&place, last, newest).await;
        last = Some(newest);
        if !mpd.dynamic || Instant::now() >= until {
            break;
        }
        if place.template.chunked && watched < 3 {
            watched += 1;
            progress::watch(client, &mpd, &place, clock, &mut reader.findings).await;
        }
        let pause = duration(&place.template).to_std().clamp(Duration::from_millis(200), Duration::from_secs(10)) / 2;
        tokio::time::sleep_until((Instant::now() + pause).min(until)).await;
        // A timeline is as new as its MPD, and losses are told there.
        if let Ok(answer) = client.manifest(url).await
            && let Ok(newer) = read::parse(&answer.body)
            && let Some(period) = newer.periods.last()
            && let Some(found) =
                places(&newer, period, url).into_iter().find(|p| p.representation.id == place.representation.id)
        {
            if found.period_start != place.period_start {
                reader.track.jump();
                last = None;
            }
            (mpd, place) = (newer, found);
        }
    }
    reader.findings
}

impl Reader<'_> {
    async fn fetch(&mut self, url: &Url, rule: &'static Rule) -> Option<Bytes> {
        let answer = self.client.ask(url, Ask::media()).await;
        let fault = match &answer {
            Ok(answer) if answer.is_ok() => None,
            Ok(answer) => Some(answer.status.to_string()),
            Err(error) => Some(error.to_string()),
        };
        self.findings.verdict.judge(rule, fault.is_none(), || {
            ("200", format!("{} of {}", fault.clone().unwrap_or_default(), url.path()))
        });
        answer.ok().filter(|answer| answer.is_ok()).map(|answer| answer.body)
    }

    /// The oldest segment within the time shift buffer is still there.
    async fn oldest(&mut self, mpd: &Mpd, place: &Place, clock: Clock) {
        let template = &place.template;
        let oldest = if template.timeline.is_some() {
            spans(template).first().map(|span| (template.start_number, span.start))
        } else if let (true, Some(buffer)) = (mpd.dynamic, mpd.time_shift_buffer) {
            // One that is whole within the buffer, and a little later than its edge: it takes time to ask.
            let within = UtcTime::from_nanos(clock.now().nanos().saturating_sub(buffer.nanos()));
            elapsed(mpd, place, within, MediaDuration::ZERO)
                .map(|count| (template.start_number.saturating_add(count).saturating_add(1), 0))
        } else {
            Some((template.start_number, 0))
        };
        let Some((number, time)) = oldest else { return };
        let newest = newest(mpd, place, clock.now()).unwrap_or((0, 0));
        let at = if template.timeline.is_some() { time } else { start_of(template, number) };
        if (number > newest.0 && template.timeline.is_none()) || is_lost(template, at) {
            return;
        }
        self.segment(place, number, time, None).await;
        self.track.jump();
    }

    /// Everything after `last` up to `newest`, in order.
    async fn new_segments(&mut self, place: &Place, last: Option<(u64, u64)>, newest: (u64, u64)) {
        let template = &place.template;
        if template.timeline.is_none() {
            let from =
                last.map_or(newest.0, |(number, _)| number.saturating_add(1)).max(newest.0.saturating_sub(STEP_MAX));
            for number in from..=newest.0 {
                if is_lost(template, start_of(template, number)) {
                    self.track.jump();
                } else {
                    self.segment(place, number, 0, None).await;
                }
            }
            return;
        }
        let mut number = template.start_number;
        for span in spans(template) {
            let begin = last.map_or(newest.1, |(_, time)| time.saturating_add(1));
            let skip = begin.saturating_sub(span.start).div_ceil(span.duration.max(1));
            for index in (skip..span.count).take(usize::try_from(STEP_MAX).unwrap_or(8)) {
                let time = span.start.saturating_add(index.saturating_mul(span.duration));
                if last.is_some_and(|(_, known)| is_lost(template, known.saturating_add(span.duration))) {
                    self.track.jump();
                }
                self.segment(place, number.saturating_add(index), time, Some(span.duration)).await;
            }
            number = number.saturating_add(span.count);
        }
    }

    async fn segment(&mut self, place: &Place, number: u64, time: u64, told: Option<u64>) {
        let template = &place.template;
        let Some(url) = place.url(number, time) else { return };
        let Some(bytes) = self.fetch(&url, &AVAILABLE).await else { return self.track.jump() };
        self.findings.count("segments");
        let Some(span) = self.track.take(url.path(), &bytes, &mut self.findings.verdict) else { return };
        let timeline = template.timeline.is_some();
        let due = if timeline { time } else { start_of(template, number) };
        let slack = if timeline {
            MediaDuration::from_millis(1)
        } else {
            MediaDuration::new(duration(template).nanos() / 2, Timescale::NANOS)
        };
        self.times(template, &url, due, slack, span);
        if let Some(told) = told {
            let error = span.duration() - i128::from(ticks(template, told).nanos());
            self.findings.verdict.judge(&DURATION, error.abs() <= span.frame + 2_000_000, || {
                (
                    format!("{} s of {}", ticks(template, told).decimal(5), url.path()),
                    format!("{:.6} s", span.duration() as f64 / 1e9),
                )
            });
        }
        if template.chunked {
            self.findings.verdict.judge(&PRODUCER_TIME, span.producer_time, || ("prft", url.path().to_owned()));
        }
    }

    fn times(&mut self, template: &Template, url: &Url, due: u64, slack: MediaDuration, span: Span) {
        let due = MediaTime::new(i64::try_from(due).unwrap_or(i64::MAX), template.timescale);
        // Pictures that are shown later than decoded may count by either.
        let [decoded, shown] = [span.begin, span.shown]
            .map(|at| i128::from(at.rescale(Timescale::NANOS).ticks()) - i128::from(due.nanos()));
        let least = if decoded.abs() < shown.abs() { decoded } else { shown };
        self.findings.verdict.judge(&TIME, least.abs() <= i128::from(slack.nanos()), || {
            (
                format!("{} s at {}", due.since(MediaTime::new(0, due.timescale())).decimal(5), url.path()),
                format!("{:.6} s later", least as f64 / 1e9),
            )
        });
    }
}
