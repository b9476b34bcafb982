// SPDX-License-Identifier: Apache-2.0
//! Windows against a plain reading of their definition, in any order, with copies, over restarts.

use std::collections::{BTreeMap, BTreeSet};

use headwater_media::UtcTime;
use proptest::prelude::*;

use super::{Row, Shape, Windows};
use crate::event::{Data, Delivery, Event, FillTimes, Health, Role, Source};

const TUMBLING: Shape = Shape { size_ms: 10_000, slide_ms: 10_000, delay_ms: 2_000, lateness_ms: 5_000 };
const SLIDING: Shape = Shape { size_ms: 10_000, slide_ms: 2_000, delay_ms: 2_000, lateness_ms: 5_000 };
/// Long ago: no clock is behind it.
const BASE_MS: i64 = 1_700_000_000_000;

fn at(ms: i64) -> UtcTime {
    UtcTime::from_nanos((BASE_MS + ms) * 1_000_000)
}

pub(super) fn delivery(node: &str, channel: &str, ms: i64, requests: u64) -> Event {
    let mut classes = [0; 16];
    classes[usize::try_from(requests % 16).unwrap()] = requests / 3;
    let data = Delivery {
        node: node.into(),
        channel: channel.into(),
        interval_ms: 1_000,
        requests,
        hits: requests * 2 / 3,
        stale: requests / 7,
        errors: requests / 11,
        refused: requests / 13,
        bytes: requests * 1_001,
        origin_requests: requests / 3,
        prefetches: requests / 9,
        origin_bytes: requests * 100,
        fills: FillTimes::of(classes),
    };
    Event::new(&Source::new(Role::Shield, node), at(ms), Data::Delivery(data))
}

pub(super) fn heartbeat(ms: i64) -> Event {
    let data = Health {
        node: "n".into(),
        role: Role::Shield,
        interval_ms: 1_000,
        connections: 0,
        requests: 0,
        refused: 0,
        egress_bytes: 0,
        ingress_bytes: 0,
        egress_bits_per_second: 0,
        cpu_millicores: 0,
        cpu_millicores_max: 0,
        memory_bytes: 0,
        memory_bytes_max: 0,
        channels: 0,
        congested: Vec::new(),
    };
    Event::new(&Source::new(Role::Shield, "n"), at(ms), Data::Health(data))
}

/// Long after any event: none is ahead of it.
fn late_clock() -> UtcTime {
    at(100_000_000)
}

/// Every row, those at the end too.
fn all_rows(shape: Shape, events: &[Event]) -> Vec<Row> {
    let mut windows = Windows::new(shape);
    let mut rows: Vec<Row> = events.iter().flat_map(|event| windows.push(event, late_clock())).collect();
    rows.extend(windows.finish());
    rows
}

/// Final rows by window and channel, without how often they were told.
fn final_rows(rows: Vec<Row>) -> BTreeMap<(i64, String), Row> {
    let mut by_window = BTreeMap::new();
    for row in rows.into_iter().filter(|row| row.is_final) {
        let key = (row.window_end.0.millis(), row.channel.clone());
        assert_eq!(by_window.insert(key, Row { revision: 0, ..row }), None, "a window is final once");
    }
    by_window
}

/// What the definition says, read plainly: of each window the deliveries that came before its watermark, copies once.
fn defined(shape: Shape, events: &[Event]) -> BTreeMap<(i64, String), Short> {
    let mut kept: BTreeMap<(i64, String), BTreeMap<String, Delivery>> = BTreeMap::new();
    let mut seen = i64::MIN / 2;
    for event in events {
        let time = event.time.0.millis();
        if let Data::Delivery(delivery) = &event.data {
            let watermark = seen - shape.delay_ms - shape.lateness_ms;
            let first = (time - shape.size_ms).div_euclid(shape.slide_ms) * shape.slide_ms;
            let starts = (first..=time).step_by(usize::try_from(shape.slide_ms).unwrap());
            for end in starts.filter(|s| s + shape.size_ms > time).map(|s| s + shape.size_ms) {
                if end - 1 > watermark {
                    let window = kept.entry((end, delivery.channel.clone())).or_default();
                    window.entry(event.id.clone()).or_insert_with(|| delivery.clone());
                }
            }
        }
        seen = seen.max(time);
    }
    let sum = |window: BTreeMap<String, Delivery>| {
        let mut times: Vec<u64> = window.values().flat_map(|d| d.fills.classes().into_iter().enumerate()).fold(
            Vec::new(),
            |mut times, (class, count)| {
                let bound = *crate::event::FILL_BOUNDS_MS.get(class).unwrap_or(&2_500);
                times.extend(std::iter::repeat_n(bound, usize::try_from(count).unwrap()));
                times
            },
        );
        times.sort_unstable();
        let p95 = (!times.is_empty()).then(|| times[(times.len() * 95).div_ceil(100) - 1]);
        let requests: u64 = window.values().map(|d| d.requests).sum();
        let bits: u64 = window.values().map(|d| d.bytes).sum::<u64>() * 8_000 / shape.size_ms.unsigned_abs();
        (window.len() as u64, requests, bits, p95)
    };
    kept.into_iter().map(|(key, window)| (key, sum(window))).collect()
}

fn in_short(rows: &BTreeMap<(i64, String), Row>) -> BTreeMap<(i64, String), Short> {
    let short = |row: &Row| (row.deliveries, row.requests, row.bits_per_second, row.fill_p95_ms);
    rows.iter().map(|(key, row)| (key.clone(), short(row))).collect()
}

/// Deliveries, requests, bits per second, p95.
type Short = (u64, u64, u64, Option<u64>);

fn shapes() -> impl Strategy<Value = Shape> {
    prop_oneof![Just(TUMBLING), Just(SLIDING), Just(Shape { lateness_ms: 0, ..SLIDING })]
}

/// Deliveries of three nodes and channels, no two of one id.
fn deliveries() -> impl Strategy<Value = Vec<Event>> {
    let one = (0..3_u8, 0..3_u8, 0..60_000_i64, 0..50_u64);
    prop::collection::vec(one, 1..80).prop_map(|all| {
        let mut ids = BTreeSet::new();
        let events = all
            .into_iter()
            .map(|(node, channel, ms, requests)| delivery(&format!("n{node}"), &format!("c{channel}"), ms, requests));
        events.filter(|event| ids.insert(event.id.clone())).collect()
    })
}

proptest! {
    #[test]
    fn final_rows_depend_on_the_events_and_not_on_their_order_or_number_of_copies(
        shape in shapes(),
        events in deliveries(),
        jitter in prop::collection::vec((0..i64::MAX, 0..i64::MAX, 0..i64::MAX, 1..4_usize), 80),
    ) {
        let mut in_order = events.clone();
        in_order.sort_by_key(|event| event.time);
        let bound = shape.delay_ms + shape.lateness_ms;
        let mut arrivals: Vec<(i64, Event)> = Vec::new();
        for (event, (a, b, c, copies)) in events.into_iter().zip(jitter) {
            let time = event.time.0.millis();
            arrivals.extend([a, b, c].into_iter().take(copies).map(|j| (time + j % bound, event.clone())));
        }
        arrivals.sort_by_key(|(when, _)| *when);
        let arrived: Vec<Event> = arrivals.into_iter().map(|(_, event)| event).collect();
        prop_assert_eq!(final_rows(all_rows(shape, &arrived)), final_rows(all_rows(shape, &in_order)));
    }

    #[test]
    fn rows_are_what_the_definition_says_however_late_events_come(shape in shapes(), events in deliveries(), beat in 0..60_000_i64) {
        let mut events = events;
        events.insert(events.len() / 2, heartbeat(beat));
        let again: Vec<Event> = events.iter().step_by(3).cloned().collect();
        events.extend(again);
        let rows = final_rows(all_rows(shape, &events));
        prop_assert_eq!(in_short(&rows), defined(shape, &events));
    }

    #[test]
    fn a_restart_from_what_was_kept_tells_the_same_rows(shape in shapes(), events in deliveries(), cut in 0..80_usize) {
        let whole = all_rows(shape, &events);
        let (before, after) = events.split_at(cut.min(events.len()));
        let mut windows = Windows::new(shape);
        let mut rows: Vec<Row> = before.iter().flat_map(|event| windows.push(event, late_clock())).collect();
        let kept = serde_json::to_vec(&windows).unwrap();
        let mut windows: Windows = serde_json::from_slice(&kept).unwrap();
        rows.extend(after.iter().flat_map(|event| windows.push(event, late_clock())));
        rows.extend(windows.finish());
        prop_assert_eq!(rows, whole);
    }
}

fn told(rows: &[Row]) -> Vec<(i64, u64, u32, bool)> {
    rows.iter().map(|r| (r.window_end.0.millis() - BASE_MS, r.requests, r.revision, r.is_final)).collect()
}

#[test]
fn a_window_is_told_at_the_watermark_revised_by_late_events_and_then_final() {
    let mut windows = Windows::new(TUMBLING);
    let push =
        |windows: &mut Windows, ms, requests| told(&windows.push(&delivery("a", "c", ms, requests), late_clock()));
    assert_eq!(push(&mut windows, 1_000, 30), []);
    assert_eq!(push(&mut windows, 11_998, 1), []);
    assert_eq!(push(&mut windows, 11_999, 1), [(10_000, 30, 0, false)], "the last instant before 10 s is 2 s ago");
    assert_eq!(push(&mut windows, 9_000, 7), [(10_000, 37, 1, false)]);
    assert_eq!(push(&mut windows, 9_000, 7), [], "a copy");
    assert_eq!(push(&mut windows, 16_999, 1), [(10_000, 37, 2, true)]);
    assert_eq!(push(&mut windows, 9_500, 7), [], "too late");
    let counts = windows.counts();
    assert_eq!((counts.taken, counts.duplicates, counts.late), (5, 1, 1));
    assert_eq!(told(&windows.finish()), [(20_000, 3, 0, true)]);
}

#[test]
fn a_late_event_counts_in_the_sliding_windows_that_are_still_open() {
    let mut windows = Windows::new(SLIDING);
    windows.push(&delivery("a", "c", 5_000, 10), late_clock());
    windows.push(&heartbeat(12_999), late_clock());
    // Windows that end at or before 6 s are final, those at 8 s and 10 s told, those at 12 s and 14 s open.
    let rows = windows.push(&delivery("b", "c", 5_500, 1), late_clock());
    assert_eq!(told(&rows), [(8_000, 11, 1, false), (10_000, 11, 1, false)]);
    let ends: Vec<_> = told(&windows.finish()).into_iter().map(|(end, requests, ..)| (end, requests)).collect();
    assert_eq!(ends, [(8_000, 11), (10_000, 11), (12_000, 11), (14_000, 11)]);
}

#[test]
fn heartbeats_close_windows_where_nothing_is_delivered() {
    let mut windows = Windows::new(TUMBLING);
    windows.push(&delivery("a", "c", 0, 1), late_clock());
    assert_eq!(told(&windows.push(&heartbeat(20_000), late_clock())), [(10_000, 1, 0, true)]);
}

#[test]
fn an_event_ahead_of_the_clock_closes_nothing() {
    let mut windows = Windows::new(TUMBLING);
    windows.push(&delivery("a", "c", 0, 1), at(0));
    assert_eq!(windows.push(&delivery("wrong", "c", 3_600_000, 1), at(1_000)), []);
    assert_eq!(windows.push(&heartbeat(12_000), at(9_999)), []);
    assert_eq!(windows.counts().ahead, 2);
    assert_eq!(told(&windows.push(&heartbeat(12_000), at(10_000))), [(10_000, 1, 0, false)]);
}

#[test]
fn rows_say_ratios_and_rates_in_whole_numbers() {
    let mut one = delivery("a", "c", 0, 0);
    let Data::Delivery(data) = &mut one.data else { unreachable!() };
    data.requests = 3;
    data.hits = 2;
    data.errors = 1;
    data.bytes = 12_345;
    data.origin_requests = 7;
    data.fills = FillTimes { le_5: 19, le_75: 1, ..FillTimes::default() };
    let row = all_rows(TUMBLING, &[one]).pop().unwrap();
    assert_eq!((row.hit_permille, row.error_permille), (Some(666), Some(333)));
    assert_eq!((row.origin_requests_per_1000_s, row.bits_per_second), (700, 9_876));
    assert_eq!((row.fills, row.fill_p95_ms), (20, Some(5)));
    assert_eq!(row.window_start.to_string(), "2023-11-14T22:13:20.000Z");
    let none = all_rows(TUMBLING, &[delivery("a", "c", 0, 0)]).pop().unwrap();
    assert_eq!((none.hit_permille, none.error_permille, none.fill_p95_ms), (None, None, None));
}

#[test]
fn numbers_and_times_at_their_limits_break_nothing() {
    let mut windows = Windows::new(SLIDING);
    for nanos in [i64::MIN, i64::MAX, 0, -1] {
        for node in ["a", "b"] {
            let mut event = delivery(node, "c", 0, 0);
            event.time.0 = UtcTime::from_nanos(nanos);
            event.id = format!("{node}{nanos}");
            let Data::Delivery(data) = &mut event.data else { unreachable!() };
            (data.requests, data.hits, data.bytes) = (u64::MAX, u64::MAX, u64::MAX);
            data.fills = FillTimes::of([u64::MAX; 16]);
            windows.push(&event, UtcTime::from_nanos(i64::MAX));
        }
    }
    assert!(windows.finish().iter().all(|row| row.hit_permille == Some(1_000)));
}
