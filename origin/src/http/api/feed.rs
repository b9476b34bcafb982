// SPDX-License-Identifier: Apache-2.0
//! The live feed of what the origin tells, behind those who may read.

use std::sync::Arc;

use axum::Router;
use headwater_events::feed;

use super::readable;
use crate::Origin;

/// Follow events as they happen
///
/// Server-sent events, each a CloudEvent: `id` is its offset in the origin's log, `event` its type. `Last-Event-ID` goes on
/// after that one; what the log does not hold any more is told by an event `gap`.
#[utoipa::path(
    get,
    path = "/events",
    tag = "events",
    params(
        ("types" = Option<String>, Query, description = "Types separated by commas; `channel.*` is each that begins so", example = "segment.ready,channel.*"),
        ("channel" = Option<String>, Query, description = "A channel's name, as often as wished; without it those of none too", example = "news"),
        ("from" = Option<String>, Query, description = "`first`, `end` (without `from`), an offset, or a time (RFC 3339)", example = "first"),
        ("Last-Event-ID" = Option<String>, Header, description = "The offset of the last one seen")
    ),
    responses(
        (status = 200, description = "The feed; it does not end by itself", content_type = "text/event-stream"),
        (status = 400, description = "No such type, or no such place in the log", content_type = "text/plain"),
        (status = 503, description = "`events.followers_max` follow already", content_type = "text/plain")
    )
)]
pub(super) fn router(origin: &Arc<Origin>) -> Router {
    let followers_max = origin.config().events.followers_max;
    let feed = feed::router(&origin.context.publisher, followers_max, origin.context.shutdown.clone());
    readable(origin, feed)
}
