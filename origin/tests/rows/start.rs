// SPDX-License-Identifier: Apache-2.0
//! A channel's first playlist: held, never refused, and there within a part of the first key frame.

use http::StatusCode;

use crate::encoder::{Encoder, Source, at};
use crate::playlist::Playlist;
use crate::stage::{BASE, Stage, millis, seconds, settle};

#[tokio::test(start_paused = true)]
async fn the_first_playlist_is_held_until_it_can_be_told() {
    let stage = Stage::new();
    let multivariant = stage.park("multivariant.m3u8");
    let plain = stage.park("plain.m3u8");
    let media = stage.park("v0/media.m3u8");
    let sound = stage.park("a0/media.m3u8");
    settle().await;
    let mut encoder = Encoder::from(stage.clock, at(3_000 - 1_000), vec![Source::video("v0"), Source::audio("a0")]);
    tokio::time::sleep(seconds(1)).await;
    assert!(multivariant.is_held() && media.is_held());
    encoder.connect(&stage);
    encoder.until(at(4_500)).await;
    for (name, parked) in [("multivariant", multivariant), ("plain", plain), ("media", media), ("sound", sound)] {
        assert!(!parked.is_held(), "{name}");
        let answer = parked.answer().await;
        assert_eq!(answer.status, StatusCode::OK, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_playlist_is_there_a_part_after_the_first_key_frame() {
    for zero in [false, true] {
        let stage = Stage::new();
        let media = stage.park("v0/media.m3u8");
        settle().await;
        let mut encoder = Encoder::from(stage.clock, at(2_000), vec![Source::video("v0"), Source::audio("a0")]);
        if zero {
            encoder = encoder.counting_from_zero();
        }
        encoder.connect(&stage);
        encoder.until(at(2_600)).await;
        assert!(!media.is_held(), "the key frame was captured at 2 s (zero: {zero})");
        let answer = media.answer().await;
        let waited = answer.headed.since(at(2_000));
        assert!(waited <= millis(200 + 25), "{waited:?} after the first key frame (zero: {zero})");
        assert_eq!(Playlist::read(&answer.text()).open_parts().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_does_not_start_is_told_so_at_the_deadline() {
    let stage = Stage::new();
    for path in ["multivariant.m3u8", "v0/media.m3u8", "v0/media.m3u8?_HLS_msn=0", "manifest.mpd"] {
        let asked = stage.now();
        let answer = stage.get(path).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert_eq!(answer.headed.since(asked), seconds(10), "{path}");
        assert_eq!(answer.header("retry-after"), "1", "{path}");
    }
    assert_eq!(stage.waiters(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_encoder_that_ends_its_bodies_is_thanked_for_them() {
    let stage = Stage::new();
    let mut encoder = Encoder::of(&stage, vec![Source::video("v0"), Source::audio("a0")]);
    encoder.until(at(3_000)).await;
    assert_eq!(encoder.finish().await, [StatusCode::OK, StatusCode::OK]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_named_before_it_can_be_read() {
    let stage = Stage::new();
    let mut encoder = Encoder::of(&stage, vec![Source::video("v0"), Source::audio("a0")]);
    encoder.until(at(300)).await;
    // Each client fetches the newest object of every playlist it gets, at the instant it got it.
    let clients = [stage.follow("v0"), stage.follow("a0")];
    for part in 2..100 {
        encoder.until(at(part * 200 + 21)).await;
        for track in ["v0", "a0"] {
            for uri in stage.media(track).await.uris() {
                let answer = stage.head(&format!("{track}/{uri}")).await;
                assert_eq!(answer.status, StatusCode::OK, "{track}/{uri}");
            }
        }
    }
    for client in clients {
        assert!(client.leave().await.len() > 90);
    }
}

#[tokio::test(start_paused = true)]
async fn an_encoder_whose_key_frames_are_off_the_grid_is_served() {
    let stage = Stage::new();
    let mut encoder = Encoder::from(stage.clock, at(1_000), vec![Source::video("v0"), Source::audio("a0")]);
    // Its time is UTC, but its key frames come at odd seconds.
    encoder.feed("v0").phase = encoder.feed("v0").next;
    encoder.connect(&stage);
    encoder.until(at(12_000)).await;
    let media = stage.media("v0").await;
    assert!(media.segments.len() >= 3, "{}", media.text);
    for segment in &media.segments {
        let into = (segment.date.expect("a date") - BASE.millis()) % 2_000;
        assert_eq!((segment.duration, into), (2.0, 1_000), "segment {}", segment.sequence);
    }
}
