// SPDX-License-Identifier: Apache-2.0
//! Looks at a channel as a whole from outside: every playlist against the rules, every listed byte through ffmpeg.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::boxes;
use crate::harness::{Headwater, Scratch, run_bytes};
use crate::playlist::{self, Playlist};

/// How long a tool may take on a busy machine.
const TOOL: Duration = Duration::from_secs(60);
const SECOND: i64 = 1_000_000_000;

/// What a push should have become.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    /// Segment duration in nanoseconds.
    pub(crate) segment: i64,
    /// Frames per second.
    pub(crate) rate: (i64, i64),
    /// Every track with its codec as ffprobe calls it.
    pub(crate) tracks: Vec<(&'static str, &'static str)>,
    /// Whole segments to wait for and to find.
    pub(crate) segments: usize,
    /// The picture flashes when the tone sounds.
    pub(crate) beeps: bool,
}

impl Wish {
    fn frame(&self) -> i64 {
        SECOND * self.rate.1 / self.rate.0
    }
}

/// A track as it lies on the origin.
#[derive(Debug)]
pub(crate) struct Track {
    pub(crate) id: String,
    kind: String,
    pub(crate) playlist: Playlist,
    /// Header and listed segments, one file.
    file: Scratch,
}

/// Waits until every wished track lists as many whole segments as wished.
pub(crate) fn wait(origin: &Headwater, channel: &str, wish: &Wish) {
    let listed = |state: &Value, id: &str| {
        let track = state["tracks"].as_array().and_then(|t| t.iter().find(|t| t["id"] == id))?;
        let whole = track["segments"].as_array()?.iter().filter(|s| s["open"] == false && s["gap"] == false).count();
        (whole >= wish.segments).then_some(())
    };
    origin.wait_channel(channel, |state| {
        state["state"] == "live" && wish.tracks.iter().all(|(id, _)| listed(state, id).is_some())
    });
}

/// Checks everything that a channel shows, after [`wait`].
pub(crate) fn all(origin: &Headwater, channel: &str, wish: &Wish) {
    let state = origin.channel(channel);
    healthy(&state, wish);
    let tracks: Vec<Track> = wish.tracks.iter().map(|(id, _)| track(origin, channel, &state, id)).collect();
    named(origin, channel, &tracks);
    let targets = (tracks[0].playlist.target, tracks[0].playlist.control.clone());
    let mut timed = Vec::new();
    for (track, (_, codec)) in tracks.iter().zip(&wish.tracks) {
        let faults = track.playlist.faults();
        assert!(faults.is_empty(), "{channel}/{}: {faults:#?}\n{:#?}", track.id, track.playlist);
        assert_eq!((track.playlist.target, track.playlist.control.clone()), targets, "{channel}/{}", track.id);
        lengths(channel, track, wish);
        if track.kind != "text" {
            timed.push(decoded(channel, track, codec, wish));
        }
    }
    for video in tracks.iter().zip(&timed).filter(|(t, _)| t.kind == "video") {
        for audio in tracks.iter().zip(&timed).filter(|(t, _)| t.kind == "audio" && wish.beeps) {
            in_sync(channel, video, audio, wish);
        }
    }
}

fn healthy(state: &Value, wish: &Wish) {
    let duration = state["segment_duration"].as_f64().unwrap_or(0.0);
    assert!((duration * 1e9 - wish.segment as f64).abs() < 1_000.0, "segment duration {duration}: {state:#}");
    assert_eq!(state["defects"], serde_json::json!({}), "{state:#}");
    assert_eq!(state["generation"], 0, "{state:#}");
    let tracks = state["tracks"].as_array().expect("tracks");
    let mut ids: Vec<&str> = tracks.iter().filter_map(|t| t["id"].as_str()).collect();
    let mut wished: Vec<&str> = wish.tracks.iter().map(|(id, _)| *id).collect();
    ids.sort_unstable();
    wished.sort_unstable();
    assert_eq!(ids, wished, "{state:#}");
    for track in tracks {
        for defect in ["gaps", "late", "duplicate", "missing"] {
            assert_eq!(track["defects"][defect], 0, "{defect} of {}: {state:#}", track["id"]);
        }
    }
}

fn track(origin: &Headwater, channel: &str, state: &Value, id: &str) -> Track {
    let kind = state["tracks"].as_array().and_then(|t| t.iter().find(|t| t["id"] == id)).map(|t| &t["kind"]);
    let kind = kind.and_then(Value::as_str).unwrap_or_default().to_owned();
    let folder = format!("/live/{channel}/{id}");
    let text = origin.get(&format!("{folder}/media.m3u8")).text();
    let playlist = Playlist::read(&text).unwrap_or_else(|e| panic!("{channel}/{id}: {e}\n{text}"));
    let mut bytes = Vec::new();
    let mut map = None;
    for segment in &playlist.segments {
        assert!(!segment.gap && !segment.discontinuity, "{channel}/{id}: {segment:?}");
        if segment.map.is_some() && segment.map != map {
            map.clone_from(&segment.map);
            let header = origin.get(&format!("{folder}/{}", map.as_deref().unwrap_or_default()));
            assert_eq!(header.status, 200, "{channel}/{id}: {map:?}");
            bytes.extend(header.body);
        }
        let media = origin.get(&format!("{folder}/{}", segment.uri));
        assert_eq!((media.status, media.body.is_empty()), (200, false), "{channel}/{id}/{}", segment.uri);
        bytes.extend(media.body);
    }
    let file = Scratch::new(&format!("{channel}-{id}"));
    std::fs::write(file.path.join("track.mp4"), bytes).expect("a scratch file");
    Track { id: id.to_owned(), kind, playlist, file }
}

/// The multivariant playlist names every track, and nothing that is not there.
fn named(origin: &Headwater, channel: &str, tracks: &[Track]) {
    for name in ["multivariant.m3u8", "plain.m3u8"] {
        let text = origin.get(&format!("/live/{channel}/{name}")).text();
        let renditions = playlist::renditions(&text).unwrap_or_else(|e| panic!("{channel}: {e}\n{text}"));
        for track in tracks.iter().filter(|t| t.kind != "metadata") {
            let found = renditions.iter().any(|r| r.uri.starts_with(&format!("{}/", track.id)));
            assert!(found, "{channel}: {name} does not name {}\n{text}", track.id);
        }
        for rendition in renditions {
            let answer = origin.get(&format!("/live/{channel}/{}", rendition.uri));
            let read = Playlist::read(&answer.text());
            assert!(answer.status == 200 && read.is_ok(), "{channel}/{}: {} {read:?}", rendition.uri, answer.status);
        }
    }
}

/// Durations are the grid's, dates run on, numbers follow.
fn lengths(channel: &str, track: &Track, wish: &Wish) {
    let list = &track.playlist;
    assert!(list.segments.len() >= wish.segments, "{channel}/{}: {list:#?}", track.id);
    let slack = if track.kind == "audio" { 33_000_000 } else { 10_000 };
    for segment in &list.segments {
        let error = segment.duration - wish.segment;
        assert!(error.abs() <= slack, "{channel}/{}: {} is {error} ns off", track.id, segment.uri);
    }
    let dates = (list.segments[0].date, list.open.date.or(list.segments.last().and_then(|s| s.date)));
    let (Some(first), Some(last)) = dates else { panic!("{channel}/{}: no dates", track.id) };
    let until_last = if list.open.date.is_some() { list.segments.len() } else { list.segments.len() - 1 };
    let sum: i64 = list.segments[..until_last].iter().map(|s| s.duration).sum();
    let rounding = 1_000_000 + 5_000 * i64::try_from(until_last).unwrap_or(0);
    assert!(
        (last - first - sum).abs() <= rounding,
        "{channel}/{}: dates make {}, durations {sum}",
        track.id,
        last - first
    );
}

/// Every frame decodes, none is missing and none is doubled, and each begins where the one before it ends. When each of
/// them is shown.
fn decoded(channel: &str, track: &Track, codec: &str, wish: &Wish) -> Vec<i64> {
    let path = track.path();
    let entries = "stream=codec_name,nb_read_frames";
    let (csv, complaints) = run_bytes(
        "ffprobe",
        &["-v", "error", "-count_frames", "-show_entries", entries, "-of", "csv=p=0", &path],
        TOOL,
    );
    assert_eq!(complaints, "", "{channel}/{}", track.id);
    let (scale, samples) = boxes::samples(&std::fs::read(&path).expect("a scratch file"));
    let csv = String::from_utf8_lossy(&csv).into_owned();
    let csv = csv.trim().trim_end_matches(',');
    assert_eq!(csv, format!("{codec},{}", samples.len()), "{channel}/{}: codec and frames decoded", track.id);
    for pair in samples.windows(2) {
        let contiguous = pair[1].decode_time == pair[0].decode_time + pair[0].duration;
        assert!(contiguous, "{channel}/{}: {:?} then {:?} in 1/{scale} s", track.id, pair[0], pair[1]);
    }
    let (whole, told) = (nanos(samples.iter().map(|s| s.duration).sum(), scale), track.playlist.duration());
    let rounding = 10_000 * i64::try_from(track.playlist.segments.len()).unwrap_or(0);
    assert!((whole - told).abs() <= rounding, "{channel}/{}: frames last {whole} ns, told are {told}", track.id);
    if track.kind == "video" {
        let expected = (told * wish.rate.0 + SECOND * wish.rate.1 / 2) / (SECOND * wish.rate.1);
        assert_eq!(i64::try_from(samples.len()).unwrap_or(0), expected, "{channel}/{}: frames of {told} ns", track.id);
    }
    let mut times: Vec<i64> = samples.iter().map(|s| nanos(s.decode_time + s.offset, scale)).collect();
    times.sort_unstable();
    let error = times[0] - track.playlist.segments[0].date.unwrap_or(0);
    assert!(error.abs() <= 1_000_000, "{channel}/{}: first frame {error} ns from its date", track.id);
    times
}

fn nanos(ticks: i64, scale: i64) -> i64 {
    i64::try_from(i128::from(ticks) * i128::from(SECOND) / i128::from(scale)).expect("a time of this century")
}

/// The flash is seen when the tone is heard, within a frame.
fn in_sync(channel: &str, video: (&Track, &Vec<i64>), audio: (&Track, &Vec<i64>), wish: &Wish) {
    let (flashes, tones) = (video.0.flashes(video.1), audio.0.tones(audio.1[0]));
    let nearest = |flash: &i64| tones.iter().map(|tone| tone - flash).min_by_key(|d| d.abs()).unwrap_or(i64::MAX);
    let offsets: Vec<i64> = flashes.iter().map(nearest).filter(|d| d.abs() < SECOND / 2).collect();
    let pair = format!("{channel}: {} and {}", video.0.id, audio.0.id);
    assert!(offsets.len() >= 2, "{pair}: flashes {flashes:?} tones {tones:?}");
    assert!(offsets.iter().all(|d| d.abs() < wish.frame()), "{pair}: tone after flash by {offsets:?} ns");
}

impl Track {
    fn path(&self) -> String {
        self.file.path.join("track.mp4").display().to_string()
    }

    /// When the picture turns white.
    fn flashes(&self, times: &[i64]) -> Vec<i64> {
        let path = self.path();
        let arguments = [
            "-v",
            "error",
            "-i",
            &path,
            "-vf",
            "scale=16:8",
            "-vsync",
            "passthrough",
            "-f",
            "rawvideo",
            "-pix_fmt",
            "gray",
            "pipe:1",
        ];
        let (pixels, _) = run_bytes("ffmpeg", &arguments, TOOL);
        let frames = pixels.chunks(16 * 8).map(|f| f.iter().map(|p| u32::from(*p)).sum::<u32>() / (16 * 8) > 200);
        let white: Vec<bool> = frames.collect();
        let onsets = (1..white.len()).filter(|i| white[*i] && !white[*i - 1]);
        onsets.filter_map(|i| times.get(i).copied()).collect()
    }

    /// When the tone begins, where the first sample plays at `start`.
    fn tones(&self, start: i64) -> Vec<i64> {
        let path = self.path();
        let arguments = ["-v", "error", "-i", &path, "-f", "s16le", "-ac", "1", "-ar", "48000", "pipe:1"];
        let (bytes, _) = run_bytes("ffmpeg", &arguments, TOOL);
        let samples = bytes.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]]).unsigned_abs() > 4_000);
        let mut silent = 0;
        let mut onsets = Vec::new();
        for (i, loud) in samples.enumerate() {
            if loud && silent > 24_000 {
                onsets.push(start + i64::try_from(i).unwrap_or(0) * SECOND / 48_000);
            }
            silent = if loud { 0 } else { silent + 1 };
        }
        onsets
    }
}

/// ffmpeg plays this address for `seconds`: every stream decodes without a hole or a repeat.
pub(crate) fn plays(url: &str, seconds: i64, streams: usize) {
    let from_start = if url.contains(".m3u8") { ["-live_start_index", "0"].as_slice() } else { &[] };
    let length = seconds.to_string();
    let mut arguments = vec!["-v", "error"];
    arguments.extend(from_start);
    arguments.extend([
        "-i",
        url,
        "-map",
        "0:v",
        "-map",
        "0:a",
        "-t",
        &length,
        "-vsync",
        "passthrough",
        "-f",
        "framemd5",
        "-",
    ]);
    let (text, complaints) = run_bytes("ffmpeg", &arguments, TOOL);
    assert_eq!(complaints, "", "{url}");
    let text = String::from_utf8_lossy(&text).into_owned();
    let mut frames: BTreeMap<usize, Vec<(i64, i64)>> = BTreeMap::new();
    let mut scales = BTreeMap::new();
    for line in text.lines() {
        if let Some((stream, scale)) = line.strip_prefix("#tb ").and_then(|l| l.split_once(": ")) {
            let (numerator, denominator) = scale.split_once('/').expect("a fraction");
            let at: usize = stream.parse().expect("a stream number");
            scales.insert(
                at,
                numerator.parse::<f64>().expect("a number") / denominator.parse::<f64>().expect("a number"),
            );
        }
        let columns: Vec<&str> = line.split(',').map(str::trim).collect();
        if line.starts_with('#') || columns.len() < 6 {
            continue;
        }
        let number = |i: usize| columns[i].parse::<i64>().unwrap_or_else(|e| panic!("{line}: {e}"));
        let stream = usize::try_from(number(0)).expect("a stream");
        frames.entry(stream).or_default().push((number(2), number(3)));
    }
    assert!(frames.len() >= streams, "{url}: {} of {streams} streams play", frames.len());
    for (stream, frames) in &frames {
        for pair in frames.windows(2) {
            let step = pair[1].0 - pair[0].0 - pair[0].1;
            assert_eq!(step, 0, "{url}: stream {stream}: {:?} then {:?}", pair[0], pair[1]);
        }
        let ticks: i64 = frames.iter().map(|(_, d)| d).sum();
        let played = ticks as f64 * scales[stream];
        let least = seconds as f64 * 0.5;
        assert!(played >= least, "{url}: stream {stream} played {played} s of {seconds}");
    }
}

/// HLS and DASH play for `seconds`, side by side.
///
/// DASH by its timeline: by `$Number$` ffmpeg asks for the segment of the present, which a push in whole segments cannot
/// have, and counts up from there at every 404.
pub(crate) fn both_play(origin: &Headwater, channel: &str, seconds: i64, streams: usize) {
    std::thread::scope(|threads| {
        let play = |name: &str| {
            let url = origin.url(&format!("/live/{channel}/{name}"));
            threads.spawn(move || plays(&url, seconds, streams))
        };
        for playing in ["multivariant.m3u8", "timeline.mpd"].map(play) {
            playing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
}
