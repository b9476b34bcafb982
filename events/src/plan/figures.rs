// SPDX-License-Identifier: Apache-2.0
//! The formulas.

use super::{Assumptions, Figure, RegionNeeds};
use crate::unit::Unit;

/// Processor time of what was measured of this program ("Numbers" in the README), in nanoseconds.
mod measured {
    /// A shield's hit of 2 KB, each.
    pub(super) const SHIELD_HIT_NS: u128 = 6_200;
    /// A kilobyte of a shield's hits, plain.
    pub(super) const SHIELD_KILOBYTE_NS: u128 = 160;
    /// The same over TLS 1.3.
    pub(super) const SHIELD_KILOBYTE_TLS_NS: u128 = 390;
    /// An origin's playlist, each.
    pub(super) const ORIGIN_PLAYLIST_NS: u128 = 15_400;
    /// A kilobyte of an origin's segments.
    pub(super) const ORIGIN_KILOBYTE_NS: u128 = 290;
    /// Packaging of a megabit: 8.1 s an hour for 3.1 Mb/s.
    pub(super) const PACKAGING_MEGABIT_NS: u128 = 726_000;
    /// Memory of a track beside its media: 2.6 MB for four of them.
    pub(super) const TRACK_BYTES: u128 = 650_000;
    /// A shield's memory at its start.
    pub(super) const SHIELD_BYTES: u128 = 11_000_000;
    /// An idle connection's.
    pub(super) const CONNECTION_BYTES: u128 = 2_600;
}

/// What is needed; every rate a second.
pub(super) struct Needs {
    /// Bits of a viewer.
    pub(super) viewer_bits: u64,
    /// Bits to all viewers.
    pub(super) edge_bits: u64,
    /// Requests of all viewers.
    pub(super) edge_requests: u64,
    /// Objects of one channel, thousandths.
    pub(super) objects_milli: u64,
    /// Requests of edges to shields.
    pub(super) shield_requests: u64,
    /// Bits of shields to edges.
    pub(super) shield_bits: u64,
    /// Connections of edges to shields.
    pub(super) shield_connections: u64,
    /// Memory of each shield.
    pub(super) shield_memory: u64,
    /// Processors of all shields, thousandths.
    pub(super) shield_millicores: u64,
    /// Requests of shields to origins.
    pub(super) origin_requests: u64,
    /// Bits of origins to shields.
    pub(super) origin_bits: u64,
    /// Connections of shields to origins.
    pub(super) origin_connections: u64,
    /// Memory of each origin.
    pub(super) origin_memory: u64,
    /// Processors of the origin that is asked, thousandths.
    pub(super) origin_millicores: u64,
}

/// A number that does not fit is the largest.
fn fit(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

/// `value` and so many percent of it.
fn more(value: u128, percent: u64) -> u128 {
    value.saturating_mul(100 + u128::from(percent)).div_ceil(100)
}

impl Needs {
    pub(super) fn of(a: &Assumptions) -> Self {
        let (viewers, channels, tracks) = (u128::from(a.viewers), u128::from(a.channels), u128::from(a.tracks()));
        let (edges, shields) = (u128::from(a.edges()), u128::from(a.shields));
        let ladder = u128::from(a.ladder_bits_per_second());
        let (segment, window) = (u128::from(a.segment_ms), u128::from(a.window_seconds));
        let pictures: u128 =
            a.ladder.iter().map(|r| u128::from(r.bits_per_second) * u128::from(r.share_percent)).sum::<u128>() / 100;
        let viewer_bits = pictures + u128::from(a.audio_bits_per_second);
        let edge_bits = more(viewers.saturating_mul(viewer_bits), a.overhead_percent);
        // A viewer plays one rendition and the sound; each step is a playlist and what it names.
        let step = u128::from(if a.part_ms > 0 { a.part_ms } else { a.segment_ms });
        let played = 1 + u128::from(a.audio_bits_per_second > 0);
        let edge_requests = viewers.saturating_mul(2 * 1_000 * played).div_ceil(step);
        // In low latency the parts, a playlist each, and the whole segments for who joins; else segments, and a
        // playlist that lives half a segment.
        let (objects_milli, copies) = match a.part_ms {
            0 => ((3 * 1_000_000 * tracks).div_ceil(segment), 1),
            part => ((2 * 1_000_000 * tracks).div_ceil(u128::from(part)) + (1_000_000 * tracks).div_ceil(segment), 2),
        };
        let asked = |by: u128| more((by * channels).saturating_mul(objects_milli), a.again_percent).div_ceil(1_000);
        let sent = |by: u128| more((by * channels).saturating_mul(ladder * copies), a.overhead_percent);
        let missed = |of: u128, hit: u64| of.saturating_mul(1_000 - u128::from(hit)).div_ceil(1_000);
        let (shield_requests, shield_bits) = match a.edge_hit_permille {
            Some(hit) => (missed(edge_requests, hit), missed(edge_bits, hit)),
            // A cache asks no more than it is asked.
            None => (asked(edges).min(edge_requests), sent(edges).min(edge_bits)),
        };
        let (origin_requests, origin_bits) = match a.shield_hit_permille {
            Some(hit) => (missed(shield_requests, hit), missed(shield_bits, hit)),
            None => (asked(shields).min(shield_requests), sent(shields).min(shield_bits)),
        };
        // Each track that is played live holds a playlist and a part.
        let shield_connections = edges * 2 * tracks * channels;
        let origin_connections = shields * 2 * tracks * channels;
        let origin_media = ladder * (window * 1_000 + 2 * segment) / 8_000;
        let shield_media = ladder * copies * window / 8;
        let kilobytes = |bits: u128| bits / 8_000;
        let sending = if a.tls { measured::SHIELD_KILOBYTE_TLS_NS } else { measured::SHIELD_KILOBYTE_NS };
        let shield_ns = shield_requests
            .saturating_mul(measured::SHIELD_HIT_NS)
            .saturating_add(kilobytes(shield_bits).saturating_mul(sending));
        let origin_ns = origin_requests
            .saturating_mul(measured::ORIGIN_PLAYLIST_NS)
            .saturating_add(kilobytes(origin_bits).saturating_mul(measured::ORIGIN_KILOBYTE_NS))
            .saturating_add(channels * ladder * measured::PACKAGING_MEGABIT_NS / 1_000_000);
        Self {
            viewer_bits: fit(viewer_bits),
            edge_bits: fit(edge_bits),
            edge_requests: fit(edge_requests),
            objects_milli: fit(objects_milli),
            shield_requests: fit(shield_requests),
            shield_bits: fit(shield_bits),
            shield_connections: fit(shield_connections),
            shield_memory: fit(channels * shield_media
                + shield_connections * measured::CONNECTION_BYTES
                + measured::SHIELD_BYTES),
            shield_millicores: fit(shield_ns.div_ceil(1_000_000)),
            origin_requests: fit(origin_requests),
            origin_bits: fit(origin_bits),
            origin_connections: fit(origin_connections),
            origin_memory: fit(channels * (origin_media + tracks * measured::TRACK_BYTES)),
            origin_millicores: fit(origin_ns.div_ceil(1_000_000)),
        }
    }

    /// Hits of `of` requests of which `missed` went further, thousandths.
    fn hit_permille(of: u64, missed: u64) -> u64 {
        let (of, hits) = (u128::from(of), u128::from(of.saturating_sub(missed)));
        (hits * 1_000).checked_div(of).map_or(0, fit)
    }
}

/// What each region needs.
pub(super) fn regions(a: &Assumptions, needs: &Needs) -> Vec<RegionNeeds> {
    let share = |of: u64, percent: u64| fit((u128::from(of) * u128::from(percent)).div_ceil(100));
    let regions = a.regions.iter().map(|region| {
        let bits_per_second = share(needs.edge_bits, region.share_percent);
        // By edges where each asks for everything, by viewers where a ratio was measured.
        let shield_requests_per_second =
            match a.edge_hit_permille {
                Some(_) => share(needs.shield_requests, region.share_percent),
                None => fit((u128::from(needs.shield_requests) * u128::from(region.edges))
                    .div_ceil(u128::from(a.edges().max(1)))),
            };
        RegionNeeds {
            name: region.name.clone(),
            edges: region.edges,
            viewers: share(a.viewers, region.share_percent),
            bits_per_second,
            edge_bits_per_second: bits_per_second.div_ceil(region.edges.max(1)),
            shield_requests_per_second,
        }
    });
    regions.collect()
}

/// Every number with its formula.
pub(super) fn figures(a: &Assumptions, n: &Needs) -> Vec<Figure> {
    let figure = |key: &str, about: &str, unit: Unit, value: u64, formula: String| Figure {
        key: key.to_owned(),
        about: about.to_owned(),
        value,
        unit,
        formula,
    };
    let bits = |value| Unit::BitsPerSecond.show(value);
    let rate = |value| Unit::RequestsPerSecond.show(value);
    let (ladder, tracks, edges) = (a.ladder_bits_per_second(), a.tracks(), a.edges());
    let played = 1 + u64::from(a.audio_bits_per_second > 0);
    let low = a.part_ms > 0;
    let step = if low { a.part_ms } else { a.segment_ms };
    let objects = format!("{}.{:03}", n.objects_milli / 1_000, n.objects_milli % 1_000);
    let per_object = match low {
        true => {
            format!("{tracks} tracks × (part and playlist each {} ms + segment each {} ms)", a.part_ms, a.segment_ms)
        }
        false => format!("{tracks} tracks × (segment and two playlists each {} ms)", a.segment_ms),
    };
    let twice = if low { " × 2 (in parts, and whole for who joins)" } else { "" };
    let overhead = format!("(1 + {} %)", a.overhead_percent);
    let asked = |by: &str| {
        format!(
            "{by} × {} channels × {objects} objects a second × (1 + {} % asked again), at most what is asked",
            a.channels, a.again_percent
        )
    };
    let sent = |by: &str| {
        format!("{by} × {} channels × ladder {}{twice} × {overhead}, at most what is sent on", a.channels, bits(ladder))
    };
    let missed = |of: String, hit: u64| format!("{of} × (1 − {}), as measured", Unit::Permille.show(hit));
    let (shield_requests, shield_bits) = match a.edge_hit_permille {
        Some(hit) => (missed(rate(n.edge_requests), hit), missed(bits(n.edge_bits), hit)),
        None => (asked(&format!("{edges} edges")), sent(&format!("{edges} edges"))),
    };
    let (origin_requests, origin_bits) = match a.shield_hit_permille {
        Some(hit) => (missed(rate(n.shield_requests), hit), missed(bits(n.shield_bits), hit)),
        None => (asked(&format!("{} shields", a.shields)), sent(&format!("{} shields", a.shields))),
    };
    let held = |by: u64| {
        format!(
            "{by} × 2 held (playlist, part) × {tracks} tracks × {} channels, HTTP/1.1; HTTP/2 needs {by}",
            a.channels
        )
    };
    let sending = if a.tls { "0.39 CPU-s a GB, TLS" } else { "0.16 CPU-s a GB" };
    vec![
        figure("viewer.bits_per_second", "a viewer, on average", Unit::BitsPerSecond, n.viewer_bits, format!("Σ rendition × share + sound {}", bits(a.audio_bits_per_second))),
        figure("edge.bits_per_second", "edges to viewers", Unit::BitsPerSecond, n.edge_bits, format!("{} viewers × {} × {overhead}", a.viewers, bits(n.viewer_bits))),
        figure("edge.requests_per_second", "viewers to edges", Unit::RequestsPerSecond, n.edge_requests, format!("{} viewers × {played} tracks × 2 (object and playlist) / {step} ms", a.viewers)),
        figure("edge.connections", "connections of viewers", Unit::Count, a.viewers, "one of each viewer, HTTP/2 or 3".to_owned()),
        figure("edge.hit_permille", "hit ratio of the edges", Unit::Permille, Needs::hit_permille(n.edge_requests, n.shield_requests), "1 − shield requests / edge requests".to_owned()),
        figure("channel.objects_per_second", "objects of a channel", Unit::RequestsPerSecond, n.objects_milli.div_ceil(1_000), per_object),
        figure("shield.requests_per_second", "edges to shields", Unit::RequestsPerSecond, n.shield_requests, shield_requests),
        figure("shield.bits_per_second", "shields to edges", Unit::BitsPerSecond, n.shield_bits, shield_bits),
        figure("shield.connections", "connections of edges", Unit::Count, n.shield_connections, held(edges)),
        figure("shield.hit_permille", "hit ratio of the shields", Unit::Permille, Needs::hit_permille(n.shield_requests, n.origin_requests), "1 − origin requests / shield requests".to_owned()),
        figure("shield.memory_bytes", "memory of each shield", Unit::Bytes, n.shield_memory, format!("{} channels × ladder {} × {} s / 8{twice} + 2.6 KB a connection + 11 MB (measured)", a.channels, bits(ladder), a.window_seconds)),
        figure("shield.millicores", "processors of all shields", Unit::Millicores, n.shield_millicores, format!("requests × 6.2 CPU-s a million + bytes × {sending} (measured; `make bench-shield` measures yours)")),
        figure("origin.requests_per_second", "shields to origins", Unit::RequestsPerSecond, n.origin_requests, origin_requests),
        figure("origin.bits_per_second", "origins to shields", Unit::BitsPerSecond, n.origin_bits, origin_bits),
        figure("origin.connections", "connections of shields", Unit::Count, n.origin_connections, held(a.shields)),
        figure("origin.memory_bytes", "memory of each origin", Unit::Bytes, n.origin_memory, format!("{} channels × (ladder {} × ({} s + 2 segments) / 8 + {tracks} tracks × 650 KB (measured))", a.channels, bits(ladder), a.window_seconds)),
        figure("origin.millicores", "processors of the origin that is asked", Unit::Millicores, n.origin_millicores, "requests × 15.4 CPU-s a million + bytes × 0.29 CPU-s a GB + packaging 0.73 ms a Mb (measured; `make bench` measures yours)".to_owned()),
        figure("ingest.bits_per_second", "encoders to origins", Unit::BitsPerSecond, fit(u128::from(ladder) * u128::from(a.channels) * u128::from(a.origins)), format!("{} origins × {} channels × ladder {}", a.origins, a.channels, bits(ladder))),
    ]
}
