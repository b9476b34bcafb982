// SPDX-License-Identifier: Apache-2.0
//! From text to a configuration: the file, over it the environment. Errors name the line or the variable.

use std::fmt;
use std::ops::Range;

use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::Configuration;
use super::keys::{Key, Kind, nearest};

/// Where a value was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the file; counted from 1.
    Line(usize),
    /// In the environment.
    Variable(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

/// Why a configuration was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not TOML, or a value of the wrong type.
    #[error("{place}: {message}")]
    Syntax {
        /// Where.
        place: Place,
        /// What was expected and what came.
        message: String,
    },
    /// A key that is none.
    #[error("{place}: expected a key of {table}, got `{key}`{}", meant(nearest.as_deref()))]
    Unknown {
        /// Where.
        place: Place,
        /// Its table.
        table: String,
        /// The key.
        key: String,
        /// What was probably meant.
        nearest: Option<String>,
    },
    /// A value outside its range.
    #[error("{}expected {expected} in {key}, got {found}", at(place.as_ref()))]
    Value {
        /// Where, if it was said at all.
        place: Option<Place>,
        /// The key.
        key: String,
        /// The range.
        expected: &'static str,
        /// What was there.
        found: String,
    },
}

/// The end of an error's sentence: what was probably meant.
pub fn meant(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |key| format!("; did you mean `{key}`?"))
}

fn at(place: Option<&Place>) -> String {
    place.map_or_else(String::new, |place| format!("{place}: "))
}

impl Error {
    /// A value outside its range.
    pub fn value(key: &str, expected: &'static str, found: &dyn fmt::Display) -> Self {
        Self::Value { place: None, key: key.to_owned(), expected, found: found.to_string() }
    }

    /// This error of a table, as an error of the configuration that the table is in.
    #[must_use]
    pub fn below(self, table: &str) -> Self {
        match self {
            Self::Value { place, key, expected, found } => {
                Self::Value { place, key: format!("{table}.{key}"), expected, found }
            }
            other => other,
        }
    }
}

/// Reads the file's text, and over it those of `variables` (names and values) that name keys.
///
/// With the prefix `HEADWATER_`, `HEADWATER_DEFAULTS__SEGMENT_MS` is `segment_ms` of `[defaults]`; lists are separated by
/// commas.
///
/// # Errors
/// [`Error`] names the line or the variable, and the key.
pub fn read<T: Configuration>(text: &str, variables: &[(String, String)]) -> Result<T, Error> {
    let document = DeTable::parse(text).map_err(|error| syntax(text, &error))?;
    known(text, document.get_ref(), T::keys(), "")?;
    // Types are told with their line here, before the layers are one.
    let _: T = toml::from_str(text).map_err(|error| syntax(text, &error))?;
    let mut table: Table = toml::from_str(text).map_err(|error| syntax(text, &error))?;
    let mut said = Vec::new();
    for (name, value) in variables {
        let Some(path) = path::<T>(name) else { continue };
        set(&mut table, T::keys(), name, &path, value)?;
        let whole = table.clone().try_into::<T>();
        let variable = || Place::Variable(name.clone());
        whole.map_err(|error| Error::Syntax { place: variable(), message: error.message().to_owned() })?;
        said.push((path.join("."), variable()));
    }
    T::inherit(&mut table);
    let config: T = table.try_into().map_err(|error| syntax(text, &error))?;
    config.check().map_err(|error| match error {
        Error::Value { key, expected, found, .. } => {
            let variable = said.iter().find(|(path, _)| *path == key).map(|(_, place)| place.clone());
            let place = variable.or_else(|| line_of(text, document.get_ref(), &key));
            Error::Value { place, key, expected, found }
        }
        other => other,
    })?;
    Ok(config)
}

fn line(text: &str, span: &Range<usize>) -> Place {
    Place::Line(text[..span.start.min(text.len())].matches('\n').count() + 1)
}

/// One line of words: the reader's own message shows the line itself, which may hold a secret.
fn syntax(text: &str, error: &toml::de::Error) -> Error {
    let span = error.span().unwrap_or(0..0);
    let begin = text[..span.start.min(text.len())].rfind('\n').map_or(0, |at| at + 1);
    let key = text[begin..].lines().next().and_then(|l| l.split_once('=')).map(|(key, _)| key.trim().to_owned());
    let key = key.filter(|key| !key.is_empty()).map_or_else(String::new, |key| format!("{key}: "));
    Error::Syntax { place: line(text, &span), message: format!("{key}{}", error.message().replace('\n', "; ")) }
}

fn named(under: &str) -> String {
    if under.is_empty() { "the file".to_owned() } else { format!("[{under}]") }
}

fn unknown(place: Place, under: &str, key: &str, keys: &[Key]) -> Error {
    let nearest = nearest(key, keys.iter().map(|k| k.name.as_str())).map(str::to_owned);
    Error::Unknown { place, table: named(under), key: key.to_owned(), nearest }
}

fn join(under: &str, key: &str) -> String {
    if under.is_empty() { key.to_owned() } else { format!("{under}.{key}") }
}

/// Refuses the first key of a table that is none.
fn known(text: &str, table: &DeTable<'_>, keys: &[Key], under: &str) -> Result<(), Error> {
    for (name, value) in table {
        let Some(key) = keys.iter().find(|key| key.name == name.get_ref().as_ref()) else {
            return Err(unknown(line(text, &name.span()), under, name.get_ref(), keys));
        };
        let path = join(under, &key.name);
        match (&key.kind, value.get_ref()) {
            (Kind::Table(keys), DeValue::Table(table)) => known(text, table, keys, &path)?,
            (Kind::Named(keys), DeValue::Table(tables)) => {
                for (name, table) in tables {
                    if let DeValue::Table(table) = table.get_ref() {
                        known(text, table, keys, &join(&path, name.get_ref()))?;
                    }
                }
            }
            // A wrong type is told by the reader.
            _ => {}
        }
    }
    Ok(())
}

/// The line of a key, or of the nearest table around it.
fn line_of(text: &str, table: &DeTable<'_>, path: &str) -> Option<Place> {
    let (name, rest) = path.split_once('.').map_or((path, ""), |(name, rest)| (name, rest));
    let (key, value) = table.iter().find(|(key, _)| key.get_ref().as_ref() == name)?;
    let deeper = match value.get_ref() {
        DeValue::Table(table) if !rest.is_empty() => line_of(text, table, rest),
        _ => None,
    };
    Some(deeper.unwrap_or_else(|| line(text, &key.span())))
}

/// The path that a variable's name means; `None` for those that are not ours to read.
fn path<T: Configuration>(name: &str) -> Option<Vec<String>> {
    let rest = name.strip_prefix(T::PREFIX)?;
    if T::OTHERS.contains(&name) || is_service_link(rest) {
        return None;
    }
    Some(rest.split("__").map(str::to_ascii_lowercase).collect())
}

/// Kubernetes sets such variables for a service whose name the prefix is.
fn is_service_link(rest: &str) -> bool {
    if rest.contains("__") {
        return false;
    }
    let port = rest.split_once("PORT_").is_some_and(|(_, after)| after.starts_with(|c: char| c.is_ascii_digit()));
    rest.contains("SERVICE_HOST") || rest.contains("SERVICE_PORT") || rest == "PORT" || rest.ends_with("_PORT") || port
}

fn set(table: &mut Table, keys: &[Key], name: &str, path: &[String], value: &str) -> Result<(), Error> {
    let place = || Place::Variable(name.to_owned());
    let Some((first, rest)) = path.split_first() else { return Ok(()) };
    let Some(key) = keys.iter().find(|key| key.name == *first) else {
        return Err(unknown(place(), "the configuration", first, keys));
    };
    let wrong =
        |expected: &str| Error::Syntax { place: place(), message: format!("expected {expected}, got {value:?}") };
    let inner = match (&key.kind, rest) {
        (Kind::Table(keys), [_, ..]) => Some((keys, rest)),
        (Kind::Named(keys), [_, _, ..]) => Some((keys, rest)),
        (Kind::Table(_) | Kind::Named(_), _) => return Err(wrong("the name of a key below this table")),
        (_, [_, ..]) => return Err(unknown(place(), first, &rest.join("__"), &[])),
        (_, []) => None,
    };
    if let Some((keys, mut rest)) = inner {
        let mut below = entry(table, first).ok_or_else(|| wrong("a table"))?;
        if matches!(key.kind, Kind::Named(_)) {
            below = entry(below, &rest[0]).ok_or_else(|| wrong("a table"))?;
            rest = &rest[1..];
        }
        return set(below, keys, name, rest, value);
    }
    let parsed = match key.kind {
        Kind::Boolean => Value::Boolean(value.parse().map_err(|_| wrong(key.kind.words()))?),
        Kind::Integer => Value::Integer(value.parse().map_err(|_| wrong(key.kind.words()))?),
        Kind::Texts => {
            let texts = value.split(',').map(str::trim).filter(|text| !text.is_empty());
            Value::Array(texts.map(|text| Value::String(text.to_owned())).collect())
        }
        _ => Value::String(value.to_owned()),
    };
    table.insert(first.clone(), parsed);
    Ok(())
}

fn entry<'a>(table: &'a mut Table, name: &str) -> Option<&'a mut Table> {
    table.entry(name.to_owned()).or_insert_with(|| Value::Table(Table::new())).as_table_mut()
}
