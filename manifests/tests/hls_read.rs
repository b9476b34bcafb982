// SPDX-License-Identifier: Apache-2.0
//! Playlists of other hands.

use headwater_manifests::hls::read::{self, BYTES_MAX, Error, Media, Playlist};
use headwater_media::MediaDuration;
use proptest::prelude::*;

fn media(text: &str) -> Media {
    match read::parse(text.as_bytes()) {
        Ok(Playlist::Media(media)) => *media,
        other => panic!("expected a media playlist, got {other:?}"),
    }
}

#[test]
fn an_encoders_playlist_gives_its_segments_with_dates_and_header() {
    let read = media(
        "#EXTM3U\r
#EXT-X-VERSION:7\r
#EXT-X-TARGETDURATION:2\r
#EXT-X-MEDIA-SEQUENCE:41\r
#EXT-X-MAP:URI=\"init_0.mp4\"\r
#EXTINF:2.005333,one, with commas\r
#EXT-X-PROGRAM-DATE-TIME:2026-11-21T10:00:00.123456+0100\r
seg00041.m4s\r
#EXTINF:0.021333,\r
seg00042.m4s\r
#EXT-X-ENDLIST",
    );
    assert_eq!((read.target_duration, read.media_sequence, read.ended, read.ignored), (Some(2), 41, true, 0));
    let [first, second] = &read.segments[..] else { panic!("expected two segments, got {:?}", read.segments) };
    assert_eq!((first.sequence, first.uri.as_str(), first.duration.nanos()), (41, "seg00041.m4s", 2_005_333_000));
    assert_eq!(first.program_date_time.map(|t| t.to_string()).as_deref(), Some("2026-11-21T09:00:00.123Z"));
    assert_eq!(second.map.as_ref().map(|m| m.uri.as_str()), Some("init_0.mp4"));
    assert_eq!((second.sequence, second.duration.nanos(), second.program_date_time), (42, 21_333_000, None));
}

#[test]
fn low_latency_tags_are_kept_where_they_belong() {
    let read = media(
        "#EXTM3U
#EXT-X-VERSION:9
#EXT-X-TARGETDURATION:2
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.0,CAN-SKIP-UNTIL=12.0
#EXT-X-PART-INF:PART-TARGET=0.33334
#EXT-X-MEDIA-SEQUENCE:266
#EXT-X-SKIP:SKIPPED-SEGMENTS=3
#EXTINF:2,
a.mp4
#EXT-X-PART:DURATION=0.33334,URI=\"b.1.mp4\",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.33334,URI=\"b.2.mp4\",BYTERANGE=\"100@7\"
#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"b.3.mp4\"
#EXT-X-RENDITION-REPORT:URI=\"../1M/x.php\",LAST-MSN=273,LAST-PART=2",
    );
    let control = read.server_control.as_ref().unwrap();
    assert!(control.can_block_reload && !control.can_skip_dateranges);
    assert_eq!(control.can_skip_until, Some(MediaDuration::from_millis(12_000)));
    assert_eq!(read.part_target.map(MediaDuration::nanos), Some(333_340_000));
    assert_eq!((read.skipped_segments, read.segments[0].sequence), (3, 269));
    let open = read.open.as_ref().unwrap();
    assert_eq!((open.sequence, open.parts.len(), open.parts[0].independent), (270, 2, true));
    assert_eq!(open.parts[1].byte_range.map(|r| (r.length_bytes, r.offset_bytes)), Some((100, Some(7))));
    assert_eq!(read.hints[0].uri, "b.3.mp4");
    assert_eq!((read.reports[0].last, read.reports[0].part), (Some(273), Some(2)));
}

#[test]
fn malformed_lines_are_counted_and_harm_no_other() {
    let read = media(
        "#EXTM3U
#EXT-X-TARGETDURATION:2.5
#EXT-X-MEDIA-SEQUENCE:-3
#EXT-X-MAP:URI
no-extinf.m4s
#EXT-X-SOMETHING-NEW:1
#EXTINF:abc,
#EXTINF:2,
a.m4s
#EXT-X-PART:URI=\"x\"",
    );
    assert_eq!((read.target_duration, read.segments.len(), read.ignored), (Some(3), 1, 6));
    assert_eq!(read.segments[0].uri, "a.m4s");
    assert_eq!(read.open, None);
}

#[test]
fn a_malformed_variant_does_not_lend_its_uri() {
    let text = "#EXTM3U
#EXT-X-STREAM-INF:BANDWIDTH=1000,CODECS=\"avc1\",FRAME-RATE=29.97
good.m3u8
#EXT-X-STREAM-INF:RESOLUTION=1x1
bad.m3u8
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"\",LANGUAGE=en
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"n\",LANGUAGE=en,DEFAULT=YES,URI=\"a.m3u8\"
";
    let Ok(Playlist::Multivariant(read)) = read::parse(text.as_bytes()) else {
        panic!("expected a multivariant playlist")
    };
    assert_eq!(read.variants.len(), 1);
    assert_eq!((read.variants[0].uri.as_str(), read.variants[0].frame_rate_millis), ("good.m3u8", Some(29_970)));
    assert_eq!((read.renditions.len(), read.renditions[0].language.as_deref()), (1, Some("en")));
    assert_eq!(read.ignored, 2);
}

#[test]
fn what_is_no_playlist_is_refused() {
    assert_eq!(read::parse(b"<MPD/>"), Err(Error::NotPlaylist));
    assert_eq!(read::parse(b"#EXTM3U8\n"), Err(Error::NotPlaylist));
    assert_eq!(read::parse(b"\xff\xfe"), Err(Error::NotPlaylist));
    assert_eq!(read::parse(b""), Err(Error::NotPlaylist));
    assert!(matches!(read::parse(&vec![b' '; BYTES_MAX + 1]), Err(Error::TooLong { .. })));
    let many = format!("#EXTM3U\n{}", "#EXTINF:1,\na\n".repeat(40_000));
    assert!(matches!(read::parse(many.as_bytes()), Err(Error::TooMany { .. })));
    assert_eq!((Error::NotPlaylist.status(), Error::TooMany { max: 1 }.status()), (400, 413));
}

#[test]
fn the_largest_sequence_does_not_overflow() {
    let read = media(
        "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:18446744073709551615\n#EXTINF:1,\na\n#EXTINF:1,\nb\n#EXT-X-DISCONTINUITY\n",
    );
    assert_eq!(read.segments[1].sequence, u64::MAX);
}

fn line() -> impl Strategy<Value = String> {
    let tag = prop::sample::select(vec![
        "#EXTINF:",
        "#EXT-X-MAP:",
        "#EXT-X-PART:",
        "#EXT-X-KEY:",
        "#EXT-X-BYTERANGE:",
        "#EXT-X-STREAM-INF:",
        "#EXT-X-MEDIA:",
        "#EXT-X-SKIP:",
        "#EXT-X-MEDIA-SEQUENCE:",
        "#EXT-X-TARGETDURATION:",
        "#EXT-X-PROGRAM-DATE-TIME:",
        "#EXT-X-DISCONTINUITY",
        "#EXT-X-SERVER-CONTROL:",
        "#EXT-X-RENDITION-REPORT:",
        "#EXT-X-I-FRAME-STREAM-INF:",
        "#EXT",
        "#",
        "",
    ]);
    let value = prop_oneof![
        "\\PC{0,30}",
        "[0-9.,@-]{0,24}",
        "([A-Z-]{1,12}=(\"[^\"\n]{0,8}\"|[0-9A-Zx.]{0,12}),?){0,5}",
        Just("BANDWIDTH=1,RESOLUTION=1x99999999999999999999,FRAME-RATE=1e400".to_owned()),
        Just("URI=\"a\",BYTERANGE=\"1@2\",DURATION=9999999999.5".to_owned()),
    ];
    (tag, value).prop_map(|(tag, value)| format!("{tag}{value}\n"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_bytes_end_in_a_value_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read::parse(&bytes);
        let _ = read::parse(&[b"#EXTM3U\n", &bytes[..]].concat());
    }

    #[test]
    fn any_lines_end_in_a_value_or_an_error(lines in prop::collection::vec(line(), 0..30)) {
        let text = format!("#EXTM3U\n{}", lines.concat());
        prop_assert!(read::parse(text.as_bytes()).is_ok(), "refused");
    }
}
