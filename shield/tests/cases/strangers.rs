// SPDX-License-Identifier: Apache-2.0
//! What one client sends decides nothing for the others.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::harness::{Origin, Shielded};

const LIFE: &str = "cache-control: max-age=60\r\n";

#[tokio::test]
async fn credentials_keep_nobody_else_waiting_or_from_sharing() {
    let (here, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (came, waiting) = (Arc::clone(&here), Arc::clone(&go));
    let origin = Origin::start(move |seen, mut wire| {
        let (here, go) = (Arc::clone(&came), Arc::clone(&waiting));
        async move {
            let authorized = seen.field("authorization").is_some();
            if authorized {
                here.notify_one();
                go.notified().await;
            }
            wire.answer("200 OK", LIFE, if authorized { "for one" } else { "for all" }).await
        }
    })
    .await;
    let shield = Arc::new(Shielded::of(&origin).await);
    let one = Arc::clone(&shield);
    let one = tokio::spawn(async move { one.ask("/x.m4s", &[("authorization", "Basic eDp5")]).await });
    here.notified().await;
    // The one with credentials is still being answered.
    assert_eq!(shield.get("/x.m4s").await.text(), "for all");
    go.notify_one();
    let one = one.await.unwrap();
    assert_eq!(one.text(), "for one");
    let hit = shield.get("/x.m4s").await;
    assert_eq!(hit.text(), "for all");
    assert!(hit.cache_status().starts_with("headwater; hit"), "{}", hit.cache_status());
    assert_eq!(origin.count("/x.m4s"), 2);
}

#[tokio::test]
async fn an_answer_that_a_client_spoiled_is_not_held_against_its_url() {
    let origin = Origin::start(|seen, mut wire| async move {
        match seen.field("spoil") {
            Some("status") => wire.answer("400 Bad Request", "", "bad").await,
            Some(_) => wire.answer("200 OK", &format!("{LIFE}vary: spoil\r\n"), "varies").await,
            None => wire.answer("200 OK", LIFE, "good").await,
        }
    })
    .await;
    let shield = Shielded::of(&origin).await;
    let long = "x".repeat(2_000);
    for spoil in ["status", &long] {
        let path = format!("/{}.m4s", spoil.len());
        shield.ask(&path, &[("spoil", spoil)]).await;
        assert_eq!(shield.get(&path).await.text(), "good");
        let hit = shield.get(&path).await;
        assert!(hit.cache_status().starts_with("headwater; hit"), "{path}: {}", hit.cache_status());
    }
}

#[tokio::test]
async fn a_confirmed_answer_says_its_age_once() {
    let origin = Origin::start(|seen, mut wire| async move {
        match seen.field("if-none-match") {
            Some(_) => {
                wire.send("HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\nage: 7\r\ncache-control: max-age=60\r\n\r\n")
                    .await
            }
            None => wire.answer("200 OK", "etag: \"a\"\r\ncache-control: no-cache\r\n", "once").await,
        }
    })
    .await;
    let shield = Shielded::of(&origin).await;
    for _ in 0..3 {
        let got = shield.get("/x.m4s").await;
        assert_eq!((got.text(), got.headers.get_all("age").iter().count()), ("once", 1));
    }
    assert_eq!(origin.count("/x.m4s"), 2);
    let age: u64 = shield.get("/x.m4s").await.field("age").parse().unwrap();
    assert!(age >= 7, "{age}");
}
