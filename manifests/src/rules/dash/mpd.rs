// SPDX-License-Identifier: Apache-2.0
//! One MPD: what it must say of itself, its Periods and its Representations (ISO/IEC 23009-1, 5.3; DASH-IF IOP).

use headwater_media::MediaDuration;

use super::timeline;
use crate::dash::read::{Mpd, Period, Representation};
use crate::rules::{Rule, Verdict};

static AVAILABILITY_START: Rule =
    Rule::must("availability-start-missing", "23009-1 5.3.1.2", "a dynamic MPD has availabilityStartTime");
static PUBLISH_TIME: Rule = Rule::must("publish-time-missing", "23009-1 5.3.1.2", "a dynamic MPD has publishTime");
static UTC_TIMING: Rule =
    Rule::should("utc-timing-missing", "DASH-IF IOP 4.7.2", "a dynamic MPD names a source of UTC");
static STATIC_DURATION: Rule = Rule::must(
    "static-without-duration",
    "23009-1 5.3.1.2",
    "a static MPD says how long it is, by itself or by its last Period",
);
static STATIC_UPDATES: Rule =
    Rule::must("static-with-updates", "23009-1 5.3.1.2", "a static MPD has no minimumUpdatePeriod");
static PERIOD_IDS: Rule =
    Rule::must("period-id-missing", "23009-1 5.3.2.2", "Periods of a dynamic MPD have ids, each its own");
static PERIOD_ORDER: Rule = Rule::must(
    "period-order",
    "23009-1 5.3.2.1",
    "Periods begin one after the other, and none before the end of the last",
);
static REPRESENTATION_IDS: Rule = Rule::must(
    "representation-id-repeated",
    "23009-1 5.3.5.2",
    "every Representation has an id that is unique in its Period",
);
static BANDWIDTH: Rule =
    Rule::must("representation-bandwidth", "23009-1 5.3.5.2", "every Representation has a bandwidth");
static MIME_TYPE: Rule =
    Rule::must("mime-type-missing", "23009-1 5.3.7.2", "every Representation has a mimeType, of its own or inherited");
static CODECS: Rule = Rule::should("codecs-missing", "23009-1 5.3.7.2", "pictures and sound name their codecs");
static MEDIA_MISSING: Rule = Rule::must(
    "media-template-missing",
    "23009-1 5.3.9.4",
    "a SegmentTemplate of many segments names each by number or time",
);
static LATE_OFFSET: Rule = Rule::must(
    "availability-offset",
    "DASH-IF low latency 9.X.4.2",
    "where segments come in chunks, availabilityTimeOffset is more than nothing and less than a segment",
);
static SERVICE_DESCRIPTION: Rule = Rule::should(
    "service-description-missing",
    "DASH-IF low latency 9.X.4.2",
    "a low-latency MPD says what latency to aim at",
);
static LATENCY_ORDER: Rule =
    Rule::must("latency-order", "23009-1 annex K", "the target latency lies between its bounds");
static REFERENCE_TIME: Rule = Rule::should(
    "producer-reference-time-missing",
    "DASH-IF low latency 9.X.4.2",
    "what comes in chunks has a ProducerReferenceTime",
);
static RESYNC: Rule =
    Rule::should("resync-missing", "DASH-IF low latency 9.X.4.2", "what comes in chunks says so by Resync");
static UPDATE_PERIOD: Rule = Rule::should(
    "update-period-long",
    "DASH-IF IOP 4.3",
    "a live timeline is loaded again at least once a segment, and never by itself after an hour",
);
static PATCH_TTL: Rule = Rule::should("patch-ttl-missing", "23009-1 5.15.2", "a PatchLocation says for how long");

/// The rules of this file.
pub static RULES: &[&Rule] = &[
    &AVAILABILITY_START,
    &PUBLISH_TIME,
    &UTC_TIMING,
    &STATIC_DURATION,
    &STATIC_UPDATES,
    &PERIOD_IDS,
    &PERIOD_ORDER,
    &REPRESENTATION_IDS,
    &BANDWIDTH,
    &MIME_TYPE,
    &CODECS,
    &MEDIA_MISSING,
    &LATE_OFFSET,
    &SERVICE_DESCRIPTION,
    &LATENCY_ORDER,
    &REFERENCE_TIME,
    &RESYNC,
    &UPDATE_PERIOD,
    &PATCH_TTL,
];

/// Judges one MPD.
pub fn judge(mpd: &Mpd, verdict: &mut Verdict) {
    if mpd.dynamic {
        verdict.judge(&AVAILABILITY_START, mpd.availability_start.is_some(), || ("availabilityStartTime", "none"));
        verdict.judge(&PUBLISH_TIME, mpd.publish_time.is_some(), || ("publishTime", "none"));
        verdict.judge(&UTC_TIMING, !mpd.utc_timing.is_empty(), || ("UTCTiming", "none"));
        updates(mpd, verdict);
    } else {
        let last = mpd.periods.last().is_some_and(|period| period.duration.is_some());
        verdict.judge(&STATIC_DURATION, mpd.duration.is_some() || last, || ("mediaPresentationDuration", "none"));
        verdict.judge(&STATIC_UPDATES, mpd.minimum_update_period.is_none(), || ("none", "minimumUpdatePeriod"));
    }
    periods(mpd, verdict);
    for period in &mpd.periods {
        representations(period, verdict);
    }
    low_latency(mpd, verdict);
    timeline::judge(mpd, verdict);
    if let Some(patch) = &mpd.patch {
        verdict.judge(&PATCH_TTL, patch.ttl.is_some(), || ("ttl", patch.uri.clone()));
    }
}

fn updates(mpd: &Mpd, verdict: &mut Verdict) {
    let templates = mpd.periods.last().into_iter().flat_map(|p| &p.representations).filter_map(|r| r.template.as_ref());
    let longest = |runs: &Vec<_>| runs.iter().map(|run: &crate::dash::read::Run| run.duration).max();
    let segment = templates.filter_map(|t| {
        let ticks = i64::try_from(longest(t.timeline.as_ref()?)?).ok()?;
        Some(MediaDuration::new(ticks, t.timescale))
    });
    if let (Some(segment), Some(period)) = (segment.max(), mpd.minimum_update_period) {
        let most = segment + MediaDuration::from_millis(500).rescale(segment.timescale());
        verdict.judge(&UPDATE_PERIOD, period <= most, || {
            (format!("at most {} s, a segment", segment.decimal(3)), format!("{} s", period.decimal(3)))
        });
    }
}

fn periods(mpd: &Mpd, verdict: &mut Verdict) {
    for (index, period) in mpd.periods.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|i| mpd.periods.get(i));
        if mpd.dynamic {
            let own = period.id.is_some() && before.is_none_or(|before| before.id != period.id);
            verdict.judge(&PERIOD_IDS, own, || ("an id of its own".to_owned(), format!("{:?}", period.id)));
        }
        if let Some((before, start)) = before.and_then(|before| before.start).zip(period.start) {
            let duration = mpd.periods[index - 1].duration.unwrap_or(MediaDuration::ZERO);
            verdict.judge(&PERIOD_ORDER, start > before && before + duration <= start, || {
                (
                    format!("a start after {} s and {} s", before.decimal(3), duration.decimal(3)),
                    format!("{} s", start.decimal(3)),
                )
            });
        }
    }
}

fn representations(period: &Period, verdict: &mut Verdict) {
    let mut ids: Vec<&str> = period.representations.iter().map(|r| r.id.as_str()).collect();
    ids.sort_unstable();
    let repeated = ids.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
    let missing = ids.first().is_some_and(|first| first.is_empty());
    verdict.judge(&REPRESENTATION_IDS, repeated.is_none() && !missing, || {
        ("ids of their own".to_owned(), format!("{:?} twice or none", repeated.unwrap_or("")))
    });
    for representation in &period.representations {
        let id = || representation.id.clone();
        verdict.judge(&BANDWIDTH, representation.bandwidth.is_some_and(|b| b > 0), || ("a bandwidth", id()));
        verdict.judge(&MIME_TYPE, representation.mime_type.is_some(), || ("a mimeType", id()));
        if matches!(representation.content_type.as_deref(), Some("video" | "audio")) {
            verdict.judge(&CODECS, representation.codecs.is_some(), || ("codecs", id()));
        }
        if let Some(template) = &representation.template {
            let named = template.media.as_deref().is_some_and(|m| m.contains("$Number") || m.contains("$Time"));
            verdict.judge(&MEDIA_MISSING, named, || {
                ("$Number$ or $Time$ in @media".to_owned(), format!("{:?} of {}", template.media, representation.id))
            });
        }
    }
}

fn low_latency(mpd: &Mpd, verdict: &mut Verdict) {
    let chunked = |r: &&Representation| r.template.as_ref().is_some_and(|t| t.chunked);
    let mut any = false;
    for representation in mpd.periods.iter().flat_map(|p| &p.representations).filter(chunked) {
        any = true;
        let Some(template) = &representation.template else { continue };
        let segment =
            template.duration.and_then(|d| i64::try_from(d).ok()).map(|d| MediaDuration::new(d, template.timescale));
        let offset = template.availability_time_offset;
        let inside = offset.is_some_and(|o| o > MediaDuration::ZERO && segment.is_none_or(|s| o < s));
        verdict.judge(&LATE_OFFSET, inside, || {
            let segment = segment.map_or_else(|| "a segment".to_owned(), |s| format!("{} s", s.decimal(6)));
            (
                format!("between 0 s and {segment}"),
                format!("{:?} of {}", offset.map(|o| o.decimal(6)), representation.id),
            )
        });
        let id = || representation.id.clone();
        verdict.judge(&REFERENCE_TIME, representation.producer_reference_time, || ("ProducerReferenceTime", id()));
        verdict.judge(&RESYNC, representation.resync, || ("Resync", id()));
    }
    if any {
        let aimed = mpd.latency.is_some_and(|latency| latency.target_ms.is_some());
        verdict.judge(&SERVICE_DESCRIPTION, aimed, || ("ServiceDescription with a target latency", "none"));
    }
    if let Some(latency) = mpd.latency
        && let Some(target) = latency.target_ms
    {
        let ordered = latency.min_ms.is_none_or(|min| min <= target) && latency.max_ms.is_none_or(|max| target <= max);
        verdict.judge(&LATENCY_ORDER, ordered, || ("min ≤ target ≤ max".to_owned(), format!("{latency:?}")));
    }
}
