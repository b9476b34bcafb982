// SPDX-License-Identifier: Apache-2.0
//! What goes wrong on the way: cuts, restarts, missing and changed headers, noise.

use std::sync::Arc;

use headwater_packager::cmaf::boxes::FourCc;
use headwater_packager::cmaf::{Compatibility, End, Error, Event, Limits, Reader, SourceTime};

use crate::support::{find_box, fragments, headers, read, read_pieces, read_with, vector};

#[test]
fn a_32_bit_time_is_told_from_a_64_bit_one() {
    let events = read(&vector("bad/tfdt_v0_wraps_2e32.cmfv"));
    let times: Vec<_> = fragments(&events).iter().map(|f| f.tracks[0].decode_time.unwrap()).collect();
    let expected = [4_294_941_696, 0, 25_600, 51_200].map(|ticks| SourceTime { ticks, bits: 32 });
    assert_eq!(times, expected);
}

#[test]
fn a_cut_fragment_is_discarded_and_counted() {
    let (events, end) = read_pieces(&vector("bad/truncated_end.cmfv"), &[usize::MAX]);
    assert_eq!(fragments(&events).len(), 3);
    assert_eq!(end, Ok(End { stump_bytes: 308 + 8_289, ignored_bytes: 0 }));
}

#[test]
fn a_resend_after_a_cut_is_whole() {
    let body = vector("bad/cut_then_resend.cmfv");
    let resend = find_box(&body, b"ftyp", 1);
    let (before, end) = read_pieces(&body.slice(..resend), &[4_096]);
    assert!(end.unwrap().stump_bytes > 0);
    let again = read(&body.slice(resend..));
    assert_eq!(headers(&again), headers(&before), "the header is the same");
    let sequences = |events: &[Event]| fragments(events).iter().map(|f| f.sequence).collect::<Vec<_>>();
    assert_eq!((sequences(&before), sequences(&again)), (vec![1, 2], vec![3, 4]));
}

#[test]
fn a_new_header_midway_is_a_new_generation() {
    let events = read(&vector("bad/init_change_midstream.cmfv"));
    let [old, new] = &headers(&events)[..] else { panic!("two headers") };
    assert_eq!(old.tracks[0].compatible_with(&new.tracks[0]), Compatibility::NewGeneration);
    assert_eq!(old.tracks[0].compatible_with(&old.tracks[0]), Compatibility::Same);
    let kinds: String = events.iter().map(|e| if matches!(e, Event::Header(_)) { 'H' } else { 'F' }).collect();
    assert_eq!(kinds, "HFFHFF");
}

#[test]
fn another_bit_rate_is_merged() {
    let body = vector("bad/init_only.cmfv");
    let mut other = body.to_vec();
    let btrt = find_box(&body, b"btrt", 0);
    other[btrt + 12] ^= 1;
    let (one, two) = (read(&body), read(&other.into()));
    let (one, two) = (&headers(&one)[0].tracks[0], &headers(&two)[0].tracks[0]);
    assert_eq!(one.compatible_with(two), Compatibility::Merged);
    assert_ne!(one.declared_bitrate, two.declared_bitrate);
}

#[test]
fn a_fragment_needs_a_header_from_this_or_an_earlier_body() {
    let body = vector("bad/no_init.cmfv");
    let (events, end) = read_pieces(&body, &[usize::MAX]);
    let error = Error::NoHeader { source_id: 1 };
    assert_eq!((events, error.status()), (Vec::new(), 412));
    assert_eq!(end, Err(error));

    let init = read(&vector("bad/init_only.cmfv"));
    let header = Arc::new(headers(&init)[0].clone());
    let (events, end) = read_with(Reader::with_header(header, Limits::default()), &body, &[100]);
    assert_eq!((fragments(&events).len(), end), (4, Ok(End::default())));
}

#[test]
fn a_stored_header_reads_back_the_same() {
    for name in ["cmaf/sub_stpp.cmft", "fmp4/mux_av_one_moof.mp4", "cmaf/a48_eng.cmfa"] {
        let events = read(&vector(name));
        let header = headers(&events)[0];
        assert_eq!(headers(&read(&header.source)), [header], "{name}");
    }
}

#[test]
fn noise_and_impossible_sizes_are_refused_by_name() {
    let error = |name: &str| read_pieces(&vector(name), &[1]).1.unwrap_err();
    assert_eq!(error("bad/box_size_7.bin"), Error::BoxSize { kind: FourCc(*b"ftyp"), size_bytes: 7 });
    assert!(matches!(error("bad/box_huge.bin"), Error::TooBig { kind: FourCc([b'm', b'o', b'o', b'f']), .. }));
    assert!(matches!(error("bad/junk.bin"), Error::NotABox { .. }));
    assert_eq!(error("bad/box_huge.bin").status(), 413);
}

/// Length-prefixed parameter sets of an `avcC` or an `hvcC` box, as an encoder repeats them in band.
fn in_band(header: &headwater_packager::cmaf::TrackHeader) -> Vec<u8> {
    use shiguredo_mp4::Decode;
    use shiguredo_mp4::boxes::SampleEntry;
    let (entry, _) = SampleEntry::decode(&header.sample_entry).expect("a readable entry");
    let sets: Vec<Vec<u8>> = match entry {
        SampleEntry::Avc1(avc) => [avc.avcc_box.sps_list, avc.avcc_box.pps_list].concat(),
        SampleEntry::Hvc1(hevc) => hevc.hvcc_box.nalu_arrays.into_iter().flat_map(|a| a.nalus).collect(),
        other => panic!("{other:?}"),
    };
    let prefixed = |set: &Vec<u8>| [&u32::try_from(set.len()).expect("short").to_be_bytes()[..], set].concat();
    sets.iter().flat_map(prefixed).collect()
}

#[test]
fn parameter_sets_in_band_that_contradict_the_header_make_another() {
    // A relay that copies: the header of the first encoder, the pictures of the second.
    let events = read(&vector("bad/init_change_midstream.cmfv"));
    let [old, new] = &headers(&events)[..] else { panic!("two headers") };
    let (old, new) = (&old.tracks[0], &new.tracks[0]);
    let mut sample = fragments(&events)[2].tracks[0].samples[0].clone();
    sample.data = [in_band(new), sample.data.to_vec()].concat().into();
    let told = old.contradicted_by(&sample).expect("another header");
    assert_ne!(told.compatible_with(new), Compatibility::NewGeneration, "as if the encoder had told it");
    assert_eq!((told.video.clone(), &told.codec), (new.video.clone(), &new.codec));
    assert_eq!(told.contradicted_by(&sample), None, "it needs no other");
    assert_eq!(told.language, old.language);
    sample.sync = false;
    assert_eq!(old.contradicted_by(&sample), None, "only where a decoder may begin");
}

#[test]
fn parameter_sets_that_repeat_the_header_change_nothing() {
    for name in ["cmaf/v25_lo.cmfv", "cmaf/v25_hvc1.cmfv", "cmaf/v25_hev1.cmfv", "cmaf/v25_av1.cmfv", "cmaf/a44.cmfa"] {
        let events = read(&vector(name));
        let track = &headers(&events)[0].tracks[0];
        for fragment in fragments(&events) {
            let mut sample = fragment.tracks[0].samples[0].clone();
            assert_eq!(track.contradicted_by(&sample), None, "{name}");
            if name.contains("_lo") || name.contains("hvc1") {
                sample.data = [in_band(track), sample.data.to_vec()].concat().into();
                assert_eq!(track.contradicted_by(&sample), None, "{name}");
            }
        }
    }
}

#[test]
fn hevc_parameter_sets_in_band_are_told_as_well() {
    let header = |name: &str| headers(&read(&vector(name)))[0].tracks[0].clone();
    let (old, other) = (header("cmaf/v25_hvc1.cmfv"), read(&vector("cmaf/v25_hev1.cmfv")));
    let sample = fragments(&other)[0].tracks[0].samples[0].clone();
    let told = old.contradicted_by(&sample).expect("another header");
    assert_eq!((told.codec.four_cc(), told.video.clone().map(|v| (v.width, v.height))), (*b"hvc1", Some((160, 90))));
    assert_eq!(told.compatible_with(&old), Compatibility::NewGeneration);
}

#[test]
fn noise_in_a_sample_makes_no_header() {
    let events = read(&vector("cmaf/v25_lo.cmfv"));
    let track = &headers(&events)[0].tracks[0];
    let mut sample = fragments(&events)[0].tracks[0].samples[0].clone();
    for data in [&[][..], &[0, 0, 0], &[0xff; 64], &[0, 0, 0, 1, 0x67], &[0, 0, 0, 3, 0x67, 0x64, 0, 0, 0, 0, 1, 0x68]]
    {
        sample.data = data.to_vec().into();
        assert_eq!(track.contradicted_by(&sample), None, "{data:?}");
    }
}
