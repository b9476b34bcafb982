// SPDX-License-Identifier: Apache-2.0
//! Every form of push that a real ffmpeg makes, and what only raw requests can show.

use std::process::Command;
use std::sync::{Arc, Mutex, Weak};
use std::thread::Scope;
use std::time::{Duration, SystemTime};

use crate::audit::{self, Wish};
use crate::boxes::{Pieces, decode_time};
use crate::harness::{Headwater, Process, SOON, program, project, request, until};
use crate::wire::Wire;

const SIZES: [&str; 3] = ["160x90", "240x136", "320x180"];
const SECOND: i64 = 1_000_000_000;

/// One origin for all tests that run at the same time; it ends with the last of them.
fn origin() -> Arc<Headwater> {
    /// Guards the start of the shared origin; held while it starts.
    static SHARED: Mutex<Weak<Headwater>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(running) = shared.upgrade() {
        return running;
    }
    let toml = "channels_from_push = true\n[defaults]\nwindow_seconds = 120\n\
                [channels.locked]\nkeys = [\"s3cret\"]\n[channels.second]\nsegment_ms = 1000\nwindow_seconds = 120\n";
    let started = Arc::new(Headwater::serve(toml, &[]));
    *shared = Arc::downgrade(&started);
    started
}

/// A channel that no other run has.
fn channel(form: &str) -> String {
    format!("{form}-{}", std::process::id())
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// A live ladder out of ffmpeg's generators: the picture flashes and a tone sounds on each full second.
#[derive(Clone, Copy, Debug)]
struct Ladder {
    rate: (i64, i64),
    gop: i64,
    b_frames: u32,
    renditions: usize,
    seconds: u32,
}

const LADDER: Ladder = Ladder { rate: (25, 1), gop: 50, b_frames: 0, renditions: 3, seconds: 11 };

impl Ladder {
    fn input(&self) -> Vec<String> {
        let (rate, count) = (format!("{}/{}", self.rate.0, self.rate.1), self.renditions);
        let size = SIZES[count - 1];
        let mut graph = format!("[0:v]drawbox=c=white:t=fill:enable='lt(mod(t,1),0.08)',split={count}");
        graph.extend((0..count).map(|i| format!("[s{i}]")));
        graph.extend(
            (0..count).map(|i| format!(";[s{i}]scale={}:flags=fast_bilinear[v{i}]", SIZES[i].replace('x', ":"))),
        );
        words(&format!(
            "-nostdin -hide_banner -loglevel error -y -re -f lavfi -i testsrc2=size={size}:rate={rate} \
             -re -f lavfi -i aevalsrc='0.4*sin(2*PI*1000*t)*lt(mod(t,1),0.08)':s=48000 -filter_complex {graph}"
        ))
    }

    fn x264(&self) -> Vec<String> {
        let (gop, b_frames) = (self.gop, self.b_frames);
        words(&format!(
            "-c:v libx264 -preset ultrafast -tune zerolatency -threads 1 -pix_fmt yuv420p \
             -x264-params keyint={gop}:min-keyint={gop}:scenecut=0:open-gop=0:bframes={b_frames}:b-adapt=0:force-cfr=1"
        ))
    }

    fn length(&self) -> Vec<String> {
        words(&format!("-t {}", self.seconds))
    }

    /// Every rendition and the sound in one output.
    fn together(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        for i in 0..self.renditions {
            arguments.extend(words(&format!("-map [v{i}] -b:v:{i} {}k", 100 * (i + 1))));
        }
        arguments.extend(words("-map 1:a"));
        arguments.extend(self.x264());
        arguments.extend(words("-c:a aac -b:a 64k -ac 2"));
        arguments.extend(self.length());
        arguments
    }

    /// One endless POST per track; `video` and `audio` are further options of their outputs.
    fn posts(&self, base: &str, offset: &str, video: &str, audio: &str) -> Vec<String> {
        let flags = "-movflags +cmaf+delay_moov+skip_trailer+frag_discont";
        let mut arguments = Vec::new();
        for i in 0..self.renditions {
            arguments.extend(words(&format!("-map [v{i}] -b:v {}k", 100 * (i + 1))));
            arguments.extend(self.x264());
            arguments.extend(self.length());
            arguments
                .extend(words(&format!("-output_ts_offset {offset} {flags}{video} -f mp4 {base}/Streams(v{i}.cmfv)")));
        }
        arguments.extend(words("-map 1:a -c:a aac -b:a 64k -ac 2"));
        arguments.extend(self.length());
        arguments.extend(words(&format!("-output_ts_offset {offset} {flags} {audio} -f mp4 {base}/Streams(a0.cmfa)")));
        arguments
    }

    /// Segment duration in nanoseconds.
    fn segment(&self) -> i64 {
        SECOND * self.gop * self.rate.1 / self.rate.0
    }

    /// The border of the epoch grid that lies just behind, in seconds.
    fn epoch(&self) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_micros();
        let (gop, rate) =
            (u128::try_from(self.gop * self.rate.1).expect("positive"), u128::try_from(self.rate.0).expect("positive"));
        let number = now * rate / (gop * 1_000_000);
        let micros = (number * gop * 1_000_000 + rate / 2) / rate;
        format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
    }

    fn wish(&self, video: &[&'static str], audio: &'static str) -> Wish {
        let mut tracks: Vec<_> = video.iter().take(self.renditions).map(|id| (*id, "h264")).collect();
        tracks.push((audio, "aac"));
        Wish { segment: self.segment(), rate: self.rate, tracks, segments: 3, beeps: true }
    }
}

const POSTED: [&str; 3] = ["v0", "v1", "v2"];

fn ffmpeg(arguments: &[Vec<String>]) -> Process {
    Process::spawn(Command::new("ffmpeg").args(arguments.iter().flatten()))
}

/// Pushes until the end; on the way the channel is played, and afterwards looked at as a whole.
fn plays_and_passes(origin: &Headwater, channel: &str, wish: &Wish, arguments: &[Vec<String>]) {
    let mut encoder = ffmpeg(arguments);
    audit::wait(origin, channel, wish);
    audit::both_play(origin, channel, 3, wish.tracks.len());
    assert_eq!(encoder.wait(SOON), Some(0), "{}", encoder.log());
    let log = encoder.log();
    let complaints: Vec<&str> = log.lines().filter(|l| !l.contains("Cannot use rename on non file protocol")).collect();
    assert!(complaints.is_empty(), "the encoder complains: {complaints:#?}");
    audit::all(origin, channel, wish);
}

#[test]
fn a_long_post_per_track_on_the_epoch() {
    let (origin, channel) = (origin(), channel("long-epoch"));
    let base = origin.url(&format!("/ingest/{channel}"));
    let posts = LADDER.posts(&base, &LADDER.epoch(), "+frag_keyframe", "-frag_duration 2000000");
    plays_and_passes(&origin, &channel, &LADDER.wish(&POSTED, "a0"), &[LADDER.input(), posts]);
    on_the_epoch(&origin, &channel, "v0", LADDER.segment());
}

/// Segment numbers and dates are those of the epoch grid.
fn on_the_epoch(origin: &Headwater, channel: &str, track: &str, segment: i64) {
    let text = origin.get(&format!("/live/{channel}/{track}/media.m3u8")).text();
    let list = crate::playlist::Playlist::read(&text).expect("a playlist");
    for (number, found) in list.numbered() {
        let start = i64::try_from(number).expect("a number") * segment;
        let error = found.date.unwrap_or(0) - start;
        assert!(error.abs() <= 1_000_000, "{channel}: segment {number} is {error} ns off the grid");
    }
}

#[test]
fn a_long_post_per_track_from_zero() {
    let (origin, channel) = (origin(), channel("long-zero"));
    let base = origin.url(&format!("/ingest/{channel}"));
    let posts = LADDER.posts(&base, "0", "+frag_keyframe", "-frag_duration 2000000");
    plays_and_passes(&origin, &channel, &LADDER.wish(&POSTED, "a0"), &[LADDER.input(), posts]);
}

#[test]
fn a_fragment_per_frame() {
    let (origin, channel) = (origin(), channel("per-frame"));
    let base = origin.url(&format!("/ingest/{channel}"));
    let ladder = Ladder { renditions: 2, ..LADDER };
    let posts = ladder.posts(
        &base,
        &ladder.epoch(),
        "+frag_every_frame -write_prft wallclock",
        "-write_prft wallclock -frag_duration 200000",
    );
    plays_and_passes(&origin, &channel, &ladder.wish(&POSTED, "a0"), &[ladder.input(), posts]);
    on_the_epoch(&origin, &channel, "v1", ladder.segment());
}

#[test]
fn segments_of_2_002_seconds() {
    let (origin, channel) = (origin(), channel("ntsc"));
    let base = origin.url(&format!("/ingest/{channel}"));
    let ladder = Ladder { rate: (30_000, 1_001), gop: 60, renditions: 2, ..LADDER };
    let posts = ladder.posts(&base, &ladder.epoch(), "+frag_every_frame", "-frag_duration 200000");
    plays_and_passes(&origin, &channel, &ladder.wish(&POSTED, "a0"), &[ladder.input(), posts]);
    on_the_epoch(&origin, &channel, "v0", ladder.segment());
}

#[test]
fn segments_of_1_92_seconds_with_b_frames() {
    let (origin, channel) = (origin(), channel("b-frames"));
    let base = origin.url(&format!("/ingest/{channel}"));
    let ladder = Ladder { gop: 48, b_frames: 2, renditions: 2, ..LADDER };
    let posts = ladder.posts(&base, &ladder.epoch(), "+frag_keyframe", "-frag_duration 1920000");
    plays_and_passes(&origin, &channel, &ladder.wish(&POSTED, "a0"), &[ladder.input(), posts]);
    on_the_epoch(&origin, &channel, "v0", ladder.segment());
}

#[test]
fn picture_and_sound_in_one_post() {
    let (origin, channel) = (origin(), channel("muxed"));
    let target = origin.url(&format!("/ingest/{channel}/Streams(av.mp4)"));
    let ladder = Ladder { renditions: 1, ..LADDER };
    let flags = "+cmaf+delay_moov+skip_trailer+frag_discont+frag_keyframe";
    let output = words(&format!("-output_ts_offset {} -movflags {flags} -f mp4 {target}", ladder.epoch()));
    plays_and_passes(
        &origin,
        &channel,
        &ladder.wish(&["av-video"], "av-audio"),
        &[ladder.input(), ladder.together(), output],
    );
}

const STREAMS: [&str; 3] = ["stream0", "stream1", "stream2"];

fn dash(ladder: &Ladder, base: &str, form: &str) -> Vec<String> {
    let seconds = ladder.segment() as f64 / 1e9;
    let mut arguments = ladder.together();
    arguments.extend(words(&format!(
        "-f dash -method PUT -http_persistent 1 -seg_duration {seconds} -window_size 10 -extra_window_size 2 {form} -adaptation_sets"
    )));
    arguments.push("id=0,streams=v id=1,streams=a".into());
    arguments.push(format!("{base}/manifest.mpd"));
    arguments
}

#[test]
fn dash_segments_as_they_are_written() {
    let (origin, channel) = (origin(), channel("dash-ll"));
    let base = origin.url(&format!("/ingest/{channel}"));
    let form = "-streaming 1 -ldash 1 -frag_type duration -frag_duration 0.2 -write_prft 1 -target_latency 3 \
                -use_timeline 0 -use_template 1 -format_options movflags=+cmaf";
    let output = dash(&LADDER, &base, &format!("{form} -utc_timing_url {base}/time"));
    plays_and_passes(&origin, &channel, &LADDER.wish(&STREAMS, "stream3"), &[LADDER.input(), output]);
}

#[test]
fn dash_segments_whole_with_a_timeline() {
    let (origin, channel) = (origin(), channel("dash-whole"));
    let base = origin.url(&format!("/ingest/{channel}"));
    let output = dash(&LADDER, &base, "-use_timeline 1 -use_template 1");
    plays_and_passes(&origin, &channel, &LADDER.wish(&STREAMS, "stream3"), &[LADDER.input(), output]);
}

#[test]
fn dash_segments_by_number_at_29_97_with_b_frames() {
    let (origin, channel) = (origin(), channel("dash-ntsc"));
    let base = origin.url(&format!("/ingest/{channel}"));
    let ladder = Ladder { rate: (30_000, 1_001), gop: 60, b_frames: 2, renditions: 2, seconds: 11 };
    let output = dash(&ladder, &base, "-streaming 1 -use_timeline 0 -use_template 1 -format_options movflags=+cmaf");
    plays_and_passes(&origin, &channel, &ladder.wish(&STREAMS, "stream2"), &[ladder.input(), output]);
}

fn hls(ladder: &Ladder, base: &str) -> Vec<String> {
    let seconds = ladder.segment() as f64 / 1e9;
    let mut arguments = ladder.together();
    arguments.extend(words(&format!(
        "-f hls -method PUT -http_persistent 1 -hls_time {seconds} -hls_list_size 4 -hls_delete_threshold 1 \
         -hls_flags delete_segments+independent_segments+program_date_time -hls_segment_type fmp4 \
         -hls_fmp4_init_filename init.mp4 -hls_segment_filename {base}/%v/seg%d.m4s -master_pl_name master.m3u8 -var_stream_map"
    )));
    let mut map: Vec<String> = (0..ladder.renditions).map(|i| format!("v:{i},agroup:a,name:v{i}")).collect();
    map.push("a:0,agroup:a,name:a0,default:yes".into());
    arguments.push(map.join(" "));
    arguments.push(format!("{base}/%v/index.m3u8"));
    arguments
}

#[test]
fn hls_segments_with_a_master_playlist() {
    let (origin, channel) = (origin(), channel("hls"));
    let base = origin.url(&format!("/ingest/{channel}"));
    // Long enough for the encoder to delete what it believes to be its files.
    let ladder = Ladder { seconds: 15, ..LADDER };
    plays_and_passes(&origin, &channel, &ladder.wish(&POSTED, "a0"), &[ladder.input(), hls(&ladder, &base)]);
}

#[test]
fn hls_segments_of_1_92_seconds_with_b_frames() {
    let (origin, channel) = (origin(), channel("hls-b"));
    let base = origin.url(&format!("/ingest/{channel}"));
    let ladder = Ladder { gop: 48, b_frames: 2, renditions: 2, ..LADDER };
    plays_and_passes(&origin, &channel, &ladder.wish(&POSTED, "a0"), &[ladder.input(), hls(&ladder, &base)]);
}

#[test]
fn hevc_with_every_kind_of_sound() {
    let (origin, channel) = (origin(), channel("codecs"));
    let base = origin.url(&format!("/ingest/{channel}"));
    let ladder = Ladder { renditions: 1, ..LADDER };
    let flags = format!(
        "-t {} -output_ts_offset {} -movflags +cmaf+delay_moov+skip_trailer+frag_discont",
        ladder.seconds,
        ladder.epoch()
    );
    let x265 = "-c:v libx265 -preset ultrafast -tag:v hvc1 -pix_fmt yuv420p -b:v 150k \
                -x265-params keyint=50:min-keyint=50:scenecut=0:bframes=0:open-gop=0:pools=1:frame-threads=1:log-level=error";
    let mut outputs = words(&format!("-map [v0] {x265} {flags}+frag_keyframe -f mp4 {base}/Streams(v0.cmfv)"));
    for (name, codec) in [
        ("ac3", "ac3 -b:a 96k"),
        ("eac3", "eac3 -b:a 96k"),
        ("opus", "libopus -b:a 64k"),
        ("eng", "aac -b:a 64k -metadata:s:a:0 language=eng"),
        ("fra", "aac -b:a 64k -metadata:s:a:0 language=fra"),
    ] {
        let sound =
            format!("-map 1:a -ac 2 -c:a {codec} {flags} -frag_duration 200000 -f mp4 {base}/Streams({name}.cmfa)");
        outputs.extend(words(&sound));
    }
    let tracks =
        vec![("v0", "hevc"), ("ac3", "ac3"), ("eac3", "eac3"), ("opus", "opus"), ("eng", "aac"), ("fra", "aac")];
    let wish = Wish { segment: 2 * SECOND, rate: (25, 1), tracks, segments: 3, beeps: false };
    plays_and_passes(&origin, &channel, &wish, &[ladder.input(), outputs]);
    let text = origin.get(&format!("/live/{channel}/multivariant.m3u8")).text();
    for told in ["hvc1.", "ac-3", "ec-3", "opus", "mp4a.40.2", "LANGUAGE=\"en", "LANGUAGE=\"fr"] {
        assert!(text.to_lowercase().contains(&told.to_lowercase()), "{told} in\n{text}");
    }
}

/// The program's own push, for `seconds`.
fn headwater_push(origin: &Headwater, channel: &str, seconds: u32, more: &[&str]) -> Process {
    let (to, seconds) = (origin.url(&format!("/ingest/{channel}")), seconds.to_string());
    Process::spawn(Command::new(program()).args(["push", "--to", &to, "--seconds", &seconds]).args(more))
}

fn sample_wish(segment: i64) -> Wish {
    let tracks = vec![("v0", "h264"), ("v1", "h264"), ("v2", "h264"), ("a0", "aac")];
    Wish { segment, rate: (25, 1), tracks, segments: 3, beeps: false }
}

#[test]
fn our_own_push() {
    let (origin, channel) = (origin(), channel("own"));
    let mut push = headwater_push(&origin, &channel, 12, &[]);
    let wish = sample_wish(2 * SECOND);
    audit::wait(&origin, &channel, &wish);
    audit::both_play(&origin, &channel, 3, 4);
    assert_eq!(push.wait(SOON), Some(0), "{}", push.log());
    audit::all(&origin, &channel, &wish);
    on_the_epoch(&origin, &channel, "v2", 2 * SECOND);
}

#[test]
fn our_own_push_in_bursts() {
    // A configured channel with a wish of its own: segments of one second.
    let origin = origin();
    let mut push = headwater_push(&origin, "second", 9, &["--burst"]);
    let wish = sample_wish(SECOND);
    audit::wait(&origin, "second", &wish);
    audit::both_play(&origin, "second", 3, 4);
    assert_eq!(push.wait(SOON), Some(0), "{}", push.log());
    audit::all(&origin, "second", &wish);
    on_the_epoch(&origin, "second", "v0", SECOND);
}

/// A track of the sample ladder, its loop moved to begin at `start` seconds of Unix time.
pub(crate) fn sample(file: &str, scale: u64, start: u64) -> Pieces {
    let bytes = std::fs::read(project(&format!("cli/assets/ladder/{file}"))).expect("the sample ladder");
    let mut pieces = Pieces::of(&bytes);
    pieces.shift(i64::try_from(start * scale).expect("this century"));
    pieces
}

pub(crate) fn seconds_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs()
}

/// One request per segment: header, then eight segments of a second each, named by `header` and `segment`.
fn push_segments(origin: &Headwater, channel: &str, track: (&str, u64), header: &str, segment: impl Fn(u64) -> String) {
    let (file, scale) = track;
    let start = (seconds_now() - 6) / 2 * 2;
    let pieces = sample(file, scale, start);
    let mut wire = Wire::open(&origin.base);
    let path = |name: &str| format!("/ingest/{channel}/{name}");
    let accepted = |answer: crate::wire::Answer, name: &str| {
        assert_eq!((answer.status, answer.body.as_slice()), (200, b"".as_slice()), "{name}");
        assert!(!answer.closes(), "{name}: a healthy connection is kept");
    };
    accepted(wire.request("PUT", &path(header), &pieces.header), header);
    for number in start..start + 8 {
        let name = segment(number);
        accepted(wire.request("PUT", &path(&name), &pieces.between(number * scale, (number + 1) * scale)), &name);
    }
}

#[test]
fn one_request_per_segment_in_every_grammar() {
    let (origin, channel) = (origin(), channel("requests"));
    push_segments(&origin, &channel, ("a0.cmfa", 48_000), "a0/init.cmfa", |n| format!("a0/{n}.cmfa"));
    push_segments(&origin, &channel, ("v0.cmfv", 12_800), "Streams(v0.cmfv)/InitializationSegment", |n| {
        format!("Streams(v0.cmfv)/Segment({n})")
    });
    push_segments(&origin, &channel, ("v1.cmfv", 12_800), "Switching(video)/Streams(v1.cmfv)", |_| {
        "Switching(video)/Streams(v1.cmfv)".to_owned()
    });
    push_segments(&origin, &channel, ("v2.cmfv", 12_800), "v2/init.cmfv", |n| format!("//v2%2F{n}%2Ecmfv"));
    let wish = sample_wish(2 * SECOND);
    audit::wait(&origin, &channel, &wish);
    audit::all(&origin, &channel, &wish);
}

#[test]
fn subtitles_beside_the_picture() {
    let (origin, channel) = (origin(), channel("subtitles"));
    let start = (seconds_now() - 6) / 2 * 2;
    for file in ["sub_wvtt.cmft", "sub_stpp.cmft"] {
        let bytes = std::fs::read(project(&format!("tests/vectors/cmaf/{file}"))).expect("a vector");
        let mut cues = Pieces::of(&bytes);
        let first = i64::try_from(decode_time(&cues.fragments[0])).expect("this century");
        cues.shift(i64::try_from(start).expect("this century") * 1_000 - first);
        let mut wire = Wire::open(&origin.base);
        wire.begin(&format!("/ingest/{channel}/Streams({file})"));
        wire.chunk(&cues.header);
        cues.fragments.iter().for_each(|f| wire.chunk(f));
        wire.chunk(b"");
        assert_eq!(wire.answer("POST").status, 200);
    }
    push_segments(&origin, &channel, ("v0.cmfv", 12_800), "v0/init.cmfv", |n| format!("v0/{n}.cmfv"));
    let wish = Wish { tracks: vec![("v0", "h264"), ("sub_wvtt", ""), ("sub_stpp", "")], ..sample_wish(2 * SECOND) };
    audit::wait(&origin, &channel, &wish);
    audit::all(&origin, &channel, &wish);
    let text = origin.get(&format!("/live/{channel}/multivariant.m3u8")).text();
    assert!(text.contains("TYPE=SUBTITLES") && text.contains("wvtt") && text.contains("stpp"), "{text}");
    let mpd = origin.get(&format!("/live/{channel}/manifest.mpd")).text();
    assert!(mpd.contains("wvtt") && mpd.contains("stpp"), "{mpd}");
}

/// Opens a connection in a thread of `scope` for each refusal, so that lingering ones do not add up.
fn refused<'s>(
    scope: &'s Scope<'s, '_>,
    origin: &'s Headwater,
    status: u16,
    path: &'s str,
    headers: &'s str,
    body: &'s [u8],
) {
    scope.spawn(move || {
        let mut wire = Wire::open(&origin.base);
        wire.head("PUT", path, &format!("{headers}Content-Length: {}\r\n", body.len()));
        wire.send(body);
        let answer = wire.answer("PUT");
        assert_eq!(answer.status, status, "{path}: {}", String::from_utf8_lossy(&answer.body));
        assert!(answer.closes(), "{path}: a refusal closes");
        assert!(wire.is_closed(Duration::from_secs(5)), "{path}: still open");
    });
}

#[test]
fn what_is_refused_is_answered_and_closed() {
    let (origin, channel) = (origin(), channel("refused"));
    let pieces = sample("v0.cmfv", 12_800, seconds_now());
    let mut unknown_codec = pieces.header.clone();
    let at = unknown_codec.windows(4).position(|w| w == b"avc1").expect("a sample entry");
    let brands = unknown_codec.windows(4).rposition(|w| w == b"avc1").expect("a sample entry").max(at);
    unknown_codec[brands..brands + 4].copy_from_slice(b"dvhx");
    let (fragment, junk) = (&pieces.fragments[0], b"\0\0\0\x07moof and what is no box at all".as_slice());
    let path = |name: &str| format!("/ingest/{channel}/{name}");
    let (headerless, broken, codec, kind) =
        (path("v9/1.cmfv"), path("Streams(v8.cmfv)"), path("Streams(v7.cmfv)"), path("page.html"));
    let (outside, encoded) = (path("../other/Streams(v0.cmfv)"), path("%2e%2e/other/v0.cmfv"));
    std::thread::scope(|scope| {
        let locked = "/ingest/locked/Streams(v0.cmfv)";
        refused(scope, &origin, 401, locked, "", &pieces.header);
        refused(scope, &origin, 403, locked, "Authorization: Basic ZW5jb2Rlcjp3cm9uZw==\r\n", &pieces.header);
        refused(scope, &origin, 403, "/ingest/locked/Streams(v0.cmfv)?token=wrong", "", &pieces.header);
        refused(scope, &origin, 412, &headerless, "", fragment);
        refused(scope, &origin, 400, &broken, "", junk);
        refused(scope, &origin, 415, &codec, "", &unknown_codec);
        refused(scope, &origin, 415, &kind, "", b"<html>");
        refused(scope, &origin, 403, &outside, "", &pieces.header);
        refused(scope, &origin, 403, &encoded, "", &pieces.header);
        refused(scope, &origin, 501, &headerless, "Content-Range: bytes 0-9/*\r\n", b"0123456789");
    });
    let unlocked = request("PUT", &origin.url("/ingest/locked/s3cret/Streams(v0.cmfv)"), &[], &pieces.header);
    assert_eq!((unlocked.status, unlocked.body.len()), (200, 0));
    let basic = request(
        "PUT",
        &origin.url("/ingest/locked/Streams(v0.cmfv)"),
        &[("Authorization", "Basic ZW5jb2RlcjpzM2NyZXQ=")],
        &pieces.header,
    );
    assert_eq!((basic.status, basic.body.len()), (200, 0));
}

#[test]
fn an_unknown_publishing_point_is_not_made() {
    let origin = Headwater::serve("[channels.known]\n", &[]);
    std::thread::scope(|scope| refused(scope, &origin, 404, "/ingest/unknown/Streams(v0.cmfv)", "", b""));
    assert_eq!(request("PUT", &origin.url("/ingest/known/Streams(v0.cmfv)"), &[], b"").status, 200);
    assert_eq!(origin.get("/api/v1/channels/unknown").status, 404);
}

#[test]
fn the_small_methods_keep_the_connection() {
    let (origin, channel) = (origin(), channel("methods"));
    let path = |name: &str| format!("/ingest/{channel}/{name}");
    let mut wire = Wire::open(&origin.base);
    let mut ask = |method: &str, name: &str, headers: &str, body: &[u8], status: u16| {
        wire.head(method, &path(name), headers);
        wire.send(body);
        let answer = wire.answer(method);
        assert_eq!(answer.status, status, "{method} {name}");
        assert!(!answer.closes(), "{method} {name} closes");
        answer
    };
    let chunked = "Transfer-Encoding: chunked\r\n";
    assert!(ask("DELETE", "v0/1.m4s", chunked, b"0\r\n\r\n", 200).body.is_empty());
    assert!(ask("DELETE", "v0/1.m4s", "Content-Length: 0\r\n", b"", 200).body.is_empty());
    ask("MKCOL", "v0/", "Content-Length: 0\r\n", b"", 201);
    let options = ask("OPTIONS", "", "", b"", 204);
    assert!(options.header("allow").is_some_and(|a| a.contains("PUT") && a.contains("DELETE")), "{options:?}");
    ask("HEAD", "v0/1.m4s", "", b"", 404);
    ask("GET", "v0/1.m4s", "", b"", 404);
    // A probe, empty or of a header alone.
    assert!(ask("PUT", "Streams(v0.cmfv)", "Content-Length: 0\r\n", b"", 200).body.is_empty());
    assert!(ask("POST", "Streams(v0.cmfv)", chunked, b"0\r\n\r\n", 200).body.is_empty());
    let header = sample("v0.cmfv", 12_800, 0).header;
    let length = format!("Content-Length: {}\r\n", header.len());
    assert!(ask("PUT", "%53treams%28v0%2Ecmfv%29", &length, &header, 200).body.is_empty());
    assert!(ask("PUT", "manifest.mpd", "Content-Length: 5\r\n", b"<MPD>", 200).body.is_empty());
    assert!(ask("PUT", "v0/index.m3u8", "Content-Length: 8\r\n", b"#EXTM3U\n", 200).body.is_empty());
}

#[test]
fn one_hundred_continue_comes_at_once_and_only_to_whom_it_is_due() {
    let (origin, channel) = (origin(), channel("continue"));
    let header = sample("v0.cmfv", 12_800, 0).header;
    let expects = format!("Content-Length: {}\r\nExpect: 100-continue\r\n", header.len());
    let mut wire = Wire::open(&origin.base);
    wire.head("PUT", &format!("/ingest/{channel}/Streams(v0.cmfv)"), &expects);
    assert_eq!(wire.answer("PUT").status, 100);
    wire.send(&header);
    assert_eq!(wire.answer("PUT").status, 200);
    let mut stranger = Wire::open(&origin.base);
    stranger.head("PUT", "/ingest/locked/Streams(v0.cmfv)", &expects);
    assert_eq!(stranger.answer("PUT").status, 401);
}

#[test]
fn a_body_cut_inside_a_fragment_loses_the_stump_only() {
    let (origin, channel) = (origin(), channel("cut"));
    let start = (seconds_now() - 6) / 2 * 2;
    let pieces = sample("v0.cmfv", 12_800, start);
    let path = format!("/ingest/{channel}/Streams(v0.cmfv)");
    let mut first = Wire::open(&origin.base);
    first.begin(&path);
    first.chunk(&pieces.header);
    pieces.fragments[..12].iter().for_each(|f| first.chunk(f));
    first.chunk(&pieces.fragments[12][..pieces.fragments[12].len() / 2]);
    // The part before the cut is published, the stump is not.
    let parts = |state: &serde_json::Value| {
        let segments = state["tracks"][0]["segments"].as_array().cloned().unwrap_or_default();
        segments.iter().map(|s| s["parts"].as_u64().unwrap_or(0)).sum::<u64>()
    };
    origin.wait_channel(&channel, |s| parts(s) == 12);
    drop(first);
    let mut second = Wire::open(&origin.base);
    second.begin(&path);
    second.chunk(&pieces.header);
    pieces.fragments[12..].iter().for_each(|f| second.chunk(f));
    second.chunk(b"");
    assert_eq!(second.answer("POST").status, 200);
    let wish = Wish { tracks: vec![("v0", "h264")], ..sample_wish(2 * SECOND) };
    audit::wait(&origin, &channel, &wish);
    audit::all(&origin, &channel, &wish);
}

#[test]
fn a_reset_after_a_whole_body_is_success() {
    let (origin, channel) = (origin(), channel("reset"));
    let start = (seconds_now() - 6) / 2 * 2;
    let pieces = sample("v0.cmfv", 12_800, start);
    let mut wire = Wire::open(&origin.base);
    assert_eq!(wire.request("PUT", &format!("/ingest/{channel}/v0/init.cmfv"), &pieces.header).status, 200);
    for second in start..start + 8 {
        let mut wire = Wire::open(&origin.base);
        let body = pieces.between(second * 12_800, (second + 1) * 12_800);
        wire.head(
            "PUT",
            &format!("/ingest/{channel}/v0/{second}.cmfv"),
            &format!("Content-Length: {}\r\n", body.len()),
        );
        wire.send(&body);
        wire.reset();
    }
    let wish = Wish { tracks: vec![("v0", "h264")], ..sample_wish(2 * SECOND) };
    audit::wait(&origin, &channel, &wish);
    audit::all(&origin, &channel, &wish);
}

#[test]
fn a_segment_sent_twice_is_taken_once() {
    let (origin, channel) = (origin(), channel("twice"));
    let name = |n: u64| format!("v0/{n}.cmfv");
    let start = (seconds_now() - 6) / 2 * 2;
    let pieces = sample("v0.cmfv", 12_800, start);
    let mut wire = Wire::open(&origin.base);
    let path = |name: &str| format!("/ingest/{channel}/{name}");
    assert_eq!(wire.request("PUT", &path("v0/init.cmfv"), &pieces.header).status, 200);
    for second in (start..start + 8).flat_map(|s| [s, s]) {
        let body = pieces.between(second * 12_800, (second + 1) * 12_800);
        assert_eq!(wire.request("PUT", &path(&name(second)), &body).status, 200);
    }
    let found = until(SOON, || {
        let state = origin.channel(&channel);
        let track = state["tracks"][0].clone();
        let whole = track["segments"].as_array()?.iter().filter(|s| s["open"] == false).count();
        (whole >= 3).then_some(track)
    });
    let track = found.unwrap_or_else(|| panic!("{:#}", origin.channel(&channel)));
    assert_eq!((&track["defects"]["gaps"], &track["defects"]["missing"]), (&0.into(), &0.into()), "{track:#}");
    assert_eq!(track["defects"]["duplicate"], 200, "{track:#}");
}
