// SPDX-License-Identifier: Apache-2.0
//! What nobody's request does: noticing that an origin holds requests for a playlist that stands still, asking origins
//! that stalled whether they go on, and keeping the marks over a restart.

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use headwater_net::Shutdown;
use http::HeaderValue;
use http::uri::PathAndQuery;
use tokio::time::Instant;
use tracing::warn;

use super::{Folder, Playlist};
use crate::live;
use crate::route::{self, Route};
use crate::upstream::{Ask, OriginId, Stall};
use crate::{MARKS_FILE, PURGES_FILE, Shield};

/// How often it is looked whether a playlist stands still.
const LOOK: Duration = Duration::from_millis(200);
/// How often an origin that stalled is asked whether it goes on, and how often marks are written.
const ASK: u32 = 5;
/// A playlist that is larger is none.
const PLAYLIST_BYTES_MAX: usize = 32 << 20;

/// A playlist whose origin is to be asked.
struct Suspect {
    route: Arc<Route>,
    origin: OriginId,
    host: String,
    path: String,
}

/// Looks until the shutdown.
pub(crate) async fn follow(shield: Weak<Shield>, folder: Option<PathBuf>, shutdown: Shutdown) {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut look = 0_u32;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.started() => break,
        }
        let Some(shield) = shield.upgrade() else { return };
        shield.edges.notice_holds();
        look = look.wrapping_add(1);
        if look.is_multiple_of(ASK) {
            for suspect in shield.edges.suspects() {
                ask(&shield, &suspect).await;
            }
            save(&shield, folder.as_ref()).await;
        }
    }
    if let Some(shield) = shield.upgrade() {
        save(&shield, folder.as_ref()).await;
    }
}

/// Writes what is to outlive the process, as far as it has changed.
async fn save(shield: &Arc<Shield>, folder: Option<&PathBuf>) {
    let Some(folder) = folder.cloned() else { return };
    let shield = Arc::clone(shield);
    let saved = tokio::task::spawn_blocking(move || {
        std::fs::create_dir_all(&folder)?;
        shield.edges.marks.save(&folder.join(MARKS_FILE))?;
        shield.purges.save(&folder.join(PURGES_FILE))
    });
    if let Ok(Err(error)) = saved.await {
        warn!(%error, "marks and purges are not kept: after a restart a playlist may go back, what was purged come back");
    }
}

/// Asks an origin that stalled for its playlist, and takes note of what it says.
async fn ask(shield: &Arc<Shield>, suspect: &Suspect) {
    let Suspect { route, origin, host, path } = suspect;
    let Ok(target) = format!("{}{path}", route.settings.upstream_prefix).parse::<PathAndQuery>() else { return };
    let ask = Ask { host: HeaderValue::from_str(host).ok(), ..Ask::get(target) };
    let Ok(mut answer) = route.group.ask_origin(*origin, &ask).await else { return };
    let mut text = Vec::new();
    while let Ok(Some(piece)) = answer.body.next().await {
        text.extend_from_slice(&piece);
        if text.len() > PLAYLIST_BYTES_MAX {
            return;
        }
    }
    if answer.head.status.is_success()
        && let Some(progress) = live::scan(&text)
    {
        shield.edges.weigh(route, *origin, host, path, &progress, Instant::now());
    }
}

impl super::Edges {
    /// Origins that hold requests for longer than their playlist may stand still have stalled.
    fn notice_holds(&self) {
        let now = Instant::now().into_std();
        self.each(|folder, playlist| {
            let Some(origin) = folder.route.group.name_of(playlist.origin) else { return };
            let path = format!("{}{}", folder.path, playlist.file);
            let key = super::name(&folder.route, &folder.host, &path);
            if self.stalls.pace(&origin, &key, now) == live::Pace::Stalled {
                let channel = Arc::from(route::channel(&path));
                folder.route.group.stalled(playlist.origin, &channel, Stall::StandsStill);
            }
        });
    }

    /// Who stalled, and which playlist would show that it goes on.
    fn suspects(&self) -> Vec<Suspect> {
        let mut found = Vec::new();
        self.each(|folder, playlist| {
            let path = format!("{}{}", folder.path, playlist.file);
            let stalls = folder.route.group.stalls();
            for (origin, _, _) in stalls.iter().filter(|(_, channel, _)| **channel == *route::channel(&path)) {
                let (route, host) = (Arc::clone(&folder.route), folder.host.clone());
                found.push(Suspect { route, origin: *origin, host, path: path.clone() });
            }
        });
        found
    }

    fn each(&self, mut look: impl FnMut(&Folder, &Playlist)) {
        let folders: Vec<_> = self.folders.iter().map(|folder| Arc::clone(&folder)).collect();
        for folder in folders {
            for playlist in folder.playlists.lock().iter() {
                look(&folder, playlist);
            }
        }
    }
}
