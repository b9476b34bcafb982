// SPDX-License-Identifier: Apache-2.0
//! Who publishes in this process.

use headwater_events::event::Role;
use headwater_events::{Config, Publisher, Source};

/// The publisher of a process by its configuration.
pub(crate) fn publisher(config: &Config, role: Role) -> Publisher {
    let node = config.node.as_deref().unwrap_or("headwater");
    Publisher::memory(Source::new(role, node))
}
