// SPDX-License-Identifier: Apache-2.0
//! Playlist delta updates (rfc8216bis, 6.2.5.1, 6.3.7): what a client that merges one gets is the full playlist.

use super::media::{name, target};
use super::seconds;
use crate::hls::read::{Map, Media, Segment};
use crate::rules::{Rule, Verdict};

static DELTA_NOT_OFFERED: Rule =
    Rule::must("delta-not-offered", "rfc8216bis 4.4.3.8, 4.4.5.2", "EXT-X-SKIP comes only with CAN-SKIP-UNTIL");
static DELTA_BASE: Rule =
    Rule::must("delta-base", "rfc8216bis 6.2.5.1", "a client's last playlist holds what a delta skips");
static DELTA_TOO_RECENT: Rule = Rule::must(
    "delta-too-recent",
    "rfc8216bis 4.4.5.2",
    "only segments further from the end than CAN-SKIP-UNTIL are skipped",
);
static DELTA_DIFFERS: Rule =
    Rule::must("delta-differs", "rfc8216bis 6.3.7", "a delta laid over its base is the full playlist");
static DELTA_DATERANGES: Rule =
    Rule::must("delta-dateranges", "rfc8216bis 4.4.3.8", "date ranges are skipped only with CAN-SKIP-DATERANGES");

/// The rules of this file.
pub static RULES: &[&Rule] = &[&DELTA_NOT_OFFERED, &DELTA_BASE, &DELTA_TOO_RECENT, &DELTA_DIFFERS, &DELTA_DATERANGES];

/// `delta` laid over `base` as a client does it; `None` if the base lacks what is skipped.
pub fn merged(base: &Media, delta: &Media) -> Option<Media> {
    let from = usize::try_from(delta.media_sequence.checked_sub(base.first_sequence())?).ok()?;
    let count = usize::try_from(delta.skipped_segments).ok()?;
    let skipped = base.segments.get(from..from.checked_add(count)?)?;
    let mut whole = delta.clone();
    // What may be skipped is older than what may have parts.
    let kept = skipped.iter().map(|segment| Segment { parts: Vec::new(), ..segment.clone() });
    whole.segments.splice(0..0, kept);
    whole.skipped_segments = 0;
    carry_maps(&mut whole);
    Some(whole)
}

/// A map holds for what follows it, across the seam too.
fn carry_maps(list: &mut Media) {
    let mut map: Option<Map> = None;
    for segment in list.segments.iter_mut().chain(&mut list.open) {
        if segment.map.is_none() {
            segment.map.clone_from(&map);
        }
        map.clone_from(&segment.map);
    }
}

/// Judges a delta that a client with `base` got, and merges it. `None` for one that cannot be merged.
pub fn judge(base: &Media, delta: &Media, verdict: &mut Verdict) -> Option<Media> {
    if delta.skipped_segments == 0 {
        return Some(delta.clone());
    }
    let control = delta.server_control.as_ref();
    let boundary = control.and_then(|c| c.can_skip_until);
    verdict.judge(&DELTA_NOT_OFFERED, boundary.is_some(), || ("CAN-SKIP-UNTIL", "EXT-X-SKIP without it"));
    if delta.removed_dateranges {
        verdict.judge(&DELTA_DATERANGES, control.is_some_and(|c| c.can_skip_dateranges), || {
            ("CAN-SKIP-DATERANGES=YES", "RECENTLY-REMOVED-DATERANGES without it")
        });
    }
    let boundary = boundary.map_or(6 * target(delta), |boundary| i128::from(boundary.nanos()));
    let listed = delta.segments.iter().map(|s| i128::from(s.duration.nanos()));
    let open = delta.open_parts().iter().map(|p| i128::from(p.duration.nanos()));
    let after: i128 = listed.chain(open).sum();
    // Rounded to five decimals, each.
    let rounding = 10_000 * (delta.segments.len() as i128 + 1);
    verdict.judge(&DELTA_TOO_RECENT, after + rounding >= boundary, || {
        (format!("at least {} listed", seconds(boundary)), seconds(after))
    });
    let merged = merged(base, delta);
    verdict.judge(&DELTA_BASE, merged.is_some(), || {
        let held = format!("{} to {}", base.first_sequence(), base.next_sequence());
        (format!("segments {} and {} more of {held}", delta.media_sequence, delta.skipped_segments), "others")
    });
    merged
}

/// Judges a merged delta against the full playlist of the same version.
pub fn compare(merged: &Media, full: &Media, verdict: &mut Verdict) {
    let fault = difference(merged, full);
    verdict
        .judge(&DELTA_DIFFERS, fault.is_none(), || ("the full playlist".to_owned(), fault.clone().unwrap_or_default()));
}

fn difference(merged: &Media, full: &Media) -> Option<String> {
    if (merged.media_sequence, merged.segments.len()) != (full.media_sequence, full.segments.len()) {
        let (from, count) = (merged.media_sequence, merged.segments.len());
        return Some(format!("{count} segments from {from}, not {} from {}", full.segments.len(), full.media_sequence));
    }
    let pairs = merged.segments.iter().zip(&full.segments).chain(merged.open.iter().zip(&full.open));
    for (ours, theirs) in pairs {
        if ours != theirs {
            return Some(format!("{} differs", name(theirs)));
        }
    }
    let tails =
        (merged.open.is_some(), merged.ended) == (full.open.is_some(), full.ended) && merged.hints == full.hints;
    (!tails).then(|| "another open segment, hint or end".to_owned())
}
