// SPDX-License-Identifier: Apache-2.0
//! The 8 or 16 bytes that start a top-level box, gathered from pieces cut anywhere.

use bytes::{Buf, Bytes};

use crate::cmaf::Error;
use crate::cmaf::boxes::{Cursor, FourCc};

/// A box whose size and type are known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BoxStart {
    pub(crate) kind: FourCc,
    /// Of its first byte, from the start of the body.
    pub(crate) offset: u64,
    pub(crate) header_bytes: u64,
    /// `None`: to the end of the body.
    pub(crate) payload_bytes: Option<u64>,
}

/// What has come of a start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PartialStart {
    bytes: [u8; 16],
    have: usize,
}

impl PartialStart {
    pub(crate) const EMPTY: Self = Self { bytes: [0; 16], have: 0 };

    /// Bytes held.
    pub(crate) const fn len(&self) -> usize {
        self.have
    }

    /// Takes what is missing from `input`, whose first byte is `position` bytes into the body; `None` until it is all.
    pub(crate) fn take(&mut self, input: &mut Bytes, position: u64) -> Result<Option<BoxStart>, Error> {
        let want = if self.have >= 8 { 16 } else { 8 };
        let taken = input.len().min(want - self.have);
        let offset = position - self.have as u64;
        input.copy_to_slice(&mut self.bytes[self.have..self.have + taken]);
        self.have += taken;
        if self.have < want { Ok(None) } else { self.parse(offset) }
    }

    /// `None` if a 64-bit size is still to come.
    fn parse(&self, offset: u64) -> Result<Option<BoxStart>, Error> {
        let mut cursor = Cursor::new(FourCc(*b"file"), &self.bytes);
        let (size, kind) = (cursor.u32()?, cursor.four_cc()?);
        if !kind.0.iter().all(|&c| (0x20..0x7f).contains(&c) || c == 0xa9) {
            return Err(Error::NotABox { found: kind });
        }
        let (header_bytes, size_bytes) = match size {
            0 => return Ok(Some(BoxStart { kind, offset, header_bytes: 8, payload_bytes: None })),
            1 if self.have < 16 => return Ok(None),
            1 => (16, cursor.u64()?),
            n => (8, u64::from(n)),
        };
        let Some(payload_bytes) = size_bytes.checked_sub(header_bytes) else {
            return Err(Error::BoxSize { kind, size_bytes });
        };
        Ok(Some(BoxStart { kind, offset, header_bytes, payload_bytes: Some(payload_bytes) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_the_same_however_it_is_cut() {
        let bytes = [0, 0, 0, 1, b'm', b'd', b'a', b't', 0, 0, 0, 1, 0, 0, 0, 0];
        let mut partial = PartialStart::EMPTY;
        for at in 0..15 {
            let mut input = Bytes::copy_from_slice(&bytes[at..=at]);
            assert!(partial.take(&mut input, 100 + at as u64).unwrap().is_none());
        }
        let start = partial.take(&mut Bytes::copy_from_slice(&bytes[15..]), 115).unwrap().unwrap();
        assert_eq!((start.offset, start.header_bytes, start.payload_bytes), (100, 16, Some((1 << 32) - 16)));
    }
}
