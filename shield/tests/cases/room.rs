// SPDX-License-Identifier: Apache-2.0
//! Memory that is full or too small: what does not fit is served all the same, whole.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::here::{Here, Pipe, answer, next, settled};

const LIFE: (&str, &str) = ("cache-control", "max-age=60");

/// An origin whose objects are as long as their name says, of known length or not.
fn sized(memory: u64, object: u64, known: bool) -> Here {
    let more = format!("[cache]\nmemory_bytes_max = {memory}\nobject_bytes_max = {object}\nuncacheable_ms = 1000");
    Here::with(&more, "", move |seen| async move {
        let digits = seen.target.split(['/', '.', '-']).nth(1).expect("a length");
        let body = vec![b'x'; digits.parse().expect("a length")];
        if known {
            return answer(200, &[LIFE], body);
        }
        let (pipe, streamed) = Pipe::new();
        body.chunks(10_000).for_each(|piece| pipe.send_bytes(piece.to_vec()));
        answer(200, &[LIFE], streamed)
    })
}

#[tokio::test(start_paused = true)]
async fn what_is_larger_than_what_may_be_kept_is_passed_through_whole() {
    for known in [true, false] {
        for (memory, object) in [(1_000_000, 100_000), (100_000, 1_000_000), (100_000, 100_000)] {
            let here = sized(memory, object, known);
            let clients: Vec<_> = (0..5).map(|_| tokio::spawn(here.client("/300000.m4s", &[]))).collect();
            for client in clients {
                let got = client.await.expect("an answer");
                assert!(got.whole && got.body.len() == 300_000, "{known} {memory} {object}: {}", got.body.len());
            }
            settled().await;
            assert_eq!((here.held_bytes(), here.shield.memory().residents()), (0, 0), "{known} {memory} {object}");
            let got = here.get("/300000.m4s").await;
            assert!(got.whole && got.body.len() == 300_000);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_memory_full_of_the_live_edge_breaks_no_answer() {
    for known in [true, false] {
        let here = sized(300_000, 100_000, known);
        // Parts of the live edge stay for a while, so that what comes next finds no room.
        for n in 0..10 {
            for _ in 0..2 {
                let got = here.get(&format!("/90000-{n}.m4s")).await;
                assert!(got.whole && got.body.len() == 90_000, "{known} {n}: {}", got.body.len());
            }
            settled().await;
            assert!(here.held_bytes() <= 300_000);
        }
        assert_eq!(here.count("/90000-0.m4s"), 1, "the first are kept");
        assert_eq!(here.shield.memory().residents(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_again_pushes_out_what_is_not() {
    let here = sized(300_000, 100_000, true);
    for n in 0..50 {
        assert_eq!(here.get("/50000-wanted.bin").await.body.len(), 50_000);
        assert_eq!(here.get(&format!("/50000-{n}.bin")).await.body.len(), 50_000);
        settled().await;
        assert!(here.held_bytes() <= 300_000);
    }
    assert_eq!(here.count("/50000-wanted.bin"), 1);
}

#[tokio::test(start_paused = true)]
async fn with_as_many_keys_as_may_be_known_others_are_served_through() {
    let here =
        Here::with("[cache]\nkeys_max = 2", "", |seen| async move { answer(200, &[LIFE], seen.nth.to_string()) });
    for target in ["/a", "/b"] {
        assert_eq!(here.get(target).await.text(), "0");
    }
    assert_eq!(here.get("/c").await.text(), "0");
    let through = here.get("/c").await;
    assert_eq!((through.text(), through.cache_status()), ("1", "headwater; fwd=bypass; detail=keys-full"));
    assert_eq!(here.get("/a").await.text(), "0");
}

#[tokio::test(start_paused = true)]
async fn an_object_is_not_evicted_while_it_arrives() {
    let pipes = Arc::<Mutex<Vec<Pipe>>>::default();
    let kept = Arc::clone(&pipes);
    let here = Here::with("[cache]\nmemory_bytes_max = 200000", "", move |seen| {
        let body = if seen.target == "/slow.bin" {
            let (pipe, body) = Pipe::new();
            pipe.send_bytes(vec![b'a'; 50_000]);
            kept.lock().push(pipe);
            body
        } else {
            vec![b'x'; 60_000].into()
        };
        async move { answer(200, &[LIFE], body) }
    });
    let mut reader = here.asking("GET", "/slow.bin", &[]).await.into_body();
    for n in 0..20 {
        assert_eq!(here.get(&format!("/{n}.bin")).await.body.len(), 60_000);
    }
    let pipe = pipes.lock().pop().expect("one request");
    pipe.send("end");
    drop(pipe);
    let mut bytes = 0;
    while let Some(piece) = next(&mut reader).await {
        bytes += piece.expect("good bytes").len();
    }
    assert_eq!(bytes, 50_003);
    settled().await;
    assert_eq!((here.get("/slow.bin").await.body.len(), here.count("/slow.bin")), (50_003, 1));
    assert!(here.held_bytes() <= 200_000);
}

/// A shield with little room, and an origin whose body of unknown length is in the hands of the test.
fn unfolding() -> (Here, Arc<Mutex<Vec<Pipe>>>) {
    let pipes = Arc::<Mutex<Vec<Pipe>>>::default();
    let kept = Arc::clone(&pipes);
    let here = Here::with("[cache]\nobject_bytes_max = 1000", "", move |_| {
        let (pipe, body) = Pipe::new();
        pipe.send("begin ");
        kept.lock().push(pipe);
        async move { answer(200, &[LIFE], body) }
    });
    (here, pipes)
}

#[tokio::test(start_paused = true)]
async fn what_turns_out_too_large_goes_on_to_those_who_read_it_and_no_further_ahead_than_they_are() {
    let (here, pipes) = unfolding();
    let mut slow = here.asking("GET", "/a.m4s", &[]).await.into_body();
    let quick = tokio::spawn(here.client("/a.m4s", &[]));
    settled().await;
    let pipe = pipes.lock().pop().expect("one request");
    for _ in 0..200 {
        pipe.send_bytes(vec![b'x'; 500]);
    }
    pipe.send("end");
    settled().await;
    assert!((2..20).contains(&pipe.taken()), "{} pieces were taken for a reader that takes none", pipe.taken());
    // Who comes now is not held up by it, and it is kept nowhere.
    let other = tokio::spawn(here.client("/a.m4s", &[]));
    settled().await;
    assert_eq!(here.count("/a.m4s"), 2);
    other.abort();
    drop(pipe);
    let mut bytes = Vec::new();
    while let Some(piece) = next(&mut slow).await {
        bytes.extend_from_slice(&piece.expect("good bytes"));
    }
    let got = quick.await.expect("an answer");
    assert!(got.whole && got.body == bytes, "{} and {} bytes", got.body.len(), bytes.len());
    assert_eq!((bytes.len(), bytes.ends_with(b"xend")), (6 + 200 * 500 + 3, true));
    settled().await;
    assert_eq!((here.held_bytes(), here.shield.memory().residents()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_passed_through_and_breaks_off_ends_visibly() {
    let (here, pipes) = unfolding();
    let reader = tokio::spawn(here.client("/a.m4s", &[]));
    settled().await;
    let pipe = pipes.lock().pop().expect("one request");
    for _ in 0..5 {
        pipe.send_bytes(vec![b'x'; 500]);
        settled().await;
    }
    pipe.fail();
    let got = reader.await.expect("an answer");
    assert!(!got.whole && got.body.len() == 6 + 5 * 500, "{} bytes, {}", got.body.len(), got.whole);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_nothing_of_what_is_passed_through_holds_up_the_others_for_a_while_only() {
    let (here, pipes) = unfolding();
    let stopped = here.asking("GET", "/a.m4s", &[]).await;
    let quick = tokio::spawn(here.client("/a.m4s", &[]));
    settled().await;
    let pipe = pipes.lock().pop().expect("one request");
    for _ in 0..50 {
        pipe.send_bytes(vec![b'x'; 500]);
    }
    drop(pipe);
    let got = quick.await.expect("an answer");
    assert!(got.whole && got.body.len() == 6 + 50 * 500);
    drop(stopped);
}
