// SPDX-License-Identifier: Apache-2.0
//! Vectors in the pieces that an encoder sends, moved to where the clock is.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::harness::project;

/// What is sent together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// `ftyp` and `moov`.
    Header(Vec<u8>),
    /// `moof` and `mdat` with what stands before them, or the stump of it.
    Fragment(Vec<u8>),
    /// Anything else.
    Rest(Vec<u8>),
}

impl Piece {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Header(bytes) | Self::Fragment(bytes) | Self::Rest(bytes) => bytes,
        }
    }
}

/// A body in pieces, in the order of sending.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) pieces: Vec<Piece>,
}

/// A length that borders of a stream are whole multiples of, as a fraction of a second.
pub(crate) type Grid = (u64, u64);

impl Stream {
    /// A file under `tests/vectors`.
    pub(crate) fn vector(name: &str) -> Self {
        Self::of(&vector(name))
    }

    /// A body in one piece.
    pub(crate) fn raw(body: &[u8]) -> Self {
        Self { pieces: vec![Piece::Rest(body.to_vec())] }
    }

    /// Takes a body apart.
    pub(crate) fn of(body: &[u8]) -> Self {
        let mut pieces = Vec::new();
        let mut open = Vec::new();
        for (kind, bytes) in boxes(body) {
            open.extend_from_slice(bytes);
            let piece = match kind {
                b"ftyp" | b"styp" | b"prft" | b"emsg" | b"sidx" | b"moof" => continue,
                b"moov" => Piece::Header,
                b"mdat" => Piece::Fragment,
                _ => Piece::Rest,
            };
            pieces.push(piece(std::mem::take(&mut open)));
        }
        if !open.is_empty() {
            pieces.push(Piece::Fragment(open));
        }
        Self { pieces }
    }

    /// The first header.
    pub(crate) fn header(&self) -> Vec<u8> {
        let header = self.pieces.iter().find(|p| matches!(p, Piece::Header(_)));
        header.map(|p| p.bytes().to_vec()).unwrap_or_default()
    }

    /// Every fragment.
    pub(crate) fn fragments(&self) -> Vec<&[u8]> {
        self.pieces.iter().filter(|p| matches!(p, Piece::Fragment(_))).map(Piece::bytes).collect()
    }

    pub(crate) fn whole(&self) -> Vec<u8> {
        self.pieces.iter().flat_map(|p| p.bytes().iter().copied()).collect()
    }

    /// Ticks a second of the first track.
    pub(crate) fn timescale(&self) -> u64 {
        let header = self.header();
        let trak = inside(&header, &[b"moov", b"trak", b"mdia", b"mdhd"]);
        let mdhd = &header[trak.expect("a track has an mdhd")..];
        let at = if mdhd[0] == 1 { 20 } else { 12 };
        u64::from(u32::from_be_bytes(mdhd[at..at + 4].try_into().expect("four bytes")))
    }

    /// Decode time of the first fragment, in ticks.
    pub(crate) fn start(&self) -> u64 {
        self.fragments().first().and_then(|f| decode_time(f)).expect("a first fragment with a time")
    }

    /// Moves every time by so many ticks, modulo its width.
    pub(crate) fn shifted(mut self, ticks: i64) -> Self {
        for piece in &mut self.pieces {
            if let Piece::Fragment(bytes) = piece {
                shift(bytes, ticks);
            }
        }
        self
    }

    /// Moves the stream by whole multiples of `grid` so that it begins `seconds` before now, or a little earlier.
    pub(crate) fn ago(self, seconds: u64, grid: Grid) -> Self {
        let (scale, start) = (self.timescale(), self.start());
        let wanted = (seconds_now() - seconds) * scale;
        let step = scale * grid.0 / grid.1;
        assert_eq!(step * grid.1, scale * grid.0, "the grid is whole in ticks");
        let by = i64::try_from(wanted).expect("this century") - i64::try_from(start).expect("this century");
        self.shifted(by.div_euclid(i64::try_from(step).expect("short")) * i64::try_from(step).expect("short"))
    }

    /// The fragments `times` over, each turn later by `ticks`.
    pub(crate) fn looped(&self, times: i64, ticks: i64) -> Self {
        let mut pieces: Vec<Piece> = self.pieces.iter().filter(|p| matches!(p, Piece::Header(_))).cloned().collect();
        for turn in 0..times {
            let moved = self.clone().shifted(turn * ticks);
            pieces.extend(moved.pieces.into_iter().filter(|p| matches!(p, Piece::Fragment(_))));
        }
        Self { pieces }
    }
}

/// The bytes of a file under `tests/vectors`.
pub(crate) fn vector(name: &str) -> Vec<u8> {
    std::fs::read(project(&format!("tests/vectors/{name}"))).unwrap_or_else(|e| panic!("{name}: {e}"))
}

pub(crate) fn seconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// Boxes with their types; what is not whole is the rest.
fn boxes(bytes: &[u8]) -> Vec<(&[u8; 4], &[u8])> {
    let mut found = Vec::new();
    let mut rest = bytes;
    while rest.len() >= 8 {
        let kind: &[u8; 4] = rest[4..8].try_into().expect("four bytes");
        let length = match u32::from_be_bytes(rest[..4].try_into().expect("four bytes")) {
            0 => rest.len(),
            1 if rest.len() >= 16 => u64::from_be_bytes(rest[8..16].try_into().expect("eight bytes")) as usize,
            n => n as usize,
        };
        if length < 8 {
            break;
        }
        let (whole, after) = rest.split_at(length.min(rest.len()));
        found.push((kind, whole));
        rest = after;
    }
    if !rest.is_empty() {
        found.push((b"rest", rest));
    }
    found
}

/// Where the payload of the box at that path begins.
fn inside(bytes: &[u8], path: &[&[u8; 4]]) -> Option<usize> {
    let mut at = 0;
    for (kind, whole) in boxes(bytes) {
        if kind == path[0] {
            let payload = at + 8;
            if path.len() == 1 {
                return Some(payload);
            }
            return inside(&whole[8..], &path[1..]).map(|found| payload + found);
        }
        at += whole.len();
    }
    None
}

/// Decode time of a fragment's first track, if it tells one.
pub(crate) fn decode_time(fragment: &[u8]) -> Option<u64> {
    let at = inside(fragment, &[b"moof", b"traf", b"tfdt"])?;
    Some(match fragment[at] {
        0 => u64::from(u32::from_be_bytes(fragment[at + 4..at + 8].try_into().expect("four bytes"))),
        _ => u64::from_be_bytes(fragment[at + 4..at + 12].try_into().expect("eight bytes")),
    })
}

fn shift(fragment: &mut [u8], ticks: i64) {
    let mut at = 0;
    let mut places = Vec::new();
    for (kind, whole) in boxes(fragment) {
        match kind {
            b"moof" => {
                let mut inner = at + 8;
                for (kind, child) in boxes(&whole[8..]) {
                    if kind == b"traf"
                        && let Some(tfdt) = inside(&child[8..], &[b"tfdt"])
                    {
                        let payload = inner + 8 + tfdt;
                        places.push((payload + 4, whole[payload - at] != 0));
                    }
                    inner += child.len();
                }
            }
            b"prft" => places.push((at + 24, whole[8] != 0)),
            b"emsg" if whole[8] == 1 => places.push((at + 16, true)),
            _ => {}
        }
        at += whole.len();
    }
    for (at, wide) in places {
        if wide {
            let time = u64::from_be_bytes(fragment[at..at + 8].try_into().expect("eight bytes"));
            fragment[at..at + 8].copy_from_slice(&time.wrapping_add_signed(ticks).to_be_bytes());
        } else {
            let time = u32::from_be_bytes(fragment[at..at + 4].try_into().expect("four bytes"));
            fragment[at..at + 4].copy_from_slice(&time.wrapping_add(ticks as u32).to_be_bytes());
        }
    }
}

#[test]
fn a_shift_there_and_back_changes_nothing() {
    for name in ["cmaf/v25_chunked_prft.cmfv", "cmaf/v25_lo_emsg.cmfv", "bad/tfdt_v0_wraps_2e32.cmfv"] {
        let stream = Stream::vector(name);
        let there = stream.clone().shifted(123_456_789);
        assert_ne!(there.whole(), stream.whole(), "{name}");
        assert_eq!(there.shifted(-123_456_789).whole(), stream.whole(), "{name}");
    }
}
