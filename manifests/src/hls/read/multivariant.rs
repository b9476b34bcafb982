// SPDX-License-Identifier: Apache-2.0
//! Reading a multivariant playlist, tag by tag: a tag that m3u8-rs gives up must not lend its URI to the one before.

use m3u8_rs::{AlternativeMedia, MasterPlaylist, QuotedOrUnquoted, VariantStream, parse_master_playlist_res};

use super::attributes::Attributes;
use super::{ENTRIES_MAX, Multivariant, Rendition, Variant};

const QUOTED: [&str; 10] =
    ["URI", "CODECS", "AUDIO", "VIDEO", "SUBTITLES", "GROUP-ID", "LANGUAGE", "ASSOC-LANGUAGE", "NAME", "CHANNELS"];

pub(super) fn parse(text: &str) -> Multivariant {
    let mut found = Multivariant::default();
    let mut pending: Option<&str> = None;
    for line in text.lines().skip(1).map(str::trim).filter(|line| !line.is_empty()) {
        if found.variants.len() + found.renditions.len() >= ENTRIES_MAX {
            found.ignored += 1;
        } else if let Some(list) = line.strip_prefix("#EXT-X-STREAM-INF:") {
            found.ignored += usize::from(pending.replace(list).is_some());
        } else if let Some(list) = line.strip_prefix("#EXT-X-I-FRAME-STREAM-INF:") {
            let read = read("#EXT-X-I-FRAME-STREAM-INF", list, "");
            keep(
                &mut found.variants,
                read.and_then(|p| p.variants.into_iter().next()).map(variant),
                &mut found.ignored,
            );
        } else if let Some(list) = line.strip_prefix("#EXT-X-MEDIA:") {
            let read = read("#EXT-X-MEDIA", list, "");
            keep(
                &mut found.renditions,
                read.and_then(|p| p.alternatives.into_iter().next()).map(rendition),
                &mut found.ignored,
            );
        } else if line == "#EXT-X-INDEPENDENT-SEGMENTS" {
            found.independent_segments = true;
        } else if line.starts_with("#EXT") {
            found.ignored += usize::from(!line.starts_with("#EXT-X-VERSION:"));
        } else if !line.starts_with('#') {
            let read = pending.take().and_then(|list| read("#EXT-X-STREAM-INF", list, line));
            keep(
                &mut found.variants,
                read.and_then(|p| p.variants.into_iter().next()).map(variant),
                &mut found.ignored,
            );
        }
    }
    found.ignored += usize::from(pending.is_some());
    found
}

fn keep<T>(list: &mut Vec<T>, read: Option<T>, ignored: &mut usize) {
    match read {
        Some(item) => list.push(item),
        None => *ignored += 1,
    }
}

/// One tag and its URI as a playlist of their own.
fn read(tag: &str, list: &str, uri: &str) -> Option<MasterPlaylist> {
    let list = Attributes::parse(list)?.rewritten(&QUOTED);
    if list.is_empty() {
        return None;
    }
    parse_master_playlist_res(format!("#EXTM3U\n{tag}:{list}\n{uri}\n").as_bytes()).ok()
}

fn variant(read: VariantStream) -> Variant {
    Variant {
        iframes: read.is_i_frame,
        uri: read.uri,
        bandwidth: read.bandwidth,
        average_bandwidth: read.average_bandwidth,
        codecs: read.codecs,
        resolution: read.resolution.map(|r| (r.width, r.height)),
        // A saturating cast: nonsense becomes 0 or the largest number, never a panic.
        frame_rate_millis: read.frame_rate.map(|rate| (rate * 1_000.0).round() as u64),
        audio: read.audio,
        subtitles: read.subtitles,
    }
}

fn rendition(read: AlternativeMedia) -> Rendition {
    let channels =
        read.other_attributes.as_ref().and_then(|others| others.get("CHANNELS")).map(QuotedOrUnquoted::as_str);
    Rendition {
        media_type: read.media_type.to_string(),
        group: read.group_id,
        name: read.name,
        language: read.language,
        default: read.default,
        autoselect: read.autoselect,
        channels: read.channels.or_else(|| channels.map(str::to_owned)),
        uri: read.uri,
    }
}
