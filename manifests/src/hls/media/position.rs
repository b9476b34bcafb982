// SPDX-License-Identifier: Apache-2.0
//! Where in a playlist a blocking reload waits (rfc8216bis, 6.2.5.2).

use headwater_media::{MediaDuration, PartIndex, SegmentNumber, Window};

/// `_HLS_msn` and `_HLS_part`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// `_HLS_msn`.
    pub segment: SegmentNumber,
    /// `_HLS_part`; without it the whole segment is waited for.
    pub part: Option<PartIndex>,
}

/// The position lies beyond what a waiting client may ask for; a 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooFar {
    /// `_HLS_msn` is more than two past the newest segment.
    #[error("expected a segment up to {last} + 2, got {asked}")]
    Segment {
        /// Newest segment, complete or open.
        last: SegmentNumber,
        /// The one asked for.
        asked: SegmentNumber,
    },
    /// `_HLS_part` is past the Advance Part Limit.
    #[error("expected at most {limit} parts past the newest, got {ahead}")]
    Part {
        /// The Advance Part Limit.
        limit: u64,
        /// Parts between the newest and the one asked for, at least.
        ahead: u64,
    },
}

impl TooFar {
    /// The HTTP status that answers it.
    pub const fn status(self) -> u16 {
        400
    }
}

impl Position {
    /// True once a playlist of `window` answers a request for this position.
    ///
    /// Without a part: the segment is complete, or a later one is. With a part: it is there, or anything later; an index
    /// past the last part of a complete segment means the first part of the next. A position that has left the window is
    /// answered at once, and so is a part of a complete segment that has none (a gap, or text).
    pub fn is_reached(self, window: &Window) -> bool {
        let Some(next) = window.next_number() else { return false };
        let Some(PartIndex(part)) = self.part else { return self.segment < next };
        match window.find(self.segment) {
            Some(complete) => {
                let there =
                    complete.parts.is_empty() || complete.parts.last().is_some_and(|newest| part <= newest.index.0);
                there || self.segment.next() < next || open_holds(window, self.segment.next(), 0)
            }
            None => self.segment < next || open_holds(window, self.segment, part),
        }
    }

    /// Refuses a position that no waiting client has reason to ask for.
    ///
    /// # Errors
    /// [`TooFar`] for a segment more than two past the newest, complete or open, and for a part beyond the Advance Part
    /// Limit: three parts, or as many as fill three seconds when parts are shorter than one. After the end of the
    /// channel directives are ignored, and while nothing is listed there is nothing to compare with.
    pub fn check(self, window: &Window, part_target: Option<MediaDuration>, ended: bool) -> Result<(), TooFar> {
        let newest = window.open().map(|open| open.number).or_else(|| window.last().map(|s| s.number));
        let Some(last) = newest.filter(|_| !ended) else { return Ok(()) };
        if self.segment.0 > last.0.saturating_add(2) {
            return Err(TooFar::Segment { last, asked: self.segment });
        }
        let (Some(PartIndex(part)), Some(part_target)) = (self.part, part_target) else { return Ok(()) };
        let limit = advance_part_limit(part_target);
        let present = match window.open().filter(|open| open.number == self.segment) {
            Some(open) => open.parts.len(),
            None => window.find(self.segment).map_or(0, |s| s.parts.len()),
        };
        let ahead = (u64::from(part) + 1).saturating_sub(present as u64);
        if self.segment >= last && ahead > limit {
            return Err(TooFar::Part { limit, ahead });
        }
        Ok(())
    }
}

fn open_holds(window: &Window, segment: SegmentNumber, part: u32) -> bool {
    let open = window.open().filter(|open| open.number == segment);
    open.and_then(|open| open.parts.last()).is_some_and(|newest| part <= newest.index.0)
}

fn advance_part_limit(part_target: MediaDuration) -> u64 {
    let (ticks, scale) = (part_target.ticks().max(1), i64::from(part_target.timescale().ticks_per_second()));
    if ticks >= scale { 3 } else { u64::try_from((3 * scale + ticks - 1) / ticks).unwrap_or(3) }
}
