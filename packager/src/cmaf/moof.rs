// SPDX-License-Identifier: Apache-2.0
//! Reads `moof` (ISO/IEC 14496-12, 8.8.4) and joins its samples to the media data that follows.
//!
//! Must never allocate for more samples than [`Limits`] allows: a `trun` can claim four billion in twelve bytes.

use bytes::Bytes;
use headwater_media::Kind;

use crate::Sample;
use crate::cmaf::boxes::{Cursor, FourCc};
use crate::cmaf::fragment::{SourceTime, TrackFragment};
use crate::cmaf::track::{Defaults, Header};
use crate::cmaf::{Error, Limits};

/// `tfxd` (Smooth Streaming, MS-SSTR 2.2.4.4): the fragment's absolute time where there is no `tfdt`.
const TFXD: [u8; 16] = [0x6d, 0x1d, 0x9b, 0x05, 0x42, 0xd5, 0x44, 0xe6, 0x80, 0xe2, 0x14, 0x1d, 0xaf, 0xf7, 0x57, 0xb2];
/// More `mdat` boxes than this after one `moof` are an attack.
const MDATS_MAX: usize = 16;

/// A `moof` that waits for its media data.
#[derive(Debug)]
pub(crate) struct OpenFragment {
    pub(crate) sequence: u32,
    tracks: Vec<OpenTrack>,
    /// Sum of the sample sizes.
    pub(crate) need_bytes: u64,
    /// Some offset is not bound to this body (absolute, or left out), so it may count from the first `mdat`.
    loose: bool,
    /// The lowest offset of a run, of unsupported tracks too.
    lowest_offset: i64,
    /// Samples of each track so far.
    counts: Vec<(u32, u64)>,
    mdats: Vec<MediaData>,
}

#[derive(Debug)]
struct OpenTrack {
    /// With empty `data` until the bytes are here.
    fragment: TrackFragment,
    sizes: Vec<u32>,
    runs: Vec<Run>,
}

/// Samples that lie one after the other.
#[derive(Debug)]
struct Run {
    /// From the start of the body.
    offset_bytes: i64,
    count: usize,
    length_bytes: u64,
}

#[derive(Debug)]
struct MediaData {
    /// Of its first payload byte, from the start of the body.
    offset_bytes: i64,
    payload: Bytes,
}

impl OpenFragment {
    /// Reads the payload of a `moof` that starts `moof_offset` bytes into the body.
    pub(crate) fn parse(payload: &[u8], moof_offset: u64, header: &Header, limits: &Limits) -> Result<Self, Error> {
        let moof = Cursor::new(FourCc(*b"moof"), payload);
        let mut mfhd = moof.expect(b"mfhd")?;
        mfhd.version_and_flags()?;
        let mut this = Self {
            sequence: mfhd.u32()?,
            tracks: Vec::new(),
            need_bytes: 0,
            loose: false,
            lowest_offset: i64::MAX,
            counts: Vec::new(),
            mdats: Vec::new(),
        };
        let moof_offset = i64::try_from(moof_offset).unwrap_or(i64::MAX);
        // Without any base, a track's data follows the track's before it (8.8.7.1).
        let mut next_offset = moof_offset;
        let mut children = moof;
        while let Some(child) = children.child()? {
            if child.kind.0 == *b"traf" {
                this.read_traf(child.cursor(), moof_offset, &mut next_offset, header, limits)?;
            }
        }
        let max = limits.fragment_bytes_max as u64;
        if this.need_bytes > max {
            return Err(Error::TooBig { kind: FourCc(*b"mdat"), size_bytes: this.need_bytes, max_bytes: max });
        }
        Ok(this)
    }

    fn read_traf(
        &mut self,
        traf: Cursor<'_>,
        moof_offset: i64,
        next_offset: &mut i64,
        header: &Header,
        limits: &Limits,
    ) -> Result<(), Error> {
        let mut tfhd = Tfhd::read(traf.expect(b"tfhd")?)?;
        let source_id = tfhd.source_id;
        let track = header.track(source_id);
        if track.is_none() && !header.unsupported.iter().any(|t| t.source_id == source_id) {
            return Err(Error::NoHeader { source_id });
        }
        let kind = track.map_or(Kind::Metadata, |t| t.kind);
        tfhd.inherited = track.map(|t| t.defaults).unwrap_or_default();
        let index = tfhd.description_index.unwrap_or(tfhd.inherited.description_index);
        if track.is_some() && index > 1 {
            let (kind, field) = (FourCc(*b"tfhd"), "sample description index");
            return Err(Error::Field { kind, field, value: u64::from(index) });
        }
        let mut offset = match tfhd.base_offset {
            Some(base) => i64::try_from(base).unwrap_or(i64::MAX),
            None if tfhd.base_is_moof => moof_offset,
            None => *next_offset,
        };
        self.loose |= tfhd.base_offset.is_some();
        let base = offset;
        let decode_time = decode_time(traf)?;
        let fragment = TrackFragment { source_id, decode_time, samples: Vec::new() };
        let mut open = OpenTrack { fragment, sizes: Vec::new(), runs: Vec::new() };
        let mut time = decode_time.map_or(0, |t| t.ticks as i64);
        let mut children = traf;
        while let Some(child) = children.child()? {
            if child.kind.0 != *b"trun" {
                continue;
            }
            let trun = Trun::read(child.cursor())?;
            self.count(source_id, trun.count, limits)?;
            match trun.data_offset {
                Some(relative) => offset = base.saturating_add(i64::from(relative)),
                None => self.loose |= open.runs.is_empty(),
            }
            self.lowest_offset = self.lowest_offset.min(offset);
            let count = trun.count as usize;
            let bytes = trun.read_samples(&tfhd, kind, &mut time, &mut open)?;
            open.runs.push(Run { offset_bytes: offset, count, length_bytes: bytes });
            offset = offset.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX));
            if track.is_some() {
                self.need_bytes = self.need_bytes.saturating_add(bytes);
            }
        }
        *next_offset = offset;
        if track.is_some() && !open.sizes.is_empty() {
            self.tracks.push(open);
        }
        Ok(())
    }

    /// Bounds one track's samples over all its `traf` and `trun` boxes.
    fn count(&mut self, source_id: u32, more: u32, limits: &Limits) -> Result<(), Error> {
        let at = self.counts.iter().position(|&(id, _)| id == source_id).unwrap_or(self.counts.len());
        if at == self.counts.len() {
            self.counts.push((source_id, 0));
        }
        let (_, count) = &mut self.counts[at];
        *count += u64::from(more);
        if *count > limits.samples_max as u64 {
            return Err(Error::TooMany { what: "samples", count: *count, max: limits.samples_max as u64 });
        }
        Ok(())
    }

    /// True if no supported track has a sample.
    pub(crate) fn is_empty(&self) -> bool {
        self.tracks.is_empty()
    }

    /// Bytes of media data held.
    pub(crate) fn have_bytes(&self) -> u64 {
        self.mdats.iter().map(|m| m.payload.len() as u64).sum()
    }

    /// True once every sample can have its bytes: all runs lie in what is here, or as much is here as they take.
    pub(crate) fn is_complete(&self) -> bool {
        let mut runs = self.tracks.iter().flat_map(|t| &t.runs);
        self.have_bytes() >= self.need_bytes || runs.all(|run| self.holds(run))
    }

    fn holds(&self, run: &Run) -> bool {
        let end = run.offset_bytes.saturating_add_unsigned(run.length_bytes);
        let within = |m: &MediaData| {
            m.offset_bytes <= run.offset_bytes && end <= m.offset_bytes.saturating_add_unsigned(m.payload.len() as u64)
        };
        run.length_bytes == 0 || self.mdats.iter().any(within)
    }

    /// Adds the payload of an `mdat`, which starts `offset_bytes` into the body.
    pub(crate) fn push_media_data(&mut self, offset_bytes: u64, payload: Bytes) -> Result<(), Error> {
        if payload.is_empty() {
            return Ok(());
        }
        if self.mdats.len() == MDATS_MAX {
            let (count, max) = (MDATS_MAX as u64 + 1, MDATS_MAX as u64);
            return Err(Error::TooMany { what: "mdat boxes", count, max });
        }
        self.mdats.push(MediaData { offset_bytes: i64::try_from(offset_bytes).unwrap_or(i64::MAX), payload });
        Ok(())
    }

    /// Gives every sample its bytes.
    ///
    /// Offsets from the start of the sender's own stream mean nothing in a body that starts elsewhere (a reconnect, one
    /// request per segment); where the sender uses such, the lowest offset is then taken for the media data's start.
    pub(crate) fn join(mut self) -> Result<Vec<TrackFragment>, Error> {
        match self.fill(0) {
            Err(Error::SampleOutside { .. }) if self.loose => {
                let start = self.mdats.first().map_or(0, |m| m.offset_bytes);
                self.fill(start.saturating_sub(self.lowest_offset))?;
            }
            result => result?,
        }
        Ok(self.tracks.into_iter().map(|t| t.fragment).collect())
    }

    fn fill(&mut self, shift: i64) -> Result<(), Error> {
        for track in &mut self.tracks {
            let source_id = track.fragment.source_id;
            let mut samples = track.fragment.samples.iter_mut().zip(&track.sizes);
            for run in &track.runs {
                let mut at = run.offset_bytes.saturating_add(shift);
                for (sample, &size) in samples.by_ref().take(run.count) {
                    let data = slice(&self.mdats, at, size);
                    sample.data = data.ok_or(Error::SampleOutside { source_id, offset_bytes: at, size_bytes: size })?;
                    at = at.saturating_add(i64::from(size));
                }
            }
        }
        Ok(())
    }
}

fn slice(mdats: &[MediaData], offset_bytes: i64, size: u32) -> Option<Bytes> {
    let size = size as usize;
    if size == 0 {
        return Some(Bytes::new());
    }
    mdats.iter().find_map(|mdat| {
        let from = usize::try_from(offset_bytes.checked_sub(mdat.offset_bytes)?).ok()?;
        let to = from.checked_add(size).filter(|&to| to <= mdat.payload.len())?;
        Some(mdat.payload.slice(from..to))
    })
}

fn decode_time(traf: Cursor<'_>) -> Result<Option<SourceTime>, Error> {
    if let Some(mut tfdt) = traf.find(b"tfdt")? {
        let (version, _) = tfdt.version_and_flags()?;
        return source_time(&mut tfdt, version).map(Some);
    }
    let mut children = traf;
    while let Some(child) = children.child()? {
        let mut fields = child.cursor();
        if child.kind.0 != *b"uuid" || fields.bytes(16).ok() != Some(&TFXD) {
            continue;
        }
        let (version, _) = fields.version_and_flags()?;
        return source_time(&mut fields, version).map(Some);
    }
    Ok(None)
}

fn source_time(fields: &mut Cursor<'_>, version: u8) -> Result<SourceTime, Error> {
    let wide = version != 0;
    Ok(SourceTime { ticks: fields.u32_or_u64(wide)?, bits: if wide { 64 } else { 32 } })
}

/// `tfhd`, and the defaults of `trex` under it.
struct Tfhd {
    source_id: u32,
    base_offset: Option<u64>,
    base_is_moof: bool,
    description_index: Option<u32>,
    duration: Option<u32>,
    size: Option<u32>,
    flags: Option<u32>,
    inherited: Defaults,
}

impl Tfhd {
    fn read(mut tfhd: Cursor<'_>) -> Result<Self, Error> {
        let (_, present) = tfhd.version_and_flags()?;
        let source_id = tfhd.u32()?;
        let base_offset = if present & 0x1 != 0 { Some(tfhd.u64()?) } else { None };
        let mut field = |bit: u32| {
            if present & bit != 0 { tfhd.u32().map(Some) } else { Ok(None) }
        };
        let description_index = field(0x2)?;
        Ok(Self {
            source_id,
            base_offset,
            description_index,
            base_is_moof: present & 0x02_0000 != 0,
            duration: field(0x8)?,
            size: field(0x10)?,
            flags: field(0x20)?,
            inherited: Defaults::default(),
        })
    }
}

struct Trun<'a> {
    present: u32,
    signed_offsets: bool,
    count: u32,
    data_offset: Option<i32>,
    first_flags: Option<u32>,
    fields: Cursor<'a>,
}

impl<'a> Trun<'a> {
    fn read(mut fields: Cursor<'a>) -> Result<Self, Error> {
        let (version, present) = fields.version_and_flags()?;
        let count = fields.u32()?;
        let data_offset = if present & 0x1 != 0 { Some(fields.i32()?) } else { None };
        let first_flags = if present & 0x4 != 0 { Some(fields.u32()?) } else { None };
        let need_bytes = u64::from(count) * 4 * u64::from((present >> 8 & 0xf).count_ones());
        let have_bytes = fields.rest().len() as u64;
        if need_bytes > have_bytes {
            return Err(Error::Truncated { kind: fields.kind(), need_bytes, have_bytes });
        }
        Ok(Self { present, signed_offsets: version != 0, count, data_offset, first_flags, fields })
    }

    /// Appends the run's samples to `open`, `time` going on from sample to sample; returns their bytes.
    fn read_samples(mut self, tfhd: &Tfhd, kind: Kind, time: &mut i64, open: &mut OpenTrack) -> Result<u64, Error> {
        let present = self.present;
        let mut bytes = 0_u64;
        open.sizes.reserve(self.count as usize);
        open.fragment.samples.reserve(self.count as usize);
        for index in 0..self.count {
            let mut field = |bit: u32| {
                if present & bit != 0 { self.fields.u32().map(Some) } else { Ok(None) }
            };
            let duration = field(0x100)?.or(tfhd.duration).unwrap_or(tfhd.inherited.duration);
            let size = field(0x200)?.or(tfhd.size).unwrap_or(tfhd.inherited.size_bytes);
            let own_flags = field(0x400)?;
            let composition = field(0x800)?.unwrap_or(0);
            let first_flags = self.first_flags.filter(|_| index == 0);
            let flags = own_flags.or(first_flags).or(tfhd.flags).unwrap_or(tfhd.inherited.flags);
            let composition_offset =
                if self.signed_offsets { composition as i32 } else { i32::try_from(composition).unwrap_or(i32::MAX) };
            open.sizes.push(size);
            open.fragment.samples.push(Sample {
                decode_time: *time,
                composition_offset,
                duration,
                sync: kind != Kind::Video || is_sync(flags),
                data: Bytes::new(),
            });
            *time = time.saturating_add(i64::from(duration));
            bytes += u64::from(size);
        }
        Ok(bytes)
    }
}

/// Not `sample_is_non_sync_sample`, and not said to depend on others (8.8.3.1): some encoders set only the latter.
const fn is_sync(flags: u32) -> bool {
    let depends_on_others = flags >> 24 & 0b11 == 1;
    flags & 0x0001_0000 == 0 && !depends_on_others
}
