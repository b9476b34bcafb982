// SPDX-License-Identifier: Apache-2.0
//! Who sends: encoders that start anew, break off, repeat themselves, change their coding, and two of them at once.

use std::time::{Duration, Instant};

use super::manner::{Body, Manner, send};
use super::media::{Piece, Stream, vector};
use super::outcome::Outcome;
use super::stage::{Channel, Stage, seconds};
use crate::harness::until;
use crate::wire::Wire;

const EVEN: (u64, u64) = (2, 1);
const SECOND: i64 = 12_800;

/// Eight seconds of pictures in chunks, that ended just now.
fn chunked() -> Stream {
    Stream::vector("cmaf/v25_chunked_prft.cmfv").ago(10, EVEN)
}

fn outcome(channel: &Channel<'_>, id: &str, least_seconds: f64) -> Outcome {
    channel.wait(id, |track| seconds(track) > least_seconds);
    channel.end();
    Outcome::of(channel, id)
}

fn words(outcome: &Outcome) -> (&str, usize, usize, &[String]) {
    (&outcome.words, outcome.frames, outcome.holes, &outcome.faults)
}

const WHOLE: (&str, usize, usize, &[String]) = ("2.000 2.000 2.000 2.000", 200, 0, &[]);

#[test]
fn a_reconnect_that_repeats_what_came_before_leaves_no_trace() {
    let (stage, stream) = (Stage::shared(), chunked());
    let channel = stage.channel("overlap");
    let fragments = stream.fragments();
    let mut first = Body::open(&channel, "t");
    first.send(&stream.header());
    fragments[..6].iter().for_each(|f| first.send(f));
    first.send(&fragments[6][..fragments[6].len() / 3]);
    first.read_by_origin();
    drop(first);
    // Two chunks before the one that broke off.
    let mut second = Body::open(&channel, "t");
    second.send(&stream.header());
    fragments[4..].iter().for_each(|f| second.send(f));
    assert_eq!(second.finish().status, 200);
    assert_eq!(words(&outcome(&channel, "t", 7.7)), WHOLE);
    assert_eq!(channel.track("t")["defects"]["missing"], 0);
    stage.undisturbed();
}

#[test]
fn a_cut_fragment_and_its_resend_on_another_connection_are_one() {
    let stage = Stage::shared();
    let channel = stage.channel("cut-then-resend");
    let whole = vector("bad/cut_then_resend.cmfv");
    let at = whole.windows(4).enumerate().filter(|(_, w)| *w == b"ftyp").nth(1).expect("a second header").0 - 4;
    let mut first = Body::open(&channel, "t");
    first.send(&whole[..at]);
    first.read_by_origin();
    drop(first);
    assert_eq!(send(&channel, "t", &Stream::of(&whole[at..]), Manner::Long).status, 200);
    assert_eq!(words(&outcome(&channel, "t", 7.7)), WHOLE);
    stage.undisturbed();
}

#[test]
fn a_window_sent_again_in_a_burst_is_ignored() {
    let (stage, stream) = (Stage::shared(), chunked());
    let channel = stage.channel("window-again");
    assert_eq!(send(&channel, "t", &stream, Manner::PerFragment).status, 200);
    assert_eq!(send(&channel, "t", &stream, Manner::PerFragment).status, 200);
    let duplicates = channel.wait("t", |track| track["defects"]["duplicate"] == 200);
    assert_eq!(duplicates["defects"]["gaps"], 0);
    assert_eq!(words(&outcome(&channel, "t", 7.7)), WHOLE);
    stage.undisturbed();
}

#[test]
fn a_new_header_on_the_same_path_is_a_discontinuity_at_the_next_fragment() {
    let stage = Stage::shared();
    let stream = Stream::vector("bad/init_change_midstream.cmfv").ago(10, EVEN);
    for manner in [Manner::Long, Manner::PerFragment] {
        let channel = stage.channel(&format!("header-change-{manner:?}").to_lowercase());
        assert_eq!(send(&channel, "t", &stream, manner).status, 200);
        let outcome = outcome(&channel, "t", 7.7);
        assert_eq!(words(&outcome), ("2.000 2.000 | 2.000 2.000", 200, 0, &[][..]), "{manner:?}");
        let maps: Vec<_> = outcome.playlist.segments.iter().filter_map(|s| s.map.as_deref()).collect();
        assert_eq!(maps, ["init-0.mp4", "init-1.mp4"], "{manner:?}");
        assert_eq!(channel.told("discontinuity", 1), 1, "{manner:?}");
    }
    stage.undisturbed();
}

/// The pictures of the second half as a relay sends them that copies: under the first header, with their own parameter
/// sets in band.
fn relayed() -> Stream {
    let stream = Stream::vector("bad/init_change_midstream.cmfv").ago(10, EVEN);
    let headers: Vec<&[u8]> =
        stream.pieces.iter().filter(|p| matches!(p, Piece::Header(_))).map(Piece::bytes).collect();
    let sets = parameter_sets(headers[1]);
    let mut pieces = vec![Piece::Header(headers[0].to_vec())];
    for (n, fragment) in stream.fragments().into_iter().enumerate() {
        let bytes = if n < 2 { fragment.to_vec() } else { with_prefix(fragment, &sets) };
        pieces.push(Piece::Fragment(bytes));
    }
    Stream { pieces }
}

/// SPS and PPS of an `avcC`, with their lengths.
fn parameter_sets(header: &[u8]) -> Vec<u8> {
    let at = header.windows(4).position(|w| w == b"avcC").expect("an avcC") + 4;
    let mut rest = &header[at + 5..];
    let mut sets = Vec::new();
    for mask in [0x1f, 0xff] {
        let count = rest[0] & mask;
        rest = &rest[1..];
        for _ in 0..count {
            let length = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
            sets.extend(u32::try_from(length).expect("short").to_be_bytes());
            sets.extend_from_slice(&rest[2..2 + length]);
            rest = &rest[2 + length..];
        }
    }
    sets
}

/// The fragment with `prefix` before its first sample's data. The first sample's size stands in the `tfhd` or, where
/// every sample has its own, first in the `trun`.
fn with_prefix(fragment: &[u8], prefix: &[u8]) -> Vec<u8> {
    let mut out = fragment.to_vec();
    let place = |kind: &[u8; 4]| fragment.windows(4).position(|w| w == kind).expect("a box") + 4;
    let word = |at: usize| u32::from_be_bytes(fragment[at..at + 4].try_into().expect("four bytes"));
    let (trun, mdat) = (place(b"trun"), place(b"mdat"));
    let flags = word(trun) & 0xff_ffff;
    assert_eq!(flags & 0x201, 0x201, "offset and sizes are told");
    let mut size_at = trun + 12 + if flags & 0x4 != 0 { 4 } else { 0 };
    size_at += if flags & 0x100 != 0 { 4 } else { 0 };
    let more = u32::try_from(prefix.len()).expect("short");
    out[size_at..size_at + 4].copy_from_slice(&(word(size_at) + more).to_be_bytes());
    out[mdat - 8..mdat - 4].copy_from_slice(&(word(mdat - 8) + more).to_be_bytes());
    out.splice(mdat..mdat, prefix.iter().copied());
    out
}

#[test]
fn parameter_sets_that_change_in_band_are_a_discontinuity_with_a_header_of_their_own() {
    let (stage, stream) = (Stage::shared(), relayed());
    for manner in [Manner::Long, Manner::PerFragment, Manner::Broken] {
        let channel = stage.channel(&format!("in-band-{manner:?}").to_lowercase());
        assert_eq!(send(&channel, "t", &stream, manner).status, 200);
        let outcome = outcome(&channel, "t", 7.7);
        assert_eq!(words(&outcome), ("2.000 2.000 | 2.000 2.000", 200, 0, &[][..]), "{manner:?}");
        let header = channel.origin.get(&format!("/live/{}/t/init-1.mp4", channel.name)).body;
        assert_eq!(size(&header), (192, 108), "{manner:?}");
        assert_eq!(channel.counted("headwater_input_defects", "header_change"), 1, "{manner:?}");
    }
    stage.undisturbed();
}

/// Width and height in the sample entry.
fn size(header: &[u8]) -> (u16, u16) {
    let at = header.windows(4).rposition(|w| w == b"avc1").expect("an entry") + 28;
    let half = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    (half(at), half(at + 2))
}

#[test]
fn two_senders_of_the_same_bytes_relieve_each_other_without_a_gap() {
    let (stage, stream) = (Stage::shared(), chunked());
    let channel = stage.channel("same-twice");
    let fragments = stream.fragments();
    let (mut one, mut two) = (Body::open(&channel, "t"), Body::open(&channel, "t"));
    one.send(&stream.header());
    two.send(&stream.header());
    for fragment in &fragments[..7] {
        one.send(fragment);
        two.send(fragment);
    }
    channel.wait("t", |track| track["defects"]["duplicate"].as_u64() >= Some(7 * 12));
    // The first dies within a segment, comes back and lags.
    drop(one);
    fragments[7..12].iter().for_each(|f| two.send(f));
    channel.wait("t", |track| seconds(track) > 5.7);
    let mut back = Body::open(&channel, "t");
    back.send(&stream.header());
    fragments[8..].iter().for_each(|f| back.send(f));
    fragments[12..].iter().for_each(|f| two.send(f));
    assert_eq!((two.finish().status, back.finish().status), (200, 200));
    assert_eq!(words(&outcome(&channel, "t", 7.7)), WHOLE);
    assert_eq!(channel.counted("headwater_input_defects", ""), 0);
    stage.undisturbed();
}

/// Every segment of `outcome` is wholly of one of these.
fn sources(channel: &Channel<'_>, outcome: &Outcome, of: [&Stream; 2]) -> String {
    let samples = of.map(|stream| stream.fragments().concat());
    let told = |uri: &str| {
        let body = channel.origin.get(&format!("/live/{}/t/{uri}", channel.name)).body;
        let stream = Stream::of(&body);
        let media: Vec<Vec<u8>> = stream.fragments().iter().map(|f| media_of(f)).collect();
        let whole = |known: &[u8]| media.iter().all(|m| known.windows(m.len()).any(|w| w == m.as_slice()));
        match samples.each_ref().map(|known| whole(known)) {
            [true, false] => 'a',
            [false, true] => 'b',
            other => panic!("{uri}: {other:?}"),
        }
    };
    outcome.playlist.segments.iter().map(|segment| told(&segment.uri)).collect()
}

/// What is in the `mdat`.
fn media_of(fragment: &[u8]) -> Vec<u8> {
    let at = fragment.windows(4).position(|w| w == b"mdat").expect("an mdat") + 4;
    fragment[at..].to_vec()
}

#[test]
fn two_encoders_on_one_clock_are_switched_at_a_border_only() {
    let stage = Stage::shared();
    let channel = stage.channel("two-encoders");
    let a = Stream::vector("cmaf/v25_lo.cmfv").ago(10, EVEN);
    let b = Stream::vector("cmaf/v25_lo_encoder_b.cmfv").ago(10, EVEN);
    let b = if b.start() == a.start() { b } else { Stream::vector("cmaf/v25_lo_encoder_b.cmfv").shifted(by(&a)) };
    assert_eq!(a.header(), b.header());
    let (mut one, mut two) = (Body::open(&channel, "t"), Body::open(&channel, "t"));
    one.send(&a.header());
    two.send(&b.header());
    for n in 0..2 {
        one.send(a.fragments()[n]);
        channel.wait("t", |track| seconds(track) > n as f64 * 2.0 + 1.7);
        two.send(b.fragments()[n]);
        channel.wait("t", |track| track["defects"]["duplicate"].as_u64() >= Some(50 * (n as u64 + 1)));
    }
    // The first dies within its third segment.
    one.send(&a.fragments()[2][..2_000]);
    drop(one);
    two.send(b.fragments()[2]);
    channel.wait("t", |track| seconds(track) > 5.7);
    // Its return disturbs nothing.
    let mut back = Body::open(&channel, "t");
    back.send(&a.header());
    back.send(a.fragments()[2]);
    channel.wait("t", |track| track["defects"]["duplicate"].as_u64() >= Some(150));
    two.send(b.fragments()[3]);
    back.send(a.fragments()[3]);
    assert_eq!((two.finish().status, back.finish().status), (200, 200));
    let outcome = outcome(&channel, "t", 7.7);
    assert_eq!(words(&outcome), WHOLE);
    let whose = sources(&channel, &outcome, [&a, &b]);
    assert!(whose.starts_with("aab"), "{whose}");
    stage.undisturbed();
}

/// How far the vectors lie from where `stream` was moved.
fn by(stream: &Stream) -> i64 {
    i64::try_from(stream.start()).expect("this century") - 1_700_000_000 * SECOND
}

#[test]
fn an_encoder_of_another_coding_stands_by_until_the_first_is_gone() {
    let stage = Stage::shared();
    let channel = stage.channel("other-coding");
    let both = Stream::vector("bad/init_change_midstream.cmfv").ago(10, EVEN);
    let other_header = both.pieces.iter().filter(|p| matches!(p, Piece::Header(_))).nth(1).expect("two").bytes();
    let (mut one, mut two) = (Body::open(&channel, "t"), Body::open(&channel, "t"));
    one.send(&both.header());
    one.send(both.fragments()[0]);
    channel.wait("t", |track| seconds(track) > 1.7);
    two.send(other_header);
    // As if the other encoder had made these seconds too.
    let other = Stream { pieces: vec![Piece::Fragment(both.fragments()[2].to_vec())] };
    two.send(other.clone().shifted(-2 * SECOND).fragments()[0]);
    assert_eq!(channel.told("defect=\"other_coding\"", 1), 1);
    one.send(both.fragments()[1]);
    channel.wait("t", |track| seconds(track) > 3.7);
    drop(one);
    assert!(until(Duration::from_secs(10), || (channel.open_bodies() == 1).then_some(())).is_some());
    two.send(other.fragments()[0]);
    two.send(both.fragments()[3]);
    assert_eq!(two.finish().status, 200);
    let outcome = outcome(&channel, "t", 7.7);
    assert_eq!(words(&outcome), ("2.000 2.000 | 2.000 2.000", 200, 0, &[][..]));
    stage.undisturbed();
}

#[test]
fn a_silent_body_is_answered_and_closed_and_what_it_brought_stays() {
    let (stage, stream) = (Stage::shared(), chunked());
    let channel = stage.channel("silent");
    let mut wire = Wire::open(&channel.origin.base);
    wire.begin(&channel.path("Streams(t.cmfv)"));
    wire.chunk(&stream.header());
    stream.fragments()[..8].iter().for_each(|f| wire.chunk(f));
    let begun = Instant::now();
    let answer = wire.answer("POST");
    assert_eq!((answer.status, answer.closes()), (408, true));
    assert!(begun.elapsed() > Duration::from_secs(3), "patience of four seconds");
    assert_eq!(channel.told("push broken off", 1), 1);
    let words = outcome(&channel, "t", 3.7).words;
    assert_eq!(words, "2.000 2.000");
    stage.undisturbed();
}

/// Sends as the media plays: each fragment when its last picture is over.
fn at_pace(body: &mut Body<'_>, stream: &Stream, ticks_per_fragment: i64) {
    let begun = Instant::now();
    body.send(&stream.header());
    for (n, fragment) in stream.fragments().iter().enumerate() {
        let due =
            Duration::from_millis((n as u64 + 1) * u64::try_from(ticks_per_fragment * 1_000 / SECOND).expect("short"));
        std::thread::park_timeout(due.saturating_sub(begun.elapsed()));
        body.send(fragment);
    }
}

#[test]
fn an_encoder_that_starts_at_zero_again_goes_on_at_the_next_border() {
    let stage = Stage::shared();
    let channel = stage.channel("zero-again");
    let stream = Stream::vector("cmaf/v25_chunked_prft.cmfv").shifted(-1_700_000_000 * SECOND);
    let half = Stream { pieces: stream.pieces[..9].to_vec() };
    let mut first = Body::open(&channel, "t");
    at_pace(&mut first, &half, SECOND / 2);
    first.read_by_origin();
    drop(first);
    let mut second = Body::open(&channel, "t");
    at_pace(&mut second, &stream, SECOND / 2);
    assert_eq!(second.finish().status, 200);
    let outcome = outcome(&channel, "t", 9.0);
    assert_eq!(outcome.playlist.segments.iter().filter(|s| s.discontinuity).count(), 1, "{}", outcome.words);
    assert!(outcome.words.starts_with("2.000 2.000 ") && outcome.words.ends_with("| 2.000 2.000 2.000 2.000"));
    assert_eq!((outcome.holes, outcome.faults.as_slice()), (0, &[][..]));
    assert_eq!((channel.told("discontinuity", 1), channel.counted("headwater_input_defects", "restart")), (1, 1));
    stage.undisturbed();
}

#[test]
fn the_end_of_a_push_is_not_the_end_of_the_channel() {
    let stage = Stage::shared();
    for file in ["cmaf/v25_lo_lmsg.cmfv", "bad/mfra_end.cmfv"] {
        let channel = stage.channel(&file.replace(['/', '.'], "-"));
        let stream = Stream::vector(file).ago(14, EVEN);
        assert_eq!(send(&channel, "t", &stream, Manner::Long).status, 200);
        channel.wait("t", |track| seconds(track) > 7.7);
        assert!(!channel.playlist("t").ended && channel.state()["state"] != "ended");
        // The encoder goes on.
        let later = stream.shifted(8 * SECOND);
        assert_eq!(send(&channel, "t", &later, Manner::Long).status, 200);
        let outcome = outcome(&channel, "t", 15.7);
        assert_eq!(outcome.words, ["2.000"; 8].join(" "), "{file}");
    }
    stage.undisturbed();
}
