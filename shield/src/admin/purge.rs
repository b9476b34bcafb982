// SPDX-License-Identifier: Apache-2.0
//! Purges: by URL, by what URLs begin with, by tag.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use headwater_events::event::{Purged, PurgedBy};
use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use tracing::info;
use utoipa::ToSchema;

use super::object::status;
use super::{Problem, problem, reply, said};
use crate::Shield;
use crate::store::Kind;

/// What to purge: one of `url`, `prefix` and `tag`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Wish {
    /// One URL, with its query; every variant of it.
    #[schema(example = "https://edge.example/live/news/v1/media.m3u8")]
    url: Option<String>,
    /// What URLs begin with, host included.
    #[schema(example = "https://edge.example/live/news/")]
    prefix: Option<String>,
    /// A tag: of the origin's `Cache-Tag` or `Surrogate-Key`, or `channel:…`, `track:…/…`, `generation:…/…` of paths of
    /// Headwater's.
    #[schema(example = "channel:news")]
    tag: Option<String>,
    /// Whose tag; none: every tenant's.
    tenant: Option<String>,
    /// Stale rather than gone: served while the origin is asked, where that is allowed.
    soft: bool,
}

/// A purge that is in force.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Purged)]
struct Done {
    /// Objects that were held and are gone or stale now; what is still arriving is not counted.
    objects: usize,
}

impl Wish {
    /// What other shields are told of it.
    fn read(self) -> Result<Purged, &'static str> {
        if self.tenant.is_some() && self.tag.is_none() {
            return Err("expected a tag beside the tenant");
        }
        let (by, value) = match (self.url, self.prefix, self.tag) {
            (Some(url), None, None) => (PurgedBy::Url, url),
            (None, Some(prefix), None) => (PurgedBy::Prefix, prefix),
            (None, None, Some(tag)) => (PurgedBy::Tag, tag),
            _ => return Err("expected one of url, prefix and tag"),
        };
        let channel = value.strip_prefix("channel:").filter(|_| by == PurgedBy::Tag).map(str::to_owned);
        Ok(Purged { by, value, tenant: self.tenant, soft: self.soft, channel })
    }
}

/// Purge
///
/// In force when it is answered, for what is held and for what is still arriving. Shields that follow this one's events
/// purge too, soon after; edges in front of the shield are told nothing.
#[utoipa::path(post, path = "/api/v1/purge", tag = "cache", security(("token" = [])), request_body = Wish,
    responses((status = 200, body = Done), (status = 400, description = "Not a purge", body = Problem),
        (status = 404, description = "No route serves it", body = Problem)))]
pub(super) async fn purge(State(shield): State<Arc<Shield>>, body: Body) -> Response<Body> {
    let wish: Wish = match said(body).await {
        Ok(wish) => wish,
        Err(response) => return response,
    };
    let purged = match wish.read() {
        Ok(purged) => purged,
        Err(words) => return problem(StatusCode::BAD_REQUEST, words),
    };
    let purges = match shield.meant(&purged) {
        Ok(purges) => purges,
        Err(unknown) => return problem(status(&unknown), &unknown.to_string()),
    };
    let kind = if purged.soft { Kind::Soft } else { Kind::Hard };
    let purging = Arc::clone(&shield);
    // Beside the runtime's workers: a large cache takes a while to look through.
    let done = tokio::task::spawn_blocking(move || purging.purge(&purges, kind)).await;
    match done {
        Ok(objects) => {
            info!(?purged, objects, "purged");
            shield.tell_purged(purged);
            reply(StatusCode::OK, &Done { objects })
        }
        Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "expected the purge to be carried out, it broke off"),
    }
}
