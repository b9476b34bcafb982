// SPDX-License-Identifier: Apache-2.0
//! `memory_bytes_max` bounds the process, by the system's count, whatever is pushed.

use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use headwater_packager::Sample;
use headwater_packager::cmaf::{ChunkOptions, Event, Limits, Reader, header, write_chunk};

use crate::harness::{Headwater, SOON, until};
use crate::wire::Wire;

const AVC: &[u8] = include_bytes!("../vectors/cmaf/v25_lo.cmfv");
const BYTES_MAX: u64 = 320 << 20;
/// 25 frames a second in the vector's timescale.
const FRAME: i64 = 512;
const FRAMES_PER_SECOND: i64 = 25;
const FRAME_BYTES: usize = 320_000;
const SECONDS: i64 = 70;

/// A second of pictures from `second` on, 8 MB in one fragment.
fn second_of_media(second: i64, data: &Bytes) -> Bytes {
    let samples: Vec<Sample> = (0..FRAMES_PER_SECOND)
        .map(|frame| Sample {
            decode_time: (second * FRAMES_PER_SECOND + frame) * FRAME,
            composition_offset: 0,
            duration: u32::try_from(FRAME).expect("a short frame"),
            sync: frame == 0,
            data: data.clone(),
        })
        .collect();
    let mut out = BytesMut::new();
    write_chunk(&mut out, &samples, ChunkOptions { first_of_segment: true, ..ChunkOptions::default() });
    out.freeze()
}

#[test]
fn a_process_stays_within_its_memory_whatever_is_pushed() {
    let toml = format!(
        "memory_bytes_max = {BYTES_MAX}\n[channels.big]\nsegment_ms = 1000\nwindow_seconds = 600\ncadence = false\n"
    );
    let origin = Headwater::serve(&toml, &[]);
    let mut events = Vec::new();
    Reader::new(Limits::default()).push(Bytes::from_static(AVC), &mut events).expect("a readable vector");
    let found = events.into_iter().find_map(|event| match event {
        Event::Header(header) => Some(header),
        _ => None,
    });
    let header = header::write(&found.expect("a header").tracks[0]);
    let data = Bytes::from(vec![7; FRAME_BYTES]);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    let first = i64::try_from(now).expect("a time of this era") - SECONDS - 5;
    let mut push = Wire::open(&origin.base);
    push.begin("/ingest/big/Streams(v0.cmfv)");
    push.chunk(&header);
    let mut largest = 0;
    for second in first..first + SECONDS {
        push.chunk(&second_of_media(second, &data));
        largest = largest.max(origin.resident_bytes());
    }
    push.chunk(b"");
    assert_eq!(push.answer("POST").status, 200);
    let last = i64::try_from(now).expect("a time of this era") - 6;
    let state = origin.wait_channel("big", |state| state["tracks"][0]["last_segment"].as_i64() == Some(last));
    assert!(largest <= BYTES_MAX, "{} MB held of {} MB pushed", largest >> 20, SECONDS * 8);
    let kept = last - state["tracks"][0]["first_segment"].as_i64().expect("a number") + 1;
    assert!((6..40).contains(&kept), "{kept} segments: old media left, live media stayed");
    assert!(until(SOON + Duration::from_secs(1), || (origin.resident_bytes() <= BYTES_MAX).then_some(())).is_some());
}
