// SPDX-License-Identifier: Apache-2.0
//! Who sends a track, and in which coding: each body has its own header, and one coding is on air.
//!
//! Senders of the same coding relieve each other anywhere; the timeline sees to that. One of another coding stands by
//! while a living one is on air, so that two encoders that differ never take turns: it takes over when the other has
//! ended or been silent for a while. Where a body is one object of many nobody else lives, and a change is at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use headwater_media::UtcTime;
use headwater_packager::cmaf::{Compatibility, TrackHeader};

/// An open body that brings nothing for this long is no longer on air.
const SILENT: Duration = Duration::from_secs(4);

/// The open bodies of one track.
#[derive(Debug, Default)]
pub(super) struct Sources {
    bodies: BTreeMap<u64, Source>,
}

#[derive(Debug)]
struct Source {
    header: Arc<TrackHeader>,
    /// An endless body, rather than an object.
    long: bool,
    /// When its last fragment came that was on air.
    last: Option<UtcTime>,
    standing_by: bool,
}

/// What becomes of a body's fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is of the coding on air.
    OnAir,
    /// Its coding goes on air.
    TakesOver,
    /// Another is on air; true when that begins.
    StandsBy(bool),
}

impl Sources {
    /// A body brings a header, its first or another.
    pub(super) fn header(&mut self, body: u64, header: Arc<TrackHeader>, long: bool) {
        let source = self.bodies.entry(body).or_insert_with(|| Source {
            header: Arc::clone(&header),
            long,
            last: None,
            standing_by: false,
        });
        source.header = header;
    }

    /// The header that a body's samples need, if it has one of its own.
    pub(super) fn header_of(&self, body: u64) -> Option<Arc<TrackHeader>> {
        self.bodies.get(&body).map(|source| Arc::clone(&source.header))
    }

    /// A body has ended.
    pub(super) fn closed(&mut self, body: u64) {
        self.bodies.remove(&body);
    }

    /// Whether a fragment of `body`, coded as `header`, is passed on where `on_air` is the coding on air.
    pub(super) fn judge(&mut self, body: u64, header: &TrackHeader, on_air: &TrackHeader, now: UtcTime) -> Verdict {
        let fits = on_air.compatible_with(header) != Compatibility::NewGeneration;
        let lives = !fits
            && self.bodies.iter().any(|(other, source)| {
                *other != body && source.long && source.last.is_some_and(|last| now.since(last) < SILENT)
            });
        let Some(source) = self.bodies.get_mut(&body) else {
            return if fits { Verdict::OnAir } else { Verdict::StandsBy(false) };
        };
        if lives {
            source.last = None;
            return Verdict::StandsBy(!std::mem::replace(&mut source.standing_by, true));
        }
        source.last = Some(now);
        source.standing_by = false;
        if fits { Verdict::OnAir } else { Verdict::TakesOver }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use headwater_packager::cmaf::Header;

    const HEADER_BYTES: usize = 820;

    fn coding(name: &str, from: usize) -> Arc<TrackHeader> {
        let path = format!("{}/../tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
        let bytes = std::fs::read(path).unwrap();
        let at = bytes.windows(4).enumerate().filter(|(_, w)| *w == b"ftyp").nth(from).unwrap().0 - 4;
        let source = Bytes::copy_from_slice(&bytes[at..at + HEADER_BYTES]);
        Arc::new(Header::parse(&source).unwrap().tracks[0].clone())
    }

    fn at(seconds: i64) -> UtcTime {
        UtcTime::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn another_coding_stands_by_until_the_one_on_air_falls_silent() {
        let (one, two) = (coding("bad/init_change_midstream.cmfv", 0), coding("bad/init_change_midstream.cmfv", 1));
        let mut sources = Sources::default();
        sources.header(1, Arc::clone(&one), true);
        sources.header(2, Arc::clone(&two), true);
        assert_eq!(sources.judge(1, &one, &one, at(0)), Verdict::OnAir);
        assert_eq!(sources.judge(2, &two, &one, at(1)), Verdict::StandsBy(true));
        assert_eq!(sources.judge(2, &two, &one, at(2)), Verdict::StandsBy(false));
        assert_eq!(sources.judge(2, &two, &one, at(5)), Verdict::TakesOver);
        assert_eq!(sources.judge(1, &one, &two, at(6)), Verdict::StandsBy(true));
        sources.closed(2);
        assert_eq!(sources.judge(1, &one, &two, at(6)), Verdict::TakesOver);
    }

    #[test]
    fn a_body_that_changes_its_own_coding_does_so_at_once() {
        let (one, two) = (coding("bad/init_change_midstream.cmfv", 0), coding("bad/init_change_midstream.cmfv", 1));
        let mut sources = Sources::default();
        sources.header(1, Arc::clone(&one), true);
        assert_eq!(sources.judge(1, &one, &one, at(0)), Verdict::OnAir);
        sources.header(1, Arc::clone(&two), true);
        assert_eq!(sources.judge(1, &two, &one, at(0)), Verdict::TakesOver);
    }

    #[test]
    fn objects_change_the_coding_at_once() {
        let (one, two) = (coding("bad/init_change_midstream.cmfv", 0), coding("bad/init_change_midstream.cmfv", 1));
        let mut sources = Sources::default();
        sources.header(1, Arc::clone(&one), false);
        assert_eq!(sources.judge(1, &one, &one, at(0)), Verdict::OnAir);
        sources.header(2, Arc::clone(&two), false);
        assert_eq!(sources.judge(2, &two, &one, at(0)), Verdict::TakesOver);
    }
}
