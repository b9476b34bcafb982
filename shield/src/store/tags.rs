// SPDX-License-Identifier: Apache-2.0
//! Purges: by URL, by prefix, by tag; at once, however much is kept.
//!
//! No index from tags to objects is held. A purge is a line in a short list, numbered by its epoch, and each object knows
//! the epoch up to which it has been checked: a hit compares two numbers, and only after a purge looks it up. So a purge
//! holds from the instant it is written, for what is in memory, on disk, or still arriving: a fill that began before it
//! has an older epoch. Sweeping the index afterwards only gives the memory back.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use headwater_media::path::{LivePath, Object};
use parking_lot::RwLock;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// Tags of one object, beyond which the origin's are ignored.
const TAGS_MAX: usize = 64;

/// A point in the order of purges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// What becomes of what a purge covers; the later overrides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Stale from now on: served while the origin is asked, where that is allowed.
    Soft,
    /// Gone.
    Hard,
}

/// What to purge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purge {
    /// Every variant under this key.
    Key(Arc<str>),
    /// Every key that begins so.
    Prefix(Arc<str>),
    /// Everything that bears this tag of [`Tags`].
    Tag {
        /// The tenant whose tags are meant.
        tenant: Arc<str>,
        /// The tag as the origin sent it, or as [`Tags::add_path`] makes it.
        tag: Arc<str>,
    },
}

/// The tags of one object, as hashes: eight bytes each, whatever the origin calls them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(Vec<u64>);

impl Tags {
    /// Adds what a `Cache-Tag` (separated by commas) or `Surrogate-Key` (by spaces) field lists.
    pub fn add_field(&mut self, tenant: &str, value: &str) {
        for tag in value.split([',', ' ', '\t']).filter(|tag| !tag.is_empty()) {
            self.add(tenant, tag);
        }
    }

    /// Adds what a path of our own grammar tells: `channel:{channel}`, `track:{channel}/{track}` and, of a CMAF header,
    /// `generation:{channel}/{generation}`.
    pub fn add_path(&mut self, tenant: &str, path: &str) {
        let Some(LivePath { channel, object }) = LivePath::parse(path) else { return };
        self.add(tenant, &format!("channel:{channel}"));
        if let Some(track) = object.track() {
            self.add(tenant, &format!("track:{channel}/{track}"));
        }
        if let Object::Header(_, generation) = object {
            self.add(tenant, &format!("generation:{channel}/{generation}"));
        }
    }

    /// As they are kept on disk.
    pub fn hashes(&self) -> &[u64] {
        &self.0
    }

    /// Back from disk.
    pub fn from_hashes(hashes: Vec<u64>) -> Self {
        Self(hashes)
    }

    fn add(&mut self, tenant: &str, tag: &str) {
        let hash = hash(tenant, tag);
        if self.0.len() < TAGS_MAX && !self.0.contains(&hash) {
            self.0.push(hash);
        }
    }
}

/// Two purges of the same: the newest of either kind.
#[derive(Clone, Copy, Debug, Default)]
struct Latest {
    soft: u64,
    hard: u64,
}

impl Latest {
    fn since(self, since: u64) -> Option<Kind> {
        match self {
            Self { hard, .. } if hard > since => Some(Kind::Hard),
            Self { soft, .. } if soft > since => Some(Kind::Soft),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Subject {
    Key(u64),
    Prefix(u64),
    Tag(u64),
}

#[derive(Debug, Default)]
struct Recent {
    subjects: HashMap<Subject, Latest>,
    /// How many prefixes there are of each length, so that a key is cut at those alone.
    prefix_lengths: BTreeMap<usize, usize>,
    order: VecDeque<(u64, Subject, usize)>,
    /// Purges up to this one are no longer known.
    forgotten: u64,
}

/// The recent purges.
#[derive(Debug)]
pub struct Purges {
    epoch: AtomicU64,
    recent_max: usize,
    /// Held to write a line, or to look one up where there was a purge since the last look.
    recent: RwLock<Recent>,
}

impl Purges {
    /// Remembers so many; what has not been checked since before the oldest of them is taken for purged.
    pub fn new(recent_max: usize) -> Self {
        Self { epoch: AtomicU64::new(0), recent_max: recent_max.max(1), recent: RwLock::default() }
    }

    /// The newest purge. An object bears the epoch read before its fill asked the origin.
    pub fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Acquire))
    }

    /// Purges; holds for every lookup from now on.
    pub fn add(&self, purge: &Purge, kind: Kind) -> Epoch {
        let (subject, length) = match purge {
            Purge::Key(key) => (Subject::Key(xxh3_64(key.as_bytes())), 0),
            Purge::Prefix(prefix) => (Subject::Prefix(xxh3_64(prefix.as_bytes())), prefix.len()),
            Purge::Tag { tenant, tag } => (Subject::Tag(hash(tenant, tag)), 0),
        };
        let mut recent = self.recent.write();
        let epoch = self.epoch.load(Ordering::Relaxed) + 1;
        recent.add(epoch, subject, length, kind);
        while recent.order.len() > self.recent_max {
            recent.forget();
        }
        // NB: line before epoch: who sees the epoch must find the line.
        self.epoch.store(epoch, Ordering::Release);
        Epoch(epoch)
    }

    /// Whether a purge since then covers this object. After `None` the object may bear the epoch read before the call.
    pub fn covers(&self, key: &str, tags: &Tags, since: Epoch) -> Option<Kind> {
        if self.epoch() == since {
            return None;
        }
        let recent = self.recent.read();
        if since.0 < recent.forgotten {
            return Some(Kind::Hard);
        }
        let lookup = |subject| recent.subjects.get(&subject).and_then(|latest: &Latest| latest.since(since.0));
        let lengths = recent.prefix_lengths.keys().take_while(|length| **length <= key.len());
        let prefixes = lengths.map(|length| Subject::Prefix(xxh3_64(&key.as_bytes()[..*length])));
        let subjects = prefixes.chain([Subject::Key(xxh3_64(key.as_bytes()))]);
        subjects.chain(tags.0.iter().map(|tag| Subject::Tag(*tag))).filter_map(lookup).max()
    }
}

impl Recent {
    fn add(&mut self, epoch: u64, subject: Subject, length: usize, kind: Kind) {
        let latest = self.subjects.entry(subject).or_default();
        match kind {
            Kind::Soft => latest.soft = epoch,
            Kind::Hard => latest.hard = epoch,
        }
        if matches!(subject, Subject::Prefix(_)) {
            *self.prefix_lengths.entry(length).or_default() += 1;
        }
        self.order.push_back((epoch, subject, length));
    }

    fn forget(&mut self) {
        let Some((epoch, subject, length)) = self.order.pop_front() else { return };
        self.forgotten = epoch;
        if self.subjects.get(&subject).is_some_and(|latest| latest.soft.max(latest.hard) == epoch) {
            self.subjects.remove(&subject);
        }
        if matches!(subject, Subject::Prefix(_))
            && let Some(count) = self.prefix_lengths.get_mut(&length)
        {
            *count -= 1;
            if *count == 0 {
                self.prefix_lengths.remove(&length);
            }
        }
    }
}

fn hash(tenant: &str, tag: &str) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(&(tenant.len() as u64).to_le_bytes());
    hasher.update(tenant.as_bytes());
    hasher.update(tag.as_bytes());
    hasher.digest()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(path: &str, field: &str) -> Tags {
        let mut tags = Tags::default();
        tags.add_path("news", path);
        tags.add_field("news", field);
        tags
    }

    fn tag(tag: &str) -> Purge {
        Purge::Tag { tenant: "news".into(), tag: tag.into() }
    }

    #[test]
    fn a_purge_covers_what_was_asked_for_before_it_and_nothing_after() {
        let purges = Purges::new(100);
        let before = purges.epoch();
        let after = purges.add(&Purge::Key("/a".into()), Kind::Hard);
        assert_eq!(purges.covers("/a", &Tags::default(), before), Some(Kind::Hard));
        assert_eq!(purges.covers("/a", &Tags::default(), after), None);
        assert_eq!(purges.covers("/b", &Tags::default(), before), None);
    }

    #[test]
    fn prefixes_and_tags_cover_what_bears_them() {
        let segment = tags("/live/demo/v0/17.m4s", "sport, match-9");
        for (purge, covered) in [
            (Purge::Prefix("/live/demo/".into()), true),
            (Purge::Prefix("".into()), true),
            (Purge::Prefix("/live/demo/v0/17.m4s?".into()), false),
            (Purge::Prefix("/live/demon".into()), false),
            (tag("channel:demo"), true),
            (tag("track:demo/v0"), true),
            (tag("track:demo/v1"), false),
            (tag("match-9"), true),
            (tag("match-"), false),
            (Purge::Tag { tenant: "other".into(), tag: "match-9".into() }, false),
        ] {
            let purges = Purges::new(100);
            purges.add(&purge, Kind::Soft);
            let kind = purges.covers("/live/demo/v0/17.m4s", &segment, Epoch(0));
            assert_eq!(kind, covered.then_some(Kind::Soft), "{purge:?}");
        }
        let header = tags("/live/demo/v0/init-3.mp4", "");
        let purges = Purges::new(100);
        purges.add(&tag("generation:demo/3"), Kind::Hard);
        assert_eq!(purges.covers("/x", &header, Epoch(0)), Some(Kind::Hard));
    }

    #[test]
    fn gone_overrides_stale() {
        let purges = Purges::new(100);
        purges.add(&Purge::Prefix("/a".into()), Kind::Hard);
        let between = purges.add(&Purge::Key("/a/b".into()), Kind::Soft);
        purges.add(&Purge::Prefix("/a".into()), Kind::Soft);
        assert_eq!(purges.covers("/a/b", &Tags::default(), Epoch(0)), Some(Kind::Hard));
        assert_eq!(purges.covers("/a/b", &Tags::default(), between), Some(Kind::Soft));
    }

    #[test]
    fn what_is_older_than_the_list_is_taken_for_purged() {
        let purges = Purges::new(10);
        for number in 0..25 {
            purges.add(&Purge::Prefix(format!("/{number}/").into()), Kind::Soft);
        }
        assert_eq!(purges.covers("/x", &Tags::default(), Epoch(14)), Some(Kind::Hard));
        assert_eq!(purges.covers("/x", &Tags::default(), Epoch(15)), None);
        assert_eq!(purges.covers("/24/x", &Tags::default(), Epoch(15)), Some(Kind::Soft));
        let recent = purges.recent.read();
        assert_eq!(
            (recent.subjects.len(), recent.order.len(), recent.prefix_lengths.values().sum::<usize>()),
            (10, 10, 10)
        );
    }

    #[test]
    fn an_origin_cannot_tag_without_end() {
        let field: String = (0..10_000).map(|n| format!("t{n} ")).collect();
        assert_eq!(tags("/x", &field).hashes().len(), TAGS_MAX);
    }
}
