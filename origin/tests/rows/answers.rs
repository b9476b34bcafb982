// SPDX-License-Identifier: Apache-2.0
//! How answers look: media types, methods, ranges, validators, compression, lifetimes, CORS (RFC 9110, RFC 9111).

use std::io::Read;

use http::{Method, StatusCode};

use crate::encoder::{Encoder, Source, at};
use crate::stage::{Answer, Stage, request};

async fn live() -> (Stage, Encoder, u64) {
    let stage = Stage::new();
    let mut encoder = Encoder::of(&stage, vec![Source::video("v0"), Source::audio("a0")]);
    encoder.until(at(13_100)).await;
    let whole = stage.media("v0").await.next_sequence() - 1;
    (stage, encoder, whole)
}

/// A path of every kind and its media type.
fn paths(whole: u64) -> Vec<(String, &'static str)> {
    let playlist = "application/vnd.apple.mpegurl";
    vec![
        ("multivariant.m3u8".to_owned(), playlist),
        ("plain.m3u8".to_owned(), playlist),
        ("manifest.mpd".to_owned(), "application/dash+xml"),
        ("timeline.mpd".to_owned(), "application/dash+xml"),
        ("v0/media.m3u8".to_owned(), playlist),
        (format!("v0/media.m3u8?_HLS_msn={whole}&_HLS_part=1"), playlist),
        ("a0/media.m3u8?_HLS_skip=YES".to_owned(), playlist),
        ("v0/plain.m3u8".to_owned(), playlist),
        ("v0/iframes.m3u8".to_owned(), playlist),
        ("v0/init-0.mp4".to_owned(), "video/mp4"),
        (format!("v0/{whole}.m4s"), "video/iso.segment"),
        (format!("a0/{whole}.m4s"), "video/iso.segment"),
        (format!("v0/{whole}.3.m4s"), "video/iso.segment"),
        (format!("v0/{}.1.m4s", whole + 1), "video/iso.segment"),
    ]
}

#[tokio::test(start_paused = true)]
async fn every_object_has_its_media_type_and_no_cookie() {
    let (stage, _encoder, whole) = live().await;
    for (path, media_type) in paths(whole) {
        let answer = stage.get(&path).await;
        assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, media_type), "{path}");
        assert!(!answer.headers.contains_key("set-cookie") && !answer.headers.contains_key("location"), "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn head_is_get_without_a_body_on_every_path() {
    let (stage, _encoder, whole) = live().await;
    let mut asked: Vec<String> = paths(whole).into_iter().map(|(path, _)| path).collect();
    let others = [
        "/time",
        "/healthz",
        "/readyz",
        "/metrics",
        "/api/v1/channels",
        "nothing/media.m3u8",
        "v0/1.m4s",
        "v0/media.m3u8?_HLS_part=1",
        "/live/none/multivariant.m3u8",
    ];
    asked.extend(others.map(str::to_owned));
    asked.push(format!("v0/{}.m4s", whole + 9));
    for path in asked {
        let (head, get) = (stage.head(&path).await, stage.get(&path).await);
        assert!(head.body.is_empty(), "{path}");
        assert_eq!(head.status, get.status, "{path}");
        for name in ["content-type", "cache-control", "etag", "access-control-allow-origin", "vary", "accept-ranges"] {
            assert_eq!(head.header(name), get.header(name), "{path}: {name}");
        }
        if path.starts_with("/metrics") {
            continue;
        }
        assert_eq!(head.header("content-length"), get.body.len().to_string(), "{path}");
    }
    let open = format!("v0/{}.m4s", whole + 1);
    let growing = stage.head(&open).await;
    assert_eq!((growing.status, growing.body.len()), (StatusCode::OK, 0));
    assert!(!growing.headers.contains_key("content-length"), "nobody knows how long it will be");
}

#[tokio::test(start_paused = true)]
async fn media_is_served_in_ranges() {
    let (stage, _encoder, whole) = live().await;
    for path in [format!("v0/{whole}.m4s"), format!("v0/{whole}.2.m4s"), "v0/init-0.mp4".to_owned()] {
        let all = stage.get(&path).await;
        let length = all.body.len();
        assert_eq!(all.header("accept-ranges"), "bytes", "{path}");
        let part = async |range: &str| stage.get_with(&path, &[("range", range)]).await;
        let first = [part("bytes=0-99").await, part("bytes=100-").await];
        for answer in &first {
            assert_eq!(
                (answer.status, answer.header("etag")),
                (StatusCode::PARTIAL_CONTENT, all.header("etag")),
                "{path}"
            );
            assert!(answer.header("cache-control").contains("immutable"));
        }
        assert_eq!(first[0].header("content-range"), format!("bytes 0-99/{length}"));
        assert_eq!([&first[0].body[..], &first[1].body[..]].concat(), all.body);
        assert_eq!(part("bytes=-10").await.body, all.body[length - 10..]);
        let past = part("bytes=99999999-").await;
        assert_eq!(
            (past.status, past.header("content-range")),
            (StatusCode::RANGE_NOT_SATISFIABLE, format!("bytes */{length}").as_str())
        );
        assert_eq!(past.header("access-control-allow-origin"), "*");
        let stale = stage.get_with(&path, &[("range", "bytes=0-9"), ("if-range", "\"another\"")]).await;
        assert_eq!((stale.status, stale.body), (StatusCode::OK, all.body.clone()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_is_still_good_is_not_sent_again() {
    let (stage, _encoder, whole) = live().await;
    for (path, _) in paths(whole) {
        for coding in ["identity", "gzip"] {
            let first = stage.get_with(&path, &[("accept-encoding", coding)]).await;
            let tag = first.header("etag").to_owned();
            assert!(tag.starts_with('"'), "{path}: a strong validator, not {tag:?}");
            let again = stage.get_with(&path, &[("accept-encoding", coding), ("if-none-match", &tag)]).await;
            assert_eq!((again.status, again.body.len()), (StatusCode::NOT_MODIFIED, 0), "{path}");
            assert_eq!(
                (again.header("etag"), again.header("cache-control")),
                (tag.as_str(), first.header("cache-control"))
            );
            let length = again.header("content-length");
            assert!(
                length.is_empty() || length == first.body.len().to_string(),
                "{path}: {length:?} is not its length"
            );
            let other = stage.get_with(&path, &[("accept-encoding", coding), ("if-none-match", "\"another\"")]).await;
            assert_eq!((other.status, other.body), (StatusCode::OK, first.body), "{path}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn texts_are_compressed_for_those_who_ask() {
    let (stage, _encoder, whole) = live().await;
    for (path, media_type) in paths(whole) {
        let (plain, zipped) = (stage.get(&path).await, stage.get_with(&path, &[("accept-encoding", "br, gzip")]).await);
        if media_type.starts_with("video/") {
            assert_eq!((zipped.header("content-encoding"), &zipped.body), ("", &plain.body), "{path}");
            continue;
        }
        assert_eq!((zipped.header("content-encoding"), zipped.header("vary")), ("gzip", "accept-encoding"), "{path}");
        assert_eq!(plain.header("vary"), "accept-encoding", "{path}");
        assert_ne!(plain.header("etag"), zipped.header("etag"), "{path}: two representations");
        let mut back = Vec::new();
        flate2::read::GzDecoder::new(&zipped.body[..]).read_to_end(&mut back).expect("gzip");
        assert_eq!(back, plain.body, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn lifetimes_follow_the_class_of_the_answer() {
    let (stage, _encoder, whole) = live().await;
    let target = 2.0;
    for (path, _) in paths(whole) {
        let answer = stage.get(&path).await;
        let expected = if path.contains(".mp4") || path.contains(".m4s") {
            assert!(answer.header("cache-control").contains("immutable"), "{path}");
            31_536_000.0
        } else if path.contains("_HLS_msn") {
            6.0 * target
        } else {
            target / 2.0
        };
        assert_eq!(answer.life(), expected, "{path}");
    }
    for (path, status, most) in [
        (format!("v0/media.m3u8?_HLS_msn={}", whole + 50), StatusCode::BAD_REQUEST, 4.0 * target),
        ("v0/media.m3u8?_HLS_part=0".to_owned(), StatusCode::BAD_REQUEST, 4.0 * target),
        ("v9/media.m3u8".to_owned(), StatusCode::NOT_FOUND, target),
        ("/live/none/multivariant.m3u8".to_owned(), StatusCode::NOT_FOUND, target),
        ("v0/no.such".to_owned(), StatusCode::NOT_FOUND, target),
        ("v0/init-7.mp4".to_owned(), StatusCode::NOT_FOUND, target),
        ("v0/1.m4s".to_owned(), StatusCode::NOT_FOUND, target),
        ("v0/1.0.m4s".to_owned(), StatusCode::NOT_FOUND, target),
        ("v0/t1.m4s".to_owned(), StatusCode::NOT_FOUND, target),
        (format!("v0/{}.m4s", whole + 3), StatusCode::NOT_FOUND, target),
        (format!("v9/{whole}.m4s"), StatusCode::NOT_FOUND, target),
    ] {
        let answer = stage.get(&path).await;
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.life() <= most, "{path}: {} s", answer.life());
        assert!(!answer.header("cache-control").contains("immutable"), "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_life_of_a_missing_object_ends_before_it_is_expected() {
    let (stage, mut encoder, whole) = live().await;
    // Segment whole + 1 is open since 12 s; the one after the next begins at 16 s.
    let path = format!("v0/{}.m4s", whole + 3);
    let early = stage.get(&path).await;
    let asked = stage.now();
    assert_eq!(early.status, StatusCode::NOT_FOUND);
    assert!(early.life() > 0.5 && early.life() < 2.0, "{}", early.life());
    encoder.until(asked + std::time::Duration::from_secs_f64(early.life())).await;
    let held = stage.park(&path);
    encoder.until(at(16_300)).await;
    drop(encoder);
    stage.end_channel().await;
    assert_eq!(held.answer().await.status, StatusCode::OK, "asked again when its life ends it is served");
}

#[tokio::test(start_paused = true)]
async fn any_page_may_read_answers_and_errors() {
    let (stage, _encoder, whole) = live().await;
    let mut asked: Vec<String> = paths(whole).into_iter().map(|(path, _)| path).collect();
    asked.extend(
        ["v9/media.m3u8", "v0/media.m3u8?_HLS_msn=x", "v0/1.m4s", "v0/x", "/live/none/x/media.m3u8", "timeline-1.mpp"]
            .map(str::to_owned),
    );
    let check = |answer: &Answer, path: &str| {
        assert_eq!(answer.header("access-control-allow-origin"), "*", "{path}: {}", answer.status);
        let exposed = answer.header("access-control-expose-headers");
        for name in ["Date", "Age", "ETag", "CMSD-Static", "CMSD-Dynamic"] {
            assert!(exposed.contains(name), "{path}: {exposed}");
        }
    };
    for path in asked {
        check(&stage.get(&path).await, &path);
        check(&stage.ask(request(Method::POST, &path, &[])).await, &path);
        let preflight = stage.ask(request(Method::OPTIONS, &path, &[("origin", "https://example.org")])).await;
        assert_eq!(preflight.status, StatusCode::NO_CONTENT, "{path}");
        assert_eq!(preflight.header("access-control-allow-origin"), "*", "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn other_methods_are_refused_with_those_that_are_not() {
    let (stage, _encoder, _) = live().await;
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let answer = stage.ask(request(method, "v0/media.m3u8", &[])).await;
        assert_eq!((answer.status, answer.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD, OPTIONS"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_segment_in_progress_is_sent_as_it_grows() {
    let (stage, mut encoder, whole) = live().await;
    let open = stage.park(&format!("v0/{}.m4s", whole + 1));
    encoder.until(at(14_000)).await;
    assert!(open.is_held());
    encoder.until(at(14_030)).await;
    let open = open.answer().await;
    assert_eq!(open.body, stage.get(&format!("v0/{}.m4s", whole + 1)).await.body);
    assert!(open.headed < at(13_150), "its head comes at once");
}

#[tokio::test(start_paused = true)]
async fn a_segment_that_goes_on_after_a_silence_is_served_again() {
    let (stage, mut encoder, whole) = live().await;
    encoder.until(at(13_500)).await;
    // Nothing is captured for seven seconds, then the same connection goes on where it was.
    tokio::time::sleep(std::time::Duration::from_secs(7)).await;
    encoder.delay = std::time::Duration::from_millis(7_020);
    encoder.until(at(20_800)).await;
    let path = format!("v0/{}.m4s", whole + 1);
    let open = stage.park(&path);
    encoder.until(at(21_300)).await;
    let open = open.answer().await;
    assert_eq!((open.status, open.broken), (StatusCode::OK, false));
    assert_eq!(open.body, stage.get(&path).await.body);
}

#[tokio::test(start_paused = true)]
async fn a_segment_whose_source_falls_silent_is_broken_off_not_ended() {
    let (stage, mut encoder, whole) = live().await;
    let open = stage.park(&format!("v0/{}.m4s", whole + 1));
    encoder.until(at(13_500)).await;
    encoder.disconnect(0);
    let open = open.answer().await;
    assert!(open.broken, "a stump must not look like the whole");
}
