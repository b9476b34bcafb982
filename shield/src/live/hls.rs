// SPDX-License-Identifier: Apache-2.0
//! HLS media playlists, line by line, any origin's: what is not understood is skipped, never refused.

use std::time::Duration;

use headwater_media::UtcTime;

use super::next::Names;
use super::progress::{Hls, Position, Progress};

/// Names longer than this are not looked at.
const NAME_BYTES_MAX: usize = 2_048;
/// No target or date goes beyond this: a century.
const SECONDS_MAX: u64 = 100 * 366 * 86_400;

/// Reads a text that begins with `#EXTM3U`; `None` if it is no media playlist.
pub(super) fn scan(text: &[u8]) -> Option<Progress> {
    let mut target = None;
    let mut at = Hls::default();
    let mut segments = 0u64;
    let mut progress = Progress {
        position: Position::Hls(at),
        target: Duration::ZERO,
        period: None,
        part_target: None,
        can_block_reload: false,
        names: Names::default(),
    };
    let mut duration = Duration::ZERO;
    let (mut last, mut before_last, mut last_part, mut before_last_part) = (None, None, None, None);
    let mut hint = None;
    let (mut date, mut since_date) = (None, Duration::ZERO);
    for line in text.split(|byte| matches!(byte, b'\n' | b'\r')) {
        let line = line.trim_ascii();
        let Some(tag) = line.strip_prefix(b"#") else {
            if !line.is_empty() {
                segments += 1;
                at.parts = 0;
                since_date = since_date.saturating_add(duration);
                progress.period = Some(duration).filter(|duration| !duration.is_zero());
                duration = Duration::ZERO;
                (before_last, last) = (last, Some(line));
            }
            continue;
        };
        let (name, value) = match tag.iter().position(|byte| *byte == b':') {
            Some(colon) => (&tag[..colon], &tag[colon + 1..]),
            None => (tag, &b""[..]),
        };
        match name {
            b"EXTINF" => duration = seconds(value.split(|byte| *byte == b',').next().unwrap_or_default()),
            b"EXT-X-PART" => {
                at.parts += 1;
                (before_last_part, last_part) = (last_part, attribute(value, b"URI"));
            }
            b"EXT-X-PROGRAM-DATE-TIME" => {
                // Many playlists date every segment: only the last is read.
                (date, since_date) = (Some(value), Duration::ZERO);
            }
            b"EXT-X-TARGETDURATION" => target = Some(seconds(value)),
            b"EXT-X-MEDIA-SEQUENCE" => at.first = number(value),
            b"EXT-X-DISCONTINUITY-SEQUENCE" => at.discontinuities = at.discontinuities.saturating_add(number(value)),
            b"EXT-X-DISCONTINUITY" => at.discontinuities = at.discontinuities.saturating_add(1),
            b"EXT-X-SKIP" => {
                segments = segments.saturating_add(attribute(value, b"SKIPPED-SEGMENTS").map_or(0, number))
            }
            b"EXT-X-PART-INF" => progress.part_target = attribute(value, b"PART-TARGET").map(seconds),
            b"EXT-X-SERVER-CONTROL" => {
                progress.can_block_reload = attribute(value, b"CAN-BLOCK-RELOAD") == Some(&b"YES"[..]);
            }
            b"EXT-X-PRELOAD-HINT" if attribute(value, b"TYPE") == Some(&b"PART"[..]) => hint = attribute(value, b"URI"),
            b"EXT-X-ENDLIST" => at.ended = true,
            b"EXT-X-STREAM-INF" | b"EXT-X-MEDIA" | b"EXT-X-I-FRAME-STREAM-INF" => return None,
            _ => {}
        }
    }
    let date = date.and_then(|date| std::str::from_utf8(date).ok()).and_then(UtcTime::parse);
    at.date_ms = date.map(|date| date.millis().saturating_add(millis(since_date)));
    at.next = at.first.saturating_add(segments);
    progress.target = target?;
    progress.position = Position::Hls(at);
    let listed = [hint, last_part, before_last_part, last, before_last].map(|line| line.and_then(name_of));
    let [hint, last_part, before_last_part, last, before_last] = listed;
    progress.names = Names { hint, last_part, before_last_part, last, before_last, templates: Vec::new() };
    Some(progress)
}

fn name_of(line: &[u8]) -> Option<Box<str>> {
    std::str::from_utf8(line).ok().filter(|name| name.len() <= NAME_BYTES_MAX).map(Into::into)
}

/// The value of an attribute, without its quotes. An attribute list is read from its start, so that a name inside a
/// quoted value is not taken for one.
fn attribute<'a>(mut list: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    while !list.is_empty() {
        let equals = list.iter().position(|byte| *byte == b'=')?;
        let name = list[..equals].trim_ascii();
        let rest = &list[equals + 1..];
        let (value, rest) = match rest.strip_prefix(b"\"") {
            Some(quoted) => {
                let end = quoted.iter().position(|byte| *byte == b'"').unwrap_or(quoted.len());
                let after = &quoted[end..];
                let comma = after.iter().position(|byte| *byte == b',').map_or(after.len(), |comma| comma + 1);
                (&quoted[..end], &after[comma..])
            }
            None => {
                let end = rest.iter().position(|byte| *byte == b',').unwrap_or(rest.len());
                (rest[..end].trim_ascii(), &rest[(end + 1).min(rest.len())..])
            }
        };
        if name == wanted {
            return Some(value);
        }
        list = rest;
    }
    None
}

/// The digits that a text begins with.
fn number(text: &[u8]) -> u64 {
    let digits = text.trim_ascii_start().iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0u64, |number, digit| number.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
}

/// A decimal number of seconds, to the microsecond.
fn seconds(text: &[u8]) -> Duration {
    let text = text.trim_ascii();
    let whole = number(text).min(SECONDS_MAX);
    let fraction = text.iter().skip_while(|byte| byte.is_ascii_digit()).skip_while(|byte| **byte == b'.');
    let fraction = fraction.take(6).take_while(|byte| byte.is_ascii_digit());
    let (micros, _) =
        fraction.fold((0u64, 100_000), |(micros, unit), digit| (micros + u64::from(digit - b'0') * unit, unit / 10));
    Duration::from_secs(whole) + Duration::from_micros(micros)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::progress::scan;
    use super::*;

    fn at(progress: &Progress) -> Hls {
        match progress.position {
            Position::Hls(at) => at,
            Position::Dash(_) => panic!("expected HLS"),
        }
    }

    #[test]
    fn a_low_latency_playlist_is_read_to_its_edge() {
        let text = br#"#EXTM3U
#EXT-X-VERSION:10
#EXT-X-TARGETDURATION:4
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.0,CAN-SKIP-UNTIL=24.0
#EXT-X-PART-INF:PART-TARGET=0.33334
#EXT-X-MEDIA-SEQUENCE:266
#EXT-X-DISCONTINUITY-SEQUENCE:2
#EXT-X-MAP:URI="init.mp4"
#EXT-X-PROGRAM-DATE-TIME:2019-02-14T02:13:36.106Z
#EXTINF:4.00008,
fileSequence266.mp4
#EXT-X-DISCONTINUITY
#EXT-X-PART:DURATION=0.33334,URI="filePart267.0.mp4",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.33334,URI="filePart267.1.mp4"
#EXTINF:4.00008,
fileSequence267.mp4
#EXT-X-PART:DURATION=0.33334,URI="filePart268.0.mp4",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.33334,URI="filePart268.1.mp4"
#EXT-X-PRELOAD-HINT:TYPE=MAP,URI="next-init.mp4"
#EXT-X-PRELOAD-HINT:TYPE=PART,URI="filePart268.2.mp4"
#EXT-X-RENDITION-REPORT:URI="../1M/waitForMSN.php",LAST-MSN=268,LAST-PART=1
"#;
        let progress = scan(text).unwrap();
        let date = UtcTime::parse("2019-02-14T02:13:44.106Z").unwrap().millis();
        assert_eq!(
            at(&progress),
            Hls { first: 266, next: 268, parts: 2, discontinuities: 3, ended: false, date_ms: Some(date) }
        );
        assert_eq!(progress.target, Duration::from_secs(4));
        assert_eq!(progress.part_target, Some(Duration::from_micros(333_340)));
        assert!(progress.can_block_reload);
        let names = &progress.names;
        assert_eq!(names.hint.as_deref(), Some("filePart268.2.mp4"));
        assert_eq!(
            (names.last.as_deref(), names.before_last.as_deref()),
            (Some("fileSequence267.mp4"), Some("fileSequence266.mp4"))
        );
        assert_eq!(names.last_part.as_deref(), Some("filePart268.1.mp4"));
    }

    #[test]
    fn skipped_segments_count() {
        let text = b"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:100\n#EXT-X-SKIP:SKIPPED-SEGMENTS=12\n#EXTINF:4,\na.mp4\n";
        assert_eq!(at(&scan(text).unwrap()).next, 113);
    }

    #[test]
    fn what_ffmpeg_writes_is_read_to_its_end() {
        let text = include_bytes!("../../../tests/vectors/hls/hi/index.m3u8");
        let progress = scan(text).unwrap();
        assert_eq!(at(&progress), Hls { first: 0, next: 3, ended: true, ..Hls::default() });
        assert_eq!(progress.target, Duration::from_secs(2));
        assert_eq!(scan(include_bytes!("../../../tests/vectors/hls/master.m3u8")), None);
    }

    #[test]
    fn line_ends_and_odd_texts_do_no_harm() {
        let text = b"\xEF\xBB\xBF#EXTM3U\r\n#EXT-X-TARGETDURATION:6\r\n#EXT-X-MEDIA-SEQUENCE:7\r\n\r\n#EXTINF:6.006,title, with comma\r\n s7.ts \r\n#EXT-X-PART:URI=\"x,INDEPENDENT=YES\r\n";
        let progress = scan(text).unwrap();
        assert_eq!((at(&progress).next, at(&progress).parts), (8, 1));
        assert_eq!(progress.names.last.as_deref(), Some("s7.ts"));
        for odd in [&b"#EXTM3U"[..], b"", b"<html>", b"#EXTM3U\n#EXTINF:1,\na.ts\n"] {
            assert_eq!(scan(odd), None);
        }
        let huge = b"#EXTM3U\n#EXT-X-TARGETDURATION:99999999999999999999999\n#EXT-X-MEDIA-SEQUENCE:99999999999999999999999\n#EXTINF:1e99,\na\n";
        assert_eq!(at(&scan(huge).unwrap()).next, u64::MAX);
    }

    #[test]
    fn an_attribute_is_not_found_inside_another_ones_value() {
        assert_eq!(attribute(b"A=\"URI=x,URI=y\",URI=\"z\"", b"URI"), Some(&b"z"[..]));
        assert_eq!(attribute(b"URI", b"URI"), None);
        assert_eq!(attribute(b"URI=", b"URI"), Some(&b""[..]));
        assert_eq!(attribute(b"B=1, URI=abc ,C", b"URI"), Some(&b"abc"[..]));
    }

    #[test]
    fn seconds_are_read_to_the_microsecond() {
        for (text, micros) in [
            ("4", 4_000_000),
            ("0.33334", 333_340),
            (" 6.006 ", 6_006_000),
            (".5", 500_000),
            ("x", 0),
            ("1.2345678", 1_234_567),
        ] {
            assert_eq!(seconds(text.as_bytes()), Duration::from_micros(micros), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(tail in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = scan(&tail);
            let _ = scan(&[b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n", &tail[..]].concat());
        }

        #[test]
        fn lines_in_any_order_are_read(lines in prop::collection::vec("(#EXT(INF|-X-(PART|SKIP|MEDIA-SEQUENCE|PRELOAD-HINT|PROGRAM-DATE-TIME|DISCONTINUITY|ENDLIST)):[A-Z=\",0-9.:TZ-]{0,30}|[a-z0-9.]{0,9})", 0..40)) {
            let text = format!("#EXTM3U\n#EXT-X-TARGETDURATION:1\n{}", lines.join("\n"));
            let progress = scan(text.as_bytes()).unwrap();
            prop_assert_eq!(progress.against(&progress), super::super::Step::Same);
        }
    }
}
