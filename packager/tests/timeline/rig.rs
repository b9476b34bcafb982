// SPDX-License-Identifier: Apache-2.0
//! Drives bodies through reader, timeline and chunk writer as an origin does, and keeps what comes out.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use headwater_media::{
    Generation, Grid, MediaDuration, MediaTime, PartIndex, SegmentNumber, Timescale, TrackId, UtcTime,
};
use headwater_packager::Sample;
use headwater_packager::cmaf::{
    ChunkOptions, Compatibility, Event, Fragment, Header, Limits, Reader, TrackHeader, write_chunk,
};
use headwater_packager::timeline::assembler::{Memory, TrackInput, TrackPlan};
use headwater_packager::timeline::{Assembler, Config, Defect, Output, PartCut, SourceClock};

/// When the vectors' epoch timelines begin.
pub(crate) const EPOCH_SECONDS: i64 = 1_700_000_000;

pub(crate) fn at(seconds: f64) -> UtcTime {
    UtcTime::from_nanos(EPOCH_SECONDS * 1_000_000_000 + (seconds * 1e9) as i64)
}

pub(crate) fn scale(n: u32) -> Timescale {
    Timescale::new(n).expect("not zero")
}

pub(crate) fn track(name: &str) -> TrackId {
    TrackId::new(name).expect("a valid name")
}

/// A file under the project's `tests/vectors`.
pub(crate) fn vector(name: &str) -> Bytes {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(name);
    Bytes::from(std::fs::read(path).expect("the vector is in the repository"))
}

/// Everything whole in a body; what is wrong with its end is left to others.
pub(crate) fn events(body: &Bytes) -> Vec<Event> {
    let (mut reader, mut events) = (Reader::new(Limits::default()), Vec::new());
    if reader.push(body.clone(), &mut events).is_ok() {
        let _ = reader.finish(&mut events);
    }
    events
}

pub(crate) fn header_and_fragments(body: &Bytes) -> (Header, Vec<Fragment>) {
    let (mut header, mut fragments) = (None, Vec::new());
    for event in events(body) {
        match event {
            Event::Header(h) => header = Some((*h).clone()),
            Event::Fragment(f) => fragments.push(f),
            _ => {}
        }
    }
    (header.expect("a header"), fragments)
}

/// One published part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) generation: Generation,
    pub(crate) bytes: Bytes,
    pub(crate) cut: PartCut,
}

pub(crate) type Name = (TrackId, SegmentNumber, PartIndex);

/// A channel.
#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) assembler: Assembler,
    pub(crate) now: UtcTime,
    sources: BTreeMap<TrackId, (TrackHeader, SourceClock)>,
    pub(crate) chunks: BTreeMap<Name, Chunk>,
    pub(crate) ends: BTreeMap<(TrackId, SegmentNumber), bool>,
    pub(crate) plans: BTreeMap<TrackId, TrackPlan>,
    pub(crate) breaks: Vec<(SegmentNumber, Generation)>,
    pub(crate) defects: Vec<Defect>,
    pub(crate) lost: Vec<(TrackId, SegmentNumber)>,
    pub(crate) resets: usize,
    /// Renditions that nobody can switch to.
    pub(crate) apart: std::collections::BTreeSet<TrackId>,
}

impl Rig {
    pub(crate) fn new(now: UtcTime) -> Self {
        Self::with(Config::default(), None, now)
    }

    pub(crate) fn with(config: Config, memory: Option<Memory>, now: UtcTime) -> Self {
        Self {
            assembler: Assembler::new(config, memory),
            now,
            sources: BTreeMap::new(),
            chunks: BTreeMap::new(),
            ends: BTreeMap::new(),
            plans: BTreeMap::new(),
            breaks: Vec::new(),
            defects: Vec::new(),
            lost: Vec::new(),
            resets: 0,
            apart: std::collections::BTreeSet::new(),
        }
    }

    /// Announces a track as it is described by its header.
    pub(crate) fn header(&mut self, id: &TrackId, header: &TrackHeader) {
        let input = TrackInput { kind: header.kind, timescale: header.timescale };
        let change = self.sources.get(id).map(|(known, _)| known.compatible_with(header));
        if change.is_none_or(|c| c == Compatibility::NewGeneration) {
            self.assembler.header(id, input);
            self.follow();
        }
        let near = self.assembler.source_time(header.timescale, self.now);
        let clock = match (self.sources.get(id), change) {
            (Some((known, clock)), Some(_)) if known.timescale == header.timescale => *clock,
            (_, Some(_)) => SourceClock::new(),
            _ => SourceClock::near(near),
        };
        self.sources.insert(id.clone(), (header.clone(), clock));
    }

    /// A fragment's samples of one track.
    pub(crate) fn fragment(&mut self, id: &TrackId, body: u64, part: &headwater_packager::cmaf::TrackFragment) {
        let Some((header, clock)) = self.sources.get_mut(id) else { return };
        let mut samples = part.samples.clone();
        clock.place(part.decode_time, &mut samples);
        samples.iter_mut().for_each(|s| header.apply_edit(s));
        self.samples(id, body, samples);
    }

    pub(crate) fn samples(&mut self, id: &TrackId, body: u64, samples: Vec<Sample>) {
        self.assembler.push(id, body, samples, self.now);
        self.follow();
    }

    /// Sends a whole body at the pace of its first track; tracks are named by the prefix and their kind.
    pub(crate) fn body(&mut self, prefix: &str, number: u64, body: &Bytes) {
        let mut header = None;
        for event in events(body) {
            match event {
                Event::Header(h) => {
                    h.tracks.iter().for_each(|t| self.header(&name(prefix, &h, t), t));
                    header = Some(h);
                }
                Event::Fragment(fragment) => {
                    let Some(header) = &header else { continue };
                    let paced = header.tracks[0].source_id;
                    for part in &fragment.tracks {
                        let Some(track) = header.track(part.source_id) else { continue };
                        if part.source_id == paced {
                            self.pass(length(&part.samples, track.timescale));
                        }
                        self.fragment(&name(prefix, header, track), number, part);
                    }
                }
                _ => {}
            }
        }
    }

    /// Time passes in steps of a tick.
    pub(crate) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            let due = self.assembler.deadline().filter(|at| *at > self.now);
            self.now = (self.now + Duration::from_millis(500)).min(until).min(due.unwrap_or(until));
            self.assembler.advance(self.now);
            self.follow();
        }
    }

    /// Takes what has been decided.
    pub(crate) fn follow(&mut self) {
        for output in self.assembler.take() {
            match output {
                Output::Grid(_) | Output::Confirmed => {}
                Output::Plan(id, plan) => {
                    self.plans.insert(id, plan);
                }
                Output::Part(id, generation, cut) => self.publish(&id, generation, cut),
                Output::End { track, number, short } => {
                    let again = self.ends.insert((track, number), short);
                    assert_eq!(again, None, "a segment ends once");
                }
                Output::Lost(id, through) => self.lost.push((id, through)),
                Output::Generation { first, generation } => self.breaks.push((first, generation)),
                Output::Apart(id, true) => assert!(self.apart.insert(id), "told once"),
                Output::Apart(id, false) => assert!(self.apart.remove(&id), "told once"),
                Output::Reset => {
                    self.resets += 1;
                    self.apart.clear();
                    self.chunks.clear();
                    self.ends.clear();
                    self.plans.clear();
                    self.breaks.clear();
                }
                Output::Defect(_, defect) => self.defects.push(defect),
            }
        }
    }

    fn publish(&mut self, id: &TrackId, generation: Generation, cut: PartCut) {
        assert!(self.grid().is_some(), "the grid is known before the first part");
        assert!(self.plans.contains_key(id), "the plan is known before the first part");
        assert!(!cut.samples.is_empty(), "a part has samples");
        let name = (id.clone(), cut.number, cut.index);
        if let Some(((_, number, index), last)) =
            self.chunks.range((id.clone(), SegmentNumber(0), PartIndex(0))..).rfind(|((t, ..), _)| t == id)
        {
            let follows =
                (cut.number == *number && cut.index == index.next()) || (cut.number > *number && cut.index.0 == 0);
            assert!(follows, "{id}: {:?} {:?} after {number:?} {index:?}", cut.number, cut.index);
            let (time, last) = (cut.samples[0].decode_time, last.cut.samples[last.cut.samples.len() - 1].decode_time);
            assert!(
                cut.start.timescale() != self.input(id) || time > last,
                "{id}: time goes back from {last} to {time}"
            );
        }
        let chunk = Chunk { generation, bytes: chunk_bytes(&cut), cut };
        assert_eq!(self.chunks.insert(name, chunk), None, "a part is published once");
    }

    fn input(&self, id: &TrackId) -> Timescale {
        self.sources.get(id).map_or(Timescale::NANOS, |(header, _)| header.timescale)
    }

    pub(crate) fn grid(&self) -> Option<&Grid> {
        self.assembler.grid()
    }

    pub(crate) fn segment_duration(&self) -> MediaDuration {
        self.grid().expect("the grid is known").duration()
    }

    /// The parts of a track, in order.
    pub(crate) fn parts(&self, id: &TrackId) -> Vec<&PartCut> {
        self.chunks.iter().filter(|((t, ..), _)| t == id).map(|(_, c)| &c.cut).collect()
    }

    /// The samples published of a track, in order.
    pub(crate) fn published(&self, id: &TrackId) -> Vec<&Sample> {
        self.parts(id).into_iter().flat_map(|part| &part.samples).collect()
    }

    /// The segments of a track, those that were ended.
    pub(crate) fn segments(&self, id: &TrackId) -> Vec<SegmentSeen> {
        let mut seen: Vec<SegmentSeen> = Vec::new();
        for part in self.parts(id) {
            match seen.last_mut().filter(|s| s.number == part.number) {
                Some(segment) => segment.duration = segment.duration + part.duration,
                None => seen.push(SegmentSeen {
                    number: part.number,
                    generation: self.chunks[&(id.clone(), part.number, part.index)].generation,
                    start: MediaTime::new(part.samples[0].presentation_time(), part.start.timescale()),
                    duration: part.duration,
                    independent: part.independent,
                    short: self.ends.get(&(id.clone(), part.number)).copied(),
                }),
            }
        }
        seen
    }

    pub(crate) fn numbers(&self, id: &TrackId) -> Vec<u64> {
        self.segments(id).iter().map(|s| s.number.0).collect()
    }
}

/// A segment as published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentSeen {
    pub(crate) number: SegmentNumber,
    pub(crate) generation: Generation,
    /// Presentation time of its first sample.
    pub(crate) start: MediaTime,
    pub(crate) duration: MediaDuration,
    pub(crate) independent: bool,
    /// Whether samples are missing, once it has ended.
    pub(crate) short: Option<bool>,
}

/// The bytes of a part, as an origin writes them.
pub(crate) fn chunk_bytes(cut: &PartCut) -> Bytes {
    let mut out = BytesMut::new();
    let first = cut.index.0 == 0;
    let time = MediaTime::new(cut.samples[0].decode_time, cut.start.timescale());
    let options = ChunkOptions {
        sequence_number: (u32::try_from(cut.number.0 & 0x00ff_ffff).unwrap_or(0) << 8) | (cut.index.0 & 0xff),
        first_of_segment: first,
        producer_time: first.then(|| time.utc()),
        last_of_stream: false,
    };
    write_chunk(&mut out, &cut.samples, options);
    out.freeze()
}

fn name(prefix: &str, header: &Header, of: &TrackHeader) -> TrackId {
    if header.tracks.len() == 1 { track(prefix) } else { track(&format!("{prefix}-{}", of.kind)) }
}

fn length(samples: &[Sample], timescale: Timescale) -> Duration {
    let ticks: i64 = samples.iter().map(|s| i64::from(s.duration)).sum();
    MediaDuration::new(ticks, timescale).to_std()
}
