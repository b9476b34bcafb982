// SPDX-License-Identifier: Apache-2.0
//! Reads one body of fMP4 or CMAF boxes, from any encoder, as it arrives.
//!
//! Pieces may be cut anywhere: network and HTTP chunk borders mean nothing. What comes out depends on the bytes alone,
//! not on how they were cut. Memory is bounded by [`Limits`], and follows what came rather than what was claimed.

use std::sync::Arc;

use bytes::{Buf, Bytes};

use crate::cmaf::box_start::{BoxStart, PartialStart};
use crate::cmaf::boxes::{Cursor, FourCc};
use crate::cmaf::collector::Collector;
use crate::cmaf::fragment::{Brands, Fragment};
use crate::cmaf::limits::Limits;
use crate::cmaf::moof::OpenFragment;
use crate::cmaf::producer_time::{self, ProducerTime};
use crate::cmaf::track::Header;
use crate::cmaf::{Error, EventMessage, moov};

/// Something whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A header; repeated ones too, the caller compares.
    Header(Arc<Header>),
    /// A fragment with all its bytes.
    Fragment(Fragment),
    /// An event message of the segment under way or to come.
    EventMessage(EventMessage),
    /// The sender says that its stream ends: `mfra`, or the end of a segment branded `lmsg`.
    EndOfStream,
}

/// What a body that ended left behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// Bytes of the box or fragment that was cut off and discarded.
    pub stump_bytes: u64,
    /// Bytes of media data that belonged to no fragment.
    pub ignored_bytes: u64,
}

/// Reads one body; see the [module](self).
#[derive(Debug)]
pub struct Reader {
    limits: Limits,
    state: State,
    /// Bytes taken so far: the offset of the next byte in the body.
    position: u64,
    collector: Collector,
    header: Option<Arc<Header>>,
    /// The last `ftyp`, which belongs to the `moov` after it.
    file_type: Bytes,
    brands: Brands,
    producer_time: Option<ProducerTime>,
    open: Option<Open>,
    /// A segment branded `lmsg` has begun.
    last_segment: bool,
    ended: bool,
    ignored_bytes: u64,
    failed: Option<Error>,
}

#[derive(Debug)]
struct Open {
    fragment: OpenFragment,
    moof_offset: u64,
    moof_bytes: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Between boxes, or within the 8 or 16 bytes that start one.
    Start(PartialStart),
    /// Within a box kept whole.
    Whole(BoxStart),
    /// Within a box nobody needs.
    Skip { start: BoxStart, left_bytes: u64 },
}

const START: State = State::Start(PartialStart::EMPTY);

impl Reader {
    /// A reader of a body that brings its own header.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: START,
            position: 0,
            collector: Collector::default(),
            header: None,
            file_type: Bytes::new(),
            brands: Brands::default(),
            producer_time: None,
            open: None,
            last_segment: false,
            ended: false,
            ignored_bytes: 0,
            failed: None,
        }
    }

    /// A reader of a body whose header came in an earlier request.
    pub fn with_header(header: Arc<Header>, limits: Limits) -> Self {
        Self { header: Some(header), ..Self::new(limits) }
    }

    /// Takes the next bytes of the body and appends what became whole to `events`.
    ///
    /// Sample data are slices of `bytes` where one piece holds a whole `mdat`, else of one buffer filled as it came.
    ///
    /// # Errors
    /// [`Error`] says what is wrong; events before it stand, and every later call returns it again.
    pub fn push(&mut self, mut bytes: Bytes, events: &mut Vec<Event>) -> Result<(), Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        while !bytes.is_empty() {
            let before = bytes.len();
            let result = self.step(&mut bytes, events);
            self.position += (before - bytes.len()) as u64;
            let finished = match result {
                Ok(finished) => finished,
                Err(error) => return Err(self.fail(error)),
            };
            if let Some((start, payload)) = finished
                && let Err(error) = self.on_box(start, payload, events)
            {
                return Err(self.fail(error));
            }
        }
        Ok(())
    }

    /// The body ended, cleanly or not: completes an `mdat` that runs to the end, discards a stump.
    ///
    /// # Errors
    /// As [`Self::push`]; a stump is none.
    pub fn finish(mut self, events: &mut Vec<Event>) -> Result<End, Error> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if let State::Whole(start @ BoxStart { payload_bytes: None, .. }) = self.state {
            let payload = self.collector.drain();
            self.state = START;
            self.on_box(start, payload, events)?;
        }
        if self.last_segment {
            self.end_of_stream(events);
        }
        let box_offset = match self.state {
            State::Start(partial) => self.position - partial.len() as u64,
            State::Skip { start: BoxStart { payload_bytes: None, .. }, .. } => self.position,
            State::Whole(start) | State::Skip { start, .. } => start.offset,
        };
        let stump_offset = self.open.map_or(box_offset, |open| open.moof_offset);
        Ok(End { stump_bytes: self.position - stump_offset, ignored_bytes: self.ignored_bytes })
    }

    /// Bytes held for what is not whole yet.
    pub fn buffered_bytes(&self) -> usize {
        let open = self.open.as_ref().map_or(0, |o| o.moof_bytes + o.fragment.have_bytes());
        self.collector.len() + self.file_type.len() + usize::try_from(open).unwrap_or(usize::MAX)
    }

    /// The header in force.
    pub const fn header(&self) -> Option<&Arc<Header>> {
        self.header.as_ref()
    }

    fn fail(&mut self, error: Error) -> Error {
        self.failed = Some(error.clone());
        self.collector = Collector::default();
        self.open = None;
        error
    }

    /// Advances within one box; returns the box once its payload is whole.
    fn step(&mut self, input: &mut Bytes, events: &mut Vec<Event>) -> Result<Option<(BoxStart, Bytes)>, Error> {
        match &mut self.state {
            State::Start(partial) => {
                let Some(start) = partial.take(input, self.position)? else { return Ok(None) };
                self.state = self.admit(start, events)?;
                match (self.state, start.payload_bytes) {
                    (State::Whole(start), Some(0)) => {
                        self.state = START;
                        Ok(Some((start, Bytes::new())))
                    }
                    (State::Skip { .. }, Some(0)) => {
                        self.state = START;
                        Ok(None)
                    }
                    _ => Ok(None),
                }
            }
            State::Skip { left_bytes, .. } => {
                let taken = usize::try_from(*left_bytes).map_or(input.len(), |left| left.min(input.len()));
                input.advance(taken);
                *left_bytes -= taken as u64;
                if *left_bytes == 0 {
                    self.state = START;
                }
                Ok(None)
            }
            State::Whole(start) => {
                let start = *start;
                let Some(payload_bytes) = start.payload_bytes else {
                    self.append_to_end(start, input)?;
                    return Ok(None);
                };
                // `admit` compared the size with the limits, which are `usize`.
                let payload = self.collector.take(input, payload_bytes as usize);
                if payload.is_some() {
                    self.state = START;
                }
                Ok(payload.map(|payload| (start, payload)))
            }
        }
    }

    /// An `mdat` without a size: bounded by what came instead of by what it claims.
    fn append_to_end(&mut self, start: BoxStart, input: &mut Bytes) -> Result<(), Error> {
        let size_bytes = self.fragment_bytes(&start, (self.collector.len() + input.len()) as u64);
        let max = self.limits.fragment_bytes_max;
        if size_bytes > max as u64 {
            return Err(Error::TooBig { kind: start.kind, size_bytes, max_bytes: max as u64 });
        }
        self.collector.append(input, max);
        input.advance(input.len());
        Ok(())
    }

    fn fragment_bytes(&self, start: &BoxStart, payload_bytes: u64) -> u64 {
        let open = self.open.as_ref().map_or(0, |o| o.moof_bytes + o.fragment.have_bytes());
        open.saturating_add(start.header_bytes).saturating_add(payload_bytes)
    }

    /// Compares a box that starts with the limits and says how to read it.
    fn admit(&mut self, start: BoxStart, events: &mut Vec<Event>) -> Result<State, Error> {
        let payload_bytes = start.payload_bytes.unwrap_or(0);
        let size_bytes = payload_bytes.saturating_add(start.header_bytes);
        let (keep, size_bytes, max) = match &start.kind.0 {
            b"mdat" if self.open.is_some() => {
                (true, self.fragment_bytes(&start, payload_bytes), self.limits.fragment_bytes_max)
            }
            b"mdat" | b"mfra" => (false, size_bytes, self.limits.fragment_bytes_max),
            b"moov" => (true, size_bytes, self.limits.header_bytes_max),
            b"moof" | b"ftyp" | b"styp" | b"prft" | b"emsg" => (true, size_bytes, self.limits.box_bytes_max),
            _ => (false, size_bytes, self.limits.box_bytes_max),
        };
        if size_bytes > max as u64 {
            return Err(Error::TooBig { kind: start.kind, size_bytes, max_bytes: max as u64 });
        }
        if keep && start.payload_bytes.is_none() && start.kind.0 != *b"mdat" {
            return Err(Error::BoxSize { kind: start.kind, size_bytes: 0 });
        }
        match &start.kind.0 {
            b"mfra" => self.end_of_stream(events),
            b"mdat" if !keep => self.ignored_bytes = self.ignored_bytes.saturating_add(payload_bytes),
            _ => {}
        }
        let left_bytes = start.payload_bytes.unwrap_or(u64::MAX);
        Ok(if keep { State::Whole(start) } else { State::Skip { start, left_bytes } })
    }

    fn on_box(&mut self, start: BoxStart, payload: Bytes, events: &mut Vec<Event>) -> Result<(), Error> {
        match &start.kind.0 {
            b"ftyp" => {
                self.new_segment(Brands::default(), events);
                let size = (payload.len() + 8) as u32;
                self.file_type = [&size.to_be_bytes()[..], b"ftyp", &payload].concat().into();
            }
            b"styp" => {
                let brands = moov::brands(&payload);
                let has = |brand: &[u8; 4]| brands.contains(&FourCc(*brand));
                self.new_segment(Brands { last: has(b"lmsg"), slate: has(b"slat") }, events);
            }
            b"moov" => self.on_header(&payload, events)?,
            b"prft" => self.producer_time = Some(producer_time::parse(&payload)?),
            b"emsg" => events.push(Event::EventMessage(EventMessage::parse(&payload)?)),
            b"moof" => self.on_moof(start, &payload, events)?,
            _ => {
                let Some(open) = &mut self.open else { return Ok(()) };
                open.fragment.push_media_data(start.offset + start.header_bytes, payload)?;
                self.emit_complete(events)?;
            }
        }
        Ok(())
    }

    fn new_segment(&mut self, brands: Brands, events: &mut Vec<Event>) {
        if self.last_segment {
            self.end_of_stream(events);
        }
        self.last_segment = brands.last;
        self.brands = brands;
    }

    fn end_of_stream(&mut self, events: &mut Vec<Event>) {
        self.last_segment = false;
        if !std::mem::replace(&mut self.ended, true) {
            events.push(Event::EndOfStream);
        }
    }

    fn on_header(&mut self, moov: &Bytes, events: &mut Vec<Event>) -> Result<(), Error> {
        self.refuse_open()?;
        self.new_segment(Brands::default(), events);
        let file_type = std::mem::take(&mut self.file_type);
        let size = (moov.len() + 8) as u32;
        // Copied, so that a header kept for days does not keep the body's buffers.
        let source = Bytes::from([&file_type[..], &size.to_be_bytes(), b"moov", moov].concat());
        let header = Arc::new(moov::parse_source(&source, self.limits.tracks_max)?);
        self.header = Some(Arc::clone(&header));
        self.ended = false;
        events.push(Event::Header(header));
        Ok(())
    }

    fn on_moof(&mut self, start: BoxStart, payload: &Bytes, events: &mut Vec<Event>) -> Result<(), Error> {
        self.refuse_open()?;
        let Some(header) = &self.header else {
            let tfhd = Cursor::new(start.kind, payload).find(b"traf")?.map(|traf| traf.expect(b"tfhd")).transpose()?;
            let source_id = tfhd.map_or(Ok(0), |mut tfhd| tfhd.version_and_flags().and_then(|_| tfhd.u32()))?;
            return Err(Error::NoHeader { source_id });
        };
        let fragment = OpenFragment::parse(payload, start.offset, header, &self.limits)?;
        self.ended = false;
        let moof_bytes = start.header_bytes + payload.len() as u64;
        self.open = Some(Open { fragment, moof_offset: start.offset, moof_bytes });
        self.emit_complete(events)
    }

    /// A fragment still open when another begins will never get its bytes.
    fn refuse_open(&self) -> Result<(), Error> {
        match &self.open {
            None => Ok(()),
            Some(open) => {
                Err(Error::NoMediaData { need_bytes: open.fragment.need_bytes, have_bytes: open.fragment.have_bytes() })
            }
        }
    }

    fn emit_complete(&mut self, events: &mut Vec<Event>) -> Result<(), Error> {
        let Some(open) = self.open.take_if(|open| open.fragment.is_complete()) else {
            return Ok(());
        };
        let producer_time = self.producer_time.take();
        if open.fragment.is_empty() {
            return Ok(());
        }
        let sequence = open.fragment.sequence;
        let tracks = open.fragment.join()?;
        events.push(Event::Fragment(Fragment { sequence, tracks, brands: self.brands, producer_time }));
        Ok(())
    }
}
