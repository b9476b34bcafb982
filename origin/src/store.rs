// SPDX-License-Identifier: Apache-2.0
//! The bytes of one track: each segment stored once; its parts, ranges and in-progress response are slices of it.
//!
//! Segments stay after they have left the playlist, for their own duration plus that of the longest playlist that
//! listed them (rfc8216bis, 6.2.2), so a client with an old playlist finds everything it names.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use headwater_media::{ByteRange, Generation, MediaTime, PartIndex, SegmentNumber};
use headwater_net::{Growing, growing, tag};
use http::HeaderValue;
use parking_lot::RwLock;

use crate::cmsd::OfSegment;

/// Bytes with their validator, and what is said of them.
#[derive(Clone, Debug)]
pub struct Tagged {
    /// The object.
    pub bytes: Bytes,
    /// Its strong ETag.
    pub tag: HeaderValue,
    /// Its CMSD-Static.
    pub said: HeaderValue,
}

impl Tagged {
    /// Tags `bytes`, of which this is said.
    pub fn new(bytes: Bytes, said: HeaderValue) -> Self {
        let tag = tag::of(&bytes);
        Self { bytes, tag, said }
    }
}

#[derive(Debug)]
enum State {
    /// Parts as they came, the validator of all of them, and what a reader of the segment in progress follows.
    Open { parts: Vec<Tagged>, running: tag::Running, body: Growing, said: OfSegment },
    /// One object; parts are slices of it.
    Sealed {
        whole: Tagged,
        said_by_time: HeaderValue,
        parts: Vec<SealedPart>,
        /// What those read who began while it was open; with the last of them go its bytes.
        body: growing::Fading,
    },
}

/// A part of a segment that is one object.
#[derive(Debug)]
struct SealedPart {
    range: ByteRange,
    tag: HeaderValue,
    said: HeaderValue,
}

/// By what name a segment is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// By its number.
    Number,
    /// By the time at which it begins.
    Time,
}

/// A segment and its parts.
#[derive(Debug)]
pub struct StoredSegment {
    /// Its number.
    pub number: SegmentNumber,
    /// Earliest presentation time.
    pub start: MediaTime,
    /// Of its header.
    pub generation: Generation,
    /// Guards the representation; held to clone a handle, to append one, or to join them all once.
    state: RwLock<State>,
}

/// What a request for a segment gets.
#[derive(Clone, Debug)]
pub enum Media {
    /// Every byte.
    Whole(Tagged),
    /// Still growing, with its CMSD-Static.
    Growing(Growing, HeaderValue),
}

impl StoredSegment {
    fn new(number: SegmentNumber, start: MediaTime, generation: Generation, said: OfSegment) -> Self {
        let open = State::Open { parts: Vec::new(), running: tag::Running::default(), body: Growing::new(), said };
        Self { number, start, generation, state: RwLock::new(open) }
    }

    /// The whole segment, or the body that grows towards it.
    pub fn media(&self, name: Name) -> Media {
        match (&*self.state.read(), name) {
            (State::Sealed { whole, .. }, Name::Number) => Media::Whole(whole.clone()),
            (State::Sealed { whole, said_by_time, .. }, Name::Time) => {
                Media::Whole(Tagged { said: said_by_time.clone(), ..whole.clone() })
            }
            (State::Open { body, said, .. }, Name::Number) => Media::Growing(body.clone(), said.by_number.clone()),
            (State::Open { body, said, .. }, Name::Time) => Media::Growing(body.clone(), said.by_time.clone()),
        }
    }

    /// One part.
    pub fn part(&self, index: PartIndex) -> Option<Tagged> {
        let at = usize::try_from(index.0).ok()?;
        match &*self.state.read() {
            State::Open { parts, .. } => parts.get(at).cloned(),
            State::Sealed { whole, parts, .. } => {
                let SealedPart { range, tag, said } = parts.get(at)?;
                let first = usize::try_from(range.offset_bytes).ok()?;
                let end = first + usize::try_from(range.length_bytes).ok()?;
                Some(Tagged { bytes: whole.bytes.slice(first..end), tag: tag.clone(), said: said.clone() })
            }
        }
    }

    /// Bytes held.
    pub fn length_bytes(&self) -> u64 {
        match &*self.state.read() {
            State::Open { parts, .. } => parts.iter().map(|p| p.bytes.len() as u64).sum(),
            State::Sealed { whole, .. } => whole.bytes.len() as u64,
        }
    }

    fn append(&self, tagged: Tagged) -> HeaderValue {
        let tag = tagged.tag.clone();
        let State::Open { parts, running, body, .. } = &mut *self.state.write() else { return tag };
        if body.ended().is_some() {
            // The source failed and came back after all: whoever asks from here on reads every part.
            *body = Growing::new();
            parts.iter().for_each(|part| body.append(part.bytes.clone()));
        }
        running.push(&tagged.bytes);
        parts.push(tagged.clone());
        body.append(tagged.bytes);
        tag
    }

    /// Joins the parts into one object, and returns its validator. The copy costs what the segment weighs, once;
    /// afterwards every part is a slice, and the parts' own bytes live only as long as whoever still reads the segment
    /// in progress.
    fn seal(&self, said: OfSegment) -> HeaderValue {
        let mut state = self.state.write();
        let (open, running, body) = match &*state {
            State::Open { parts, running, body, .. } => (parts, running, body),
            State::Sealed { whole, .. } => return whole.tag.clone(),
        };
        let length = open.iter().map(|p| p.bytes.len()).sum();
        let mut whole = BytesMut::with_capacity(length);
        let mut parts = Vec::with_capacity(open.len());
        for part in open {
            let range = ByteRange { offset_bytes: whole.len() as u64, length_bytes: part.bytes.len() as u64 };
            parts.push(SealedPart { range, tag: part.tag.clone(), said: part.said.clone() });
            whole.extend_from_slice(&part.bytes);
        }
        body.end(growing::End::Complete);
        let body = body.downgrade();
        let tag = running.tag();
        let whole = Tagged { bytes: whole.freeze(), tag: tag.clone(), said: said.by_number };
        *state = State::Sealed { whole, said_by_time: said.by_time, parts, body };
        tag
    }

    /// It has left: whoever still reads what was in progress is cut off, so that its bytes go too.
    fn forget(&self) {
        if let State::Sealed { body, .. } = &*self.state.read()
            && let Some(body) = body.upgrade()
        {
            body.withdraw();
        }
    }

    /// Breaks the response of whoever follows.
    fn abort(&self) {
        if let State::Open { body, .. } = &*self.state.read() {
            body.end(growing::End::Failed);
        }
    }
}

/// All segments of a track that can be fetched.
#[derive(Debug, Default)]
pub struct TrackStore {
    held: AtomicU64,
    /// Guards the list only; held for an index and a clone.
    segments: RwLock<VecDeque<Arc<StoredSegment>>>,
}

impl TrackStore {
    /// Appends a part; opens its segment if it is the first, of which `said` is said while it grows. Returns the part's
    /// validator.
    pub fn append(
        &self,
        number: SegmentNumber,
        start: MediaTime,
        generation: Generation,
        part: Tagged,
        said: impl FnOnce() -> OfSegment,
    ) -> HeaderValue {
        let length = part.bytes.len() as u64;
        let segment = match self.find(number) {
            Some(segment) => segment,
            None => {
                let segment = Arc::new(StoredSegment::new(number, start, generation, said()));
                self.segments.write().push_back(Arc::clone(&segment));
                segment
            }
        };
        let tag = segment.append(part);
        self.held.fetch_add(length, Ordering::Relaxed);
        tag
    }

    /// No further part of this segment will come: it is one object from here on. Returns its validator, if it is held.
    pub fn seal(&self, number: SegmentNumber, said: OfSegment) -> Option<HeaderValue> {
        self.find(number).map(|segment| segment.seal(said))
    }

    /// Breaks the response of whoever follows this segment: its source is gone.
    pub fn abort(&self, number: SegmentNumber) {
        if let Some(segment) = self.find(number) {
            segment.abort();
        }
    }

    /// The segment of that number.
    pub fn find(&self, number: SegmentNumber) -> Option<Arc<StoredSegment>> {
        let segments = self.segments.read();
        let first = segments.front()?.number.0;
        // Gaps are not stored, so the number is an upper bound of the place.
        let mut at = usize::try_from(number.0.checked_sub(first)?).ok()?.min(segments.len() - 1);
        loop {
            let found = &segments[at];
            if found.number == number {
                return Some(Arc::clone(found));
            }
            if found.number < number || at == 0 {
                return None;
            }
            at -= 1;
        }
    }

    /// The segment that starts at exactly this time.
    pub fn find_start(&self, start: MediaTime) -> Option<Arc<StoredSegment>> {
        let segments = self.segments.read();
        let at = segments.partition_point(|s| s.start < start);
        segments.get(at).filter(|s| s.start == start).cloned()
    }

    /// Oldest number held.
    pub fn first(&self) -> Option<SegmentNumber> {
        self.segments.read().front().map(|s| s.number)
    }

    /// Where the oldest segment held starts.
    pub fn oldest(&self) -> Option<MediaTime> {
        self.segments.read().front().map(|s| s.start)
    }

    /// Forgets segments before `number`, and returns them.
    pub fn forget_before(&self, number: SegmentNumber) -> Vec<Arc<StoredSegment>> {
        let mut segments = self.segments.write();
        let (mut gone, mut freed) = (Vec::new(), 0);
        while segments.front().is_some_and(|s| s.number < number) {
            let Some(segment) = segments.pop_front() else { break };
            segment.forget();
            freed += segment.length_bytes();
            gone.push(segment);
        }
        self.held.fetch_sub(freed, Ordering::Relaxed);
        gone
    }

    /// Bytes held.
    pub fn length_bytes(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_media::Timescale;

    fn time(seconds: i64) -> MediaTime {
        MediaTime::new(seconds, Timescale::new(1).unwrap())
    }

    fn append(store: &TrackStore, number: u64, part: &'static [u8]) -> HeaderValue {
        let part = Tagged::new(Bytes::from_static(part), HeaderValue::from_static("a part"));
        store.append(SegmentNumber(number), time(number as i64), Generation(0), part, || said("growing"))
    }

    fn said(what: &'static str) -> OfSegment {
        let by_time = HeaderValue::from_str(&format!("{what}, by time")).unwrap();
        OfSegment { by_number: HeaderValue::from_static(what), by_time }
    }

    #[test]
    fn parts_of_a_sealed_segment_are_slices_of_it() {
        let store = TrackStore::default();
        let number = SegmentNumber(7);
        let told = append(&store, 7, b"one");
        let open = store.find(number).unwrap().part(PartIndex(0)).unwrap();
        assert_eq!(open.tag, told);
        append(&store, 7, b"two");
        assert!(
            matches!(store.find(number).unwrap().media(Name::Time), Media::Growing(_, said) if said == "growing, by time")
        );
        assert_eq!(store.seal(number, said("whole")), Some(tag::of(b"onetwo")));
        let segment = store.find(number).unwrap();
        let Media::Whole(whole) = segment.media(Name::Number) else { panic!("sealed") };
        assert_eq!(&whole.bytes[..], b"onetwo");
        assert_eq!((whole.tag, whole.said), (tag::of(b"onetwo"), HeaderValue::from_static("whole")));
        assert!(matches!(segment.media(Name::Time), Media::Whole(whole) if whole.said == "whole, by time"));
        let part = segment.part(PartIndex(1)).unwrap();
        assert_eq!(&part.bytes[..], b"two");
        assert_eq!(part.said, "a part");
        assert_eq!(part.bytes.as_ptr(), whole.bytes[3..].as_ptr());
        assert_eq!(segment.part(PartIndex(0)).unwrap().tag, open.tag);
        assert!(segment.part(PartIndex(2)).is_none());
    }

    #[tokio::test]
    async fn a_reader_that_falls_out_of_the_window_is_cut_off() {
        let store = TrackStore::default();
        append(&store, 7, b"one");
        append(&store, 7, b"two");
        let Media::Growing(body, _) = store.find(SegmentNumber(7)).unwrap().media(Name::Number) else { panic!("open") };
        let mut reader = body.reader();
        assert_eq!(reader.next().await.unwrap().unwrap(), "one");
        store.seal(SegmentNumber(7), said("whole"));
        store.forget_before(SegmentNumber(8));
        assert!(reader.next().await.is_err());
    }

    #[test]
    fn segments_are_found_across_gaps_by_number_and_by_time() {
        let store = TrackStore::default();
        for n in [10, 11, 15, 16] {
            append(&store, n, b"x");
        }
        assert_eq!(store.find(SegmentNumber(15)).map(|s| s.number.0), Some(15));
        assert_eq!(store.find(SegmentNumber(13)).map(|s| s.number.0), None);
        assert_eq!(store.find(SegmentNumber(17)).map(|s| s.number.0), None);
        assert_eq!(store.find_start(time(15)).map(|s| s.number.0), Some(15));
        assert!(store.find_start(time(14)).is_none());
        let gone: Vec<u64> = store.forget_before(SegmentNumber(15)).iter().map(|s| s.number.0).collect();
        assert_eq!((gone, store.length_bytes()), (vec![10, 11], 2));
        assert_eq!(store.first(), Some(SegmentNumber(15)));
    }
}
