// SPDX-License-Identifier: Apache-2.0
//! What was purged is not served any more, were it on its way at that moment.

use std::sync::Arc;

use headwater_shield::store::{Kind, Purge};
use tokio::sync::Semaphore;

use crate::here::{Here, Pipe, answer, key, next, settled};

const FIELDS: [(&str, &str); 2] = [("cache-control", "max-age=60"), ("cache-tag", "match")];

/// Every way to name `/live/news/a.m4s`.
fn ways() -> [Purge; 3] {
    let path = "/live/news/a.m4s";
    let tag = Purge::Tag { tenant: "all".into(), tag: "match".into() };
    [Purge::Key(key(path).into()), Purge::Prefix(key("/live/").into()), tag]
}

#[tokio::test(start_paused = true)]
async fn a_purge_takes_what_it_covers_and_nothing_else() {
    for purge in ways() {
        for kind in [Kind::Hard, Kind::Soft] {
            let here = Here::of(|seen| async move {
                let fields = if seen.target.contains("news") { &FIELDS[..] } else { &FIELDS[..1] };
                answer(200, fields, seen.nth.to_string())
            });
            for target in ["/live/news/a.m4s", "/other/a.m4s"] {
                assert_eq!(here.get(target).await.text(), "0");
                assert_eq!(here.get(target).await.text(), "0");
            }
            here.shield.purges().add(&purge, kind);
            assert_eq!(here.get("/live/news/a.m4s").await.text(), "1", "{purge:?} {kind:?}");
            assert_eq!(here.get("/live/news/a.m4s").await.text(), "1");
            assert_eq!(here.get("/other/a.m4s").await.text(), "0");
            settled().await;
            assert_eq!(here.shield.memory().residents(), 2);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_purged_softly_may_be_confirmed_and_stands_in_for_a_failing_origin() {
    let here = Here::of(|seen| async move {
        match seen.nth {
            0 => answer(200, &[("cache-control", "max-age=60"), ("etag", "\"a\"")], "a"),
            1 => answer(503, &[], "down"),
            _ => answer(304, &[("etag", "\"a\""), ("cache-control", "max-age=60")], ""),
        }
    });
    here.get("/a").await;
    here.purge("/a", Kind::Soft);
    assert_eq!((here.get("/a").await.text(), here.count("/a")), ("a", 2), "the origin was asked and failed");
    assert_eq!((here.get("/a").await.text(), here.count("/a")), ("a", 3), "and confirmed it");
    assert_eq!((here.get("/a").await.text(), here.count("/a")), ("a", 3));
}

#[tokio::test(start_paused = true)]
async fn a_purge_before_the_head_wins_over_the_fill() {
    for purge in ways() {
        for kind in [Kind::Hard, Kind::Soft] {
            let go = Arc::new(Semaphore::new(0));
            let waiting = Arc::clone(&go);
            let here = Here::of(move |seen| {
                let go = Arc::clone(&waiting);
                async move {
                    go.acquire().await.expect("never closed").forget();
                    answer(200, &FIELDS, seen.nth.to_string())
                }
            });
            let target = "/live/news/a.m4s";
            let before = tokio::spawn(here.client(target, &[]));
            settled().await;
            here.shield.purges().add(&purge, kind);
            let after = tokio::spawn(here.client(target, &[]));
            settled().await;
            go.add_permits(10);
            assert_eq!(before.await.expect("an answer").text(), "0");
            assert_eq!(after.await.expect("an answer").text(), "1", "{purge:?} {kind:?}: it asked after the purge");
            assert_eq!(here.get(target).await.text(), "1");
            assert_eq!(here.count(target), 2);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_purge_while_the_body_arrives_wins_over_the_fill() {
    for purge in ways() {
        for kind in [Kind::Hard, Kind::Soft] {
            let pipes = Arc::<parking_lot::Mutex<Vec<Pipe>>>::default();
            let kept = Arc::clone(&pipes);
            let here = Here::of(move |_| {
                let (pipe, body) = Pipe::new();
                pipe.send("a");
                kept.lock().push(pipe);
                async move { answer(200, &FIELDS, body) }
            });
            let target = "/live/news/a.m4s";
            let mut before = here.asking("GET", target, &[]).await.into_body();
            assert_eq!(next(&mut before).await, Some(Ok("a".into())));
            here.shield.purges().add(&purge, kind);
            let first = pipes.lock().pop().expect("a request");
            first.send("b");
            drop(first);
            settled().await;
            let after = tokio::spawn(here.client(target, &[]));
            settled().await;
            let second = pipes.lock().pop().unwrap_or_else(|| panic!("{purge:?} {kind:?}: it is asked for anew"));
            second.send("c");
            drop(second);
            assert_eq!(after.await.expect("an answer").text(), "ac");
            assert_eq!(next(&mut before).await, Some(Ok("b".into())), "who reads already reads on");
            assert_eq!(next(&mut before).await, None);
            settled().await;
            assert_eq!((here.count(target), here.shield.memory().residents()), (2, 1));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_purged_while_the_origin_was_asked_is_not_served_when_that_fails() {
    let go = Arc::new(Semaphore::new(1));
    let waiting = Arc::clone(&go);
    let here = Here::of(move |seen| {
        let go = Arc::clone(&waiting);
        async move {
            go.acquire().await.expect("never closed").forget();
            let fields = [("cache-control", "max-age=0, stale-if-error=60"), ("etag", "\"a\"")];
            if seen.nth == 0 { answer(200, &fields, "a") } else { answer(503, &[], "down") }
        }
    });
    assert_eq!(here.get("/a").await.text(), "a");
    let asking = tokio::spawn(here.client("/a", &[]));
    settled().await;
    here.purge("/a", Kind::Hard);
    go.add_permits(1);
    assert_eq!(asking.await.expect("an answer").status.as_u16(), 503);
}
