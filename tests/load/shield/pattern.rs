// SPDX-License-Identifier: Apache-2.0
//! Bytes that origin and clients both know: a stretch of noise, begun elsewhere for every object.
//!
//! The period is prime, so that bytes from another place or another object are never right by chance of alignment.

use std::sync::LazyLock;

const PERIOD: usize = 65_521;
/// The longest slice there is from any place.
const RUN: usize = 256 * 1024;

static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let period: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    })
    .take(PERIOD)
    .collect();
    period.iter().copied().cycle().take(PERIOD + RUN).collect()
});

/// What an object's bytes are known by: its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pattern(u64);

impl Pattern {
    pub(crate) fn of(path: &str) -> Self {
        // FNV-1a: any hash that both processes share.
        Self(
            path.bytes()
                .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)),
        )
    }

    /// A strong validator for these bytes.
    pub(crate) fn etag(self) -> String {
        format!("\"{:016x}\"", self.0)
    }

    /// The bytes from `offset` on, as many as lie in one piece but not more than asked for.
    pub(crate) fn slice(self, offset: u64, length: u64) -> &'static [u8] {
        let from = self.from(offset);
        &NOISE[from..from + usize::try_from(length).unwrap_or(RUN).min(RUN)]
    }

    /// True if these are the bytes from `offset` on.
    pub(crate) fn fits(self, mut offset: u64, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let expected = self.slice(offset, bytes.len() as u64);
            let (now, rest) = bytes.split_at(expected.len());
            if now != expected {
                return false;
            }
            offset += now.len() as u64;
            bytes = rest;
        }
        true
    }

    fn from(self, offset: u64) -> usize {
        let at = (self.0 % PERIOD as u64 + offset % PERIOD as u64) % PERIOD as u64;
        usize::try_from(at).expect("below the period")
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn bytes_of_another_place_or_object_do_not_fit() {
        let pattern = Pattern::of("/object/300000/a");
        let bytes = [pattern.slice(0, 200_000), pattern.slice(200_000, 100_000)].concat();
        assert!(pattern.fits(0, &bytes));
        assert!(pattern.fits(70_000, &bytes[70_000..]));
        assert!(!pattern.fits(1, &bytes));
        assert!(!Pattern::of("/object/300000/b").fits(0, &bytes));
        let mut flipped = bytes;
        flipped[299_999] ^= 1;
        assert!(!pattern.fits(0, &flipped));
    }
}
