// SPDX-License-Identifier: Apache-2.0
//! CMSD (CTA-5006) through a shield: what the origin says of an object passes, what servers say of themselves is a list
//! that is never told again from the store.

use std::time::Duration;

use headwater_shield::Config;
use http::HeaderMap;

use crate::harness::{Got, Origin, SOON, Shielded, config};

const PATH: &str = "/live/news/v0/1.m4s";
const STATIC: &str = "br=2000,d=2000,n=\"a\",nor=\"2.m4s\",ot=v,st=l";
/// How long the origin takes.
const TAKES: Duration = Duration::from_millis(30);

/// Says of each object what it is, and of itself what a cache before us would.
async fn origin() -> Origin {
    Origin::start(|seen, mut wire| async move {
        tokio::time::sleep(TAKES).await;
        let life = if seen.target.contains("alone") { "private" } else { "max-age=3600" };
        let said = format!("cmsd-static: {STATIC}\r\ncmsd-dynamic: \"far\";rd=1\r\ncmsd-dynamic: \"near\";rd=2;du\r\n");
        wire.answer("200 OK", &format!("cache-control: {life}\r\n{said}"), "media").await
    })
    .await
}

/// Routes are live unless they say otherwise.
fn live(origin: &Origin, more: &str) -> Config {
    config(&[origin], "", more)
}

/// The members of the list, in order.
fn members(headers: &HeaderMap) -> Vec<String> {
    let lines = headers.get_all("cmsd-dynamic").iter().map(|line| line.to_str().expect("text"));
    lines.flat_map(|line| line.split(", ")).map(str::to_owned).collect()
}

/// What the shield says of itself on a miss.
fn own_delay(got: &Got) -> Duration {
    let members = members(&got.headers);
    assert_eq!(members[..2], ["\"far\";rd=1", "\"near\";rd=2;du"], "what was said before comes first, and whole");
    assert_eq!(members.len(), 3);
    let delay = members[2].strip_prefix("\"test\";rd=").unwrap_or_else(|| panic!("{members:?}"));
    Duration::from_millis(delay.parse().expect("milliseconds"))
}

#[tokio::test]
async fn a_miss_tells_what_was_said_before_and_a_hit_does_not() {
    let origin = origin().await;
    let shield = Shielded::start(live(&origin, "")).await;
    let miss = shield.get(PATH).await;
    assert!(own_delay(&miss) >= TAKES, "{:?}", miss.headers);
    let hits = [
        shield.get(PATH).await.headers,
        // The long way of hits, and the other protocol's.
        shield.ask(PATH, &[("range", "bytes=1-2")]).await.headers,
        shield.h2().await.begin(PATH).await.headers,
    ];
    for hit in &hits {
        assert_eq!(members(hit), ["\"test\";rd=0"]);
        assert_eq!(hit["cmsd-static"], STATIC);
    }
    assert_eq!((miss.headers["cmsd-static"].to_str().unwrap(), origin.count(PATH)), (STATIC, 1));
}

#[tokio::test]
async fn an_answer_for_one_alone_has_every_member_each_time() {
    let origin = origin().await;
    let shield = Shielded::start(live(&origin, "")).await;
    for _ in 0..2 {
        assert!(own_delay(&shield.get("/live/news/alone.m4s").await) >= TAKES);
    }
}

#[tokio::test]
async fn the_shields_member_can_be_turned_off_and_is_for_live_routes() {
    let origin = origin().await;
    let off = Shielded::start(live(&origin, "cmsd = false")).await;
    let mut other = live(&origin, "");
    other.routes.get_mut("all").unwrap().live = false;
    let other = Shielded::start(other).await;
    for shield in [&off, &other] {
        assert_eq!(members(&shield.get(PATH).await.headers).len(), 2);
        let hit = shield.get(PATH).await;
        assert!(members(&hit.headers).is_empty() && hit.headers["cmsd-static"] == STATIC);
    }
}

#[tokio::test]
async fn a_shield_in_duress_says_so_and_what_each_may_take() {
    let origin = origin().await;
    let alerts =
        "[events]\nhealth_ms = 20\n[events.alerts]\negress_percent_max = 50\negress_bits_per_second_max = 80000";
    let shield = Shielded::start(live(&origin, alerts)).await;
    let body = shield.get(PATH).await;
    assert!(body.whole);
    let congested = async {
        loop {
            // Each of these is more than a hundred bytes: 40 kbit/s in each twenty milliseconds.
            let said = members(&shield.get(PATH).await.headers).remove(0);
            if said.ends_with(";du") && said.contains(";mb=") {
                return said;
            }
        }
    };
    let said = tokio::time::timeout(SOON, congested).await.expect("congestion");
    // One connection at a time would have all of it, but those that are about to be closed are counted too.
    let kbps: u64 = said.strip_prefix("\"test\";mb=").and_then(|rest| rest.split(';').next()).unwrap().parse().unwrap();
    assert!((1..=40).contains(&kbps), "{said}");
    assert!(said.contains(";rd=0;du"), "{said}");
}
