// SPDX-License-Identifier: Apache-2.0
//! Origins that come and go, fail together, or are this shield itself.

use tokio::net::TcpListener;

use crate::harness::{Origin, Seen, Shielded, Wire, config, configuration};

const LIFE: &str = "cache-control: max-age=60\r\n";

#[tokio::test]
async fn a_flapping_origin_costs_no_request_and_one_switch() {
    let primary = Origin::start(|seen: Seen, mut wire: Wire| async move {
        // Good and bad in turn, by the number of the segment.
        let file = seen.target.trim_start_matches("/live/").trim_end_matches(".m4s");
        let n: usize = file.parse().expect("a number");
        match n % 4 {
            0 | 1 => wire.answer("200 OK", LIFE, "primary").await,
            2 => wire.answer("503 Service Unavailable", "", "down").await,
            _ => {
                wire.reset();
                Ok(())
            }
        }
    })
    .await;
    let twin = Origin::start(|_, mut wire: Wire| async move { wire.answer("200 OK", LIFE, "twin").await }).await;
    let upstream = "fall = 2\nhealth_interval_ms = 0\nhold_down_ms = 3600000";
    let shield = Shielded::start(config(&[&primary, &twin], upstream, "")).await;
    let mut from = Vec::new();
    for n in 0..40 {
        let got = shield.get(&format!("/live/{n}.m4s")).await;
        assert!(got.whole && got.status.is_success(), "{n}: {got:?}");
        from.push(got.text().to_owned());
    }
    // After two bad ones in a row it is left alone for as long as is held down.
    let switched = from.iter().rposition(|origin| origin == "primary").expect("the preferred one first");
    assert_eq!(primary.seen().len(), switched + 3, "{from:?}");
    assert!(from[switched + 1..].iter().all(|origin| origin == "twin"));
}

#[tokio::test]
async fn of_bad_answers_the_best_is_served() {
    for (first, second, expected) in [
        ("503 Service Unavailable", "404 Not Found", 404),
        ("404 Not Found", "503 Service Unavailable", 404),
        ("500 Internal Server Error", "502 Bad Gateway", 500),
    ] {
        let a = Origin::start(move |_, mut wire: Wire| async move { wire.answer(first, "", "a").await }).await;
        let b = Origin::start(move |_, mut wire: Wire| async move { wire.answer(second, "", "b").await }).await;
        let shield = Shielded::start(config(&[&a, &b], "", "")).await;
        let got = shield.get("/live/1.m4s").await;
        assert_eq!(got.status.as_u16(), expected, "{first}, {second}");
        assert_eq!((a.seen().len(), b.seen().len()), (1, 1));
    }
}

#[tokio::test]
async fn with_every_origin_bad_a_stale_answer_is_served_where_that_is_allowed() {
    let script = |seen: Seen, mut wire: Wire| async move {
        match (seen.nth, &*seen.target) {
            (0, "/may") => wire.answer("200 OK", "cache-control: max-age=0, stale-if-error=60\r\n", "may").await,
            (0, _) => {
                let fields = "etag: \"a\"\r\ncache-control: max-age=0, must-revalidate\r\n";
                wire.answer("200 OK", fields, "must not").await
            }
            _ => {
                wire.reset();
                Ok(())
            }
        }
    };
    let (a, b) = (Origin::start(script).await, Origin::start(script).await);
    let shield = Shielded::start(config(&[&a, &b], "", "")).await;
    for target in ["/may", "/not"] {
        assert_eq!(shield.get(target).await.status.as_u16(), 200);
    }
    drop(b);
    let stale = shield.get("/may").await;
    assert_eq!((stale.status.as_u16(), stale.text()), (200, "may"));
    assert!(stale.cache_status().contains("origin-failed"), "{}", stale.cache_status());
    assert_eq!(shield.get("/not").await.status.as_u16(), 502);
}

#[tokio::test]
async fn a_shield_that_is_its_own_origin_says_so_once() {
    let socket = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let own = format!("http://{}", socket.local_addr().expect("an address"));
    let shield = Shielded::on(socket, configuration(&[own], "health_interval_ms = 0", ""));
    let got = shield.get("/live/1.m4s").await;
    assert_eq!(got.status.as_u16(), 508, "{got:?}");
    let members: Vec<_> = got.headers.get_all("cache-status").iter().collect();
    assert_eq!(members, ["headwater; detail=loop", "headwater; fwd=uri-miss; stored"], "it went round once");
}

#[tokio::test]
async fn two_shields_that_ask_each_other_end_it() {
    let socket = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let first = format!("http://{}", socket.local_addr().expect("an address"));
    let second = Shielded::start(configuration(&[first], "health_interval_ms = 0", "")).await;
    let address = format!("http://{}", second.address);
    let shield = Shielded::on(socket, configuration(&[address], "health_interval_ms = 0", ""));
    let got = shield.get("/live/1.m4s").await;
    assert_eq!(got.status.as_u16(), 508, "{got:?}");
    assert_eq!(got.headers.get_all("cache-status").iter().count(), 3);
}
