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
