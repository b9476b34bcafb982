// SPDX-License-Identifier: Apache-2.0
//! What leaves a log, and what is dropped for whom.

use std::time::Duration;

use super::*;

/// Ten parts and their segment, for as many segments.
fn publish(log: &Log, segments: std::ops::Range<u64>) {
    for sequence in segments {
        let mut events: Vec<Event> = (0..10).map(|part| event(part_ready("news", sequence, part))).collect();
        events.push(event(segment_ready("news", sequence)));
        log.append(&events, at(i64::try_from(sequence).unwrap())).unwrap();
    }
}

fn sequences(records: &[Record], kind: Kind) -> Vec<u64> {
    let of_kind = records.iter().filter(|record| record.kind == kind);
    of_kind
        .map(|record| match record.event().unwrap().data {
            Data::PartReady(part) => part.sequence,
            Data::SegmentReady(segment) => segment.sequence,
            other => panic!("{other:?}"),
        })
        .collect()
}

/// The same log on disk and in memory.
fn both(settings: Settings) -> Vec<(Log, Option<TempDir>)> {
    let dir = tempfile::tempdir().unwrap();
    vec![(open(&dir, settings), Some(dir)), (Log::in_memory(settings, Arc::default()), None)]
}

#[test]
fn at_the_bound_of_bytes_the_oldest_leave() {
    for (log, dir) in both(Settings { bytes_max: 64 << 10, memory_bytes_max: 64 << 10, ..settings() }) {
        publish(&log, 0..100);
        log.tick(at(100));
        let first = log.first();
        assert!(first > Offset(if dir.is_some() { 0 } else { 800 }), "{first:?}");
        assert_eq!(log.read(Offset(0), 9).unwrap_err(), Lost { wanted: Offset(0), first });
        let (records, lost) = read_all(&log);
        // Where parts are gone, the first may be one of them.
        assert!(records[0].offset >= first && records[0].offset < Offset(first.0 + 11), "{:?}", records[0].offset);
        assert_eq!(records.last().unwrap().offset, Offset(1_099));
        assert!(lost.is_empty());
        let (parts, segments) = (sequences(&records, Kind::PartReady), sequences(&records, Kind::SegmentReady));
        assert_eq!(segments, (segments[0]..100).collect::<Vec<_>>(), "none is missing between");
        // On disk the older half has lost its parts, and reaches further back for it.
        assert_eq!(parts[0] > segments[0] + 10, dir.is_some(), "{} {}", parts[0], segments[0]);
        let bytes = log.metrics().log_bytes.get();
        assert!((48 << 10..=72 << 10).contains(&bytes), "{bytes}");
        if let Some(dir) = dir {
            let on_disk: u64 = files(&dir).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
            assert_eq!(on_disk as i64, bytes);
        }
        assert_eq!(dropped(&log, Kind::PartReady), 0, "they left in their time");
    }
}

#[test]
fn what_is_too_old_leaves_also_when_nothing_comes() {
    for (log, _dir) in both(Settings { age_max: Duration::from_secs(80), ..settings() }) {
        publish(&log, 0..100);
        log.tick(at(100));
        let oldest = log.read(log.first(), 1).unwrap()[0].stored;
        assert!(oldest >= at(100 - 80 - 11) && oldest <= at(22), "{oldest}");
        log.tick(at(200));
        log.tick(at(200));
        assert_eq!(log.first(), Offset(1_100), "all are too old");
        publish(&log, 200..201);
        assert_eq!(read_all(&log).0.len(), 11);
    }
}

#[test]
fn what_is_held_stays_beyond_the_bounds_of_the_log() {
    for (log, _dir) in both(Settings { bytes_max: 64 << 10, age_max: Duration::from_secs(10), ..settings() }) {
        publish(&log, 0..1);
        log.hold("kafka", Offset(3), 32 << 20);
        publish(&log, 1..200);
        log.tick(at(1_000));
        assert!(log.first() <= Offset(3));
        assert_eq!(log.read(Offset(3), 1).unwrap()[0].offset, Offset(3));
        log.hold("kafka", Offset(2_199), 32 << 20);
        log.tick(at(1_000));
        assert!(log.first() > Offset(2_100), "{:?}", log.first());
        log.release("kafka");
        log.tick(at(1_000));
        log.tick(at(1_000));
        assert_eq!(log.first(), Offset(2_200));
    }
}

#[test]
fn past_the_bound_of_a_hold_the_oldest_parts_are_dropped_and_no_segment() {
    for (log, dir) in both(settings()) {
        log.hold("kafka", Offset(0), 200 << 10);
        publish(&log, 0..100);
        let (records, lost) = read_all(&log);
        assert_eq!(lost, [], "what is dropped on purpose is no damage");
        assert_eq!(sequences(&records, Kind::SegmentReady), (0..100).collect::<Vec<_>>());
        let parts = sequences(&records, Kind::PartReady);
        assert_eq!(dropped(&log, Kind::PartReady), 1_000 - parts.len() as u64);
        assert!(parts.len() > 50 && parts.len() < 500, "{}", parts.len());
        assert!(parts[0] > 50 && *parts.last().unwrap() == 99, "the oldest went: {parts:?}");
        assert_eq!(dropped(&log, Kind::SegmentReady), 0);
        let Some(dir) = dir else { continue };
        let on_disk: u64 = files(&dir).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
        assert!(on_disk <= 208 << 10, "{on_disk}");
        drop(log);
        let (again, lost) = read_all(&open(&dir, settings()));
        assert_eq!((channels(&again), lost), (channels(&records), vec![]), "and it is so after a restart");
    }
}

#[test]
fn segments_are_dropped_only_when_no_part_is_left() {
    for (log, _dir) in both(settings()) {
        log.hold("kafka", Offset(0), 24 << 10);
        publish(&log, 0..100);
        let (records, _) = read_all(&log);
        let segments = sequences(&records, Kind::SegmentReady);
        assert!(dropped(&log, Kind::SegmentReady) > 0);
        assert_eq!(dropped(&log, Kind::SegmentReady), 100 - segments.len() as u64);
        assert_eq!(segments, (100 - segments.len() as u64..100).collect::<Vec<_>>(), "the oldest went");
        let parts = sequences(&records, Kind::PartReady);
        assert_eq!(dropped(&log, Kind::PartReady), 1_000 - parts.len() as u64);
        assert!(parts.iter().all(|sequence| *sequence > 95), "parts went before: {parts:?}");
    }
}

#[test]
fn what_was_handed_on_is_not_counted_as_dropped() {
    for (log, _dir) in both(settings()) {
        log.hold("kafka", Offset(0), 100 << 10);
        for sequence in 0..100 {
            publish(&log, sequence..sequence + 1);
            log.hold("kafka", *log.end().borrow(), 100 << 10);
        }
        assert_eq!(dropped(&log, Kind::PartReady) + dropped(&log, Kind::SegmentReady), 0);
        assert_eq!(log.first(), Offset(0), "and it stays for others");
    }
}

#[test]
fn an_end_while_a_file_is_thinned_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir, settings());
    publish(&log, 0..20);
    drop(log);
    let file = files(&dir)[0].clone();
    let whole = fs::read(&file).unwrap();
    fs::write(file.with_extension("tmp"), &whole[..whole.len() / 2]).unwrap();
    let log = open(&dir, settings());
    assert_eq!(read_all(&log).0.len(), 220, "a copy that is not whole does not count");
    assert!(!file.with_extension("tmp").exists());
    log.hold("kafka", Offset(0), 20 << 10);
    publish(&log, 20..21);
    let (records, _) = read_all(&log);
    drop(log);
    assert!(!file.exists() && file.with_extension("thinned").exists());
    fs::write(&file, whole).unwrap();
    let log = open(&dir, settings());
    assert_eq!(channels(&read_all(&log).0), channels(&records), "the thinned copy counts");
    assert!(!file.exists());
}

#[test]
fn readers_go_on_while_files_leave_and_are_thinned_under_them() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir, Settings { bytes_max: 256 << 10, ..settings() });
    log.hold("kafka", Offset(0), 64 << 10);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let (mut from, mut last) = (Offset(0), None);
                    while last != Some(Offset(3_299)) {
                        match log.read(from, 64) {
                            Ok(records) => {
                                for record in &records {
                                    assert!(last < Some(record.offset), "{last:?} before {:?}", record.offset);
                                    last = Some(record.offset);
                                }
                                from = last.map_or(from, Offset::after).max(from);
                            }
                            Err(lost) => {
                                assert!(lost.first > from || from > lost.wanted, "{lost}");
                                from = lost.first;
                            }
                        }
                    }
                })
            })
            .collect();
        publish(&log, 0..300);
        for reader in readers {
            reader.join().unwrap();
        }
    });
}
