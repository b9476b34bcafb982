// SPDX-License-Identifier: Apache-2.0
//! Media playlists as whole texts.

mod common;

use common::{FIRST, gap, half, input, open, parts, report, segment, targets, utf8, window};
use headwater_manifests::Targets;
use headwater_manifests::hls::media::{self, Hint, Input, Report, Skip};
use headwater_media::{ByteRange, Generation, MediaDuration, PartIndex, Segment, SegmentNumber, TrackId, Window};

fn low_latency(window: &Window) -> String {
    utf8(media::render(&input(window, &targets(), &[]), Skip::None))
}

#[test]
fn a_low_latency_playlist_lists_parts_near_the_edge_and_says_what_comes() {
    let window = window((FIRST..FIRST + 5).map(segment), Some(open(FIRST + 5, 2)));
    let reports = [report("audio", FIRST + 5, Some(1)), report("sub", FIRST + 4, None)];
    let text = utf8(media::render(&input(&window, &targets(), &reports), Skip::None));
    assert_eq!(
        text,
        "#EXTM3U
#EXT-X-VERSION:9
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-TARGETDURATION:2
#EXT-X-MEDIA-SEQUENCE:850000000
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12,CAN-SKIP-DATERANGES=YES,HOLD-BACK=6,PART-HOLD-BACK=1.5
#EXT-X-PART-INF:PART-TARGET=0.5
#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:20.000Z
#EXT-X-MAP:URI=\"init-0.mp4\"
#EXTINF:2,
850000000.m4s
#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:22.000Z
#EXTINF:2,
850000001.m4s
#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:24.000Z
#EXT-X-PART:DURATION=0.5,URI=\"850000002.0.m4s\",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.5,URI=\"850000002.1.m4s\"
#EXT-X-PART:DURATION=0.5,URI=\"850000002.2.m4s\"
#EXT-X-PART:DURATION=0.5,URI=\"850000002.3.m4s\"
#EXTINF:2,
850000002.m4s
#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:26.000Z
#EXT-X-PART:DURATION=0.5,URI=\"850000003.0.m4s\",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.5,URI=\"850000003.1.m4s\"
#EXT-X-PART:DURATION=0.5,URI=\"850000003.2.m4s\"
#EXT-X-PART:DURATION=0.5,URI=\"850000003.3.m4s\"
#EXTINF:2,
850000003.m4s
#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:28.000Z
#EXT-X-PART:DURATION=0.5,URI=\"850000004.0.m4s\",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.5,URI=\"850000004.1.m4s\"
#EXT-X-PART:DURATION=0.5,URI=\"850000004.2.m4s\"
#EXT-X-PART:DURATION=0.5,URI=\"850000004.3.m4s\"
#EXTINF:2,
850000004.m4s
#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:30.000Z
#EXT-X-PART:DURATION=0.5,URI=\"850000005.0.m4s\",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.5,URI=\"850000005.1.m4s\"
#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"850000005.2.m4s\"
#EXT-X-RENDITION-REPORT:URI=\"../audio/media.m3u8\",LAST-MSN=850000005,LAST-PART=1
#EXT-X-RENDITION-REPORT:URI=\"../sub/media.m3u8\",LAST-MSN=850000004
"
    );
}

#[test]
fn the_plain_twin_lists_complete_segments_without_low_latency_tags() {
    let window = window((FIRST..FIRST + 2).map(segment), Some(open(FIRST + 2, 2)));
    let text = utf8(media::render_plain(&input(&window, &targets(), &[report("audio", FIRST, None)])));
    assert_eq!(
        text,
        "#EXTM3U
#EXT-X-VERSION:6
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-TARGETDURATION:2
#EXT-X-MEDIA-SEQUENCE:850000000
#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:20.000Z
#EXT-X-MAP:URI=\"init-0.mp4\"
#EXTINF:2,
850000000.m4s
#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:22.000Z
#EXTINF:2,
850000001.m4s
"
    );
}

#[test]
fn a_delta_skips_what_lies_before_the_boundary_and_gives_the_header_again() {
    let window = window((FIRST..FIRST + 20).map(segment), None);
    let text = utf8(media::render(&input(&window, &targets(), &[]), Skip::V1));
    let head = "#EXTM3U
#EXT-X-VERSION:9
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-TARGETDURATION:2
#EXT-X-MEDIA-SEQUENCE:850000000
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12,CAN-SKIP-DATERANGES=YES,HOLD-BACK=6,PART-HOLD-BACK=1.5
#EXT-X-PART-INF:PART-TARGET=0.5
#EXT-X-SKIP:SKIPPED-SEGMENTS=14
#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:48.000Z
#EXT-X-MAP:URI=\"init-0.mp4\"
#EXTINF:2,
850000014.m4s
";
    assert!(text.starts_with(head), "{text}");
    assert_eq!(text.matches("#EXTINF").count(), 6);
    assert!(text.ends_with("850000019.m4s\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"850000020.0.m4s\"\n"), "{text}");
}

#[test]
fn a_second_version_delta_states_version_ten() {
    let window = window((FIRST..FIRST + 20).map(segment), None);
    let text = utf8(media::render(&input(&window, &targets(), &[]), Skip::V2));
    assert!(text.contains("#EXT-X-VERSION:10\n") && text.contains("CAN-SKIP-DATERANGES=YES"));
    assert!(text.contains("#EXT-X-SKIP:SKIPPED-SEGMENTS=14\n"));
}

#[test]
fn a_playlist_too_short_to_skip_is_given_in_full() {
    let window = window((FIRST..FIRST + 6).map(segment), Some(open(FIRST + 6, 0)));
    let full = media::render(&input(&window, &targets(), &[]), Skip::None);
    assert_eq!(media::render(&input(&window, &targets(), &[]), Skip::V1), full);
    assert_eq!(media::render(&input(&window, &targets(), &[]), Skip::V2), full);
}

#[test]
fn an_ended_window_renders_endlist_and_promises_nothing() {
    let window = window((FIRST..FIRST + 20).map(segment), None);
    let (targets, reports) = (targets(), [report("audio", FIRST, None)]);
    let ended = Input { ended: true, pending_header: Some(Generation(1)), ..input(&window, &targets, &reports) };
    let text = utf8(media::render(&ended, Skip::V1));
    assert!(text.ends_with("#EXTINF:2,\n850000019.m4s\n#EXT-X-ENDLIST\n"), "{text}");
    for absent in ["PRELOAD-HINT", "CAN-BLOCK-RELOAD", "RENDITION-REPORT", "EXT-X-SKIP:"] {
        assert!(!text.contains(absent), "{absent}");
    }
    assert!(utf8(media::render_plain(&ended)).ends_with("#EXT-X-ENDLIST\n"));
}

#[test]
fn a_lost_segment_keeps_its_place_as_a_gap() {
    let window = window([segment(FIRST), gap(FIRST + 1), segment(FIRST + 2)], None);
    let plain = utf8(media::render_plain(&input(&window, &targets(), &[])));
    assert_eq!(
        plain,
        "#EXTM3U
#EXT-X-VERSION:8
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-TARGETDURATION:2
#EXT-X-MEDIA-SEQUENCE:850000000
#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:20.000Z
#EXT-X-MAP:URI=\"init-0.mp4\"
#EXTINF:2,
850000000.m4s
#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:22.000Z
#EXT-X-GAP
#EXTINF:2,
850000001.m4s
#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:24.000Z
#EXTINF:2,
850000002.m4s
"
    );
}

fn changed(number: u64) -> Segment {
    Segment { discontinuity: true, discontinuity_sequence: 4, generation: Generation(1), ..segment(number) }
}

fn before(number: u64) -> Segment {
    Segment { discontinuity_sequence: 3, ..segment(number) }
}

#[test]
fn a_new_generation_brings_its_discontinuity_date_and_header_in_this_order() {
    let window = window([before(FIRST), changed(FIRST + 1)], None);
    let plain = utf8(media::render_plain(&input(&window, &targets(), &[])));
    assert_eq!(
        plain,
        "#EXTM3U
#EXT-X-VERSION:6
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-TARGETDURATION:2
#EXT-X-MEDIA-SEQUENCE:850000000
#EXT-X-DISCONTINUITY-SEQUENCE:3
#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:20.000Z
#EXT-X-MAP:URI=\"init-0.mp4\"
#EXTINF:2,
850000000.m4s
#EXT-X-DISCONTINUITY
#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:22.000Z
#EXT-X-MAP:URI=\"init-1.mp4\"
#EXTINF:2,
850000001.m4s
"
    );
}

#[test]
fn a_discontinuity_counts_once_while_it_leaves_the_window() {
    let sequence = |window: &Window| {
        let text = low_latency(window);
        let line = text.lines().find_map(|line| line.strip_prefix("#EXT-X-DISCONTINUITY-SEQUENCE:"));
        (line.map(|n| n.parse::<u64>().unwrap()), text.matches("#EXT-X-DISCONTINUITY\n").count())
    };
    let after = |number| Segment { discontinuity_sequence: 4, generation: Generation(1), ..segment(number) };
    let mut window = window([before(FIRST), changed(FIRST + 1), after(FIRST + 2)], None);
    assert_eq!(sequence(&window), (Some(3), 1));
    window.pop_front();
    assert_eq!(sequence(&window), (Some(3), 1));
    window.pop_front();
    assert_eq!(sequence(&window), (Some(4), 0));
}

#[test]
fn what_changes_with_the_open_segment_stands_before_its_first_part() {
    let mut next = open(FIRST + 1, 1);
    next.discontinuity = true;
    next.generation = Generation(1);
    let text = low_latency(&window([segment(FIRST)], Some(next)));
    let tail = "850000000.m4s
#EXT-X-DISCONTINUITY
#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:22.000Z
#EXT-X-MAP:URI=\"init-1.mp4\"
#EXT-X-PART:DURATION=0.5,URI=\"850000001.0.m4s\",INDEPENDENT=YES
#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"850000001.1.m4s\"
";
    assert!(text.ends_with(tail), "{text}");
}

#[test]
fn a_coming_header_is_hinted_before_the_part_that_needs_it() {
    let window = window([segment(FIRST)], Some(open(FIRST + 1, 4)));
    let targets = targets();
    let hint = Hint::Part(SegmentNumber(FIRST + 2), PartIndex(0));
    let text = utf8(media::render(
        &Input { hint, pending_header: Some(Generation(1)), ..input(&window, &targets, &[]) },
        Skip::None,
    ));
    let tail =
        "#EXT-X-PRELOAD-HINT:TYPE=MAP,URI=\"init-1.mp4\"\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"850000002.0.m4s\"\n";
    assert!(text.ends_with(tail), "{text}");
    let none = utf8(media::render(&Input { hint: Hint::None, ..input(&window, &targets, &[]) }, Skip::None));
    assert!(!none.contains("PRELOAD-HINT"));
}

#[test]
fn the_first_part_of_a_channel_is_a_playlist() {
    let text = low_latency(&window([], Some(open(FIRST, 1))));
    assert!(text.contains("#EXT-X-MEDIA-SEQUENCE:850000000\n"), "{text}");
    assert!(
        text.contains(
            "#EXT-X-MAP:URI=\"init-0.mp4\"\n#EXT-X-PART:DURATION=0.5,URI=\"850000000.0.m4s\",INDEPENDENT=YES\n"
        )
    );
}

#[test]
fn an_iframe_playlist_ranges_into_its_segments() {
    let mut second = segment(FIRST + 1);
    second.key_frame = Some(ByteRange { offset_bytes: 24, length_bytes: 900 });
    let window = window([segment(FIRST), second, Segment { key_frame: None, ..segment(FIRST + 2) }], None);
    let text = utf8(media::render_iframes(&input(&window, &targets(), &[]), Skip::None));
    assert_eq!(
        text,
        "#EXTM3U
#EXT-X-VERSION:9
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-TARGETDURATION:2
#EXT-X-MEDIA-SEQUENCE:850000000
#EXT-X-I-FRAMES-ONLY
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12,CAN-SKIP-DATERANGES=YES,HOLD-BACK=6,PART-HOLD-BACK=1.5
#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:20.000Z
#EXT-X-MAP:URI=\"init-0.mp4\"
#EXT-X-BYTERANGE:700@0
#EXTINF:2,
850000000.m4s
#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:22.000Z
#EXT-X-BYTERANGE:900@24
#EXTINF:2,
850000001.m4s
#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:24.000Z
#EXT-X-GAP
#EXTINF:2,
850000002.m4s
"
    );
}

#[test]
fn a_track_without_parts_still_takes_directives() {
    let window = window((FIRST..FIRST + 3).map(segment), None);
    let targets = targets();
    let text = utf8(media::render(&Input { part_target: None, ..input(&window, &targets, &[]) }, Skip::None));
    assert!(text.contains("CAN-BLOCK-RELOAD=YES") && text.contains("PART-HOLD-BACK=1.5"));
    assert!(!text.contains("PART-INF") && !text.contains("EXT-X-PART:") && !text.contains("PRELOAD-HINT"), "{text}");
}

#[test]
fn every_playlist_of_a_channel_promises_the_same() {
    let window = window((FIRST..FIRST + 3).map(segment), Some(open(FIRST + 3, 1)));
    let targets = targets();
    let input = input(&window, &targets, &[]);
    let promises = |text: String| -> Vec<String> {
        let kept = ["#EXT-X-SERVER-CONTROL", "#EXT-X-TARGETDURATION"];
        text.lines().filter(|line| kept.iter().any(|tag| line.starts_with(tag))).map(str::to_owned).collect()
    };
    let video = promises(utf8(media::render(&input, Skip::None)));
    assert_eq!(video.len(), 2);
    assert_eq!(promises(utf8(media::render(&Input { part_target: None, ..input }, Skip::None))), video);
    assert_eq!(promises(utf8(media::render_iframes(&input, Skip::None))), video);
}

#[test]
fn independence_is_claimed_only_while_every_segment_has_it() {
    let dependent = Segment { independent: false, ..segment(FIRST) };
    let mut window = window([dependent, gap(FIRST + 1), segment(FIRST + 2)], Some(open(FIRST + 3, 1)));
    assert!(!low_latency(&window).contains("INDEPENDENT-SEGMENTS"));
    window.pop_front();
    assert!(low_latency(&window).contains("INDEPENDENT-SEGMENTS"));
    window
        .set_open(Some(std::sync::Arc::new(headwater_media::OpenSegment { independent: false, ..open(FIRST + 3, 1) })));
    assert!(!low_latency(&window).contains("INDEPENDENT-SEGMENTS"));
}

#[test]
fn a_report_says_what_the_window_holds_now() {
    let track = || TrackId::new("v0").unwrap();
    assert_eq!(Report::of(track(), &Window::new()), None);
    let complete = window([segment(FIRST)], None);
    assert_eq!(Report::of(track(), &complete), Some(report("v0", FIRST, Some(3))));
    let opened = window([segment(FIRST)], Some(open(FIRST + 1, 2)));
    assert_eq!(Report::of(track(), &opened), Some(report("v0", FIRST + 1, Some(1))));
}

/// Thirds of a second of sound: no decimal is exact, and the sums must still agree.
#[test]
fn part_durations_sum_to_their_segment_within_a_millisecond() {
    let scale = common::scale(48_000);
    let mut sound = segment(FIRST);
    sound.duration = MediaDuration::new(94 * 1_024, scale);
    sound.parts = parts(FIRST, 6);
    for (index, part) in sound.parts.iter_mut().enumerate() {
        part.duration = MediaDuration::new(if index == 5 { 14 } else { 16 } * 1_024, scale);
    }
    let part_target = MediaDuration::new(16 * 1_024, scale);
    let targets = Targets::new(common::two(), part_target, half());
    let window = window([sound], None);
    let text =
        utf8(media::render(&Input { part_target: Some(part_target), ..input(&window, &targets, &[]) }, Skip::None));
    let decimal = |line: &str, from: &str| -> f64 {
        line.split_once(from).unwrap().1.split(',').next().unwrap().parse().unwrap()
    };
    let sum: f64 =
        text.lines().filter(|line| line.starts_with("#EXT-X-PART:")).map(|line| decimal(line, "DURATION=")).sum();
    let segment: f64 = text.lines().find(|line| line.starts_with("#EXTINF:")).map(|line| decimal(line, ":")).unwrap();
    assert!((sum - segment).abs() < 0.001, "{sum} {segment}");
    assert!(
        text.contains("#EXTINF:2.00533,\n")
            && text.contains("PART-TARGET=0.34134\n")
            && text.contains("PART-HOLD-BACK=1.02402\n"),
        "{text}"
    );
    assert!(text.contains("DURATION=0.34133,"));
}
