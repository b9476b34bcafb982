// SPDX-License-Identifier: Apache-2.0
//! Blocking reload (rfc8216bis, 6.2.5.2): who is held, for how long, and who is refused.

use bytes::Bytes;
use http::{Method, StatusCode};

use crate::encoder::{Encoder, Source, at};
use crate::playlist::Playlist;
use crate::stage::{CHANNEL, Stage, millis, request, seconds, settle};

/// A stage whose newest part of `v0` is the fifth of its third segment.
async fn live() -> (Stage, Encoder, u64) {
    let stage = Stage::new();
    let mut encoder = Encoder::of(&stage, vec![Source::video("v0"), Source::audio("a0")]);
    encoder.until(at(5_100)).await;
    let (segment, part) = stage.media("v0").await.newest();
    assert_eq!(part, 4);
    (stage, encoder, segment)
}

fn ask(segment: u64, part: u64) -> String {
    format!("v0/media.m3u8?_HLS_msn={segment}&_HLS_part={part}")
}

#[tokio::test(start_paused = true)]
async fn a_held_reload_is_answered_when_its_part_is_there() {
    let (stage, mut encoder, segment) = live().await;
    let held = stage.park(&ask(segment, 5));
    encoder.until(at(5_200)).await;
    assert!(held.is_held());
    encoder.play(millis(30)).await;
    assert!(!held.is_held());
    let answer = held.answer().await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(Playlist::read(&answer.text()).newest(), (segment, 5));
}

#[tokio::test(start_paused = true)]
async fn a_reload_of_a_segment_waits_for_the_whole_of_it() {
    let (stage, mut encoder, segment) = live().await;
    let held = stage.park(&format!("v0/media.m3u8?_HLS_msn={segment}"));
    encoder.until(at(6_000)).await;
    assert!(held.is_held());
    encoder.play(millis(30)).await;
    let media = Playlist::read(&held.answer().await.text());
    assert!(media.segment(segment).is_some_and(|s| s.uri.is_some()), "{}", media.text);
}

#[tokio::test(start_paused = true)]
async fn a_part_past_the_last_of_a_whole_segment_means_the_first_of_the_next() {
    let (stage, mut encoder, segment) = live().await;
    encoder.until(at(6_030)).await;
    assert_eq!(stage.media("v0").await.open, None);
    let held = stage.park(&ask(segment, 10));
    encoder.until(at(6_200)).await;
    assert!(held.is_held());
    encoder.play(millis(30)).await;
    let media = Playlist::read(&held.answer().await.text());
    assert_eq!(media.newest(), (segment + 1, 0));
    let at_once = stage.get(&ask(segment, 99)).await;
    assert_eq!((at_once.status, at_once.headed), (StatusCode::OK, stage.now()));
}

#[tokio::test(start_paused = true)]
async fn a_part_without_its_segment_is_refused() {
    let (stage, _encoder, _) = live().await;
    let answer = stage.get("v0/media.m3u8?_HLS_part=3").await;
    assert_eq!((answer.status, answer.life()), (StatusCode::BAD_REQUEST, 8.0));
}

#[tokio::test(start_paused = true)]
async fn a_reload_of_the_past_is_answered_at_once() {
    let stage = Stage::new();
    let mut encoder = Encoder::of(&stage, vec![Source::video("v0"), Source::audio("a0")]);
    encoder.until(at(40_100)).await;
    let current = stage.media("v0").await;
    let expired = current.sequence - 3;
    for query in [
        "_HLS_msn=0".to_owned(),
        "_HLS_msn=0&_HLS_part=0".to_owned(),
        format!("_HLS_msn={expired}"),
        format!("_HLS_msn={expired}&_HLS_part=7"),
        format!("_HLS_msn={}&_HLS_part=500", current.sequence + 1),
        format!("_HLS_msn={}&_HLS_part=0", current.newest().0),
    ] {
        let answer = stage.get(&format!("v0/media.m3u8?{query}")).await;
        assert_eq!((answer.status, answer.headed), (StatusCode::OK, stage.now()), "{query}");
        assert_eq!(answer.text(), current.text, "{query}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reload_past_the_edge_plus_two_is_refused() {
    let (stage, _encoder, segment) = live().await;
    for (ahead, refused) in [(1, false), (2, false), (3, true), (1_000, true)] {
        let parked = stage.park(&format!("v0/media.m3u8?_HLS_msn={}", segment + ahead));
        settle().await;
        assert_eq!(parked.is_held(), !refused, "{ahead} ahead");
        if refused {
            let answer = parked.answer().await;
            assert_eq!((answer.status, answer.life()), (StatusCode::BAD_REQUEST, 8.0));
        } else {
            parked.leave();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_beyond_the_advance_limit_is_refused() {
    let (stage, _encoder, segment) = live().await;
    // Parts of a fifth of a second: fifteen past the newest, which has the index 4.
    for (part, refused) in [(5, false), (19, false), (20, true), (4_000_000_000, true)] {
        let parked = stage.park(&ask(segment, part));
        settle().await;
        assert_eq!(parked.is_held(), !refused, "part {part}");
        if refused {
            assert_eq!(parked.answer().await.status, StatusCode::BAD_REQUEST);
        } else {
            parked.leave();
        }
    }
    let next = stage.get(&ask(segment + 1, 15)).await;
    assert_eq!(next.status, StatusCode::BAD_REQUEST);
}

#[tokio::test(start_paused = true)]
async fn a_reload_blocked_for_three_targets_is_told_to_come_again() {
    let (stage, encoder, segment) = live().await;
    let asked = stage.now();
    let answer = stage.park(&ask(segment, 5)).answer().await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    let waited = answer.headed.since(asked);
    assert!(waited >= seconds(6) && waited < millis(6_010), "{waited:?}");
    assert_eq!((answer.life(), answer.header("retry-after")), (8.0, "1"));
    drop(encoder);
}

#[tokio::test(start_paused = true)]
async fn numbers_that_are_none_are_refused() {
    let (stage, _encoder, segment) = live().await;
    for query in [
        "_HLS_msn=".to_owned(),
        "_HLS_msn=x".to_owned(),
        "_HLS_msn=-1".to_owned(),
        "_HLS_msn=1.5".to_owned(),
        "_HLS_msn=18446744073709551616".to_owned(),
        format!("_HLS_msn={segment}&_HLS_part=-1"),
        format!("_HLS_msn={segment}&_HLS_part=4294967296"),
        format!("_HLS_msn={segment}&_HLS_part=two"),
    ] {
        let answer = stage.get(&format!("v0/media.m3u8?{query}")).await;
        assert_eq!((answer.status, answer.life()), (StatusCode::BAD_REQUEST, 8.0), "{query}");
        assert_eq!(answer.header("access-control-allow-origin"), "*", "{query}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_the_end_directives_are_ignored() {
    let (stage, _encoder, segment) = live().await;
    stage.end_channel().await;
    let last = stage.get("v0/media.m3u8").await;
    let media = Playlist::read(&last.text());
    assert!(media.ended && media.hints.is_empty(), "{}", media.text);
    assert!(media.control.is_none_or(|c| !c.block), "an ended playlist has nothing to wait for");
    for query in [
        format!("_HLS_msn={segment}&_HLS_part=9"),
        format!("_HLS_msn={}", segment + 100),
        "_HLS_skip=YES".to_owned(),
        "_HLS_part=3".to_owned(),
        "_HLS_msn=-1".to_owned(),
    ] {
        let answer = stage.get(&format!("v0/media.m3u8?{query}")).await;
        assert_eq!((answer.status, answer.headed), (StatusCode::OK, stage.now()), "{query}");
        assert_eq!(answer.text(), last.text(), "{query}");
    }
    for form in ["plain", "iframes"] {
        assert!(stage.playlist(&format!("v0/{form}.m3u8")).await.ended, "{form}");
    }
    assert!(stage.media("a0").await.ended);
}

#[tokio::test(start_paused = true)]
async fn unknown_arguments_and_their_order_do_not_matter() {
    let (stage, _encoder, segment) = live().await;
    let usual = stage.get(&format!("v0/media.m3u8?_HLS_msn={segment}&_HLS_part=2&_HLS_skip=YES")).await;
    for query in [
        format!("_HLS_skip=YES&_HLS_part=2&_HLS_msn={segment}"),
        format!("token=a%20b&_HLS_msn={segment}&_HLS_future=9&_HLS_part=2&_HLS_skip=YES&&="),
    ] {
        let answer = stage.get(&format!("v0/media.m3u8?{query}")).await;
        assert_eq!((answer.status, answer.body), (StatusCode::OK, usual.body.clone()), "{query}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_frees_its_place_at_once() {
    let (stage, _encoder, segment) = live().await;
    let edge = stage.origin.channel(CHANNEL).and_then(|c| c.edge("v0")).expect("a live track");
    let (places, parked) = (edge.waiters(), stage.waiters());
    let mut clients = Vec::new();
    for path in [
        ask(segment, 5),
        format!("v0/media.m3u8?_HLS_msn={}", segment + 1),
        format!("v0/{segment}.5.m4s"),
        format!("v0/{}.m4s", segment + 1),
    ] {
        clients.extend((0..25).map(|_| stage.park(&path)));
    }
    settle().await;
    assert_eq!((stage.waiters() - parked, edge.waiters() - places), (100, 100));
    for client in clients {
        client.leave();
    }
    settle().await;
    assert_eq!((stage.waiters(), edge.waiters()), (parked, places));
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_when_the_channel_ends_is_answered_at_once() {
    let (stage, _encoder, segment) = live().await;
    let reload = stage.park(&ask(segment, 5));
    let whole = stage.park(&format!("v0/media.m3u8?_HLS_msn={}", segment + 1));
    let part = stage.park(&format!("v0/{segment}.5.m4s"));
    let next = stage.park(&format!("v0/{}.m4s", segment + 1));
    let open = stage.park(&format!("v0/{segment}.m4s"));
    settle().await;
    assert_eq!(stage.waiters(), 4);
    assert!(open.is_held(), "the segment in progress is read as it grows");
    stage.end_channel().await;
    for held in [reload, whole] {
        assert!(!held.is_held());
        assert!(Playlist::read(&held.answer().await.text()).ended);
    }
    for (held, status) in [(part, StatusCode::OK), (next, StatusCode::NOT_FOUND)] {
        // What was too little for a part is one at the end.
        assert!(!held.is_held());
        assert_eq!(held.answer().await.status, status);
    }
    assert!(!open.is_held());
    let open = open.answer().await;
    assert!(!open.broken && !open.body.is_empty());
    assert_eq!(stage.waiters(), 0);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_waiters_are_answered_from_one_render() {
    let (stage, mut encoder, segment) = live().await;
    encoder.feed("a0").muted = true;
    let before = stage.renders();
    let path = ask(segment, 5);
    let clients: Vec<_> = (0..10_000).map(|_| stage.park(&path)).collect();
    settle().await;
    assert_eq!(stage.waiters(), 10_000);
    encoder.until(at(5_230)).await;
    let mut texts = Vec::new();
    for client in clients {
        let answer = client.answer().await;
        assert_eq!(answer.status, StatusCode::OK);
        texts.push(answer.body);
    }
    assert_eq!(stage.renders() - before, 1);
    assert_eq!(stage.waiters(), 0);
    let one = |bodies: &[Bytes]| bodies.iter().all(|b| b.as_ptr() == bodies[0].as_ptr() && b.len() == bodies[0].len());
    assert!(one(&texts), "one buffer serves them all");
    let mut zipped = Vec::new();
    for _ in 0..10 {
        let answer = stage.ask(request(Method::GET, &path, &[("accept-encoding", "gzip")])).await;
        assert_eq!(answer.header("content-encoding"), "gzip");
        zipped.push(answer.body);
    }
    assert!(one(&zipped), "compressed once");
    assert_eq!(stage.renders() - before, 1);
}
