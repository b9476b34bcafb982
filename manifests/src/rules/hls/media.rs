// SPDX-License-Identifier: Apache-2.0
//! One media playlist, whatever its kind: its tags, targets, versions, dates and headers.

use headwater_media::MediaDuration;

use super::{parts, seconds};
use crate::hls::read::{Media, Segment};
use crate::rules::{Rule, Verdict};

const SECOND: i128 = 1_000_000_000;
/// Dates are written to the millisecond and consistent to one.
const DATE_SLACK: i128 = 1_500_000;
/// What rounding to a few decimals may cost a bound.
const ROUNDING: i128 = 1_000_000;

static MALFORMED_TAG: Rule =
    Rule::must("malformed-tag", "rfc8216bis 4.1, 4.2", "every known tag can be read and every URI has its EXTINF");
static REPEATED_TAG: Rule = Rule::must("repeated-tag", "rfc8216bis 4.4.3", "a tag of the playlist stands once");
static MISPLACED_TAG: Rule = Rule::must(
    "misplaced-tag",
    "rfc8216bis 4.4.3.2, 4.4.4.9",
    "MAP, KEY, DISCONTINUITY and date stand before the first part they apply to, sequence numbers before the first segment",
);
static TARGET_DURATION_MISSING: Rule =
    Rule::must("target-duration-missing", "rfc8216bis 4.4.3.1", "EXT-X-TARGETDURATION is there");
static TARGET_DURATION_EXCEEDED: Rule = Rule::must(
    "target-duration-exceeded",
    "rfc8216bis 4.4.3.1",
    "every EXTINF, rounded to whole seconds, is at most the target duration",
);
static VERSION_TOO_LOW: Rule = Rule::must(
    "version-too-low",
    "rfc8216bis 8",
    "EXT-X-VERSION covers what is used: 3 decimals, 4 byte ranges, 5 I-frame maps, 6 maps, 9 skip, 10 removed date ranges",
);
static HOLD_BACK: Rule = Rule::must("hold-back", "rfc8216bis 4.4.3.8", "HOLD-BACK is at least three target durations");
static CAN_SKIP_UNTIL: Rule =
    Rule::must("can-skip-until", "rfc8216bis 4.4.3.8", "CAN-SKIP-UNTIL is at least six target durations");
static MAP_MISSING: Rule = Rule::must("map-missing", "rfc8216bis 3.1.2", "fragmented MP4 segments have an EXT-X-MAP");
static PDT_MISSING: Rule = Rule::must(
    "pdt-missing",
    "rfc8216bis 6.2.4",
    "a low-latency playlist, and any whose siblings do, dates its segments",
);
static PDT_INCONSISTENT: Rule = Rule::must(
    "pdt-inconsistent",
    "rfc8216bis 6.2.4",
    "within a millisecond, each date is the one before and the duration between",
);

/// The rules of this file.
pub static RULES: &[&Rule] = &[
    &MALFORMED_TAG,
    &REPEATED_TAG,
    &MISPLACED_TAG,
    &TARGET_DURATION_MISSING,
    &TARGET_DURATION_EXCEEDED,
    &VERSION_TOO_LOW,
    &HOLD_BACK,
    &CAN_SKIP_UNTIL,
    &MAP_MISSING,
    &PDT_MISSING,
    &PDT_INCONSISTENT,
];

/// Judges one version of a media playlist, full or delta.
pub fn judge(list: &Media, verdict: &mut Verdict) {
    tags(list, verdict);
    targets(list, verdict);
    version(list, verdict);
    maps(list, verdict);
    dates(list, verdict);
    parts::judge(list, verdict);
}

/// The target duration as a length.
pub(super) fn target(list: &Media) -> i128 {
    i128::from(list.target_duration.unwrap_or(0)) * SECOND
}

fn tags(list: &Media, verdict: &mut Verdict) {
    let faults = &list.faults;
    let first = |lines: &[String]| lines.first().cloned().unwrap_or_default();
    verdict
        .judge(&MALFORMED_TAG, faults.malformed.is_empty(), || ("a line that can be read", first(&faults.malformed)));
    verdict.judge(&REPEATED_TAG, faults.repeated.is_empty(), || ("the tag once", first(&faults.repeated)));
    verdict.judge(&MISPLACED_TAG, faults.misplaced.is_empty(), || ("the tag earlier", first(&faults.misplaced)));
    verdict.judge(&TARGET_DURATION_MISSING, list.target_duration.is_some(), || ("EXT-X-TARGETDURATION", "none"));
}

fn targets(list: &Media, verdict: &mut Verdict) {
    let target = target(list);
    if let Some(whole) = list.target_duration {
        for segment in &list.segments {
            verdict.judge(&TARGET_DURATION_EXCEEDED, segment.duration.seconds_round() <= whole, || {
                (
                    format!("at most {whole} s when rounded"),
                    format!("{} s of {}", segment.duration.decimal(5), segment.uri),
                )
            });
        }
    }
    let Some(control) = &list.server_control else { return };
    let bound = |given: Option<MediaDuration>| given.map(|given| i128::from(given.nanos()));
    for (rule, given, factor) in
        [(&HOLD_BACK, bound(control.hold_back), 3), (&CAN_SKIP_UNTIL, bound(control.can_skip_until), 6)]
    {
        if let Some(given) = given {
            verdict.judge(rule, given + ROUNDING >= factor * target, || {
                (format!("at least {}", seconds(factor * target)), seconds(given))
            });
        }
    }
}

fn version(list: &Media, verdict: &mut Verdict) {
    let all = || list.segments.iter().chain(&list.open);
    let uses = [
        (10, "RECENTLY-REMOVED-DATERANGES", list.removed_dateranges),
        (9, "EXT-X-SKIP", list.skipped_segments > 0),
        (6, "EXT-X-MAP", !list.iframes_only && all().any(|s| s.map.is_some())),
        (5, "EXT-X-MAP in an I-frame playlist", list.iframes_only && all().any(|s| s.map.is_some())),
        (4, "a byte range or EXT-X-I-FRAMES-ONLY", list.iframes_only || all().any(|s| s.byte_range.is_some())),
        (3, "a decimal EXTINF", list.segments.iter().any(|s| s.duration.nanos() % 1_000_000_000 != 0)),
    ];
    let Some((least, what, _)) = uses.into_iter().find(|(_, _, used)| *used) else { return };
    let version = list.version.unwrap_or(1);
    verdict.judge(&VERSION_TOO_LOW, version >= least, || (format!("at least {least} for {what}"), version.to_string()));
}

fn maps(list: &Media, verdict: &mut Verdict) {
    let fragmented = |uri: &str| {
        let path = uri.split(['?', '#']).next().unwrap_or(uri);
        [".m4s", ".mp4", ".m4v", ".m4a", ".cmfv", ".cmfa", ".cmft"].iter().any(|end| path.ends_with(end))
    };
    for segment in list.segments.iter().filter(|s| fragmented(&s.uri) && !s.gap) {
        verdict.judge(&MAP_MISSING, segment.map.is_some(), || ("an EXT-X-MAP in force", segment.uri.clone()));
    }
}

fn dates(list: &Media, verdict: &mut Verdict) {
    let dated = list.segments.iter().chain(&list.open).any(|s| s.program_date_time.is_some());
    if list.part_target.is_some() && !(list.segments.is_empty() && list.open.is_none()) {
        undated(dated, verdict);
    }
    let mut expected: Option<(i128, i128)> = None;
    let mut gap = false;
    for segment in list.segments.iter().chain(&list.open) {
        let date = segment.program_date_time.map(|date| i128::from(date.nanos()));
        if let (Some(date), Some((due, steps)), false) = (date, expected, segment.discontinuity || segment.gap || gap) {
            let error = date - due;
            verdict.judge(&PDT_INCONSISTENT, error.abs() <= DATE_SLACK + (steps - 1) * ROUNDING, || {
                (
                    "the date before and the durations since".to_owned(),
                    format!("{} off at {}", seconds(error), name(segment)),
                )
            });
        }
        let duration = i128::from(segment.duration.nanos());
        expected = match (date, expected) {
            (Some(date), _) => Some((date + duration, 1)),
            (None, Some((due, steps))) if !segment.discontinuity => Some((due + duration, steps + 1)),
            _ => None,
        };
        gap = segment.gap;
    }
}

/// Judges whether a playlist that has to date its segments does.
pub(super) fn undated(dated: bool, verdict: &mut Verdict) {
    verdict.judge(&PDT_MISSING, dated, || ("EXT-X-PROGRAM-DATE-TIME", "none"));
}

/// A segment for words.
pub(super) fn name(segment: &Segment) -> String {
    if segment.uri.is_empty() { format!("segment {}", segment.sequence) } else { segment.uri.clone() }
}
