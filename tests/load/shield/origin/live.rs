// SPDX-License-Identifier: Apache-2.0
//! A live channel by the clock: segment n is the second n of Unix time, and is there some time after that second is over.

use std::fmt::Write as _;
use std::time::Duration;

/// Names and bits a second: 2.4 Mb/s on average.
pub(crate) const RENDITIONS: [(&str, u64); 5] =
    [("v0", 400_000), ("v1", 800_000), ("v2", 1_600_000), ("v3", 3_000_000), ("v4", 6_000_000)];

const LISTED: u64 = 6;
pub(crate) const PARTS: u64 = 5;
pub(crate) const PART_MS: u64 = 200;

/// How long after its second a segment is there: not on the second, where caches that count in seconds would happen to
/// be right.
const LATE_MS: u64 = 370;
/// And not evenly, as an encoder is not.
const JITTER_MS: u64 = 40;

/// The newest segment that is complete.
pub(crate) fn newest(now_ms: f64) -> u64 {
    let candidate = (now_ms / 1e3) as u64 - 1;
    if published_ms(candidate) <= now_ms { candidate } else { candidate - 1 }
}

/// When a segment is complete, in milliseconds of Unix time.
pub(crate) fn published_ms(segment: u64) -> f64 {
    let jitter = segment.wrapping_mul(0x9e37_79b9_7f4a_7c15) % JITTER_MS;
    ((segment + 1) * 1_000 + LATE_MS + jitter) as f64
}

pub(crate) fn segment_bytes(rendition: &str) -> Option<u64> {
    RENDITIONS.iter().find(|(name, _)| *name == rendition).map(|(_, bits)| bits / 8)
}

pub(super) fn playlist(rendition: &str, newest: u64) -> String {
    let first = newest + 1 - LISTED;
    let mut text = format!("#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:{first}\n");
    for number in first..=newest {
        let _ = write!(text, "#EXTINF:1.00000,\n/live/{rendition}/{number}.m4s\n");
    }
    text
}

/// A part by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Part {
    pub(crate) segment: u64,
    pub(crate) index: u64,
}

impl From<(u64, u64)> for Part {
    fn from((segment, index): (u64, u64)) -> Self {
        Self { segment: segment + index / PARTS, index: index % PARTS }
    }
}

impl Part {
    /// The newest that is released.
    pub(crate) fn newest(now_ms: f64) -> Self {
        let released = (now_ms / PART_MS as f64) as u64 - 1;
        Self { segment: released / PARTS, index: released % PARTS }
    }

    pub(crate) fn after(self, parts: u64) -> Self {
        Self::from((self.segment, self.index + parts))
    }

    /// When it is released, in milliseconds of Unix time.
    pub(crate) fn released_ms(self) -> f64 {
        ((self.segment * PARTS + self.index + 1) * PART_MS) as f64
    }
}

/// Waits until a part is released.
pub(super) async fn released(part: Part) {
    loop {
        let early = part.released_ms() - super::now_ms();
        if early <= 0.0 {
            return;
        }
        tokio::time::sleep(Duration::from_secs_f64(early / 1e3)).await;
    }
}

/// A low-latency playlist of the last segments, parts of the last three among them.
pub(super) fn playlist_of_parts(name: &str, newest: Part) -> String {
    let first = newest.segment - LISTED;
    let mut text = format!(
        "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:1\n#EXT-X-PART-INF:PART-TARGET=0.2\n\
         #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.6\n#EXT-X-MEDIA-SEQUENCE:{first}\n"
    );
    for segment in first..=newest.segment {
        let parts = if segment == newest.segment { newest.index + 1 } else { PARTS };
        if segment + 3 > newest.segment {
            for index in 0..parts {
                let _ = writeln!(text, "#EXT-X-PART:DURATION=0.20000,URI=\"/parts/{name}/{segment}.{index}.m4s\"");
            }
        }
        if parts == PARTS {
            let _ = write!(text, "#EXTINF:1.00000,\n/parts/{name}/{segment}.m4s\n");
        }
    }
    text
}

/// The last part that a playlist lists.
pub(crate) fn last_part(playlist: &str) -> Option<Part> {
    let name = playlist.lines().rev().find(|line| line.starts_with("#EXT-X-PART:"))?.rsplit('/').next()?;
    let mut numbers = name.split('.').filter_map(|n| n.parse().ok());
    Some(Part { segment: numbers.next()?, index: numbers.next()? })
}

/// The last segment that a playlist lists.
pub(crate) fn last_segment(playlist: &str) -> Option<u64> {
    let name = playlist.lines().rev().find(|line| line.ends_with(".m4s"))?.rsplit('/').next()?;
    name.strip_suffix(".m4s")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Part, last_part, last_segment, newest, playlist, playlist_of_parts, published_ms};

    #[test]
    fn the_newest_segment_is_the_last_that_is_published() {
        for ms in (1_800_000_000_000_u64..1_800_000_005_000).step_by(7) {
            let now = ms as f64;
            let segment = newest(now);
            assert!(published_ms(segment) <= now && now < published_ms(segment + 1), "{now}");
        }
        assert_eq!(last_segment(&playlist("v0", 1_800_000_000)), Some(1_800_000_000));
    }

    #[test]
    fn a_playlist_of_parts_ends_with_the_newest() {
        let mut part = Part { segment: 1_800_000_000, index: 3 };
        for _ in 0..6 {
            assert_eq!(Part::newest(part.released_ms()), part);
            assert_eq!(last_part(&playlist_of_parts("x", part)), Some(part));
            part = part.after(1);
        }
    }
}
