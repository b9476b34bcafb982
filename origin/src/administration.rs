// SPDX-License-Identifier: Apache-2.0
//! Channels made and changed while the origin runs. What the configuration says of a channel is changed there and
//! nowhere else; what the API says of the channels it made is kept beside their numbering.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use headwater_media::ChannelId;
pub use headwater_net::access::KeyId;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Map, Value};
use tracing::{info, warn};

use crate::channel::{Channel, Ledger, REMOVED, Source};
use crate::{Origin, config};

/// What the API said of each channel it made: the fields that differ from the defaults.
pub(crate) type Made = BTreeMap<ChannelId, Map<String, Value>>;

/// Keys of one channel.
const KEYS_MAX: usize = 64;
/// Bytes of a new key.
const KEY_BYTES: usize = 24;

/// Why a change was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is none.
    #[error("expected the name of a channel, there is none called {0:?}")]
    Unknown(String),
    /// Not a name.
    #[error(transparent)]
    Name(#[from] headwater_media::id::Error),
    /// The configuration owns it.
    #[error("expected a channel that the API made, {0:?} is in the configuration: change it there and reload")]
    Configured(String),
    /// It began with a push and has no settings of its own.
    #[error("expected a channel that the API made, {0:?} began with a push: PUT it first")]
    Pushed(String),
    /// Settings that are none.
    #[error("{0}")]
    Settings(String),
    /// Players were promised it.
    #[error("expected {key} to stay {now}: it is fixed for a channel's life; delete the channel and make it anew")]
    Fixed {
        /// The field.
        key: &'static str,
        /// What it is.
        now: u32,
    },
    /// At the bound of channels.
    #[error("expected fewer channels than are running")]
    Full,
    /// At the bound of keys.
    #[error("expected at most {KEYS_MAX} keys of a channel: delete one first")]
    KeysFull,
    /// No such key.
    #[error("expected the id of one of the channel's keys, got {0:?}")]
    NoKey(String),
    /// Without it everybody would be admitted.
    #[error("expected another key to be left: a channel without keys admits any push; add one first")]
    LastKey,
    /// The system gave no random bytes.
    #[error("expected random bytes from the system")]
    Random,
}

impl Refused {
    /// HTTP status.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Unknown(_) | Self::NoKey(_) => 404,
            Self::Name(_) | Self::Settings(_) => 400,
            Self::Configured(_) | Self::Pushed(_) | Self::Fixed { .. } | Self::KeysFull | Self::LastKey => 409,
            Self::Full => 503,
            Self::Random => 500,
        }
    }
}

/// A channel as the API made or changed it.
#[derive(Clone, Debug)]
pub struct Changed {
    /// It.
    pub channel: Arc<Channel>,
    /// It is new.
    pub created: bool,
    /// It will be there after a restart.
    pub kept: bool,
}

impl Origin {
    /// Makes a channel of what `said` says differently from the defaults, or gives one that the API made these settings.
    ///
    /// # Errors
    /// [`Refused`]; nothing has changed then.
    pub fn put_channel(&self, name: &str, said: Map<String, Value>) -> Result<Changed, Refused> {
        let id = ChannelId::new(name)?;
        let mut made = self.made.lock();
        let config = self.config();
        if config.channels.contains_key(name) {
            return Err(Refused::Configured(name.to_owned()));
        }
        let settings = config.defaults.with(&said).map_err(Refused::Settings)?;
        let known = self.channel(name);
        match &known {
            Some(channel) => stays(channel, &settings)?,
            None if self.channels.len() >= config.channels_max => return Err(Refused::Full),
            None => {}
        }
        let created = known.is_none();
        let channel = known.unwrap_or_else(|| self.open(id.clone(), Source::Api, settings.clone()));
        channel.adopt(Source::Api);
        channel.configure(settings);
        let kept = self.keep(&id, &said);
        made.insert(id, said);
        info!(channel = name, created, "channel put by the API");
        Ok(Changed { channel, created, kept })
    }

    /// Changes the fields that `said` names; null takes the default again.
    ///
    /// # Errors
    /// [`Refused`]; nothing has changed then.
    pub fn patch_channel(&self, name: &str, said: &Map<String, Value>) -> Result<Changed, Refused> {
        self.change(name, |before, _| {
            let mut after = before.clone();
            for (field, value) in said {
                // An unknown field stays in, to be refused.
                if value.is_null() && config::Channel::keys().iter().any(|key| key.name == *field) {
                    after.remove(field);
                    continue;
                }
                after.insert(field.clone(), value.clone());
            }
            Ok(after)
        })
    }

    /// Adds a random key to a channel that the API made, and tells it this once.
    ///
    /// # Errors
    /// [`Refused`]; nothing has changed then.
    pub fn add_key(&self, name: &str) -> Result<(KeyId, String), Refused> {
        let mut random = [0; KEY_BYTES];
        SystemRandom::new().fill(&mut random).map_err(|_| Refused::Random)?;
        let key = URL_SAFE_NO_PAD.encode(random);
        self.change(name, |said, settings| {
            if settings.keys.len() >= KEYS_MAX {
                return Err(Refused::KeysFull);
            }
            // From here on the channel has keys of its own; those that encoders use now stay good.
            let keys = settings.keys.iter().chain([&key]);
            Ok(with_keys(said, keys))
        })?;
        Ok((KeyId::of(&key), key))
    }

    /// Takes a key from a channel that the API made. Pushes that run go on; their next request needs another.
    ///
    /// # Errors
    /// [`Refused`]; nothing has changed then.
    pub fn remove_key(&self, name: &str, id: &str) -> Result<(), Refused> {
        self.change(name, |said, settings| {
            let left: Vec<&String> = settings.keys.iter().filter(|key| KeyId::of(key).as_str() != id).collect();
            if left.len() == settings.keys.len() {
                return Err(Refused::NoKey(id.to_owned()));
            }
            if left.is_empty() {
                return Err(Refused::LastKey);
            }
            Ok(with_keys(said, left.into_iter()))
        })
        .map(|_| ())
    }

    /// Ends a channel, forgets it, its media and its numbering. Its last source; `None` if there is none.
    pub fn remove(&self, name: &str) -> Option<Source> {
        self.forget(name, REMOVED)
    }

    /// As [`Self::remove`]; `why` is what followers are told.
    pub(crate) fn forget(&self, name: &str, why: &'static str) -> Option<Source> {
        let mut made = self.made.lock();
        let channel = self.close(name, why)?;
        made.remove(&channel.id);
        if let Some(ledger) = self.ledger(&channel.id) {
            ledger.remove();
        }
        Some(channel.source())
    }

    /// Opens the channels that the API made before a restart.
    pub(crate) fn recall_made(&self) {
        let config = self.config();
        let Some(data_dir) = config.data_dir.as_deref() else { return };
        let mut made = self.made.lock();
        for (id, said) in Ledger::made(data_dir) {
            if config.channels.contains_key(id.as_str()) {
                warn!(channel = %id, "made by the API before, now in the configuration, which is what counts");
                continue;
            }
            match config.defaults.with(&said) {
                Ok(settings) => {
                    self.open(id.clone(), Source::Api, settings);
                    made.insert(id, said);
                }
                Err(error) => warn!(channel = %id, error, "kept settings of a channel are refused"),
            }
        }
    }

    fn change(
        &self,
        name: &str,
        change: impl FnOnce(&Map<String, Value>, &config::Channel) -> Result<Map<String, Value>, Refused>,
    ) -> Result<Changed, Refused> {
        let mut made = self.made.lock();
        let channel = self.channel(name).ok_or_else(|| Refused::Unknown(name.to_owned()))?;
        match channel.source() {
            Source::File => return Err(Refused::Configured(name.to_owned())),
            Source::Push => return Err(Refused::Pushed(name.to_owned())),
            Source::Api => {}
        }
        let before = made.get(&channel.id).cloned().unwrap_or_default();
        let said = change(&before, &channel.settings())?;
        let settings = self.config().defaults.with(&said).map_err(Refused::Settings)?;
        stays(&channel, &settings)?;
        channel.configure(settings);
        let kept = self.keep(&channel.id, &said);
        made.insert(channel.id.clone(), said);
        info!(channel = name, "channel changed by the API");
        Ok(Changed { channel, created: false, kept })
    }

    fn keep(&self, id: &ChannelId, said: &Map<String, Value>) -> bool {
        self.ledger(id).is_some_and(|ledger| ledger.keep_settings(said))
    }
}

/// The durations of a running channel stay what they are.
fn stays(channel: &Channel, settings: &config::Channel) -> Result<(), Refused> {
    let now = channel.settings();
    for (key, now, wished) in
        [("segment_ms", now.segment_ms, settings.segment_ms), ("part_ms", now.part_ms, settings.part_ms)]
    {
        if now != wished {
            return Err(Refused::Fixed { key, now });
        }
    }
    Ok(())
}

fn with_keys<'a>(said: &Map<String, Value>, keys: impl Iterator<Item = &'a String>) -> Map<String, Value> {
    let mut said = said.clone();
    said.insert("keys".to_owned(), keys.cloned().map(Value::String).collect());
    said
}
