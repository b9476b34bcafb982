// SPDX-License-Identifier: Apache-2.0
//! DASH as its clients meet it: what the MPDs promise, what the segments are, and that both agree at any time.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::harness::{Headwater, SOON, Scratch, get, push, request, run, until};
use crate::mpd::{Mpd, Representation, seconds};
use crate::playlist::date;
use crate::xml::Element;

/// Segments of a second in parts of a fifth, as the demo has them.
const SEGMENT: Duration = Duration::from_secs(1);
const CHANNEL: &str = "channels_from_push = true\n[defaults]\nsegment_ms = 1000\n";

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_secs_f64()
}

fn number_mpd(origin: &Headwater, channel: &str) -> Mpd {
    Mpd::fetch(&origin.url(&format!("/live/{channel}/manifest.mpd")))
}

fn timeline_mpd(origin: &Headwater, channel: &str) -> Mpd {
    Mpd::fetch(&origin.url(&format!("/live/{channel}/timeline.mpd")))
}

fn track<'a>(channel: &'a Value, id: &str) -> &'a Value {
    let tracks = channel["tracks"].as_array().expect("tracks");
    tracks.iter().find(|t| t["id"] == id).unwrap_or_else(|| panic!("no track {id}"))
}

/// A demo with a few whole segments.
fn demo() -> Arc<Headwater> {
    let demo = Headwater::shared_demo();
    demo.wait_channel("demo", |c| whole(c) >= 4);
    demo
}

/// An origin with a channel `live` and whoever pushes into it, with a few whole segments.
fn pushed(tracks: &str) -> (Headwater, crate::harness::Process) {
    let origin = Headwater::serve(CHANNEL, &[]);
    let pusher = push(&origin, "live", tracks);
    origin.wait_channel("live", |c| whole(c) >= 3);
    (origin, pusher)
}

/// Whole segments on the track that has the fewest.
fn whole(channel: &Value) -> usize {
    let count = |t: &Value| t["segments"].as_array().map_or(0, |s| s.iter().filter(|s| s["open"] == false).count());
    channel["tracks"].as_array().and_then(|tracks| tracks.iter().map(count).min()).unwrap_or(0)
}

/// Number of the segment in progress, right after it began.
fn fresh_segment(origin: &Headwater, channel: &str, id: &str) -> u64 {
    let last = |c: &Value| track(c, id)["last_segment"].as_u64().expect("a number");
    let before = last(&origin.channel(channel));
    last(&origin.wait_channel(channel, |c| last(c) > before))
}

/// A response while it arrives.
struct Arriving {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Box<dyn Read>,
    bytes: Vec<u8>,
    /// When bytes came, since the request.
    at: Vec<Duration>,
    began: Instant,
}

impl Arriving {
    fn get(url: &str) -> Self {
        let agent: ureq::Agent =
            ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(SOON)).build().into();
        let began = Instant::now();
        let answer = agent.get(url).call().unwrap_or_else(|e| panic!("{url}: {e}"));
        let named = |(n, v): (&ureq::http::HeaderName, &ureq::http::HeaderValue)| {
            (n.as_str().to_owned(), v.to_str().unwrap_or("").to_owned())
        };
        let headers = answer.headers().iter().map(named).collect();
        let status = answer.status().as_u16();
        let body = Box::new(answer.into_body().into_reader());
        Self { status, headers, body, bytes: Vec::new(), at: Vec::new(), began }
    }

    /// Waits for more bytes; false at a clean end.
    fn more(&mut self) -> std::io::Result<bool> {
        let mut piece = [0; 65_536];
        let count = self.body.read(&mut piece)?;
        self.bytes.extend_from_slice(&piece[..count]);
        if count > 0 {
            self.at.push(self.began.elapsed());
        }
        Ok(count > 0)
    }

    fn read_out(&mut self) -> std::io::Result<()> {
        while self.more()? {}
        Ok(())
    }
}

/// `max-age` of an answer.
fn life(response: &crate::harness::Response) -> u64 {
    let control = response.header("cache-control").expect("every answer says how long it lives");
    let (_, age) = control.split_once("max-age=").unwrap_or_else(|| panic!("{control}"));
    age.split(',').next().and_then(|a| a.parse().ok()).unwrap_or_else(|| panic!("{control}"))
}

/// Top-level boxes: kind and content.
fn boxes(bytes: &[u8]) -> Vec<(String, &[u8])> {
    let (mut found, mut rest) = (Vec::new(), bytes);
    while rest.len() >= 8 {
        let length = u32::from_be_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
        assert!((8..=rest.len()).contains(&length), "a box of {length} bytes in {} that are left", rest.len());
        let (this, after) = rest.split_at(length);
        found.push((String::from_utf8_lossy(&this[4..8]).into_owned(), &this[8..]));
        rest = after;
    }
    assert!(rest.is_empty(), "{} bytes after the last box", rest.len());
    found
}

/// What of an MPD a client relies on to stay.
fn identity(mpd: &Mpd) -> Vec<String> {
    let mut lines = vec![mpd.root.want("availabilityStartTime").to_owned(), mpd.root.want("id").to_owned()];
    for period in mpd.root.all("Period") {
        lines.push(format!("Period {} {}", period.want("id"), period.want("start")));
        for set in period.all("AdaptationSet") {
            lines.push(format!("AdaptationSet {} {}", set.want("id"), set.want("contentType")));
            for representation in set.all("Representation") {
                let template = representation.first("SegmentTemplate").expect("a template");
                let number = template.get("startNumber").unwrap_or("");
                let offset = template.want("presentationTimeOffset");
                let init = template.want("initialization");
                lines.push(format!("Representation {} {init} {number} {offset}", representation.want("id")));
            }
        }
    }
    lines
}

#[test]
fn starts_and_ids_outlive_the_process() {
    let data = Scratch::new("dash-data");
    let arguments = ["--data-dir", data.path.to_str().expect("a path")];
    let port = crate::harness::free_port();
    let mut origin = Headwater::serve_on(port, CHANNEL, &arguments);
    let pusher = push(&origin, "live", "v0,v1,a0");
    origin.wait_channel("live", |c| c["tracks"].as_array().is_some_and(|t| t.len() == 3) && whole(c) >= 2);
    let (number, timeline) = (number_mpd(&origin, "live"), timeline_mpd(&origin, "live"));
    origin.wait_channel("live", |c| whole(c) >= 4);
    assert_eq!(identity(&number_mpd(&origin, "live")), identity(&number));
    assert_eq!(identity(&timeline_mpd(&origin, "live")), identity(&timeline));

    drop(pusher);
    origin.process.terminate();
    assert_eq!(origin.process.wait(Duration::from_secs(15)), Some(0), "{}", origin.process.log());
    let origin = Headwater::serve_on(port, CHANNEL, &arguments);
    let _pusher = push(&origin, "live", "v0,v1,a0");
    origin.wait_channel("live", |c| c["tracks"].as_array().is_some_and(|t| t.len() == 3) && whole(c) >= 2);
    assert_eq!(identity(&number_mpd(&origin, "live")), identity(&number));
    let after = timeline_mpd(&origin, "live");
    assert_eq!(identity(&after), identity(&timeline));
    let last = |mpd: &Mpd| mpd.representation("v0").timeline.last().copied().expect("a segment");
    assert!(last(&after) > last(&timeline), "time went back over the restart");
    assert!(after.root.want("publishTime") > timeline.root.want("publishTime"));
}

#[test]
fn the_named_clocks_tell_the_time() {
    let demo = demo();
    for mpd in [number_mpd(&demo, "demo"), timeline_mpd(&demo, "demo")] {
        let clocks: Vec<&Element> = mpd.root.all("UTCTiming").collect();
        let schemes: Vec<&str> = clocks.iter().map(|c| c.want("schemeIdUri")).collect();
        let expected = ["xsdate", "iso", "head"].map(|s| format!("urn:mpeg:dash:utc:http-{s}:2014"));
        assert_eq!(schemes, expected);
        for clock in clocks {
            let url = mpd.resolve(clock.want("value"));
            let before = now();
            if clock.want("schemeIdUri").contains("head") {
                let head = request("HEAD", &url, &[], &[]);
                assert_eq!((head.status, head.body.len()), (200, 0));
                assert!(head.header("date").is_some_and(|d| d.ends_with("GMT")), "{:?}", head.header("date"));
                let exposed = head.header("access-control-expose-headers").unwrap_or("");
                assert!(exposed.contains("Date"), "a page may not read Date: {exposed:?}");
            } else {
                let text = get(&url).text();
                let told = date(text.trim()).unwrap_or_else(|| panic!("{text:?} is no xs:dateTime")) as f64 / 1e9;
                assert!(
                    (before - 0.002..now() + 0.002).contains(&told),
                    "{told} is not between {before} and {}",
                    now()
                );
            }
        }
    }
}

#[test]
fn a_lost_segment_is_declared_and_nothing_else_is_missing() {
    let (origin, mut pusher) = pushed("v0,a0");
    pusher.kill();
    // Longer than what a new connection sends again, shorter than what makes the window begin anew.
    let before = now();
    until(Duration::from_millis(2_200), || None::<()>);
    let _pusher = push(&origin, "live", "v0,a0");
    origin.wait_channel("live", |c| {
        let segments = track(c, "v0")["segments"].as_array().cloned().unwrap_or_default();
        let gap = segments.iter().rposition(|s| s["gap"] == true);
        gap.is_some_and(|at| segments.len() > at + 3)
    });
    let (number, timeline) = (number_mpd(&origin, "live"), timeline_mpd(&origin, "live"));
    for id in ["v0", "a0"] {
        let named = number.representation(id);
        assert!(!named.lost.is_empty(), "the loss on {id} is not declared in the number MPD");
        let timed = timeline.representation(id);
        assert!(!timed.lost.is_empty(), "the loss on {id} is not declared in the timeline MPD");
        let mut spans: Vec<(u64, u64)> = timed.timeline.iter().chain(&timed.lost).copied().collect();
        spans.sort_unstable();
        for pair in spans.windows(2) {
            let hole = pair[1].0 as i64 - (pair[0].0 + pair[0].1) as i64;
            // Sound has its own frames: the cut for a gap falls within one.
            let frame = if id == "a0" { 1_024 } else { 0 };
            assert!(hole.unsigned_abs() <= frame, "{id}: a hole of {hole} ticks between {pair:?}");
        }
        let (first, last) = named.available(now(), number.time_shift_buffer());
        let mut lost = 0;
        for n in first..last {
            let answer = get(&number.resolve(&named.number_path(n)));
            let declared = named.is_lost(n * named.duration);
            assert_eq!(answer.status == 200, !declared, "{id} segment {n}: {} {}", answer.status, answer.text());
            if declared {
                assert_eq!((answer.status, life(&answer)), (404, 1));
                assert!(named.start_of(n) > before - 2.0);
                lost += 1;
            }
        }
        assert!((1..=4).contains(&lost), "{lost} segments of {id} lost");
    }
}

#[test]
fn an_ended_channel_is_static_with_its_true_duration() {
    let (origin, _pusher) = pushed("v0,a0");
    let live = number_mpd(&origin, "live");
    assert!(live.is_live() && seconds(live.root.want("minimumUpdatePeriod")) <= SEGMENT.as_secs_f64());
    let response = request("POST", &origin.url("/api/v1/channels/live/end"), &[], &[]);
    assert_eq!(response.status, 202);
    let ended = origin.wait_channel("live", |c| c["state"] == "ended");
    let end = |id: &str| {
        let segment = track(&ended, id)["segments"].as_array().and_then(|s| s.last().cloned()).expect("a segment");
        let start = date(segment["start"].as_str().expect("a date")).expect("a date") as f64 / 1e9;
        start + segment["duration"].as_f64().expect("seconds")
    };
    let end = end("v0").max(end("a0"));
    for mpd in [number_mpd(&origin, "live"), timeline_mpd(&origin, "live")] {
        assert!(!mpd.is_live());
        assert!(mpd.root.get("minimumUpdatePeriod").is_none() && mpd.root.get("timeShiftBufferDepth").is_none());
        assert!(mpd.root.first("PatchLocation").is_none());
        let told = seconds(mpd.root.want("mediaPresentationDuration"));
        assert!((told - end).abs() < 0.002, "the last sample ends at {end}, the MPD says {told}");
        let period = mpd.root.all("Period").last().expect("a Period");
        let span = seconds(period.want("start")) + seconds(period.want("duration"));
        assert!((span - told).abs() < 0.002, "the last Period ends at {span}");
        for representation in mpd.representations() {
            let last = if representation.timeline.is_empty() {
                let ends = representation.start_of(representation.end_number + 1);
                assert!((-0.45..1.1).contains(&(ends - end)), "{} ends at {ends}", representation.id);
                representation.number_path(representation.end_number)
            } else {
                let (last, duration) = *representation.timeline.last().expect("a segment");
                let ends = (last + duration) as f64 / representation.timescale as f64;
                assert!(end - ends < 0.45, "{} ends at {ends}", representation.id);
                representation.time_path(last)
            };
            assert_eq!(get(&mpd.resolve(&last)).status, 200, "{last}");
        }
    }
    let past = live.representation("v0").number_path(end.ceil() as u64 + 1);
    assert_eq!(get(&live.resolve(&past)).status, 404, "nothing follows the end");
    let url = origin.url("/live/live/manifest.mpd");
    let tag = get(&url).header("etag").expect("a validator").to_owned();
    let again = request("GET", &url, &[("if-none-match", &tag)], &[]);
    assert_eq!((again.status, again.body.len()), (304, 0));
    assert_eq!(again.header("etag"), Some(tag.as_str()));
}

#[test]
fn an_unchanged_mpd_is_not_sent_again() {
    let demo = demo();
    for name in ["manifest.mpd", "timeline.mpd"] {
        let url = demo.url(&format!("/live/demo/{name}"));
        // A new version each second may come in between, not every time.
        let unchanged = until(SOON, || {
            let first = get(&url);
            let tag = first.header("etag").expect("a validator").to_owned();
            let again = request("GET", &url, &[("if-none-match", &tag)], &[]);
            (again.status == 304 && again.body.is_empty()).then_some(())
        });
        assert!(unchanged.is_some(), "{name} is always sent whole");
    }
}

#[test]
fn low_latency_is_promised_in_full() {
    let demo = demo();
    let mpd = number_mpd(&demo, "demo");
    let service = mpd.root.first("ServiceDescription").expect("a ServiceDescription");
    let latency = service.first("Latency").expect("a Latency");
    assert!(latency.number("min") < latency.number("target") && latency.number("target") < latency.number("max"));
    assert!(latency.number("target") <= 2_500);
    let rate = service.first("PlaybackRate").expect("a PlaybackRate");
    assert!(rate.want("min").parse::<f64>().unwrap() < 1.0 && rate.want("max").parse::<f64>().unwrap() > 1.0);
    for set in mpd.root.deep("AdaptationSet") {
        let reference = set.first("ProducerReferenceTime").expect("a ProducerReferenceTime");
        assert_eq!(reference.want("id"), latency.want("referenceId"));
        assert_eq!(reference.want("inband"), "true");
        assert!(reference.first("UTCTiming").is_some(), "shaka reads wallClockTime as NTP without one");
        for representation in set.all("Representation") {
            assert!(representation.first("Resync").is_some_and(|r| r.number("dT") > 0));
            let template = representation.first("SegmentTemplate").expect("a template");
            assert_eq!(template.want("availabilityTimeComplete"), "false");
            let offset: f64 = template.want("availabilityTimeOffset").parse().expect("seconds");
            assert!((offset - 0.8).abs() < 1e-6, "segment less chunk is 0.8 s, not {offset}");
        }
    }
    // The media says when it was produced, once in a segment, and begins where the number says.
    for representation in mpd.representations() {
        let (first, _) = representation.available(now(), mpd.time_shift_buffer());
        let segment = get(&mpd.resolve(&representation.number_path(first + 1))).body;
        let boxes = boxes(&segment);
        let kinds: Vec<&str> = boxes.iter().map(|(kind, _)| kind.as_str()).collect();
        assert_eq!(kinds[..4], ["styp", "prft", "moof", "mdat"], "{}", representation.id);
        assert_eq!(kinds.iter().filter(|k| **k == "prft").count(), 1);
        assert!(kinds.iter().filter(|k| **k == "moof").count() >= 5, "chunks of a fifth of a second: {kinds:?}");
        let prft = boxes[1].1;
        let seconds = u32::from_be_bytes(prft[8..12].try_into().unwrap());
        let fraction = u32::from_be_bytes(prft[12..16].try_into().unwrap());
        let told = f64::from(seconds) - 2_208_988_800.0 + f64::from(fraction) / 4_294_967_296.0;
        assert!((told - representation.start_of(first + 1)).abs() < 0.1, "{}: prft says {told}", representation.id);
    }
}

#[test]
fn a_segment_in_progress_arrives_chunk_by_chunk() {
    let demo = demo();
    let mpd = number_mpd(&demo, "demo");
    for id in ["v1", "a0"] {
        let representation = mpd.representation(id);
        // The next one is asked for before it begins, as players do.
        let number = fresh_segment(&demo, "demo", id) + 1;
        let url = mpd.resolve(&representation.number_path(number));
        let mut segment = Arriving::get(&url);
        assert_eq!(segment.status, 200);
        assert_eq!(segment.headers.get("transfer-encoding").map(String::as_str), Some("chunked"));
        assert!(!segment.headers.contains_key("content-length"), "the length is not known yet");
        segment.more().expect("the first chunk");
        let first_byte = now();
        let kinds: Vec<String> = boxes(&segment.bytes).into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(kinds, ["styp", "prft", "moof", "mdat"], "the first chunk alone");
        let due = representation.available_at(number);
        // NB: a busy test machine may be late; early would be a lie.
        assert!((due - 0.15..due + 1.0).contains(&first_byte), "due at {due}, first byte at {first_byte}");
        segment.read_out().expect("the whole segment");
        let spread = segment.at.last().unwrap().saturating_sub(segment.at[0]);
        assert!(segment.at.len() >= 4, "{id} came in {} pieces", segment.at.len());
        assert!(spread > Duration::from_millis(500), "{id} came within {spread:?}");
        assert!(segment.at.windows(2).all(|w| w[1] - w[0] < Duration::from_millis(900)), "{:?}", segment.at);
        assert!(get(&url).body == segment.bytes, "the same bytes afterwards");
    }
}

#[test]
fn a_late_joiner_gets_what_is_there_at_once_and_then_the_rest() {
    let demo = demo();
    let mpd = number_mpd(&demo, "demo");
    let representation = mpd.representation("v2");
    let number = fresh_segment(&demo, "demo", "v2");
    demo.wait_channel("demo", |c| track(c, "v2")["last_part"].as_u64() >= Some(2));
    let mut segment = Arriving::get(&mpd.resolve(&representation.number_path(number)));
    segment.more().expect("what is there");
    assert_eq!(&segment.bytes[4..8], b"styp", "from its first byte");
    assert!(now() < representation.start_of(number + 1) + 0.1, "only once it was whole");
    segment.read_out().expect("the rest");
    assert!(get(&mpd.resolve(&representation.number_path(number))).body == segment.bytes);
}

#[test]
fn a_source_that_dies_within_a_segment_cuts_the_response() {
    let (origin, mut pusher) = pushed("v0");
    let mpd = number_mpd(&origin, "live");
    let number = fresh_segment(&origin, "live", "v0");
    let mut segment = Arriving::get(&mpd.resolve(&mpd.representation("v0").number_path(number)));
    segment.more().expect("a chunk");
    pusher.kill();
    let end = segment.read_out();
    assert!(end.is_err(), "a stump of {} bytes ended as if it were whole", segment.bytes.len());
    origin.wait_channel("live", |c| c["state"] == "stalled");
}

#[test]
fn the_next_segment_is_held_a_later_or_an_old_one_is_refused() {
    let demo = demo();
    let mpd = number_mpd(&demo, "demo");
    let representation = mpd.representation("v0");
    let number = fresh_segment(&demo, "demo", "v0");
    let url = |n: u64| mpd.resolve(&representation.number_path(n));
    for ahead in [3, 4, 60] {
        let early = get(&url(number + ahead));
        assert_eq!(early.status, 404, "{ahead} ahead");
        assert!(life(&early) <= 1, "{ahead} ahead: cached for {} s", life(&early));
        assert!(early.header("access-control-allow-origin").is_some(), "players see an opaque error without it");
    }
    let mut held = Arriving::get(&url(number + 1));
    assert_eq!(held.status, 200);
    held.more().expect("its first chunk");
    assert!(now() >= representation.available_at(number + 1) - 0.15, "before it could be there");
    for old in [1, number - 10_000] {
        let gone = get(&url(old));
        assert!(matches!(gone.status, 404 | 410), "{}", gone.status);
        // No error on media outlives a target duration (rfc8216bis, B.1), past the window too.
        assert_eq!(life(&gone), 1);
    }
}

#[test]
fn numbers_times_and_parts_name_the_same_bytes() {
    let demo = demo();
    let (number, timeline) = (number_mpd(&demo, "demo"), timeline_mpd(&demo, "demo"));
    let channel = demo.channel("demo");
    for timed in timeline.representations() {
        let numbered = number.representation(&timed.id);
        assert_eq!(numbered.initialization, timed.initialization);
        assert_eq!(get(&number.resolve(&numbered.initialization)).status, 200);
        for (time, _) in timed.timeline.iter().rev().take(3) {
            // Sound may begin a frame after the grid: the middle of the segment tells its number.
            let n = numbered.number_at(*time as f64 / timed.timescale as f64 + 0.5);
            let by_time = get(&timeline.resolve(&timed.time_path(*time)));
            let by_number = get(&number.resolve(&numbered.number_path(n)));
            assert_eq!((by_time.status, by_number.status), (200, 200), "{} {n} at {time}", timed.id);
            assert!(by_time.body == by_number.body, "{} {n}", timed.id);
            assert_eq!(by_time.header("etag"), by_number.header("etag"));
            let told = track(&channel, &timed.id)["segments"].as_array().cloned().unwrap_or_default();
            let Some(told) = told.iter().find(|s| s["number"] == n) else { continue };
            let parts = told["parts"].as_u64().expect("parts");
            let part = |i: u64| get(&demo.url(&format!("/live/demo/{}/{n}.{i}.m4s", timed.id))).body;
            let joined: Vec<u8> = (0..parts).flat_map(part).collect();
            assert!(joined == by_number.body, "{} {n}: {parts} parts make other bytes", timed.id);
        }
    }
}

#[test]
fn a_patched_mpd_is_the_new_mpd() {
    let demo = demo();
    let mut patched = timeline_mpd(&demo, "demo");
    let mut compared = 0;
    for _ in 0..6 {
        let location = patched.root.first("PatchLocation").expect("a PatchLocation");
        assert!(location.want("ttl").parse::<f64>().expect("seconds") >= 10.0);
        let old_time = patched.root.want("publishTime").to_owned();
        let answer = get(&patched.resolve(&location.text));
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/dash-patch+xml")));
        let patch = Element::read(&answer.text());
        assert_eq!(patch.want("mpdId"), "demo");
        assert_eq!(patch.want("originalPublishTime"), old_time);
        assert!(patch.want("publishTime") > old_time.as_str(), "held until there is something new");
        patched.root.apply(&patch);
        assert_eq!(patched.root.want("publishTime"), patch.want("publishTime"));
        let mut new = timeline_mpd(&demo, "demo").root;
        if new.want("publishTime") == patched.root.want("publishTime") {
            let mut old = patched.root.clone();
            old.forget("bandwidth");
            new.forget("bandwidth");
            assert_eq!(old, new);
            compared += 1;
        }
    }
    assert!(compared >= 3, "only {compared} MPDs could be compared");
}

#[test]
fn a_patch_that_cannot_be_had_makes_players_load_the_mpd() {
    let demo = demo();
    // dash.js and shaka take a patch that does not fit as a reason to reload; at an error they ask for it again.
    let answer = get(&demo.url("/live/demo/timeline-1700000000000.mpp"));
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/dash-patch+xml")));
    let patch = Element::read(&answer.text());
    assert_eq!((patch.name.as_str(), patch.children.len()), ("Patch", 0));
    assert_ne!(patch.want("originalPublishTime"), "2023-11-14T22:13:20Z");
}

#[test]
fn the_encoders_drift_is_told() {
    let demo = demo();
    let metrics = get(&demo.url("/metrics")).text();
    let line = metrics.lines().find(|l| l.starts_with("headwater_source_drift_seconds{")).expect("the drift");
    let value: f64 = line.rsplit_once(' ').and_then(|(_, v)| v.parse().ok()).unwrap_or_else(|| panic!("{line}"));
    assert!(line.contains("channel=\"demo\"") && value.abs() < 2.0, "{line}");
}

/// A linear congruence: random enough to choose moments, and the same in every run.
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

#[test]
fn at_any_time_what_is_available_is_there_and_what_is_not_is_not() {
    let origin = Headwater::serve(&format!("{CHANNEL}window_seconds = 12\n"), &[]);
    let _pusher = push(&origin, "live", "v0,a0");
    origin.wait_channel("live", |c| c["state"] == "live");
    let mut random = 7;
    let began = Instant::now();
    let mut full = 0;
    while full < 25 {
        assert!(began.elapsed() < Duration::from_secs(60), "the window did not fill");
        until(Duration::from_millis(next_random(&mut random) % 400), || None::<()>);
        let (number, timeline) = (number_mpd(&origin, "live"), timeline_mpd(&origin, "live"));
        for representation in number.representations() {
            let at = now();
            let (first, last) = representation.available(at, number.time_shift_buffer());
            let between = first + next_random(&mut random) % (last - first + 1);
            for n in [last, between, first] {
                let url = number.resolve(&representation.number_path(n));
                // The headers suffice: the newest is still being produced.
                let status = Arriving::get(&url).status;
                assert_eq!(status, 200, "{} {n} of {first}..={last} at {at}", representation.id);
            }
            let early = get(&number.resolve(&representation.number_path(last + 3)));
            assert_eq!(early.status, 404, "{} {last} + 3 at {at}", representation.id);
            if began.elapsed() > Duration::from_secs(25) {
                let late = get(&number.resolve(&representation.number_path(first - 16)));
                assert_eq!(late.status, 404, "{} {first} - 16", representation.id);
                full += 1;
            }
        }
        for representation in timeline.representations() {
            let ends = [representation.timeline.first(), representation.timeline.last()];
            for (time, duration) in ends.into_iter().flatten() {
                let url = timeline.resolve(&representation.time_path(*time));
                assert_eq!(get(&url).status, 200, "{} {time}", representation.id);
                let off = timeline.resolve(&representation.time_path(time + duration / 2));
                assert_eq!(get(&off).status, 404, "{} between two segments", representation.id);
            }
        }
    }
}

#[test]
fn ffmpeg_decodes_every_frame_of_the_mpd_in_order() {
    let demo = demo();
    let url = demo.url("/live/demo/manifest.mpd");
    let arguments = ["-v", "error", "-i", &url, "-map", "0:v:0", "-t", "5", "-f", "framemd5", "-"];
    let frames = run("ffmpeg", &arguments, Duration::from_secs(40));
    let frames: Vec<Vec<&str>> =
        frames.lines().filter(|l| !l.starts_with('#')).map(|l| l.split(',').map(str::trim).collect()).collect();
    // 25 frames a second in ticks of a frame.
    assert!((120..=126).contains(&frames.len()), "{} frames in 5 s", frames.len());
    let times: Vec<i64> = frames.iter().map(|f| f[2].parse().expect("a time")).collect();
    assert!(times.windows(2).all(|w| w[1] == w[0] + 1), "{times:?}");
}

#[test]
fn the_presentation_time_offset_stays_with_its_period() {
    let demo = demo();
    let offsets = |r: &Representation| (r.id.clone(), r.presentation_time_offset());
    let before: Vec<_> = number_mpd(&demo, "demo").representations().iter().map(offsets).collect();
    fresh_segment(&demo, "demo", "v0");
    let after: Vec<_> = number_mpd(&demo, "demo").representations().iter().map(offsets).collect();
    assert_eq!(before, after);
}
