// SPDX-License-Identifier: Apache-2.0
//! One event: a CloudEvents 1.0 envelope, JSON, around the data of its type.
//!
//! Ids follow from what an event is about, so whoever has seen one knows its copy: twin origins that publish the same
//! object write the same event but for `source`.

mod channel;
mod kind;
mod node;
mod object;
mod time;

use std::fmt;
use std::sync::Arc;

use headwater_media::UtcTime;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

pub use channel::{
    Anchor, ChannelEnded, ChannelResumed, ChannelStalled, ChannelStarted, Discontinuity, Marker, SourceSwitched,
    TimelineAnchored,
};
pub use kind::{Kind, Kinds};
pub use node::{
    Alert, AlertState, Congestion, Delivery, FILL_BOUNDS_MS, FillTimes, Health, Purged, PurgedBy, Resource, Role,
    Severity, Upstream, UpstreamSwitched,
};
pub use object::{PartReady, SegmentExpired, SegmentLost, SegmentReady};
pub use time::Timestamp;

/// Why a text is no event of ours.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not JSON, or not of the shape that its type has.
    #[error("expected a CloudEvent of a known shape: {0}")]
    Json(#[from] serde_json::Error),
    /// An attribute is missing or of another version.
    #[error("expected {expected} in the attribute {attribute}, got {got}")]
    Attribute {
        /// Its name.
        attribute: &'static str,
        /// What it may be.
        expected: &'static str,
        /// What it was.
        got: String,
    },
}

/// Who publishes: `/origin/{node}` or `/shield/{node}`, a URI reference (CloudEvents 1.0, 3.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source(Arc<str>);

impl Source {
    /// A part of the node of that name.
    pub fn new(role: Role, node: &str) -> Self {
        Self(format!("/{}/{node}", role.name()).into())
    }

    /// As another wrote it.
    pub fn read(text: &str) -> Self {
        Self(text.into())
    }

    /// As it stands in the event.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The node's name.
    pub fn node(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Equal for copies of it, whoever published them.
    pub id: String,
    /// Who published it.
    pub source: Source,
    /// When it happened. Of media it is when the media ends on the UTC timeline, which twins agree on.
    pub time: Timestamp,
    /// What happened.
    pub data: Data,
}

macro_rules! data {
    ($($(#[doc = $doc:literal])* $variant:ident($type:ty) = $kind:ident,)*) => {
        /// What happened, by type.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Data {
            $($(#[doc = $doc])* $variant($type),)*
        }

        impl Data {
            /// Its type.
            pub const fn kind(&self) -> Kind {
                match self { $(Self::$variant(_) => Kind::$kind,)* }
            }

            fn read(kind: Kind, data: Value) -> Result<Self, serde_json::Error> {
                Ok(match kind { $(Kind::$kind => Self::$variant(serde_json::from_value(data)?),)* })
            }

            /// The JSON Schema of the data of a type, without references.
            pub fn schema(kind: Kind) -> schemars::Schema {
                let settings = schemars::generate::SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
                let schemas = settings.into_generator();
                match kind { $(Kind::$kind => schemas.into_root_schema_for::<$type>(),)* }
            }

            /// What an event of a type says, in a sentence.
            pub const fn says(kind: Kind) -> &'static str {
                match kind { $(Kind::$kind => concat!($($doc),*).trim_ascii(),)* }
            }
        }

        impl Serialize for Data {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self { $(Self::$variant(data) => data.serialize(serializer),)* }
            }
        }
    };
}

data! {
    /// A part can be fetched.
    PartReady(PartReady) = PartReady,
    /// A segment is complete and can be fetched.
    SegmentReady(SegmentReady) = SegmentReady,
    /// A segment will never come: playlists say EXT-X-GAP.
    SegmentLost(SegmentLost) = SegmentLost,
    /// A segment has left the window and its bytes are gone.
    SegmentExpired(SegmentExpired) = SegmentExpired,
    /// A channel is on air.
    ChannelStarted(ChannelStarted) = ChannelStarted,
    /// A channel has ended and is gone.
    ChannelEnded(ChannelEnded) = ChannelEnded,
    /// A channel that was on air brings nothing.
    ChannelStalled(ChannelStalled) = ChannelStalled,
    /// It goes on.
    ChannelResumed(ChannelResumed) = ChannelResumed,
    /// A track is on air from another sender.
    SourceSwitched(SourceSwitched) = SourceSwitched,
    /// A new generation begins: an HLS discontinuity, a DASH Period.
    Discontinuity(Discontinuity) = Discontinuity,
    /// Timed metadata, SCTE-35 among it.
    Marker(Marker) = Marker,
    /// Where a source's timeline lies on UTC.
    TimelineAnchored(TimelineAnchored) = TimelineAnchored,
    /// What caches hold is not to be served any more.
    Purged(Purged) = Purged,
    /// A node's heartbeat, with its load.
    Health(Health) = Health,
    /// What a shield delivered of a channel in an interval.
    Delivery(Delivery) = Delivery,
    /// A resource of a node runs short.
    CongestionRaised(Congestion) = CongestionRaised,
    /// It does not any more.
    CongestionCleared(Congestion) = CongestionCleared,
    /// An origin is not asked any more.
    UpstreamDown(Upstream) = UpstreamDown,
    /// It is asked again.
    UpstreamUp(Upstream) = UpstreamUp,
    /// A channel is asked of another origin of its group.
    UpstreamSwitched(UpstreamSwitched) = UpstreamSwitched,
    /// A threshold is crossed, or no longer.
    Alert(Alert) = Alert,
}

impl Data {
    /// The channel it is about, if it is about one.
    pub fn channel(&self) -> Option<&str> {
        Some(match self {
            Self::PartReady(d) => &d.channel,
            Self::SegmentReady(d) => &d.channel,
            Self::SegmentLost(d) => &d.channel,
            Self::SegmentExpired(d) => &d.channel,
            Self::ChannelStarted(d) => &d.channel,
            Self::ChannelEnded(d) => &d.channel,
            Self::ChannelStalled(d) => &d.channel,
            Self::ChannelResumed(d) => &d.channel,
            Self::SourceSwitched(d) => &d.channel,
            Self::Discontinuity(d) => &d.channel,
            Self::Marker(d) => &d.channel,
            Self::TimelineAnchored(d) => &d.channel,
            Self::Delivery(d) => &d.channel,
            Self::Purged(d) => d.channel.as_deref()?,
            Self::UpstreamSwitched(d) => d.channel.as_deref()?,
            Self::Alert(d) => d.channel.as_deref()?,
            Self::Health(_)
            | Self::CongestionRaised(_)
            | Self::CongestionCleared(_)
            | Self::UpstreamDown(_)
            | Self::UpstreamUp(_) => return None,
        })
    }

    /// The track it is about, if it is about one.
    pub fn track(&self) -> Option<&str> {
        Some(match self {
            Self::PartReady(d) => &d.track,
            Self::SegmentReady(d) => &d.track,
            Self::SegmentLost(d) => &d.track,
            Self::SegmentExpired(d) => &d.track,
            Self::SourceSwitched(d) => &d.track,
            Self::Marker(d) => d.track.as_deref()?,
            _ => return None,
        })
    }

    /// What tells this from any other of its type: the id without the type. `node` and `time` tell apart what nothing
    /// else does.
    fn subject_id(&self, node: &str, time: Timestamp) -> String {
        match self {
            Self::PartReady(d) => format!("{}/{}/{}.{}@{}", d.channel, d.track, d.sequence, d.part, d.generation),
            Self::SegmentReady(d) => format!("{}/{}/{}@{}", d.channel, d.track, d.sequence, d.generation),
            Self::SegmentLost(d) => format!("{}/{}/{}@{}", d.channel, d.track, d.sequence, d.generation),
            Self::SegmentExpired(d) => format!("{}/{}/{}@{}", d.channel, d.track, d.sequence, d.generation),
            Self::Discontinuity(d) => format!("{}@{}", d.channel, d.generation),
            Self::TimelineAnchored(d) => format!("{}@{}", d.channel, d.generation),
            Self::SourceSwitched(d) => format!("{}/{}/{}@{}", d.channel, d.track, d.sequence, d.to),
            Self::Marker(d) => {
                let track = d.track.as_deref().unwrap_or("-");
                format!("{}/{track}/{}/{}@{}", d.channel, d.scheme, d.id, d.start)
            }
            Self::Delivery(d) => format!("{node}/{}@{time}", d.channel),
            Self::Alert(d) => {
                let (channel, state) = (d.channel.as_deref().unwrap_or("-"), d.state.name());
                format!("{}/{channel}/{state}@{}", d.rule, d.window_end)
            }
            Self::Health(d) => format!("{}/{node}@{time}", d.role.name()),
            other => format!("{node}/{}@{time}", other.channel().unwrap_or("-")),
        }
    }
}

impl Event {
    /// What `source` tells of `data`, which happened at `time`.
    pub fn new(source: &Source, time: UtcTime, data: Data) -> Self {
        let time = Timestamp(time);
        let mut subject = data.subject_id(source.node(), time);
        match &data {
            Data::UpstreamDown(u) | Data::UpstreamUp(u) => subject = format!("{}/{}/{subject}", u.upstream, u.origin),
            Data::UpstreamSwitched(u) => subject = format!("{}/{subject}", u.upstream),
            Data::CongestionRaised(c) | Data::CongestionCleared(c) => {
                subject = format!("{}/{subject}", c.resource.name());
            }
            Data::Purged(p) => subject = format!("{}/{subject}", p.value),
            _ => {}
        }
        Self { id: format!("{}:{subject}", data.kind().name()), source: source.clone(), time, data }
    }

    /// Its type.
    pub const fn kind(&self) -> Kind {
        self.data.kind()
    }

    /// The CloudEvents subject: `channel/track`, `channel`, or none.
    pub fn subject(&self) -> Option<String> {
        let channel = self.data.channel()?;
        Some(self.data.track().map_or_else(|| channel.to_owned(), |track| format!("{channel}/{track}")))
    }

    /// What orders it among others: events of one key are in order, everywhere.
    pub fn key(&self) -> String {
        match crate::topic::Topic::of(self.kind()) {
            crate::topic::Topic::Health => self.source.node().to_owned(),
            crate::topic::Topic::Segments => self.subject().unwrap_or_default(),
            _ => self.data.channel().unwrap_or_else(|| self.source.node()).to_owned(),
        }
    }

    /// As CloudEvents JSON (structured mode), `application/cloudevents+json`.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("an event is strings and numbers")
    }

    /// Reads CloudEvents JSON.
    ///
    /// # Errors
    /// [`Error`] for another version, a type that is not ours, or data of another shape.
    pub fn from_json(json: &[u8]) -> Result<Self, Error> {
        let envelope: Envelope = serde_json::from_slice(json)?;
        if envelope.specversion != "1.0" {
            return Err(Error::Attribute { attribute: "specversion", expected: "1.0", got: envelope.specversion });
        }
        let kind = Kind::named(&envelope.kind).ok_or(Error::Attribute {
            attribute: "type",
            expected: "a type of Headwater's",
            got: envelope.kind,
        })?;
        let data = Data::read(kind, envelope.data)?;
        Ok(Self { id: envelope.id, source: Source::read(&envelope.source), time: envelope.time, data })
    }
}

#[derive(Deserialize)]
struct Envelope {
    specversion: String,
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    time: Timestamp,
    data: Value,
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("specversion", "1.0")?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("source", self.source.as_str())?;
        map.serialize_entry("type", self.kind().name())?;
        if let Some(subject) = self.subject() {
            map.serialize_entry("subject", &subject)?;
        }
        map.serialize_entry("time", &self.time)?;
        map.serialize_entry("datacontenttype", "application/json")?;
        map.serialize_entry("dataschema", &crate::schema::data_id(self.kind()))?;
        map.serialize_entry("data", &self.data)?;
        map.end()
    }
}

#[cfg(test)]
mod tests;
