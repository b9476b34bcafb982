// SPDX-License-Identifier: Apache-2.0
//! A process that publishes is killed again and again: what it has acknowledged is in the log, once, in order.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use headwater_events::event::{Data, PartReady, Role, Timestamp};
use headwater_events::log::{Archive, Settings};
use headwater_events::{Log, Publisher, Source};
use headwater_media::UtcTime;

/// The folder, in the process that is to be killed.
const DIR: &str = "EVENTS_KILL_DIR";
/// The first part it publishes.
const FIRST: &str = "EVENTS_KILL_FIRST";
/// Parts that are published again after a restart, as an origin does with its window.
const WINDOW: u64 = 50;
const KILLS: u64 = 24;

/// Files of a few dozen events, so that kills meet their borders too.
fn settings() -> Settings {
    Settings { file_bytes_max: 32 << 10, grace: Duration::ZERO, ..Settings::default() }
}

/// The same part has the same event in every process.
fn part(number: u64) -> (UtcTime, Data) {
    let time = UtcTime::from_nanos(1_790_000_000_000_000_000 + i64::try_from(number).unwrap() * 200_000_000);
    let part = PartReady {
        channel: "news".to_owned(),
        track: "video".to_owned(),
        generation: 0,
        sequence: number,
        part: 0,
        start: Timestamp(time),
        duration_ns: 200_000_000,
        bytes: number,
        digest: format!("{number:032x}"),
        independent: true,
        defects: Vec::new(),
        path: format!("/live/news/video/{number}.0.m4s"),
    };
    (time, Data::PartReady(part))
}

fn number_of(record: &headwater_events::Record) -> u64 {
    match record.event().unwrap().data {
        Data::PartReady(part) => part.sequence,
        other => panic!("{other:?} was never published"),
    }
}

/// Not a test of its own: what [`whatever_was_acknowledged_is_in_the_log_once`] runs in another process.
#[tokio::test]
async fn publishes_until_it_is_killed() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let first: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
    let log = Log::open(Path::new(&dir), settings(), Arc::default()).unwrap();
    let publisher = Publisher::over(log, 1_024, Source::new(Role::Origin, "a")).unwrap();
    for number in first.. {
        let (time, data) = part(number);
        publisher.publish(time, data);
        if number % 3 == 0 {
            publisher.flushed().await;
            println!("\nacknowledged {number}");
        }
    }
}

/// A child that does not outlive the test.
struct Publishing(Child);

impl Publishing {
    fn start(dir: &Path, first: u64) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["publishes_until_it_is_killed", "--exact", "--nocapture"])
            .env(DIR, dir)
            .env(FIRST, first.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// The last part it acknowledged before it was killed, after so many acknowledgements.
    fn killed_after(mut self, acknowledgements: u64) -> u64 {
        let mut lines = BufReader::new(self.0.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut acknowledged = || lines.by_ref().find_map(|line| line.strip_prefix("acknowledged ")?.parse().ok());
        let mut last = 0;
        for _ in 0..acknowledgements {
            last = acknowledged().expect("it publishes until it is killed");
        }
        self.0.kill().unwrap();
        // What it said before it heard of the kill counts too.
        while let Some(later) = acknowledged() {
            last = later;
        }
        last
    }
}

impl Drop for Publishing {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn whatever_was_acknowledged_is_in_the_log_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut next = 0;
    // A generator of the textbook: kills come at moments of no pattern, and at the same in every run.
    let mut random: u64 = 42;
    for kill in 0..KILLS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let first = u64::saturating_sub(next, WINDOW);
        let last = Publishing::start(dir.path(), first).killed_after(20 + (random >> 33) % 150);
        assert!(last >= next, "kill {kill}: it came to {last} behind {next}");
        let mut archive = Archive::open(dir.path()).unwrap();
        let (mut from, mut numbers) = (archive.first(), Vec::new());
        while from < archive.end() {
            let records = archive.read(from, 1_000).unwrap();
            numbers.extend(records.iter().map(number_of));
            from = records.last().unwrap().offset.after();
        }
        let expected: Vec<u64> = (0..numbers.len() as u64).collect();
        assert!(numbers == expected, "kill {kill}: each once, in order; got {:?}", odd(&numbers));
        assert!(numbers.len() as u64 > last, "kill {kill}: {last} was acknowledged, {} are there", numbers.len());
        next = numbers.len() as u64;
    }
}

/// What does not follow from what is before it.
fn odd(numbers: &[u64]) -> Vec<(u64, u64)> {
    numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1).map(|pair| (pair[0], pair[1])).collect()
}
