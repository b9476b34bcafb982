// SPDX-License-Identifier: Apache-2.0
//! A schema as text. JSON objects have no order, and what a library makes of that differs by its features; here the
//! order is the reader's: what it is, what it must have, each property as it is declared.

use serde_json::{Map, Value};

use super::names;

/// Keywords in the order they are written; any other follows by name.
const ORDER: [&str; 10] =
    ["$schema", "$id", "title", "description", "type", "const", "enum", "format", "required", "properties"];

/// A schema, two spaces a level, with a line feed at its end.
pub(super) fn schema(schema: &Value) -> String {
    let mut out = String::new();
    write(&mut out, schema, 0, true);
    out.push('\n');
    out
}

/// Properties of a schema as they are declared: the required ones first.
pub(super) fn properties(schema: &Value) -> Vec<(&str, &Value)> {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return Vec::new() };
    let required: Vec<&str> = names(schema.get("required")).collect();
    in_order(properties, &required)
}

fn in_order<'a>(map: &'a Map<String, Value>, first: &[&str]) -> Vec<(&'a str, &'a Value)> {
    let mut entries: Vec<_> = map.iter().map(|(name, value)| (name.as_str(), value)).collect();
    let place = |name: &str| first.iter().position(|other| *other == name).unwrap_or(first.len());
    entries.sort_by_key(|(name, _)| (place(name), *name));
    entries
}

fn write(out: &mut String, value: &Value, depth: usize, is_schema: bool) {
    match value {
        Value::Object(map) if map.is_empty() => out.push_str("{}"),
        Value::Object(map) => {
            let entries = in_order(map, if is_schema { &ORDER } else { &[] });
            write_map(out, &entries, depth, |out, name, inner| match name {
                "properties" if is_schema => {
                    let each = properties(value);
                    write_map(out, &each, depth + 1, |out, _, inner| write(out, inner, depth + 2, true));
                }
                "items" | "oneOf" | "anyOf" if is_schema => write(out, inner, depth + 1, true),
                _ => write(out, inner, depth + 1, false),
            });
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                break_line(out, at > 0, depth + 1);
                write(out, item, depth + 1, is_schema);
            }
            break_line(out, false, depth);
            out.push(']');
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(Value::to_string).collect();
            out.push_str(&format!("[{}]", items.join(", ")));
        }
        plain => out.push_str(&plain.to_string()),
    }
}

fn write_map(
    out: &mut String,
    entries: &[(&str, &Value)],
    depth: usize,
    mut inner: impl FnMut(&mut String, &str, &Value),
) {
    out.push('{');
    for (at, (name, value)) in entries.iter().enumerate() {
        break_line(out, at > 0, depth + 1);
        out.push_str(&format!("{}: ", Value::from(*name)));
        inner(out, name, value);
    }
    break_line(out, false, depth);
    out.push('}');
}

fn break_line(out: &mut String, comma: bool, depth: usize) {
    out.push_str(if comma { ",\n" } else { "\n" });
    out.push_str(&"  ".repeat(depth));
}
