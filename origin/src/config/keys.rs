// SPDX-License-Identifier: Apache-2.0
//! Every key of the configuration as its declaration says it: name, kind, documentation. Unknown keys are told from
//! known ones by this, variables are read by it, the reference is written from it.

use std::sync::LazyLock;

use serde_json::Value;
use utoipa::openapi::schema::{AdditionalProperties, ArrayItems, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::Config;

/// One key.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its name in its table.
    pub name: String,
    /// What it is for, in one paragraph.
    pub doc: String,
    /// What it takes.
    pub kind: Kind,
    /// A value to show where the default is none.
    pub example: Option<Value>,
}

/// What a key takes.
#[derive(Clone, Debug)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// A whole number, not negative.
    Integer,
    /// Text.
    Text,
    /// A list of texts.
    Texts,
    /// A table of these keys.
    Table(Vec<Key>),
    /// Tables of these keys, by any name.
    Named(Vec<Key>),
}

impl Kind {
    /// In words, for errors and the reference.
    pub const fn words(&self) -> &'static str {
        match self {
            Self::Boolean => "true or false",
            Self::Integer => "a whole number",
            Self::Text => "text",
            Self::Texts => "a list of texts",
            Self::Table(_) => "a table",
            Self::Named(_) => "tables by name",
        }
    }
}

static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let mut schemas = Vec::new();
    <Config as ToSchema>::schemas(&mut schemas);
    let root = <Config as PartialSchema>::schema();
    table(&root, &schemas)
});

impl Key {
    /// The keys of the file.
    pub fn all() -> &'static [Self] {
        &KEYS
    }

    /// The keys of a channel.
    pub fn of_channel() -> &'static [Self] {
        let defaults = KEYS.iter().find(|key| key.name == "defaults");
        match defaults.map(|key| &key.kind) {
            Some(Kind::Table(keys)) => keys,
            _ => &[],
        }
    }
}

/// The one of `known` that was probably meant by `name`.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let like = known.into_iter().map(|k| (strsim::jaro_winkler(name, k), k));
    let best = like.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 > 0.75).then_some(best.1)
}

type Schemas = [(String, RefOr<Schema>)];

/// Follows a reference, and through `null | T` to T.
fn resolve<'a>(schema: &'a RefOr<Schema>, schemas: &'a Schemas) -> Option<&'a Schema> {
    let schema = match schema {
        RefOr::T(schema) => schema,
        RefOr::Ref(to) => {
            let name = to.ref_location.rsplit('/').next()?;
            let (_, found) = schemas.iter().find(|(known, _)| known == name)?;
            return resolve(found, schemas);
        }
    };
    match schema {
        Schema::OneOf(one) => one.items.iter().filter_map(|item| resolve(item, schemas)).find(|s| !is_null(s)),
        Schema::AllOf(all) => all.items.iter().find_map(|item| resolve(item, schemas)),
        other => Some(other),
    }
}

fn is_null(schema: &Schema) -> bool {
    matches!(schema, Schema::Object(object) if object.schema_type == SchemaType::Type(Type::Null))
}

fn table(schema: &RefOr<Schema>, schemas: &Schemas) -> Vec<Key> {
    let Some(Schema::Object(object)) = resolve(schema, schemas) else { return Vec::new() };
    let key = |(name, schema): (&String, &RefOr<Schema>)| Key {
        name: name.clone(),
        doc: description(schema).unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" "),
        kind: kind(schema, schemas),
        example: example(schema),
    };
    object.properties.iter().map(key).collect()
}

fn kind(schema: &RefOr<Schema>, schemas: &Schemas) -> Kind {
    match resolve(schema, schemas) {
        Some(Schema::Array(array)) if matches!(array.items, ArrayItems::RefOrSchema(_)) => Kind::Texts,
        Some(Schema::Object(object)) => match &object.additional_properties {
            Some(properties) => match properties.as_ref() {
                AdditionalProperties::RefOr(named) => Kind::Named(table(named, schemas)),
                AdditionalProperties::FreeForm(_) => Kind::Table(table(schema, schemas)),
            },
            None if !object.properties.is_empty() => Kind::Table(table(schema, schemas)),
            None if has(&object.schema_type, &Type::Boolean) => Kind::Boolean,
            None if has(&object.schema_type, &Type::Integer) => Kind::Integer,
            None => Kind::Text,
        },
        _ => Kind::Text,
    }
}

fn has(kind: &SchemaType, wanted: &Type) -> bool {
    match kind {
        SchemaType::Type(one) => one == wanted,
        SchemaType::Array(several) => several.contains(wanted),
        SchemaType::AnyValue => false,
    }
}

fn description(schema: &RefOr<Schema>) -> Option<&str> {
    match schema {
        RefOr::Ref(to) => Some(to.description.as_str()),
        RefOr::T(Schema::Object(object)) => object.description.as_deref(),
        RefOr::T(Schema::Array(array)) => array.description.as_deref(),
        // The comment on an optional table stands beside its reference.
        RefOr::T(Schema::OneOf(one)) => {
            one.description.as_deref().or_else(|| one.items.iter().find_map(|item| description(item)))
        }
        RefOr::T(Schema::AllOf(all)) => all.description.as_deref(),
        RefOr::T(_) => None,
    }
}

fn example(schema: &RefOr<Schema>) -> Option<Value> {
    match schema {
        RefOr::T(Schema::Object(object)) => object.example.clone(),
        RefOr::T(Schema::OneOf(one)) => one.example.clone(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every path to a value, `*` for any name.
    fn paths(keys: &[Key], under: &str, all: &mut Vec<String>) {
        for key in keys {
            let path = format!("{under}{}", key.name);
            assert!(key.doc.ends_with('.'), "{path}: expected a sentence, got {:?}", key.doc);
            match &key.kind {
                Kind::Table(keys) => paths(keys, &format!("{path}."), all),
                Kind::Named(keys) => paths(keys, &format!("{path}.*."), all),
                _ => all.push(path),
            }
        }
    }

    #[test]
    fn every_key_is_known_with_a_sentence() {
        let mut all = Vec::new();
        paths(Key::all(), "", &mut all);
        for path in ["listen", "data_dir", "tls.client_ca", "api.tokens", "defaults.cadence", "channels.*.keys"] {
            assert!(all.iter().any(|known| known == path), "{path} is not among {all:?}");
        }
        // What is serialised is known, and the other way round.
        let written = serde_json::to_value(Config::default()).unwrap();
        let names: Vec<&String> = written.as_object().unwrap().keys().collect();
        assert_eq!(names.len(), Key::all().len(), "{names:?}");
    }

    #[test]
    fn the_nearest_name_is_one_that_may_have_been_meant() {
        let known = ["segment_ms", "part_ms", "keys"];
        assert_eq!(nearest("segmnt_ms", known), Some("segment_ms"));
        assert_eq!(nearest("key", known), Some("keys"));
        assert_eq!(nearest("zzz", known), None);
    }
}
