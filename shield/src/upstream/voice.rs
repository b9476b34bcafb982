// SPDX-License-Identifier: Apache-2.0
//! Tells the world what changed about a group's origins. Nothing here waits: it is spoken under the group's lock.

use std::sync::Arc;
use std::time::SystemTime;

use headwater_events::event::{Upstream, UpstreamSwitched};
use headwater_events::{Data, Publisher};
use headwater_media::UtcTime;

/// Publishes for one group.
#[derive(Debug)]
pub(super) struct Voice {
    pub(super) publisher: Publisher,
    pub(super) group: Arc<str>,
}

impl Voice {
    /// An origin is not asked any more.
    pub(super) fn down(&self, origin: &str, reason: String) {
        self.publish(Data::UpstreamDown(self.upstream(origin, reason)));
    }

    /// It is asked again.
    pub(super) fn up(&self, origin: &str, reason: &str) {
        self.publish(Data::UpstreamUp(self.upstream(origin, reason.to_owned())));
    }

    /// A channel is asked of another origin; an empty name is what belongs to no channel.
    pub(super) fn switched(&self, channel: &str, from: &str, to: &str, reason: String) {
        self.publish(Data::UpstreamSwitched(UpstreamSwitched {
            upstream: self.group.to_string(),
            channel: (!channel.is_empty()).then(|| channel.to_owned()),
            from: from.to_owned(),
            to: to.to_owned(),
            reason,
        }));
    }

    fn upstream(&self, origin: &str, reason: String) -> Upstream {
        Upstream { upstream: self.group.to_string(), origin: origin.to_owned(), reason }
    }

    fn publish(&self, data: Data) {
        self.publisher.publish(UtcTime::from_system(SystemTime::now()), data);
    }
}
