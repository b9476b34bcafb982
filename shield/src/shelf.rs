// SPDX-License-Identifier: Apache-2.0
//! The way between memory and disk: what memory lets go of and somebody may ask for again is written; what is asked for
//! and not in memory is read, whole, and judged as if it had never left.
//!
//! A URL whose answers vary is not written: which variants there are is known in memory alone.

use std::sync::Arc;
use std::time::SystemTime;

use http::header::VARY;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::Shield;
use crate::metrics;
use crate::object::{Content, Head, Object};
use crate::semantics::{Freshness, Kept, Policy};
use crate::store::disk::{Disk, Stored};
use crate::store::{Class, Resident};
use crate::whole::Whole;

/// The head of an object on disk.
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    origin: String,
    policy: Kept,
}

/// Writes an object that memory lets go of.
pub(crate) fn put(disk: &Disk, key: &str, object: &Object) {
    let (Some(bytes), false) = (object.content.bytes(), object.headers.contains_key(VARY)) else { return };
    let fresh = matches!(object.policy.freshness(Instant::now()), Freshness::Fresh { .. });
    if !fresh || object.is_outdated() {
        return;
    }
    let headers = object.headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
    let policy = object.policy.kept(Instant::now(), SystemTime::now());
    let written = Written { status: object.status.as_u16(), headers, origin: object.origin.to_string(), policy };
    let Ok(head) = serde_json::to_vec(&written) else { return };
    let stored =
        Stored { head: head.into(), body: bytes.pieces().to_vec(), tags: object.tags.clone(), epoch: object.epoch() };
    disk.put(key, &[], stored);
}

/// Reads an object back into memory and the index; `None` if it is not there, or of no use any more.
pub(crate) async fn take(
    disk: &Disk,
    shield: &Arc<Shield>,
    key: &Arc<str>,
    request: &HeaderMap,
    channel: Option<Arc<metrics::Channel>>,
) -> Option<Arc<Object>> {
    let found = disk.get(key, &[]).await?;
    let Stored { head, body, tags, epoch } = found.stored;
    let written: Written = serde_json::from_slice(&head).ok()?;
    let policy = Policy::restored(&written.policy, Instant::now(), SystemTime::now());
    if !matches!(policy.freshness(Instant::now()), Freshness::Fresh { .. }) {
        return None;
    }
    let mut headers = HeaderMap::with_capacity(written.headers.len());
    for (name, value) in &written.headers {
        headers.append(name.parse::<HeaderName>().ok()?, HeaderValue::from_bytes(value).ok()?);
    }
    let whole = Whole::of(body);
    let charge = shield.memory.charge(whole.length_bytes()).ok()?;
    let status = StatusCode::from_u16(written.status).ok()?;
    let head = Head { status, headers, origin: written.origin.into(), channel, standing: None };
    let content = Arc::new(Content::whole(whole));
    let object = Arc::new(Object::new(head, policy, content, tags, epoch));
    if object.purged(key, &shield.purges).is_some() {
        disk.remove(key, &[]);
        return None;
    }
    let slot = shield.index.open(key)?;
    let resident = Resident::new(Arc::clone(key), 0, Class::Other);
    object.content.reside(Arc::clone(&resident));
    let replaced = slot.hold(request, Arc::clone(&object));
    shield.memory.keep(&resident, charge);
    for (_, before) in replaced {
        shield.let_go(&before);
    }
    if !slot.holds(&object.content) {
        shield.memory.remove(&resident);
    }
    Some(object)
}
