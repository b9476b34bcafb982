// SPDX-License-Identifier: Apache-2.0
//! Reading a media playlist: the scanner beside m3u8-rs.

use headwater_media::UtcTime;
use m3u8_rs::{MediaPlaylist, parse_media_playlist_res};

use super::attributes::Attributes;
use super::{
    ENTRIES_MAX, Error, FAULTS_MAX, Hint, Map, Media, Part, Range, Report, Segment, ServerControl, integer, range,
};
use crate::decimal::seconds;

/// Tags that are read here: one that cannot be is malformed, any other is unknown.
const KNOWN: [&str; 20] = [
    "INF",
    "-X-TARGETDURATION",
    "-X-VERSION",
    "-X-MEDIA-SEQUENCE",
    "-X-DISCONTINUITY-SEQUENCE",
    "-X-BYTERANGE",
    "-X-MAP",
    "-X-KEY",
    "-X-GAP",
    "-X-PROGRAM-DATE-TIME",
    "-X-PART",
    "-X-SERVER-CONTROL",
    "-X-PART-INF",
    "-X-SKIP",
    "-X-PRELOAD-HINT",
    "-X-RENDITION-REPORT",
    "-X-PLAYLIST-TYPE",
    "-X-ENDLIST",
    "-X-DISCONTINUITY",
    "-X-INDEPENDENT-SEGMENTS",
];
/// Tags that a playlist has at most once (rfc8216bis, 4.4.3).
const ONCE: [&str; 8] = [
    "-X-TARGETDURATION",
    "-X-VERSION",
    "-X-MEDIA-SEQUENCE",
    "-X-DISCONTINUITY-SEQUENCE",
    "-X-SERVER-CONTROL",
    "-X-PART-INF",
    "-X-SKIP",
    "-X-PLAYLIST-TYPE",
];
/// Tags that stand before the first segment.
const BEFORE_SEGMENTS: [&str; 2] = ["-X-MEDIA-SEQUENCE", "-X-DISCONTINUITY-SEQUENCE"];
/// Tags of a segment that stand before its first part (rfc8216bis, 4.4.4.9).
const BEFORE_PARTS: [&str; 5] = ["-X-MAP", "-X-KEY", "-X-DISCONTINUITY", "-X-PROGRAM-DATE-TIME", "-X-GAP"];

/// Reads a playlist that begins with `#EXTM3U`.
pub(super) fn parse(text: &str) -> Result<Media, Error> {
    let mut scanner = Scanner { known: String::from("#EXTM3U\n"), ..Scanner::default() };
    for line in text.lines().skip(1).map(str::trim).filter(|line| !line.is_empty()) {
        scanner.place(line);
        if scanner.line(line).is_none() {
            scanner.media.ignored += 1;
            scanner.complain(line);
        }
        if scanner.media.segments.len() + scanner.parts > ENTRIES_MAX {
            return Err(Error::TooMany { max: ENTRIES_MAX });
        }
    }
    let read = parse_media_playlist_res(scanner.known.as_bytes()).map_err(|_| Error::NotPlaylist)?;
    if read.segments.len() != scanner.media.segments.len() {
        return Err(Error::NotPlaylist);
    }
    Ok(scanner.finish(read))
}

#[derive(Default)]
struct Scanner {
    /// What m3u8-rs is given.
    known: String,
    media: Media,
    /// The segment whose URI has not come yet.
    next: Segment,
    /// `EXTINF` has come for it.
    measured: bool,
    /// Anything else has come for it.
    begun: bool,
    encrypted: bool,
    parts: usize,
    /// Of [`ONCE`], those that came.
    seen: [bool; ONCE.len()],
}

impl Scanner {
    /// Notes a tag that came again or too late.
    fn place(&mut self, line: &str) {
        let Some(tag) = line.strip_prefix("#EXT") else { return };
        let name = tag.split_once(':').map_or(tag, |(name, _)| name);
        if let Some(index) = ONCE.iter().position(|once| *once == name)
            && std::mem::replace(&mut self.seen[index], true)
        {
            note(&mut self.media.faults.repeated, line);
        }
        let late = BEFORE_PARTS.contains(&name) && !self.next.parts.is_empty();
        let listed = !self.media.segments.is_empty() || !self.next.parts.is_empty();
        if late || (listed && BEFORE_SEGMENTS.contains(&name)) {
            note(&mut self.media.faults.misplaced, line);
        }
    }

    /// Notes a line that was passed over although it says something that is known here.
    fn complain(&mut self, line: &str) {
        let name = line.strip_prefix("#EXT").map(|tag| tag.split_once(':').map_or(tag, |(name, _)| name));
        if name.is_none_or(|name| KNOWN.contains(&name)) {
            note(&mut self.media.faults.malformed, line);
        }
    }

    /// Takes a line; `None` if it is passed over.
    fn line(&mut self, line: &str) -> Option<()> {
        if line.contains(char::is_control) {
            return None;
        }
        let Some(tag) = line.strip_prefix("#EXT") else {
            return if line.starts_with('#') { Some(()) } else { self.uri(line) };
        };
        let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
        match name {
            "INF" => {
                self.next.duration = seconds(value.split(',').next()?)?;
                self.measured = true;
            }
            "-X-TARGETDURATION" => {
                if integer(value).is_none() {
                    note(&mut self.media.faults.malformed, &format!("#EXT{name}:{value}"));
                }
                let target = seconds(value)?.seconds_ceil();
                self.pass(&format!("#EXT-X-TARGETDURATION:{target}"));
                self.media.target_duration = Some(target);
            }
            "-X-VERSION" | "-X-MEDIA-SEQUENCE" | "-X-DISCONTINUITY-SEQUENCE" => {
                let number = integer(value)?;
                self.pass(&format!("#EXT{name}:{number}"));
            }
            "-X-INDEPENDENT-SEGMENTS" | "-X-I-FRAMES-ONLY" | "-X-ENDLIST" => self.pass(&format!("#EXT{name}")),
            "-X-DISCONTINUITY" => {
                self.next.discontinuity = true;
                self.begun = true;
                self.pass("#EXT-X-DISCONTINUITY");
            }
            "-X-BYTERANGE" => {
                let range = range(value)?;
                self.pass(&format!("#EXT-X-BYTERANGE:{}", written(range)));
            }
            "-X-MAP" => {
                let attributes = Attributes::parse(value)?;
                let byte_range = attributes.value("BYTERANGE").map(range);
                if attributes.value("URI")?.is_empty() || byte_range == Some(None) {
                    return None;
                }
                self.pass(&format!("#EXT-X-MAP:{}", attributes.rewritten(&["URI", "BYTERANGE"])));
                self.next.map =
                    Some(Map { uri: attributes.value("URI")?.to_owned(), byte_range: byte_range.flatten() });
            }
            "-X-KEY" => self.encrypted = Attributes::parse(value)?.value("METHOD")? != "NONE",
            "-X-GAP" => self.next.gap = true,
            "-X-PLAYLIST-TYPE" => {
                let known = ["EVENT", "VOD"].iter().find(|known| **known == value.trim())?;
                self.media.playlist_type = Some((*known).to_owned());
            }
            "-X-PROGRAM-DATE-TIME" => {
                self.next.program_date_time = Some(UtcTime::parse(value)?);
                self.begun = true;
            }
            "-X-PART" => {
                let part = part(value)?;
                self.next.parts.push(part);
                self.parts += 1;
                self.begun = true;
            }
            _ => return self.low_latency_tag(name, value),
        }
        Some(())
    }

    fn low_latency_tag(&mut self, name: &str, value: &str) -> Option<()> {
        let attributes = Attributes::parse(value)?;
        match name {
            "-X-SERVER-CONTROL" => {
                self.media.server_control = Some(ServerControl {
                    can_block_reload: attributes.is_yes("CAN-BLOCK-RELOAD"),
                    can_skip_until: attributes.value("CAN-SKIP-UNTIL").and_then(seconds),
                    can_skip_dateranges: attributes.is_yes("CAN-SKIP-DATERANGES"),
                    hold_back: attributes.value("HOLD-BACK").and_then(seconds),
                    part_hold_back: attributes.value("PART-HOLD-BACK").and_then(seconds),
                });
            }
            "-X-PART-INF" => self.media.part_target = Some(attributes.value("PART-TARGET").and_then(seconds)?),
            "-X-SKIP" => {
                self.media.skipped_segments = attributes.value("SKIPPED-SEGMENTS").and_then(integer)?;
                self.media.removed_dateranges = attributes.value("RECENTLY-REMOVED-DATERANGES").is_some();
            }
            "-X-PRELOAD-HINT" => self.media.hints.push(Hint {
                hint_type: attributes.value("TYPE")?.to_owned(),
                uri: attributes.value("URI")?.to_owned(),
                start_bytes: attributes.value("BYTERANGE-START").and_then(integer),
                length_bytes: attributes.value("BYTERANGE-LENGTH").and_then(integer),
            }),
            "-X-RENDITION-REPORT" => self.media.reports.push(Report {
                uri: attributes.value("URI")?.to_owned(),
                last: attributes.value("LAST-MSN").and_then(integer),
                part: attributes.value("LAST-PART").and_then(integer),
            }),
            _ => return None,
        }
        Some(())
    }

    /// A segment's URI; one without `EXTINF` names no segment.
    fn uri(&mut self, line: &str) -> Option<()> {
        if !self.measured {
            return None;
        }
        let mut segment = std::mem::take(&mut self.next);
        // m3u8-rs needs a duration; the exact one is already here.
        self.pass("#EXTINF:0,");
        self.pass(line);
        segment.encrypted = self.encrypted;
        // The map stays in force; m3u8-rs files it under the segment it stands before.
        self.next.map.clone_from(&segment.map);
        self.media.segments.push(segment);
        (self.measured, self.begun) = (false, false);
        Some(())
    }

    fn pass(&mut self, line: &str) {
        self.known.push_str(line);
        self.known.push('\n');
    }

    /// Joins what m3u8-rs read to what the scanner kept.
    fn finish(mut self, read: MediaPlaylist) -> Media {
        let mut media = self.media;
        media.version = read.version.and_then(|v| u64::try_from(v).ok());
        media.media_sequence = read.media_sequence;
        media.discontinuity_sequence = read.discontinuity_sequence;
        media.independent_segments = read.independent_segments;
        media.iframes_only = read.i_frames_only;
        media.ended = read.end_list;
        let first = media.media_sequence.saturating_add(media.skipped_segments);
        for (index, (segment, read)) in media.segments.iter_mut().zip(read.segments).enumerate() {
            segment.sequence = first.saturating_add(index as u64);
            segment.uri = read.uri;
            segment.byte_range = read.byte_range.map(|r| Range { length_bytes: r.length, offset_bytes: r.offset });
        }
        if self.begun {
            self.next.sequence = first.saturating_add(media.segments.len() as u64);
            self.next.encrypted = self.encrypted;
            media.open = Some(self.next);
        }
        media
    }
}

fn note(list: &mut Vec<String>, line: &str) {
    if list.len() < FAULTS_MAX {
        list.push(line.chars().take(200).collect());
    }
}

fn part(value: &str) -> Option<Part> {
    let attributes = Attributes::parse(value)?;
    Some(Part {
        uri: attributes.value("URI")?.to_owned(),
        duration: seconds(attributes.value("DURATION")?)?,
        independent: attributes.is_yes("INDEPENDENT"),
        gap: attributes.is_yes("GAP"),
        byte_range: attributes.value("BYTERANGE").and_then(range),
    })
}

fn written(range: Range) -> String {
    match range.offset_bytes {
        Some(offset) => format!("{}@{offset}", range.length_bytes),
        None => range.length_bytes.to_string(),
    }
}
