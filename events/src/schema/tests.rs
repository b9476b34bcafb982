// SPDX-License-Identifier: Apache-2.0
//! What the schemas take and what they refuse, by a validator that others wrote.

use std::collections::BTreeSet;

use boon::{Compiler, Draft, SchemaIndex, Schemas};
use serde_json::{Value, json};

use super::*;
use crate::event::Event;

/// The schemas of all types, compiled from their committed text.
struct Compiled {
    schemas: Schemas,
    indices: Vec<SchemaIndex>,
}

impl Compiled {
    fn new() -> Self {
        let (mut schemas, mut compiler, mut indices) = (Schemas::new(), Compiler::new(), Vec::new());
        compiler.set_default_draft(Draft::V2020_12);
        compiler.enable_format_assertions();
        for kind in Kind::ALL {
            let url = format!("file:///{}", file(*kind));
            let schema = serde_json::from_str(&text(*kind)).expect("a schema is JSON");
            compiler.add_resource(&url, schema).expect("a schema is added once");
            indices.push(compiler.compile(&url, &mut schemas).unwrap_or_else(|error| panic!("{kind}: {error:#}")));
        }
        Self { schemas, indices }
    }

    fn judge(&self, kind: Kind, event: &Value) -> Result<(), String> {
        self.schemas.validate(event, self.indices[kind as usize]).map_err(|error| format!("{error:#}"))
    }
}

fn value(event: &Event) -> Value {
    serde_json::from_str(&event.to_json()).unwrap()
}

#[test]
fn an_event_of_each_type_keeps_its_schema_and_comes_back_as_it_was() {
    let compiled = Compiled::new();
    for kind in Kind::ALL {
        let event = example(*kind);
        assert_eq!(event.kind(), *kind);
        assert_eq!(Event::from_json(event.to_json().as_bytes()).unwrap(), event);
        compiled.judge(*kind, &value(&event)).unwrap_or_else(|error| panic!("{kind}: {error}"));
    }
}

#[test]
fn a_schema_refuses_what_a_reader_refuses() {
    let compiled = Compiled::new();
    for kind in Kind::ALL {
        let whole = value(&example(*kind));
        let refused = |what: &str, event: &Value| {
            assert!(compiled.judge(*kind, event).is_err(), "{kind}: {what} is taken by the schema");
            assert!(Event::from_json(event.to_string().as_bytes()).is_err(), "{kind}: {what} is read");
        };
        for name in ["specversion", "id", "source", "type", "time", "data"] {
            let mut less = whole.clone();
            less.as_object_mut().unwrap().remove(name);
            refused(&format!("no {name}"), &less);
        }
        let schema = of(*kind);
        for name in names(schema["properties"]["data"].get("required")) {
            let mut less = whole.clone();
            less["data"].as_object_mut().unwrap().remove(name);
            refused(&format!("no data.{name}"), &less);
            let mut odd = whole.clone();
            odd["data"][name] = json!({ "odd": [] });
            refused(&format!("an odd data.{name}"), &odd);
        }
    }
}

#[test]
fn a_schema_takes_what_a_later_version_adds() {
    let compiled = Compiled::new();
    for kind in Kind::ALL {
        let mut more = value(&example(*kind));
        more["traceparent"] = json!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        more["data"]["of_a_later_version"] = json!({ "a": 1 });
        compiled.judge(*kind, &more).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(Event::from_json(more.to_string().as_bytes()).unwrap(), example(*kind));
    }
}

#[test]
fn each_type_has_a_schema_of_its_own_that_points_nowhere() {
    let compiled = Compiled::new();
    let mut ids = BTreeSet::new();
    for kind in Kind::ALL {
        let text = text(*kind);
        assert!(ids.insert(of(*kind)["$id"].to_string()) && ids.insert(data_id(*kind)), "{kind} shares an id");
        assert!(!text.contains("$ref") && !text.contains("$defs"), "{kind} points to another schema:\n{text}");
        for other in Kind::ALL.iter().filter(|other| *other != kind) {
            assert!(compiled.judge(*kind, &value(&example(*other))).is_err(), "{other} is taken for {kind}");
        }
    }
}

#[test]
fn a_schema_is_written_in_the_order_of_its_reader() {
    let text = text(Kind::SegmentExpired);
    let places: Vec<usize> = [
        "\"$schema\"",
        "\"title\"",
        "\"required\"",
        "\"specversion\": {",
        "\"data\": {",
        "\"channel\": {",
        "\"path\": {",
    ]
    .iter()
    .map(|what| text.find(what).unwrap_or_else(|| panic!("{what} is not in\n{text}")))
    .collect();
    assert!(places.is_sorted(), "{places:?} in\n{text}");
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), of(Kind::SegmentExpired));
}

#[test]
fn every_type_is_a_message_of_one_topic_and_of_the_feed() {
    let document = asyncapi();
    for kind in Kind::ALL {
        let named = format!("$ref: '#/components/messages/{kind}'\n");
        assert_eq!(document.matches(&named).count(), 2, "{kind} in\n{document}");
        assert_eq!(document.matches(&format!("$ref: ./events/{}\n", file(*kind))).count(), 1, "{kind}");
        let section = format!("\n## {kind}\n");
        assert_eq!(page().matches(&section).count(), 1, "{kind}");
    }
}
