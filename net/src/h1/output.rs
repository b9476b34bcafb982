// SPDX-License-Identifier: Apache-2.0
//! What waits to be written on a connection: text of ours and slices of bodies, in order, by vectored writes.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

/// Slices of one write. What is beyond it goes with the next.
const SLICES_MAX: usize = 32;

#[derive(Debug)]
enum Piece {
    /// So many of the next bytes of the text.
    Text(usize),
    /// Of a body.
    Data(Bytes),
}

/// Heads and lines between chunks lie in one text, bodies stay where they are.
#[derive(Debug, Default)]
pub(super) struct Output {
    text: Vec<u8>,
    /// How much of the text is written.
    text_written: usize,
    pieces: VecDeque<Piece>,
    length_bytes: usize,
}

impl Output {
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Bytes that wait.
    pub(super) const fn length_bytes(&self) -> usize {
        self.length_bytes
    }

    pub(super) fn pieces(&self) -> usize {
        self.pieces.len()
    }

    /// Forgets what waits.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.pieces.clear();
        (self.text_written, self.length_bytes) = (0, 0);
    }

    /// Gives back what an idle connection needs not hold.
    pub(super) fn release(&mut self) {
        *self = Self::default();
    }

    /// Where a head is written; nothing else may wait. It is queued by [`Self::head`].
    pub(super) const fn text(&mut self) -> &mut Vec<u8> {
        &mut self.text
    }

    /// Queues what was written to [`Self::text`] before every body.
    pub(super) fn head(&mut self) {
        let length = self.text.len();
        self.pieces.push_front(Piece::Text(length));
        self.length_bytes += length;
    }

    /// Queues text.
    pub(super) fn line(&mut self, line: &[u8]) {
        self.text.extend_from_slice(line);
        self.length_bytes += line.len();
        if let Some(Piece::Text(length)) = self.pieces.back_mut() {
            *length += line.len();
        } else {
            self.pieces.push_back(Piece::Text(line.len()));
        }
    }

    /// Queues bytes of a body.
    pub(super) fn data(&mut self, data: Bytes) {
        if !data.is_empty() {
            self.length_bytes += data.len();
            self.pieces.push_back(Piece::Data(data));
        }
    }

    /// Leaves bodies out; before [`Self::head`].
    pub(super) fn leave_out(&mut self) {
        self.pieces.clear();
        self.length_bytes = 0;
    }

    /// Writes once as much as the stream takes.
    pub(super) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let (mut count, mut text_at) = (0, self.text_written);
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            *slice = match piece {
                Piece::Text(length) => {
                    let text = &self.text[text_at..text_at + length];
                    text_at += length;
                    IoSlice::new(text)
                }
                Piece::Data(data) => IoSlice::new(data),
            };
            count += 1;
        }
        let written = ready!(Pin::new(stream).poll_write_vectored(cx, &slices[..count]))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.advance(written);
        Poll::Ready(Ok(written))
    }

    fn advance(&mut self, mut written: usize) {
        self.length_bytes -= written;
        while written > 0 {
            let Some(piece) = self.pieces.front_mut() else { break };
            let taken = match piece {
                Piece::Text(length) => {
                    let taken = written.min(*length);
                    *length -= taken;
                    self.text_written += taken;
                    (taken, *length == 0)
                }
                Piece::Data(data) => {
                    let taken = written.min(data.len());
                    data.advance(taken);
                    (taken, data.is_empty())
                }
            };
            written -= taken.0;
            if taken.1 {
                self.pieces.pop_front();
            }
        }
        if self.pieces.is_empty() {
            self.clear();
        }
    }
}
