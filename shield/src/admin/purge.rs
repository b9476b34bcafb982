// SPDX-License-Identifier: Apache-2.0
//! Purges: by URL, by what URLs begin with, by tag.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use tracing::info;
use utoipa::ToSchema;

use super::object::keyed;
use super::{Problem, problem, reply, said};
use crate::Shield;
use crate::store::{Kind, Purge};

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
struct Purged {
    /// Objects that were held and are gone or stale now; what is still arriving is not counted.
    objects: usize,
}

impl Wish {
    fn purges(&self, shield: &Shield) -> Result<Vec<Purge>, (StatusCode, String)> {
        if self.tenant.is_some() && self.tag.is_none() {
            return Err((StatusCode::BAD_REQUEST, "expected a tag beside the tenant".to_owned()));
        }
        match (&self.url, &self.prefix, &self.tag) {
            (Some(url), None, None) => Ok(vec![Purge::Key(keyed(shield, url)?.key.into())]),
            (None, Some(prefix), None) => Ok(vec![Purge::Prefix(keyed(shield, prefix)?.key.into())]),
            (None, None, Some(tag)) => {
                let state = shield.state();
                let tenants: BTreeSet<&str> = match &self.tenant {
                    Some(tenant) => [tenant.as_str()].into(),
                    None => state.routes.all().iter().map(|route| route.tenant.as_str()).collect(),
                };
                Ok(tenants.into_iter().map(|t| Purge::Tag { tenant: t.into(), tag: tag.as_str().into() }).collect())
            }
            _ => Err((StatusCode::BAD_REQUEST, "expected one of url, prefix and tag".to_owned())),
        }
    }
}

/// Purge
///
/// In force when it is answered, for what is held and for what is still arriving; edges in front of the shield are told
/// nothing.
#[utoipa::path(post, path = "/api/v1/purge", tag = "cache", security(("token" = [])), request_body = Wish,
    responses((status = 200, body = Purged), (status = 400, description = "Not a purge", body = Problem),
        (status = 404, description = "No route serves it", body = Problem)))]
pub(super) async fn purge(State(shield): State<Arc<Shield>>, body: Body) -> Response<Body> {
    let wish: Wish = match said(body).await {
        Ok(wish) => wish,
        Err(response) => return response,
    };
    let purges = match wish.purges(&shield) {
        Ok(purges) => purges,
        Err((status, words)) => return problem(status, &words),
    };
    let kind = if wish.soft { Kind::Soft } else { Kind::Hard };
    // Beside the runtime's workers: a large cache takes a while to look through.
    let done = tokio::task::spawn_blocking(move || shield.purge(&purges, kind)).await;
    match done {
        Ok(objects) => {
            info!(?wish, objects, "purged");
            reply(StatusCode::OK, &Purged { objects })
        }
        Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "expected the purge to be carried out, it broke off"),
    }
}

impl Shield {
    /// Purges, and says how many held objects that concerned. In force from its begin on; the look through what is held
    /// only gives the room back.
    pub fn purge(&self, purges: &[Purge], kind: Kind) -> usize {
        for purge in purges {
            self.purges.add(purge, kind);
            self.metrics.purges.inc();
        }
        let mut objects = 0;
        let mut look = |slot: &Arc<crate::index::Slot>| {
            for object in slot.objects() {
                let before = object.is_outdated();
                let gone = self.obey_purges(slot, &object);
                objects += usize::from(gone || !before && object.is_outdated());
            }
            self.index.close(slot);
        };
        if let [Purge::Key(key)] = purges {
            if let Some(slot) = self.index.find(key) {
                look(&slot);
            }
        } else {
            self.index.each(look);
        }
        objects
    }
}
