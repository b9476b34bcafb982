// SPDX-License-Identifier: Apache-2.0
//! A body that broke off goes on from another origin, byte-exactly or not at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use headwater_shield::config::Upstream;
use headwater_shield::upstream::{Ask, Error, Group, Resume};

use crate::script::{Asked, DEADLINE, Origin, Step, answer, get, group, ok, read_all, refusing, send, upstream};

const BODY: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";
const TAG: &str = "\"tag\"";

/// Sends the first `length` bytes of [`BODY`] and breaks off.
fn cut(length: usize, fields: &str) -> Vec<Step> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n{fields}\r\n", BODY.len());
    vec![send(head), send(&BODY[..length]), Step::Close]
}

/// Answers ranges of `body` as RFC 9110 has it.
fn ranges(asked: &Asked, body: &[u8], tag: &str) -> Vec<Step> {
    let etag = if tag.is_empty() { String::new() } else { format!("etag: {tag}\r\n") };
    let offset = asked.field("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let current = asked.field("if-range").is_none_or(|wanted| wanted == tag);
    match offset {
        Some(offset) if current && offset < body.len() => {
            let fields = format!("{etag}content-range: bytes {offset}-{}/{}\r\n", body.len() - 1, body.len());
            answer("206 Partial Content", &fields, &body[offset..])
        }
        Some(_) if current => {
            answer("416 Range Not Satisfiable", &format!("content-range: bytes */{}\r\n", body.len()), b"")
        }
        _ => answer("200 OK", &etag, body),
    }
}

/// Fetches as a fill does: what breaks off is resumed, once.
async fn fetch(group: &Group, ask: &Ask) -> Result<Vec<u8>, Error> {
    let mut first = tokio::time::timeout(DEADLINE, group.ask(ask)).await.unwrap()?;
    let (begun, end) = read_all(&mut first).await;
    if end.is_ok() {
        return Ok(begun);
    }
    // In uneven pieces, as they come from a network.
    let held: Vec<Bytes> = begun.chunks(7).map(Bytes::copy_from_slice).collect();
    let from = Resume { from: first.origin, head: &first.head, held: &held };
    let mut rest = tokio::time::timeout(DEADLINE, group.resume(ask, from)).await.unwrap()?;
    assert_ne!(rest.origin, first.origin);
    let (rest, end) = read_all(&mut rest).await;
    end.expect("the rest is whole");
    Ok([begun, rest].concat())
}

/// Answers once and is then in trouble, so that only the twin can go on.
fn once(script: impl Fn(&Asked) -> Vec<Step> + Send + Sync) -> impl Fn(&Asked) -> Vec<Step> + Send + Sync {
    let first = AtomicBool::new(true);
    move |asked| {
        if first.swap(false, Ordering::SeqCst) { script(asked) } else { answer("500 Internal Server Error", "", b"") }
    }
}

async fn pair(
    primary: impl Fn(&Asked) -> Vec<Step> + Send + Sync + 'static,
    twin: impl Fn(&Asked) -> Vec<Step> + Send + Sync + 'static,
    identical: bool,
) -> (Arc<Group>, Origin, Origin) {
    let (primary, twin) = (Origin::start(once(primary)).await, Origin::start(twin).await);
    let group = group(&Upstream { identical, fall: 1_000, ..upstream(&[primary.url(), twin.url()]) });
    (group, primary, twin)
}

#[tokio::test]
async fn a_body_cut_after_any_byte_goes_on_byte_exactly() {
    for length in 0..BODY.len() {
        let (group, _primary, twin) =
            pair(move |_| cut(length, "etag: \"tag\"\r\n"), |asked| ranges(asked, BODY, TAG), false).await;
        assert_eq!(fetch(&group, &get("/live/1.m4s")).await.unwrap(), BODY, "cut after {length}");
        let asked = twin.asked().remove(0);
        let range = (length > 0).then(|| format!("bytes={length}-"));
        assert_eq!(asked.field("range"), range.as_deref());
        assert_eq!(asked.field("if-range"), range.as_ref().map(|_| TAG));
        assert_eq!(group.state().origins[1].resumed, 1);
    }
}

#[tokio::test]
async fn a_twin_that_knows_no_ranges_is_read_from_the_start_and_compared() {
    for identical in [false, true] {
        let tag = if identical { "" } else { "etag: \"tag\"\r\n" };
        for length in [0, 1, 6, 7, 8, 20, BODY.len() - 1] {
            let (group, _primary, _twin) =
                pair(move |_| cut(length, tag), move |_| answer("200 OK", tag, BODY), identical).await;
            assert_eq!(fetch(&group, &get("/live/1.m4s")).await.unwrap(), BODY, "cut after {length}");
        }
    }
}

#[tokio::test]
async fn a_body_that_still_grows_goes_on_in_the_chunks_of_its_twin() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let (group, _primary, _twin) = pair(
        move |_| vec![send(chunked), send("a\r\n0123456789\r\n"), Step::Close],
        move |_| {
            let parts = BODY
                .chunks(3)
                .map(|part| send(format!("{:x}\r\n{}\r\n", part.len(), std::str::from_utf8(part).expect("ASCII"))));
            [vec![send(chunked)], parts.collect(), vec![send("0\r\n\r\n")]].concat()
        },
        true,
    )
    .await;
    assert_eq!(fetch(&group, &get("/live/1.m4s")).await.unwrap(), BODY);
}

#[tokio::test]
async fn a_body_that_lacked_only_its_last_chunk_is_whole() {
    let chunked = "HTTP/1.1 200 OK\r\netag: \"tag\"\r\ntransfer-encoding: chunked\r\n\r\n24\r\n";
    let (group, _primary, twin) = pair(
        move |_| vec![send(chunked), send(BODY), send("\r\n"), Step::Close],
        |asked| ranges(asked, BODY, TAG),
        false,
    )
    .await;
    assert_eq!(fetch(&group, &get("/live/1.m4s")).await.unwrap(), BODY);
    assert_eq!(twin.asked().len(), 2, "nothing is left of it (416), so all of it is compared");
}

#[tokio::test]
async fn a_twin_with_other_bytes_is_refused() {
    let other = b"0123456789abcXefghijklmnopqrstuvwxyz";
    let (group, ..) = pair(|_| cut(20, ""), move |_| ok(other), true).await;
    let error = fetch(&group, &get("/live/1.m4s")).await.unwrap_err();
    let Error::Different { got, .. } = &error else { panic!("{error}") };
    assert_eq!(got, "another byte at 13");

    let (group, ..) = pair(|_| cut(20, ""), move |_| ok(&other[..10]), true).await;
    assert!(matches!(fetch(&group, &get("/live/1.m4s")).await, Err(Error::Different { .. })), "another length");
}

#[tokio::test]
async fn a_twin_whose_validator_differs_is_refused_whatever_its_bytes() {
    for identical in [false, true] {
        for tag in ["\"other\"", "W/\"tag\"", ""] {
            let (group, ..) =
                pair(|_| cut(20, "etag: \"tag\"\r\n"), move |asked| ranges(asked, BODY, tag), identical).await;
            let error = fetch(&group, &get("/live/1.m4s")).await.unwrap_err();
            assert!(matches!(&error, Error::Different { .. }), "{tag:?}: {error}");
        }
    }
}

#[tokio::test]
async fn a_part_that_is_not_the_rest_is_refused() {
    let odd = [
        ("content-range: bytes 19-35/36\r\n", &BODY[19..]),
        ("content-range: bytes 21-35/36\r\n", &BODY[21..]),
        ("content-range: bytes 20-34/36\r\n", &BODY[20..35]),
        ("content-range: bytes 20-35/37\r\n", &BODY[20..]),
        ("content-range: bytes 20-36/37\r\n", b"klmnopqrstuvwxyz!"),
        ("content-range: bytes 35-20/36\r\n", &BODY[20..]),
        ("content-range: bytes */36\r\n", &BODY[20..]),
        ("content-range: bytes 18446744073709551615-18446744073709551615/36\r\n", &BODY[20..]),
        ("content-range: nonsense\r\n", &BODY[20..]),
        ("content-range: bytes 20-35/36\r\ncontent-encoding: gzip\r\n", &BODY[20..]),
        ("", &BODY[20..]),
    ];
    for (fields, body) in odd {
        let (group, ..) = pair(
            |_| cut(20, "etag: \"tag\"\r\n"),
            move |_| answer("206 Partial Content", &format!("etag: \"tag\"\r\n{fields}"), body),
            false,
        )
        .await;
        let error = fetch(&group, &get("/live/1.m4s")).await.unwrap_err();
        assert!(matches!(&error, Error::Different { .. }), "{fields:?}: {error}");
    }
    // A length that contradicts the range is no rest either.
    let (group, ..) = pair(
        |_| cut(20, "etag: \"tag\"\r\n"),
        |_| answer("206 Partial Content", "etag: \"tag\"\r\ncontent-range: bytes 20-35/36\r\n", b"kl"),
        false,
    )
    .await;
    assert!(fetch(&group, &get("/live/1.m4s")).await.is_err());
}

#[tokio::test]
async fn what_nothing_can_prove_to_be_the_same_is_not_gone_on_with() {
    for fields in ["", "etag: W/\"tag\"\r\n", "etag: tag\r\n", "etag: \"\r\n"] {
        let (group, _primary, twin) = pair(move |_| cut(20, fields), |_| ok(BODY), false).await;
        let error = fetch(&group, &get("/live/1.m4s")).await.unwrap_err();
        assert!(matches!(error, Error::NotResumable(_)), "{error}");
        assert_eq!(twin.asked().len(), 0);
    }
}

#[tokio::test]
async fn when_the_twin_is_gone_the_one_that_broke_off_is_asked_again() {
    let (fields, refused) = ("etag: \"tag\"\r\n", refusing().await);
    let primary = Origin::start(
        move |asked| if asked.field("range").is_some() { ranges(asked, BODY, TAG) } else { cut(9, fields) },
    )
    .await;
    let group = group(&upstream(&[primary.url(), refused]));
    let mut first = group.ask(&get("/live/1.m4s")).await.unwrap();
    let (begun, end) = read_all(&mut first).await;
    assert!(end.is_err());
    let held = [Bytes::from(begun.clone())];
    let from = Resume { from: first.origin, head: &first.head, held: &held };
    let mut rest = group.resume(&get("/live/1.m4s"), from).await.unwrap();
    assert_eq!((rest.origin, rest.attempts), (first.origin, 2));
    assert_eq!([begun, read_all(&mut rest).await.0].concat(), BODY);
}

#[tokio::test]
async fn a_rest_that_breaks_off_too_can_be_gone_on_with() {
    let primary = Origin::start(|asked| match asked.field("range") {
        Some(_) => ranges(asked, BODY, TAG),
        None => cut(10, "etag: \"tag\"\r\n"),
    })
    .await;
    let twin = Origin::start(|_| {
        let head = "HTTP/1.1 206 Partial Content\r\ncontent-length: 26\r\netag: \"tag\"\r\n";
        vec![send(format!("{head}content-range: bytes 10-35/36\r\n\r\n")), send("abcde"), Step::Reset]
    })
    .await;
    let group = group(&upstream(&[primary.url(), twin.url()]));
    let ask = get("/live/1.m4s");
    let mut answer = group.ask(&ask).await.unwrap();
    let head = answer.head.clone();
    let mut held: Vec<Bytes> = Vec::new();
    let mut breaks = 0;
    loop {
        match answer.body.next().await {
            Ok(Some(bytes)) => held.push(bytes),
            Ok(None) => break,
            Err(_) => {
                breaks += 1;
                let from = Resume { from: answer.origin, head: &head, held: &held };
                answer = tokio::time::timeout(DEADLINE, group.resume(&ask, from)).await.unwrap().unwrap();
            }
        }
    }
    assert_eq!((held.concat().as_slice(), breaks), (BODY, 2));
}
