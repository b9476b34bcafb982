// SPDX-License-Identifier: Apache-2.0
//! Every file in every manner: the same comes of it however it is sent, and it is what must come.

use super::manner::{Manner, send};
use super::media::{Grid, Stream, vector};
use super::outcome::Outcome;
use super::stage::{Channel, Stage, seconds};

/// What must come of a file.
#[derive(Debug)]
struct Case {
    file: &'static str,
    /// Where its borders are, to move it to now; `None` sends it as it is.
    grid: Option<Grid>,
    /// Each track: name, segments in words, frames decoded.
    tracks: &'static [(&'static str, &'static str, usize)],
    /// Defects of the channel and how often each is told.
    defects: &'static [(&'static str, u64)],
}

const EVEN: Option<Grid> = Some((2, 1));

const fn tidy(file: &'static str, tracks: &'static [(&'static str, &'static str, usize)]) -> Case {
    Case { file, grid: EVEN, tracks, defects: &[] }
}

const fn from_zero(file: &'static str, tracks: &'static [(&'static str, &'static str, usize)]) -> Case {
    Case { file, grid: None, tracks, defects: &[] }
}

const FOUR: &[(&str, &str, usize)] = &[("t", "2.000 2.000 2.000 2.000", 200)];
const SOUND: &[(&str, &str, usize)] = &[("t", "2.005 2.005 2.005 1.984", 375)];

const PICTURES: &[Case] = &[
    tidy("cmaf/v25_lo.cmfv", FOUR),
    tidy("cmaf/v25_hi.cmfv", FOUR),
    tidy("cmaf/v25_lo_lmsg.cmfv", FOUR),
    tidy("cmaf/v25_lo_prft.cmfv", FOUR),
    tidy("cmaf/v25_lo_emsg.cmfv", FOUR),
    tidy("cmaf/v25_chunked_prft.cmfv", FOUR),
    tidy("cmaf/v25_every_frame.cmfv", &[("t", "2.000 2.000", 100)]),
    tidy("cmaf/v25_bframes_negcts.cmfv", FOUR),
    tidy("cmaf/v25_hvc1.cmfv", &[("t", "2.000 2.000 2.000", 150)]),
    tidy("cmaf/v25_hev1.cmfv", &[("t", "2.000 2.000 2.000", 150)]),
    tidy("cmaf/v25_av1.cmfv", &[("t", "2.000 2.000", 100)]),
    // Its key frames stand half a GOP off the grid: what comes before the first border is nobody's.
    Case { grid: Some((48, 25)), ..tidy("cmaf/v50_192.cmfv", &[("t", "1.920 1.920 1.920 0.320", 304)]) },
    Case { grid: Some((60_060, 30_000)), ..tidy("cmaf/v2997.cmfv", &[("t", "2.002 2.002 2.002 2.002", 240)]) },
];

const SOUNDS: &[Case] = &[
    // The priming frame before the first border is nobody's.
    tidy("cmaf/a48_eng.cmfa", SOUND),
    tidy("cmaf/a44.cmfa", &[("t", "2.020 1.997 1.997 1.986", 345)]),
    tidy("cmaf/a48_ac3.cmfa", &[("t", "1.984 2.016 1.984 1.984", 249)]),
    tidy("cmaf/a48_eac3.cmfa", &[("t", "1.984 2.016 1.984 1.984", 249)]),
    tidy("cmaf/a48_opus.cmfa", &[("t", "2.000 2.000 2.000 1.987", 400)]),
    tidy("cmaf/scte35_evte.cmfm", &[("t", "2.000 2.000 2.000 2.000", 5)]),
    tidy("cmaf/scte35_urim.cmfm", &[("t", "2.000 2.000 2.000 2.000", 4)]),
    tidy("cmaf/sub_wvtt.cmft", &[("t", "2.000 2.000 2.000 2.000", 12)]),
    tidy("cmaf/sub_stpp.cmft", &[("t", "2.000 2.000 2.000 2.000", 4)]),
];

const LAYOUTS: &[Case] = &[
    from_zero("fmp4/mux_av_one_moof.mp4", &[("t-audio", "2.005 2.005 0.011", 189), ("t-video", "2.021 2.000", 100)]),
    from_zero(
        "fmp4/mux_av_separate_moof.mp4",
        &[("t-audio", "2.005 2.005 0.011", 189), ("t-video", "2.021 2.000", 100)],
    ),
    from_zero("fmp4/smooth_live.ismv", &[("t-audio", "2.005 1.995", 188), ("t-video", "2.000 2.000", 100)]),
    from_zero(
        "fmp4/cmaf_delay_moov_bframes_elst.mp4",
        &[("t-audio", "2.005 1.995", 188), ("t-video", "2.000 2.000", 100)],
    ),
    from_zero("fmp4/bframes_poscts_noedit.mp4", &[("t", "2.000 2.000", 100)]),
    from_zero("fmp4/bframes_poscts_elst.mp4", &[("t", "2.000 2.000", 100)]),
    from_zero("fmp4/aac_priming_elst.mp4", &[("t", "2.005 1.995", 188)]),
    from_zero("fmp4/empty_edit_is_epoch.mp4", &[("t", "2.005 2.005 0.011", 189)]),
    from_zero("fmp4/timescale_10MHz.mp4", &[("t", "2.000 2.000", 100)]),
    // 21 ms past the grid: whether something came before its first border cannot be known.
    tidy("fmp4/video_empty_edit_21ms.mp4", &[("t", "2.000 2.000 2.000", 150)]),
    tidy("fmp4/mdat_64bit_and_size0.mp4", FOUR),
    // Unix time of years ago is no clock that tells UTC: it is placed by its arrival.
    from_zero("cmaf/v25_lo.cmfv", FOUR),
    from_zero("cmaf/a48_eng.cmfa", SOUND),
];

const BROKEN: &[Case] = &[
    tidy("bad/mfra_end.cmfv", FOUR),
    tidy("bad/tfdt_jitter.cmfv", FOUR),
    tidy("bad/out_of_order.cmfv", FOUR),
    tidy("bad/duplicate_fragment.cmfv", FOUR),
    from_zero("bad/tfdt_v0_wraps_2e32.cmfv", FOUR),
    tidy("bad/missing_fragment.cmfv", &[("t", "2.000 2.000 gap 2.000", 150)]),
    tidy("bad/truncated_end.cmfv", &[("t", "2.000 2.000 2.000", 150)]),
    tidy("bad/first_chunk_not_sync.cmfv", &[("t", "2.000 2.000 2.000", 150)]),
    Case {
        defects: &[("header_change", 1)],
        ..tidy("bad/init_change_midstream.cmfv", &[("t", "2.000 2.000 | 2.000 2.000", 200)])
    },
    // Alone it is its own rule.
    Case { grid: Some((48, 25)), ..tidy("bad/gop48_vs_50.cmfv", &[("t", "1.920 1.920 1.920 0.320", 152)]) },
    Case {
        defects: &[("gop_misfit", 2)],
        ..tidy("bad/idr_interval_drifts.cmfv", &[("t", "1.360 1.360 1.320 1.360 1.240", 166)])
    },
    Case { defects: &[("gop_misfit", 2)], ..tidy("bad/open_gop.cmfv", &[("t", "1.960 2.000 2.000 2.000 0.040", 200)]) },
];

fn hold(cases: &[Case]) {
    let stage = Stage::shared();
    let mut failures = Vec::new();
    for case in cases {
        let stream = Stream::vector(case.file);
        let stream = case.grid.map_or(stream.clone(), |grid| stream.ago(10, grid));
        let mut first: Option<(Manner, Vec<Outcome>)> = None;
        for manner in Manner::ALL {
            let grid = if case.grid.is_some() { "" } else { "-placed" };
            let name = format!("{}{grid}-{manner:?}", case.file.replace(['/', '.'], "-")).to_lowercase();
            let channel = stage.channel(&name);
            let answer = send(&channel, "t", &stream, manner);
            let at = format!("{} {manner:?}", case.file);
            if answer.status != 200 {
                failures.push(format!("{at}: {answer:?}"));
                continue;
            }
            let outcomes = settled(&channel, case);
            for ((id, words, frames), outcome) in case.tracks.iter().zip(&outcomes) {
                let seen = (outcome.words.as_str(), outcome.frames, outcome.holes, outcome.faults.as_slice());
                if seen != (*words, *frames, 0, &[]) {
                    failures.push(format!("{at} {id}: {seen:?}"));
                }
            }
            for (defect, count) in case.defects {
                let counted = channel.counted("headwater_input_defects", defect);
                let expected = usize::try_from(*count).expect("few");
                let told = channel.told(&format!("defect=\"{defect}\""), expected);
                if (counted, told) != (*count, expected) {
                    failures.push(format!("{at}: {defect}: counted {counted}, told {told}"));
                }
            }
            let known = channel.counted("headwater_input_defects", "");
            if known != case.defects.iter().map(|(_, count)| count).sum::<u64>() {
                failures.push(format!("{at}: {}", channel.state()["defects"]));
            }
            // However it was sent, what tells UTC has become the same bytes under the same names.
            match &first {
                Some((with, theirs)) if case.grid.is_some() => {
                    let same = theirs.iter().zip(&outcomes).all(|(a, b)| a.bytes == b.bytes && a.uris() == b.uris());
                    if !same {
                        failures.push(format!("{at}: other bytes than {with:?}"));
                    }
                }
                _ => first = Some((manner, outcomes)),
            }
            channel.forget();
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
    stage.undisturbed();
}

/// Waits until nothing is on its way any more, ends the channel and reads its tracks.
fn settled(channel: &Channel<'_>, case: &Case) -> Vec<Outcome> {
    for (id, words, _) in case.tracks {
        // The last part is told only by the end.
        let whole: f64 = words.split(' ').filter_map(|word| word.parse::<f64>().ok()).sum();
        channel.wait(id, |track| seconds(track) > whole - 0.25);
    }
    channel.end();
    case.tracks.iter().map(|(id, ..)| Outcome::of(channel, id)).collect()
}

#[test]
fn pictures() {
    hold(PICTURES);
}

#[test]
fn sound_text_and_metadata() {
    hold(SOUNDS);
}

#[test]
fn legal_layouts() {
    hold(LAYOUTS);
}

#[test]
fn broken_timelines() {
    hold(BROKEN);
}

/// Refusals: the status, and nothing of the channel but its name.
#[test]
fn what_is_no_media_is_refused() {
    let stage = Stage::shared();
    for (file, status) in
        [("bad/box_size_7.bin", 400), ("bad/box_huge.bin", 413), ("bad/junk.bin", 400), ("bad/no_init.cmfv", 412)]
    {
        for manner in [Manner::Long, Manner::Dribbled, Manner::PerFragment, Manner::Whole] {
            let channel = stage.channel(&format!("{}-{manner:?}", file.replace(['/', '.'], "-")).to_lowercase());
            let stream = if file.ends_with(".bin") { Stream::raw(&vector(file)) } else { Stream::vector(file) };
            let answer = send(&channel, "t", &stream, manner);
            assert_eq!((answer.status, answer.closes()), (status, true), "{file} {manner:?}");
            assert_eq!(channel.state()["tracks"], serde_json::json!([]), "{file} {manner:?}");
            assert_eq!(channel.told("push broken off", 1), 1, "{file} {manner:?}");
            assert_eq!(channel.counted("headwater_ingest_refused", ""), 1, "{file} {manner:?}");
            channel.forget();
        }
    }
    stage.undisturbed();
}

#[test]
fn a_header_alone_is_accepted_and_waits() {
    let stage = Stage::shared();
    let stream = Stream::vector("bad/init_only.cmfv");
    for manner in [Manner::Long, Manner::Dribbled, Manner::PerFragment, Manner::Whole] {
        let channel = stage.channel(&format!("init-only-{manner:?}").to_lowercase());
        assert_eq!(send(&channel, "t", &stream, manner).status, 200, "{manner:?}");
        assert_eq!(channel.state()["state"], "starting", "{manner:?}");
        channel.forget();
    }
    stage.undisturbed();
}
