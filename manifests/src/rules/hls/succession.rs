// SPDX-License-Identifier: Apache-2.0
//! What may change from one version of a media playlist to the next (rfc8216bis, 6.2.1, 6.2.2).

use super::media::{name, target};
use super::seconds;
use crate::hls::read::{Media, Segment};
use crate::rules::{Rule, Verdict};

static TARGET_DURATION_CHANGED: Rule =
    Rule::must("target-duration-changed", "rfc8216bis 6.2.1", "the target duration never changes");
static PART_TARGET_CHANGED: Rule =
    Rule::must("part-target-changed", "rfc8216bis 4.4.3.7", "the part target never changes");
static SERVER_CONTROL_CHANGED: Rule =
    Rule::should("server-control-changed", "rfc8216bis 4.4.3.8", "EXT-X-SERVER-CONTROL stays until the end");
static MEDIA_SEQUENCE_WENT_BACK: Rule =
    Rule::must("media-sequence-went-back", "rfc8216bis 6.2.2", "EXT-X-MEDIA-SEQUENCE never decreases");
static EDGE_WENT_BACK: Rule =
    Rule::must("edge-went-back", "rfc8216bis 6.2.1", "what was listed at the end is not taken back");
static SEGMENT_CHANGED: Rule = Rule::must(
    "segment-changed",
    "rfc8216bis 6.2.1, 6.2.2",
    "a segment keeps its number, URI, range, duration, date and discontinuity",
);
static PART_CHANGED: Rule = Rule::must("part-changed", "rfc8216bis 6.2.1", "a listed part does not change");
static DISCONTINUITY_SEQUENCE_CHANGED: Rule = Rule::must(
    "discontinuity-sequence-changed",
    "rfc8216bis 6.2.2",
    "EXT-X-DISCONTINUITY-SEQUENCE grows by one for each discontinuity that is removed",
);
static HINT_NOT_KEPT: Rule =
    Rule::must("hint-not-kept", "rfc8216bis 4.4.5.3", "the part after a hint has the hinted URI");
static REMOVED_TOO_EARLY: Rule = Rule::must(
    "removed-too-early",
    "rfc8216bis 6.2.2",
    "no segment is removed that would leave less than three target durations",
);
static SEGMENTS_TOO_FEW: Rule =
    Rule::should("segments-too-few", "HLS Authoring Specification", "a sliding playlist holds at least six segments");
static PLAYLIST_TYPE_SLIDES: Rule = Rule::must(
    "playlist-type-slides",
    "rfc8216bis 4.4.3.5, 6.2.1",
    "a playlist with EXT-X-PLAYLIST-TYPE loses no segment",
);
static ENDED_GOES_ON: Rule =
    Rule::must("ended-goes-on", "rfc8216bis 4.4.3.4", "nothing is added after EXT-X-ENDLIST, and it stays");

/// The rules of this file.
pub static RULES: &[&Rule] = &[
    &TARGET_DURATION_CHANGED,
    &PART_TARGET_CHANGED,
    &SERVER_CONTROL_CHANGED,
    &MEDIA_SEQUENCE_WENT_BACK,
    &EDGE_WENT_BACK,
    &SEGMENT_CHANGED,
    &PART_CHANGED,
    &DISCONTINUITY_SEQUENCE_CHANGED,
    &HINT_NOT_KEPT,
    &REMOVED_TOO_EARLY,
    &SEGMENTS_TOO_FEW,
    &PLAYLIST_TYPE_SLIDES,
    &ENDED_GOES_ON,
];

/// Judges `new` as a later version of `old`. Of a delta that was not merged ([`super::delta::merged`]) what it lists is
/// judged; what it skips is not.
pub fn judge(old: &Media, new: &Media, verdict: &mut Verdict) {
    let target_duration = (old.target_duration, new.target_duration);
    verdict.judge(&TARGET_DURATION_CHANGED, target_duration.0 == target_duration.1, || {
        (format!("{:?}", target_duration.0), format!("{:?}", target_duration.1))
    });
    if old.part_target.is_some() {
        verdict.judge(&PART_TARGET_CHANGED, old.part_target == new.part_target, || {
            (
                format!("{:?}", old.part_target.map(|p| p.decimal(5))),
                format!("{:?}", new.part_target.map(|p| p.decimal(5))),
            )
        });
    }
    if old.server_control.is_some() && !new.ended {
        verdict.judge(&SERVER_CONTROL_CHANGED, old.server_control == new.server_control, || {
            (format!("{:?}", old.server_control), format!("{:?}", new.server_control))
        });
    }
    verdict.judge(&MEDIA_SEQUENCE_WENT_BACK, new.media_sequence >= old.media_sequence, || {
        (format!("at least {}", old.media_sequence), new.media_sequence.to_string())
    });
    verdict.judge(&EDGE_WENT_BACK, new.edge() >= old.edge(), || {
        (format!("segment and part {:?} or later", old.edge()), format!("{:?}", new.edge()))
    });
    if old.ended {
        verdict.judge(&ENDED_GOES_ON, new.ended && new.next_sequence() <= old.next_sequence(), || {
            (
                format!("the end after segment {}", old.next_sequence()),
                format!("segments up to {}, ended: {}", new.next_sequence(), new.ended),
            )
        });
    }
    kept(old, new, verdict);
    hint(old, new, verdict);
    if old.skipped_segments == 0 && new.skipped_segments == 0 {
        removed(old, new, verdict);
        discontinuities(old, new, verdict);
    }
}

fn kept(old: &Media, new: &Media, verdict: &mut Verdict) {
    for segment in new.segments.iter().chain(&new.open) {
        let number = segment.sequence;
        let open = old.open.as_ref().filter(|_| number == old.next_sequence());
        let Some(known) = old.segment(number).or(open) else { continue };
        if !known.uri.is_empty() && !segment.uri.is_empty() {
            verdict.judge(&SEGMENT_CHANGED, same(known, segment), || (described(known), described(segment)));
        }
        // Parts leave all at once, or stay as they are.
        if !segment.parts.is_empty() && !known.parts.is_empty() {
            let whole = !known.uri.is_empty();
            // Fewer than before are an edge that went back.
            let common = segment.parts.len().min(known.parts.len());
            let counted = !whole || segment.parts.len() == known.parts.len();
            let prefix = counted && segment.parts[..common] == known.parts[..common];
            verdict.judge(&PART_CHANGED, prefix, || {
                (
                    format!("the {} parts of {}", known.parts.len(), name(known)),
                    format!("{} others", segment.parts.len()),
                )
            });
        }
    }
}

fn same(a: &Segment, b: &Segment) -> bool {
    let dates = match (a.program_date_time, b.program_date_time) {
        // Some servers write it anew each time, rounded.
        (Some(a), Some(b)) => a.nanos().abs_diff(b.nanos()) <= 1_500_000,
        _ => true,
    };
    dates
        && (&a.uri, a.duration, a.byte_range, a.discontinuity, a.gap)
            == (&b.uri, b.duration, b.byte_range, b.discontinuity, b.gap)
}

fn described(segment: &Segment) -> String {
    let date = segment.program_date_time.map_or_else(String::new, |date| format!(" at {date}"));
    let flags = [(segment.discontinuity, ", discontinuity"), (segment.gap, ", gap")];
    let flags: String = flags.iter().filter(|(set, _)| *set).map(|(_, word)| *word).collect();
    format!("{} = {} of {} s{date}{flags}", segment.sequence, segment.uri, segment.duration.decimal(5))
}

fn removed(old: &Media, new: &Media, verdict: &mut Verdict) {
    if new.media_sequence <= old.media_sequence || old.segments.is_empty() {
        return;
    }
    let gone = new.media_sequence - old.media_sequence;
    if let Some(kind) = &new.playlist_type {
        verdict
            .judge(&PLAYLIST_TYPE_SLIDES, false, || (format!("every segment, by {kind}"), format!("{gone} removed")));
    } else {
        verdict.judge(&PLAYLIST_TYPE_SLIDES, true, || ("", ""));
    }
    if new.ended {
        return;
    }
    let length: i128 = new.segments.iter().map(|s| i128::from(s.duration.nanos())).sum();
    verdict.judge(&REMOVED_TOO_EARLY, length >= 3 * target(new), || {
        (format!("at least {} left", seconds(3 * target(new))), seconds(length))
    });
    verdict
        .judge(&SEGMENTS_TOO_FEW, new.segments.len() >= 6, || ("at least 6 segments", new.segments.len().to_string()));
}

/// The first part that is new has the hinted URI.
fn hint(old: &Media, new: &Media, verdict: &mut Verdict) {
    let Some(hint) = old.hints.iter().find(|hint| hint.hint_type == "PART") else { return };
    let (segment, part) = old.edge();
    let index = usize::try_from(part).unwrap_or(usize::MAX);
    let parts = |number: u64| match new.segment(number) {
        Some(whole) => Some(&whole.parts[..]),
        None if number == new.next_sequence() => Some(new.open_parts()),
        None => None,
    };
    // The hinted part may be the first of the segment after this one, if this one was full.
    let here = parts(segment).unwrap_or_default();
    let came = match here.get(index) {
        Some(came) => Some(came),
        None if here.len() == index && part > 0 => parts(segment.saturating_add(1)).and_then(|next| next.first()),
        None => None,
    };
    if let Some(came) = came {
        let start = hint.start_bytes.is_none() || came.byte_range.and_then(|r| r.offset_bytes) == hint.start_bytes;
        verdict.judge(&HINT_NOT_KEPT, came.uri == hint.uri && start, || (hint.uri.clone(), came.uri.clone()));
    }
}

/// The number of the discontinuity that each segment belongs to, of a full playlist.
pub(super) fn discontinuity_numbers(list: &Media) -> impl Iterator<Item = (u64, &Segment)> {
    let segments = list.segments.iter().chain(&list.open);
    segments.scan(list.discontinuity_sequence, |number, segment| {
        *number = number.saturating_add(u64::from(segment.discontinuity));
        Some((*number, segment))
    })
}

fn discontinuities(old: &Media, new: &Media, verdict: &mut Verdict) {
    let Some((now, first)) = discontinuity_numbers(new).next() else { return };
    let before = discontinuity_numbers(old).find(|(_, segment)| segment.sequence == first.sequence);
    if let Some((before, _)) = before {
        verdict.judge(&DISCONTINUITY_SEQUENCE_CHANGED, before == now, || {
            (format!("{} in discontinuity {before}", name(first)), now.to_string())
        });
    }
}
