// SPDX-License-Identifier: Apache-2.0
//! Events are acted on: what became ready is there before an edge asks, and a feed that loses, repeats, delays or invents
//! costs hits at the most.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use headwater_events::event::{
    ChannelEnded, ChannelResumed, ChannelStalled, PartReady, Purged, PurgedBy, Role, SegmentReady, Timestamp,
};
use headwater_events::{Arrival, Data, Event, Follow, Offset, Position, Source};
use headwater_media::UtcTime;
use headwater_net::listener::Connection;
use headwater_shield::follow::Via;
use http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tower::ServiceExt;

use crate::harness::{Origin, SOON, Seen, Shielded, Wire, config};
use crate::here::{Here, answer, settled};
use crate::operation::post;

const KEPT: [(&str, &str); 1] = [("cache-control", "max-age=60")];
const PLAYLIST: &str = "/live/news/v0/media.m3u8";

/// The path of a part of the one track that is played.
fn part_path(sequence: u64, part: u32) -> String {
    format!("/live/news/v0/{sequence}.{part}.m4s")
}

fn segment_path(sequence: u64) -> String {
    format!("/live/news/v0/{sequence}.m4s")
}

fn digest(bytes: &str) -> String {
    format!("{:032x}", headwater_net::tag::digest(bytes.as_bytes()))
}

fn at() -> Timestamp {
    Timestamp(UtcTime::from_nanos(1_790_000_000_000_000_000))
}

/// An object under this path is there; its bytes are its path.
fn ready(path: &str) -> PartReady {
    PartReady {
        channel: "news".to_owned(),
        track: "v0".to_owned(),
        generation: 0,
        sequence: 1,
        part: 0,
        start: at(),
        duration_ns: 200_000_000,
        bytes: path.len() as u64,
        digest: digest(path),
        independent: true,
        defects: Vec::new(),
        path: path.to_owned(),
    }
}

fn part(sequence: u64, part: u32) -> Data {
    Data::PartReady(PartReady { sequence, part, ..ready(&part_path(sequence, part)) })
}

fn segment(sequence: u64) -> Data {
    let path = segment_path(sequence);
    Data::SegmentReady(SegmentReady {
        channel: "news".to_owned(),
        track: "v0".to_owned(),
        generation: 0,
        sequence,
        parts: 5,
        start: at(),
        duration_ns: 1_000_000_000,
        bytes: path.len() as u64,
        digest: digest(&path),
        independent: true,
        defects: Vec::new(),
        path,
    })
}

fn purged(by: PurgedBy, value: &str, soft: bool) -> Data {
    Data::Purged(Purged { by, value: value.to_owned(), tenant: None, soft, channel: None })
}

/// An origin that has every object of the stream, under bytes that are its path.
fn streaming(more: &str) -> Here {
    Here::with(more, "", |seen| async move { answer(200, &KEPT, seen.target) })
}

impl Here {
    /// The origin in this process tells something.
    async fn tell(&self, data: Data) {
        self.publisher.publish(at().0, data);
        settled().await;
    }

    /// A feed of which every arrival is written by the test.
    fn fed(&self) -> Feed {
        let (arrivals, follow) = Follow::channel();
        self.shield.follow(Via::Feed("http://a.example:8080".into()), follow);
        Feed { arrivals }
    }

    /// What the shield tells of itself.
    async fn own(&self, path: &str) -> String {
        let connection = Connection::new(SocketAddr::from(([127, 0, 0, 1], 1)));
        let request = Request::builder().uri(path).body(Body::empty()).expect("a request");
        let Ok(answer) = Arc::clone(&self.shield).service()(connection).oneshot(request).await;
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        String::from_utf8(body.to_vec()).expect("text")
    }

    /// What a metric without labels, or with these, counts.
    async fn counted(&self, row: &str) -> u64 {
        let text = self.own("/.headwater/metrics").await;
        let row = format!("headwater_shield_{row} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&*row)).unwrap_or("0");
        value.parse().unwrap_or_else(|_| panic!("{row}: {value}"))
    }
}

struct Feed {
    arrivals: mpsc::Sender<Arrival>,
}

impl Feed {
    async fn tell(&self, source: &Source, data: Data) {
        let event = Box::new(Event::new(source, at().0, data));
        self.arrivals.send(Arrival::Event(event, Position::Log(Offset(0)))).await.expect("the shield follows");
    }

    async fn gap(&self) {
        self.arrivals.send(Arrival::Gap).await.expect("the shield follows");
        settled().await;
    }
}

fn origin(node: &str) -> Source {
    Source::new(Role::Origin, node)
}

#[tokio::test(start_paused = true)]
async fn what_became_ready_is_there_before_an_edge_asks() {
    let here = streaming("");
    here.get(&part_path(1, 0)).await;
    for (data, path) in [(part(1, 1), part_path(1, 1)), (segment(1), segment_path(1))] {
        here.tell(data).await;
        assert_eq!(here.count(&path), 1, "fetched by the event");
        let got = here.get(&path).await;
        assert!(got.cache_status().contains("hit"), "{}", got.cache_status());
        assert_eq!((got.text(), here.count(&path)), (&*path, 1));
    }
    assert_eq!(here.counted("prefetches_total{outcome=\"filled\"}").await, 2);
    assert_eq!(here.counted("prefetched_used_total").await, 2);
    assert_eq!(here.counted("digest_mismatches_total").await, 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_fetched_follows_what_is_asked_for_as_the_configuration_says() {
    for (follow, after_asking, unasked) in [
        ("prefetch = \"asked\"", (1, 1), 0),
        ("prefetch = \"asked\"\nparts = false", (0, 1), 0),
        ("prefetch = \"all\"", (1, 1), 1),
        ("prefetch = \"off\"", (0, 0), 0),
    ] {
        let here = streaming(&format!("[follow]\n{follow}"));
        here.tell(part(1, 0)).await;
        assert_eq!(here.count(&part_path(1, 0)), 0, "{follow}: nobody's host is known");
        here.get(&part_path(1, 0)).await;
        here.tell(part(1, 1)).await;
        here.tell(segment(1)).await;
        assert_eq!((here.count(&part_path(1, 1)), here.count(&segment_path(1))), after_asking, "{follow}");
        let other = "/live/news/v9/1.m4s";
        here.tell(Data::PartReady(PartReady { track: "v9".to_owned(), ..ready(other) })).await;
        assert_eq!(here.count(other), usize::from(unasked == 1 && !follow.contains("parts")), "{follow}");
        // Whoever goes away is not waited for.
        tokio::time::advance(Duration::from_secs(200)).await;
        here.tell(part(2, 0)).await;
        assert_eq!(here.count(&part_path(2, 0)), unasked, "{follow}: the track was not asked for of late");
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_while_an_edge_asks_and_an_edge_while_an_event_fetches_are_one_request() {
    let go = Arc::new(Semaphore::new(1));
    let waiting = Arc::clone(&go);
    let here = Here::with("", "", move |seen| {
        let go = Arc::clone(&waiting);
        async move {
            go.acquire().await.expect("never closed").forget();
            answer(200, &KEPT, seen.target)
        }
    });
    here.get(&part_path(1, 0)).await;
    for (event_first, path, data) in [(true, part_path(1, 1), part(1, 1)), (false, part_path(1, 2), part(1, 2))] {
        if event_first {
            here.tell(data.clone()).await;
        }
        let asking: Vec<_> = (0..20).map(|_| tokio::spawn(here.client(&path, &[]))).collect();
        settled().await;
        // And once more, as it may come.
        here.tell(data).await;
        go.add_permits(1);
        for asking in asking {
            assert_eq!(asking.await.expect("an answer").text(), path);
        }
        assert_eq!(here.count(&path), 1);
    }
}

/// An origin whose part 1.1 is there once `there` says so.
fn late(there: &Arc<AtomicU64>) -> Here {
    let there = Arc::clone(there);
    Here::with("", "", move |seen| {
        let there = there.load(Ordering::Relaxed) > 0;
        async move { late_answer(&seen.target, there) }
    })
}

fn late_answer(target: &str, there: bool) -> Response<Body> {
    let head = "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:1\n#EXT-X-PART-INF:PART-TARGET=0.5\n\
                #EXT-X-MEDIA-SEQUENCE:1\n#EXT-X-PART:DURATION=0.5,URI=\"1.0.m4s\"\n";
    match target {
        PLAYLIST if there => {
            let text = format!("{head}#EXT-X-PART:DURATION=0.5,URI=\"1.1.m4s\"\n");
            answer(200, &[("cache-control", "max-age=1")], text)
        }
        PLAYLIST => {
            let text = format!("{head}#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"1.1.m4s\"\n");
            answer(200, &[("cache-control", "max-age=1")], text)
        }
        path if path.ends_with("1.1.m4s") && !there => answer(404, &[], "not there"),
        path => answer(200, &KEPT, path.to_owned()),
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_for_what_comes_next_is_answered_when_the_event_comes() {
    let there = Arc::new(AtomicU64::new(0));
    let here = late(&there);
    here.get(PLAYLIST).await;
    let begun = Instant::now();
    let waiting = tokio::spawn(here.client(&part_path(1, 1), &[]));
    settled().await;
    there.store(1, Ordering::Relaxed);
    here.tell(part(1, 1)).await;
    assert!(waiting.is_finished(), "nobody had to look again");
    assert_eq!(waiting.await.expect("an answer").text(), part_path(1, 1));
    assert_eq!((begun.elapsed(), here.count(&part_path(1, 1))), (Duration::ZERO, 2));
}

#[tokio::test(start_paused = true)]
async fn a_playlist_is_old_when_an_event_tells_of_what_it_does_not_list() {
    let there = Arc::new(AtomicU64::new(0));
    let here = late(&there);
    assert!(here.get(PLAYLIST).await.text().contains("HINT"));
    assert!(here.get(PLAYLIST).await.cache_status().contains("hit"));
    there.store(1, Ordering::Relaxed);
    assert!(here.get(PLAYLIST).await.text().contains("HINT"), "without an event it lives");
    here.tell(part(1, 1)).await;
    assert!(!here.get(PLAYLIST).await.text().contains("HINT"));
    assert!(here.get(PLAYLIST).await.cache_status().contains("hit"));
    assert_eq!(here.count(PLAYLIST), 2);
}

#[tokio::test(start_paused = true)]
async fn an_mpd_is_old_with_each_segment() {
    let here = streaming("");
    let mpd = "/live/news/manifest.mpd";
    for (count, data) in [(1, part(1, 0)), (1, segment(1)), (2, segment(2))] {
        here.get(mpd).await;
        assert_eq!(here.count(mpd), count);
        here.tell(data).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_feed_of_lies_costs_what_it_is_bounded_to() {
    let here = Here::with("[follow]\nprefetch = \"all\"\n", "", |seen| async move {
        match seen.target.contains("missing") {
            true => answer(404, &[], "not there"),
            false => answer(200, &KEPT, "other bytes"),
        }
    });
    here.get(&part_path(1, 0)).await;
    let feed = here.fed();
    let asked = here.seen().len();
    for path in ["live/x.m4s", "/live/../etc/x.m4s", "/live/%2e%2e/x.m4s", "/api/v1/channels", "", "/live/x.m4s?a"] {
        feed.tell(&origin("a"), Data::PartReady(ready(path))).await;
    }
    settled().await;
    assert_eq!(here.seen().len(), asked, "{:?}", here.seen());
    // What is not there: asked for once, and nothing is remembered of it.
    feed.tell(&origin("a"), Data::PartReady(ready("/live/news/v0/missing.m4s"))).await;
    settled().await;
    assert_eq!(here.count("/live/news/v0/missing.m4s"), 1);
    here.get("/live/news/v0/missing.m4s").await;
    assert_eq!(here.count("/live/news/v0/missing.m4s"), 2);
    // What is there, and is not what was told.
    feed.tell(&origin("a"), part(1, 1)).await;
    settled().await;
    assert_eq!(here.get(&part_path(1, 1)).await.text(), "other bytes");
    assert_eq!(here.counted("digest_mismatches_total").await, 1);
    assert_eq!(here.counted("prefetches_total{outcome=\"missing\"}").await, 1);
    assert_eq!(here.counted("follow_ignored_total{reason=\"path\"}").await, 6);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_events_at_once_fetch_a_bounded_number_at_a_time_and_the_oldest_give_way() {
    let (now, most) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (running, highest) = (Arc::clone(&now), Arc::clone(&most));
    let here = Here::with("[follow]\nprefetch = \"all\"\nprefetches_max = 4\n", "", move |seen| {
        let (running, highest) = (Arc::clone(&running), Arc::clone(&highest));
        async move {
            highest.fetch_max(running.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(10)).await;
            running.fetch_sub(1, Ordering::Relaxed);
            answer(200, &KEPT, seen.target)
        }
    });
    here.get(&part_path(1, 0)).await;
    let feed = here.fed();
    for sequence in 1..=10_000 {
        feed.tell(&origin("a"), segment(sequence)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(most.load(Ordering::Relaxed), 4);
    // Those that waited last are there: sixteen for each that runs.
    for sequence in 10_000 - 63..=10_000 {
        assert_eq!(here.count(&segment_path(sequence)), 1, "{sequence}");
    }
    let dropped = here.counted("prefetches_total{outcome=\"dropped\"}").await;
    let filled = here.counted("prefetches_total{outcome=\"filled\"}").await;
    assert_eq!(dropped + filled, 10_000);
    assert!(dropped >= 9_900, "{dropped}");
}

#[tokio::test(start_paused = true)]
async fn what_comes_twice_or_out_of_order_or_after_a_gap_is_right() {
    let here = streaming("");
    here.get(&part_path(1, 0)).await;
    let feed = here.fed();
    let order = [3, 1, 1, 2, 3, 2];
    for number in order {
        feed.tell(&origin("a"), part(1, number)).await;
    }
    settled().await;
    for number in 1..=3 {
        assert!(here.get(&part_path(1, number)).await.cache_status().contains("hit"));
        assert_eq!(here.count(&part_path(1, number)), 1);
    }
    // Nothing comes: what is asked for is fetched as ever.
    feed.gap().await;
    let state = here.own("/.headwater/api/v1/state").await;
    assert!(state.contains("\"source\":\"http://a.example:8080\",\"flows\":false"), "{}", state);
    let got = here.get(&part_path(1, 4)).await;
    assert!(got.cache_status().contains("fwd=uri-miss") && got.text() == part_path(1, 4));
    feed.tell(&origin("a"), part(1, 5)).await;
    settled().await;
    assert!(here.get(&part_path(1, 5)).await.cache_status().contains("hit"), "events flow again");
    let state = here.own("/.headwater/api/v1/state").await;
    assert!(state.contains("\"source\":\"http://a.example:8080\",\"flows\":true"), "{}", state);
}

#[tokio::test(start_paused = true)]
async fn a_purge_that_another_was_asked_for_is_in_force_here_and_is_not_told_again() {
    let path = part_path(1, 0);
    for (purge, covered) in [
        (purged(PurgedBy::Url, &format!("http://live.example{path}"), false), true),
        (purged(PurgedBy::Prefix, "http://live.example/live/", true), true),
        (purged(PurgedBy::Prefix, "/live/news/", false), true),
        (purged(PurgedBy::Url, &path, false), true),
        (purged(PurgedBy::Tag, "channel:news", false), true),
        (purged(PurgedBy::Tag, "channel:sport", false), false),
        (purged(PurgedBy::Prefix, "/live/sport/", false), false),
        (purged(PurgedBy::Url, "no url", false), false),
    ] {
        let here = streaming("");
        here.get(&path).await;
        let published = *here.publisher.log().end().borrow();
        let feed = here.fed();
        for _ in 0..2 {
            // The second is the first once more.
            feed.tell(&Source::new(Role::Shield, "other"), purge.clone()).await;
            settled().await;
            here.get(&path).await;
        }
        assert_eq!(here.count(&path), 1 + usize::from(covered), "{purge:?}");
        assert_eq!(*here.publisher.log().end().borrow(), published, "nothing was published");
    }
}

#[tokio::test(start_paused = true)]
async fn what_this_shield_published_itself_is_no_news_to_it() {
    let here = streaming("");
    here.get(&part_path(1, 0)).await;
    here.publisher.of(Role::Shield).publish(at().0, purged(PurgedBy::Tag, "channel:news", false));
    settled().await;
    here.get(&part_path(1, 0)).await;
    assert_eq!(here.count(&part_path(1, 0)), 1);
}

#[tokio::test(start_paused = true)]
async fn a_purge_by_an_event_while_an_event_fetches_wins() {
    let go = Arc::new(Semaphore::new(1));
    let waiting = Arc::clone(&go);
    let here = Here::with("", "", move |seen| {
        let go = Arc::clone(&waiting);
        async move {
            go.acquire().await.expect("never closed").forget();
            answer(200, &KEPT, format!("{}", seen.nth))
        }
    });
    here.get(&part_path(1, 0)).await;
    here.tell(part(1, 1)).await;
    here.tell(purged(PurgedBy::Prefix, "/live/news/", false)).await;
    go.add_permits(2);
    settled().await;
    assert_eq!(here.get(&part_path(1, 1)).await.text(), "1", "asked after the purge");
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_channel_that_ended_is_waited_for_until_it_goes_on() {
    let there = Arc::new(AtomicU64::new(0));
    let here = late(&there);
    here.get(PLAYLIST).await;
    let begun = Instant::now();
    let waiting = tokio::spawn(here.client(&part_path(1, 1), &[]));
    settled().await;
    assert!(!waiting.is_finished());
    let ended = ChannelEnded { channel: "news".to_owned(), reason: "removed".to_owned() };
    here.tell(Data::ChannelEnded(ended)).await;
    assert_eq!(waiting.await.expect("an answer").status.as_u16(), 404);
    assert_eq!(begun.elapsed(), Duration::ZERO);
    // A part of it: it goes on.
    here.tell(part(1, 0)).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    let begun = Instant::now();
    assert_eq!(here.get(&part_path(1, 1)).await.status.as_u16(), 404);
    assert_eq!(begun.elapsed(), Duration::from_secs(3), "it is waited for again");
}

#[tokio::test]
async fn what_one_shield_purges_and_what_it_knows_of_its_origins_reach_the_others_by_its_feed() {
    let origin = Origin::start(|seen: Seen, mut wire: Wire| async move {
        wire.answer("200 OK", "cache-control: max-age=60\r\n", seen.nth.to_string()).await
    })
    .await;
    let asked = Shielded::of(&origin).await;
    let from = format!("[follow]\nfrom = [\"http://{}/.headwater/events\"]\n", asked.address);
    let follows = Shielded::named("other", config(&[&origin], "", &from)).await;
    assert_eq!(follows.get("/live/news/a.m4s").await.text(), "0");
    assert_eq!(follows.get("/live/news/a.m4s").await.text(), "0");
    let (status, _) = post(&asked, "purge", "", &json!({"tag": "channel:news", "soft": false})).await;
    assert_eq!(status, 200);
    let (status, _) = post(&asked, "purge", "", &json!({"url": "http://live.example/live/news/a.m4s"})).await;
    assert_eq!(status, 200);
    let until = Instant::now() + SOON;
    while follows.get("/live/news/a.m4s").await.text() == "0" {
        assert!(Instant::now() < until, "the purge comes");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_origin_that_goes_down_and_the_switch_to_its_twin_are_events() {
    let (primary, twin) = (lasting().await, lasting().await);
    let (down, up) = (primary.url(), twin.url());
    let shield = Shielded::start(config(&[&primary, &twin], "health_interval_ms = 0\nfall = 1", "")).await;
    drop(primary);
    shield.get("/live/news/v0/1.m4s").await;
    shield.get("/live/news/v0/2.m4s").await;
    let told = shield.published();
    let [Data::UpstreamDown(first), Data::UpstreamSwitched(second)] = &told[..] else { panic!("{told:?}") };
    assert_eq!((&*first.upstream, &first.origin, &*first.reason), ("main", &down, "no connection"));
    assert_eq!((&second.from, &second.to, second.channel.as_deref()), (&down, &up, Some("news")));
    assert_eq!(second.reason, "the origin in use is down: no connection");
}

async fn lasting() -> Origin {
    Origin::start(|seen: Seen, mut wire: Wire| async move {
        wire.answer("200 OK", "cache-control: max-age=60\r\n", seen.target).await
    })
    .await
}

#[tokio::test]
async fn an_origin_that_tells_that_it_stalls_is_left_for_its_twin_until_it_goes_on() {
    let (primary, twin) = (lasting().await, lasting().await);
    let shield = Shielded::start(config(&[&primary, &twin], "health_interval_ms = 0", "")).await;
    let (arrivals, follow) = Follow::channel();
    shield.shield.follow(Via::Feed(primary.url().into()), follow);
    let feed = Feed { arrivals };
    shield.get("/live/news/v0/1.m4s").await;
    assert_eq!((primary.seen().len(), twin.seen().len()), (1, 0));
    let stalled = ChannelStalled { channel: "news".to_owned(), since: at(), sequence: 1 };
    feed.tell(&origin("a"), Data::ChannelStalled(stalled)).await;
    shield.until_state(|state| state.contains("\"stalled\":[\"news\"]")).await;
    shield.get("/live/news/v0/2.m4s").await;
    shield.get("/live/sport/v0/2.m4s").await;
    assert_eq!((primary.count("/live/news/v0/2.m4s"), twin.count("/live/news/v0/2.m4s")), (0, 1));
    assert_eq!(primary.count("/live/sport/v0/2.m4s"), 1, "another channel stays");
    let resumed = ChannelResumed { channel: "news".to_owned(), stalled_ms: 1, sequence: 2 };
    feed.tell(&origin("a"), Data::ChannelResumed(resumed)).await;
    shield.until_state(|state| !state.contains("\"stalled\":[\"news\"]")).await;
}

impl Shielded {
    async fn until_state(&self, fits: impl Fn(&str) -> bool) {
        let until = Instant::now() + SOON;
        loop {
            let state = self.get("/.headwater/api/v1/state").await;
            if fits(state.text()) {
                return;
            }
            assert!(Instant::now() < until, "{}", state.text());
            tokio::task::yield_now().await;
        }
    }
}
