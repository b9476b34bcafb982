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
    let (tables, values): (Vec<&Key>, Vec<&Key>) = T::keys().iter().partition(|key| is_table(key));
    for key in values {
        out.push('\n');
        comment(&mut out, &key.doc);
        assign(&mut out, key, defaults.get(&key.name), false);
    }
    for key in tables {
        match &key.kind {
            Kind::Table(keys) => section::<T>(&mut out, (&key.name, key, keys), defaults.get(&key.name)),
            Kind::Named(keys) => {
                out.push('\n');
                comment(&mut out, &key.doc);
                let examples = key.example.as_ref().and_then(Value::as_object);
                for (name, values) in examples.into_iter().flatten() {
                    let said = values.as_object();
                    let _ = writeln!(out, "# [{}.{name}]", key.name);
                    let Some(mut below) = below::<T>(&key.name) else {
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

/// A table and those within it; one that is absent by default is shown with what its keys are by default.
fn section<T: Configuration>(out: &mut String, (path, key, keys): (&str, &Key, &[Key]), values: Option<&Value>) {
    out.push('\n');
    comment(out, &key.doc);
    let values = values.and_then(Value::as_object);
    let absent = values.is_none();
    let _ = writeln!(out, "{}[{path}]", if absent { "# " } else { "" });
    let below = if absent { below::<T>(path) } else { None };
    let values = values.or(below.as_ref());
    let (tables, plain): (Vec<&Key>, Vec<&Key>) = keys.iter().partition(|key| is_table(key));
    each(out, plain, values, absent);
    for key in tables {
        let path = format!("{path}.{}", key.name);
        section::<T>(out, (&path, key, key.below()), values.and_then(|values| values.get(&key.name)));
    }
}

/// A reference page: `head` is its title and what is to be said before the keys.
pub fn page<T: Configuration>(head: &str) -> String {
    let mut out = head.to_owned();
    let defaults = defaults::<T>();
    table(&mut out, T::keys(), Some(&defaults));
    for key in T::keys() {
        match &key.kind {
            Kind::Table(keys) => chapter::<T>(&mut out, (&key.name, key, keys), defaults.get(&key.name)),
            Kind::Named(keys) => {
                let _ = write!(out, "\n## [{}.NAME]\n\n{}", key.name, key.doc);
                match below::<T>(&key.name) {
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

/// As [`section`], of the page.
fn chapter<T: Configuration>(out: &mut String, (path, key, keys): (&str, &Key, &[Key]), values: Option<&Value>) {
    let _ = write!(out, "\n## [{path}]\n\n{}\n", key.doc);
    let values = values.and_then(Value::as_object);
    let below = if values.is_none() { below::<T>(path) } else { None };
    let values = values.or(below.as_ref());
    table(out, keys, values);
    for key in keys.iter().filter(|key| is_table(key)) {
        let path = format!("{path}.{}", key.name);
        chapter::<T>(out, (&path, key, key.below()), values.and_then(|values| values.get(&key.name)));
    }
}

const fn is_table(key: &Key) -> bool {
    matches!(key.kind, Kind::Table(_) | Kind::Named(_))
}

fn defaults<T: Configuration>() -> Map<String, Value> {
    match serde_json::to_value(T::default()) {
        Ok(Value::Object(values)) => values,
        _ => Map::new(),
    }
}

/// Defaults of the tables below the one at `path`, or of that one where it is absent by default; none where they take
/// them from `[defaults]`.
fn below<T: Configuration>(path: &str) -> Option<Map<String, Value>> {
    match T::defaults_below(path) {
        Some(Value::Object(values)) => Some(values),
        _ => None,
    }
}

fn each<'a>(
    out: &mut String,
    keys: impl IntoIterator<Item = &'a Key>,
    values: Option<&Map<String, Value>>,
    absent: bool,
) {
    for key in keys {
        comment(out, &key.doc);
        assign(out, key, values.and_then(|values| values.get(&key.name)), absent);
    }
}

fn table(out: &mut String, keys: &[Key], defaults: Option<&Map<String, Value>>) {
    out.push_str("\n| key | takes | default | what |\n|---|---|---|---|\n");
    for key in keys.iter().filter(|key| !is_table(key)) {
        let default = defaults.and_then(|d| d.get(&key.name)).filter(|v| !v.is_null());
        let default = default.map_or_else(|| "none".to_owned(), |value| format!("`{}`", toml(value)));
        let (takes, what) = (key.kind.words(), key.doc.replace('|', "\\|"));
        let _ = writeln!(out, "| `{}` | {takes} | {default} | {what} |", key.name);
    }
}

fn assign(out: &mut String, key: &Key, value: Option<&Value>, absent: bool) {
    let value = value.filter(|value| !value.is_null());
    let hidden = absent || value.is_none();
    // What is to be said in any case is shown by an example rather than by nothing.
    let value = value.filter(|value| !absent || key.example.is_none() || !is_empty(value));
    let shown = value.or(key.example.as_ref()).map_or_else(|| "\"\"".to_owned(), toml);
    let _ = writeln!(out, "{}{} = {shown}", if hidden { "# " } else { "" }, key.name);
}

fn is_empty(value: &Value) -> bool {
    value.as_str().is_some_and(str::is_empty) || value.as_array().is_some_and(Vec::is_empty)
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
