// SPDX-License-Identifier: Apache-2.0
//! What the media playlists of one presentation have in common (rfc8216bis, 6.2.4, 4.4.5.4).

use headwater_media::MediaDuration;

use super::media::{name, undated};
use super::parts::short_hold_back;
use super::seconds;
use super::succession::discontinuity_numbers;
use crate::hls::read::Media;
use crate::rules::{Rule, Verdict};

/// Dates of one instant may differ by this.
const DATE_SLACK: i128 = 1_500_000;

static TARGET_DURATION_DIFFERS: Rule =
    Rule::must("target-duration-differs", "rfc8216bis 6.2.4", "every media playlist has the same target duration");
static SERVER_CONTROL_DIFFERS: Rule = Rule::must(
    "server-control-differs",
    "rfc8216bis 4.4.3.8",
    "every media playlist has the same EXT-X-SERVER-CONTROL",
);
static DISCONTINUITY_SEQUENCE_DIFFERS: Rule = Rule::must(
    "discontinuity-sequence-differs",
    "rfc8216bis 6.2.4",
    "the discontinuity sequence of one instant is the same in every playlist",
);
static PDT_DIFFERS: Rule =
    Rule::must("pdt-differs", "rfc8216bis 6.2.4", "pictures that share a media sequence number begin at one date");
static OUT_OF_STEP: Rule = Rule::should(
    "renditions-out-of-step",
    "rfc8216bis 6.2.4",
    "renditions end within a part target of each other, beside what lies between looking at them",
);
static REPORT_MISSING: Rule = Rule::must(
    "rendition-report-missing",
    "rfc8216bis 4.4.5.4, appendix B.1",
    "a low-latency playlist reports on every other media playlist",
);
static REPORT_URI: Rule = Rule::must(
    "rendition-report-uri",
    "rfc8216bis 4.4.5.4",
    "a report's URI is relative and without delivery directives",
);
static REPORT_INCOMPLETE: Rule = Rule::must(
    "rendition-report-incomplete",
    "rfc8216bis 4.4.5.4",
    "a report has LAST-MSN, and LAST-PART where that playlist has parts",
);
static REPORT_AHEAD: Rule = Rule::must(
    "rendition-report-ahead",
    "rfc8216bis 4.4.5.4",
    "nothing is reported that the other playlist does not hold yet",
);
static REPORT_BEHIND: Rule = Rule::should(
    "rendition-report-behind",
    "rfc8216bis 4.4.5.4",
    "a report is at most a segment behind what the other playlist held",
);

/// The rules of this file.
pub static RULES: &[&Rule] = &[
    &TARGET_DURATION_DIFFERS,
    &SERVER_CONTROL_DIFFERS,
    &DISCONTINUITY_SEQUENCE_DIFFERS,
    &PDT_DIFFERS,
    &OUT_OF_STEP,
    &REPORT_MISSING,
    &REPORT_URI,
    &REPORT_INCOMPLETE,
    &REPORT_AHEAD,
    &REPORT_BEHIND,
];

/// A media playlist among its siblings.
#[derive(Clone, Copy, Debug)]
pub struct Rendition<'a> {
    /// Its address, the same that reports resolve to.
    pub address: &'a str,
    /// Its newest version.
    pub list: &'a Media,
    /// Of pictures: pictures of one number are expected to begin together.
    pub video: bool,
}

/// Judges playlists of one presentation that were taken at most `apart` from each other. I-frame playlists are left out.
pub fn judge(all: &[Rendition], apart: MediaDuration, verdict: &mut Verdict) {
    let all: Vec<&Rendition> = all.iter().filter(|r| !r.list.iframes_only).collect();
    let Some((first, others)) = all.split_first() else { return };
    let dated = |r: &Rendition| r.list.segments.iter().any(|s| s.program_date_time.is_some());
    let any_dated = all.iter().any(|r| dated(r));
    let longest = all.iter().filter_map(|r| r.list.part_target).map(|p| i128::from(p.nanos())).max();
    for rendition in &all {
        verdict.at(rendition.address);
        if any_dated && !rendition.list.segments.is_empty() {
            undated(dated(rendition), verdict);
        }
        let hold_back = rendition.list.server_control.as_ref().and_then(|c| c.part_hold_back);
        if let (Some(longest), Some(hold_back)) = (longest, hold_back) {
            short_hold_back(hold_back.nanos().into(), longest, verdict);
        }
    }
    for other in others {
        verdict.at(other.address);
        pair(first, other, verdict);
    }
    for (index, one) in all.iter().enumerate() {
        let Some(other) = all[index + 1..].iter().find(|other| one.video && other.video) else { continue };
        verdict.at(other.address);
        begins(one.list, other.list, verdict);
    }
    step(&all, apart, verdict);
}

fn pair(first: &Rendition, other: &Rendition, verdict: &mut Verdict) {
    let (a, b) = (first.list, other.list);
    verdict.judge(&TARGET_DURATION_DIFFERS, a.target_duration == b.target_duration, || {
        (format!("{:?} as in {}", a.target_duration, first.address), format!("{:?}", b.target_duration))
    });
    // The end of one may be seen before the end of another, and takes CAN-BLOCK-RELOAD with it.
    if a.ended == b.ended {
        verdict.judge(&SERVER_CONTROL_DIFFERS, a.server_control == b.server_control, || {
            (format!("{:?} as in {}", a.server_control, first.address), format!("{:?}", b.server_control))
        });
    }
    // What a delta skips may hold discontinuities.
    if a.skipped_segments > 0 || b.skipped_segments > 0 {
        return;
    }
    let numbers: Vec<(u64, i128)> = discontinuity_numbers(a).filter_map(|(n, s)| Some((n, date(s)?))).collect();
    for (number, segment) in discontinuity_numbers(b) {
        let Some(begin) = date(segment) else { continue };
        // The one of the same instant: nearest within half a segment, for sound is cut at its own frames.
        let half = i128::from(segment.duration.nanos()) / 2;
        let near = numbers.iter().min_by_key(|(_, other)| (other - begin).abs());
        if let Some((other, _)) = near.filter(|(_, other)| (other - begin).abs() < half) {
            verdict.judge(&DISCONTINUITY_SEQUENCE_DIFFERS, *other == number, || {
                (format!("{other} as in {}", first.address), format!("{number} at {}", name(segment)))
            });
        }
    }
}

fn date(segment: &crate::hls::read::Segment) -> Option<i128> {
    segment.program_date_time.map(|date| date.nanos().into())
}

/// Segments of one number, where servers number renditions alike, begin at one date.
fn begins(a: &Media, b: &Media, verdict: &mut Verdict) {
    for segment in &b.segments {
        let twin = a.segment(segment.sequence);
        let (Some(ours), Some(theirs)) = (twin.and_then(date), date(segment)) else { continue };
        let error = theirs - ours;
        // Further apart they are numbered differently, which is allowed.
        if error.abs() < i128::from(segment.duration.nanos()) / 4 && !segment.gap {
            verdict.judge(&PDT_DIFFERS, error.abs() <= DATE_SLACK, || {
                ("the date of its sibling".to_owned(), format!("{} off at {}", seconds(error), name(segment)))
            });
        }
    }
}

/// The date at which a playlist ends.
pub fn end(list: &Media) -> Option<i128> {
    let open = list.open.as_ref().and_then(|open| {
        let parts: i128 = open.parts.iter().map(|p| i128::from(p.duration.nanos())).sum();
        Some(date(open)? + parts)
    });
    let last = || list.segments.last().and_then(|last| Some(date(last)? + i128::from(last.duration.nanos())));
    open.or_else(last)
}

fn step(all: &[&Rendition], apart: MediaDuration, verdict: &mut Verdict) {
    let live = || all.iter().filter(|r| r.list.part_target.is_some() && !r.list.ended);
    let ends: Vec<(i128, &str)> = live().filter_map(|r| Some((end(r.list)?, r.address))).collect();
    let (Some(least), Some(most)) = (ends.iter().min(), ends.iter().max()) else { return };
    let part = live().filter_map(|r| r.list.part_target).map(|p| i128::from(p.nanos())).max().unwrap_or(0);
    let allowed = part + i128::from(apart.nanos()) + DATE_SLACK;
    verdict.at(least.1).judge(&OUT_OF_STEP, most.0 - least.0 <= allowed, || {
        (format!("at most {} behind {}", seconds(allowed), most.1), seconds(most.0 - least.0))
    });
}

/// What another playlist held around the time at which reports on it were taken.
#[derive(Clone, Copy, Debug)]
pub struct Sibling<'a> {
    /// Its address, resolved.
    pub address: &'a str,
    /// A version taken before the reports were, if there is one.
    pub before: Option<&'a Media>,
    /// A version taken after them, if there is one.
    pub after: Option<&'a Media>,
}

/// Judges the rendition reports of `list` on its `siblings`; `resolve` makes a report's URI an address.
pub fn reports(list: &Media, siblings: &[Sibling], resolve: &dyn Fn(&str) -> String, verdict: &mut Verdict) {
    if list.part_target.is_none() || list.ended {
        return;
    }
    let reported: Vec<(String, _)> = list.reports.iter().map(|report| (resolve(&report.uri), report)).collect();
    for (_, report) in &reported {
        let relative = !report.uri.contains("://") && !report.uri.contains("_HLS_");
        verdict.judge(&REPORT_URI, relative, || ("a relative URI without directives", report.uri.clone()));
    }
    for sibling in siblings {
        let report = reported.iter().find(|(address, _)| address == sibling.address).map(|(_, report)| report);
        verdict.judge(&REPORT_MISSING, report.is_some(), || (format!("a report on {}", sibling.address), "none"));
        let Some(report) = report else { continue };
        let parts = sibling.after.or(sibling.before).is_some_and(|l| l.part_target.is_some());
        verdict.judge(&REPORT_INCOMPLETE, report.last.is_some() && (report.part.is_some() || !parts), || {
            ("LAST-MSN and LAST-PART".to_owned(), format!("{:?} and {:?} of {}", report.last, report.part, report.uri))
        });
        let Some(last) = report.last else { continue };
        if let Some(after) = sibling.after {
            let held = holds(after, last, report.part);
            verdict.judge(&REPORT_AHEAD, held, || {
                let edge = after.edge();
                (
                    format!("less than segment {} part {} of {}", edge.0, edge.1, report.uri),
                    format!("{last} and {:?}", report.part),
                )
            });
        }
        if let Some(before) = sibling.before {
            let newest = before.next_sequence().saturating_sub(u64::from(before.open_parts().is_empty()));
            verdict.judge(&REPORT_BEHIND, last.saturating_add(1) >= newest, || {
                (format!("at least {} of {}", newest.saturating_sub(1), report.uri), last.to_string())
            });
        }
    }
}

fn holds(list: &Media, segment: u64, part: Option<u64>) -> bool {
    match part {
        Some(part) if segment == list.next_sequence() => part < list.open_parts().len() as u64,
        _ => {
            segment < list.next_sequence() || (segment == list.next_sequence() && part.is_none() && list.open.is_some())
        }
    }
}
