// SPDX-License-Identifier: Apache-2.0
//! `headwater check` as an operator runs it: against this origin, against one with faults, and against what is no manifest.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use serde_json::Value;

use crate::harness::{
    Headwater, SOON, Scratch, free_port, get, program, project, push, request, run, try_request, until,
};

/// A check, with what a busy machine adds.
const CHECK: Duration = Duration::from_secs(120);
/// Rules that measure time from outside, where a busy machine is to blame as well.
const TIMED: [&str; 7] = [
    "part-late",
    "pdt-wall-clock",
    "date-skewed",
    "blocked-too-long",
    "in-progress-held-back",
    "first-chunk-late",
    "renditions-out-of-step",
];

/// How a check ended.
#[derive(Debug)]
struct Checked {
    code: Option<i32>,
    report: Value,
    complaint: String,
}

impl Checked {
    /// What became of a rule.
    fn outcome(&self, rule: &str) -> &str {
        let rules = self.report["rules"].as_array().map_or(&[][..], Vec::as_slice);
        let found = rules.iter().find(|r| r["name"] == rule);
        found.and_then(|r| r["outcome"].as_str()).unwrap_or_else(|| panic!("no rule {rule}: {self:#?}"))
    }

    fn broken(&self) -> BTreeMap<&str, &Value> {
        let rules = self.report["rules"].as_array().map_or(&[][..], Vec::as_slice);
        let broken = rules.iter().filter(|r| r["outcome"] == "broken");
        broken.filter_map(|r| Some((r["name"].as_str()?, &r["examples"]))).collect()
    }

    fn keeps_all(&self, url: &str) {
        assert_eq!(self.code, Some(0), "{url}: {self:#?}");
        let broken: Vec<_> = self.broken().into_iter().filter(|(rule, _)| !TIMED.contains(rule)).collect();
        assert!(broken.is_empty(), "{url}: {broken:#?}");
    }
}

/// Runs `headwater check` to its end.
fn check(url: &str, seconds: u32, arguments: &[&str], environment: &[(&str, &str)]) -> Checked {
    let output = Command::new(program())
        .args(["check", url, "--json", "--seconds", &seconds.to_string()])
        .args(arguments)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .and_then(|child| wait(child, url));
    let output = output.unwrap_or_else(|e| panic!("{url}: {e}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Checked {
        code: output.status.code(),
        report: serde_json::from_str(&text).unwrap_or(Value::Null),
        complaint: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn wait(child: std::process::Child, url: &str) -> std::io::Result<std::process::Output> {
    let id = child.id();
    let reading = std::thread::spawn(move || child.wait_with_output());
    if until(CHECK, || reading.is_finished().then_some(())).is_none() {
        let _ = Command::new("kill").arg(id.to_string()).status();
        panic!("{url}: not checked within {CHECK:?}");
    }
    reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The demo, past the skip boundary.
fn demo() -> Arc<Headwater> {
    let demo = Headwater::shared_demo();
    let whole =
        |track: &Value| track["segments"].as_array().map_or(0, |all| all.iter().filter(|s| s["open"] == false).count());
    demo.wait_channel("demo", |state| {
        state["tracks"].as_array().is_some_and(|t| t.len() == 4 && t.iter().all(|t| whole(t) >= 8))
    });
    demo
}

#[test]
fn the_demo_keeps_every_rule_of_hls_and_dash() {
    let demo = demo();
    std::thread::scope(|threads| {
        let run = |name: &'static str| {
            let url = demo.url(&format!("/live/demo/{name}"));
            threads.spawn(move || (name, check(&url, 12, &[], &[])))
        };
        let running = ["multivariant.m3u8", "plain.m3u8", "manifest.mpd", "timeline.mpd"].map(run);
        for (name, checked) in running.map(|r| r.join().unwrap_or_else(|p| std::panic::resume_unwind(p))) {
            checked.keeps_all(name);
            let looked_at: &[&str] = match name {
                "multivariant.m3u8" => &[
                    "hint-differs",
                    "delta-differs",
                    "segment-is-not-its-parts",
                    "rendition-report-missing",
                    "same-position-differs",
                    "independent-without-sync",
                    "part-duration-wrong",
                    "pdt-media-time-differs",
                    "part-without-msn",
                    "msn-too-far",
                    "range-differs",
                    "missing-object",
                ],
                "plain.m3u8" => {
                    &["not-updated-in-time", "segment-missing", "media-continuous", "segment-duration-wrong"]
                }
                "manifest.mpd" => &["in-progress-differs", "segment-time", "prft-missing", "utc-timing-unavailable"],
                _ => &["patch-differs", "timeline-gap", "segment-time", "segment-duration", "if-none-match"],
            };
            for rule in looked_at {
                assert_eq!(checked.outcome(rule), "kept", "{name}: {rule}: {checked:#?}");
            }
        }
    });
    // What it found about itself meanwhile.
    let metrics = demo.get("/metrics").text();
    assert!(metrics.contains("headwater_self_check_texts_total{channel=\"demo\"}"), "{metrics}");
    let own: Vec<&str> = metrics.lines().filter(|l| l.starts_with("headwater_self_check_violations_total{")).collect();
    assert!(own.is_empty(), "{own:#?}\n{}", demo.process.log());
}

#[test]
fn an_origin_over_tls_is_checked_by_its_certificate_or_without() {
    let files = Scratch::new("check-tls");
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let (certificate, key) = (files.path.join("chain.pem"), files.path.join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).expect("a scratch file");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("a scratch file");
    let toml = format!("channels_from_push = true\n[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n");
    let origin = Headwater::serve(&toml, &[]);
    let base = origin.base.replace("http://127.0.0.1", "https://localhost");
    // The sample ladder's own pusher speaks plain HTTP.
    for (track, body) in [("v0.cmfv", "v0.cmfv"), ("a0.cmfa", "a0.cmfa")] {
        let file = format!("@{}", project("cli/assets/ladder").join(body).display());
        let to = format!("{base}/ingest/news/Streams({track})");
        run("curl", &["-sSfk", "-X", "POST", "--data-binary", &file, &to], SOON);
    }
    run("curl", &["-sSfk", "-X", "POST", &format!("{base}/api/v1/channels/news/end")], SOON);
    let url = format!("{base}/live/news/multivariant.m3u8");
    let trusted = certificate.display().to_string();
    let checked = check(&url, 3, &[], &[("SSL_CERT_FILE", &trusted)]);
    assert_eq!((checked.code, &checked.report["protocol"]), (Some(0), &Value::from("HTTP/2.0")), "{checked:#?}");
    assert_eq!(check(&url, 3, &["--insecure"], &[]).code, Some(0));
    let refused = check(&url, 3, &[], &[]);
    assert_eq!((refused.code, refused.complaint.lines().count()), (Some(2), 1), "{refused:#?}");
    assert!(refused.complaint.contains("certificate"), "{refused:#?}");
}

#[test]
fn a_channel_that_has_ended_keeps_the_rules() {
    let origin =
        Headwater::serve("channels_from_push = true\n[self_check]\ncpu_ms_per_channel_hour = 4294967295\n", &[]);
    let mut push = push(&origin, "news", "v0,a0");
    let listed = |state: &Value| state["tracks"][0]["segments"].as_array().is_some_and(|all| all.len() > 4);
    origin.wait_channel("news", |state| state["tracks"].as_array().is_some_and(|t| t.len() == 2) && listed(state));
    push.terminate();
    let _ = push.wait(SOON);
    let ended = request("POST", &origin.url("/api/v1/channels/news/end"), &[], &[]);
    assert_eq!(ended.status, 202);
    origin.wait_channel("news", |state| state["state"] == "ended");
    for name in ["multivariant.m3u8", "manifest.mpd", "timeline.mpd"] {
        check(&origin.url(&format!("/live/news/{name}")), 2, &[], &[]).keeps_all(name);
    }
    let hls = check(&origin.url("/live/news/v0/media.m3u8"), 2, &[], &[]);
    assert_eq!((hls.outcome("ended-with-hint"), hls.outcome("ended-with-directives")), ("kept", "kept"), "{hls:#?}");
    let metrics = origin.get("/metrics").text();
    assert!(!metrics.contains("headwater_self_check_violations_total{"), "{metrics}\n{}", origin.process.log());
}

/// What a faulty origin makes of an answer: its path, its query and how many of the kind came before.
type Fault = fn(&str, &str, u32, Vec<u8>) -> (u16, Vec<u8>);

/// An origin that passes on the demo's answers with a fault.
fn faulty(runtime: &tokio::runtime::Runtime, demo: &Headwater, fault: Fault) -> String {
    let (base, count) = (demo.base.clone(), Arc::new(AtomicU32::new(0)));
    let pass = move |request: Request<Body>| {
        let (base, count) = (base.clone(), Arc::clone(&count));
        async move {
            let passing = tokio::task::spawn_blocking(move || passed(&base, &request, fault, &count));
            passing.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
        }
    };
    let socket = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a free port");
    let address = socket.local_addr().expect("an address");
    runtime.spawn(async move { axum::serve(socket, Router::new().fallback(pass)).await });
    format!("http://{address}/live/demo")
}

fn passed(base: &str, request: &Request<Body>, fault: Fault, count: &AtomicU32) -> Response<Body> {
    let uri = request.uri();
    let named = request.headers().iter().filter(|(name, _)| !["host", "connection"].contains(&name.as_str()));
    let headers: Vec<_> = named.filter_map(|(n, v)| Some((n.as_str(), v.to_str().ok()?))).collect();
    let url = format!("{base}{uri}");
    let Ok(answer) = try_request(request.method().as_str(), &url, &headers, &[]) else {
        return Response::builder().status(502).body(Body::empty()).expect("a response");
    };
    let mut response = Response::builder();
    for name in ["content-type", "content-range", "content-encoding", "cache-control", "etag", "vary", "date"] {
        if let Some(value) = answer.header(name) {
            response = response.header(name, value);
        }
    }
    let plain = answer.status == 200 && answer.header("content-encoding").is_none() && request.method() == "GET";
    let (status, body) = match plain {
        true => fault(uri.path(), uri.query().unwrap_or(""), count.fetch_add(1, Ordering::Relaxed), answer.body),
        false => (answer.status, answer.body),
    };
    response.status(status).body(Body::from(body)).expect("a response")
}

/// A text with every `from` replaced, where `path` ends so.
fn replaced(path: &str, end: &str, body: Vec<u8>, from: &str, to: &str) -> (u16, Vec<u8>) {
    if !path.ends_with(end) {
        return (200, body);
    }
    (200, String::from_utf8_lossy(&body).replace(from, to).into_bytes())
}

fn without_reports(path: &str, _: &str, _: u32, body: Vec<u8>) -> (u16, Vec<u8>) {
    replaced(path, "v0/media.m3u8", body, "#EXT-X-RENDITION-REPORT", "#EXT-X-OTHER")
}

fn short_hold_back(path: &str, _: &str, _: u32, body: Vec<u8>) -> (u16, Vec<u8>) {
    replaced(path, "media.m3u8", body, "PART-HOLD-BACK=0.6", "PART-HOLD-BACK=0.3")
}

fn spoilt_segments(path: &str, _: &str, _: u32, mut body: Vec<u8>) -> (u16, Vec<u8>) {
    let name = path.rsplit('/').next().unwrap_or("");
    if name.ends_with(".m4s") && name.matches('.').count() == 1 {
        body.iter_mut().rev().take(1).for_each(|byte| *byte ^= 1);
    }
    (200, body)
}

fn other_deltas(path: &str, query: &str, _: u32, body: Vec<u8>) -> (u16, Vec<u8>) {
    let end = if query.contains("_HLS_skip") { "media.m3u8" } else { "nothing" };
    replaced(path, end, body, "#EXTINF:1,", "#EXTINF:0.9,")
}

fn old_segments_refused(_: &str, query: &str, _: u32, body: Vec<u8>) -> (u16, Vec<u8>) {
    let alone = query.starts_with("_HLS_msn=") && !query.contains('&');
    if alone { (400, b"too old".to_vec()) } else { (200, body) }
}

fn moving_start(path: &str, _: &str, count: u32, body: Vec<u8>) -> (u16, Vec<u8>) {
    let start = format!("availabilityStartTime=\"1970-01-01T00:00:{:02}Z\"", count % 60);
    replaced(path, ".mpd", body, "availabilityStartTime=\"1970-01-01T00:00:00Z\"", &start)
}

fn cut_off_parts(path: &str, _: &str, _: u32, mut body: Vec<u8>) -> (u16, Vec<u8>) {
    if is_part(path) {
        body.truncate(body.len() / 2);
    }
    (200, body)
}

fn is_part(path: &str) -> bool {
    path.ends_with(".m4s") && path.rsplit('/').next().is_some_and(|name| name.matches('.').count() == 2)
}

fn wrong_durations(path: &str, _: &str, _: u32, body: Vec<u8>) -> (u16, Vec<u8>) {
    replaced(path, "media.m3u8", body, "#EXT-X-PART:DURATION=0.2,", "#EXT-X-PART:DURATION=0.19,")
}

fn reloads_that_do_not_wait(path: &str, query: &str, _: u32, body: Vec<u8>) -> (u16, Vec<u8>) {
    // What came last is taken away, so that what was waited for is not there.
    if !path.ends_with("media.m3u8") || !query.contains("_HLS_part") {
        return (200, body);
    }
    let text = String::from_utf8_lossy(&body).into_owned();
    let last = text.rfind("#EXT-X-PART:").map_or(text.len(), |at| at);
    let rest = text[last..].split_once('\n').map_or("", |(_, rest)| rest);
    (200, format!("{}{rest}", &text[..last]).into_bytes())
}

fn no_dependence_told(path: &str, _: &str, _: u32, body: Vec<u8>) -> (u16, Vec<u8>) {
    replaced(path, "media.m3u8", body, ".1.m4s\"\n", ".1.m4s\",INDEPENDENT=YES\n")
}

fn skewed_dates(path: &str, _: &str, _: u32, body: Vec<u8>) -> (u16, Vec<u8>) {
    // A minute earlier on one rendition: consistent by itself.
    replaced(path, "a0/media.m3u8", body, "Z\n", "+00:01\n")
}

fn missing_segments(path: &str, _: &str, _: u32, body: Vec<u8>) -> (u16, Vec<u8>) {
    if path.ends_with(".m4s") && !is_part(path) { (404, b"gone".to_vec()) } else { (200, body) }
}

fn other_segments(path: &str, _: &str, count: u32, mut body: Vec<u8>) -> (u16, Vec<u8>) {
    if path.ends_with(".m4s") {
        body.extend([0, 0, 0, 12, b'f', b'r', b'e', b'e']);
        body.extend(count.to_be_bytes());
    }
    (200, body)
}

fn later_media(path: &str, _: &str, _: u32, body: Vec<u8>) -> (u16, Vec<u8>) {
    replaced(path, ".mpd", body, "presentationTimeOffset=\"", "presentationTimeOffset=\"9")
}

fn patches_with_other_times(path: &str, _: &str, _: u32, body: Vec<u8>) -> (u16, Vec<u8>) {
    replaced(path, ".mpp", body, " d=\"", " d=\"1")
}

/// What breaks, where it is looked at, and how it is broken.
type Case = (&'static [&'static str], &'static str, Fault);

const CASES: [Case; 15] = [
    (&["rendition-report-missing"], "multivariant.m3u8", without_reports),
    (&["part-hold-back", "part-hold-back-short"], "v1/media.m3u8", short_hold_back),
    (&["segment-is-not-its-parts"], "v0/media.m3u8", spoilt_segments),
    (&["delta-differs"], "v0/media.m3u8", other_deltas),
    (&["old-msn"], "v0/media.m3u8", old_segments_refused),
    (&["media-unreadable", "segment-is-not-its-parts"], "v0/media.m3u8", cut_off_parts),
    (&["part-duration-wrong", "parts-differ-from-segment"], "v0/media.m3u8", wrong_durations),
    (&["blocking-answer-early"], "v0/media.m3u8", reloads_that_do_not_wait),
    (&["independent-without-sync"], "v0/media.m3u8", no_dependence_told),
    (&["pdt-media-time-differs"], "multivariant.m3u8", skewed_dates),
    (&["segment-missing"], "v0/media.m3u8", missing_segments),
    (&["hint-differs", "segment-is-not-its-parts"], "v0/media.m3u8", other_segments),
    (&["availability-start-changed"], "manifest.mpd", moving_start),
    (&["segment-time"], "manifest.mpd", later_media),
    (&["patch-differs"], "timeline.mpd", patches_with_other_times),
];

#[test]
fn an_origin_with_a_fault_is_found_by_the_rules_it_breaks() {
    let demo = demo();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    // A few at a time: each is a process, an origin and a busy client.
    for cases in CASES.chunks(4) {
        std::thread::scope(|threads| {
            for (rules, name, fault) in cases {
                let url = format!("{}/{name}", faulty(&runtime, &demo, *fault));
                threads.spawn(move || {
                    let checked = check(&url, 5, &[], &[]);
                    assert_eq!(checked.code, Some(1), "{rules:?}: {checked:#?}");
                    for rule in *rules {
                        assert_eq!(checked.outcome(rule), "broken", "{rule}: {checked:#?}");
                        let examples = checked.broken()[rule].as_array().map_or(0, Vec::len);
                        assert!(examples > 0, "{rule}: {checked:#?}");
                    }
                });
            }
        });
    }
    runtime.shutdown_background();
}

#[test]
fn what_cannot_be_checked_is_one_clear_line_and_two() {
    let demo = demo();
    assert_eq!(get(&demo.url("/time")).status, 200);
    let closed = format!("http://127.0.0.1:{}/live.m3u8", free_port());
    for (url, words) in [
        (demo.url("/time"), "neither a playlist"),
        (demo.url("/live/none/multivariant.m3u8"), "404"),
        (closed, "refused"),
        ("rtmp://example.org/live".to_owned(), "http or https"),
        ("multivariant.m3u8".to_owned(), "http or https"),
    ] {
        let checked = check(&url, 2, &[], &[]);
        assert_eq!((checked.code, checked.complaint.lines().count()), (Some(2), 1), "{url}: {checked:#?}");
        assert!(checked.complaint.contains(words), "{url}: {checked:#?}");
        assert_eq!(checked.report, Value::Null);
    }
}
