// SPDX-License-Identifier: Apache-2.0
//! A configuration read anew while a server runs: who asks for it, what cannot change, and what did.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use utoipa::ToSchema;

/// Why keys of a listener stay as they are.
pub const LISTENER: &str = "the listener has it since it was bound: restart for another";
/// Why a listener's address stays as it is.
pub const BOUND: &str = "the listener is bound: restart to listen elsewhere";
/// Why a listener goes on to speak TLS, or not to.
pub const TLS: &str = "a listener begins or ceases to speak TLS with a restart";

/// Asks whoever read the configuration to read it anew; what came of it, or why not, goes back through it.
pub type Request<T> = oneshot::Sender<Result<T, String>>;

/// A key that stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Kept {
    /// The key.
    pub key: String,
    /// Why, and what would change it.
    pub why: &'static str,
}

/// The way from a server to whoever read its configuration, if anybody can read it anew.
#[derive(Debug)]
pub struct Reloader<T> {
    /// What the server is called: `an origin`.
    server: &'static str,
    sender: OnceLock<mpsc::Sender<Request<T>>>,
}

impl<T> Reloader<T> {
    /// Nobody listens yet. `server` is what errors call it, with its article.
    pub const fn new(server: &'static str) -> Self {
        Self { server, sender: OnceLock::new() }
    }

    /// Requests to read the configuration anew arrive here; of several callers the first gets them.
    pub fn requests(&self) -> Option<mpsc::Receiver<Request<T>>> {
        let (sender, requests) = mpsc::channel(1);
        self.sender.set(sender).ok().map(|()| requests)
    }

    /// Has the configuration read anew by whoever can.
    ///
    /// # Errors
    /// Why not; the configuration in force is the old one then.
    pub async fn request(&self) -> Result<T, String> {
        let nobody = || format!("expected {} with a configuration file, this one was started without", self.server);
        let sender = self.sender.get().ok_or_else(nobody)?;
        let (answer, told) = oneshot::channel();
        sender.send(answer).await.map_err(|_| nobody())?;
        let name = self.server.rsplit(' ').next().unwrap_or_default();
        told.await.unwrap_or_else(|_| Err(format!("expected a running {name}, this one is stopping")))
    }
}

/// Takes over from the old configuration what cannot change, and says where that made a difference.
pub fn keep_fixed<T: Serialize + DeserializeOwned>(
    old: &T,
    new: &mut T,
    fixed: impl IntoIterator<Item = (&'static str, &'static str)>,
) -> Vec<Kept> {
    let (Ok(before), Ok(mut after)) = (serde_json::to_value(old), serde_json::to_value(&*new)) else {
        return Vec::new();
    };
    let mut kept = Vec::new();
    for (key, why) in fixed {
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

/// Paths of the values in which two configurations differ, in order.
pub fn differences(old: &impl Serialize, new: &impl Serialize) -> Vec<String> {
    let (old, new) = (flat(old), flat(new));
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    keys.into_iter().filter(|key| old.get(*key) != new.get(*key)).cloned().collect()
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
