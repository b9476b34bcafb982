// SPDX-License-Identifier: Apache-2.0
//! The API's description of itself (OpenAPI 3.1), from the handlers and types, and pages that people read.

use std::sync::LazyLock;

use axum::body::Body;
use headwater_net::description::{self, Token};
use http::Response;
use serde_json::Value;
use utoipa::{OpenApi, ToSchema};

use super::{FOLDER, object, operation, purge, state, text};
use crate::Config;

/// The API of a shield.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Headwater shield",
        description = "What a shield holds, what it knows of its origins, and how it is told to purge, drain and reload.\n\n\
            Every path stands below `/.headwater`, in nobody's way, on the listener that edges use; with `admin_listen` on \
            that listener instead, and there without the folder too.\n\nWhere `api.tokens` are configured, every operation \
            wants one of them (`Authorization: Bearer …`). Where none are, anybody may read the state and ask what is held; \
            everything else is admitted from the shield's own machine alone. `/metrics`, `/healthz`, `/readyz` and this \
            description are open to anybody.\n\nErrors are JSON with `error`: what was expected and what came.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    servers((url = "/.headwater")),
    paths(
        state::state,
        object::object,
        purge::purge,
        operation::drain,
        operation::undrain,
        operation::config,
        operation::reload
    ),
    tags(
        (name = "state", description = "The shield and its origins"),
        (name = "cache", description = "What is held"),
        (name = "operation", description = "The configuration, and origins taken out")
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

/// `GET /.headwater/api/v1/openapi.json`
pub(super) async fn json() -> Response<Body> {
    text(document(), "application/json")
}

/// `GET /.headwater/api/v1/`: the operations for people; nothing is fetched from elsewhere.
pub(super) async fn browse() -> Response<Body> {
    text(description::BROWSE, "text/html; charset=utf-8")
}

/// True for tables of the configuration, which has a page of its own.
fn is_paged(name: &str) -> bool {
    let mut tables = Vec::new();
    <Config as ToSchema>::schemas(&mut tables);
    name == "ShieldConfig" || tables.iter().any(|(table, _)| table == name)
}

/// The reference page of the API.
pub fn page() -> String {
    let all: Value = serde_json::from_str(document()).unwrap_or_default();
    format!(
        "# API of the shield\n\n<!-- Written by `make reference` from shield/src/admin. -->\n\n{}\n\n\
         A running shield shows the same at `{FOLDER}/api/v1/`, and as OpenAPI 3.1 at `{FOLDER}/api/v1/openapi.json` \
         ([here](shield-openapi.json)).\n\n{}\
         | `GET {FOLDER}/healthz` | While the process answers | 200 |\n\
         | `GET {FOLDER}/readyz` | Whether an origin of each group is up and the shield is not stopping | 200, 503 |\n\
         | `GET {FOLDER}/metrics` | [Metrics](metrics.md), OpenMetrics text | 200 |\n{}",
        description::about(&all),
        description::operations(&all, FOLDER),
        description::types(&all, is_paged)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_names_every_reference_and_every_operation_says_what_it_does() {
        let all: Value = serde_json::from_str(document()).unwrap();
        let mut count = 0;
        for (at, found) in document().match_indices("\"#/components/schemas/") {
            let name = document()[at + found.len()..].split('"').next().unwrap();
            assert!(all["components"]["schemas"][name].is_object(), "{name} is not described");
            count += 1;
        }
        assert!(count > 10, "{count}");
        let page = page();
        for line in page.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            assert!(!cells[2].is_empty() && cells[2] != "any", "{line}");
        }
        assert!(page.contains("`POST /.headwater/api/v1/purge`") && page.contains("## GroupState"), "{page}");
    }
}
