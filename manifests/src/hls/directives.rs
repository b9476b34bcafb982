// SPDX-License-Identifier: Apache-2.0
//! Delivery directives: the `_HLS_*` arguments of a playlist request (rfc8216bis, 6.2.5).
//!
//! Unknown arguments, `_HLS_*` ones too, are ignored in any order; of repeated ones the last counts. The parsed value is
//! the request's cache key: two queries that ask for the same compare equal.

use headwater_media::{PartIndex, SegmentNumber};

use super::media::{Position, Skip};

/// What a playlist request asks for beyond the playlist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Directives {
    /// Answer only once the playlist holds this.
    pub position: Option<Position>,
    /// A delta update is welcome.
    pub skip: Skip,
}

/// Why directives were refused; every case is a 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not a decimal integer, negative, or too large.
    #[error("expected a decimal integer in {name}")]
    Number {
        /// The directive.
        name: &'static str,
    },
    /// `_HLS_part` alone names no part.
    #[error("expected _HLS_msn beside _HLS_part")]
    PartWithoutSegment,
}

impl Error {
    /// The HTTP status that answers it.
    pub const fn status(self) -> u16 {
        400
    }
}

impl Directives {
    /// Reads the query of a playlist request, without its `?`.
    ///
    /// # Errors
    /// [`Error`] for a number that is none and for a part without its segment. A skip other than `YES` and `v2` is
    /// ignored, not refused.
    pub fn parse(query: &str) -> Result<Self, Error> {
        let (mut segment, mut part, mut skip) = (None, None, Skip::None);
        for argument in query.split('&') {
            let (name, value) = argument.split_once('=').unwrap_or((argument, ""));
            match name {
                "_HLS_msn" => segment = Some(number(value).ok_or(Error::Number { name: "_HLS_msn" })?),
                "_HLS_part" => {
                    let index = number(value).and_then(|n| u32::try_from(n).ok());
                    part = Some(PartIndex(index.ok_or(Error::Number { name: "_HLS_part" })?));
                }
                "_HLS_skip" => {
                    skip = match value {
                        "YES" => Skip::V1,
                        "v2" => Skip::V2,
                        _ => Skip::None,
                    }
                }
                _ => {}
            }
        }
        let position = match (segment, part) {
            (Some(segment), part) => Some(Position { segment: SegmentNumber(segment), part }),
            (None, Some(_)) => return Err(Error::PartWithoutSegment),
            (None, None) => None,
        };
        Ok(Self { position, skip })
    }
}

/// Digits only: `u64::from_str` would take a sign.
fn number(text: &str) -> Option<u64> {
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn position(segment: u64, part: Option<u32>) -> Option<Position> {
        Some(Position { segment: SegmentNumber(segment), part: part.map(PartIndex) })
    }

    #[test]
    fn order_and_unknown_arguments_do_not_matter() {
        let wanted = Ok(Directives { position: position(850_000_000, Some(3)), skip: Skip::V1 });
        assert_eq!(Directives::parse("_HLS_msn=850000000&_HLS_part=3&_HLS_skip=YES"), wanted);
        assert_eq!(Directives::parse("_HLS_skip=YES&a=b&_HLS_part=3&_HLS_new=x&&_HLS_msn=850000000"), wanted);
        assert_eq!(Directives::parse(""), Ok(Directives::default()));
    }

    #[test]
    fn of_repeated_directives_the_last_counts() {
        assert_eq!(Directives::parse("_HLS_msn=1&_HLS_msn=2").map(|d| d.position), Ok(position(2, None)));
    }

    #[test]
    fn numbers_that_are_none_are_refused() {
        for value in ["", "x", "-1", "+1", "1.5", " 1", "18446744073709551616", "%31"] {
            let query = format!("_HLS_msn={value}");
            assert_eq!(Directives::parse(&query), Err(Error::Number { name: "_HLS_msn" }), "{value:?}");
        }
        assert_eq!(Directives::parse("_HLS_msn=1&_HLS_part=4294967296"), Err(Error::Number { name: "_HLS_part" }));
    }

    #[test]
    fn a_part_without_its_segment_is_refused() {
        assert_eq!(Directives::parse("_HLS_part=1"), Err(Error::PartWithoutSegment));
        assert_eq!(Error::PartWithoutSegment.status(), 400);
    }

    #[test]
    fn an_unknown_skip_is_no_skip() {
        assert_eq!(Directives::parse("_HLS_skip=v2").map(|d| d.skip), Ok(Skip::V2));
        assert_eq!(Directives::parse("_HLS_skip=maybe").map(|d| d.skip), Ok(Skip::None));
    }

    proptest! {
        #[test]
        fn any_query_is_read_without_panic(query in "\\PC{0,80}", tail in "(&?_HLS_(msn|part|skip)=?[0-9a-zA-Z+-]{0,22}){0,4}") {
            let _ = Directives::parse(&query);
            let _ = Directives::parse(&tail);
        }
    }
}
