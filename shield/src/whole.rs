// SPDX-License-Identifier: Apache-2.0
//! All bytes of an answer, in pieces of a size that an allocator has no waste for.
//!
//! What arrives in reads of any size pins more memory than it has bytes, and one allocation of a whole segment is
//! rounded up by a good part of it; see [`crate::store::Packer`].

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;

use crate::object::measured;
use crate::store::compact;

/// Slices that are smaller than this on average cost more to keep than to copy.
const SLICE_BYTES_MIN: usize = 2 << 10;

/// All bytes of an answer; clones share them.
#[derive(Clone, Debug)]
pub struct Whole {
    pieces: Arc<[Bytes]>,
    length_bytes: u64,
}

impl Whole {
    /// What was packed as it arrived, as it is to be held: as it is, if its length was known from the beginning and it
    /// did not come drop by drop; else copied once more.
    pub fn hold(packed: Vec<Bytes>, is_exact: bool) -> Self {
        let length: usize = packed.iter().map(Bytes::len).sum();
        if is_exact && length >= packed.len() * SLICE_BYTES_MIN {
            return Self::of(packed);
        }
        Self::of(compact(&packed))
    }

    /// These pieces as they are.
    pub fn of(pieces: Vec<Bytes>) -> Self {
        let length_bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self { pieces: pieces.into(), length_bytes }
    }

    /// Bytes in all.
    pub const fn length_bytes(&self) -> u64 {
        self.length_bytes
    }

    /// The pieces, in order.
    pub fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    /// All of them in a row; a copy, if there are several pieces.
    pub fn text(&self) -> Cow<'_, [u8]> {
        match &*self.pieces {
            [only] => Cow::Borrowed(only),
            several => Cow::Owned(several.concat()),
        }
    }

    /// The bytes from `first` on, and before `end`.
    pub fn slice(&self, first: u64, end: u64) -> Vec<Bytes> {
        let mut at = 0;
        let mut slices = Vec::with_capacity(self.pieces.len());
        for piece in &*self.pieces {
            let length = piece.len() as u64;
            let (from, to) = (first.saturating_sub(at).min(length), end.saturating_sub(at).min(length));
            if let (Ok(from), Ok(to)) = (usize::try_from(from), usize::try_from(to))
                && from < to
            {
                slices.push(piece.slice(from..to));
            }
            at += length;
        }
        slices
    }

    /// A response body of the bytes from `first` to `last`, both included; to the end without `last`.
    pub fn body(&self, first: u64, last: Option<u64>) -> Body {
        let end = last.map_or(self.length_bytes, |last| last.saturating_add(1).min(self.length_bytes));
        let mut slices = self.slice(first, end);
        match (slices.pop(), slices.is_empty()) {
            (None, _) => Body::empty(),
            (Some(only), true) => Body::from(only),
            (Some(last), false) => {
                slices.push(last);
                let pieces = slices.into_iter().map(Ok::<_, std::convert::Infallible>);
                measured(futures_util::stream::iter(pieces), Some(end.saturating_sub(first)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_slice_is_that_of_the_bytes(lengths in proptest::collection::vec(0_usize..9, 0..6), first in 0_u64..40, end in 0_u64..40) {
            let bytes: Vec<u8> = (0..lengths.iter().sum::<usize>()).map(|n| n as u8).collect();
            let mut rest = Bytes::from(bytes.clone());
            let whole = Whole::of(lengths.iter().map(|length| rest.split_to(*length)).collect());
            let range = usize::try_from(first).unwrap().min(bytes.len())..usize::try_from(end).unwrap().min(bytes.len());
            let expected = bytes.get(range).unwrap_or_default();
            prop_assert_eq!(whole.slice(first, end).concat(), expected);
            for is_exact in [true, false] {
                prop_assert_eq!(Whole::hold(whole.pieces().to_vec(), is_exact).slice(first, end).concat(), expected);
            }
        }
    }

    #[tokio::test]
    async fn a_body_tells_its_length_and_is_whole() {
        let whole = Whole::of(vec![Bytes::from_static(b"ab"), Bytes::from_static(b"cde")]);
        for (first, last, expected) in [(0, None, "abcde"), (1, Some(3), "bcd"), (2, None, "cde"), (5, None, "")] {
            let body = whole.body(first, last);
            assert_eq!(http_body::Body::size_hint(&body).exact(), Some(expected.len() as u64));
            assert_eq!(body.collect().await.unwrap().to_bytes(), expected);
        }
    }
}
