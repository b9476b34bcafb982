// SPDX-License-Identifier: Apache-2.0
//! Every rule of MPDs: a text that keeps it and one that breaks it, and it alone.
#![allow(clippy::unwrap_used)]

use headwater_manifests::dash::read::{self, Mpd, patch};
use headwater_manifests::rules::{Verdict, dash};

const TIMELINE: &str = r#"<MPD id="news" type="dynamic" availabilityStartTime="1970-01-01T00:00:00Z" publishTime="2026-11-21T10:00:06Z" minimumUpdatePeriod="PT2S" timeShiftBufferDepth="PT60S">
<UTCTiming schemeIdUri="urn:mpeg:dash:utc:http-iso:2014" value="/time"/>
<PatchLocation ttl="32">timeline-1.mpp</PatchLocation>
<Period id="p0" start="PT0S"><AdaptationSet id="1" contentType="video" mimeType="video/mp4">
<Representation id="v0" codecs="avc1.64001f" bandwidth="1000000"><SegmentTemplate timescale="1000" media="$RepresentationID$/t$Time$.m4s" initialization="i.mp4">
<SegmentTimeline><S t="1795255200000" d="2000" r="1"/><S t="1795255204000" d="1960" r="0"/></SegmentTimeline></SegmentTemplate></Representation>
</AdaptationSet></Period></MPD>"#;

const LOW: &str = r#"<MPD id="news" type="dynamic" availabilityStartTime="1970-01-01T00:00:00Z" publishTime="2026-11-21T10:00:06Z" minimumUpdatePeriod="PT2S" timeShiftBufferDepth="PT60S">
<UTCTiming schemeIdUri="urn:mpeg:dash:utc:http-iso:2014" value="/time"/>
<ServiceDescription id="0"><Latency target="1500" min="750" max="6000"/></ServiceDescription>
<Period id="p0" start="PT0S"><AdaptationSet id="1" contentType="video" mimeType="video/mp4">
<ProducerReferenceTime id="1"/><Resync dT="1"/>
<Representation id="v0" codecs="avc1.64001f" bandwidth="1000000"><SegmentTemplate timescale="1" duration="2" startNumber="1" availabilityTimeOffset="1.8" availabilityTimeComplete="false" media="$RepresentationID$/$Number$.m4s" initialization="i.mp4"/></Representation>
<Representation id="v1" codecs="avc1.64001f" bandwidth="2000000"><SegmentTemplate timescale="1" duration="2" startNumber="1" availabilityTimeOffset="1.8" availabilityTimeComplete="false" media="$RepresentationID$/$Number$.m4s" initialization="i.mp4"/></Representation>
</AdaptationSet></Period></MPD>"#;

const PATCH: &str = r#"<Patch mpdId="news" originalPublishTime="2026-11-21T10:00:06Z" publishTime="2026-11-21T10:00:08Z">
<replace sel="/MPD/@publishTime">2026-11-21T10:00:08Z</replace>
<replace sel="/MPD/PatchLocation[1]"><PatchLocation ttl="32">timeline-2.mpp</PatchLocation></replace>
<add sel="/MPD/Period[@id='p0']/AdaptationSet[@id='1']/Representation[@id='v0']/SegmentTemplate/SegmentTimeline"><S t="1795255205960" d="2000" r="0"/></add></Patch>"#;

fn mpd(text: &str) -> Mpd {
    read::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

fn with(text: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from:?} is not in the text");
        text.replacen(from, to, 1)
    })
}

fn broken(verdict: &Verdict) -> Vec<&'static str> {
    verdict.tallies().filter(|tally| tally.broken > 0).map(|tally| tally.rule.name).collect()
}

fn alone(text: &str) -> Vec<&'static str> {
    let mut verdict = Verdict::of("manifest.mpd");
    dash::mpd::judge(&mpd(text), &mut verdict);
    broken(&verdict)
}

fn after(old: &str, new: &str) -> Vec<&'static str> {
    let mut verdict = Verdict::of("manifest.mpd");
    dash::succession::judge(&mpd(old), &mpd(new), &mut verdict);
    broken(&verdict)
}

fn patched(text: &str, whole: &str) -> Vec<&'static str> {
    let mut verdict = Verdict::of("timeline-1.mpp");
    let patch = patch::parse(text.as_bytes()).unwrap();
    if let Some(patched) = dash::patch::judge(&mpd(TIMELINE), &patch, &mut verdict) {
        dash::patch::compare(&patched, &mpd(whole), &mut verdict);
    }
    broken(&verdict)
}

/// The next version of [`TIMELINE`].
fn next() -> String {
    let added = "<S t=\"1795255204000\" d=\"1960\" r=\"0\"/><S t=\"1795255205960\" d=\"2000\"/>";
    with(TIMELINE, &[("10:00:06Z", "10:00:08Z"), ("<S t=\"1795255204000\" d=\"1960\" r=\"0\"/>", added)])
}

#[test]
fn good_texts_break_no_rule() {
    assert_eq!(alone(TIMELINE), [""; 0]);
    assert_eq!(alone(LOW), [""; 0]);
    assert_eq!(after(TIMELINE, &next()), [""; 0]);
    assert_eq!(after(LOW, LOW), [""; 0]);
    assert_eq!(patched(PATCH, &next()), [""; 0]);
    let lost =
        "</SegmentTimeline><FailoverContent valid=\"false\"><FCS t=\"1795255204000\" d=\"2000\"/></FailoverContent>";
    let gap = with(TIMELINE, &[("t=\"1795255204000\"", "t=\"1795255206000\""), ("</SegmentTimeline>", lost)]);
    assert_eq!(alone(&gap), [""; 0], "a loss that is declared is no hole");
    let slid = with(&next(), &[("<S t=\"1795255200000\" d=\"2000\" r=\"1\"/>", "<S t=\"1795255202000\" d=\"2000\"/>")]);
    assert_eq!(after(TIMELINE, &slid), [""; 0], "what expires leaves");
}

type Case = (&'static str, Vec<&'static str>);

fn one(rule: &'static str, text: &str, changes: &[(&str, &str)]) -> Case {
    (rule, alone(&with(text, changes)))
}

fn two(rule: &'static str, text: &str, changes: &[(&str, &str)]) -> Case {
    (rule, after(text, &with(text, changes)))
}

fn cases() -> Vec<Case> {
    let later = ("10:00:06Z", "10:00:08Z");
    let ended = [("type=\"dynamic\"", "type=\"static\""), (" minimumUpdatePeriod=\"PT2S\"", "")];
    vec![
        one("availability-start-missing", LOW, &[("availabilityStartTime", "other")]),
        one("publish-time-missing", LOW, &[("publishTime", "other")]),
        one("utc-timing-missing", LOW, &[("UTCTiming", "Other")]),
        ("static-without-duration", alone(&with(LOW, &ended))),
        one("static-with-updates", LOW, &[("type=\"dynamic\"", "mediaPresentationDuration=\"PT9S\"")]),
        one("period-id-missing", LOW, &[("<Period id=\"p0\"", "<Period")]),
        one("period-order", LOW, &[("</MPD>", "<Period id=\"p1\" start=\"PT0S\"/></MPD>")]),
        one("representation-id-repeated", LOW, &[("id=\"v1\"", "id=\"v0\"")]),
        one("representation-bandwidth", LOW, &[(" bandwidth=\"2000000\"", "")]),
        one("mime-type-missing", LOW, &[("contentType=\"video\" mimeType=\"video/mp4\"", "")]),
        one("codecs-missing", LOW, &[(" codecs=\"avc1.64001f\"", "")]),
        one("media-template-missing", LOW, &[("$RepresentationID$/$Number$.m4s", "one.m4s")]),
        one("availability-offset", LOW, &[("availabilityTimeOffset=\"1.8\"", "availabilityTimeOffset=\"2\"")]),
        one("service-description-missing", LOW, &[("Latency target=\"1500\"", "Other")]),
        one("latency-order", LOW, &[("target=\"1500\"", "target=\"500\"")]),
        one("producer-reference-time-missing", LOW, &[("ProducerReferenceTime", "Other")]),
        one("resync-missing", LOW, &[("Resync", "Other")]),
        one("update-period-long", TIMELINE, &[("PT2S", "PT10S")]),
        one("patch-ttl-missing", TIMELINE, &[("<PatchLocation ttl=\"32\">", "<PatchLocation>")]),
        one("timeline-overlap", TIMELINE, &[("t=\"1795255204000\"", "t=\"1795255203000\"")]),
        one("timeline-gap", TIMELINE, &[("t=\"1795255204000\"", "t=\"1795255206000\"")]),
        one("timeline-empty", TIMELINE, &[("d=\"1960\"", "d=\"0\"")]),
        one(
            "timeline-expired",
            TIMELINE,
            &[("publishTime=\"2026-11-21T10:00:06Z\"", "publishTime=\"2026-11-21T10:02:06Z\"")],
        ),
        two("mpd-id-changed", LOW, &[("MPD id=\"news\"", "MPD id=\"olds\"")]),
        two("availability-start-changed", LOW, &[("1970-01-01T00:00:00Z", "1970-01-01T00:00:01Z")]),
        two("period-start-changed", LOW, &[("start=\"PT0S\"", "start=\"PT1S\"")]),
        two("representations-changed", LOW, &[("id=\"v1\"", "id=\"v2\"")]),
        two("presentation-time-offset-changed", LOW, &[("startNumber=\"1\"", "startNumber=\"2\"")]),
        two("publish-time-went-back", LOW, &[("10:00:06Z", "10:00:04Z")]),
        two(
            "publish-time-kept",
            TIMELINE,
            &[("d=\"1960\" r=\"0\"/>", "d=\"1960\" r=\"0\"/><S t=\"1795255205960\" d=\"2000\"/>")],
        ),
        two("timeline-changed", TIMELINE, &[later, ("d=\"2000\" r=\"1\"/>", "d=\"1000\" r=\"3\"/>")]),
        ("timeline-went-back", after(&with(&next(), &[("10:00:08Z", "10:00:06Z")]), &with(TIMELINE, &[later]))),
        ("static-became-dynamic", after(&with(LOW, &ended), &with(LOW, &[later]))),
        ("patch-mpd-id", patched(&with(PATCH, &[("mpdId=\"news\"", "mpdId=\"olds\"")]), &next())),
        (
            "patch-misfit",
            patched(
                &with(
                    PATCH,
                    &[("originalPublishTime=\"2026-11-21T10:00:06Z\"", "originalPublishTime=\"2026-11-21T10:00:04Z\"")],
                ),
                &next(),
            ),
        ),
        ("patch-differs", patched(&with(PATCH, &[("d=\"2000\"", "d=\"2040\"")]), &next())),
    ]
}

#[test]
fn each_rule_is_found_broken_by_a_text_that_breaks_it() {
    let mut seen = Vec::new();
    for (rule, found) in cases() {
        // An end that is taken back takes segments with it.
        let expected = if rule == "timeline-went-back" { vec!["timeline-changed", rule] } else { vec![rule] };
        assert_eq!(found, expected);
        seen.push(rule);
    }
    let missing: Vec<_> =
        dash::all().into_iter().filter(|rule| !seen.contains(&rule.name)).map(|rule| rule.name).collect();
    assert_eq!(missing, [""; 0], "every rule has a text that breaks it");
}

#[test]
fn a_patch_that_is_not_understood_is_not_applied() {
    for selector in ["/MPD/Period[1]", "/MPD/Period[@id='p0']/AdaptationSet[@id='9']", "/MPD/Period[@id='p0", ""] {
        let patch = patch::parse(format!("<Patch><add sel=\"{selector}\"/></Patch>").as_bytes()).unwrap();
        assert_eq!(patch.apply(&mut mpd(TIMELINE)), None, "{selector}");
    }
    assert!(patch::parse(b"<MPD/>").is_err() && patch::parse(b"<Patch>").is_err() && patch::parse(b"").is_err());
}

#[test]
fn base_urls_locations_and_chunks_are_read() {
    let text = with(
        LOW,
        &[
            ("<UTCTiming", "<BaseURL>http://a/x?a=1&amp;b=2</BaseURL><BaseURL>http://b/</BaseURL><UTCTiming"),
            ("<ProducerReferenceTime", "<BaseURL>set/</BaseURL><ProducerReferenceTime"),
        ],
    );
    let read = mpd(&text);
    assert_eq!(read.base.as_deref(), Some("http://a/x?a=1&b=2"));
    assert_eq!(read.periods[0].representations[1].bases, ["set/"]);
    assert!(read.periods[0].representations[0].template.as_ref().unwrap().chunked);
    let patch = mpd(TIMELINE).patch.unwrap();
    assert_eq!((patch.uri.as_str(), patch.ttl.map(|t| t.decimal(3)).as_deref()), ("timeline-1.mpp", Some("32")));
}

proptest::proptest! {
    #[test]
    fn no_number_however_odd_makes_judging_panic(which in 0..120_usize, extreme in 0..5_usize) {
        let extreme = ["0", "18446744073709551615", "9223372036854775807", "-9223372036854775808", "1e9"][extreme];
        for text in [TIMELINE, LOW] {
            let digit = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
            let starts: Vec<usize> = (1..text.len()).filter(|at| digit(*at) && !digit(at - 1)).collect();
            let from = starts[which % starts.len()];
            let to = (from..).find(|at| !digit(*at)).unwrap_or(text.len());
            let odd = format!("{}{extreme}{}", &text[..from], &text[to..]);
            if read::parse(odd.as_bytes()).is_ok() {
                alone(&odd);
                after(text, &odd);
                after(&odd, text);
                patched(PATCH, &odd);
            }
        }
    }
}
