// SPDX-License-Identifier: Apache-2.0
//! How an answer's body is delimited (RFC 9112, 6), piece by piece.

pub(super) enum Framing {
    /// So many bytes are still to come.
    Length(u64),
    /// A line with a chunk's size comes.
    Size,
    /// So many bytes of the chunk are still to come.
    Chunk(u64),
    /// The end of a chunk's line comes.
    Line,
    /// The empty line after the last chunk comes.
    End,
    Done,
}

/// What the bytes at hand begin with.
pub(super) enum Step {
    Body(usize),
    /// Framing.
    Skip(usize),
    /// More are needed to tell.
    More,
    Done,
    Broken,
}

impl Framing {
    /// As the head, in lower case, has it.
    pub(super) fn of(head: &str) -> Option<Self> {
        let value =
            |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
        if value("transfer-encoding") == Some("chunked") {
            return Some(Self::Size);
        }
        value("content-length")?.parse().ok().map(Self::Length)
    }

    pub(super) fn step(&mut self, bytes: &[u8]) -> Step {
        match self {
            Self::Length(0) | Self::Done => Step::Done,
            Self::Length(left) | Self::Chunk(left) if bytes.is_empty() => {
                debug_assert!(*left > 0);
                Step::More
            }
            Self::Length(left) => {
                let now = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= now as u64;
                Step::Body(now)
            }
            Self::Chunk(left) => {
                let now = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= now as u64;
                if *left == 0 {
                    *self = Self::Line;
                }
                Step::Body(now)
            }
            Self::Size => {
                let Some(end) = bytes.windows(2).position(|w| w == b"\r\n") else { return Step::More };
                let size = std::str::from_utf8(&bytes[..end])
                    .ok()
                    .and_then(|line| u64::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16).ok());
                let Some(size) = size else { return Step::Broken };
                *self = if size == 0 { Self::End } else { Self::Chunk(size) };
                Step::Skip(end + 2)
            }
            Self::Line | Self::End if bytes.len() < 2 => Step::More,
            Self::Line | Self::End if !bytes.starts_with(b"\r\n") => Step::Broken,
            Self::Line => {
                *self = Self::Size;
                Step::Skip(2)
            }
            Self::End => {
                *self = Self::Done;
                Step::Skip(2)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Framing, Step};

    /// The body of `bytes` given in pieces of that size, and whether it ended.
    fn body(head: &str, bytes: &[u8], piece: usize) -> (Vec<u8>, bool) {
        let mut framing = Framing::of(head).expect("framing");
        let (mut body, mut at, mut given) = (Vec::new(), 0, 0);
        loop {
            match framing.step(&bytes[at..given]) {
                Step::Body(length) => {
                    body.extend_from_slice(&bytes[at..at + length]);
                    at += length;
                }
                Step::Skip(length) => at += length,
                Step::More if given == bytes.len() => return (body, false),
                Step::More => given = (given + piece).min(bytes.len()),
                Step::Done => return (body, true),
                Step::Broken => return (body, false),
            }
        }
    }

    #[test]
    fn a_body_is_the_same_however_its_bytes_arrive() {
        let chunks = b"3;a=b\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n";
        for piece in 1..=chunks.len() {
            assert_eq!(body("transfer-encoding: chunked", chunks, piece), (b"abc0123456789".to_vec(), true));
            assert_eq!(body("content-length: 5", b"01234next", piece), (b"01234".to_vec(), true));
        }
    }

    #[test]
    fn a_cut_or_broken_body_never_ends_well() {
        let whole = b"3\r\nabc\r\n0\r\n\r\n";
        for length in 0..whole.len() {
            assert!(!body("transfer-encoding: chunked", &whole[..length], 4).1, "{length}");
        }
        assert!(!body("transfer-encoding: chunked", b"3\r\nabcd\r\n0\r\n\r\n", 4).1);
        assert!(!body("content-length: 5", b"0123", 4).1);
    }
}
