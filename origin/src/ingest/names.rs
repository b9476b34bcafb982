// SPDX-License-Identifier: Apache-2.0
//! From a pushed path to a stream: which track a request belongs to, whatever grammar the encoder speaks.
//!
//! | path under the publishing point | stream |
//! |---|---|
//! | `Streams(v0.cmfv)`, `Switching(s)/Streams(v0.cmfv)`, `Events(e)/Streams(v0)` | `v0`, header and media in one body |
//! | `…/Streams(v0)/InitializationSegment`, `…/Streams(v0)/Segment(7)` | `v0`, one request per segment |
//! | `v0/7.cmfv` | `v0` |
//! | `init-stream0.m4s`, `chunk-stream0-00007.m4s` | `stream0` |
//! | `lo/init_0.mp4`, `lo/seg00007.m4s` | `lo` |
//!
//! A name follows from the path alone, so that twin origins name tracks alike whatever else they have seen. A pushed
//! manifest helps only where the path does not say which header a segment needs.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use headwater_media::MediaTime;
use headwater_media::id::NAME_LENGTH_MAX;
use headwater_packager::cmaf::Header;
use parking_lot::Mutex;

/// What a pushed path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A DASH MPD.
    Mpd,
    /// An HLS playlist, media or multivariant; its path.
    Playlist(String),
    /// A stream: a header, segments, or both.
    Stream {
        /// Its name.
        name: String,
        /// The object's path, by which a manifest may name it.
        path: String,
        /// One object of several, rather than an endless body.
        object: bool,
    },
}

/// Why a path was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It leaves the publishing point.
    #[error("expected a path within the publishing point")]
    Outside,
    /// Nothing is left of it.
    #[error("expected a stream, segment or manifest name after the publishing point")]
    Empty,
    /// Not something we take.
    #[error("expected an fMP4 or CMAF body, a playlist or an MPD; this kind of file is not taken")]
    Kind,
}

impl Target {
    /// Reads a percent-decoded path below the publishing point; doubled slashes are tolerated.
    ///
    /// # Errors
    /// [`Error`] for paths that leave the point or name nothing.
    pub fn parse(path: &str) -> Result<Self, Error> {
        let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty()).collect();
        if parts.iter().any(|p| *p == "." || *p == ".." || p.contains(['\\', '\0'])) {
            return Err(Error::Outside);
        }
        let Some(file) = parts.last().copied() else { return Err(Error::Empty) };
        let joined = parts.join("/");
        if let Some(at) = parts.iter().position(|p| p.starts_with("Streams(") && p.ends_with(')')) {
            let name = stem(&parts[at]["Streams(".len()..parts[at].len() - 1]);
            let object = parts.len() > at + 1;
            return named(&clean(name), joined, object);
        }
        match extension(file) {
            "mpd" => return Ok(Self::Mpd),
            "m3u8" | "m3u" => return Ok(Self::Playlist(joined)),
            "cmfv" | "cmfa" | "cmft" | "cmfm" | "m4s" | "m4v" | "m4a" | "mp4" | "ismv" | "isma" | "m4f" | "frag"
            | "" => {}
            _ => return Err(Error::Kind),
        }
        let folder = clean(&parts[..parts.len() - 1].join("-"));
        let words = words(stem(file));
        let name = match (folder.is_empty(), words.is_empty() || is_number(&words)) {
            (false, true) => folder,
            (true, true) if words.is_empty() => "main".to_owned(),
            (true, _) => clean(&words),
            (false, false) => clean(&format!("{folder}-{words}")),
        };
        named(&name, joined, true)
    }
}

fn named(name: &str, path: String, object: bool) -> Result<Target, Error> {
    if name.is_empty() {
        return Err(Error::Empty);
    }
    Ok(Target::Stream { name: name.to_owned(), path, object })
}

fn extension(file: &str) -> &str {
    file.rsplit_once('.').map_or("", |(_, extension)| extension)
}

fn stem(file: &str) -> &str {
    file.rsplit_once('.').map_or(file, |(stem, _)| stem)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Letters, digits, `-` and `_`, not longer than a track's name with its suffix.
fn clean(name: &str) -> String {
    let text: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' }).collect();
    text.trim_matches('-').chars().take(NAME_LENGTH_MAX - 10).collect()
}

/// A file's stem without what only says "header" or "segment" and without the segment's number.
fn words(stem: &str) -> String {
    const PLAIN: [&str; 10] =
        ["init", "initialization", "header", "chunk", "seg", "segment", "media", "frag", "fragment", "index"];
    let lower = stem.to_ascii_lowercase();
    let is_header = ["init", "header"].iter().any(|w| lower.starts_with(w) || lower.ends_with(w));
    let mut words: Vec<&str> = stem.split(['-', '_', '.']).filter(|w| !w.is_empty()).collect();
    if !is_header && words.last().is_some_and(|w| is_number(w)) {
        words.pop();
    } else if !is_header && let Some(last) = words.last_mut() {
        // `seg00007`: the number follows the word directly; `stream0` in the middle keeps its digit.
        let bare = last.trim_end_matches(|c: char| c.is_ascii_digit());
        if bare.len() < last.len() {
            *last = bare;
        }
    }
    words.retain(|w| !PLAIN.contains(&w.to_ascii_lowercase().as_str()));
    words.join("-")
}

/// Headers that encoders have sent under this publishing point, and what their manifests said.
#[derive(Debug, Default)]
pub struct Names {
    /// Guards the tables; held for a look-up or an insert.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    headers: BTreeMap<String, Arc<Header>>,
    /// Where each recent object began, in source time: what a playlist's dates are matched with.
    starts: VecDeque<(String, MediaTime)>,
    /// Header paths by segment path's folder, from pushed playlists.
    maps: BTreeMap<String, String>,
}

const STARTS_MAX: usize = 64;
const MAPS_MAX: usize = 128;

impl Names {
    /// Keeps a header; true if it differs from the one known.
    pub fn insert(&self, name: &str, header: &Arc<Header>) -> bool {
        let known = self.state.lock().headers.insert(name.to_owned(), Arc::clone(header));
        known.is_none_or(|known| known.source != header.source)
    }

    /// The header for a stream: its own; for one object of several else the one its playlist maps to, or the only one.
    pub fn header(&self, name: &str, object: bool) -> Option<Arc<Header>> {
        let state = self.state.lock();
        if let Some(header) = state.headers.get(name) {
            return Some(Arc::clone(header));
        }
        if !object {
            return None;
        }
        if let Some(mapped) = state.maps.get(name).and_then(|m| state.headers.get(m)) {
            return Some(Arc::clone(mapped));
        }
        match state.headers.len() {
            1 => state.headers.values().next().cloned(),
            _ => None,
        }
    }

    /// True if a header came under this very name.
    pub fn knows(&self, name: &str) -> bool {
        self.state.lock().headers.contains_key(name)
    }

    /// True if any header is like this.
    pub fn any(&self, like: impl Fn(&Header) -> bool) -> bool {
        self.state.lock().headers.values().any(|h| like(h))
    }

    /// Stream names with a header.
    pub fn count(&self) -> usize {
        self.state.lock().headers.len()
    }

    /// A playlist says that segments of `name` need the header of `header_name`.
    pub fn map(&self, name: &str, header_name: &str) {
        let mut state = self.state.lock();
        if state.maps.len() < MAPS_MAX {
            state.maps.insert(name.to_owned(), header_name.to_owned());
        }
    }

    /// Notes where an object begins in source time.
    pub fn note_start(&self, path: &str, start: MediaTime) {
        let mut state = self.state.lock();
        if state.starts.len() >= STARTS_MAX {
            state.starts.pop_front();
        }
        state.starts.push_back((path.to_owned(), start));
    }

    /// Where an object of that path began.
    pub fn start_of(&self, path: &str) -> Option<MediaTime> {
        self.state.lock().starts.iter().rev().find(|(p, _)| p == path).map(|(_, start)| *start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(path: &str) -> String {
        match Target::parse(path) {
            Ok(Target::Stream { name, .. }) => name,
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn header_and_segments_of_a_stream_share_its_name() {
        let groups: [(&str, &[&str]); 9] = [
            (
                "v0",
                &["Streams(v0.cmfv)", "Streams(v0.cmfv)/InitializationSegment", "Streams(v0.cmfv)/Segment(850000000)"],
            ),
            ("v0", &["Switching(video)/Streams(v0.cmfv)", "Events(e1)/Streams(v0)", "//Streams(v0.cmfv)"]),
            ("v0", &["v0/init.cmfv", "v0/850000000.cmfv"]),
            ("stream0", &["init-stream0.m4s", "chunk-stream0-00001.m4s"]),
            ("0", &["0/init_0.mp4", "0/seg1.m4s", "0/seg00012.m4s"]),
            ("lo", &["lo/init_0.mp4", "lo/seg850000000.m4s", "lo/init.mp4"]),
            ("0", &["init_0.mp4", "seg_0_00012.m4s"]),
            ("main", &["init.mp4", "seg12.m4s", "index12.m4s"]),
            ("dir-stream1", &["dir/init-stream1.m4s", "dir/chunk-stream1-2.m4s"]),
        ];
        for (expected, paths) in groups {
            for path in paths {
                assert_eq!(name(path), expected, "{path}");
            }
        }
    }

    #[test]
    fn a_path_that_leaves_the_point_is_refused() {
        assert_eq!(Target::parse("../other/Streams(v0.cmfv)"), Err(Error::Outside));
        assert_eq!(Target::parse("a/./b.m4s"), Err(Error::Outside));
        assert_eq!(Target::parse("//"), Err(Error::Empty));
        assert_eq!(Target::parse("page.html"), Err(Error::Kind));
    }

    #[test]
    fn manifests_are_told_apart() {
        assert_eq!(Target::parse("manifest.mpd"), Ok(Target::Mpd));
        assert_eq!(Target::parse("0/index.m3u8"), Ok(Target::Playlist("0/index.m3u8".into())));
    }
}
