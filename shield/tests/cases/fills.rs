// SPDX-License-Identifier: Apache-2.0
//! One fill for all who ask; what breaks is never taken for the whole.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::harness::{Origin, Shielded};

const LIFE: &str = "cache-control: max-age=60\r\n";

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
