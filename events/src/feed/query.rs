// SPDX-License-Identifier: Apache-2.0
//! What a follower asks for: `types`, `channel`, `from`, and where it was before.

use headwater_media::UtcTime;
use http::HeaderMap;
use url::form_urlencoded;

use super::Since;
use crate::event::{Kind, Kinds, Timestamp};
use crate::filter::Filter;
use crate::log::Offset;

/// Channels that one follower may name.
const CHANNELS_MAX: usize = 256;

/// Why a request for the feed is not answered with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} in {name}, got {got}")]
pub struct Invalid {
    /// The parameter or header.
    pub name: &'static str,
    /// What it may be.
    pub expected: &'static str,
    /// What it was.
    pub got: String,
}

/// A follower's request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) filter: Filter,
    pub(super) since: Since,
}

impl Since {
    /// Reads `first`, `end`, an offset, or a time of RFC 3339.
    ///
    /// # Errors
    /// [`Invalid`] for anything else.
    pub fn read(text: &str) -> Result<Self, Invalid> {
        match text {
            "first" => Ok(Self::First),
            "end" => Ok(Self::End),
            _ if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse().map(|number| Self::Offset(Offset(number))).map_err(|_| invalid_from(text))
            }
            _ => UtcTime::parse(text).map(Self::Time).ok_or_else(|| invalid_from(text)),
        }
    }
}

impl std::fmt::Display for Since {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::First => f.write_str("first"),
            Self::End => f.write_str("end"),
            Self::Offset(offset) => write!(f, "{}", offset.0),
            Self::Time(time) => write!(f, "{}", Timestamp(*time)),
        }
    }
}

fn invalid_from(text: &str) -> Invalid {
    invalid("from", "first, end, an offset, or a time of RFC 3339", text)
}

fn invalid(name: &'static str, expected: &'static str, got: &str) -> Invalid {
    Invalid { name, expected, got: got.chars().take(100).collect() }
}

impl Query {
    /// Reads a request. `Last-Event-ID` counts before `lastEventId`, and both before `from`.
    pub(super) fn read(query: &str, headers: &HeaderMap) -> Result<Self, Invalid> {
        let mut asked = Self::default();
        let mut last = None;
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "types" => {
                    asked.filter.kinds = Kinds::read(&value)
                        .map_err(|name| invalid("types", "names of types, as part.ready,channel.*", &name))?;
                }
                "channel" => {
                    asked.filter.channels.extend(value.split(',').filter(|name| !name.is_empty()).map(str::to_owned));
                    if asked.filter.channels.len() > CHANNELS_MAX {
                        return Err(invalid("channel", "at most 256 names", &value));
                    }
                }
                "from" => asked.since = Since::read(&value)?,
                "lastEventId" => last = Some(("lastEventId", value.into_owned())),
                other => return Err(invalid("the query", "types, channel, from or lastEventId", other)),
            }
        }
        if let Some(value) = headers.get("last-event-id") {
            last = Some(("Last-Event-ID", String::from_utf8_lossy(value.as_bytes()).into_owned()));
        }
        if let Some((name, value)) = last.filter(|(_, value)| !value.is_empty()) {
            let number: u64 = value.parse().map_err(|_| invalid(name, "an offset", &value))?;
            asked.since = Since::Offset(Offset(number).after());
        }
        Ok(asked)
    }

    /// As a client writes it; the inverse of [`read`](Self::read).
    pub(super) fn write(&self, url: &mut url::Url) {
        let mut pairs = url.query_pairs_mut();
        if self.filter.kinds != Kinds::ALL {
            let wanted = Kind::ALL.iter().filter(|kind| self.filter.kinds.has(**kind));
            pairs.append_pair("types", &wanted.map(|kind| kind.name()).collect::<Vec<_>>().join(","));
        }
        for channel in &self.filter.channels {
            pairs.append_pair("channel", channel);
        }
        pairs.append_pair("from", &self.since.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Query, Invalid> {
        Query::read(query, &HeaderMap::new())
    }

    #[test]
    fn what_a_client_writes_is_what_the_server_reads() {
        for since in [
            Since::First,
            Since::End,
            Since::Offset(Offset(u64::MAX)),
            Since::Time(UtcTime::from_nanos(1_790_000_000_000_000_001)),
        ] {
            let filter = Filter {
                kinds: Kinds::NONE.with(Kind::PartReady).with(Kind::Alert),
                channels: vec!["news/1 &=".to_owned(), "sport".to_owned()],
            };
            let query = Query { filter, since };
            let mut url = url::Url::parse("http://origin/events").unwrap();
            query.write(&mut url);
            assert_eq!(read(url.query().unwrap()), Ok(query));
        }
    }

    #[test]
    fn a_follower_that_resumes_begins_behind_what_it_had() {
        assert_eq!(read("from=first&lastEventId=7").unwrap().since, Since::Offset(Offset(8)));
        let headers = HeaderMap::from_iter([("last-event-id".parse().unwrap(), "9".parse().unwrap())]);
        assert_eq!(Query::read("lastEventId=7", &headers).unwrap().since, Since::Offset(Offset(10)));
        assert_eq!(read("").unwrap(), Query::default());
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for (query, error) in [
            ("types=part.redy", "expected names of types, as part.ready,channel.* in types, got part.redy"),
            ("from=yesterday", "expected first, end, an offset, or a time of RFC 3339 in from, got yesterday"),
            (
                "from=99999999999999999999",
                "expected first, end, an offset, or a time of RFC 3339 in from, got 99999999999999999999",
            ),
            ("lastEventId=-1", "expected an offset in lastEventId, got -1"),
            ("type=alert", "expected types, channel, from or lastEventId in the query, got type"),
        ] {
            assert_eq!(read(query).unwrap_err().to_string(), error);
        }
    }
}
