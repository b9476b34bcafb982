// SPDX-License-Identifier: Apache-2.0
//! MPD patches (ISO/IEC 23009-1, 5.15): they fit the MPD they were asked for, and make of it what a reload would bring.

use super::timeline::spans;
use crate::dash::read::Mpd;
use crate::dash::read::patch::Patch;
use crate::rules::{Rule, Verdict};

static MPD_ID: Rule =
    Rule::must("patch-mpd-id", "23009-1 5.15.3", "a patch is of the presentation it was asked for, by its id");
static MISFIT: Rule = Rule::should(
    "patch-misfit",
    "23009-1 5.15.3",
    "a patch fits the publishTime it was asked for; clients drop one that does not, and load the MPD",
);
static DIFFERS: Rule =
    Rule::must("patch-differs", "23009-1 5.15.3", "a patched MPD names the segments that a fresh one does");

/// The rules of this file.
pub static RULES: &[&Rule] = &[&MPD_ID, &MISFIT, &DIFFERS];

/// Judges a patch that was asked for with `old` in hand, and applies it. `None` if it does not fit, or changes more than
/// is understood here.
pub fn judge(old: &Mpd, patch: &Patch, verdict: &mut Verdict) -> Option<Mpd> {
    let same = patch.mpd_id == old.id;
    verdict.judge(&MPD_ID, same, || (format!("{:?}", old.id), format!("{:?}", patch.mpd_id)));
    let time = |time: Option<headwater_media::UtcTime>| time.map_or_else(|| "none".to_owned(), |t| t.to_string());
    let fits = patch.original_publish_time == old.publish_time;
    verdict.judge(&MISFIT, fits, || (time(old.publish_time), time(patch.original_publish_time)));
    let mut patched = old.clone();
    patch.apply(&mut patched).filter(|()| fits && same).map(|()| patched)
}

/// Judges a patched MPD against one that was loaded whole; of another version it says nothing.
pub fn compare(patched: &Mpd, whole: &Mpd, verdict: &mut Verdict) {
    if patched.publish_time != whole.publish_time {
        return;
    }
    let named = |mpd: &Mpd| -> Vec<_> {
        let all = mpd.periods.iter().flat_map(|p| &p.representations);
        all.map(|r| (r.id.clone(), r.template.as_ref().map(segments))).collect()
    };
    let (ours, theirs) = (named(patched), named(whole));
    let differing = ours.iter().zip(&theirs).find(|(a, b)| a != b).map(|(a, _)| a.0.clone());
    verdict.judge(&DIFFERS, ours.len() == theirs.len() && differing.is_none(), || {
        ("the segments of the whole MPD".to_owned(), format!("others in {:?}", differing.clone().unwrap_or_default()))
    });
}

/// The segments of a timeline as its ends and borders, however they are gathered into runs.
fn segments(template: &crate::dash::read::Template) -> Vec<(u64, u64, u64)> {
    let mut gathered: Vec<(u64, u64, u64)> = Vec::new();
    for span in spans(template) {
        match gathered.last_mut() {
            Some((_, duration, end)) if *duration == span.duration && *end == span.start => *end = span.end(),
            _ => gathered.push((span.start, span.duration, span.end())),
        }
    }
    gathered
}
