// SPDX-License-Identifier: Apache-2.0
//! Multivariant playlists as whole texts.

mod common;

use std::sync::Arc;

use common::{audio, ladder, text, utf8, video};
use headwater_manifests::hls::multivariant::{self, Input};
use headwater_manifests::hls::read::{self, Multivariant, Playlist};
use headwater_media::{Audio, Codec, Ladder, Track};

fn rendered(tracks: impl IntoIterator<Item = Track>) -> String {
    let ladder = Ladder::new(tracks.into_iter().map(Arc::new).collect());
    utf8(multivariant::render(&Input { ladder: &ladder, plain: false }))
}

fn read(text: &str) -> Multivariant {
    match read::parse(text.as_bytes()) {
        Ok(Playlist::Multivariant(read)) => read,
        other => panic!("expected a multivariant playlist, got {other:?}"),
    }
}

#[test]
fn a_ladder_of_three_with_two_languages_and_subtitles() {
    let text = utf8(multivariant::render(&Input { ladder: &ladder(), plain: false }));
    assert_eq!(
        text,
        "#EXTM3U
#EXT-X-VERSION:6
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MEDIA:TYPE=AUDIO,URI=\"de/media.m3u8\",GROUP-ID=\"aac\",LANGUAGE=\"de\",NAME=\"de\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"2\"
#EXT-X-MEDIA:TYPE=AUDIO,URI=\"en/media.m3u8\",GROUP-ID=\"aac\",LANGUAGE=\"en\",NAME=\"en\",AUTOSELECT=YES,CHANNELS=\"2\"
#EXT-X-MEDIA:TYPE=SUBTITLES,URI=\"sub/media.m3u8\",GROUP-ID=\"text\",LANGUAGE=\"en\",NAME=\"en\",AUTOSELECT=YES
#EXT-X-STREAM-INF:BANDWIDTH=950000,AVERAGE-BANDWIDTH=860000,CODECS=\"avc1.64001f,mp4a.40.2,wvtt\",RESOLUTION=640x360,FRAME-RATE=25.000,AUDIO=\"aac\",SUBTITLES=\"text\",CLOSED-CAPTIONS=NONE
v0/media.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=2500000,AVERAGE-BANDWIDTH=2300000,CODECS=\"avc1.64001f,mp4a.40.2,wvtt\",RESOLUTION=1280x720,FRAME-RATE=25.000,AUDIO=\"aac\",SUBTITLES=\"text\",CLOSED-CAPTIONS=NONE
v1/media.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=5300000,AVERAGE-BANDWIDTH=4800000,CODECS=\"avc1.64001f,mp4a.40.2,wvtt\",RESOLUTION=1920x1080,FRAME-RATE=25.000,AUDIO=\"aac\",SUBTITLES=\"text\",CLOSED-CAPTIONS=NONE
v2/media.m3u8
#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=820000,CODECS=\"avc1.64001f\",RESOLUTION=640x360,URI=\"v0/iframes.m3u8\"
#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=2400000,CODECS=\"avc1.64001f\",RESOLUTION=1280x720,URI=\"v1/iframes.m3u8\"
#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=5200000,CODECS=\"avc1.64001f\",RESOLUTION=1920x1080,URI=\"v2/iframes.m3u8\"
"
    );
    assert_eq!(read(&text).ignored, 0);
}

#[test]
fn the_plain_twin_points_at_plain_playlists() {
    let text = utf8(multivariant::render(&Input { ladder: &ladder(), plain: true }));
    assert!(text.contains("\nv0/plain.m3u8\n") && text.contains("URI=\"en/plain.m3u8\""));
    assert!(!text.contains("media.m3u8"));
}

#[test]
fn arrival_order_does_not_show() {
    let mut tracks =
        vec![video("v0", (640, 360), 1), video("v1", (1_280, 720), 2), audio("en", "en", 3), text("s", "en")];
    let forward = rendered(tracks.clone());
    tracks.reverse();
    assert_eq!(rendered(tracks), forward);
}

#[test]
fn another_bitrate_of_a_language_is_another_group() {
    let found = read(&rendered([
        video("v0", (640, 360), 800_000),
        audio("en-hi", "en", 192_000),
        audio("en-lo", "en", 64_000),
        audio("fr", "fr", 64_000),
    ]));
    let group = |name: &str| -> Vec<&str> {
        found.renditions.iter().filter(|r| r.group == name).filter_map(|r| r.uri.as_deref()).collect()
    };
    assert_eq!(group("aac"), ["en-hi/media.m3u8", "fr/media.m3u8"]);
    assert_eq!(group("aac-2"), ["en-lo/media.m3u8", "fr/media.m3u8"]);
    let variants: Vec<_> =
        found.variants.iter().filter(|v| !v.iframes).map(|v| (v.audio.as_deref(), v.bandwidth)).collect();
    assert_eq!(variants, [(Some("aac"), 1_000_000), (Some("aac-2"), 870_000)]);
}

#[test]
fn each_codec_family_is_a_group_with_one_default() {
    let mut surround = audio("surround", "en", 384_000);
    surround.codec = Codec::new(*b"ec-3", "ec-3");
    surround.audio = Some(Audio { sample_rate: 48_000, channels: 6 });
    let found = read(&rendered([
        video("v0", (640, 360), 800_000),
        audio("en", "en", 128_000),
        audio("de", "de", 128_000),
        surround,
    ]));
    for group in ["aac", "ec-3"] {
        assert_eq!(found.renditions.iter().filter(|r| r.group == group && r.default).count(), 1, "{group}");
    }
    let codecs: Vec<_> = found.variants.iter().filter(|v| !v.iframes).filter_map(|v| v.codecs.as_deref()).collect();
    assert_eq!(codecs, ["avc1.64001f,mp4a.40.2", "avc1.64001f,ec-3"]);
    assert_eq!(found.renditions.last().and_then(|r| r.channels.as_deref()), Some("6"));
}

#[test]
fn sound_alone_is_its_own_variant() {
    assert_eq!(
        rendered([audio("en", "en", 128_000)]),
        "#EXTM3U
#EXT-X-VERSION:6
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-STREAM-INF:BANDWIDTH=130000,AVERAGE-BANDWIDTH=130000,CODECS=\"mp4a.40.2\"
en/media.m3u8
"
    );
    let two = read(&rendered([audio("en", "en", 128_000), audio("de", "de", 96_000)]));
    assert_eq!((two.renditions.len(), two.variants.len()), (2, 1));
    assert_eq!(two.variants[0].audio.as_deref(), Some("aac"));
}

#[test]
fn pictures_alone_name_no_audio() {
    let found = read(&rendered([video("v0", (640, 360), 800_000)]));
    assert_eq!((found.renditions.len(), found.variants[0].audio.clone()), (0, None));
}

#[test]
fn a_bandwidth_is_stated_before_anything_is_measured() {
    let found = read(&rendered([video("v0", (640, 360), 0), video("v1", (1_920, 1_080), 0), audio("en", "en", 0)]));
    let stated: Vec<u64> = found.variants.iter().filter(|v| !v.iframes).map(|v| v.bandwidth).collect();
    assert!(stated[0] > 0 && stated[0] < stated[1], "{stated:?}");
}

#[test]
fn names_cannot_break_out_of_their_quotes() {
    let mut track = audio("en", "en", 1);
    track.label = Some("say \"hi\"\n#EXT-X-ENDLIST".into());
    let found = read(&rendered([video("v0", (640, 360), 1), track]));
    assert_eq!(found.renditions[0].name, "say 'hi' #EXT-X-ENDLIST");
    assert_eq!(found.ignored, 0);
}
