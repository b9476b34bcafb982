// SPDX-License-Identifier: Apache-2.0
//! Bitrates as manifests state them: never below what was measured, and coarse enough that twin origins agree.

use headwater_media::{Kind, Track};

/// `bits_per_second` rounded up to two significant digits: measurements that differ a little print alike.
pub const fn quantise(bits_per_second: u64) -> u64 {
    let mut unit = 1;
    while bits_per_second / unit >= 100 {
        unit *= 10;
    }
    bits_per_second.div_ceil(unit).saturating_mul(unit)
}

/// A track's peak, or while it is unknown a guess from its shape, so that the first playlist orders its variants.
pub(crate) fn peak(track: &Track) -> u64 {
    match track.peak_bitrate {
        0 => guess(track),
        measured => measured,
    }
}

/// A track's average, as [`peak`].
pub(crate) fn average(track: &Track) -> u64 {
    match track.average_bitrate {
        0 => peak(track),
        measured => measured.min(peak(track)),
    }
}

fn guess(track: &Track) -> u64 {
    match track.kind {
        Kind::Video => {
            track.video.as_ref().map_or(1_000_000, |v| u64::from(v.width) * u64::from(v.height) * 3).max(100_000)
        }
        Kind::Audio => track.audio.as_ref().map_or(128_000, |a| u64::from(a.channels) * 64_000).max(64_000),
        Kind::Text | Kind::Metadata => 10_000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bitrates_round_up_to_two_digits() {
        let stated = [0, 7, 99, 100, 101, 4_123_456, 4_200_000, 999_999].map(quantise);
        assert_eq!(stated, [0, 7, 99, 100, 110, 4_200_000, 4_200_000, 1_000_000]);
    }

    #[test]
    fn a_stated_bitrate_is_never_below_and_never_far_above() {
        for measured in (1..2_000_000_u64).step_by(977) {
            let stated = quantise(measured);
            assert!(stated >= measured && stated * 100 <= measured * 110 + 1_000, "{measured} {stated}");
        }
    }
}
