// SPDX-License-Identifier: Apache-2.0
//! A body of boxes all the way to chunks: numbers rise, times rise, and what is written reads back.
#![no_main]

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use headwater_media::{TrackId, UtcTime};
use headwater_packager::cmaf::{ChunkOptions, Event, Limits, Reader, header, write_chunk};
use headwater_packager::timeline::assembler::TrackInput;
use headwater_packager::timeline::{Assembler, Config, Output, SourceClock};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (mut reader, mut events) = (Reader::new(Limits::default()), Vec::new());
    let pushed = reader.push(Bytes::copy_from_slice(data), &mut events);
    if pushed.is_ok() {
        let _ = reader.finish(&mut events);
    }
    let mut now = UtcTime::from_nanos(1_700_000_000_000_000_000);
    let mut assembler = Assembler::new(Config::default(), None);
    let (id, mut track, mut clock) = (TrackId::new("t").expect("a name"), None, SourceClock::new());
    let mut outputs = Vec::new();
    for event in events {
        match event {
            Event::Header(header) => {
                let first = header.tracks[0].clone();
                header::write(&first);
                assembler.header(&id, TrackInput { kind: first.kind, timescale: first.timescale });
                track = Some(first);
            }
            Event::Fragment(fragment) => {
                let Some(track) = &mut track else { continue };
                let source_id = track.source_id;
                for part in fragment.tracks.into_iter().filter(|p| p.source_id == source_id) {
                    let mut samples = part.samples;
                    if let Some(other) = samples.first().and_then(|sample| track.contradicted_by(sample)) {
                        *track = other;
                    }
                    clock.place(part.decode_time, &mut samples);
                    samples.iter_mut().for_each(|sample| track.apply_edit(sample));
                    now = now + Duration::from_secs(1);
                    assembler.push(&id, 1, samples, now);
                    assembler.advance(now);
                }
            }
            _ => {}
        }
        outputs.extend(assembler.take());
    }
    assembler.end(now);
    outputs.extend(assembler.take());
    let mut last = None;
    for output in outputs {
        match output {
            Output::Reset => last = None,
            Output::Part(_, _, part) => {
                assert!(last.is_none_or(|last| last < (part.number, part.index)), "numbers rise");
                last = Some((part.number, part.index));
                let mut out = BytesMut::new();
                write_chunk(&mut out, &part.samples, ChunkOptions::default());
            }
            _ => {}
        }
    }
});
