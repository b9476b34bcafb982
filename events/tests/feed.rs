// SPDX-License-Identifier: Apache-2.0
//! The live feed between real sockets: what is published here arrives there, once, in order, or a gap is told.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use headwater_events::event::{Data, Kinds, Role};
use headwater_events::feed::{self, Since};
use headwater_events::log::Settings;
use headwater_events::{Arrival, Config, Filter, Follow, Kind, Log, Offset, Position, Publisher, Source};
use headwater_net::Shutdown;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use support::{DEADLINE, Node, channel_of, gauge, publish, started};

fn follow(node: &Node, filter: Filter, since: Since) -> Follow {
    feed::follow(&node.url(), None, filter, since, Shutdown::new()).unwrap()
}

async fn next(follow: &mut Follow) -> Arrival {
    tokio::time::timeout(DEADLINE, follow.next()).await.expect("an arrival in time").expect("an arrival")
}

/// The channels of the next events, and that none of them is a gap.
async fn channels(follow: &mut Follow, count: usize) -> Vec<String> {
    let mut channels = Vec::new();
    while channels.len() < count {
        match next(follow).await {
            Arrival::Event(event, _) => channels.push(channel_of(&event)),
            Arrival::Gap => channels.push("gap".to_owned()),
        }
    }
    channels
}

#[tokio::test]
async fn a_follower_gets_what_it_asked_for_from_where_it_asked() {
    let node = Node::start(None).await;
    publish(&node.publisher, ["a", "b", "c"]);
    node.publisher.publish(support::at(0), started("c"));
    node.publisher.flushed().await;

    let mut all = follow(&node, Filter::default(), Since::First);
    assert_eq!(channels(&mut all, 4).await, ["a", "b", "c", "c"]);
    let mut later = follow(&node, Filter::default(), Since::Offset(Offset(2)));
    let Arrival::Event(event, position) = next(&mut later).await else { panic!("a gap") };
    assert_eq!((channel_of(&event), position), ("c".to_owned(), Position::Log(Offset(2))));
    let filter = Filter { kinds: Kinds::NONE.with(Kind::ChannelStarted), channels: vec!["c".to_owned()] };
    let mut some = follow(&node, filter, Since::Time(support::at(-3_600)));
    let Arrival::Event(event, _) = next(&mut some).await else { panic!("a gap") };
    assert!(matches!(event.data, Data::ChannelStarted(_)));

    let mut from_now = follow(&node, Filter::default(), Since::End);
    node.followers(4).await;
    publish(&node.publisher, ["d"]);
    assert_eq!(channels(&mut from_now, 1).await, ["d"]);
    assert_eq!(channels(&mut all, 1).await, ["d"]);
    drop((all, later, some, from_now));
    node.followers(0).await;
}

#[tokio::test]
async fn a_follower_goes_on_where_it_was_when_the_server_comes_back_with_its_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::start(Some(dir.path())).await;
    let mut follow = follow(&node, Filter::default(), Since::End);
    node.followers(1).await;
    for round in 0..4 {
        publish(&node.publisher, [format!("{round}a"), format!("{round}b")]);
        assert_eq!(channels(&mut follow, 2).await, [format!("{round}a"), format!("{round}b")]);
        node.kill().await;
        let publisher = node.reopen();
        publish(&publisher, [format!("{round}c")]);
        publisher.flushed().await;
        node.serve(publisher).await;
        assert_eq!(channels(&mut follow, 1).await, [format!("{round}c")], "told while nobody listened");
    }
}

#[tokio::test]
async fn a_log_that_began_anew_is_told_as_a_gap_and_read_from_its_begin() {
    let mut node = Node::start(None).await;
    let mut follow = follow(&node, Filter::default(), Since::First);
    publish(&node.publisher, ["a", "b"]);
    assert_eq!(channels(&mut follow, 2).await, ["a", "b"]);
    node.kill().await;
    let publisher = node.reopen();
    publish(&publisher, ["x", "y", "z"]);
    publisher.flushed().await;
    node.serve(publisher).await;
    assert_eq!(channels(&mut follow, 4).await, ["gap", "x", "y", "z"], "though the offset it had is one of these");
}

#[tokio::test]
async fn an_event_that_breaks_off_comes_whole_from_the_next_connection() {
    let node = Node::start(None).await;
    publish(&node.publisher, ["a", "b", "c"]);
    node.publisher.flushed().await;
    // Between them stands one that cuts each connection a little later.
    let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, behind) = (relay.local_addr().unwrap(), node.address);
    let cutting = tokio::spawn(async move {
        for cut in (300..).step_by(97) {
            let (mut client, _) = relay.accept().await.unwrap();
            let mut server = TcpStream::connect(behind).await.unwrap();
            let mut request = vec![0; 4_096];
            let length = client.read(&mut request).await.unwrap();
            server.write_all(&request[..length]).await.unwrap();
            let mut left: usize = cut;
            let mut bytes = [0; 64];
            while left > 0 {
                let room = left.min(bytes.len());
                let Ok(read @ 1..) = server.read(&mut bytes[..room]).await else { break };
                if client.write_all(&bytes[..read]).await.is_err() {
                    break;
                }
                left -= read;
            }
        }
    });
    let url = format!("http://{address}/events");
    let mut follow = feed::follow(&url, None, Filter::default(), Since::First, Shutdown::new()).unwrap();
    assert_eq!(channels(&mut follow, 3).await, ["a", "b", "c"]);
    cutting.abort();
}

#[tokio::test]
async fn a_follower_behind_what_the_log_holds_is_told_and_goes_on() {
    let settings = Settings { memory_bytes_max: 1 << 20, grace: Duration::ZERO, ..Settings::default() };
    let log = Log::in_memory(settings, Arc::default());
    let publisher = Publisher::over(log, 65_536, Source::new(Role::Origin, "n")).unwrap();
    let node = Node::of(publisher, Config::default(), None).await;
    let big = "x".repeat(1_000);
    for number in 0..3_000 {
        publish(&node.publisher, [format!("{number}-{big}")]);
    }
    node.publisher.flushed().await;
    let first = node.publisher.log().first().0;
    assert!(first > 0);
    let (head, text) = node.get_until("/events?from=5", "event: channel.ended").await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(
        text.contains(&format!("event: lost\ndata: {{\"wanted\":5,\"first\":{first}}}\n\nid: {first}\n")),
        "{text:.300}"
    );
    let mut follow = follow(&node, Filter::default(), Since::Offset(Offset(5)));
    assert!(matches!(next(&mut follow).await, Arrival::Gap));
    let Arrival::Event(_, position) = next(&mut follow).await else { panic!("two gaps") };
    assert_eq!(position, Position::Log(Offset(first)));
}

#[tokio::test]
async fn the_answer_is_one_for_browsers_and_for_proxies() {
    let node = Node::start(None).await;
    publish(&node.publisher, ["a", "b"]);
    node.publisher.flushed().await;
    let (head, text) = node.get_until("/events?lastEventId=0", "\"b\"").await;
    let head = head.to_ascii_lowercase();
    for field in [
        "content-type: text/event-stream",
        "cache-control: no-store",
        "x-accel-buffering: no",
        "access-control-allow-origin: *",
        &format!("headwater-log: {}", node.publisher.log().identity()),
    ] {
        assert!(head.contains(&format!("{field}\r\n")), "{field} is not in\n{head}");
    }
    assert!(
        text.contains("id: 1\nevent: channel.ended\ndata: {\"specversion\":\"1.0\",\"id\":\"channel.ended:n/b@"),
        "{text}"
    );
    assert!(!text.contains("\"a\""), "{text}");
    let (head, _) = node.ask("HEAD", "/events").await;
    assert!(head.contains(" 200 ") && head.to_ascii_lowercase().contains("text/event-stream"), "{head}");
    let (head, _) = node.ask("OPTIONS", "/events").await;
    assert!(head.contains(" 204 ") && head.contains("GET, HEAD, OPTIONS"), "{head}");
    let (head, text) = node.ask("POST", "/events").await;
    assert!(head.contains(" 405 "), "{head} {text}");
    assert_eq!(gauge(&node.publisher, "followers"), 0.0, "nobody follows by these");
}

#[tokio::test]
async fn what_is_not_understood_is_refused_with_what_was_expected() {
    let node = Node::start(None).await;
    for (query, expected) in [
        ("types=nothing", "expected names of types, as part.ready,channel.* in types, got nothing\n"),
        ("from=-1", "expected first, end, an offset, or a time of RFC 3339 in from, got -1\n"),
        ("lastEventId=x", "expected an offset in lastEventId, got x\n"),
    ] {
        let (head, text) = node.ask("GET", &format!("/events?{query}")).await;
        assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
        assert_eq!(text, expected);
    }
    let (head, text) = node.ask("GET", "/events/schemas/part.ready.json").await;
    assert!(head.contains("application/schema+json") && text.contains("\"sequence\""), "{head}{text}");
    assert_eq!(text, headwater_events::schema::text(headwater_events::Kind::PartReady));
    let (head, _) = node.ask("GET", "/events/schemas/part.reddy.json").await;
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
}

#[tokio::test]
async fn one_follower_too_many_is_asked_to_come_later_and_does() {
    let node = Node::with(|config| config.followers_max = 1, None).await;
    let first = follow(&node, Filter::default(), Since::End);
    node.followers(1).await;
    let (head, _) = node.ask("GET", "/events").await;
    assert!(head.starts_with("HTTP/1.1 503 ") && head.to_ascii_lowercase().contains("retry-after: 5\r\n"), "{head}");
    drop(first);
    node.followers(0).await;
    let (head, _) = node.get_until("/events", ": alive").await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
}

#[tokio::test]
async fn a_thousand_followers_of_one_event_share_its_bytes() {
    let node = Node::with(|config| config.followers_max = 1_000, None).await;
    let mut follows = Vec::new();
    for _ in 0..1_000 {
        follows.push(Follow::log(node.publisher.log().clone(), Filter::default(), Offset(0)));
    }
    publish(&node.publisher, ["a"]);
    node.publisher.flushed().await;
    for follow in &mut follows {
        assert_eq!(channels(follow, 1).await, ["a"]);
    }
    let log = node.publisher.log();
    let (one, other) = (log.read(Offset(0), 1).unwrap(), log.read(Offset(0), 1).unwrap());
    assert_eq!(one[0].json.as_ptr(), other[0].json.as_ptr(), "the JSON was written once and is lent");
    let mut sockets = Vec::new();
    for _ in 0..300 {
        sockets.push(follow(&node, Filter::default(), Since::First));
    }
    for socket in &mut sockets {
        assert_eq!(channels(socket, 1).await, ["a"]);
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_takes_nothing_is_dropped_and_costs_the_others_nothing() {
    let node = Node::start(None).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    let mut stuck = socket.connect(node.address).await.unwrap();
    stuck.write_all(b"GET /events?from=first HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    node.followers(1).await;
    let big = "x".repeat(4_000);
    for number in 0..4_000 {
        publish(&node.publisher, [format!("{number}-{big}")]);
    }
    node.publisher.flushed().await;
    let mut other = follow(&node, Filter::default(), Since::First);
    let channels = channels(&mut other, 4_000).await;
    assert!(channels.iter().enumerate().all(|(n, channel)| channel.starts_with(&format!("{n}-"))));
    node.followers(1).await;
    assert_eq!(gauge(&node.publisher, "followers_dropped_total{reason=\"slow\"}"), 1.0);
    drop((stuck, other));
}

#[tokio::test]
async fn a_stop_ends_feeds_after_the_last_event() {
    // What is told right before the stop may not be written yet: each round is another chance to end too early.
    for _ in 0..50 {
        let node = Node::start(None).await;
        let mut socket = node.connect("/events").await;
        node.followers(1).await;
        publish(&node.publisher, ["last"]);
        node.shutdown.close();
        let mut text = String::new();
        // The connection stays for another request: the end of the body is what ends the feed.
        while !text.ends_with("0\r\n\r\n") {
            let mut bytes = [0; 4_096];
            let read = tokio::time::timeout(DEADLINE, socket.read(&mut bytes)).await.expect("the feed ends").unwrap();
            assert!(read > 0, "in order: {text}");
            text.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
        }
        assert!(text.contains("\"last\""), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_falls_silent_is_asked_again() {
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = mute.local_addr().unwrap();
    let mut follow =
        feed::follow(&format!("http://{address}"), None, Filter::default(), Since::End, Shutdown::new()).unwrap();
    let mut held = Vec::new();
    for _ in 0..3 {
        let (mut socket, _) = mute.accept().await.unwrap();
        let mut request = [0; 4_096];
        let length = socket.read(&mut request).await.unwrap();
        assert!(request[..length].starts_with(b"GET /events?from=end HTTP/1.1\r\n"));
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n: alive\n\n";
        socket.write_all(head.as_bytes()).await.unwrap();
        held.push(socket);
    }
    drop(held);
    assert!(tokio::time::timeout(Duration::from_millis(1), follow.next()).await.is_err(), "nothing came, and no gap");
}

#[test]
fn only_a_url_of_a_feed_can_be_followed() {
    for url in ["", "origin:8080", "ftp://origin", "http://user@origin/", "http://origin/events?types=alert"] {
        let error = feed::follow(url, None, Filter::default(), Since::End, Shutdown::new()).unwrap_err();
        assert!(error.to_string().starts_with("expected http://host[:port] or https://"), "{error}");
    }
}

#[tokio::test]
async fn a_feed_behind_a_token_is_followed_with_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let _follow = feed::follow(&url, Some("s3cret"), Filter::default(), Since::End, Shutdown::new()).unwrap();
    let (mut socket, _) =
        tokio::time::timeout(DEADLINE, listener.accept()).await.expect("a connection in time").unwrap();
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut bytes = [0; 1_024];
        let count = tokio::time::timeout(DEADLINE, socket.read(&mut bytes)).await.expect("a head in time").unwrap();
        assert!(count > 0, "expected a head, got {}", String::from_utf8_lossy(&head));
        head.extend_from_slice(&bytes[..count]);
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.contains("authorization: Bearer s3cret\r\n"), "{head}");
    let refused = feed::follow(&url, Some("a\nb"), Filter::default(), Since::End, Shutdown::new());
    assert!(refused.unwrap_err().to_string().contains("token"));
}
