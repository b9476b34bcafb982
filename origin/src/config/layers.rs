// SPDX-License-Identifier: Apache-2.0
//! From text to a configuration: the file, over it the environment; what a channel does not say is taken from the
//! defaults. Errors name the line or the variable.

use std::fmt;
use std::ops::Range;

use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::keys::{Key, Kind, nearest};
use super::{Channel, Config};

/// What the names of variables begin with.
const PREFIX: &str = "HEADWATER_";
/// Variables of the program that are no keys of the file.
const OTHERS: [&str; 3] = ["HEADWATER_CONFIG", "HEADWATER_KEY", "HEADWATER_WORKERS"];

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

fn meant(nearest: Option<&str>) -> String {
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
}

/// Reads the file's text and the variables over it.
pub(super) fn read(text: &str, variables: &[(String, String)]) -> Result<Config, Error> {
    let document = DeTable::parse(text).map_err(|error| syntax(text, &error))?;
    known(text, document.get_ref(), Key::all(), "")?;
    // Types are told with their line here, before the layers are one.
    let _: Config = toml::from_str(text).map_err(|error| syntax(text, &error))?;
    let mut table: Table = toml::from_str(text).map_err(|error| syntax(text, &error))?;
    let mut said = Vec::new();
    for (name, value) in variables {
        let Some(path) = path(name) else { continue };
        set(&mut table, Key::all(), name, &path, value)?;
        let whole = table.clone().try_into::<Config>();
        let variable = || Place::Variable(name.clone());
        whole.map_err(|error| Error::Syntax { place: variable(), message: error.message().to_owned() })?;
        said.push((path.join("."), variable()));
    }
    inherit(&mut table);
    let config: Config = table.try_into().map_err(|error| syntax(text, &error))?;
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

/// A channel says only what differs.
fn inherit(table: &mut Table) {
    let Some(defaults) = table.get("defaults").and_then(Value::as_table).cloned() else { return };
    let Some(channels) = table.get_mut("channels").and_then(Value::as_table_mut) else { return };
    for channel in channels.iter_mut().filter_map(|(_, channel)| channel.as_table_mut()) {
        for (key, value) in &defaults {
            channel.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
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
fn path(name: &str) -> Option<Vec<String>> {
    let rest = name.strip_prefix(PREFIX)?;
    if OTHERS.contains(&name) || is_service_link(rest) {
        return None;
    }
    Some(rest.split("__").map(str::to_ascii_lowercase).collect())
}

/// Kubernetes sets such variables for a service that is called `headwater…`.
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

impl Channel {
    /// These settings with what `said` says instead: settings of a channel as the API takes them.
    ///
    /// # Errors
    /// In words: a field that is none, or a value of the wrong type or outside its range.
    pub fn with(&self, said: &serde_json::Map<String, serde_json::Value>) -> Result<Self, String> {
        for name in said.keys() {
            let keys = Key::of_channel();
            if !keys.iter().any(|key| key.name == *name) {
                let nearest = nearest(name, keys.iter().map(|key| key.name.as_str()));
                return Err(format!("expected a field of a channel, got `{name}`{}", meant(nearest)));
            }
        }
        let mut whole = match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(whole)) => whole,
            _ => serde_json::Map::new(),
        };
        for (name, value) in said {
            // Each by itself, so that the error can name it.
            let alone = serde_json::Map::from_iter([(name.clone(), value.clone())]);
            serde_json::from_value::<Self>(alone.into()).map_err(|error| format!("{name}: {error}"))?;
            whole.insert(name.clone(), value.clone());
        }
        let settings: Self = serde_json::from_value(whole.into()).map_err(|error| error.to_string())?;
        settings.check("channel").map_err(|error| error.to_string())?;
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layered(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
        let variables: Vec<_> = variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Config::layered(text, &variables).map_err(|error| error.to_string())
    }

    #[test]
    fn an_unknown_key_is_refused_by_line_with_what_was_meant() {
        let text = "listen = \"127.0.0.1:1\"\n[defaults]\nsegmnt_ms = 1\n";
        assert_eq!(
            layered(text, &[]).unwrap_err(),
            "line 3: expected a key of [defaults], got `segmnt_ms`; did you mean `segment_ms`?"
        );
        let deep = "[channels.news]\n\nwindow = 1\n";
        assert_eq!(
            layered(deep, &[]).unwrap_err(),
            "line 3: expected a key of [channels.news], got `window`; did you mean `window_seconds`?"
        );
        assert_eq!(layered("zzz = 1\n", &[]).unwrap_err(), "line 1: expected a key of the file, got `zzz`");
    }

    #[test]
    fn a_wrong_type_is_refused_by_line_and_key_and_no_secret_is_repeated() {
        let error = layered("\n[defaults]\nsegment_ms = \"long\"\n", &[]).unwrap_err();
        assert!(error.starts_with("line 3: segment_ms: invalid type: string \"long\""), "{error}");
        let error = layered("[defaults]\nkeys = [\"s3cret\", 5]\n", &[]).unwrap_err();
        assert!(error.starts_with("line 2: keys: ") && !error.contains("s3cret"), "{error}");
        assert!(layered("channels =\n", &[]).unwrap_err().starts_with("line 1"));
    }

    #[test]
    fn the_environment_overrides_every_kind_of_key() {
        let config = layered(
            "channels_max = 3\n[defaults]\nsegment_ms = 4000\n[channels.news]\npart_ms = 100\n",
            &[
                ("HEADWATER_LISTEN", "127.0.0.1:9"),
                ("HEADWATER_CHANNELS_FROM_PUSH", "true"),
                ("HEADWATER_DATA_DIR", "kept"),
                ("HEADWATER_DEFAULTS__SEGMENT_MS", "1000"),
                ("HEADWATER_DEFAULTS__KEYS", "one, two"),
                ("HEADWATER_CHANNELS__SPORT__PART_MS", "500"),
                ("HEADWATER_TLS__CERTIFICATE", "chain.pem"),
                ("PATH", "bin"),
            ][..6],
        )
        .unwrap();
        assert_eq!((config.listen.port(), config.channels_max, config.channels_from_push), (9, 3, true));
        assert_eq!(config.data_dir.as_deref(), Some(std::path::Path::new("kept")));
        assert_eq!(config.defaults.keys, ["one", "two"]);
        let (news, sport) = (&config.channels["news"], &config.channels["sport"]);
        assert_eq!((news.segment_ms, news.part_ms, sport.segment_ms, sport.part_ms), (1_000, 100, 1_000, 500));
    }

    #[test]
    fn a_wrong_variable_is_refused_by_name() {
        for (variable, value, expected) in [
            ("HEADWATER_DEFAULTS__SEGMNT_MS", "1", "did you mean `segment_ms`?"),
            ("HEADWATER_LISTN", "1", "did you mean `listen`?"),
            ("HEADWATER_CHANNELS_MAX", "many", "expected a whole number, got \"many\""),
            ("HEADWATER_CHANNELS_MAX", "-1", "expected"),
            ("HEADWATER_LISTEN", "here", "invalid socket address"),
            ("HEADWATER_LISTEN__PORT", "1", "port"),
            ("HEADWATER_DEFAULTS", "1", "a key below this table"),
            ("HEADWATER_TLS__CERTIFICATE", "chain.pem", "missing field `key`"),
            ("HEADWATER_DEFAULTS__SEGMENT_MS", "1", "expected 200 to 20000 milliseconds"),
        ] {
            let error = layered("", &[(variable, value)]).unwrap_err();
            assert!(error.starts_with(variable) && error.contains(expected), "{error}");
        }
    }

    #[test]
    fn what_others_set_is_no_key() {
        let foreign = [
            ("HEADWATER_SERVICE_HOST", "10.0.0.1"),
            ("HEADWATER_PORT", "tcp://10.0.0.1:80"),
            ("HEADWATER_PORT_80_TCP_ADDR", "10.0.0.1"),
            ("HEADWATER_EU_SERVICE_PORT_HTTP", "80"),
            ("HEADWATER_CONFIG", "file"),
            ("PATH", "bin"),
        ];
        assert_eq!(layered("", &foreign), Ok(Config::default()));
    }

    #[test]
    fn settings_of_a_channel_take_known_fields_of_their_types_alone() {
        let with = |json: &str| {
            let said: serde_json::Map<_, _> = serde_json::from_str(json).unwrap();
            Channel::default().with(&said)
        };
        assert_eq!(with(r#"{"segment_ms":1000,"keys":["k"]}"#).unwrap().segment_ms, 1_000);
        assert_eq!(
            with(r#"{"segmentms":1}"#).unwrap_err(),
            "expected a field of a channel, got `segmentms`; did you mean `segment_ms`?"
        );
        assert!(with(r#"{"cadence":3}"#).unwrap_err().starts_with("cadence: invalid type"));
        assert!(with(r#"{"segment_ms":1}"#).unwrap_err().contains("200 to 20000"));
    }
}
