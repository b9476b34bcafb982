// SPDX-License-Identifier: Apache-2.0
//! What a shield tells of itself: what it delivered of each channel adds up to what was asked, and its load to what
//! passed through its sockets.

use std::collections::BTreeMap;

use headwater_events::event::{Delivery, FillTimes, Health};
use headwater_events::{Arrival, Data, Filter, Follow, Offset};

use crate::harness::{Origin, SOON, Shielded, config};

const LASTING: &str = "cache-control: max-age=3600\r\n";

/// Events of one shield, summed.
#[derive(Debug, Default)]
struct Sums {
    deliveries: BTreeMap<String, Delivery>,
    /// Where each channel's last interval ended, in milliseconds.
    ends: BTreeMap<String, i64>,
    health: Vec<Health>,
}

impl Sums {
    fn take(&mut self, event: headwater_events::Event) {
        match event.data {
            Data::Delivery(told) => {
                let begin = event.time.0.millis();
                assert_eq!((begin % 1_000, told.interval_ms % 1_000), (0, 0), "intervals are whole seconds of UTC");
                let interval_ms = i64::try_from(told.interval_ms).expect("seconds");
                let before = self.ends.insert(told.channel.clone(), begin + interval_ms);
                assert!(before.is_none_or(|end| end <= begin), "no second is told of twice");
                match self.deliveries.get_mut(&told.channel) {
                    None => drop(self.deliveries.insert(told.channel.clone(), told)),
                    Some(sum) => add(sum, &told),
                }
            }
            Data::Health(health) => self.health.push(health),
            _ => {}
        }
    }

    fn of(&self, channel: &str) -> Option<&Delivery> {
        self.deliveries.get(channel)
    }
}

fn add(sum: &mut Delivery, told: &Delivery) {
    sum.requests += told.requests;
    sum.hits += told.hits;
    sum.stale += told.stale;
    sum.errors += told.errors;
    sum.refused += told.refused;
    sum.bytes += told.bytes;
    sum.origin_requests += told.origin_requests;
    sum.origin_bytes += told.origin_bytes;
    sum.fills += &told.fills;
}

/// What is told until that is enough.
async fn told(shield: &Shielded, enough: impl Fn(&Sums) -> bool) -> Sums {
    let mut follow = Follow::log(shield.publisher.log().clone(), Filter::default(), Offset(0));
    let mut sums = Sums::default();
    let reading = async {
        while !enough(&sums) {
            match follow.next().await {
                Some(Arrival::Event(event, _)) => sums.take(*event),
                other => panic!("expected an event, got {other:?}"),
            }
        }
    };
    let came = tokio::time::timeout(SOON, reading).await;
    assert!(came.is_ok(), "expected more events, got {sums:?}");
    sums
}

/// `/live/news` has a segment of ten bytes, a playlist that is stale at once, and a segment that fails; nothing else is
/// there.
async fn origin() -> Origin {
    Origin::start(|seen, mut wire| async move {
        match seen.target.as_str() {
            "/live/news/v0/1.m4s" => wire.answer("200 OK", LASTING, "0123456789").await,
            "/live/news/v0/2.m4s" => wire.answer("500 Internal Server Error", "", "no").await,
            "/elsewhere/show/one.ts" => wire.answer("200 OK", LASTING, "ts").await,
            _ => wire.answer("404 Not Found", LASTING, "none").await,
        }
    })
    .await
}

#[tokio::test]
async fn what_was_delivered_adds_up_to_what_was_asked() {
    let origin = origin().await;
    let shield = Shielded::start(config(&[&origin], "", "")).await;
    for _ in 0..4 {
        shield.get("/live/news/v0/1.m4s").await;
    }
    // One hit by HTTP/2, one by a range, one that sends nothing.
    let h2 = shield.h2().await;
    h2.begin("/live/news/v0/1.m4s").await.rest().await;
    shield.ask("/live/news/v0/1.m4s", &[("range", "bytes=2-4")]).await;
    for _ in 0..2 {
        shield.get("/live/news/v0/2.m4s").await;
    }
    let asked = origin.count("/live/news/v0/2.m4s") as u64;
    // Another grammar: the channel is the folder.
    shield.get("/elsewhere/show/one.ts").await;
    let sums = told(&shield, |sums| {
        let enough = |channel: &str, requests| sums.of(channel).is_some_and(|told| told.requests >= requests);
        enough("news", 8) && enough("elsewhere/show", 1)
    })
    .await;
    let news = sums.of("news").unwrap();
    assert_eq!((news.node.as_str(), news.requests, news.hits, news.stale), ("test", 8, 5, 0));
    assert_eq!((news.errors, news.refused), (2, 0));
    assert_eq!(news.bytes, 5 * 10 + 3 + 2 * 2);
    assert_eq!((news.origin_requests, news.prefetches, news.origin_bytes), (1 + asked, 0, 10 + 2 * asked));
    assert_eq!(news.fills.count(), 3, "{:?}", news.fills);
    let show = sums.of("elsewhere/show").unwrap();
    assert_eq!((show.requests, show.hits, show.bytes, show.origin_bytes), (1, 0, 2, 2));
    assert_ne!(show.fills, FillTimes::default());
}

#[tokio::test]
async fn what_is_refused_by_a_bound_is_told_as_that() {
    let origin = origin().await;
    let shield =
        Shielded::start(config(&[&origin], "", "[limits]\nchannel_requests_per_second = 1\nchannel_burst = 2")).await;
    let mut refused = 0;
    for _ in 0..6 {
        refused += u64::from(shield.get("/live/news/v0/1.m4s").await.status == 429);
    }
    assert!(refused > 0);
    let sums = told(&shield, |sums| sums.of("news").is_some_and(|told| told.requests >= 6)).await;
    let news = sums.of("news").unwrap();
    assert_eq!((news.requests, news.refused, news.errors, news.hits), (6, refused, 0, 5 - refused));
    let sums = told(&shield, |sums| sums.health.iter().map(|health| health.refused).sum::<u64>() >= refused).await;
    assert_eq!(sums.health.iter().map(|health| health.refused).sum::<u64>(), refused);
}

#[tokio::test]
async fn the_load_adds_up_to_what_passed_through_its_sockets() {
    let origin = origin().await;
    let shield = Shielded::start(config(&[&origin], "", "[events]\nhealth_ms = 100")).await;
    for _ in 0..5 {
        assert_eq!(shield.get("/live/news/v0/1.m4s").await.status, 200);
    }
    shield.h2().await.begin("/live/news/v0/1.m4s").await.rest().await;
    let sums = told(&shield, |sums| sums.health.iter().map(|health| health.requests).sum::<u64>() >= 6).await;
    assert_eq!(sums.health.iter().map(|health| health.requests).sum::<u64>(), 6);
    let sum = |of: fn(&Health) -> u64| sums.health.iter().map(of).sum::<u64>();
    // Six bodies of ten bytes and their heads; six requests.
    assert!(sum(|health| health.egress_bytes) > 6 * 100, "{sums:?}");
    assert!(sum(|health| health.ingress_bytes) > 6 * 40, "{sums:?}");
    assert!(sums.health.iter().all(|health| health.node == "test" && health.cpu_millicores_max > 0));
    assert!(sums.health.iter().all(|health| health.memory_bytes > 0 && health.congested.is_empty()));
}
