// SPDX-License-Identifier: Apache-2.0
//! Limits as edges meet them.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::time::Instant;

use super::*;
use crate::config::Route;

fn edge(guard: &Guard, address: &str) -> Edge {
    guard.edge(&Connection::new((address.parse::<IpAddr>().unwrap(), 4_711).into()))
}

const LIVE: Asked<'static> =
    Asked { tenant: "live", channel: "news", path: "/live/news/1.m4s", query: "", class: Class::LiveEdge };

fn open() -> Access {
    Access::new(&Route::default()).unwrap()
}

/// Admits a request and keeps its place.
fn ask(guard: &Guard, edge: &Edge) -> Result<Pass, Refusal> {
    guard.admit(edge, &open(), &LIVE)
}

#[tokio::test(start_paused = true)]
async fn an_edge_has_a_rate_and_is_told_when_to_come_again() {
    let guard = Guard::new(&Limits { edge_requests_per_second: 1, edge_burst: 2, ..Limits::default() });
    let (one, other) = (edge(&guard, "192.0.2.1"), edge(&guard, "192.0.2.2"));
    ask(&guard, &one).unwrap();
    ask(&guard, &one).unwrap();
    tokio::time::advance(Duration::from_millis(300)).await;
    let refusal = ask(&guard, &one).unwrap_err();
    assert_eq!((refusal.status.as_u16(), refusal.bound), (429, "edge_rate"));
    assert_eq!(refusal.retry_after, Some(Duration::from_secs(1)), "700 ms, rounded up");
    ask(&guard, &other).unwrap();
    tokio::time::advance(refusal.retry_after.unwrap()).await;
    ask(&guard, &one).unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_retry_after_of_a_slow_rate_is_honest() {
    let guard = Guard::new(&Limits { channel_requests_per_second: 1, channel_burst: 5, ..Limits::default() });
    let one = edge(&guard, "192.0.2.1");
    for _ in 0..5 {
        ask(&guard, &one).unwrap();
    }
    let refusal = ask(&guard, &one).unwrap_err();
    assert_eq!(refusal.bound, "channel_rate");
    tokio::time::advance(refusal.retry_after.unwrap()).await;
    ask(&guard, &one).unwrap();
}

#[test]
fn connections_of_one_site_are_one_edge() {
    let guard = Guard::new(&Limits { edge_requests_per_second: 1, edge_burst: 1, ..Limits::default() });
    for (first, second, alike) in [
        ("192.0.2.1", "192.0.2.1", true),
        ("192.0.2.3", "::ffff:192.0.2.3", true),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", true),
        ("2001:db8:0:2::1", "2001:db8:0:3::1", false),
        ("192.0.2.4", "192.0.2.5", false),
    ] {
        ask(&guard, &edge(&guard, first)).unwrap();
        assert_eq!(ask(&guard, &edge(&guard, second)).is_err(), alike, "{first} and {second}");
    }
}

#[test]
fn a_channel_has_a_rate_of_its_own() {
    let guard = Guard::new(&Limits { channel_requests_per_second: 1, channel_burst: 1, ..Limits::default() });
    let one = edge(&guard, "192.0.2.1");
    let ask = |tenant, channel| guard.admit(&one, &open(), &Asked { tenant, channel, ..LIVE }).map(drop);
    ask("live", "news").unwrap();
    assert_eq!(ask("live", "news").unwrap_err().bound, "channel_rate");
    ask("live", "sport").unwrap();
    ask("other", "news").unwrap();
    assert_eq!(guard.tracked(), 4);
}

#[test]
fn places_are_given_back() {
    let guard = Guard::new(&Limits { edge_concurrent_max: 2, concurrent_max: 3, ..Limits::default() });
    let (one, other) = (edge(&guard, "192.0.2.1"), edge(&guard, "192.0.2.2"));
    let held = [ask(&guard, &one).unwrap(), ask(&guard, &one).unwrap()];
    let refusal = ask(&guard, &one).unwrap_err();
    assert_eq!((refusal.status.as_u16(), refusal.bound), (429, "edge_concurrent"));
    let _third = ask(&guard, &other).unwrap();
    let refusal = ask(&guard, &other).unwrap_err();
    assert_eq!((refusal.status.as_u16(), refusal.bound), (503, "concurrent"));
    assert_eq!(guard.requests(), 3, "what is refused takes no place");
    drop(held);
    let _again = [ask(&guard, &one).unwrap(), ask(&guard, &one).unwrap()];
    assert_eq!(guard.requests(), 3);
}

#[test]
fn past_nine_tenths_only_the_live_edge_is_served() {
    let guard = Guard::new(&Limits { concurrent_max: 10, ..Limits::default() });
    let one = edge(&guard, "192.0.2.1");
    let rest = Asked { class: Class::Rest, ..LIVE };
    let mut held: Vec<Pass> = (0..9).map(|_| guard.admit(&one, &open(), &rest).unwrap()).collect();
    assert_eq!(guard.admit(&one, &open(), &rest).unwrap_err().bound, "crowded");
    held.push(ask(&guard, &one).unwrap());
    assert_eq!(ask(&guard, &one).unwrap_err().bound, "concurrent");
    held.truncate(8);
    guard.admit(&one, &open(), &rest).unwrap();
}

#[test]
fn places_of_those_who_wait_are_bounded_by_channel_and_over_all() {
    let guard = Guard::new(&Limits { held_per_channel_max: 2, held_max: 3, ..Limits::default() });
    let news = [guard.hold("live", "news").unwrap(), guard.hold("live", "news").unwrap()];
    assert_eq!(guard.hold("live", "news").unwrap_err().bound, "held_per_channel");
    let _sport = guard.hold("live", "sport").unwrap();
    assert_eq!(guard.hold("live", "sport").unwrap_err().bound, "held");
    assert_eq!(guard.held(), 3);
    drop(news);
    assert_eq!(guard.held(), 1);
    guard.hold("live", "news").unwrap();
}

#[test]
fn nobody_can_make_the_tables_grow() {
    let limits = Limits { tracked_max: 100, channel_requests_per_second: 1, ..Limits::default() };
    let guard = Guard::new(&limits);
    for number in 0..10_000_u32 {
        let one = edge(&guard, &std::net::Ipv4Addr::from_bits(number).to_string());
        guard.admit(&one, &open(), &Asked { channel: &number.to_string(), ..LIVE }).unwrap();
    }
    assert!(guard.tracked() <= 200, "{}", guard.tracked());
}

#[test]
fn a_reload_goes_on_counting_and_begins_rates_anew_where_a_limit_changed() {
    let limits = Limits { edge_requests_per_second: 1, edge_burst: 1, ..Limits::default() };
    let guard = Guard::new(&limits);
    let one = edge(&guard, "192.0.2.1");
    let held = ask(&guard, &one).unwrap();
    assert!(ask(&guard, &one).is_err());
    let guard = guard.with(&limits);
    assert_eq!(ask(&guard, &one).unwrap_err().bound, "edge_rate", "what did not change goes on");
    let guard = guard.with(&Limits { concurrent_max: 2, ..limits });
    assert_eq!(guard.requests(), 1);
    let _second = ask(&guard, &one).unwrap();
    assert_eq!(ask(&guard, &one).unwrap_err().bound, "edge_rate", "a connection of before counts with its new ones");
    drop(held);
    assert_eq!(guard.requests(), 1);
}

#[test]
fn a_route_admits_whom_it_names() {
    let guard = Guard::new(&Limits::default());
    let access = |route: Route| Access::new(&route).unwrap();
    let check = |access: &Access, edge: &Edge, query: &str| {
        access.check(edge, "/live/x", query, || UNIX_EPOCH + Duration::from_secs(1_000)).map_err(|r| r.status.as_u16())
    };
    let (near, far) = (edge(&guard, "192.0.2.1"), edge(&guard, "203.0.113.1"));
    let networks = access(Route { edges: vec!["192.0.2.0/24".into(), "2001:db8::/32".into()], ..Route::default() });
    assert_eq!(check(&networks, &near, ""), Ok(()));
    assert_eq!(check(&networks, &edge(&guard, "::ffff:192.0.2.9"), ""), Ok(()));
    assert_eq!(check(&networks, &edge(&guard, "2001:db8::1"), ""), Ok(()));
    assert_eq!(check(&networks, &far, ""), Err(403));

    let mut connection = Connection::new(([203, 0, 113, 1], 1).into());
    connection.certified = true;
    let certificate = access(Route { edge_certificate: true, ..Route::default() });
    assert_eq!(check(&certificate, &guard.edge(&connection), ""), Ok(()));
    assert_eq!(check(&certificate, &near, ""), Err(403));

    let signed =
        access(Route { token_keys: vec!["key".into()], edges: vec!["192.0.2.0/24".into()], ..Route::default() });
    let token = format!("hwt={}", token::sign("key", "/live/", 1_001, None));
    assert_eq!(check(&signed, &near, &token), Ok(()));
    assert_eq!(check(&signed, &far, &token), Err(403), "every condition holds, not one of them");
    assert_eq!(check(&signed, &near, ""), Err(403));
    let words: Vec<_> = [(&far, token.as_str()), (&near, ""), (&near, "hwt=x")]
        .iter()
        .map(|(edge, query)| signed.check(edge, "/live/x", query, || UNIX_EPOCH).unwrap_err())
        .collect();
    assert!(words.iter().all(|refusal| *refusal == words[0]), "which condition failed is not said");
}

#[test]
fn an_open_route_does_not_look_at_the_clock() {
    let guard = Guard::new(&Limits::default());
    let clock = || -> SystemTime { panic!("nothing here has an end") };
    open().check(&edge(&guard, "192.0.2.1"), "/", "hwt=x", clock).unwrap();
}

#[test]
fn a_network_that_is_none_admits_nobody_by_mistake() {
    assert!(Access::new(&Route { edges: vec!["192.0.2.0/33".into()], ..Route::default() }).is_err());
}

#[test]
fn who_tries_tokens_is_held_to_the_rate() {
    let guard = Guard::new(&Limits { edge_requests_per_second: 1, edge_burst: 2, ..Limits::default() });
    let one = edge(&guard, "192.0.2.1");
    let access = Access::new(&Route { token_keys: vec!["key".into()], ..Route::default() }).unwrap();
    let bounds: Vec<_> = (0..3).map(|_| guard.admit(&one, &access, &LIVE).unwrap_err().bound).collect();
    assert_eq!(bounds, ["access", "access", "edge_rate"]);
    assert_eq!(guard.requests(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_keeps_its_place_and_its_pace() {
    let guard = Guard::new(&Limits { edge_bytes_per_second: 1_000_000, ..Limits::default() });
    let one = edge(&guard, "192.0.2.1");
    let begin = Instant::now();
    let sent = Bytes::from_iter((0..2_000_000_u32).map(|n| n.to_le_bytes()[0]));
    let bodies = [(); 2].map(|()| ask(&guard, &one).unwrap().keep(Body::from(sent.clone())));
    assert_eq!(bodies[0].size_hint_exact(), Some(2_000_000));
    let [first, second] = bodies.map(|body| tokio::spawn(body.collect()));
    for body in [first, second] {
        assert_eq!(body.await.unwrap().unwrap().to_bytes(), sent);
    }
    // Four million bytes, of which a quarter of a second's go ahead.
    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(3_700) && took < Duration::from_millis(3_800), "{took:?}");
    assert_eq!(guard.requests(), 0);
}

#[tokio::test]
async fn a_body_without_a_pace_is_as_it_was() {
    let guard = Guard::new(&Limits::default());
    let one = edge(&guard, "192.0.2.1");
    let body = ask(&guard, &one).unwrap().keep(Body::from("whole"));
    assert_eq!(body.size_hint_exact(), Some(5));
    assert_eq!(guard.requests(), 1);
    let mut body = body;
    let frame = body.frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "whole", "in one piece");
    drop(body);
    assert_eq!(guard.requests(), 0);
}

trait Exact {
    fn size_hint_exact(&self) -> Option<u64>;
}

impl Exact for Body {
    fn size_hint_exact(&self) -> Option<u64> {
        http_body::Body::size_hint(self).exact()
    }
}
