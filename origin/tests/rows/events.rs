// SPDX-License-Identifier: Apache-2.0
//! What an origin tells: each change once, in order, and of nothing that cannot be fetched by then.

use std::collections::BTreeSet;
use std::time::Duration;

use headwater_events::event::{PartReady, SegmentReady};
use headwater_events::{Arrival, Data, Event, Filter, Follow};
use headwater_media::UtcTime;
use headwater_net::tag;
use http::StatusCode;

use crate::encoder::{Encoder, Source, at};
use crate::stage::{BASE, Stage, seconds};

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

/// A part's or a segment's place in its track, its end as its event tells it, and as its numbers do.
fn place(event: &Event) -> Option<((&str, u64, Option<u32>), UtcTime, UtcTime)> {
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
