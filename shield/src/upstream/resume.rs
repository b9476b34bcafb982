// SPDX-License-Identifier: Apache-2.0
//! Going on with a body that broke off, from another origin first: its readers are to notice nothing, so what follows
//! must be the rest of the very same bytes. Proof of that is a strong ETag (RFC 9110, 13.1.5 and 14.2), or the
//! configuration's word that the origins are identical together with lengths and bytes that agree.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::header::{
    CONTENT_ENCODING, CONTENT_RANGE, ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
    RANGE,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, response};
use tracing::{info, warn};

use super::ask::fault;
use super::body::{BodyError, length};
use super::error::{Cause, Error};
use super::group::{Members, Witness, now};
use super::origin::{Heard, Origin};
use super::{Answer, Ask, Group, OriginId};

/// What there is of a body that broke off.
#[derive(Clone, Copy, Debug)]
pub struct Resume<'a> {
    /// Who sent it.
    pub from: OriginId,
    /// The head it came with.
    pub head: &'a response::Parts,
    /// Every byte that has come, in order.
    pub held: &'a [Bytes],
}

impl Group {
    /// The rest of a body that broke off: an answer whose body begins where `from.held` ends. Its head is that of the
    /// partial answer (206), or of a whole one (200) whose beginning was compared and taken off.
    ///
    /// The other origins are asked first, in their order, then the one that broke off. May be called again when that
    /// body breaks off too; whoever does bounds how often.
    ///
    /// # Errors
    /// [`Error::NotResumable`] if nothing could prove that the bytes belong together; [`Error::Different`] if an origin
    /// has other bytes under that name; [`Error::Failed`] if none can be had.
    pub async fn resume(&self, ask: &Ask, from: Resume<'_>) -> Result<Answer, Error> {
        let members = self.members.load_full();
        let wanted = Wanted::new(ask, &from, members.settings.identical)?;
        let mut order = self.known.machine.lock().order(ask.channel.as_ref(), false, now());
        // NB: sort is stable: the one that broke off goes last, the others stay as they are.
        order.sort_by_key(|id| *id == from.from);
        let mut last = Error::NotResumable("no origin");
        for (origin, attempts) in order.into_iter().filter_map(|id| members.origin(id)).zip(1..) {
            match self.resume_from(origin, &members, ask, &from, &wanted).await {
                Ok(heard) => {
                    origin.counts.resumed.fetch_add(1, Ordering::Relaxed);
                    let offset_bytes = wanted.offset_bytes;
                    info!(group = %self.name, origin = %origin.name, target = %ask.target, offset_bytes, "a body goes on");
                    let Heard { head, body, requested, received } = heard;
                    return Ok(Answer { head, body, origin: origin.id, requested, received, attempts });
                }
                Err(Failure::Cause(cause)) => {
                    if !matches!(last, Error::Different { .. }) {
                        last = Error::Failed { origin: Arc::clone(&origin.name), cause, attempts };
                    }
                }
                Err(Failure::Different { expected, got }) => {
                    warn!(
                        group = %self.name, origin = %origin.name, target = %ask.target, expected, got,
                        "an origin has other bytes under the same name"
                    );
                    last = Error::Different { origin: Arc::clone(&origin.name), expected, got };
                }
            }
        }
        Err(last)
    }

    async fn resume_from(
        &self,
        origin: &Origin,
        members: &Members,
        ask: &Ask,
        from: &Resume<'_>,
        wanted: &Wanted,
    ) -> Result<Heard, Failure> {
        if wanted.offset_bytes > 0 {
            let heard = self.rest_of(origin, members, ask, Some(wanted)).await?;
            match heard.head.status {
                StatusCode::PARTIAL_CONTENT => return wanted.partial(heard, from),
                StatusCode::OK => return wanted.whole(heard, from).await,
                // Nothing is left of it, or the origin takes no ranges of what still grows.
                StatusCode::RANGE_NOT_SATISFIABLE => {}
                status => return Err(Failure::status(status)),
            }
        }
        let heard = self.rest_of(origin, members, ask, None).await?;
        match heard.head.status {
            StatusCode::OK => wanted.whole(heard, from).await,
            status => Err(Failure::status(status)),
        }
    }

    /// Asks for the range that is wanted, or for all of it.
    async fn rest_of(
        &self,
        origin: &Origin,
        members: &Members,
        ask: &Ask,
        range: Option<&Wanted>,
    ) -> Result<Heard, Failure> {
        let mut outgoing = self.outgoing(members, ask);
        for name in [IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE] {
            outgoing.headers.remove(name);
        }
        if let Some(wanted) = range {
            wanted.ask_for(&mut outgoing.headers);
        }
        let witness = Witness { known: Arc::clone(&self.known), origin: origin.id };
        match origin.ask(&outgoing, members.settings.deadlines, witness).await {
            Ok(mut heard) => {
                self.known.machine.lock().heard(origin.id, None, now());
                if !heard.head.status.is_server_error() {
                    heard.body.vouch();
                }
                Ok(heard)
            }
            Err(cause) => {
                origin.counts.failed.fetch_add(1, Ordering::Relaxed);
                if let Some(fault) = fault(&cause) {
                    self.known.bad(origin.id, fault);
                }
                Err(Failure::Cause(cause))
            }
        }
    }
}

enum Failure {
    Cause(Cause),
    Different { expected: String, got: String },
}

impl Failure {
    fn status(status: StatusCode) -> Self {
        Self::Cause(Cause::Broken(format!("it was {status}").into()))
    }

    fn different(expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self::Different { expected: expected.into(), got: got.into() }
    }
}

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Self {
        Self::Cause(Cause::Broken(error.to_string().into()))
    }
}

/// What the rest has to agree with.
#[derive(Debug)]
struct Wanted {
    offset_bytes: u64,
    total_bytes: Option<u64>,
    tag: Option<HeaderValue>,
}

impl Wanted {
    fn new(ask: &Ask, from: &Resume<'_>, identical: bool) -> Result<Self, Error> {
        if ask.method != Method::GET {
            return Err(Error::NotResumable("another method than GET"));
        }
        if from.head.status != StatusCode::OK {
            return Err(Error::NotResumable("another status"));
        }
        let tag = from.head.headers.get(ETAG).filter(|tag| is_strong(tag)).cloned();
        if tag.is_none() && !identical {
            return Err(Error::NotResumable("none"));
        }
        let offset_bytes = from.held.iter().map(|bytes| bytes.len() as u64).sum();
        Ok(Self { offset_bytes, total_bytes: length(&from.head.headers), tag })
    }

    fn ask_for(&self, headers: &mut HeaderMap) {
        if let Ok(range) = HeaderValue::from_str(&format!("bytes={}-", self.offset_bytes)) {
            headers.insert(RANGE, range);
        }
        if let Some(tag) = &self.tag {
            headers.insert(IF_RANGE, tag.clone());
        }
    }

    /// A 206 is taken if it begins where the other broke off and goes to the end of the same object.
    fn partial(&self, mut heard: Heard, from: &Resume<'_>) -> Result<Heard, Failure> {
        self.same(&heard.head, from)?;
        let expected = || match self.total_bytes {
            Some(total) => format!("bytes {}-{}/{total}", self.offset_bytes, total.saturating_sub(1)),
            None => format!("bytes {}- to the end", self.offset_bytes),
        };
        let value = heard.head.headers.get(CONTENT_RANGE).and_then(|value| value.to_str().ok()).unwrap_or("no range");
        let Some((first, last, total)) = range(value) else { return Err(Failure::different(expected(), value)) };
        let end = total.or(self.total_bytes);
        let whole = end.is_some_and(|end| last.checked_add(1) == Some(end));
        if first != self.offset_bytes || !whole || self.total_bytes.is_some_and(|known| end != Some(known)) {
            return Err(Failure::different(expected(), value));
        }
        heard.body.expect(last - first + 1)?;
        Ok(heard)
    }

    /// A 200 is taken if it begins with what is held, byte by byte.
    async fn whole(&self, mut heard: Heard, from: &Resume<'_>) -> Result<Heard, Failure> {
        self.same(&heard.head, from)?;
        if let (Some(wanted), Some(told)) = (self.total_bytes, length(&heard.head.headers))
            && wanted != told
        {
            return Err(Failure::different(format!("{wanted} bytes"), format!("{told} bytes")));
        }
        if let Some(total) = self.total_bytes {
            heard.body.expect(total)?;
        }
        let mut ahead = Bytes::new();
        let mut offset_bytes = 0_u64;
        for held in from.held {
            let mut held = held.clone();
            while !held.is_empty() {
                if ahead.is_empty() {
                    let next = heard.body.next().await?;
                    let all = || format!("the same first {} bytes", self.offset_bytes);
                    ahead = next.ok_or_else(|| Failure::different(all(), format!("only {offset_bytes}")))?;
                }
                let length = held.len().min(ahead.len());
                let (known, told) = (held.split_to(length), ahead.split_to(length));
                if known != told {
                    let at = known.iter().zip(&told).take_while(|(known, told)| known == told).count() as u64;
                    let all = format!("the same first {} bytes", self.offset_bytes);
                    return Err(Failure::different(all, format!("another byte at {}", offset_bytes + at)));
                }
                offset_bytes += length as u64;
            }
        }
        heard.body.put_back(ahead);
        Ok(heard)
    }

    /// The heads speak of the same object.
    fn same(&self, head: &response::Parts, from: &Resume<'_>) -> Result<(), Failure> {
        let text = |value: Option<&HeaderValue>| {
            value.map_or("none".to_owned(), |v| String::from_utf8_lossy(v.as_bytes()).into_owned())
        };
        let tag = head.headers.get(ETAG).filter(|tag| is_strong(tag));
        // Without a tag of ours the group's origins are identical by configuration.
        if self.tag.is_some() && self.tag.as_ref() != tag {
            return Err(Failure::different(format!("ETag {}", text(self.tag.as_ref())), text(head.headers.get(ETAG))));
        }
        let (known, told) = (from.head.headers.get(CONTENT_ENCODING), head.headers.get(CONTENT_ENCODING));
        if known != told {
            return Err(Failure::different(format!("Content-Encoding {}", text(known)), text(told)));
        }
        Ok(())
    }
}

fn is_strong(tag: &HeaderValue) -> bool {
    let bytes = tag.as_bytes();
    bytes.len() >= 2 && bytes.starts_with(b"\"") && bytes.ends_with(b"\"")
}

/// `bytes first-last/total`, the total perhaps unknown.
fn range(value: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    (first <= last).then_some((first, last, total))
}
