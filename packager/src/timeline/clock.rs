// SPDX-License-Identifier: Apache-2.0
//! The decode times a source writes, as one that never wraps: 32-bit times are unrolled, missing ones go on.

use crate::Sample;
use crate::cmaf::SourceTime;

const WRAP_BITS: u32 = 32;

/// One track's source clock, in ticks of its timescale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceClock {
    /// End of the newest fragment, or where it is expected.
    end: Option<i64>,
}

impl SourceClock {
    /// A clock of a source about which nothing is known.
    pub const fn new() -> Self {
        Self { end: None }
    }

    /// A clock expected to stand near `time`: how often it has wrapped so far is told by that.
    pub const fn near(time: Option<i64>) -> Self {
        Self { end: time }
    }

    /// Moves a fragment's samples to where they belong.
    ///
    /// A 32-bit time wraps without a word (every 99 hours at 12800 ticks a second, every 7 minutes at 10 MHz): of the
    /// times it can mean, the one nearest to the end of the last fragment is meant. A fragment without a time follows
    /// the last one.
    pub fn place(&mut self, written: Option<SourceTime>, samples: &mut [Sample]) {
        let shift = match written {
            Some(time) if u32::from(time.bits) == WRAP_BITS => self.wraps(time.ticks),
            Some(_) => 0,
            None => self.end.unwrap_or(0),
        };
        for sample in samples.iter_mut() {
            sample.decode_time = sample.decode_time.saturating_add(shift);
        }
        if let Some(last) = samples.last() {
            self.end = Some(last.decode_time.saturating_add(i64::from(last.duration)));
        }
    }

    fn wraps(&self, ticks: u64) -> i64 {
        let (Some(end), Ok(ticks)) = (self.end, i64::try_from(ticks)) else { return 0 };
        let half = 1 << (WRAP_BITS - 1);
        let wraps = end.saturating_sub(ticks).saturating_add(half) >> WRAP_BITS;
        wraps.max(0) << WRAP_BITS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    const TWO_32: i64 = 1 << 32;

    fn fragment(start: i64) -> Vec<Sample> {
        let sample = |i: i64| Sample {
            decode_time: start + i * 512,
            composition_offset: 0,
            duration: 512,
            sync: i == 0,
            data: Bytes::new(),
        };
        (0..2).map(sample).collect()
    }

    fn place(clock: &mut SourceClock, ticks: u64, bits: u8) -> i64 {
        let mut samples = fragment(ticks as i64);
        clock.place(Some(SourceTime { ticks, bits }), &mut samples);
        samples[0].decode_time
    }

    #[test]
    fn a_wrap_within_a_fragment_goes_on_in_the_next() {
        let mut clock = SourceClock::new();
        assert_eq!(place(&mut clock, TWO_32 as u64 - 512, 32), TWO_32 - 512);
        assert_eq!(place(&mut clock, 512, 32), TWO_32 + 512);
        assert_eq!(place(&mut clock, TWO_32 as u64 - 512, 32), TWO_32 - 512, "a late one is not a wrap");
        assert_eq!(place(&mut clock, 1_536, 32), TWO_32 + 1_536);
    }

    #[test]
    fn a_64_bit_time_is_taken_as_it_is() {
        let mut clock = SourceClock::near(Some(5 * TWO_32));
        assert_eq!(place(&mut clock, 7, 64), 7);
        assert_eq!(place(&mut clock, u64::MAX - 1_023, 64), -1_024, "a signed time before zero");
    }

    #[test]
    fn a_fragment_without_a_time_follows_the_last() {
        let mut clock = SourceClock::new();
        place(&mut clock, 10_240, 64);
        let mut samples = fragment(0);
        clock.place(None, &mut samples);
        assert_eq!(samples[0].decode_time, 10_240 + 1_024);
    }

    #[test]
    fn wraps_before_we_came_are_told_by_where_it_should_stand() {
        let mut clock = SourceClock::near(Some(3 * TWO_32 + 90_000));
        assert_eq!(place(&mut clock, 1_000, 32), 3 * TWO_32 + 1_000);
    }

    proptest! {
        #[test]
        fn any_time_is_survived(end in any::<Option<i64>>(), ticks in any::<u64>(), bits in prop::sample::select(vec![32_u8, 64])) {
            let mut clock = SourceClock::near(end);
            let ticks = if bits == 32 { ticks & 0xffff_ffff } else { ticks };
            let mut samples = fragment(0);
            samples.iter_mut().for_each(|s| s.decode_time = s.decode_time.saturating_add(ticks as i64));
            clock.place(Some(SourceTime { ticks, bits }), &mut samples);
            clock.place(None, &mut samples);
        }
    }
}
