// SPDX-License-Identifier: Apache-2.0
//! A body that does not come whole: it goes on from a twin and readers notice nothing, or it ends visibly and is never
//! kept.

use futures_util::future::join_all;

use crate::harness::{Origin, Playing, Seen, Shielded, Wire, config};
use crate::secure::{Ending, Secure};

const BODY: &str = "0123456789";
const LIFE: &str = "cache-control: max-age=60\r\n";
const TAG: &str = "etag: \"twin\"\r\n";

/// The byte at which `/{k}.m4s` is to break off.
fn at(seen: &Seen) -> usize {
    seen.target.trim_start_matches('/').trim_end_matches(".m4s").parse().expect("a number in the path")
}

/// Breaks off at byte k, by a reset or an end in good order.
fn dying(framed: bool, reset: bool) -> impl Fn(Seen, Wire) -> Playing + Send + Sync {
    move |seen, mut wire| {
        Box::pin(async move {
            let (k, tag) = (at(&seen), TAG);
            let piece = &BODY[..k];
            if framed {
                wire.send(format!("HTTP/1.1 200 OK\r\n{LIFE}{tag}content-length: 10\r\n\r\n{piece}")).await?;
            } else {
                let chunk = if k == 0 { String::new() } else { format!("{k:x}\r\n{piece}\r\n") };
                let head = format!("HTTP/1.1 200 OK\r\n{LIFE}{tag}transfer-encoding: chunked\r\n\r\n");
                wire.send(head + &chunk).await?;
            }
            if reset {
                wire.reset();
            }
            Ok(())
        })
    }
}

/// A good origin: whole, or the range that is asked for.
async fn whole(seen: Seen, mut wire: Wire) -> std::io::Result<()> {
    let from = seen.field("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    match from {
        None => wire.answer("200 OK", &format!("{LIFE}{TAG}"), BODY).await,
        Some(from) if from >= BODY.len() => {
            wire.answer("416 Range Not Satisfiable", "content-range: bytes */10\r\n", "").await
        }
        Some(from) => {
            let fields = format!("{LIFE}{TAG}content-range: bytes {from}-9/10\r\n");
            wire.answer("206 Partial Content", &fields, &BODY[from..]).await
        }
    }
}

#[tokio::test]
async fn a_body_that_dies_at_any_byte_goes_on_from_its_twin_and_nobody_notices() {
    for (framed, reset) in [(true, true), (true, false), (false, true), (false, false)] {
        let primary = Origin::start(dying(framed, reset)).await;
        let twin = Origin::start(whole).await;
        // The primary stays the first to be asked, however often it dies.
        let shield = Shielded::start(config(&[&primary, &twin], "fall = 1000", "")).await;
        let last = if framed { BODY.len() - 1 } else { BODY.len() };
        for k in 0..=last {
            let target = format!("/{k}.m4s");
            let readers = join_all((0..3).map(|_| shield.get(&target))).await;
            for got in readers {
                assert!(got.whole && got.text() == BODY, "{target} {framed} {reset}: {got:?}");
            }
            let hit = shield.get(&target).await;
            assert_eq!(hit.text(), BODY);
            assert!(hit.cache_status().contains("hit"), "{target}: {}", hit.cache_status());
            assert_eq!(primary.count(&target), 1, "{target}");
            assert!(twin.count(&target) <= 2, "{target}: {:?}", twin.count(&target));
        }
    }
}

#[tokio::test]
async fn a_body_that_dies_where_nothing_proves_a_twin_ends_visibly_and_is_asked_for_anew() {
    for reset in [true, false] {
        let origin = Origin::start(move |seen: Seen, mut wire: Wire| async move {
            let k = at(&seen);
            if seen.nth > 0 {
                return wire.answer("200 OK", LIFE, BODY).await;
            }
            wire.send(format!("HTTP/1.1 200 OK\r\n{LIFE}content-length: 10\r\n\r\n{}", &BODY[..k])).await?;
            if reset {
                wire.reset();
            }
            Ok(())
        })
        .await;
        let shield = Shielded::start(config(&[&origin], "fall = 1000", "")).await;
        for k in 0..BODY.len() {
            let target = format!("/{k}.m4s");
            let got = shield.get(&target).await;
            assert!(!got.whole && BODY.starts_with(got.text()), "{target}: {got:?}");
            let got = shield.get(&target).await;
            assert!(got.whole && got.text() == BODY, "{target}: {got:?}");
            assert_eq!(origin.count(&target), 2, "{target}: a stump is not kept, nor is what follows it lost");
        }
    }
}

#[tokio::test]
async fn no_answer_of_uncertain_length_is_kept() {
    let gzip = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3];
    let close = format!("HTTP/1.1 200 OK\r\n{LIFE}connection: close\r\n\r\n{BODY}").into_bytes();
    let head = format!("HTTP/1.1 200 OK\r\n{LIFE}content-encoding: gzip\r\n\r\n");
    let cut_gzip = [head.as_bytes(), &gzip].concat();
    let cases = [("/close.m4s", close, true), ("/gzip.vtt", cut_gzip, true)];
    for (target, bytes, whole) in cases {
        let origin = Origin::start(move |_, mut wire: Wire| {
            let bytes = bytes.clone();
            async move { wire.send(bytes).await }
        })
        .await;
        let shield = Shielded::of(&origin).await;
        for request in 1..=2 {
            let got = shield.ask(target, &[("accept-encoding", "gzip")]).await;
            assert_eq!((got.whole, got.status.as_u16()), (whole, 200), "{target}: {got:?}");
            assert_eq!(origin.count(target), request, "{target} was kept");
        }
        assert_eq!(shield.shield.memory().held_bytes(), 0, "{target}");
    }
}

#[tokio::test]
async fn bytes_beyond_the_length_are_nobodys_answer() {
    let origin = Origin::start(|seen: Seen, mut wire: Wire| async move {
        if seen.target == "/long.m4s" {
            let poison = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
            wire.answer("200 OK", LIFE, BODY).await?;
            wire.send(poison).await?;
            wire.gone().await;
            return Ok(());
        }
        wire.answer("200 OK", LIFE, "right").await
    })
    .await;
    let shield = Shielded::of(&origin).await;
    for n in 0..20 {
        let long = shield.get("/long.m4s").await;
        assert_eq!((long.whole, long.text()), (true, BODY));
        assert_eq!(shield.get(&format!("/next{n}.m4s")).await.text(), "right");
    }
}

#[tokio::test]
async fn two_lengths_or_a_length_and_chunks_are_no_answer() {
    let heads = [
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 5\r\n\r\nabcde",
        "HTTP/1.1 200 OK\r\ncontent-length: 3, 5\r\n\r\nabcde",
        "HTTP/1.1 200 OK\r\ncontent-length: -3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
    ];
    for head in heads {
        let origin = Origin::start(move |_, mut wire: Wire| async move { wire.send(head).await }).await;
        let shield = Shielded::of(&origin).await;
        for _ in 0..2 {
            let got = shield.get("/a.m4s").await;
            assert!(got.status.as_u16() == 502 || !got.whole, "{head:?}: {got:?}");
        }
        assert!(origin.count("/a.m4s") >= 2, "{head:?} was kept");
    }
}

#[tokio::test]
async fn a_stream_that_ends_early_ends_visibly_and_is_not_kept() {
    for ending in [Ending::Short, Ending::Reset, Ending::Gone] {
        let origin = Secure::start(BODY, LIFE, ending).await;
        let shield = Shielded::start(origin.config("")).await;
        for request in 1..=2 {
            let got = shield.get("/a.m4s").await;
            // A reset may overtake the head it follows.
            assert!(!got.whole || got.status.as_u16() == 502, "{ending:?}: {got:?}");
            assert!(origin.count() >= request, "{ending:?} was kept");
        }
        assert_eq!(shield.shield.memory().held_bytes(), 0);
    }
    let origin = Secure::start(BODY, LIFE, Ending::Whole).await;
    let shield = Shielded::start(origin.config("")).await;
    for _ in 0..2 {
        assert_eq!(shield.get("/a.m4s").await.text(), BODY);
    }
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn a_playlist_that_is_cut_is_not_shown_and_fails_once() {
    let origin = Origin::start(|_, mut wire: Wire| async move {
        wire.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n#EXTM3U\n").await
    })
    .await;
    let shield = Shielded::start(config(&[&origin], "fall = 1000", "")).await;
    let got = shield.get("/live/media.m3u8").await;
    assert_eq!((got.status.as_u16(), got.whole), (502, true), "{got:?}");
    assert_eq!(origin.count("/live/media.m3u8"), 1);
}
