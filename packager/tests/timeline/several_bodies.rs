// SPDX-License-Identifier: Apache-2.0
//! Several bodies of one track: reconnects, twin encoders, windows sent again.

use std::time::Duration;

use bytes::Bytes;
use headwater_media::TrackId;
use headwater_packager::Sample;

use crate::ladder::{Shape, Source};
use crate::rig::{Rig, at, track};

/// The pictures of one encoder, 25 frames a second, GOPs of 2 s; `mark` tells encoders apart.
fn pictures(mark: u8) -> Source {
    let mut source = Shape::PLAIN.video(0);
    source.samples.iter_mut().for_each(|s| s.data = Bytes::from([&[mark], &s.data[..]].concat()));
    source
}

fn rig_for(source: &Source) -> (Rig, TrackId) {
    let mut rig = Rig::new(at(0.0));
    rig.assembler.header(&source.id, source.input);
    (rig, source.id.clone())
}

fn marks(samples: &[&Sample]) -> Vec<u8> {
    let mut marks: Vec<u8> = samples.iter().map(|s| s.data[0]).collect();
    marks.dedup();
    marks
}

/// Every picture refers to pictures of its own encoder only.
fn assert_decodable(samples: &[&Sample]) {
    for pair in samples.windows(2) {
        assert!(pair[1].sync || pair[0].data[0] == pair[1].data[0], "at {}", pair[1].decode_time);
    }
}

#[test]
fn two_outputs_of_one_encoder_relieve_each_other_anywhere() {
    let source = pictures(1);
    let (mut rig, id) = rig_for(&source);
    for (n, chunk) in source.samples.chunks(7).enumerate() {
        rig.pass(Duration::from_millis(280));
        // Body 1 dies within a GOP, body 2 is cut elsewhere and 80 ms late.
        if n < 30 {
            rig.samples(&id, 1, chunk.to_vec());
        }
        let late: Vec<Sample> =
            source.samples[(n * 7).saturating_sub(2)..(n * 7 + 5).min(source.samples.len())].to_vec();
        rig.samples(&id, 2, late);
    }
    let times: Vec<i64> = rig.published(&id).iter().map(|s| s.decode_time).collect();
    assert!(times.windows(2).all(|t| t[1] - t[0] == 512), "no sample is missed");
    assert!(times.len() > 580);
    assert!(rig.breaks.is_empty() && rig.defects.is_empty());
}

#[test]
fn twin_encoders_are_not_mixed_within_a_gop() {
    let (one, two) = (pictures(1), pictures(2));
    let (mut rig, id) = rig_for(&one);
    let chunks = one.samples.chunks(5).zip(two.samples.chunks(5));
    for (n, (one, two)) in chunks.enumerate() {
        rig.pass(Duration::from_millis(200));
        // Whose chunk comes first changes all the time.
        let mut pair = [(1, one), (2, two)];
        if n % 3 == 0 {
            pair.reverse();
        }
        pair.iter().for_each(|(body, samples)| rig.samples(&id, *body, samples.to_vec()));
    }
    let samples = rig.published(&id);
    assert_decodable(&samples);
    assert!(samples.windows(2).all(|p| p[1].decode_time - p[0].decode_time == 512));
    assert!(samples.len() > 580, "{}", samples.len());
}

#[test]
fn a_dead_encoder_is_relieved_by_its_twin_at_a_key_frame() {
    let (one, two) = (pictures(1), pictures(2));
    let (mut rig, id) = rig_for(&one);
    for (n, (one, two)) in one.samples.chunks(5).zip(two.samples.chunks(5)).enumerate() {
        rig.pass(Duration::from_millis(200));
        if n < 54 {
            rig.samples(&id, 1, one.to_vec());
        }
        rig.samples(&id, 2, two.to_vec());
    }
    let samples = rig.published(&id);
    assert_decodable(&samples);
    assert_eq!(marks(&samples), [1, 2]);
    assert!(rig.breaks.is_empty(), "no discontinuity");
    let numbers = rig.numbers(&id);
    assert!(numbers.windows(2).all(|n| n[0] + 1 == n[1]), "no segment is lost: {numbers:?}");
}

#[test]
fn a_window_sent_again_is_ignored() {
    for from_seconds in [0, crate::rig::EPOCH_SECONDS] {
        let source = Shape { from_seconds, ..Shape::PLAIN }.video(0);
        let (mut rig, id) = rig_for(&source);
        let mut segments = source.samples.chunks(50).enumerate();
        for (n, segment) in segments.by_ref().take(8) {
            rig.pass(Duration::from_secs(2));
            rig.samples(&id, n as u64, segment.to_vec());
        }
        // After a reconnect the encoder sends all it has, segment by segment, then goes on.
        for (n, segment) in source.samples.chunks(50).enumerate().take(8) {
            rig.pass(Duration::from_millis(20));
            rig.samples(&id, 100 + n as u64, segment.to_vec());
        }
        for (n, segment) in segments {
            rig.pass(Duration::from_secs(2));
            rig.samples(&id, n as u64, segment.to_vec());
        }
        rig.pass(Duration::from_secs(5));
        assert!(rig.breaks.is_empty() && rig.defects.is_empty(), "{:?}", rig.defects);
        let times: Vec<i64> = rig.published(&id).iter().map(|s| s.decode_time).collect();
        assert!(times.windows(2).all(|t| t[1] - t[0] == 512));
        assert_eq!(rig.assembler.counts(&id).duplicate, 400);
    }
}

#[test]
fn a_lagging_encoder_from_zero_is_no_restart() {
    let source = Shape { from_seconds: 0, ..Shape::PLAIN }.video(0);
    let (mut rig, id) = rig_for(&source);
    for (n, chunk) in source.samples.chunks(5).enumerate() {
        rig.pass(Duration::from_millis(200));
        rig.samples(&id, 1, chunk.to_vec());
        if n >= 60 {
            // Another encoder, begun 12 s after the first.
            rig.samples(&id, 2, source.samples[(n - 60) * 5..(n - 59) * 5].to_vec());
        }
    }
    assert!(rig.breaks.is_empty() && rig.defects.is_empty());
    assert!(rig.published(&id).windows(2).all(|p| p[1].decode_time - p[0].decode_time == 512));
    assert_eq!(track("v0"), id);
}

#[test]
fn real_media_replaces_a_slate_of_the_same_time() {
    let (real, slate) = (pictures(1), pictures(9));
    let (mut rig, id) = rig_for(&real);
    for (n, (real, slate)) in real.samples.chunks(50).zip(slate.samples.chunks(50)).enumerate().take(8) {
        rig.pass(Duration::from_millis(1_900));
        // The slate is first; the real encoder is away for two segments.
        rig.assembler.push_slate(&id, 2, slate.to_vec(), rig.now);
        rig.follow();
        rig.pass(Duration::from_millis(100));
        if !(3..5).contains(&n) {
            rig.samples(&id, 1, real.to_vec());
        }
    }
    rig.pass(Duration::from_secs(5));
    let samples = rig.published(&id);
    let marks: String = samples.chunks(50).map(|c| if c[0].data[0] == 9 { 's' } else { 'r' }).collect();
    // Of a rival that was never heard, or not for long, nothing is awaited.
    assert_eq!(marks, "srrsssrr");
    assert_decodable(&samples);
    assert!(samples.windows(2).all(|p| p[1].decode_time - p[0].decode_time == 512), "no gap");
    assert_eq!(rig.assembler.counts(&id).missing, 0);
}

#[test]
fn a_slate_without_a_rival_goes_straight_through() {
    let slate = pictures(9);
    let (mut rig, id) = rig_for(&slate);
    for (n, chunk) in slate.samples.chunks(5).enumerate() {
        rig.pass(Duration::from_millis(200));
        rig.assembler.push_slate(&id, 1, chunk.to_vec(), rig.now);
        rig.follow();
        assert!(n < 20 || rig.published(&id).len() + 5 >= n * 5, "it waits for nobody");
    }
}
