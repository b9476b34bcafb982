// SPDX-License-Identifier: Apache-2.0
//! A new configuration put in force while everything runs: no request fails, what is held stays, and origins that stay
//! keep their health.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use headwater_net::config::Http;
use headwater_net::reload::{BOUND, Kept, LISTENER, Request, TLS, differences, keep_fixed};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{info, warn};
use utoipa::ToSchema;

use crate::config::Config;
use crate::log::Log;
use crate::upstream::{Group, Invalid};
use crate::{Error, Shield, State};

/// Keys that a running shield cannot change beside its listener's, and why.
const FIXED: [(&str, &str); 7] = [
    ("listen", BOUND),
    ("admin_listen", BOUND),
    ("events", "the log is open and followed since the start: restart for another"),
    ("cache.disk_dir", "what is on disk stays where it is: restart to keep it elsewhere"),
    ("follow.from", FOLLOWED),
    ("follow.kafka", FOLLOWED),
    ("cache.keys_max", "the index has it since it was made: restart for another"),
];

const FOLLOWED: &str = "events are followed from where they were at the start: restart to follow others";

/// A disk that hangs must not keep a stop from its end.
const LOG_CLOSED_WITHIN: Duration = Duration::from_secs(2);

/// What a reload did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ShieldReload)]
pub struct Told {
    /// Keys with another value, in force now.
    pub changed: Vec<String>,
    /// Keys with another value that cannot be in force yet.
    pub kept: Vec<Kept>,
}

/// The checks of every group's origins, by the group's name; one that is dropped ends.
pub(crate) type Checking = BTreeMap<String, DropGuard>;

impl Shield {
    /// Requests to read the configuration anew arrive here; of several callers the first gets them.
    pub fn reload_requests(&self) -> Option<mpsc::Receiver<Request<Told>>> {
        self.reloader.requests()
    }

    /// Has the configuration read anew by whoever can.
    ///
    /// # Errors
    /// Why not; the configuration in force is the old one then.
    pub async fn request_reload(&self) -> Result<Told, String> {
        self.reloader.request().await
    }

    /// Counts a configuration that was refused: the old one stays in force.
    pub fn reload_refused(&self, why: &str) {
        warn!("reload refused, the old configuration of the shield stays in force: {why}");
        self.metrics.reloaded(false);
    }

    /// Opens the access log's file anew: it may have been moved away.
    pub fn reopen_log(&self) {
        if let Some(log) = &*self.log.load() {
            log.reopen();
        }
    }

    /// Writes what the access log has left to write. Blocks until then, not for long.
    pub fn close_log(&self) {
        if let Some(log) = &*self.log.load() {
            log.close(LOG_CLOSED_WITHIN);
        }
    }

    /// Puts a checked configuration in force and says what that changed.
    ///
    /// # Errors
    /// [`Error`] for what cannot be; nothing has changed then.
    pub fn reload(&self, mut new: Config) -> Result<Told, Error> {
        // Held to the end: two reloads at once would lose one's groups.
        let mut checking = self.checking.lock();
        let old = self.config();
        let fixed = FIXED.into_iter().chain(Http::KEYS.map(|key| (key, LISTENER)));
        let mut told = Told { kept: keep_fixed(&old, &mut new, fixed), changed: Vec::new() };
        if old.tls.is_some() != new.tls.is_some() {
            told.kept.push(Kept { key: "tls".to_owned(), why: TLS });
            new.tls.clone_from(&old.tls);
        }
        told.changed = differences(&old, &new);
        self.siblings.reconfigure(&new.siblings)?;
        let groups = self.regroup(&old, &new)?;
        let state = State::new(new.clone(), groups.clone(), &self.metrics, Some(&self.state()))?;
        for (name, group) in &groups {
            if !checking.contains_key(name) {
                checking.insert(name.clone(), self.check(group));
            }
        }
        checking.retain(|name, _| groups.contains_key(name));
        if old.access_log != new.access_log {
            self.log_to(&mut new, &old, &mut told);
        }
        self.memory.set_bytes_max(new.cache.memory_bytes_max);
        self.metrics.retain(|name| new.routes.contains_key(name), |name| groups.contains_key(name));
        self.state.store(Arc::new(State { config: new, ..state }));
        self.metrics.reloaded(true);
        for Kept { key, why } in &told.kept {
            warn!(key, "not changed by the reload of the shield: {why}");
        }
        info!(changed = told.changed.join(","), "configuration of the shield reloaded");
        Ok(told)
    }

    /// The groups of a new configuration: those that are known take it, so that they keep what they know.
    fn regroup(&self, old: &Config, new: &Config) -> Result<BTreeMap<String, Arc<Group>>, Invalid> {
        let known = self.state().groups.clone();
        let mut groups: BTreeMap<String, Arc<Group>> = BTreeMap::new();
        for (name, settings) in &new.upstreams {
            let taken = match known.get(name) {
                Some(group) => group.reconfigure(settings).map(|()| Arc::clone(group)),
                None => Group::new(name, settings, self.here.clone(), &self.identity)
                    .inspect(|group| group.speak(&self.publisher)),
            };
            match taken {
                Ok(group) => {
                    groups.insert(name.clone(), group);
                }
                Err(invalid) => {
                    for name in groups.keys() {
                        if let (Some(group), Some(settings)) = (known.get(name), old.upstreams.get(name)) {
                            // What was in force before is in order.
                            let _ = group.reconfigure(settings);
                        }
                    }
                    return Err(invalid);
                }
            }
        }
        Ok(groups)
    }

    /// Checks a group's origins until the shield stops or the guard is dropped.
    pub(crate) fn check(&self, group: &Arc<Group>) -> DropGuard {
        let stop = CancellationToken::new();
        let running = Arc::clone(group).run(self.shutdown.clone());
        // Not among the work that a stop waits for: origins are checked until the last answer.
        tokio::spawn(stop.clone().run_until_cancelled_owned(running));
        stop.drop_guard()
    }

    /// Has the access log written where it is wished, if that can be.
    fn log_to(&self, new: &mut Config, old: &Config, told: &mut Told) {
        match new.access_log.as_deref().map(Log::open).transpose() {
            Ok(log) => self.log.store(log),
            Err(error) => {
                warn!(%error, "the access log stays where it is");
                told.changed.retain(|key| key != "access_log");
                let why = "its file could not be opened: see the log";
                told.kept.push(Kept { key: "access_log".to_owned(), why });
                new.access_log.clone_from(&old.access_log);
            }
        }
    }
}
