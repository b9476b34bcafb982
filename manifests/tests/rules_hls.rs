// SPDX-License-Identifier: Apache-2.0
//! Every rule of HLS playlists: a text that keeps it and one that breaks it, and it alone.
#![allow(clippy::unwrap_used)]

use headwater_manifests::hls::read::{self, Media, Multivariant, Playlist};
use headwater_manifests::rules::{Level, Verdict, hls};
use headwater_media::MediaDuration;

/// Segments of two seconds in four parts, the third target duration from the end without.
const LIVE: &str = "#EXTM3U
#EXT-X-VERSION:9
#EXT-X-TARGETDURATION:2
#EXT-X-MEDIA-SEQUENCE:10
#EXT-X-DISCONTINUITY-SEQUENCE:3
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12,HOLD-BACK=6,PART-HOLD-BACK=1.5
#EXT-X-PART-INF:PART-TARGET=0.5
#EXT-X-MAP:URI=\"init.mp4\"
#EXT-X-PROGRAM-DATE-TIME:2026-11-21T10:00:00.000Z
#EXTINF:2,
10.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-11-21T10:00:02.000Z
#EXTINF:2,
11.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-11-21T10:00:04.000Z
#EXTINF:2,
12.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-11-21T10:00:06.000Z
#EXTINF:2,
13.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-11-21T10:00:08.000Z
#EXTINF:2,
14.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-11-21T10:00:10.000Z
#EXT-X-PART:DURATION=0.5,URI=\"15.0.m4s\",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.5,URI=\"15.1.m4s\"
#EXT-X-PART:DURATION=0.5,URI=\"15.2.m4s\"
#EXT-X-PART:DURATION=0.5,URI=\"15.3.m4s\"
#EXTINF:2,
15.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-11-21T10:00:12.000Z
#EXT-X-PART:DURATION=0.5,URI=\"16.0.m4s\",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.5,URI=\"16.1.m4s\"
#EXT-X-PART:DURATION=0.5,URI=\"16.2.m4s\"
#EXT-X-PART:DURATION=0.5,URI=\"16.3.m4s\"
#EXTINF:2,
16.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-11-21T10:00:14.000Z
#EXT-X-PART:DURATION=0.5,URI=\"17.0.m4s\",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.5,URI=\"17.1.m4s\"
#EXT-X-PART:DURATION=0.5,URI=\"17.2.m4s\"
#EXT-X-PART:DURATION=0.5,URI=\"17.3.m4s\"
#EXTINF:2,
17.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-11-21T10:00:16.000Z
#EXT-X-PART:DURATION=0.5,URI=\"18.0.m4s\",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.5,URI=\"18.1.m4s\"
#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"18.2.m4s\"
#EXT-X-RENDITION-REPORT:URI=\"../a0/media.m3u8\",LAST-MSN=18,LAST-PART=1
";

const LADDER: &str = "#EXTM3U
#EXT-X-VERSION:6
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"aac\",NAME=\"en\",DEFAULT=YES,AUTOSELECT=YES,URI=\"a0/media.m3u8\"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"aac\",NAME=\"de\",AUTOSELECT=YES,URI=\"a1/media.m3u8\"
#EXT-X-STREAM-INF:BANDWIDTH=1000000,AVERAGE-BANDWIDTH=900000,CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=640x360,FRAME-RATE=25.000,AUDIO=\"aac\"
v0/media.m3u8
#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=300000,CODECS=\"avc1.64001f\",RESOLUTION=640x360,URI=\"v0/iframes.m3u8\"
";

fn media(text: &str) -> Media {
    match read::parse(text.as_bytes()) {
        Ok(Playlist::Media(media)) => *media,
        other => panic!("expected a media playlist, got {other:?}\n{text}"),
    }
}

fn ladder(text: &str) -> Multivariant {
    match read::parse(text.as_bytes()) {
        Ok(Playlist::Multivariant(list)) => list,
        other => panic!("expected a multivariant playlist, got {other:?}\n{text}"),
    }
}

/// `text` with changes that each change something.
fn with(text: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from:?} is not in the text");
        text.replacen(from, to, 1)
    })
}

/// The last part of the next version: another part, then the same hint moved.
fn next() -> String {
    let added = "#EXT-X-PART:DURATION=0.5,URI=\"18.1.m4s\"\n#EXT-X-PART:DURATION=0.5,URI=\"18.2.m4s\"\n";
    with(
        LIVE,
        &[("#EXT-X-PART:DURATION=0.5,URI=\"18.1.m4s\"\n", added), ("TYPE=PART,URI=\"18.2", "TYPE=PART,URI=\"18.3")],
    )
}

/// [`LIVE`] with the date of its first segment alone.
fn dated_once() -> String {
    let mut seen = false;
    let kept = LIVE.lines().filter(|line| !line.contains("DATE-TIME") || !std::mem::replace(&mut seen, true));
    kept.fold(String::new(), |text, line| text + line + "\n")
}

/// A version without its first segment.
fn slid() -> String {
    let first = "#EXT-X-PROGRAM-DATE-TIME:2026-11-21T10:00:00.000Z\n#EXTINF:2,\n10.m4s\n";
    with(LIVE, &[(first, ""), ("SEQUENCE:10", "SEQUENCE:11")])
}

fn broken(verdict: &Verdict) -> Vec<&'static str> {
    verdict.tallies().filter(|tally| tally.broken > 0).map(|tally| tally.rule.name).collect()
}

fn alone(text: &str) -> Vec<&'static str> {
    let mut verdict = Verdict::of("media.m3u8");
    hls::media::judge(&media(text), &mut verdict);
    broken(&verdict)
}

fn after(old: &str, new: &str) -> Vec<&'static str> {
    let mut verdict = Verdict::of("media.m3u8");
    hls::succession::judge(&media(old), &media(new), &mut verdict);
    broken(&verdict)
}

fn together(texts: &[&str]) -> Vec<&'static str> {
    let lists: Vec<Media> = texts.iter().map(|text| media(text)).collect();
    let named: Vec<_> = lists.iter().zip(["v0", "v1", "v2"]).collect();
    let all: Vec<_> =
        named.iter().map(|(list, address)| hls::renditions::Rendition { address, list, video: true }).collect();
    let mut verdict = Verdict::default();
    hls::renditions::judge(&all, MediaDuration::ZERO, &mut verdict);
    broken(&verdict)
}

fn reported(list: &str, before: &str, later: &str) -> Vec<&'static str> {
    let (before, later) = (media(before), media(later));
    let sibling = hls::renditions::Sibling { address: "a0/media.m3u8", before: Some(&before), after: Some(&later) };
    let mut verdict = Verdict::of("v0");
    let resolve = |uri: &str| uri.trim_start_matches("../").trim_start_matches("http://x/").to_owned();
    hls::renditions::reports(&media(list), &[sibling], &resolve, &mut verdict);
    broken(&verdict)
}

fn delta(base: &str, delta: &str, full: &str) -> Vec<&'static str> {
    let mut verdict = Verdict::of("media.m3u8");
    if let Some(merged) = hls::delta::judge(&media(base), &media(delta), &mut verdict) {
        hls::delta::compare(&merged, &media(full), &mut verdict);
    }
    broken(&verdict)
}

/// The delta of [`LIVE`]: everything up to segment 11 skipped.
fn skipping() -> String {
    let (head, rest) = LIVE.split_once("#EXT-X-MAP").unwrap();
    let (_, kept) = rest.split_once("11.m4s\n").unwrap();
    format!("{head}#EXT-X-SKIP:SKIPPED-SEGMENTS=2\n#EXT-X-MAP:URI=\"init.mp4\"\n{kept}")
}

fn shown(text: &str) -> Vec<&'static str> {
    let mut verdict = Verdict::of("multivariant.m3u8");
    hls::multivariant::judge(&ladder(text), &mut verdict);
    broken(&verdict)
}

#[test]
fn good_texts_break_no_rule() {
    assert_eq!(alone(LIVE), [""; 0]);
    assert_eq!(alone(&skipping()), [""; 0]);
    assert_eq!(after(LIVE, &next()), [""; 0]);
    assert_eq!(after(LIVE, &slid()), [""; 0]);
    assert_eq!(together(&[LIVE, LIVE, &next()]), [""; 0]);
    assert_eq!(reported(LIVE, LIVE, &next()), [""; 0]);
    assert_eq!(delta(LIVE, &skipping(), LIVE), [""; 0]);
    assert_eq!(shown(LADDER), [""; 0]);
}

#[test]
fn a_plain_playlist_of_an_encoder_breaks_no_rule() {
    let plain = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:41\n\
                 #EXTINF:2.005333,\nseg41.ts\n#EXTINF:1.984000,\nseg42.ts\n";
    assert_eq!(alone(plain), [""; 0]);
    let mut verdict = Verdict::default();
    hls::media::judge(&media(plain), &mut verdict);
    let judged: Vec<_> = verdict.tallies().map(|tally| tally.rule.name).collect();
    let wanted = [
        "malformed-tag",
        "misplaced-tag",
        "repeated-tag",
        "target-duration-exceeded",
        "target-duration-missing",
        "version-too-low",
    ];
    assert_eq!(judged, wanted, "what is of low latency does not apply");
}

const FIRST_PART: &str = "URI=\"15.0.m4s\",INDEPENDENT=YES";
const HINT: &str = "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"18.2.m4s\"\n";
const TYPE_EVENT: (&str, &str) = ("#EXT-X-PART-INF", "#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-PART-INF");
const CONTROL_ENDED: (&str, &str) = ("CAN-BLOCK-RELOAD=YES,", "");

/// A rule, and what finds it broken.
type Case = (&'static str, Box<dyn Fn() -> Vec<&'static str>>);

fn change(rule: &'static str, changes: &'static [(&'static str, &'static str)]) -> Case {
    (rule, Box::new(move || alone(&with(LIVE, changes))))
}

fn cases_of_one_text() -> Vec<Case> {
    vec![
        change("malformed-tag", &[("DURATION:2", "DURATION:1.5")]),
        change("repeated-tag", &[("#EXT-X-PART-INF", "#EXT-X-TARGETDURATION:2\n#EXT-X-PART-INF")]),
        change(
            "misplaced-tag",
            &[(
                "#EXT-X-PART:DURATION=0.5,URI=\"15.1",
                "#EXT-X-MAP:URI=\"init.mp4\"\n#EXT-X-PART:DURATION=0.5,URI=\"15.1",
            )],
        ),
        ("target-duration-missing", Box::new(|| alone("#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:1\n#EXTINF:2,\n1.ts\n"))),
        ("target-duration-exceeded", Box::new(|| alone(&with(&plain(1, 6), &[("#EXTINF:2,\n3", "#EXTINF:2.5,\n3")])))),
        ("version-too-low", Box::new(|| alone(&with(&skipping(), &[("VERSION:9", "VERSION:8")])))),
        change("hold-back", &[(",HOLD-BACK=6", ",HOLD-BACK=5.9")]),
        change("can-skip-until", &[("CAN-SKIP-UNTIL=12", "CAN-SKIP-UNTIL=11")]),
        change("map-missing", &[("#EXT-X-MAP:URI=\"init.mp4\"\n", "")]),
        (
            "pdt-missing",
            Box::new(|| {
                let undated: Vec<&str> = LIVE.lines().filter(|l| !l.contains("DATE-TIME")).collect();
                alone(&format!("{}\n", undated.join("\n")))
            }),
        ),
        change("pdt-inconsistent", &[("10:00:08.000Z", "10:00:08.002Z")]),
        (
            "part-target-missing",
            Box::new(|| {
                let text = with(LIVE, &[("#EXT-X-PART-INF:PART-TARGET=0.5\n", "")]);
                alone(&text)
            }),
        ),
        change("part-hold-back-missing", &[(",PART-HOLD-BACK=1.5", "")]),
        change("part-hold-back-short", &[("PART-HOLD-BACK=1.5", "PART-HOLD-BACK=1.25")]),
        change("can-block-reload", &[CONTROL_ENDED]),
        change("can-skip-missing", &[("CAN-SKIP-UNTIL=12,", "")]),
        change("part-too-long", &[("DURATION=0.5,URI=\"18.0", "DURATION=0.502,URI=\"18.0")]),
        (
            "part-too-short",
            Box::new(|| {
                let short = [("DURATION=0.5,URI=\"15.1", "DURATION=0.42,URI=\"15.1"), ("2,\n15.m4s", "1.92,\n15.m4s")];
                alone(&with(&dated_once(), &short))
            }),
        ),
        ("parts-differ-from-segment", Box::new(|| alone(&with(&dated_once(), &[("2,\n15.m4s", "1.9,\n15.m4s")])))),
        change(
            "parts-too-old",
            &[(
                "#EXTINF:2,\n14.m4s",
                "#EXT-X-PART:DURATION=0.5,URI=\"14.3.m4s\",INDEPENDENT=YES\n#EXT-X-PART:DURATION=0.5,URI=\"a\"\n#EXT-X-PART:DURATION=0.5,URI=\"b\"\n#EXT-X-PART:DURATION=0.5,URI=\"c\"\n#EXTINF:2,\n14.m4s",
            )],
        ),
        ("first-part-not-independent", Box::new(|| alone(&with(LIVE, &[(FIRST_PART, "URI=\"15.0.m4s\"")])))),
        change("hint-missing", &[(HINT, "")]),
        change(
            "hint-repeated",
            &[(
                HINT,
                "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"18.2.m4s\"\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"18.3.m4s\"\n",
            )],
        ),
        change("hint-is-listed", &[("URI=\"18.2.m4s\"", "URI=\"18.1.m4s\"")]),
        change("ended-with-hint", &[CONTROL_ENDED, ("LAST-PART=1\n", "LAST-PART=1\n#EXT-X-ENDLIST\n")]),
        change("ended-with-blocking", &[(HINT, "#EXT-X-ENDLIST\n")]),
    ]
}

fn cases_of_two_versions() -> Vec<Case> {
    let later = |changes: &'static [(&'static str, &'static str)]| -> Box<dyn Fn() -> Vec<&'static str>> {
        Box::new(move || after(LIVE, &with(&next(), changes)))
    };
    vec![
        ("target-duration-changed", later(&[("TARGETDURATION:2", "TARGETDURATION:3")])),
        ("part-target-changed", later(&[("PART-TARGET=0.5", "PART-TARGET=0.6")])),
        ("server-control-changed", later(&[("HOLD-BACK=6", "HOLD-BACK=7")])),
        ("media-sequence-went-back", Box::new(|| after(&slid(), &next()))),
        ("edge-went-back", Box::new(|| after(&next(), LIVE))),
        ("segment-changed", later(&[("#EXTINF:2,\n12.m4s", "#EXTINF:1.9,\n12.m4s")])),
        ("part-changed", later(&[("DURATION=0.5,URI=\"16.1", "DURATION=0.49,URI=\"16.1")])),
        ("hint-not-kept", later(&[("URI=\"18.2.m4s\"", "URI=\"18.2.other\"")])),
        (
            "discontinuity-sequence-changed",
            Box::new(|| after(LIVE, &with(&slid(), &[("DISCONTINUITY-SEQUENCE:3", "DISCONTINUITY-SEQUENCE:4")]))),
        ),
        ("playlist-type-slides", Box::new(|| after(&with(LIVE, &[TYPE_EVENT]), &with(&slid(), &[TYPE_EVENT])))),
        (
            "ended-goes-on",
            Box::new(|| {
                let ended = with(LIVE, &[(HINT, ""), ("LAST-PART=1\n", "LAST-PART=1\n#EXT-X-ENDLIST\n")]);
                after(&ended, LIVE)
            }),
        ),
        ("segments-too-few", Box::new(|| after(&plain(1, 5), &plain(2, 5)))),
    ]
}

/// A sliding playlist without parts.
fn plain(first: u64, count: u64) -> String {
    let head = format!("#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:{first}\n");
    (first..first + count).fold(head, |text, n| format!("{text}#EXTINF:2,\n{n}.ts\n"))
}

fn cases_across_renditions() -> Vec<Case> {
    let other = |changes: &'static [(&'static str, &'static str)]| -> Box<dyn Fn() -> Vec<&'static str>> {
        Box::new(move || together(&[LIVE, &with(LIVE, changes)]))
    };
    vec![
        ("target-duration-differs", other(&[("TARGETDURATION:2", "TARGETDURATION:3")])),
        ("server-control-differs", other(&[(",HOLD-BACK=6", ",HOLD-BACK=8")])),
        ("discontinuity-sequence-differs", other(&[("DISCONTINUITY-SEQUENCE:3", "DISCONTINUITY-SEQUENCE:2")])),
        ("pdt-differs", other(&[("10:00:04.000Z", "10:00:04.010Z")])),
        ("renditions-out-of-step", other(&[("10:00:16.000Z", "10:00:16.600Z")])),
        ("rendition-report-missing", Box::new(|| reported(&with(LIVE, &[("../a0", "../a1")]), LIVE, &next()))),
        ("rendition-report-uri", Box::new(|| reported(&with(LIVE, &[("\"../a0", "\"http://x/a0")]), LIVE, &next()))),
        ("rendition-report-incomplete", Box::new(|| reported(&with(LIVE, &[(",LAST-PART=1", "")]), LIVE, &next()))),
        (
            "rendition-report-ahead",
            Box::new(|| reported(&with(LIVE, &[("LAST-PART=1", "LAST-PART=3")]), LIVE, &next())),
        ),
        (
            "rendition-report-behind",
            Box::new(|| reported(&with(LIVE, &[("LAST-MSN=18", "LAST-MSN=16")]), LIVE, &next())),
        ),
    ]
}

fn cases_of_deltas() -> Vec<Case> {
    vec![
        (
            "delta-not-offered",
            Box::new(|| {
                let without = [("CAN-SKIP-UNTIL=12,", "")];
                delta(LIVE, &with(&skipping(), &without), LIVE)
            }),
        ),
        ("delta-base", Box::new(|| delta(&plain(11, 8), &skipping(), LIVE))),
        ("delta-too-recent", Box::new(|| delta(LIVE, &with(&skipping(), &[("UNTIL=12", "UNTIL=14")]), LIVE))),
        ("delta-differs", Box::new(|| delta(LIVE, &with(&skipping(), &[("14.m4s", "14b.m4s")]), LIVE))),
        (
            "delta-dateranges",
            Box::new(|| {
                let removed = [("SKIPPED-SEGMENTS=2", "SKIPPED-SEGMENTS=2,RECENTLY-REMOVED-DATERANGES=\"a\"")];
                delta(LIVE, &with(&skipping(), &removed), LIVE)
            }),
        ),
    ]
}

fn cases_of_ladders() -> Vec<Case> {
    let changed = |changes: &'static [(&'static str, &'static str)]| -> Box<dyn Fn() -> Vec<&'static str>> {
        Box::new(move || shown(&with(LADDER, changes)))
    };
    vec![
        ("variant-bandwidth", changed(&[("BANDWIDTH=1000000", "BANDWIDTH=800000")])),
        ("variant-codecs", changed(&[("CODECS=\"avc1.64001f,mp4a.40.2\",", "")])),
        ("variant-resolution", changed(&[("mp4a.40.2\",RESOLUTION=640x360", "mp4a.40.2\"")])),
        ("variant-frame-rate", changed(&[(",FRAME-RATE=25.000", "")])),
        ("variant-average-bandwidth", changed(&[("AVERAGE-BANDWIDTH=900000,", "")])),
        ("group-unknown", changed(&[("AUDIO=\"aac\"", "AUDIO=\"ac-3\"")])),
        ("group-defaults", changed(&[("NAME=\"de\"", "NAME=\"de\",DEFAULT=YES")])),
        ("group-names", changed(&[("NAME=\"de\"", "NAME=\"en\"")])),
        ("i-frame-playlists-missing", Box::new(|| shown(LADDER.split("#EXT-X-I-FRAME").next().unwrap()))),
    ]
}

/// Rules that cannot be broken alone, with what breaks beside them.
fn cases_with_company() -> Vec<(&'static str, Vec<&'static str>, Vec<&'static str>)> {
    let old = |text: String| alone(&text);
    let no_parts_16 = "#EXT-X-PART:DURATION=0.5,URI=\"16.0.m4s\",INDEPENDENT=YES\n#EXT-X-PART:DURATION=0.5,URI=\"16.1.m4s\"\n#EXT-X-PART:DURATION=0.5,URI=\"16.2.m4s\"\n#EXT-X-PART:DURATION=0.5,URI=\"16.3.m4s\"\n";
    vec![
        (
            "part-hold-back",
            old(with(LIVE, &[("PART-HOLD-BACK=1.5", "PART-HOLD-BACK=0.9")])),
            vec!["part-hold-back", "part-hold-back-short"],
        ),
        ("parts-out-of-order", old(with(LIVE, &[(no_parts_16, "")])), vec!["parts-missing", "parts-out-of-order"]),
        ("parts-missing", old(with(LIVE, &[(no_parts_16, "")])), vec!["parts-missing", "parts-out-of-order"]),
        ("removed-too-early", after(&plain(1, 3), &plain(3, 2)), vec!["removed-too-early", "segments-too-few"]),
    ]
}

#[test]
fn each_rule_is_found_broken_by_a_text_that_breaks_it_alone() {
    let groups = [
        cases_of_one_text(),
        cases_of_two_versions(),
        cases_across_renditions(),
        cases_of_deltas(),
        cases_of_ladders(),
    ];
    let mut seen = Vec::new();
    let mut wrong = Vec::new();
    for (rule, judge) in groups.into_iter().flatten() {
        let found = judge();
        if found != [rule] {
            wrong.push((rule, found));
        }
        seen.push(rule);
    }
    assert!(wrong.is_empty(), "each breaks its own rule alone: {wrong:#?}");
    for (rule, found, expected) in cases_with_company() {
        assert_eq!(found, expected, "{rule}");
        seen.push(rule);
    }
    let missing: Vec<_> =
        hls::all().into_iter().filter(|rule| !seen.contains(&rule.name)).map(|rule| rule.name).collect();
    assert_eq!(missing, [""; 0], "every rule has a text that breaks it");
}

#[test]
fn every_rule_has_a_name_of_its_own_and_says_what_it_wants() {
    let mut names: Vec<_> = hls::all().iter().map(|rule| rule.name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    for rule in hls::all() {
        assert!(rule.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{rule:?}");
        assert!(!rule.clause.is_empty() && !rule.says.is_empty(), "{rule:?}");
    }
}

#[test]
fn a_violation_says_where_and_what() {
    let mut verdict = Verdict::of("v0/media.m3u8");
    hls::media::judge(&media(&with(LIVE, &[("PART-HOLD-BACK=1.5", "PART-HOLD-BACK=1.25")])), &mut verdict);
    let violation = verdict.violations().next().unwrap();
    assert_eq!((violation.place.as_str(), violation.rule.level), ("v0/media.m3u8", Level::Should));
    assert_eq!((violation.expected.as_str(), violation.found.as_str()), ("at least 1.5 s", "1.25 s"));
}

/// Numbers that an honest server does not write.
const EXTREMES: [&str; 6] =
    ["0", "18446744073709551615", "9223372036854775807", "9223372036", "0.000000001", "99999999999999999999999"];

proptest::proptest! {
    #[test]
    fn no_number_however_odd_makes_judging_panic(which in 0..120_usize, extreme in 0..EXTREMES.len()) {
        let numbers: Vec<(usize, usize)> = spans_of_digits(LIVE);
        let (from, to) = numbers[which % numbers.len()];
        let odd = format!("{}{}{}", &LIVE[..from], EXTREMES[extreme], &LIVE[to..]);
        if let Ok(Playlist::Media(_)) = read::parse(odd.as_bytes()) {
            alone(&odd);
            after(LIVE, &odd);
            after(&odd, &odd);
            together(&[LIVE, &odd]);
            reported(&odd, &odd, LIVE);
            delta(&odd, &skipping(), &odd);
            delta(LIVE, &odd, LIVE);
        }
    }
}

fn spans_of_digits(text: &str) -> Vec<(usize, usize)> {
    let digit = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
    let starts = (0..text.len()).filter(|at| digit(*at) && (*at == 0 || !digit(at - 1)));
    starts.map(|from| (from, (from..).find(|at| !digit(*at)).unwrap_or(text.len()))).collect()
}
