// SPDX-License-Identifier: Apache-2.0
//! Source time to channel time: where an encoder's zero lies on the UTC timeline.
//!
//! | source | channel time T |
//! |---|---|
//! | within an hour of now | the source's own time |
//! | DASH push from zero | availabilityStartTime + Period start + t − presentationTimeOffset |
//! | HLS push from zero | the segment's PROGRAM-DATE-TIME, snapped to the frame grid |
//! | any other | the first key frame is now, snapped to the frame grid |
//!
//! One mapping serves all tracks of a push, so sound stays with its picture.

use headwater_media::{MediaDuration, MediaTime, Timescale, UtcTime};

/// Sources within this distance of the wall clock are taken to tell UTC.
pub const EPOCH_TOLERANCE_SECONDS: i64 = 3_600;

/// How a source's zero was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// The source tells UTC.
    Epoch,
    /// A pushed manifest told it.
    Manifest,
    /// The first key frame was taken to be now.
    Arrival,
    /// The source restarted; its zero is the border after what was published.
    Continued,
}

/// A mapping from source time to channel time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Channel time of source time zero.
    pub offset: MediaTime,
    /// How it was found.
    pub basis: Basis,
}

impl Anchor {
    /// The source tells UTC.
    pub const EPOCH: Self = Self { offset: MediaTime::new(0, Timescale::NANOS), basis: Basis::Epoch };

    /// True if `source` is near enough to `now` to be UTC.
    pub fn tells_utc(source: MediaTime, now: UtcTime) -> bool {
        let seconds = source.rescale(Timescale::MILLIS).ticks() / 1_000;
        (seconds - now.millis() / 1_000).abs() <= EPOCH_TOLERANCE_SECONDS
    }

    /// Source time `source` shown at `utc`, the zero snapped to whole frames since the epoch.
    pub fn at(source: MediaTime, utc: MediaTime, frame: MediaDuration, basis: Basis) -> Self {
        let frame_ticks = frame.rescale(source.timescale()).ticks().max(1);
        let offset = utc.rescale(source.timescale()).ticks().saturating_sub(source.ticks());
        let snapped = offset.saturating_add(frame_ticks / 2).div_euclid(frame_ticks).saturating_mul(frame_ticks);
        Self { offset: MediaTime::new(snapped, source.timescale()), basis }
    }

    /// The offset in ticks of a track.
    pub fn ticks(&self, timescale: Timescale) -> i64 {
        self.offset.rescale(timescale).ticks()
    }

    /// Channel time of a source time.
    pub fn map(&self, source: MediaTime) -> MediaTime {
        MediaTime::new(source.ticks().saturating_add(self.ticks(source.timescale())), source.timescale())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arrival_is_snapped_to_whole_frames() {
        let scale = Timescale::new(12_800).unwrap();
        let anchor = Anchor::at(
            MediaTime::new(0, scale),
            MediaTime::new(1_700_000_000_019, Timescale::MILLIS),
            MediaDuration::new(512, scale),
            Basis::Arrival,
        );
        assert_eq!(anchor.map(MediaTime::new(512, scale)), MediaTime::new(1_700_000_000_040, Timescale::MILLIS));
    }

    #[test]
    fn only_times_near_the_clock_are_utc() {
        let now = UtcTime::from_nanos(1_700_000_000_000_000_000);
        let scale = Timescale::new(1).unwrap();
        assert!(Anchor::tells_utc(MediaTime::new(1_700_003_000, scale), now));
        assert!(!Anchor::tells_utc(MediaTime::new(1_700_004_000, scale), now));
        assert!(!Anchor::tells_utc(MediaTime::new(0, scale), now));
    }
}
