// SPDX-License-Identifier: Apache-2.0
//! An encoder: a ladder of synthetic frames as CMAF, one long POST per track, each chunk when its last frame is captured.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use headwater_packager::Sample;
use headwater_packager::cmaf::{ChunkOptions, Header, header, write_chunk};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::origin::Origin;

const PICTURE: &[u8] = include_bytes!("../../cli/assets/ladder/v2.cmfv");
const SOUND: &[u8] = include_bytes!("../../cli/assets/ladder/a0.cmfa");

/// Three renditions of 0.5, 0.9 and 1.6 Mb/s and sound of 0.1: names and bits per second.
pub(crate) const LADDER: &[(&str, u64)] = &[("v0", 500_000), ("v1", 900_000), ("v2", 1_600_000), ("a0", 100_000)];

struct Track {
    name: &'static str,
    stream: TcpStream,
    timescale: i64,
    frame: i64,
    per_chunk: i64,
    frame_bytes: usize,
    /// Frames sent.
    sent: i64,
    start: i64,
    gop: i64,
}

/// A push in progress. Media time is Unix time from a whole second on; the pace is kept by [`Self::step`].
pub(crate) struct Encoder {
    tracks: Vec<Track>,
    began: Instant,
    start_second: i64,
    steps: u64,
    bits_per_second: u64,
}

const STEP: Duration = Duration::from_millis(200);

impl Encoder {
    pub(crate) async fn start(origin: &Origin, channel: &str, ladder: &[(&'static str, u64)]) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        let start_second = i64::try_from(now.as_secs()).expect("in range") + 1;
        let began = Instant::now() + Duration::from_secs(1) - Duration::from_nanos(u64::from(now.subsec_nanos()));
        let mut tracks = Vec::new();
        for (name, bits) in ladder {
            let sound = name.starts_with('a');
            let source =
                Header::parse(&Bytes::from_static(if sound { SOUND } else { PICTURE })).expect("the sample ladder");
            let track = &source.tracks[0];
            let timescale = i64::from(track.timescale.ticks_per_second());
            let (frame, per_chunk, rate) = if sound { (1_024, 0, 47) } else { (timescale / 25, 5, 25) };
            let mut stream = origin.connect().await;
            let extension = if sound { "cmfa" } else { "cmfv" };
            let head = format!(
                "POST /ingest/{channel}/Streams({name}.{extension}) HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await.expect("a request sent");
            let frame_bytes = usize::try_from(bits / 8 / rate).expect("in range");
            let start = start_second * timescale;
            let mut track = Track {
                name,
                stream,
                timescale,
                frame,
                per_chunk,
                frame_bytes,
                sent: 0,
                start,
                gop: if sound { 1 } else { 25 },
            };
            track.send(&header::write(&source.tracks[0])).await;
            tracks.push(track);
        }
        Self { tracks, began, start_second, steps: 0, bits_per_second: ladder.iter().map(|(_, b)| b).sum() }
    }

    pub(crate) fn megabits(&self) -> f64 {
        self.bits_per_second as f64 / 1e6
    }

    /// Segment and part that the next step completes on the video tracks.
    pub(crate) fn next_part(&self) -> (i64, u64) {
        (self.start_second + i64::try_from(self.steps / 5).expect("in range"), self.steps % 5)
    }

    /// As [`Self::next_part`], for segments of so many seconds on the epoch grid.
    pub(crate) fn next_part_of(&self, seconds: i64) -> (i64, u64) {
        let (second, part) = self.next_part();
        (second.div_euclid(seconds), u64::try_from(second.rem_euclid(seconds)).expect("not negative") * 5 + part)
    }

    /// A complete segment's path below the channel.
    pub(crate) fn complete_segment(&self, track: &str) -> String {
        format!("{track}/{}.m4s", self.next_part().0 - 2)
    }

    /// True if the next chunk's time has passed.
    pub(crate) fn is_late(&self) -> bool {
        Instant::now() > self.began + STEP * u32::try_from(self.steps + 1).expect("in range")
    }

    /// Runs in real time.
    pub(crate) async fn run(&mut self, length: Duration) {
        for _ in 0..length.as_millis() / STEP.as_millis() {
            self.step().await;
        }
    }

    /// Waits for the next chunk's time and sends it on every track. When the top rendition's last byte was written.
    pub(crate) async fn step(&mut self) -> Instant {
        self.steps += 1;
        let due = self.began + STEP * u32::try_from(self.steps).expect("in range");
        tokio::time::sleep_until(due).await;
        let elapsed_ms = i64::try_from(self.steps).expect("in range") * 200;
        let mut sent = Instant::now();
        // Sound first, so that what is timed is not behind it.
        for track in self.tracks.iter_mut().rev() {
            let count = if track.per_chunk > 0 {
                track.per_chunk
            } else {
                elapsed_ms * track.timescale / 1_000 / track.frame - track.sent
            };
            let chunk = track.chunk(count);
            track.send(&chunk).await;
            if track.name == "v2" {
                sent = Instant::now();
            }
        }
        sent
    }
}

impl Track {
    fn chunk(&mut self, count: i64) -> Bytes {
        let payload = Bytes::from(vec![0x5a; self.frame_bytes]);
        let samples: Vec<Sample> = (self.sent..self.sent + count)
            .map(|i| Sample {
                decode_time: self.start + i * self.frame,
                composition_offset: 0,
                duration: u32::try_from(self.frame).expect("in range"),
                sync: i % self.gop == 0,
                data: payload.clone(),
            })
            .collect();
        self.sent += count;
        let mut out = BytesMut::new();
        write_chunk(&mut out, &samples, ChunkOptions::default());
        out.freeze()
    }

    async fn send(&mut self, bytes: &[u8]) {
        let mut framed = BytesMut::with_capacity(bytes.len() + 16);
        framed.extend_from_slice(format!("{:x}\r\n", bytes.len()).as_bytes());
        framed.extend_from_slice(bytes);
        framed.extend_from_slice(b"\r\n");
        self.stream.write_all(&framed).await.expect("the origin takes the push");
    }
}
