// SPDX-License-Identifier: Apache-2.0
//! Blocking reloads of a track's playlist, one behind the other, and the parts that they bring.

use super::WAIT;
use crate::shield::client::{Answer, Connection, Error, Want};

/// A part's segment and its index there.
type Part = (u64, u64);

/// The address of a track's playlist.
pub(super) fn list(track: &str) -> String {
    format!("/live/live/{track}/media.m3u8")
}

/// The parts that a playlist names after `known`, or its last.
fn named(playlist: &str, known: Option<Part>) -> Vec<Part> {
    let part = |line: &str| {
        let name = line.strip_prefix("#EXT-X-PART:")?.split_once("URI=\"")?.1.split('"').next()?;
        let (segment, part) = name.strip_suffix(".m4s")?.split_once('.')?;
        Some((segment.parse().ok()?, part.parse().ok()?))
    };
    let parts: Vec<Part> = playlist.lines().filter_map(part).collect();
    match known {
        Some(known) => parts.into_iter().filter(|part| *part > known).collect(),
        None => parts.last().copied().into_iter().collect(),
    }
}

/// Playlists of a track that come when they name a new part.
pub(super) struct Reloads {
    connection: Connection,
    track: &'static str,
    known: Part,
}

impl Reloads {
    /// Begins with what is listed now.
    pub(super) async fn open(port: u16, track: &'static str) -> Result<Self, Error> {
        let mut connection = Connection::open(port).await?;
        let first = connection.get_within(&list(track), Want::Body, WAIT).await?;
        let known = *named(&String::from_utf8_lossy(&first.body), None)
            .last()
            .ok_or(Error::Wrong { at_bytes: first.body_bytes })?;
        Ok(Self { connection, track, known })
    }

    /// The next playlist and the paths of what it names anew.
    pub(super) async fn next(&mut self) -> Result<(Answer, Vec<String>), Error> {
        let (segment, part) = self.known;
        // One past the last of a segment is the first of the next (draft-pantos-hls-rfc8216bis, 6.2.5.2).
        let path = format!("{}?_HLS_msn={segment}&_HLS_part={}", list(self.track), part + 1);
        let playlist = self.connection.get_within(&path, Want::Body, WAIT).await?;
        let parts = named(&String::from_utf8_lossy(&playlist.body), Some(self.known));
        self.known = *parts.last().ok_or(Error::Wrong { at_bytes: playlist.body_bytes })?;
        let paths = parts.iter().map(|(segment, part)| format!("/live/live/{}/{segment}.{part}.m4s", self.track));
        Ok((playlist, paths.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn only_parts_after_the_known_one_are_new() {
        let playlist = "#EXTM3U\n#EXT-X-PART:DURATION=0.20000,INDEPENDENT=YES,URI=\"7.0.m4s\"\n\
            #EXT-X-PART:DURATION=0.20000,URI=\"7.1.m4s\"\n#EXTINF:0.40000,\n7.m4s\n\
            #EXT-X-PART:DURATION=0.20000,URI=\"8.0.m4s\"\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"8.1.m4s\"\n";
        assert_eq!(named(playlist, Some((7, 0))), [(7, 1), (8, 0)]);
        assert_eq!(named(playlist, None), [(8, 0)]);
        assert_eq!(named(playlist, Some((8, 0))), []);
    }
}
