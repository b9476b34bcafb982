// SPDX-License-Identifier: Apache-2.0
//! Publishing: what happened goes into a bounded queue and is written by a thread of its own; nobody who publishes waits.

use std::sync::Arc;
use std::time::SystemTime;

use headwater_media::UtcTime;

use crate::event::{Data, Event, Role, Source};
use crate::log::Log;

/// Takes events of one source; cheap to clone.
#[derive(Clone, Debug)]
pub struct Publisher {
    source: Source,
    log: Arc<Log>,
}

impl Publisher {
    /// A publisher whose log is in memory alone.
    pub fn memory(source: Source) -> Self {
        Self { source, log: Arc::new(Log::memory()) }
    }

    /// Another source of the same node, into the same log.
    #[must_use]
    pub fn of(&self, role: Role) -> Self {
        Self { source: Source::new(role, self.source.node()), log: Arc::clone(&self.log) }
    }

    /// Who publishes.
    pub const fn source(&self) -> &Source {
        &self.source
    }

    /// Takes an event; never waits, never fails. What the bound of the queue does not let through is counted, oldest
    /// `part.ready` first.
    pub fn publish(&self, time: UtcTime, data: Data) {
        self.log.append(&[Event::new(&self.source, time, data)], UtcTime::from_system(SystemTime::now()));
    }

    /// What was published.
    pub const fn log(&self) -> &Arc<Log> {
        &self.log
    }
}
