// SPDX-License-Identifier: Apache-2.0
//! Random windows: what a client merges from a delta is the full playlist, and an independent reader knows every tag.

mod common;

use common::{FIRST, gap, input, open, report, segment, targets, utf8, window};
use headwater_manifests::hls::media::{self, Input, Skip};
use headwater_manifests::hls::read::{self, Media, Playlist};
use headwater_media::{Generation, OpenSegment, Segment, Window};
use proptest::prelude::*;
use quick_m3u8::config::ParsingOptionsBuilder;
use quick_m3u8::{HlsLine, Reader};

fn read_media(text: impl AsRef<[u8]>) -> Media {
    match read::parse(text.as_ref()) {
        Ok(Playlist::Media(media)) => *media,
        other => panic!("expected a media playlist, got {other:?}"),
    }
}

/// What befalls each segment of a channel, from [`FIRST`] on.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Whole,
    Lost,
    NewGeneration,
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = prop_oneof![8 => Just(Fate::Whole), 1 => Just(Fate::Lost), 1 => Just(Fate::NewGeneration)];
    prop::collection::vec(fate, 1..60)
}

fn channel(fates: &[Fate]) -> Vec<Segment> {
    let (mut generation, mut sequence) = (0, 0);
    let mut segments = Vec::new();
    for (number, fate) in (FIRST..).zip(fates) {
        let discontinuity = matches!(fate, Fate::NewGeneration);
        generation += u32::from(discontinuity);
        sequence += u64::from(discontinuity);
        let segment = if matches!(fate, Fate::Lost) { gap(number) } else { segment(number) };
        let generation = Generation(generation);
        segments.push(Segment { generation, discontinuity, discontinuity_sequence: sequence, ..segment });
    }
    segments
}

fn opened(segments: &[Segment], parts: u32) -> Option<OpenSegment> {
    let last = segments.last()?;
    let next = open(last.number.0 + 1, parts);
    let (generation, discontinuity_sequence) = (last.generation, last.discontinuity_sequence);
    (parts > 0).then_some(OpenSegment { generation, discontinuity_sequence, ..next })
}

/// A strict client (rfc8216bis, 6.3.7): the skipped segments come from its copy, parts that old are forgotten.
fn merge(copy: &Media, delta: Media) -> Media {
    let skipped = delta.media_sequence..delta.media_sequence + delta.skipped_segments;
    let mut merged = Media { skipped_segments: 0, segments: Vec::new(), ..delta.clone() };
    for segment in copy.segments.iter().filter(|segment| skipped.contains(&segment.sequence)) {
        merged.segments.push(read::Segment { parts: Vec::new(), ..segment.clone() });
    }
    assert_eq!(merged.segments.len() as u64, delta.skipped_segments, "the copy holds what was skipped");
    merged.segments.extend(delta.segments);
    merged
}

fn assert_known(text: &[u8]) {
    let text = utf8(text);
    let mut reader = Reader::from_str(&text, ParsingOptionsBuilder::new().with_parsing_for_all_tags().build());
    loop {
        match reader.read_line() {
            Ok(Some(HlsLine::KnownTag(_) | HlsLine::Uri(_))) => {}
            Ok(None) => break,
            other => panic!("expected a known tag, got {other:?}"),
        }
    }
}

fn slid(segments: &[Segment], open: Option<OpenSegment>, length: usize) -> Window {
    let from = segments.len().saturating_sub(length);
    window(segments[from..].iter().cloned(), open)
}

proptest! {
    #[test]
    fn a_merged_delta_is_the_full_playlist(fates in fates(), length in 6_usize..40, behind in 0_usize..3,
                                           parts in 0_u32..4, second in any::<bool>()) {
        let segments = channel(&fates);
        let earlier = &segments[..segments.len().saturating_sub(behind).max(1)];
        let (targets, reports) = (targets(), [report("audio", FIRST, Some(0))]);
        let old = slid(earlier, opened(earlier, 1), length);
        let now = slid(&segments, opened(&segments, parts), length);
        let copy = read_media(media::render(&input(&old, &targets, &[]), Skip::None));
        let full = media::render(&input(&now, &targets, &reports), Skip::None);
        let skip = if second { Skip::V2 } else { Skip::V1 };
        let delta = media::render(&input(&now, &targets, &reports), skip);
        prop_assert!(delta.len() <= full.len());
        assert_known(&delta);
        let delta = read_media(delta);
        prop_assert_eq!(delta.ignored, 0);
        let version = if delta.skipped_segments == 0 { 9 } else { if second { 10 } else { 9 } };
        prop_assert_eq!(delta.version, Some(version));
        let merged = merge(&copy, delta);
        prop_assert_eq!(Media { version: Some(9), ..merged }, read_media(full));
    }

    #[test]
    fn every_tag_is_known_to_an_independent_reader(fates in fates(), parts in 0_u32..4, ended in any::<bool>()) {
        let segments = channel(&fates);
        let window = window(segments.iter().cloned(), opened(&segments, parts));
        let (targets, reports) = (targets(), [report("audio", FIRST, Some(0)), report("sub", FIRST, None)]);
        let input = Input { ended, pending_header: Some(Generation(9)), ..input(&window, &targets, &reports) };
        for text in [media::render(&input, Skip::None), media::render_plain(&input), media::render_iframes(&input, Skip::V1)] {
            assert_known(&text);
            let read = read_media(&text);
            prop_assert_eq!(read.ignored, 0);
            prop_assert_eq!(read.ended, ended);
        }
    }

    #[test]
    fn a_discontinuity_sequence_is_the_segments_own_wherever_the_window_begins(fates in fates(), length in 1_usize..40) {
        let segments = channel(&fates);
        let from = segments.len().saturating_sub(length);
        let window = slid(&segments, None, length);
        let read = read_media(media::render(&input(&window, &targets(), &[]), Skip::None));
        let mut sequence = read.discontinuity_sequence;
        for (segment, read) in segments[from..].iter().zip(&read.segments) {
            sequence += u64::from(read.discontinuity);
            prop_assert_eq!(sequence, segment.discontinuity_sequence);
            prop_assert_eq!(read.sequence, segment.number.0);
        }
    }

    #[test]
    fn parts_stand_only_within_three_targets_of_the_end(fates in fates(), parts in 0_u32..4) {
        let segments = channel(&fates);
        let window = slid(&segments, opened(&segments, parts), 60);
        let read = read_media(media::render(&input(&window, &targets(), &[]), Skip::None));
        let mut after_millis = u64::from(parts) * 500;
        for segment in read.segments.iter().rev() {
            prop_assert_eq!(segment.parts.is_empty(), after_millis >= 6_000 || segment.gap);
            after_millis += 2_000;
        }
    }
}
