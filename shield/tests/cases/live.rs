// SPDX-License-Identifier: Apache-2.0
//! Live streams: what is next is waited for, what never comes is refused, reloads are one request however they are
//! written, and no playlist is older than one that was shown.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use crate::harness::{Origin, Playing, Seen, Shielded, Wire, config};
use crate::here::{Here, answer, settled};

/// A playlist that ends with this segment.
fn playlist(last: u64) -> String {
    let mut text = format!("#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:{}\n", last - 4);
    for number in last - 4..=last {
        text.push_str(&format!("#EXTINF:1,\n{number}.m4s\n"));
    }
    text
}

/// The last segment of a playlist.
fn last(text: &str) -> u64 {
    let name = text.lines().rfind(|line| line.ends_with(".m4s")).unwrap_or_else(|| panic!("no playlist: {text}"));
    name.trim_end_matches(".m4s").parse().expect("a number")
}

/// An origin of a stream whose newest segment is in the hands of the test.
async fn publishing(newest: &Arc<AtomicU64>) -> Origin {
    let newest = Arc::clone(newest);
    let script = move |seen: Seen, mut wire: Wire| -> Playing {
        let text = playlist(newest.load(Ordering::Relaxed));
        // With a validator it is held, though it is stale from the beginning.
        let fields = match seen.target.contains('?') {
            true => "cache-control: no-cache\r\n",
            false => "cache-control: max-age=0\r\netag: \"a\"\r\n",
        };
        Box::pin(async move { wire.answer("200 OK", fields, text).await })
    };
    Origin::start(script).await
}

/// Asks until a playlist is shown again; what was shown before it is none.
async fn shown(shield: &Shielded, target: &str) -> u64 {
    let until = Instant::now() + crate::harness::SOON;
    loop {
        let got = shield.get(target).await;
        if got.status.is_success() {
            return last(got.text());
        }
        assert!(Instant::now() < until, "no playlist is shown: {got:?}");
    }
}

#[tokio::test]
async fn a_playlist_never_goes_back_whichever_origin_it_comes_from() {
    let (ahead, behind) = (Arc::new(AtomicU64::new(20)), Arc::new(AtomicU64::new(18)));
    let (primary, twin) = (publishing(&ahead).await, publishing(&behind).await);
    let kept = tempfile::tempdir().expect("a folder");
    let more = format!("[cache]\ndisk_dir = {:?}", kept.path());
    // Blocked reloads are asked for as they come, other playlists when the next change is due.
    let target = |number: u64| format!("/live/news/media.m3u8?n={number}");
    let shield = Shielded::start(config(&[&primary, &twin], "health_interval_ms = 0", &more)).await;
    assert_eq!(shown(&shield, &target(0)).await, 20);
    assert_eq!(shown(&shield, "/live/news/media.m3u8").await, 20);
    // The primary dies; its twin is two segments behind.
    drop(primary);
    for number in 1..10 {
        let got = shield.get(&target(number)).await;
        assert!(!got.status.is_success() || last(got.text()) >= 20, "{}", got.text());
    }
    // What is held is shown on, stale as it is.
    let held = shield.ask("/live/news/media.m3u8", &[]).await;
    assert!(held.status.is_success() && last(held.text()) == 20, "{held:?}");
    behind.store(21, Ordering::Relaxed);
    assert_eq!(shown(&shield, &target(10)).await, 21);
    // A shield that starts anew knows how far it was.
    shield.stop().await;
    behind.store(19, Ordering::Relaxed);
    let shield = Shielded::start(config(&[&twin], "health_interval_ms = 0", &more)).await;
    for number in 0..5 {
        let got = shield.get(&target(number)).await;
        assert!(!got.status.is_success() || last(got.text()) >= 21, "after a restart: {}", got.text());
    }
    behind.store(22, Ordering::Relaxed);
    assert_eq!(shown(&shield, &target(5)).await, 22);
}

/// A stream of Here whose playlist is at segment 9 at first; segments up to the newest are there.
fn stream() -> (Here, Arc<AtomicU64>) {
    let newest = Arc::new(AtomicU64::new(9));
    let now = Arc::clone(&newest);
    let here = Here::of(move |seen| {
        let now = Arc::clone(&now);
        async move {
            if seen.target.contains(".m3u8") {
                if seen.target.contains("_HLS_msn=10") {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    now.store(10, Ordering::Relaxed);
                }
                return answer(200, &[("cache-control", "max-age=1")], playlist(now.load(Ordering::Relaxed)));
            }
            let number: u64 =
                seen.target.trim_start_matches("/tv/").trim_end_matches(".m4s").parse().expect("a number");
            match number <= now.load(Ordering::Relaxed) {
                true => answer(200, &[("cache-control", "max-age=60")], seen.target),
                false => answer(404, &[], "not there"),
            }
        }
    });
    (here, newest)
}

#[tokio::test(start_paused = true)]
async fn a_segment_that_comes_next_is_held_and_its_publication_wakes_all() {
    let (here, _) = stream();
    here.get("/tv/media.m3u8").await;
    let begun = Instant::now();
    let waiting: Vec<_> = (0..20).map(|_| tokio::spawn(here.client("/tv/10.m4s", &[]))).collect();
    settled().await;
    assert!(waiting.iter().all(|waiting| !waiting.is_finished()));
    let reload = tokio::spawn(here.client("/tv/media.m3u8?_HLS_msn=10", &[]));
    for waiting in waiting {
        let got = waiting.await.expect("an answer");
        assert_eq!((got.status.as_u16(), got.text()), (200, "/tv/10.m4s"));
    }
    assert_eq!(begun.elapsed(), Duration::from_millis(100), "as soon as it is published");
    assert_eq!(last(reload.await.expect("an answer").text()), 10);
    assert_eq!(here.count("/tv/10.m4s"), 2, "once in vain, once for all");
}

#[tokio::test(start_paused = true)]
async fn a_segment_that_will_never_come_is_refused_at_once_and_one_that_does_not_come_in_time() {
    let (here, _) = stream();
    here.get("/tv/media.m3u8").await;
    for never in ["/tv/500.m4s", "/tv/12.m4s"] {
        let begun = Instant::now();
        let got = here.get(never).await;
        assert_eq!((got.status.as_u16(), begun.elapsed(), here.count(never)), (404, Duration::ZERO, 1), "{never}");
    }
    let begun = Instant::now();
    let got = here.get("/tv/10.m4s").await;
    assert_eq!((got.status.as_u16(), begun.elapsed()), (404, Duration::from_secs(3)));
}

#[tokio::test(start_paused = true)]
async fn a_blocked_reload_is_one_request_however_its_directives_are_written() {
    let go = Arc::new(tokio::sync::Semaphore::new(0));
    let waiting = Arc::clone(&go);
    let here = Here::of(move |_| {
        let go = Arc::clone(&waiting);
        async move {
            go.acquire().await.expect("never closed").forget();
            answer(200, &[("cache-control", "no-cache")], playlist(9))
        }
    });
    let forms = [
        "_HLS_msn=9&_HLS_part=1",
        "_HLS_part=1&_HLS_msn=9",
        "_HLS_msn=09&_HLS_part=01",
        "_HLS_msn=9&_HLS_part=1&_HLS_part=1",
    ];
    let asking: Vec<_> = forms
        .iter()
        .cycle()
        .take(200)
        .map(|form| tokio::spawn(here.client(&format!("/tv/media.m3u8?{form}"), &[])))
        .collect();
    settled().await;
    // What a delta is asked of, and another part, are other answers.
    for other in ["_HLS_msn=9&_HLS_part=1&_HLS_skip=YES", "_HLS_msn=9", "_HLS_msn=9&_HLS_part=2"] {
        tokio::spawn(here.client(&format!("/tv/media.m3u8?{other}"), &[]));
    }
    settled().await;
    let targets: Vec<_> = here.seen().iter().map(|seen| seen.target.clone()).collect();
    assert_eq!(targets.len(), 4, "{targets:?}");
    assert_eq!(targets[0], "/tv/media.m3u8?_HLS_msn=9&_HLS_part=1");
    go.add_permits(4);
    for asking in asking {
        assert_eq!(last(asking.await.expect("an answer").text()), 9);
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_origin_says_of_a_blocked_reload_reaches_all_who_wait() {
    let ended = playlist(9) + "#EXT-X-ENDLIST\n";
    for (status, text) in [(200, ended.as_str()), (400, "too far"), (503, "not now"), (404, "no such part")] {
        let kept = text.to_owned();
        let here = Here::of(move |_| {
            let text = kept.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(500)).await;
                answer(status, &[], text)
            }
        });
        let begun = Instant::now();
        let all = join_all((0..50).map(|_| here.get("/tv/media.m3u8?_HLS_msn=9&_HLS_part=1"))).await;
        assert!(all.iter().all(|got| (got.status.as_u16(), got.text()) == (status, text)), "{:?}", all[0]);
        assert!(begun.elapsed() <= Duration::from_secs(1), "{status}: {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn an_origin_that_restarts_while_reloads_are_blocked_fails_them_and_serves_the_next() {
    let origin = Origin::start(|seen: Seen, mut wire: Wire| async move {
        if seen.nth == 0 {
            wire.reset();
            return Ok(());
        }
        wire.answer("200 OK", "cache-control: no-cache\r\n", playlist(9)).await
    })
    .await;
    let shield = Shielded::start(config(&[&origin], "health_interval_ms = 0", "")).await;
    let target = "/tv/media.m3u8?_HLS_msn=9";
    assert_eq!(shield.get(target).await.status.as_u16(), 502);
    assert_eq!(last(shield.get(target).await.text()), 9);
}
