// SPDX-License-Identifier: Apache-2.0
//! Preload hints and rendition reports (rfc8216bis, 4.4.5.3, 4.4.5.4 and 6.2.6).

use http::StatusCode;

use crate::encoder::{Encoder, Source, at};
use crate::playlist::{Playlist, Report};
use crate::stage::{Stage, millis, seconds, settle};

async fn live() -> (Stage, Encoder) {
    let stage = Stage::new();
    let mut encoder = Encoder::of(&stage, vec![Source::video("v0"), Source::hevc("v1"), Source::audio("a0")]);
    encoder.until(at(5_100)).await;
    (stage, encoder)
}

#[tokio::test(start_paused = true)]
async fn the_hinted_part_is_the_next_one_listed() {
    let (stage, mut encoder) = live().await;
    for track in ["v0", "a0"] {
        let client = stage.follow(track);
        encoder.play(seconds(7)).await;
        let seen = client.leave().await;
        assert!(seen.len() > 30);
        for pair in seen.windows(2) {
            let hinted = pair[0].playlist.hint("PART").expect("a hint");
            let after = &pair[1].playlist;
            let newest = after.open_parts().last().or_else(|| after.segments.last().and_then(|s| s.parts.last()));
            assert_eq!(newest.map(|p| p.uri.as_str()), Some(hinted), "{}", after.text);
            assert_eq!(pair[0].playlist.hints.len(), 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_held_part_is_sent_whole_or_not_at_all() {
    let (stage, mut encoder) = live().await;
    let hinted = stage.media("v0").await.hint("PART").expect("a hint").to_owned();
    let held = stage.park(&format!("v0/{hinted}"));
    // Four of its five frames are here.
    encoder.until(at(5_200)).await;
    assert!(held.is_held());
    encoder.until(at(5_230)).await;
    let held = held.answer().await;
    assert_eq!(held.status, StatusCode::OK);
    assert_eq!(held.headed, held.ended, "one piece");
    assert_eq!(held.body, stage.get(&format!("v0/{hinted}")).await.body);

    let next = stage.media("v0").await.hint("PART").expect("a hint").to_owned();
    let held = stage.park(&format!("v0/{next}"));
    encoder.until(at(5_400)).await;
    encoder.disconnect(0);
    let never = held.answer().await;
    assert_eq!((never.status, never.broken), (StatusCode::NOT_FOUND, false), "its last frame never came");
    assert!(never.life() <= 2.0);
}

#[tokio::test(start_paused = true)]
async fn a_part_neither_listed_nor_hinted_is_refused() {
    let (stage, _encoder) = live().await;
    let (segment, part) = stage.media("v0").await.newest();
    for (path, expected_in) in [
        (format!("v0/{segment}.{}.m4s", part + 2), 0.4),
        (format!("v0/{segment}.{}.m4s", part + 5), 1.0),
        (format!("v0/{segment}.{}.m4s", part + 30), 2.0),
        (format!("v0/{}.1.m4s", segment + 1), 2.0),
        (format!("v0/{}.0.m4s", segment + 9), 2.0),
    ] {
        let answer = stage.get(&path).await;
        assert_eq!((answer.status, answer.headed), (StatusCode::NOT_FOUND, stage.now()), "{path}");
        assert!(answer.life() <= expected_in, "{path}: a life of {} hides it when it is there", answer.life());
    }
    let whole = stage.get(&format!("v0/{}.10.m4s", segment - 1)).await;
    assert_eq!(whole.status, StatusCode::NOT_FOUND, "a whole segment has no further part");
    assert!(whole.life() <= 2.0);
}

#[tokio::test(start_paused = true)]
async fn a_hint_that_will_not_come_true_is_refused_when_that_is_known() {
    let (stage, mut encoder) = live().await;
    // No frame of the hinted part is here yet.
    encoder.until(at(5_230)).await;
    let (segment, part) = stage.media("v0").await.newest();
    let held = stage.park(&format!("v0/{segment}.{}.m4s", part + 1));
    settle().await;
    // Another coding from here on: the open segment ends early, the next begins at the next key frame.
    encoder.feed("v0").change(Source::hevc("v0"));
    encoder.until(at(5_280)).await;
    assert!(!held.is_held(), "the segment has ended");
    assert_eq!(stage.media("v0").await.hint("PART"), Some(format!("{}.0.m4s", segment + 1).as_str()));
    assert_eq!(held.answer().await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn the_first_part_of_the_next_segment_is_hinted_when_a_segment_is_full() {
    let (stage, mut encoder) = live().await;
    encoder.until(at(6_030)).await;
    let media = stage.media("v0").await;
    let next = media.next_sequence();
    assert_eq!(media.open, None);
    assert_eq!(media.hint("PART"), Some(format!("{next}.0.m4s").as_str()));
    let held = stage.park(&format!("v0/{next}.0.m4s"));
    encoder.until(at(6_230)).await;
    assert_eq!(held.answer().await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_new_header_is_hinted_before_it_is_needed_and_held_until_it_is_there() {
    let (stage, mut encoder) = live().await;
    encoder.until(at(5_230)).await;
    let next = stage.media("v0").await.newest().0 + 1;
    encoder.feed("v0").change(Source::hevc("v0"));
    encoder.until(at(5_500)).await;
    let mut held = Vec::new();
    for track in ["v0", "v1", "a0"] {
        let media = stage.media(track).await;
        assert_eq!(media.hint("MAP"), Some("init-1.mp4"), "{track}: {}", media.text);
        assert_eq!(media.hints.len(), 2, "one of each type: {}", media.text);
        held.push((track, stage.park(&format!("{track}/init-1.mp4"))));
    }
    encoder.until(at(6_000)).await;
    assert!(held.iter().all(|(_, parked)| parked.is_held()));
    encoder.until(at(6_300)).await;
    for (track, parked) in held {
        assert!(!parked.is_held(), "{track}");
        assert_eq!(parked.answer().await.status, StatusCode::OK, "{track}");
        let media = stage.media(track).await;
        assert_eq!(media.hints.len(), 1, "{track}: {}", media.text);
        let first = media.segment(next).expect("the first of the new header");
        assert_eq!((first.discontinuity, first.map.as_deref()), (true, Some("init-1.mp4")), "{track}");
    }
    assert_eq!(stage.get("v0/init-2.mp4").await.status, StatusCode::NOT_FOUND, "one that nobody has announced");
}

/// When the reported part ends, in milliseconds since the epoch, if `held` has it.
fn reported_end_ms(held: &Playlist, report: &Report) -> Option<f64> {
    let segment = held.segment(report.last)?;
    let last = usize::try_from(report.part?).ok()?;
    let until: f64 = segment.parts.get(..=last)?.iter().map(|p| p.duration).sum();
    Some(segment.date? as f64 + until * 1_000.0)
}

#[tokio::test(start_paused = true)]
async fn every_other_playlist_is_reported_and_no_further_than_it_is() {
    let (stage, mut encoder) = live().await;
    let tracks = ["v0", "v1", "a0"];
    for step in 0..90 {
        encoder.play(millis(37 + step % 5)).await;
        for track in tracks {
            let media = stage.media(track).await;
            let others: Vec<&str> = tracks.into_iter().filter(|t| *t != track).collect();
            assert_eq!(media.reports.len(), others.len(), "{}", media.text);
            for other in others {
                let uri = format!("../{other}/media.m3u8");
                let report = media.reports.iter().find(|r| r.uri == uri).expect("a report of each other playlist");
                let end = reported_end_ms(&stage.media(other).await, report).expect("what is reported is there");
                // A function of this playlist's own end, so that twins agree: a part of slack, and a part not whole.
                let behind = media.end_ms() - end;
                assert!((199.0..=401.0).contains(&behind), "{track} reports {other} {behind} ms behind its own end");
            }
        }
    }
}
