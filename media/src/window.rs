// SPDX-License-Identifier: Apache-2.0
//! The live window of one track: which segments and parts exist, in numbers only; the bytes live in a store.
//!
//! Cloning a window costs a pointer per 64 segments, so an owner can publish a snapshot for every part even of a
//! window many hours long.

use std::sync::Arc;

use crate::id::{Generation, PartIndex, SegmentNumber};
use crate::time::{MediaDuration, MediaTime, Timescale};

/// A range of bytes within a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// First byte.
    pub offset_bytes: u64,
    /// How many.
    pub length_bytes: u64,
}

/// A published part (LL-HLS partial segment; one CMAF chunk).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Place in the segment.
    pub index: PartIndex,
    /// Earliest presentation time.
    pub start: MediaTime,
    /// Sum of its samples' durations.
    pub duration: MediaDuration,
    /// Starts with a sample that decodes alone.
    pub independent: bool,
    /// Its bytes within the segment.
    pub range: ByteRange,
}

/// A complete segment, or the place of one that is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Place on the grid.
    pub number: SegmentNumber,
    /// Earliest presentation time; of a gap, the grid's point.
    pub start: MediaTime,
    /// Sum of its samples' durations; of a gap, the time until the next segment.
    pub duration: MediaDuration,
    /// Header it needs.
    pub generation: Generation,
    /// How many discontinuities precede this segment's first sample since the channel began.
    pub discontinuity_sequence: u64,
    /// The channel's timeline or coding changes before this segment.
    pub discontinuity: bool,
    /// Lost: no bytes exist.
    pub gap: bool,
    /// Starts with a sample that decodes alone.
    pub independent: bool,
    /// Size.
    pub length_bytes: u64,
    /// Its parts; empty for a gap and for tracks without parts.
    pub parts: Vec<Part>,
    /// Bytes from the segment's start that hold its first frame, when that is an IDR.
    pub key_frame: Option<ByteRange>,
}

impl Segment {
    /// End of its last sample.
    pub fn end(&self) -> MediaTime {
        self.start + self.duration
    }
}

/// The segment being written: its finished parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSegment {
    /// Place on the grid.
    pub number: SegmentNumber,
    /// Earliest presentation time.
    pub start: MediaTime,
    /// Header it needs.
    pub generation: Generation,
    /// As [`Segment::discontinuity_sequence`].
    pub discontinuity_sequence: u64,
    /// As [`Segment::discontinuity`].
    pub discontinuity: bool,
    /// As [`Segment::independent`].
    pub independent: bool,
    /// Finished parts, at least one once the segment is published.
    pub parts: Vec<Part>,
}

impl OpenSegment {
    /// Sum of its parts' durations.
    pub fn duration(&self) -> MediaDuration {
        let zero = MediaDuration::new(0, self.start.timescale());
        self.parts.iter().fold(zero, |sum, part| sum + part.duration)
    }

    /// Bytes of its parts.
    pub fn length_bytes(&self) -> u64 {
        self.parts.iter().map(|p| p.range.length_bytes).sum()
    }
}

const BLOCK: usize = 64;

/// Complete segments in number order without holes, and the open one.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// Full blocks of [`BLOCK`] segments, then one shorter; shared between snapshots.
    blocks: std::collections::VecDeque<Arc<Vec<Arc<Segment>>>>,
    /// Segments of the first block that have left the window.
    skip: usize,
    len: usize,
    /// Listed segments that do not decode alone; gaps hold no samples and do not count.
    dependent: usize,
    open: Option<Arc<OpenSegment>>,
}

impl Window {
    /// An empty window.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of complete segments, gaps included.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// True if no complete segment is listed (an open one may be).
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// True if every complete segment decodes alone; gaps hold no samples and count as such. Costs nothing.
    pub const fn all_independent(&self) -> bool {
        self.dependent == 0
    }

    /// Appends a complete segment and forgets the open one.
    ///
    /// The caller keeps numbers consecutive: a lost number is appended as a gap.
    pub fn append(&mut self, segment: Arc<Segment>) {
        debug_assert!(self.last().is_none_or(|last| last.number.next() == segment.number), "numbers are consecutive");
        self.dependent += usize::from(!segment.independent && !segment.gap);
        match self.blocks.back_mut() {
            Some(block) if block.len() < BLOCK => Arc::make_mut(block).push(segment),
            _ => {
                let mut block = Vec::with_capacity(BLOCK);
                block.push(segment);
                self.blocks.push_back(Arc::new(block));
            }
        }
        self.len += 1;
        self.open = None;
    }

    /// Sets the open segment's state.
    pub fn set_open(&mut self, open: Option<Arc<OpenSegment>>) {
        self.open = open;
    }

    /// The segment being written, once it has a part.
    pub const fn open(&self) -> Option<&Arc<OpenSegment>> {
        self.open.as_ref()
    }

    /// Removes and returns the oldest complete segment.
    pub fn pop_front(&mut self) -> Option<Arc<Segment>> {
        let segment = Arc::clone(self.blocks.front()?.get(self.skip)?);
        self.skip += 1;
        self.len -= 1;
        self.dependent -= usize::from(!segment.independent && !segment.gap);
        if self.skip == self.blocks.front().map_or(0, |b| b.len()) {
            self.blocks.pop_front();
            self.skip = 0;
        }
        Some(segment)
    }

    /// The complete segment at `index` from the oldest.
    pub fn get(&self, index: usize) -> Option<&Arc<Segment>> {
        if index >= self.len {
            return None;
        }
        let at = index + self.skip;
        self.blocks.get(at / BLOCK)?.get(at % BLOCK)
    }

    /// The complete segment of that number.
    pub fn find(&self, number: SegmentNumber) -> Option<&Arc<Segment>> {
        let first = self.first()?.number.0;
        self.get(usize::try_from(number.0.checked_sub(first)?).ok()?)
    }

    /// Oldest complete segment.
    pub fn first(&self) -> Option<&Arc<Segment>> {
        self.get(0)
    }

    /// Newest complete segment.
    pub fn last(&self) -> Option<&Arc<Segment>> {
        self.len.checked_sub(1).and_then(|i| self.get(i))
    }

    /// Complete segments from `index` on, oldest first; cost grows with what is taken, not with the window.
    pub fn iter_from(&self, index: usize) -> impl Iterator<Item = &Arc<Segment>> {
        (index..self.len).filter_map(|i| self.get(i))
    }

    /// Every complete segment, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Segment>> {
        self.iter_from(0)
    }

    /// `HLS MEDIA-SEQUENCE`: the first listed segment, complete or open.
    pub fn first_number(&self) -> Option<SegmentNumber> {
        self.first().map(|s| s.number).or_else(|| self.open.as_ref().map(|o| o.number))
    }

    /// The number the next complete segment will have.
    pub fn next_number(&self) -> Option<SegmentNumber> {
        self.last().map(|s| s.number.next()).or_else(|| self.open.as_ref().map(|o| o.number))
    }

    /// The newest part: of the open segment, else of the last complete one.
    pub fn last_part(&self) -> Option<(SegmentNumber, PartIndex)> {
        if let Some(open) = &self.open {
            return open.parts.last().map(|p| (open.number, p.index));
        }
        self.last().and_then(|s| s.parts.last().map(|p| (s.number, p.index)))
    }

    /// End of the newest sample listed.
    pub fn end(&self) -> Option<MediaTime> {
        match &self.open {
            Some(open) => open.parts.last().map(|p| p.start + p.duration),
            None => self.last().map(|s| s.end()),
        }
    }

    /// Sum of the complete segments' durations.
    pub fn duration(&self) -> MediaDuration {
        match (self.first(), self.last()) {
            (Some(first), Some(last)) => last.end().since(first.start),
            _ => MediaDuration::new(0, Timescale::NANOS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(number: u64) -> Arc<Segment> {
        let scale = Timescale::new(1).unwrap();
        Arc::new(Segment {
            number: SegmentNumber(number),
            start: MediaTime::new(number as i64, scale),
            duration: MediaDuration::new(1, scale),
            generation: Generation(0),
            discontinuity_sequence: 0,
            discontinuity: false,
            gap: false,
            independent: true,
            length_bytes: 10,
            parts: Vec::new(),
            key_frame: None,
        })
    }

    #[test]
    fn a_sliding_window_finds_what_it_holds_and_nothing_else() {
        let mut window = Window::new();
        for n in 100..400 {
            window.append(segment(n));
            if window.len() > 150 {
                assert_eq!(window.pop_front().map(|s| s.number.0), Some(n - 150));
            }
        }
        assert_eq!(window.len(), 150);
        assert_eq!(window.first_number(), Some(SegmentNumber(250)));
        assert_eq!(window.find(SegmentNumber(249)), None);
        assert_eq!(window.find(SegmentNumber(400)), None);
        assert_eq!(window.find(SegmentNumber(399)).map(|s| s.number.0), Some(399));
        assert_eq!(window.iter().map(|s| s.number.0).collect::<Vec<_>>(), (250..400).collect::<Vec<_>>());
    }

    #[test]
    fn a_snapshot_does_not_see_later_appends() {
        let mut window = Window::new();
        window.append(segment(1));
        let snapshot = window.clone();
        window.append(segment(2));
        window.pop_front();
        assert_eq!(snapshot.iter().map(|s| s.number.0).collect::<Vec<_>>(), [1]);
        assert_eq!(window.iter().map(|s| s.number.0).collect::<Vec<_>>(), [2]);
    }
}
