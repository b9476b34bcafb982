// SPDX-License-Identifier: Apache-2.0
//! Where events come from, and how that goes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use headwater_events::{Arrival, Follow, Source};
use headwater_net::Shutdown;
use tracing::{info, warn};

use crate::Shield;
use crate::upstream::{Group, OriginId};

/// The origin of this process among a group's.
const HERE: &str = "here";

/// A way on which events come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// The log of this process.
    Here,
    /// The feed of a server with this address, scheme and authority.
    Feed(Arc<str>),
    /// Kafka, for all who publish there.
    Kafka,
}

impl Via {
    /// The feed at a URL, whose server is named by what stands before its path.
    pub(crate) fn of_feed(url: &str) -> Self {
        let authority = url.find("://").map_or(0, |at| at + 3);
        let end = url[authority..].find('/').map_or(url.len(), |at| authority + at);
        Self::Feed(url[..end].into())
    }

    /// What the source is called.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Here => HERE,
            Self::Feed(server) => server,
            Self::Kafka => "kafka",
        }
    }

    /// The origin of a group that speaks, if it is known to be one of them.
    pub(crate) fn origin(&self, group: &Group, source: &Source) -> Option<OriginId> {
        let same = |name: &str, server: &str| name.trim_end_matches('/').eq_ignore_ascii_case(server);
        match self {
            Self::Here => group.id_of(HERE),
            Self::Feed(server) => group.find(|name| same(name, server.trim_end_matches('/'))),
            // Nodes are called by their hosts, where nobody has named them otherwise.
            Self::Kafka => group.find(|name| host(name).eq_ignore_ascii_case(source.node())),
        }
    }
}

/// The host of an origin's address.
fn host(address: &str) -> &str {
    let authority = address.split_once("://").map_or(address, |(_, rest)| rest).trim_end_matches('/');
    crate::route::without_port(authority)
}

/// One source of events.
#[derive(Debug)]
pub(crate) struct Feeding {
    pub(crate) via: Via,
    /// Events come; false from a gap until the next.
    flows: AtomicBool,
    events: AtomicU64,
    gaps: AtomicU64,
}

impl Feeding {
    pub(crate) fn new(via: Via) -> Arc<Self> {
        Arc::new(Self { via, flows: AtomicBool::new(true), events: AtomicU64::new(0), gaps: AtomicU64::new(0) })
    }

    pub(crate) fn flows(&self) -> bool {
        self.flows.load(Ordering::Relaxed)
    }

    pub(crate) fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    pub(crate) fn gaps(&self) -> u64 {
        self.gaps.load(Ordering::Relaxed)
    }

    fn gap(&self) {
        self.gaps.fetch_add(1, Ordering::Relaxed);
        if self.flows.swap(false, Ordering::Relaxed) {
            warn!(
                source = self.via.name(),
                "events may be missing: the shield goes by what it asks for until they flow again"
            );
        }
    }

    fn event(&self) {
        self.events.fetch_add(1, Ordering::Relaxed);
        if !self.flows.load(Ordering::Relaxed) && !self.flows.swap(true, Ordering::Relaxed) {
            info!(source = self.via.name(), "events flow again");
        }
    }
}

/// Acts on what comes until there is no more, or the shield stops.
pub(crate) async fn run(shield: Weak<Shield>, feeding: Arc<Feeding>, mut follow: Follow, shutdown: Shutdown) {
    loop {
        let arrival = tokio::select! {
            arrival = follow.next() => arrival,
            () = shutdown.started() => return,
        };
        let Some(shield) = shield.upgrade() else { return };
        match arrival {
            Some(Arrival::Event(event, _)) => {
                feeding.event();
                shield.act(&feeding.via, *event);
            }
            Some(Arrival::Gap) => feeding.gap(),
            None => {
                feeding.gap();
                warn!(source = feeding.via.name(), "no more events will come");
                return;
            }
        }
    }
}
