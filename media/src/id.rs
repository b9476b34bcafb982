// SPDX-License-Identifier: Apache-2.0
//! Names and numbers of channels, tracks, headers, segments and parts.

use std::fmt;
use std::sync::Arc;

/// Why a name was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Empty, or past the length bound.
    #[error("expected a name of 1 to {max} characters, got {length}")]
    Length {
        /// Longest name accepted.
        max: usize,
        /// Length of the one refused.
        length: usize,
    },
    /// A character outside the grammar.
    #[error("expected letters, digits, '-', '_' and inner '.', got {found:?}")]
    Character {
        /// The first character refused.
        found: char,
    },
}

/// Longest channel or track name, in bytes.
pub const NAME_LENGTH_MAX: usize = 64;

/// Letters, digits, `-`, `_`, and `.` neither first nor last: safe in URLs, file names and metric labels.
pub fn check_name(name: &str) -> Result<(), Error> {
    if name.is_empty() || name.len() > NAME_LENGTH_MAX {
        return Err(Error::Length { max: NAME_LENGTH_MAX, length: name.len() });
    }
    let bad = name.char_indices().find(|&(at, c)| {
        !(c.is_ascii_alphanumeric() || c == '-' || c == '_' || (c == '.' && at > 0 && at + 1 < name.len()))
    });
    match bad {
        Some((_, found)) => Err(Error::Character { found }),
        None => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `name` against [`check_name`].
            ///
            /// # Errors
            /// [`Error`] says what was expected and what came.
            pub fn new(name: &str) -> Result<Self, Error> {
                check_name(name)?;
                Ok(Self(name.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// A channel's name, as in `/live/{channel}/…`.
    ChannelId
}
name! {
    /// A track's name within its channel, as in `/live/{channel}/{track}/…`.
    TrackId
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub $int);

        impl $name {
            /// The number after this one.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A segment's place on the channel's grid; also its HLS media sequence number and its DASH `$Number$`.
    SegmentNumber(u64)
}
number! {
    /// A part's place in its segment, from 0.
    PartIndex(u32)
}
number! {
    /// Which CMAF header a segment needs; grows by one with each incompatible change of the source.
    Generation(u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_escape_a_path_are_refused() {
        for bad in ["", "..", ".hidden", "trailing.", "a/b", "a b", "ü", &"x".repeat(65)] {
            assert!(ChannelId::new(bad).is_err(), "{bad:?}");
        }
        for good in ["demo", "v0", "ch-1_a", "video.1080p"] {
            assert!(TrackId::new(good).is_ok(), "{good:?}");
        }
    }
}
