// SPDX-License-Identifier: Apache-2.0
//! MPDs of other hands.

use headwater_manifests::dash::read::{self, BYTES_MAX, Error, Mpd, Template};
use headwater_media::{MediaDuration, UtcTime};
use proptest::prelude::*;

/// As ffmpeg pushes it, shortened.
const PUSHED: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<MPD xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
	xmlns="urn:mpeg:dash:schema:mpd:2011"
	profiles="urn:mpeg:dash:profile:isoff-live:2011"
	type="dynamic"
	minimumUpdatePeriod="PT500S"
	availabilityStartTime="2026-11-21T10:00:00.250Z"
	publishTime="2026-11-21T10:00:04Z"
	minBufferTime="PT4.0S">
	<ProgramInformation>
	</ProgramInformation>
	<Period id="0" start="PT1M0.5S">
		<AdaptationSet id="0" contentType="video" startWithSAP="1" frameRate="25/1">
			<SegmentTemplate timescale="12800" presentationTimeOffset="7" media="chunk-$RepresentationID$-$Number%05d$.m4s"/>
			<Representation id="0" mimeType="video/mp4" codecs="avc1.64000b" bandwidth="40000">
				<SegmentTemplate duration="25600" initialization="init-stream$RepresentationID$.m4s" availabilityTimeOffset="1.500" startNumber="3">
				</SegmentTemplate>
			</Representation>
			<Representation id="1" mimeType="video/mp4"/>
		</AdaptationSet>
		<AdaptationSet id="1" lang="en">
			<Representation id="2" mimeType="audio/mp4" codecs="mp4a.40.2">
				<SegmentTemplate timescale="48000">
					<SegmentTimeline><S t="0" d="96256" r="2"/><S d="95232" /></SegmentTimeline>
				</SegmentTemplate>
			</Representation>
		</AdaptationSet>
	</Period>
</MPD>"#;

#[test]
fn a_pushed_mpd_says_what_its_segments_are() {
    let mpd = read::parse(PUSHED.as_bytes()).unwrap();
    assert!(mpd.dynamic);
    assert_eq!(mpd.availability_start, UtcTime::parse("2026-11-21T10:00:00.250Z"));
    let period = &mpd.periods[0];
    assert_eq!(period.start, Some(MediaDuration::from_millis(60_500)));
    let [first, bare, audio] = &period.representations[..] else {
        panic!("expected three, got {:?}", period.representations)
    };
    let template = first.template.as_ref().unwrap();
    assert_eq!(
        (template.timescale.ticks_per_second(), template.duration, template.start_number),
        (12_800, Some(25_600), 3)
    );
    assert_eq!(template.presentation_time_offset, 7);
    assert_eq!(template.availability_time_offset, Some(MediaDuration::from_millis(1_500)));
    assert_eq!(Template::expand(template.media.as_deref().unwrap(), first, 42, 0), "chunk-0-00042.m4s");
    assert_eq!(Template::expand(template.initialization.as_deref().unwrap(), first, 0, 0), "init-stream0.m4s");
    assert_eq!((bare.template.as_ref().unwrap().duration, bare.codecs.as_deref()), (None, None));
    assert_eq!(
        (audio.content_type.as_deref(), audio.language.as_deref(), audio.set.as_deref()),
        (Some("audio"), Some("en"), Some("1"))
    );
    let runs = audio.template.as_ref().unwrap().timeline.as_ref().unwrap();
    assert_eq!((runs[0].time, runs[0].repeat, runs[1].time, runs[1].duration), (Some(0), 2, None, 95_232));
}

#[test]
fn an_odd_attribute_counts_as_absent() {
    let text = "<MPD type='dynamic' availabilityStartTime='soon' minimumUpdatePeriod='PT-3S'><Period start='P1Y'>\
                <AdaptationSet><Representation id='a' bandwidth='much'><SegmentTemplate timescale='0' duration='2.5'/>\
                </Representation></AdaptationSet></Period></MPD>";
    let mpd = read::parse(text.as_bytes()).unwrap();
    assert_eq!((mpd.availability_start, mpd.minimum_update_period, mpd.periods[0].start), (None, None, None));
    let representation = &mpd.periods[0].representations[0];
    assert_eq!((representation.bandwidth, representation.template.clone()), (None, Some(Template::default())));
}

#[test]
fn what_is_no_mpd_is_refused() {
    assert_eq!(read::parse(b"#EXTM3U"), Err(Error::NotMpd));
    assert_eq!(read::parse(b"<Patch/>"), Err(Error::NotMpd));
    assert!(matches!(read::parse(b"<MPD><Period></MPD>"), Err(Error::Malformed { .. })));
    assert!(matches!(read::parse(b"<MPD><Period>"), Err(Error::Malformed { .. })));
    assert!(matches!(read::parse(b"\xff"), Err(Error::Malformed { .. })));
    assert!(matches!(read::parse(&vec![b' '; BYTES_MAX + 1]), Err(Error::TooLong { .. })));
    assert!(matches!(read::parse("<MPD>".repeat(100).as_bytes()), Err(Error::TooMany { .. })));
    assert_eq!((Error::NotMpd.status(), Error::TooMany { max: 1 }.status()), (400, 413));
}

#[test]
fn inherited_timelines_do_not_multiply_without_bound() {
    let timeline = "<S d='1'/>".repeat(50_000);
    let text = format!(
        "<MPD><Period><AdaptationSet><SegmentTemplate><SegmentTimeline>{timeline}</SegmentTimeline></SegmentTemplate>{}\
         </AdaptationSet></Period></MPD>",
        "<Representation id='a'/>".repeat(1_000)
    );
    assert!(matches!(read::parse(text.as_bytes()), Err(Error::TooMany { .. })));
}

#[test]
fn entities_are_not_expanded() {
    let text = "<!DOCTYPE MPD [<!ENTITY a \"aaaa\">]><MPD id='&a;' type='dynamic'/>";
    assert_eq!(read::parse(text.as_bytes()).map(|mpd| (mpd.id, mpd.dynamic)), Ok((None, true)));
    assert_eq!(read::parse(b"<MPD id='a&amp;b'/>").map(|mpd| mpd.id), Ok(Some("a&b".into())));
    assert_eq!(read::parse(b"<MPD/>"), Ok(Mpd::default()));
}

fn fragment() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "MPD",
        "Period",
        "AdaptationSet",
        "Representation",
        "SegmentTemplate",
        "SegmentTimeline",
        "S",
        "FailoverContent",
        "FCS",
        "UTCTiming",
        "x:y",
    ]);
    let attributes =
        "( (id|t|d|r|start|duration|timescale|media|valid|availabilityStartTime|bandwidth)=\"[^\"<&\n]{0,20}\"){0,4}";
    prop_oneof![
        (name.clone(), attributes, "/?").prop_map(|(name, attributes, slash)| format!("<{name}{attributes}{slash}>")),
        name.prop_map(|name| format!("</{name}>")),
        "\\PC{0,12}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_bytes_end_in_a_value_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read::parse(&bytes);
        let _ = read::parse(&[b"<MPD ", &bytes[..], b"></MPD>"].concat());
    }

    #[test]
    fn any_fragments_end_in_a_value_or_an_error(fragments in prop::collection::vec(fragment(), 0..30), closing in any::<bool>()) {
        let tail = if closing { "</Period></MPD>" } else { "" };
        let text = format!("<MPD><Period>{}{tail}", fragments.concat());
        let _ = read::parse(text.as_bytes());
    }

    #[test]
    fn any_template_expands_without_panic(template in "[$%a-z0-9]{0,20}", wide in "\\$Number%[0-9]{0,22}d\\$", number in any::<u64>()) {
        let representation = read::Representation::default();
        let _ = Template::expand(&template, &representation, number, number);
        prop_assert!(Template::expand(&wide, &representation, number, 0).len() <= 24);
    }
}
