// SPDX-License-Identifier: Apache-2.0
//! CMSD-Static (CTA-5006): what is said of each kind of object, and that it is the same whenever it is asked for.

use headwater_origin::Config;
use http::StatusCode;

use crate::encoder::{Encoder, Source, at};
use crate::stage::{Stage, settings};

async fn live(stage: &Stage) -> (Encoder, u64) {
    let mut encoder = Encoder::of(stage, vec![Source::video("v0"), Source::audio("a0")]);
    encoder.until(at(13_100)).await;
    (encoder, stage.media("v0").await.next_sequence() - 1)
}

/// What is said of an object, and its length.
async fn said(stage: &Stage, path: &str) -> (String, usize) {
    let answer = stage.get(path).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}");
    let not_modified = stage.get_with(path, &[("if-none-match", answer.header("etag"))]).await;
    let head = stage.head(path).await;
    for other in [&not_modified, &head] {
        assert_eq!(other.header("cmsd-static"), answer.header("cmsd-static"), "{path}: {}", other.status);
    }
    (answer.header("cmsd-static").to_owned(), answer.body.len())
}

/// Kilobits a second of so many bytes in so many milliseconds.
fn rate(bytes: usize, ms: usize) -> usize {
    (bytes * 8 + ms / 2) / ms
}

#[tokio::test(start_paused = true)]
async fn each_kind_of_object_says_what_it_is() {
    let stage = Stage::new();
    let (_encoder, whole) = live(&stage).await;
    for path in [
        "multivariant.m3u8".to_owned(),
        "plain.m3u8".to_owned(),
        "v0/media.m3u8".to_owned(),
        format!("v0/media.m3u8?_HLS_msn={whole}&_HLS_part=1"),
        "a0/media.m3u8?_HLS_skip=YES".to_owned(),
        "v0/plain.m3u8".to_owned(),
        "v0/iframes.m3u8".to_owned(),
    ] {
        assert_eq!(said(&stage, &path).await.0, "n=\"test\",ot=m,sf=h,st=l", "{path}");
    }
    for path in ["manifest.mpd", "timeline.mpd", "timeline-1.mpp"] {
        assert_eq!(said(&stage, path).await.0, "n=\"test\",ot=m,sf=d,st=l", "{path}");
    }
    assert_eq!(said(&stage, "v0/init-0.mp4").await.0, "n=\"test\",ot=i,st=l");
}

#[tokio::test(start_paused = true)]
async fn media_names_the_next_of_its_kind() {
    let stage = Stage::new();
    let (_encoder, whole) = live(&stage).await;
    let next = whole + 1;
    let (text, bytes) = said(&stage, &format!("v0/{whole}.m4s")).await;
    assert_eq!(text, format!("br={},d=2000,n=\"test\",nor=\"{next}.m4s\",ot=v,st=l", rate(bytes, 2_000)));
    let (text, bytes) = said(&stage, &format!("v0/{whole}.3.m4s")).await;
    assert_eq!(text, format!("br={},d=200,n=\"test\",nor=\"{whole}.4.m4s\",ot=v,sf=h,st=l", rate(bytes, 200)));
    let of_whole = format!("{whole}.");
    // Its parts, and itself.
    let last = stage.media("v0").await.uris().iter().filter(|uri| uri.starts_with(&of_whole)).count() - 2;
    let (text, bytes) = said(&stage, &format!("v0/{whole}.{last}.m4s")).await;
    assert_eq!(text, format!("br={},d=200,n=\"test\",nor=\"{next}.0.m4s\",ot=v,sf=h,st=l", rate(bytes, 200)));
    // The newest part of the segment in progress: the next one is not here yet.
    let open = format!("v0/{next}.1.m4s");
    assert!(said(&stage, &open).await.0.contains(&format!("nor=\"{next}.2.m4s\"")));
    let sound = said(&stage, &format!("a0/{whole}.m4s")).await.0;
    assert!(sound.ends_with(&format!("n=\"test\",nor=\"{next}.m4s\",ot=a,st=l")), "{sound}");
}

#[tokio::test(start_paused = true)]
async fn a_segment_by_its_time_names_the_next_by_its_time() {
    let stage = Stage::new();
    let (_encoder, whole) = live(&stage).await;
    let mpd = stage.get("timeline.mpd").await.text();
    let scale: i64 = between(&mpd, "timescale=\"", "\"").parse().unwrap();
    // Segments that tell UTC lie on its grid: two seconds each.
    let start = i64::try_from(whole).unwrap() * 2 * scale;
    let (text, bytes) = said(&stage, &format!("v0/t{start}.m4s")).await;
    let next = start + 2 * scale;
    assert_eq!(text, format!("br={},d=2000,n=\"test\",nor=\"t{next}.m4s\",ot=v,sf=d,st=l", rate(bytes, 2_000)));
    assert_eq!(stage.get(&format!("v0/t{start}.m4s")).await.body, stage.get(&format!("v0/{whole}.m4s")).await.body);
}

#[tokio::test(start_paused = true)]
async fn a_segment_in_progress_says_about_how_long_it_will_be() {
    let stage = Stage::new();
    let (_encoder, whole) = live(&stage).await;
    let next = whole + 1;
    let growing = stage.head(&format!("v0/{next}.m4s")).await;
    assert_eq!(growing.header("cmsd-static"), format!("d=2000,n=\"test\",nor=\"{}.m4s\",ot=v,st=l", next + 1));
}

#[tokio::test(start_paused = true)]
async fn what_was_said_of_a_part_stays_when_its_segment_is_complete() {
    let stage = Stage::new();
    let (mut encoder, whole) = live(&stage).await;
    let path = format!("v0/{}.1.m4s", whole + 1);
    let before = said(&stage, &path).await;
    encoder.until(at(17_000)).await;
    assert_eq!(said(&stage, &path).await, before);
}

#[tokio::test(start_paused = true)]
async fn an_ended_channel_says_that_all_of_it_is_there() {
    let stage = Stage::new();
    let (encoder, _) = live(&stage).await;
    drop(encoder);
    stage.end_channel().await;
    for (path, format) in [("v0/media.m3u8", "h"), ("multivariant.m3u8", "h"), ("manifest.mpd", "d")] {
        assert_eq!(said(&stage, path).await.0, format!("n=\"test\",ot=m,sf={format},st=v"), "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn it_can_be_turned_off_and_errors_say_nothing() {
    let mut config = Config::default();
    config.http.cmsd = false;
    let stage = Stage::configured(config, settings());
    let (_encoder, whole) = live(&stage).await;
    for path in ["v0/media.m3u8".to_owned(), "manifest.mpd".to_owned(), format!("v0/{whole}.m4s")] {
        assert!(!stage.get(&path).await.headers.contains_key("cmsd-static"), "{path}");
    }
    let stage = Stage::new();
    let (_encoder, _) = live(&stage).await;
    let missing = stage.get("v0/1.m4s").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert!(!missing.headers.contains_key("cmsd-static"));
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let from = text.find(before).expect(before) + before.len();
    &text[from..from + text[from..].find(after).expect(after)]
}
