// SPDX-License-Identifier: Apache-2.0
//! What one low-latency playlist says of its parts, hints and server (rfc8216bis, 4.4.3.7 to 4.4.5, appendix B).

use super::media::{name, target};
use super::seconds;
use crate::hls::read::{Media, Part, Segment};
use crate::rules::{Rule, Verdict};

/// Half a unit of five decimals, both sides, and floats that encoders print.
const PART_SLACK: i128 = 100_000;
/// What rounding a part's duration to a few decimals may cost a sum.
const SUM_SLACK: i128 = 500_000;
const ROUNDING: i128 = 1_000_000;

static PART_TARGET_MISSING: Rule =
    Rule::must("part-target-missing", "rfc8216bis 4.4.3.7", "a playlist with parts has EXT-X-PART-INF");
static PART_HOLD_BACK_MISSING: Rule =
    Rule::must("part-hold-back-missing", "rfc8216bis 4.4.3.8", "a playlist with EXT-X-PART-INF has PART-HOLD-BACK");
static PART_HOLD_BACK: Rule =
    Rule::must("part-hold-back", "rfc8216bis 4.4.3.8", "PART-HOLD-BACK is at least two part targets");
static PART_HOLD_BACK_SHORT: Rule = Rule::should(
    "part-hold-back-short",
    "rfc8216bis 4.4.3.8",
    "PART-HOLD-BACK is at least three part targets, the largest of all renditions",
);
static CAN_BLOCK_RELOAD: Rule = Rule::must(
    "can-block-reload",
    "rfc8216bis appendix B.1",
    "a low-latency playlist that goes on offers blocking reloads",
);
static CAN_SKIP_MISSING: Rule = Rule::should(
    "can-skip-missing",
    "rfc8216bis appendix B.1",
    "a low-latency playlist that goes on offers delta updates",
);
static PART_TOO_LONG: Rule =
    Rule::must("part-too-long", "rfc8216bis 4.4.4.9", "no part lasts longer than the part target");
static PART_TOO_SHORT: Rule = Rule::must(
    "part-too-short",
    "rfc8216bis 4.4.4.9",
    "a part lasts 85 % of the part target unless it is independent, a gap, before a gap or the last of its segment",
);
static PARTS_DIFFER: Rule =
    Rule::must("parts-differ-from-segment", "rfc8216bis 4.4.4.9", "the parts of a segment last as long as it does");
static PARTS_TOO_OLD: Rule = Rule::should(
    "parts-too-old",
    "rfc8216bis 6.2.2",
    "parts leave the playlist when they are three target durations from its end",
);
static PARTS_OUT_OF_ORDER: Rule =
    Rule::must("parts-out-of-order", "rfc8216bis 6.2.2", "parts are removed from the oldest segments first");
static PARTS_MISSING: Rule = Rule::should(
    "parts-missing",
    "rfc8216bis appendix B.1",
    "segments within three target durations of the end list their parts",
);
static FIRST_PART_DEPENDENT: Rule = Rule::must(
    "first-part-not-independent",
    "rfc8216bis 4.4.2.1, 4.4.4.9",
    "where all segments are independent, the first part of each is",
);
static HINT_MISSING: Rule =
    Rule::should("hint-missing", "rfc8216bis appendix B.1", "a low-latency playlist that goes on hints the next part");
static HINT_REPEATED: Rule =
    Rule::must("hint-repeated", "rfc8216bis 4.4.5.3", "there is at most one hint of each TYPE");
static HINT_IS_LISTED: Rule =
    Rule::must("hint-is-listed", "rfc8216bis 4.4.5.3", "what is hinted is not listed as a part already");
static ENDED_WITH_HINT: Rule = Rule::must("ended-with-hint", "rfc8216bis 4.4.5.3", "an ended playlist hints nothing");
static ENDED_WITH_BLOCKING: Rule =
    Rule::should("ended-with-blocking", "rfc8216bis 6.2.5.2", "an ended playlist does not offer blocking reloads");

/// The rules of this file.
pub static RULES: &[&Rule] = &[
    &PART_TARGET_MISSING,
    &PART_HOLD_BACK_MISSING,
    &PART_HOLD_BACK,
    &PART_HOLD_BACK_SHORT,
    &CAN_BLOCK_RELOAD,
    &CAN_SKIP_MISSING,
    &PART_TOO_LONG,
    &PART_TOO_SHORT,
    &PARTS_DIFFER,
    &PARTS_TOO_OLD,
    &PARTS_OUT_OF_ORDER,
    &PARTS_MISSING,
    &FIRST_PART_DEPENDENT,
    &HINT_MISSING,
    &HINT_REPEATED,
    &HINT_IS_LISTED,
    &ENDED_WITH_HINT,
    &ENDED_WITH_BLOCKING,
];

pub(super) fn judge(list: &Media, verdict: &mut Verdict) {
    let all = || list.segments.iter().chain(&list.open);
    if all().any(|s| !s.parts.is_empty()) {
        verdict.judge(&PART_TARGET_MISSING, list.part_target.is_some(), || ("EXT-X-PART-INF", "none"));
    }
    hints(list, verdict);
    let Some(part_target) = list.part_target.map(|target| i128::from(target.nanos())) else { return };
    control(list, part_target, verdict);
    lengths(list, part_target, verdict);
    ages(list, verdict);
    for segment in all().filter(|_| list.independent_segments) {
        if let Some(first) = segment.parts.first().filter(|first| !first.gap) {
            verdict.judge(&FIRST_PART_DEPENDENT, first.independent, || ("INDEPENDENT=YES", first.uri.clone()));
        }
    }
}

fn control(list: &Media, part_target: i128, verdict: &mut Verdict) {
    let control = list.server_control.as_ref();
    let hold_back = control.and_then(|c| c.part_hold_back).map(|given| i128::from(given.nanos()));
    verdict.judge(&PART_HOLD_BACK_MISSING, hold_back.is_some(), || ("PART-HOLD-BACK", "none"));
    if let Some(hold_back) = hold_back {
        verdict.judge(&PART_HOLD_BACK, hold_back + ROUNDING >= 2 * part_target, || {
            (format!("at least {}", seconds(2 * part_target)), seconds(hold_back))
        });
        short_hold_back(hold_back, part_target, verdict);
    }
    if !list.ended {
        verdict
            .judge(&CAN_BLOCK_RELOAD, control.is_some_and(|c| c.can_block_reload), || ("CAN-BLOCK-RELOAD=YES", "none"));
        verdict.judge(&CAN_SKIP_MISSING, control.is_some_and(|c| c.can_skip_until.is_some()), || {
            ("CAN-SKIP-UNTIL", "none")
        });
    }
}

/// Judges the hold-back against the longest part target that is known.
pub(super) fn short_hold_back(hold_back: i128, part_target_max: i128, verdict: &mut Verdict) {
    verdict.judge(&PART_HOLD_BACK_SHORT, hold_back + ROUNDING >= 3 * part_target_max, || {
        (format!("at least {}", seconds(3 * part_target_max)), seconds(hold_back))
    });
}

fn lengths(list: &Media, part_target: i128, verdict: &mut Verdict) {
    for segment in list.segments.iter().chain(&list.open) {
        let open = segment.uri.is_empty();
        let mut sum = 0;
        for (index, part) in segment.parts.iter().enumerate() {
            let duration = i128::from(part.duration.nanos());
            sum += duration;
            verdict.judge(&PART_TOO_LONG, duration <= part_target + PART_SLACK, || {
                (format!("at most {}", seconds(part_target)), format!("{} of {}", seconds(duration), part.uri))
            });
            let next = segment.parts.get(index + 1);
            // The newest part of an open segment may yet turn out to be its last.
            let exempt = part.independent || part.gap || next.is_none_or(|next| next.gap);
            if !exempt {
                let least = part_target * 85 / 100;
                verdict.judge(&PART_TOO_SHORT, duration + PART_SLACK >= least, || {
                    (format!("at least {}", seconds(least)), format!("{} of {}", seconds(duration), part.uri))
                });
            }
        }
        if !segment.parts.is_empty() && !open {
            let whole = i128::from(segment.duration.nanos());
            let slack = SUM_SLACK * (segment.parts.len() as i128 + 1);
            verdict.judge(&PARTS_DIFFER, (sum - whole).abs() <= slack, || {
                (format!("{} of {}", seconds(whole), segment.uri), format!("parts of {}", seconds(sum)))
            });
        }
    }
}

/// Walks from the playlist's end to its begin.
fn ages(list: &Media, verdict: &mut Verdict) {
    let limit = 3 * target(list);
    let mut after: i128 = list.open_parts().iter().map(|part| i128::from(part.duration.nanos())).sum();
    let mut removed = false;
    for segment in list.segments.iter().rev() {
        let has = !segment.parts.is_empty();
        if has {
            // A segment's first part is the oldest; whole segments are what servers remove by.
            verdict.judge(&PARTS_TOO_OLD, after <= limit, || {
                (
                    format!("no parts {} from the end", seconds(limit)),
                    format!("parts of {} at {}", name(segment), seconds(after)),
                )
            });
            verdict.judge(&PARTS_OUT_OF_ORDER, !removed, || {
                (
                    "parts in every segment after the first with parts".to_owned(),
                    format!("{} has, a later one has none", name(segment)),
                )
            });
        } else if !segment.gap {
            removed = true;
            let near = after + i128::from(segment.duration.nanos()) <= limit;
            if near {
                verdict.judge(&PARTS_MISSING, false, || {
                    (format!("the parts of {}", name(segment)), format!("none, {} from the end", seconds(after)))
                });
            }
        }
        after += i128::from(segment.duration.nanos());
    }
    verdict.judge(&PARTS_MISSING, true, || ("", ""));
}

fn hints(list: &Media, verdict: &mut Verdict) {
    if list.ended {
        verdict.judge(&ENDED_WITH_HINT, list.hints.is_empty(), || {
            ("no hint", list.hints.first().map(|hint| hint.uri.clone()).unwrap_or_default())
        });
        if let Some(control) = &list.server_control {
            verdict.judge(&ENDED_WITH_BLOCKING, !control.can_block_reload, || ("none", "CAN-BLOCK-RELOAD=YES"));
        }
        return;
    }
    if list.part_target.is_some() {
        let hinted = list.hints.iter().any(|hint| hint.hint_type == "PART");
        verdict.judge(&HINT_MISSING, hinted, || ("a hint of TYPE=PART", "none"));
    }
    for (index, hint) in list.hints.iter().enumerate() {
        let again = list.hints[..index].iter().any(|other| other.hint_type == hint.hint_type);
        verdict.judge(&HINT_REPEATED, !again, || (format!("one of TYPE={}", hint.hint_type), hint.uri.clone()));
        let listed = |part: &Part| part.uri == hint.uri && part.byte_range.is_none() && hint.start_bytes.is_none();
        let known = list.segments.iter().chain(&list.open).rev().take(4).any(|s: &Segment| s.parts.iter().any(listed));
        verdict.judge(&HINT_IS_LISTED, !known, || ("a part that is to come", hint.uri.clone()));
    }
}
