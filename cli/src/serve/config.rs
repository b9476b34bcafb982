// SPDX-License-Identifier: Apache-2.0
//! What `serve` is told: the origin's configuration, and under `[shield]` that of a shield in front of it in the same
//! process.

use std::sync::LazyLock;

use headwater_net::config::{Configuration, Error, Key, Kind, beside};
use headwater_origin as origin;
use headwater_shield as shield;
use serde::Serialize;
use serde::de::{Deserialize, Deserializer, MapAccess};
use toml::Table;

const SHIELD: &str = "shield";

/// The whole of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Config {
    #[serde(flatten)]
    pub(crate) origin: origin::Config,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shield: Option<shield::Config>,
}

static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let shield = Key {
        name: SHIELD.to_owned(),
        doc: "A shield in front of this origin, in the same process.".to_owned(),
        kind: Kind::Table(shield::Config::keys().to_vec()),
        example: None,
    };
    origin::Config::keys().iter().cloned().chain([shield]).collect()
});

impl Configuration for Config {
    const PREFIX: &'static str = origin::Config::PREFIX;
    const OTHERS: &'static [&'static str] = origin::Config::OTHERS;

    fn keys() -> &'static [Key] {
        &KEYS
    }

    fn inherit(table: &mut Table) {
        origin::Config::inherit(table);
    }

    fn check(&self) -> Result<(), Error> {
        self.origin.check()?;
        if self.shield.as_ref().is_some_and(|shield| shield.events != headwater_events::Config::default()) {
            let expected = "nothing, as [events] is of the shield in this process too";
            return Err(Error::value("shield.events", expected, &"a table"));
        }
        self.shield.as_ref().map_or(Ok(()), |shield| shield.check().map_err(|error| error.below(SHIELD)))
    }
}

impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut shield = Shield(None);
        Ok(Self { origin: beside::read(deserializer, &mut shield)?, shield: shield.0 })
    }
}

/// Takes the table that is not the origin's.
struct Shield(Option<shield::Config>);

impl<'de> beside::Own<'de> for Shield {
    fn take<M: MapAccess<'de>>(&mut self, key: &str, map: &mut M) -> Result<bool, M::Error> {
        if key != SHIELD {
            return Ok(false);
        }
        self.0 = Some(map.next_value()?);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use headwater_net::config;

    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        config::read(text, &[]).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_speaks_of_the_origin_and_of_the_shield_before_it() {
        let text = "listen = \"127.0.0.1:1\"\n[defaults]\nsegment_ms = 1000\n[channels.news]\npart_ms = 500\n\
                    [shield]\nlisten = \"127.0.0.1:2\"\n[shield.cache]\nmemory_bytes_max = 2000000\n";
        let config = read(text).unwrap();
        assert_eq!((config.origin.listen.port(), config.origin.channels["news"].segment_ms), (1, 1_000));
        let shield = config.shield.unwrap();
        assert_eq!((shield.listen.port(), shield.cache.memory_bytes_max), (2, 2_000_000));
        assert_eq!(read("").unwrap(), Config::default());
    }

    #[test]
    fn mistakes_on_either_side_are_told_by_their_line() {
        for (text, expected) in [
            (
                "[shield]\n[shield.cache]\nmemory_max = 1\n",
                "line 3: expected a key of [shield.cache], got `memory_max`",
            ),
            ("[shield]\nlisten = 5\n", "line 2: listen: invalid type: integer `5`"),
            ("\n[shield.cache]\nmemory_bytes_max = \"x\"\n", "line 3: memory_bytes_max: invalid type"),
            ("[shield.cache]\nkeys_max = 0\n", "line 2: expected 1 or more in shield.cache.keys_max, got 0"),
            ("\n[defaults]\nsegment_ms = \"x\"\n", "line 3: segment_ms: invalid type"),
            ("[http]\nwaiters_max = \"x\"\n", "line 2: waiters_max: invalid type"),
            ("[http]\nhead_seconds = \"x\"\n", "line 2: head_seconds: invalid type"),
            ("sheild = 1\n", "line 1: expected a key of the file, got `sheild`; did you mean `shield`?"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }

    #[test]
    fn variables_reach_the_shield_too() {
        let variables = [("HEADWATER_SHIELD__CACHE__KEYS_MAX".to_owned(), "7".to_owned())];
        let config: Config = config::read("", &variables).unwrap();
        assert_eq!(config.shield.unwrap().cache.keys_max, 7);
    }
}
