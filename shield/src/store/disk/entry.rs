// SPDX-License-Identifier: Apache-2.0
//! An object as it lies on disk: key and variant, what purges need to know of it, head, body.

use std::io::{Read, Write};

use bytes::Bytes;
use foyer::{Code, Error, ErrorKind, Result};

use crate::store::pieces::PIECE_BYTES;
use crate::store::{Epoch, Tags};

/// A whole object, to be kept on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// What is to be known of it beside its body; the disk tier hands it back as it is.
    pub head: Bytes,
    /// Its body.
    pub body: Vec<Bytes>,
    /// Its tags.
    pub tags: Tags,
    /// Up to which purge it has been checked.
    pub epoch: Epoch,
}

/// Lengths and epoch before the variable parts.
const FIXED_BYTES: usize = 8 + 4 + 4 + 8;

/// Key and variant as one byte string. No key has a byte of 255: it is UTF-8.
pub(super) fn key(key: &str, selector: &[u8]) -> Vec<u8> {
    [key.as_bytes(), &[0xFF], selector].concat()
}

impl Stored {
    /// Bytes that it takes, without its key.
    pub(super) fn bytes(&self) -> usize {
        FIXED_BYTES + self.tags.hashes().len() * 8 + self.head.len() + self.body_bytes()
    }

    fn body_bytes(&self) -> usize {
        self.body.iter().map(Bytes::len).sum()
    }
}

impl Code for Stored {
    fn encode(&self, writer: &mut impl Write) -> Result<()> {
        let mut put = |bytes: &[u8]| writer.write_all(bytes).map_err(Error::io_error);
        put(&self.epoch.0.to_le_bytes())?;
        put(&(self.tags.hashes().len() as u32).to_le_bytes())?;
        put(&(self.head.len() as u32).to_le_bytes())?;
        put(&(self.body_bytes() as u64).to_le_bytes())?;
        for tag in self.tags.hashes() {
            put(&tag.to_le_bytes())?;
        }
        put(&self.head)?;
        self.body.iter().try_for_each(|piece| put(piece))
    }

    fn decode(reader: &mut impl Read) -> Result<Self> {
        let epoch = Epoch(u64::from_le_bytes(array(reader)?));
        let tags = u32::from_le_bytes(array(reader)?);
        let head = u32::from_le_bytes(array(reader)?);
        let body = u64::from_le_bytes(array(reader)?);
        let tags = (0..tags).map(|_| array(reader).map(u64::from_le_bytes)).collect::<Result<_>>()?;
        let head = take(reader, u64::from(head))?;
        let mut pieces = Vec::new();
        let mut left = body;
        while left > 0 {
            let piece = take(reader, left.min(PIECE_BYTES as u64))?;
            left -= piece.len() as u64;
            pieces.push(piece);
        }
        Ok(Self { head, body: pieces, tags: Tags::from_hashes(tags), epoch })
    }

    fn estimated_size(&self) -> usize {
        self.bytes()
    }
}

fn array<const N: usize>(reader: &mut impl Read) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes).map_err(short)?;
    Ok(bytes)
}

/// Exactly so many bytes: what a wrong length would make is read, not allocated.
fn take(reader: &mut impl Read, length: u64) -> Result<Bytes> {
    let mut bytes = Vec::with_capacity(length.min(PIECE_BYTES as u64) as usize);
    let read = reader.take(length).read_to_end(&mut bytes).map_err(short)?;
    if (read as u64) < length {
        return Err(short(std::io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(bytes.into_boxed_slice().into())
}

/// An entry that is not what it says it is, is none: foyer lets go of it.
fn short(source: std::io::Error) -> Error {
    Error::new(ErrorKind::OutOfRange, "expected a whole object, its bytes end early").with_source(source)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(head in prop::collection::vec(any::<u8>(), 0..50), body in 0usize..100_000, tags in prop::collection::vec(any::<u64>(), 0..5), epoch in any::<u64>()) {
            let stored = Stored { head: head.into(), body: crate::store::compact(&[vec![7; body].into()]), tags: Tags::from_hashes(tags), epoch: Epoch(epoch) };
            let mut bytes = Vec::new();
            stored.encode(&mut bytes).unwrap();
            prop_assert_eq!(bytes.len(), stored.estimated_size());
            prop_assert_eq!(&Stored::decode(&mut &bytes[..]).unwrap(), &stored);
            let cut = bytes.len() / 2;
            prop_assert!(Stored::decode(&mut &bytes[..cut]).is_err());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Stored::decode(&mut &bytes[..]);
        }
    }

    #[test]
    fn keys_and_variants_do_not_run_into_each_other() {
        assert_ne!(key("/a", b"b"), key("/ab", b""));
        assert_ne!(key("/a", b""), key("/a", b"\xFF"));
    }
}
