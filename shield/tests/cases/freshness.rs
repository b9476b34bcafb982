// SPDX-License-Identifier: Apache-2.0
//! How long what is kept is served, to the millisecond, and what is served while the origin is asked or fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;
use tokio::time::advance;

use crate::harness::{Origin, Shielded, configuration};
use crate::here::{Here, answer, settled};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[tokio::test(start_paused = true)]
async fn a_missing_object_is_missing_for_250_ms() {
    for status in [404, 410] {
        let here = Here::of(move |seen| async move { answer(status, &[], seen.nth.to_string()) });
        let got = here.get("/a.bin").await;
        assert_eq!((got.status.as_u16(), got.text()), (status, "0"));
        advance(ms(249)).await;
        assert_eq!(here.get("/a.bin").await.text(), "0");
        advance(ms(1)).await;
        assert_eq!(here.get("/a.bin").await.text(), "1");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_that_says_how_long_it_lives_lives_so_long() {
    for status in [404, 500, 503] {
        let here =
            Here::of(
                move |seen| async move { answer(status, &[("cache-control", "max-age=2")], seen.nth.to_string()) },
            );
        assert_eq!(here.get("/a").await.text(), "0");
        advance(ms(1_999)).await;
        assert_eq!(here.get("/a").await.text(), "0", "{status}");
        advance(ms(1)).await;
        assert_eq!(here.get("/a").await.text(), "1", "{status}");
    }
}

/// An origin that answers with the status it is told: a good answer that lives a second, or an error.
fn switched(fields: &'static [(&'static str, &'static str)]) -> (Arc<AtomicU16>, Here) {
    let status = Arc::new(AtomicU16::new(200));
    let now = Arc::clone(&status);
    let here = Here::of(move |seen| {
        let status = now.load(Ordering::Relaxed);
        async move {
            match status {
                200 if seen.field("if-none-match") == Some("\"a\"") => answer(304, fields, ""),
                200 => answer(200, fields, "good"),
                status => answer(status, &[("cache-control", "max-age=5")], "bad"),
            }
        }
    });
    (status, here)
}

#[tokio::test(start_paused = true)]
async fn an_error_never_takes_the_place_of_a_good_answer() {
    let (status, here) = switched(&[("cache-control", "max-age=1, must-revalidate"), ("etag", "\"a\"")]);
    assert_eq!(here.get("/a").await.text(), "good");
    advance(ms(1_000)).await;
    status.store(503, Ordering::Relaxed);
    let failed = here.get("/a").await;
    assert_eq!((failed.status.as_u16(), failed.text()), (503, "bad"), "must-revalidate: not stale");
    status.store(200, Ordering::Relaxed);
    let again = here.get("/a").await;
    assert_eq!(again.text(), "good");
    assert!(again.cache_status().contains("fwd-status=304"), "{}", again.cache_status());
}

#[tokio::test(start_paused = true)]
async fn a_stale_answer_stands_in_for_a_failing_origin_as_long_as_it_may() {
    let (status, here) = switched(&[("cache-control", "max-age=1, stale-if-error=10"), ("etag", "\"a\"")]);
    assert_eq!(here.get("/a").await.text(), "good");
    for failure in [500, 502, 503, 504] {
        status.store(failure, Ordering::Relaxed);
        advance(ms(1_500)).await;
        let got = here.get("/a").await;
        assert_eq!((got.status.as_u16(), got.text()), (200, "good"), "{failure}");
    }
    advance(ms(5_000)).await;
    assert_eq!(here.get("/a").await.status.as_u16(), 504);
}

#[tokio::test(start_paused = true)]
async fn a_stale_answer_is_served_while_one_request_confirms_it() {
    let go = Arc::new(Semaphore::new(1));
    let waiting = Arc::clone(&go);
    let here = Here::of(move |seen| {
        let go = Arc::clone(&waiting);
        async move {
            go.acquire().await.expect("never closed").forget();
            answer(200, &[("cache-control", "max-age=1, stale-while-revalidate=10")], seen.nth.to_string())
        }
    });
    for target in ["/a", "/live/media.m3u8?_HLS_msn=9"] {
        assert_eq!(here.get(target).await.text(), "0");
        advance(ms(1_500)).await;
        for _ in 0..20 {
            let got = here.get(target).await;
            assert_eq!((got.text(), got.field("age")), ("0", "1"));
            assert_eq!(got.cache_status(), "headwater; hit; ttl=-0; detail=revalidating");
        }
        settled().await;
        assert_eq!(here.count(target), 2, "{target}");
        go.add_permits(1);
        settled().await;
        assert_eq!(here.get(target).await.text(), "1", "{target}");
        go.add_permits(1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_confirmed_answer_keeps_its_bytes_and_its_weight() {
    let (_, here) = switched(&[("cache-control", "max-age=1"), ("etag", "\"a\"")]);
    assert_eq!(here.get("/a").await.text(), "good");
    settled().await;
    let held = here.held_bytes();
    for _ in 0..5 {
        advance(ms(1_000)).await;
        assert_eq!(here.get("/a").await.text(), "good");
        settled().await;
        assert_eq!((here.held_bytes(), here.shield.memory().residents()), (held, 1));
    }
    assert_eq!(here.count("/a"), 6);
}

#[tokio::test(start_paused = true)]
async fn a_confirmation_of_something_else_has_the_whole_asked_for() {
    let here = Here::of(|seen| async move {
        match seen.field("if-none-match") {
            Some(_) => answer(304, &[("etag", "\"b\""), ("cache-control", "max-age=1")], ""),
            None => answer(200, &[("etag", "\"a\""), ("cache-control", "max-age=1")], seen.nth.to_string()),
        }
    });
    assert_eq!(here.get("/a").await.text(), "0");
    advance(ms(1_000)).await;
    let got = here.get("/a").await;
    assert_eq!((got.status.as_u16(), got.text()), (200, "2"), "{got:?}");
    assert_eq!(here.count("/a"), 3);
}

#[tokio::test(start_paused = true)]
async fn the_age_of_an_answer_is_told_by_those_who_had_it_not_by_its_clock() {
    let date = |at: SystemTime| httpdate::fmt_http_date(at);
    let day = Duration::from_secs(86_400);
    let now = SystemTime::now();
    // The origin's clock, the Age it sends, the Age at once and after two seconds.
    for (clock, sent, expected) in [(now + day, "0", 0), (now - day, "0", 0), (now, "7", 7), (now + day, "7", 7)] {
        let clock = date(clock);
        let kept = clock.clone();
        let here = Here::of(move |_| {
            let clock = clock.clone();
            async move { answer(200, &[("date", &clock), ("age", sent), ("cache-control", "max-age=10")], "a") }
        });
        let first = here.get("/a").await;
        assert_eq!((first.field("age"), first.field("date")), (&*expected.to_string(), &*kept));
        advance(ms(2_000)).await;
        assert_eq!(here.get("/a").await.field("age"), (expected + 2).to_string());
        advance(ms(1_000 * (8 - expected))).await;
        assert_eq!(here.count("/a"), 1);
        here.get("/a").await;
        assert_eq!(here.count("/a"), 2, "its life is over after ten seconds in all");
    }
}

#[tokio::test]
async fn ages_add_up_through_two_shields_in_a_row() {
    let origin = Origin::start(|_, mut wire| async move {
        wire.answer("200 OK", "age: 100\r\ncache-control: max-age=101\r\n", "a").await
    })
    .await;
    let inner = Shielded::of(&origin).await;
    let url = format!("http://{}", inner.address);
    let outer = Shielded::start(configuration(&[url], "", "")).await;
    let got = outer.get("/a").await;
    assert_eq!((got.text(), got.field("age")), ("a", "100"), "{got:?}");
    let members: Vec<_> = got.headers.get_all("cache-status").iter().collect();
    assert_eq!(members, ["headwater; fwd=uri-miss; stored", "headwater; fwd=uri-miss; stored"]);
    assert_eq!(got.headers.get_all("via").iter().count(), 0, "an answer is not marked");
    assert_eq!(origin.count("/a"), 1);
    assert!(origin.seen()[0].field("via").is_some());
}
