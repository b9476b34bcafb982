// SPDX-License-Identifier: Apache-2.0
//! What an origin tells of a real encoder's push, followed over its feed.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::feed::Feed;
use crate::harness::{Headwater, Process, SOON, Scratch, get, run};

const TOML: &str = "[channels.live]\nsegment_ms = 1000\n";

/// Pictures of one second a GOP, in one request without end.
fn ffmpeg(origin: &Headwater) -> Process {
    let to = origin.url("/ingest/live/Streams(v0.cmfv)");
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-loglevel", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=160x90:rate=25"]);
    command.args(["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-pix_fmt", "yuv420p"]);
    command.args(["-g", "25", "-keyint_min", "25", "-sc_threshold", "0", "-t", "90", "-f", "mp4"]);
    command.args(["-movflags", "+cmaf+delay_moov+skip_trailer+frag_every_frame", &to]).stdout(Stdio::null());
    Process::spawn(&mut command)
}

fn is(event: &Value, kind: &str) -> bool {
    event["type"] == kind
}

fn text<'a>(event: &'a Value, field: &str) -> &'a str {
    event["data"][field].as_str().unwrap_or_else(|| panic!("{field} of {event}"))
}

#[test]
fn what_an_encoder_pushes_is_told_can_be_played_and_its_pauses_and_its_end_too() {
    let mut origin = Headwater::serve(TOML, &[]);
    let feed = Feed::open(&origin.url("/events?types=segment.ready,channel.*&channel=live&from=first"));
    let encoder = ffmpeg(&origin);
    feed.wait("the channel on air", |event| is(event, "channel.started") && event["data"]["tracks"][0] == "v0");
    let first = feed.wait("a segment", |event| is(event, "segment.ready"));
    let sequence = first["data"]["sequence"].as_u64().expect("a number");
    let third = feed.wait("two more", |event| event["data"]["sequence"] == sequence + 2 && is(event, "segment.ready"));

    // Header and segment together are a file that plays.
    let answer = get(&origin.url(text(&third, "path")));
    assert_eq!(answer.status, 200, "{third}");
    assert_eq!(answer.header("etag"), Some(format!("\"{}\"", text(&third, "digest")).as_str()));
    assert_eq!(third["data"]["bytes"], answer.body.len());
    let header = get(&origin.url(&format!("/live/live/v0/init-{}.mp4", third["data"]["generation"])));
    let folder = Scratch::new("told");
    let file = folder.path.join("segment.mp4");
    std::fs::write(&file, [header.body, answer.body].concat()).expect("a scratch file");
    let file = file.display().to_string();
    let show = ["-v", "error", "-count_frames", "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", &file];
    assert_eq!(run("ffprobe", &show, SOON).trim(), "25", "{third}");
    assert_eq!(third["data"]["duration_ns"], 1_000_000_000);

    encoder.signal("STOP");
    let stalled = feed.wait("the pause", |event| is(event, "channel.stalled"));
    encoder.signal("CONT");
    let resumed = feed.wait("its end", |event| is(event, "channel.resumed"));
    assert!(resumed["data"]["stalled_ms"].as_u64() >= Some(1_500), "{resumed}");
    assert!(resumed["data"]["sequence"].as_u64() >= stalled["data"]["sequence"].as_u64(), "{stalled} {resumed}");

    origin.process.terminate();
    let ended = feed.wait("the stop", |event| is(event, "channel.ended"));
    assert_eq!(text(&ended, "reason"), "stopped");
    assert_eq!(origin.process.wait(SOON), Some(0), "{}", origin.process.log());
    drop(encoder);
}
