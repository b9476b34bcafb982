// SPDX-License-Identifier: Apache-2.0
//! The wall clock, read in one place. Under a paused test runtime it stands still with it.

use std::time::SystemTime;

use headwater_media::UtcTime;
use tokio::time::Instant;

/// UTC for this process.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// The system's.
    System,
    /// Starts at a given time and advances with tokio's clock.
    Runtime {
        /// UTC at `since`.
        base: UtcTime,
        /// When it started.
        since: Instant,
    },
}

impl Clock {
    /// A clock that reads `base` now and advances with the runtime.
    pub fn starting_at(base: UtcTime) -> Self {
        Self::Runtime { base, since: Instant::now() }
    }

    /// Now.
    pub fn now(&self) -> UtcTime {
        match self {
            Self::System => UtcTime::from_system(SystemTime::now()),
            Self::Runtime { base, since } => *base + since.elapsed(),
        }
    }
}
