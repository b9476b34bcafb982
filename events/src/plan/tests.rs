// SPDX-License-Identifier: Apache-2.0
//! The formulas against what they stand for: viewers, edges and objects that are counted one by one.

use std::collections::BTreeSet;

use super::*;

/// Two renditions and sound, a part five times a second, a segment each two seconds.
fn small() -> Assumptions {
    let rendition = |name: &str, bits_per_second, share_percent| Rendition {
        name: name.to_owned(),
        bits_per_second,
        share_percent,
    };
    Assumptions {
        viewers: 1_000,
        ladder: vec![rendition("high", 4_000_000, 75), rendition("low", 1_000_000, 25)],
        audio_bits_per_second: 100_000,
        regions: vec![
            Region { name: "north".to_owned(), share_percent: 60, edges: 3 },
            Region { name: "south".to_owned(), share_percent: 40, edges: 2 },
        ],
        overhead_percent: 0,
        again_percent: 0,
        ..Assumptions::default()
    }
}

fn value(plan: &Plan, key: &str) -> u64 {
    plan.figure(key).unwrap_or_else(|| panic!("there is no {key}")).value
}

/// What the viewers of `small` play: a video track each, and the sound.
fn playing(a: &Assumptions) -> Vec<(usize, u64)> {
    let of = |at: usize| (0..a.viewers * a.ladder[at].share_percent / 100).map(move |_| at);
    of(0).chain(of(1)).map(|at| (at, a.ladder[at].bits_per_second + a.audio_bits_per_second)).collect()
}

#[test]
fn edges_send_what_their_viewers_play() {
    let a = small();
    let plan = Plan::of(&a).unwrap();
    let bits: u64 = playing(&a).iter().map(|(_, bits)| bits).sum();
    assert_eq!(value(&plan, "edge.bits_per_second"), bits);
    // In ten seconds each viewer asks for fifty parts of each of two tracks, and as many playlists.
    let requests: u64 = playing(&a).iter().map(|_| (0..10_000).step_by(200).map(|_| 2 * 2).sum::<u64>()).sum();
    assert_eq!(value(&plan, "edge.requests_per_second"), requests / 10);
    let loaded = Plan::of(&Assumptions { overhead_percent: 12, ..a }).unwrap();
    assert_eq!(value(&loaded, "edge.bits_per_second"), bits * 112 / 100);
}

#[test]
fn a_shield_is_asked_once_by_each_edge_for_each_object() {
    let plan = Plan::of(&small()).unwrap();
    let mut asked = BTreeSet::new();
    let mut bits = 0;
    let seconds = 20;
    for edge in 0..5 {
        for (track, rate) in [(0, 4_000_000), (1, 1_000_000), (2, 100_000)] {
            for ms in (0..seconds * 1_000).step_by(200) {
                asked.insert((edge, track, "part", ms));
                asked.insert((edge, track, "playlist", ms));
                bits += rate / 5;
            }
            for ms in (0..seconds * 1_000).step_by(2_000) {
                asked.insert((edge, track, "segment", ms));
                bits += rate * 2;
            }
        }
    }
    // Half an object a second is rounded up.
    assert_eq!(value(&plan, "shield.requests_per_second"), (asked.len() as u64).div_ceil(seconds));
    assert_eq!(value(&plan, "shield.bits_per_second"), bits / seconds);
}

#[test]
fn an_origin_is_asked_once_by_each_shield() {
    let plan = Plan::of(&small()).unwrap();
    let (shield, origin) = (value(&plan, "shield.requests_per_second"), value(&plan, "origin.requests_per_second"));
    // Five edges, two shields.
    assert_eq!(shield.div_ceil(5), origin.div_ceil(2));
    assert_eq!(value(&plan, "origin.bits_per_second") * 5, value(&plan, "shield.bits_per_second") * 2);
    assert_eq!(value(&plan, "shield.hit_permille"), (shield - origin) * 1_000 / shield);
}

#[test]
fn a_measured_hit_ratio_counts_where_it_is_known() {
    let a = Assumptions { edge_hit_permille: Some(950), shield_hit_permille: Some(900), ..small() };
    let plan = Plan::of(&a).unwrap();
    let viewers = value(&plan, "edge.requests_per_second");
    assert_eq!(value(&plan, "shield.requests_per_second"), viewers * 5 / 100);
    assert_eq!(value(&plan, "origin.requests_per_second"), viewers * 5 / 1_000);
    assert_eq!(value(&plan, "edge.hit_permille"), 950);
    assert_eq!(value(&plan, "shield.hit_permille"), 900);
}

#[test]
fn without_parts_there_are_segments_and_playlists_alone() {
    let plan = Plan::of(&Assumptions { part_ms: 0, ..small() }).unwrap();
    // Two tracks, a segment and a playlist each two seconds.
    assert_eq!(value(&plan, "edge.requests_per_second"), 1_000 * 2);
    // Five edges, three tracks, a segment and two playlists each two seconds: 22.5.
    assert_eq!(value(&plan, "shield.requests_per_second"), 23);
    assert_eq!(value(&plan, "shield.bits_per_second"), 5 * 5_100_000);
    assert!(plan.limits.iter().all(|limit| !limit.key.contains("held")), "nothing is held: {:?}", plan.limits);
}

#[test]
fn an_edge_asks_no_more_than_its_viewers() {
    let plan = Plan::of(&Assumptions { viewers: 3, ..small() }).unwrap();
    assert!(value(&plan, "shield.requests_per_second") <= value(&plan, "edge.requests_per_second"));
    assert!(value(&plan, "origin.bits_per_second") <= value(&plan, "shield.bits_per_second"));
}

#[test]
fn memory_of_an_origin_is_what_was_measured() {
    // The README: three renditions and sound, 3.1 Mb/s, a window of ten seconds: 8.1 MB.
    let third =
        |name: &str, share_percent| Rendition { name: name.to_owned(), bits_per_second: 1_000_000, share_percent };
    let a = Assumptions {
        ladder: vec![third("a", 50), third("b", 30), third("c", 20)],
        audio_bits_per_second: 100_000,
        window_seconds: 10,
        ..small()
    };
    let bytes = value(&Plan::of(&a).unwrap(), "origin.memory_bytes");
    assert!((7_700_000..8_500_000).contains(&bytes), "{bytes}");
}

#[test]
fn regions_are_the_whole() {
    let plan = Plan::of(&small()).unwrap();
    let sum = |of: fn(&RegionNeeds) -> u64| plan.regions.iter().map(of).sum::<u64>();
    assert_eq!(sum(|region| region.viewers), 1_000);
    assert_eq!(sum(|region| region.bits_per_second), value(&plan, "edge.bits_per_second"));
    let asked = sum(|region| region.shield_requests_per_second);
    assert!(asked.abs_diff(value(&plan, "shield.requests_per_second")) <= 1, "{asked}");
    assert_eq!(plan.regions[0].edge_bits_per_second, plan.regions[0].bits_per_second / 3);
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let mut a = small();
    a.ladder[0].share_percent = 70;
    let error = Plan::of(&a).unwrap_err().to_string();
    assert_eq!(error, "expected the shares of ladder to be 100 percent together, got 95");
    let error = Plan::of(&Assumptions { part_ms: 3_000, ..small() }).unwrap_err().to_string();
    assert_eq!(error, "expected 0 to segment_ms in part_ms, got 3000");
    let mut a = small();
    a.regions[1].edges = 0;
    assert!(Plan::of(&a).unwrap_err().to_string().contains("regions.south.edges"));
}

#[test]
fn the_largest_assumptions_fit() {
    let mut a = small();
    for rendition in &mut a.ladder {
        rendition.bits_per_second = 1_000_000_000;
    }
    a.regions[0].edges = 1_000_000;
    let a = Assumptions {
        viewers: 10_000_000_000,
        channels: 100_000,
        shields: 10_000,
        origins: 100,
        again_percent: 1_000,
        window_seconds: 1_000_000,
        headroom_percent: 1_000,
        ..a
    };
    let plan = Plan::of(&a).unwrap();
    assert!(!plan.text().is_empty() && !plan.markdown().is_empty());
}

#[test]
fn a_plan_is_read_back_as_it_was_written() {
    let plan = Plan::of(&small()).unwrap();
    let json = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), plan);
}

#[test]
fn each_number_is_said_with_its_formula() {
    let plan = Plan::of(&small()).unwrap();
    let (text, page) = (plan.text(), plan.markdown());
    for figure in &plan.figures {
        assert!(!figure.formula.is_empty() && text.contains(&figure.formula), "{}", figure.key);
        assert!(page.contains(&figure.unit.show(figure.value)), "{}", figure.key);
    }
    for limit in &plan.limits {
        assert!(text.contains(&format!("{}: {}", limit.of, limit.key)) && page.contains(&format!("`{}`", limit.key)));
    }
}
