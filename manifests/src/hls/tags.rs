// SPDX-License-Identifier: Apache-2.0
//! The tags that m3u8-rs lacks, or writes where they must not stand.
//!
//! m3u8-rs writes a segment's `EXT-X-MAP` before its `EXT-X-DISCONTINUITY`; players that note the discontinuity in which
//! they meet a header (hls.js) then file it under the old one, so the map is written here, after it. The byte range of an
//! I-frame stands after the map for the same player, which would ask for that range of the header too.

use headwater_media::path::Object;
use headwater_media::{
    ByteRange, Generation, MediaDuration, MediaTime, Part, PartIndex, SegmentNumber, TrackId, UtcTime,
};
use m3u8_rs::ExtTag;

use crate::targets::Targets;

/// Decimals printed of a second.
pub(crate) const DIGITS: u32 = 5;

/// `EXT-X-SERVER-CONTROL`, the same in every playlist of a channel; `live` until it has ended.
pub(crate) fn server_control(targets: &Targets, live: bool) -> String {
    format!(
        "#EXT-X-SERVER-CONTROL:{}CAN-SKIP-UNTIL={},CAN-SKIP-DATERANGES=YES,HOLD-BACK={},PART-HOLD-BACK={}\n",
        if live { "CAN-BLOCK-RELOAD=YES," } else { "" },
        targets.skip_boundary().decimal(DIGITS),
        targets.hold_back().decimal(DIGITS),
        targets.part_hold_back.decimal_ceil(DIGITS),
    )
}

/// `EXT-X-PART-INF`.
pub(crate) fn part_information(part_target: MediaDuration) -> String {
    format!("#EXT-X-PART-INF:PART-TARGET={}\n", part_target.decimal_ceil(DIGITS))
}

/// `EXT-X-SKIP`.
pub(crate) fn skip(segments: usize) -> String {
    format!("#EXT-X-SKIP:SKIPPED-SEGMENTS={segments}\n")
}

/// `EXT-X-MAP`.
pub(crate) fn map(generation: Generation) -> ExtTag {
    ExtTag { tag: "X-MAP".into(), rest: Some(format!("URI=\"{}\"", header_uri(generation))) }
}

/// `EXT-X-BYTERANGE`.
pub(crate) fn byte_range(range: ByteRange) -> ExtTag {
    ExtTag { tag: "X-BYTERANGE".into(), rest: Some(format!("{}@{}", range.length_bytes, range.offset_bytes)) }
}

/// `EXT-X-GAP`.
pub(crate) fn gap() -> ExtTag {
    ExtTag { tag: "X-GAP".into(), rest: None }
}

/// `EXT-X-PART`.
pub(crate) fn part(segment: SegmentNumber, part: &Part) -> ExtTag {
    let independent = if part.independent { ",INDEPENDENT=YES" } else { "" };
    let (duration, uri) = (part.duration.decimal(DIGITS), part_uri(segment, part.index));
    ExtTag { tag: "X-PART".into(), rest: Some(format!("DURATION={duration},URI=\"{uri}\"{independent}")) }
}

/// `EXT-X-PROGRAM-DATE-TIME`, for a segment that is not whole yet.
pub(crate) fn program_date_time(start: MediaTime) -> ExtTag {
    ExtTag { tag: "X-PROGRAM-DATE-TIME".into(), rest: Some(start.utc().to_string()) }
}

/// `EXT-X-DISCONTINUITY`, for a segment that is not whole yet.
pub(crate) fn discontinuity() -> ExtTag {
    ExtTag { tag: "X-DISCONTINUITY".into(), rest: None }
}

/// `EXT-X-PRELOAD-HINT` of a header.
pub(crate) fn hint_map(generation: Generation) -> String {
    format!("#EXT-X-PRELOAD-HINT:TYPE=MAP,URI=\"{}\"\n", header_uri(generation))
}

/// `EXT-X-PRELOAD-HINT` of a part.
pub(crate) fn hint_part(segment: SegmentNumber, part: PartIndex) -> String {
    format!("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{}\"\n", part_uri(segment, part))
}

/// `EXT-X-RENDITION-REPORT`.
pub(crate) fn report(track: &TrackId, last: SegmentNumber, part: Option<PartIndex>) -> String {
    let last_part = part.map_or_else(String::new, |p| format!(",LAST-PART={p}"));
    format!("#EXT-X-RENDITION-REPORT:URI=\"../{}\",LAST-MSN={last}{last_part}\n", Object::Media(track.as_str()))
}

/// The instant of `start` to the millisecond, as m3u8-rs takes it.
pub(crate) fn date_time(start: MediaTime) -> Option<chrono::DateTime<chrono::FixedOffset>> {
    let utc: UtcTime = start.utc();
    let millis = utc.nanos().saturating_add(500_000).div_euclid(1_000_000);
    chrono::DateTime::from_timestamp_millis(millis).map(|t| t.fixed_offset())
}

/// `duration` as the nearest number that m3u8-rs prints with the same five decimals.
///
/// Below 128 s neighbouring `f32` are closer than 10 µs, so the shortest text that names one is the decimal it came from.
pub(crate) fn seconds(duration: MediaDuration) -> f32 {
    duration.decimal(DIGITS).parse().unwrap_or(0.0)
}

/// A segment's URI, relative to its playlist.
pub(crate) fn segment_uri(segment: SegmentNumber) -> String {
    format!("{segment}.m4s")
}

fn part_uri(segment: SegmentNumber, part: PartIndex) -> String {
    format!("{segment}.{part}.m4s")
}

fn header_uri(generation: Generation) -> String {
    format!("init-{generation}.mp4")
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_media::Timescale;
    use proptest::prelude::*;

    fn below_128_seconds() -> impl Strategy<Value = MediaDuration> {
        let scales = prop::sample::select(vec![90_000_u32, 48_000, 44_100, 30_000, 24_000, 600, 1_000]);
        let ticks = scales.prop_flat_map(|scale| (1..i64::from(scale) * 128, Just(scale)));
        ticks.prop_map(|(ticks, scale)| MediaDuration::new(ticks, Timescale::new(scale).unwrap()))
    }

    proptest! {
        #[test]
        fn a_duration_prints_the_same_through_a_float(duration in below_128_seconds()) {
            prop_assert_eq!(seconds(duration).to_string(), duration.decimal(DIGITS));
        }
    }
}
