// SPDX-License-Identifier: Apache-2.0
//! Writes the CMAF header (ISO/IEC 23000-19, 7.3.1) that viewers get as `init.mp4`.
//!
//! One track, always number 1, without an edit list: what a source's edit list says is in its samples' times already.
//! A function of the track alone, so twin origins write the same bytes.

use bytes::{BufMut, Bytes, BytesMut};
use headwater_media::Kind;

use crate::cmaf::boxes::{write_box, write_full_box};
use crate::cmaf::track::TrackHeader;

/// The `track_ID` of every header and chunk we write.
pub(crate) const TRACK_ID: u32 = 1;

/// The canonical header of `track`.
pub fn write(track: &TrackHeader) -> Bytes {
    let mut out = BytesMut::with_capacity(768 + track.sample_entry.len());
    write_box(&mut out, b"ftyp", |out| {
        out.put_slice(b"cmfc");
        out.put_u32(0);
        for brand in [b"iso6", b"cmfc", b"dash"] {
            out.put_slice(brand);
        }
        if let Some(profile) = track.codec.rfc6381().strip_prefix("stpp.ttml.").filter(|p| p.len() == 4) {
            out.put_slice(profile.as_bytes());
        }
    });
    write_box(&mut out, b"moov", |out| {
        movie_header(out);
        write_box(out, b"trak", |out| trak(out, track));
        write_box(out, b"mvex", |out| {
            write_full_box(out, b"trex", 0, 0, |out| {
                out.put_u32(TRACK_ID);
                out.put_u32(1);
                out.put_bytes(0, 12);
            });
        });
    });
    out.freeze()
}

fn movie_header(out: &mut BytesMut) {
    write_full_box(out, b"mvhd", 0, 0, |out| {
        out.put_bytes(0, 8);
        out.put_u32(1_000);
        out.put_u32(0);
        out.put_u32(0x0001_0000);
        out.put_u16(0x0100);
        out.put_bytes(0, 10);
        unity_matrix(out);
        out.put_bytes(0, 24);
        out.put_u32(TRACK_ID + 1);
    });
}

fn unity_matrix(out: &mut BytesMut) {
    for value in [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000] {
        out.put_u32(value);
    }
}

fn trak(out: &mut BytesMut, track: &TrackHeader) {
    const ENABLED_IN_MOVIE_AND_PREVIEW: u32 = 7;
    write_full_box(out, b"tkhd", 0, ENABLED_IN_MOVIE_AND_PREVIEW, |out| {
        out.put_bytes(0, 8);
        out.put_u32(TRACK_ID);
        out.put_bytes(0, 16);
        out.put_u32(0);
        out.put_u16(if track.kind == Kind::Audio { 0x0100 } else { 0 });
        out.put_u16(0);
        unity_matrix(out);
        let (width, height) = track.video.as_ref().map_or((0, 0), |v| (v.width, v.height));
        out.put_u32(u32::from(width) << 16);
        out.put_u32(u32::from(height) << 16);
    });
    write_box(out, b"mdia", |out| mdia(out, track));
    if track.roles.is_empty() && track.label.is_none() {
        return;
    }
    write_box(out, b"udta", |out| {
        for role in &track.roles {
            write_full_box(out, b"kind", 0, 0, |out| {
                put_text(out, &role.scheme);
                put_text(out, &role.value);
            });
        }
        if let Some(label) = &track.label {
            write_full_box(out, b"labl", 0, 0, |out| {
                out.put_u16(0);
                put_text(out, track.language.as_deref().unwrap_or("und"));
                put_text(out, label);
            });
        }
    });
}

fn mdia(out: &mut BytesMut, track: &TrackHeader) {
    let language = track.language.as_deref().unwrap_or("und");
    let code: Option<[u8; 3]> = language.as_bytes().try_into().ok();
    let code = code.filter(|c| c.iter().all(u8::is_ascii_lowercase));
    write_full_box(out, b"mdhd", 0, 0, |out| {
        out.put_bytes(0, 8);
        out.put_u32(track.timescale.ticks_per_second());
        out.put_u32(0);
        let letters = code.unwrap_or(*b"und").map(|letter| u16::from(letter - 0x60));
        out.put_u16(letters[0] << 10 | letters[1] << 5 | letters[2]);
        out.put_u16(0);
    });
    let (handler, name): (&[u8; 4], _) = match (track.kind, &track.codec.four_cc()) {
        (Kind::Video, _) => (b"vide", "Video"),
        (Kind::Audio, _) => (b"soun", "Audio"),
        (Kind::Text, b"stpp") => (b"subt", "Subtitles"),
        (Kind::Text, _) => (b"text", "Text"),
        (Kind::Metadata, _) => (b"meta", "Metadata"),
    };
    write_full_box(out, b"hdlr", 0, 0, |out| {
        out.put_u32(0);
        out.put_slice(handler);
        out.put_bytes(0, 12);
        put_text(out, name);
    });
    if code.is_none() {
        write_full_box(out, b"elng", 0, 0, |out| put_text(out, language));
    }
    write_box(out, b"minf", |out| {
        match handler {
            b"vide" => write_full_box(out, b"vmhd", 0, 1, |out| out.put_bytes(0, 8)),
            b"soun" => write_full_box(out, b"smhd", 0, 0, |out| out.put_bytes(0, 4)),
            b"subt" => write_full_box(out, b"sthd", 0, 0, |_| {}),
            _ => write_full_box(out, b"nmhd", 0, 0, |_| {}),
        }
        write_box(out, b"dinf", |out| {
            write_full_box(out, b"dref", 0, 0, |out| {
                out.put_u32(1);
                const SAME_FILE: u32 = 1;
                write_full_box(out, b"url ", 0, SAME_FILE, |_| {});
            });
        });
        write_box(out, b"stbl", |out| {
            write_full_box(out, b"stsd", 0, 0, |out| {
                out.put_u32(1);
                out.put_slice(&track.sample_entry);
            });
            for (kind, zeros) in [(b"stts", 4), (b"stsc", 4), (b"stsz", 8), (b"stco", 4)] {
                write_full_box(out, kind, 0, 0, |out| out.put_bytes(0, zeros));
            }
        });
    });
}

/// Text ends at its NUL, so one within it would cut off what follows.
fn put_text(out: &mut BytesMut, text: &str) {
    let text = text.split('\0').next().unwrap_or("");
    out.put_slice(text.as_bytes());
    out.put_u8(0);
}
