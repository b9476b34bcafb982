// SPDX-License-Identifier: Apache-2.0
//! The origin's lock: with shields' keys it answers its shields, and nobody else.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use headwater_net::listener::Connection;
use headwater_net::signature::{HEADER, Key};
use headwater_origin::Config;
use headwater_origin::config::Shields;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use tower::ServiceExt;

use crate::encoder::{Encoder, Source, at};
use crate::stage::{CHANNEL, Stage, request, seconds, settings};

fn locked(keys: &[&str]) -> Config {
    Config { shields: Shields { keys: keys.iter().map(|key| (*key).to_owned()).collect() }, ..Config::default() }
}

/// What a client of the listener gets.
async fn ask(stage: &Stage, certified: bool, request: Request<Body>) -> (StatusCode, String) {
    let mut connection = Connection::new(([192, 0, 2, 1], 9).into());
    connection.certified = certified;
    let service = Arc::clone(&stage.origin).service(Router::new())(connection);
    let Ok(response) = service.oneshot(request).await;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    (parts.status, String::from_utf8_lossy(&body).into_owned())
}

fn moment(stage: &Stage, offset: Duration) -> SystemTime {
    let now = u64::try_from(stage.now().millis()).expect("after 1970");
    UNIX_EPOCH + Duration::from_millis(now) + offset
}

fn signed(key: &str, method: Method, target: &str, now: SystemTime) -> Request<Body> {
    let mut request = request(method.clone(), target, &[]);
    request.headers_mut().insert(HEADER, Key::new(key).sign(&method, target, now));
    request
}

async fn live(config: Config) -> Stage {
    let stage = Stage::configured(config, settings());
    let mut encoder = Encoder::of(&stage, vec![Source::video("v0"), Source::audio("a0")]);
    encoder.until(at(5_100)).await;
    stage
}

fn playlist() -> String {
    format!("/live/{CHANNEL}/v0/media.m3u8")
}

#[tokio::test(start_paused = true)]
async fn a_locked_origin_answers_who_signs_with_one_of_its_keys() {
    let stage = live(locked(&["new", "old"])).await;
    let target = playlist();
    for key in ["new", "old"] {
        let (status, body) = ask(&stage, false, signed(key, Method::GET, &target, moment(&stage, seconds(0)))).await;
        assert_eq!(status, StatusCode::OK);
        assert!(body.starts_with("#EXTM3U"), "{body}");
    }
    let time = signed("new", Method::GET, "/time", moment(&stage, seconds(0)));
    assert_eq!(ask(&stage, false, time).await.0, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn everybody_else_is_refused_before_anything_is_looked_up_and_counted() {
    let stage = live(locked(&["secret"])).await;
    let (target, now) = (playlist(), moment(&stage, seconds(0)));
    let refused = [
        request(Method::GET, &target, &[]),
        request(Method::GET, "/live/no-such-channel/v0/media.m3u8", &[]),
        request(Method::OPTIONS, &target, &[]),
        request(Method::GET, "/time", &[]),
        signed("other", Method::GET, &target, now),
        signed("secret", Method::GET, &target, moment(&stage, seconds(61))),
        {
            let mut other = signed("secret", Method::GET, &target, now);
            *other.uri_mut() = format!("/live/{CHANNEL}/a0/media.m3u8").parse().expect("a path");
            other
        },
    ];
    let count = refused.len();
    for request in refused {
        let told = format!("{request:?}");
        let (status, body) = ask(&stage, false, request).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{told}");
        assert!(body.starts_with("expected "), "{body}");
    }
    assert_eq!(stage.origin.tally().refused(), [("unsigned", count as u64)]);
}

#[tokio::test(start_paused = true)]
async fn a_certificate_will_do_and_what_is_not_for_viewers_is_open_as_before() {
    let stage = live(locked(&["secret"])).await;
    assert_eq!(ask(&stage, true, request(Method::GET, &playlist(), &[])).await.0, StatusCode::OK);
    for open in ["/healthz", "/readyz", "/metrics", "/api/v1/channels"] {
        assert_eq!(ask(&stage, false, request(Method::GET, open, &[])).await.0, StatusCode::OK, "{open}");
    }
    // A shield in this process asks the routes.
    let routes = stage.ask(request(Method::GET, &playlist(), &[])).await;
    assert_eq!(routes.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn the_lock_is_put_on_and_taken_off_by_a_reload() {
    let stage = live(Config::default()).await;
    assert_eq!(ask(&stage, false, request(Method::GET, &playlist(), &[])).await.0, StatusCode::OK);
    let config = |keys: &[&str]| {
        let channels = stage.origin.config().channels.clone();
        Config { channels, ..locked(keys) }
    };
    let told = stage.origin.reload(config(&["secret"]));
    assert!(told.changed.contains(&"shields.keys".to_owned()), "{told:?}");
    assert_eq!(ask(&stage, false, request(Method::GET, &playlist(), &[])).await.0, StatusCode::FORBIDDEN);
    stage.origin.reload(config(&[]));
    assert_eq!(ask(&stage, false, request(Method::GET, &playlist(), &[])).await.0, StatusCode::OK);
}

#[test]
fn an_empty_key_is_no_key() {
    let error = Config::parse("[shields]\nkeys = [\"\"]\n").unwrap_err().to_string();
    assert!(error.contains("shields.keys"), "{error}");
}
