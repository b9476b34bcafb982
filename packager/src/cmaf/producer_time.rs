// SPDX-License-Identifier: Apache-2.0
//! Producer reference time (`prft`, ISO/IEC 14496-12, 8.16.5): a wall clock tied to media time.

use bytes::{BufMut, BytesMut};
use headwater_media::UtcTime;

use crate::cmaf::Error;
use crate::cmaf::boxes::{Cursor, FourCc, write_full_box};
use crate::cmaf::header::TRACK_ID;

/// One `prft`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerTime {
    /// The wall clock.
    pub utc: UtcTime,
    /// The same instant in ticks of track `source_id`; ffmpeg writes times before zero modulo 2^64.
    pub media_time: u64,
    /// `track_ID` of the track whose clock `media_time` is.
    pub source_id: u32,
    /// Which instant of the fragment's making it is (24: captured).
    pub flags: u32,
}

/// Reads the payload of a `prft` box.
pub(crate) fn parse(payload: &[u8]) -> Result<ProducerTime, Error> {
    let mut prft = Cursor::new(FourCc(*b"prft"), payload);
    let (version, flags) = prft.version_and_flags()?;
    let source_id = prft.u32()?;
    let utc = ntp_to_utc(prft.u64()?);
    Ok(ProducerTime { utc, media_time: prft.u32_or_u64(version != 0)?, source_id, flags })
}

/// Appends a version 1 `prft`: when the instant `decode_time` was captured.
pub(crate) fn write(out: &mut BytesMut, utc: UtcTime, decode_time: i64) {
    const CAPTURED: u32 = 24;
    write_full_box(out, b"prft", 1, CAPTURED, |out| {
        out.put_u32(TRACK_ID);
        out.put_u64(utc_to_ntp(utc));
        out.put_u64(decode_time as u64);
    });
}

/// Seconds from 1900, the NTP era's zero, to 1970.
const NTP_UNIX_SECONDS: u64 = 2_208_988_800;

/// NTP's 32 bits of seconds wrap in 2036; what would be before 1970 is after that.
fn ntp_to_utc(ntp: u64) -> UtcTime {
    let (seconds, fraction) = (ntp >> 32, ntp & 0xffff_ffff);
    let unix = seconds.checked_sub(NTP_UNIX_SECONDS).unwrap_or(seconds + (1 << 32) - NTP_UNIX_SECONDS);
    let nanos = (fraction * 1_000_000_000 + (1 << 31)) >> 32;
    UtcTime::from_nanos(i64::try_from(unix * 1_000_000_000 + nanos).unwrap_or(i64::MAX))
}

fn utc_to_ntp(utc: UtcTime) -> u64 {
    let (seconds, nanos) = (utc.nanos().div_euclid(1_000_000_000), utc.nanos().rem_euclid(1_000_000_000));
    let seconds = (seconds as u64).wrapping_add(NTP_UNIX_SECONDS) & 0xffff_ffff;
    let fraction = ((nanos as u64) << 32) / 1_000_000_000;
    seconds << 32 | fraction
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_wrap_of_2036_is_unrolled() {
        let before = UtcTime::from_nanos(2_085_978_495_000_000_000);
        let after = UtcTime::from_nanos(2_085_978_496_000_000_000);
        assert_eq!((utc_to_ntp(before) >> 32, utc_to_ntp(after) >> 32), (0xffff_ffff, 0));
        assert_eq!((ntp_to_utc(utc_to_ntp(before)), ntp_to_utc(utc_to_ntp(after))), (before, after));
    }

    proptest! {
        #[test]
        fn an_instant_survives_ntp_to_the_nanosecond(nanos in 0_i64..4_294_967_296_000_000_000) {
            let utc = UtcTime::from_nanos(nanos);
            prop_assert_eq!(ntp_to_utc(utc_to_ntp(utc)), utc);
        }
    }
}
