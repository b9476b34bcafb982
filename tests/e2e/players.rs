// SPDX-License-Identifier: Apache-2.0
//! Real players in headless Chromium against the demo: each starts, plays on without a stall, and asks for nothing
//! that it does not get.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Headwater, SOON, Scratch, project, run, until};
use crate::shield;

/// How long each plays; start-up comes on top.
const SECONDS: u64 = 20;
/// How often a play that stalled is tried.
const ATTEMPTS: usize = 3;
/// A browser needs a processor for itself to be a fair viewer.
static BROWSER: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    BROWSER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Plays and returns the report of `tests/players/play.mjs`.
fn watch(player: &str, url: &str, more: &[&str]) -> Value {
    let script = project("tests/players/play.mjs");
    let seconds = SECONDS.to_string();
    let mut arguments = vec![script.to_str().expect("a path"), "--player", player, "--url", url, "--seconds", &seconds];
    arguments.extend(more);
    let line = run("node", &arguments, Duration::from_secs(SECONDS + 75));
    serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line:?}: {e}"))
}

/// Plays, and checks what holds for every player.
fn play(player: &str, url: &str, more: &[&str]) -> Value {
    let mut report = watch(player, url, more);
    // A browser that has to share its two processors may stand still with every answer at hand. Told, and given another
    // try; a request that failed gets none.
    for _ in 1..ATTEMPTS {
        if report["stalls"] == 0 || report["requests"]["failed"] != 0 {
            break;
        }
        println!("{player} {more:?}: STALLED for {} s", report["stall_seconds"]);
        report = watch(player, url, more);
    }
    let log = report["requests_log"].take();
    let text = format!("{report:#}");
    assert_eq!(report["started"], true, "{text}");
    assert_eq!(report["errors"], Value::Array(Vec::new()), "{text}");
    assert_eq!(report["stalls"], 0, "{text}");
    assert!(number(&report, "played_seconds") >= SECONDS as f64 - 3.0, "{text}");
    assert!(number(&report, "startup_ms") < 5_000.0, "{text}");
    assert!(number(&report, "decoded_frames") >= (SECONDS - 3) as f64 * 23.0, "{text}");
    for refused in ["status_4xx", "status_5xx", "failed"] {
        assert_eq!(report["requests"][refused], 0, "{refused}: {text}\n{}", faults(&log));
    }
    assert_eq!(report["levels"], serde_json::json!([180, 360, 540]), "{text}");
    println!("{player} {more:?}: latency {} s, start-up {} ms", report["latency_seconds"], report["startup_ms"]);
    report["requests_log"] = log;
    report
}

fn faults(log: &Value) -> String {
    let requests = log.as_array().map_or(&[][..], Vec::as_slice);
    let faulty = requests.iter().filter(|r| r["status"].as_u64().is_none_or(|s| s >= 400));
    faulty.map(|r| format!("{r}\n")).collect()
}

fn number(report: &Value, name: &str) -> f64 {
    report[name].as_f64().unwrap_or_else(|| panic!("no {name} in {report:#}"))
}

fn count(report: &Value, what: &str) -> u64 {
    report["requests"][what].as_u64().unwrap_or_else(|| panic!("no count of {what}"))
}

/// Segment requests that took a good part of the segment: what they got was still being made.
fn streamed(report: &Value) -> usize {
    let log = report["requests_log"].as_array().expect("a log");
    let segments = log.iter().filter(|r| r["url"].as_str().is_some_and(|u| u.ends_with(".m4s")));
    segments.filter(|r| r["duration_ms"].as_u64().is_some_and(|ms| ms >= 500)).count()
}

#[test]
fn hls_js_plays_at_low_latency_by_parts_blocking_reloads_and_deltas() {
    let demo = Headwater::shared_demo();
    let _turn = turn();
    let report = play("hls", &demo.url("/live/demo/multivariant.m3u8"), &[]);
    assert_eq!(report["low_latency"], true);
    assert!(number(&report, "latency_seconds") < 2.5, "{} s", report["latency_seconds"]);
    assert!(count(&report, "parts") > 100 && count(&report, "blocking") > 100, "{}", report["requests"]);
    assert!(count(&report, "skip") > 50, "{}", report["requests"]);
}

#[test]
fn hls_js_plays_whole_segments_without_low_latency() {
    let demo = Headwater::shared_demo();
    let _turn = turn();
    let report = play("hls", &demo.url("/live/demo/multivariant.m3u8"), &["--ll", "false"]);
    assert_eq!(report["low_latency"], false);
    assert_eq!(count(&report, "parts"), 0, "{}", report["requests"]);
    assert!(count(&report, "segments") >= 30, "{}", report["requests"]);
    assert!(number(&report, "latency_seconds") < 8.0, "{} s", report["latency_seconds"]);
}

#[test]
fn dash_js_plays_segments_while_they_are_made() {
    let demo = Headwater::shared_demo();
    let _turn = turn();
    let report = play("dash", &demo.url("/live/demo/manifest.mpd"), &[]);
    assert_eq!(report["low_latency"], true);
    assert!(number(&report, "latency_seconds") < 4.0, "{} s", report["latency_seconds"]);
    assert!(streamed(&report) >= 15, "{} segments were fetched in progress", streamed(&report));
}

#[test]
fn dash_js_follows_a_timeline_by_patches() {
    let demo = Headwater::shared_demo();
    let _turn = turn();
    let report = play("dash", &demo.url("/live/demo/timeline.mpd"), &[]);
    assert!(number(&report, "latency_seconds") < 8.0, "{} s", report["latency_seconds"]);
    // Patches, not the MPD again and again; a change of the ladder's bitrates may cost one.
    assert!(count(&report, "mpd") <= 4, "{}", report["requests"]);
    let log = report["requests_log"].as_array().expect("a log");
    let patches = log.iter().filter(|r| r["url"].as_str().is_some_and(|u| u.ends_with(".mpp"))).count();
    assert!(patches >= 12, "{patches} patches");
}

#[test]
fn shaka_plays_dash_at_low_latency() {
    let demo = Headwater::shared_demo();
    let _turn = turn();
    let report = play("shaka", &demo.url("/live/demo/manifest.mpd"), &[]);
    assert_eq!(report["low_latency"], true);
    assert!(number(&report, "latency_seconds") < 4.0, "{} s", report["latency_seconds"]);
    assert!(streamed(&report) >= 15, "{} segments were fetched in progress", streamed(&report));
}

#[test]
fn shaka_plays_low_latency_hls() {
    let demo = Headwater::shared_demo();
    let _turn = turn();
    let report = play("shaka", &demo.url("/live/demo/multivariant.m3u8"), &[]);
    assert!(number(&report, "latency_seconds") < 4.0, "{} s", report["latency_seconds"]);
    assert!(count(&report, "parts") > 100, "{}", report["requests"]);
}

#[test]
fn the_watch_page_plays_hls() {
    let demo = Headwater::shared_demo();
    let _turn = turn();
    // Where the demo says: through its shield.
    let report = play("page", demo.addresses["watch"].as_str().expect("an address"), &[]);
    assert_eq!(report["low_latency"], true);
    assert!(number(&report, "latency_seconds") < 2.5, "{} s", report["latency_seconds"]);
    assert!(count(&report, "parts") > 100, "{}", report["requests"]);
}

#[test]
fn the_watch_page_plays_dash() {
    let demo = Headwater::shared_demo();
    let _turn = turn();
    let report = play("page", &demo.url("/watch/?channel=demo&player=dash"), &[]);
    assert_eq!(report["low_latency"], true);
    assert!(number(&report, "latency_seconds") < 4.0, "{} s", report["latency_seconds"]);
    assert!(streamed(&report) >= 15, "{} segments were fetched in progress", streamed(&report));
}

#[test]
fn hls_js_plays_at_low_latency_through_a_shield() {
    let demo = Headwater::shared_demo();
    let _turn = turn();
    let shield = demo.addresses["shield"].as_str().expect("an address");
    let report = play("hls", &format!("{shield}/live/demo/multivariant.m3u8"), &[]);
    assert_eq!(report["low_latency"], true);
    assert!(number(&report, "latency_seconds") < 2.5, "{} s", report["latency_seconds"]);
    assert!(count(&report, "parts") > 100 && count(&report, "blocking") > 100, "{}", report["requests"]);
}

#[test]
fn dash_js_plays_segments_while_they_are_made_through_a_shield() {
    let demo = Headwater::shared_demo();
    let _turn = turn();
    let shield = demo.addresses["shield"].as_str().expect("an address");
    let report = play("dash", &format!("{shield}/live/demo/manifest.mpd"), &[]);
    assert!(number(&report, "latency_seconds") < 4.0, "{} s", report["latency_seconds"]);
    assert!(streamed(&report) >= 15, "{} segments were fetched in progress", streamed(&report));
}

#[test]
fn hls_js_plays_ffmpegs_output_behind_nginx_through_a_shield() {
    let folder = Scratch::new("foreign-hls");
    let _encoder = shield::live_hls(&folder.path);
    let nginx = shield::Nginx::over(&folder.path);
    let shield = shield::shield(&[&nginx.base], "", "");
    let listed = || (shield.get("/v0.m3u8").text().matches("#EXTINF").count() >= 4).then_some(());
    assert!(until(SOON, listed).is_some(), "ffmpeg writes a playlist");
    let _turn = turn();
    play("hls", &shield.url("/master.m3u8"), &["--ll", "false"]);
}

#[test]
fn dash_js_plays_ffmpegs_output_behind_nginx_through_a_shield() {
    // What time it is, ffmpeg's MPD leaves to others.
    let (demo, folder) = (Headwater::shared_demo(), Scratch::new("foreign-dash"));
    let _encoder = shield::live_dash(&folder.path, Some(&demo.url("/time")));
    let nginx = shield::Nginx::over(&folder.path);
    let shield = shield::shield(&[&nginx.base], "", "");
    let segments = || std::fs::read_dir(&folder.path).expect("a folder").flatten().count();
    assert!(until(SOON, || (segments() > 30).then_some(())).is_some(), "ffmpeg writes segments");
    let _turn = turn();
    // Its MPD suggests a delay of one segment, which is whole only then: players take a few seconds of their own.
    play("dash", &shield.url("/manifest.mpd"), &["--ll", "false"]);
}
