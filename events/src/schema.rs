// SPDX-License-Identifier: Apache-2.0
//! JSON Schemas (2020-12) of events, the AsyncAPI document of their topics, and the page of both, all from the types.
//!
//! Each schema stands alone, without references, so that any validator and any generator of code takes it. Properties
//! that it does not name are allowed: a later version adds some, and readers ignore them.

mod asyncapi;
mod example;
mod page;
mod text;

use serde_json::{Value, json};

use crate::event::{Data, Kind};

pub use asyncapi::document as asyncapi;
pub use example::of as example;
pub use page::page;

/// Rises when events of a type are no longer what readers of the version before expect.
const VERSION: u32 = 1;

/// The attribute `dataschema`: what identifies the schema of the data of a type.
///
/// CloudEvents 1.0 (3.1) wants an absolute URI, without a fragment, that changes with incompatible changes.
pub fn data_id(kind: Kind) -> String {
    format!("urn:headwater:data:{}:{VERSION}", kind.name())
}

/// The file of a type's schema.
pub fn file(kind: Kind) -> String {
    format!("{}.schema.json", kind.name())
}

/// The schema of a whole event of a type: the envelope and, within it, the data.
pub fn of(kind: Kind) -> Value {
    let mut data = Data::schema(kind).to_value();
    let mut required = vec!["specversion", "id", "source", "type"];
    if let Some(data) = data.as_object_mut() {
        // Said once, at the root.
        data.remove("$schema");
        data.insert("$id".to_owned(), data_id(kind).into());
        if names(data.get("required")).any(|name| name == "channel") {
            required.push("subject");
        }
    }
    required.extend(["time", "datacontenttype", "dataschema", "data"]);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": format!("urn:headwater:event:{}:{VERSION}", kind.name()),
        "title": kind.name(),
        "description": Data::says(kind),
        "type": "object",
        "required": required,
        "properties": {
            "specversion": { "const": "1.0", "description": "Version of CloudEvents." },
            "id": {
                "type": "string",
                "minLength": 1,
                "description": "The same for copies of the event, whoever published them.",
            },
            "source": {
                "type": "string",
                "format": "uri-reference",
                "minLength": 1,
                "description": "Who published it: `/origin/{node}` or `/shield/{node}`.",
            },
            "type": { "const": kind.name(), "description": "The type." },
            "subject": {
                "type": "string",
                "minLength": 1,
                "description": "What it is about: `channel/track` or `channel`.",
            },
            "time": {
                "type": "string",
                "format": "date-time",
                "description": "When it happened; of media, when the media ends on the UTC timeline.",
            },
            "datacontenttype": { "const": "application/json", "description": "What the data is." },
            "dataschema": { "const": data_id(kind), "description": "The `$id` of the schema of the data." },
            "data": data,
        },
    })
}

/// The schema as text: the same from every build, in the order that a reader expects.
pub fn text(kind: Kind) -> String {
    text::schema(&of(kind))
}

/// The names in a `required`.
fn names(required: Option<&Value>) -> impl Iterator<Item = &str> {
    required.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

#[cfg(test)]
mod tests;
