// SPDX-License-Identifier: Apache-2.0
//! Promises of duration, and the parts that keep them (rfc8216bis, 4.4.3.7, 4.4.3.8, 4.4.4.9 and appendix B.1).

use crate::encoder::{Encoder, Source, at};
use crate::playlist::Playlist;
use crate::stage::{Seen, Stage, millis, seconds};

fn ladder() -> Vec<Source> {
    vec![Source::video("v0"), Source::hevc("v1"), Source::audio("a0")]
}

#[tokio::test(start_paused = true)]
async fn every_playlist_of_a_channel_makes_the_same_promises_for_its_life() {
    let stage = Stage::new();
    let mut encoder = Encoder::of(&stage, ladder());
    encoder.play(seconds(5)).await;
    let first = stage.media("v0").await;
    let part_target = stage.media("a0").await.part_target;
    for second in 6..40 {
        encoder.until(at(second * 1_000)).await;
        for track in ["v0", "v1", "a0"] {
            let media = stage.media(track).await;
            assert_eq!((media.target, &media.control), (first.target, &first.control), "{track} at {second} s");
            let promised = if track == "a0" { part_target } else { first.part_target };
            assert_eq!(media.part_target, promised, "{track} at {second} s");
        }
        let frames = stage.playlist("v0/iframes.m3u8").await;
        assert_eq!((frames.target, &frames.control), (first.target, &first.control));
        assert_eq!(stage.playlist("v1/plain.m3u8").await.target, first.target);
    }
}

#[tokio::test(start_paused = true)]
async fn targets_hold_when_the_key_frames_stop() {
    let stage = Stage::new();
    let mut encoder = Encoder::of(&stage, vec![Source::video("v0"), Source::audio("a0")]);
    encoder.until(at(9_000)).await;
    let before = stage.media("v0").await;
    encoder.feed("v0").keyless = true;
    let client = stage.follow("v0");
    encoder.until(at(30_000)).await;
    let after = stage.media("v0").await;
    assert_eq!((after.target, after.part_target), (before.target, before.part_target));
    assert!(after.newest().0 >= before.newest().0 + 9, "segments go on: {}", after.text);
    for seen in client.leave().await {
        for segment in &seen.playlist.segments {
            assert!(segment.duration.round() <= 2.0, "{} s rounds above the target", segment.duration);
        }
    }
    let dependent = after.segments.iter().filter(|s| s.parts.first().is_some_and(|p| !p.independent)).count();
    assert!(dependent > 0, "a segment without a key frame does not say that it has one");
    assert!(!after.text.contains("EXT-X-INDEPENDENT-SEGMENTS"));
}

#[tokio::test(start_paused = true)]
async fn hold_backs_and_the_skip_boundary_cover_their_minimum() {
    for (segment_ms, part_ms) in [(2_000, 200), (1_000, 333), (4_000, 1_000)] {
        let stage = Stage::with(headwater_origin::config::Channel { segment_ms, part_ms, ..crate::stage::settings() });
        let mut sources = ladder();
        sources[0].gop = 25;
        sources[1].gop = 25;
        let mut encoder = Encoder::of(&stage, sources);
        encoder.play(seconds(12)).await;
        let mut longest = 0.0_f64;
        for track in ["v0", "v1", "a0"] {
            longest = longest.max(stage.media(track).await.part_target.expect("parts"));
        }
        let media = stage.media("v0").await;
        let (control, target) = (media.control.expect("promises"), media.target as f64);
        assert!(control.block && control.skip_until >= 6.0 * target, "{control:?}");
        assert!(control.hold_back >= 3.0 * target, "{control:?}");
        assert!(control.part_hold_back - 3.0 * longest > -1e-9, "{control:?} for {longest}");
    }
}

/// Every part that was listed, with its place: the last of its segment, or not.
fn parts(playlist: &Playlist) -> Vec<(f64, bool, bool)> {
    let whole = playlist.segments.iter().flat_map(|s| {
        let last = s.parts.len().saturating_sub(1);
        s.parts.iter().enumerate().map(move |(i, p)| (p.duration, p.independent, i == last))
    });
    whole.chain(playlist.open_parts().iter().map(|p| (p.duration, p.independent, false))).collect()
}

#[tokio::test(start_paused = true)]
async fn a_part_is_never_longer_than_the_target_and_rarely_shorter() {
    let stage = Stage::new();
    let mut sources = ladder();
    sources[1].gop = 25;
    let mut encoder = Encoder::of(&stage, sources);
    encoder.play(seconds(15)).await;
    for track in ["v0", "v1", "a0"] {
        let media = stage.media(track).await;
        let target = media.part_target.expect("parts");
        let parts = parts(&media);
        assert!(parts.len() > 20, "{track}: {}", parts.len());
        for (duration, independent, last) in parts {
            assert!(duration <= target, "{track}: {duration} > {target}");
            let excused = last || (independent && track != "a0");
            assert!(excused || duration >= 0.85 * target, "{track}: {duration} of {target}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_closes_on_its_last_frame() {
    let stage = Stage::new();
    let mut encoder = Encoder::of(&stage, vec![Source::video("v0"), Source::audio("a0")]);
    encoder.until(at(4_900)).await;
    let client = stage.follow("v0");
    encoder.until(at(8_900)).await;
    for Seen { at: seen_at, playlist } in &client.leave().await[1..] {
        // Sent 20 ms after its capture, read from the wire at the same instant; the frame after it is 40 ms away.
        let after_its_end = seen_at.nanos() as f64 / 1e6 - playlist.end_ms();
        assert!(
            (20.0..25.0).contains(&after_its_end),
            "published {after_its_end} ms after its last frame was captured"
        );
    }
}

fn intervals(seen: &[Seen]) -> Vec<f64> {
    seen.windows(2).map(|pair| pair[1].at.since(pair[0].at).as_secs_f64()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_burst_comes_out_one_part_per_part_target() {
    let stage = Stage::new();
    let mut encoder = Encoder::of(&stage, vec![Source::video("v0"), Source::audio("a0")]);
    for feed in &mut encoder.feeds {
        feed.per_border = Some(seconds(2));
    }
    encoder.until(at(8_500)).await;
    let client = stage.follow("v0");
    encoder.until(at(20_500)).await;
    let seen = client.leave().await;
    assert!(seen.len() >= 58, "twelve seconds have sixty parts, a client saw {}", seen.len());
    for interval in &intervals(&seen)[1..] {
        assert!((0.15..=0.201).contains(interval), "parts {interval} s apart");
    }
    for pair in seen.windows(2) {
        let (before, after) = (pair[0].playlist.end_ms(), pair[1].playlist.end_ms());
        assert!((after - before - 200.0).abs() < 1.0, "one part at a time, not {} ms", after - before);
    }
}

#[tokio::test(start_paused = true)]
async fn media_that_comes_as_it_is_captured_is_not_held_up() {
    let stage = Stage::new();
    let mut encoder = Encoder::of(&stage, vec![Source::video("v0")]).in_chunks_of(5);
    encoder.until(at(4_500)).await;
    let client = stage.follow("v0");
    // One chunk half a second late, the next ones on time again.
    encoder.delay = millis(500);
    encoder.until(at(6_000)).await;
    encoder.delay = millis(20);
    encoder.until(at(20_000)).await;
    let seen = client.leave().await;
    let last = seen.last().expect("a playlist");
    let latency = last.at.nanos() as f64 / 1e6 - last.playlist.end_ms();
    assert!(latency < 130.0, "{latency} ms behind an encoder that has long caught up");
}

#[tokio::test(start_paused = true)]
async fn a_segment_holds_exactly_the_bytes_of_its_parts() {
    let stage = Stage::new();
    let mut encoder = Encoder::of(&stage, ladder());
    encoder.play(seconds(9)).await;
    for track in ["v0", "v1", "a0"] {
        let media = stage.media(track).await;
        for segment in media.segments.iter().filter(|s| !s.parts.is_empty()) {
            let whole = stage.get(&format!("{track}/{}", segment.uri.as_ref().expect("a whole segment"))).await;
            let mut joined = Vec::new();
            for part in &segment.parts {
                joined.extend_from_slice(&stage.get(&format!("{track}/{}", part.uri)).await.body);
            }
            assert_eq!(whole.body, joined, "{track} segment {}", segment.sequence);
            let sum: f64 = segment.parts.iter().map(|p| p.duration).sum();
            assert!((sum - segment.duration).abs() < 0.000_2, "{sum} of {}", segment.duration);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn date_and_header_stand_before_the_first_part_of_the_segment_being_written() {
    let stage = Stage::new();
    let mut encoder = Encoder::of(&stage, ladder());
    for part in 2..30 {
        encoder.until(at(part * 200 + 30)).await;
        // The reader refuses a date, map or discontinuity behind a part.
        let media = stage.media("v0").await;
        assert!(media.all().all(|s| s.date.is_some() && s.map.is_some()), "{}", media.text);
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_is_independent_only_if_it_begins_with_a_key_frame() {
    let stage = Stage::new();
    let mut sources = vec![Source::video("v0"), Source::audio("a0")];
    sources[0].gop = 25;
    let mut encoder = Encoder::of(&stage, sources);
    encoder.play(seconds(7)).await;
    let media = stage.media("v0").await;
    let whole = media.segments.last().expect("a segment");
    let independent: Vec<usize> = (0..whole.parts.len()).filter(|i| whole.parts[*i].independent).collect();
    assert_eq!(independent, [0, 5]);
    let sound = stage.media("a0").await;
    assert!(sound.all().flat_map(|s| &s.parts).all(|p| p.independent), "every frame of sound decodes alone");
}
