// SPDX-License-Identifier: Apache-2.0
//! A body ends cleanly only when all of it has come.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use headwater_shield::config::Upstream;
use headwater_shield::upstream::{BodyError, Framing, Group, Identity, Local};
use http::{Method, Request, Response};
use tokio::sync::Notify;
use tower::service_fn;

use crate::script::{Origin, Step, answer, get, group, ok, read_all, send, upstream};

/// What came of a body that an origin sent like this, and whether it counts as a fault.
async fn came(steps: Vec<Step>) -> (Vec<u8>, Result<(), BodyError>, bool) {
    let origin = Origin::start(move |_| steps.clone()).await;
    let settings = Upstream { fall: 1, between_bytes_ms: 100, ..upstream(&[origin.url()]) };
    let group = group(&settings);
    let mut answer = group.ask(&get("/live/a")).await.unwrap();
    let (bytes, end) = read_all(&mut answer).await;
    assert_eq!(answer.body.next().await.map(|_| ()), end, "it ends the same every time it is asked");
    (bytes, end, !group.state().origins[0].up)
}

#[tokio::test]
async fn a_whole_body_ends_cleanly_by_length_by_last_chunk_and_by_close() {
    for (head, body) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", "bytes"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "2\r\nby\r\n3\r\ntes\r\n0\r\n\r\n"),
        ("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", "bytes"),
        ("HTTP/1.0 200 OK\r\n\r\n", "bytes"),
    ] {
        let (bytes, end, fault) = came(vec![send(head), send(body), Step::Close]).await;
        assert_eq!((bytes.as_slice(), end, fault), (b"bytes".as_slice(), Ok(()), false), "{head}");
    }
}

#[tokio::test]
async fn a_body_shorter_than_its_length_is_an_error_after_each_byte() {
    for length in 0..5 {
        for last in [Step::Close, Step::Reset] {
            let head = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
            let (bytes, end, fault) = came(vec![send(head), send(&b"bytes"[..length]), last.clone()]).await;
            assert!(b"bytes".starts_with(&bytes), "{bytes:?}");
            assert!(matches!(end, Err(BodyError::Broken { .. })), "{length} {last:?}: {end:?}");
            assert!(fault);
        }
    }
}

#[tokio::test]
async fn a_chunked_body_without_its_last_chunk_or_with_a_broken_one_is_an_error() {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for rest in
        ["5\r\nbytes\r\n", "5\r\nbytes\r\n0\r\n", "5\r\nbyt", "5\r\nbytesX", "zz\r\n", "FFFFFFFFFFFFFFFFF\r\nab", ""]
    {
        let (bytes, end, fault) = came(vec![send(head), send(rest), Step::Close]).await;
        assert!(b"bytes".starts_with(&bytes), "{rest:?}: {bytes:?}");
        assert!(matches!(end, Err(BodyError::Broken { .. })), "{rest:?}: {end:?}");
        assert!(fault, "{rest:?}");
    }
}

#[tokio::test]
async fn a_body_that_stands_still_is_an_error_and_one_that_drips_is_not() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
    let (bytes, end, fault) = came(vec![send(head), send("byt"), Step::Hang]).await;
    assert_eq!(bytes, b"byt");
    assert!(matches!(end, Err(BodyError::Stalled { came_bytes: 3, .. })), "{end:?}");
    assert!(fault);

    let told = Arc::new(Notify::new());
    let drips: Vec<_> = b"bytes".iter().flat_map(|byte| [Step::Wait(Arc::clone(&told)), send([*byte])]).collect();
    let origin = Origin::start(move |_| [vec![send(head)], drips.clone()].concat()).await;
    let group = group(&Upstream { between_bytes_ms: 10_000, ..upstream(&[origin.url()]) });
    let mut answer = group.ask(&get("/live/a")).await.unwrap();
    for byte in b"bytes" {
        told.notify_one();
        assert_eq!(answer.body.next().await, Ok(Some(Bytes::copy_from_slice(&[*byte]))));
    }
    assert_eq!(answer.body.next().await, Ok(None));
}

#[tokio::test]
async fn a_body_that_drips_for_ever_is_cut_at_the_total_deadline() {
    let endless = || {
        service_fn(|_: Request<Body>| async {
            let drip = stream::unfold((), |()| async {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                Some((Ok::<_, std::io::Error>(Bytes::from_static(b".")), ()))
            });
            Ok(Response::new(Body::from_stream(drip)))
        })
    };
    let settings = Upstream { total_ms: 300, between_bytes_ms: 200, ..upstream(&["here".into()]) };
    let group = Group::new("main", &settings, Some(Local::new(endless())), &Identity::new()).unwrap();
    let mut answer = group.ask(&get("/live/a")).await.unwrap();
    let (bytes, end) = read_all(&mut answer).await;
    assert_eq!(end, Err(BodyError::Late { came_bytes: bytes.len() as u64 }));
}

#[tokio::test]
async fn a_dropped_wait_has_taken_nothing_and_does_not_begin_anew() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
    let origin = Origin::start(move |_| vec![send(head), send("byt"), Step::Hang]).await;
    let group = group(&Upstream { between_bytes_ms: 50, ..upstream(&[origin.url()]) });
    let mut answer = group.ask(&get("/live/a")).await.unwrap();
    let mut came = Vec::new();
    let end = loop {
        // A reader that is interrupted all the time, far sooner than the deadline.
        tokio::select! {
            next = answer.body.next() => match next {
                Ok(Some(bytes)) => came.extend_from_slice(&bytes),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            },
            () = tokio::task::yield_now() => {}
        }
    };
    assert_eq!(came, b"byt");
    assert!(matches!(end, Err(BodyError::Stalled { came_bytes: 3, .. })), "{end:?}");
}

#[tokio::test]
async fn what_has_no_body_is_at_its_end_whatever_its_length_says() {
    let origin = Origin::start(|asked| match asked.target() {
        "/head" => vec![send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")],
        "/304" => vec![send("HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n")],
        _ => vec![send("HTTP/1.1 204 No Content\r\n\r\n")],
    })
    .await;
    let group = group(&upstream(&[origin.url()]));
    let mut head = get("/head");
    head.method = Method::HEAD;
    for ask in [head, get("/304"), get("/204")] {
        let mut answer = group.ask(&ask).await.unwrap();
        assert_eq!(answer.body.framing(), Framing::Length(0), "{}", ask.target);
        assert_eq!(answer.body.next().await, Ok(None), "{}", ask.target);
    }
    assert_eq!(origin.connections(), 1, "the connection is whole after each of them");
}

#[tokio::test]
async fn how_an_end_is_known_is_told() {
    let origin = Origin::start(|asked| match asked.target() {
        "/length" => ok(b"bytes"),
        "/chunks" => vec![send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n")],
        _ => vec![send("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nbytes"), Step::Close],
    })
    .await;
    let group = group(&upstream(&[origin.url()]));
    for (target, framing) in [("/length", Framing::Length(5)), ("/chunks", Framing::Marked), ("/close", Framing::Close)]
    {
        assert_eq!(group.ask(&get(target)).await.unwrap().body.framing(), framing);
    }
}

#[tokio::test]
async fn connections_are_used_again_and_never_more_than_are_allowed() {
    let told = Arc::new(Notify::new());
    let wait = Arc::clone(&told);
    let origin = Origin::start(move |asked| match asked.target() {
        "/slow" => [vec![Step::Wait(Arc::clone(&wait))], ok(b"bytes")].concat(),
        _ => answer("200 OK", "", &[0; 100_000]),
    })
    .await;
    let settings = Upstream { connections_max: 3, first_byte_ms: 20_000, hedge_ms: 0, ..upstream(&[origin.url()]) };
    let group = group(&settings);
    let asking: Vec<_> = (0..12)
        .map(|_| {
            let group = Arc::clone(&group);
            tokio::spawn(async move { crate::script::whole(&group, &get("/slow")).await.0 })
        })
        .collect();
    for served in 0..12 {
        origin.until(|origin| origin.asked().len() > served).await;
        assert!(origin.open() <= 3 && origin.asked().len() <= served + 3);
        told.notify_one();
    }
    for asking in asking {
        assert_eq!(asking.await.unwrap(), 200);
    }
    assert_eq!(origin.connections(), 3);
    for _ in 0..10 {
        crate::script::whole(&group, &get("/fast")).await;
    }
    assert_eq!(origin.connections(), 3);
    // A body that is given up takes its connection with it, and makes room.
    for _ in 0..10 {
        drop(group.ask(&get("/fast")).await.unwrap());
    }
    assert_eq!(group.state().origins[0].in_flight, 0);
}

#[tokio::test]
async fn the_origin_in_this_process_is_asked_without_a_socket_and_held_to_the_same() {
    let service = service_fn(|request: Request<Body>| async move {
        let body = match request.uri().path() {
            "/live/whole" => Body::from("bytes"),
            "/live/hang" => std::future::pending().await,
            _ => {
                let part = stream::iter([Ok(Bytes::from_static(b"by")), Err(std::io::Error::other("gone"))]);
                Body::from_stream(part)
            }
        };
        Ok(Response::new(body))
    });
    let settings = Upstream { first_byte_ms: 100, ..upstream(&["here".into()]) };
    let group = Group::new("main", &settings, Some(Local::new(service)), &Identity::new()).unwrap();
    assert_eq!(crate::script::whole(&group, &get("/live/whole")).await, (200, b"bytes".to_vec()));
    assert!(group.ask(&get("/live/hang")).await.is_err());
    let mut broken = group.ask(&get("/live/broken")).await.unwrap();
    let (bytes, end) = read_all(&mut broken).await;
    assert_eq!(bytes, b"by");
    assert_eq!(end, Err(BodyError::Broken { came_bytes: 2, cause: "gone".into() }));
}
