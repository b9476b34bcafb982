// SPDX-License-Identifier: Apache-2.0
//! Pages that people read, from an API's description of itself (OpenAPI 3.1).

use std::fmt::Write;

use serde_json::Value;
use utoipa::Modify;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};

/// A page that shows the operations of the `openapi.json` beside it; nothing is fetched from elsewhere.
pub const BROWSE: &str = include_str!("browse.html");

/// Adds the tokens of an API to its description, as `token`.
#[derive(Clone, Copy, Debug)]
pub struct Token;

impl Modify for Token {
    fn modify(&self, openapi: &mut OpenApi) {
        let components = openapi.components.get_or_insert_with(Default::default);
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("One of `api.tokens`")).build();
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
    }
}

/// What the API says of itself as a whole.
pub fn about(document: &Value) -> &str {
    word(&document["info"]["description"])
}

/// A row for each operation: request, what it does, what it answers. `before` stands before each path.
pub fn operations(document: &Value, before: &str) -> String {
    let mut out = String::from("| request | what | answers |\n|---|---|---|\n");
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            let answers = operation["responses"].as_object().into_iter().flatten();
            let answers: Vec<String> = answers.map(|(status, told)| answer(status, told)).collect();
            let summary = word(&operation["summary"]);
            let more = word(&operation["description"]).replace('\n', " ");
            let what = if more.is_empty() { summary.to_owned() } else { format!("{summary}. {more}") };
            // Writing into a String does not fail.
            let _ = writeln!(out, "| `{} {before}{path}` | {what} | {} |", method.to_uppercase(), answers.join("; "));
        }
    }
    out
}

/// A table of fields for each type but those that have a page elsewhere.
pub fn types(document: &Value, is_elsewhere: impl Fn(&str) -> bool) -> String {
    let mut out = String::new();
    for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
        if is_elsewhere(name) {
            continue;
        }
        let Some(fields) = schema["properties"].as_object() else {
            let values = schema["enum"].as_array().into_iter().flatten().map(|value| format!("`{}`", word(value)));
            let values = values.collect::<Vec<_>>().join(", ");
            let of = if values.is_empty() { word(&schema["type"]).to_owned() } else { values };
            let _ = write!(out, "\n## {name}\n\n{of}: {}\n", word(&schema["description"]).replace('\n', " "));
            continue;
        };
        let _ = write!(out, "\n## {name}\n\n| field | type | what |\n|---|---|---|\n");
        for (field, told) in fields {
            let what = word(&told["description"]).replace('\n', " ");
            let _ = writeln!(out, "| `{field}` | {} | {what} |", kind(told));
        }
    }
    out
}

fn answer(status: &str, told: &Value) -> String {
    let description = word(&told["description"]);
    let body = told["content"]["application/json"]["schema"]["$ref"].as_str().and_then(|to| to.rsplit('/').next());
    match (description, body) {
        ("", Some(body)) => format!("{status} {body}"),
        ("", None) => status.to_owned(),
        (description, _) => format!("{status} {description}"),
    }
}

fn kind(schema: &Value) -> String {
    if let Some(to) = schema["$ref"].as_str() {
        return to.rsplit('/').next().unwrap_or_default().to_owned();
    }
    if let Some(one) = schema["oneOf"].as_array() {
        return one.iter().map(kind).filter(|kind| kind != "null").collect::<Vec<_>>().join(" or ") + ", or null";
    }
    match &schema["type"] {
        Value::String(name) if name == "array" => format!("list of {}", kind(&schema["items"])),
        Value::String(name) => name.clone(),
        Value::Array(names) => {
            let named: Vec<&str> = names.iter().filter_map(Value::as_str).filter(|name| *name != "null").collect();
            format!("{}, or null", named.join(" or "))
        }
        _ => "any".to_owned(),
    }
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
