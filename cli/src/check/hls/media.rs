// SPDX-License-Identifier: Apache-2.0
//! Headers, parts and segments of one rendition: there, as long as told, made of each other, on time's line.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use headwater_manifests::hls::read::{Map, Media, Part, Range, Segment};
use headwater_manifests::rules::Rule;
use url::Url;

use crate::check::boxes::{Span, Track};
use crate::check::client::{Ask, Client};
use crate::check::report::Findings;

/// Bytes of parts kept to compare with their segment.
const KEPT_BYTES_MAX: usize = 32 << 20;

static HEADER_MISSING: Rule =
    Rule::must("header-missing", "rfc8216bis 4.4.4.5", "a header that is named can be fetched");
static PART_MISSING: Rule = Rule::must("part-missing", "rfc8216bis 6.2.1", "a part that is listed can be fetched");
static SEGMENT_MISSING: Rule =
    Rule::must("segment-missing", "rfc8216bis 6.2.1, 6.2.2", "a segment that is listed can be fetched");
static PARTS_ARE_SEGMENT: Rule =
    Rule::must("segment-is-not-its-parts", "rfc8216bis 3.2, 4.4.4.9", "a segment's parts, end to end, are the segment");
static PART_DURATION: Rule = Rule::must(
    "part-duration-wrong",
    "rfc8216bis 4.4.4.9",
    "a part lasts as long as its DURATION says, to a millisecond",
);
static SEGMENT_DURATION: Rule = Rule::should(
    "segment-duration-wrong",
    "rfc8216bis 4.4.4.1",
    "a segment lasts as long as its EXTINF says, to a frame",
);
static INDEPENDENT: Rule = Rule::must(
    "independent-without-sync",
    "rfc8216bis 4.4.4.9, 4.4.2.1",
    "what is called independent begins with a sync sample",
);
static DEPENDENT: Rule = Rule::should(
    "sync-not-independent",
    "rfc8216bis 4.4.4.9",
    "a part of pictures that begins with a sync sample says so",
);
static DATE: Rule = Rule::must(
    "pdt-media-time",
    "rfc8216bis 6.2.4",
    "dates follow the media's own times, to a millisecond, between discontinuities",
);

/// The rules of this file.
pub(super) static RULES: &[&Rule] = &[
    &HEADER_MISSING,
    &PART_MISSING,
    &SEGMENT_MISSING,
    &PARTS_ARE_SEGMENT,
    &PART_DURATION,
    &SEGMENT_DURATION,
    &INDEPENDENT,
    &DEPENDENT,
    &DATE,
];

/// The media of one rendition, fetched in order.
#[derive(Debug, Default)]
pub(super) struct Reading {
    track: Track,
    /// Parts of the segments that are not compared yet, by number; `None` once they are too much.
    parts: BTreeMap<u64, Option<BytesMut>>,
    /// How many parts of each were taken.
    taken: BTreeMap<u64, usize>,
    /// Date less presentation time.
    pub(super) offset: Option<i128>,
    /// Highest bitrate of a segment.
    pub(super) peak_bits: u64,
    /// A segment and a part to look at more closely.
    pub(super) sample: Vec<Url>,
}

impl Reading {
    pub(super) fn is_video(&self) -> bool {
        self.track.is_video()
    }

    /// What comes next does not follow what came.
    pub(super) fn jump(&mut self) {
        self.track.jump();
        self.offset = None;
    }

    /// Takes what of `list` came since `from`, the first segment and part that were not there.
    pub(super) async fn take(
        &mut self,
        client: &Client,
        base: &Url,
        list: &Media,
        from: (u64, u64),
        findings: &mut Findings,
    ) {
        let numbered = list.segments.iter().chain(&list.open);
        for segment in numbered.filter(|segment| segment.sequence >= from.0) {
            let number = segment.sequence;
            if segment.discontinuity && !self.taken.contains_key(&number) {
                self.jump();
            }
            if segment.gap {
                self.jump();
                continue;
            }
            self.header(client, base, segment.map.as_ref(), findings).await;
            let begin = self.taken.get(&number).copied().unwrap_or(0);
            for index in begin..segment.parts.len() {
                self.part(client, base, segment, number, index, list.independent_segments, findings).await;
            }
            if !segment.uri.is_empty() {
                let followed = !segment.parts.is_empty();
                self.whole(client, base, segment, number, followed, list.independent_segments, findings).await;
            }
        }
        let edge = list.next_sequence();
        self.parts.retain(|number, _| *number >= edge);
        self.taken.retain(|number, _| *number >= edge.saturating_sub(1));
    }

    async fn header(&mut self, client: &Client, base: &Url, map: Option<&Map>, findings: &mut Findings) {
        let Some(map) = map else { return };
        let name = format!("{}{:?}", map.uri, map.byte_range);
        let Ok(url) = base.join(&map.uri) else { return };
        if self.track.knows(&name) {
            return;
        }
        let Some(bytes) = fetch(client, &url, map.byte_range, 0, &HEADER_MISSING, findings).await else { return };
        findings.count("headers");
        self.sample.retain(|known| *known != url);
        self.sample.insert(0, url);
        if let Some(why) = self.track.take_header(&name, &bytes, &mut findings.verdict) {
            findings.note(why);
        }
    }

    #[allow(clippy::too_many_arguments)]
    async fn part(
        &mut self,
        client: &Client,
        base: &Url,
        segment: &Segment,
        number: u64,
        index: usize,
        independent: bool,
        findings: &mut Findings,
    ) {
        self.taken.insert(number, index + 1);
        let part = &segment.parts[index];
        if part.gap {
            return self.jump();
        }
        let Ok(url) = base.join(&part.uri) else { return };
        // Without an offset a range follows the one before, of the same resource.
        let before: u64 = segment.parts[..index]
            .iter()
            .filter(|p| p.uri == part.uri)
            .filter_map(|p| p.byte_range)
            .map(|r| r.length_bytes)
            .sum();
        let bytes = fetch(client, &url, part.byte_range, before, &PART_MISSING, findings).await;
        let kept = self.parts.entry(number).or_insert_with(|| (index == 0).then(BytesMut::new));
        let Some(bytes) = bytes else {
            *kept = None;
            return self.jump();
        };
        findings.count("parts");
        match kept {
            Some(all) if all.len() + bytes.len() <= KEPT_BYTES_MAX => all.extend_from_slice(&bytes),
            _ => *kept = None,
        }
        let Some(span) = self.track.take(&part.uri, &bytes, &mut findings.verdict) else { return };
        let error = span.duration() - i128::from(part.duration.nanos());
        findings.verdict.judge(&PART_DURATION, error.abs() <= 1_100_000, || {
            (
                format!("{} s of {}", part.duration.decimal(5), part.uri),
                format!("{:.6} s in its boxes", span.duration() as f64 / 1e9),
            )
        });
        self.independence(part, index, span, independent, findings);
        let earlier: i128 = segment.parts[..index].iter().map(|p| i128::from(p.duration.nanos())).sum();
        if index == 0 {
            self.date(segment, earlier, &part.uri, span, findings);
        }
    }

    fn independence(&self, part: &Part, index: usize, span: Span, independent: bool, findings: &mut Findings) {
        if part.independent || (independent && index == 0) {
            findings.verdict.judge(&INDEPENDENT, span.sync, || ("a sync sample first", part.uri.clone()));
        }
        if self.is_video() && span.sync {
            findings.verdict.judge(&DEPENDENT, part.independent, || ("INDEPENDENT=YES", part.uri.clone()));
        }
    }

    fn date(&mut self, segment: &Segment, earlier: i128, uri: &str, span: Span, findings: &mut Findings) {
        let Some(date) = segment.program_date_time else { return };
        let offset = i128::from(date.nanos()) + earlier - i128::from(span.shown.nanos());
        let known = *self.offset.get_or_insert(offset);
        let error = offset - known;
        findings.verdict.judge(&DATE, error.abs() <= 1_500_000, || {
            ("the date that the media's time gives".to_owned(), format!("{:.6} s off at {uri}", error as f64 / 1e9))
        });
    }

    #[allow(clippy::too_many_arguments)]
    async fn whole(
        &mut self,
        client: &Client,
        base: &Url,
        segment: &Segment,
        number: u64,
        in_parts: bool,
        independent: bool,
        findings: &mut Findings,
    ) {
        let Ok(url) = base.join(&segment.uri) else { return };
        let Some(bytes) = fetch(client, &url, segment.byte_range, 0, &SEGMENT_MISSING, findings).await else {
            return self.jump();
        };
        findings.count("segments");
        if segment.byte_range.is_none() {
            self.sample.truncate(1);
            self.sample.push(url);
        }
        let nanos = u64::try_from(segment.duration.nanos()).unwrap_or(0);
        if nanos >= 500_000_000 {
            self.peak_bits = self.peak_bits.max((bytes.len() as u64).saturating_mul(8_000_000_000) / nanos);
        }
        if in_parts {
            if let Some(Some(parts)) = self.parts.remove(&number)
                && self.taken.get(&number) == Some(&segment.parts.len())
            {
                findings.verdict.judge(&PARTS_ARE_SEGMENT, parts == bytes, || {
                    (
                        format!("{} bytes of {}", bytes.len(), segment.uri),
                        format!("{} bytes of parts, or others", parts.len()),
                    )
                });
            }
            return;
        }
        let Some(span) = self.track.take(&segment.uri, &bytes, &mut findings.verdict) else { return };
        let error = span.duration() - i128::from(segment.duration.nanos());
        findings.verdict.judge(&SEGMENT_DURATION, error.abs() <= span.frame + 2_000_000, || {
            (
                format!("{} s of {}", segment.duration.decimal(5), segment.uri),
                format!("{:.6} s in its boxes", span.duration() as f64 / 1e9),
            )
        });
        if independent {
            findings.verdict.judge(&INDEPENDENT, span.sync, || ("a sync sample first", segment.uri.clone()));
        }
        self.date(segment, 0, &segment.uri, span, findings);
    }
}

/// Fetches an object or a range of it; what cannot be had breaks `rule`.
async fn fetch(
    client: &Client,
    url: &Url,
    range: Option<Range>,
    before: u64,
    rule: &'static Rule,
    findings: &mut Findings,
) -> Option<Bytes> {
    let ask = match range {
        Some(range) => Ask::media().range(range.offset_bytes.unwrap_or(before), range.length_bytes),
        None => Ask::media(),
    };
    let answer = client.ask(url, ask).await;
    let fault = match &answer {
        Ok(answer) if answer.is_ok() => None,
        Ok(answer) => Some(format!("{}{}", answer.status, if answer.broken { ", broken off" } else { "" })),
        Err(error) => Some(error.to_string()),
    };
    findings
        .verdict
        .judge(rule, fault.is_none(), || ("200", format!("{} of {url}", fault.clone().unwrap_or_default())));
    let answer = answer.ok().filter(|a| a.is_ok())?;
    match range {
        // A server may send the whole: what was asked for is in it.
        Some(range) if answer.status.as_u16() == 200 => {
            let from = usize::try_from(range.offset_bytes.unwrap_or(before)).ok()?;
            let to = from.checked_add(usize::try_from(range.length_bytes).ok()?)?;
            (to <= answer.body.len()).then(|| answer.body.slice(from..to))
        }
        _ => Some(answer.body),
    }
}
