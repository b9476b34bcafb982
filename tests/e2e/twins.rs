// SPDX-License-Identifier: Apache-2.0
//! Two origins fed the same push write the same bytes, whatever became of either of them before.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::boxes::Pieces;
use crate::feed::Feed;
use crate::harness::{Headwater, Process, SOON, Scratch, free_port, get, program, project, until};
use crate::playlist::Playlist;
use crate::wire::Wire;

/// Segments of a second; playlists list eleven of them.
const TOML: &str = "[channels.live]\nsegment_ms = 1000\nwindow_seconds = 24\n";
/// The second origin begins so many segments after the first.
const LATER: u64 = 7;

/// An origin with its own disk, on a port that it finds again.
struct Twin {
    disk: Scratch,
    port: u16,
    running: Option<Headwater>,
}

impl Twin {
    fn new(name: &str) -> Self {
        Self { disk: Scratch::new(name), port: free_port(), running: None }
    }

    fn start(&mut self) -> &Headwater {
        let disk = self.disk.path.display().to_string();
        self.running.insert(Headwater::serve_on(self.port, TOML, &["--data-dir", &disk]))
    }

    /// kill -9.
    fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.process.kill();
        }
    }

    fn origin(&self) -> &Headwater {
        self.running.as_ref().expect("a running twin")
    }

    fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn ingest(&self) -> String {
        format!("{}/ingest/live", self.base())
    }

    fn url(&self, name: &str) -> String {
        format!("{}/live/live/{name}", self.base())
    }

    /// The playlist now, of a track that has one.
    fn list(&self, track: &str) -> Option<Playlist> {
        let answer = get(&self.url(&format!("{track}/media.m3u8")));
        if answer.status == 200 { Playlist::read(&answer.text()).ok() } else { None }
    }

    /// Waits until every track's playlist satisfies `ready`.
    fn wait(&self, tracks: &[&str], what: &str, ready: impl Fn(&Playlist) -> bool) {
        let all = || tracks.iter().all(|t| self.list(t).is_some_and(|l| ready(&l))).then_some(());
        let lists = || tracks.iter().map(|t| self.list(t).map(|l| (l.first(), l.edge()))).collect::<Vec<_>>();
        assert!(until(SOON, all).is_some(), "{what}: {:?}\n{}", lists(), self.origin().process.log());
    }
}

/// Whatever the two show, they show alike.
fn alike(a: &Twin, b: &Twin, tracks: &[&str]) {
    let next = a.list(tracks[0]).expect("a playlist").next() + 1;
    for part in 0..5 {
        std::thread::scope(|threads| {
            for track in tracks {
                threads.spawn(move || same_version(a, b, track, next, part));
            }
        });
    }
    for track in tracks {
        let (one, two) = (a.list(track).expect("a playlist"), b.list(track).expect("a playlist"));
        let first = one.first().max(two.first());
        let mut compared = 0;
        for (number, segment) in one.numbered().filter(|(n, _)| *n > first && *n < two.next()) {
            assert!(!segment.gap, "{track}: {number} is a gap");
            same_bytes(a, b, &format!("{track}/{}", segment.uri));
            segment.parts.iter().for_each(|p| same_bytes(a, b, &format!("{track}/{}", p.uri)));
            compared += 1;
        }
        assert!(compared >= 6, "{track}: {compared} segments in common");
        same_bytes(a, b, &format!("{track}/init-0.mp4"));
        for name in ["plain.m3u8", "iframes.m3u8"] {
            same_in_the_end(a, b, &format!("{track}/{name}"));
        }
    }
    for name in ["multivariant.m3u8", "plain.m3u8", "manifest.mpd", "timeline.mpd"] {
        same_in_the_end(a, b, name);
    }
}

/// Both answer a reload of the same position with the same bytes, whole and as a delta.
fn same_version(a: &Twin, b: &Twin, track: &str, segment: u64, part: u64) {
    for skip in ["", "&_HLS_skip=YES"] {
        let name = format!("{track}/media.m3u8?_HLS_msn={segment}&_HLS_part={part}{skip}");
        let (one, two) = std::thread::scope(|threads| {
            let one = threads.spawn(|| get(&a.url(&name)));
            (get(&b.url(&name)), one.join().expect("no panic while waiting"))
        });
        let both = [&one, &two].map(|answer| Playlist::read(&answer.text()).unwrap_or_else(|e| panic!("{name}: {e}")));
        if skip.is_empty() {
            // Asked before it was there, so it is the version of this very part.
            assert_eq!(both[0].edge(), both[1].edge(), "{name}");
        }
        if both[0].edge() == both[1].edge() {
            assert_eq!(one.text(), two.text(), "{name}");
            assert_eq!(one.header("etag"), two.header("etag"), "{name}");
        }
    }
}

fn same_bytes(a: &Twin, b: &Twin, name: &str) {
    let (one, two) = (get(&a.url(name)), get(&b.url(name)));
    assert_eq!((one.status, two.status), (200, 200), "{name}");
    assert!(one.body == two.body, "{name}: {} and {} bytes differ", one.body.len(), two.body.len());
    assert_eq!(one.header("etag"), two.header("etag"), "{name}");
}

/// What has no position to wait for is asked until both are at the same one.
fn same_in_the_end(a: &Twin, b: &Twin, name: &str) {
    let mut last = (String::new(), String::new());
    let same = until(Duration::from_secs(5), || {
        last = (get(&a.url(name)).text(), get(&b.url(name)).text());
        (last.0 == last.1).then_some(())
    });
    assert!(same.is_some(), "{name}:\n{}\n{}", last.0, last.1);
}

fn sample_push(twin: &Twin) -> Process {
    Process::spawn(Command::new(program()).args(["push", "--to", &twin.ingest(), "--seconds", "60"]))
}

#[test]
fn origins_that_joined_apart_and_after_a_kill_write_the_same_bytes() {
    let tracks = ["v0", "v1", "v2", "a0"];
    let (mut a, mut b) = (Twin::new("twin-a"), Twin::new("twin-b"));
    a.start();
    let push_a = sample_push(&a);
    a.wait(&tracks, "the first begins", |l| l.segments.len() as u64 >= LATER);
    b.start();
    let push_b = sample_push(&b);
    b.wait(&tracks, "the second begins", |l| l.segments.len() >= 2 && !l.open.parts.is_empty());
    let killed_at = a.list("v0").expect("a playlist").edge().0;
    a.kill();
    a.start();
    a.wait(&tracks, "the first is back", |l| l.first() + 2 >= killed_at && !l.open.parts.is_empty());
    slid(&a, &b, &tracks, killed_at + 3);
    alike(&a, &b, &tracks);
    told_alike(&a, &b, &tracks);
    drop((push_a, push_b));
}

/// What a twin has told of its media since its log began, until it tells of `last` on every track; each id once.
fn told(twin: &Twin, tracks: &[&str], last: u64) -> BTreeMap<String, Value> {
    let types = "part.ready,segment.ready,discontinuity,timeline.anchored";
    let feed = Feed::open(&format!("{}/events?types={types}&from=first", twin.base()));
    for track in tracks {
        let wanted = |event: &Value| {
            event["type"] == "segment.ready" && event["data"]["track"] == *track && event["data"]["sequence"] == last
        };
        feed.wait(&format!("segment {last} of {track}"), wanted);
    }
    let mut told = BTreeMap::new();
    for event in feed.events() {
        let id = event["id"].as_str().expect("an id").to_owned();
        assert!(told.insert(id, event.clone()).is_none(), "told twice: {event}");
    }
    told
}

/// Both tell the same of what both have, each of them once, over a kill too; together they tell of every segment.
fn told_alike(a: &Twin, b: &Twin, tracks: &[&str]) {
    let last = a.list(tracks[0]).expect("a playlist").next() + 1;
    let (one, two) = (told(a, tracks, last), told(b, tracks, last));
    let mut compared = 0;
    for (id, event) in &one {
        let Some(twin) = two.get(id) else { continue };
        assert_eq!((&event["data"], &event["time"]), (&twin["data"], &twin["time"]), "{id}");
        compared += 1;
    }
    assert!(compared > 100 && one.keys().any(|id| id == "timeline.anchored:live@0"), "{compared} in common");
    for track in tracks {
        let of_track = |event: &&Value| event["type"] == "segment.ready" && event["data"]["track"] == *track;
        let sequence = |event: &Value| event["data"]["sequence"].as_u64().expect("a number");
        let all: BTreeMap<&String, u64> =
            one.iter().chain(&two).filter(|(_, event)| of_track(event)).map(|(id, e)| (id, sequence(e))).collect();
        let mut numbers: Vec<u64> = all.into_values().filter(|number| *number <= last).collect();
        numbers.sort_unstable();
        let first = numbers[0];
        assert_eq!(numbers, (first..=last).collect::<Vec<u64>>(), "{track}: each segment once");
    }
}

/// Both windows begin after `number`: nothing of what happened before is listed.
fn slid(a: &Twin, b: &Twin, tracks: &[&str], number: u64) {
    for twin in [a, b] {
        twin.wait(tracks, "the window slides", |l| l.first() > number && l.segments.len() >= 10);
    }
}

/// One encode in two outputs that find their origin again, each a POST without end.
fn tee(a: &Twin, b: &Twin) -> Process {
    let start = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    let to = |name: &str, fragments: &str| {
        let slave = |twin: &Twin| {
            let flags = "+cmaf+delay_moov+skip_trailer+frag_discont";
            let fifo = "use_fifo=1:fifo_options=attempt_recovery=1\\\\\\:recover_any_error=1\\\\\\:recovery_wait_time=0.5\
                        \\\\\\:restart_with_keyframe=1\\\\\\:drop_pkts_on_overflow=1";
            format!("[f=mp4:onfail=ignore:{fifo}:movflags={flags}{fragments}]{}/Streams({name})", twin.ingest())
        };
        format!("{}|{}", slave(a), slave(b))
    };
    let (video, audio) = (to("v0.cmfv", "+frag_keyframe"), to("a0.cmfa", ":frag_duration=200000"));
    let start = start.to_string();
    let mut command = Command::new("ffmpeg");
    command.args([
        "-nostdin",
        "-hide_banner",
        "-loglevel",
        "error",
        "-re",
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=160x90:rate=25",
    ]);
    command.args([
        "-re",
        "-f",
        "lavfi",
        "-i",
        "sine=frequency=440:sample_rate=48000",
        "-map",
        "0:v",
        "-c:v",
        "libx264",
    ]);
    command.args(["-preset", "ultrafast", "-tune", "zerolatency", "-threads", "1", "-pix_fmt", "yuv420p", "-g", "25"]);
    command.args(["-keyint_min", "25", "-sc_threshold", "0", "-flags", "+global_header", "-output_ts_offset", &start]);
    command.args([
        "-t",
        "60",
        "-f",
        "tee",
        &video,
        "-map",
        "1:a",
        "-c:a",
        "aac",
        "-b:a",
        "64k",
        "-flags",
        "+global_header",
    ]);
    command.args(["-output_ts_offset", &start, "-t", "60", "-f", "tee", &audio]);
    Process::spawn(&mut command)
}

#[test]
fn one_encoder_with_two_outputs_makes_twins() {
    let tracks = ["v0", "a0"];
    let (mut a, mut b) = (Twin::new("tee-a"), Twin::new("tee-b"));
    a.start();
    let encoder = tee(&a, &b);
    a.wait(&tracks, "the first begins", |l| l.segments.len() as u64 >= LATER);
    b.start();
    b.wait(&tracks, "the second is found", |l| l.segments.len() >= 2 && !l.open.parts.is_empty());
    let killed_at = a.list("v0").expect("a playlist").edge().0;
    a.kill();
    a.start();
    a.wait(&tracks, "the first is found again", |l| l.first() + 2 >= killed_at && !l.open.parts.is_empty());
    let back_at = a.list("v0").expect("a playlist").edge().0;
    slid(&a, &b, &tracks, back_at + 1);
    alike(&a, &b, &tracks);
    drop(encoder);
}

#[test]
fn a_push_goes_on_without_its_header_after_a_restart() {
    let mut twin = Twin::new("restart");
    twin.start();
    let start = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs() - 12;
    let bytes = std::fs::read(project("cli/assets/ladder/v0.cmfv")).expect("the sample ladder");
    let mut pieces = Pieces::of(&bytes);
    pieces.shift(i64::try_from(start).expect("this century") * 12_800);
    let put = |twin: &Twin, name: &str, body: &[u8]| {
        let mut wire = Wire::open(&twin.base());
        assert_eq!(wire.request("PUT", &format!("/ingest/live/{name}"), body).status, 200, "{name}");
    };
    let segments = |twin: &Twin, from: u64, to: u64| {
        for second in from..to {
            let body = pieces.between((start + second) * 12_800, (start + second + 1) * 12_800);
            put(twin, &format!("v0/{}.cmfv", start + second), &body);
        }
    };
    put(&twin, "v0/init.cmfv", &pieces.header);
    segments(&twin, 0, 4);
    twin.wait(&["v0"], "four segments", |l| l.segments.len() == 4);
    let before = twin.list("v0").expect("a playlist");
    let header = get(&twin.url("v0/init-0.mp4")).body;
    twin.kill();
    twin.start();
    segments(&twin, 4, 8);
    twin.wait(&["v0"], "the rest", |l| l.next() == start + 8);
    let after = twin.list("v0").expect("a playlist");
    assert!(after.media_sequence > before.media_sequence, "{after:#?}");
    assert_eq!(after.discontinuity_sequence, before.discontinuity_sequence, "{after:#?}");
    assert!(after.segments.iter().all(|s| !s.discontinuity && !s.gap), "{after:#?}");
    assert!(after.media_sequence >= start + 4, "what is gone is not listed: {after:#?}");
    assert!(get(&twin.url("v0/init-0.mp4")).body == header, "the header has changed");
}
