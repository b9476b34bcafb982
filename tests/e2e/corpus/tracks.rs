// SPDX-License-Identifier: Apache-2.0
//! Several tracks in one channel: what befalls one leaves the others alone.

use super::manner::{Body, Manner, send};
use super::media::{Stream, vector};
use super::outcome::Outcome;
use super::stage::{Channel, Stage, seconds};
use crate::harness::{Headwater, SOON, Scratch, free_port, request, until};
use crate::playlist;

const EVEN: (u64, u64) = (2, 1);

#[test]
fn a_rendition_of_another_gop_is_left_out_and_harms_no_other() {
    let stage = Stage::shared();
    // By either order of names, or it would be luck.
    for (n, names) in [["a", "b", "c"], ["b", "c", "a"]].into_iter().enumerate() {
        let channel = stage.channel(&format!("misfit-{n}"));
        let lo = Stream::vector("cmaf/v25_lo.cmfv").looped(3, 8 * 12_800).ago(26, EVEN);
        let mid = Stream::vector("cmaf/v25_mid.cmfv").looped(3, 8 * 12_800).ago(26, EVEN);
        let odd = Stream::vector("bad/gop48_vs_50.cmfv").ago(26, EVEN);
        let mut bodies = names.map(|name| Body::open(&channel, name));
        for (body, stream) in bodies.iter_mut().zip([&lo, &mid, &odd]) {
            body.send(&stream.header());
        }
        assert_eq!(channel.told(" track ", 3), 3);
        for n in 0..12 {
            for (body, stream) in bodies.iter_mut().zip([&lo, &mid, &odd]) {
                stream.fragments().get(n).into_iter().for_each(|f| body.send(f));
            }
            let sent: u64 = bodies.iter().map(Body::sent_bytes).sum();
            assert!(until(SOON, || (channel.received_bytes() >= sent).then_some(())).is_some());
        }
        for name in &names[..2] {
            channel.wait(name, |track| seconds(track) > 23.7);
        }
        assert!(bodies.map(Body::finish).iter().all(|answer| answer.status == 200));
        assert_eq!(channel.state()["segment_duration"], 2.0, "{names:?}");
        let text = channel.origin.get(&format!("/live/{}/multivariant.m3u8", channel.name)).text();
        let listed: Vec<String> =
            playlist::renditions(&text).expect("a playlist").iter().map(|r| r.uri.clone()).collect();
        let lists = |name: &str| listed.iter().any(|uri| uri.starts_with(&format!("{name}/")));
        assert!(lists(names[0]) && lists(names[1]) && !lists(names[2]), "{names:?}: {text}");
        let mpd = channel.origin.get(&format!("/live/{}/manifest.mpd", channel.name)).text();
        assert!(!mpd.contains(&format!("id=\"{}\"", names[2])), "{mpd}");
        assert_eq!(channel.told("defect=\"not_switchable\"", 1), 1, "{names:?}");
        channel.end();
        for name in &names[..2] {
            let outcome = Outcome::of(&channel, name);
            assert_eq!((outcome.words, outcome.frames), (["2.000"; 12].join(" "), 600), "{names:?} {name}");
        }
    }
    stage.undisturbed();
}

#[test]
fn a_lost_track_has_a_gap_while_the_others_go_on() {
    let stage = Stage::shared();
    let channel = stage.channel("lost");
    let pictures = Stream::vector("cmaf/v25_lo.cmfv").looped(2, 8 * 12_800).ago(18, EVEN);
    let sound = Stream::vector("cmaf/a48_eng.cmfa").looped(2, 375 * 1_024).ago(18, EVEN);
    let (mut v, mut a) = (Body::open(&channel, "v"), Body::open(&channel, "a"));
    v.send(&pictures.header());
    a.send(&sound.header());
    for n in 0..8 {
        v.send(pictures.fragments()[n]);
        // The third to the sixth fragment of sound never come.
        if !(2..6).contains(&n) {
            a.send(sound.fragments()[n]);
        }
        channel.wait("v", |track| seconds(track) > 2.0 * n as f64 + 1.7);
    }
    assert_eq!((v.finish().status, a.finish().status), (200, 200));
    channel.wait("a", |track| track["defects"]["gaps"].as_u64() >= Some(3));
    channel.end();
    let (pictures, sound) = (Outcome::of(&channel, "v"), Outcome::of(&channel, "a"));
    assert_eq!((pictures.words.as_str(), pictures.frames), ("2.000 2.000 2.000 2.000 2.000 2.000 2.000 2.000", 400));
    assert!(sound.words.contains("gap") && !sound.words.contains('|'), "{}", sound.words);
    assert_eq!(pictures.playlist.media_sequence, sound.playlist.media_sequence);
    stage.undisturbed();
}

#[test]
fn event_and_text_tracks_beside_pictures_change_nothing_for_them() {
    let stage = Stage::shared();
    let channel = stage.channel("beside");
    let files = ["cmaf/scte35_evte.cmfm", "cmaf/scte35_urim.cmfm", "cmaf/sub_wvtt.cmft", "cmaf/sub_stpp.cmft"];
    let names = ["evte", "urim", "wvtt", "stpp"];
    for (file, name) in files.iter().zip(names) {
        let stream = Stream::vector(file).ago(10, EVEN);
        assert_eq!(send(&channel, name, &stream, Manner::Long).status, 200, "{file}");
    }
    let pictures = Stream::vector("cmaf/v25_lo_emsg.cmfv").ago(10, EVEN);
    assert_eq!(send(&channel, "v", &pictures, Manner::Long).status, 200);
    channel.wait("v", |track| seconds(track) > 7.7);
    channel.end();
    let outcome = Outcome::of(&channel, "v");
    assert_eq!((outcome.words.as_str(), outcome.frames, outcome.holes), ("2.000 2.000 2.000 2.000", 200, 0));
    assert_eq!(outcome.faults, Vec::<String>::new());
    let text = channel.origin.get(&format!("/live/{}/multivariant.m3u8", channel.name)).text();
    assert!(!text.contains("evte") && !text.contains("urim"), "{text}");
    stage.undisturbed();
}

#[test]
fn one_channel_too_many_is_told_to_come_back() {
    let origin = Headwater::serve("channels_from_push = true\nchannels_max = 1\n", &[]);
    let body = Stream::vector("bad/init_only.cmfv").whole();
    assert_eq!(request("PUT", &origin.url("/ingest/one/Streams(v.cmfv)"), &[], &body).status, 200);
    let refused = request("PUT", &origin.url("/ingest/two/Streams(v.cmfv)"), &[], &body);
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("10")));
    assert_eq!(request("PUT", &origin.url("/ingest/one/Streams(w.cmfv)"), &[], &body).status, 200);
}

/// How a push names its objects: header, then segment `n`.
type Style = (&'static str, &'static str, fn(usize) -> String);

#[test]
fn headers_and_numbers_go_on_after_the_origins_own_restart_whatever_the_style() {
    let styles: [Style; 4] = [
        ("aws", "Streams(t.cmfv)/InitializationSegment", |n| format!("Streams(t.cmfv)/Segment({n})")),
        ("hls", "t/init_0.mp4", |n| format!("t/seg{n:05}.m4s")),
        ("dash", "init-t.m4s", |n| format!("chunk-t-{n:05}.m4s")),
        ("same-path", "Streams(t.cmfv)", |_| "Streams(t.cmfv)".to_owned()),
    ];
    let disk = Scratch::new("styles");
    let port = free_port();
    let folder = disk.path.display().to_string();
    let toml = "channels_from_push = true\n[defaults]\nwindow_seconds = 120\ncadence = false\n";
    let serve = || Headwater::serve_on(port, toml, &["--data-dir", &folder]);
    let utc = Stream::vector("cmaf/v25_lo.cmfv").looped(2, 8 * 12_800).ago(18, EVEN);
    let zero = Stream::vector("cmaf/v25_lo.cmfv").looped(2, 8 * 12_800).shifted(-1_700_000_000 * 12_800);
    let put = |origin: &Headwater, channel: &str, name: &str, body: &[u8]| {
        assert_eq!(request("PUT", &origin.url(&format!("/ingest/{channel}/{name}")), &[], body).status, 200, "{name}");
    };
    let state = |origin: &Headwater, channel: &str| origin.channel(channel)["tracks"][0].clone();
    let mut origin = serve();
    let mut before = Vec::new();
    for (style, header, segment) in styles {
        for (clock, stream) in [("utc", &utc), ("zero", &zero)] {
            let channel = format!("{style}-{clock}");
            put(&origin, &channel, header, &stream.header());
            for n in 0..4 {
                put(&origin, &channel, &segment(n), stream.fragments()[n]);
            }
            let track = until(SOON, || Some(state(&origin, &channel)).filter(|t| seconds(t) > 7.7));
            let track = track.unwrap_or_else(|| panic!("{channel}: {:#}", origin.channel(&channel)));
            let id = track["id"].as_str().expect("a name").to_owned();
            let init = origin.get(&format!("/live/{channel}/{id}/init-0.mp4")).body;
            before.push((track["last_segment"].as_u64().expect("a number"), init));
        }
    }
    origin.process.kill();
    drop(origin);
    origin = serve();
    let mut before = before.into_iter();
    for (style, _, segment) in styles {
        for (clock, stream) in [("utc", &utc), ("zero", &zero)] {
            let channel = format!("{style}-{clock}");
            let (last, init) = before.next().expect("one of each");
            for n in 4..8 {
                put(&origin, &channel, &segment(n), stream.fragments()[n]);
            }
            let track = until(SOON, || Some(state(&origin, &channel)).filter(|t| seconds(t) > 7.7));
            let track = track.unwrap_or_else(|| panic!("{channel}: {:#}", origin.channel(&channel)));
            assert_eq!(track["first_segment"].as_u64(), Some(last + 1), "{channel}: {track:#}");
            assert_eq!(origin.channel(&channel)["generation"], 0, "{channel}");
            let id = track["id"].as_str().expect("a name");
            assert!(origin.get(&format!("/live/{channel}/{id}/init-0.mp4")).body == init, "{channel}: another header");
        }
    }
}

#[test]
fn a_track_that_joins_late_begins_where_it_is() {
    let stage = Stage::shared();
    let channel = stage.channel("late");
    let pictures = Stream::vector("cmaf/v25_lo.cmfv").ago(10, EVEN);
    let sound = Stream::vector("cmaf/a48_eng.cmfa").ago(10, EVEN);
    let (mut v, mut a) = (Body::open(&channel, "v"), Body::open(&channel, "a"));
    v.send(&pictures.header());
    pictures.fragments()[..2].iter().for_each(|f| v.send(f));
    channel.wait("v", |track| seconds(track) > 3.7);
    a.send(&sound.header());
    sound.fragments()[2..].iter().for_each(|f| a.send(f));
    pictures.fragments()[2..].iter().for_each(|f| v.send(f));
    assert_eq!((v.finish().status, a.finish().status), (200, 200));
    channel.wait("v", |track| seconds(track) > 7.7);
    channel.wait("a", |track| seconds(track) > 1.7);
    channel.end();
    let (pictures, sound) = (Outcome::of(&channel, "v"), Outcome::of(&channel, "a"));
    assert_eq!((pictures.words.as_str(), pictures.frames), ("2.000 2.000 2.000 2.000", 200));
    // Its first fragment crosses a border, so the track begins there.
    assert_eq!((sound.words.as_str(), sound.holes), ("2.005 1.984", 0));
    assert_eq!(sound.playlist.media_sequence, pictures.playlist.media_sequence + 2);
    stage.undisturbed();
}

#[test]
fn an_hls_push_that_ends_its_playlists_ends_no_channel() {
    let stage = Stage::shared();
    let channel = stage.channel("hls-folder");
    for (folder, header, segments) in [("lo", "init_0.mp4", 3), ("hi", "init_1.mp4", 3), ("aud", "init_2.mp4", 4)] {
        let names = [header.to_owned()].into_iter().chain((0..segments).map(|n| format!("seg{n:05}.m4s")));
        for name in names.chain(["index.m3u8".to_owned()]) {
            put(&channel, &format!("{folder}/{name}"), &vector(&format!("hls/{folder}/{name}")));
        }
    }
    put(&channel, "master.m3u8", &vector("hls/master.m3u8"));
    // Three seconds are waited for a date that this push does not tell.
    for id in ["lo", "hi"] {
        channel.wait(id, |track| seconds(track) > 5.7);
    }
    channel.wait("aud", |track| seconds(track) > 5.7);
    assert_eq!(channel.state()["state"], "live");
    channel.end();
    for id in ["lo", "hi"] {
        let outcome = Outcome::of(&channel, id);
        assert_eq!((outcome.words.as_str(), outcome.frames, outcome.holes), ("2.000 2.000 2.000", 150, 0), "{id}");
        assert_eq!(outcome.faults, Vec::<String>::new(), "{id}");
    }
    let sound = Outcome::of(&channel, "aud");
    assert!(sound.frames >= 280 && sound.holes == 0, "{} {}", sound.frames, sound.words);
    assert_eq!(channel.counted("headwater_input_defects", ""), 0);
    stage.undisturbed();
}

#[test]
fn a_dash_push_whose_mpd_turns_static_ends_no_channel() {
    let stage = Stage::shared();
    let channel = stage.channel("dash-folder");
    let objects = |n: usize, count: usize| {
        let header = format!("init-stream{n}.m4s");
        [header].into_iter().chain((1..=count).map(move |k| format!("chunk-stream{n}-{k:05}.m4s")))
    };
    for (n, count) in [(0, 3), (1, 3), (2, 4)] {
        for name in objects(n, count) {
            put(&channel, &name, &vector(&format!("dash/{name}")));
        }
    }
    put(&channel, "manifest.mpd", &vector("dash/manifest.mpd"));
    for id in ["stream0", "stream1", "stream2"] {
        channel.wait(id, |track| seconds(track) > 5.6);
    }
    assert_eq!(channel.state()["state"], "live");
    channel.end();
    for id in ["stream0", "stream1"] {
        let outcome = Outcome::of(&channel, id);
        assert_eq!((outcome.words.as_str(), outcome.frames, outcome.holes), ("2.000 2.000 2.000", 150, 0), "{id}");
        assert_eq!(outcome.faults, Vec::<String>::new(), "{id}");
    }
    assert_eq!(channel.counted("headwater_input_defects", ""), 0);
    stage.undisturbed();
}

fn put(channel: &Channel<'_>, name: &str, body: &[u8]) {
    assert_eq!(request("PUT", &channel.origin.url(&channel.path(name)), &[], body).status, 200, "{name}");
}

#[test]
fn frames_longer_than_a_part_are_served_whole() {
    let stage = Stage::shared();
    let channel = stage.channel("vfr");
    let stream = Stream::vector("bad/vfr.cmfv").ago(10, EVEN);
    assert_eq!(send(&channel, "t", &stream, Manner::Long).status, 200);
    channel.wait("t", |track| seconds(track) > 5.0);
    channel.end();
    let outcome = Outcome::of(&channel, "t");
    // Pictures that stand for 280 ms are longer than a part may be, and a GOP of 2.48 s passes over a segment of 2.24 s
    // whole: nothing is lost, which is what matters more.
    let known = |fault: &String| fault.contains("longer than the part target") || fault.contains("without duration");
    assert!(outcome.faults.iter().all(known), "{:?}", outcome.faults);
    assert_eq!((outcome.holes, outcome.words.contains('|')), (0, false), "{}", outcome.words);
    assert!(outcome.frames >= 120, "{} of 170 from the first border on", outcome.frames);
    assert_eq!(channel.track("t")["defects"]["missing"], 0);
    stage.undisturbed();
}
