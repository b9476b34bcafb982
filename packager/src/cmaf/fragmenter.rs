// SPDX-License-Identifier: Apache-2.0
//! Writes canonical CMAF chunks (ISO/IEC 23000-19, 7.3.2.3): the only media bytes viewers ever get.
//!
//! Which fields are written, and how, is a function of the samples and options alone: two origins that cut the same
//! samples write the same bytes, whatever encoder dialect they came in.

use bytes::{BufMut, BytesMut};
use headwater_media::UtcTime;

use crate::Sample;
use crate::cmaf::boxes::write_box;
use crate::cmaf::header::TRACK_ID;
use crate::cmaf::producer_time;

/// What a chunk says beside its samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkOptions {
    /// `mfhd` sequence number.
    pub sequence_number: u32,
    /// The segment begins here: a `styp` opens it.
    pub first_of_segment: bool,
    /// The wall clock of the first sample's decode time, written as `prft`.
    pub producer_time: Option<UtcTime>,
    /// The stream ends with this chunk's segment: brand `lmsg`.
    pub last_of_stream: bool,
}

/// Where things are in a written chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkLayout {
    /// Size of the chunk.
    pub length_bytes: u64,
    /// From the chunk's start to the end of its first sample: an I-frame's byte range.
    pub first_sample_end_bytes: u64,
}

const SYNC_FLAGS: u32 = 0x0200_0000;
const NON_SYNC_FLAGS: u32 = 0x0101_0000;

/// Appends one chunk to `out`: `styp` and `prft` where asked for, `moof`, `mdat`.
///
/// `samples` are consecutive, in decode order, their times mapped; without any, nothing is written. Reserves once and
/// copies sample data once.
pub fn write_chunk(out: &mut BytesMut, samples: &[Sample], options: ChunkOptions) -> ChunkLayout {
    let Some(first) = samples.first() else {
        return ChunkLayout::default();
    };
    let fields = Fields::of(samples);
    let data_bytes: u64 = samples.iter().map(|s| s.data.len() as u64).sum();
    let mdat_header_bytes: u64 = if data_bytes + 8 > u64::from(u32::MAX) { 16 } else { 8 };
    let moof_bytes = fields.moof_bytes(samples.len());
    let start = out.len();
    // Once and exactly: what is left over would stay as long as the chunk.
    out.reserve(ENVELOPE_BYTES + usize::try_from(moof_bytes + mdat_header_bytes + data_bytes).unwrap_or(0));

    if options.first_of_segment || options.last_of_stream {
        write_segment_type(out, options);
    }
    if let Some(utc) = options.producer_time {
        producer_time::write(out, utc, first.decode_time);
    }
    let moof_start = out.len();
    fields.write_moof(out, samples, options.sequence_number, moof_bytes + mdat_header_bytes);
    debug_assert_eq!((out.len() - moof_start) as u64, moof_bytes, "the size written first is the size written");
    match u32::try_from(data_bytes + 8) {
        Ok(size) => {
            out.put_u32(size);
            out.put_slice(b"mdat");
        }
        Err(_) => {
            out.put_u32(1);
            out.put_slice(b"mdat");
            out.put_u64(data_bytes + 16);
        }
    }
    let first_sample_end = out.len() - start + first.data.len();
    for sample in samples {
        out.put_slice(&sample.data);
    }
    ChunkLayout { length_bytes: (out.len() - start) as u64, first_sample_end_bytes: first_sample_end as u64 }
}

/// `styp` of 5 words and `prft`.
const ENVELOPE_BYTES: usize = 28 + 32;

fn write_segment_type(out: &mut BytesMut, options: ChunkOptions) {
    let brand: &[u8; 4] = if options.first_of_segment { b"cmfs" } else { b"cmfl" };
    write_box(out, b"styp", |out| {
        out.put_slice(brand);
        out.put_u32(0);
        out.put_slice(brand);
        out.put_slice(b"msdh");
        if options.last_of_stream {
            out.put_slice(b"lmsg");
        }
    });
}

/// What is equal for all samples goes into `tfhd`, what varies into `trun`.
#[derive(Clone, Copy)]
struct Fields {
    duration: Option<u32>,
    size: Option<u32>,
    flags: Flags,
    offsets: bool,
}

#[derive(Clone, Copy)]
enum Flags {
    /// All as `tfhd` says.
    Equal(u32),
    /// A sync sample, then none: the usual video chunk.
    FirstSync,
    Each,
}

impl Fields {
    fn of(samples: &[Sample]) -> Self {
        let equal = |value: fn(&Sample) -> u32| {
            let first = samples.first().map(value)?;
            samples.iter().all(|s| value(s) == first).then_some(first)
        };
        let sync_from_second = samples.iter().skip(1).any(|s| s.sync);
        let flags = match equal(flags) {
            Some(flags) => Flags::Equal(flags),
            None if !sync_from_second => Flags::FirstSync,
            None => Flags::Each,
        };
        let offsets = samples.iter().any(|s| s.composition_offset != 0);
        Self { duration: equal(|s| s.duration), size: equal(size), flags, offsets }
    }

    /// `tfhd`'s and `trun`'s flags.
    fn present(&self) -> (u32, u32) {
        const BASE_IS_MOOF: u32 = 0x02_0000;
        let (mut tfhd, mut trun) = (BASE_IS_MOOF, 0x1);
        let mut put = |in_tfhd: bool, tfhd_bit: u32, trun_bit: u32| {
            if in_tfhd { tfhd |= tfhd_bit } else { trun |= trun_bit }
        };
        put(self.duration.is_some(), 0x8, 0x100);
        put(self.size.is_some(), 0x10, 0x200);
        put(!matches!(self.flags, Flags::Each), 0x20, 0x400);
        if matches!(self.flags, Flags::FirstSync) {
            trun |= 0x4;
        }
        if self.offsets {
            trun |= 0x800;
        }
        (tfhd, trun)
    }

    fn tfhd_bytes(&self) -> u64 {
        16 + 4 * u64::from((self.present().0 & 0x38).count_ones())
    }

    fn trun_bytes(&self, count: usize) -> u64 {
        let present = self.present().1;
        let per_sample = 4 * u64::from((present & 0xf00).count_ones());
        16 + 4 * u64::from((present & 0x5).count_ones()) + per_sample * count as u64
    }

    fn traf_bytes(&self, count: usize) -> u64 {
        const TFDT_BYTES: u64 = 20;
        8 + self.tfhd_bytes() + TFDT_BYTES + self.trun_bytes(count)
    }

    fn moof_bytes(&self, count: usize) -> u64 {
        const MFHD_BYTES: u64 = 16;
        8 + MFHD_BYTES + self.traf_bytes(count)
    }

    fn write_moof(&self, out: &mut BytesMut, samples: &[Sample], sequence_number: u32, data_offset: u64) {
        let (tfhd, trun) = self.present();
        start_box(out, b"moof", self.moof_bytes(samples.len()));
        start_box(out, b"mfhd", 16);
        out.put_u32(0);
        out.put_u32(sequence_number);
        start_box(out, b"traf", self.traf_bytes(samples.len()));
        start_box(out, b"tfhd", self.tfhd_bytes());
        out.put_u32(tfhd);
        out.put_u32(TRACK_ID);
        let default_flags = match self.flags {
            Flags::Equal(flags) => Some(flags),
            Flags::FirstSync => Some(NON_SYNC_FLAGS),
            Flags::Each => None,
        };
        for field in [self.duration, self.size, default_flags].into_iter().flatten() {
            out.put_u32(field);
        }
        start_box(out, b"tfdt", 20);
        out.put_u32(1 << 24);
        out.put_u64(samples.first().map_or(0, |s| s.decode_time) as u64);
        start_box(out, b"trun", self.trun_bytes(samples.len()));
        out.put_u32(1 << 24 | trun);
        out.put_u32(count_u32(samples.len() as u64));
        out.put_u32(count_u32(data_offset));
        if matches!(self.flags, Flags::FirstSync) {
            out.put_u32(SYNC_FLAGS);
        }
        for sample in samples {
            if self.duration.is_none() {
                out.put_u32(sample.duration);
            }
            if self.size.is_none() {
                out.put_u32(size(sample));
            }
            if matches!(self.flags, Flags::Each) {
                out.put_u32(flags(sample));
            }
            if self.offsets {
                out.put_i32(sample.composition_offset);
            }
        }
    }
}

fn start_box(out: &mut BytesMut, kind: &[u8; 4], size_bytes: u64) {
    out.put_u32(count_u32(size_bytes));
    out.put_slice(kind);
}

fn count_u32(value: u64) -> u32 {
    u32::try_from(value).expect("a chunk has fewer than 2^27 samples")
}

fn size(sample: &Sample) -> u32 {
    u32::try_from(sample.data.len()).expect("a sample is smaller than 4 GiB")
}

const fn flags(sample: &Sample) -> u32 {
    if sample.sync { SYNC_FLAGS } else { NON_SYNC_FLAGS }
}
