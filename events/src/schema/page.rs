// SPDX-License-Identifier: Apache-2.0
//! The reference page of the events.

use std::fmt::Write;

use serde_json::Value;

use super::{asyncapi, example, file, of, text};
use crate::event::{Data, Kind};
use crate::topic::Topic;

/// The page, Markdown.
pub fn page() -> String {
    let mut out = String::from(
        "# Events\n\n<!-- Written by `make reference` from the types in events/src. -->\n\n\
         Every change is a [CloudEvent](https://cloudevents.io) 1.0, JSON in structured mode \
         (`application/cloudevents+json`). How to follow them: [the guide](../guide/events.md); what holds of ids, order \
         and delivery: [concepts](../concepts/events.md). Topics and messages as [AsyncAPI 3.0](asyncapi.yaml); \
         `headwater events schema` prints what is linked here.\n\n\
         ## Envelope\n\n",
    );
    let any = of(Kind::SegmentReady);
    table(&mut out, "attribute", text::properties(&any).into_iter().filter(|(name, _)| *name != "data"));
    out.push_str(
        "\nAn event about no channel has no `subject`. Attributes and fields that a reader does not know are to be \
         ignored: a later version may add some.\n\n## Topics\n\n| topic | key | what | kept |\n|---|---|---|---|\n",
    );
    for topic in Topic::ALL {
        let kept = if topic.is_compacted() { "the latest of each key" } else { "as the broker's retention says" };
        let (about, key) = (asyncapi::about(topic), asyncapi::key(topic));
        let _ = writeln!(out, "| `PREFIX.{}` | {key} | {about} | {kept} |", topic.name());
    }
    out.push_str(
        "\n`PREFIX` is `events.kafka.prefix`, `headwater` by default. In the log and on the live feed all are in one \
         sequence.\n",
    );
    for kind in Kind::ALL {
        section(&mut out, *kind);
    }
    out
}

fn section(out: &mut String, kind: Kind) {
    let schema = of(kind);
    let _ = write!(
        out,
        "\n## {kind}\n\n{} {} Topic `{}`; [schema](events/{}).\n\n",
        Data::says(kind),
        when(kind),
        Topic::of(kind).name(),
        file(kind),
    );
    let data = &schema["properties"]["data"];
    table(out, "field", text::properties(data).into_iter());
    let shown = serde_json::to_string_pretty(&example(kind)).unwrap_or_default();
    let _ = write!(out, "\n```json\n{shown}\n```\n");
}

fn table<'a>(out: &mut String, head: &str, properties: impl Iterator<Item = (&'a str, &'a Value)>) {
    let _ = writeln!(out, "| {head} | type | what |\n|---|---|---|");
    for (name, schema) in properties {
        let says = schema.get("description").and_then(Value::as_str).unwrap_or_default().replace('\n', " ");
        let _ = writeln!(out, "| `{name}` | {} | {} |", type_of(schema), says.replace('|', "\\|"));
    }
}

/// A type in words.
fn type_of(schema: &Value) -> String {
    if let Some(value) = schema.get("const") {
        return format!("`{}`", value.as_str().unwrap_or_default());
    }
    let choices = |of: &Value| -> Vec<String> {
        let of = of.as_array().into_iter().flatten();
        of.filter_map(|one| one.get("const").unwrap_or(one).as_str()).map(|name| format!("`{name}`")).collect()
    };
    if let Some(one) = schema.get("oneOf").or_else(|| schema.get("enum")) {
        return choices(one).join(", ");
    }
    match &schema["type"] {
        Value::Array(types) => {
            let name = types.iter().filter_map(Value::as_str).find(|name| *name != "null").unwrap_or_default();
            format!("{name}, may be left out")
        }
        Value::String(name) if name == "array" => {
            let items = type_of(&schema["items"]);
            format!("list of {items}")
        }
        Value::String(_) if schema.get("format").and_then(Value::as_str) == Some("date-time") => "time".to_owned(),
        Value::String(name) => name.clone(),
        _ => "any".to_owned(),
    }
}

/// When an event of a type is published, and by whom.
const fn when(kind: Kind) -> &'static str {
    match kind {
        Kind::PartReady => "An origin publishes it once the part is in playlists.",
        Kind::SegmentReady => "An origin publishes it behind the segment's last `part.ready`.",
        Kind::SegmentLost => "An origin publishes it when it gives a segment up.",
        Kind::SegmentExpired => "An origin publishes it when nobody can fetch the segment any more.",
        Kind::ChannelStarted => "An origin publishes it with a channel's first part, and after a restart.",
        Kind::ChannelEnded => {
            "An origin publishes it when a channel is removed, was idle too long, or the origin stops."
        }
        Kind::ChannelStalled => "An origin publishes it when no track of a channel brought a part for too long.",
        Kind::ChannelResumed => "An origin publishes it with the first part behind a stall.",
        Kind::SourceSwitched => "An origin publishes it with the first segment of the other sender.",
        Kind::Discontinuity => "An origin publishes it before the first part of a new generation.",
        Kind::Marker => "An origin publishes it when it comes, ahead of its time or with the media.",
        Kind::TimelineAnchored => "An origin publishes it once a generation's timeline is known, and after a restart.",
        Kind::Purged => "Whoever was asked to purge publishes it; the others purge too.",
        Kind::Health => "Every node publishes it each `events.health_ms`.",
        Kind::Delivery => "A shield publishes one a channel that was asked for, each `events.health_ms`.",
        Kind::CongestionRaised => "A node publishes it when a resource of its own is used above its threshold.",
        Kind::CongestionCleared => "A node publishes it when that is well below the threshold again.",
        Kind::UpstreamDown => "A shield publishes it when its checks or requests say so.",
        Kind::UpstreamUp => "A shield publishes it when the origin's checks are good again.",
        Kind::UpstreamSwitched => "A shield publishes it when a group's first choice is another.",
        Kind::Alert => "A node with a rule in `[events.alerts]` publishes it when a window crosses the threshold.",
    }
}
