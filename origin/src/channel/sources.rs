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
    /// Senders there have been.
    senders: u32,
    /// The sender whose media comes in objects, if there has been one.
    of_objects: Option<u32>,
    on_air: Option<OnAir>,
}

/// Who is said to send the track.
#[derive(Debug)]
struct OnAir {
    sender: u32,
    codec: String,
    last: UtcTime,
    /// Its body has ended.
    ended: bool,
}

/// A track is on air from elsewhere: who it came from and comes from, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Switch {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) reason: &'static str,
}

#[derive(Debug)]
struct Source {
    header: Arc<TrackHeader>,
    /// Who sends it.
    sender: u32,
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
        if let Some(source) = self.bodies.get_mut(&body) {
            source.header = header;
            return;
        }
        let sender = self.sender(long);
        self.bodies.insert(body, Source { header, sender, long, last: None, standing_by: false });
    }

    /// Which sender a new body is of. One that begins when nobody else is there is the last one's, come back.
    fn sender(&mut self, long: bool) -> u32 {
        let back = self.on_air.as_ref().filter(|on_air| long && on_air.ended && self.bodies.is_empty());
        if let Some(known) = back.map(|on_air| on_air.sender).or(self.of_objects.filter(|_| !long)) {
            return known;
        }
        self.senders = self.senders.saturating_add(1);
        if !long {
            self.of_objects = Some(self.senders);
        }
        self.senders
    }

    /// The header that a body's samples need, if it has one of its own.
    pub(super) fn header_of(&self, body: u64) -> Option<Arc<TrackHeader>> {
        self.bodies.get(&body).map(|source| Arc::clone(&source.header))
    }

    /// A body has ended.
    pub(super) fn closed(&mut self, body: u64) {
        let Some(source) = self.bodies.remove(&body) else { return };
        if let Some(on_air) = &mut self.on_air
            && source.long
            && source.sender == on_air.sender
        {
            on_air.ended = true;
        }
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

    /// Notes that a fragment of `body` was judged so; tells if the track is on air from elsewhere with it. Of senders
    /// that are alive together the first is said to be on air, until it ends or falls silent.
    pub(super) fn switch(&mut self, body: u64, verdict: Verdict, now: UtcTime) -> Option<Switch> {
        let source = self.bodies.get(&body)?;
        if matches!(verdict, Verdict::StandsBy(_)) {
            return None;
        }
        let sender = source.sender;
        let Some(on_air) = &mut self.on_air else {
            let codec = source.header.codec.to_string();
            self.on_air = Some(OnAir { sender, codec, last: now, ended: false });
            return None;
        };
        let same = on_air.sender == sender;
        let silent = now.since(on_air.last) >= SILENT;
        if !same && !on_air.ended && !silent && verdict == Verdict::OnAir {
            return None;
        }
        on_air.last = now;
        if same && verdict == Verdict::OnAir {
            on_air.ended = false;
            return None;
        }
        let from = format!("{}/{}", on_air.codec, on_air.sender);
        let reason = match on_air.ended {
            _ if same => "coding",
            true => "ended",
            false => "silent",
        };
        *on_air = OnAir { sender, codec: source.header.codec.to_string(), last: now, ended: false };
        Some(Switch { from, to: format!("{}/{sender}", on_air.codec), reason })
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
    fn a_switch_is_told_when_who_is_on_air_is_another_and_not_when_it_comes_back() {
        let (one, two) = (coding("bad/init_change_midstream.cmfv", 0), coding("bad/init_change_midstream.cmfv", 1));
        let told = |switch: Option<Switch>| switch.map(|s| (s.from, s.to, s.reason));
        let (coded, recoded) = (one.codec.to_string(), two.codec.to_string());
        let mut sources = Sources::default();
        for body in [1, 2] {
            sources.header(body, Arc::clone(&one), true);
        }
        for (body, second) in [(1, 0), (2, 0), (1, 1), (2, 1)] {
            assert_eq!(told(sources.switch(body, Verdict::OnAir, at(second))), None, "both are alive");
        }
        sources.closed(1);
        let ended = (format!("{coded}/1"), format!("{coded}/2"), "ended");
        assert_eq!(told(sources.switch(2, Verdict::OnAir, at(2))), Some(ended));
        sources.header(3, Arc::clone(&one), true);
        assert_eq!(told(sources.switch(3, Verdict::OnAir, at(5))), None);
        let silent = (format!("{coded}/2"), format!("{coded}/3"), "silent");
        assert_eq!(told(sources.switch(3, Verdict::OnAir, at(6))), Some(silent));
        sources.closed(2);
        sources.closed(3);
        sources.header(4, Arc::clone(&one), true);
        assert_eq!(told(sources.switch(4, Verdict::OnAir, at(60))), None, "it is back");
        sources.header(4, Arc::clone(&two), true);
        let coding = (format!("{coded}/3"), format!("{recoded}/3"), "coding");
        assert_eq!(told(sources.switch(4, Verdict::TakesOver, at(61))), Some(coding));
    }

    #[test]
    fn objects_of_one_track_are_one_senders() {
        let one = coding("bad/init_change_midstream.cmfv", 0);
        let mut sources = Sources::default();
        for body in 0..5 {
            sources.header(body, Arc::clone(&one), false);
            assert_eq!(sources.switch(body, Verdict::OnAir, at(2 * body as i64)), None);
            sources.closed(body);
        }
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
