// SPDX-License-Identifier: Apache-2.0
//! The multivariant playlist: which renditions there are and which go together (rfc8216bis, 4.4.6).
//!
//! Audio forms a group for each codec family. Tracks of one language that differ in bitrate or channels would be equal
//! choices within a group, so each further one opens another group of its family, and a language that has fewer tracks
//! than its family has groups stands in the rest of them with its last.

use bytes::Bytes;
use headwater_media::path::Object;
use headwater_media::{Kind, Ladder, Track};
use m3u8_rs::{
    AlternativeMedia, AlternativeMediaType, ClosedCaptionGroupId, MasterPlaylist, QuotedOrUnquoted, Resolution,
    VariantStream,
};

use crate::bitrate;

const VERSION: usize = 6;
const TEXT_GROUP: &str = "text";

/// What a multivariant playlist is rendered from.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The tracks.
    pub ladder: &'a Ladder,
    /// Point at the media playlists without parts.
    pub plain: bool,
}

struct Group<'a> {
    /// `None` for video alone.
    id: Option<String>,
    tracks: Vec<&'a Track>,
}

/// The multivariant playlist: a variant for each video track and audio group, or for each audio group alone.
///
/// `BANDWIDTH` is the largest sum of measured peaks that a client may play with the variant, rounded up to two digits;
/// an I-frame playlist states its track's own peak, which it cannot exceed.
pub fn render(input: &Input) -> Bytes {
    let ladder = input.ladder;
    let groups = audio_groups(ladder);
    let text: Vec<&Track> = ladder.of(Kind::Text).map(|t| &**t).collect();
    let video: Vec<&Track> = ladder.of(Kind::Video).map(|t| &**t).collect();

    let mut playlist =
        MasterPlaylist { version: Some(VERSION), independent_segments: true, ..MasterPlaylist::default() };
    for group in &groups {
        // Sound alone in one track is its variant; a group of it would only name the same playlist twice.
        if !video.is_empty() || group.tracks.len() > 1 {
            playlist.alternatives.extend(alternatives(group, AlternativeMediaType::Audio, input.plain));
        }
    }
    let subtitles = Group { id: Some(TEXT_GROUP.into()), tracks: text.clone() };
    playlist.alternatives.extend(alternatives(&subtitles, AlternativeMediaType::Subtitles, input.plain));

    if video.is_empty() {
        playlist.variants.extend(groups.iter().filter_map(|group| audio_variant(group, &text, input.plain)));
    }
    let silent = [Group { id: None, tracks: Vec::new() }];
    for track in &video {
        for group in if groups.is_empty() { &silent[..] } else { &groups[..] } {
            playlist.variants.push(video_variant(track, group, &text, input.plain));
        }
    }
    playlist.variants.extend(video.iter().map(|track| iframe_variant(track)));

    let mut written = Vec::with_capacity(2_048);
    playlist.write_to(&mut written).expect("a vector takes every write");
    written.into()
}

fn audio_groups(ladder: &Ladder) -> Vec<Group<'_>> {
    let mut families: Vec<(&str, Vec<Vec<&Track>>)> = Vec::new();
    for track in ladder.of(Kind::Audio) {
        let family = track.codec.family();
        let at = families.iter().position(|(name, _)| *name == family).unwrap_or_else(|| {
            families.push((family, Vec::new()));
            families.len() - 1
        });
        let choices = &mut families[at].1;
        match choices.iter_mut().find(|choice| same_choice(choice[0], track)) {
            Some(choice) => choice.push(track),
            None => choices.push(vec![track]),
        }
    }
    let mut groups = Vec::new();
    for (family, choices) in families {
        let depth = choices.iter().map(Vec::len).max().unwrap_or(0);
        for level in 0..depth {
            let id = if level == 0 { family.to_owned() } else { format!("{family}-{}", level + 1) };
            let tracks = choices.iter().map(|choice| choice[level.min(choice.len() - 1)]).collect();
            groups.push(Group { id: Some(id), tracks });
        }
    }
    groups
}

/// The same thing to a viewer, in another quality.
fn same_choice(a: &Track, b: &Track) -> bool {
    a.language == b.language && a.label == b.label
}

fn alternatives(group: &Group, media_type: AlternativeMediaType, plain: bool) -> Vec<AlternativeMedia> {
    let audio = media_type == AlternativeMediaType::Audio;
    let mut names: Vec<String> = Vec::new();
    let mut written = Vec::new();
    for (index, track) in group.tracks.iter().enumerate() {
        let mut name = quotable(track.label.as_deref().or(track.language.as_deref()).unwrap_or(track.id.as_str()));
        if names.contains(&name) {
            name = format!("{name} ({})", track.id);
        }
        names.push(name.clone());
        written.push(AlternativeMedia {
            media_type: media_type.clone(),
            uri: Some(media_uri(track, plain)),
            group_id: group.id.clone().unwrap_or_default(),
            language: track.language.as_deref().map(quotable),
            name,
            // Subtitles are never shown unasked.
            default: audio && index == 0,
            autoselect: true,
            channels: track.audio.as_ref().filter(|_| audio).map(|a| a.channels.to_string()),
            ..AlternativeMedia::default()
        });
    }
    written
}

fn video_variant(track: &Track, group: &Group, text: &[&Track], plain: bool) -> VariantStream {
    let mut variant = variant(Some(track), group, text);
    variant.uri = media_uri(track, plain);
    variant.audio = group.id.clone();
    variant.closed_captions = Some(ClosedCaptionGroupId::None);
    describe_video(track, &mut variant);
    variant
}

fn audio_variant(group: &Group, text: &[&Track], plain: bool) -> Option<VariantStream> {
    let first = group.tracks.first()?;
    let mut variant = variant(None, group, text);
    variant.uri = media_uri(first, plain);
    variant.audio = group.id.clone().filter(|_| group.tracks.len() > 1);
    Some(variant)
}

fn iframe_variant(track: &Track) -> VariantStream {
    let mut variant = VariantStream {
        is_i_frame: true,
        uri: Object::IFrames(track.id.as_str()).to_string(),
        bandwidth: bitrate::quantise(bitrate::peak(track)),
        codecs: Some(quotable(track.codec.rfc6381())),
        ..VariantStream::default()
    };
    describe_video(track, &mut variant);
    variant.other_attributes = None;
    variant
}

fn variant(video: Option<&Track>, group: &Group, text: &[&Track]) -> VariantStream {
    let largest = |tracks: &[&Track], of: fn(&Track) -> u64| tracks.iter().map(|t| of(t)).max().unwrap_or(0);
    let sum = |of: fn(&Track) -> u64| video.map_or(0, of) + largest(&group.tracks, of) + largest(text, of);
    let mut codecs: Vec<&str> = Vec::new();
    for track in video.iter().chain(&group.tracks).chain(text) {
        if !codecs.contains(&track.codec.rfc6381()) {
            codecs.push(track.codec.rfc6381());
        }
    }
    VariantStream {
        bandwidth: bitrate::quantise(sum(bitrate::peak)),
        average_bandwidth: Some(bitrate::quantise(sum(bitrate::average))),
        codecs: Some(quotable(&codecs.join(","))),
        subtitles: Some(TEXT_GROUP.into()).filter(|_| !text.is_empty()),
        ..VariantStream::default()
    }
}

fn describe_video(track: &Track, variant: &mut VariantStream) {
    let Some(video) = &track.video else { return };
    variant.resolution = Some(Resolution { width: video.width.into(), height: video.height.into() });
    // m3u8-rs would print 25 for 25.000; a single extra attribute keeps its order.
    let rate = video.frame_rate.map(|rate| QuotedOrUnquoted::Unquoted(format!("{:.3}", rate.per_second())));
    variant.other_attributes = rate.map(|rate| [("FRAME-RATE".to_owned(), rate)].into());
}

fn media_uri(track: &Track, plain: bool) -> String {
    let id = track.id.as_str();
    if plain { Object::Plain(id).to_string() } else { Object::Media(id).to_string() }
}

/// Text that may stand in a quoted string: neither quotes nor line ends.
fn quotable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c == '"' {
                '\''
            } else if c.is_control() {
                ' '
            } else {
                c
            }
        })
        .collect()
}
