// SPDX-License-Identifier: Apache-2.0
//! What leaves the log, and what may not yet.
//!
//! Whole files leave, the oldest first, by bytes and by age; before that the older half of a full log is left without
//! `part.ready`. A follower with a place of its own, as the one that hands
//! events to Kafka, holds what it has not handed on, up to a bound of its own; past that the oldest `part.ready` are
//! dropped, file by file, and a file as a whole only when no `part.ready` is left.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use headwater_media::UtcTime;
use tracing::{info, warn};

use super::entry::Offset;
use super::files::{Files, Listing};
use super::thin::{self, Dropped};
use super::{Log, Writer, folder};
use crate::metrics::Reason;

/// Bytes of the newest records of a log on disk that memory holds.
const TAIL_BYTES: u64 = 8 << 20;
/// How long after a failure retention is tried again.
const RETRY: Duration = Duration::from_secs(10);
/// The oldest and the newest of a file differ by at most this part of the age that events may have.
const AGES: u32 = 8;

/// Who keeps events from leaving.
#[derive(Debug, Default)]
pub(super) struct Holds(BTreeMap<String, Hold>);

#[derive(Clone, Copy, Debug)]
struct Hold {
    offset: Offset,
    bytes_max: u64,
    /// It was said that events are dropped for it.
    is_behind: bool,
}

impl Holds {
    /// What may leave is before this.
    fn least(&self) -> Offset {
        self.0.values().map(|hold| hold.offset).min().unwrap_or(Offset(u64::MAX))
    }
}

impl Hold {
    /// Down to here is dropped once the bound is reached, so that it is not done for each event.
    fn bytes_after(&self, bytes_max: u64) -> u64 {
        let bound = self.bytes_max.min(bytes_max);
        bound - bound / 4
    }
}

impl Log {
    /// Keeps events from `offset` on for a follower of that name, up to `bytes_max` of them: past that the oldest
    /// `part.ready` are dropped, counted and said, and others only when no `part.ready` is left.
    ///
    /// Whoever had a place before a restart holds it within [`Settings::grace`](super::Settings::grace), during which
    /// nothing leaves.
    pub fn hold(&self, name: &str, offset: Offset, bytes_max: u64) {
        let mut shared = self.shared.lock();
        let is_behind = shared.holds.0.get(name).is_some_and(|hold| hold.is_behind);
        let held = match &shared.listing {
            Some(listing) if is_behind => listing.bytes_from(offset),
            None if is_behind => shared.tail.bytes_from(offset),
            _ => 0,
        };
        let has_caught_up = is_behind && held < bytes_max / 2;
        if has_caught_up {
            info!(follower = name, "a follower of the events has caught up");
        }
        let hold = Hold { offset, bytes_max, is_behind: is_behind && !has_caught_up };
        shared.holds.0.insert(name.to_owned(), hold);
    }

    /// Keeps nothing any more for a follower of that name.
    pub fn release(&self, name: &str) {
        self.shared.lock().holds.0.remove(name);
    }

    /// Bytes of the events from `offset` on, about.
    pub fn bytes_from(&self, offset: Offset) -> u64 {
        let shared = self.shared.lock();
        shared.listing.as_ref().map_or_else(|| shared.tail.bytes_from(offset), |listing| listing.bytes_from(offset))
    }

    /// Lets leave what may.
    pub(super) fn retain(&self, writer: &mut Writer, now: UtcTime) {
        let age = i64::try_from(self.settings.age_max.as_nanos()).unwrap_or(i64::MAX);
        let oldest = UtcTime::from_nanos(now.nanos().saturating_sub(age));
        let Some(files) = &mut writer.files else {
            if Instant::now() >= writer.retention_at {
                self.retain_records(oldest);
            }
            return;
        };
        self.shared.lock().tail.leave(TAIL_BYTES, UtcTime::from_nanos(i64::MIN), Offset(u64::MAX));
        if Instant::now() < writer.retention_at {
            return;
        }
        if let Err(error) = self.retain_files(files, now, oldest) {
            warn!(%error, "the log of events cannot be made smaller; it is tried again");
            writer.retention_at = Instant::now() + RETRY;
        }
    }

    /// Of a log in memory.
    fn retain_records(&self, oldest: UtcTime) {
        let mut shared = self.shared.lock();
        let bytes_max = self.settings.memory_bytes_max;
        let least = shared.holds.least();
        shared.tail.leave(bytes_max, oldest, least);
        let held: Vec<(String, Hold)> = shared.holds.0.iter().map(|(name, hold)| (name.clone(), *hold)).collect();
        for (name, hold) in held {
            let bound = hold.bytes_max.min(bytes_max);
            if shared.tail.bytes() <= bound || shared.tail.bytes_from(hold.offset) <= bound {
                continue;
            }
            let dropped = shared.tail.shed(hold.offset, hold.bytes_after(bytes_max));
            self.say(&mut shared.holds, &name, &dropped);
        }
        shared.tail.leave(bytes_max, oldest, least);
    }

    /// Of a log on disk.
    fn retain_files(&self, files: &mut Files, now: UtcTime, oldest: UtcTime) -> io::Result<()> {
        let is_aged = |listing: &Listing| {
            let stored = listing.index.stored_first;
            stored.is_some_and(|stored| now.since(stored) > self.settings.age_max / AGES)
        };
        if self.shared.lock().listing.as_ref().is_some_and(is_aged) {
            self.roll(files, *self.end.borrow(), now)?;
        }
        let held: Vec<(String, Hold)> =
            self.shared.lock().holds.0.iter().map(|(name, hold)| (name.clone(), *hold)).collect();
        for (name, hold) in held {
            self.shed(files, &name, hold, now)?;
        }
        self.thin_old(files)?;
        loop {
            let mut shared = self.shared.lock();
            let least = shared.holds.least();
            let Some(listing) = &mut shared.listing else { return Ok(()) };
            let Some(first) = listing.sealed.first() else { return Ok(()) };
            let is_over = listing.total() > self.settings.bytes_max || first.newest < oldest;
            if !is_over || least < listing.end_of(0) {
                return Ok(());
            }
            let leaving = listing.sealed.remove(0).volume;
            drop(shared);
            folder::remove(&leaving.path);
        }
    }

    /// A log that is full keeps its oldest files without their `part.ready`, which are most of it and worth least when
    /// they are old: what is whole takes half of the room at most.
    fn thin_old(&self, files: &Files) -> io::Result<()> {
        loop {
            let place = {
                let shared = self.shared.lock();
                let Some(listing) = &shared.listing else { return Ok(()) };
                if listing.total() <= self.settings.bytes_max {
                    return Ok(());
                }
                let mut whole = listing.sealed.iter().enumerate().filter(|(_, sealed)| !sealed.is_without_parts);
                let oldest = whole.clone().map(|(place, _)| place).next();
                let bytes: u64 = whole.by_ref().map(|(_, sealed)| sealed.bytes).sum();
                let least = shared.holds.least();
                oldest.filter(|place| bytes > self.settings.bytes_max / 2 && listing.end_of(*place) <= least)
            };
            let Some(place) = place else { return Ok(()) };
            // They leave in their time: nobody has dropped them.
            self.thin(files, place, Offset(u64::MAX))?;
        }
    }

    /// Drops what is over the bound of a hold.
    fn shed(&self, files: &mut Files, name: &str, hold: Hold, now: UtcTime) -> io::Result<()> {
        let held = |listing: &Listing| listing.bytes_from(hold.offset);
        let with_listing = |look: &dyn Fn(&Listing) -> u64| self.shared.lock().listing.as_ref().map_or(0, look);
        if with_listing(&held) <= hold.bytes_max {
            return Ok(());
        }
        while with_listing(&held) > hold.bytes_after(u64::MAX) {
            let Some(step) = self.shared.lock().listing.as_ref().and_then(|it| Step::next(it, hold.offset)) else {
                break;
            };
            let dropped = match step {
                Step::Thin(place) => self.thin(files, place, hold.offset)?,
                Step::Roll => {
                    self.roll(files, *self.end.borrow(), now)?;
                    continue;
                }
                Step::Remove(place) => self.remove(place, hold.offset)?,
            };
            self.say(&mut self.shared.lock().holds, name, &dropped);
        }
        Ok(())
    }

    /// Drops the `part.ready` of a file.
    fn thin(&self, files: &Files, place: usize, held: Offset) -> io::Result<Dropped> {
        // This thread alone changes the listing, so a place in it stays.
        let volume = self.shared.lock().listing.as_ref().map(|listing| listing.sealed[place].volume.clone());
        let Some(volume) = volume else { return Ok(Dropped::new()) };
        let index = volume.index(|bytes| {
            self.metrics.damaged_bytes.inc_by(bytes);
        })?;
        let thinned =
            if index.parts > 0 { Some(thin::thin(&files.folder, &volume, held, self.settings.sync)?) } else { None };
        let mut shared = self.shared.lock();
        let Some(listing) = &mut shared.listing else { return Ok(Dropped::new()) };
        let end = listing.end_of(place);
        let sealed = &mut listing.sealed[place];
        sealed.is_without_parts = true;
        let Some((volume, bytes, dropped)) = thinned else { return Ok(Dropped::new()) };
        let first = volume.first;
        (sealed.volume, sealed.bytes) = (volume, bytes);
        shared.tail.thin(first, end);
        Ok(dropped)
    }

    /// Drops a whole file.
    fn remove(&self, place: usize, held: Offset) -> io::Result<Dropped> {
        let volume = self.shared.lock().listing.as_ref().map(|listing| listing.sealed[place].volume.clone());
        let Some(volume) = volume else { return Ok(Dropped::new()) };
        let dropped = thin::count(&volume, held)?;
        if let Some(listing) = &mut self.shared.lock().listing {
            listing.sealed.remove(place);
        }
        folder::remove(&volume.path);
        Ok(dropped)
    }

    /// Counts what was dropped for a hold, and says once that something is.
    fn say(&self, holds: &mut Holds, name: &str, dropped: &Dropped) {
        for (kind, count) in dropped.iter().filter(|(_, count)| **count > 0) {
            self.metrics.count_dropped(*kind, Reason::Held, *count);
            if let Some(hold) = holds.0.get_mut(name)
                && !std::mem::replace(&mut hold.is_behind, true)
            {
                let bytes_max = hold.bytes_max;
                warn!(follower = name, bytes_max, r#type = %kind, "events are dropped for a follower that is too far behind");
            }
        }
    }
}

/// What is done next to make what is held less.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// The file at this place has `part.ready`.
    Thin(usize),
    /// The one that is written has some: it is thinned next.
    Roll,
    /// There is none left: the oldest file goes.
    Remove(usize),
}

impl Step {
    /// None if nothing is held.
    fn next(listing: &Listing, held: Offset) -> Option<Self> {
        let is_held = |place: usize| listing.end_of(place) > held;
        let places = 0..listing.sealed.len();
        if let Some(place) = places.clone().find(|place| is_held(*place) && !listing.sealed[*place].is_without_parts) {
            return Some(Self::Thin(place));
        }
        if listing.index.parts > 0 {
            return Some(Self::Roll);
        }
        places.clone().find(|place| is_held(*place)).map(Self::Remove).or((listing.bytes > 0).then_some(Self::Roll))
    }
}
