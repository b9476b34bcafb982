// SPDX-License-Identifier: Apache-2.0
//! A ladder that repeats for ever on the epoch grid.
//!
//! Repetition k of a file is the file moved by k × loop duration, for every whole k. So media time is Unix time, what
//! was in sync in the files is in sync on the wire, borders have no seam, and a chunk's number and bytes follow from
//! its time alone: pushers started at any two moments send the same bytes for the same time.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use headwater_media::{MediaDuration, MediaTime, Timescale, id};

use super::rewrite::{Chunk, File};

/// The ladder that comes with the binary; `assets/ladder/generate.sh` makes it.
const SAMPLE: [(&str, &[u8]); 4] = [
    ("v0.cmfv", include_bytes!("../../assets/ladder/v0.cmfv")),
    ("v1.cmfv", include_bytes!("../../assets/ladder/v1.cmfv")),
    ("v2.cmfv", include_bytes!("../../assets/ladder/v2.cmfv")),
    ("a0.cmfa", include_bytes!("../../assets/ladder/a0.cmfa")),
];

/// Tracks of equal length.
#[derive(Debug)]
pub(crate) struct Ladder {
    /// At least one, in the order of their names, video first.
    pub(crate) tracks: Vec<Track>,
    /// Length of one repetition.
    pub(crate) duration: MediaDuration,
}

/// One track of it.
#[derive(Debug)]
pub(crate) struct Track {
    /// File name, as in `Streams(v0.cmfv)`.
    pub(crate) file_name: String,
    /// CMAF header.
    pub(crate) header: Bytes,
    /// Carries pictures.
    pub(crate) video: bool,
    timescale: Timescale,
    loop_ticks: i64,
    chunks: Vec<Chunk>,
}

/// A chunk's place since the epoch: repetition × chunks per repetition + place in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ChunkNumber(i64);

impl ChunkNumber {
    /// The chunk after this one.
    pub(crate) const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    const fn previous(self) -> Self {
        Self(self.0 - 1)
    }
}

impl Ladder {
    /// The ladder in the binary.
    ///
    /// # Errors
    /// Only if a wanted track is not in it.
    pub(crate) fn sample(wanted: &[String]) -> anyhow::Result<Self> {
        Self::new(SAMPLE.map(|(name, bytes)| (name.to_owned(), Bytes::from_static(bytes))).into(), wanted)
    }

    /// Every `*.cmfv`, `*.cmfa`, `*.cmft` and `*.cmfm` of a folder.
    ///
    /// # Errors
    /// If the folder or a file cannot be read, or the files are not a ladder that loops.
    pub(crate) fn read(folder: &Path, wanted: &[String]) -> anyhow::Result<Self> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let path = entry?.path();
            let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
            let Some(name) = path.file_name().and_then(|n| n.to_str()) else { continue };
            if ["cmfv", "cmfa", "cmft", "cmfm"].contains(&extension) {
                let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
                files.push((name.to_owned(), Bytes::from(bytes)));
            }
        }
        ensure!(!files.is_empty(), "expected *.cmfv and *.cmfa files in {}, got none", folder.display());
        Self::new(files, wanted)
    }

    fn new(mut files: Vec<(String, Bytes)>, wanted: &[String]) -> anyhow::Result<Self> {
        files.sort();
        let names: Vec<_> = files.iter().map(|(name, _)| stem(name).to_owned()).collect();
        if let Some(unknown) = wanted.iter().find(|w| !names.contains(w)) {
            bail!("expected tracks out of {}, got {unknown}", names.join(", "));
        }
        files.retain(|(name, _)| wanted.is_empty() || wanted.iter().any(|w| w == stem(name)));
        let mut tracks = Vec::new();
        for (name, bytes) in files {
            id::check_name(stem(&name)).with_context(|| format!("cannot name a track after {name}"))?;
            let file = File::parse(&bytes).with_context(|| format!("cannot push {name}"))?;
            tracks.push(Track::new(name, file)?);
        }
        tracks.sort_by_key(|track| !track.video);
        let Some(first) = tracks.first() else { bail!("expected a track, got none") };
        let duration = first.duration();
        if let Some(other) = tracks.iter().find(|track| track.duration() != duration) {
            bail!(
                "expected every track to last {} s as {} does, {} lasts {} s: cut them to one length, whole in frames of each",
                duration.decimal(6),
                first.file_name,
                other.file_name,
                other.duration().decimal(6)
            );
        }
        Ok(Self { tracks, duration })
    }

    /// When the first sync frame at or after `time` begins, on the track that others are switched with.
    pub(crate) fn sync_after(&self, time: MediaTime) -> MediaTime {
        let lead = &self.tracks[0];
        lead.start(lead.first_sync_from(time))
    }
}

impl Track {
    fn new(file_name: String, file: File) -> anyhow::Result<Self> {
        let (Some(first), Some(last)) = (file.chunks.first(), file.chunks.last()) else {
            bail!("expected a chunk in {file_name}")
        };
        let loop_ticks = last.decode_time + last.duration - first.decode_time;
        ensure!(loop_ticks > 0, "expected times that rise in {file_name}, got {loop_ticks} ticks from start to end");
        ensure!(
            file.chunks.iter().any(|c| c.sync),
            "expected a chunk that opens on a sync sample in {file_name}, got none"
        );
        let ordered = file.chunks.windows(2).all(|pair| pair[0].decode_time < pair[1].decode_time);
        ensure!(ordered, "expected chunks in decode order in {file_name}");
        let File { header, timescale, video, chunks } = file;
        Ok(Self { file_name, header, video, timescale, loop_ticks, chunks })
    }

    /// The name without its extension.
    pub(crate) fn name(&self) -> &str {
        stem(&self.file_name)
    }

    /// The chunk to begin a stream of `start` with: of pictures the first sync frame from there on, of sound and text the
    /// chunk that is under way, so that the first segment has them whole.
    pub(crate) fn opening(&self, start: MediaTime) -> ChunkNumber {
        if self.video { self.first_sync_from(start) } else { self.last_sync_until(start) }
    }

    fn duration(&self) -> MediaDuration {
        MediaDuration::new(self.loop_ticks, self.timescale)
    }

    /// Chunks in one repetition.
    fn count(&self) -> i64 {
        i64::try_from(self.chunks.len()).unwrap_or(i64::MAX)
    }

    fn split(&self, number: ChunkNumber) -> (i64, &Chunk) {
        let index = usize::try_from(number.0.rem_euclid(self.count())).unwrap_or(0);
        (number.0.div_euclid(self.count()) * self.loop_ticks, &self.chunks[index])
    }

    /// First decode time of a chunk.
    pub(crate) fn start(&self, number: ChunkNumber) -> MediaTime {
        let (shift, chunk) = self.split(number);
        MediaTime::new(chunk.decode_time + shift, self.timescale)
    }

    /// End of a chunk's last sample: when a camera would have it whole.
    pub(crate) fn end(&self, number: ChunkNumber) -> MediaTime {
        let (shift, chunk) = self.split(number);
        MediaTime::new(chunk.decode_time + shift + chunk.duration, self.timescale)
    }

    /// A chunk as it is sent. Fragment numbers (`mfhd`) follow from the time too; they wrap at 2^32.
    pub(crate) fn bytes(&self, number: ChunkNumber) -> Bytes {
        let (shift, chunk) = self.split(number);
        let sequence = u32::try_from((number.0 + 1).rem_euclid(1 << 32)).unwrap_or(0);
        chunk.at(shift, self.timescale, sequence)
    }

    /// The first chunk that opens on a sync sample and starts at or after `time`.
    pub(crate) fn first_sync_from(&self, time: MediaTime) -> ChunkNumber {
        let mut number = self.holding(time);
        while self.start(number) < time || !self.split(number).1.sync {
            number = number.next();
        }
        number
    }

    /// The last chunk that opens on a sync sample and starts at or before `time`.
    pub(crate) fn last_sync_until(&self, time: MediaTime) -> ChunkNumber {
        let mut number = self.holding(time);
        while !self.split(number).1.sync {
            number = number.previous();
        }
        number
    }

    /// The last chunk that starts at or before `time`.
    fn holding(&self, time: MediaTime) -> ChunkNumber {
        let first = self.chunks[0].decode_time;
        let into = time.rescale(self.timescale).ticks() - first;
        let start = into.rem_euclid(self.loop_ticks) + first;
        let index = self.chunks.partition_point(|chunk| chunk.decode_time <= start).saturating_sub(1);
        let mut number =
            ChunkNumber(into.div_euclid(self.loop_ticks) * self.count() + i64::try_from(index).unwrap_or(0));
        while self.start(number) > time {
            number = number.previous();
        }
        number
    }
}

fn stem(file_name: &str) -> &str {
    file_name.rsplit_once('.').map_or(file_name, |(stem, _)| stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_NANOS: i64 = 1_700_000_003_210_000_000;

    fn now_plus(nanos: i64) -> MediaTime {
        MediaTime::new(NOW_NANOS + nanos, Timescale::NANOS)
    }

    /// What a pusher started at `time` sends first, and after it.
    fn sent(track: &Track, time: MediaTime, count: usize) -> Vec<(MediaTime, Bytes)> {
        let first = track.first_sync_from(time);
        std::iter::successors(Some(first), |n| Some(n.next()))
            .take(count)
            .map(|n| (track.start(n), track.bytes(n)))
            .collect()
    }

    #[test]
    fn the_sample_is_three_renditions_and_sound_of_one_length() {
        let ladder = Ladder::sample(&[]).unwrap();
        assert_eq!(ladder.tracks.iter().map(Track::name).collect::<Vec<_>>(), ["v0", "v1", "v2", "a0"]);
        assert_eq!(ladder.duration, MediaDuration::new(8, Timescale::new(1).unwrap()));
        for track in ladder.tracks.iter().filter(|t| t.video) {
            assert_eq!(track.chunks.len(), 40);
            assert_eq!(track.chunks.iter().filter(|c| c.sync).count(), 8);
            assert!(track.chunks.iter().all(|c| c.duration * 5 == i64::from(track.timescale.ticks_per_second())));
        }
    }

    #[test]
    fn times_go_on_over_the_loops_border() {
        for track in Ladder::sample(&[]).unwrap().tracks {
            let mut expected = None;
            for (start, bytes) in sent(&track, now_plus(0), 3 * track.chunks.len()) {
                let read = File::parse(&[&track.header[..], &bytes].concat().into()).unwrap();
                let chunk = &read.chunks[0];
                assert_eq!(chunk.decode_time, start.ticks());
                assert_eq!(*expected.get_or_insert(chunk.decode_time), chunk.decode_time, "{}", track.file_name);
                expected = Some(chunk.decode_time + chunk.duration);
            }
        }
    }

    #[test]
    fn two_pushers_send_the_same_bytes_for_the_same_time() {
        for track in Ladder::sample(&[]).unwrap().tracks {
            let early = sent(&track, now_plus(0), 4 * track.chunks.len());
            let late = sent(&track, now_plus(13_370_000_000), track.chunks.len());
            let from = early.iter().position(|(start, _)| *start == late[0].0).unwrap();
            assert_eq!(early[from..from + late.len()], late);
        }
    }

    #[test]
    fn a_stream_begins_at_the_next_whole_second() {
        let ladder = Ladder::sample(&[]).unwrap();
        let start = ladder.sync_after(now_plus(0));
        assert_eq!(start.utc().nanos(), 1_700_000_004_000_000_000);
        assert_eq!(ladder.sync_after(start), start);
    }

    #[test]
    fn a_resumed_stream_goes_back_to_a_sync_frame() {
        let ladder = Ladder::sample(&["v1".to_owned()]).unwrap();
        let track = &ladder.tracks[0];
        assert_eq!(track.start(track.last_sync_until(now_plus(0))).utc().nanos(), 1_700_000_003_000_000_000);
        // One tick before the border of two repetitions.
        let border = MediaTime::new(1_700_000_000 * 12_800 - 1, track.timescale);
        assert_eq!(track.start(track.last_sync_until(border)).utc().nanos(), 1_699_999_999_000_000_000);
    }

    #[test]
    fn a_track_that_is_not_there_is_named() {
        let error = Ladder::sample(&["v9".to_owned()]).unwrap_err();
        assert_eq!(error.to_string(), "expected tracks out of a0, v0, v1, v2, got v9");
    }
}
