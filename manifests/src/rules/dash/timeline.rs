// SPDX-License-Identifier: Apache-2.0
//! SegmentTimelines: every instant named once, what is lost said to be lost, what has expired gone.

use headwater_media::{MediaDuration, MediaTime};

use crate::dash::read::{Mpd, Period, Representation, Template};
use crate::rules::{Rule, Verdict};

/// Ticks of rounding between segments, in milliseconds.
const SLACK: MediaDuration = MediaDuration::from_millis(1);

static OVERLAP: Rule =
    Rule::must("timeline-overlap", "23009-1 5.3.9.6", "no segment of a timeline begins before the one before ends");
static GAP: Rule = Rule::must(
    "timeline-gap",
    "DASH-IF IOP 4.3.3",
    "a timeline has no hole that is not declared as lost or by a new Period",
);
static EMPTY: Rule = Rule::must("timeline-empty", "23009-1 5.3.9.6", "a timeline names a segment, none of no length");
static EXPIRED: Rule = Rule::should(
    "timeline-expired",
    "23009-1 5.3.9.5.3",
    "segments leave the timeline when the time shift buffer has passed them",
);

/// The rules of this file.
pub static RULES: &[&Rule] = &[&OVERLAP, &GAP, &EMPTY, &EXPIRED];

/// A run of segments of one duration, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Start of the first.
    pub start: u64,
    /// Of each.
    pub duration: u64,
    /// How many.
    pub count: u64,
}

impl Span {
    /// End of the last.
    pub const fn end(self) -> u64 {
        self.start.saturating_add(self.duration.saturating_mul(self.count))
    }
}

/// The runs of a timeline with their starts and counts; a negative repeat reaches the next run, or is one segment.
pub fn spans(template: &Template) -> Vec<Span> {
    let runs = template.timeline.as_deref().unwrap_or_default();
    let mut spans: Vec<Span> = Vec::with_capacity(runs.len());
    for (index, run) in runs.iter().enumerate() {
        let start = run.time.unwrap_or_else(|| spans.last().map_or(0, |last| last.end()));
        let until = runs.get(index + 1).and_then(|next| next.time);
        let count = match u64::try_from(run.repeat) {
            Ok(repeat) => repeat.saturating_add(1),
            Err(_) => until.map_or(1, |until| until.saturating_sub(start).div_ceil(run.duration.max(1)).max(1)),
        };
        spans.push(Span { start, duration: run.duration, count });
    }
    spans
}

pub(super) fn judge(mpd: &Mpd, verdict: &mut Verdict) {
    for period in &mpd.periods {
        for representation in &period.representations {
            let Some(template) = representation.template.as_ref().filter(|t| t.timeline.is_some()) else { continue };
            let spans = spans(template);
            let whole = !spans.is_empty() && spans.iter().all(|span| span.duration > 0);
            verdict.judge(&EMPTY, whole, || ("segments of some length", representation.id.clone()));
            contiguous(representation, template, &spans, verdict);
            expired(mpd, period, representation, template, &spans, verdict);
        }
    }
}

fn contiguous(representation: &Representation, template: &Template, spans: &[Span], verdict: &mut Verdict) {
    let slack = u64::try_from(SLACK.rescale(template.timescale).ticks()).unwrap_or(0).max(1);
    for pair in spans.windows(2) {
        let (end, start) = (pair[0].end(), pair[1].start);
        verdict.judge(&OVERLAP, start.saturating_add(slack) >= end, || {
            (format!("t ≥ {end} in {}", representation.id), start.to_string())
        });
        let lost = |at: u64| template.lost.iter().any(|(t, d)| (*t..t.saturating_add(*d)).contains(&at));
        let hole = start > end.saturating_add(slack);
        verdict.judge(&GAP, !hole || lost(end.saturating_add(slack)), || {
            (format!("t = {end} in {}, or the loss declared", representation.id), start.to_string())
        });
    }
}

fn expired(
    mpd: &Mpd,
    period: &Period,
    representation: &Representation,
    template: &Template,
    spans: &[Span],
    verdict: &mut Verdict,
) {
    let (Some(depth), Some(publish), Some(availability)) =
        (mpd.time_shift_buffer, mpd.publish_time, mpd.availability_start)
    else {
        return;
    };
    let Some(first) = spans.first().filter(|_| mpd.dynamic) else { return };
    let ticks = |ticks: u64| MediaDuration::new(i64::try_from(ticks).unwrap_or(i64::MAX), template.timescale);
    let offset = ticks(template.presentation_time_offset);
    let end = MediaTime::new(availability.nanos(), headwater_media::Timescale::NANOS)
        + period.start.unwrap_or(MediaDuration::ZERO)
        + (ticks(first.start.saturating_add(first.duration)) - offset);
    // A segment may stay until a whole one lies before the buffer, and publishing takes its time.
    let oldest = publish.media_time(end.timescale())
        - depth
        - ticks(first.duration.saturating_mul(2))
        - MediaDuration::from_millis(1_000);
    verdict.judge(&EXPIRED, end >= oldest, || {
        (
            format!("nothing of {} before {}", representation.id, oldest.utc()),
            format!("a segment that ends {}", end.utc()),
        )
    });
}
