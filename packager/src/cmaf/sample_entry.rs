// SPDX-License-Identifier: Apache-2.0
//! Sample entries (`stsd`): which codec, which shape, which RFC 6381 string.

use headwater_media::{Audio, Codec, Kind, Video};
use shiguredo_mp4::Decode;
use shiguredo_mp4::boxes::SampleEntry;
use shiguredo_mp4::codec_string;

use crate::cmaf::Error;
use crate::cmaf::audio_config;
use crate::cmaf::boxes::{Child, Cursor, FourCc};

/// What a sample entry tells.
pub(crate) struct Described {
    pub(crate) kind: Kind,
    pub(crate) codec: Codec,
    pub(crate) video: Option<Video>,
    pub(crate) audio: Option<Audio>,
    pub(crate) bitrate: Option<u32>,
}

/// Reads a whole sample entry box; `brands` of the file tell IMSC profiles apart.
pub(crate) fn describe(entry: &[u8], brands: &[FourCc]) -> Result<Described, Error> {
    let child = whole(entry)?;
    let four_cc = child.kind;
    let Some(kind) = kind_of(four_cc) else {
        return Err(Error::UnsupportedCodec { four_cc });
    };
    let rfc6381 = match &four_cc.0 {
        b"ac-3" | b"ec-3" | b"urim" | b"evte" | b"mett" | b"metx" | b"wvtt" => four_cc.to_string(),
        b"stpp" => stpp_string(entry, brands),
        b"Opus" => "opus".to_owned(),
        b"fLaC" => "flac".to_owned(),
        b"avc3" => coded_string(&[&entry[..4], b"avc1", &entry[8..]].concat(), four_cc)?.replacen("avc1", "avc3", 1),
        _ => coded_string(entry, four_cc)?,
    };
    Ok(Described {
        kind,
        codec: Codec::new(four_cc.0, rfc6381),
        video: if kind == Kind::Video { Some(video_shape(&child)?) } else { None },
        audio: if kind == Kind::Audio { Some(audio_shape(&child)?) } else { None },
        bitrate: bitrate(&child),
    })
}

/// Whether two sample entries are equal when their `btrt` boxes are left out.
pub(crate) fn equal_but_bitrate(a: &[u8], b: &[u8]) -> bool {
    a == b || without_bitrate(a).is_some_and(|a| without_bitrate(b) == Some(a))
}

fn kind_of(four_cc: FourCc) -> Option<Kind> {
    Some(match &four_cc.0 {
        b"avc1" | b"avc3" | b"hvc1" | b"hev1" | b"av01" | b"vp09" => Kind::Video,
        b"mp4a" | b"Opus" | b"ac-3" | b"ec-3" | b"fLaC" => Kind::Audio,
        b"wvtt" | b"stpp" => Kind::Text,
        b"urim" | b"evte" | b"mett" | b"metx" => Kind::Metadata,
        _ => return None,
    })
}

fn whole(entry: &[u8]) -> Result<Child<'_>, Error> {
    let stsd = FourCc(*b"stsd");
    Cursor::new(stsd, entry).child()?.ok_or(Error::Truncated {
        kind: stsd,
        need_bytes: 8,
        have_bytes: entry.len() as u64,
    })
}

fn decode(entry: &[u8], four_cc: FourCc) -> Result<SampleEntry, Error> {
    let unreadable = |e: shiguredo_mp4::Error| Error::SampleEntry { four_cc, detail: e.reason.clone() };
    SampleEntry::decode(entry).map(|(entry, _)| entry).map_err(unreadable)
}

fn coded_string(entry: &[u8], four_cc: FourCc) -> Result<String, Error> {
    let unreadable = |e: shiguredo_mp4::Error| Error::SampleEntry { four_cc, detail: e.reason.clone() };
    codec_string::from_sample_entry(&decode(entry, four_cc)?).map_err(unreadable)
}

/// `stpp`, with the IMSC 1 profile (W3C TTML profile registry) where brand, schema or MIME type name one.
fn stpp_string(entry: &[u8], brands: &[FourCc]) -> String {
    let says = |text: &str| entry.windows(text.len()).any(|w| w == text.as_bytes());
    let branded = |brand: &[u8; 4]| brands.contains(&FourCc(*brand));
    let profile = if branded(b"im1t") || says("im1t") || says("/imsc1/text") {
        ".ttml.im1t"
    } else if branded(b"im1i") || says("im1i") || says("/imsc1/image") {
        ".ttml.im1i"
    } else if branded(b"im2t") || says("im2t") || says("/imsc1.1/text") {
        ".ttml.im2t"
    } else if branded(b"im2i") || says("im2i") || says("/imsc1.1/image") {
        ".ttml.im2i"
    } else {
        ""
    };
    format!("stpp{profile}")
}

fn video_shape(entry: &Child<'_>) -> Result<Video, Error> {
    let mut cursor = entry.cursor();
    cursor.bytes(24)?;
    Ok(Video { width: cursor.u16()?, height: cursor.u16()?, frame_rate: None })
}

fn audio_shape(entry: &Child<'_>) -> Result<Audio, Error> {
    let mut cursor = entry.cursor();
    cursor.bytes(16)?;
    let channels = cursor.u16()?;
    cursor.bytes(6)?;
    let signalled = Audio { channels, sample_rate: cursor.u32()? >> 16 };
    let four_cc = entry.kind;
    let child = |kind: &[u8; 4]| children(entry).and_then(|cursor| cursor.expect(kind));
    let configured = match &four_cc.0 {
        b"mp4a" => match decode(entry.raw, four_cc)? {
            SampleEntry::Mp4a(mp4a) => {
                let config = mp4a.esds_box.es.dec_config_descr.dec_specific_info;
                config.and_then(|config| audio_config::aac(&config.payload))
            }
            _ => None,
        },
        b"Opus" => audio_config::opus(child(b"dOps")?.rest()),
        b"ac-3" => audio_config::ac3(child(b"dac3")?.rest()),
        b"ec-3" => audio_config::eac3(child(b"dec3")?.rest()),
        b"fLaC" => audio_config::flac(child(b"dfLa")?.rest()),
        _ => None,
    };
    let Some(configured) = configured else {
        return Ok(signalled);
    };
    // A configuration may leave the channels to the entry (AAC with a program config element).
    let channels = if configured.channels == 0 { signalled.channels } else { configured.channels };
    Ok(Audio { channels, ..configured })
}

/// The boxes within a sample entry, after the fields its kind has.
fn children<'a>(entry: &Child<'a>) -> Result<Cursor<'a>, Error> {
    let mut cursor = entry.cursor();
    match (kind_of(entry.kind), &entry.kind.0) {
        (Some(Kind::Video), _) => cursor.bytes(78).map(drop)?,
        (Some(Kind::Audio), _) => cursor.bytes(28).map(drop)?,
        (_, kind) => {
            cursor.bytes(8)?;
            let texts = match kind {
                b"stpp" | b"metx" => 3,
                b"mett" => 2,
                _ => 0,
            };
            for _ in 0..texts {
                cursor.text();
            }
        }
    }
    Ok(cursor)
}

fn bitrate(entry: &Child<'_>) -> Option<u32> {
    let mut btrt = children(entry).ok()?.find(b"btrt").ok()??;
    let (_buffer_size, max, average) = (btrt.u32().ok()?, btrt.u32().ok()?, btrt.u32().ok()?);
    [max, average].into_iter().find(|&rate| rate > 0)
}

fn without_bitrate(entry: &[u8]) -> Option<Vec<u8>> {
    let entry = whole(entry).ok()?;
    let mut cursor = children(&entry).ok()?;
    // The size differs with and without `btrt`; the type and fields do not.
    let fields = entry.raw.len() - cursor.rest().len();
    let mut kept = entry.raw.get(4..fields)?.to_vec();
    while let Some(child) = cursor.child().ok()? {
        if child.kind.0 != *b"btrt" {
            kept.extend_from_slice(child.raw);
        }
    }
    Some(kept)
}
