// SPDX-License-Identifier: Apache-2.0
//! One event of each type: what the reference shows, and what tests hold to the schemas.

use headwater_media::UtcTime;

use crate::event::{
    Alert, AlertState, Anchor, ChannelEnded, ChannelResumed, ChannelStalled, ChannelStarted, Congestion, Data,
    Delivery, Discontinuity, Event, FillTimes, Health, Kind, Marker, PartReady, Purged, PurgedBy, Resource, Role,
    SegmentExpired, SegmentLost, SegmentReady, Severity, Source, SourceSwitched, TimelineAnchored, Timestamp, Upstream,
    UpstreamSwitched,
};

/// 2026-11-21T20:00:00Z.
const BEGIN_NS: i64 = 1_795_291_200_000_000_000;
/// Segments of two seconds since 1970, so that its number and its time agree.
const SEQUENCE: u64 = 897_645_600;

fn at(ms: i64) -> UtcTime {
    UtcTime::from_nanos(BEGIN_NS + ms * 1_000_000)
}

/// An event of a type.
pub fn of(kind: Kind) -> Event {
    let (time, role) = match kind {
        Kind::PartReady => (at(200), Role::Origin),
        Kind::SegmentReady | Kind::SegmentLost => (at(2_000), Role::Origin),
        Kind::Delivery | Kind::Purged | Kind::UpstreamDown | Kind::UpstreamUp => (at(10_000), Role::Shield),
        Kind::UpstreamSwitched | Kind::Alert => (at(10_000), Role::Shield),
        _ => (at(10_000), Role::Origin),
    };
    let node = if role == Role::Origin { "origin-a" } else { "shield-a" };
    Event::new(&Source::new(role, node), time, data(kind))
}

fn data(kind: Kind) -> Data {
    let (channel, track) = ("sports-1".to_owned(), "v0".to_owned());
    match kind {
        Kind::PartReady => Data::PartReady(PartReady {
            channel,
            track,
            generation: 0,
            sequence: SEQUENCE,
            part: 0,
            start: Timestamp(at(0)),
            duration_ns: 200_000_000,
            bytes: 78_114,
            digest: "6fa2a5a2b7c14f0c9f3bb0d7a1e5c2d8".to_owned(),
            independent: true,
            defects: Vec::new(),
            path: format!("/live/sports-1/v0/{SEQUENCE}.0.m4s"),
        }),
        Kind::SegmentReady => Data::SegmentReady(SegmentReady {
            channel,
            track,
            generation: 0,
            sequence: SEQUENCE,
            parts: 10,
            start: Timestamp(at(0)),
            duration_ns: 2_000_000_000,
            bytes: 781_140,
            digest: "0b6dd1b1a87d4a6ad2c3a2a9c53f8e17".to_owned(),
            independent: true,
            defects: Vec::new(),
            path: format!("/live/sports-1/v0/{SEQUENCE}.m4s"),
        }),
        Kind::SegmentLost => Data::SegmentLost(SegmentLost {
            channel,
            track,
            generation: 0,
            sequence: SEQUENCE,
            start: Timestamp(at(0)),
            duration_ns: 2_000_000_000,
        }),
        Kind::SegmentExpired => Data::SegmentExpired(SegmentExpired {
            channel,
            track,
            generation: 0,
            sequence: SEQUENCE,
            path: format!("/live/sports-1/v0/{SEQUENCE}.m4s"),
        }),
        Kind::TimelineAnchored => Data::TimelineAnchored(TimelineAnchored {
            channel,
            generation: 0,
            sequence: SEQUENCE,
            anchor: Anchor::Source,
            offset_ns: 0,
            segment_ns: 2_000_000_000,
            phase_ns: 0,
        }),
        Kind::Marker => Data::Marker(Marker {
            channel,
            track: Some(track),
            scheme: "urn:scte:scte35:2013:bin".to_owned(),
            value: "1001".to_owned(),
            id: 7,
            start: Timestamp(at(12_000)),
            duration_ms: Some(30_000),
            data: "/DAWAAAAAAAAAP/wBQb+Qjo1vQAAuwxz9A==".to_owned(),
        }),
        Kind::SourceSwitched => Data::SourceSwitched(SourceSwitched {
            channel,
            track,
            from: "10.0.0.7:51034".to_owned(),
            to: "10.0.0.8:40412".to_owned(),
            sequence: SEQUENCE + 5,
            reason: "it brought nothing for 2 s".to_owned(),
        }),
        Kind::ChannelStarted
        | Kind::ChannelEnded
        | Kind::ChannelStalled
        | Kind::ChannelResumed
        | Kind::Discontinuity => channel_data(kind, channel),
        _ => node_data(kind),
    }
}

fn channel_data(kind: Kind, channel: String) -> Data {
    match kind {
        Kind::ChannelStarted => Data::ChannelStarted(ChannelStarted {
            channel,
            generation: 0,
            tracks: vec!["v0".to_owned(), "v1".to_owned(), "a0".to_owned()],
            segment_ns: 2_000_000_000,
            bits_per_second: 6_128_000,
        }),
        Kind::ChannelEnded => Data::ChannelEnded(ChannelEnded { channel, reason: "removed".to_owned() }),
        Kind::ChannelStalled => {
            Data::ChannelStalled(ChannelStalled { channel, since: Timestamp(at(7_800)), sequence: SEQUENCE + 3 })
        }
        Kind::ChannelResumed => {
            Data::ChannelResumed(ChannelResumed { channel, stalled_ms: 2_200, sequence: SEQUENCE + 5 })
        }
        _ => Data::Discontinuity(Discontinuity {
            channel,
            generation: 1,
            sequence: SEQUENCE + 5,
            reason: "header".to_owned(),
        }),
    }
}

fn node_data(kind: Kind) -> Data {
    let upstream = |reason: &str| Upstream {
        upstream: "main".to_owned(),
        origin: "http://10.0.0.1:8080".to_owned(),
        reason: reason.to_owned(),
    };
    let congestion = |used_percent| Congestion {
        node: "origin-a".to_owned(),
        role: Role::Origin,
        resource: Resource::Cpu,
        used_percent,
        raised_at_percent: 85,
        cleared_below_percent: 76,
    };
    match kind {
        Kind::Health => health(),
        Kind::Delivery => delivery(),
        Kind::CongestionRaised => Data::CongestionRaised(congestion(91)),
        Kind::CongestionCleared => Data::CongestionCleared(congestion(62)),
        Kind::UpstreamDown => Data::UpstreamDown(upstream("2 checks in a row failed: connection refused")),
        Kind::UpstreamUp => Data::UpstreamUp(upstream("2 checks in a row were good")),
        Kind::UpstreamSwitched => Data::UpstreamSwitched(UpstreamSwitched {
            upstream: "main".to_owned(),
            channel: Some("sports-1".to_owned()),
            from: "http://10.0.0.1:8080".to_owned(),
            to: "http://10.0.0.2:8080".to_owned(),
            reason: "http://10.0.0.1:8080 is down".to_owned(),
        }),
        Kind::Alert => Data::Alert(Alert {
            rule: "fill_p95_ms_max".to_owned(),
            channel: Some("sports-1".to_owned()),
            state: AlertState::Firing,
            severity: Severity::Warning,
            value: 350.0,
            threshold: 200.0,
            window_start: Timestamp(at(0)),
            window_end: Timestamp(at(10_000)),
            text: "p95 of fills of sports-1 is 350 ms, above 200 ms".to_owned(),
        }),
        _ => purged(),
    }
}

fn purged() -> Data {
    Data::Purged(Purged {
        by: PurgedBy::Prefix,
        value: "/live/sports-1/".to_owned(),
        tenant: None,
        soft: false,
        channel: Some("sports-1".to_owned()),
    })
}

fn health() -> Data {
    Data::Health(Health {
        node: "origin-a".to_owned(),
        role: Role::Origin,
        interval_ms: 1_000,
        connections: 48,
        requests: 1_210,
        refused: 0,
        egress_bytes: 77_500_000,
        ingress_bytes: 1_530_000,
        egress_bits_per_second: 620_000_000,
        cpu_millicores: 310,
        cpu_millicores_max: 2_000,
        memory_bytes: 96_468_992,
        memory_bytes_max: 2_147_483_648,
        channels: 2,
        congested: Vec::new(),
    })
}

fn delivery() -> Data {
    let mut fills = [0; 16];
    for (ms, count) in [(1, 310), (2, 81), (5, 22), (10, 5), (50, 2)] {
        fills[FillTimes::class(ms)] = count;
    }
    Data::Delivery(Delivery {
        node: "shield-a".to_owned(),
        channel: "sports-1".to_owned(),
        interval_ms: 1_000,
        requests: 8_400,
        hits: 7_980,
        stale: 0,
        errors: 0,
        refused: 0,
        bytes: 512_000_000,
        origin_requests: 420,
        prefetches: 400,
        origin_bytes: 25_600_000,
        fills: FillTimes::of(fills),
    })
}
