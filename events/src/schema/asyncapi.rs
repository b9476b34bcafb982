// SPDX-License-Identifier: Apache-2.0
//! AsyncAPI 3.0: the topics of Kafka and the live feed over HTTP, with the same messages.

use std::fmt::Write;

use serde_json::Value;

use super::{example, file};
use crate::event::{Data, Kind};
use crate::topic::Topic;

/// The document, YAML. It names the schemas by their files, in the folder `events` beside it.
pub fn document() -> String {
    let mut out = String::from(HEAD);
    out.push_str("channels:\n");
    for topic in Topic::ALL {
        channel(&mut out, topic);
    }
    feed(&mut out);
    out.push_str("operations:\n");
    for topic in Topic::ALL {
        let name = topic.name();
        let _ = write!(
            out,
            "  publish_{name}:\n    action: send\n    channel:\n      $ref: '#/channels/{name}'\n    \
             summary: A node publishes, at least once and in order of each key.\n"
        );
    }
    out.push_str(FEED_OPERATION);
    out.push_str("components:\n  messages:\n");
    for kind in Kind::ALL {
        message(&mut out, *kind);
    }
    out
}

const HEAD: &str = "\
# Written by `make reference` from the types in events/src.
asyncapi: 3.0.0
info:
  title: Headwater events
  version: '1'
  description: >-
    What origins and shields tell of everything that changes, as CloudEvents 1.0 in structured mode, JSON. The same
    events, in the same order of each key, are in the log of each node, on its live feed, and on Kafka.
  license:
    name: Apache-2.0
defaultContentType: application/cloudevents+json
servers:
  kafka:
    host: '{bootstrap}'
    protocol: kafka
    description: Kafka, where `[events.kafka]` names it.
    variables:
      bootstrap:
        default: 127.0.0.1:9092
        description: The key `events.kafka.bootstrap`.
  node:
    host: '{node}'
    protocol: http
    description: An origin or a shield.
    variables:
      node:
        default: 127.0.0.1:8080
        description: Where it listens.
";

const FEED_OPERATION: &str = "  follow:
    action: send
    channel:
      $ref: '#/channels/feed'
    summary: A node tells whoever follows its log.
    description: >-
      Server-sent events: `id` is the offset in the log, `event` the type, `data` the CloudEvent on one line. Who comes
      back with `Last-Event-ID` goes on behind it.
    bindings:
      http:
        method: GET
        query:
          type: object
          properties:
            types:
              type: string
              description: Types separated by commas; `channel.*` is every type that begins so. None is all.
            channel:
              type: string
              description: Events of this channel alone.
        bindingVersion: '0.3.0'
";

fn channel(out: &mut String, topic: Topic) {
    let name = topic.name();
    let kinds: Vec<Kind> = Kind::ALL.iter().copied().filter(|kind| Topic::of(*kind) == topic).collect();
    let policy = if topic.is_compacted() { "compact" } else { "delete" };
    let _ = write!(
        out,
        "  {name}:\n    address: '{{prefix}}.{name}'\n    description: {}\n    \
         servers:\n      - $ref: '#/servers/kafka'\n    \
         parameters:\n      prefix:\n        default: headwater\n        description: The key `events.kafka.prefix`.\n",
        about(topic),
    );
    messages(out, &kinds);
    let _ = write!(
        out,
        "    bindings:\n      kafka:\n        partitions: 6\n        replicas: 1\n        \
         topicConfiguration:\n          cleanup.policy: [{policy}]\n        bindingVersion: '0.5.0'\n"
    );
}

fn feed(out: &mut String) {
    out.push_str(
        "  feed:\n    address: /events\n    description: The live feed of a node, every type.\n    \
         servers:\n      - $ref: '#/servers/node'\n",
    );
    messages(out, Kind::ALL);
}

fn messages(out: &mut String, kinds: &[Kind]) {
    out.push_str("    messages:\n");
    for kind in kinds {
        let name = kind.name();
        let _ = writeln!(out, "      {name}:\n        $ref: '#/components/messages/{name}'");
    }
}

fn message(out: &mut String, kind: Kind) {
    let name = kind.name();
    let _ = write!(
        out,
        "    {name}:\n      name: {name}\n      title: {name}\n      summary: {}\n      \
         contentType: application/cloudevents+json\n      \
         payload:\n        schemaFormat: application/schema+json;version=draft-2020-12\n        \
         schema:\n          $ref: ./events/{}\n      \
         bindings:\n        kafka:\n          key:\n            type: string\n            description: {}\n          \
         bindingVersion: '0.5.0'\n      examples:\n        - payload: {}\n",
        quoted(Data::says(kind)),
        file(kind),
        key(Topic::of(kind)),
        example(kind).to_json(),
    );
}

/// A scalar that YAML reads as text, whatever is in it: JSON is YAML.
fn quoted(text: &str) -> Value {
    text.into()
}

/// What a topic holds.
pub(super) const fn about(topic: Topic) -> &'static str {
    match topic {
        Topic::Segments => "Parts and segments, ready, lost and gone.",
        Topic::Control => "Channels, sources, markers, purges, congestion, upstreams, alerts.",
        Topic::Health => "Heartbeats and deliveries.",
        Topic::Timeline => "Where timelines lie on UTC; the latest of each channel stays.",
    }
}

/// What its messages are keyed by.
pub(super) const fn key(topic: Topic) -> &'static str {
    match topic {
        Topic::Segments => "channel/track",
        Topic::Control => "the channel, or the node where there is none",
        Topic::Health => "the node",
        Topic::Timeline => "the channel",
    }
}
