// SPDX-License-Identifier: Apache-2.0
//! The manners in which encoders send a body.

use super::media::{Piece, Stream};
use super::stage::Channel;
use crate::harness::{SOON, until};
use crate::wire::{Answer, Wire};

/// How a stream goes over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// One chunked POST, each piece a chunk, as ffmpeg's long push.
    Long,
    /// One POST in chunks that end anywhere.
    Dribbled,
    /// One request of known length for the header, and for each fragment, as AWS encoders do.
    PerFragment,
    /// One PUT of known length.
    Whole,
    /// POSTs whose connections break within every second fragment; header and that fragment come again on another.
    Broken,
}

impl Manner {
    pub(crate) const ALL: [Self; 5] = [Self::Long, Self::Dribbled, Self::PerFragment, Self::Whole, Self::Broken];
}

/// A long POST that is under way.
#[derive(Debug)]
pub(crate) struct Body<'a> {
    channel: Channel<'a>,
    wire: Wire,
    sent_bytes: u64,
    before_bytes: u64,
}

impl<'a> Body<'a> {
    pub(crate) fn open(channel: &Channel<'a>, name: &str) -> Self {
        let mut wire = Wire::open(&channel.origin.base);
        wire.begin(&channel.path(&format!("Streams({name}.cmfv)")));
        Self { channel: channel.clone(), wire, sent_bytes: 0, before_bytes: channel.received_bytes() }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.wire.chunk(bytes);
            self.sent_bytes += bytes.len() as u64;
        }
    }

    pub(crate) const fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    /// Waits until the origin has read all that was sent; no other body of the channel may be under way.
    pub(crate) fn read_by_origin(&self) {
        let wanted = self.before_bytes + self.sent_bytes;
        let read = until(SOON, || (self.channel.received_bytes() >= wanted).then_some(()));
        assert!(read.is_some(), "{}: {} of {wanted} bytes read", self.channel.name, self.channel.received_bytes());
    }

    /// Ends the body cleanly.
    pub(crate) fn finish(mut self) -> Answer {
        self.wire.chunk(b"");
        self.wire.answer("POST")
    }
}

/// Sends all of `stream` under `name`; the last answer.
pub(crate) fn send(channel: &Channel<'_>, name: &str, stream: &Stream, manner: Manner) -> Answer {
    let path = channel.path(&format!("Streams({name}.cmfv)"));
    match manner {
        Manner::Long => {
            let mut body = Body::open(channel, name);
            stream.pieces.iter().for_each(|piece| body.send(piece.bytes()));
            body.finish()
        }
        Manner::Dribbled => {
            let mut body = Body::open(channel, name);
            let whole = stream.whole();
            let mut rest = whole.as_slice();
            for length in [1, 2, 7, 5, 4_093, 16, 1, 32_768, 333].into_iter().cycle() {
                let (piece, after) = rest.split_at(length.min(rest.len()));
                body.send(piece);
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            body.finish()
        }
        Manner::PerFragment => {
            let mut wire = Wire::open(&channel.origin.base);
            let mut last = None;
            for (n, piece) in stream.pieces.iter().enumerate() {
                let object = match piece {
                    Piece::Header(_) => "InitializationSegment".to_owned(),
                    Piece::Fragment(_) | Piece::Rest(_) => format!("Segment({n})"),
                };
                let answer = wire.request("PUT", &format!("{path}/{object}"), piece.bytes());
                let refused = answer.status != 200;
                last = Some(answer);
                if refused {
                    break;
                }
            }
            last.expect("a piece")
        }
        Manner::Whole => Wire::open(&channel.origin.base).request("PUT", &path, &stream.whole()),
        Manner::Broken => {
            let mut body = Body::open(channel, name);
            let mut header = Vec::new();
            for (n, piece) in stream.pieces.iter().enumerate() {
                let bytes = piece.bytes();
                match piece {
                    Piece::Header(_) => header = bytes.to_vec(),
                    Piece::Fragment(_) if n % 2 == 0 => {
                        body.send(&bytes[..bytes.len() * 2 / 3]);
                        body.read_by_origin();
                        drop(body);
                        body = Body::open(channel, name);
                        body.send(&header);
                    }
                    _ => {}
                }
                body.send(bytes);
            }
            body.finish()
        }
    }
}
