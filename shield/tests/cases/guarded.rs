// SPDX-License-Identifier: Apache-2.0
//! Who may have what is held: signed URLs are looked at on each hit, tenants see their own alone, and whoever asks for
//! too much is told so.

use headwater_shield::Config;
use headwater_shield::guard::token;

use crate::harness::{Origin, Shielded, Wire};

const LIFE: &str = "cache-control: max-age=60\r\n";
/// Far in the future.
const EXPIRY: u64 = 4_000_000_000;

async fn origin() -> Origin {
    Origin::start(|seen, mut wire: Wire| async move {
        let host = seen.field("host").unwrap_or("").to_owned();
        wire.answer("200 OK", LIFE, format!("{host}{}", seen.target)).await
    })
    .await
}

fn config(origin: &Origin, rest: &str) -> Config {
    let text = format!("[upstreams.main]\norigins = [{:?}]\nhealth_interval_ms = 0\n{rest}", origin.url());
    toml::from_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

#[tokio::test]
async fn a_token_is_looked_at_on_each_hit_and_is_no_part_of_the_key() {
    let origin = origin().await;
    let route = "[routes.all]\nupstream = \"main\"\ntoken_keys = [\"secret\"]\n";
    let shield = Shielded::start(config(&origin, route)).await;
    let signed =
        |secret: &str, prefix: &str, expiry: u64| format!("/a/1.m4s?hwt={}", token::sign(secret, prefix, expiry, None));
    for good in [signed("secret", "/a/", EXPIRY), signed("secret", "/a/1.m4s", EXPIRY), signed("secret", "/", EXPIRY)] {
        let got = shield.get(&good).await;
        assert_eq!((got.status.as_u16(), got.text()), (200, "live.example/a/1.m4s"), "{good}");
        for bad in [
            "/a/1.m4s".to_owned(),
            signed("guessed", "/a/", EXPIRY),
            signed("secret", "/b/", EXPIRY),
            signed("secret", "/a/", 1_000_000_000),
            format!("{good}x"),
        ] {
            assert_eq!(shield.get(&bad).await.status.as_u16(), 403, "{bad}");
        }
    }
    let targets: Vec<_> = origin.seen().iter().map(|seen| seen.target.clone()).collect();
    assert_eq!(targets, ["/a/1.m4s"], "the origin sees no token, and one request");
}

#[tokio::test]
async fn tenants_and_hosts_never_see_what_is_held_for_another() {
    let origin = origin().await;
    let routes = "[routes.one]\nupstream = \"main\"\nhosts = [\"one.example\"]\n\
                  [routes.two]\nupstream = \"main\"\nhosts = [\"two.example\"]\n\
                  [routes.more]\nupstream = \"main\"\nhosts = [\"more.example\"]\ntenant = \"one\"\n";
    let shield = Shielded::start(config(&origin, routes)).await;
    for host in ["one.example", "two.example", "more.example", "ONE.example"] {
        let got = shield.ask("/a.m4s", &[("host", host)]).await;
        assert_eq!(got.text().to_ascii_lowercase(), format!("{}/a.m4s", host.to_ascii_lowercase()));
    }
    assert_eq!(origin.count("/a.m4s"), 3);
    assert_eq!(shield.ask("/a.m4s", &[("host", "other.example")]).await.status.as_u16(), 404);
}

#[tokio::test]
async fn whoever_asks_for_too_much_is_told_so_and_when_to_come_again() {
    let origin = origin().await;
    let route = "[routes.all]\nupstream = \"main\"\n";
    let limited = format!("{route}[limits]\nedge_requests_per_second = 1\nedge_burst = 5\n");
    let shield = Shielded::start(config(&origin, &limited)).await;
    let mut statuses = Vec::new();
    for n in 0..20 {
        let got = shield.get(if n % 2 == 0 { "/held.m4s" } else { "/a.m4s" }).await;
        if got.status.as_u16() == 429 {
            assert!(got.field("retry-after").parse::<u32>().expect("seconds") >= 1);
        }
        statuses.push(got.status.as_u16());
    }
    assert!(statuses[..5].iter().all(|status| *status == 200), "{statuses:?}");
    assert!(statuses.iter().filter(|status| **status == 429).count() >= 10, "{statuses:?}");
}

#[tokio::test]
async fn over_its_capacity_a_shield_says_so_and_serves_on_below_it() {
    let origin = Origin::start(|seen, mut wire: Wire| async move {
        if seen.target.contains("slow") {
            wire.send(format!("HTTP/1.1 200 OK\r\n{LIFE}content-length: 2\r\n\r\na")).await?;
            wire.gone().await;
            return Ok(());
        }
        wire.answer("200 OK", LIFE, "quick").await
    })
    .await;
    let route = "[routes.all]\nupstream = \"main\"\n[limits]\nconcurrent_max = 20\n";
    let shield = Shielded::start(config(&origin, route)).await;
    let mut open = Vec::new();
    let refused = loop {
        let reading = shield.begin(&format!("/slow{}.m4s", open.len()), &[]).await;
        if reading.status.as_u16() == 503 {
            break reading;
        }
        open.push(reading);
        assert!(open.len() <= 20, "more are open than may be");
    };
    assert!(refused.headers.contains_key("retry-after") && open.len() >= 18, "{} were open", open.len());
    drop((open, refused));
    let until = tokio::time::Instant::now() + crate::harness::SOON;
    while shield.get("/quick.m4s").await.text() != "quick" {
        assert!(tokio::time::Instant::now() < until, "the places of those who left are free again");
    }
}
