// SPDX-License-Identifier: Apache-2.0
//! What each vector must give, however it is cut.

use headwater_media::{Audio, Kind, Timescale};
use headwater_packager::cmaf::{Brands, Edit, End, Event, EventTime, Limits, Reader};

use crate::support::{fragments, headers, read, read_pieces, vector};

const EVERY: &[&str] = &[
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
    "cmaf/v25_chunked_prft.cmfv",
    "cmaf/v25_every_frame.cmfv",
    "cmaf/v25_hev1.cmfv",
    "cmaf/v25_hvc1.cmfv",
    "cmaf/v25_lo.cmfv",
    "cmaf/v25_lo_emsg.cmfv",
    "cmaf/v25_lo_lmsg.cmfv",
    "cmaf/v2997.cmfv",
    "fmp4/aac_priming_elst.mp4",
    "fmp4/bframes_poscts_elst.mp4",
    "fmp4/bframes_poscts_noedit.mp4",
    "fmp4/empty_edit_is_epoch.mp4",
    "fmp4/mdat_64bit_and_size0.mp4",
    "fmp4/mux_av_one_moof.mp4",
    "fmp4/mux_av_separate_moof.mp4",
    "fmp4/smooth_live.ismv",
    "fmp4/timescale_10MHz.mp4",
    "fmp4/video_empty_edit_21ms.mp4",
    "bad/box_huge.bin",
    "bad/box_size_7.bin",
    "bad/cut_then_resend.cmfv",
    "bad/init_change_midstream.cmfv",
    "bad/init_only.cmfv",
    "bad/junk.bin",
    "bad/mfra_end.cmfv",
    "bad/no_init.cmfv",
    "bad/tfdt_v0_wraps_2e32.cmfv",
    "bad/truncated_end.cmfv",
];

#[test]
fn how_a_body_is_cut_changes_nothing() {
    for name in EVERY {
        let body = vector(name);
        let whole = read_pieces(&body, &[usize::MAX]);
        for lengths in [&[1][..], &[7], &[1000], &[1, 15, 16, 8, 3_000, 2], &[32_768], &[5, 70_000]] {
            assert_eq!(read_pieces(&body, lengths), whole, "{name} in pieces of {lengths:?}");
        }
    }
}

/// Name, kind, timescale, codec, and per fragment: decode time, samples, sync samples.
type Expected = (&'static str, Kind, u32, &'static str, &'static [(u64, usize, usize)]);

const TIDY: &[Expected] = &[
    (
        "cmaf/v25_lo.cmfv",
        Kind::Video,
        12_800,
        "avc1.64000b",
        &[
            (21_760_000_000_000, 50, 1),
            (21_760_000_025_600, 50, 1),
            (21_760_000_051_200, 50, 1),
            (21_760_000_076_800, 50, 1),
        ],
    ),
    (
        "cmaf/v25_bframes_negcts.cmfv",
        Kind::Video,
        12_800,
        "avc1.64000b",
        &[
            (21_760_000_000_000, 50, 1),
            (21_760_000_025_600, 50, 1),
            (21_760_000_051_200, 50, 1),
            (21_760_000_076_800, 50, 1),
        ],
    ),
    (
        "cmaf/v25_hvc1.cmfv",
        Kind::Video,
        12_800,
        "hvc1.1.6.L30.90",
        &[(21_760_000_000_000, 50, 1), (21_760_000_025_600, 50, 1), (21_760_000_051_200, 50, 1)],
    ),
    (
        "cmaf/v25_hev1.cmfv",
        Kind::Video,
        12_800,
        "hev1.1.6.L30.90",
        &[(21_760_000_000_000, 50, 1), (21_760_000_025_600, 50, 1), (21_760_000_051_200, 50, 1)],
    ),
    (
        "cmaf/v25_av1.cmfv",
        Kind::Video,
        12_800,
        "av01.0.00M.08",
        &[(21_760_000_000_000, 50, 1), (21_760_000_025_600, 50, 1)],
    ),
    (
        "cmaf/v2997.cmfv",
        Kind::Video,
        30_000,
        "avc1.64000b",
        &[
            (50_999_999_990_940, 60, 1),
            (51_000_000_051_000, 60, 1),
            (51_000_000_111_060, 60, 1),
            (51_000_000_171_120, 60, 1),
        ],
    ),
    (
        "cmaf/a48_eng.cmfa",
        Kind::Audio,
        48_000,
        "mp4a.40.2",
        &[
            (81_599_999_998_976, 94, 94),
            (81_600_000_095_232, 94, 94),
            (81_600_000_191_488, 94, 94),
            (81_600_000_287_744, 94, 94),
        ],
    ),
    (
        "cmaf/a44.cmfa",
        Kind::Audio,
        44_100,
        "mp4a.40.2",
        &[
            (74_969_999_998_976, 87, 87),
            (74_970_000_088_064, 87, 87),
            (74_970_000_177_152, 87, 87),
            (74_970_000_266_240, 85, 85),
        ],
    ),
    (
        "cmaf/a48_ac3.cmfa",
        Kind::Audio,
        48_000,
        "ac-3",
        &[
            (81_599_999_999_744, 63, 63),
            (81_600_000_096_512, 63, 63),
            (81_600_000_193_280, 63, 63),
            (81_600_000_290_048, 61, 61),
        ],
    ),
    (
        "cmaf/a48_eac3.cmfa",
        Kind::Audio,
        48_000,
        "ec-3",
        &[
            (81_599_999_999_744, 63, 63),
            (81_600_000_096_512, 63, 63),
            (81_600_000_193_280, 63, 63),
            (81_600_000_290_048, 61, 61),
        ],
    ),
    (
        "cmaf/a48_opus.cmfa",
        Kind::Audio,
        48_000,
        "opus",
        &[
            (81_599_999_999_688, 100, 100),
            (81_600_000_095_688, 100, 100),
            (81_600_000_191_688, 100, 100),
            (81_600_000_287_688, 100, 100),
            (81_600_000_383_688, 1, 1),
        ],
    ),
    (
        "cmaf/sub_wvtt.cmft",
        Kind::Text,
        1_000,
        "wvtt",
        &[(1_700_000_000_000, 3, 3), (1_700_000_002_000, 3, 3), (1_700_000_004_000, 3, 3), (1_700_000_006_000, 3, 3)],
    ),
    (
        "cmaf/sub_stpp.cmft",
        Kind::Text,
        1_000,
        "stpp.ttml.im1t",
        &[(1_700_000_000_000, 1, 1), (1_700_000_002_000, 1, 1), (1_700_000_004_000, 1, 1), (1_700_000_006_000, 1, 1)],
    ),
    (
        "cmaf/scte35_evte.cmfm",
        Kind::Metadata,
        90_000,
        "evte",
        &[
            (153_000_000_000_000, 1, 1),
            (153_000_000_180_000, 2, 2),
            (153_000_000_360_000, 1, 1),
            (153_000_000_540_000, 1, 1),
        ],
    ),
    (
        "cmaf/scte35_urim.cmfm",
        Kind::Metadata,
        90_000,
        "urim",
        &[
            (153_000_000_000_000, 1, 1),
            (153_000_000_180_000, 1, 1),
            (153_000_000_360_000, 1, 1),
            (153_000_000_540_000, 1, 1),
        ],
    ),
];

#[test]
fn tidy_tracks_give_their_codec_times_and_samples() {
    for &(name, kind, timescale, codec, expected) in TIDY {
        let events = read(&vector(name));
        let track = &headers(&events)[0].tracks[0];
        assert_eq!((track.kind, track.timescale.ticks_per_second(), track.codec.rfc6381()), (kind, timescale, codec));
        let got: Vec<_> = fragments(&events)
            .iter()
            .flat_map(|f| &f.tracks)
            .map(|t| {
                let sync = t.samples.iter().filter(|s| s.sync).count();
                (t.decode_time.map_or(0, |time| time.ticks), t.samples.len(), sync)
            })
            .collect();
        assert_eq!(got, expected, "{name}");
        for track in fragments(&events).iter().flat_map(|f| &f.tracks) {
            let mut time = track.decode_time.unwrap().ticks as i64;
            for sample in &track.samples {
                assert_eq!(sample.decode_time, time, "{name}");
                time += i64::from(sample.duration);
            }
        }
    }
}

#[test]
fn words_and_shapes_of_a_track_are_read() {
    let shape = |name: &str| {
        let events = read(&vector(name));
        headers(&events)[0].tracks[0].clone()
    };
    let english = shape("cmaf/a48_eng.cmfa");
    assert_eq!(english.language.as_deref(), Some("eng"));
    assert_eq!(
        (english.audio, english.declared_bitrate),
        (Some(Audio { sample_rate: 48_000, channels: 1 }), Some(48_000))
    );
    let dolby = shape("cmaf/a48_ac3.cmfa");
    assert_eq!((dolby.language, dolby.audio), (None, Some(Audio { sample_rate: 48_000, channels: 2 })));
    assert_eq!(shape("cmaf/a48_eac3.cmfa").audio, Some(Audio { sample_rate: 48_000, channels: 2 }));
    assert_eq!(shape("cmaf/a48_opus.cmfa").audio, Some(Audio { sample_rate: 48_000, channels: 1 }));
    let video = shape("cmaf/v25_lo.cmfv").video.unwrap();
    assert_eq!((video.width, video.height), (160, 90));
    let text = shape("cmaf/sub_stpp.cmft");
    assert_eq!((text.language.as_deref(), text.roles[0].value.as_str()), (Some("swe"), "subtitle"));
}

#[test]
fn composition_offsets_keep_their_sign() {
    for (name, range) in [
        ("cmaf/v25_bframes_negcts.cmfv", (-512, 1_024)),
        ("cmaf/v25_hvc1.cmfv", (-1_024, 1_024)),
        ("fmp4/bframes_poscts_noedit.mp4", (512, 2_048)),
    ] {
        let events = read(&vector(name));
        let offsets = || fragments(&events)[0].tracks[0].samples.iter().map(|s| s.composition_offset);
        assert_eq!((offsets().min().unwrap(), offsets().max().unwrap()), range, "{name}");
    }
}

#[test]
fn edit_lists_move_what_they_say() {
    let first = |name: &str| {
        let events = read(&vector(name));
        let track = headers(&events)[0].tracks[0].clone();
        let mut sample = fragments(&events)[0].tracks[0].samples[0].clone();
        track.apply_edit(&mut sample);
        (track.edit, sample.decode_time, sample.composition_offset)
    };
    let edit = |delay, media_time| Edit { delay, media_time };
    assert_eq!(first("fmp4/aac_priming_elst.mp4"), (edit(0, 1_024), -1_024, 0));
    assert_eq!(first("fmp4/bframes_poscts_elst.mp4"), (edit(0, 1_024), 0, 0));
    assert_eq!(first("fmp4/bframes_poscts_noedit.mp4"), (edit(0, 0), 0, 1_024));
    // 21 ms of a 1000 Hz movie are 268.8 ticks of 12800 Hz.
    assert_eq!(first("fmp4/video_empty_edit_21ms.mp4"), (edit(269, 0), 21_760_000_000_269, 0));
    let (huge, decode_time, _) = first("fmp4/empty_edit_is_epoch.mp4");
    assert_eq!(huge.delay, decode_time);
    let days = decode_time / 48_000 / 86_400;
    assert!((19_000..90_000_000).contains(&days), "{decode_time}");
}

#[test]
fn one_moof_may_hold_two_tracks_or_one_at_a_time() {
    for (name, per_fragment) in [("fmp4/mux_av_one_moof.mp4", &[2, 2][..]), ("fmp4/mux_av_separate_moof.mp4", &[1; 4])]
    {
        let events = read(&vector(name));
        let tracks: Vec<_> = fragments(&events).iter().map(|f| f.tracks.len()).collect();
        assert_eq!(tracks, per_fragment, "{name}");
        let samples = |id| {
            let tracks = fragments(&events).into_iter().flat_map(|f| &f.tracks);
            tracks.filter(|t| t.source_id == id).map(|t| t.samples.len()).sum::<usize>()
        };
        assert_eq!((samples(1), samples(2)), (100, 189), "{name}");
        assert_eq!(events.last(), Some(&Event::EndOfStream), "{name} ends with mfra");
    }
}

#[test]
fn smooth_time_is_in_tfxd() {
    let events = read(&vector("fmp4/smooth_live.ismv"));
    assert_eq!(headers(&events)[0].tracks[0].timescale, Timescale::new(10_000_000).unwrap());
    let times: Vec<_> = fragments(&events).iter().map(|f| f.tracks[0].samples[0].decode_time).collect();
    // Audio starts one priming frame before zero, which the field holds modulo 2^64.
    assert_eq!(times, [0, -213_333, 20_000_000, 20_053_333]);
    assert_eq!(events.last(), Some(&Event::EndOfStream));
}

#[test]
fn media_data_may_have_a_64_bit_size_or_none() {
    let body = vector("fmp4/mdat_64bit_and_size0.mp4");
    let mut reader = Reader::new(Limits::default());
    let mut events = Vec::new();
    reader.push(body, &mut events).unwrap();
    assert_eq!(fragments(&events).len(), 3, "the last runs to the end of the body");
    assert_eq!(reader.finish(&mut events), Ok(End::default()));
    let sizes: Vec<usize> =
        fragments(&events).iter().map(|f| f.tracks[0].samples.iter().map(|s| s.data.len()).sum()).collect();
    assert_eq!(sizes, [18_127, 18_413, 17_731, 16_878]);
}

#[test]
fn brands_say_slate_and_last() {
    let events = read(&vector("cmaf/v25_lo_lmsg.cmfv"));
    let brands: Vec<_> = fragments(&events).iter().map(|f| f.brands).collect();
    let brands_of = |last, slate| Brands { last, slate };
    let plain = brands_of(false, false);
    assert_eq!(brands, [plain, plain, brands_of(false, true), brands_of(true, false)]);
    assert_eq!(events.iter().position(|e| *e == Event::EndOfStream), Some(events.len() - 1));
}

#[test]
fn an_empty_mfra_ends_the_stream() {
    let events = read(&vector("bad/mfra_end.cmfv"));
    assert_eq!((fragments(&events).len(), events.last()), (4, Some(&Event::EndOfStream)));
}

#[test]
fn event_messages_come_before_the_fragment_they_precede() {
    let events = read(&vector("cmaf/v25_lo_emsg.cmfv"));
    let messages: Vec<_> = events
        .iter()
        .filter_map(|e| if let Event::EventMessage(m) = e { Some(m) } else { None })
        .map(|m| (m.scheme_id_uri.as_str(), m.time, m.duration, m.id, m.message_data[0]))
        .collect();
    let time = EventTime::Absolute(21_760_000_051_200);
    assert_eq!(
        messages,
        [
            ("urn:scte:scte35:2013:bin", time, Some(25_600), 1_001, 0xfc),
            ("https://aomedia.org/emsg/ID3", time, None, 7, b'I'),
        ]
    );
    let kinds = events.iter().map(|e| match e {
        Event::Header(_) => 'H',
        Event::Fragment(_) => 'F',
        Event::EventMessage(_) => 'M',
        Event::EndOfStream => 'E',
    });
    assert_eq!(kinds.collect::<String>(), "HFMFMFF");
}

#[test]
fn each_chunk_has_its_own_producer_time() {
    let events = read(&vector("cmaf/v25_chunked_prft.cmfv"));
    for fragment in fragments(&events) {
        let producer = fragment.producer_time.unwrap();
        assert_eq!(Some(producer.media_time), fragment.tracks[0].decode_time.map(|t| t.ticks));
        let nanos = i128::from(producer.media_time) * 1_000_000_000 / 12_800;
        assert_eq!((i128::from(producer.utc.nanos()), producer.flags), (nanos, 24));
    }
    let sync: Vec<_> = fragments(&events).iter().map(|f| f.tracks[0].samples[0].sync).collect();
    assert_eq!(sync, [true, false, false, false].repeat(4));
}

#[test]
fn a_sample_is_a_slice_of_the_piece_that_brought_it() {
    let body = vector("cmaf/v25_lo.cmfv");
    let events = read(&body);
    let range = body.as_ptr_range();
    for sample in fragments(&events).iter().flat_map(|f| &f.tracks).flat_map(|t| &t.samples) {
        assert!(range.contains(&sample.data.as_ptr()));
    }
}
