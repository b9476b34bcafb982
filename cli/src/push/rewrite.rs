// SPDX-License-Identifier: Apache-2.0
//! A fragmented CMAF file as its header and chunks, and a chunk written again at another time.
//!
//! Reads only what a pusher must know (ISO/IEC 14496-12; CMAF: ISO/IEC 23000-19, 7.3): timescale, decode times,
//! durations, sync samples. Media bytes are never touched. What names one moment of the recording and would lie in a
//! loop is dropped: `prft`, `sidx`, `mfra`, and a `styp` that says the last segment (`lmsg`).

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use headwater_media::Timescale;

const FULL_BOX_BYTES: usize = 4;
const SAMPLE_IS_NON_SYNC: u32 = 0x0001_0000;

/// Why a file cannot be pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// A box ends before its fields do.
    #[error("expected {need_bytes} bytes at offset {offset_bytes}, the box ends after {have_bytes}")]
    Truncated { offset_bytes: usize, need_bytes: usize, have_bytes: usize },
    /// A box says a size that cannot be.
    #[error("expected a box at offset {offset_bytes}, got the size {size_bytes}")]
    Size { offset_bytes: usize, size_bytes: u64 },
    /// A box that must be there is not.
    #[error("expected a {} box", kind.escape_ascii())]
    Missing { kind: [u8; 4] },
    /// A pushed file carries one track.
    #[error("expected one track, got {count}: write one file per track")]
    Tracks { count: usize },
    /// Offsets into the file do not survive a push.
    #[error("expected offsets from the moof (default-base-is-moof), got a base data offset")]
    BaseDataOffset,
    /// A fragment that says neither how many samples it has nor how long they are.
    #[error("expected sample durations in trun, tfhd or trex, got none")]
    NoDuration,
    /// A header without media.
    #[error("expected at least one chunk (moof and mdat), got none")]
    NoChunk,
}

/// A file read whole.
#[derive(Debug)]
pub(crate) struct File {
    /// The CMAF header: `ftyp` and `moov`.
    pub(crate) header: Bytes,
    pub(crate) timescale: Timescale,
    /// The handler is `vide`.
    pub(crate) video: bool,
    /// At least one, as they stand in the file.
    pub(crate) chunks: Vec<Chunk>,
}

/// A CMAF chunk: boxes before it, `moof` and `mdat`.
#[derive(Debug)]
pub(crate) struct Chunk {
    bytes: Bytes,
    /// Where the 64-bit decode time stands; `tfdt` is version 1 after reading.
    decode_time_at: usize,
    sequence_at: usize,
    /// Where 64-bit presentation times of events stand (`emsg` version 1), and their timescale.
    event_times: Vec<(usize, Timescale)>,
    /// First decode time, in ticks of the track.
    pub(crate) decode_time: i64,
    /// Sum of its samples' durations, in ticks of the track.
    pub(crate) duration: i64,
    /// Opens on a sync sample.
    pub(crate) sync: bool,
}

impl File {
    /// Reads a CMAF track file.
    ///
    /// # Errors
    /// [`Error`] names the first thing that is not as a pusher needs it.
    pub(crate) fn parse(bytes: &Bytes) -> Result<Self, Error> {
        let boxes = children(bytes, 0..bytes.len())?;
        let moov = find(&boxes, *b"moov")?;
        let header =
            boxes.iter().filter(|b| b.kind == *b"ftyp" || b.kind == *b"moov").fold(BytesMut::new(), |mut header, b| {
                header.extend_from_slice(&bytes[b.whole()]);
                header
            });
        let track = Defaults::parse(bytes, moov)?;

        let mut chunks = Vec::new();
        let mut before = BytesMut::new();
        let mut event_times = Vec::new();
        let mut moof = None;
        for b in &boxes {
            match &b.kind {
                b"styp" if !bytes[b.body.clone()].chunks(4).any(|brand| brand == b"lmsg") => {
                    before.extend_from_slice(&bytes[b.whole()])
                }
                b"emsg" => {
                    if bytes.get(b.body.start) == Some(&1) {
                        let scale = Timescale::new(u32_at(bytes, b.body.start + FULL_BOX_BYTES)?);
                        let time_at = before.len() + b.body.start - b.start + FULL_BOX_BYTES + 4;
                        event_times.extend(scale.map(|scale| (time_at, scale)));
                    }
                    before.extend_from_slice(&bytes[b.whole()]);
                }
                b"moof" => moof = Some(b),
                b"mdat" => {
                    let moof = moof.take().ok_or(Error::Missing { kind: *b"moof" })?;
                    let events = std::mem::take(&mut event_times);
                    chunks.push(Chunk::parse(bytes, before.split(), events, moof, b, &track)?);
                }
                _ => {}
            }
        }
        if chunks.is_empty() {
            return Err(Error::NoChunk);
        }
        Ok(Self { header: header.freeze(), timescale: track.timescale, video: track.video, chunks })
    }
}

impl Chunk {
    /// The same chunk `shift` ticks later, under another fragment number.
    ///
    /// `timescale` is the track's. The result depends on nothing else, so any two pushers write the same bytes.
    pub(crate) fn at(&self, shift: i64, timescale: Timescale, sequence: u32) -> Bytes {
        let mut bytes = BytesMut::from(&self.bytes[..]);
        let decode_time = self.decode_time.wrapping_add(shift);
        bytes[self.decode_time_at..self.decode_time_at + 8].copy_from_slice(&decode_time.to_be_bytes());
        bytes[self.sequence_at..self.sequence_at + 4].copy_from_slice(&sequence.to_be_bytes());
        for &(at, scale) in &self.event_times {
            let shift = headwater_media::MediaDuration::new(shift, timescale).rescale(scale).ticks();
            let mut time = [0; 8];
            time.copy_from_slice(&bytes[at..at + 8]);
            bytes[at..at + 8].copy_from_slice(&i64::from_be_bytes(time).wrapping_add(shift).to_be_bytes());
        }
        bytes.freeze()
    }

    fn parse(
        file: &Bytes,
        before: BytesMut,
        event_times: Vec<(usize, Timescale)>,
        moof: &BoxAt,
        mdat: &BoxAt,
        track: &Defaults,
    ) -> Result<Self, Error> {
        let in_moof = children(file, moof.body.clone())?;
        let trafs = in_moof.iter().filter(|b| b.kind == *b"traf").count();
        if trafs != 1 {
            return Err(Error::Tracks { count: trafs });
        }
        let in_traf = children(file, find(&in_moof, *b"traf")?.body.clone())?;
        let tfdt = find(&in_traf, *b"tfdt")?;
        let fragment = track.overridden_by(file, find(&in_traf, *b"tfhd")?)?;

        let (mut duration, mut sync) = (0, None);
        for trun in in_traf.iter().filter(|b| b.kind == *b"trun") {
            let run = Run::parse(file, trun, &fragment)?;
            duration += run.duration;
            sync = sync.or(run.sync);
        }
        let wide = u32_at(file, tfdt.body.start)? >> 24 == 1;
        let time_at = tfdt.body.start + FULL_BOX_BYTES;
        let decode_time = if wide { u64_at(file, time_at)? } else { u64::from(u32_at(file, time_at)?) };

        let mut bytes = before;
        let shift = bytes.len();
        bytes.extend_from_slice(&file[moof.whole()]);
        let mut time_at = shift + time_at - moof.start;
        if !wide {
            widen(&mut bytes, shift, moof, &in_moof, &in_traf)?;
            time_at = shift + tfdt.body.start + FULL_BOX_BYTES - moof.start;
        }
        bytes.extend_from_slice(&file[mdat.whole()]);
        let mfhd = find(&in_moof, *b"mfhd")?;
        Ok(Self {
            bytes: bytes.freeze(),
            decode_time_at: time_at,
            sequence_at: shift + mfhd.body.start + FULL_BOX_BYTES - moof.start,
            event_times,
            decode_time: i64::try_from(decode_time)
                .map_err(|_| Error::Size { offset_bytes: tfdt.start, size_bytes: decode_time })?,
            duration,
            sync: sync.unwrap_or(false),
        })
    }
}

/// Makes the 32-bit `tfdt` of the `moof` at `out[base..]` 64-bit: Unix time does not fit in 32 bits of ticks.
///
/// The `moof` grows by four bytes, so its size, the `traf`'s, and every `trun` data offset grow with it.
fn widen(out: &mut BytesMut, base: usize, moof: &BoxAt, in_moof: &[BoxAt], in_traf: &[BoxAt]) -> Result<(), Error> {
    let place = |at: usize| base + at - moof.start;
    let grow = |out: &mut BytesMut, at: usize| {
        let value = u32_at(out, at)?.wrapping_add(4);
        out[at..at + 4].copy_from_slice(&value.to_be_bytes());
        Ok::<_, Error>(())
    };
    let tfdt = find(in_traf, *b"tfdt")?;
    for start in [moof.start, find(in_moof, *b"traf")?.start, tfdt.start] {
        grow(out, place(start))?;
    }
    for trun in in_traf.iter().filter(|b| b.kind == *b"trun") {
        if u32_at(out, place(trun.body.start))? & 0x1 != 0 {
            grow(out, place(trun.body.start) + FULL_BOX_BYTES + 4)?;
        }
    }
    out[place(tfdt.body.start)] = 1;
    let time_at = place(tfdt.body.start) + FULL_BOX_BYTES;
    let tail = out.split_off(time_at);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&tail);
    Ok(())
}

/// What a sample has when its run does not say: of the track (`trex`), then of the fragment (`tfhd`).
struct Defaults {
    timescale: Timescale,
    video: bool,
    duration: Option<u32>,
    flags: u32,
}

impl Defaults {
    fn parse(file: &[u8], moov: &BoxAt) -> Result<Self, Error> {
        let in_moov = children(file, moov.body.clone())?;
        let count = in_moov.iter().filter(|b| b.kind == *b"trak").count();
        if count != 1 {
            return Err(Error::Tracks { count });
        }
        let in_trak = children(file, find(&in_moov, *b"trak")?.body.clone())?;
        let in_mdia = children(file, find(&in_trak, *b"mdia")?.body.clone())?;
        let mdhd = find(&in_mdia, *b"mdhd")?;
        let times_bytes = if u32_at(file, mdhd.body.start)? >> 24 == 1 { 16 } else { 8 };
        let ticks_per_second = u32_at(file, mdhd.body.start + FULL_BOX_BYTES + times_bytes)?;
        let hdlr = find(&in_mdia, *b"hdlr")?;
        let in_mvex = children(file, find(&in_moov, *b"mvex")?.body.clone())?;
        let trex = find(&in_mvex, *b"trex")?.body.start + FULL_BOX_BYTES;
        let duration = u32_at(file, trex + 8)?;
        Ok(Self {
            timescale: Timescale::new(ticks_per_second).ok_or(Error::Missing { kind: *b"mdhd" })?,
            video: u32_at(file, hdlr.body.start + FULL_BOX_BYTES + 4)? == u32::from_be_bytes(*b"vide"),
            duration: (duration != 0).then_some(duration),
            flags: u32_at(file, trex + 16)?,
        })
    }

    fn overridden_by(&self, file: &[u8], tfhd: &BoxAt) -> Result<Self, Error> {
        let present = u32_at(file, tfhd.body.start)?;
        if present & 0x1 != 0 {
            return Err(Error::BaseDataOffset);
        }
        let mut at = tfhd.body.start + FULL_BOX_BYTES + 4;
        let mut fragment =
            Self { timescale: self.timescale, video: self.video, duration: self.duration, flags: self.flags };
        for flag in [0x2, 0x8, 0x10, 0x20] {
            if present & flag == 0 {
                continue;
            }
            let value = u32_at(file, at)?;
            match flag {
                0x8 => fragment.duration = Some(value),
                0x20 => fragment.flags = value,
                _ => {}
            }
            at += 4;
        }
        Ok(fragment)
    }
}

/// A `trun`: how long it lasts, and whether its first sample is a sync sample (`None` if it has no sample).
struct Run {
    duration: i64,
    sync: Option<bool>,
}

impl Run {
    fn parse(file: &[u8], trun: &BoxAt, fragment: &Defaults) -> Result<Self, Error> {
        let present = u32_at(file, trun.body.start)?;
        let count = u32_at(file, trun.body.start + FULL_BOX_BYTES)?;
        let mut at = trun.body.start + FULL_BOX_BYTES + 4 + if present & 0x1 != 0 { 4 } else { 0 };
        let mut flags = fragment.flags;
        if present & 0x4 != 0 {
            flags = u32_at(file, at)?;
            at += 4;
        }
        let (has_duration, has_size, has_flags) = (present & 0x100 != 0, present & 0x200 != 0, present & 0x400 != 0);
        let sample_bytes = 4 * (present >> 8 & 0xf).count_ones() as usize;
        if has_flags && present & 0x4 == 0 && count > 0 {
            flags = u32_at(file, at + 4 * (usize::from(has_duration) + usize::from(has_size)))?;
        }
        let mut duration = 0;
        if has_duration {
            for _ in 0..count {
                duration += i64::from(u32_at(file, at)?);
                at += sample_bytes;
            }
        } else {
            duration = i64::from(count) * i64::from(fragment.duration.ok_or(Error::NoDuration)?);
        }
        Ok(Self { duration, sync: (count > 0).then_some(flags & SAMPLE_IS_NON_SYNC == 0) })
    }
}

/// A box of the file: where it starts and where its fields stand.
#[derive(Clone, Debug)]
struct BoxAt {
    kind: [u8; 4],
    start: usize,
    body: Range<usize>,
}

impl BoxAt {
    const fn whole(&self) -> Range<usize> {
        self.start..self.body.end
    }
}

fn children(file: &[u8], within: Range<usize>) -> Result<Vec<BoxAt>, Error> {
    let mut boxes = Vec::new();
    let mut at = within.start;
    while at < within.end {
        let size = u64::from(u32_at(file, at)?);
        let kind = u32_at(file, at + 4)?.to_be_bytes();
        let (head_bytes, size) = match size {
            0 => (8, (within.end - at) as u64),
            1 => (16, u64_at(file, at + 8)?),
            size => (8, size),
        };
        let end = usize::try_from(size).ok().and_then(|size| at.checked_add(size));
        match end.filter(|&end| end <= within.end && end >= at + head_bytes) {
            Some(end) => boxes.push(BoxAt { kind, start: at, body: at + head_bytes..end }),
            None => return Err(Error::Size { offset_bytes: at, size_bytes: size }),
        }
        at = boxes.last().map_or(within.end, |b| b.body.end);
    }
    Ok(boxes)
}

fn find(boxes: &[BoxAt], kind: [u8; 4]) -> Result<&BoxAt, Error> {
    boxes.iter().find(|b| b.kind == kind).ok_or(Error::Missing { kind })
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, Error> {
    array_at(bytes, at).map(u32::from_be_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Result<u64, Error> {
    array_at(bytes, at).map(u64::from_be_bytes)
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Error> {
    let have_bytes = bytes.len().saturating_sub(at);
    let array = bytes.get(at..).and_then(|rest| rest.first_chunk::<N>());
    array.copied().ok_or(Error::Truncated { offset_bytes: at, need_bytes: N, have_bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let mut out = u32::try_from(8 + body.len()).unwrap().to_be_bytes().to_vec();
        out.extend_from_slice(kind);
        out.extend_from_slice(body);
        out
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|w| w.to_be_bytes()).collect()
    }

    fn header() -> Vec<u8> {
        let mdhd = plain(b"mdhd", &words(&[0, 0, 0, 1000, 0, 0]));
        let hdlr = plain(b"hdlr", &words(&[0, 0, u32::from_be_bytes(*b"vide"), 0, 0, 0]));
        let trak = plain(b"trak", &plain(b"mdia", &[mdhd, hdlr].concat()));
        let mvex = plain(b"mvex", &plain(b"trex", &words(&[0, 1, 1, 40, 0, SAMPLE_IS_NON_SYNC])));
        [plain(b"ftyp", b"cmfc\0\0\0\0"), plain(b"moov", &[trak, mvex].concat())].concat()
    }

    /// One run of two samples, the first sync; the media stands right behind the `moof`.
    fn chunk(tfdt: &[u32], media: &[u8]) -> Vec<u8> {
        let mfhd = plain(b"mfhd", &words(&[0, 7]));
        let tfhd = plain(b"tfhd", &words(&[0x0002_0000, 1]));
        let tfdt = plain(b"tfdt", &words(tfdt));
        let moof = |offset: u32| {
            let trun = plain(b"trun", &words(&[0x5, 2, offset, 0]));
            plain(b"moof", &[mfhd.clone(), plain(b"traf", &[tfhd.clone(), tfdt.clone(), trun].concat())].concat())
        };
        let offset = u32::try_from(moof(0).len() + 8).unwrap();
        [moof(offset), plain(b"mdat", media)].concat()
    }

    fn file(parts: &[&[u8]]) -> Bytes {
        Bytes::from(parts.concat())
    }

    #[test]
    fn a_32_bit_time_becomes_64_bit_and_the_media_is_still_found() {
        let narrow = File::parse(&file(&[&header(), &chunk(&[0, 80], b"pixels")])).unwrap();
        let wide = File::parse(&file(&[&header(), &chunk(&[1 << 24, 0, 80], b"pixels")])).unwrap();
        let shift = 1_700_000_000_000;
        let a = narrow.chunks[0].at(shift, narrow.timescale, 9);
        assert_eq!(a, wide.chunks[0].at(shift, wide.timescale, 9));
        let again = File::parse(&file(&[&header(), &a])).unwrap();
        assert_eq!(
            (again.chunks[0].decode_time, again.chunks[0].duration, again.chunks[0].sync),
            (shift + 80, 80, true)
        );
    }

    #[test]
    fn what_tells_the_recordings_time_is_dropped() {
        let prft = plain(b"prft", &words(&[0x0100_0000, 1, 0, 0, 0, 0]));
        let last = plain(b"styp", b"cmfs\0\0\0\0lmsg");
        let first = plain(b"styp", b"cmfs\0\0\0\0cmfs");
        let mfra = plain(b"mfra", &[]);
        let media = chunk(&[1 << 24, 0, 0], b"x");
        let read = File::parse(&file(&[&header(), &prft, &first, &media, &last, &prft, &media, &mfra])).unwrap();
        assert_eq!(read.header, header());
        assert_eq!(read.chunks[0].at(0, read.timescale, 7), [first, media.clone()].concat());
        assert_eq!(read.chunks[1].at(0, read.timescale, 7), media);
    }

    #[test]
    fn an_event_moves_with_its_chunk() {
        let emsg = plain(b"emsg", &words(&[1 << 24, 90_000, 0, 180_000, 0, 1, 0, 0]));
        let read = File::parse(&file(&[&header(), &emsg, &chunk(&[1 << 24, 0, 2_000], b"x")])).unwrap();
        let moved = read.chunks[0].at(8_000, read.timescale, 1);
        assert_eq!(u64_at(&moved, 16).unwrap(), 180_000 + 720_000);
    }

    #[test]
    fn what_cannot_be_pushed_says_why() {
        assert_eq!(File::parse(&Bytes::from(header())).unwrap_err(), Error::NoChunk);
        assert_eq!(File::parse(&Bytes::from(chunk(&[0, 0], b"x"))).unwrap_err(), Error::Missing { kind: *b"moov" });
        assert_eq!(
            File::parse(&file(&[&[0, 0, 0, 7], b"moof"])).unwrap_err(),
            Error::Size { offset_bytes: 0, size_bytes: 7 }
        );
        let whole = file(&[&header(), &chunk(&[0, 0], b"pixels")]);
        for cut in 0..whole.len() {
            assert!(File::parse(&whole.slice(..cut)).is_err(), "cut at {cut}");
        }
    }
}
