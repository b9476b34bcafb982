// SPDX-License-Identifier: Apache-2.0
//! An example file and a reference page, written from the keys and their defaults.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::{Configuration, Key, Kind};

/// Longest line of the example.
const WIDTH: usize = 118;

/// An example file: every key with its default and what it is for, under `title` and `note`.
pub fn example<T: Configuration>(title: &str, note: &str) -> String {
    let mut out = format!("# {title}\n");
    comment(&mut out, note);
    let defaults = defaults::<T>();
    let (tables, values): (Vec<&Key>, Vec<&Key>) =
        T::keys().iter().partition(|key| matches!(key.kind, Kind::Table(_) | Kind::Named(_)));
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
                each(&mut out, keys, values, absent);
            }
            Kind::Named(keys) => {
                let examples = key.example.as_ref().and_then(Value::as_object);
                for (name, values) in examples.into_iter().flatten() {
                    let said = values.as_object();
                    let _ = writeln!(out, "# [{}.{name}]", key.name);
                    let Some(mut below) = below::<T>(key) else {
                        for (inner, value) in said.into_iter().flatten() {
                            let _ = writeln!(out, "# {inner} = {}", toml(value));
                        }
                        continue;
                    };
                    below.extend(said.cloned().unwrap_or_default());
                    each(&mut out, keys, Some(&below), true);
                }
            }
            _ => {}
        }
    }
    out
}

/// A reference page: `head` is its title and what is to be said before the keys.
pub fn page<T: Configuration>(head: &str) -> String {
    let mut out = head.to_owned();
    let defaults = defaults::<T>();
    table(&mut out, T::keys(), Some(&defaults));
    for key in T::keys() {
        match &key.kind {
            Kind::Table(keys) => {
                let _ = write!(out, "\n## [{}]\n\n{}\n", key.name, key.doc);
                table(&mut out, keys, defaults.get(&key.name).and_then(Value::as_object));
            }
            Kind::Named(keys) => {
                let _ = write!(out, "\n## [{}.NAME]\n\n{}", key.name, key.doc);
                match below::<T>(key) {
                    Some(below) => {
                        out.push('\n');
                        table(&mut out, keys, Some(&below));
                    }
                    None => out.push_str(" Keys as in `[defaults]`.\n"),
                }
            }
            _ => {}
        }
    }
    out
}

fn defaults<T: Configuration>() -> Map<String, Value> {
    match serde_json::to_value(T::default()) {
        Ok(Value::Object(values)) => values,
        _ => Map::new(),
    }
}

/// Defaults of the tables below `key`; none where they take them from `[defaults]`.
fn below<T: Configuration>(key: &Key) -> Option<Map<String, Value>> {
    match T::defaults_below(&key.name) {
        Some(Value::Object(values)) => Some(values),
        _ => None,
    }
}

fn each(out: &mut String, keys: &[Key], values: Option<&Map<String, Value>>, absent: bool) {
    for key in keys {
        comment(out, &key.doc);
        assign(out, key, values.and_then(|values| values.get(&key.name)), absent);
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
