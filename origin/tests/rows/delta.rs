// SPDX-License-Identifier: Apache-2.0
//! Delta updates (rfc8216bis, 4.4.5.2 and 6.2.5.1).

use headwater_origin::config;

use crate::encoder::{Encoder, Source, at};
use crate::playlist::{Playlist, Segment};
use crate::stage::{Stage, seconds};

/// A window of about half a minute, longer than the skip boundary of twelve seconds.
fn long() -> Stage {
    Stage::with(config::Channel { window_seconds: 60, ..config::Channel::default() })
}

/// What a client makes of its copy and a delta.
fn merge(copy: &Playlist, delta: &Playlist) -> Vec<Segment> {
    let skipped = delta.sequence..delta.sequence + delta.skipped.unwrap_or(0);
    let kept = copy.segments.iter().filter(|s| skipped.contains(&s.sequence)).cloned();
    // Parts that old are no longer listed.
    let mut merged: Vec<Segment> = kept.map(|s| Segment { parts: Vec::new(), ..s }).collect();
    assert_eq!(merged.len() as u64, delta.skipped.unwrap_or(0), "the copy holds what was skipped");
    merged.extend(delta.segments.iter().cloned());
    merged
}

#[tokio::test(start_paused = true)]
async fn a_delta_merged_by_a_client_is_the_full_playlist() {
    let stage = long();
    let mut encoder = Encoder::of(&stage, vec![Source::video("v0"), Source::audio("a0")]);
    encoder.until(at(35_000)).await;
    let mut copies = [stage.media("v0").await, stage.media("v0").await];
    for step in 1..25 {
        encoder.until(at(35_000 + step * 1_300)).await;
        for (copy, (skip, version)) in copies.iter_mut().zip([("YES", 9), ("v2", 10)]) {
            let full = stage.media("v0").await;
            let (segment, part) = full.newest();
            let path = format!("v0/media.m3u8?_HLS_msn={segment}&_HLS_part={part}&_HLS_skip={skip}");
            let delta = stage.playlist(&path).await;
            assert!(delta.skipped.is_some_and(|n| n > 0), "{}", delta.text);
            assert!(delta.version >= version, "version {} with {skip}", delta.version);
            let merged = merge(copy, &delta);
            assert_eq!(merged, full.segments, "step {step}");
            assert_eq!(
                (delta.open, delta.hints, delta.reports),
                (full.open.clone(), full.hints.clone(), full.reports.clone())
            );
            assert_eq!((delta.sequence, delta.discontinuity_sequence), (full.sequence, full.discontinuity_sequence));
            *copy = full;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_skipped_lies_before_the_skip_boundary() {
    let stage = long();
    let mut encoder = Encoder::of(&stage, vec![Source::video("v0"), Source::audio("a0")]);
    encoder.until(at(40_100)).await;
    let full = stage.media("v0").await;
    let delta = stage.playlist("v0/media.m3u8?_HLS_skip=YES").await;
    let boundary = full.control.as_ref().expect("promises").skip_until * 1_000.0;
    let old = |s: &&Segment| full.end_ms() - (s.date.expect("a date") as f64 + s.duration * 1_000.0) >= boundary;
    assert_eq!(delta.skipped, Some(full.segments.iter().filter(old).count() as u64));
    assert!(full.control.is_some_and(|c| c.skip_dateranges), "v2 is offered, so it is understood");
}

#[tokio::test(start_paused = true)]
async fn a_playlist_too_short_to_skip_comes_whole() {
    let stage = long();
    let mut encoder = Encoder::of(&stage, vec![Source::video("v0"), Source::audio("a0")]);
    encoder.play(seconds(9)).await;
    let full = stage.media("v0").await;
    for skip in ["YES", "v2", "maybe"] {
        let delta = stage.playlist(&format!("v0/media.m3u8?_HLS_skip={skip}")).await;
        assert_eq!(delta.text, full.text, "{skip}");
    }
}
