// SPDX-License-Identifier: Apache-2.0
//! Which topic an event belongs to; within a topic events of one key are in order.

use crate::event::Kind;

/// A topic, without the prefix of its installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Objects, keyed by `channel/track`.
    Segments,
    /// Channels, sources, purges, congestion, upstreams, alerts, keyed by channel or node.
    Control,
    /// Heartbeats and deliveries, keyed by node.
    Health,
    /// Anchors of timelines, keyed by channel, compacted.
    Timeline,
}

impl Topic {
    /// Every topic.
    pub const ALL: [Self; 4] = [Self::Segments, Self::Control, Self::Health, Self::Timeline];

    /// Where events of a type go.
    pub const fn of(kind: Kind) -> Self {
        match kind {
            Kind::PartReady | Kind::SegmentReady | Kind::SegmentLost | Kind::SegmentExpired => Self::Segments,
            Kind::Health | Kind::Delivery => Self::Health,
            Kind::TimelineAnchored => Self::Timeline,
            _ => Self::Control,
        }
    }

    /// Its name behind the prefix.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Segments => "segments",
            Self::Control => "control",
            Self::Health => "health",
            Self::Timeline => "timeline",
        }
    }

    /// Its name in an installation.
    pub fn of_prefix(self, prefix: &str) -> String {
        format!("{prefix}.{}", self.name())
    }

    /// Only the latest of each key is to be kept.
    pub const fn is_compacted(self) -> bool {
        matches!(self, Self::Timeline)
    }
}
