// SPDX-License-Identifier: Apache-2.0
//! HLS as a strict low-latency client, ffprobe and ffmpeg read it, over real sockets against the demo.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::audit;
use crate::harness::{Headwater, Response, SOON, get, request, run};
use crate::playlist::{Playlist, nanos, renditions};
use crate::wire::Wire;

const TRACKS: [&str; 4] = ["v0", "v1", "v2", "a0"];
/// How long each rendition is followed: past the skip boundary, so that deltas leave something out.
const FOLLOWED: Duration = Duration::from_secs(10);
const SECOND: i64 = 1_000_000_000;

/// A media playlist with the text it was read from.
struct Version {
    text: String,
    list: Playlist,
}

fn load(url: &str) -> Version {
    let answer = get(url);
    let text = answer.text();
    assert_eq!(answer.status, 200, "{url}: {text}");
    let list = Playlist::read(&text).unwrap_or_else(|e| panic!("{url}: {e}\n{text}"));
    let faults = list.faults();
    assert!(faults.is_empty(), "{url}: {faults:#?}\n{text}");
    Version { text, list }
}

/// The demo, with a few whole segments on every track.
fn demo() -> Arc<Headwater> {
    let demo = Headwater::shared_demo();
    let whole =
        |track: &Value| track["segments"].as_array().map_or(0, |s| s.iter().filter(|s| s["open"] == false).count());
    demo.wait_channel("demo", |c| {
        c["tracks"].as_array().is_some_and(|t| t.len() == 4 && t.iter().all(|t| whole(t) >= 4))
    });
    demo
}

/// One rendition, followed as a player at the live edge does.
struct Follower<'a> {
    origin: &'a Headwater,
    track: &'static str,
    now: Version,
    /// Bytes of every part fetched.
    parts: BTreeMap<(u64, usize), Vec<u8>>,
    /// Parts of each whole segment, as once listed.
    whole: BTreeMap<u64, usize>,
    /// Parts fetched through their hints.
    hinted: usize,
    deltas: usize,
}

impl<'a> Follower<'a> {
    fn join(origin: &'a Headwater, track: &'static str) -> Self {
        let now = load(&origin.url(&format!("/live/demo/{track}/media.m3u8")));
        Self { origin, track, now, parts: BTreeMap::new(), whole: BTreeMap::new(), hinted: 0, deltas: 0 }
    }

    fn url(&self, name: &str) -> String {
        self.origin.url(&format!("/live/demo/{}/{name}", self.track))
    }

    /// Waits for the next part with a blocking reload while its hint is being fetched.
    fn step(&mut self) {
        let (msn, part) = self.now.list.edge();
        let hint = self.now.list.hint("PART").expect("a live playlist hints").to_owned();
        assert_eq!(hint, format!("{msn}.{part}.m4s"), "{}", self.now.text);
        let hinted = self.url(&hint);
        let reload = self.url(&format!("media.m3u8?_HLS_msn={msn}&_HLS_part={part}"));
        let asked = Instant::now();
        let (fetched, next) = std::thread::scope(|threads| {
            let fetched = threads.spawn(|| get(&hinted));
            let next = load(&reload);
            (fetched.join().expect("no panic while fetching"), next)
        });
        // One part target, and what a busy machine adds.
        assert!(asked.elapsed() < Duration::from_millis(1_200), "{reload} took {:?}", asked.elapsed());
        assert_eq!(fetched.status, 200, "{hinted}: {}", fetched.text());
        self.follows(&next, msn, part, &hint);
        self.agrees(&next, &reload);
        self.parts.insert((msn, part), fetched.body);
        self.hinted += 1;
        self.now = next;
        self.catch_up();
    }

    /// Fetches what is listed and came between two versions, or before the first.
    fn catch_up(&mut self) {
        let mut listed: Vec<(u64, usize, String)> = Vec::new();
        let mut list = |number: u64, parts: &[crate::playlist::Part]| {
            listed.extend(parts.iter().enumerate().map(|(i, p)| (number, i, p.uri.clone())));
        };
        for (number, segment) in self.now.list.numbered().filter(|(_, s)| !s.parts.is_empty()) {
            list(number, &segment.parts);
            self.whole.insert(number, segment.parts.len());
        }
        list(self.now.list.next(), &self.now.list.open.parts);
        for (number, index, uri) in listed {
            if !self.parts.contains_key(&(number, index)) {
                let part = get(&self.url(&uri));
                assert_eq!(part.status, 200, "{uri} is listed");
                self.parts.insert((number, index), part.body);
            }
        }
    }

    /// The next version continues this one.
    fn follows(&self, next: &Version, msn: u64, part: usize, hint: &str) {
        let context = || format!("{}: after\n{}\ncame\n{}", self.track, self.now.text, next.text);
        let (old, new) = (&self.now.list, &next.list);
        assert!(new.edge() > (msn, part), "not reached: {}", context());
        assert!(new.media_sequence >= old.media_sequence && !new.ended, "{}", context());
        assert_eq!(new.discontinuity_sequence, old.discontinuity_sequence, "{}", context());
        assert_eq!(
            (new.target, new.part_target, &new.control),
            (old.target, old.part_target, &old.control),
            "{}",
            context()
        );
        for (number, segment) in new.numbered().filter(|(n, _)| *n < old.next() && *n >= old.first()) {
            let known = &old.segments[usize::try_from(number - old.first()).expect("small")];
            assert_eq!(
                (&known.uri, known.duration, known.date),
                (&segment.uri, segment.duration, segment.date),
                "{}",
                context()
            );
        }
        let held = match new.numbered().find(|(n, _)| *n == msn) {
            Some((_, whole)) => &whole.parts,
            None => &new.open.parts,
        };
        assert_eq!(held[..part], old.open.parts[..part], "parts have changed: {}", context());
        assert_eq!(held[part].uri, hint, "{}", context());
    }

    /// The same version as a delta, merged, is the full one.
    fn agrees(&mut self, next: &Version, reload: &str) {
        let delta = get(&format!("{reload}&_HLS_skip=YES"));
        let delta = Playlist::read(&delta.text()).unwrap_or_else(|e| panic!("{reload}: {e}\n{}", delta.text()));
        let faults = delta.faults();
        assert!(faults.is_empty(), "{reload}: {faults:#?}");
        if delta.skipped == 0 {
            // A delta is asked for by the same position, which by now may hold more.
            return;
        }
        self.deltas += 1;
        if delta.edge() == next.list.edge() {
            let merged = delta.merged(&self.now.list).unwrap_or_else(|e| panic!("{reload}: {e}"));
            let (merged, whole) = (merged.spelt_out(), next.list.clone().spelt_out());
            assert_eq!(merged.segments, whole.segments, "{reload}");
            assert_eq!((merged.open, merged.hints), (whole.open, whole.hints), "{reload}");
        }
    }

    /// Reports point at parts that can be fetched, near the position of this playlist.
    fn reports(&self) {
        let reported: Vec<&str> = self.now.list.reports.iter().filter_map(|r| r["URI"].split('/').nth(1)).collect();
        let others: Vec<&str> = TRACKS.into_iter().filter(|t| *t != self.track).collect();
        assert!(others.iter().all(|t| reported.contains(t)) && reported.len() == others.len(), "{}", self.now.text);
        for report in &self.now.list.reports {
            assert!(!report["URI"].contains('?'), "{report:?}");
            let part = format!("{}.{}.m4s", report["LAST-MSN"], report["LAST-PART"]);
            let folder = report["URI"].strip_prefix("../").expect("a relative address");
            let url = self.origin.url(&format!("/live/demo/{}", folder.replace("media.m3u8", &part)));
            let head = request("HEAD", &url, &[], &[]);
            assert_eq!((head.status, head.body.len()), (200, 0), "{url}");
            let msn: u64 = report["LAST-MSN"].parse().expect("a number");
            let (own, _) = self.now.list.edge();
            assert!(own.abs_diff(msn) <= 1, "{report:?} while here it is {own}");
        }
    }

    /// Whole segments are their parts, end to end.
    fn segments_are_their_parts(&self) {
        for (number, count) in &self.whole {
            let parts: Vec<&Vec<u8>> = (0..*count).map(|i| &self.parts[&(*number, i)]).collect();
            let whole = get(&self.url(&format!("{number}.m4s"))).body;
            let joined: Vec<u8> = parts.into_iter().flatten().copied().collect();
            assert!(whole == joined, "{}/{number}: {} bytes, its parts {}", self.track, whole.len(), joined.len());
        }
        assert!(self.whole.len() >= 6, "{}: only {:?} are whole", self.track, self.whole);
    }
}

#[test]
fn a_strict_client_follows_every_rendition_at_once() {
    let demo = demo();
    let followers: Vec<Follower> = std::thread::scope(|threads| {
        let follow = |track| {
            let demo = &demo;
            threads.spawn(move || {
                let mut follower = Follower::join(demo, track);
                let until = Instant::now() + FOLLOWED;
                while Instant::now() < until {
                    follower.step();
                    follower.reports();
                }
                follower
            })
        };
        let running: Vec<_> = TRACKS.into_iter().map(follow).collect();
        running.into_iter().map(|t| t.join().unwrap_or_else(|p| std::panic::resume_unwind(p))).collect()
    });
    for follower in &followers {
        follower.segments_are_their_parts();
        assert!(follower.deltas > 0, "{}: no delta left anything out", follower.track);
        // A part every 200 ms, but for those that come two at a time on a busy machine.
        assert!(follower.hinted >= 40, "{}: {} parts by their hints", follower.track, follower.hinted);
    }
    in_step(&followers);
}

/// Renditions are in step within a part, and their dates agree.
fn in_step(followers: &[Follower]) {
    let end = |f: &Follower| {
        let parts: i64 = f.now.list.open.parts.iter().map(|p| p.duration).sum();
        let last = f.now.list.segments.last().expect("a segment");
        last.date.unwrap_or(0) + last.duration + parts
    };
    let (least, most) = (followers.iter().map(end).min(), followers.iter().map(end).max());
    // The last steps of two followers may lie a part and the time of a request apart.
    assert!(most.unwrap_or(0) - least.unwrap_or(0) <= SECOND, "{least:?} to {most:?}");
    let video: Vec<_> = followers.iter().filter(|f| f.track.starts_with('v')).collect();
    for pair in video.windows(2) {
        let dates = |f: &Follower| f.now.list.numbered().map(|(n, s)| (n, s.date)).collect::<BTreeMap<_, _>>();
        let (a, b) = (dates(pair[0]), dates(pair[1]));
        assert!(a.iter().all(|(n, date)| b.get(n).is_none_or(|other| other == date)), "{a:?}\n{b:?}");
    }
}

/// Asks for the part after the next, so that the answer is some way off.
fn ahead(origin: &Headwater, track: &str) -> String {
    let list = load(&origin.url(&format!("/live/demo/{track}/media.m3u8"))).list;
    let (msn, part) = list.edge();
    format!("/live/demo/{track}/media.m3u8?_HLS_msn={msn}&_HLS_part={}", part + 1)
}

#[test]
fn two_hundred_waiters_are_answered_together() {
    let demo = demo();
    let path = ahead(&demo, "v0");
    let mut waiters: Vec<Wire> = (0..200).map(|_| Wire::open(&demo.base)).collect();
    // Connecting takes a while; ask for what is still to come now.
    let path = if waiters.is_empty() { path } else { ahead(&demo, "v0") };
    for waiter in &mut waiters {
        waiter.head("GET", &path, "Accept-Encoding: identity\r\n");
    }
    let mut answers = Vec::new();
    let mut first = None;
    for waiter in &mut waiters {
        answers.push(waiter.answer("GET"));
        first.get_or_insert_with(Instant::now);
    }
    let spread = first.map_or(Duration::ZERO, |f| f.elapsed());
    assert!(spread < Duration::from_millis(500), "the last came {spread:?} after the first");
    for answer in &answers {
        assert_eq!((answer.status, &answer.body), (200, &answers[0].body), "{path}");
        assert_eq!(answer.header("etag"), answers[0].header("etag"));
    }
}

/// What gunzip makes of it.
fn unzipped(bytes: &[u8]) -> Vec<u8> {
    let mut gunzip = Command::new("gunzip").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("gunzip");
    let mut stdin = gunzip.stdin.take().expect("piped");
    let bytes = bytes.to_vec();
    let feed = std::thread::spawn(move || stdin.write_all(&bytes));
    let output = gunzip.wait_with_output().expect("gunzip ends");
    feed.join().expect("no panic").expect("gunzip reads");
    output.stdout
}

#[test]
fn a_version_has_one_validator_for_each_form() {
    let demo = demo();
    // A blocking request names its version, so the answers below are of the same one.
    let url = demo.url(&ahead(&demo, "v1"));
    let plain = request("GET", &url, &[("Accept-Encoding", "identity")], &[]);
    let zipped = request("GET", &url, &[("Accept-Encoding", "gzip")], &[]);
    let tag = |answer: &Response| answer.header("etag").expect("a validator").to_owned();
    assert_eq!((plain.header("content-encoding"), zipped.header("content-encoding")), (None, Some("gzip")));
    assert!(plain.header("vary").is_some_and(|v| v.eq_ignore_ascii_case("accept-encoding")));
    assert_ne!(tag(&plain), tag(&zipped));
    let current = unzipped(&zipped.body);
    let edge = |bytes: &[u8]| Playlist::read(&String::from_utf8_lossy(bytes)).expect("a playlist").edge();
    if edge(&current) == edge(&plain.body) {
        assert!(current == plain.body, "compressed it is another text");
    }
    // Media never changes, so its validator can be asked for at any time.
    let media = demo.url("/live/demo/v1/init-0.mp4");
    let whole = get(&media);
    let again = request("GET", &media, &[("If-None-Match", &tag(&whole))], &[]);
    assert_eq!((again.status, again.body.len()), (304, 0));
    assert_eq!(again.header("etag"), whole.header("etag"));
    let other = request("GET", &media, &[("If-None-Match", "\"other\"")], &[]);
    assert_eq!((other.status, &other.body), (200, &whole.body));
    let head = request("HEAD", &media, &[], &[]);
    assert_eq!(head.header("content-length"), Some(whole.body.len().to_string().as_str()));
    let multivariant = demo.url("/live/demo/multivariant.m3u8");
    let first = get(&multivariant);
    let same = request("GET", &multivariant, &[("If-None-Match", &tag(&first))], &[]);
    assert!(same.status == 304 || same.header("etag") != first.header("etag"), "{}", same.status);
}

#[test]
fn directives_past_the_edge_and_out_of_form_are_refused() {
    let demo = demo();
    let list = load(&demo.url("/live/demo/v0/media.m3u8")).list;
    let ask = |query: String| get(&demo.url(&format!("/live/demo/v0/media.m3u8?{query}")));
    let next = list.next();
    for refused in [format!("_HLS_msn={}", next + 4), "_HLS_part=0".into(), "_HLS_msn=-1".into(), "_HLS_msn=1x".into()]
    {
        assert_eq!(ask(refused.clone()).status, 400, "{refused}");
    }
    assert_eq!(ask(format!("_HLS_msn={next}&_HLS_part=40")).status, 400);
    let asked = Instant::now();
    for old in
        [format!("_HLS_msn={}", list.first()), "_HLS_msn=0&_HLS_part=3".into(), "_HLS_msn=5&_HLS_unknown=1&x=y".into()]
    {
        assert_eq!(ask(old.clone()).status, 200, "{old}");
    }
    assert!(asked.elapsed() < Duration::from_secs(1), "an old position was waited for");
    // Parts past the last of a whole segment are the first of the next one.
    let wrapped = ask(format!("_HLS_msn={}&_HLS_part=5", next - 1));
    assert!(Playlist::read(&wrapped.text()).expect("a playlist").edge() > (next, 0), "{}", wrapped.text());
    let whole = ask(format!("_HLS_msn={next}"));
    assert!(
        Playlist::read(&whole.text()).expect("a playlist").next() > next,
        "answered before segment {next} was whole"
    );
}

#[test]
fn a_client_that_leaves_frees_its_place() {
    let demo = demo();
    let waiting = || {
        let text = demo.get("/metrics").text();
        let line = text.lines().find(|l| !l.starts_with('#') && l.contains("waiters")).expect("a gauge of waiters");
        line.rsplit(' ').next().and_then(|v| v.parse::<f64>().ok()).expect("a number")
    };
    let list = load(&demo.url("/live/demo/v2/media.m3u8")).list;
    let mut leavers: Vec<Wire> = (0..300).map(|_| Wire::open(&demo.base)).collect();
    let path = format!("/live/demo/v2/media.m3u8?_HLS_msn={}", list.next() + 1);
    leavers.iter_mut().for_each(|l| l.head("GET", &path, ""));
    assert!(
        crate::harness::until(Duration::from_secs(1), || (waiting() >= 250.0).then_some(())).is_some(),
        "{}",
        waiting()
    );
    drop(leavers);
    // Long before the segment after the next is whole.
    assert!(
        crate::harness::until(Duration::from_millis(700), || (waiting() < 250.0).then_some(())).is_some(),
        "{}",
        waiting()
    );
}

#[test]
fn the_multivariant_playlist_keeps_its_promises() {
    let demo = demo();
    let text = demo.get("/live/demo/multivariant.m3u8").text();
    let found = renditions(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let variants: Vec<_> = found.iter().filter(|r| r.tag == "#EXT-X-STREAM-INF").collect();
    assert_eq!(variants.len(), 3, "{text}");
    assert!(found.iter().any(|r| r.tag == "#EXT-X-I-FRAME-STREAM-INF"), "{text}");
    for variant in variants {
        for told in ["CODECS", "RESOLUTION", "FRAME-RATE", "BANDWIDTH", "AVERAGE-BANDWIDTH", "AUDIO"] {
            assert!(variant.attributes.contains_key(told), "{told} in {variant:?}");
        }
        let rate = nanos(&variant.attributes["FRAME-RATE"]).expect("a decimal");
        assert_eq!(rate, 25 * SECOND);
        let list = load(&demo.url(&format!("/live/demo/{}", variant.uri))).list;
        let (video, audio) = (peak(&demo, &variant.uri, &list), {
            let list = load(&demo.url("/live/demo/a0/media.m3u8")).list;
            peak(&demo, "a0/media.m3u8", &list)
        });
        let told: f64 = variant.attributes["BANDWIDTH"].parse().expect("a number");
        assert!(
            told * 1.02 >= video + audio && told <= (video + audio) * 1.25,
            "told {told}, measured {video} + {audio}"
        );
    }
}

/// Bits per second of the largest whole segment.
fn peak(demo: &Headwater, uri: &str, list: &Playlist) -> f64 {
    let folder = uri.split('/').next().unwrap_or_default();
    let rate = |s: &crate::playlist::Segment| {
        let length = request("HEAD", &demo.url(&format!("/live/demo/{folder}/{}", s.uri)), &[], &[]);
        let bytes: f64 = length.header("content-length").and_then(|l| l.parse().ok()).expect("a length");
        bytes * 8e9 / s.duration as f64
    };
    list.segments.iter().map(rate).fold(0.0, f64::max)
}

#[test]
fn ffprobe_and_ffmpeg_play_it() {
    let demo = demo();
    let url = demo.addresses["hls"].as_str().expect("the address it prints").to_owned();
    let streams =
        run("ffprobe", &["-v", "error", "-show_entries", "stream=codec_name,width", "-of", "csv=p=0", &url], SOON);
    for told in ["h264,320", "h264,640", "h264,960", "aac"] {
        assert!(streams.contains(told), "{told} in\n{streams}");
    }
    audit::plays(&url, 4, 4);
    audit::plays(&demo.url("/live/demo/plain.m3u8"), 4, 4);
}
