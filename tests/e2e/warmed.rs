// SPDX-License-Identifier: Apache-2.0
//! A shield that follows events has what is new before anybody asks: in the process of its origin, as a tier of its own
//! that reads the feed of another, and where events come over Kafka alone.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use headwater_tests::broker::Broker;
use serde_json::{Value, json};

use crate::harness::{Headwater, Process, SOON, free_port, get, request, until};
use crate::shield::shield;

/// Fresh parts that are asked for.
const PARTS: usize = 200;
/// How far an edge is away: a playlist travels to it, and its request back.
const AWAY: Duration = Duration::from_millis(100);

/// An encoder that pushes one picture and one sound as long POSTs of fragments.
fn encoder(origin: &Headwater) -> Process {
    let to = |track: &str| format!("{}/ingest/news/Streams({track}.cmfv)", origin.base);
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25"]);
    command.args(["-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]);
    for (map, coding, track) in [("0:v", "libx264", "v0"), ("1:a", "aac", "a0")] {
        command.args(["-map", map, "-c", coding]);
        if coding == "libx264" {
            command.args(["-preset", "ultrafast", "-tune", "zerolatency", "-g", "25", "-keyint_min", "25"]);
        }
        command.args(["-movflags", "+cmaf+delay_moov+skip_trailer+frag_discont", "-frag_duration", "200000"]);
        command.args(["-f", "mp4", &to(track)]);
    }
    Process::spawn(&mut command)
}

/// The events of a feed below `base`, one after the other, and when each came.
fn feed(base: &str, path: &str) -> mpsc::Receiver<(Instant, Value)> {
    let address = base.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("a server");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    write!(stream, "GET {path}?types=part.ready HTTP/1.1\r\nhost: {address}\r\n\r\n").expect("a request sent");
    let lines = BufReader::new(stream).lines().map(|line| line.expect("more of the feed"));
    let data = lines.filter_map(|line| line.strip_prefix("data:").map(|data| data.trim_start().to_owned()));
    let (sender, events) = mpsc::channel();
    std::thread::spawn(move || {
        for event in data.filter_map(|data| serde_json::from_str(&data).ok()) {
            if sender.send((Instant::now(), event)).is_err() {
                return;
            }
        }
    });
    events
}

/// What became of requests, right after each part's event.
#[derive(Debug, Default)]
struct Answers {
    hits: usize,
    /// They joined the fill that the event had begun.
    joined: usize,
    misses: Vec<String>,
}

/// Asks for each fresh part as an edge would that is told of it when its event comes, once both tracks have been asked
/// for.
fn ask_for_fresh_parts(shield: &Headwater, events: &mpsc::Receiver<(Instant, Value)>) -> Answers {
    let (mut known, mut answers) = (BTreeSet::new(), Answers::default());
    let begun = Instant::now();
    for (came, event) in events {
        std::thread::sleep((came + AWAY).saturating_duration_since(Instant::now()));
        let path = event["data"]["path"].as_str().expect("a path");
        let got = shield.get(path);
        assert_eq!(got.status, 200, "{path}: {}", got.text());
        let track = event["data"]["track"].as_str().expect("a track").to_owned();
        if known.insert(track) || known.len() < 2 {
            continue;
        }
        let status = got.last_header("cache-status").unwrap_or("").to_owned();
        match () {
            () if status.contains("; hit") => answers.hits += 1,
            () if status.contains("collapsed") => answers.joined += 1,
            () => answers.misses.push(format!("{path}: {status}")),
        }
        if answers.hits + answers.joined + answers.misses.len() == PARTS {
            return answers;
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "{answers:?}");
    }
    panic!("the feed ended: {answers:?}");
}

/// Wants so many of a hundred to have been there.
fn judge(name: &str, answers: &Answers, least: usize) {
    let Answers { hits, joined, misses } = answers;
    println!("{name}: of {PARTS} fresh parts {hits} were there, {joined} on their way, {} neither", misses.len());
    assert!(hits * 100 >= PARTS * least, "{name}: {answers:?}");
}

/// A row of the metrics of a shield.
fn counted(shield: &Headwater, row: &str) -> u64 {
    let text = get(&shield.url("/.headwater/metrics")).text();
    let line = text.lines().find_map(|line| line.strip_prefix(row)).unwrap_or(" 0");
    line.trim().parse().unwrap_or_else(|_| panic!("{row}: {line}"))
}

#[test]
fn a_cold_request_for_a_fresh_part_is_a_hit_in_the_origins_process_and_a_tier_further_out() {
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    let toml = "[channels.news]\nsegment_ms = 1000\npart_ms = 200\n[events]\nnode = \"near\"\n";
    let origin = Headwater::serve(toml, &["--shield", &listen]);
    let near = format!("http://{listen}");
    let more = format!("[events]\nnode = \"far\"\n[follow]\nfrom = [\"{near}/.headwater/events\"]\n");
    let far = shield(&[&near], "", &more);
    let _encoder = encoder(&origin);
    origin.wait_channel("news", |state| state["state"] == "live");
    let at_near = Headwater { base: near.clone(), ..origin };
    let near_feed = || feed(&near, "/.headwater/events");
    judge("in the origin's process", &ask_for_fresh_parts(&at_near, &near_feed()), 99);
    judge("a tier further out", &ask_for_fresh_parts(&far, &near_feed()), 99);
    for shield in [&at_near, &far] {
        let filled = until(SOON, || {
            Some(counted(shield, "headwater_shield_prefetches_total{outcome=\"filled\"}")).filter(|n| *n > 0)
        });
        assert!(filled.is_some(), "events had something fetched");
        assert_eq!(counted(shield, "headwater_shield_digest_mismatches_total"), 0, "bytes are what events told");
    }
}

#[test]
fn shields_that_follow_kafka_alone_have_fresh_parts_and_purge_what_another_was_told_to() {
    let broker = Broker::single();
    let kafka = format!("[events.kafka]\nbootstrap = \"{}\"\n", broker.bootstrap());
    let toml = format!("[channels.news]\nsegment_ms = 1000\npart_ms = 200\n[events]\nnode = \"origin\"\n{kafka}");
    let origin = Headwater::serve(&toml, &[]);
    let following = |node: &str| {
        let more = format!("[events]\nnode = \"{node}\"\n{kafka}[follow]\nkafka = true\n");
        shield(&[&origin.base], "", &more)
    };
    let (one, other) = (following("one"), following("other"));
    let _encoder = encoder(&origin);
    origin.wait_channel("news", |state| state["state"] == "live");
    let reads = |shield: &Headwater, kind: &str| {
        let row = format!("headwater_shield_follow_events_total{{type=\"{kind}\"}}");
        until(SOON, || (counted(shield, &row) > 0).then_some(())).is_some()
    };
    for shield in [&one, &other] {
        assert!(reads(shield, "part.ready"), "events come over Kafka\n{}", shield.process.log());
    }
    // Less than of a feed: the way leads over three processes more.
    judge("over Kafka", &ask_for_fresh_parts(&other, &feed(&origin.base, "/events")), 90);
    assert_eq!(counted(&other, "headwater_shield_digest_mismatches_total"), 0, "bytes are what events told");

    let (_, event) = feed(&origin.base, "/events").recv_timeout(SOON).expect("a part");
    let path = event["data"]["path"].as_str().expect("a path");
    for shield in [&one, &other] {
        assert_eq!(shield.get(path).status, 200, "{path}");
        assert_eq!(held(shield, path), 200, "{path}");
    }
    let purge = json!({ "tag": "channel:news" }).to_string();
    let purged = request("POST", &one.url("/.headwater/api/v1/purge"), &[], purge.as_bytes());
    assert_eq!((purged.status, held(&one, path)), (200, 404), "{}", purged.text());
    let follows = until(SOON, || (held(&other, path) == 404).then_some(()));
    assert!(follows.is_some() && reads(&other, "purged"), "the other purges too\n{}", other.process.log());
}

/// Status of what a shield says that it holds under a path.
fn held(shield: &Headwater, path: &str) -> u16 {
    shield.get(&format!("/.headwater/api/v1/object?url={}", shield.url(path))).status
}
