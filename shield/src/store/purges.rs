// SPDX-License-Identifier: Apache-2.0
//! Purges: by URL, by prefix, by tag; at once, however much is kept.
//!
//! No index from tags to objects is held. A purge is a line in a short list, numbered by its epoch, and each object knows
//! the epoch up to which it has been checked: a hit compares two numbers, and only after a purge looks it up. So a purge
//! holds from the instant it is written, for what is in memory, on disk, or still arriving: a fill that began before it
//! has an older epoch. Sweeping the index afterwards only gives the memory back.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use headwater_net::durable;
use parking_lot::RwLock;
use xxhash_rust::xxh3::xxh3_64;

use super::tags::{self, Tags};

/// What a file of purges begins with; another number for another form.
const MAGIC: &[u8; 8] = b"hwpurge1";

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
    /// A path of one tenant, under whatever host and with whatever query.
    Path {
        /// Whose.
        tenant: Arc<str>,
        /// The path, without a query.
        path: Arc<str>,
    },
    /// What of one tenant has a path that begins so, under whatever host.
    PathPrefix {
        /// Whose.
        tenant: Arc<str>,
        /// The path's beginning.
        path: Arc<str>,
    },
    /// Everything that bears this tag of [`Tags`].
    Tag {
        /// The tenant whose tags are meant.
        tenant: Arc<str>,
        /// The tag as the origin sent it, or as [`Tags::add_path`] makes it.
        tag: Arc<str>,
    },
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
    Path(u64),
    PathPrefix(u64),
}

/// One purge.
#[derive(Clone, Copy, Debug)]
struct Line {
    epoch: u64,
    subject: Subject,
    kind: Kind,
    /// Bytes of a prefix.
    length: usize,
}

#[derive(Debug, Default)]
struct Recent {
    subjects: HashMap<Subject, Latest>,
    /// How many prefixes there are of each length, so that a key is cut at those alone.
    prefix_lengths: BTreeMap<usize, usize>,
    /// And of paths' prefixes.
    path_lengths: BTreeMap<usize, usize>,
    order: VecDeque<Line>,
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

    /// Those of an earlier run. Where there is no file everything older than `now` counts as purged: what lies on disk
    /// may have been.
    ///
    /// # Errors
    /// What the file system says, and [`io::ErrorKind::InvalidData`] for a file that no shield wrote.
    pub fn open(path: &Path, recent_max: usize, now: SystemTime) -> io::Result<Self> {
        let purges = Self::new(recent_max);
        let mut recent = purges.recent.write();
        let epoch = match durable::read(path)? {
            Some(content) => recent.decode(&content, purges.recent_max).ok_or_else(|| {
                let message =
                    format!("expected purges in {}, got {} bytes of something else", path.display(), content.len());
                io::Error::new(io::ErrorKind::InvalidData, message)
            })?,
            // Purges are fewer than microseconds, so this is beyond any epoch of before.
            None => {
                let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                recent.forgotten = u64::try_from(since.as_micros()).unwrap_or(u64::MAX / 2);
                recent.forgotten
            }
        };
        drop(recent);
        purges.epoch.store(epoch, Ordering::Release);
        Ok(purges)
    }

    /// Writes the list to a file, for a disk tier that outlives this run: before a purge is confirmed to whoever asked
    /// for it. Blocks: not for a thread that serves.
    ///
    /// # Errors
    /// What the file system says.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let content = {
            let recent = self.recent.read();
            let head = [self.epoch().0, recent.forgotten].map(u64::to_le_bytes).concat();
            let mut content = [&MAGIC[..], &head].concat();
            recent.order.iter().for_each(|line| content.extend_from_slice(&line.encode()));
            content
        };
        durable::write(path, &content)
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
            Purge::Tag { tenant, tag } => (Subject::Tag(tags::hash(tenant, tag)), 0),
            Purge::Path { tenant, path } => (Subject::Path(tags::hash(tenant, path)), 0),
            Purge::PathPrefix { tenant, path } => (Subject::PathPrefix(tags::hash(tenant, path)), path.len()),
        };
        let mut recent = self.recent.write();
        let epoch = self.epoch.load(Ordering::Relaxed) + 1;
        recent.add(Line { epoch, subject, kind, length }, self.recent_max);
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
        let tagged = tags.hashes().iter().map(|tag| Subject::Tag(*tag));
        subjects.chain(tagged).chain(recent.paths_of(key)).filter_map(lookup).max()
    }
}

impl Recent {
    /// Takes in what was saved; the newest epoch.
    fn decode(&mut self, content: &[u8], recent_max: usize) -> Option<u64> {
        let (head, lines) = content.strip_prefix(MAGIC)?.split_at_checked(16)?;
        let [epoch, forgotten] =
            [&head[..8], &head[8..]].map(|number| number.first_chunk().copied().map(u64::from_le_bytes));
        if lines.len() % Line::BYTES != 0 {
            return None;
        }
        self.forgotten = forgotten?;
        for line in lines.chunks_exact(Line::BYTES) {
            self.add(Line::decode(line)?, recent_max);
        }
        epoch
    }

    fn add(&mut self, line: Line, recent_max: usize) {
        let latest = self.subjects.entry(line.subject).or_default();
        match line.kind {
            Kind::Soft => latest.soft = line.epoch,
            Kind::Hard => latest.hard = line.epoch,
        }
        if let Some(lengths) = self.lengths(line.subject) {
            *lengths.entry(line.length).or_default() += 1;
        }
        self.order.push_back(line);
        while self.order.len() > recent_max {
            self.forget();
        }
    }

    fn forget(&mut self) {
        let Some(Line { epoch, subject, length, .. }) = self.order.pop_front() else { return };
        self.forgotten = epoch;
        if self.subjects.get(&subject).is_some_and(|latest| latest.soft.max(latest.hard) == epoch) {
            self.subjects.remove(&subject);
        }
        if let Some(lengths) = self.lengths(subject)
            && let Some(count) = lengths.get_mut(&length)
        {
            *count -= 1;
            if *count == 0 {
                lengths.remove(&length);
            }
        }
    }

    fn lengths(&mut self, subject: Subject) -> Option<&mut BTreeMap<usize, usize>> {
        match subject {
            Subject::Prefix(_) => Some(&mut self.prefix_lengths),
            Subject::PathPrefix(_) => Some(&mut self.path_lengths),
            Subject::Key(_) | Subject::Tag(_) | Subject::Path(_) => None,
        }
    }

    /// What may have been purged by the path of a key, as [`crate::route::Route::write_key`] writes keys.
    fn paths_of(&self, key: &str) -> impl Iterator<Item = Subject> {
        let (tenant, rest) = key.split_once('\n').unwrap_or_default();
        let path = rest.find('/').map_or("", |at| &rest[at..]);
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        let beginnings = self.path_lengths.keys().filter_map(|length| path.get(..*length));
        let begin = beginnings.map(|path| Subject::PathPrefix(tags::hash(tenant, path)));
        begin.chain([Subject::Path(tags::hash(tenant, path))])
    }
}

impl Line {
    const BYTES: usize = 8 + 1 + 1 + 8 + 8;

    fn encode(&self) -> [u8; Self::BYTES] {
        let (tag, hash) = match self.subject {
            Subject::Key(hash) => (0, hash),
            Subject::Prefix(hash) => (1, hash),
            Subject::Tag(hash) => (2, hash),
            Subject::Path(hash) => (3, hash),
            Subject::PathPrefix(hash) => (4, hash),
        };
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[8] = tag;
        bytes[9] = u8::from(self.kind == Kind::Hard);
        bytes[10..18].copy_from_slice(&hash.to_le_bytes());
        bytes[18..].copy_from_slice(&(self.length as u64).to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| bytes.get(at..)?.first_chunk().map(|number| u64::from_le_bytes(*number));
        let hash = number(10)?;
        let subject = match bytes.get(8)? {
            0 => Subject::Key(hash),
            1 => Subject::Prefix(hash),
            2 => Subject::Tag(hash),
            3 => Subject::Path(hash),
            4 => Subject::PathPrefix(hash),
            _ => return None,
        };
        let kind = if bytes[9] == 0 { Kind::Soft } else { Kind::Hard };
        Some(Self { epoch: number(0)?, subject, kind, length: usize::try_from(number(18)?).ok()? })
    }
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
    fn a_path_is_meant_under_every_host_of_its_tenant() {
        let (tenant, path) = (Arc::<str>::from("news"), Arc::<str>::from("/live/demo/"));
        let key = |text: &str| text.replace(' ', "\n");
        let (prefix, whole) = (Purge::PathPrefix { tenant: Arc::clone(&tenant), path }, "/live/demo/v0/17.m4s");
        for (purge, keys) in [
            (prefix, ["news a.example/live/demo/x.mpd", "news b.example:81/live/demo/v0/1.m4s?a=/"]),
            (
                Purge::Path { tenant, path: whole.into() },
                ["news a.example/live/demo/v0/17.m4s", "news b/live/demo/v0/17.m4s?x=1"],
            ),
        ] {
            let purges = Purges::new(100);
            purges.add(&purge, Kind::Hard);
            for covered in keys {
                assert_eq!(purges.covers(&key(covered), &Tags::default(), Epoch(0)), Some(Kind::Hard), "{covered}");
            }
            for other in ["sport a.example/live/demo/v0/17.m4s", "news a.example/live/demon/v0/17.m4s", "news", ""] {
                assert_eq!(purges.covers(&key(other), &Tags::default(), Epoch(0)), None, "{other} by {purge:?}");
            }
        }
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
    fn purges_outlive_a_restart_and_what_is_unknown_counts_as_purged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("purges");
        let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000);
        let purges = Purges::open(&path, 10, now).unwrap();
        let start = purges.epoch();
        assert_eq!(start, Epoch(1_000_000_000));
        assert_eq!(purges.covers("/x", &Tags::default(), Epoch(999_999_999)), Some(Kind::Hard));
        purges.add(&Purge::Prefix("/a/".into()), Kind::Soft);
        purges.add(&tag("match-9"), Kind::Hard);
        purges.save(&path).unwrap();
        let again = Purges::open(&path, 10, now).unwrap();
        assert_eq!(again.epoch(), purges.epoch());
        let segment = tags("/x", "match-9");
        for (key, tags, since, kind) in [
            ("/a/b", &Tags::default(), start, Some(Kind::Soft)),
            ("/a/b", &segment, start, Some(Kind::Hard)),
            ("/a/b", &segment, again.epoch(), None),
            ("/b", &Tags::default(), start, None),
            ("/b", &Tags::default(), Epoch(999_999_999), Some(Kind::Hard)),
        ] {
            assert_eq!(again.covers(key, tags, since), kind, "{key} {since:?}");
        }
        durable::write(&path, b"hwpurge1 and something").unwrap();
        assert_eq!(Purges::open(&path, 10, now).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
