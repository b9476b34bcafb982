// SPDX-License-Identifier: Apache-2.0
//! Broken and malicious bytes: never a panic, never memory past the bounds, never another result for another cut.

use bytes::Bytes;
use headwater_packager::cmaf::{Error, Event, Limits, Reader};
use proptest::prelude::*;

use crate::support::{read_pieces, vector};

const SEEDS: &[&str] = &[
    "bad/init_only.cmfv",
    "cmaf/scte35_evte.cmfm",
    "cmaf/scte35_urim.cmfm",
    "cmaf/sub_stpp.cmft",
    "cmaf/sub_wvtt.cmft",
    "cmaf/a48_opus.cmfa",
    "cmaf/v25_every_frame.cmfv",
    "cmaf/v25_lo_emsg.cmfv",
    "fmp4/smooth_live.ismv",
    "fmp4/mux_av_one_moof.mp4",
    "fmp4/aac_priming_elst.mp4",
];

/// Reads in pieces and checks, after each, that no more is held than came and than the bounds allow.
fn survives(body: &Bytes, limits: Limits, piece: usize) -> Result<Vec<Event>, Error> {
    let mut reader = Reader::new(limits);
    let mut events = Vec::new();
    let mut pushed = 0;
    for at in (0..body.len()).step_by(piece) {
        let bytes = body.slice(at..body.len().min(at + piece));
        pushed += bytes.len();
        reader.push(bytes, &mut events)?;
        let bound = limits.fragment_bytes_max + limits.header_bytes_max + limits.box_bytes_max;
        assert!(reader.buffered_bytes() <= pushed.min(bound));
    }
    let end = reader.finish(&mut events)?;
    assert!(end.stump_bytes <= pushed as u64);
    Ok(events)
}

fn small() -> Limits {
    Limits { box_bytes_max: 4_096, header_bytes_max: 4_096, fragment_bytes_max: 16_384, tracks_max: 2, samples_max: 64 }
}

/// Byte flips, and the field values that break arithmetic.
fn mutate(body: &mut [u8], edits: &[(usize, u8, u8)], span: usize) {
    for &(at, how, value) in edits {
        let at = at % span.min(body.len()).max(1);
        match how % 4 {
            0 => body[at] = value,
            1 => body[at] ^= 1 << (value & 7),
            2 => body[at..].iter_mut().take(4).for_each(|b| *b = 0xff),
            _ => body[at..].iter_mut().take(4).for_each(|b| *b = 0),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn arbitrary_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..600), piece in 1_usize..64) {
        let _ = survives(&bytes.into(), Limits::default(), piece);
    }

    #[test]
    fn arbitrary_boxes_are_survived(boxes in proptest::collection::vec((0_usize..16, proptest::collection::vec(any::<u8>(), 0..80)), 0..12)) {
        const KINDS: [&[u8; 4]; 16] = [b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"emsg", b"prft", b"mfra",
            b"sidx", b"free", b"uuid", b"trak", b"traf", b"trun", b"tfhd", b"mfhd"];
        let mut body = vector("bad/init_only.cmfv").to_vec();
        for (kind, payload) in boxes {
            body.extend(crate::support::boxed(KINDS[kind], &payload));
        }
        let _ = survives(&body.into(), small(), 50);
    }

    #[test]
    fn mutated_headers_and_fragments_are_survived(seed in 0..SEEDS.len(), span in prop_oneof![Just(1_400_usize), Just(usize::MAX)],
                                                  edits in proptest::collection::vec((any::<usize>(), any::<u8>(), any::<u8>()), 1..12)) {
        let mut body = vector(SEEDS[seed]).to_vec();
        body.truncate(20_000);
        mutate(&mut body, &edits, span);
        let body = Bytes::from(body);
        let whole = read_pieces(&body, &[usize::MAX]);
        prop_assert_eq!(read_pieces(&body, &[13, 400, 1]), whole);
        let _ = survives(&body, small(), 97);
    }

    #[test]
    fn a_body_cut_anywhere_gives_a_prefix_of_its_events(seed in 0..SEEDS.len(), cut in any::<usize>()) {
        let body = vector(SEEDS[seed]);
        let cut = cut % body.len();
        let (all, _) = read_pieces(&body, &[usize::MAX]);
        let (some, end) = read_pieces(&body.slice(..cut), &[usize::MAX]);
        prop_assert!(end.is_ok());
        prop_assert!(all.starts_with(&some));
    }
}

#[test]
fn a_megabyte_in_single_bytes_is_not_slow() {
    let mut body = vector("bad/init_only.cmfv").to_vec();
    body.extend(crate::support::boxed(b"free", &vec![0; 1 << 20]));
    let fragment = vector("bad/no_init.cmfv");
    for _ in 0..5 {
        body.extend_from_slice(&fragment);
    }
    let (events, end) = read_pieces(&body.into(), &[1]);
    assert_eq!((events.len(), end.is_ok()), (21, true));
}
