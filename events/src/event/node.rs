// SPDX-License-Identifier: Apache-2.0
//! Events of nodes: their load, what they delivered, who they ask, what they were told.

use std::ops::AddAssign;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Timestamp;

macro_rules! named {
    ($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum $type { $($(#[$variant_doc])* $variant,)* }

        impl $type {
            /// As events write it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

named! {
    /// What a node is.
    Role {
        /// It packages and serves.
        Origin = "origin",
        /// It caches.
        Shield = "shield",
    }
}

named! {
    /// What may run short.
    Resource {
        /// Processor time.
        Cpu = "cpu",
        /// Memory.
        Memory = "memory",
        /// Bits per second sent.
        Egress = "egress",
        /// Connections.
        Connections = "connections",
        /// Requests refused by a bound.
        Refusals = "refusals",
    }
}

named! {
    /// Whether an alert begins or ends.
    AlertState {
        /// The threshold is crossed.
        Firing = "firing",
        /// It is not any more.
        Resolved = "resolved",
    }
}

named! {
    /// How much an alert matters.
    Severity {
        /// To be looked at.
        Warning = "warning",
        /// Viewers notice.
        Critical = "critical",
    }
}

named! {
    /// What a purge names.
    PurgedBy {
        /// One URL.
        Url = "url",
        /// URLs that begin so.
        Prefix = "prefix",
        /// A tag of objects.
        Tag = "tag",
    }
}

/// What caches hold is not to be served any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Purged {
    /// What names it.
    pub by: PurgedBy,
    /// The URL or path, its beginning, or the tag.
    pub value: String,
    /// Whose tag it is, where not every tenant's is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// It may still be served while it is asked for anew.
    pub soft: bool,
    /// The channel it is of, where it is of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
}

/// A node's heartbeat, with its load over the interval before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// Its name.
    pub node: String,
    /// What it is.
    pub role: Role,
    /// The interval it speaks of, in milliseconds.
    pub interval_ms: u64,
    /// Open connections.
    pub connections: u64,
    /// Requests in the interval.
    pub requests: u64,
    /// Requests refused by a bound in the interval.
    pub refused: u64,
    /// Bytes sent in the interval.
    pub egress_bytes: u64,
    /// Bytes taken in the interval.
    pub ingress_bytes: u64,
    /// Bits per second sent, of the interval.
    pub egress_bits_per_second: u64,
    /// Processor time used in the interval, thousandths of one processor.
    pub cpu_millicores: u64,
    /// Processors it may use, thousandths.
    pub cpu_millicores_max: u64,
    /// Resident memory.
    pub memory_bytes: u64,
    /// The bound of it; 0: none is known.
    pub memory_bytes_max: u64,
    /// Channels on air, or channels delivered in the interval.
    pub channels: u64,
    /// Resources that are short at present.
    pub congested: Vec<Resource>,
}

/// Upper bounds of the classes of [`FillTimes`], in milliseconds; the last class has none.
pub const FILL_BOUNDS_MS: [u64; 15] = [1, 2, 5, 10, 20, 35, 50, 75, 100, 150, 200, 350, 500, 1_000, 2_500];

/// How many fills took how long to their first byte: each class counts those at or below its bound and above the one
/// before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub struct FillTimes {
    pub le_1: u64,
    pub le_2: u64,
    pub le_5: u64,
    pub le_10: u64,
    pub le_20: u64,
    pub le_35: u64,
    pub le_50: u64,
    pub le_75: u64,
    pub le_100: u64,
    pub le_150: u64,
    pub le_200: u64,
    pub le_350: u64,
    pub le_500: u64,
    pub le_1000: u64,
    pub le_2500: u64,
    pub more: u64,
}

impl FillTimes {
    /// The classes in order of their bounds, the boundless one last.
    pub const fn classes(&self) -> [u64; 16] {
        [
            self.le_1,
            self.le_2,
            self.le_5,
            self.le_10,
            self.le_20,
            self.le_35,
            self.le_50,
            self.le_75,
            self.le_100,
            self.le_150,
            self.le_200,
            self.le_350,
            self.le_500,
            self.le_1000,
            self.le_2500,
            self.more,
        ]
    }

    /// Of these classes.
    pub const fn of(c: [u64; 16]) -> Self {
        Self {
            le_1: c[0],
            le_2: c[1],
            le_5: c[2],
            le_10: c[3],
            le_20: c[4],
            le_35: c[5],
            le_50: c[6],
            le_75: c[7],
            le_100: c[8],
            le_150: c[9],
            le_200: c[10],
            le_350: c[11],
            le_500: c[12],
            le_1000: c[13],
            le_2500: c[14],
            more: c[15],
        }
    }

    /// The class of a time.
    pub fn class(ms: u64) -> usize {
        FILL_BOUNDS_MS.iter().position(|bound| ms <= *bound).unwrap_or(FILL_BOUNDS_MS.len())
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.classes().into_iter().fold(0, u64::saturating_add)
    }

    /// The bound of the class in which the fill at `percent` of all lies, nearest rank; `None` without fills, the
    /// largest bound for those past it.
    pub fn percentile_ms(&self, percent: u64) -> Option<u64> {
        let rank = (u128::from(self.count()) * u128::from(percent)).div_ceil(100).max(1);
        let mut below = 0;
        for (class, count) in self.classes().into_iter().enumerate() {
            below += u128::from(count);
            if below >= rank {
                return Some(*FILL_BOUNDS_MS.get(class).unwrap_or(&FILL_BOUNDS_MS[14]));
            }
        }
        None
    }
}

impl AddAssign<&Self> for FillTimes {
    fn add_assign(&mut self, other: &Self) {
        let (mine, theirs) = (self.classes(), other.classes());
        *self = Self::of(std::array::from_fn(|i| mine[i].saturating_add(theirs[i])));
    }
}

/// What a shield delivered of a channel in an interval. Its event's time is the interval's begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Delivery {
    /// The shield.
    pub node: String,
    /// The channel.
    pub channel: String,
    /// The interval, in milliseconds.
    pub interval_ms: u64,
    /// Requests answered.
    pub requests: u64,
    /// Those that no origin was asked for: held, or followed another's fill.
    pub hits: u64,
    /// Those answered with what was stale.
    pub stale: u64,
    /// Those answered with an error of the server, 5xx.
    pub errors: u64,
    /// Those refused by a bound.
    pub refused: u64,
    /// Bytes sent.
    pub bytes: u64,
    /// Requests to origins, prefetches among them.
    pub origin_requests: u64,
    /// Of these, asked for by an event before anybody.
    pub prefetches: u64,
    /// Bytes from origins.
    pub origin_bytes: u64,
    /// Times of fills to their first byte.
    pub fills: FillTimes,
}

/// A resource of a node that runs short, or does not any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Congestion {
    /// The node.
    pub node: String,
    /// What it is.
    pub role: Role,
    /// The resource.
    pub resource: Resource,
    /// How much of it is used, percent.
    pub used_percent: u64,
    /// Raised at this.
    pub raised_at_percent: u64,
    /// Cleared below this.
    pub cleared_below_percent: u64,
}

/// An origin as a shield sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Upstream {
    /// The group of origins.
    pub upstream: String,
    /// The origin.
    pub origin: String,
    /// Why.
    pub reason: String,
}

/// A channel is asked of another origin of its group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UpstreamSwitched {
    /// The group of origins.
    pub upstream: String,
    /// The channel that is asked of another; none: what belongs to no channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Who was asked first before.
    pub from: String,
    /// Who is asked first now.
    pub to: String,
    /// Why.
    pub reason: String,
}

/// A threshold is crossed over a window, or no longer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Alert {
    /// The rule's name.
    pub rule: String,
    /// The channel, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Whether it begins or ends.
    pub state: AlertState,
    /// How much it matters.
    pub severity: Severity,
    /// What was measured.
    pub value: f64,
    /// What it is measured against.
    pub threshold: f64,
    /// Where the window begins.
    pub window_start: Timestamp,
    /// Where it ends.
    pub window_end: Timestamp,
    /// In words.
    pub text: String,
}
