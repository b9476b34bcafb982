// SPDX-License-Identifier: Apache-2.0
//! Ranges, conditions and variants of an object that is still arriving.

use std::sync::Arc;

use axum::body::Body;
use headwater_net::gzip;
use http::{HeaderValue, Response};
use parking_lot::Mutex;

use crate::here::{Here, Pipe, answer, next, settled};

const LIFE: (&str, &str) = ("cache-control", "max-age=60");
const TAG: (&str, &str) = ("etag", "\"a\"");

/// A shield whose origin sends `0123` of ten bytes at once, with the rest in the hands of the test.
fn growing(known_length: bool) -> (Here, Arc<Mutex<Vec<Pipe>>>) {
    let pipes = Arc::<Mutex<Vec<Pipe>>>::default();
    let kept = Arc::clone(&pipes);
    let here = Here::of(move |_| {
        let (pipe, body) = Pipe::new();
        pipe.send("0123");
        kept.lock().push(pipe);
        let mut response = answer(200, &[LIFE, TAG], body);
        if known_length {
            response.headers_mut().insert("content-length", HeaderValue::from_static("10"));
        }
        async move { response }
    });
    (here, pipes)
}

fn field(response: &Response<Body>, name: &str) -> String {
    response.headers().get(name).map_or(String::new(), |value| value.to_str().expect("text").to_owned())
}

/// The first bytes of an answer that are there.
async fn begins(mut response: Response<Body>) -> (Response<()>, Body, String) {
    let body = std::mem::take(response.body_mut());
    let mut body = body;
    let piece = next(&mut body).await.expect("bytes").expect("good ones");
    (response.map(|_| ()), body, String::from_utf8_lossy(&piece).into_owned())
}

#[tokio::test(start_paused = true)]
async fn the_beginning_of_an_arriving_object_is_served_before_the_rest_is_there() {
    let (here, pipes) = growing(true);
    let _reader = here.asking("GET", "/a", &[]).await;
    let got = here.ask("/a", &[("range", "bytes=1-2")]).await;
    assert_eq!((got.status.as_u16(), got.text(), got.field("content-range")), (206, "12", "bytes 1-2/10"));
    // A range that reaches beyond what is there begins with what is.
    let response = here.asking("GET", "/a", &[("range", "bytes=2-5")]).await;
    assert_eq!(field(&response, "content-range"), "bytes 2-5/10");
    let (_, mut rest, first) = begins(response).await;
    assert_eq!(first, "23");
    // So does a suffix, since the length is known.
    let suffix = here.asking("GET", "/a", &[("range", "bytes=-7")]).await;
    assert_eq!(field(&suffix, "content-range"), "bytes 3-9/10");
    let (_, mut end, first) = begins(suffix).await;
    assert_eq!(first, "3");
    let beyond = here.ask("/a", &[("range", "bytes=10-")]).await;
    assert_eq!((beyond.status.as_u16(), beyond.field("content-range")), (416, "bytes */10"));
    let pipe = pipes.lock().pop().expect("one request");
    pipe.send("456789");
    drop(pipe);
    assert_eq!(next(&mut rest).await, Some(Ok("45".into())));
    assert_eq!(next(&mut rest).await, None);
    assert_eq!(next(&mut end).await, Some(Ok("456789".into())));
    assert_eq!(here.count("/a"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_range_of_an_object_whose_length_nobody_knows_waits_for_the_end() {
    let (here, pipes) = growing(false);
    let _reader = here.asking("GET", "/a", &[]).await;
    let ranges = ["bytes=1-2", "bytes=-3", "bytes=5-", "bytes=10-"];
    let asking = ranges.map(|range| tokio::spawn(here.client("/a", &[("range", range)])));
    // From the first byte on it is the whole, which needs no waiting.
    let (head, mut rest, first) = begins(here.asking("GET", "/a", &[("range", "bytes=0-")]).await).await;
    assert_eq!((head.status().as_u16(), &*first), (200, "0123"));
    settled().await;
    assert!(asking.iter().all(|asking| !asking.is_finished()));
    let pipe = pipes.lock().pop().expect("one request");
    pipe.send("456789");
    drop(pipe);
    let expected = [(206, "12"), (206, "789"), (206, "56789"), (416, "expected a range within the object\n")];
    for (asking, expected) in asking.into_iter().zip(expected) {
        let got = asking.await.expect("an answer");
        assert_eq!((got.status.as_u16(), got.text()), expected);
    }
    assert_eq!(next(&mut rest).await, Some(Ok("456789".into())));
    assert_eq!(here.count("/a"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_range_of_an_object_that_breaks_off_is_an_error_not_a_stump() {
    let (here, pipes) = growing(false);
    let _reader = here.asking("GET", "/a", &[]).await;
    let asking = tokio::spawn(here.client("/a", &[("range", "bytes=1-2")]));
    settled().await;
    pipes.lock().pop().expect("one request").fail();
    assert_eq!(asking.await.expect("an answer").status.as_u16(), 502);
}

#[tokio::test(start_paused = true)]
async fn conditions_on_an_arriving_object_are_answered_by_its_head() {
    let (here, _pipes) = growing(true);
    let _reader = here.asking("GET", "/a", &[]).await;
    let same = here.ask("/a", &[("if-none-match", "\"b\", W/\"a\"")]).await;
    assert_eq!((same.status.as_u16(), same.text(), same.field("etag")), (304, "", "\"a\""));
    let failed = here.ask("/a", &[("if-match", "\"b\"")]).await;
    assert_eq!((failed.status.as_u16(), failed.text()), (412, ""));
    let held = here.ask("/a", &[("if-range", "\"a\""), ("range", "bytes=0-1")]).await;
    assert_eq!((held.status.as_u16(), held.text()), (206, "01"));
    let (head, _, first) =
        begins(here.asking("GET", "/a", &[("if-range", "\"b\""), ("range", "bytes=0-1")]).await).await;
    assert_eq!((head.status().as_u16(), &*first), (200, "0123"), "of another version the whole is due");
    let (head, _, _) = begins(here.asking("GET", "/a", &[("if-none-match", "\"b\"")]).await).await;
    assert_eq!(head.status().as_u16(), 200);
    let only_head = here.head("/a").await;
    assert_eq!((only_head.status.as_u16(), only_head.field("content-length"), only_head.text()), (200, "10", ""));
    assert_eq!(here.count("/a"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_for_the_head_alone_has_the_object_fetched() {
    let (here, pipes) = growing(true);
    let head = here.head("/a").await;
    assert_eq!((head.status.as_u16(), head.field("content-length"), head.text()), (200, "10", ""));
    let pipe = pipes.lock().pop().expect("one request");
    pipe.send("456789");
    drop(pipe);
    assert_eq!(here.get("/a").await.text(), "0123456789");
    let methods: Vec<_> = here.seen().iter().map(|seen| seen.method.clone()).collect();
    assert_eq!(methods, ["GET"]);
}

/// An origin with a zipped and a plain answer, each in the hands of the test.
fn two_codings(control: &'static str) -> (Here, Arc<Mutex<Vec<Pipe>>>) {
    let pipes = Arc::<Mutex<Vec<Pipe>>>::default();
    let kept = Arc::clone(&pipes);
    let here = Here::of(move |seen| {
        let (pipe, body) = Pipe::new();
        let coding = seen.field("accept-encoding").map(|value| HeaderValue::from_str(value).expect("text"));
        let zipped = gzip::accepted(coding.as_ref());
        pipe.send(if zipped { "zip" } else { "plain" });
        kept.lock().push(pipe);
        async move { answer(200, &[("cache-control", control), ("vary", "accept-encoding")], body) }
    });
    (here, pipes)
}

#[tokio::test(start_paused = true)]
async fn two_codings_of_an_object_arrive_side_by_side_and_nobody_gets_the_other() {
    // Kept, and for those alone who asked before.
    for control in ["max-age=60", "max-age=0"] {
        let (here, pipes) = two_codings(control);
        let clients: Vec<_> = (0..10)
            .map(|n| {
                let coding = if n % 2 == 0 { "br, gzip" } else { "identity" };
                (n, tokio::spawn(here.client("/a", &[("accept-encoding", coding)])))
            })
            .collect();
        settled().await;
        assert_eq!(pipes.lock().len(), 2, "{control}");
        for pipe in pipes.lock().drain(..) {
            pipe.send("!");
        }
        for (n, client) in clients {
            let expected = if n % 2 == 0 { "zip!" } else { "plain!" };
            assert_eq!(client.await.expect("an answer").text(), expected, "{control}");
        }
        assert_eq!(here.count("/a"), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_variant_that_breaks_off_leaves_the_others_as_they_were() {
    let (here, pipes) = two_codings("max-age=60");
    let zipped = [("accept-encoding", "gzip")];
    let first = tokio::spawn(here.client("/a", &zipped));
    settled().await;
    drop(pipes.lock().pop());
    assert_eq!(first.await.expect("an answer").text(), "zip");
    let plain = tokio::spawn(here.client("/a", &[]));
    settled().await;
    pipes.lock().pop().expect("the plain one is asked for").fail();
    assert!(!plain.await.expect("an answer").whole);
    let hit = here.ask("/a", &zipped).await;
    assert_eq!((hit.text(), here.count("/a")), ("zip", 2));
    // What broke off is not there, and what is there is not taken for it.
    let plain = tokio::spawn(here.client("/a", &[]));
    settled().await;
    drop(pipes.lock().pop());
    assert_eq!((plain.await.expect("an answer").text(), here.count("/a")), ("plain", 3));
}

#[tokio::test(start_paused = true)]
async fn a_field_too_long_to_tell_requests_apart_makes_each_its_own() {
    let here = Here::of(|seen| async move { answer(200, &[LIFE, ("vary", "x-long")], seen.nth.to_string()) });
    let (long, other) = ("a".repeat(2_000), "b".repeat(2_000));
    assert_eq!(here.ask("/a", &[("x-long", &long)]).await.text(), "0");
    assert_eq!(here.ask("/a", &[("x-long", &other)]).await.text(), "1");
}

#[tokio::test(start_paused = true)]
async fn what_is_confirmed_while_it_arrives_is_kept_once_or_not_at_all() {
    for fails in [false, true] {
        let pipes = Arc::<Mutex<Vec<Pipe>>>::default();
        let kept = Arc::clone(&pipes);
        let here = Here::of(move |seen| {
            let fields = [("cache-control", "max-age=1"), TAG];
            let confirmed = seen.field("if-none-match").is_some();
            let body = if confirmed {
                Body::empty()
            } else {
                let (pipe, body) = Pipe::new();
                pipe.send("0123");
                kept.lock().push(pipe);
                body
            };
            let response = answer(if confirmed { 304 } else { 200 }, &fields, body);
            async move { response }
        });
        let first = tokio::spawn(here.client("/a", &[]));
        settled().await;
        tokio::time::advance(std::time::Duration::from_millis(1_500)).await;
        let second = tokio::spawn(here.client("/a", &[]));
        settled().await;
        assert_eq!(here.count("/a"), 2);
        let pipe = pipes.lock().pop().expect("one body");
        if fails {
            pipe.fail();
            settled().await;
            assert!(!first.await.expect("an answer").whole && !second.await.expect("an answer").whole);
            assert_eq!(here.held_bytes(), 0);
            let third = tokio::spawn(here.client("/a", &[]));
            settled().await;
            drop(pipes.lock().pop().expect("a stump is not confirmed, it is asked for anew"));
            assert_eq!(third.await.expect("an answer").text(), "0123");
        } else {
            pipe.send("4");
            drop(pipe);
            assert_eq!(first.await.expect("an answer").text(), "01234");
            assert_eq!(second.await.expect("an answer").text(), "01234");
            settled().await;
            assert_eq!(here.get("/a").await.text(), "01234");
            assert_eq!(here.shield.memory().residents(), 1);
            // What the store knows of it is what the index holds: it leaves whole.
            here.shield.memory().set_bytes_max(0);
            assert_eq!(here.held_bytes(), 0);
            let again = tokio::spawn(here.client("/a", &[]));
            settled().await;
            assert_eq!(here.count("/a"), 3);
            again.abort();
        }
    }
}
