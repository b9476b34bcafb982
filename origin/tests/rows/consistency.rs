// SPDX-License-Identifier: Apache-2.0
//! What playlists of a channel agree on, over time and among renditions (rfc8216bis, 4.4.3, 6.2.1, 6.2.4).

use std::collections::BTreeMap;

use headwater_origin::config;
use http::StatusCode;
use quick_m3u8::tag::KnownTag;
use quick_m3u8::tag::hls::Tag;
use quick_m3u8::{HlsLine, Reader};

use crate::encoder::{Encoder, Source, at};
use crate::playlist::{Playlist, Segment};
use crate::stage::{Stage, millis, seconds};

const TRACKS: [&str; 3] = ["v0", "v1", "a0"];

fn ladder() -> Vec<Source> {
    vec![Source::video("v0"), Source::hevc("v1"), Source::audio("a0")]
}

fn long() -> Stage {
    Stage::with(config::Channel { window_seconds: 120, ..config::Channel::default() })
}

/// Discontinuity sequence of each segment, which must be the same on every rendition.
async fn discontinuities(stage: &Stage) -> BTreeMap<u64, u64> {
    let mut agreed: BTreeMap<u64, u64> = BTreeMap::new();
    for track in TRACKS {
        for segment in stage.media(track).await.all() {
            let known = *agreed.entry(segment.sequence).or_insert(segment.discontinuities);
            assert_eq!(known, segment.discontinuities, "{track} segment {}", segment.sequence);
        }
    }
    agreed
}

#[tokio::test(start_paused = true)]
async fn renditions_are_in_step_and_dates_agree_to_the_millisecond() {
    let stage = Stage::new();
    let mut encoder = Encoder::of(&stage, ladder());
    encoder.play(seconds(5)).await;
    for step in 0..120 {
        encoder.play(millis(61 + step % 7)).await;
        let (v0, v1, a0) = (stage.media("v0").await, stage.media("v1").await, stage.media("a0").await);
        for other in [&v1, &a0] {
            let apart = (v0.end_ms() - other.end_ms()).abs();
            assert!(apart <= 200.0, "{apart} ms apart");
        }
        for (one, other) in v0.all().zip(v1.all()) {
            assert_eq!((one.sequence, one.date), (other.sequence, other.date));
        }
        for media in [&v0, &v1, &a0] {
            for pair in media.segments.windows(2) {
                let step = (pair[1].date.expect("a date") - pair[0].date.expect("a date")) as f64;
                assert!((step - pair[0].duration * 1_000.0).abs() <= 1.0, "{} ms, {} s", step, pair[0].duration);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_playlist_never_goes_back() {
    let stage = Stage::new();
    let mut encoder = Encoder::of(&stage, ladder());
    encoder.play(seconds(4)).await;
    let client = stage.follow("v0");
    encoder.play(seconds(40)).await;
    let seen = client.leave().await;
    assert!(seen.len() > 190);
    let mut known: BTreeMap<u64, Segment> = BTreeMap::new();
    for pair in seen.windows(2) {
        let (before, after) = (&pair[0].playlist, &pair[1].playlist);
        let removed = before.segments.iter().filter(|s| after.segment(s.sequence).is_none()).count() as u64;
        assert_eq!(after.sequence, before.sequence + removed, "the media sequence counts what was removed");
        assert!(after.newest() > before.newest());
        assert!(after.discontinuity_sequence >= before.discontinuity_sequence);
        for segment in &after.segments {
            let kept = Segment { parts: Vec::new(), ..segment.clone() };
            let first = known.entry(segment.sequence).or_insert_with(|| kept.clone());
            assert_eq!(*first, kept, "a whole segment is told alike for ever");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_window_slides_over_at_least_six_segments_and_has_no_type() {
    let stage = Stage::new();
    let mut encoder = Encoder::of(&stage, ladder());
    encoder.play(seconds(14)).await;
    for _ in 0..30 {
        encoder.play(millis(997)).await;
        for track in TRACKS {
            let media = stage.media(track).await;
            assert!(media.segments.len() >= 6, "{track}: {}", media.segments.len());
            assert!(media.segments.iter().map(|s| s.duration).sum::<f64>() >= 12.0);
            assert!(!media.typed, "{}", media.text);
        }
    }
    assert_eq!(config::Channel::default().window_seconds, 900);
}

#[tokio::test(start_paused = true)]
async fn an_encoder_that_restarts_at_zero_makes_one_discontinuity_on_every_rendition() {
    for (was_zero, away) in [(false, 600), (true, 600), (false, 5_000), (true, 5_000)] {
        let stage = long();
        let mut encoder = Encoder::from(stage.clock, at(0), ladder());
        if was_zero {
            encoder = encoder.counting_from_zero();
        }
        encoder.connect(&stage);
        encoder.until(at(12_700)).await;
        encoder.disconnect(0);
        let before = stage.media("v0").await;
        let mut again = Encoder::from(stage.clock, at(12_700 + away), ladder()).counting_from_zero();
        again.connect(&stage);
        again.until(at(30_000 + away)).await;
        let agreed = discontinuities(&stage).await;
        let told: Vec<u64> = agreed.values().copied().collect();
        assert!(told.is_sorted() && told.first() == Some(&0) && told.last() == Some(&1), "{told:?}");
        for track in TRACKS {
            let media = stage.media(track).await;
            let places: Vec<u64> = media.all().filter(|s| s.discontinuity).map(|s| s.sequence).collect();
            assert_eq!(places.len(), 1, "{track}, away for {away} ms: {}", media.text);
            assert_eq!(media.segment(places[0]).and_then(|s| s.map.as_deref()), Some("init-1.mp4"), "{track}");
            assert_eq!(media.segments[0].map.as_deref(), Some("init-0.mp4"), "{track}");
            assert_eq!(stage.get(&format!("{track}/init-1.mp4")).await.status, StatusCode::OK);
            assert!(places[0] > before.newest().0);
            let newest = media.segments.last().expect("a segment");
            assert!(!newest.gap && (newest.duration - 2.0).abs() < 0.03, "{}", media.text);
            let behind = stage.now().nanos() as f64 / 1e6 - media.end_ms();
            assert!(behind.abs() < 4_000.0, "{track} stands {behind} ms off the clock");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_encoder_that_comes_back_with_its_time_going_on_makes_no_discontinuity() {
    let stage = long();
    let mut encoder = Encoder::of(&stage, ladder());
    encoder.until(at(12_700)).await;
    encoder.disconnect(0);
    // What is captured while nobody listens is lost.
    encoder.until(at(13_500)).await;
    encoder.connect(&stage);
    encoder.until(at(24_000)).await;
    let told = discontinuities(&stage).await;
    assert!(told.values().all(|n| *n == 0), "{told:?}");
    for track in TRACKS {
        let media = stage.media(track).await;
        assert!(media.segments.iter().all(|s| s.map.as_deref() == Some("init-0.mp4")));
        let dates: Vec<i64> = media.segments.iter().filter_map(|s| s.date).collect();
        assert!(dates.is_sorted(), "{}", media.text);
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_of_coding_at_a_border_makes_one_discontinuity_and_loses_nothing() {
    let stage = long();
    let mut encoder = Encoder::of(&stage, ladder());
    encoder.until(at(12_030)).await;
    encoder.feed("v0").change(Source::hevc("v0"));
    encoder.until(at(24_000)).await;
    let told = discontinuities(&stage).await;
    assert_eq!(told.values().last(), Some(&1), "{told:?}");
    for track in TRACKS {
        let media = stage.media(track).await;
        let places: Vec<u64> = media.all().filter(|s| s.discontinuity).map(|s| s.sequence).collect();
        assert_eq!(places, [media.sequence + 6], "{track}: {}", media.text);
        assert!(media.segments.iter().all(|s| !s.gap && (s.duration - 2.0).abs() < 0.03), "{}", media.text);
    }
    let (old, new) = (stage.get("v0/init-0.mp4").await, stage.get("v0/init-1.mp4").await);
    assert_ne!(old.body, new.body);
    assert_eq!(stage.get("a0/init-0.mp4").await.body, stage.get("a0/init-1.mp4").await.body);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_coding_within_a_segment_ends_it_and_never_mixes_headers() {
    let stage = long();
    let mut encoder = Encoder::of(&stage, ladder());
    encoder.until(at(12_930)).await;
    // A key frame at once, as an encoder that was reconfigured sends it, and every two seconds from there.
    let next = encoder.feed("v0").next;
    encoder.feed("v0").phase = next;
    encoder.feed("v0").change(Source::hevc("v0"));
    encoder.until(at(30_000)).await;
    let told = discontinuities(&stage).await;
    assert_eq!(told.values().last(), Some(&1), "{told:?}");
    let media = stage.media("v0").await;
    let newest = media.segments.last().expect("a segment");
    assert!(!newest.gap && newest.map.as_deref() == Some("init-1.mp4"), "{}", media.text);
}

#[tokio::test(start_paused = true)]
async fn a_rendition_that_stops_becomes_gaps_while_the_others_go_on() {
    let stage = long();
    let mut encoder = Encoder::of(&stage, ladder());
    encoder.until(at(12_700)).await;
    let client = stage.follow("v0");
    encoder.feed("v1").muted = true;
    encoder.until(at(24_000)).await;
    for step in 0..40 {
        encoder.play(millis(310)).await;
        let (v0, v1) = (stage.media("v0").await, stage.media("v1").await);
        let behind = v0.newest().0.saturating_sub(v1.newest().0);
        assert!(behind <= 2, "the gaps are {behind} segments behind, step {step}: {}", v1.text);
        assert_eq!(v0.sequence, v1.sequence);
        for (one, other) in v0.segments.iter().zip(&v1.segments) {
            assert_eq!(one.sequence, other.sequence);
            let apart = one.date.expect("a date") - other.date.expect("a date");
            assert!(apart.abs() <= 200, "segment {}: dates {apart} ms apart", one.sequence);
        }
    }
    let v1 = stage.media("v1").await;
    let gap = v1.segments.iter().find(|s| s.gap).expect("a gap");
    let path = format!("v1/{}", gap.uri.clone().expect("a gap has its URI"));
    let answer = stage.get(&path).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(answer.life() <= 2.0, "a gap may be filled: {} s", answer.life());
    encoder.feed("v1").muted = false;
    encoder.play(seconds(10)).await;
    let back = stage.media("v1").await;
    assert!(back.segments.last().is_some_and(|s| !s.gap), "{}", back.text);
    assert_eq!(discontinuities(&stage).await.values().max(), Some(&0), "lost media is no discontinuity");
    let seen = client.leave().await;
    assert!(seen.iter().all(|s| s.playlist.segments.iter().all(|s| !s.gap)), "the others have no gap");
    assert!(seen.len() > 150);
}

#[tokio::test(start_paused = true)]
async fn the_plain_twin_has_whole_segments_and_no_low_latency_tag() {
    let stage = Stage::new();
    let mut encoder = Encoder::of(&stage, ladder());
    encoder.until(at(21_100)).await;
    for track in TRACKS {
        let (plain, media) = (stage.playlist(&format!("{track}/plain.m3u8")).await, stage.media(track).await);
        for tag in ["EXT-X-PART", "EXT-X-SERVER-CONTROL", "EXT-X-PRELOAD-HINT", "EXT-X-RENDITION-REPORT", "EXT-X-SKIP"]
        {
            assert!(!plain.text.contains(tag), "{}", plain.text);
        }
        assert!(plain.version <= 8 && plain.open.is_none());
        let whole: Vec<Segment> = media.segments.iter().map(|s| Segment { parts: Vec::new(), ..s.clone() }).collect();
        assert_eq!(plain.segments, whole);
    }
    let variants = stage.get("plain.m3u8").await.text();
    assert!(variants.contains("v0/plain.m3u8") && !variants.contains("media.m3u8"), "{variants}");
}

/// Bits per second of the largest segment of a track.
async fn peak(stage: &Stage, track: &str) -> f64 {
    let mut peak = 0.0_f64;
    for segment in stage.media(track).await.segments {
        let bytes = stage.get(&format!("{track}/{}", segment.uri.expect("a whole segment"))).await.body.len();
        peak = peak.max(bytes as f64 * 8.0 / segment.duration);
    }
    peak
}

#[tokio::test(start_paused = true)]
async fn the_multivariant_playlist_describes_what_was_measured() {
    let stage = Stage::new();
    let mut encoder = Encoder::of(&stage, ladder());
    encoder.until(at(21_100)).await;
    let text = stage.get("multivariant.m3u8").await.text();
    let sound = peak(&stage, "a0").await;
    let mut reader = Reader::from_str(&text, quick_m3u8::config::ParsingOptions::default());
    let (mut variants, mut frames, mut groups) = (Vec::new(), 0, 0);
    let mut of: Option<(u64, Option<u64>)> = None;
    while let Some(line) = reader.read_line().expect("a playlist") {
        match line {
            HlsLine::KnownTag(KnownTag::Hls(Tag::StreamInf(s))) => {
                assert!(s.codecs().is_some_and(|c| c.contains("mp4a")) && s.audio().is_some(), "{text}");
                assert!(s.resolution().is_some() && s.frame_rate() == Some(25.0), "{text}");
                of = Some((s.bandwidth(), s.average_bandwidth()));
            }
            HlsLine::KnownTag(KnownTag::Hls(Tag::IFrameStreamInf(_))) => frames += 1,
            HlsLine::KnownTag(KnownTag::Hls(Tag::Media(m))) => groups += usize::from(m.uri() == Some("a0/media.m3u8")),
            HlsLine::Uri(uri) => variants.push((uri.into_owned(), of.take().expect("a description"))),
            _ => {}
        }
    }
    assert_eq!((variants.len(), frames, groups), (2, 2, 1), "{text}");
    for (uri, (bandwidth, average)) in variants {
        let track = uri.split('/').next().expect("a track");
        let measured = peak(&stage, track).await + sound;
        let stated = bandwidth as f64;
        assert!(measured <= stated * 1.25 && stated <= measured * 1.25, "{uri}: {measured} measured, {stated} stated");
        assert!(average.is_some_and(|a| a <= bandwidth), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_i_frame_playlist_names_the_first_frame_of_each_segment() {
    let stage = Stage::new();
    let mut encoder = Encoder::of(&stage, ladder());
    encoder.until(at(15_100)).await;
    let frames = stage.get("v0/iframes.m3u8").await.text();
    assert!(frames.contains("#EXT-X-I-FRAMES-ONLY"), "{frames}");
    let media = stage.media("v0").await;
    assert_eq!(Playlist::read(&frames).segments.len(), media.segments.len());
    let range = frames.lines().find_map(|l| l.strip_prefix("#EXT-X-BYTERANGE:")).expect("a byte range");
    let (length, offset) = range.split_once('@').expect("an offset");
    assert_eq!(offset, "0");
    let last: u64 = length.parse::<u64>().expect("a length") - 1;
    let uri = media.segments[0].uri.clone().expect("a whole segment");
    let answer = stage.get_with(&format!("v0/{uri}"), &[("range", &format!("bytes=0-{last}"))]).await;
    assert_eq!((answer.status, answer.body.len() as u64), (StatusCode::PARTIAL_CONTENT, last + 1));
}
