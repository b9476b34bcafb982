// SPDX-License-Identifier: Apache-2.0
//! The example file and the reference page, written from the keys and their defaults.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::{Config, Key, Kind};

/// Longest line of the example.
const WIDTH: usize = 118;

/// `headwater.example.toml`: every key with its default and what it is for.
pub fn example() -> String {
    let mut out = String::from("# Headwater's configuration: every key with its default. Unknown keys are errors.\n");
    comment(
        &mut out,
        "Variables override what stands here (HEADWATER_DEFAULTS__SEGMENT_MS=1000 for segment_ms of [defaults]), flags \
         override both; `headwater serve --check-config` says whether all is well, SIGHUP or POST /api/v1/reload puts \
         changes in force. Written by `make reference`.",
    );
    let defaults = defaults();
    let (tables, values): (Vec<&Key>, Vec<&Key>) =
        Key::all().iter().partition(|key| matches!(key.kind, Kind::Table(_) | Kind::Named(_)));
    for key in values {
        out.push('\n');
        comment(&mut out, &key.doc);
        assign(&mut out, key, defaults.get(&key.name), false);
    }
    for key in tables {
        out.push('\n');
        comment(&mut out, &key.doc);
        match &key.kind {
            Kind::Table(keys) => {
                let values = defaults.get(&key.name).and_then(Value::as_object);
                let absent = values.is_none();
                let _ = writeln!(out, "{}[{}]", if absent { "# " } else { "" }, key.name);
                for inner in keys {
                    comment(&mut out, &inner.doc);
                    assign(&mut out, inner, values.and_then(|v| v.get(&inner.name)), absent);
                }
            }
            Kind::Named(_) => {
                let examples = key.example.as_ref().and_then(Value::as_object);
                for (name, values) in examples.into_iter().flatten() {
                    let _ = writeln!(out, "# [{}.{name}]", key.name);
                    for (inner, value) in values.as_object().into_iter().flatten() {
                        let _ = writeln!(out, "# {inner} = {}", toml(value));
                    }
                }
            }
            _ => {}
        }
    }
    out
}

/// The reference page of the configuration.
pub fn page() -> String {
    let mut out = String::from(
        "# Configuration\n\n<!-- Written by `make reference` from the comments in origin/src/config.rs. -->\n\n\
         One TOML file, `headwater serve --config FILE`; [headwater.example.toml](../../headwater.example.toml) is the \
         same as a file.\n\n\
         A variable overrides the file: `HEADWATER_LISTEN`, and with the table and two underscores \
         `HEADWATER_DEFAULTS__SEGMENT_MS`, `HEADWATER_CHANNELS__NEWS__KEYS=one,two`. A flag overrides both. A key or a \
         variable that is none ends the start with its line or name and the nearest that there is.\n",
    );
    let defaults = defaults();
    table(&mut out, Key::all(), Some(&defaults));
    for key in Key::all() {
        match &key.kind {
            Kind::Table(keys) => {
                let _ = write!(out, "\n## [{}]\n\n{}\n", key.name, key.doc);
                table(&mut out, keys, defaults.get(&key.name).and_then(Value::as_object));
            }
            Kind::Named(_) => {
                let _ = write!(out, "\n## [{}.NAME]\n\n{} Keys as in `[defaults]`.\n", key.name, key.doc);
            }
            _ => {}
        }
    }
    out
}

fn defaults() -> Map<String, Value> {
    match serde_json::to_value(Config::default()) {
        Ok(Value::Object(values)) => values,
        _ => Map::new(),
    }
}

fn table(out: &mut String, keys: &[Key], defaults: Option<&Map<String, Value>>) {
    out.push_str("\n| key | takes | default | what |\n|---|---|---|---|\n");
    for key in keys.iter().filter(|key| !matches!(key.kind, Kind::Table(_) | Kind::Named(_))) {
        let default = defaults.and_then(|d| d.get(&key.name)).filter(|v| !v.is_null());
        let default = default.map_or_else(|| "none".to_owned(), |value| format!("`{}`", toml(value)));
        let (takes, what) = (key.kind.words(), key.doc.replace('|', "\\|"));
        let _ = writeln!(out, "| `{}` | {takes} | {default} | {what} |", key.name);
    }
}

fn assign(out: &mut String, key: &Key, value: Option<&Value>, absent: bool) {
    let value = value.filter(|value| !value.is_null());
    let hidden = absent || value.is_none();
    let shown = value.or(key.example.as_ref()).map_or_else(|| "\"\"".to_owned(), toml);
    let _ = writeln!(out, "{}{} = {shown}", if hidden { "# " } else { "" }, key.name);
}

/// A value as TOML writes it; JSON's own form is the same for what keys take.
fn toml(value: &Value) -> String {
    value.to_string()
}

fn comment(out: &mut String, text: &str) {
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH {
            let _ = writeln!(out, "{line}");
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(out, "{line}");
}

#[cfg(test)]
mod tests {
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
        for key in Key::all() {
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
