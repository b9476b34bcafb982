// SPDX-License-Identifier: Apache-2.0
//! What each event is answered with.

use std::sync::Arc;

use headwater_events::event::{PartReady, Purged, PurgedBy, SegmentReady};
use headwater_events::{Data, Event, Source};
use headwater_media::path::PREFIX;
use tokio::time::Instant;
use tracing::info;

use super::prefetch::Wish;
use super::source::Via;
use crate::config::Prefetch;
use crate::guard::hygiene;
use crate::metrics::Ignored;
use crate::route::{Kind, Route};
use crate::upstream::{Group, Stall};
use crate::{Shield, store};

/// A path that is longer is none of a stream's.
const PATH_BYTES_MAX: usize = 1_024;

/// An object that can be fetched.
struct Ready<'a> {
    channel: &'a str,
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
                let PartReady { channel, path, digest, .. } = part;
                let ready = Ready { channel, path, digest, segment: false };
                self.ready(via, &event.source, &ready);
            }
            Data::SegmentReady(segment) => {
                let SegmentReady { channel, path, digest, .. } = segment;
                let ready = Ready { channel, path, digest, segment: true };
                self.ready(via, &event.source, &ready);
            }
            Data::Purged(purged) if self.following.is_new(&event) => self.purge_as_told(via, &event.source, purged),
            Data::Purged(_) => self.following.counts.ignored(Ignored::Twice),
            Data::ChannelEnded(ended) => self.channel_ended(via, &event.source, &ended.channel),
            Data::ChannelStalled(stalled) => self.channel_stalled(via, &event.source, &stalled.channel, true),
            Data::ChannelResumed(resumed) => self.channel_stalled(via, &event.source, &resumed.channel, false),
            // Playlists tell of discontinuities, and what is old leaves by its own lifetime and for want of requests.
            _ => {}
        }
    }

    /// Purges as the API would, without telling it again.
    fn purge_as_told(self: &Arc<Self>, via: &Via, source: &Source, purged: &Purged) {
        let kind = if purged.soft { store::Kind::Soft } else { store::Kind::Hard };
        let purges = match purged.by {
            PurgedBy::Url | PurgedBy::Prefix if purged.value.starts_with('/') => {
                Self::meant_by_path(purged.by, &self.led_to(via, source, &purged.value, purged.by == PurgedBy::Prefix))
            }
            _ => self.meant(purged).unwrap_or_default(),
        };
        if purges.is_empty() {
            return self.following.counts.ignored(Ignored::Route);
        }
        info!(%source, by = purged.by.name(), value = purged.value, soft = purged.soft, "purged, for another was");
        self.purge_soon(&purges, kind);
    }

    /// A channel ended at one origin: once it has at each of a group, nothing of it is waited for.
    fn channel_ended(&self, via: &Via, source: &Source, channel: &str) {
        let path = format!("{PREFIX}{channel}/");
        for group in self.groups_of(via, source) {
            if self.following.endings.ended(group.name(), channel, source) >= group.origins().len() {
                self.edges.ended(group.name(), &path);
            }
        }
    }

    /// An origin brings nothing of a channel, or does again: its twin comes first meanwhile.
    fn channel_stalled(&self, via: &Via, source: &Source, channel: &str, stalled: bool) {
        for group in self.groups_of(via, source) {
            let Some(origin) = via.origin(&group, source) else { continue };
            match stalled {
                true => group.stalled(origin, &Arc::from(channel), Stall::Published),
                false => group.advancing(origin, channel),
            }
        }
    }

    /// The groups that an event's source belongs to; where it is not known who speaks, every group may be meant.
    fn groups_of(&self, via: &Via, source: &Source) -> Vec<Arc<Group>> {
        let state = self.state();
        let known: Vec<_> =
            state.groups.values().filter(|group| via.origin(group, source).is_some()).cloned().collect();
        if known.is_empty() { state.groups.values().cloned().collect() } else { known }
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
        let routes = self.led_to(via, source, ready.path, false);
        if routes.is_empty() {
            return counts.ignored(Ignored::Route);
        }
        self.following.endings.goes_on(ready.channel);
        let now = Instant::now();
        let (config, mut wished) = (self.state().config.follow.clone(), false);
        for (route, path) in &routes {
            for host in self.hosts(route, path, config.prefetch) {
                let audience = self.following.audiences.find(route, &host, path);
                // NB: before the object is fetched: whoever finds it must not be shown a playlist without it.
                self.following.audiences.published(route, &host, path, ready.segment);
                self.edges.goes_on(route, &host, path);
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

    /// The routes over which edges are led to a path of an origin, and what they ask for then. Of a `prefix`, also those
    /// that begin further on.
    fn led_to(&self, via: &Via, source: &Source, path: &str, prefix: bool) -> Vec<(Arc<Route>, String)> {
        let groups = self.groups_of(via, source);
        let asked = |route: &Arc<Route>| {
            let rest = path.strip_prefix(&route.settings.upstream_prefix)?;
            let begins = rest.starts_with(&route.settings.prefix) || prefix && route.settings.prefix.starts_with(rest);
            let concerned = route.settings.live && groups.iter().any(|group| Arc::ptr_eq(group, &route.group));
            (begins && concerned).then(|| (Arc::clone(route), rest.to_owned()))
        };
        self.state().routes.all().iter().filter_map(asked).collect()
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
