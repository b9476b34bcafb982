// SPDX-License-Identifier: Apache-2.0
//! One fill for all who ask; what breaks is never taken for the whole.

use std::sync::Arc;

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::harness::{Origin, Playing, Reading, Seen, Shielded, Wire, config};
use crate::here::{Here, Pipe, answer, next, settled};

const LIFE: &str = "cache-control: max-age=60\r\n";
/// Thousands of clients take a busy machine longer than a body may bring nothing.
const UNHURRIED: &str = "between_bytes_ms = 60000";

#[tokio::test]
async fn concurrent_misses_are_one_request_and_read_along() {
    let go = Arc::new(Notify::new());
    let waiting = Arc::clone(&go);
    let origin = Origin::start(move |_, mut wire| {
        let go = Arc::clone(&waiting);
        async move {
            wire.send(format!("HTTP/1.1 200 OK\r\n{LIFE}content-length: 6\r\n\r\nabc")).await?;
            go.notified().await;
            wire.send("def").await
        }
    })
    .await;
    let shield = Shielded::of(&origin).await;
    let mut readers = Vec::new();
    for _ in 0..20 {
        readers.push(shield.begin("/one.m4s", &[]).await);
    }
    for reader in &mut readers {
        assert_eq!(reader.read(3).await, b"abc", "the first bytes come before the last are there");
    }
    go.notify_one();
    for reader in &mut readers {
        assert_eq!(reader.read(3).await, b"def");
        assert!(reader.next().await.is_none());
    }
    assert_eq!(origin.count("/one.m4s"), 1);
    let hit = shield.get("/one.m4s").await;
    assert_eq!((hit.text(), hit.cache_status()), ("abcdef", "headwater; hit; ttl=59"));
    assert_eq!(origin.count("/one.m4s"), 1);
}

#[tokio::test]
async fn a_body_that_is_cut_ends_visibly_and_is_not_kept() {
    let stumps = [
        format!("HTTP/1.1 200 OK\r\n{LIFE}content-length: 6\r\n\r\nabc"),
        format!("HTTP/1.1 200 OK\r\n{LIFE}transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"),
    ];
    for stump in stumps {
        let origin = Origin::start(move |_, mut wire| {
            let stump = stump.clone();
            async move { wire.send(stump).await }
        })
        .await;
        let shield = Shielded::of(&origin).await;
        for request in 1..=2 {
            let got = shield.get("/cut.m4s").await;
            assert!(!got.whole && got.text() == "abc", "{got:?}");
            assert!(origin.count("/cut.m4s") >= request, "a stump is not kept");
        }
    }
}

#[tokio::test]
async fn what_may_not_be_shared_is_asked_for_by_each() {
    let origin =
        Origin::start(|_, mut wire| async move { wire.answer("200 OK", "cache-control: private\r\n", "mine").await })
            .await;
    let shield = Shielded::of(&origin).await;
    for _ in 0..3 {
        let got = shield.get("/mine").await;
        assert_eq!((got.text(), got.whole), ("mine", true));
    }
    assert_eq!(origin.count("/mine"), 3);
}

/// An answer whose first half comes at once, and the rest when it is told so.
fn in_halves(go: Arc<Notify>) -> impl Fn(Seen, Wire) -> Playing + Send + Sync {
    move |_, mut wire| {
        let go = Arc::clone(&go);
        Box::pin(async move {
            wire.send(format!("HTTP/1.1 200 OK\r\n{LIFE}content-length: 6\r\n\r\nabc")).await?;
            go.notified().await;
            wire.send("def").await
        })
    }
}

/// Reads the first half of each answer, has the second one sent, and reads that.
async fn read_in_halves(readers: Vec<Reading>, go: &Notify) {
    let mut readers = readers;
    for reader in &mut readers {
        assert_eq!(reader.read(3).await, b"abc");
    }
    go.notify_one();
    for mut reader in readers {
        assert_eq!(reader.read(3).await, b"def");
        assert!(reader.next().await.is_none());
    }
}

#[tokio::test]
async fn two_thousand_connections_that_miss_at_once_are_one_request() {
    let go = Arc::new(Notify::new());
    let origin = Origin::start(in_halves(Arc::clone(&go))).await;
    let shield = Shielded::start(config(&[&origin], UNHURRIED, "")).await;
    let readers = join_all((0..2_000).map(|_| shield.begin("/one.m4s", &[]))).await;
    read_in_halves(readers, &go).await;
    assert_eq!(origin.count("/one.m4s"), 1);
}

#[tokio::test]
async fn ten_thousand_streams_that_miss_at_once_are_one_request() {
    let go = Arc::new(Notify::new());
    let origin = Origin::start(in_halves(Arc::clone(&go))).await;
    let shield = Shielded::start(config(&[&origin], UNHURRIED, "")).await;
    let connections = join_all((0..20).map(|_| shield.h2())).await;
    let readers = join_all((0..10_000).map(|n| connections[n % 20].begin("/one.m4s"))).await;
    read_in_halves(readers, &go).await;
    assert_eq!(origin.count("/one.m4s"), 1);
}

#[tokio::test]
async fn a_leader_that_leaves_before_the_head_leaves_nobody_behind() {
    let go = Arc::new(Notify::new());
    let waiting = Arc::clone(&go);
    let here = Here::of(move |_| {
        let go = Arc::clone(&waiting);
        async move {
            go.notified().await;
            answer(200, &[("cache-control", "max-age=60")], "whole")
        }
    });
    let leader = tokio::spawn(here.client("/a.m4s", &[]));
    settled().await;
    let followers: Vec<_> = (0..5).map(|_| tokio::spawn(here.client("/a.m4s", &[]))).collect();
    settled().await;
    leader.abort();
    settled().await;
    go.notify_one();
    for follower in followers {
        assert_eq!(follower.await.expect("an answer").text(), "whole");
    }
    assert_eq!(here.count("/a.m4s"), 1);
}

#[tokio::test]
async fn a_leader_that_leaves_or_stops_reading_in_the_body_holds_up_nobody() {
    let pipes = Arc::<Mutex<Vec<Pipe>>>::default();
    let kept = Arc::clone(&pipes);
    let here = Here::of(move |_| {
        let (pipe, body) = Pipe::new();
        pipe.send("a");
        kept.lock().push(pipe);
        async move { answer(200, &[("cache-control", "max-age=60")], body) }
    });
    for (target, leaves) in [("/leaves.m4s", true), ("/stops.m4s", false)] {
        let mut leading = here.asking("GET", target, &[]).await.into_body();
        let follower = tokio::spawn(here.client(target, &[]));
        settled().await;
        assert_eq!(next(&mut leading).await, Some(Ok("a".into())));
        // It reads one byte, and then nothing for as long as the others read.
        let stopped = (!leaves).then_some(leading);
        let pipe = pipes.lock().pop().expect("a request at the origin");
        for _ in 0..1_000 {
            pipe.send("bc");
        }
        drop(pipe);
        let got = follower.await.expect("an answer");
        assert!(got.whole && got.body.len() == 2_001, "{target}: {}", got.body.len());
        assert_eq!(here.get(target).await.body.len(), 2_001);
        drop(stopped);
        assert_eq!(here.count(target), 1);
    }
}

#[tokio::test]
async fn a_fill_that_nobody_reads_any_more_is_finished_and_kept() {
    let pipes = Arc::<Mutex<Vec<Pipe>>>::default();
    let kept = Arc::clone(&pipes);
    let here = Here::of(move |_| {
        let (pipe, body) = Pipe::new();
        kept.lock().push(pipe);
        async move { answer(200, &[("cache-control", "max-age=60")], body) }
    });
    drop(here.asking("GET", "/a.m4s", &[]).await);
    settled().await;
    let pipe = pipes.lock().pop().expect("a request at the origin");
    pipe.send("whole");
    drop(pipe);
    settled().await;
    let got = here.get("/a.m4s").await;
    assert_eq!((got.text(), here.count("/a.m4s")), ("whole", 1));
    assert!(got.cache_status().contains("hit"), "{got:?}");
}

#[tokio::test]
async fn what_an_origin_holds_is_given_up_when_nobody_waits_for_it() {
    let open = Arc::new(());
    let held = Arc::clone(&open);
    let here = Here::of(move |_| {
        let held = Arc::clone(&held);
        async move {
            std::future::pending::<()>().await;
            drop(held);
            answer(200, &[], "")
        }
    });
    let reload = "/live/media.m3u8?_HLS_msn=9";
    let waiting: Vec<_> = (0..3).map(|_| tokio::spawn(here.client(reload, &[]))).collect();
    settled().await;
    assert_eq!(here.count(reload), 1);
    let idle = Arc::strong_count(&open) - 1;
    let (last, others) = waiting.split_last().expect("three of them");
    others.iter().for_each(tokio::task::JoinHandle::abort);
    settled().await;
    assert_eq!(Arc::strong_count(&open), idle + 1, "one still waits");
    last.abort();
    settled().await;
    assert_eq!(Arc::strong_count(&open), idle, "the origin's place is free again");
    assert_eq!(here.held_bytes(), 0);
}

#[tokio::test]
async fn a_hit_is_the_same_by_the_short_way_of_either_version_and_by_the_long_one() {
    let origin = Origin::start(|seen, mut wire| async move {
        let size = if seen.target.contains("large") { 100_000 } else { 5 };
        let fields = format!("{LIFE}etag: \"a\"\r\ncontent-type: video/iso.segment\r\n");
        wire.answer("200 OK", &fields, vec![b'x'; size]).await
    })
    .await;
    let shield = Shielded::of(&origin).await;
    for target in ["/small.m4s", "/large.m4s"] {
        shield.get(target).await;
        // A field of the client's that only the long way looks at.
        let long = shield.ask(target, &[("cache-control", "max-age=5")]).await;
        let short = shield.get(target).await;
        let multiplexed = shield.h2().await.begin(target).await.rest().await;
        for got in [&short, &multiplexed] {
            assert!(got.cache_status().starts_with("headwater; hit"), "{got:?}");
            assert!(got.whole && got.status == long.status && got.body == long.body, "{target}");
            for name in ["content-length", "content-type", "etag", "cache-control", "date"] {
                assert_eq!(got.field(name), long.field(name), "{target}: {name}");
            }
            assert!(!got.field("age").is_empty());
        }
    }
}
