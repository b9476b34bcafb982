// SPDX-License-Identifier: Apache-2.0
//! What each event is answered with.

use std::sync::Arc;

use headwater_events::{Data, Event, Source};
use tokio::time::Instant;

use super::prefetch::Wish;
use super::source::Via;
use crate::Shield;
use crate::config::Prefetch;
use crate::guard::hygiene;
use crate::metrics::Ignored;
use crate::route::{Kind, Route};

/// A path that is longer is none of a stream's.
const PATH_BYTES_MAX: usize = 1_024;

/// An object that can be fetched.
struct Ready<'a> {
    path: &'a str,
    digest: &'a str,
    segment: bool,
}

impl Shield {
    /// Does what an event asks for; never waits.
    pub(super) fn act(self: &Arc<Self>, via: &Via, event: Event) {
        // What this shield published itself is not news, however it came back.
        if event.source == self.following.own {
            return;
        }
        self.following.counts.event(event.kind());
        match &event.data {
            Data::PartReady(part) => {
                let ready = Ready { path: &part.path, digest: &part.digest, segment: false };
                self.ready(via, &event.source, &ready);
            }
            Data::SegmentReady(segment) => {
                let ready = Ready { path: &segment.path, digest: &segment.digest, segment: true };
                self.ready(via, &event.source, &ready);
            }
            _ => {}
        }
    }

    /// An object is there: its playlists are old, and it is fetched under the hosts by which it is asked for.
    fn ready(self: &Arc<Self>, via: &Via, source: &Source, ready: &Ready<'_>) {
        let counts = &self.following.counts;
        if ready.path.len() > PATH_BYTES_MAX
            || !hygiene::is_clean(ready.path)
            || Kind::of(ready.path, "") != Kind::Media
        {
            return counts.ignored(Ignored::Path);
        }
        let routes = self.led_to(via, source, ready.path);
        if routes.is_empty() {
            return counts.ignored(Ignored::Route);
        }
        let now = Instant::now();
        let (config, mut wished) = (self.state().config.follow.clone(), false);
        for (route, path) in &routes {
            for host in self.hosts(route, path, config.prefetch) {
                let audience = self.following.audiences.find(route, &host, path);
                // NB: before the object is fetched: whoever finds it must not be shown a playlist without it.
                self.following.audiences.published(route, &host, path, ready.segment);
                let asked = match config.prefetch {
                    Prefetch::Off => false,
                    Prefetch::Asked => audience.is_some_and(|audience| audience.is_there(now)),
                    Prefetch::All => true,
                };
                if asked && (config.parts || ready.segment) {
                    wished = true;
                    let (route, path) = (Arc::clone(route), path.as_str().into());
                    self.wish(Wish { route, host, path, digest: ready.digest.into(), told: now });
                }
            }
        }
        if !wished {
            counts.ignored(Ignored::Unasked);
        }
    }

    /// The routes over which edges are led to a path of an origin, and what they ask for then.
    fn led_to(&self, via: &Via, source: &Source, path: &str) -> Vec<(Arc<Route>, String)> {
        let state = self.state();
        let mut groups = state.groups.values().filter(|group| via.origin(group, source).is_some()).peekable();
        // Where it is not known who speaks, every origin may have it.
        let known: Option<Vec<_>> =
            groups.peek().is_some().then(|| groups.map(|group| group.name().to_owned()).collect());
        let concerned = |route: &&Arc<Route>| {
            let group = route.group.name();
            route.settings.live && known.as_ref().is_none_or(|known| known.iter().any(|name| name == group))
        };
        let asked = |route: &Arc<Route>| {
            let rest = path.strip_prefix(&route.settings.upstream_prefix)?;
            rest.starts_with(&route.settings.prefix).then(|| (Arc::clone(route), rest.to_owned()))
        };
        state.routes.all().iter().filter(concerned).filter_map(asked).collect()
    }

    /// The hosts by which a path is asked for over a route.
    fn hosts(&self, route: &Arc<Route>, path: &str, prefetch: Prefetch) -> Vec<Box<str>> {
        let seen = self.following.audiences.hosts(route);
        let mut hosts: Vec<Box<str>> = seen.iter().map(|host| host.name.clone()).collect();
        if prefetch == Prefetch::All {
            let named = route.hosts().iter().filter(|name| !hosts.iter().any(|host| **host == ***name));
            let named: Vec<_> = named.map(|name| name.as_str().into()).collect();
            hosts.extend(named);
        }
        let state = self.state();
        hosts.retain(|host| state.routes.find(host, path).is_some_and(|found| Arc::ptr_eq(found, route)));
        hosts
    }
}
