// SPDX-License-Identifier: Apache-2.0
//! Bodies in pieces of one size: what arrives in reads of any size holds more memory than it has bytes.

use bytes::{BufMut, Bytes, BytesMut};

/// Bytes of a piece. An allocation of this size or below wastes a thousandth of a 100 kB body under mimalloc; one of the
/// whole body 2 %.
pub const PIECE_BYTES: usize = 32 * 1024;

/// Copies a body into pieces that hold exactly their bytes; only the last is shorter than [`PIECE_BYTES`].
pub fn compact(body: &[Bytes]) -> Vec<Bytes> {
    let mut left: usize = body.iter().map(Bytes::len).sum();
    let mut pieces = Vec::with_capacity(left.div_ceil(PIECE_BYTES));
    let mut piece = BytesMut::with_capacity(left.min(PIECE_BYTES));
    for mut chunk in body.iter().map(|chunk| &chunk[..]) {
        while !chunk.is_empty() {
            let (now, rest) = chunk.split_at(chunk.len().min(PIECE_BYTES - piece.len()));
            piece.put_slice(now);
            left -= now.len();
            chunk = rest;
            if piece.len() == PIECE_BYTES || left == 0 {
                pieces.push(piece.freeze());
                piece = BytesMut::with_capacity(left.min(PIECE_BYTES));
            }
        }
    }
    pieces
}

/// Copies bytes out of what they were read into, as they come: each goes on at once, as a slice of an allocation of
/// [`PIECE_BYTES`]. A read's own buffer may be many times what was read into it.
#[derive(Debug)]
pub struct Packer {
    room: BytesMut,
    left: Option<usize>,
}

impl Packer {
    /// For a body of this length, if that is known: then the last allocation is of its exact size.
    pub fn new(length: Option<u64>) -> Self {
        Self { room: BytesMut::new(), left: length.and_then(|length| usize::try_from(length).ok()) }
    }

    /// Takes the next bytes and hands them on.
    pub fn pack(&mut self, mut bytes: &[u8], mut hand_on: impl FnMut(Bytes)) {
        while !bytes.is_empty() {
            if self.room.capacity() == 0 {
                self.room = BytesMut::with_capacity(self.left.unwrap_or(PIECE_BYTES).clamp(1, PIECE_BYTES));
            }
            let (now, rest) = bytes.split_at(bytes.len().min(self.room.capacity()));
            self.room.put_slice(now);
            hand_on(self.room.split().freeze());
            self.left = self.left.map(|left| left.saturating_sub(now.len()));
            bytes = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_bytes_are_the_same_however_they_came(lengths in prop::collection::vec(0usize..70_000, 0..8)) {
            let body: Vec<Bytes> = lengths.iter().enumerate().map(|(index, length)| vec![index as u8; *length].into()).collect();
            let pieces = compact(&body);
            prop_assert_eq!(pieces.concat(), body.concat());
            let total: usize = lengths.iter().sum();
            prop_assert_eq!(pieces.len(), total.div_ceil(PIECE_BYTES));
            for known in [Some(total as u64), Some(3), None] {
                let (mut packer, mut packed) = (Packer::new(known), Vec::new());
                body.iter().for_each(|read| packer.pack(read, |piece| packed.push(piece)));
                prop_assert_eq!(packed.concat(), body.concat());
                prop_assert!(packed.iter().all(|piece| !piece.is_empty() && piece.len() <= PIECE_BYTES));
            }
        }
    }
}
