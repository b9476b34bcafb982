// SPDX-License-Identifier: Apache-2.0
//! The API's description of itself (OpenAPI 3.1), from the handlers and types, and pages that people read.

use std::sync::LazyLock;

use axum::body::Body;
use headwater_net::description::{self, Token};
use http::Response;
use serde_json::Value;
use utoipa::{OpenApi, ToSchema};

use super::{channels, feed, html, keys, operation, text};
use crate::Config;

/// The API of a Headwater origin.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Headwater",
        description = "Channels, stream keys and the configuration of a running origin.\n\nWhere `api.tokens` are \
            configured, every operation wants one of them (`Authorization: Bearer …`). Where none are, anybody may read \
            the state of channels and follow events; everything else is admitted from the origin's own machine alone. `/metrics`, \
            `/healthz`, `/readyz`, `/time` and this description are open to anybody.\n\nErrors are JSON with `error`: what \
            was expected and what came.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        channels::list,
        channels::state,
        channels::put,
        channels::patch,
        channels::remove,
        channels::end,
        keys::list,
        keys::add,
        keys::remove,
        operation::config,
        operation::reload,
        feed::router
    ),
    tags(
        (name = "channels", description = "Channels and what they hold"),
        (name = "keys", description = "Stream keys"),
        (name = "operation", description = "The configuration"),
        (name = "events", description = "What the origin tells")
    ),
    modifiers(&Token)
)]
struct Api;

static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    let mut text = Api::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
});

/// The description as JSON.
pub fn document() -> &'static str {
    &DOCUMENT
}

/// `GET /api/v1/openapi.json`
pub(super) async fn json() -> Response<Body> {
    text(document().to_owned(), "application/json")
}

/// `GET /api/v1/`: the operations for people; nothing is fetched from elsewhere.
pub(super) async fn browse() -> Response<Body> {
    html(description::BROWSE)
}

/// True for tables of the configuration, which has a page of its own; what the API takes of it is told on both.
fn is_paged(name: &str) -> bool {
    let mut tables = Vec::new();
    <Config as ToSchema>::schemas(&mut tables);
    name == "Config" || (name != "Channel" && tables.iter().any(|(table, _)| table == name))
}

/// The reference page of the API.
pub fn page() -> String {
    let all: Value = serde_json::from_str(document()).unwrap_or_default();
    format!(
        "# API\n\n<!-- Written by `make reference` from origin/src/http/api. -->\n\n{}\n\n\
         A running origin shows the same at `/api/v1/`, and as OpenAPI 3.1 at `/api/v1/openapi.json` \
         ([here](openapi.json)).\n\n{}\
         | `GET /time` | UTC with milliseconds as text; the `Date` header agrees | 200 |\n\
         | `GET /healthz` | While the process answers | 200 |\n\
         | `GET /readyz` | Whether every channel that receives media can be played and the origin is not stopping | 200, 503 |\n\
         | `GET /metrics` | [Metrics](metrics.md), OpenMetrics text | 200 |\n{}",
        description::about(&all),
        description::operations(&all, ""),
        description::types(&all, is_paged)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_is_openapi_and_names_every_reference() {
        let all: Value = serde_json::from_str(document()).unwrap();
        assert!(all["openapi"].as_str().unwrap().starts_with("3.1"), "{}", all["openapi"]);
        let references = document().match_indices("\"#/components/schemas/");
        let mut count = 0;
        for (at, found) in references {
            let name = document()[at + found.len()..].split('"').next().unwrap();
            assert!(all["components"]["schemas"][name].is_object(), "{name} is not described");
            count += 1;
        }
        assert!(count > 20, "{count}");
        assert!(all["components"]["securitySchemes"]["token"].is_object());
    }

    #[test]
    fn every_operation_has_a_summary_and_every_field_a_type() {
        let page = page();
        for line in page.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            assert!(!cells[2].is_empty() && cells[2] != "any", "{line}");
        }
        assert!(page.contains("`DELETE /api/v1/channels/{id}/keys/{key}`") && page.contains("## Status"), "{page}");
    }
}
