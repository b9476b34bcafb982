// SPDX-License-Identifier: Apache-2.0
//! A slow origin is asked beside another, within bounds; one that hangs holds up nothing for long.

use std::sync::Arc;
use std::time::Duration;

use headwater_shield::config::Upstream;
use headwater_shield::upstream::Group;
use tokio::sync::Semaphore;

use crate::script::{Origin, Step, get, group, ok, upstream, whole};

/// A group whose first origin may hang for a minute before that alone is a fault.
fn patient(urls: &[String], hedge_ms: u32) -> Upstream {
    Upstream { first_byte_ms: 60_000, hedge_ms, ..upstream(urls) }
}

async fn ask_all(group: &Arc<Group>, requests: usize, at_once: usize) {
    let places = Arc::new(Semaphore::new(at_once));
    let asking: Vec<_> = (0..requests)
        .map(|_| {
            let (group, places) = (Arc::clone(group), Arc::clone(&places));
            tokio::spawn(async move {
                let _place = places.acquire().await.unwrap();
                whole(&group, &get("/live/a")).await
            })
        })
        .collect();
    for asking in asking {
        assert_eq!(asking.await.unwrap(), (200, b"bytes".to_vec()));
    }
}

#[tokio::test]
async fn an_origin_that_hangs_costs_a_hedge_once_and_then_nothing() {
    let hangs = Origin::start(|_| vec![Step::Hang]).await;
    let twin = Origin::start(|_| ok(b"bytes")).await;
    let group = group(&patient(&[hangs.url(), twin.url()], 50));
    ask_all(&group, 400, 200).await;
    let asked = hangs.asked().len();
    assert!(asked <= 201, "{asked} {:?}", group.state());
    ask_all(&group, 400, 200).await;
    assert_eq!(hangs.asked().len(), asked, "it is down");
    let state = group.state();
    assert_eq!(state.origins[0].reason.as_deref(), Some("silent while another origin answered"));
    assert_eq!(state.switches, 1);
    hangs.until(|hangs| hangs.open() == 0).await;
}

#[tokio::test]
async fn one_slow_answer_takes_no_origin_down() {
    let slow =
        Origin::start(|asked| if asked.target() == "/live/slow" { vec![Step::Hang] } else { ok(b"bytes") }).await;
    let twin = Origin::start(|_| ok(b"bytes")).await;
    let group = group(&patient(&[slow.url(), twin.url()], 20));
    for _ in 0..5 {
        whole(&group, &get("/live/a")).await;
        whole(&group, &get("/live/slow")).await;
    }
    let state = group.state();
    assert!(state.origins[0].up);
    assert_eq!((state.hedged, state.switches), (5, 0));
    assert_eq!(state.origins[1].hedges, 5);
}

#[tokio::test]
async fn a_pair_that_is_slow_is_not_asked_twice_for_everything() {
    let slowly = |_: &crate::script::Asked| ok(b"bytes");
    let delayed = || async {
        let service = tower::service_fn(move |_: http::Request<axum::body::Body>| async {
            tokio::time::sleep(Duration::from_millis(40)).await;
            Ok(http::Response::new(axum::body::Body::from("bytes")))
        });
        headwater_shield::upstream::Local::new(service)
    };
    // Both are as slow as each other: the first through this process, so that it is slow by the clock.
    let twin = Origin::start(slowly).await;
    let settings = patient(&["here".to_owned(), twin.url()], 20);
    let identity = headwater_shield::upstream::Identity::new();
    let group =
        Group::new("main", &Upstream { fall: 1_000_000, ..settings }, Some(delayed().await), &identity).unwrap();
    for _ in 0..150 {
        whole(&group, &get("/live/a")).await;
    }
    let state = group.state();
    assert!(state.hedged >= 50, "the burst: {state:?}");
    assert!(state.hedged <= 50 + 15 + 1, "and one in ten from then on: {state:?}");
    assert!(state.hedges_denied >= 50, "{state:?}");
}

#[tokio::test]
async fn a_held_request_is_not_hedged() {
    let holds = Origin::start(|_| vec![Step::Hang]).await;
    let twin = Origin::start(|_| ok(b"bytes")).await;
    let settings = Upstream { first_byte_ms: 50, held_ms: 150, hedge_ms: 10, ..upstream(&[holds.url(), twin.url()]) };
    let group = group(&settings);
    let mut held = get("/live/a");
    held.held = true;
    let answer = group.ask(&held).await.unwrap();
    assert_eq!(answer.attempts, 2, "it is asked of the next when even a held head is overdue");
    let state = group.state();
    assert_eq!((state.hedged, state.origins[0].failed), (0, 1));
}

#[tokio::test]
async fn the_loser_is_dropped() {
    let slow = Origin::start(|_| vec![Step::Hang]).await;
    let twin = Origin::start(|_| ok(b"bytes")).await;
    let group = group(&patient(&[slow.url(), twin.url()], 10));
    assert_eq!(group.ask(&get("/live/a")).await.unwrap().attempts, 2);
    slow.until(|slow| slow.asked().len() == 1 && slow.open() == 0).await;
    assert_eq!(group.state().origins[0].in_flight, 0);
}
