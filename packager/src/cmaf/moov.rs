// SPDX-License-Identifier: Apache-2.0
//! Reads `moov` (ISO/IEC 14496-12, 8.2.1) into a [`Header`].
//!
//! Only what a live track needs is looked at, so an odd box elsewhere refuses no encoder.

use bytes::Bytes;
use headwater_media::{MediaDuration, Timescale};

use crate::cmaf::boxes::{Child, Cursor, FourCc};
use crate::cmaf::track::{Defaults, Edit, Header, Role, TrackHeader, UnsupportedTrack};
use crate::cmaf::{Error, sample_entry};

/// Reads `ftyp` (where present) and `moov` from `source`.
pub(crate) fn parse_source(source: &Bytes, tracks_max: usize) -> Result<Header, Error> {
    let file = FourCc(*b"file");
    let mut cursor = Cursor::new(file, source);
    let mut brands = Vec::new();
    while let Some(child) = cursor.child()? {
        match &child.kind.0 {
            b"ftyp" => brands = self::brands(child.payload),
            b"moov" => return parse(source, &child, &brands, tracks_max),
            _ => {}
        }
    }
    Err(Error::Missing { kind: FourCc(*b"moov"), parent: file })
}

/// Major and compatible brands of an `ftyp` or `styp` payload; the minor version between them is skipped.
pub(crate) fn brands(payload: &[u8]) -> Vec<FourCc> {
    let codes = payload.chunks_exact(4).enumerate().filter(|&(at, _)| at != 1);
    codes.filter_map(|(_, code)| code.try_into().ok().map(FourCc)).collect()
}

fn parse(source: &Bytes, moov: &Child<'_>, brands: &[FourCc], tracks_max: usize) -> Result<Header, Error> {
    let movie_timescale = movie_timescale(moov.cursor().expect(b"mvhd")?)?;
    let defaults = defaults(moov.cursor())?;
    let mut header = Header { tracks: Vec::new(), unsupported: Vec::new(), source: source.clone() };
    let mut cursor = moov.cursor();
    while let Some(child) = cursor.child()? {
        if child.kind.0 != *b"trak" {
            continue;
        }
        let count = header.tracks.len() + header.unsupported.len() + 1;
        if count > tracks_max {
            return Err(Error::TooMany { what: "tracks", count: count as u64, max: tracks_max as u64 });
        }
        let trak = Trak::read(&child)?;
        match trak.header(source, movie_timescale, brands) {
            Ok(mut track) => {
                let own = defaults.iter().find(|(id, _)| *id == track.source_id);
                track.defaults = own.map(|&(_, defaults)| defaults).unwrap_or_default();
                header.tracks.push(track);
            }
            Err(Error::UnsupportedCodec { four_cc }) => {
                header.unsupported.push(UnsupportedTrack { source_id: trak.source_id, four_cc });
            }
            Err(other) => return Err(other),
        }
    }
    match (header.tracks.is_empty(), header.unsupported.first()) {
        (true, Some(track)) => Err(Error::UnsupportedCodec { four_cc: track.four_cc }),
        (true, None) => Err(Error::Missing { kind: FourCc(*b"trak"), parent: moov.kind }),
        (false, _) => Ok(header),
    }
}

fn movie_timescale(mut mvhd: Cursor<'_>) -> Result<Option<Timescale>, Error> {
    let (version, _) = mvhd.version_and_flags()?;
    mvhd.bytes(if version == 1 { 16 } else { 8 })?;
    Ok(Timescale::new(mvhd.u32()?))
}

fn defaults(moov: Cursor<'_>) -> Result<Vec<(u32, Defaults)>, Error> {
    let mut found = Vec::new();
    let Some(mut mvex) = moov.find(b"mvex")? else {
        return Ok(found);
    };
    while let Some(child) = mvex.child()? {
        if child.kind.0 != *b"trex" {
            continue;
        }
        let mut trex = child.cursor();
        trex.version_and_flags()?;
        let id = trex.u32()?;
        let defaults = Defaults {
            description_index: trex.u32()?,
            duration: trex.u32()?,
            size_bytes: trex.u32()?,
            flags: trex.u32()?,
        };
        found.push((id, defaults));
    }
    Ok(found)
}

struct Trak<'a> {
    source_id: u32,
    trak: Cursor<'a>,
    mdia: Cursor<'a>,
    entry: Child<'a>,
}

impl<'a> Trak<'a> {
    fn read(child: &Child<'a>) -> Result<Self, Error> {
        let trak = child.cursor();
        let mut tkhd = trak.expect(b"tkhd")?;
        let (version, _) = tkhd.version_and_flags()?;
        tkhd.bytes(if version == 1 { 16 } else { 8 })?;
        let source_id = tkhd.u32()?;
        let mdia = trak.expect(b"mdia")?;
        let mut stsd = mdia.expect(b"minf")?.expect(b"stbl")?.expect(b"stsd")?;
        stsd.bytes(8)?;
        let kind = stsd.kind();
        let entry = stsd.child()?.ok_or(Error::Field { kind, field: "entry count", value: 0 })?;
        Ok(Self { source_id, trak, mdia, entry })
    }

    fn header(&self, source: &Bytes, movie: Option<Timescale>, brands: &[FourCc]) -> Result<TrackHeader, Error> {
        let described = sample_entry::describe(self.entry.raw, brands)?;
        let (timescale, language) = media_header(self.mdia.expect(b"mdhd")?)?;
        let extended = self.mdia.find(b"elng")?.and_then(|mut elng| {
            elng.version_and_flags().ok()?;
            Some(elng.text()).filter(|tag| !tag.is_empty() && tag != "und")
        });
        let (roles, label) = match self.trak.find(b"udta")? {
            Some(udta) => user_data(udta),
            None => (Vec::new(), None),
        };
        Ok(TrackHeader {
            source_id: self.source_id,
            kind: described.kind,
            timescale,
            codec: described.codec,
            sample_entry: source.slice_ref(self.entry.raw),
            language: extended.or(language),
            label,
            roles,
            video: described.video,
            audio: described.audio,
            declared_bitrate: described.bitrate,
            edit: self.edit(movie, timescale)?,
            defaults: Defaults::default(),
        })
    }

    fn edit(&self, movie: Option<Timescale>, track: Timescale) -> Result<Edit, Error> {
        let Some(edts) = self.trak.find(b"edts")? else {
            return Ok(Edit::default());
        };
        let Some(mut elst) = edts.find(b"elst")? else {
            return Ok(Edit::default());
        };
        let (version, _) = elst.version_and_flags()?;
        let mut empty: i64 = 0;
        let mut media_time = 0;
        for _ in 0..elst.u32()? {
            let duration = elst.u32_or_u64(version == 1)?;
            let start = if version == 1 { elst.u64()? as i64 } else { i64::from(elst.i32()?) };
            let _rate = elst.u32()?;
            if start >= 0 {
                media_time = start;
                break;
            }
            empty = empty.saturating_add(i64::try_from(duration).unwrap_or(i64::MAX));
        }
        Ok(Edit { delay: movie.map_or(0, |movie| delay_ticks(empty, movie, track)), media_time })
    }
}

/// Length of the empty edits in ticks of the track. They are written in ticks of the movie; ffmpeg 9 writes one as long as
/// Unix time in ticks of the track instead, which read by the letter is thousands of years.
fn delay_ticks(empty: i64, movie: Timescale, track: Timescale) -> i64 {
    const CENTURIES: MediaDuration = MediaDuration::from_millis(10_000_000_000_000);
    let delay = MediaDuration::new(empty, movie);
    let of_track = MediaDuration::new(empty, track);
    if delay > CENTURIES && of_track < CENTURIES { empty } else { delay.rescale(track).ticks() }
}

fn media_header(mut mdhd: Cursor<'_>) -> Result<(Timescale, Option<String>), Error> {
    let kind = mdhd.kind();
    let (version, _) = mdhd.version_and_flags()?;
    mdhd.bytes(if version == 1 { 16 } else { 8 })?;
    let timescale = Timescale::new(mdhd.u32()?).ok_or(Error::Field { kind, field: "timescale", value: 0 })?;
    mdhd.bytes(if version == 1 { 8 } else { 4 })?;
    let packed = mdhd.u16()?;
    let letters = [packed >> 10, packed >> 5, packed].map(|five| (five as u8 & 31) + 0x60);
    let is_code = letters.iter().all(u8::is_ascii_lowercase) && letters != *b"und";
    Ok((timescale, is_code.then(|| letters.iter().map(|&l| char::from(l)).collect())))
}

/// Roles and label; user data that cannot be read is as good as none.
fn user_data(mut udta: Cursor<'_>) -> (Vec<Role>, Option<String>) {
    let mut roles = Vec::new();
    let mut label = None;
    while let Ok(Some(child)) = udta.child() {
        let mut fields = child.cursor();
        if fields.version_and_flags().is_err() {
            continue;
        }
        match &child.kind.0 {
            b"kind" => roles.push(Role { scheme: fields.text(), value: fields.text() }),
            // label_id, language, label (ISO/IEC 14496-12, 8.10.5).
            b"labl" if label.is_none() && fields.bytes(2).is_ok() => {
                let _language = fields.text();
                label = Some(fields.text()).filter(|text| !text.is_empty());
            }
            _ => {}
        }
    }
    (roles, label)
}
