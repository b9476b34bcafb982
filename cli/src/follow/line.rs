// SPDX-License-Identifier: Apache-2.0
//! An event on a line: when, what, about what, and the essence.

use headwater_events::event::Data;
use headwater_events::unit::Unit;
use headwater_events::{Event, Position};

/// One line, without the line feed.
pub(crate) fn pretty(event: &Event, position: &Position) -> String {
    let time = event.time.0.rfc3339_millis();
    let time = time.trim_end_matches('Z').replacen('T', " ", 1);
    let subject = event.subject().unwrap_or_else(|| event.source.node().to_owned());
    let offset = match position {
        Position::Log(offset) => offset.0.to_string(),
        Position::Kafka { partition, offset, .. } => format!("{partition}/{offset}"),
    };
    let line = format!("{time}  {offset:>8}  {:18}  {subject:20}  {}", event.kind().name(), essence(&event.data));
    plain(line.trim_end())
}

/// Names and reasons come from elsewhere: nothing in them moves a terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// What one wants to know first.
fn essence(data: &Data) -> String {
    let bytes = |value| Unit::Bytes.show(value);
    let ms = |value| Unit::Milliseconds.show(value);
    let rate = |value: u64, interval_ms: u64| {
        Unit::RequestsPerSecond.show(value.saturating_mul(1_000).checked_div(interval_ms).unwrap_or(0))
    };
    match data {
        Data::PartReady(d) => {
            let sync = if d.independent { "  independent" } else { "" };
            let defects = defects(&d.defects);
            format!("{}.{}  {}  {}{sync}{defects}", d.sequence, d.part, ms(d.duration_ns / 1_000_000), bytes(d.bytes))
        }
        Data::SegmentReady(d) => {
            let (length, defects) = (ms(d.duration_ns / 1_000_000), defects(&d.defects));
            format!("{}  {length}  {}  {} parts{defects}", d.sequence, bytes(d.bytes), d.parts)
        }
        Data::SegmentLost(d) => format!("{}  {}", d.sequence, ms(d.duration_ns / 1_000_000)),
        Data::SegmentExpired(d) => d.sequence.to_string(),
        Data::ChannelStarted(d) => {
            let rate = Unit::BitsPerSecond.show(d.bits_per_second);
            format!("generation {}  {rate}  {}", d.generation, d.tracks.join(" "))
        }
        Data::ChannelEnded(d) => d.reason.clone(),
        Data::ChannelStalled(d) => format!("nothing since {} after segment {}", d.since, d.sequence),
        Data::ChannelResumed(d) => format!("after {} with segment {}", ms(d.stalled_ms), d.sequence),
        Data::SourceSwitched(d) => format!("{} → {} at segment {}: {}", d.from, d.to, d.sequence, d.reason),
        Data::Discontinuity(d) => format!("generation {} at segment {}: {}", d.generation, d.sequence, d.reason),
        Data::Marker(d) => format!("{} {} at {}", d.scheme, d.value, d.start),
        Data::TimelineAnchored(d) => {
            let anchor = format!("{:?}", d.anchor).to_lowercase();
            format!("generation {} by {anchor}, offset {} ns", d.generation, d.offset_ns)
        }
        Data::Purged(d) => format!("{} {}{}", d.by.name(), d.value, if d.soft { ", soft" } else { "" }),
        Data::Health(d) => format!(
            "{:<6}  {} connections  {}  {}  {}  {}",
            d.role.name(),
            d.connections,
            rate(d.requests, d.interval_ms),
            Unit::BitsPerSecond.show(d.egress_bits_per_second),
            Unit::Millicores.show(d.cpu_millicores),
            bytes(d.memory_bytes),
        ),
        Data::Delivery(d) => {
            let hits = (u128::from(d.hits) * 1_000).checked_div(u128::from(d.requests));
            let hits = hits.map_or_else(String::new, |permille| {
                format!("  {} hits", Unit::Permille.show(u64::try_from(permille).unwrap_or(1_000)))
            });
            let p95 = d.fills.percentile_ms(95).map_or_else(String::new, |p95| format!("  fills p95 {}", ms(p95)));
            format!(
                "{}{hits}  {} to origins{p95}",
                rate(d.requests, d.interval_ms),
                rate(d.origin_requests, d.interval_ms)
            )
        }
        Data::CongestionRaised(d) | Data::CongestionCleared(d) => {
            format!("{} {} %", d.resource.name(), d.used_percent)
        }
        Data::UpstreamDown(d) | Data::UpstreamUp(d) => format!("{} of {}: {}", d.origin, d.upstream, d.reason),
        Data::UpstreamSwitched(d) => format!("{}: {} → {}: {}", d.upstream, d.from, d.to, d.reason),
        Data::Alert(d) => format!("{} {}: {}", d.severity.name(), d.state.name(), d.text),
    }
}

fn defects(defects: &[String]) -> String {
    if defects.is_empty() { String::new() } else { format!("  {}", defects.join(", ")) }
}

#[cfg(test)]
mod tests {
    use headwater_events::log::Offset;
    use headwater_events::{Kind, schema};

    use super::*;

    #[test]
    fn every_type_is_one_line_with_its_columns_in_place() {
        for kind in Kind::ALL {
            let line = pretty(&schema::example(*kind), &Position::Log(Offset(7)));
            assert!(line.starts_with("2026-11-21 20:00:") && !line.contains('\n'), "{line}");
            assert_eq!(line.get(35..).and_then(|rest| rest.split_whitespace().next()), Some(kind.name()), "{line}");
            assert!(line.len() > 78, "nothing of it is said: {line}");
        }
    }

    #[test]
    fn no_reason_moves_the_terminal() {
        let mut event = schema::example(Kind::ChannelEnded);
        event.data = Data::ChannelEnded(headwater_events::event::ChannelEnded {
            channel: "a\u{1b}[2J".to_owned(),
            reason: "b\nc\u{9b}".to_owned(),
        });
        assert!(pretty(&event, &Position::Log(Offset(0))).chars().all(|c| !c.is_control()));
    }
}
