// SPDX-License-Identifier: Apache-2.0
//! Boxes (ISO/IEC 14496-12, 4.2): a bounds-checked cursor over untrusted bytes, and the writing of sizes.
//!
//! Must never read past what it was given, loop without progress, or allocate from a size field.

use std::fmt;

use bytes::{BufMut, BytesMut};

use crate::cmaf::Error;

/// A box type: four characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FourCc(pub [u8; 4]);

impl fmt::Display for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}

impl fmt::Debug for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{self}'")
    }
}

/// Big-endian fields of one box's payload.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    kind: FourCc,
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Reads `payload` of a box of type `kind` (which errors will name).
    pub const fn new(kind: FourCc, payload: &'a [u8]) -> Self {
        Self { kind, rest: payload }
    }

    /// The type of the box being read.
    pub const fn kind(&self) -> FourCc {
        self.kind
    }

    /// What is not read yet.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Takes `length` bytes.
    ///
    /// # Errors
    /// [`Error::Truncated`] if fewer are left; the cursor does not move.
    pub fn bytes(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let Some((taken, rest)) = self.rest.split_at_checked(length) else {
            return Err(self.truncated(length as u64));
        };
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let Some((taken, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(self.truncated(N as u64));
        };
        self.rest = rest;
        Ok(*taken)
    }

    /// Takes one byte.
    ///
    /// # Errors
    /// [`Error::Truncated`] at the end, as all below.
    pub fn u8(&mut self) -> Result<u8, Error> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Takes two bytes.
    ///
    /// # Errors
    /// [`Error::Truncated`].
    pub fn u16(&mut self) -> Result<u16, Error> {
        self.array().map(u16::from_be_bytes)
    }

    /// Takes four bytes.
    ///
    /// # Errors
    /// [`Error::Truncated`].
    pub fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_be_bytes)
    }

    /// Takes four bytes, signed.
    ///
    /// # Errors
    /// [`Error::Truncated`].
    pub fn i32(&mut self) -> Result<i32, Error> {
        self.array().map(i32::from_be_bytes)
    }

    /// Takes eight bytes.
    ///
    /// # Errors
    /// [`Error::Truncated`].
    pub fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_be_bytes)
    }

    /// Takes a four-character code.
    ///
    /// # Errors
    /// [`Error::Truncated`].
    pub fn four_cc(&mut self) -> Result<FourCc, Error> {
        self.array().map(FourCc)
    }

    /// Takes the version and flags that open a full box.
    ///
    /// # Errors
    /// [`Error::Truncated`].
    pub fn version_and_flags(&mut self) -> Result<(u8, u32), Error> {
        let word = self.u32()?;
        Ok((word.to_be_bytes()[0], word & 0x00ff_ffff))
    }

    /// Takes a field of eight bytes if `wide`, else of four.
    ///
    /// # Errors
    /// [`Error::Truncated`].
    pub fn u32_or_u64(&mut self, wide: bool) -> Result<u64, Error> {
        if wide { self.u64() } else { self.u32().map(u64::from) }
    }

    /// Takes text up to and without its NUL, or to the end where the NUL is missing. Invalid UTF-8 is replaced.
    pub fn text(&mut self) -> String {
        let length = self.rest.iter().position(|&b| b == 0);
        let (text, rest) = match length {
            Some(at) => (&self.rest[..at], &self.rest[at + 1..]),
            None => (self.rest, &[][..]),
        };
        self.rest = rest;
        String::from_utf8_lossy(text).into_owned()
    }

    /// Takes one child box; `None` at the end. Fewer than eight bytes left count as padding (QuickTime ends lists so).
    ///
    /// # Errors
    /// [`Error::BoxSize`] and [`Error::Truncated`].
    pub fn child(&mut self) -> Result<Option<Child<'a>>, Error> {
        if self.rest.len() < 8 {
            self.rest = &[];
            return Ok(None);
        }
        let whole = self.rest;
        let size = self.u32()?;
        let kind = self.four_cc()?;
        let (size, header) = match size {
            0 => (whole.len() as u64, 8),
            1 => (self.u64()?, 16),
            n => (u64::from(n), 8),
        };
        if size < header {
            return Err(Error::BoxSize { kind, size_bytes: size });
        }
        let Some((raw, rest)) = usize::try_from(size).ok().and_then(|size| whole.split_at_checked(size)) else {
            return Err(Error::Truncated { kind, need_bytes: size, have_bytes: whole.len() as u64 });
        };
        self.rest = rest;
        // `header` is 8 or 16 and not past `size`.
        Ok(Some(Child { kind, raw, payload: &raw[header as usize..] }))
    }

    /// The first child of type `kind` among what is not read yet.
    ///
    /// # Errors
    /// As [`Self::child`].
    pub fn find(mut self, kind: &[u8; 4]) -> Result<Option<Cursor<'a>>, Error> {
        while let Some(child) = self.child()? {
            if child.kind.0 == *kind {
                return Ok(Some(child.cursor()));
            }
        }
        Ok(None)
    }

    /// As [`Self::find`], for a mandatory child.
    ///
    /// # Errors
    /// [`Error::Missing`], and as [`Self::child`].
    pub fn expect(self, kind: &[u8; 4]) -> Result<Cursor<'a>, Error> {
        self.find(kind)?.ok_or(Error::Missing { kind: FourCc(*kind), parent: self.kind })
    }

    fn truncated(&self, need_bytes: u64) -> Error {
        Error::Truncated { kind: self.kind, need_bytes, have_bytes: self.rest.len() as u64 }
    }
}

/// One box within another.
#[derive(Clone, Copy, Debug)]
pub struct Child<'a> {
    /// Its type.
    pub kind: FourCc,
    /// All of it, size and type included.
    pub raw: &'a [u8],
    /// What follows size and type (a `uuid`'s 16 bytes of extended type included).
    pub payload: &'a [u8],
}

impl<'a> Child<'a> {
    /// Reads its payload.
    pub const fn cursor(&self) -> Cursor<'a> {
        Cursor::new(self.kind, self.payload)
    }
}

/// Writes one box: its type, what `fill` puts into it, and then its 32-bit size.
pub(crate) fn write_box(out: &mut BytesMut, kind: &[u8; 4], fill: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_u32(0);
    out.put_slice(kind);
    fill(out);
    let size = u32::try_from(out.len() - start).expect("only headers and event messages are written so");
    out[start..start + 4].copy_from_slice(&size.to_be_bytes());
}

/// As [`write_box`], of a box that opens with a version and flags.
pub(crate) fn write_full_box(
    out: &mut BytesMut,
    kind: &[u8; 4],
    version: u8,
    flags: u32,
    fill: impl FnOnce(&mut BytesMut),
) {
    write_box(out, kind, |out| {
        out.put_u32(u32::from(version) << 24 | flags);
        fill(out);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_past_its_parent_is_truncated() {
        let mut cursor = Cursor::new(FourCc(*b"moof"), &[0, 0, 0, 9, b'm', b'f', b'h', b'd']);
        let expected = Error::Truncated { kind: FourCc(*b"mfhd"), need_bytes: 9, have_bytes: 8 };
        assert_eq!(cursor.child().map(|c| c.is_some()), Err(expected));
    }

    #[test]
    fn a_size_below_the_header_is_refused() {
        for size in [2_u8, 7] {
            let bytes = [0, 0, 0, size, b'f', b'r', b'e', b'e', 0, 0, 0, 0, 0, 0, 0, 0];
            let mut cursor = Cursor::new(FourCc(*b"moof"), &bytes);
            let expected = Error::BoxSize { kind: FourCc(*b"free"), size_bytes: u64::from(size) };
            assert_eq!(cursor.child().map(|c| c.is_some()), Err(expected));
        }
    }

    #[test]
    fn a_64_bit_size_and_a_size_to_the_end_are_read() {
        let bytes = [
            0, 0, 0, 1, b'f', b'r', b'e', b'e', 0, 0, 0, 0, 0, 0, 0, 17, 42, //
            0, 0, 0, 0, b's', b'k', b'i', b'p', 1, 2,
        ];
        let mut cursor = Cursor::new(FourCc(*b"moof"), &bytes);
        assert_eq!(cursor.child().unwrap().map(|c| c.payload), Some(&[42][..]));
        assert_eq!(cursor.child().unwrap().map(|c| c.payload), Some(&[1, 2][..]));
        assert!(cursor.child().unwrap().is_none());
    }
}
