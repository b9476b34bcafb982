// SPDX-License-Identifier: Apache-2.0
//! What an operator meets: state, health, metrics and logs, TLS, stream keys, configuration errors, and the stop.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::boxes::Pieces;
use crate::harness::{Headwater, Process, SOON, Scratch, free_port, get, program, project, push, request, run, until};
use crate::playlist::date;

/// What the process grants open requests after SIGTERM, and a little.
const STOP: Duration = Duration::from_secs(12);

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("expected a number, got {value}"))
}

fn time(value: &Value) -> i64 {
    let text = value.as_str().unwrap_or_else(|| panic!("expected a time, got {value}"));
    date(text).unwrap_or_else(|| panic!("expected a time, got {text}"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("expected a list, got {value}"))
}

fn track<'a>(channel: &'a Value, id: &str) -> &'a Value {
    channel["tracks"].as_array().and_then(|tracks| tracks.iter().find(|t| t["id"] == id)).unwrap_or(&Value::Null)
}

/// Whole segments of a track; none if there is no such track yet.
fn whole(channel: &Value, id: &str) -> usize {
    track(channel, id)["segments"].as_array().map_or(0, |all| all.iter().filter(|s| s["open"] == false).count())
}

#[test]
fn the_api_tells_every_channel_and_what_it_holds() {
    let demo = Headwater::shared_demo();
    let full =
        |c: &Value| list(&c["tracks"]).len() == 4 && list(&c["tracks"]).iter().all(|t| list(&t["segments"]).len() > 2);
    let channel = demo.wait_channel("demo", full);
    let answer = get(&demo.url("/api/v1/channels"));
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let all: Value = serde_json::from_str(&answer.text()).expect("JSON");
    time(&all["now"]);
    assert_eq!(all["channels"], serde_json::json!([{ "id": "demo", "source": "file", "state": "live", "tracks": 4 }]));
    assert_eq!((channel["id"].as_str(), channel["state"].as_str()), (Some("demo"), Some("live")));
    assert!(time(&channel["now"]) >= time(&channel["started_at"]));
    assert_eq!((number(&channel["segment_duration"]), number(&channel["part_duration"])), (1.0, 0.2));
    assert_eq!((number(&channel["target_duration"]), number(&channel["generation"])), (1.0, 0.0));
    assert!(number(&channel["window_seconds"]) >= 6.0);
    assert_eq!(channel["defects"], serde_json::json!({}));
    let kinds: Vec<(&str, &str)> =
        list(&channel["tracks"]).iter().map(|t| (t["id"].as_str().unwrap(), t["kind"].as_str().unwrap())).collect();
    assert_eq!(kinds, [("a0", "audio"), ("v0", "video"), ("v1", "video"), ("v2", "video")]);
    for track in list(&channel["tracks"]) {
        if track["kind"] == "video" {
            assert!(number(&track["width"]) > number(&track["height"]) && track["frame_rate"] == "25", "{track}");
            assert!(track["codec"].as_str().is_some_and(|c| c.starts_with("avc1.")));
        } else {
            assert_eq!((number(&track["sample_rate"]), number(&track["channels"])), (48_000.0, 2.0));
            assert_eq!(track["codec"], "mp4a.40.2");
        }
        assert!(number(&track["peak_bitrate"]) >= number(&track["bitrate"]) && number(&track["bitrate"]) > 50_000.0);
        assert!(number(&track["part_target"]) <= 0.2);
        assert!(number(&track["last_part_age_ms"]) < 2_000.0, "{track}");
        for (defect, count) in track["defects"].as_object().expect("defects") {
            assert_eq!(count, 0, "{defect} on {}", track["id"]);
        }
        let segments = list(&track["segments"]);
        assert_eq!(track["last_segment"], segments.last().unwrap()["number"]);
        for segment in segments {
            let parts: f64 = list(&segment["part_durations"]).iter().map(number).sum();
            assert!((parts - number(&segment["duration"])).abs() < 1e-6, "{segment}");
            assert_eq!(list(&segment["part_durations"]).len() as u64, segment["parts"].as_u64().unwrap());
            assert!(segment["gap"] == false && number(&segment["bytes"]) > 0.0);
        }
        assert!(segments.windows(2).all(|w| time(&w[0]["start"]) < time(&w[1]["start"]) && w[0]["open"] == false));
    }
    let missing = get(&demo.url("/api/v1/channels/nobody"));
    assert_eq!(missing.status, 404);
    assert!(missing.text().contains("nobody"));
}

#[test]
fn health_and_readiness_are_told() {
    let demo = Headwater::shared_demo();
    let ready = until(SOON, || Some(get(&demo.url("/readyz"))).filter(|r| r.status == 200)).expect("ready");
    assert_eq!(ready.text(), "ready\n");
    assert_eq!(get(&demo.url("/healthz")).status, 200);
}

/// A metric's value for each set of labels.
type Family = BTreeMap<String, f64>;

/// Reads an OpenMetrics exposition; panics at what the format forbids.
fn exposition(text: &str) -> BTreeMap<String, Family> {
    assert!(text.ends_with("# EOF\n"), "an exposition ends with # EOF");
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let (mut name, mut kind, mut told) = (String::new(), String::new(), 0);
    for line in text.lines().take_while(|l| *l != "# EOF") {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let mut word = || words.next().unwrap_or("");
            let (word, of, rest) = (word(), word(), word());
            match word {
                "HELP" => {
                    assert!(!families.contains_key(of), "{of} twice");
                    assert!(rest.len() > 8 && rest.ends_with('.'), "{line}: expected a sentence");
                    (name, told) = (of.to_owned(), 1);
                    families.insert(name.clone(), Family::new());
                }
                "TYPE" => {
                    assert!(of == name && told == 1, "{line}: expected after HELP");
                    assert!(matches!(rest, "counter" | "gauge" | "histogram" | "info"), "{line}");
                    (kind, told) = (rest.to_owned(), 2);
                }
                "UNIT" => assert!(of == name && name.ends_with(&format!("_{rest}")), "{line}: a name ends in its unit"),
                _ => panic!("{line}"),
            }
            continue;
        }
        assert_eq!(told, 2, "{line}: expected HELP and TYPE before");
        let (left, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        let (sample, labels) = left.split_once('{').unwrap_or((left, ""));
        let suffix = sample.strip_prefix(name.as_str()).unwrap_or_else(|| panic!("{line}: not of {name}"));
        let fits = match kind.as_str() {
            "counter" => suffix == "_total",
            "info" => suffix == "_info",
            "histogram" => matches!(suffix, "_sum" | "_count" | "_bucket"),
            _ => suffix.is_empty(),
        };
        assert!(fits, "{line}: a {kind}");
        let value = value.parse().unwrap_or_else(|e| panic!("{line}: {e}"));
        families.get_mut(&name).expect("begun").insert(format!("{suffix}{{{labels}"), value);
    }
    families
}

#[test]
fn metrics_are_openmetrics_with_units_and_help() {
    let demo = Headwater::shared_demo();
    demo.wait_channel("demo", |c| list(&c["tracks"]).iter().all(|t| list(&t["segments"]).len() > 2));
    assert_eq!(get(&demo.url("/live/demo/v0/media.m3u8")).status, 200);
    assert_eq!(get(&demo.url("/live/demo/v0/1.m4s")).status, 404);
    let answer = get(&demo.url("/metrics"));
    assert!(
        answer.header("content-type").is_some_and(|t| t.starts_with("application/openmetrics-text; version=1.0.0"))
    );
    let families = exposition(&answer.text());
    let of = |family: &str, label: &str| {
        let family = families.get(family).unwrap_or_else(|| panic!("no {family}"));
        family.iter().filter(|(labels, _)| labels.contains(label)).map(|(_, value)| *value).sum::<f64>()
    };
    assert!(of("headwater_ingest_bytes", "channel=\"demo\"") > 10_000.0);
    assert!(of("headwater_ingest_open_bodies", "channel=\"demo\"") >= 4.0);
    assert!(of("headwater_parts", "track=\"v2\"") > 4.0);
    assert!(of("headwater_stored_bytes", "channel=\"demo\"") > 10_000.0);
    assert!(of("headwater_part_publish_delay_seconds", "_count") > 4.0);
    assert!(of("headwater_source_drift_seconds", "channel=\"demo\"").abs() < 2.0);
    assert!(of("headwater_responses", "class=\"playlist\",status=\"200\"") >= 1.0);
    assert!(of("headwater_responses", "class=\"segment\",status=\"404\"") >= 1.0);
    assert!(families.contains_key("headwater_waiters"));
}

#[test]
fn a_log_line_is_a_time_a_level_a_fact_and_its_fields() {
    let demo = Headwater::shared_demo();
    let log = demo.process.log();
    for line in log.lines() {
        let (at, rest) = line.split_once(' ').unwrap_or_else(|| panic!("{line}"));
        assert!(date(at).is_some(), "{line}: expected a time first");
        let level = rest.trim_start().split(' ').next().unwrap_or("");
        assert!(matches!(level, "INFO" | "WARN" | "ERROR"), "{line}");
    }
    for (fact, field) in [("track", "codec=avc1"), ("segment duration", "segment_seconds=1"), ("live", "channel=demo")]
    {
        let said = || demo.process.log().lines().any(|l| l.contains(fact) && l.contains(field)).then_some(());
        assert!(until(SOON, said).is_some(), "{fact} {field} is not in\n{}", demo.process.log());
    }
}

#[test]
fn with_a_certificate_both_versions_of_http_are_served_over_tls() {
    let files = Scratch::new("tls");
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let (certificate, key) = (files.path.join("chain.pem"), files.path.join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).expect("a scratch file");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("a scratch file");
    let toml = format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n[channels.news]\n");
    let origin = Headwater::serve(&toml, &[]);
    let url = origin.base.replace("http://127.0.0.1", "https://localhost") + "/api/v1/channels";
    for (version, told) in [("--http2", "2 200"), ("--http1.1", "1.1 200")] {
        let out = ["-sk", version, "-o", "/dev/null", "-w", "%{http_version} %{http_code}", &url];
        assert_eq!(run("curl", &out, SOON), told);
    }
    assert!(run("curl", &["-sk", &url], SOON).contains("news"));
    assert!(crate::harness::try_request("GET", &origin.url("/healthz"), &[], &[]).is_err(), "plain HTTP on a TLS port");
}

/// The first seconds of a track of the sample ladder.
fn sample() -> Vec<u8> {
    let file = std::fs::read(project("cli/assets/ladder/v0.cmfv")).expect("the sample ladder");
    let pieces = Pieces::of(&file);
    [pieces.header.clone(), pieces.fragments[..10].concat()].concat()
}

#[test]
fn a_push_is_admitted_by_any_way_of_showing_a_key_and_refused_without() {
    let origin = Headwater::serve(
        "channels_from_push = true\n[defaults]\nkeys = [\"s3cret\", \"second\"]\n[channels.own]\nkeys = [\"other\"]\n",
        &[],
    );
    let post = |path: &str, headers: &[(&str, &str)]| request("POST", &origin.url(path), headers, &sample());
    let missing = post("/ingest/news/Streams(v0.cmfv)", &[]);
    assert_eq!(missing.status, 401);
    assert!(missing.header("www-authenticate").is_some_and(|v| v.starts_with("Basic")));
    // "headwater:wrong", "headwater:s3cret" and "headwater:other".
    let [wrong, right, own] = ["aGVhZHdhdGVyOndyb25n", "aGVhZHdhdGVyOnMzY3JldA==", "aGVhZHdhdGVyOm90aGVy"];
    let basic = |pair: &str| format!("Basic {pair}");
    assert_eq!(post("/ingest/news/Streams(v0.cmfv)", &[("authorization", &basic(wrong))]).status, 403);
    assert_eq!(post("/ingest/news/Streams(v0.cmfv)?token=wrong", &[]).status, 403);
    assert_eq!(post("/ingest/own/Streams(v0.cmfv)", &[("authorization", &basic(right))]).status, 403);
    assert_eq!(
        list(&serde_json::from_str::<Value>(&get(&origin.url("/api/v1/channels")).text()).unwrap()["channels"]).len(),
        1
    );
    assert_eq!(post("/ingest/one/Streams(v0.cmfv)", &[("authorization", &basic(right))]).status, 200);
    assert_eq!(post("/ingest/two/Streams(v0.cmfv)?token=second", &[]).status, 200);
    assert_eq!(post("/ingest/three/s3cret/Streams(v0.cmfv)", &[]).status, 200);
    assert_eq!(post("/ingest/own/Streams(v0.cmfv)", &[("authorization", &basic(own))]).status, 200);
    let metrics = get(&origin.url("/metrics")).text();
    assert!(metrics.contains("defect=\"unauthorised\"} 1") && metrics.contains("defect=\"forbidden\"} 3"), "{metrics}");
    assert!(!origin.process.log().contains("s3cret"), "a key in the log");
    for id in ["one", "two", "three", "own"] {
        let tracks = origin.channel(id);
        assert_eq!(list(&tracks["tracks"])[0]["id"], "v0", "{id}: {tracks:#}");
    }
}

#[test]
fn a_channel_that_is_not_configured_begins_only_where_pushes_may_begin_one() {
    let closed = Headwater::serve("[channels.news]\n", &[]);
    let refused = request("POST", &closed.url("/ingest/other/Streams(v0.cmfv)"), &[], &sample());
    assert_eq!(refused.status, 404, "{}", refused.text());
    assert_eq!(get(&closed.url("/live/other/multivariant.m3u8")).status, 404);
    assert_eq!(closed.channel("other")["id"], Value::Null);
    assert_eq!(request("POST", &closed.url("/ingest/news/Streams(v0.cmfv)"), &[], &sample()).status, 200);

    let open = Headwater::serve("", &["--channels-from-push"]);
    assert_eq!(request("POST", &open.url("/ingest/other/Streams(v0.cmfv)"), &[], &sample()).status, 200);
    assert_eq!(open.channel("other")["id"], "other");
}

#[test]
fn a_wrong_configuration_is_refused_by_key_and_line() {
    let cases = [
        ("[defaults]\nsegment_ms = 1000\nsegmnt_ms = 5\n", &["segmnt_ms", "line 3"][..]),
        ("[defaults]\nsegment_ms = \"long\"\n", &["segment_ms", "line 2"]),
        ("[channels.news]\n\npart_ms = 1\n", &["channels.news.part_ms", "20 milliseconds"]),
        ("channels = \n", &["line 1"]),
        ("[tls]\ncertificate = \"nowhere.pem\"\nkey = \"nowhere.pem\"\n", &["nowhere.pem"]),
    ];
    for (toml, expected) in cases {
        let file = Scratch::new("wrong");
        let path = file.path.join("headwater.toml");
        std::fs::write(&path, toml).expect("a scratch file");
        let mut command = Command::new(program());
        command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(&path).stdout(Stdio::null());
        let mut process = Process::spawn(&mut command);
        assert_eq!(process.wait(SOON), Some(1), "{toml}");
        let said = until(SOON, || Some(process.log()).filter(|l| !l.is_empty())).expect("a reason");
        for words in expected {
            assert!(said.contains(words), "{toml}\n{said}: expected {words}");
        }
    }
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let mut process =
        Process::spawn(Command::new(program()).args(["serve", "--listen", &address]).stdout(Stdio::null()));
    assert_eq!(process.wait(SOON), Some(1));
    assert!(until(SOON, || process.log().contains(&address).then_some(())).is_some(), "{}", process.log());
}

#[test]
fn a_terminated_origin_releases_whoever_waits_and_ends_in_time() {
    let port = free_port();
    let mut origin = Headwater::serve_on(port, "channels_from_push = true\n", &[]);
    let pusher = push(&origin, "live", "v0,a0");
    origin.wait_channel("live", |c| {
        c["tracks"].as_array().is_some_and(|t| t.len() == 2 && t.iter().all(|t| list(&t["segments"]).len() > 1))
    });
    // A source that is silent leaves requests parked for as long as the rules allow.
    drop(pusher);
    let metrics = || get(&origin.url("/metrics")).text();
    let quiet = until(SOON, || metrics().contains("headwater_ingest_open_bodies{channel=\"live\"} 0\n").then_some(()));
    assert!(quiet.is_some(), "the source still sends");
    let last = list(&origin.channel("live")["tracks"])[1]["last_segment"].as_u64().expect("a number");
    let paths = [
        format!("/live/live/v0/media.m3u8?_HLS_msn={}", last + 1),
        format!("/live/live/v0/{}.m4s", last + 1),
        "/live/empty/multivariant.m3u8".to_owned(),
    ];
    assert_eq!(request("POST", &origin.url("/ingest/empty/manifest.mpd"), &[], b"").status, 200);
    let (sender, answers) = mpsc::channel();
    for path in paths {
        let (sender, url) = (sender.clone(), origin.url(&path));
        std::thread::spawn(move || {
            let answer = crate::harness::try_request("GET", &url, &[], &[]);
            let _ = sender.send((path, answer.map(|a| a.status).map_err(|e| e.to_string())));
        });
    }
    let parked = until(SOON, || metrics().contains("headwater_waiters 3\n").then_some(()));
    assert!(parked.is_some(), "not parked: {:?}", answers.try_recv());
    let asked = Instant::now();
    origin.process.terminate();
    for _ in 0..3 {
        let (path, status) = answers.recv_timeout(Duration::from_secs(5)).expect("released");
        assert_eq!(status, Ok(503), "{path}");
    }
    assert!(asked.elapsed() < Duration::from_secs(2), "released after {:?}", asked.elapsed());
    assert_eq!(origin.process.wait(STOP), Some(0), "{}", origin.process.log());
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "the port is free again");
}

#[test]
fn a_terminated_origin_finishes_what_is_begun_with_encoders_and_viewers_connected() {
    let mut origin = Headwater::serve("channels_from_push = true\n", &[]);
    let _pusher = push(&origin, "live", "v0,a0");
    origin.wait_channel("live", |c| whole(c, "a0") > 0);
    let next = track(&origin.channel("live"), "a0")["last_segment"].as_u64().expect("a number") + 1;
    let url = origin.url(&format!("/live/live/a0/{next}.m4s"));
    let (sender, viewer) = mpsc::channel();
    std::thread::spawn(move || {
        let whole = crate::harness::try_request("GET", &url, &[], &[]).map(|answer| answer.status);
        let _ = sender.send(whole.map_err(|e| e.to_string()));
    });
    let reading = || get(&origin.url("/metrics")).text().contains("class=\"segment\",status=\"200\"} 1");
    assert!(until(SOON, || reading().then_some(())).is_some(), "the viewer has no segment");
    let asked = Instant::now();
    origin.process.terminate();
    // The viewer gets its segment to the end: the encoder sends on until then.
    let told = viewer.recv_timeout(SOON).expect("an end");
    assert_eq!(told, Ok(200), "{}", origin.process.log());
    assert_eq!(origin.process.wait(STOP), Some(0), "{}", origin.process.log());
    println!("ended after {:?}", asked.elapsed());
    origin.process.says("stopped, nothing was left", 1);
}
