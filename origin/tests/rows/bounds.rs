// SPDX-License-Identifier: Apache-2.0
//! The bounds of ingest, of waiting and of memory: what is over one is slowed or refused in words, and all else goes on.

use std::io::Write;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use headwater_origin::{Clock, Config, config};
use headwater_packager::cmaf::{ChunkOptions, header, write_chunk};
use http::{Method, Request, StatusCode};

use crate::encoder::{Encoder, Push, Source, at};
use crate::stage::{Answer, BASE, CHANNEL, Stage, millis, request, seconds, settings, settle};

fn bounded(ingest: config::Ingest) -> Stage {
    Stage::configured(Config { ingest, ..Config::default() }, settings())
}

/// A box that nobody needs.
fn free(bytes: usize) -> Bytes {
    let mut out = BytesMut::from(&u32::try_from(bytes).expect("a small box").to_be_bytes()[..]);
    out.extend_from_slice(b"free");
    out.resize(bytes, 0);
    out.freeze()
}

/// The start of a box that claims a size.
fn claim(kind: &[u8; 4], bytes: u32) -> Bytes {
    [&bytes.to_be_bytes()[..], kind].concat().into()
}

async fn post(stage: &Stage, channel: &str, name: &str, headers: &[(&str, &str)], body: Bytes) -> Answer {
    let mut request = Request::post(format!("/ingest/{channel}/Streams({name}.cmfv)"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    stage.ask(request.body(Body::from(body)).expect("a request")).await
}

async fn metrics(stage: &Stage) -> String {
    stage.ask(request(Method::GET, "/metrics", &[])).await.text()
}

async fn refused(stage: &Stage, reason: &str) -> bool {
    metrics(stage).await.contains(&format!("defect=\"{reason}\"}} "))
}

#[tokio::test(start_paused = true)]
async fn a_body_faster_than_its_rate_is_read_more_slowly_and_loses_nothing() {
    let stage = bounded(config::Ingest { body_bytes_per_second_max: 10_000, ..config::Ingest::default() });
    let begun = stage.now();
    let push = Push::open(stage.router(), "v0");
    push.send(header::write(&Source::video("v0").header));
    (0..100).for_each(|_| push.send(free(1_000)));
    assert_eq!(push.finish().await, StatusCode::OK);
    let took = stage.now().since(begun);
    assert!((seconds(9)..seconds(10)).contains(&took), "{took:?}: 100 kB at 10 kB/s, less a second's burst");
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_is_refused_by_size_and_counted() {
    let stage = bounded(config::Ingest::default());
    let sizes = [(b"moov", 2 << 20), (b"moof", 8 << 20), (b"free", 8 << 20), (b"mdat", 128 << 20)];
    for (kind, bytes) in sizes {
        let answer = post(&stage, CHANNEL, "v0", &[], claim(kind, bytes)).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{kind:?}");
        assert!(answer.text().contains(&format!("got {bytes}")), "{}", answer.text());
    }
    assert!(refused(&stage, "too_big").await);
}

#[tokio::test(start_paused = true)]
async fn too_many_samples_or_tracks_are_refused() {
    let stage = bounded(config::Ingest { samples_max: 10, tracks_max: 2, ..config::Ingest::default() });
    let source = Source::video("v0");
    let mut body = BytesMut::from(&header::write(&source.header)[..]);
    let samples: Vec<_> = (0..11).map(|n| source.sample(n, n == 0, n * source.frame)).collect();
    write_chunk(&mut body, &samples, ChunkOptions::default());
    let answer = post(&stage, CHANNEL, "v0", &[], body.freeze()).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(answer.text().contains("expected at most 10 samples"), "{}", answer.text());
    assert!(refused(&stage, "too_many").await);
    let header = header::write(&source.header);
    assert_eq!(post(&stage, CHANNEL, "v1", &[], header.clone()).await.status, StatusCode::OK);
    let answer = post(&stage, CHANNEL, "v2", &[], header).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(
        answer.text().contains("at most 2 tracks") && refused(&stage, "too_many_tracks").await,
        "{}",
        answer.text()
    );
}

#[tokio::test(start_paused = true)]
async fn one_body_too_many_is_told_to_come_back() {
    for limits in [
        config::Ingest { bodies_max: 2, ..config::Ingest::default() },
        config::Ingest { bodies_per_channel_max: 2, ..config::Ingest::default() },
    ] {
        let stage = bounded(limits);
        let open = [Push::open(stage.router(), "v0"), Push::open(stage.router(), "v1")];
        settle().await;
        let answer = post(&stage, CHANNEL, "v2", &[], Bytes::new()).await;
        assert_eq!((answer.status, answer.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "1"));
        for push in open {
            push.finish().await;
        }
        assert_eq!(post(&stage, CHANNEL, "v2", &[], Bytes::new()).await.status, StatusCode::OK);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_may_be_silent_for_four_segments_whatever_is_configured() {
    let stage = bounded(config::Ingest { body_idle_seconds: 1, ..config::Ingest::default() });
    let (patient, silent) = (Push::open(stage.router(), "v0"), Push::open(stage.router(), "v1"));
    // Four segments of two seconds: an encoder that sends a segment when it is whole, and is late with it.
    tokio::time::sleep(millis(7_900)).await;
    patient.send(header::write(&Source::video("v0").header));
    assert_eq!(patient.finish().await, StatusCode::OK);
    tokio::time::sleep(millis(200)).await;
    assert_eq!(silent.finish().await, StatusCode::REQUEST_TIMEOUT);
    assert!(refused(&stage, "idle").await);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_unfolds_beyond_reason_is_refused() {
    let stage = bounded(config::Ingest::default());
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let piece = free(1 << 20);
    (0..64).for_each(|_| packed.write_all(&piece).expect("memory"));
    let packed = packed.finish().expect("memory");
    assert!(packed.len() < 1 << 17, "a bomb of 500:1 and more: {}", packed.len());
    let answer = post(&stage, CHANNEL, "v0", &[("content-encoding", "gzip")], packed.into()).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(
        answer.text().contains("more than 100 times") && refused(&stage, "inflate_ratio").await,
        "{}",
        answer.text()
    );
}

#[tokio::test(start_paused = true)]
async fn media_sent_ahead_of_its_time_waits_at_its_encoder() {
    let bytes_max = 100_000;
    let ingest =
        config::Ingest { unpublished_bytes_max: bytes_max, fragment_bytes_max: 20_000, ..config::Ingest::default() };
    let stage = bounded(ingest);
    // An encoder whose clock is a minute ahead of what it sends: all of it comes at once.
    let ahead = Clock::starting_at(BASE + seconds(60));
    let mut encoder = Encoder::from(ahead, BASE, vec![Source::video("v0")]);
    encoder.connect(&stage);
    encoder.until(at(60_000)).await;
    let channel = stage.origin.channel(CHANNEL).expect("the channel");
    for _ in 0..58 {
        tokio::time::sleep(seconds(1)).await;
        let held = channel.memory.unpublished();
        assert!(held <= bytes_max + 20_000, "{held} bytes wait here");
    }
    let media = stage.media("v0").await;
    assert!(media.end_ms() >= (BASE + seconds(57)).millis() as f64, "and none is lost: {}", media.text);
    assert!(media.all().all(|segment| !segment.gap && segment.duration == 2.0 || segment.duration == 0.0));
}

#[tokio::test(start_paused = true)]
async fn one_waiter_too_many_is_told_so_at_once_and_a_place_that_is_left_is_free() {
    for http in [
        config::Http { waiters_max: 3, ..config::Http::default() },
        config::Http { waiters_per_channel_max: 3, ..config::Http::default() },
    ] {
        let stage = Stage::configured(Config { http, ..Config::default() }, settings());
        let mut encoder = Encoder::of(&stage, vec![Source::video("v0"), Source::audio("a0")]);
        encoder.until(at(6_100)).await;
        let (segment, part) = stage.media("v0").await.newest();
        let reload = format!("v0/media.m3u8?_HLS_msn={segment}&_HLS_part={}", part + 1);
        let mut parked: Vec<_> = (0..3).map(|_| stage.park(&reload)).collect();
        settle().await;
        let (asked, answer) = (stage.now(), stage.get(&reload).await);
        assert_eq!((answer.status, answer.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "1"));
        assert_eq!(answer.headed, asked);
        // What needs no waiting is answered.
        for path in ["multivariant.m3u8", "v0/media.m3u8", "manifest.mpd"] {
            assert_eq!(stage.get(path).await.status, StatusCode::OK, "{path}");
        }
        parked.pop().expect("three of them").leave();
        settle().await;
        let again = stage.park(&reload);
        encoder.play(millis(300)).await;
        assert_eq!(again.answer().await.status, StatusCode::OK);
        for waiter in parked {
            assert_eq!(waiter.answer().await.status, StatusCode::OK);
        }
        assert_eq!(stage.waiters(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_channel_past_its_bytes_lets_its_oldest_media_go_on_every_track() {
    let bytes_max = 500_000;
    let channel = config::Channel { window_seconds: 600, memory_bytes_max: bytes_max, ..settings() };
    let stage = Stage::with(channel);
    let mut encoder = Encoder::of(&stage, vec![Source::video("v0"), Source::audio("a0")]);
    for second in 1..120 {
        encoder.until(at(second * 1_000)).await;
        let held = stage.origin.channel(CHANNEL).expect("the channel").memory.held();
        assert!(held <= bytes_max, "{held} bytes after {second} s");
    }
    let (video, audio) = (stage.media("v0").await, stage.media("a0").await);
    assert!((12..50).contains(&video.segments.len()), "{} segments of 59", video.segments.len());
    assert!(video.sequence.abs_diff(audio.sequence) <= 1, "as long as each other");
    for track in ["v0", "a0"] {
        for uri in stage.media(track).await.uris() {
            assert_eq!(stage.head(&format!("{track}/{uri}")).await.status, StatusCode::OK, "{track}/{uri}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn where_even_live_windows_do_not_fit_they_get_shorter_and_nobody_new_is_let_in() {
    // The process is larger than this, so media has half of it: more than three segments, fewer than six.
    let config = Config { memory_bytes_max: 2 * 170_000, channels_from_push: true, ..Config::default() };
    let stage = Stage::configured(config, settings());
    let mut encoder = Encoder::of(&stage, vec![Source::video("v0"), Source::audio("a0")]);
    let client = stage.follow("v0");
    encoder.until(at(40_000)).await;
    let media = stage.media("v0").await;
    assert!((3..6).contains(&media.segments.len()), "{}", media.text);
    assert!(client.leave().await.len() > 190);
    let answer = post(&stage, "another", "v0", &[], header::write(&Source::video("v0").header)).await;
    assert_eq!((answer.status, answer.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "10"));
    assert!(refused(&stage, "memory").await && stage.origin.channel("another").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_channel_whose_shortest_window_does_not_fit_is_refused_in_words() {
    let stage = Stage::with(config::Channel { memory_bytes_max: 60_000, ..settings() });
    let mut encoder = Encoder::of(&stage, vec![Source::video("v0"), Source::audio("a0")]);
    encoder.until(at(20_000)).await;
    assert!(encoder.finish().await.contains(&StatusCode::SERVICE_UNAVAILABLE));
    let held = stage.origin.channel(CHANNEL).expect("the channel").memory.held();
    assert!(held < 120_000, "{held}");
}

#[tokio::test(start_paused = true)]
async fn names_that_nobody_configured_allocate_nothing() {
    let stage = Stage::new();
    let before = metrics(&stage).await.lines().count();
    for n in 0..1_000 {
        let answer = stage.ask(request(Method::GET, &format!("/live/c{n}/multivariant.m3u8"), &[])).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert_eq!(post(&stage, &format!("c{n}"), "v0", &[], Bytes::new()).await.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(stage.origin.channels().len(), 1);
    let grown = metrics(&stage).await.lines().count() - before;
    assert!(grown <= 10, "{grown} more lines of metrics");
}

#[tokio::test(start_paused = true)]
async fn several_ranges_are_answered_with_the_whole_and_nothing_else() {
    let stage = Stage::new();
    let mut encoder = Encoder::of(&stage, vec![Source::video("v0")]);
    encoder.until(at(6_000)).await;
    let uri = stage.media("v0").await.segments.last().and_then(|s| s.uri.clone()).expect("a whole segment");
    let whole = stage.get(&format!("v0/{uri}")).await;
    let bomb = format!("bytes={}", vec!["0-"; 1_300].join(","));
    let answer = stage.get_with(&format!("v0/{uri}"), &[("range", &bomb)]).await;
    assert_eq!((answer.status, answer.body), (StatusCode::OK, whole.body));
}
