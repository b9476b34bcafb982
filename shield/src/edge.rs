// SPDX-License-Identifier: Apache-2.0
//! What the shield knows of live streams by the playlists that pass through it.
//!
//! A playlist that is older than what clients have seen is not shown. One that stands still takes its origin out for
//! its channel. What is not there yet and comes next is waited for. And a playlist lives until the next one is due: the
//! cadence of an encoder is steadier than any lifetime an origin could name.

mod cadence;
mod follow;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use headwater_media::UtcTime;
use headwater_media::path::{LivePath, Object};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::live::{self, Directives, Expected, Marks, Position, Progress, Stalls};
use crate::route::{self, Kind, Route};
use crate::upstream::{OriginId, Stall};

use cadence::Cadence;
pub(crate) use follow::follow;

/// Playlists of a folder that are told apart.
const PLAYLISTS_MAX: usize = 64;
/// Folders that are known at once; those unheard of longest are forgotten.
const FOLDERS_MAX: usize = 65_536;
/// A folder that nothing was heard of for so long makes room first.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);
/// Who waits for what comes next looks again after this at the latest, where nobody asks for the playlist.
const LOOK_AGAIN_MAX: Duration = Duration::from_millis(500);
/// And at the soonest.
const LOOK_AGAIN_MIN: Duration = Duration::from_millis(20);

/// What a playlist turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// As new as any before, or nothing that can be compared.
    Fine {
        /// It is to be asked for again after this, whatever its lifetime.
        due: Option<Duration>,
    },
    /// Older than what clients have seen.
    Back,
}

/// A playlist as it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told<'a> {
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    pub(crate) kind: Kind,
    pub(crate) origin: OriginId,
    pub(crate) text: &'a [u8],
}

/// What is known of each stream's edge.
#[derive(Debug)]
pub(crate) struct Edges {
    pub(crate) marks: Marks,
    stalls: Stalls,
    folders: DashMap<String, Arc<Folder>>,
}

/// The playlists of one folder.
#[derive(Debug)]
struct Folder {
    route: Arc<Route>,
    host: String,
    path: String,
    /// Held to read or replace one playlist's state.
    playlists: Mutex<Vec<Playlist>>,
    /// Counts what was heard.
    heard: watch::Sender<u64>,
    /// Its channel is gone, by what its origins published, and nothing was heard since that says otherwise.
    ended: AtomicBool,
}

#[derive(Debug)]
struct Playlist {
    file: String,
    progress: Progress,
    cadence: Cadence,
    origin: OriginId,
    heard: Instant,
}

/// Something that is expected next.
#[derive(Debug)]
pub(crate) struct Next {
    folders: Vec<watch::Receiver<u64>>,
    look_again: Duration,
}

impl Next {
    /// Waits until a playlist has told something new, or it is time to look again.
    pub(crate) async fn published(mut self) {
        let changes = self.folders.iter_mut().map(|folder| Box::pin(folder.changed()));
        let any = futures_util::future::select_all(changes);
        let _ = tokio::time::timeout(self.look_again, any).await;
    }
}

impl Edges {
    /// Knows `marks` of an earlier run, and nothing else.
    pub(crate) fn new(marks: Marks) -> Self {
        Self { marks, stalls: Stalls::new(FOLDERS_MAX), folders: DashMap::new() }
    }

    /// Takes note of a playlist.
    pub(crate) fn hear(&self, route: &Arc<Route>, told: Told<'_>) -> Heard {
        let Some(progress) = live::scan(told.text) else { return Heard::Fine { due: None } };
        let now = Instant::now();
        self.weigh(route, told.origin, told.host, told.path, &progress, now);
        let key = name(route, told.host, told.path);
        // What a request waited for is right for its URL, however far others are.
        let answers = told.kind == Kind::Blocking && reaches(&progress, told.query);
        let older = |mark: Position| progress.position.against(&mark) == live::Step::Back;
        let refused = || {
            let origin = route.group.name_of(told.origin).unwrap_or_else(|| Arc::from(""));
            self.marks.judge(&key, &origin, &progress, now.into_std()) == live::Verdict::Refuse
        };
        if answers && self.marks.position(&key).is_some_and(older) {
            return Heard::Fine { due: None };
        }
        if refused() {
            return Heard::Back;
        }
        let ended = progress.position.is_ended();
        let (folder, file) = split(told.path);
        let folder = self.folder(route, told.host, folder);
        let due = folder.hear(file, progress, told.origin, now);
        folder.tell();
        Heard::Fine { due: (!ended && told.kind == Kind::Playlist).then_some(due) }
    }

    /// A request for a playlist is sent that its origin may hold.
    pub(crate) fn asked(&self, route: &Route, host: &str, path: &str) {
        let (folder, file) = split(path);
        let Some(folder) = self.folders.get(&name(route, host, folder)).map(|found| Arc::clone(&found)) else { return };
        let origin = folder.playlists.lock().iter().find(|known| known.file == file).map(|known| known.origin);
        if let Some(origin) = origin.and_then(|origin| route.group.name_of(origin)) {
            self.stalls.asked(&origin, &name(route, host, path), Instant::now().into_std());
        }
    }

    /// Tells the group whether an origin's playlist goes on.
    fn weigh(&self, route: &Route, origin: OriginId, host: &str, path: &str, progress: &Progress, now: Instant) {
        let Some(address) = route.group.name_of(origin) else { return };
        let channel = route::channel(path);
        match self.stalls.told(&address, &name(route, host, path), progress, now.into_std()) {
            live::Pace::Stalled => route.group.stalled(origin, &Arc::from(channel), Stall::StandsStill),
            live::Pace::Back => route.group.stalled(origin, &Arc::from(channel), Stall::WentBack),
            live::Pace::Moving | live::Pace::Ended => route.group.advancing(origin, channel),
            live::Pace::Waiting => {}
        }
    }

    fn folder(&self, route: &Arc<Route>, host: &str, path: &str) -> Arc<Folder> {
        let name = name(route, host, path);
        if self.folders.len() >= FOLDERS_MAX && !self.folders.contains_key(&name) {
            self.forget();
        }
        let folder = self.folders.entry(name).or_insert_with(|| {
            Arc::new(Folder {
                route: Arc::clone(route),
                host: host.to_owned(),
                path: path.to_owned(),
                playlists: Mutex::default(),
                heard: watch::Sender::new(0),
                ended: AtomicBool::new(false),
            })
        });
        Arc::clone(&folder)
    }

    /// Makes room for a folder: those go that nothing was heard of for a minute, or any.
    fn forget(&self) {
        let now = Instant::now();
        let lately = |heard: Instant| now.saturating_duration_since(heard) < FORGOTTEN_AFTER;
        self.folders.retain(|_, folder| folder.last_heard().is_some_and(lately));
        if self.folders.len() >= FOLDERS_MAX {
            let any = self.folders.iter().next().map(|entry| entry.key().clone());
            any.map(|name| self.folders.remove(&name));
        }
    }

    /// What a missing object is waited for by; `None` if it is not what comes next.
    pub(crate) fn next(&self, route: &Route, host: &str, path: &str) -> Option<Next> {
        let mut found = self.around(route, host, path);
        found.retain(|folder| !folder.ended.load(Ordering::Relaxed));
        let mut look_again = LOOK_AGAIN_MAX;
        let expected = found.iter().any(|folder| {
            let playlists = folder.playlists.lock();
            playlists.iter().any(|playlist| {
                let progress = &playlist.progress;
                match live::expected(path, progress, utc()) {
                    Expected::Next => look_again = look_again.min(progress.part_target.unwrap_or(progress.target / 4)),
                    // The origin has it at any moment: it told so.
                    Expected::Listed => look_again = LOOK_AGAIN_MIN,
                    Expected::Never | Expected::Unknown => return false,
                }
                true
            })
        });
        // NB: what is heard from now on wakes, what was heard before was looked at just now.
        let folders = found.iter().map(|folder| folder.heard.subscribe()).collect();
        expected.then_some(Next { folders, look_again: look_again.max(LOOK_AGAIN_MIN) })
    }

    /// A channel is gone: nothing of it is waited for, until one of its playlists moves again or it [goes
    /// on](Self::goes_on). `path` is its folder as the origins know it.
    pub(crate) fn ended(&self, group: &str, path: &str) {
        self.each_folder(group, path, |folder| {
            folder.ended.store(true, Ordering::Relaxed);
            // Whoever waits asks once more, and is told what the origin says then.
            folder.tell();
        });
    }

    /// An object of this folder became ready.
    pub(crate) fn goes_on(&self, route: &Route, host: &str, path: &str) {
        for folder in self.around(route, host, path) {
            folder.ended.store(false, Ordering::Relaxed);
        }
    }

    fn each_folder(&self, group: &str, path: &str, look: impl Fn(&Folder)) {
        for folder in &self.folders {
            let of_origin = || format!("{}{}", folder.route.settings.upstream_prefix, folder.path);
            if folder.route.group.name() == group && of_origin().starts_with(path) {
                look(&folder);
            }
        }
    }

    /// True if an origin may hold a request for this until it is there.
    pub(crate) fn is_ahead(&self, route: &Route, host: &str, path: &str) -> bool {
        self.around(route, host, path).iter().any(|folder| {
            let playlists = folder.playlists.lock();
            let holds = |playlist: &&Playlist| playlist.progress.can_block_reload;
            playlists.iter().filter(holds).any(|p| live::expected(path, &p.progress, utc()) == Expected::Next)
        })
    }

    /// True for what the newest playlists list last, or is about to come; and where nothing is known.
    pub(crate) fn is_near(&self, route: &Route, host: &str, path: &str) -> bool {
        let mut known = false;
        let near = self.around(route, host, path).iter().any(|folder| {
            let playlists = folder.playlists.lock();
            playlists.iter().any(|playlist| {
                known = true;
                is_near(&playlist.progress, path)
            })
        });
        near || !known
    }

    /// The folder of a path and the one above, where playlists stand that list it.
    fn around(&self, route: &Route, host: &str, path: &str) -> Vec<Arc<Folder>> {
        let (own, _) = split(path);
        let (above, _) = split(own.trim_end_matches('/'));
        let find = |folder: &str| self.folders.get(&name(route, host, folder)).map(|found| Arc::clone(&found));
        [own, above].into_iter().filter_map(find).collect()
    }
}

impl Folder {
    /// Notes a playlist and says when it is to be asked for again.
    fn hear(&self, file: &str, progress: Progress, origin: OriginId, now: Instant) -> Duration {
        let mut playlists = self.playlists.lock();
        if let Some(known) = playlists.iter_mut().find(|known| known.file == file) {
            if progress.position.against(&known.progress.position) != live::Step::Same {
                self.ended.store(false, Ordering::Relaxed);
            }
            let due = known.cadence.heard(&progress, now);
            (known.progress, known.origin, known.heard) = (progress, origin, now);
            return due;
        }
        if playlists.len() >= PLAYLISTS_MAX {
            let oldest = playlists.iter().enumerate().min_by_key(|(_, known)| known.heard).map(|(at, _)| at);
            oldest.map(|at| playlists.swap_remove(at));
        }
        let mut cadence = Cadence::default();
        let due = cadence.heard(&progress, now);
        playlists.push(Playlist { file: file.to_owned(), progress, cadence, origin, heard: now });
        due
    }

    /// Wakes who waits for what comes next.
    fn tell(&self) {
        self.heard.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn last_heard(&self) -> Option<Instant> {
        self.playlists.lock().iter().map(|playlist| playlist.heard).max()
    }
}

/// Segments behind the newest that players still need to go on.
const NEAR_SEGMENTS: u64 = 6;

fn is_near(progress: &Progress, path: &str) -> bool {
    match (live::expected(path, progress, utc()), &progress.position) {
        (Expected::Next, _) => true,
        (Expected::Listed, Position::Hls(at)) => match LivePath::parse(path).map(|live| live.object) {
            Some(Object::Segment(_, number) | Object::Part(_, number, _)) => at.next <= number.0 + NEAR_SEGMENTS,
            // Names that count nothing: the whole list is as good as its end.
            _ => true,
        },
        (Expected::Listed, Position::Dash(_)) => true,
        (Expected::Never | Expected::Unknown, _) => false,
    }
}

/// True if a playlist has what its request waited for.
fn reaches(progress: &Progress, query: &str) -> bool {
    let (Some(asked), Position::Hls(at)) = (Directives::read(query), &progress.position) else { return false };
    let Some(msn) = asked.msn else { return false };
    at.ended || at.next > msn || (at.next == msn && asked.part.is_some_and(|part| at.parts > part))
}

/// A path's folder, with its slash, and its file.
fn split(path: &str) -> (&str, &str) {
    path.rfind('/').map_or(("", path), |at| path.split_at(at + 1))
}

fn name(route: &Route, host: &str, path: &str) -> String {
    format!("{}\n{}{path}", route.tenant, host.to_ascii_lowercase())
}

fn utc() -> UtcTime {
    UtcTime::from_system(std::time::SystemTime::now())
}
