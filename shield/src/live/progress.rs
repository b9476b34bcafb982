// SPDX-License-Identifier: Apache-2.0
//! How far a playlist is, read from its text, and which of two is the newer.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::time::Duration;

use bytes::Bytes;
use headwater_net::gzip::Inflater;

use super::next::Names;
use super::{dash, hls};

/// Text of a playlist or MPD at most; a longer one is passed on unread.
const TEXT_BYTES_MAX: usize = 16 << 20;
/// Dates are told by several clocks: a date counts as later only beyond this.
const CLOCK_SLACK_MS: i64 = 500;

/// What a media playlist or MPD says of its live edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// How far it is.
    pub position: Position,
    /// How often something new is to be expected: the target duration; of an MPD its longest segment, or the period
    /// at which it wants to be asked for again.
    pub target: Duration,
    /// How long the newest whole segment lasts, if that is told.
    pub period: Option<Duration>,
    /// The part target, if it has parts.
    pub part_target: Option<Duration>,
    /// The origin holds requests for what comes next (`CAN-BLOCK-RELOAD=YES`).
    pub can_block_reload: bool,
    /// The names of the last objects, from which the next one's follow.
    pub names: Names,
}

/// How far a playlist is: small, and all that has to be remembered of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// Of an HLS media playlist.
    Hls(Hls),
    /// Of an MPD.
    Dash(Dash),
}

/// How far an HLS media playlist is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hls {
    /// The media sequence number of the first segment listed.
    pub first: u64,
    /// The number that the next whole segment will have.
    pub next: u64,
    /// Parts of that next segment.
    pub parts: u64,
    /// Discontinuities up to the end.
    pub discontinuities: u64,
    /// Nothing more will come.
    pub ended: bool,
    /// When the last segment ends, by its date: milliseconds since the Unix epoch.
    pub date_ms: Option<i64>,
}

/// How far an MPD is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dash {
    /// `availabilityStartTime`: milliseconds since the Unix epoch.
    pub start_ms: Option<i64>,
    /// When the last Period begins, in microseconds of the presentation.
    pub period_us: Option<i64>,
    /// When the last segment that is told one by one ends, in microseconds of the presentation.
    pub end_us: Option<i64>,
    /// `publishTime`: milliseconds since the Unix epoch.
    pub publish_ms: Option<i64>,
    /// Nothing more will come: `type="static"`.
    pub ended: bool,
}

/// What a playlist is to an earlier one of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Newer.
    Forward,
    /// As far.
    Same,
    /// Older, or a beginning that its text does not tell from that: who asks again and hears the same knows more
    /// ([`super::Marks`]).
    Back,
    /// Begun anew: its numbers are lower, what it lists is later.
    Anew,
}

/// Reads a media playlist (HLS) or an MPD (DASH), plain or gzip; `None` for a multivariant playlist and anything else.
/// Linear in the text, whatever it is.
pub fn scan(body: &[u8]) -> Option<Progress> {
    let text = unpacked(body)?;
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&text);
    if text.starts_with(b"#EXTM3U") { hls::scan(text) } else { dash::scan(text) }
}

fn unpacked(body: &[u8]) -> Option<Cow<'_, [u8]>> {
    if !body.starts_with(&[0x1F, 0x8B]) {
        return (body.len() <= TEXT_BYTES_MAX).then_some(Cow::Borrowed(body));
    }
    let mut inflater = Inflater::default();
    inflater.push(Bytes::copy_from_slice(body));
    let mut text = Vec::new();
    while let Some(bytes) = inflater.unfold().ok()? {
        text.extend_from_slice(&bytes);
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
    }
    text.extend_from_slice(&inflater.finish().ok()?);
    (text.len() <= TEXT_BYTES_MAX).then_some(Cow::Owned(text))
}

impl Progress {
    /// What this is to an older one.
    pub fn against(&self, older: &Self) -> Step {
        self.position.against(&older.position)
    }
}

impl Position {
    /// What this is to an older one.
    pub fn against(&self, older: &Self) -> Step {
        match (self, older) {
            (Self::Hls(new), Self::Hls(old)) => new.against(old),
            (Self::Dash(new), Self::Dash(old)) => new.against(old),
            _ => Step::Anew,
        }
    }

    /// How long whoever says this needs to catch up with an older one that is further, if it seems to be behind rather
    /// than elsewhere.
    pub(super) fn lag(&self, further: &Self, target: Duration) -> Option<Duration> {
        match (self, further) {
            (Self::Hls(new), Self::Hls(old)) if new.next > old.first => {
                let segments = old.next.saturating_sub(new.next).saturating_add(1);
                Some(target.saturating_mul(u32::try_from(segments).unwrap_or(u32::MAX)))
            }
            (Self::Dash(new), Self::Dash(old)) if new.start_ms == old.start_ms => {
                let behind_us = old.end_us?.saturating_sub(new.end_us?);
                Some(Duration::from_micros(u64::try_from(behind_us).unwrap_or(0)) + target)
            }
            _ => None,
        }
    }

    /// Nothing more will come.
    pub fn is_ended(&self) -> bool {
        match self {
            Self::Hls(hls) => hls.ended,
            Self::Dash(dash) => dash.ended,
        }
    }
}

impl Hls {
    fn against(&self, old: &Self) -> Step {
        match (self.next, self.parts).cmp(&(old.next, old.parts)) {
            Ordering::Greater => Step::Forward,
            Ordering::Equal if self.ended == old.ended => Step::Same,
            Ordering::Equal if self.ended => Step::Forward,
            // What has ended and goes on after all says so by what follows.
            Ordering::Equal => Step::Back,
            // A twin behind has lower numbers and earlier dates; who counts anew has lower numbers and later dates.
            Ordering::Less if self.next < old.next && later(self.date_ms, old.date_ms) => Step::Anew,
            Ordering::Less => Step::Back,
        }
    }
}

impl Dash {
    fn against(&self, old: &Self) -> Step {
        if let (Some(new), Some(old)) = (self.start_ms, old.start_ms)
            && new != old
        {
            return if new > old { Step::Anew } else { Step::Back };
        }
        // What is told one by one is compared first: publish times are the clock of whoever wrote them.
        let by_media = compare(self.period_us, old.period_us).then(compare(self.end_us, old.end_us));
        match by_media {
            Ordering::Greater => Step::Forward,
            Ordering::Less => Step::Back,
            Ordering::Equal if self.ended != old.ended => {
                if self.ended {
                    Step::Forward
                } else {
                    Step::Back
                }
            }
            Ordering::Equal if later(self.publish_ms, old.publish_ms) => Step::Forward,
            Ordering::Equal => Step::Same,
        }
    }
}

fn later(new: Option<i64>, old: Option<i64>) -> bool {
    matches!((new, old), (Some(new), Some(old)) if new > old.saturating_add(CLOCK_SLACK_MS))
}

/// Equal unless both are told.
fn compare(new: Option<i64>, old: Option<i64>) -> Ordering {
    new.zip(old).map_or(Ordering::Equal, |(new, old)| new.cmp(&old))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(first: u64, next: u64, parts: u64) -> Hls {
        Hls { first, next, parts, ..Hls::default() }
    }

    fn step(new: Hls, old: Hls) -> Step {
        Position::Hls(new).against(&Position::Hls(old))
    }

    #[test]
    fn numbers_and_parts_order_playlists() {
        assert_eq!(step(at(5, 11, 0), at(5, 10, 4)), Step::Forward);
        assert_eq!(step(at(5, 10, 4), at(5, 10, 3)), Step::Forward);
        assert_eq!(step(at(6, 10, 3), at(5, 10, 3)), Step::Same);
        assert_eq!(step(at(5, 10, 2), at(5, 10, 3)), Step::Back);
        assert_eq!(step(at(4, 9, 9), at(5, 10, 0)), Step::Back);
        assert_eq!(step(at(0, 1, 0), at(5, 10, 0)), Step::Back);
    }

    #[test]
    fn an_end_is_newer_and_what_goes_on_after_it_is_seen_by_its_numbers() {
        let ended = Hls { ended: true, ..at(5, 10, 0) };
        assert_eq!(step(ended, at(5, 10, 0)), Step::Forward);
        assert_eq!(step(at(5, 10, 0), ended), Step::Back);
        assert_eq!(step(at(5, 11, 0), ended), Step::Forward);
        assert_eq!(step(ended, ended), Step::Same);
        assert_eq!(step(Hls { ended: true, ..at(5, 9, 0) }, at(5, 10, 0)), Step::Back);
    }

    #[test]
    fn lower_numbers_with_later_dates_are_a_stream_begun_anew() {
        let dated = |next, date_ms| Hls { date_ms: Some(date_ms), ..at(0, next, 0) };
        assert_eq!(step(dated(3, 900_000), dated(100, 500_000)), Step::Anew);
        assert_eq!(step(dated(99, 498_000), dated(100, 500_000)), Step::Back);
        assert_eq!(step(dated(99, 500_400), dated(100, 500_000)), Step::Back);
        assert_eq!(step(at(0, 3, 0), dated(100, 500_000)), Step::Back);
    }

    #[test]
    fn an_mpd_is_ordered_by_what_it_lists_and_then_by_its_publish_time() {
        let base =
            Dash { start_ms: Some(0), period_us: Some(0), end_us: Some(10), publish_ms: Some(10_000), ended: false };
        let step = |new: Dash| Position::Dash(new).against(&Position::Dash(base));
        assert_eq!(step(Dash { end_us: Some(12), publish_ms: Some(9_000), ..base }), Step::Forward);
        assert_eq!(step(Dash { end_us: Some(8), publish_ms: Some(11_000), ..base }), Step::Back);
        assert_eq!(step(Dash { period_us: Some(5), end_us: Some(6), ..base }), Step::Forward);
        assert_eq!(step(Dash { publish_ms: Some(11_000), ..base }), Step::Forward);
        assert_eq!(step(Dash { publish_ms: Some(9_800), ..base }), Step::Same);
        assert_eq!(step(Dash { ended: true, ..base }), Step::Forward);
        assert_eq!(step(Dash { start_ms: Some(60_000), end_us: Some(2), ..base }), Step::Anew);
        assert_eq!(step(Dash { start_ms: Some(-1), ..base }), Step::Back);
        assert_eq!(Position::Dash(base).against(&Position::Hls(at(0, 1, 0))), Step::Anew);
    }

    #[test]
    fn a_packed_playlist_is_unpacked_and_a_bomb_is_not() {
        let text = b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n1.m4s\n";
        assert_eq!(scan(&headwater_net::gzip::compress(text)), scan(text));
        assert!(scan(text).is_some());
        let mut bomb = text.to_vec();
        bomb.resize(TEXT_BYTES_MAX + 1, b'\n');
        assert_eq!(scan(&headwater_net::gzip::compress(&bomb)), None);
        assert_eq!(scan(&[0x1F, 0x8B, 1, 2, 3]), None);
    }
}
