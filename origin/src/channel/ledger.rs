// SPDX-License-Identifier: Apache-2.0
//! What of a channel survives a restart of the origin: its grid, anchor, generation and plans, and the last headers its
//! encoders sent. Encoders that survive our restart do not send their header again. And of channels that the API made,
//! what it said of them.
//!
//! Small files, each written whole beside the old one and renamed over it: a crash leaves the old or the new, never half.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use headwater_media::{ChannelId, Generation, Grid, MediaDuration, MediaTime, SegmentNumber, Timescale, TrackId};
use headwater_packager::timeline::TrackPlan;
use headwater_packager::timeline::anchor::{Anchor, Basis};
use headwater_packager::timeline::assembler::Memory;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tracing::warn;

/// The file of what the API said.
const SETTINGS: &str = "settings.json";

/// One channel's folder.
#[derive(Clone, Debug)]
pub struct Ledger {
    folder: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
struct Time {
    ticks: i64,
    timescale: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    frame: Time,
    part_target: Option<Time>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Written {
    segment: Time,
    phase: Time,
    #[serde(default)]
    confirmed: bool,
    offset: Time,
    basis: String,
    first: u64,
    generation: u32,
    last: Option<u64>,
    plans: BTreeMap<String, Plan>,
}

impl Time {
    const fn of(time: MediaTime) -> Self {
        Self { ticks: time.ticks(), timescale: time.timescale().ticks_per_second() }
    }

    const fn of_duration(duration: MediaDuration) -> Self {
        Self { ticks: duration.ticks(), timescale: duration.timescale().ticks_per_second() }
    }

    fn time(&self) -> Option<MediaTime> {
        Timescale::new(self.timescale).map(|scale| MediaTime::new(self.ticks, scale))
    }

    fn duration(&self) -> Option<MediaDuration> {
        Timescale::new(self.timescale).map(|scale| MediaDuration::new(self.ticks, scale))
    }
}

const BASES: [(Basis, &str); 4] = [
    (Basis::Epoch, "epoch"),
    (Basis::Manifest, "manifest"),
    (Basis::Arrival, "arrival"),
    (Basis::Continued, "continued"),
];

impl Ledger {
    /// The ledger of `channel` under `data_dir`; the folder is made.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(data_dir: &Path, channel: &ChannelId) -> io::Result<Self> {
        let folder = data_dir.join("channels").join(channel.as_str());
        fs::create_dir_all(&folder)?;
        Ok(Self { folder })
    }

    /// Keeps the timeline.
    pub fn keep(&self, memory: &Memory) {
        let plan = |p: &TrackPlan| Plan {
            frame: Time::of_duration(p.frame),
            part_target: p.part_target.map(Time::of_duration),
        };
        let written = Written {
            segment: Time::of_duration(memory.grid.duration()),
            phase: Time::of(memory.grid.phase()),
            confirmed: memory.confirmed,
            offset: Time::of(memory.anchor.offset),
            basis: BASES.iter().find(|(b, _)| *b == memory.anchor.basis).map_or("epoch", |(_, name)| name).to_owned(),
            first: memory.first.0,
            generation: memory.generation.0,
            last: memory.last.map(|n| n.0),
            plans: memory.plans.iter().map(|(id, p)| (id.to_string(), plan(p))).collect(),
        };
        let text = serde_json::to_vec_pretty(&written).unwrap_or_default();
        self.replace("timeline.json", &text);
    }

    /// The timeline kept; `None` if there is none or it cannot be read, which is said.
    pub fn recall(&self) -> Option<Memory> {
        let path = self.folder.join("timeline.json");
        let text = fs::read(&path).ok()?;
        let memory = serde_json::from_slice::<Written>(&text).ok().and_then(|w| from_written(&w));
        if memory.is_none() {
            warn!(path = %path.display(), "expected a kept timeline, found something else: the channel starts anew");
        }
        memory
    }

    /// Keeps a header an encoder sent under `name`.
    pub fn keep_header(&self, name: &str, header: &[u8]) {
        self.replace(&format!("{name}.init"), header);
    }

    /// The headers kept, by name.
    pub fn headers(&self) -> Vec<(String, Bytes)> {
        let Ok(files) = fs::read_dir(&self.folder) else { return Vec::new() };
        let named = files.flatten().filter_map(|file| {
            let name = file.file_name().into_string().ok()?;
            let name = name.strip_suffix(".init")?.to_owned();
            Some((name, Bytes::from(fs::read(file.path()).ok()?)))
        });
        named.collect()
    }

    /// Keeps what the API said of the channel it made. False if it cannot be kept.
    pub fn keep_settings(&self, said: &Map<String, Value>) -> bool {
        self.replace(SETTINGS, &serde_json::to_vec_pretty(said).unwrap_or_default())
    }

    /// Forgets what the API said: the channel is somebody else's from here on.
    pub fn forget_settings(&self) {
        match fs::remove_file(self.folder.join(SETTINGS)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                warn!(folder = %self.folder.display(), %error, "could not forget settings");
            }
            _ => {}
        }
    }

    /// The channels under `data_dir` that the API made, and what it said of each; one that cannot be read is said.
    pub fn made(data_dir: &Path) -> Vec<(ChannelId, Map<String, Value>)> {
        let Ok(folders) = fs::read_dir(data_dir.join("channels")) else { return Vec::new() };
        let made = folders.flatten().filter_map(|folder| {
            let text = fs::read(folder.path().join(SETTINGS)).ok()?;
            let id = ChannelId::new(folder.file_name().to_str()?).ok()?;
            serde_json::from_slice(&text)
                .inspect_err(|error| warn!(channel = %id, %error, "expected kept settings, found something else"))
                .ok()
                .map(|said| (id, said))
        });
        made.collect()
    }

    /// Forgets the channel.
    pub fn remove(&self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            warn!(folder = %self.folder.display(), %error, "could not forget the channel");
        }
    }

    fn replace(&self, file: &str, content: &[u8]) -> bool {
        let (path, new) = (self.folder.join(file), self.folder.join(format!("{file}.new")));
        // Settings hold stream keys: nobody else's to read.
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let written = options
            .open(&new)
            .and_then(|mut f| f.write_all(content).and_then(|()| f.sync_data()))
            .and_then(|()| fs::rename(&new, &path))
            .and_then(|()| fs::File::open(&self.folder)?.sync_all());
        if let Err(error) = &written {
            warn!(path = %path.display(), %error, "could not keep state: it will not survive a restart");
        }
        written.is_ok()
    }
}

fn from_written(written: &Written) -> Option<Memory> {
    let plans = written.plans.iter().map(|(id, plan)| {
        let part_target = match &plan.part_target {
            Some(time) => Some(time.duration()?),
            None => None,
        };
        Some((TrackId::new(id).ok()?, TrackPlan { frame: plan.frame.duration()?, part_target }))
    });
    Some(Memory {
        grid: Grid::with_phase(written.segment.duration()?, written.phase.time()?)?,
        confirmed: written.confirmed,
        anchor: Anchor {
            offset: written.offset.time()?,
            basis: BASES.iter().find(|(_, name)| *name == written.basis).map(|(b, _)| *b)?,
        },
        first: SegmentNumber(written.first),
        generation: Generation(written.generation),
        plans: plans.collect::<Option<_>>()?,
        last: written.last.map(SegmentNumber),
    })
}
