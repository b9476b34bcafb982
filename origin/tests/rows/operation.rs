// SPDX-License-Identifier: Apache-2.0
//! What an operator does to a running origin: channels made and changed by the API, keys rotated, configurations reloaded.

use std::collections::BTreeMap;

use headwater_net::listener::Connection;
use headwater_origin::{Clock, Config, config};
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::encoder::{Encoder, Push, Source, at};
use crate::stage::{BASE, CHANNEL, Stage, folder, millis, request, seconds, settings, settle};

fn config(stage: &Stage) -> Config {
    (*stage.origin.config()).clone()
}

/// What a push of nothing to a channel is told.
async fn knock(stage: &Stage, channel: &str, key: &str) -> StatusCode {
    stage.ask(request(Method::PUT, &format!("/ingest/{channel}/v0.cmfv?token={key}"), &[])).await.status
}

#[tokio::test(start_paused = true)]
async fn a_channel_is_made_changed_and_deleted_while_the_origin_runs() {
    let stage = Stage::new();
    let (status, made) = stage.change(Method::PUT, "channels/sport", r#"{"segment_ms":1000,"keys":["k"]}"#).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    assert_eq!(
        (&made["source"], &made["kept"], &made["settings"]["segment_ms"]),
        (&json!("api"), &json!(false), &json!(1_000))
    );
    assert!(!made.to_string().contains("\"k\""), "keys are told by their ids: {made}");
    let (status, again) = stage.change(Method::PUT, "channels/sport", r#"{"segment_ms":1000}"#).await;
    assert_eq!((status, &again["settings"]["keys"]), (StatusCode::OK, &json!([])));
    let (status, patched) =
        stage.change(Method::PATCH, "channels/sport", r#"{"latency_ms":3000,"cadence":false}"#).await;
    assert_eq!((status, &patched["settings"]["latency_ms"]), (StatusCode::OK, &json!(3_000)));
    let (_, back) = stage.change(Method::PATCH, "channels/sport", r#"{"latency_ms":null}"#).await;
    assert_eq!((&back["settings"]["latency_ms"], &back["settings"]["cadence"]), (&json!(0), &json!(false)));
    let (status, gone) = stage.change(Method::DELETE, "channels/sport", "").await;
    assert_eq!((status, gone), (StatusCode::OK, json!({ "id": "sport", "state": "deleted" })));
    assert_eq!(stage.get("/api/v1/channels/sport").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_is_refused_with_what_was_expected() {
    let stage = Stage::new();
    stage.change(Method::PUT, "channels/sport", "").await;
    let long = format!("{{\"keys\":[\"{}\"]}}", "k".repeat(70_000));
    for (method, path, body, status, words) in [
        (Method::PUT, "channels/a", r#"{"segmentms":1}"#, 400, "did you mean `segment_ms`?"),
        (Method::PUT, "channels/a", r#"{"segment_ms":1}"#, 400, "expected 200 to 20000 milliseconds"),
        (Method::PUT, "channels/a", r#"{"segment_ms":"x"}"#, 400, "segment_ms: invalid type"),
        (Method::PUT, "channels/a", "[]", 400, "expected a JSON object"),
        (Method::PUT, "channels/a", "{", 400, "expected a JSON object"),
        (Method::PUT, "channels/a", &long, 413, "at most 65536 bytes"),
        (Method::PUT, "channels/.a", "", 400, "expected"),
        (Method::PUT, "channels/news", "", 409, "is in the configuration"),
        (Method::PATCH, "channels/news", "{}", 409, "is in the configuration"),
        (Method::POST, "channels/news/keys", "", 409, "is in the configuration"),
        (Method::PATCH, "channels/sport", r#"{"part_ms":100}"#, 409, "expected part_ms to stay 200"),
        (Method::PATCH, "channels/sport", r#"{"wndow_seconds":null}"#, 400, "did you mean `window_seconds`?"),
        (Method::PATCH, "channels/none", "{}", 404, "none called \"none\""),
        (Method::DELETE, "channels/none", "", 404, "none called \"none\""),
        (Method::DELETE, "channels/sport/keys/abc", "", 404, "the id of one of the channel's keys"),
        (Method::POST, "reload", "", 409, "started without"),
    ] {
        let (found, told) = stage.change(method.clone(), path, body).await;
        let error = told["error"].as_str().unwrap_or_default();
        assert!(found.as_u16() == status && error.contains(words), "{method} {path} {found}: {error}");
    }
    assert_eq!(stage.origin.channels().len(), 2, "nothing was made");
}

#[tokio::test(start_paused = true)]
async fn channels_of_the_api_survive_a_restart_and_those_of_the_file_win() {
    let dir = folder("made-by-the-api");
    let stage = Stage::at(settings(), Clock::starting_at(BASE), Some(&dir));
    for name in ["one", "two"] {
        let (status, made) = stage.change(Method::PUT, &format!("channels/{name}"), r#"{"keys":["k"]}"#).await;
        assert_eq!((status, &made["kept"]), (StatusCode::CREATED, &json!(true)));
    }
    stage.change(Method::PATCH, "channels/one", r#"{"window_seconds":77}"#).await;
    stage.change(Method::DELETE, "channels/two", "").await;
    stage.stop().await;

    let stage = Stage::at(settings(), Clock::starting_at(BASE), Some(&dir));
    let one = stage.origin.channel("one").expect("kept");
    assert_eq!((one.settings().window_seconds, one.settings().keys.len()), (77, 1));
    assert!(stage.origin.channel("two").is_none());
    // The operator takes it into the file: the file's word counts, now and after the next restart.
    let mut config = config(&stage);
    config.channels.insert("one".to_owned(), config::Channel::default());
    let told = stage.origin.reload(config);
    assert!(told.changed.contains(&"channels.one.window_seconds".to_owned()), "{told:?}");
    assert_eq!(stage.change(Method::PATCH, "channels/one", "{}").await.0, StatusCode::CONFLICT);
    stage.stop().await;
    let stage = Stage::at(settings(), Clock::starting_at(BASE), Some(&dir));
    assert!(stage.origin.channel("one").is_none(), "nobody says so any more");
}

#[tokio::test(start_paused = true)]
async fn keys_rotate_one_by_one() {
    let stage = Stage::new();
    stage.change(Method::PUT, "channels/sport", r#"{"keys":["first"]}"#).await;
    let (status, new) = stage.change(Method::POST, "channels/sport/keys", "").await;
    assert_eq!(status, StatusCode::CREATED);
    let key = new["key"].as_str().expect("told once").to_owned();
    assert!(key.len() >= 32, "{key}");
    let (_, told) = stage.change(Method::GET, "channels/sport/keys", "").await;
    let ids: Vec<&Value> = told["keys"].as_array().expect("a list").iter().collect();
    assert!(ids.len() == 2 && ids.contains(&&new["id"]) && !told.to_string().contains(&key), "{told}");
    assert_eq!([knock(&stage, "sport", "first").await, knock(&stage, "sport", &key).await], [StatusCode::OK; 2]);
    let old = ids.into_iter().find(|id| **id != new["id"]).and_then(Value::as_str).expect("the first").to_owned();
    assert_eq!(stage.change(Method::DELETE, &format!("channels/sport/keys/{old}"), "").await.0, StatusCode::OK);
    assert_eq!(knock(&stage, "sport", "first").await, StatusCode::FORBIDDEN);
    assert_eq!(knock(&stage, "sport", &key).await, StatusCode::OK);
    let last = format!("channels/sport/keys/{}", new["id"].as_str().expect("an id"));
    let (status, refused) = stage.change(Method::DELETE, &last, "").await;
    assert_eq!(status, StatusCode::CONFLICT, "{refused}");
}

#[tokio::test(start_paused = true)]
async fn changes_are_for_this_machine_or_for_who_shows_a_token() {
    let stage = Stage::new();
    let put = |peer: Option<[u8; 4]>, token: Option<&str>| {
        let mut request = Request::put("/api/v1/channels/sport").header("host", "localhost");
        if let Some(peer) = peer {
            request = request.extension(Connection::new((peer, 9).into()));
        }
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        request.body(axum::body::Body::empty()).expect("a request")
    };
    for peer in [None, Some([10, 0, 0, 1])] {
        let answer = stage.ask(put(peer, None)).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        assert!(answer.text().contains("expected a request from this machine"), "{}", answer.text());
        assert_eq!(stage.get("/api/v1/config").await.status, StatusCode::FORBIDDEN);
        assert_eq!(stage.get("/api/v1/channels").await.status, StatusCode::OK, "anybody may read states");
    }
    let mut config = config(&stage);
    config.api.tokens = vec!["old".to_owned(), "t0ken".to_owned()];
    config.channels.get_mut(CHANNEL).expect("a channel").keys = vec!["s3cret".to_owned()];
    stage.origin.reload(config);
    assert_eq!(stage.ask(put(Some([127, 0, 0, 1]), None)).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(stage.get("/api/v1/channels").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(stage.ask(put(Some([10, 0, 0, 1]), Some("wrong"))).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(stage.ask(put(Some([10, 0, 0, 1]), Some("t0ken"))).await.status, StatusCode::CREATED);
    for open in ["/metrics", "/healthz", "/readyz", "/time", "/api/v1/openapi.json", "/api/v1/"] {
        assert_eq!(stage.get(open).await.status, StatusCode::OK, "{open}");
    }
    let told = stage.get_with("/api/v1/config", &[("authorization", "Bearer old")]).await;
    assert_eq!(told.status, StatusCode::OK);
    assert!(!told.text().contains("t0ken") && !told.text().contains("s3cret"), "{}", told.text());
    assert!(told.text().contains("\"segment_ms\":2000"), "{}", told.text());
}

#[tokio::test(start_paused = true)]
async fn a_reload_puts_in_force_what_it_can_and_says_what_it_cannot() {
    let stage = Stage::new();
    let mut new = config(&stage);
    new.listen = ([127, 0, 0, 1], 1).into();
    new.channels_max = 7;
    new.channels.insert("added".to_owned(), config::Channel::default());
    let news = new.channels.get_mut(CHANNEL).expect("a channel");
    (news.segment_ms, news.keys) = (1_000, vec!["s3cret".to_owned()]);
    let told = stage.origin.reload(new.clone());
    assert_eq!(told.changed, ["channels.news.keys", "channels_max"]);
    assert_eq!((told.added.as_slice(), told.removed.len()), (&["added".to_owned()][..], 0));
    let kept: Vec<&str> = told.kept.iter().map(|kept| kept.key.as_str()).collect();
    assert_eq!(kept, ["listen", "channels.news.segment_ms"]);
    assert_eq!((config(&stage).channels_max, config(&stage).listen.port()), (7, 8080));
    let running = stage.origin.channel(CHANNEL).expect("it runs on").settings();
    assert_eq!((running.segment_ms, running.keys.len()), (2_000, 1));
    // Deleted and reloaded, as the answer said, the channel has what the file says; what is not in it ends.
    stage.change(Method::DELETE, "channels/news", "").await;
    new.channels.remove("added");
    let told = stage.origin.reload(new);
    assert_eq!((told.added, told.removed), (vec!["news".to_owned()], vec!["added".to_owned()]));
    assert_eq!(stage.origin.channel(CHANNEL).expect("it began anew").settings().segment_ms, 1_000);
    assert_eq!(
        stage.metrics("headwater_configuration_reloads").await,
        ["headwater_configuration_reloads_total{outcome=\"ok\"} 2"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_reload_loses_no_byte_of_a_push_and_no_waiter() {
    let (stage, untouched) = (Stage::new(), Stage::new());
    let mut encoder = Encoder::of(&stage, vec![Source::video("v0"), Source::audio("a0")]);
    encoder.connect(&untouched);
    encoder.until(at(9_100)).await;
    let (segment, part) = stage.media("v0").await.newest();
    let reload = format!("v0/media.m3u8?_HLS_msn={segment}&_HLS_part={}", part + 2);
    let (waiter, reader) = (stage.park(&reload), stage.park(&format!("v0/{segment}.m4s")));
    settle().await;
    let mut new = config(&stage);
    let news = new.channels.get_mut(CHANNEL).expect("a channel");
    (news.keys, news.window_seconds, news.latency_ms) = (vec!["another".to_owned()], 60, 2_000);
    stage.origin.reload(new);
    assert!(waiter.is_held() && reader.is_held());
    // The encoder showed the old key when its bodies began.
    encoder.until(at(20_100)).await;
    assert_eq!((waiter.answer().await.status, reader.answer().await.broken), (StatusCode::OK, false));
    assert_eq!(knock(&stage, CHANNEL, "").await, StatusCode::FORBIDDEN);
    for track in ["v0", "a0"] {
        for number in segment..segment + 5 {
            let path = format!("{track}/{number}.m4s");
            let (one, other) = (stage.get(&path).await, untouched.get(&path).await);
            assert_eq!((one.status, one.body), (StatusCode::OK, other.body), "{path}");
        }
    }
    assert_eq!(stage.waiters(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_window_is_lengthened_and_shortened_while_it_runs() {
    let channel = |window_seconds| config::Channel { window_seconds, ..settings() };
    let stage = Stage::with(channel(1));
    let mut encoder = Encoder::of(&stage, vec![Source::video("v0")]);
    let stored = async |stage: &Stage| {
        let line = stage.metrics("headwater_stored_bytes").await.pop().expect("a row");
        line.rsplit(' ').next().and_then(|bytes| bytes.parse::<f64>().ok()).expect("a number")
    };
    encoder.until(at(60_100)).await;
    assert_eq!(stage.media("v0").await.segments.len(), 6);
    let short = stored(&stage).await;
    let reload = |window_seconds| {
        let channels = BTreeMap::from([(CHANNEL.to_owned(), channel(window_seconds))]);
        stage.origin.reload(Config { channels, ..config(&stage) })
    };
    reload(80);
    encoder.until(at(120_100)).await;
    assert_eq!(stage.media("v0").await.segments.len(), 19);
    let named = stage.media("v0").await.segments[0].sequence;
    reload(1);
    encoder.until(at(130_100)).await;
    assert_eq!(stage.media("v0").await.segments.len(), 6);
    assert_eq!(
        stage.get(&format!("v0/{named}.m4s")).await.status,
        StatusCode::OK,
        "a playlist that named it may be held"
    );
    encoder.until(at(240_100)).await;
    let again = stored(&stage).await / short;
    assert!((0.99..1.01).contains(&again), "what nobody can name any more is let go: {again} of before");
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_its_encoder_left_is_removed_with_its_rows() {
    let stage = Stage::new();
    let (channels_from_push, defaults) = (true, config::Channel { window_seconds: 60, ..settings() });
    let new = Config { channels_from_push, channels_idle_seconds: 10, channels_max: 2, defaults, ..config(&stage) };
    stage.origin.reload(new);
    let mut encoder = Encoder::from(stage.clock, BASE, vec![Source::video("v0")]);
    let push = |name: &str| Push::to(stage.router(), name, "v0");
    let (one, refused) = (push("one"), push("two"));
    settle().await;
    assert_eq!(refused.finish().await, StatusCode::SERVICE_UNAVAILABLE, "at the bound of channels");
    encoder.attach(one);
    encoder.until(at(5_000)).await;
    assert!(!stage.metrics("headwater_parts_total{channel=\"one\"").await.is_empty());
    assert_eq!(encoder.finish().await, [StatusCode::OK]);
    tokio::time::sleep(seconds(50)).await;
    assert!(stage.origin.channel("one").is_some(), "its window has not passed");
    tokio::time::sleep(seconds(30)).await;
    assert!(stage.origin.channel("one").is_none(), "left for 80 s");
    let text = stage.get("/metrics").await.text();
    assert!(!text.contains("\"one\""), "{text}");
    assert!(stage.origin.channel(CHANNEL).is_some(), "one of the file is waited for");
    let two = push("two");
    tokio::time::sleep(millis(5)).await;
    assert_eq!(two.finish().await, StatusCode::OK, "there is room again");
}
