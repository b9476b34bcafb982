// SPDX-License-Identifier: Apache-2.0
//! The example file and the reference page of the origin's configuration.

use headwater_net::config::reference;

use super::Config;

/// `headwater.example.toml`: every key with its default and what it is for.
pub fn example() -> String {
    reference::example::<Config>(
        "Headwater's configuration: every key with its default. Unknown keys are errors.",
        "Variables override what stands here (HEADWATER_DEFAULTS__SEGMENT_MS=1000 for segment_ms of [defaults]), flags \
         override both; `headwater serve --check-config` says whether all is well, SIGHUP or POST /api/v1/reload puts \
         changes in force. Written by `make reference`.",
    )
}

/// The reference page of the configuration.
pub fn page() -> String {
    reference::page::<Config>(
        "# Configuration\n\n<!-- Written by `make reference` from the comments in origin/src/config.rs. -->\n\n\
         One TOML file, `headwater serve --config FILE`; [headwater.example.toml](../../headwater.example.toml) is the \
         same as a file.\n\n\
         A variable overrides the file: `HEADWATER_LISTEN`, and with the table and two underscores \
         `HEADWATER_DEFAULTS__SEGMENT_MS`, `HEADWATER_CHANNELS__NEWS__KEYS=one,two`. A flag overrides both. A key or a \
         variable that is none ends the start with its line or name and the nearest that there is.\n",
    )
}

#[cfg(test)]
mod tests {
    use headwater_net::config::{Configuration, Kind};

    use super::*;

    #[test]
    fn the_example_states_the_defaults_and_every_key() {
        let text = example();
        assert_eq!(Config::parse(&text).unwrap(), Config::default());
        let uncommented: String = text
            .lines()
            .map(|l| l.strip_prefix("# ").filter(|l| l.contains(" = ") || l.starts_with('[')).unwrap_or(l))
            .fold(String::new(), |all, l| all + l + "\n");
        let all: toml::Table = toml::from_str(&uncommented).unwrap();
        for key in Config::keys() {
            let Some(value) = all.get(&key.name) else { panic!("{} is not in the example", key.name) };
            let Kind::Table(keys) = &key.kind else { continue };
            for inner in keys {
                assert!(value.get(&inner.name).is_some(), "{}.{} is not in the example", key.name, inner.name);
            }
        }
        assert!(Config::parse(&uncommented).unwrap().channels.contains_key("news"));
    }

    #[test]
    fn the_page_names_every_key_with_its_default() {
        let page = page();
        for name in ["| `listen` | text | `\"0.0.0.0:8080\"` |", "| `client_ca` | text | none |", "## [channels.NAME]"]
        {
            assert!(page.contains(name), "{name} is not in\n{page}");
        }
    }
}
