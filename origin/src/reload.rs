// SPDX-License-Identifier: Apache-2.0
//! A new configuration put in force while everything runs: no connection, no push and no waiter notices.

use headwater_media::ChannelId;
use headwater_net::config::Http;
use headwater_net::reload::{BOUND, LISTENER, TLS, differences, keep_fixed};
use serde::Serialize;
use tokio::sync::mpsc;
use tracing::{info, warn};
use utoipa::ToSchema;

use crate::channel::{REMOVED, Source};
use crate::metrics::OutcomeLabel;
use crate::{Config, Origin, config};

pub use headwater_net::reload::Kept;

/// Keys that a running origin cannot change beside its listener's, and why.
const FIXED: [(&str, &str); 6] = [
    ("listen", BOUND),
    ("data_dir", "channels keep their state where they began: restart to keep it elsewhere"),
    ("events", "the log is open and followed since the start: restart for another"),
    ("ingest.reorder_ms", TAKING),
    ("ingest.reorder_fragments_max", TAKING),
    ("ingest.unpublished_bytes_max", TAKING),
];
const TAKING: &str = "channels take media in by it since they began: restart for another";
const TARGETS: &str = "promised to players for a channel's life: delete the channel, then reload";

/// Asks whoever read the configuration to read it anew; the answer goes back through it.
pub type Request = headwater_net::reload::Request<Reload>;

/// What a reload did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Reload {
    /// Keys with another value, in force now.
    pub changed: Vec<String>,
    /// Channels that were started.
    pub added: Vec<String>,
    /// Channels that were ended.
    pub removed: Vec<String>,
    /// Keys with another value that cannot be in force yet.
    pub kept: Vec<Kept>,
}

impl Origin {
    /// Requests to read the configuration anew arrive here; of several callers the first gets them.
    pub fn reload_requests(&self) -> Option<mpsc::Receiver<Request>> {
        self.reloader.requests()
    }

    /// Has the configuration read anew by whoever can.
    ///
    /// # Errors
    /// Why not; the configuration in force is the old one then.
    pub async fn request_reload(&self) -> Result<Reload, String> {
        self.reloader.request().await
    }

    /// Counts a configuration that was refused: the old one stays in force.
    pub fn reload_refused(&self, why: &str) {
        warn!("reload refused, the old configuration stays in force: {why}");
        self.context.metrics.reloads.get_or_create(&OutcomeLabel { outcome: "refused" }).inc();
    }

    /// Puts a checked configuration in force and says what that changed. Values of secrets are not told.
    pub fn reload(&self, mut new: Config) -> Reload {
        let mut made = self.made.lock();
        let old = self.config();
        let mut told = Reload {
            kept: keep_fixed(&*old, &mut new, FIXED.into_iter().chain(Http::KEYS.map(|key| (key, LISTENER)))),
            ..Reload::default()
        };
        if old.tls.is_some() != new.tls.is_some() {
            told.kept.push(Kept { key: "tls".to_owned(), why: TLS });
            new.tls.clone_from(&old.tls);
        }
        told.changed = differences(&*old, &new);
        self.context.memory.budget().bound(new.memory_bytes_max);
        self.config.store(std::sync::Arc::new(new.clone()));

        for channel in self.channels() {
            let name = channel.id.as_str();
            match channel.source() {
                Source::File if !new.channels.contains_key(name) => {
                    self.close(name, REMOVED);
                    told.removed.push(name.to_owned());
                }
                Source::Push if !new.channels.contains_key(name) => channel.configure(new.defaults.clone()),
                Source::Api if !new.channels.contains_key(name) => {
                    // What it says itself was good before; with other defaults its ranges may no longer fit.
                    match new.defaults.with(&made.get(&channel.id).cloned().unwrap_or_default()) {
                        Ok(settings) => channel.configure(settings),
                        Err(error) => warn!(channel = name, error, "the new defaults do not fit: settings stay"),
                    }
                }
                _ => {}
            }
        }
        for (name, settings) in &new.channels {
            let Ok(id) = ChannelId::new(name) else { continue };
            let Some(channel) = self.channel(name) else {
                self.open(id, Source::File, settings.clone());
                told.added.push(name.clone());
                continue;
            };
            if channel.source() == Source::Api {
                made.remove(&id);
                if let Some(ledger) = self.ledger(&id) {
                    ledger.forget_settings();
                }
            }
            channel.adopt(Source::File);
            for (key, now) in differing(&channel.settings(), settings) {
                let path = format!("channels.{name}.{key}");
                if now {
                    if !told.changed.contains(&path) {
                        told.changed.push(path);
                    }
                } else {
                    told.changed.retain(|changed| *changed != path);
                    told.kept.push(Kept { key: path, why: TARGETS });
                }
            }
            channel.configure(settings.clone());
        }
        // A channel's keys are told once, as the channel.
        let whole: Vec<String> =
            told.added.iter().chain(&told.removed).map(|name| format!("channels.{name}.")).collect();
        told.changed.retain(|key| !whole.iter().any(|channel| key.starts_with(channel)));
        self.context.metrics.reloads.get_or_create(&OutcomeLabel { outcome: "ok" }).inc();
        for Kept { key, why } in &told.kept {
            warn!(key, "not changed by the reload: {why}");
        }
        let (changed, added, removed) = (told.changed.join(","), told.added.join(","), told.removed.join(","));
        info!(changed, added, removed, "configuration reloaded");
        told
    }
}

/// Keys of a channel in which two settings differ, and whether a running one can change them.
fn differing(now: &config::Channel, wished: &config::Channel) -> Vec<(String, bool)> {
    let keys = differences(now, wished);
    keys.into_iter().map(|key| (key.clone(), key != "segment_ms" && key != "part_ms")).collect()
}
