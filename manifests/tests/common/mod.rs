// SPDX-License-Identifier: Apache-2.0
//! A small channel: segments of two seconds in four parts, around 2023-11-14T22:13:20Z.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

use std::sync::Arc;

use headwater_manifests::Targets;
use headwater_manifests::hls::media::{Hint, Input, Report};
use headwater_media::{
    Audio, ByteRange, Codec, FrameRate, Generation, Kind, Ladder, MediaDuration, MediaTime, OpenSegment, Part,
    PartIndex, Segment, SegmentNumber, Timescale, Track, TrackId, Video, Window,
};

/// The segment that begins at 1,700,000,000 s.
pub const FIRST: u64 = 850_000_000;

pub fn scale(ticks_per_second: u32) -> Timescale {
    Timescale::new(ticks_per_second).unwrap()
}

pub fn half() -> MediaDuration {
    MediaDuration::new(45_000, scale(90_000))
}

pub fn two() -> MediaDuration {
    MediaDuration::new(180_000, scale(90_000))
}

pub fn targets() -> Targets {
    Targets::new(two(), half(), MediaDuration::from_millis(60_000))
}

pub fn parts(number: u64, count: u32) -> Vec<Part> {
    let part = |index: u32| Part {
        index: PartIndex(index),
        start: MediaTime::new(number as i64 * 180_000 + i64::from(index) * 45_000, scale(90_000)),
        duration: half(),
        independent: index == 0,
        range: ByteRange { offset_bytes: u64::from(index) * 1_000, length_bytes: 1_000 },
    };
    (0..count).map(part).collect()
}

pub fn segment(number: u64) -> Segment {
    Segment {
        number: SegmentNumber(number),
        start: MediaTime::new(number as i64 * 180_000, scale(90_000)),
        duration: two(),
        generation: Generation(0),
        discontinuity_sequence: 0,
        discontinuity: false,
        gap: false,
        independent: true,
        length_bytes: 4_000,
        parts: parts(number, 4),
        key_frame: Some(ByteRange { offset_bytes: 0, length_bytes: 700 }),
    }
}

pub fn gap(number: u64) -> Segment {
    Segment { gap: true, independent: false, length_bytes: 0, parts: Vec::new(), key_frame: None, ..segment(number) }
}

pub fn open(number: u64, count: u32) -> OpenSegment {
    let Segment { number, start, generation, discontinuity_sequence, discontinuity, independent, .. } = segment(number);
    let parts = parts(number.0, count);
    OpenSegment { number, start, generation, discontinuity_sequence, discontinuity, independent, parts }
}

pub fn window(segments: impl IntoIterator<Item = Segment>, open: Option<OpenSegment>) -> Window {
    let mut window = Window::new();
    for segment in segments {
        window.append(Arc::new(segment));
    }
    window.set_open(open.map(Arc::new));
    window
}

pub fn report(track: &str, last: u64, part: Option<u32>) -> Report {
    Report { track: TrackId::new(track).unwrap(), last: SegmentNumber(last), part: part.map(PartIndex) }
}

pub fn input<'a>(window: &'a Window, targets: &'a Targets, reports: &'a [Report]) -> Input<'a> {
    let part_target = Some(half());
    Input { window, targets, part_target, reports, ended: false, hint: Hint::Next, pending_header: None }
}

fn track(id: &str, kind: Kind, four_cc: &[u8; 4], rfc6381: &str, ticks_per_second: u32) -> Track {
    Track {
        id: TrackId::new(id).unwrap(),
        kind,
        codec: Codec::new(*four_cc, rfc6381),
        timescale: scale(ticks_per_second),
        video: None,
        audio: None,
        language: None,
        label: None,
        part_target: Some(half()),
        peak_bitrate: 0,
        average_bitrate: 0,
    }
}

pub fn video(id: &str, (width, height): (u16, u16), peak: u64) -> Track {
    let frame_rate = FrameRate::from_frame_duration(MediaDuration::new(3_600, scale(90_000)));
    Track {
        video: Some(Video { width, height, frame_rate }),
        peak_bitrate: peak,
        average_bitrate: peak * 9 / 10,
        ..track(id, Kind::Video, b"avc1", "avc1.64001f", 90_000)
    }
}

pub fn audio(id: &str, language: &str, peak: u64) -> Track {
    Track {
        audio: Some(Audio { sample_rate: 48_000, channels: 2 }),
        language: Some(language.into()),
        peak_bitrate: peak,
        average_bitrate: peak,
        ..track(id, Kind::Audio, b"mp4a", "mp4a.40.2", 90_000)
    }
}

pub fn text(id: &str, language: &str) -> Track {
    Track {
        language: Some(language.into()),
        part_target: None,
        peak_bitrate: 1_000,
        average_bitrate: 500,
        ..track(id, Kind::Text, b"wvtt", "wvtt", 90_000)
    }
}

/// Three video tracks, two audio tracks, one of text.
pub fn ladder() -> Ladder {
    let tracks = [
        audio("en", "en", 128_000),
        video("v2", (1_920, 1_080), 5_123_456),
        text("sub", "en"),
        video("v0", (640, 360), 812_000),
        audio("de", "de", 96_000),
        video("v1", (1_280, 720), 2_345_678),
    ];
    Ladder::new(tracks.into_iter().map(Arc::new).collect())
}

pub fn utf8(bytes: impl AsRef<[u8]>) -> String {
    String::from_utf8(bytes.as_ref().to_vec()).unwrap()
}
