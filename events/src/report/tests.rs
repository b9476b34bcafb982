// SPDX-License-Identifier: Apache-2.0
//! An event night: two origins, two shields, one encoder that stumbles, one origin that dies.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::event::{
    Alert, AlertState, ChannelResumed, ChannelStalled, Congestion, Delivery, FillTimes, Health, Kind, PartReady,
    Resource, Role, SegmentLost, SegmentReady, Severity, Source, SourceSwitched, Upstream, UpstreamSwitched,
};
use crate::plan::Assumptions;
use crate::schema::example;

/// 2026-11-21T20:00:00Z, and its segment of two seconds.
const BEGIN: i64 = 1_795_291_200;
const FIRST: u64 = 897_645_600;
const MINUTES: i64 = 30;

fn at(second: i64) -> UtcTime {
    UtcTime::from_nanos((BEGIN + second) * 1_000_000_000)
}

fn source(role: Role, node: &str) -> Source {
    Source::new(role, node)
}

fn segment(sequence: u64) -> SegmentReady {
    SegmentReady {
        channel: "final".to_owned(),
        track: "v0".to_owned(),
        generation: 0,
        sequence,
        parts: 10,
        start: Timestamp(at((sequence - FIRST) as i64 * 2)),
        duration_ns: 2_000_000_000,
        bytes: 1_500_000,
        digest: "0".repeat(32),
        independent: true,
        defects: Vec::new(),
        path: format!("/live/final/v0/{sequence}.m4s"),
    }
}

fn lost(sequence: u64) -> Data {
    Data::SegmentLost(SegmentLost {
        channel: "final".to_owned(),
        track: "v0".to_owned(),
        generation: 0,
        sequence,
        start: Timestamp(at((sequence - FIRST) as i64 * 2)),
        duration_ns: 2_000_000_000,
    })
}

/// Who comes: nobody at first, most at half-time.
fn crowd(second: i64) -> u64 {
    let minutes = second / 60;
    let peak = 1_000 - (minutes - 18).unsigned_abs() * 45;
    peak + (second % 7).unsigned_abs() * 3
}

/// What both origins told of media: 300 of 900 is lost by both, 310 by one, 320 is missing without a word.
fn media() -> Vec<Event> {
    let mut events = Vec::new();
    for node in ["origin-a", "origin-b"] {
        let by = source(Role::Origin, node);
        for number in 0..(MINUTES as u64 * 30) {
            let (sequence, end) = (FIRST + number, at(number as i64 * 2 + 2));
            let data = match (number, node) {
                (300, _) | (310, "origin-a") => lost(sequence),
                (320..=322, _) => continue,
                _ => Data::SegmentReady(segment(sequence)),
            };
            events.push(Event::new(&by, end, data));
            let part = PartReady {
                channel: "final".to_owned(),
                track: "v0".to_owned(),
                generation: 0,
                sequence,
                part: 0,
                start: Timestamp(at(number as i64 * 2)),
                duration_ns: 200_000_000,
                bytes: 150_000,
                digest: "0".repeat(32),
                independent: true,
                defects: Vec::new(),
                path: format!("/live/final/v0/{sequence}.0.m4s"),
            };
            events.push(Event::new(&by, at(number as i64 * 2), Data::PartReady(part)));
        }
    }
    events
}

fn load(role: Role, node: &str, second: i64) -> Event {
    let share = if role == Role::Shield { crowd(second) } else { 20 };
    let health = Health {
        node: node.to_owned(),
        role,
        interval_ms: 5_000,
        connections: share,
        requests: share * 50,
        refused: 0,
        egress_bytes: share * 5 * 500_000,
        ingress_bytes: 7_000_000,
        egress_bits_per_second: share * 4_000_000,
        cpu_millicores: share * 2,
        cpu_millicores_max: 4_000,
        memory_bytes: 400_000_000 + share * 100_000,
        memory_bytes_max: 2_000_000_000,
        channels: 1,
        congested: Vec::new(),
    };
    Event::new(&source(role, node), at(second), Data::Health(health))
}

fn delivery(node: &str, second: i64) -> Event {
    let trouble = (620..680).contains(&second);
    let requests = crowd(second) * 50;
    let mut fills = [0; 16];
    for (ms, count) in if trouble { [(35, 40), (200, 50), (1_000, 10)] } else { [(2, 60), (5, 30), (20, 10)] } {
        fills[FillTimes::class(ms)] = count;
    }
    let delivery = Delivery {
        node: node.to_owned(),
        channel: "final".to_owned(),
        interval_ms: 5_000,
        requests,
        hits: if trouble { requests * 93 / 100 } else { requests * 99 / 100 },
        stale: 0,
        errors: u64::from(trouble),
        refused: 0,
        bytes: requests * 40_000,
        origin_requests: 100,
        prefetches: 90,
        origin_bytes: 4_000_000,
        fills: FillTimes::of(fills),
    };
    Event::new(&source(Role::Shield, node), at(second), Data::Delivery(delivery))
}

/// What went wrong.
fn trouble() -> Vec<Event> {
    let (channel, origin) = ("final".to_owned(), "http://10.0.0.1:8080".to_owned());
    let (a, b) = (source(Role::Origin, "origin-a"), source(Role::Origin, "origin-b"));
    let (c, d) = (source(Role::Shield, "shield-a"), source(Role::Shield, "shield-b"));
    let upstream =
        || Upstream { upstream: "main".to_owned(), origin: origin.clone(), reason: "connection refused".to_owned() };
    let stalled = || {
        Data::ChannelStalled(ChannelStalled {
            channel: channel.clone(),
            since: Timestamp(at(618)),
            sequence: FIRST + 309,
        })
    };
    let resumed =
        |ms| Data::ChannelResumed(ChannelResumed { channel: channel.clone(), stalled_ms: ms, sequence: FIRST + 312 });
    let switched = Data::SourceSwitched(SourceSwitched {
        channel: channel.clone(),
        track: "v0".to_owned(),
        from: "encoder-1".to_owned(),
        to: "encoder-2 <backup>".to_owned(),
        sequence: FIRST + 312,
        reason: "it brought nothing for 4 s | twice".to_owned(),
    });
    let congestion = |used_percent| Congestion {
        node: "shield-a".to_owned(),
        role: Role::Shield,
        resource: Resource::Egress,
        used_percent,
        raised_at_percent: 85,
        cleared_below_percent: 76,
    };
    let alert = |state, begin| {
        Data::Alert(Alert {
            rule: "fill_p95_ms_max".to_owned(),
            channel: Some(channel.clone()),
            state,
            severity: Severity::Critical,
            value: 1_000.0,
            threshold: 100.0,
            window_start: Timestamp(at(begin)),
            window_end: Timestamp(at(begin + 10)),
            text: "p95 of fills is 1000 ms".to_owned(),
        })
    };
    let down = UpstreamSwitched {
        channel: Some(channel.clone()),
        upstream: "main".to_owned(),
        from: origin.clone(),
        to: "http://10.0.0.2:8080".to_owned(),
        reason: "it is down".to_owned(),
    };
    vec![
        Event::new(&a, at(621), stalled()),
        Event::new(&b, at(622), stalled()),
        Event::new(&a, at(624), resumed(6_000)),
        Event::new(&b, at(625), resumed(7_000)),
        Event::new(&a, at(624), switched),
        Event::new(&c, at(900), Data::UpstreamDown(upstream())),
        Event::new(&d, at(901), Data::UpstreamDown(upstream())),
        Event::new(&c, at(900), Data::UpstreamSwitched(down)),
        Event::new(&c, at(960), Data::UpstreamUp(upstream())),
        Event::new(&d, at(963), Data::UpstreamUp(upstream())),
        Event::new(&c, at(1_080), Data::CongestionRaised(congestion(88))),
        Event::new(&c, at(1_170), Data::CongestionCleared(congestion(70))),
        Event::new(&c, at(640), alert(AlertState::Firing, 630)),
        Event::new(&c, at(700), alert(AlertState::Resolved, 680)),
        // It is not over when the night is.
        Event::new(
            &d,
            at(1_790),
            Data::CongestionRaised(Congestion {
                node: "shield-b".to_owned(),
                resource: Resource::Cpu,
                ..congestion(91)
            }),
        ),
    ]
}

/// The night, in an order that no log has.
fn night() -> Vec<Event> {
    let mut events = media();
    events.extend(trouble());
    for second in (5..=MINUTES * 60).step_by(5) {
        for (role, node) in [
            (Role::Origin, "origin-a"),
            (Role::Origin, "origin-b"),
            (Role::Shield, "shield-a"),
            (Role::Shield, "shield-b"),
        ] {
            // The origin that dies tells nothing meanwhile.
            if node != "origin-a" || !(900..960).contains(&second) {
                events.push(load(role, node, second));
            }
        }
        events.push(delivery("shield-a", second - 5));
        events.push(delivery("shield-b", second - 5));
    }
    events.sort_by_key(|event| hash(&event.id));
    events
}

fn plan() -> Plan {
    Plan::of(&Assumptions { viewers: 500_000, ..Assumptions::default() }).unwrap()
}

fn report_of(events: &[Event], plan: Option<&Plan>) -> Report {
    let mut reader = Reader::new(None, None);
    events.iter().for_each(|event| reader.take(event));
    reader.finish(plan)
}

static NIGHT: LazyLock<Report> = LazyLock::new(|| report_of(&night(), Some(&plan())));

fn incidents(sort: Sort) -> Vec<&'static Incident> {
    NIGHT.incidents.iter().filter(|incident| incident.sort == sort).collect()
}

fn second(time: Timestamp) -> i64 {
    time.0.millis() / 1_000 - BEGIN
}

#[test]
fn what_twins_tell_counts_once() {
    let channel = &NIGHT.channels[0];
    assert_eq!(channel.origins, ["/origin/origin-a", "/origin/origin-b"]);
    // Of 900 one is lost by both and three are missing; one came from the twin alone.
    assert_eq!((channel.segments, channel.parts), (896, 897));
    assert_eq!(NIGHT.read.copies_of_twins, 895 + 1 + 897);
}

#[test]
fn what_one_twin_lost_and_the_other_has_is_not_lost() {
    let channel = &NIGHT.channels[0];
    assert_eq!((channel.segments_lost, channel.lost_ms), (1, 2_000));
    let gaps = incidents(Sort::Gap);
    assert_eq!((gaps.len(), second(gaps[0].begin), gaps[0].duration_ms), (1, 600, 2_000));
}

#[test]
fn numbers_that_nobody_told_of_are_a_hole() {
    let channel = &NIGHT.channels[0];
    let (begin, end) = (Timestamp(at(640)), Timestamp(at(646)));
    let hole = Hole { track: "v0".to_owned(), generation: 0, first: FIRST + 320, last: FIRST + 322, begin, end };
    assert_eq!((channel.segments_missing, channel.holes.as_slice()), (3, &[hole][..]));
    assert_eq!(incidents(Sort::Hole).iter().map(|hole| hole.duration_ms).collect::<Vec<_>>(), [6_000]);
}

#[test]
fn a_stall_that_both_origins_tell_is_one_incident() {
    let stalls = incidents(Sort::Stall);
    let stall = stalls[0];
    assert_eq!((stalls.len(), second(stall.begin), stall.duration_ms, stall.times), (1, 618, 7_000, 1));
    assert_eq!((stall.channels.as_slice(), stall.nodes.len()), (&["final".to_owned()][..], 2));
}

#[test]
fn an_origin_is_down_from_the_first_who_says_so_to_the_last() {
    let down = incidents(Sort::OriginDown);
    assert_eq!((down.len(), second(down[0].begin), down[0].duration_ms), (1, 900, 63_000));
    assert_eq!(down[0].subject, "http://10.0.0.1:8080 of main");
}

#[test]
fn what_is_not_over_lasts_to_the_end() {
    let congestion = incidents(Sort::Congestion);
    assert_eq!(congestion.len(), 2);
    assert_eq!((congestion[0].duration_ms, congestion[0].end.map(second)), (90_000, Some(1_170)));
    assert_eq!((congestion[1].duration_ms, congestion[1].end), (10_000, None));
}

#[test]
fn ratios_and_percentiles_are_those_of_all_deliveries() {
    let deliveries: Vec<Delivery> = night()
        .into_iter()
        .filter_map(|event| if let Data::Delivery(delivery) = event.data { Some(delivery) } else { None })
        .collect();
    let sum = |of: fn(&Delivery) -> u64| deliveries.iter().map(of).sum::<u64>();
    let channel = &NIGHT.channels[0];
    assert_eq!(channel.requests, sum(|d| d.requests));
    assert_eq!(channel.hit_permille, Some(sum(|d| d.hits) * 1_000 / sum(|d| d.requests)));
    let kept = sum(|d| d.bytes) - sum(|d| d.origin_bytes);
    assert_eq!(channel.offload_bytes_permille, Some((u128::from(kept) * 1_000 / u128::from(sum(|d| d.bytes))) as u64));
    // 24 of 720 are in trouble, and half of those fills take 200 ms: the slowest three in a hundred.
    assert_eq!((channel.fill_p50_ms, channel.fill_p95_ms, channel.fill_p99_ms), (Some(2), Some(20), Some(200)));
}

#[test]
fn peaks_are_beside_the_plan() {
    let row = |key: &str| NIGHT.against_plan.iter().find(|row| row.key == key).unwrap_or_else(|| panic!("no {key}"));
    let peak = (0..=MINUTES * 60).step_by(5).map(crowd).max().unwrap();
    assert_eq!(row("shield.connections").measured, 2 * peak);
    assert_eq!(row("shield.bits_per_second").measured, 2 * peak * 4_000_000);
    assert_eq!(row("shield.requests_per_second").measured, 2 * peak * 10);
    assert_eq!(row("origin.connections").measured, 40);
    let row = row("shield.bits_per_second");
    assert_eq!(row.percent, Some(row.measured * 100 / row.planned));
}

#[test]
fn the_order_and_the_number_of_copies_change_nothing() {
    let mut events = night();
    events.reverse();
    let reversed = report_of(&events, Some(&plan()));
    assert_eq!((&reversed.incidents, &reversed.nodes), (&NIGHT.incidents, &NIGHT.nodes));
    assert_eq!((&reversed.channels, &reversed.against_plan), (&NIGHT.channels, &NIGHT.against_plan));
    let again: Vec<Event> = events.iter().flat_map(|event| [event.clone(), event.clone()]).collect();
    let twice = report_of(&again, Some(&plan()));
    assert_eq!((&twice.incidents, &twice.channels, &twice.nodes), (&NIGHT.incidents, &NIGHT.channels, &NIGHT.nodes));
    assert_eq!(twice.files()[2..], NIGHT.files()[2..]);
}

#[test]
fn no_events_are_a_report_too() {
    let report = report_of(&[], Some(&plan()));
    let files = report.files();
    assert_eq!(files.iter().map(|file| file.name).collect::<Vec<_>>(), ["report.md", "report.json"]);
    assert!(files[0].text.contains("No events."), "{}", files[0].text);
}

#[test]
fn any_single_event_is_a_report() {
    for kind in Kind::ALL {
        let report = report_of(&[example(*kind)], Some(&plan()));
        assert_eq!(report.read.events, 1, "{kind}");
        assert!(report.files().iter().all(|file| !file.text.is_empty()), "{kind}");
    }
}

#[test]
fn only_the_time_that_was_asked_for_counts() {
    let mut reader = Reader::new(Some(at(600)), Some(at(660)));
    night().iter().for_each(|event| reader.take(event));
    let report = reader.finish(None);
    assert_eq!((report.from.map(second), report.to.map(second)), (Some(600), Some(660)));
    assert!(report.incidents.iter().all(|incident| second(incident.begin) < 660), "{:?}", report.incidents);
    // Thirty less those that nobody told of.
    assert_eq!(report.channels[0].parts, 27);
}

#[test]
fn text_of_others_stays_in_its_cell() {
    let page = &NIGHT.files()[0].text;
    assert!(page.contains("encoder-2 &lt;backup&gt;") && page.contains("4 s \\| twice"), "{page}");
}

/// `HEADWATER_UPDATE=1` writes them anew.
#[test]
fn the_night_is_the_committed_one() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/night");
    for file in NIGHT.files() {
        let path = dir.join(file.name);
        if std::env::var_os("HEADWATER_UPDATE").is_some() {
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(&path, &file.text).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == file.text, "{} is another; look at it, then HEADWATER_UPDATE=1", path.display());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_numbers_and_times_are_a_report(
        events in prop::collection::vec((0..Kind::ALL.len(), any::<i64>(), any::<u64>(), 0..3_u8), 0..40),
    ) {
        let mut reader = Reader::new(None, None);
        for (kind, time, number, node) in events {
            let by = source(if node == 0 { Role::Origin } else { Role::Shield }, &format!("n{node}"));
            let mut json: serde_json::Value = serde_json::to_value(example(Kind::ALL[kind]).data).unwrap();
            for (_, value) in json.as_object_mut().unwrap() {
                if value.is_u64() {
                    *value = number.into();
                }
            }
            let mut event = serde_json::to_value(example(Kind::ALL[kind])).unwrap();
            event["data"] = json;
            // Numbers that do not fit their field are refused when read.
            if let Ok(read) = Event::from_json(event.to_string().as_bytes()) {
                reader.take(&Event::new(&by, UtcTime::from_nanos(time), read.data));
            }
        }
        let report = reader.finish(Some(&plan()));
        prop_assert!(report.files().len() >= 2);
    }
}
