// SPDX-License-Identifier: Apache-2.0
//! Shields beside each other: a key is fetched once by all of them, and none ever waits for one that waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use headwater_net::Shutdown;
use headwater_shield::config::{self, Upstream};
use headwater_shield::upstream::{Arrival, Ask, Group, Identity, Siblings};
use http::uri::PathAndQuery;
use http::{HeaderMap, Request, Response, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::script::{Asked, DEADLINE, Origin, Step, get, group, ok, read_all, refusing, upstream};

/// As little of a shield as siblings need: it keeps nothing, and asks whom it must.
struct Shield {
    identity: Identity,
    siblings: Arc<Siblings>,
    origins: Arc<Group>,
    by_siblings: AtomicUsize,
    looped: AtomicUsize,
    visited: Notify,
}

impl Shield {
    async fn answer(self: Arc<Self>, request: Request<Body>) -> Response<Body> {
        let (parts, _) = request.into_parts();
        if self.identity.has_seen(&parts.headers) {
            self.looped.fetch_add(1, Ordering::SeqCst);
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::LOOP_DETECTED;
            return response;
        }
        let target = parts.uri.into_parts().path_and_query.unwrap();
        let key = target.as_str().as_bytes().to_owned();
        let arrival = self.siblings.arrival(&parts.method, &target, &parts.headers);
        let _visit = (arrival == Arrival::Sibling).then(|| {
            self.by_siblings.fetch_add(1, Ordering::SeqCst);
            self.siblings.visit(&key)
        });
        self.visited.notify_waiters();
        let ask = Ask { headers: parts.headers, ..Ask::get(target) };
        let mut answered = None;
        if arrival != Arrival::Sibling {
            answered = self.siblings.ask(&key, &ask).await;
        }
        let mut answer = match answered {
            Some(answer) => answer,
            None => self.origins.ask(&ask).await.unwrap(),
        };
        let (body, _) = read_all(&mut answer).await;
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = answer.head.status;
        response
    }
}

/// A listener to be, so that shields can name each other before they run.
async fn place() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

fn settings(own: &str, others: &[&str]) -> config::Siblings {
    config::Siblings {
        own: Some(own.to_owned()),
        others: others.iter().map(|other| (*other).to_owned()).collect(),
        key: Some("shared".to_owned()),
        ..config::Siblings::default()
    }
}

fn run(listener: TcpListener, siblings: &config::Siblings, origin: &str) -> Arc<Shield> {
    let identity = Identity::new();
    let upstream = Upstream { first_byte_ms: 20_000, ..upstream(&[origin.to_owned()]) };
    let shield = Arc::new(Shield {
        siblings: Siblings::new(siblings, &identity).unwrap(),
        origins: Group::new("main", &upstream, None, &identity).unwrap(),
        identity,
        by_siblings: AtomicUsize::new(0),
        looped: AtomicUsize::new(0),
        visited: Notify::new(),
    });
    let serving = Arc::clone(&shield);
    let router = Router::new().fallback(move |request| Arc::clone(&serving).answer(request));
    tokio::spawn(async move { axum::serve(listener, router).await });
    shield
}

async fn fetch(shield: &str, target: &str) -> (u16, Vec<u8>) {
    let group = group(&Upstream { first_byte_ms: 20_000, hedge_ms: 0, ..upstream(&[shield.to_owned()]) });
    let ask = Ask::get(PathAndQuery::try_from(target).unwrap());
    let fetch = async {
        let mut answer = group.ask(&ask).await.unwrap();
        (answer.head.status.as_u16(), read_all(&mut answer).await.0)
    };
    tokio::time::timeout(DEADLINE, fetch).await.expect("nobody waits for ever")
}

#[tokio::test]
async fn a_key_is_asked_of_the_shield_it_belongs_to_and_goes_no_further() {
    let origin = Origin::start(|_| ok(b"bytes")).await;
    let ((at_a, a), (at_b, b), (at_c, c)) = (place().await, place().await, place().await);
    let shields = [
        run(at_a, &settings(&a, &[&b, &c]), &origin.url()),
        run(at_b, &settings(&b, &[&a, &c]), &origin.url()),
        run(at_c, &settings(&c, &[&a, &b]), &origin.url()),
    ];
    for number in 0..60 {
        for url in [&a, &b, &c] {
            assert_eq!(fetch(url, &format!("/live/{number}")).await, (200, b"bytes".to_vec()));
        }
    }
    let hops: usize = shields.iter().map(|shield| shield.by_siblings.load(Ordering::SeqCst)).sum();
    assert_eq!(hops, 120, "each key is one shield's own and comes to it from the two others");
    let asked = origin.asked();
    assert_eq!(asked.len(), 180);
    // The client is one here too.
    let passed = |asked: &Asked| asked.fields("cdn-loop").len();
    assert!(asked.iter().all(|asked| passed(asked) <= 3 && asked.field("headwater-hop").is_none()));
    // The same key is always fetched by the same shield.
    let last = |asked: &Asked| asked.fields("cdn-loop").last().map(|name| (*name).to_owned());
    for three in asked.chunks(3) {
        assert!(three.iter().all(|asked| last(asked) == last(&three[0])), "{three:?}");
    }
}

#[tokio::test]
async fn two_shields_that_each_think_a_key_is_the_others_do_not_wait_for_each_other() {
    let told = Arc::new(Notify::new());
    let origin = Origin::start(|_| ok(b"bytes")).await;
    let ((at_a, a), (at_b, b), (_, ghost)) = (place().await, place().await, place().await);
    // Each is told another own address than the one it is known by, so that for some keys each sees the other as owner.
    let patient = |own: &str, other: &str| config::Siblings { wait_ms: 60_000, ..settings(own, &[other]) };
    let first = run(at_a, &patient(&ghost, &b), &origin.url());
    let second = run(at_b, &patient(&format!("{ghost}1"), &a), &origin.url());
    told.notify_one();
    for number in 0..50 {
        let target = format!("/live/{number}");
        let (one, other) = tokio::join!(fetch(&a, &target), fetch(&b, &target));
        assert_eq!((one.0, other.0), (200, 200));
    }
    assert!(first.by_siblings.load(Ordering::SeqCst) > 0 && second.by_siblings.load(Ordering::SeqCst) > 0);
}

#[tokio::test]
async fn a_shield_that_waits_for_a_sibling_stops_when_that_one_comes_for_the_same_key() {
    // The sibling never answers; it is what comes from it that ends the wait.
    let silent = Origin::start(|_| vec![Step::Hang]).await;
    let origin = Origin::start(|_| ok(b"bytes")).await;
    let (at_a, a) = place().await;
    let config = config::Siblings { wait_ms: 60_000, ..settings(&a, &[&silent.url()]) };
    let shield = run(at_a, &config, &origin.url());
    let key = (0..).map(|number| format!("/live/{number}")).find(|key| owned_by_other(&config, key)).unwrap();
    let (url, target) = (a.clone(), key.clone());
    let asking = tokio::spawn(async move { fetch(&url, &target).await });
    silent.until(|silent| silent.asked().len() == 1).await;
    let visit = shield.siblings.visit(key.as_bytes());
    assert_eq!(asking.await.unwrap(), (200, b"bytes".to_vec()));
    drop(visit);
}

/// True if a shield of this configuration asks its sibling for `key`.
fn owned_by_other(config: &config::Siblings, key: &str) -> bool {
    let siblings = Siblings::new(config, &Identity::new()).unwrap();
    siblings.belongs_to(key.as_bytes()).is_some()
}

#[tokio::test]
async fn a_sibling_that_is_dead_or_hangs_is_skipped() {
    let origin = Origin::start(|_| ok(b"bytes")).await;
    let hangs = Origin::start_all(|_| vec![Step::Hang]).await;
    let (at_a, a) = place().await;
    let config = config::Siblings { wait_ms: 50, ..settings(&a, &[&refusing().await, &hangs.url()]) };
    let shield = run(at_a, &config, &origin.url());
    for number in 0..40 {
        assert_eq!(fetch(&a, &format!("/live/{number}")).await, (200, b"bytes".to_vec()));
    }
    let siblings = shield.siblings.state().origins;
    assert!(
        siblings.iter().all(|sibling| !sibling.up && sibling.requests == 2),
        "two in vain take one down: {siblings:?}"
    );
    assert_eq!(origin.asked().len(), 40);
}

#[tokio::test]
async fn a_held_request_waits_for_its_sibling_as_long_as_that_lives() {
    let holds = Origin::start_all(|_| vec![Step::Hang]).await;
    let (_, a) = place().await;
    let config = settings(&a, &[&holds.url()]);
    let siblings = Siblings::new(&config, &Identity::new()).unwrap();
    let key = (0..).map(|number| format!("/live/{number}")).find(|key| owned_by_other(&config, key)).unwrap();
    let asking = {
        let siblings = Arc::clone(&siblings);
        tokio::spawn(async move {
            let held = Ask { held: true, ..get("/live/media.m3u8") };
            siblings.ask(key.as_bytes(), &held).await.is_none()
        })
    };
    holds.until(|holds| holds.asked().len() == 1).await;
    // Its checks are not answered either.
    tokio::spawn(Arc::clone(&siblings).run(Shutdown::new()));
    assert!(tokio::time::timeout(DEADLINE, asking).await.unwrap().unwrap());
}

#[tokio::test]
async fn a_request_that_comes_back_to_its_shield_is_refused() {
    // The shield's origin is the shield itself.
    let (at_a, a) = place().await;
    let shield = run(at_a, &config::Siblings::default(), &a);
    assert_eq!(fetch(&a, "/live/a").await.0, 508);
    assert_eq!(shield.looped.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn siblings_need_a_name_and_a_key() {
    let new = |config: &config::Siblings| Siblings::new(config, &Identity::new()).map(|_| ()).unwrap_err().to_string();
    let whole = settings("http://a", &["http://b"]);
    assert!(new(&config::Siblings { own: None, ..whole.clone() }).contains("siblings.own"));
    assert!(new(&config::Siblings { key: None, ..whole.clone() }).contains("siblings.key"));
    assert!(new(&config::Siblings { others: vec!["b".into()], ..whole.clone() }).contains("\"b\""));
    assert!(new(&config::Siblings { others: vec!["http://A:80".into()], ..whole }).contains("once"));
    let alone = Siblings::new(&config::Siblings::default(), &Identity::new()).unwrap();
    assert!(alone.ask(b"key", &get("/live/a")).await.is_none());
    let arrival = alone.arrival(&http::Method::GET, &PathAndQuery::from_static("/"), &HeaderMap::new());
    assert_eq!(arrival, Arrival::Edge);
}
