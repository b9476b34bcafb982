// SPDX-License-Identifier: Apache-2.0
//! What we write, read back by ourselves and by an independent strict reader.

use bytes::{Bytes, BytesMut};
use headwater_media::{Kind, UtcTime};
use headwater_packager::Sample;
use headwater_packager::cmaf::{ChunkOptions, Event, TrackHeader, header, write_chunk};
use mp4_atom::{Any, Codec, DecodeMaybe, Moof, Moov};
use proptest::prelude::*;

use crate::support::{fragments, headers, read, vector};

const NAMES: &[&str] = &[
    "cmaf/a44.cmfa",
    "cmaf/a48_ac3.cmfa",
    "cmaf/a48_eac3.cmfa",
    "cmaf/a48_eng.cmfa",
    "cmaf/a48_opus.cmfa",
    "cmaf/scte35_evte.cmfm",
    "cmaf/scte35_urim.cmfm",
    "cmaf/sub_stpp.cmft",
    "cmaf/sub_wvtt.cmft",
    "cmaf/v25_av1.cmfv",
    "cmaf/v25_bframes_negcts.cmfv",
    "cmaf/v25_every_frame.cmfv",
    "cmaf/v25_hev1.cmfv",
    "cmaf/v25_hvc1.cmfv",
    "cmaf/v25_lo.cmfv",
    "cmaf/v2997.cmfv",
    "fmp4/bframes_poscts_elst.mp4",
    "fmp4/mux_av_one_moof.mp4",
    "fmp4/smooth_live.ismv",
];

/// The first track of a vector and its samples, edit list applied.
fn source(name: &str) -> (TrackHeader, Vec<Sample>) {
    let events = read(&vector(name));
    let track = headers(&events)[0].tracks[0].clone();
    let own = fragments(&events).into_iter().flat_map(|f| f.tracks.clone()).filter(|t| t.source_id == track.source_id);
    let mut samples: Vec<_> = own.flat_map(|t| t.samples).collect();
    samples.iter_mut().for_each(|sample| track.apply_edit(sample));
    (track, samples)
}

/// Header and chunks of `count` samples, four chunks to a segment.
fn write(track: &TrackHeader, samples: &[Sample], count: usize) -> Bytes {
    let mut out = BytesMut::from(&header::write(track)[..]);
    for (index, chunk) in samples.chunks(count).enumerate() {
        let options = ChunkOptions {
            sequence_number: index as u32 + 1,
            first_of_segment: index % 4 == 0,
            producer_time: (index % 4 == 0).then(|| UtcTime::from_nanos(1_700_000_000_123_456_789)),
            last_of_stream: false,
        };
        let start = out.len();
        let layout = write_chunk(&mut out, chunk, options);
        assert_eq!(layout.length_bytes, (out.len() - start) as u64);
        let first_end = start + layout.first_sample_end_bytes as usize;
        assert_eq!(out[first_end - chunk[0].data.len()..first_end], chunk[0].data[..]);
    }
    out.freeze()
}

fn samples_of(events: &[Event]) -> Vec<Sample> {
    fragments(events).into_iter().flat_map(|f| f.tracks[0].samples.clone()).collect()
}

#[test]
fn our_reader_reads_back_every_sample() {
    for name in NAMES {
        let (track, samples) = source(name);
        for count in [1, 7, 50] {
            let events = read(&write(&track, &samples, count));
            assert!(samples_of(&events) == samples, "{name} in chunks of {count}");
            assert_eq!(fragments(&events)[0].producer_time.map(|p| p.utc.nanos()), Some(1_700_000_000_123_456_789));
        }
    }
}

#[test]
fn our_header_says_of_the_track_what_the_source_said() {
    for name in NAMES {
        let (track, _) = source(name);
        let events = read(&header::write(&track));
        let ours = &headers(&events)[0].tracks[0];
        let mut expected = track.clone();
        expected.source_id = 1;
        expected.edit = Default::default();
        expected.defaults = ours.defaults;
        assert_eq!(*ours, expected, "{name}");
    }
}

#[test]
fn language_label_and_roles_are_carried() {
    let (mut track, _) = source("cmaf/sub_wvtt.cmft");
    track.language = Some("pt-BR".into());
    track.label = Some("Português".into());
    let events = read(&header::write(&track));
    let ours = &headers(&events)[0].tracks[0];
    assert_eq!((&ours.language, &ours.label, &ours.roles), (&track.language, &track.label, &track.roles));
}

#[test]
fn writing_again_what_we_wrote_changes_no_byte() {
    for name in NAMES {
        let (track, samples) = source(name);
        let once = write(&track, &samples, 13);
        let events = read(&once);
        assert_eq!(write(&headers(&events)[0].tracks[0], &samples_of(&events), 13), once, "{name}");
    }
}

#[test]
fn an_independent_reader_agrees() {
    for name in NAMES {
        let (track, samples) = source(name);
        let bytes = write(&track, &samples, 50);
        let mut input = std::io::Cursor::new(&bytes[..]);
        let mut expected = samples.iter();
        let mut moof_at = 0;
        loop {
            let at = input.position() as usize;
            let Some(atom) = Any::decode_maybe(&mut input).unwrap_or_else(|e| panic!("{name}: {e}")) else { break };
            match atom {
                Any::Moov(moov) => check_moov(&moov, &track),
                Any::Moof(moof) => {
                    moof_at = at;
                    check_moof(&moof, &bytes[moof_at..], &mut expected, name);
                }
                Any::Ftyp(_) | Any::Styp(_) | Any::Prft(_) | Any::Mdat(_) => {}
                other => panic!("{name}: unexpected {other:?}"),
            }
        }
        assert!(moof_at > 0 && expected.next().is_none(), "{name}: every sample was seen");
    }
}

fn check_moov(moov: &Moov, track: &TrackHeader) {
    let [trak] = &moov.trak[..] else { panic!("one track") };
    assert_eq!((trak.tkhd.track_id, trak.mdia.mdhd.timescale), (1, track.timescale.ticks_per_second()));
    assert!(trak.edts.is_none());
    let [codec] = &trak.mdia.minf.stbl.stsd.codecs[..] else { panic!("one sample entry") };
    let known = !matches!(codec, Codec::Unknown(..));
    assert!(known || track.kind == Kind::Text, "{codec:?}");
    assert_eq!(moov.mvex.as_ref().map(|mvex| mvex.trex[0].track_id), Some(1));
}

fn check_moof<'a>(moof: &Moof, chunk: &[u8], expected: &mut impl Iterator<Item = &'a Sample>, name: &str) {
    let [traf] = &moof.traf[..] else { panic!("one track") };
    let [trun] = &traf.trun[..] else { panic!("one run") };
    assert!(traf.tfhd.default_base_is_moof && traf.tfhd.base_data_offset.is_none());
    let mut time = traf.tfdt.as_ref().map(|t| t.base_media_decode_time as i64);
    let mut at = trun.data_offset.map_or(0, |offset| offset as usize);
    for entry in trun.samples.iter() {
        let sample = expected.next().expect("no more samples than were written");
        let duration = entry.duration.or(traf.tfhd.default_sample_duration);
        let size = entry.size.or(traf.tfhd.default_sample_size).expect("a size") as usize;
        let flags = entry.flags.or(traf.tfhd.default_sample_flags).expect("flags");
        assert_eq!((time, duration), (Some(sample.decode_time), Some(sample.duration)), "{name}");
        assert_eq!(entry.cts.unwrap_or(0), i64::from(sample.composition_offset), "{name}");
        assert_eq!(flags, if sample.sync { 0x0200_0000 } else { 0x0101_0000 }, "{name}");
        assert_eq!(chunk[at..at + size], sample.data[..], "{name}");
        at += size;
        time = time.map(|t| t + i64::from(sample.duration));
    }
}

#[test]
fn the_last_segment_is_branded_and_ends_the_stream() {
    let (track, samples) = source("cmaf/v25_lo.cmfv");
    for first_of_segment in [true, false] {
        let mut out = BytesMut::from(&header::write(&track)[..]);
        let options = ChunkOptions { first_of_segment, last_of_stream: true, ..ChunkOptions::default() };
        write_chunk(&mut out, &samples, options);
        let events = read(&out.freeze());
        assert!(fragments(&events)[0].brands.last);
        assert_eq!(events.last(), Some(&Event::EndOfStream));
    }
}

#[test]
fn equal_fields_are_written_once() {
    let (_, samples) = source("cmaf/a48_ac3.cmfa");
    let mut out = BytesMut::new();
    let layout = write_chunk(&mut out, &samples[..60], ChunkOptions::default());
    let data: usize = samples[..60].iter().map(|s| s.data.len()).sum();
    assert_eq!(layout.length_bytes as usize - data, 8 + 16 + 8 + 28 + 20 + 20 + 8, "no field per sample");
}

fn any_sample() -> impl Strategy<Value = (u32, i32, bool, Vec<u8>)> {
    let duration = prop_oneof![Just(512_u32), any::<u32>()];
    let offset = prop_oneof![3 => Just(0_i32), 1 => any::<i32>()];
    (duration, offset, any::<bool>(), proptest::collection::vec(any::<u8>(), 0..40))
}

proptest! {
    #[test]
    fn any_samples_survive(start in 0_i64..1 << 60, parts in proptest::collection::vec(any_sample(), 1..40),
                           first_of_segment: bool, last_of_stream: bool) {
        let (track, _) = source("cmaf/v25_lo.cmfv");
        let mut decode_time = start;
        let mut samples = Vec::new();
        for (duration, composition_offset, sync, data) in parts {
            samples.push(Sample { decode_time, composition_offset, duration, sync, data: data.into() });
            decode_time += i64::from(duration);
        }
        let mut out = BytesMut::from(&header::write(&track)[..]);
        let options = ChunkOptions { sequence_number: 9, first_of_segment, last_of_stream, ..ChunkOptions::default() };
        write_chunk(&mut out, &samples, options);
        prop_assert_eq!(samples_of(&read(&out.freeze())), samples);
    }
}
