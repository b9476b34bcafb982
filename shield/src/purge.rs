// SPDX-License-Identifier: Apache-2.0
//! Purges, whoever asks for them: the API or an event.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use headwater_events::Data;
use headwater_events::event::{Purged, PurgedBy};
use headwater_media::UtcTime;
use http::Uri;

use crate::Shield;
use crate::route::Route;
use crate::store::{Kind, Purge};

/// Why nothing is meant by what is to be purged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unknown {
    /// Not a URL.
    #[error("expected a whole URL, as http://edge.example/live/…: its host is part of the key, got {url:?}")]
    Url {
        /// What it was.
        url: String,
    },
    /// Nobody's URL.
    #[error("expected a URL that a route serves, got {url:?}")]
    Route {
        /// What it was.
        url: String,
    },
}

/// A URL's place.
pub(crate) struct Keyed {
    pub(crate) route: String,
    pub(crate) key: String,
}

impl Shield {
    /// The key that a URL has as an edge asks for it.
    pub(crate) fn keyed(&self, url: &str) -> Result<Keyed, Unknown> {
        let unusable = || Unknown::Url { url: url.to_owned() };
        let uri: Uri = url.parse().map_err(|_| unusable())?;
        let host = uri.authority().ok_or_else(unusable)?.as_str();
        let state = self.state();
        let Some(route) = state.routes.find(host, uri.path()) else {
            return Err(Unknown::Route { url: url.to_owned() });
        };
        let mut key = String::new();
        route.write_key(&mut key, host, uri.path(), uri.query().unwrap_or(""));
        Ok(Keyed { route: route.name.clone(), key })
    }

    /// What is to be purged by what `purged` names: of a URL its key, of a tag that of its tenant, or of each.
    pub(crate) fn meant(&self, purged: &Purged) -> Result<Vec<Purge>, Unknown> {
        let value = purged.value.as_str();
        Ok(match purged.by {
            PurgedBy::Url => vec![Purge::Key(self.keyed(value)?.key.into())],
            PurgedBy::Prefix => vec![Purge::Prefix(self.keyed(value)?.key.into())],
            PurgedBy::Tag => {
                let state = self.state();
                let tenants: BTreeSet<&str> = match &purged.tenant {
                    Some(tenant) => [tenant.as_str()].into(),
                    None => state.routes.all().iter().map(|route| route.tenant.as_str()).collect(),
                };
                tenants.into_iter().map(|t| Purge::Tag { tenant: t.into(), tag: value.into() }).collect()
            }
        })
    }

    /// What is to be purged by a path of an origin, which edges know by these routes and paths, whatever their host.
    pub(crate) fn meant_by_path(by: PurgedBy, led_to: &[(Arc<Route>, String)]) -> Vec<Purge> {
        let purge = |(route, path): &(Arc<Route>, String)| {
            let (tenant, path): (Arc<str>, Arc<str>) = (route.tenant.as_str().into(), path.as_str().into());
            match by {
                PurgedBy::Prefix => Purge::PathPrefix { tenant, path },
                PurgedBy::Url | PurgedBy::Tag => Purge::Path { tenant, path },
            }
        };
        led_to.iter().map(purge).collect()
    }

    /// Purges, and says how many held objects that concerned. In force from its begin on; the look through what is held
    /// only gives the room back.
    pub fn purge(&self, purges: &[Purge], kind: Kind) -> usize {
        self.put_in_force(purges, kind);
        if let [Purge::Key(key)] = purges {
            return self.index.find(key).map_or(0, |slot| self.look_for_purged(&slot));
        }
        self.sweep_purged()
    }

    /// As [`Self::purge`] without the look: what it concerns is not served from now on.
    fn put_in_force(&self, purges: &[Purge], kind: Kind) {
        for purge in purges {
            self.purges.add(purge, kind);
            self.metrics.purges.inc();
        }
    }

    /// Purges at once, and gives the room back soon: one look for however many purges come meanwhile.
    pub(crate) fn purge_soon(self: &Arc<Self>, purges: &[Purge], kind: Kind) {
        self.put_in_force(purges, kind);
        if self.sweeping.swap(true, Ordering::AcqRel) {
            return;
        }
        let shield = Arc::clone(self);
        // Beside the runtime's workers: a large cache takes a while to look through.
        tokio::task::spawn_blocking(move || {
            // NB: before the look: what comes during it asks for another.
            shield.sweeping.store(false, Ordering::Release);
            shield.sweep_purged();
        });
    }

    fn sweep_purged(&self) -> usize {
        let mut objects = 0;
        self.index.each(|slot| objects += self.look_for_purged(slot));
        objects
    }

    fn look_for_purged(&self, slot: &Arc<crate::index::Slot>) -> usize {
        let mut objects = 0;
        for object in slot.objects() {
            let before = object.is_outdated();
            let gone = self.obey_purges(slot, &object);
            objects += usize::from(gone || !before && object.is_outdated());
        }
        self.index.close(slot);
        objects
    }

    /// Tells other shields of a purge that was asked of this one.
    pub(crate) fn tell_purged(&self, purged: Purged) {
        self.publisher.publish(UtcTime::from_system(SystemTime::now()), Data::Purged(purged));
    }
}
