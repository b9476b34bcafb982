// SPDX-License-Identifier: Apache-2.0
//! What an origin tells: each change once, in order, and of nothing that cannot be fetched by then.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use headwater_events::event::{Anchor, PartReady, PurgedBy, SegmentReady};
use headwater_events::{Arrival, Data, Event, Filter, Follow};
use headwater_media::{Timescale, UtcTime};
use headwater_net::tag;
use headwater_origin::Config;
use headwater_origin::config::Api;
use headwater_packager::cmaf::{EventMessage, EventTime};
use http::{Method, StatusCode};

use crate::encoder::{Encoder, Source, at};
use crate::stage::{BASE, CHANNEL, Stage, request, seconds, settings, settle};

fn ladder() -> Vec<Source> {
    vec![Source::video("v0"), Source::audio("a0")]
}

/// Fetches what each event of media names when it arrives, until there is none for a second.
async fn fetch_all(mut follow: Follow, stage: &Stage) -> Vec<Event> {
    let mut fetched = Vec::new();
    while let Ok(Some(arrival)) = tokio::time::timeout(seconds(1), follow.next()).await {
        let Arrival::Event(event, _) = arrival else { panic!("nothing is missing from a log in this process") };
        let named = match &event.data {
            Data::PartReady(PartReady { path, bytes, digest, .. })
            | Data::SegmentReady(SegmentReady { path, bytes, digest, .. }) => Some((path, *bytes, digest)),
            _ => None,
        };
        if let Some((path, bytes, digest)) = named {
            let answer = stage.get(path).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}");
            assert_eq!(answer.body.len() as u64, bytes, "{path}");
            assert_eq!(format!("{:032x}", tag::digest(&answer.body)), *digest, "{path}");
            assert_eq!(answer.header("etag"), format!("\"{digest}\""), "{path}");
        }
        fetched.push(*event);
    }
    fetched
}

fn end(start: UtcTime, duration_ns: u64) -> UtcTime {
    start + Duration::from_nanos(duration_ns)
}

/// Track, segment, part.
type Place<'a> = (&'a str, u64, Option<u32>);

/// A part's or a segment's place in its track, its end as its event tells it, and as its numbers do.
fn place(event: &Event) -> Option<(Place<'_>, UtcTime, UtcTime)> {
    match &event.data {
        Data::PartReady(d) => Some(((&d.track, d.sequence, Some(d.part)), event.time.0, end(d.start.0, d.duration_ns))),
        Data::SegmentReady(d) => Some(((&d.track, d.sequence, None), event.time.0, end(d.start.0, d.duration_ns))),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn each_part_and_segment_is_told_once_in_order_when_it_can_be_fetched() {
    let stage = Stage::new();
    let follow = stage.events(Filter::default());
    let mut encoder = Encoder::of(&stage, ladder());
    let (told, ()) = tokio::join!(fetch_all(follow, &stage), encoder.until(at(15_000)));
    let ids: BTreeSet<&str> = told.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids.len(), told.len(), "none is told twice");
    for track in ["v0", "a0"] {
        let of_track = told.iter().filter_map(place).filter(|((of, ..), ..)| *of == track);
        let mut next = (850_000_000, 0);
        let mut until = BASE;
        for ((_, sequence, part), time, end) in of_track {
            assert!(time.since(end).max(end.since(time)) <= Duration::from_nanos(1), "{time:?} is the end, {end:?}");
            let Some(part) = part else {
                assert_eq!((sequence, until), (next.0, time), "a segment is told with its last part");
                next = (sequence + 1, 0);
                continue;
            };
            assert_eq!((sequence, part), next, "parts come in order and none is left out");
            assert!(time > until);
            next.1 += 1;
            until = time;
        }
        assert!(next.0 >= 850_000_007, "{track}: {next:?}");
        let listed = stage.media(track).await.newest();
        assert_eq!(next, (listed.0, u32::try_from(listed.1).expect("few parts") + 1), "all that is listed was told");
    }
    let segment = told.iter().find_map(|event| match &event.data {
        Data::SegmentReady(d) if d.track == "v0" && d.sequence == 850_000_003 => Some(d),
        _ => None,
    });
    let segment = segment.expect("a segment of pictures");
    assert_eq!((segment.parts, segment.duration_ns, segment.start.0), (10, 2_000_000_000, at(6_000)));
    assert!(segment.independent && segment.defects.is_empty());
}

/// Everything that is told of the channel as a whole.
const OF_CHANNELS: &str = "channel.*,source.switched,discontinuity,timeline.anchored,purged";

fn types(told: &[Event]) -> Vec<&str> {
    told.iter().map(|event| event.kind().name()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_channel_is_told_to_be_on_air_to_stall_to_go_on_and_to_end() {
    let stage = Stage::new();
    let mut encoder = Encoder::of(&stage, ladder());
    encoder.until(at(9_000)).await;
    encoder.feeds.iter_mut().for_each(|feed| feed.muted = true);
    encoder.until(at(16_000)).await;
    encoder.feeds.iter_mut().for_each(|feed| feed.muted = false);
    encoder.until(at(21_000)).await;
    stage.end_channel().await;
    let told = stage.told(OF_CHANNELS).await;
    let expected = ["channel.started", "timeline.anchored", "channel.stalled", "channel.resumed", "channel.ended"];
    assert_eq!(types(&told), expected, "{told:#?}");
    for event in &told {
        match &event.data {
            Data::TimelineAnchored(d) => {
                assert_eq!((d.anchor, d.offset_ns, d.segment_ns, d.phase_ns), (Anchor::Source, 0, 2_000_000_000, 0));
            }
            Data::ChannelStarted(d) => {
                assert_eq!((&d.tracks[..], d.segment_ns), (&["v0".to_owned(), "a0".to_owned()][..], 2_000_000_000));
                assert!(d.bits_per_second > 50_000, "{}", d.bits_per_second);
                assert!(event.time.0 < at(3_500), "{}", event.time);
            }
            Data::ChannelStalled(d) => {
                let silence = event.time.0.since(d.since.0);
                assert!(silence > seconds(3) && silence < seconds(4), "{silence:?}");
                assert_eq!(d.sequence, 850_000_004);
            }
            Data::ChannelResumed(d) => assert!((6_900..7_500).contains(&d.stalled_ms), "{}", d.stalled_ms),
            Data::ChannelEnded(d) => assert_eq!(d.reason, "ended"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_of_coding_is_told_with_the_segment_it_begins_at() {
    let stage = Stage::new();
    let mut encoder = Encoder::of(&stage, ladder());
    encoder.until(at(9_030)).await;
    encoder.feed("v0").change(Source::hevc("v0"));
    encoder.until(at(15_000)).await;
    let told = stage.told("source.switched,discontinuity,timeline.anchored").await;
    let [first, switched, broken, anchored] = &told[..] else { panic!("{told:#?}") };
    assert!(matches!(&first.data, Data::TimelineAnchored(d) if d.generation == 0 && d.sequence == 0));
    let Data::SourceSwitched(d) = &switched.data else { panic!("{switched:?}") };
    assert!(d.from.starts_with("avc1.") && d.to.starts_with("hvc1.") && d.reason == "coding", "{d:?}");
    let Data::Discontinuity(d) = &broken.data else { panic!("{broken:?}") };
    let listed = stage.media("v0").await;
    let first = listed.all().find(|segment| segment.discontinuities == 1).expect("a segment of the new coding");
    assert_eq!((d.generation, d.sequence, &d.reason[..]), (1, first.sequence, "header"));
    assert_eq!(broken.time.0, at(2_000 * (d.sequence - 850_000_000)));
    assert!(matches!(&anchored.data, Data::TimelineAnchored(d) if d.generation == 1 && d.sequence == first.sequence));
    assert_eq!(anchored.time, broken.time);
}

#[tokio::test(start_paused = true)]
async fn caches_are_told_to_let_go_of_a_channel_that_was_removed_when_nobody_finds_it() {
    let stage = Stage::new();
    let mut encoder = Encoder::of(&stage, ladder());
    encoder.until(at(5_000)).await;
    stage.origin.remove(CHANNEL);
    settle().await;
    let told = stage.told("channel.ended,purged").await;
    let [ended, purged] = &told[..] else { panic!("{told:#?}") };
    assert!(matches!(&ended.data, Data::ChannelEnded(d) if d.reason == "removed"));
    let Data::Purged(d) = &purged.data else { panic!("{purged:?}") };
    assert_eq!((d.by, &d.value[..], d.soft), (PurgedBy::Prefix, "/live/news/", false));
    assert_eq!(stage.get("multivariant.m3u8").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn a_lost_segment_and_one_that_has_left_are_told() {
    let stage = Stage::new();
    let mut encoder = Encoder::of(&stage, ladder());
    encoder.until(at(8_030)).await;
    encoder.feed("a0").muted = true;
    encoder.until(at(20_000)).await;
    encoder.feed("a0").muted = false;
    encoder.until(at(50_000)).await;
    let told = stage.told("segment.lost,segment.expired").await;
    let listed = stage.media("a0").await;
    let mut lost = 0;
    for event in &told {
        match &event.data {
            Data::SegmentLost(d) => {
                assert_eq!((&d.track[..], event.time.0), ("a0", end(d.start.0, d.duration_ns)));
                lost += 1;
            }
            Data::SegmentExpired(d) => {
                assert_eq!(stage.get(&d.path).await.status, StatusCode::NOT_FOUND, "{}", d.path);
                assert!(event.time.0 > at(2_000 * (d.sequence - 850_000_000) + 20_000), "{event:?}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(lost >= 3, "{told:#?}");
    let gone = |track: &str| {
        let of = told.iter().filter_map(|event| match &event.data {
            Data::SegmentExpired(d) if d.track == track => Some(d.sequence),
            _ => None,
        });
        of.collect::<Vec<u64>>()
    };
    let (pictures, sound) = (gone("v0"), gone("a0"));
    assert_eq!(pictures, (850_000_000..850_000_000 + pictures.len() as u64).collect::<Vec<_>>());
    assert!(pictures.len() > 3 && sound.len() > 1 && sound.iter().all(|n| *n < listed.sequence));
}

#[tokio::test(start_paused = true)]
async fn a_stop_tells_what_is_whole_by_then_and_that_nothing_follows() {
    let stage = Stage::new();
    let mut encoder = Encoder::of(&stage, ladder());
    encoder.until(at(9_000)).await;
    stage.begin_stop();
    encoder.until(at(11_000)).await;
    let told = stage.told("segment.ready,channel.ended").await;
    assert!(matches!(&told[told.len() - 1].data, Data::ChannelEnded(d) if d.reason == "stopped"), "{told:#?}");
    for track in ["v0", "a0"] {
        let last = told.iter().filter_map(|event| match &event.data {
            Data::SegmentReady(d) if d.track == track => Some(d.sequence),
            _ => None,
        });
        assert_eq!(last.max(), Some(850_000_004), "{track}");
    }
}

/// A splice in 90 kHz, as encoders write it.
fn splice(id: u32, time: EventTime) -> EventMessage {
    EventMessage {
        scheme_id_uri: "urn:scte:scte35:2013:bin".to_owned(),
        value: "1001".to_owned(),
        timescale: Timescale::new(90_000).expect("not zero"),
        time,
        duration: Some(2_700_000),
        id,
        message_data: Bytes::from_static(&[0xfc, 0x30, 0x11]),
    }
}

#[tokio::test(start_paused = true)]
async fn a_splice_is_told_once_at_its_time_however_often_and_in_whatever_form_it_comes() {
    for from_zero in [false, true] {
        let stage = Stage::new();
        let mut encoder = Encoder::of(&stage, ladder());
        if from_zero {
            encoder = encoder.counting_from_zero();
        }
        // Ten seconds after the beginning, on the encoder's clock.
        let begin = if from_zero { 0 } else { 1_700_000_000 * 90_000 };
        for feed in &mut encoder.feeds {
            // Before anybody knows where the source lies.
            feed.messages.push(splice(7, EventTime::Absolute(begin + 900_000)));
        }
        encoder.until(at(4_030)).await;
        encoder.feed("v0").messages.push(splice(7, EventTime::AfterSegmentStart(6 * 90_000)));
        encoder.feed("v0").messages.push(splice(8, EventTime::AfterSegmentStart(7 * 90_000)));
        encoder.until(at(8_000)).await;
        let told = stage.told("marker").await;
        let [first, second] = &told[..] else { panic!("{told:#?}") };
        let (Data::Marker(seven), Data::Marker(eight)) = (&first.data, &second.data) else { panic!("{told:#?}") };
        assert_eq!((seven.id, seven.duration_ms, &seven.data[..]), (7, Some(30_000), "/DAR"));
        assert_eq!((&seven.scheme[..], &seven.value[..]), ("urn:scte:scte35:2013:bin", "1001"));
        assert_eq!((&seven.track, first.time), (&None, seven.start), "it is of the whole channel");
        let listed = stage.media("v0").await;
        let fourth = listed.all().next().expect("a segment").date.expect("a date") + 4_000;
        // The next chunk begins with the third segment.
        assert_eq!((seven.start.0.millis(), eight.start.0.millis()), (fourth + 6_000, fourth + 7_000), "{from_zero}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_feed_is_for_those_who_may_read_the_state() {
    let api = Api { tokens: vec!["secret".to_owned()] };
    let stage = Stage::configured(Config { api, ..Config::default() }, settings());
    let refused = stage.head("/events").await;
    assert_eq!(
        (refused.status, refused.header("www-authenticate")),
        (StatusCode::UNAUTHORIZED, "Bearer realm=\"api\"")
    );
    let shown = stage.ask(request(Method::HEAD, "/events", &[("authorization", "Bearer secret")])).await;
    assert_eq!((shown.status, shown.header("content-type")), (StatusCode::OK, "text/event-stream"));
    let wrong = stage.ask(request(Method::GET, "/events?types=parts", &[("authorization", "Bearer secret")])).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    assert_eq!(Stage::new().head("/events").await.status, StatusCode::OK, "where there are no tokens, for everybody");
}
