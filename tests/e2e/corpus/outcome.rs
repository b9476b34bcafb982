// SPDX-License-Identifier: Apache-2.0
//! What viewers get of a track: its segments in words, its frames as a decoder counts them, its bytes.

use std::time::Duration;

use super::stage::Channel;
use crate::boxes;
use crate::harness::{Scratch, run_bytes};
use crate::playlist::Playlist;

/// How long ffprobe may take on a busy machine.
const TOOL: Duration = Duration::from_secs(60);

/// A track as it lies on the origin.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// Whole segments by their durations: `2.000 gap | 1.920`, where `|` is a discontinuity.
    pub(crate) words: String,
    /// Frames decoded.
    pub(crate) frames: usize,
    /// Steps of time between samples, other than at gaps and discontinuities.
    pub(crate) holes: usize,
    /// Header and segments, in order.
    pub(crate) bytes: Vec<u8>,
    pub(crate) playlist: Playlist,
    /// Rules of playlists that it breaks.
    pub(crate) faults: Vec<String>,
}

impl Outcome {
    /// Reads everything that is listed, decodes it, and notes the rules it breaks.
    pub(crate) fn of(channel: &Channel<'_>, id: &str) -> Self {
        let playlist = channel.playlist(id);
        let at = format!("{}/{id}", channel.name);
        let (words, faults) = (words(&playlist), playlist.faults());
        let mut this = Self { words, frames: 0, holes: 0, bytes: Vec::new(), playlist: playlist.clone(), faults };
        let (mut header, mut run) = (Vec::new(), Vec::new());
        for segment in &playlist.segments {
            if segment.gap || segment.map.is_some() {
                this.take(&at, &header, &std::mem::take(&mut run));
            }
            if let Some(map) = &segment.map {
                header = fetch(channel, id, map);
                this.bytes.extend_from_slice(&header);
            }
            if !segment.gap {
                run.extend(fetch(channel, id, &segment.uri));
            }
        }
        this.take(&at, &header, &run);
        this
    }

    /// Names of the listed segments and headers.
    pub(crate) fn uris(&self) -> Vec<&str> {
        self.playlist.segments.iter().flat_map(|s| s.map.iter().chain([&s.uri])).map(String::as_str).collect()
    }

    /// Decodes what follows without a gap under one header.
    fn take(&mut self, at: &str, header: &[u8], run: &[u8]) {
        if run.is_empty() {
            return;
        }
        self.bytes.extend_from_slice(run);
        let file = [header, run].concat();
        let (scale, samples) = boxes::samples(&file);
        let jitter = scale / 1_000;
        self.holes += samples
            .windows(2)
            .filter(|pair| (pair[1].decode_time - pair[0].decode_time - pair[0].duration).abs() > jitter)
            .count();
        let handler = header.windows(4).any(|w| w == b"vide" || w == b"soun");
        self.frames += if handler { decoded(at, &file, samples.len()) } else { samples.len() };
    }
}

/// Frames that ffprobe decodes, without a complaint; every sample is one.
fn decoded(at: &str, file: &[u8], samples: usize) -> usize {
    let scratch = Scratch::new("corpus");
    let path = scratch.path.join("track.mp4");
    std::fs::write(&path, file).expect("a scratch file");
    let path = path.display().to_string();
    let arguments = ["-v", "error", "-count_frames", "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", &path];
    let (csv, complaints) = run_bytes("ffprobe", &arguments, TOOL);
    assert_eq!(complaints, "", "{at}");
    let csv = String::from_utf8_lossy(&csv).into_owned();
    let frames = csv.trim().trim_end_matches(',').parse().unwrap_or_else(|e| panic!("{at}: {csv:?}: {e}"));
    assert_eq!(frames, samples, "{at}: frames decoded of the samples there are");
    frames
}

fn fetch(channel: &Channel<'_>, id: &str, uri: &str) -> Vec<u8> {
    let answer = channel.origin.get(&format!("/live/{}/{id}/{uri}", channel.name));
    assert_eq!(answer.status, 200, "{}/{id}/{uri}", channel.name);
    answer.body
}

fn words(playlist: &Playlist) -> String {
    let mut words = Vec::new();
    for segment in &playlist.segments {
        if segment.discontinuity {
            words.push("|".to_owned());
        }
        let millis = (segment.duration + 500_000) / 1_000_000;
        words.push(if segment.gap { "gap".to_owned() } else { format!("{}.{:03}", millis / 1_000, millis % 1_000) });
    }
    words.join(" ")
}
