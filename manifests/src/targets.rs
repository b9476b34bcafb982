// SPDX-License-Identifier: Apache-2.0
//! The promises that every playlist of a channel repeats, fixed when the channel starts.
//!
//! AVPlayer breaks when `TARGETDURATION` or `PART-TARGET` change, and the server control attributes must agree between
//! the playlists of a channel, so they are computed once, here, and nowhere else.

use headwater_media::{MediaDuration, Timescale};

/// Decimals of a second are printed in units of 10 µs.
const PRINTED: Timescale = Timescale::new(100_000).expect("not zero");

/// What a channel promises about durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Targets {
    /// The grid's segment duration.
    pub segment: MediaDuration,
    /// `EXT-X-TARGETDURATION`, whole seconds.
    pub target_duration: u64,
    /// `PART-HOLD-BACK`: three times the longest part target of the channel.
    pub part_hold_back: MediaDuration,
    /// How much is listed.
    pub window: MediaDuration,
}

impl Targets {
    /// The promises of a channel with segments of `segment`, parts of at most `part_target_max` on any track, and a
    /// window of `window`.
    ///
    /// The target duration is `segment` in whole seconds, rounded up unless less than 0.1 s above one: 2.002 s stays 2,
    /// 1.44 s becomes 2.
    pub fn new(segment: MediaDuration, part_target_max: MediaDuration, window: MediaDuration) -> Self {
        let below = (segment - MediaDuration::from_millis(100).rescale(segment.timescale())).seconds_ceil();
        Self { segment, target_duration: below.max(1), part_hold_back: printed_ceil(part_target_max).times(3), window }
    }

    /// [`Self::target_duration`] as a length.
    pub fn target(&self) -> MediaDuration {
        MediaDuration::new(i64::try_from(self.target_duration).unwrap_or(i64::MAX), PRINTED_SECOND)
    }

    /// `HOLD-BACK`: three target durations.
    pub fn hold_back(&self) -> MediaDuration {
        self.target().times(3)
    }

    /// `CAN-SKIP-UNTIL`: six target durations.
    pub fn skip_boundary(&self) -> MediaDuration {
        self.target().times(6)
    }
}

const PRINTED_SECOND: Timescale = Timescale::new(1).expect("not zero");

/// The smallest printable decimal that is not below `duration`, so that 3 × `PART-TARGET` as printed is what is promised.
pub(crate) fn printed_ceil(duration: MediaDuration) -> MediaDuration {
    let nearest = duration.rescale(PRINTED);
    if nearest < duration { MediaDuration::new(nearest.ticks().saturating_add(1), PRINTED) } else { nearest }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target_of(millis: i64) -> u64 {
        let part = MediaDuration::from_millis(200);
        Targets::new(MediaDuration::from_millis(millis), part, MediaDuration::from_millis(60_000)).target_duration
    }

    #[test]
    fn the_target_is_the_next_second_unless_just_above_one() {
        assert_eq!(
            [2_002, 1_920, 1_000, 1_440, 2_000, 2_101, 2_100, 40, 6_006].map(target_of),
            [2, 2, 1, 2, 2, 3, 2, 1, 6]
        );
    }

    #[test]
    fn the_part_hold_back_covers_three_printed_part_targets() {
        let third = MediaDuration::new(1, Timescale::new(3).unwrap());
        let targets = Targets::new(MediaDuration::from_millis(2_000), third, MediaDuration::from_millis(60_000));
        assert_eq!(third.decimal_ceil(5), "0.33334");
        assert_eq!(targets.part_hold_back.decimal(5), "1.00002");
    }
}
