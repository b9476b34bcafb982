// SPDX-License-Identifier: Apache-2.0
//! Legal fragment layouts that the vectors do not show, built by hand.

use bytes::Bytes;
use headwater_packager::cmaf::boxes::FourCc;
use headwater_packager::cmaf::{End, Error, Event, Limits, Reader};

use crate::support::{boxed, fragments, read, read_pieces, read_with, vector};

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_be_bytes()).collect()
}

fn tfhd(fields: &[u32]) -> Vec<u8> {
    boxed(b"tfhd", &words(fields))
}

fn trun(fields: &[u32]) -> Vec<u8> {
    boxed(b"trun", &words(fields))
}

fn moof(trafs: &[Vec<Vec<u8>>]) -> Vec<u8> {
    let mut payload = boxed(b"mfhd", &words(&[0, 7]));
    for traf in trafs {
        payload.extend(boxed(b"traf", &traf.concat()));
    }
    boxed(b"moof", &payload)
}

fn body(parts: &[&[u8]]) -> Bytes {
    let init = vector("bad/init_only.cmfv");
    let mut all = init.to_vec();
    for part in parts {
        all.extend_from_slice(part);
    }
    all.into()
}

fn data(body: &Bytes) -> Vec<Vec<u8>> {
    let events = read(body);
    let tracks = fragments(&events).into_iter().flat_map(|f| &f.tracks);
    tracks.flat_map(|t| &t.samples).map(|s| s.data.to_vec()).collect()
}

const BASE_IS_MOOF: u32 = 0x02_0000;
const SIZES: u32 = 0x200;
const OFFSET: u32 = 0x1;

#[test]
fn several_runs_follow_each_other_or_jump() {
    // The second run has no offset and goes on; the third jumps back.
    let runs = |at: u32| {
        vec![
            tfhd(&[BASE_IS_MOOF, 1]),
            trun(&[SIZES | OFFSET, 2, at, 1, 2]),
            trun(&[SIZES, 1, 3]),
            trun(&[SIZES | OFFSET, 1, at + 1, 2]),
        ]
    };
    let at = moof(&[runs(0)]).len() as u32 + 8;
    let body = body(&[&moof(&[runs(at)]), &boxed(b"mdat", b"abbccc")]);
    assert_eq!(data(&body), [&b"a"[..], b"bb", b"ccc", b"bb"]);
}

#[test]
fn without_a_base_a_track_follows_the_one_before() {
    let trafs = |at: u32| {
        vec![vec![tfhd(&[0, 1]), trun(&[SIZES | OFFSET, 1, at, 2])], vec![tfhd(&[0, 1]), trun(&[SIZES, 1, 3])]]
    };
    let at = moof(&trafs(0)).len() as u32 + 8;
    let body = body(&[&moof(&trafs(at)), &boxed(b"mdat", b"aabbb")]);
    assert_eq!(data(&body), [&b"aa"[..], b"bbb"]);
}

#[test]
fn a_base_of_the_senders_own_stream_is_taken_for_the_media_datas_start() {
    // As a sender that numbers its bytes from its start does after a reconnect.
    let traf = vec![tfhd(&[0x1, 1, 0, 9_000_000]), trun(&[SIZES | OFFSET, 2, 500, 1, 2])];
    assert_eq!(data(&body(&[&moof(&[traf]), &boxed(b"mdat", b"abb")])), [&b"a"[..], b"bb"]);
}

#[test]
fn a_base_within_the_body_is_taken_as_it_stands() {
    let init = vector("bad/init_only.cmfv").len() as u32;
    let traf = |at: u32| vec![tfhd(&[0x1, 1, 0, init]), trun(&[SIZES | OFFSET, 1, at, 2])];
    let at = moof(&[traf(0)]).len() as u32 + 8 + 1;
    assert_eq!(data(&body(&[&moof(&[traf(at)]), &boxed(b"mdat", b"xbb")])), [b"bb"]);
}

#[test]
fn a_run_without_any_offset_starts_at_the_media_data() {
    let traf = vec![tfhd(&[BASE_IS_MOOF, 1]), trun(&[SIZES, 2, 1, 2])];
    assert_eq!(data(&body(&[&moof(&[traf]), &boxed(b"mdat", b"abb")])), [&b"a"[..], b"bb"]);
}

#[test]
fn a_fragment_may_have_several_media_data_boxes() {
    let traf = |at: u32| {
        vec![tfhd(&[BASE_IS_MOOF, 1]), trun(&[SIZES | OFFSET, 1, at, 2]), trun(&[SIZES | OFFSET, 1, at + 10, 3])]
    };
    let at = moof(&[traf(0)]).len() as u32 + 8;
    let body = body(&[&moof(&[traf(at)]), &boxed(b"mdat", b"aa"), &boxed(b"free", b""), &boxed(b"mdat", b"bbb")]);
    // The second offset counts the boxes between: 2 bytes of data, 8 of free, 8 of the mdat's own header.
    assert!(matches!(read_pieces(&body, &[1]).1, Err(Error::SampleOutside { .. })));
    let traf = |at: u32| {
        vec![tfhd(&[BASE_IS_MOOF, 1]), trun(&[SIZES | OFFSET, 1, at, 2]), trun(&[SIZES | OFFSET, 1, at + 18, 3])]
    };
    let body = self::body(&[&moof(&[traf(at)]), &boxed(b"mdat", b"aa"), &boxed(b"free", b""), &boxed(b"mdat", b"bbb")]);
    assert_eq!(data(&body), [&b"aa"[..], b"bbb"]);
}

#[test]
fn a_sample_outside_its_media_data_is_refused() {
    for at in [0, 60, 10_000] {
        let traf = vec![tfhd(&[BASE_IS_MOOF, 1]), trun(&[SIZES | OFFSET, 1, at, 4])];
        let body = body(&[&moof(&[traf]), &boxed(b"mdat", b"abcd")]);
        assert!(matches!(read_pieces(&body, &[usize::MAX]).1, Err(Error::SampleOutside { source_id: 1, .. })), "{at}");
    }
}

#[test]
fn media_data_without_a_moof_is_counted_and_skipped() {
    let traf = |at: u32| vec![tfhd(&[BASE_IS_MOOF, 1]), trun(&[SIZES | OFFSET, 1, at, 1])];
    let at = moof(&[traf(0)]).len() as u32 + 8;
    let body = body(&[&boxed(b"mdat", b"lost"), &moof(&[traf(at)]), &boxed(b"mdat", b"a")]);
    let (events, end) = read_pieces(&body, &[3]);
    assert_eq!((fragments(&events).len(), end), (1, Ok(End { stump_bytes: 0, ignored_bytes: 4 })));
}

#[test]
fn a_moof_whose_media_data_never_comes_is_refused() {
    let traf = vec![tfhd(&[BASE_IS_MOOF, 1]), trun(&[SIZES | OFFSET, 1, 92, 5])];
    let moof = moof(&[traf]);
    let body = body(&[&moof, &boxed(b"mdat", b"abc"), &moof]);
    assert_eq!(read_pieces(&body, &[usize::MAX]).1, Err(Error::NoMediaData { need_bytes: 5, have_bytes: 3 }));
}

#[test]
fn a_fragment_without_samples_says_nothing() {
    let duration_is_empty = 0x01_0000;
    let traf = vec![tfhd(&[BASE_IS_MOOF | duration_is_empty, 1])];
    let events = read(&body(&[&moof(&[traf]), &boxed(b"mdat", b"")]));
    assert!(matches!(events[..], [Event::Header(_)]));
}

#[test]
fn boxes_between_and_around_do_not_matter() {
    let traf = |at: u32| vec![tfhd(&[BASE_IS_MOOF, 1]), trun(&[SIZES | OFFSET, 1, at, 1])];
    let gap = boxed(b"free", b"1234");
    let at = moof(&[traf(0)]).len() as u32 + gap.len() as u32 + 8;
    let sidx = boxed(b"sidx", &[0; 32]);
    let unknown = boxed(b"wxyz", b"?");
    let uuid = boxed(b"uuid", &[9; 20]);
    let body = body(&[&sidx, &uuid, &unknown, &moof(&[traf(at)]), &gap, &boxed(b"mdat", b"a"), &boxed(b"skip", b"")]);
    assert_eq!(data(&body), [b"a"]);
}

#[test]
fn a_claim_of_four_billion_samples_is_refused() {
    let no_fields = vec![tfhd(&[BASE_IS_MOOF, 1]), trun(&[0, u32::MAX])];
    let body_of = |traf: Vec<Vec<u8>>| body(&[&moof(&[traf])]);
    assert!(matches!(read_pieces(&body_of(no_fields), &[usize::MAX]).1, Err(Error::TooMany { what: "samples", .. })));
    let with_sizes = vec![tfhd(&[BASE_IS_MOOF, 1]), trun(&[SIZES, 16_000, 1])];
    let error = Error::Truncated { kind: FourCc(*b"trun"), need_bytes: 64_000, have_bytes: 4 };
    assert_eq!(read_pieces(&body_of(with_sizes), &[usize::MAX]).1, Err(error));
    // Many small claims count together.
    let many = (0..20_000).map(|_| vec![tfhd(&[BASE_IS_MOOF, 1]), trun(&[0, 1_000])]).collect::<Vec<_>>();
    assert!(matches!(read_pieces(&body(&[&moof(&many)]), &[usize::MAX]).1, Err(Error::TooMany { .. })));
}

#[test]
fn a_fragment_past_its_bound_is_refused_before_its_bytes_come() {
    let limits = Limits { fragment_bytes_max: 1_000, ..Limits::default() };
    let traf = vec![tfhd(&[BASE_IS_MOOF, 1]), trun(&[SIZES | OFFSET, 1, 92, 500])];
    let moof = moof(&[traf]);
    for size in [2_000_u32, 0] {
        let mut mdat = boxed(b"mdat", &[0; 1_500]);
        mdat[..4].copy_from_slice(&size.to_be_bytes());
        let (_, end) = read_with(Reader::new(limits), &body(&[&moof, &mdat]), &[1]);
        assert!(matches!(end, Err(Error::TooBig { .. })), "{size}");
    }
}

#[test]
fn a_failed_reader_stays_failed() {
    let mut reader = Reader::new(Limits::default());
    let mut events = Vec::new();
    let error = reader.push(vector("bad/junk.bin"), &mut events).unwrap_err();
    assert_eq!(reader.push(vector("bad/init_only.cmfv"), &mut events), Err(error.clone()));
    assert_eq!((events.len(), reader.finish(&mut events)), (0, Err(error)));
}
