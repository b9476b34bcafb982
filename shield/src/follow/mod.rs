// SPDX-License-Identifier: Apache-2.0
//! Acting on events instead of asking: what became ready is fetched before an edge asks, playlists that it made old are
//! known to be old, purges are carried out, and an origin that says that it brings nothing is left for its twin.
//!
//! Events only ever bring something forward. Every lifetime, check and wait holds without them, so what a feed loses,
//! repeats, delays or invents costs hits or a few requests, never a wrong answer. A fill that an event begins is a fill
//! like any other: of its key's slot, found by whoever asks meanwhile.

mod act;
mod audience;
mod endings;
mod prefetch;
mod source;
mod standing;
mod state;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use headwater_events::event::Kinds;
#[cfg(feature = "kafka")]
use headwater_events::kafka;
use headwater_events::{Event, Filter, Follow, Kind, Source, feed};
use parking_lot::Mutex;

use crate::Shield;
use crate::metrics::{Followed, SourceLabel, told};
use crate::route::{self, Route};

use audience::Audiences;
use endings::{Endings, Seen};
use prefetch::Queue;
use source::Feeding;

pub use source::Via;
pub(crate) use standing::{Standing, Version};
pub(crate) use state::FollowState;

/// What is known by events, and what they have begun.
#[derive(Debug)]
pub(crate) struct Following {
    /// Whose events are not news here.
    own: Source,
    /// Events come from somewhere; without any nothing is noted.
    is_on: AtomicBool,
    audiences: Audiences,
    queue: Queue,
    endings: Endings,
    seen: Seen,
    /// Held to add or list a source.
    sources: Mutex<Vec<Arc<Feeding>>>,
    counts: Arc<Followed>,
}

impl Following {
    /// Nothing is followed yet.
    pub(crate) fn new(own: Source, counts: &Arc<Followed>) -> Self {
        Self {
            own,
            is_on: AtomicBool::new(false),
            audiences: Audiences::new(),
            queue: Queue::default(),
            endings: Endings::default(),
            seen: Seen::default(),
            sources: Mutex::default(),
            counts: Arc::clone(counts),
        }
    }

    /// True for an event that has not come before.
    fn is_new(&self, event: &Event) -> bool {
        self.seen.is_new(event)
    }

    /// Reads what metrics tell of the moment.
    pub(crate) fn look(&self) {
        let (running, waiting) = self.queue.len();
        self.counts.running.set(i64::try_from(running).unwrap_or(i64::MAX));
        self.counts.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        for feeding in self.sources.lock().iter() {
            let label = SourceLabel { source: feeding.via.name().to_owned() };
            self.counts.up.get_or_create(&label).set(i64::from(feeding.flows()));
            told(&self.counts.gaps.get_or_create(&label), feeding.gaps());
        }
    }

    /// What had been told of a playlist before its origin is asked.
    pub(crate) fn version(&self, route: &Route, host: &str, path: &str, kind: route::Kind) -> Option<(Version, u64)> {
        if kind != route::Kind::Playlist || !route.settings.live || !self.is_on.load(Ordering::Relaxed) {
            return None;
        }
        let version = Version::of(path);
        // NB: an audience that is made later counts from 0 too.
        let told = self.audiences.find(route, host, path).map_or(0, |audience| audience.version(version));
        Some((version, told))
    }

    /// How an answer stands towards events; `ahead`: nobody has asked for it.
    pub(crate) fn standing(
        &self,
        route: &Route,
        host: &str,
        path: &str,
        version: Option<(Version, u64)>,
        ahead: bool,
    ) -> Option<Standing> {
        if !route.settings.live || !self.is_on.load(Ordering::Relaxed) {
            return None;
        }
        let audience = self.audiences.open(route, host, path)?;
        Some(Standing::new(audience, version, ahead, &self.counts))
    }
}

impl Shield {
    /// Acts on the events that `follow` brings, until there are no more.
    pub fn follow(self: &Arc<Self>, via: Via, follow: Follow) {
        let feeding = Feeding::new(via);
        self.following.is_on.store(true, Ordering::Relaxed);
        self.following.sources.lock().push(Arc::clone(&feeding));
        let running = source::run(Arc::downgrade(self), feeding, follow, self.shutdown.clone());
        self.shutdown.spawn(running);
    }

    /// Follows what the configuration names, and the origin of this process, from now on.
    pub(crate) fn follow_configured(self: &Arc<Self>) -> Result<(), Error> {
        let config = self.config();
        let filter = Filter { kinds: KINDS, channels: Vec::new() };
        if self.here.is_some() {
            let log = self.publisher.log();
            let end = *log.end().borrow();
            self.follow(Via::Here, Follow::log(Arc::clone(log), filter.clone(), end));
        }
        let token = config.follow.token.as_deref();
        for url in &config.follow.from {
            let follow = feed::follow(url, token, filter.clone(), feed::Since::End, self.shutdown.clone())?;
            self.follow(Via::of_feed(url), follow);
        }
        #[cfg(feature = "kafka")]
        if let Some(brokers) = config.events.kafka.as_ref().filter(|_| config.follow.kafka) {
            // NB: in no group: each shield needs every event.
            let reading = kafka::Reading { filter, start: kafka::Start::End, until: kafka::Until::Stopped };
            self.follow(Via::Kafka, kafka::follow(brokers, reading, &self.shutdown)?);
        }
        #[cfg(not(feature = "kafka"))]
        if config.follow.kafka {
            return Err(Error::NoKafka);
        }
        Ok(())
    }
}

/// What is acted on.
const KINDS: Kinds = Kinds::NONE
    .with(Kind::PartReady)
    .with(Kind::SegmentReady)
    .with(Kind::ChannelEnded)
    .with(Kind::ChannelStalled)
    .with(Kind::ChannelResumed)
    .with(Kind::Purged);

/// Why events cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A feed is none.
    #[error(transparent)]
    Feed(#[from] feed::Unusable),
    /// The brokers' settings are of no use.
    #[cfg(feature = "kafka")]
    #[error(transparent)]
    Kafka(#[from] kafka::Error),
    /// This program was built without Kafka.
    #[cfg(not(feature = "kafka"))]
    #[error("expected a program built with Kafka for follow.kafka, this one is not")]
    NoKafka,
}
