// SPDX-License-Identifier: Apache-2.0
//! Two origins of one channel: what both have seen they tell in the same bytes, whenever each of them began.

use std::collections::{BTreeMap, BTreeSet};

use headwater_events::Event;
use headwater_origin::Clock;
use http::StatusCode;

use crate::encoder::{Encoder, Source, at};
use crate::stage::{BASE, CHANNEL, Stage, folder, millis, seconds, settings};

const TRACKS: [&str; 3] = ["v0", "v1", "a0"];

fn ladder() -> Vec<Source> {
    vec![Source::video("v0"), Source::hevc("v1"), Source::audio("a0")]
}

/// Every media playlist, the multivariant ones and the MPDs are the same, and so is every object they name.
async fn assert_alike(one: &Stage, other: &Stage, when: &str) {
    for path in ["multivariant.m3u8", "plain.m3u8", "manifest.mpd", "timeline.mpd"] {
        let (a, b) = (one.get(path).await, other.get(path).await);
        assert_eq!(a.status, StatusCode::OK, "{path} {when}");
        assert_eq!(a.text(), b.text(), "{path} {when}");
        assert_eq!(a.header("etag"), b.header("etag"), "{path} {when}");
    }
    for track in TRACKS {
        for form in ["media", "plain", "iframes"] {
            let path = format!("{track}/{form}.m3u8");
            assert_eq!(one.get(&path).await.text(), other.get(&path).await.text(), "{path} {when}");
        }
    }
    assert_same_objects(one, other, when).await;
}

/// Objects that both list have the same bytes.
async fn assert_same_objects(one: &Stage, other: &Stage, when: &str) -> usize {
    let mut compared = 0;
    for track in TRACKS {
        let named = one.media(track).await.uris().into_iter().collect::<BTreeSet<_>>();
        let also = other.media(track).await.uris().into_iter().collect::<BTreeSet<_>>();
        for uri in named.intersection(&also) {
            let path = format!("{track}/{uri}");
            let (a, b) = (one.get(&path).await, other.get(&path).await);
            assert_eq!((a.status, b.status), (StatusCode::OK, StatusCode::OK), "{path} {when}");
            assert!(a.body == b.body && a.header("etag") == b.header("etag"), "{path} {when}: bytes differ");
            assert_eq!(a.header("cmsd-static"), b.header("cmsd-static"), "{path} {when}");
            compared += 1;
        }
    }
    compared
}

#[tokio::test(start_paused = true)]
async fn two_origins_started_seven_seconds_apart_write_the_same_bytes() {
    let (one_dir, other_dir) = (folder("twins-one"), folder("twins-other"));
    let one = Stage::at(settings(), Clock::starting_at(BASE), Some(&one_dir));
    let mut encoder = Encoder::from(one.clock, BASE, ladder());
    encoder.connect(&one);
    encoder.until(at(7_130)).await;
    // Its clock is three seconds off.
    let other = Stage::at(settings(), Clock::starting_at(at(10_130)), Some(&other_dir));
    encoder.connect(&other);
    encoder.until(at(12_500)).await;
    assert!(assert_same_objects(&one, &other, "after the join").await > 20);

    encoder.until(at(40_110)).await;
    for step in 0..40 {
        assert_alike(&one, &other, &format!("full, step {step}")).await;
        encoder.play(millis(130)).await;
    }

    // The first one's process ends and starts again; its encoder does not repeat the headers.
    let before = one.media("v0").await.newest().0;
    encoder.disconnect(0);
    one.stop().await;
    encoder.play(millis(900)).await;
    let one = Stage::at(settings(), Clock::starting_at(encoder.now() + millis(1_700)), Some(&one_dir));
    encoder.reconnect(&one);
    encoder.play(seconds(4)).await;
    assert!(assert_same_objects(&one, &other, "after the restart").await > 10);
    assert!(one.media("v0").await.sequence > before, "the numbers never go back");
    encoder.play(seconds(30)).await;
    for step in 0..40 {
        assert_alike(&one, &other, &format!("full again, step {step}")).await;
        encoder.play(millis(130)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn each_version_of_a_playlist_is_the_same_on_both() {
    let (one, other) = (Stage::new(), Stage::new());
    let mut encoder = Encoder::from(one.clock, BASE, ladder());
    encoder.connect(&one);
    encoder.until(at(7_130)).await;
    encoder.connect(&other);
    encoder.until(at(40_110)).await;
    for track in TRACKS {
        let (a, b) = (one.follow(track), other.follow(track));
        encoder.play(seconds(5)).await;
        let (a, b) = (a.leave().await, b.leave().await);
        assert!(a.len() > 20);
        for (a, b) in a.iter().zip(&b) {
            assert_eq!(a.playlist.newest(), b.playlist.newest());
            assert_eq!(a.playlist.text, b.playlist.text);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_of_coding_is_told_alike_by_both() {
    let (one, other) = (Stage::new(), Stage::new());
    let mut encoder = Encoder::from(one.clock, BASE, ladder());
    encoder.connect(&one);
    encoder.until(at(7_130)).await;
    encoder.connect(&other);
    for (when, track) in [(12_030, "v0"), (20_930, "v1"), (28_250, "v0")] {
        encoder.until(at(when)).await;
        let feed = encoder.feed(track);
        let hevc = feed.source.header.codec.family() != Source::video("v0").header.codec.family();
        feed.change(if hevc { Source::video("v0") } else { Source::hevc("v0") });
    }
    for step in 0..20 {
        encoder.until(at(30_110 + step * 330)).await;
        for track in TRACKS {
            let path = format!("{track}/media.m3u8");
            assert_eq!(one.get(&path).await.text(), other.get(&path).await.text(), "{path} step {step}");
        }
        assert_same_objects(&one, &other, "after a change of coding").await;
    }
    assert_eq!(one.media("a0").await.all().last().map(|s| s.discontinuities), Some(3));
}

/// What is of the media, whoever tells it.
const OF_MEDIA: &str = "part.ready,segment.ready,segment.lost,discontinuity,timeline.anchored";

async fn told_by_id(stage: &Stage) -> BTreeMap<String, Event> {
    let told = stage.told(OF_MEDIA).await;
    let count = told.len();
    let by_id: BTreeMap<String, Event> = told.into_iter().map(|event| (event.id.clone(), event)).collect();
    assert_eq!(by_id.len(), count, "no id is told twice");
    by_id
}

#[tokio::test(start_paused = true)]
async fn both_tell_the_same_events_whenever_they_began() {
    let (one, other) = (Stage::new(), Stage::new());
    let mut encoder = Encoder::from(one.clock, BASE, ladder());
    encoder.connect(&one);
    encoder.until(at(7_130)).await;
    encoder.connect(&other);
    encoder.until(at(20_930)).await;
    encoder.feed("v0").change(Source::hevc("v0"));
    encoder.until(at(40_110)).await;
    let (one, other) = (told_by_id(&one).await, told_by_id(&other).await);
    for (id, event) in &other {
        let twin = one.get(id).unwrap_or_else(|| panic!("{id} is told by one alone"));
        assert_eq!(twin.data, event.data, "{id}");
        assert_eq!(twin.time, event.time, "{id}");
    }
    let later = one.values().filter(|event| event.time.0 > at(10_000));
    let alone: Vec<&str> = later.map(|event| event.id.as_str()).filter(|id| !other.contains_key(*id)).collect();
    assert!(alone.is_empty() && other.len() > 400, "{alone:?} of {}", other.len());
    assert!(other.contains_key(&format!("discontinuity:{CHANNEL}@1")));
}

#[tokio::test(start_paused = true)]
async fn a_push_cut_into_other_chunks_gives_the_same_parts() {
    let (one, other) = (Stage::new(), Stage::new());
    let mut fine = Encoder::of(&one, ladder());
    let mut coarse = Encoder::of(&other, ladder()).in_chunks_of(4);
    tokio::join!(fine.until(at(21_000)), coarse.until(at(21_000)));
    assert!(assert_same_objects(&one, &other, "in other chunks").await > 60);
}

#[tokio::test(start_paused = true)]
async fn a_discontinuity_is_counted_on_through_a_restart() {
    let dir = folder("twins-count");
    let stage = Stage::at(settings(), Clock::starting_at(BASE), Some(&dir));
    let mut encoder = Encoder::of(&stage, ladder());
    encoder.until(at(6_700)).await;
    encoder.disconnect(0);
    let mut again = Encoder::from(stage.clock, at(7_000), ladder()).counting_from_zero();
    again.connect(&stage);
    again.until(at(14_000)).await;
    let (generation, number) =
        (stage.media("v0").await.all().last().map(|s| s.discontinuities), stage.media("v0").await.newest().0);
    assert_eq!(generation, Some(1));
    again.disconnect(0);
    stage.stop().await;
    let stage = Stage::at(settings(), Clock::starting_at(again.now()), Some(&dir));
    again.reconnect(&stage);
    again.play(seconds(6)).await;
    for track in TRACKS {
        let media = stage.media(track).await;
        let newest = media.all().last().expect("a segment");
        assert_eq!((newest.discontinuities, newest.map.as_deref()), (1, Some("init-1.mp4")), "{track}: {}", media.text);
        assert!(media.sequence > number, "{track}");
    }
}
