// SPDX-License-Identifier: Apache-2.0
//! Gathers the bytes of one box from slices cut anywhere, without a copy where one slice holds them all.

use bytes::{Buf, Bytes};

/// First step of the buffer's growth; it then doubles, and never grows past what is wanted.
const STEP_BYTES: usize = 64 * 1024;

/// What has come of one box.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    buffer: Vec<u8>,
}

impl Collector {
    /// Bytes held.
    pub(crate) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Takes from `input` what is missing to `want` bytes and returns them all, or `None` until they are here.
    ///
    /// Memory follows the bytes that came, not the size the sender claims.
    pub(crate) fn take(&mut self, input: &mut Bytes, want: usize) -> Option<Bytes> {
        if self.buffer.is_empty() && input.len() >= want {
            return Some(input.split_to(want));
        }
        let taken = input.len().min(want.saturating_sub(self.buffer.len()));
        self.append(&input[..taken], want);
        input.advance(taken);
        (self.buffer.len() >= want).then(|| self.drain())
    }

    /// Adds bytes of a box that may grow to `limit`.
    pub(crate) fn append(&mut self, bytes: &[u8], limit: usize) {
        let need = self.buffer.len() + bytes.len();
        if need > self.buffer.capacity() {
            let doubled = (self.buffer.capacity() * 2).max(STEP_BYTES).min(limit);
            self.buffer.reserve_exact(doubled.max(need) - self.buffer.len());
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Everything that came; the collector is empty again.
    pub(crate) fn drain(&mut self) -> Bytes {
        Bytes::from(std::mem::take(&mut self.buffer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_that_holds_all_is_not_copied() {
        let body = Bytes::from(vec![7; 100]);
        let mut input = body.clone();
        let taken = Collector::default().take(&mut input, 60).unwrap();
        assert_eq!((taken.as_ptr(), taken.len(), input.len()), (body.as_ptr(), 60, 40));
    }

    #[test]
    fn memory_follows_the_bytes_and_not_the_claim() {
        let mut collector = Collector::default();
        assert_eq!(collector.take(&mut Bytes::from_static(b"abc"), 64 << 20), None);
        assert!(collector.buffer.capacity() <= STEP_BYTES);
        for _ in 0..STEP_BYTES {
            assert_eq!(collector.take(&mut Bytes::from_static(b"x"), 64 << 20), None);
        }
        assert!(collector.buffer.capacity() <= 2 * STEP_BYTES);
    }
}
