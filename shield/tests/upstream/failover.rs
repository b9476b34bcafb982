// SPDX-License-Identifier: Apache-2.0
//! A request fails only if every origin fails it.

use std::sync::Arc;

use headwater_shield::config::Upstream;
use headwater_shield::upstream::{Cause, Error, Invalid, Stall};
use http::header::{CONNECTION, HOST, HeaderName};
use http::{HeaderValue, Method, StatusCode};

use crate::script::{Origin, Step, answer, get, group, ok, refusing, send, upstream, whole};

#[tokio::test]
async fn an_origin_that_refuses_costs_its_refusal_and_after_two_not_even_that() {
    let twin = Origin::start(|_| ok(b"bytes")).await;
    let group = group(&upstream(&[refusing().await, twin.url()]));
    for _ in 0..5 {
        assert_eq!(whole(&group, &get("/live/a")).await, (200, b"bytes".to_vec()));
    }
    let state = group.state();
    assert_eq!((state.origins[0].up, state.origins[0].requests), (false, 2));
    assert_eq!((state.origins[1].up, state.origins[1].requests), (true, 5));
    assert_eq!(state.switches, 1);
    assert_eq!(twin.connections(), 1, "its connection is used again");
}

#[tokio::test]
async fn requests_in_flight_go_on_when_their_origin_is_killed() {
    let primary = Origin::start(|_| vec![Step::Hang]).await;
    let twin = Origin::start(|_| ok(b"bytes")).await;
    let group = group(&Upstream { hedge_ms: 0, first_byte_ms: 60_000, ..upstream(&[primary.url(), twin.url()]) });
    let asked: Vec<_> = (0..20)
        .map(|_| {
            let group = Arc::clone(&group);
            tokio::spawn(async move { whole(&group, &get("/live/a")).await })
        })
        .collect();
    primary.until(|primary| primary.asked().len() == 20).await;
    primary.kill().await;
    for asked in asked {
        assert_eq!(asked.await.unwrap(), (200, b"bytes".to_vec()));
    }
}

#[tokio::test]
async fn a_5xx_is_asked_of_the_next_origin_and_counts_against_the_one_that_gave_it() {
    for status in ["500 Internal Server Error", "502 Bad Gateway", "503 Service Unavailable", "504 Gateway Timeout"] {
        let primary = Origin::start(move |_| answer(status, "", b"no")).await;
        let twin = Origin::start(|_| ok(b"bytes")).await;
        let group = group(&upstream(&[primary.url(), twin.url()]));
        for _ in 0..3 {
            assert_eq!(whole(&group, &get("/live/a")).await, (200, b"bytes".to_vec()), "{status}");
        }
        assert_eq!(primary.asked().len(), 2, "{status}: two in a row took it down");
        let reason = format!("status {}", &status[..3]);
        assert_eq!(group.state().origins[0].reason, Some(reason));
    }
}

#[tokio::test]
async fn a_request_that_every_origin_fails_takes_none_of_them_down() {
    let bad = || Origin::start(|_| answer("500 Internal Server Error", "", b"no"));
    let (a, b) = (bad().await, bad().await);
    let group = group(&upstream(&[a.url(), b.url()]));
    for _ in 0..5 {
        assert_eq!(whole(&group, &get("/live/poison")).await.0, 500);
    }
    assert!(group.state().origins.iter().all(|origin| origin.up));
}

#[tokio::test]
async fn a_404_is_asked_of_the_next_origin_at_the_live_edge_only() {
    let late = Origin::start(|_| answer("404 Not Found", "", b"not yet")).await;
    let twin = Origin::start(|_| ok(b"bytes")).await;
    let group = group(&upstream(&[late.url(), twin.url()]));
    assert_eq!(whole(&group, &get("/live/9.m4s")).await, (404, b"not yet".to_vec()));
    let mut edge = get("/live/9.m4s");
    edge.at_edge = true;
    for _ in 0..5 {
        assert_eq!(whole(&group, &edge).await, (200, b"bytes".to_vec()));
    }
    assert!(group.state().origins[0].up, "an origin that is a moment late is not down");
}

#[tokio::test]
async fn when_both_are_bad_the_better_answer_wins() {
    let mut edge = get("/live/9.m4s");
    edge.at_edge = true;
    let missing = Origin::start(|_| answer("404 Not Found", "", b"none")).await;
    let broken = Origin::start(|_| answer("502 Bad Gateway", "", b"no")).await;
    for origins in [[missing.url(), broken.url()], [broken.url(), missing.url()], [missing.url(), refusing().await]] {
        assert_eq!(whole(&group(&upstream(&origins)), &edge).await, (404, b"none".to_vec()), "{origins:?}");
    }
    // An origin that is silent does not hold up the answer that there is.
    let silent = Origin::start(|_| vec![Step::Hang]).await;
    let origins = [missing.url(), silent.url()];
    let group = group(&Upstream { first_byte_ms: 60_000, hedge_ms: 20, ..upstream(&origins) });
    assert_eq!(whole(&group, &edge).await, (404, b"none".to_vec()));
}

#[tokio::test]
async fn when_nobody_answers_the_error_says_whom_it_asked_last_and_why() {
    let (a, b) = (refusing().await, refusing().await);
    let group = group(&upstream(&[a, b.clone()]));
    let error = group.ask(&get("/live/a")).await.unwrap_err();
    assert_eq!(error.status(), StatusCode::BAD_GATEWAY);
    let Error::Failed { origin, cause: Cause::Connect(_), attempts: 2 } = error else { panic!("{error}") };
    assert_eq!(*origin, *b);
    // Both are down now; they are asked all the same.
    for _ in 0..3 {
        assert!(matches!(group.ask(&get("/live/a")).await, Err(Error::Failed { attempts: 2, .. })));
    }
}

#[tokio::test]
async fn a_request_that_may_change_something_is_sent_once() {
    let primary = Origin::start(|_| answer("503 Service Unavailable", "", b"no")).await;
    let twin = Origin::start(|_| ok(b"bytes")).await;
    let group = group(&upstream(&[primary.url(), twin.url()]));
    let mut delete = get("/live/a");
    delete.method = Method::DELETE;
    assert_eq!(whole(&group, &delete).await.0, 503);
    assert_eq!(twin.asked().len(), 0);
}

#[tokio::test]
async fn a_kept_connection_that_had_ended_is_nobodys_fault() {
    // Each connection takes one request and is gone when the second is on its way, as servers do with idle ones.
    let origin = Origin::start(|asked| if asked.number == 0 { ok(b"bytes") } else { vec![Step::Reset] }).await;
    let group = group(&upstream(&[origin.url()]));
    for _ in 0..5 {
        assert_eq!(whole(&group, &get("/live/a")).await, (200, b"bytes".to_vec()));
    }
    let state = group.state();
    assert_eq!((state.origins[0].failed, state.origins[0].stale), (0, 4));
    assert!(state.origins[0].up);
}

#[tokio::test]
async fn a_response_that_is_no_http_is_a_failure() {
    for bytes in ["HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd", "SSH-2.0-x\r\n", "\0\0\0"] {
        let odd = Origin::start(move |_| vec![send(bytes), Step::Close]).await;
        let twin = Origin::start(|_| ok(b"bytes")).await;
        let group = group(&upstream(&[odd.url(), twin.url()]));
        assert_eq!(whole(&group, &get("/live/a")).await, (200, b"bytes".to_vec()), "{bytes:?}");
    }
}

#[tokio::test]
async fn what_belongs_to_the_clients_connection_or_to_us_is_not_sent_on() {
    let origin = Origin::start(|_| ok(b"bytes")).await;
    let group = group(&Upstream { key: Some("secret".into()), ..upstream(&[origin.url()]) });
    let mut ask = get("/live/a?b=c");
    ask.host = Some(HeaderValue::from_static("live.example"));
    for (name, value) in [("headwater-hop", "t=1"), ("headwater-signature", "t=1"), ("te", "gzip"), ("x-own", "1")] {
        ask.headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    ask.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    ask.headers.insert(HOST, HeaderValue::from_static("evil.example"));
    whole(&group, &ask).await;
    let asked = origin.asked().remove(0);
    assert_eq!(asked.line, "GET /live/a?b=c HTTP/1.1");
    assert_eq!(asked.field("host"), Some("live.example"));
    assert_eq!(asked.field("x-own"), Some("1"));
    assert_eq!((asked.field("te"), asked.field("connection"), asked.field("headwater-hop")), (None, None, None));
    assert!(asked.field("headwater-signature").is_some_and(|value| value.len() > 64));
    assert!(asked.field("cdn-loop").is_some_and(|value| value.starts_with("headwater-")));
}

#[tokio::test]
async fn a_stall_moves_a_held_request_of_its_channel_to_the_other_origin() {
    let still = Origin::start(|_| vec![Step::Hang]).await;
    let twin = Origin::start(|_| ok(b"playlist")).await;
    let group = group(&upstream(&[still.url(), twin.url()]));
    let channel: Arc<str> = Arc::from("news");
    let mut blocked = get("/live/news/media.m3u8?_HLS_msn=7");
    (blocked.held, blocked.channel) = (true, Some(Arc::clone(&channel)));
    let asking = {
        let (group, blocked) = (Arc::clone(&group), blocked.clone());
        tokio::spawn(async move { whole(&group, &blocked).await })
    };
    still.until(|still| still.asked().len() == 1).await;
    let origin = group.id_of(&still.url()).unwrap();
    group.stalled(origin, &channel, Stall::StandsStill);
    assert_eq!(asking.await.unwrap(), (200, b"playlist".to_vec()));
    assert_eq!(group.state().origins[0].stalled, ["news"]);
    group.advancing(origin, &channel);
    assert!(group.stalls().is_empty());
}

#[tokio::test]
async fn settings_that_are_of_no_use_are_told() {
    let new = |upstream: &Upstream| {
        headwater_shield::upstream::Group::new("main", upstream, None, &Default::default()).unwrap_err()
    };
    assert!(matches!(new(&upstream(&[])), Invalid::Empty { .. }));
    assert!(matches!(new(&upstream(&["ftp://a".into()])), Invalid::Address { .. }));
    assert!(matches!(new(&upstream(&["here".into()])), Invalid::Elsewhere { .. }));
    assert!(matches!(new(&upstream(&["http://a".into(), "http://a".into()])), Invalid::Twice { .. }));
    let odd = |change: fn(&mut Upstream)| {
        let mut upstream = upstream(&["http://a".into()]);
        change(&mut upstream);
        new(&upstream).to_string()
    };
    assert!(odd(|u| u.connections_max = 0).contains("connections_max"));
    assert!(odd(|u| u.host = Some("a/b".into())).contains("a/b"));
    assert!(odd(|u| u.health_path = "healthz".into()).contains("health_path"));
    assert!(odd(|u| u.key = Some(String::new())).contains("key"));
    assert!(odd(|u| (u.origins, u.ca) = (vec!["https://a".into()], Some("none.pem".into()))).contains("none.pem"));
}
