// SPDX-License-Identifier: Apache-2.0
//! Active checks take an origin out and bring it back; a new configuration keeps what is known.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use headwater_net::Shutdown;
use headwater_shield::config::Upstream;
use headwater_shield::upstream::Group;

use crate::script::{DEADLINE, Origin, Step, answer, get, group, ok, refusing, upstream, whole};

/// Waits until a group's state is as it should be.
async fn until(group: &Group, what: impl Fn(&headwater_shield::upstream::GroupState) -> bool) {
    let mut news = group.news();
    let wait = async {
        while !what(&group.state()) {
            news.changed().await.unwrap();
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.unwrap_or_else(|_| panic!("{:?}", group.state()));
}

fn checked(urls: &[String]) -> Upstream {
    Upstream {
        health_interval_ms: 10,
        health_timeout_ms: 1_000,
        hold_down_ms: 50,
        failback_checks: 2,
        ..upstream(urls)
    }
}

#[tokio::test]
async fn an_origin_whose_checks_fail_goes_down_and_the_channel_goes_back_when_it_is_up() {
    let sick = Arc::new(AtomicBool::new(true));
    let told = Arc::clone(&sick);
    let primary = Origin::start_all(move |asked| match asked.target() {
        "/healthz" if told.load(Ordering::SeqCst) => answer("503 Service Unavailable", "", b"stopping\n"),
        _ => ok(b"primary"),
    })
    .await;
    let twin = Origin::start(|_| ok(b"twin")).await;
    let group = group(&checked(&[primary.url(), twin.url()]));
    let shutdown = Shutdown::new();
    let running = tokio::spawn(Arc::clone(&group).run(shutdown.clone()));
    until(&group, |state| !state.origins[0].up).await;
    assert_eq!(group.state().origins[0].reason.as_deref(), Some("health check answered 503"));
    let mut segment = get("/live/1.m4s");
    (segment.channel, segment.boundary) = (Some(Arc::from("news")), true);
    let film = get("/vod/film.mp4");
    assert_eq!(whole(&group, &segment).await.1, b"twin");
    assert_eq!(whole(&group, &film).await.1, b"twin");
    sick.store(false, Ordering::SeqCst);
    until(&group, |state| state.origins[0].up).await;
    let back = async {
        for ask in [&segment, &film] {
            while whole(&group, ask).await.1 != b"primary" {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    tokio::time::timeout(DEADLINE, back).await.expect("the channel goes back, and so does what belongs to none");
    assert_eq!(group.state().switches, 4);
    shutdown.close();
    tokio::time::timeout(DEADLINE, running).await.expect("the checks end").unwrap();
}

#[tokio::test]
async fn a_held_request_leaves_an_origin_that_stops_answering_checks() {
    let hangs = Origin::start_all(|_| vec![Step::Hang]).await;
    let twin = Origin::start(|_| ok(b"twin")).await;
    let settings = Upstream { health_timeout_ms: 20, fall: 3, ..checked(&[hangs.url(), twin.url()]) };
    let group = group(&settings);
    let mut held = get("/live/media.m3u8?_HLS_msn=7");
    held.held = true;
    let asking = {
        let group = Arc::clone(&group);
        tokio::spawn(async move { whole(&group, &held).await })
    };
    hangs.until(|hangs| hangs.asked().len() == 1).await;
    tokio::spawn(Arc::clone(&group).run(Shutdown::new()));
    assert_eq!(tokio::time::timeout(DEADLINE, asking).await.unwrap().unwrap(), (200, b"twin".to_vec()));
}

#[tokio::test]
async fn a_new_configuration_keeps_health_and_connections_of_origins_that_stay() {
    let (a, b) = (Origin::start(|_| ok(b"a")).await, Origin::start(|_| ok(b"b")).await);
    let down = refusing().await;
    let group = group(&upstream(&[down.clone(), a.url()]));
    for _ in 0..3 {
        assert_eq!(whole(&group, &get("/live/a")).await.1, b"a");
    }
    let known = group.id_of(&a.url());
    group.reconfigure(&upstream(&[down.clone(), b.url(), a.url()])).unwrap();
    let state = group.state();
    assert_eq!(state.origins.iter().map(|origin| origin.up).collect::<Vec<_>>(), [false, true, true]);
    assert_eq!(group.id_of(&a.url()), known);
    assert_eq!(whole(&group, &get("/live/a")).await.1, b"a", "what plays from it goes on");
    assert_eq!(a.connections(), 1);
    assert!(group.reconfigure(&upstream(&["nonsense".into()])).is_err());
    assert_eq!(whole(&group, &get("/live/a")).await.1, b"a", "what was in force stays so");
    group.reconfigure(&upstream(&[b.url()])).unwrap();
    assert_eq!(whole(&group, &get("/live/a")).await.1, b"b");
    assert_eq!(group.id_of(&a.url()), None);
}

#[tokio::test]
async fn requests_that_are_open_outlive_the_origin_they_were_given_to() {
    let told = Arc::new(tokio::sync::Notify::new());
    let wait = Arc::clone(&told);
    let old = Origin::start(move |_| [vec![Step::Wait(Arc::clone(&wait))], ok(b"old")].concat()).await;
    let new = Origin::start(|_| ok(b"new")).await;
    let group = group(&Upstream { hedge_ms: 0, first_byte_ms: 60_000, ..upstream(&[old.url()]) });
    let asking = {
        let group = Arc::clone(&group);
        tokio::spawn(async move { whole(&group, &get("/live/a")).await })
    };
    old.until(|old| old.asked().len() == 1).await;
    group.reconfigure(&upstream(&[new.url()])).unwrap();
    told.notify_one();
    let (status, body) = asking.await.unwrap();
    assert_eq!(status, 200);
    assert!(body == b"old" || body == b"new", "{body:?}");
}
