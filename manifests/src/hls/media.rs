// SPDX-License-Identifier: Apache-2.0
//! Media playlists: with parts, without, and of I-frames alone (rfc8216bis, 4.4.3 to 4.4.5).
//!
//! A playlist is a function of the window: no clock, no arrival order. It is rendered once for each part and the bytes
//! serve every waiter; a delta touches the recent segments only, however long the window.
//!
//! m3u8-rs writes the skeleton and the segments. Header tags that it lacks are spliced in behind its header, which for
//! the same playlist without segments is an exact prefix; what follows the last segment is appended.

mod position;

pub use position::{Position, TooFar};

use bytes::Bytes;
use headwater_media::{Generation, MediaDuration, OpenSegment, PartIndex, Segment, SegmentNumber, TrackId, Window};
use m3u8_rs::{MediaPlaylist, MediaSegment};

use super::tags;
use crate::targets::Targets;

/// What a media playlist is rendered from.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// What exists.
    pub window: &'a Window,
    /// The channel's promises.
    pub targets: &'a Targets,
    /// `PART-TARGET`; `None` for a track that is published in whole segments.
    pub part_target: Option<MediaDuration>,
    /// What the other playlists of the channel hold now.
    pub reports: &'a [Report],
    /// Nothing will follow.
    pub ended: bool,
    /// The part to announce.
    pub hint: Hint,
    /// A header that the next part will need and that can be fetched already.
    pub pending_header: Option<Generation>,
}

/// The part that `EXT-X-PRELOAD-HINT` announces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Hint {
    /// The one after the newest: the next of the open segment, or the first of the segment after the last complete one.
    #[default]
    Next,
    /// This one, where the owner knows better: the open segment is full and the next part begins another.
    Part(SegmentNumber, PartIndex),
    /// None: what comes next is not known.
    None,
}

/// What another playlist of the channel holds: `EXT-X-RENDITION-REPORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Its track.
    pub track: TrackId,
    /// Its newest segment, complete or open.
    pub last: SegmentNumber,
    /// The newest part of that segment; `None` for a track without parts.
    pub part: Option<PartIndex>,
}

impl Report {
    /// The report on `track`, whose playlist shows `window`; `None` while it lists nothing.
    pub fn of(track: TrackId, window: &Window) -> Option<Self> {
        let (last, part) = match (window.open(), window.last()) {
            (Some(open), _) if !open.parts.is_empty() => (open.number, open.parts.last().map(|p| p.index)),
            (_, Some(last)) => (last.number, last.parts.last().map(|p| p.index)),
            _ => return None,
        };
        Some(Self { track, last, part })
    }
}

/// Whether older segments may be left out: `_HLS_skip`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Skip {
    /// The full playlist.
    #[default]
    None,
    /// `YES`: a delta that leaves out segments.
    V1,
    /// `v2`: a delta that may leave out date ranges too. We list none, so none is ever left out or removed.
    V2,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum View {
    LowLatency,
    Plain,
    IFrames,
}

/// The low-latency playlist, `media.m3u8`.
///
/// With a `skip`, segments whose end lies `CAN-SKIP-UNTIL` or more before the playlist's end are replaced by
/// `EXT-X-SKIP`; a window too short for that, or an ended one, gives the full playlist. Date and header of the first
/// segment left are given again, so that a client that has lost its copy of the rest can still play it.
pub fn render(input: &Input, skip: Skip) -> Bytes {
    render_view(input, skip, View::LowLatency)
}

/// The twin without parts, `plain.m3u8`: complete segments only, and no tag younger than version 8.
pub fn render_plain(input: &Input) -> Bytes {
    render_view(input, Skip::None, View::Plain)
}

/// The I-frame playlist, `iframes.m3u8`: the first frame of each complete segment as a byte range.
///
/// Its media sequence is the segments' own: a segment whose first frame is not known stands there as a gap. It takes the
/// same directives as the low-latency playlist.
pub fn render_iframes(input: &Input, skip: Skip) -> Bytes {
    render_view(input, skip, View::IFrames)
}

fn render_view(input: &Input, skip: Skip, view: View) -> Bytes {
    let window = input.window;
    let skip = if input.ended { Skip::None } else { skip };
    let open =
        window.open().filter(|open| view == View::LowLatency && input.part_target.is_some() && !open.parts.is_empty());
    let skipped = match skip {
        Skip::None => 0,
        Skip::V1 | Skip::V2 => segments_before_end(window, open.map(|o| &**o), input.targets.skip_boundary()),
    };
    let parts_from = match view {
        View::LowLatency if input.part_target.is_some() => {
            segments_before_end(window, open.map(|o| &**o), input.targets.target().times(3))
        }
        _ => usize::MAX,
    };

    let mut header = None;
    let mut segments = Vec::with_capacity(window.len() - skipped);
    let mut gaps = false;
    for (index, segment) in window.iter_from(skipped).enumerate() {
        let written = write_segment(segment, view, skipped + index >= parts_from, &mut header);
        gaps |= written.1;
        segments.push(written.0);
    }

    let first = window.first();
    let mut playlist = MediaPlaylist {
        version: Some(match (view, skip) {
            (View::Plain, _) if gaps => 8,
            (View::Plain, _) => 6,
            (_, Skip::V2) if skipped > 0 => 10,
            _ => 9,
        }),
        target_duration: input.targets.target_duration,
        media_sequence: window.first_number().map_or(0, |n| n.0),
        // Of the first segment listed, before its own EXT-X-DISCONTINUITY counts.
        discontinuity_sequence: match (first, open) {
            (Some(s), _) => s.discontinuity_sequence.saturating_sub(u64::from(s.discontinuity)),
            (None, Some(o)) => o.discontinuity_sequence.saturating_sub(u64::from(o.discontinuity)),
            (None, None) => 0,
        },
        i_frames_only: view == View::IFrames,
        independent_segments: window.all_independent() && open.is_none_or(|o| o.independent),
        ..MediaPlaylist::default()
    };

    let mut text = written(&playlist);
    let prefix = text.len();
    if view != View::Plain {
        text.extend(tags::server_control(input.targets, !input.ended).bytes());
    }
    if let (View::LowLatency, Some(part_target)) = (view, input.part_target) {
        text.extend(tags::part_information(part_target).bytes());
    }
    if skipped > 0 {
        text.extend(tags::skip(skipped).bytes());
    }
    playlist.segments = segments;
    let full = written(&playlist);
    debug_assert_eq!(
        full.get(..prefix),
        text.get(..prefix),
        "a playlist without segments is the header of the one with"
    );
    text.extend_from_slice(full.get(prefix..).unwrap_or_default());

    if let Some(open) = open {
        write_open(open, header, &mut text);
    }
    if input.ended {
        text.extend_from_slice(b"#EXT-X-ENDLIST\n");
    } else if view == View::LowLatency {
        write_tail(input, &mut text);
    }
    text.into()
}

/// How many of the oldest segments end `distance` or more before the playlist's end: those that may be left out, or shown
/// without parts. Walks back from the end, so it costs what it keeps.
fn segments_before_end(window: &Window, open: Option<&OpenSegment>, distance: MediaDuration) -> usize {
    let Some(last) = window.last() else { return 0 };
    let zero = MediaDuration::new(0, last.start.timescale());
    let mut after = zero + open.map_or(zero, OpenSegment::duration);
    for index in (0..window.len()).rev() {
        if after >= distance {
            return index + 1;
        }
        let Some(segment) = window.get(index) else { break };
        after = after + segment.duration;
    }
    0
}

/// The segment as m3u8-rs takes it, and whether it stands there as a gap.
fn write_segment(
    segment: &Segment,
    view: View,
    with_parts: bool,
    header: &mut Option<Generation>,
) -> (MediaSegment, bool) {
    let mut written = MediaSegment {
        uri: tags::segment_uri(segment.number),
        duration: tags::seconds(segment.duration),
        discontinuity: segment.discontinuity,
        program_date_time: tags::date_time(segment.start),
        ..MediaSegment::default()
    };
    if segment.discontinuity || *header != Some(segment.generation) {
        *header = Some(segment.generation);
        written.unknown_tags.push(tags::map(segment.generation));
    }
    let frame = segment.key_frame.filter(|_| view == View::IFrames);
    if let Some(range) = frame {
        written.unknown_tags.push(tags::byte_range(range));
    }
    let gap = segment.gap || (view == View::IFrames && frame.is_none());
    if gap {
        written.unknown_tags.push(tags::gap());
    }
    if with_parts {
        written.unknown_tags.extend(segment.parts.iter().map(|part| tags::part(segment.number, part)));
    }
    (written, gap)
}

/// The segment being written: its date, header and discontinuity stand before its first part.
fn write_open(open: &OpenSegment, header: Option<Generation>, text: &mut Vec<u8>) {
    let mut lines = Vec::with_capacity(open.parts.len() + 3);
    if open.discontinuity {
        lines.push(tags::discontinuity());
    }
    lines.push(tags::program_date_time(open.start));
    if open.discontinuity || header != Some(open.generation) {
        lines.push(tags::map(open.generation));
    }
    lines.extend(open.parts.iter().map(|part| tags::part(open.number, part)));
    for line in lines {
        text.extend(format!("{line}\n").bytes());
    }
}

/// What is to come, and what the other playlists hold.
fn write_tail(input: &Input, text: &mut Vec<u8>) {
    if let Some(generation) = input.pending_header {
        text.extend(tags::hint_map(generation).bytes());
    }
    if input.part_target.is_some() {
        let next = match input.hint {
            Hint::Next => input.window.next_number().map(|n| (n, next_part(input.window, n))),
            Hint::Part(segment, part) => Some((segment, part)),
            Hint::None => None,
        };
        if let Some((segment, part)) = next {
            text.extend(tags::hint_part(segment, part).bytes());
        }
    }
    for report in input.reports {
        text.extend(tags::report(&report.track, report.last, report.part).bytes());
    }
}

fn next_part(window: &Window, segment: SegmentNumber) -> PartIndex {
    let open = window.open().filter(|open| open.number == segment);
    open.and_then(|open| open.parts.last()).map_or(PartIndex(0), |newest| newest.index.next())
}

fn written(playlist: &MediaPlaylist) -> Vec<u8> {
    let mut text = Vec::with_capacity(256 + playlist.segments.len() * 96);
    playlist.write_to(&mut text).expect("a vector takes every write");
    text
}
