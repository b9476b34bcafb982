// SPDX-License-Identifier: Apache-2.0
//! What became of a channel: its media, and what shields delivered of it.

use std::collections::{BTreeMap, BTreeSet};

use headwater_media::UtcTime;
use serde::Serialize;

use crate::event::{Data, Event, FillTimes, Timestamp};

/// Holes that are listed of a channel; more are counted.
const HOLES_MAX: usize = 100;

/// Numbers of a track that neither came nor were told lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hole {
    /// The track.
    pub track: String,
    /// Its generation.
    pub generation: u32,
    /// The first number that is missing.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// Where the segment before ends.
    pub begin: Timestamp,
    /// Where the segment behind begins.
    pub end: Timestamp,
}

/// A channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Channel {
    /// Its name.
    pub channel: String,
    /// Who told of its media, by source.
    pub origins: Vec<String>,
    /// Its tracks.
    pub tracks: Vec<String>,
    /// Segments that were complete.
    pub segments: u64,
    /// Parts.
    pub parts: u64,
    /// Bytes of its segments.
    pub media_bytes: u64,
    /// Segments that never came, from any origin.
    pub segments_lost: u64,
    /// Their media, in milliseconds.
    pub lost_ms: u64,
    /// Numbers missing without a word.
    pub segments_missing: u64,
    /// Where; the first hundred.
    pub holes: Vec<Hole>,
    /// Times another sender went on air.
    pub source_switches: u64,
    /// Times a generation began.
    pub discontinuities: u64,
    /// Requests to shields.
    pub requests: u64,
    /// Those that no origin was asked for, thousandths; none without requests.
    pub hit_permille: Option<u64>,
    /// Answered with what was stale.
    pub stale: u64,
    /// Answered with 5xx.
    pub errors: u64,
    /// Refused by a bound.
    pub refused: u64,
    /// Bytes sent by shields.
    pub bytes: u64,
    /// Requests of shields to origins.
    pub origin_requests: u64,
    /// Of these before anybody asked.
    pub prefetches: u64,
    /// Bytes from origins to shields.
    pub origin_bytes: u64,
    /// Requests that shields kept from origins, thousandths.
    pub offload_requests_permille: Option<u64>,
    /// Bytes that shields kept from origins, thousandths.
    pub offload_bytes_permille: Option<u64>,
    /// Fills.
    pub fills: u64,
    /// Time of half of them to the first byte, at most, in milliseconds.
    pub fill_p50_ms: Option<u64>,
    /// Of 95 in a hundred.
    pub fill_p95_ms: Option<u64>,
    /// Of 99 in a hundred.
    pub fill_p99_ms: Option<u64>,
}

/// A track of a generation.
#[derive(Debug, Default)]
struct Track {
    ready: BTreeMap<u64, Extent>,
    lost: BTreeMap<u64, Extent>,
}

/// Where a segment lies.
#[derive(Clone, Copy, Debug)]
struct Extent {
    start: UtcTime,
    duration_ns: u64,
}

impl Extent {
    fn end(self) -> Timestamp {
        let duration = i64::try_from(self.duration_ns).unwrap_or(i64::MAX);
        Timestamp(UtcTime::from_nanos(self.start.nanos().saturating_add(duration)))
    }
}

/// A channel while events come.
#[derive(Debug, Default)]
pub(super) struct Tally {
    counted: Channel,
    hits: u64,
    fills: FillTimes,
    origins: BTreeSet<String>,
    tracks: BTreeMap<(String, u32), Track>,
}

impl Tally {
    pub(super) fn take(&mut self, event: &Event) {
        self.told_by(event);
        let counted = &mut self.counted;
        match &event.data {
            Data::PartReady(_) => counted.parts += 1,
            Data::SegmentReady(segment) => {
                counted.segments += 1;
                add(&mut counted.media_bytes, segment.bytes);
                let extent = Extent { start: segment.start.0, duration_ns: segment.duration_ns };
                self.track(&segment.track, segment.generation).ready.insert(segment.sequence, extent);
            }
            Data::SegmentLost(lost) => {
                let extent = Extent { start: lost.start.0, duration_ns: lost.duration_ns };
                self.track(&lost.track, lost.generation).lost.insert(lost.sequence, extent);
            }
            Data::SourceSwitched(_) => counted.source_switches += 1,
            Data::Discontinuity(_) => counted.discontinuities += 1,
            Data::Delivery(delivery) => {
                add(&mut counted.requests, delivery.requests);
                add(&mut self.hits, delivery.hits);
                add(&mut counted.stale, delivery.stale);
                add(&mut counted.errors, delivery.errors);
                add(&mut counted.refused, delivery.refused);
                add(&mut counted.bytes, delivery.bytes);
                add(&mut counted.origin_requests, delivery.origin_requests);
                add(&mut counted.prefetches, delivery.prefetches);
                add(&mut counted.origin_bytes, delivery.origin_bytes);
                self.fills += &delivery.fills;
            }
            _ => {}
        }
    }

    /// Media that more than one origin tells of.
    pub(super) fn told_by(&mut self, event: &Event) {
        let is_media = matches!(event.data, Data::PartReady(_) | Data::SegmentReady(_) | Data::SegmentLost(_));
        if is_media && !self.origins.contains(event.source.as_str()) {
            self.origins.insert(event.source.as_str().to_owned());
        }
    }

    fn track(&mut self, track: &str, generation: u32) -> &mut Track {
        self.tracks.entry((track.to_owned(), generation)).or_default()
    }

    pub(super) fn finish(self, name: String) -> Channel {
        let Self { mut counted, hits, fills, origins, tracks } = self;
        counted.channel = name;
        counted.origins = origins.into_iter().collect();
        let names: BTreeSet<&String> = tracks.keys().map(|(track, _)| track).collect();
        counted.tracks = names.into_iter().cloned().collect();
        for ((name, generation), track) in &tracks {
            // What one twin lost and the other has is not lost.
            let lost = track.lost.iter().filter(|(sequence, _)| !track.ready.contains_key(sequence));
            for (_, extent) in lost {
                counted.segments_lost += 1;
                add(&mut counted.lost_ms, extent.duration_ns / 1_000_000);
            }
            let known: BTreeMap<u64, Extent> = track.ready.iter().chain(&track.lost).map(|(n, e)| (*n, *e)).collect();
            let pairs = known.iter().zip(known.iter().skip(1));
            for ((before, ended), (after, begun)) in pairs.filter(|((a, _), (b, _))| *b - *a > 1) {
                add(&mut counted.segments_missing, after - before - 1);
                if counted.holes.len() < HOLES_MAX {
                    counted.holes.push(Hole {
                        track: name.clone(),
                        generation: *generation,
                        first: before + 1,
                        last: after - 1,
                        begin: ended.end(),
                        end: Timestamp(begun.start),
                    });
                }
            }
        }
        let requests = counted.requests;
        counted.hit_permille = permille(hits, requests);
        counted.offload_requests_permille = permille(requests.saturating_sub(counted.origin_requests), requests);
        counted.offload_bytes_permille = permille(counted.bytes.saturating_sub(counted.origin_bytes), counted.bytes);
        counted.fills = fills.count();
        counted.fill_p50_ms = fills.percentile_ms(50);
        counted.fill_p95_ms = fills.percentile_ms(95);
        counted.fill_p99_ms = fills.percentile_ms(99);
        counted
    }
}

/// Sums stay at the largest number rather than begin anew: they may come from anybody's events.
pub(super) fn add(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}

/// `part` of `whole` in thousandths, at most all of it; none of nothing.
pub(super) fn permille(part: u64, whole: u64) -> Option<u64> {
    let thousandths = (u128::from(part) * 1_000).checked_div(u128::from(whole))?;
    Some(u64::try_from(thousandths).unwrap_or(1_000).min(1_000))
}
