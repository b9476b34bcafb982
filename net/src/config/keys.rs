// SPDX-License-Identifier: Apache-2.0
//! Every key of a configuration as its declaration says it: name, kind, documentation. Unknown keys are told from
//! known ones by this, variables are read by it, the reference is written from it.

use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::schema::{AdditionalProperties, ArrayItems, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};

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

impl Key {
    /// The keys that a type declares.
    pub fn of<T: ToSchema>() -> Vec<Self> {
        let mut schemas = Vec::new();
        T::schemas(&mut schemas);
        table(&T::schema(), &schemas)
    }

    /// The keys below this one; none where it takes a value.
    pub fn below(&self) -> &[Self] {
        match &self.kind {
            Kind::Table(keys) | Kind::Named(keys) => keys,
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
        Schema::AllOf(all) if all.items.len() == 1 => resolve(&all.items[0], schemas),
        other => Some(other),
    }
}

fn is_null(schema: &Schema) -> bool {
    matches!(schema, Schema::Object(object) if object.schema_type == SchemaType::Type(Type::Null))
}

fn table(schema: &RefOr<Schema>, schemas: &Schemas) -> Vec<Key> {
    let object = match resolve(schema, schemas) {
        Some(Schema::Object(object)) => object,
        // A type that has another's fields beside its own.
        Some(Schema::AllOf(all)) => return all.items.iter().flat_map(|part| table(part, schemas)).collect(),
        _ => return Vec::new(),
    };
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
        Some(Schema::AllOf(_)) => Kind::Table(table(schema, schemas)),
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
        RefOr::T(Schema::Array(array)) => array.example.clone(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_one_that_may_have_been_meant() {
        let known = ["segment_ms", "part_ms", "keys"];
        assert_eq!(nearest("segmnt_ms", known), Some("segment_ms"));
        assert_eq!(nearest("key", known), Some("keys"));
        assert_eq!(nearest("zzz", known), None);
    }
}
