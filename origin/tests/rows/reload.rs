// SPDX-License-Identifier: Apache-2.0
//! Blocking reload (rfc8216bis, 6.2.5.2): who is held, for how long, and who is refused.

use http::StatusCode;

use crate::encoder::{Encoder, Source, at};
use crate::stage::{Stage, millis};

#[tokio::test(start_paused = true)]
async fn a_held_reload_is_answered_when_its_part_is_there() {
    let stage = Stage::new();
    let mut encoder = Encoder::of(&stage, vec![Source::video("v0"), Source::audio("a0")]);
    encoder.until(at(5_100)).await;
    let (segment, part) = stage.media("v0").await.newest();
    let held = stage.park(&format!("v0/media.m3u8?_HLS_msn={segment}&_HLS_part={}", part + 1));
    encoder.until(at(5_200)).await;
    println!("{}", stage.media("v0").await.text);
    println!("{}", stage.media("a0").await.text);
    assert!(held.is_held());
    encoder.play(millis(30)).await;
    assert!(!held.is_held());
    let answer = held.answer().await;
    assert_eq!(answer.status, StatusCode::OK);
}
