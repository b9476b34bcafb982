// SPDX-License-Identifier: Apache-2.0
//! An encoder of made-up samples: real headers, frames on a UTC grid, sent when they would be captured.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use headwater_media::{Timescale, UtcTime};
use headwater_origin::Clock;
use headwater_packager::Sample;
use headwater_packager::cmaf::{
    ChunkOptions, Event, EventMessage, Limits, Reader, TrackHeader, header, write_chunk, write_emsg,
};
use http::{Request, StatusCode};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tower::ServiceExt;

use crate::stage::{BASE, CHANNEL, Stage, settle};

const AVC: &[u8] = include_bytes!("../../../tests/vectors/cmaf/v25_lo.cmfv");
const HEVC: &[u8] = include_bytes!("../../../tests/vectors/cmaf/v25_hvc1.cmfv");
const AAC: &[u8] = include_bytes!("../../../tests/vectors/cmaf/a48_eng.cmfa");

/// The first header of a vector.
fn vector(bytes: &'static [u8]) -> TrackHeader {
    let mut events = Vec::new();
    Reader::new(Limits::default()).push(Bytes::from_static(bytes), &mut events).expect("a readable vector");
    let header = events.into_iter().find_map(|event| match event {
        Event::Header(header) => Some(header),
        _ => None,
    });
    header.expect("a vector with a header").tracks[0].clone()
}

/// One track of an encoder: what its frames are.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) name: &'static str,
    pub(crate) header: TrackHeader,
    /// Ticks of a frame.
    pub(crate) frame: i64,
    /// Frames from one sync sample to the next.
    pub(crate) gop: i64,
    /// Bytes of a usual frame; a sync sample of video has ten times as many.
    pub(crate) frame_bytes: usize,
}

impl Source {
    /// H.264 at 25 frames a second, a sync sample every two seconds.
    pub(crate) fn video(name: &'static str) -> Self {
        Self::coded(name, AVC, 12_800, 512, 50, 300)
    }

    /// The same frames in H.265: another header.
    pub(crate) fn hevc(name: &'static str) -> Self {
        Self::coded(name, HEVC, 12_800, 512, 50, 200)
    }

    /// AAC at 48 kHz.
    pub(crate) fn audio(name: &'static str) -> Self {
        Self::coded(name, AAC, 48_000, 1_024, 1, 90)
    }

    fn coded(name: &'static str, bytes: &'static [u8], scale: u32, frame: i64, gop: i64, frame_bytes: usize) -> Self {
        let entry = vector(bytes).sample_entry;
        let timescale = Timescale::new(scale).expect("not zero");
        let header = TrackHeader::from_sample_entry(timescale, entry).expect("a readable sample entry");
        Self { name, header, frame, gop, frame_bytes }
    }

    fn scale(&self) -> i64 {
        i64::from(self.header.timescale.ticks_per_second())
    }

    /// The first frame that starts at `time` or later.
    pub(crate) fn frame_at(&self, time: UtcTime) -> i64 {
        let (n, d) = (i128::from(time.nanos()) * i128::from(self.scale()), i128::from(self.frame) * 1_000_000_000);
        i64::try_from((n + d - 1).div_euclid(d)).expect("a time of this era")
    }

    /// When frame `n` starts.
    pub(crate) fn starts(&self, n: i64) -> UtcTime {
        let nanos = i128::from(n) * i128::from(self.frame) * 1_000_000_000 / i128::from(self.scale());
        UtcTime::from_nanos(i64::try_from(nanos).expect("a time of this era"))
    }

    pub(crate) fn sample(&self, n: i64, sync: bool, decode_time: i64) -> Sample {
        let mixed = (n as u64 ^ self.name.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        let usual = if sync && self.gop > 1 { self.frame_bytes * 10 } else { self.frame_bytes };
        let length = usual + usize::try_from(mixed % 61).unwrap_or(0);
        let mut data = vec![(mixed >> 8) as u8; length];
        data[..8].copy_from_slice(&n.to_be_bytes());
        let duration = u32::try_from(self.frame).expect("a short frame");
        Sample { decode_time, composition_offset: 0, duration, sync, data: Bytes::from(data) }
    }
}

/// One long request body into one origin.
#[derive(Debug)]
pub(crate) struct Push {
    pieces: Option<mpsc::UnboundedSender<Bytes>>,
    answer: JoinHandle<StatusCode>,
}

impl Push {
    /// Begins a POST whose body is sent piece by piece.
    pub(crate) fn open(router: Router, name: &str) -> Self {
        Self::to(router, CHANNEL, name)
    }

    /// As [`Self::open`], to any channel.
    pub(crate) fn to(router: Router, channel: &str, name: &str) -> Self {
        let (pieces, received) = mpsc::unbounded_channel::<Bytes>();
        let pieces_in_order = futures_util::stream::unfold(received, |mut received| async {
            received.recv().await.map(|piece| (Ok::<_, std::io::Error>(piece), received))
        });
        let uri = format!("/ingest/{channel}/Streams({name}.cmfv)");
        let request = Request::post(uri).body(Body::from_stream(pieces_in_order)).expect("a request");
        let answer =
            tokio::spawn(async move { router.oneshot(request).await.unwrap_or_else(|never| match never {}).status() });
        Self { pieces: Some(pieces), answer }
    }

    pub(crate) fn send(&self, piece: Bytes) {
        if let Some(pieces) = &self.pieces {
            // A body that was refused is read by nobody.
            let _ = pieces.send(piece);
        }
    }

    /// Ends the body cleanly and waits for the answer.
    pub(crate) async fn finish(mut self) -> StatusCode {
        self.pieces = None;
        self.answer.await.expect("the push runs to its end")
    }

    /// The connection breaks.
    fn drop_connection(self) {
        self.answer.abort();
    }
}

/// One track being sent.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) source: Source,
    /// Next frame, counted from the epoch.
    pub(crate) next: i64,
    /// Frames of a chunk.
    pub(crate) per_chunk: i64,
    /// Chunks up to each multiple of this since the epoch, however many frames that is.
    pub(crate) per_border: Option<Duration>,
    /// Ticks from the epoch to what this encoder calls zero.
    pub(crate) zero: i64,
    /// Sync samples stand at multiples of the GOP from this frame.
    pub(crate) phase: i64,
    /// Not sent: the camera is unplugged.
    pub(crate) muted: bool,
    /// No sync samples from here on.
    pub(crate) keyless: bool,
    /// Sent before the next chunk.
    pub(crate) messages: Vec<EventMessage>,
    pushes: Vec<Push>,
    sequence: u32,
}

impl Feed {
    fn due(&self, delay: Duration) -> UtcTime {
        self.source.starts(self.chunk_end()) + delay
    }

    /// The first frame that is not in the next chunk.
    fn chunk_end(&self) -> i64 {
        let Some(span) = self.per_border else { return self.next + self.per_chunk };
        let span = i64::try_from(span.as_nanos()).expect("a short span");
        let border = self.source.starts(self.next).nanos() / span * span + span;
        self.source.frame_at(UtcTime::from_nanos(border))
    }

    /// The next chunk's bytes.
    fn chunk(&mut self) -> Bytes {
        let end = self.chunk_end();
        let samples: Vec<Sample> = (self.next..end)
            .map(|n| {
                let sync = (n - self.phase) % self.source.gop == 0 && !self.keyless;
                self.source.sample(n, sync, n * self.source.frame - self.zero)
            })
            .collect();
        self.next = end;
        self.sequence += 1;
        let options = ChunkOptions {
            sequence_number: self.sequence,
            first_of_segment: samples[0].sync,
            ..ChunkOptions::default()
        };
        let mut out = BytesMut::new();
        self.messages.drain(..).for_each(|message| write_emsg(&mut out, &message));
        write_chunk(&mut out, &samples, options);
        out.freeze()
    }

    /// Sends a header from here on: another coding.
    pub(crate) fn change(&mut self, source: Source) {
        self.source = Source { name: self.source.name, ..source };
        self.send_header();
    }

    fn send_header(&self) {
        for push in &self.pushes {
            push.send(header::write(&self.source.header));
        }
    }
}

/// Several tracks sent in step to any number of origins.
#[derive(Debug)]
pub(crate) struct Encoder {
    clock: Clock,
    pub(crate) feeds: Vec<Feed>,
    /// From the end of a chunk's media to its bytes on the wire.
    pub(crate) delay: Duration,
}

impl Encoder {
    /// An encoder whose first frames are captured at `from`; it sends frame by frame.
    pub(crate) fn from(clock: Clock, from: UtcTime, sources: Vec<Source>) -> Self {
        let feed = |source: Source| {
            let next = source.frame_at(from);
            Feed {
                source,
                next,
                per_chunk: 1,
                per_border: None,
                zero: 0,
                phase: 0,
                muted: false,
                keyless: false,
                messages: Vec::new(),
                pushes: Vec::new(),
                sequence: 0,
            }
        };
        Self { clock, feeds: sources.into_iter().map(feed).collect(), delay: Duration::from_millis(20) }
    }

    /// Sends to `stage` only, from [`BASE`] on.
    pub(crate) fn of(stage: &Stage, sources: Vec<Source>) -> Self {
        let mut encoder = Self::from(stage.clock, BASE, sources);
        encoder.connect(stage);
        encoder
    }

    /// An encoder that has just been started: its time begins at zero, its first frame is a sync sample.
    pub(crate) fn counting_from_zero(mut self) -> Self {
        for feed in &mut self.feeds {
            feed.zero = feed.next * feed.source.frame;
            feed.phase = feed.next;
        }
        self
    }

    /// Frames of a chunk, of every track.
    pub(crate) fn in_chunks_of(mut self, frames: i64) -> Self {
        for feed in &mut self.feeds {
            feed.per_chunk = frames;
        }
        self
    }

    /// Opens a body for each track and sends the headers.
    pub(crate) fn connect(&mut self, stage: &Stage) {
        self.reconnect(stage);
        for feed in &mut self.feeds {
            if let Some(push) = feed.pushes.last() {
                push.send(header::write(&feed.source.header));
            }
        }
    }

    /// Sends its first track by a push that was begun, header first.
    pub(crate) fn attach(&mut self, push: Push) {
        if let Some(feed) = self.feeds.first_mut() {
            push.send(header::write(&feed.source.header));
            feed.pushes.push(push);
        }
    }

    /// Opens a body for each track and goes on where it was, without headers.
    pub(crate) fn reconnect(&mut self, stage: &Stage) {
        for feed in &mut self.feeds {
            feed.pushes.push(Push::open(stage.router(), feed.source.name));
        }
    }

    /// Breaks the connections opened `nth`.
    pub(crate) fn disconnect(&mut self, nth: usize) {
        for feed in &mut self.feeds {
            feed.pushes.remove(nth).drop_connection();
        }
    }

    /// Ends every body cleanly.
    pub(crate) async fn finish(self) -> Vec<StatusCode> {
        let mut answers = Vec::new();
        for push in self.feeds.into_iter().flat_map(|feed| feed.pushes) {
            answers.push(push.finish().await);
        }
        answers
    }

    pub(crate) fn feed(&mut self, name: &str) -> &mut Feed {
        self.feeds.iter_mut().find(|feed| feed.source.name == name).expect("a track of this encoder")
    }

    /// Sends every chunk at its time, up to those due at `until`, and what they cause happens.
    pub(crate) async fn until(&mut self, until: UtcTime) {
        loop {
            let delay = self.delay;
            let Some(feed) = self.feeds.iter_mut().min_by_key(|feed| feed.due(delay)) else { break };
            let due = feed.due(delay);
            if due > until {
                break;
            }
            let wait = due.since(self.clock.now());
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            let chunk = feed.chunk();
            if !feed.muted {
                for push in &feed.pushes {
                    push.send(chunk.clone());
                }
            }
        }
        let rest = until.since(self.clock.now());
        tokio::time::sleep(rest).await;
        settle().await;
    }

    /// Goes on for `span`.
    pub(crate) async fn play(&mut self, span: Duration) {
        self.until(self.clock.now() + span).await;
    }

    /// Now, by the encoder's clock.
    pub(crate) fn now(&self) -> UtcTime {
        self.clock.now()
    }

    /// Up to when frames have been sent, on every track.
    pub(crate) fn captured(&self) -> UtcTime {
        let sent = self.feeds.iter().map(|feed| feed.source.starts(feed.next));
        sent.min().unwrap_or(BASE)
    }
}

/// The time `millis` after the beginning of the test.
pub(crate) fn at(millis: u64) -> UtcTime {
    BASE + Duration::from_millis(millis)
}
