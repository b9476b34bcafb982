// SPDX-License-Identifier: Apache-2.0
//! What an operator does to a shield that serves: looks, purges, takes origins out, changes the configuration.

use headwater_net::config::Configuration;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Origin, Shielded, config};

const LASTING: &str = "cache-control: max-age=600\r\n";

/// An origin whose every answer lasts and says the path and `name`.
async fn lasting(name: &'static str) -> Origin {
    Origin::start(move |seen, mut wire| async move {
        let fields = format!("{LASTING}cache-tag: all, {name}\r\n");
        wire.answer("200 OK", &fields, format!("{name} {}", seen.target)).await
    })
    .await
}

/// POST as somebody on this machine does, with `fields` more: the status, and the body as JSON.
pub(crate) async fn post(shield: &Shielded, path: &str, fields: &str, body: &Value) -> (u16, Value) {
    let mut stream = TcpStream::connect(shield.address).await.expect("a listening shield");
    let body = body.to_string();
    let request = format!(
        "POST /.headwater/api/v1/{path} HTTP/1.1\r\nhost: {}\r\n{fields}content-length: {}\r\nconnection: close\r\n\r\n{body}",
        shield.address,
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("a request sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}")))
}

async fn json(shield: &Shielded, path: &str) -> Value {
    let got = shield.get(&format!("/.headwater/api/v1/{path}")).await;
    serde_json::from_slice(&got.body).unwrap_or_else(|error| panic!("{error}: {}", got.text()))
}

#[tokio::test]
async fn a_purge_is_in_force_when_it_is_answered_and_reaches_what_it_names_alone() {
    let origin = lasting("a").await;
    let shield = Shielded::of(&origin).await;
    for (wish, gone, stays) in [
        (json!({"url": "http://live.example/one/1"}), vec!["/one/1"], vec!["/one/2", "/two/1"]),
        (json!({"prefix": "http://live.example/one/"}), vec!["/one/1", "/one/2"], vec!["/two/1"]),
        (json!({"tag": "all"}), vec!["/one/1", "/one/2", "/two/1"], vec![]),
        (json!({"tag": "all", "tenant": "another"}), vec![], vec!["/one/1", "/one/2", "/two/1"]),
    ] {
        for target in ["/one/1", "/one/2", "/two/1"] {
            shield.get(target).await;
        }
        let before = |target: &str| origin.count(target);
        let asked: Vec<usize> = gone.iter().chain(&stays).map(|target| before(target)).collect();
        let (status, answer) = post(&shield, "purge", "", &wish).await;
        assert_eq!((status, &answer["objects"]), (200, &json!(gone.len())), "{wish}");
        for (target, asked) in gone.iter().chain(&stays).zip(asked) {
            shield.get(target).await;
            let again = usize::from(gone.contains(target));
            assert_eq!(origin.count(target), asked + again, "{wish}: {target}");
        }
    }
}

#[tokio::test]
async fn what_is_purged_softly_is_held_and_stale() {
    let origin = lasting("a").await;
    let shield = Shielded::of(&origin).await;
    shield.get("/one").await;
    let held = json(&shield, "object?url=http://live.example/one").await;
    let answer = &held["answers"][0];
    assert_eq!(
        (&answer["status"], &answer["origin"], &answer["whole"]),
        (&json!(200), &json!(origin.url()), &json!(true))
    );
    assert!(answer["fresh_ms"].as_u64().unwrap() > 500_000 && answer["stale_ms"].is_null(), "{held}");
    let (status, answer) = post(&shield, "purge", "", &json!({"url": "http://live.example/one", "soft": true})).await;
    assert_eq!((status, &answer["objects"]), (200, &json!(1)));
    let held = json(&shield, "object?url=http://live.example/one").await;
    assert!(held["answers"][0]["fresh_ms"].is_null(), "{held}");
}

#[tokio::test]
async fn a_wish_that_is_none_is_refused_with_what_was_expected() {
    let origin = lasting("a").await;
    let shield = Shielded::of(&origin).await;
    for (wish, status, words) in [
        (json!({}), 400, "expected one of url, prefix and tag"),
        (json!({"url": "/one"}), 400, "expected a whole URL"),
        (json!({"url": "http://a.example/", "tag": "b"}), 400, "expected one of"),
        (json!({"prefix": "http://a.example/", "tenant": "b"}), 400, "expected a tag beside the tenant"),
        (json!({"ulr": "b"}), 400, "unknown field `ulr`"),
        (json!([1]), 400, "expected a JSON object"),
    ] {
        let (got, answer) = post(&shield, "purge", "", &wish).await;
        assert_eq!(got, status, "{wish}");
        assert!(answer["error"].as_str().unwrap().contains(words), "{wish}: {answer}");
    }
    let (status, answer) = post(&shield, "upstreams/main/drain", "", &json!({"origin": "http://no.example"})).await;
    assert!(status == 404 && answer["error"].as_str().unwrap().contains("an origin of main"), "{answer}");
    assert_eq!(post(&shield, "upstreams/no/drain", "", &json!({"origin": "here"})).await.0, 404);
    let (status, answer) = post(&shield, "reload", "", &json!({})).await;
    assert!(status == 409 && answer["error"].as_str().unwrap().contains("without"), "{answer}");
}

#[tokio::test]
async fn an_origin_that_is_drained_is_asked_no_more_until_it_is_put_back() {
    let (first, second) = (lasting("first").await, lasting("second").await);
    let shield = Shielded::start(config(&[&first, &second], "", "")).await;
    assert!(shield.get("/1").await.text().starts_with("first"));
    let which = json!({"origin": first.url()});
    let (status, state) = post(&shield, "upstreams/main/drain", "", &which).await;
    assert_eq!((status, &state["origins"][0]["up"]), (200, &json!(false)));
    assert_eq!(state["origins"][0]["reason"], "drained by the operator");
    for n in 2..6 {
        assert!(shield.get(&format!("/{n}")).await.text().starts_with("second"));
    }
    assert_eq!(first.seen().len(), 1);
    assert_eq!(shield.get("/.headwater/readyz").await.status, 200);
    post(&shield, "upstreams/main/drain", "", &json!({"origin": second.url()})).await;
    let ready = shield.get("/.headwater/readyz").await;
    assert_eq!((ready.status.as_u16(), ready.text()), (503, "every origin of main is down\n"));
    // One that answers is better than none.
    assert_eq!(shield.get("/6").await.status, 200);
    post(&shield, "upstreams/main/undrain", "", &which).await;
    let state = json(&shield, "state").await;
    assert_eq!(state["upstreams"][0]["origins"][0]["up"], true);
    assert_eq!(state["upstreams"][0]["origins"][1]["up"], false);
}

#[tokio::test]
async fn only_whoever_works_on_this_machine_or_has_a_token_changes_anything() {
    let origin = lasting("a").await;
    let shield = Shielded::of(&origin).await;
    let wish = json!({"tag": "all"});
    for fields in ["x-forwarded-for: 192.0.2.1\r\n", "via: 1.1 edge\r\n", "origin: https://evil.example\r\n"] {
        assert_eq!(post(&shield, "purge", fields, &wish).await.0, 403, "{fields}");
    }
    let shield = Shielded::start(config(&[&origin], "", "api = { tokens = [\"s3cret\"] }")).await;
    assert_eq!(post(&shield, "purge", "", &wish).await.0, 401);
    assert_eq!(post(&shield, "purge", "authorization: Bearer s3cret\r\nvia: 1.1 edge\r\n", &wish).await.0, 200);
    assert_eq!(shield.get("/.headwater/api/v1/state").await.status, 401);
    assert_eq!(shield.get("/.headwater/healthz").await.status, 200);
}

#[tokio::test]
async fn what_is_the_shields_own_is_in_no_origins_way() {
    let origin = lasting("a").await;
    let shield = Shielded::of(&origin).await;
    for target in ["/api/v1/state", "/metrics", "/healthy", "/.headwaters/x", "/.well-known/x"] {
        assert_eq!(shield.get(target).await.text(), format!("a {target}"));
    }
    assert_eq!(shield.get("/.headwater/nothing").await.status, 404);
    assert!(shield.get("/.headwater/api/v1/openapi.json").await.text().contains("\"openapi\": \"3.1"));
    // With a listener of its own it is not on this one.
    let elsewhere = Shielded::start(config(&[&origin], "", "admin_listen = \"127.0.0.1:0\"")).await;
    assert_eq!(elsewhere.get("/.headwater/healthz").await.text(), "a /.headwater/healthz");
}

#[tokio::test]
async fn a_reload_under_load_fails_no_request_and_keeps_what_is_held() {
    let (first, second) = (lasting("first").await, lasting("second").await);
    let shield = Shielded::start(config(&[&first], "", "")).await;
    shield.get("/kept").await;
    let asking = |from: usize| {
        let shield = &shield;
        async move {
            for n in from..from + 40 {
                assert_eq!(shield.get(&format!("/{n}")).await.status, 200);
                assert_eq!(shield.get("/kept").await.text(), "first /kept");
            }
        }
    };
    let reloading = async {
        for turn in 0..20 {
            let origins = if turn % 2 == 0 { vec![&second, &first] } else { vec![&first] };
            let mut new = config(&origins, &format!("fall = {}", 2 + turn), "");
            new.cache.memory_bytes_max = (64 + turn) << 20;
            new.check().unwrap();
            let told = shield.shield.reload(new).unwrap();
            assert!(told.changed.contains(&"cache.memory_bytes_max".to_owned()), "{told:?}");
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(asking(0), asking(1_000), reloading, asking(2_000));
    assert_eq!(first.count("/kept") + second.count("/kept"), 1);
}

#[tokio::test]
async fn a_reload_says_what_it_could_not_change_and_one_that_is_wrong_changes_nothing() {
    let origin = lasting("a").await;
    let shield = Shielded::of(&origin).await;
    let mut new = config(&[&origin], "", "");
    new.listen = "127.0.0.1:1".parse().unwrap();
    new.http.idle_seconds = 7;
    new.cache.negative_ms = 1;
    let told = shield.shield.reload(new).unwrap();
    assert_eq!(told.changed, ["cache.negative_ms"]);
    let kept: Vec<&str> = told.kept.iter().map(|kept| kept.key.as_str()).collect();
    assert_eq!(kept, ["listen", "http.idle_seconds"]);
    let mut wrong = config(&[&origin], "", "");
    wrong.upstreams.get_mut("main").unwrap().ca = Some("/no/such/file.pem".into());
    wrong.upstreams.get_mut("main").unwrap().origins = vec!["https://a.example".to_owned()];
    wrong.cache.negative_ms = 2;
    assert!(shield.shield.reload(wrong).is_err());
    assert_eq!(shield.shield.config().cache.negative_ms, 1);
    assert_eq!(shield.get("/after").await.status, 200);
}

#[tokio::test]
async fn what_became_of_each_request_is_counted_and_logged() {
    let origin = Origin::start(|seen, mut wire| async move {
        match seen.target.as_str() {
            "/live/news/v0/1.m4s" => wire.answer("200 OK", LASTING, "segment").await,
            _ => wire.answer("404 Not Found", "cache-control: no-store\r\n", "none").await,
        }
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let shield = Shielded::start(config(&[&origin], "", &format!("access_log = {file:?}"))).await;
    for _ in 0..3 {
        shield.ask("/live/news/v0/1.m4s", &[("user-agent", "an \"edge\"")]).await;
    }
    shield.get("/nothing").await;
    let metrics = shield.get("/.headwater/metrics").await;
    for row in [
        "responses_total{route=\"all\",class=\"segment\",status=\"200\",outcome=\"miss\"} 1\n",
        "responses_total{route=\"all\",class=\"segment\",status=\"200\",outcome=\"hit\"} 2\n",
        "response_bytes_total{route=\"all\",class=\"segment\"} 21\n",
        "channel_hits_total{tenant=\"all\",channel=\"news\"} 2\n",
        "channel_misses_total{tenant=\"all\",channel=\"news\"} 1\n",
        "channel_origin_requests_total{tenant=\"all\",channel=\"news\"} 1\n",
        "fills_total{upstream=\"main\",outcome=\"stored\"} 1\n",
        "fills_total{upstream=\"main\",outcome=\"uncacheable\"} 1\n",
        "fill_bytes_total{upstream=\"main\"} 7\n",
        "fill_first_byte_seconds_count{upstream=\"main\"} 2\n",
        "filling 0\n",
    ] {
        assert!(metrics.text().contains(&format!("headwater_shield_{row}")), "{row} is not in\n{}", metrics.text());
    }
    shield.shield.close_log();
    let log = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 4, "{log}");
    assert!(
        lines[0].contains("\"GET /live/news/v0/1.m4s HTTP/1.1\" 200 7 \"-\" \"an \\x22edge\\x22\" cache=miss"),
        "{log}"
    );
    assert!(
        lines[1].contains(" cache=hit route=\"all\" upstream=\"-\" channel=\"news\" ")
            && lines[1].ends_with("end=whole")
    );
    assert!(lines[3].contains(" 404 4 ") && lines[3].contains(&format!("upstream=\"{}\"", origin.url())), "{log}");
}
