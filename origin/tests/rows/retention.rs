// SPDX-License-Identifier: Apache-2.0
//! How long media can be fetched after it has left its playlist (rfc8216bis, 6.2.2 and 6.2.6).

use std::collections::BTreeMap;

use http::StatusCode;

use crate::encoder::{Encoder, Source, at};
use crate::stage::{Stage, seconds};

#[tokio::test(start_paused = true)]
async fn parts_leave_the_playlist_after_three_targets_and_stay_reachable_for_three_more() {
    let stage = Stage::new();
    let mut encoder = Encoder::of(&stage, vec![Source::video("v0"), Source::audio("a0")]);
    encoder.until(at(20_100)).await;
    let media = stage.media("v0").await;
    let end = media.end_ms();
    let mut dropped = Vec::new();
    for segment in &media.segments {
        let after = end - (segment.date.expect("a date") as f64 + segment.duration * 1_000.0);
        assert_eq!(
            segment.parts.is_empty(),
            after >= 6_000.0,
            "segment {} ends {after} ms before the end",
            segment.sequence
        );
        if segment.parts.is_empty() {
            dropped.push(segment.sequence);
        }
    }
    let newest_dropped = *dropped.last().expect("a window longer than three targets");
    for later in 0..=6 {
        encoder.until(at(20_100 + later * 1_000)).await;
        for part in 0..10 {
            let answer = stage.get(&format!("v0/{newest_dropped}.{part}.m4s")).await;
            assert_eq!(answer.status, StatusCode::OK, "part {part}, {later} s later");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_segment_stays_reachable_as_long_as_any_playlist_that_named_it_lasts() {
    let stage = Stage::new();
    let mut encoder = Encoder::of(&stage, vec![Source::video("v0"), Source::audio("a0")]);
    encoder.play(seconds(4)).await;
    let mut left: BTreeMap<u64, u64> = BTreeMap::new();
    let (mut longest, mut first) = (0.0_f64, stage.media("v0").await.sequence);
    let mut forgotten = 0;
    for second in 5..80 {
        encoder.until(at(second * 1_000)).await;
        let media = stage.media("v0").await;
        longest = longest.max(media.segments.iter().map(|s| s.duration).sum());
        for gone in first..media.sequence {
            left.insert(gone, second);
        }
        first = media.sequence;
        for (number, since) in &left {
            let status = stage.get(&format!("v0/{number}.m4s")).await.status;
            let promised = (second - since) as f64 <= longest + 2.0;
            assert!(
                status == StatusCode::OK || !promised,
                "segment {number} is gone {} s after it left",
                second - since
            );
            forgotten += u32::from(status == StatusCode::NOT_FOUND);
        }
    }
    assert!(forgotten > 0, "what nobody can name any more is let go");
}
