// SPDX-License-Identifier: Apache-2.0
//! The log from outside: what was appended is read, whatever happened to the files since.

mod damage;
mod room;

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::config::Sync;
use crate::event::{Data, Kind};
use crate::tests::{channel_ended, part_ready, segment_ready};
use crate::{Event, Source};

/// A moment for tests.
fn at(seconds: i64) -> UtcTime {
    UtcTime::from_nanos(1_790_000_000_000_000_000 + seconds * 1_000_000_000)
}

fn event(data: Data) -> Event {
    Event::new(&Source::read("/origin/a"), at(0), data)
}

fn ended(number: usize) -> Event {
    event(channel_ended(&format!("c{number}")))
}

/// Small files and no grace, so that a test sees what a day does.
fn settings() -> Settings {
    Settings { file_bytes_max: 4 << 10, grace: std::time::Duration::ZERO, ..Settings::default() }
}

fn open(dir: &TempDir, settings: Settings) -> Log {
    Log::open(dir.path(), settings, Arc::default()).unwrap()
}

fn channels(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| record.channel.as_deref().unwrap_or_default().to_owned()).collect()
}

/// Everything that can be read, and each loss on the way.
fn read_all(log: &Log) -> (Vec<Record>, Vec<Lost>) {
    let (mut records, mut lost, mut from) = (Vec::new(), Vec::new(), log.first());
    while from < *log.end().borrow() {
        match log.read(from, 7) {
            Ok(read) => {
                let Some(last) = read.last() else { break };
                from = last.offset.after();
                records.extend(read);
            }
            Err(gap) => {
                assert!(gap.first > from, "{gap}");
                from = gap.first;
                lost.push(gap);
            }
        }
    }
    (records, lost)
}

/// The files of the log, oldest first.
fn files(dir: &TempDir) -> Vec<PathBuf> {
    let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        names.filter(|path| path.extension().is_some_and(|it| it == "log" || it == "thinned")).collect();
    files.sort();
    files
}

fn dropped(log: &Log, kind: Kind) -> u64 {
    let label = crate::metrics::DroppedLabel { r#type: kind.name(), reason: "held" };
    log.metrics().dropped.get_or_create(&label).get()
}

#[test]
fn events_are_read_in_order_from_memory_and_from_files_over_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for run in 0..4 {
        let log = open(&dir, settings());
        assert_eq!(log.end().borrow().0, run * 50, "offsets go on");
        for number in 0..50 {
            let number = run as usize * 50 + number;
            log.append(&[ended(number)], at(number as i64)).unwrap();
            expected.push(format!("c{number}"));
        }
        let (records, lost) = read_all(&log);
        assert_eq!((channels(&records), lost), (expected.clone(), Vec::new()));
        assert!(records.iter().enumerate().all(|(n, record)| record.offset.0 == n as u64));
        assert_eq!(records[7].event().unwrap(), ended(7));
        log.close();
    }
    assert!(files(&dir).len() > 5, "it went over several files");
}

#[test]
fn a_reader_finds_events_by_when_they_were_stored() {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..100 {
        open(&dir, settings()).append(&[ended(number)], at(number as i64 * 10)).unwrap();
    }
    let log = open(&dir, settings());
    let mut archive = Archive::open(dir.path()).unwrap();
    log.append(&[ended(100)], at(5)).unwrap();
    for (seconds, offset) in [(-1, 0), (0, 0), (1, 1), (500, 50), (501, 51), (990, 99)] {
        assert_eq!(log.offset_at(at(seconds)), Offset(offset), "{seconds}");
        assert_eq!(archive.offset_at(at(seconds)), Offset(offset), "{seconds}");
    }
    assert_eq!(log.read(Offset(100), 1).unwrap()[0].stored, at(990), "the clock of a log does not go back");
    assert_eq!((log.offset_at(at(991)), archive.offset_at(at(991))), (Offset(101), Offset(100)));
}

#[test]
fn two_processes_cannot_write_one_folder_and_another_can_read_it() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(Archive::open(dir.path()), Err(Error::Empty { .. })));
    let log = open(&dir, settings());
    let refused = Log::open(dir.path(), settings(), Arc::default()).unwrap_err();
    assert!(matches!(refused, Error::Locked { .. }), "{refused}");
    log.append(&[ended(0), ended(1)], at(0)).unwrap();
    let mut archive = Archive::open(dir.path()).unwrap();
    assert_eq!(channels(&archive.read(Offset(0), 9).unwrap()), ["c0", "c1"]);
    for number in 2..200 {
        log.append(&[ended(number)], at(0)).unwrap();
    }
    archive.refresh().unwrap();
    assert_eq!(archive.end(), Offset(200));
    assert_eq!(channels(&archive.read(Offset(198), 9).unwrap()), ["c198", "c199"]);
    assert_eq!(archive.read(Offset(201), 9).unwrap_err().first, Offset(0));
}

#[test]
fn a_log_keeps_its_identity_over_a_kill_and_gets_another_with_another_folder() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let identity = open(&dir, settings()).identity().to_owned();
    assert_eq!(open(&dir, settings()).identity(), identity);
    assert_ne!(open(&other, settings()).identity(), identity);
    let text = fs::read_to_string(dir.path().join("identity")).unwrap();
    fs::write(dir.path().join("identity"), text.replace(text.split(' ').nth(1).unwrap(), "an-earlier-boot")).unwrap();
    let after = open(&dir, settings());
    assert_ne!(after.identity(), identity, "the machine went down under it: events may be gone");
    after.close();
    let identity = after.identity().to_owned();
    drop(after);
    let text = fs::read_to_string(dir.path().join("identity")).unwrap();
    fs::write(dir.path().join("identity"), text.replace(text.split(' ').nth(1).unwrap(), "an-earlier-boot")).unwrap();
    assert_eq!(open(&dir, settings()).identity(), identity, "it was ended in order");
}

#[test]
fn a_reader_beyond_the_end_is_told_that_this_is_another_log() {
    for log in [Log::memory(), open(&tempfile::tempdir().unwrap(), settings())] {
        log.append(&[ended(0)], at(0)).unwrap();
        assert_eq!(log.read(Offset(1), 9).unwrap().len(), 0);
        assert_eq!(log.read(Offset(2), 9).unwrap_err(), Lost { wanted: Offset(2), first: Offset(0) });
    }
}
