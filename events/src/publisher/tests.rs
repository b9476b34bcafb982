// SPDX-License-Identifier: Apache-2.0
//! Publishing whatever the disk does.

use tempfile::TempDir;

use super::*;
use crate::log::{Offset, Settings};
use crate::tests::{channel_ended, part_ready, segment_ready};

const DEADLINE: Duration = Duration::from_secs(30);

fn at(seconds: i64) -> UtcTime {
    UtcTime::from_nanos(1_790_000_000_000_000_000 + seconds * 1_000_000_000)
}

fn start(dir: &TempDir, queue_max: usize) -> Publisher {
    let log = Log::open(dir.path(), Settings::default(), Arc::default()).unwrap();
    Publisher::over(log, queue_max, Source::new(Role::Origin, "a")).unwrap()
}

fn ids(publisher: &Publisher) -> Vec<String> {
    let records = publisher.log().read(Offset(0), 10_000).unwrap();
    records.iter().map(|record| record.event().unwrap().id).collect()
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("in time")
}

#[tokio::test]
async fn sources_of_one_node_share_a_log_in_the_order_they_publish() {
    let dir = tempfile::tempdir().unwrap();
    let origin = start(&dir, 100);
    let shield = origin.of(Role::Shield);
    assert_eq!((origin.source().as_str(), shield.source().as_str()), ("/origin/a", "/shield/a"));
    for number in 0..20 {
        let publisher = if number % 2 == 0 { &origin } else { &shield };
        publisher.publish(at(number), channel_ended(&number.to_string()));
    }
    in_time(origin.flushed()).await;
    let records = shield.log().read(Offset(0), 100).unwrap();
    let channels: Vec<_> = records.iter().map(|record| record.channel.as_deref().unwrap().to_owned()).collect();
    assert_eq!(channels, (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(records[1].event().unwrap().source, *shield.source());
}

#[tokio::test]
async fn a_window_that_is_published_again_after_a_restart_is_not_stored_twice() {
    let dir = tempfile::tempdir().unwrap();
    let window = |publisher: &Publisher, sequences: std::ops::Range<u64>| {
        for sequence in sequences {
            for part in 0..3 {
                publisher.publish(at(0), part_ready("news", sequence, part));
            }
            publisher.publish(at(0), segment_ready("news", sequence));
        }
    };
    let publisher = start(&dir, 1_000);
    window(&publisher, 0..10);
    publisher.publish(at(0), channel_ended("news"));
    assert_eq!(publisher.stop(DEADLINE), 0);
    drop(publisher);

    let publisher = start(&dir, 1_000);
    window(&publisher, 5..12);
    publisher.publish(at(0), channel_ended("news"));
    in_time(publisher.flushed()).await;
    assert_eq!(publisher.metrics().repeated.get(), 20);
    assert_eq!(ids(&publisher).len(), 12 * 4 + 2, "what happens again is another event");
    let Data::SegmentReady(mut other) = segment_ready("news", 11) else { unreachable!() };
    other.digest = "11".to_owned();
    publisher.publish(at(0), Data::SegmentReady(other));
    in_time(publisher.flushed()).await;
    assert_eq!(ids(&publisher).len(), 12 * 4 + 3, "other bytes under the same name are news");
}

#[tokio::test]
async fn a_disk_that_takes_nothing_holds_nobody_up_and_gets_what_fits_later() {
    let dir = tempfile::tempdir().unwrap();
    let publisher = start(&dir, 64);
    publisher.publish(at(0), channel_ended("before"));
    in_time(publisher.flushed()).await;
    publisher.log().fail(true);
    let mut errors = publisher.metrics().write_errors.get();
    assert_eq!(errors, 0);
    publisher.publish(at(0), channel_ended("taken"));
    while errors < 2 {
        errors = publisher.metrics().write_errors.get();
        in_time(tokio::time::sleep(Duration::from_millis(5))).await;
    }
    for sequence in 0..100 {
        publisher.publish(at(0), part_ready("news", sequence, 0));
        if sequence % 10 == 0 {
            publisher.publish(at(0), segment_ready("news", sequence));
        }
    }
    assert_eq!(ids(&publisher).len(), 1, "nothing is told that is not stored");
    publisher.log().fail(false);
    in_time(publisher.flushed()).await;
    let ids = ids(&publisher);
    assert_eq!(ids.len(), 2 + 64, "the queue's bound, and what had left it");
    assert_eq!(ids.iter().filter(|id| id.starts_with("segment.ready")).count(), 10, "no segment went");
    assert!(ids.contains(&"part.ready:news/video/99.0@0".to_owned()));
    assert!(!ids.contains(&"part.ready:news/video/45.0@0".to_owned()), "the oldest parts went");
    let label = crate::metrics::DroppedLabel { r#type: "part.ready", reason: "queue" };
    assert_eq!(publisher.metrics().dropped.get_or_create(&label).get(), 46);
}

#[tokio::test]
async fn a_stop_writes_what_is_queued_and_says_what_it_could_not() {
    let dir = tempfile::tempdir().unwrap();
    let publisher = start(&dir, 10_000);
    for number in 0..5_000 {
        publisher.publish(at(0), channel_ended(&number.to_string()));
    }
    assert_eq!(publisher.stop(DEADLINE), 0);
    publisher.publish(at(0), channel_ended("late"));
    assert_eq!(ids(&publisher).len(), 5_000);
    let label = crate::metrics::DroppedLabel { r#type: "channel.ended", reason: "stopped" };
    assert_eq!(publisher.metrics().dropped.get_or_create(&label).get(), 1);
    drop(publisher);

    let publisher = start(&dir, 10_000);
    publisher.log().fail(true);
    for number in 0..10 {
        publisher.publish(at(0), channel_ended(&number.to_string()));
    }
    assert_eq!(publisher.stop(Duration::ZERO), 10);
}

#[tokio::test]
async fn an_event_larger_than_the_log_takes_is_counted_and_the_next_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let publisher = start(&dir, 100);
    publisher.publish(at(0), channel_ended(&"x".repeat(1 << 20)));
    publisher.publish(at(0), channel_ended("next"));
    in_time(publisher.flushed()).await;
    assert_eq!(ids(&publisher), ["channel.ended:a/next@2026-09-21T14:13:20.000Z"]);
    let label = crate::metrics::DroppedLabel { r#type: "channel.ended", reason: "too_big" };
    assert_eq!(publisher.metrics().dropped.get_or_create(&label).get(), 1);
}
