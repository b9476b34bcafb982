// SPDX-License-Identifier: Apache-2.0
//! Answers that are for one client alone, or for nobody later: nobody waits for another's.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Barrier;

use crate::here::{Here, answer, settled};

const EACH: usize = 20;
const UNSHARED: [(&str, &str); 4] =
    [("cache-control", "private"), ("cache-control", "no-store"), ("set-cookie", "a=b"), ("vary", "*")];

#[tokio::test(start_paused = true)]
async fn who_follows_an_answer_for_one_alone_goes_by_himself_and_all_at_once() {
    for (name, value) in UNSHARED {
        // But for the first, no request is answered before all are at the origin.
        let (first, later) = (Arc::new(Barrier::new(EACH - 1)), Arc::new(Barrier::new(EACH)));
        let here = Here::with("[cache]\nuncacheable_ms = 10000", "", move |seen| {
            let (first, later) = (Arc::clone(&first), Arc::clone(&later));
            async move {
                if (1..EACH).contains(&seen.nth) {
                    first.wait().await;
                } else if seen.nth >= EACH {
                    later.wait().await;
                }
                answer(200, &[(name, value)], seen.nth.to_string())
            }
        });
        let mut own: Vec<String> =
            join_all((0..EACH).map(|_| here.get("/mine"))).await.iter().map(|got| got.text().to_owned()).collect();
        own.sort();
        own.dedup();
        assert_eq!((own.len(), here.count("/mine")), (EACH, EACH), "{name}: {value}");
        // While it is remembered nobody waits, not even for the first.
        tokio::time::advance(Duration::from_millis(9_000)).await;
        join_all((0..EACH).map(|_| here.get("/mine"))).await;
        assert_eq!(here.count("/mine"), 2 * EACH);
        assert_eq!(here.held_bytes(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_for_one_alone_may_be_shared_again_after_a_while() {
    let here = Here::with("[cache]\nuncacheable_ms = 1000", "", |seen| async move {
        let control = if seen.nth == 0 { "private" } else { "max-age=60" };
        answer(200, &[("cache-control", control)], seen.nth.to_string())
    });
    assert_eq!(here.get("/a").await.text(), "0");
    tokio::time::advance(Duration::from_millis(999)).await;
    assert_eq!(here.get("/a").await.text(), "1");
    assert_eq!(here.get("/a").await.text(), "2", "still alone, so nothing was kept");
    tokio::time::advance(Duration::from_millis(1)).await;
    for _ in 0..3 {
        assert_eq!(here.get("/a").await.text(), "3");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_for_one_alone_says_nothing_of_what_comes() {
    let here = Here::of(|seen| async move {
        match seen.nth {
            0 => answer(503, &[("cache-control", "no-store")], "down"),
            _ => answer(200, &[("cache-control", "max-age=60")], "up"),
        }
    });
    assert_eq!(here.get("/a").await.status.as_u16(), 503);
    assert_eq!(here.get("/a").await.text(), "up");
    assert_eq!((here.get("/a").await.text(), here.count("/a")), ("up", 2));
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_a_lifetime_serves_all_who_asked_before_it_and_nobody_later() {
    let controls: [&[(&str, &str)]; 4] = [
        &[("cache-control", "no-cache"), ("etag", "\"a\"")],
        &[("cache-control", "no-cache")],
        &[("cache-control", "max-age=0")],
        &[],
    ];
    for fields in controls {
        let go = Arc::new(tokio::sync::Semaphore::new(0));
        let waiting = Arc::clone(&go);
        let here = Here::of(move |seen| {
            let go = Arc::clone(&waiting);
            async move {
                go.acquire().await.expect("never closed").forget();
                answer(200, fields, seen.nth.to_string())
            }
        });
        for burst in 0..2 {
            let clients: Vec<_> = (0..EACH).map(|_| tokio::spawn(here.client("/now", &[]))).collect();
            settled().await;
            go.add_permits(1);
            for client in clients {
                assert_eq!(client.await.expect("an answer").text(), burst.to_string(), "{fields:?}");
            }
        }
        assert_eq!(here.count("/now"), 2, "{fields:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_its_asker_cannot_use_takes_no_connection_from_those_who_go_alone() {
    // One connection: whoever keeps an answer that nobody reads keeps all others out.
    let here =
        Here::with("", "connections_max = 1", |_| async { answer(200, &[("cache-control", "private")], "mine") });
    let ranged = here.ask("/a", &[("range", "bytes=0-1")]).await;
    assert_eq!((ranged.status.as_u16(), ranged.text()), (200, "mine"), "{ranged:?}");
    // The first leaves before its answer comes.
    let leader = tokio::spawn(here.client("/b", &[]));
    tokio::task::yield_now().await;
    let follower = tokio::spawn(here.client("/b", &[]));
    leader.abort();
    assert_eq!(follower.await.expect("an answer").text(), "mine");
}
