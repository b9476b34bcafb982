// SPDX-License-Identifier: Apache-2.0
//! UTC times as events write them: RFC 3339 with nanoseconds, so that nothing is lost on the way.

use std::borrow::Cow;
use std::fmt;

use headwater_media::UtcTime;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A UTC time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub UtcTime);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.nanos();
        let below = nanos.rem_euclid(1_000_000_000);
        let written = UtcTime::from_nanos(nanos.saturating_sub(below)).rfc3339_millis();
        let whole = written.rsplit_once('.').map_or(written.as_str(), |(whole, _)| whole);
        match below {
            below if below % 1_000_000 == 0 => write!(f, "{whole}.{:03}Z", below / 1_000_000),
            below => write!(f, "{whole}.{below:09}Z"),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        let expected = "a time of RFC 3339 between the years 1678 and 2262";
        UtcTime::parse(&text).map(Self).ok_or_else(|| de::Error::invalid_value(de::Unexpected::Str(&text), &expected))
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_their_nanoseconds_and_show_no_more_than_they_have() {
        for (nanos, text) in [
            (1_790_000_000_250_000_000, "2026-09-21T14:13:20.250Z"),
            (1_790_000_000_000_000_001, "2026-09-21T14:13:20.000000001Z"),
            (-1, "1969-12-31T23:59:59.999999999Z"),
            (i64::MAX, "2262-04-11T23:47:16.854775807Z"),
        ] {
            let time = Timestamp(UtcTime::from_nanos(nanos));
            assert_eq!(time.to_string(), text);
            assert_eq!(serde_json::from_str::<Timestamp>(&format!("\"{text}\"")).unwrap(), time);
        }
        assert_eq!(Timestamp(UtcTime::from_nanos(i64::MIN)).to_string(), "1677-09-21T00:12:43.145224192Z");
    }
}
