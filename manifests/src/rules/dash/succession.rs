// SPDX-License-Identifier: Apache-2.0
//! What may change from one version of an MPD to the next (ISO/IEC 23009-1, 5.4; DASH-IF IOP, 4.4).

use super::timeline::{Span, spans};
use crate::dash::read::{Mpd, Period, Representation};
use crate::rules::{Rule, Verdict};

static MPD_ID: Rule = Rule::must("mpd-id-changed", "23009-1 5.4.1", "MPD@id stays");
static AVAILABILITY_START: Rule =
    Rule::must("availability-start-changed", "23009-1 5.4.1", "availabilityStartTime never changes");
static PERIOD_START: Rule = Rule::must("period-start-changed", "23009-1 5.4.1", "the start of a Period never changes");
static SETS: Rule = Rule::must(
    "representations-changed",
    "23009-1 5.4.1",
    "Representations of a Period keep their ids, sets and order",
);
static OFFSET: Rule = Rule::must(
    "presentation-time-offset-changed",
    "23009-1 5.4.1",
    "what ties a Period to its media (presentationTimeOffset, startNumber, timescale) stays",
);
static PUBLISH_BACK: Rule = Rule::must("publish-time-went-back", "23009-1 5.3.1.2", "publishTime never decreases");
static PUBLISH_SAME: Rule = Rule::must(
    "publish-time-kept",
    "23009-1 5.3.1.2",
    "an MPD that names other segments or Periods has a later publishTime",
);
static TIMELINE: Rule =
    Rule::must("timeline-changed", "23009-1 5.4.1", "a segment that was named keeps its time and duration");
static TIMELINE_BACK: Rule =
    Rule::must("timeline-went-back", "23009-1 5.4.1", "the end of a timeline is not taken back");
static AGAIN_DYNAMIC: Rule =
    Rule::must("static-became-dynamic", "23009-1 5.4.1", "a presentation that has ended does not go on");

/// The rules of this file.
pub static RULES: &[&Rule] = &[
    &MPD_ID,
    &AVAILABILITY_START,
    &PERIOD_START,
    &SETS,
    &OFFSET,
    &PUBLISH_BACK,
    &PUBLISH_SAME,
    &TIMELINE,
    &TIMELINE_BACK,
    &AGAIN_DYNAMIC,
];

/// Judges `new` as a later version of `old`.
pub fn judge(old: &Mpd, new: &Mpd, verdict: &mut Verdict) {
    verdict.judge(&AGAIN_DYNAMIC, old.dynamic || !new.dynamic, || ("static", "dynamic"));
    verdict.judge(&MPD_ID, old.id == new.id, || (format!("{:?}", old.id), format!("{:?}", new.id)));
    let start = |mpd: &Mpd| mpd.availability_start.map_or_else(|| "none".to_owned(), |t| t.to_string());
    if new.dynamic || new.availability_start.is_some() {
        verdict
            .judge(&AVAILABILITY_START, old.availability_start == new.availability_start, || (start(old), start(new)));
    }
    if let (Some(before), Some(now)) = (old.publish_time, new.publish_time) {
        verdict.judge(&PUBLISH_BACK, now >= before, || (format!("at least {before}"), now.to_string()));
        let same = named(old) == named(new) && old.dynamic == new.dynamic;
        verdict.judge(&PUBLISH_SAME, now != before || same, || (format!("later than {before}"), now.to_string()));
    }
    // An ended presentation begins with what is still there, so its first Period may begin anew.
    for period in new.periods.iter().skip(usize::from(old.dynamic && !new.dynamic)) {
        if let Some(known) = old.periods.iter().find(|known| known.id.is_some() && known.id == period.id) {
            kept(known, period, verdict);
        }
    }
}

/// What publishTime stands for: Periods, and the segments that timelines name.
fn named(mpd: &Mpd) -> Vec<(Option<&String>, Vec<Vec<Span>>)> {
    let timelines = |period: &Period| -> Vec<_> {
        let templates = period.representations.iter().filter_map(|r| r.template.as_ref());
        templates.map(spans).collect()
    };
    mpd.periods.iter().map(|period| (period.id.as_ref(), timelines(period))).collect()
}

fn kept(old: &Period, new: &Period, verdict: &mut Verdict) {
    verdict.judge(&PERIOD_START, old.start == new.start, || {
        (
            format!("{:?} of Period {:?}", old.start.map(|s| s.decimal(3)), old.id),
            format!("{:?}", new.start.map(|s| s.decimal(3))),
        )
    });
    let ids = |period: &Period| -> Vec<_> {
        period.representations.iter().map(|r| (r.set.clone(), r.id.clone())).collect::<Vec<_>>()
    };
    let (before, now) = (ids(old), ids(new));
    // A track may join; those that were there stay, in their order.
    let mut rest = now.iter();
    let subset = before.iter().all(|id| rest.any(|other| other == id));
    verdict.judge(&SETS, subset, || (format!("{before:?}"), format!("{now:?}")));
    for representation in &new.representations {
        if let Some(known) = old.representations.iter().find(|r| r.id == representation.id) {
            template(known, representation, verdict);
        }
    }
}

fn template(old: &Representation, new: &Representation, verdict: &mut Verdict) {
    let (Some(a), Some(b)) = (&old.template, &new.template) else { return };
    // In a timeline the number is that of its first segment, which leaves.
    let first = |t: &crate::dash::read::Template| t.timeline.is_none().then_some(t.start_number);
    let tie = |t: &crate::dash::read::Template| (t.presentation_time_offset, first(t), t.timescale, t.duration);
    verdict.judge(&OFFSET, tie(a) == tie(b), || (format!("{:?} of {}", tie(a), new.id), format!("{:?}", tie(b))));
    let (before, now) = (spans(a), spans(b));
    if before.is_empty() || now.is_empty() || a.timescale != b.timescale {
        return;
    }
    let end = |spans: &[Span]| spans.last().map_or(0, |last| last.end());
    verdict.judge(&TIMELINE_BACK, end(&now) >= end(&before), || {
        (format!("an end of at least {} in {}", end(&before), new.id), end(&now).to_string())
    });
    let changed = changed(&before, &now);
    verdict.judge(&TIMELINE, changed.is_none(), || {
        (format!("the segments of {} as they were", new.id), format!("another at t = {}", changed.unwrap_or(0)))
    });
}

/// The first instant, from the newer timeline's begin to the older one's end, where the two name different segments.
fn changed(old: &[Span], new: &[Span]) -> Option<u64> {
    let from = new.first()?.start;
    let until = old.last()?.end();
    for span in old {
        if span.end() <= from || span.duration == 0 {
            continue;
        }
        // The first segment of this run that is still named.
        let gone = from.saturating_sub(span.start).div_ceil(span.duration);
        let first = span.start.saturating_add(gone.saturating_mul(span.duration));
        if first >= span.end() {
            continue;
        }
        let covers = |other: &Span| {
            other.duration == span.duration
                && other.start <= first
                && (first - other.start).is_multiple_of(span.duration)
                && other.end() >= span.end()
        };
        if !new.iter().any(covers) {
            return Some(first.min(until));
        }
    }
    None
}
