// SPDX-License-Identifier: Apache-2.0
//! An event as a message: CloudEvents in structured mode, with the attributes that readers filter by as headers too.

use std::borrow::Cow;

use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use serde::Deserialize;

use crate::event::Kind;
use crate::log::Record;

/// The content type of structured mode (CloudEvents Kafka binding, 3.3).
const CONTENT_TYPE: &str = "application/cloudevents+json; charset=UTF-8";

#[derive(Deserialize)]
struct Attributes<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    source: Cow<'a, str>,
}

/// The headers of a record.
pub(super) fn headers(record: &Record) -> OwnedHeaders {
    let headers = OwnedHeaders::new_with_capacity(4)
        .insert(Header { key: "content-type", value: Some(CONTENT_TYPE) })
        .insert(Header { key: "ce_type", value: Some(record.kind.name()) });
    match serde_json::from_slice::<Attributes<'_>>(&record.json) {
        Ok(attributes) => headers
            .insert(Header { key: "ce_id", value: Some(attributes.id.as_ref()) })
            .insert(Header { key: "ce_source", value: Some(attributes.source.as_ref()) }),
        Err(_) => headers,
    }
}

/// The type that a message's headers tell; none: its body has to be read.
pub(super) fn kind(message: &impl Message) -> Option<Kind> {
    let headers = message.headers()?;
    let name = headers.iter().find(|header| header.key == "ce_type")?.value?;
    Kind::named(std::str::from_utf8(name).ok()?)
}
