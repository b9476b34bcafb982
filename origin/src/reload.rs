// SPDX-License-Identifier: Apache-2.0
//! A new configuration put in force while everything runs: no connection, no push and no waiter notices.

use std::collections::BTreeMap;

use headwater_media::ChannelId;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};
use utoipa::ToSchema;

use crate::channel::Source;
use crate::metrics::OutcomeLabel;
use crate::{Config, Origin, config};

/// Keys and tables that a running origin cannot change, and why.
const FIXED: [(&str, &str); 18] = [
    ("listen", "the listener is bound: restart to listen elsewhere"),
    ("data_dir", "channels keep their state where they began: restart to keep it elsewhere"),
    ("http.connections_max", LISTENER),
    ("http.connections_per_peer_max", LISTENER),
    ("http.handshake_seconds", LISTENER),
    ("http.head_seconds", LISTENER),
    ("http.idle_seconds", LISTENER),
    ("http.head_bytes_max", LISTENER),
    ("http.headers_max", LISTENER),
    ("http.url_bytes_max", LISTENER),
    ("http.h2_streams_max", LISTENER),
    ("http.h2_resets_max", LISTENER),
    ("http.stall_seconds", LISTENER),
    ("http.send_bytes_per_second_min", LISTENER),
    ("http.unsent_bytes_max", LISTENER),
    ("ingest.reorder_ms", TAKING),
    ("ingest.reorder_fragments_max", TAKING),
    ("ingest.unpublished_bytes_max", TAKING),
];
const LISTENER: &str = "the listener has it since it was bound: restart for another";
const TAKING: &str = "channels take media in by it since they began: restart for another";
const TARGETS: &str = "promised to players for a channel's life: delete the channel, then reload";
const TLS: &str = "a listener begins or ceases to speak TLS with a restart";

/// Asks whoever read the configuration to read it anew; the answer goes back through it.
pub type Request = oneshot::Sender<Result<Reload, String>>;

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

/// A key that stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Kept {
    /// The key.
    pub key: String,
    /// Why, and what would change it.
    pub why: &'static str,
}

impl Origin {
    /// Requests to read the configuration anew arrive here; of several callers the first gets them.
    pub fn reload_requests(&self) -> Option<mpsc::Receiver<Request>> {
        let (sender, requests) = mpsc::channel(1);
        self.reloader.set(sender).ok().map(|()| requests)
    }

    /// Has the configuration read anew by whoever can.
    ///
    /// # Errors
    /// Why not; the configuration in force is the old one then.
    pub async fn request_reload(&self) -> Result<Reload, String> {
        let nobody = || "expected an origin with a configuration file, this one was started without".to_owned();
        let reloader = self.reloader.get().ok_or_else(nobody)?;
        let (answer, told) = oneshot::channel();
        reloader.send(answer).await.map_err(|_| nobody())?;
        told.await.unwrap_or_else(|_| Err("expected a running origin, this one is stopping".to_owned()))
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
        let mut told = Reload { kept: keep_fixed(&old, &mut new), ..Reload::default() };
        if old.tls.is_some() != new.tls.is_some() {
            told.kept.push(Kept { key: "tls".to_owned(), why: TLS });
            new.tls.clone_from(&old.tls);
        }
        told.changed = differences(&flat(&*old), &flat(&new));
        self.context.memory.budget().bound(new.memory_bytes_max);
        self.config.store(std::sync::Arc::new(new.clone()));

        for channel in self.channels() {
            let name = channel.id.as_str();
            match channel.source() {
                Source::File if !new.channels.contains_key(name) => {
                    self.close(name);
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
    let keys = differences(&flat(now), &flat(wished));
    keys.into_iter().map(|key| (key.clone(), key != "segment_ms" && key != "part_ms")).collect()
}

/// Takes over from the old configuration what cannot change, and says where that made a difference.
fn keep_fixed(old: &Config, new: &mut Config) -> Vec<Kept> {
    let (before, mut after) = (json!(old), json!(new));
    let mut kept = Vec::new();
    for (key, why) in FIXED {
        let pointer = format!("/{}", key.replace('.', "/"));
        if let (Some(before), Some(after)) = (before.pointer(&pointer), after.pointer_mut(&pointer))
            && before != after
        {
            after.clone_from(before);
            kept.push(Kept { key: key.to_owned(), why });
        }
    }
    // Both were configurations, so what is made of their values is one.
    if let Ok(whole) = serde_json::from_value(after) {
        *new = whole;
    }
    kept
}

/// Every value by its path.
fn flat(of: &impl Serialize) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    let mut open = vec![(String::new(), serde_json::to_value(of).unwrap_or_default())];
    while let Some((path, value)) = open.pop() {
        match value {
            Value::Object(fields) => {
                let below = |key: String| if path.is_empty() { key } else { format!("{path}.{key}") };
                open.extend(fields.into_iter().map(|(key, value)| (below(key), value)));
            }
            value => {
                all.insert(path, value);
            }
        }
    }
    all
}

fn differences(old: &BTreeMap<String, Value>, new: &BTreeMap<String, Value>) -> Vec<String> {
    let keys: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    keys.into_iter().filter(|key| old.get(*key) != new.get(*key)).cloned().collect()
}
