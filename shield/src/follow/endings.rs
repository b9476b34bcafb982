// SPDX-License-Identifier: Apache-2.0
//! What was told once and for all: channels that ended, by which origin, and purges that came already. Bounded: what is
//! forgotten is only done again, or waited for as if nobody had told.

use std::collections::{HashMap, HashSet, VecDeque};

use headwater_events::{Event, Source};
use parking_lot::Mutex;

/// Channels that are remembered.
const CHANNELS_MAX: usize = 4_096;
/// Sources of one channel's end that are told apart.
const SOURCES_MAX: usize = 16;
/// Events that are remembered.
const EVENTS_MAX: usize = 1_024;

/// A channel of a group.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Channel {
    group: Box<str>,
    name: Box<str>,
}

/// Which origins have ended which channels.
#[derive(Debug, Default)]
pub(super) struct Endings {
    /// Held to note one.
    told: Mutex<HashMap<Channel, HashSet<Source>>>,
}

impl Endings {
    /// Notes that a channel ended at an origin; at how many of a group it has.
    pub(super) fn ended(&self, group: &str, channel: &str, source: &Source) -> usize {
        let mut told = self.told.lock();
        if told.len() >= CHANNELS_MAX {
            told.clear();
        }
        let sources = told.entry(Channel { group: group.into(), name: channel.into() }).or_default();
        if sources.len() < SOURCES_MAX {
            sources.insert(source.clone());
        }
        sources.len()
    }

    /// A channel goes on, whoever tells.
    pub(super) fn goes_on(&self, channel: &str) {
        let mut told = self.told.lock();
        if !told.is_empty() {
            told.retain(|ended, _| *ended.name != *channel);
        }
    }
}

/// What tells events apart: copies have the same.
type Name = (Source, String);

/// Events that came lately.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Held to note one.
    state: Mutex<Names>,
}

#[derive(Debug, Default)]
struct Names {
    known: HashSet<Name>,
    /// The oldest first.
    order: VecDeque<Name>,
}

impl Seen {
    /// True if this one has not come before, as far as is remembered.
    pub(super) fn is_new(&self, event: &Event) -> bool {
        let name = (event.source.clone(), event.id.clone());
        let Names { known, order } = &mut *self.state.lock();
        if !known.insert(name.clone()) {
            return false;
        }
        order.push_back(name);
        if order.len() > EVENTS_MAX
            && let Some(oldest) = order.pop_front()
        {
            known.remove(&oldest);
        }
        true
    }
}
