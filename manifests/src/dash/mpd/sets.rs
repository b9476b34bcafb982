// SPDX-License-Identifier: Apache-2.0
//! AdaptationSets and Representations: a video set for each codec family (a CMAF switching set), an audio set for each
//! family, language, channel count and label, and a set for each text track.

use dash_mpd::{
    AdaptationSet, AudioChannelConfiguration, Label, ProducerReferenceTime, Representation, Resync, Role,
    SupplementalProperty,
};
use headwater_media::{Generation, Kind, Track};

use super::{Addressing, Input, Period, Shown, State, start_of, template};
use crate::bitrate;

pub(super) const REFERENCE_TIME_ID: &str = "1";
const CHANNELS_SCHEME: &str = "urn:mpeg:mpegB:cicp:ChannelConfiguration";
const CONNECTIVITY_SCHEME: &str = "urn:mpeg:dash:period-connectivity:2015";
const ROLE_SCHEME: &str = "urn:mpeg:dash:role:2011";

pub(super) fn adaptation_sets(input: &Input, shown: &Shown, addressing: Addressing) -> Vec<AdaptationSet> {
    let mut sets: Vec<(String, Vec<(&Track, Generation)>)> = Vec::new();
    for track in input.ladder.tracks() {
        let Some(key) = set_key(track) else { continue };
        let Some(generation) = generation_of(shown.period, track) else { continue };
        // A SegmentTimeline may not be empty: a track without a segment yet is not in it yet.
        if addressing == Addressing::Time && !template::has_segments(input, shown, track) {
            continue;
        }
        match sets.iter_mut().find(|(other, _)| *other == key) {
            Some((_, tracks)) => tracks.push((track, generation)),
            None => sets.push((key, vec![(track, generation)])),
        }
    }
    let mut ids: Vec<u32> = Vec::with_capacity(sets.len());
    for (key, _) in &sets {
        let mut id = stable_id(key);
        while ids.contains(&id) {
            id += 1;
        }
        ids.push(id);
    }
    ids.iter().zip(&sets).map(|(id, (_, tracks))| adaptation_set(input, shown, addressing, *id, tracks)).collect()
}

fn generation_of(period: &Period, track: &Track) -> Option<Generation> {
    period.generations.iter().find(|(id, _)| *id == track.id).map(|(_, generation)| *generation)
}

/// What tracks of one set have in common; `None` for tracks that no manifest lists.
fn set_key(track: &Track) -> Option<String> {
    let family = track.codec.family();
    match track.kind {
        Kind::Video => Some(format!("video/{family}")),
        Kind::Audio => {
            let channels = track.audio.as_ref().map_or(0, |a| a.channels);
            let (language, label) = (track.language.as_deref().unwrap_or(""), track.label.as_deref().unwrap_or(""));
            Some(format!("audio/{family}/{language}/{channels}/{label}"))
        }
        Kind::Text => Some(format!("text/{}", track.id)),
        Kind::Metadata => None,
    }
}

/// An `AdaptationSet@id` from the set's key alone (FNV-1a), so that a track that joins later moves no id.
fn stable_id(key: &str) -> u32 {
    let hash = key.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash % 1_000_000 + 1
}

fn adaptation_set(
    input: &Input,
    shown: &Shown,
    addressing: Addressing,
    id: u32,
    tracks: &[(&Track, Generation)],
) -> AdaptationSet {
    let first = tracks[0].0;
    let text = first.kind == Kind::Text;
    let connected = shown
        .before
        .filter(|before| tracks.iter().all(|(t, generation)| generation_of(before, t) == Some(*generation)));
    let chunked = addressing == Addressing::Number
        && input.state == State::Live
        && tracks.iter().all(|(t, _)| t.part_target.is_some());
    AdaptationSet {
        id: Some(id.to_string()),
        contentType: Some(first.kind.to_string()),
        lang: first.language.clone(),
        segmentAlignment: Some(true),
        startWithSAP: Some(1),
        mimeType: Some(mime_type(first.kind).into()),
        AudioChannelConfiguration: channel_configuration(first).into_iter().collect(),
        supplemental_property: connected.into_iter().map(connectivity).collect(),
        Label: first.label.iter().map(|label| Label { content: printable(label), ..Label::default() }).collect(),
        ProducerReferenceTime: if chunked { vec![reference_time(input, shown)] } else { Vec::new() },
        Role: vec![role(if text { "subtitle" } else { "main" })],
        representations: tracks
            .iter()
            .map(|(track, generation)| representation(input, shown, addressing, track, *generation))
            .collect(),
        ..AdaptationSet::default()
    }
}

fn representation(
    input: &Input,
    shown: &Shown,
    addressing: Addressing,
    track: &Track,
    generation: Generation,
) -> Representation {
    let chunked = addressing == Addressing::Number && input.state == State::Live && track.part_target.is_some();
    Representation {
        id: Some(track.id.to_string()),
        bandwidth: Some(bitrate::quantise(bitrate::peak(track))),
        width: track.video.as_ref().map(|v| v.width.into()),
        height: track.video.as_ref().map(|v| v.height.into()),
        frameRate: track.video.as_ref().and_then(|v| v.frame_rate).map(|rate| rate.to_string()),
        audioSamplingRate: track.audio.as_ref().map(|a| a.sample_rate.to_string()),
        codecs: Some(printable(track.codec.rfc6381())),
        Resync: if chunked { vec![resync(input, track)] } else { Vec::new() },
        SegmentTemplate: Some(match addressing {
            Addressing::Number => template::number(input, shown, track, generation, chunked),
            Addressing::Time => template::timeline(input, shown, track, generation),
        }),
        ..Representation::default()
    }
}

const fn mime_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Video => "video/mp4",
        Kind::Audio => "audio/mp4",
        Kind::Text | Kind::Metadata => "application/mp4",
    }
}

fn role(value: &str) -> Role {
    Role { schemeIdUri: ROLE_SCHEME.into(), value: Some(value.into()), ..Role::default() }
}

fn connectivity(before: &Period) -> SupplementalProperty {
    SupplementalProperty {
        schemeIdUri: CONNECTIVITY_SCHEME.into(),
        value: Some(before.id.clone()),
        ..SupplementalProperty::default()
    }
}

/// The coding-independent code point of the usual layout of that many channels (ISO/IEC 23091-3).
fn channel_configuration(track: &Track) -> Option<AudioChannelConfiguration> {
    let code = match track.audio.as_ref()?.channels {
        few @ 1..=6 => few,
        7 => 11,
        8 => 12,
        _ => return None,
    };
    Some(AudioChannelConfiguration {
        schemeIdUri: CHANNELS_SCHEME.into(),
        value: Some(code.to_string()),
        ..AudioChannelConfiguration::default()
    })
}

/// Media time is Unix time, so any pair does; the Period's start never changes.
fn reference_time(input: &Input, shown: &Shown) -> ProducerReferenceTime {
    let start = start_of(input.grid, shown.first).utc();
    ProducerReferenceTime {
        id: Some(REFERENCE_TIME_ID.into()),
        inband: Some(true),
        presentationTime: Some(template::NumberScale::of(input.grid).time_of(shown.first)),
        prtType: Some("encoder".into()),
        wallClockTime: Some(chrono::DateTime::from_timestamp_nanos(start.nanos())),
        // Names the form of wallClockTime: without it shaka reads an NTP number.
        UTCTiming: Some(super::utc_timing("http-xsdate", input.utc_timing_url)),
    }
}

/// Where a player may join within a segment: at any chunk, which only in audio is sure to decode alone.
fn resync(input: &Input, track: &Track) -> Resync {
    let kind = if track.kind == Kind::Audio { "1" } else { "0" };
    let chunk = track.part_target.unwrap_or(input.part_target);
    Resync {
        rtype: Some(kind.into()),
        dT: Some(template::NumberScale::of(input.grid).ticks_ceil(chunk)),
        ..Resync::default()
    }
}

/// Text that XML can carry.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
