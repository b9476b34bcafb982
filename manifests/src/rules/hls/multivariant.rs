// SPDX-License-Identifier: Apache-2.0
//! The multivariant playlist (rfc8216bis, 4.4.6): what players choose renditions by.

use crate::hls::read::{Multivariant, Rendition, Variant};
use crate::rules::{Rule, Verdict};

static VARIANT_BANDWIDTH: Rule =
    Rule::must("variant-bandwidth", "rfc8216bis 4.4.6.2", "every variant has a BANDWIDTH, not below its average");
static VARIANT_CODECS: Rule = Rule::should("variant-codecs", "rfc8216bis 4.4.6.2", "every variant names its CODECS");
static VARIANT_RESOLUTION: Rule =
    Rule::should("variant-resolution", "rfc8216bis 4.4.6.2", "every variant with pictures has a RESOLUTION");
static VARIANT_FRAME_RATE: Rule =
    Rule::should("variant-frame-rate", "rfc8216bis 4.4.6.2", "every variant with pictures has a FRAME-RATE");
static VARIANT_AVERAGE: Rule =
    Rule::should("variant-average-bandwidth", "rfc8216bis 4.4.6.2", "every variant has an AVERAGE-BANDWIDTH");
static GROUP_UNKNOWN: Rule =
    Rule::must("group-unknown", "rfc8216bis 4.4.6.2", "every AUDIO and SUBTITLES group that is named is there");
static GROUP_DEFAULTS: Rule =
    Rule::must("group-defaults", "rfc8216bis 4.4.6.1.1", "a group has at most one DEFAULT=YES");
static GROUP_NAMES: Rule = Rule::must("group-names", "rfc8216bis 4.4.6.1.1", "names within a group differ");
static I_FRAMES_MISSING: Rule =
    Rule::should("i-frame-playlists-missing", "HLS Authoring Specification", "pictures have an I-frame playlist");

/// The rules of this file.
pub static RULES: &[&Rule] = &[
    &VARIANT_BANDWIDTH,
    &VARIANT_CODECS,
    &VARIANT_RESOLUTION,
    &VARIANT_FRAME_RATE,
    &VARIANT_AVERAGE,
    &GROUP_UNKNOWN,
    &GROUP_DEFAULTS,
    &GROUP_NAMES,
    &I_FRAMES_MISSING,
];

/// Codecs of pictures, by how their names begin.
const VIDEO: [&str; 9] = ["avc1", "avc3", "hvc1", "hev1", "av01", "vp09", "vp8", "dvh1", "dvhe"];

/// True if a variant has pictures.
pub fn has_video(variant: &Variant) -> bool {
    let codec = |codec: &str| VIDEO.iter().any(|video| codec.trim().starts_with(video));
    variant.resolution.is_some() || variant.codecs.as_deref().is_some_and(|codecs| codecs.split(',').any(codec))
}

/// Judges a multivariant playlist.
pub fn judge(list: &Multivariant, verdict: &mut Verdict) {
    for variant in &list.variants {
        let uri = || variant.uri.clone();
        let average = variant.average_bandwidth.unwrap_or(0);
        verdict.judge(&VARIANT_BANDWIDTH, variant.bandwidth > 0 && variant.bandwidth >= average, || {
            (format!("BANDWIDTH of at least {}", average.max(1)), format!("{} of {}", variant.bandwidth, variant.uri))
        });
        verdict.judge(&VARIANT_CODECS, variant.codecs.is_some(), || ("CODECS", uri()));
        if has_video(variant) {
            verdict.judge(&VARIANT_RESOLUTION, variant.resolution.is_some(), || ("RESOLUTION", uri()));
        }
        if variant.iframes {
            continue;
        }
        verdict.judge(&VARIANT_AVERAGE, variant.average_bandwidth.is_some(), || ("AVERAGE-BANDWIDTH", uri()));
        if has_video(variant) {
            verdict.judge(&VARIANT_FRAME_RATE, variant.frame_rate_millis.is_some(), || ("FRAME-RATE", uri()));
        }
        for (media_type, group) in [("AUDIO", &variant.audio), ("SUBTITLES", &variant.subtitles)] {
            let Some(group) = group else { continue };
            let known = list.renditions.iter().any(|r| r.media_type == media_type && r.group == *group);
            verdict.judge(&GROUP_UNKNOWN, known, || (format!("a rendition of {media_type} group {group}"), uri()));
        }
    }
    if list.variants.iter().any(|v| has_video(v) && !v.iframes) {
        let iframes = list.variants.iter().any(|v| v.iframes);
        verdict.judge(&I_FRAMES_MISSING, iframes, || ("EXT-X-I-FRAME-STREAM-INF", "none"));
    }
    groups(list, verdict);
}

fn groups(list: &Multivariant, verdict: &mut Verdict) {
    for (index, rendition) in list.renditions.iter().enumerate() {
        let same = |other: &&Rendition| other.media_type == rendition.media_type && other.group == rendition.group;
        let mut before = list.renditions[..index].iter().filter(same);
        let words = || format!("{} of {} group {}", rendition.name, rendition.media_type, rendition.group);
        let (mut named, mut default) = (false, false);
        for other in before.by_ref().take(256) {
            named |= other.name == rendition.name;
            default |= other.default && rendition.default;
        }
        verdict.judge(&GROUP_NAMES, !named, || ("a name of its own", words()));
        verdict.judge(&GROUP_DEFAULTS, !default, || ("one DEFAULT=YES", words()));
    }
}
