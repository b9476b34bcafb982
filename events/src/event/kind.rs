// SPDX-License-Identifier: Apache-2.0
//! The types of events, and sets of them.

use std::fmt;

macro_rules! kinds {
    ($($variant:ident = $name:literal,)*) => {
        /// The type of an event.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Kind {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
        }

        impl Kind {
            /// Every type.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name, the CloudEvents `type`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

// Logs hold the number of a type: a new one goes to the end of the list.
kinds! {
    PartReady = "part.ready",
    SegmentReady = "segment.ready",
    SegmentLost = "segment.lost",
    SegmentExpired = "segment.expired",
    ChannelStarted = "channel.started",
    ChannelEnded = "channel.ended",
    ChannelStalled = "channel.stalled",
    ChannelResumed = "channel.resumed",
    SourceSwitched = "source.switched",
    Discontinuity = "discontinuity",
    Marker = "marker",
    TimelineAnchored = "timeline.anchored",
    Purged = "purged",
    Health = "health",
    Delivery = "delivery",
    CongestionRaised = "congestion.raised",
    CongestionCleared = "congestion.cleared",
    UpstreamDown = "upstream.down",
    UpstreamUp = "upstream.up",
    UpstreamSwitched = "upstream.switched",
    Alert = "alert",
}

impl Kind {
    /// The type of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// The type of that number, as [`Kind`] `as u8` tells it.
    pub fn numbered(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds(u32);

impl Kinds {
    /// All of them.
    pub const ALL: Self = Self(u32::MAX);

    /// None of them.
    pub const NONE: Self = Self(0);

    /// With `kind` too.
    #[must_use]
    pub const fn with(self, kind: Kind) -> Self {
        Self(self.0 | 1 << kind as u8)
    }

    /// True if `kind` is one of them.
    pub const fn has(self, kind: Kind) -> bool {
        self.0 & 1 << kind as u8 != 0
    }

    /// Reads names separated by commas; `channel.*` is every type that begins so.
    ///
    /// # Errors
    /// The name that is none.
    pub fn read(names: &str) -> Result<Self, String> {
        let mut kinds = Self::NONE;
        for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let prefix = name.strip_suffix('*');
            let fits = |kind: &&Kind| prefix.map_or_else(|| kind.name() == name, |p| kind.name().starts_with(p));
            let before = kinds;
            for kind in Kind::ALL.iter().filter(fits) {
                kinds = kinds.with(*kind);
            }
            if kinds == before && !Kind::ALL.iter().any(|kind| fits(&kind)) {
                return Err(name.to_owned());
            }
        }
        Ok(kinds)
    }
}
