// SPDX-License-Identifier: Apache-2.0
//! What telling events costs, and that no part waits for them: origins that differ in where their events go take turns
//! with the same ladder, so that their ratio holds on a busy machine too.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use headwater_tests::broker::{self, Broker};
use tokio::time::Instant;

use crate::encoder::{Encoder, LADDER};
use crate::figures::Sorted;
use crate::origin::Origin;
use crate::process::{Scratch, free_port};
use crate::shield::table::Table;
use crate::viewers::{self, Crowd};

const TURNS: usize = 3;
const SETTLING: Duration = Duration::from_secs(3);
/// Ten seconds of media in each turn.
const PARTS: u32 = 50;
const PART: Duration = Duration::from_millis(200);
const WAITERS: usize = 10;
/// How long a small disk may take to be full.
const FULL_WITHIN: Duration = Duration::from_secs(60);

/// Where an origin's events go, and what has to be there for that.
struct Row {
    name: &'static str,
    // NB: before what it uses: that goes last.
    origin: Origin,
    _folder: Option<Scratch>,
    _broker: Option<Broker>,
    measured: Measured,
}

#[derive(Default)]
struct Measured {
    /// Milliseconds from a part's last byte into the socket to the last byte of the reload that waited for it.
    times: Vec<f64>,
    /// Parts that are not in these, for the encoder was behind its clock.
    late: u32,
    cpu: f64,
    /// Events that the log took.
    logged: u64,
    acknowledged: Buckets,
}

pub(crate) async fn run(program: &str) {
    let (mut rows, mut absent) = (Vec::new(), Vec::new());
    for (name, started) in [
        ("memory", Ok(in_memory(program).await)),
        ("disk", Ok(on_disk(program).await)),
        ("Kafka", to_kafka(program).await),
        ("Kafka, stopped (SIGSTOP)", to_frozen_kafka(program).await),
        ("Kafka, nobody listens", Ok(to_nobody(program).await)),
        ("disk, full", to_full_disk(program).await),
    ] {
        match started {
            Ok((origin, folder, broker)) => {
                rows.push(Row { name, origin, _folder: folder, _broker: broker, measured: Measured::default() });
            }
            Err(why) => absent.push((name, why)),
        }
    }
    for turn in 0..TURNS {
        for row in &mut rows {
            row.turn(&format!("live{turn}")).await;
        }
    }
    let said = format!(
        "{} tracks, {TURNS} turns of {} s, origin by origin. From a part's last byte into the socket to the last byte of \
         each of {WAITERS} reloads that waited for it; the CPU is with these. Late: parts left out, for the encoder \
         itself was behind its clock. Acknowledged: from the log taking an event, \
         below a bound of the metric's buckets. Waiting: at the end, for the log or for the broker.",
        LADDER.len(),
        (PART * PARTS).as_secs()
    );
    let columns = [
        "p50 ms",
        "p99 ms",
        "max ms",
        "late",
        "CPU-s per channel-hour",
        "logged",
        "acknowledged p50 ms",
        "p99 ms",
        "waiting",
        "failed writes",
    ];
    let table = Table::of("events go to", "Events: what a part waits for them", &said, &columns);
    for row in &rows {
        table.row(row.name, &row.cells().await);
    }
    for (name, why) in absent {
        table.absent(name, &why);
    }
}

type Started = (Origin, Option<Scratch>, Option<Broker>);

async fn in_memory(program: &str) -> Started {
    (Origin::start(program, 1, "").await, None, None)
}

async fn on_disk(program: &str) -> Started {
    let folder = Scratch::new("events-disk");
    (Origin::start(program, 1, &into(folder.folder())).await, Some(folder), None)
}

/// With the log on disk, as an outbox.
async fn to_kafka(program: &str) -> Result<Started, String> {
    let folder = Scratch::new("events-kafka");
    let broker = single()?;
    let config = into(folder.folder()) + &through(&broker.bootstrap());
    Ok((Origin::start(program, 1, &config).await, Some(folder), Some(broker)))
}

/// A broker of its own, so that the other one's events are acknowledged meanwhile.
async fn to_frozen_kafka(program: &str) -> Result<Started, String> {
    let folder = Scratch::new("events-frozen");
    let broker = single()?;
    let config = into(folder.folder()) + &through(&broker.bootstrap());
    let origin = Origin::start(program, 1, &config).await;
    // It had topics and a connection before.
    Encoder::start(&origin, "before", LADDER).await.run(SETTLING).await;
    let deadline = Instant::now() + FULL_WITHIN;
    while origin.metric("headwater_events_kafka_acknowledged_total").await == 0 {
        if Instant::now() > deadline {
            return Err("the broker acknowledged nothing".to_owned());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    broker.freeze(0);
    Ok((origin, Some(folder), Some(broker)))
}

async fn to_nobody(program: &str) -> Started {
    let folder = Scratch::new("events-nobody");
    let config = into(folder.folder()) + &through(&format!("127.0.0.1:{}", free_port()));
    (Origin::start(program, 1, &config).await, Some(folder), None)
}

/// A file system of its own that only this origin sees; it needs root, and goes with the process.
async fn to_full_disk(program: &str) -> Result<Started, String> {
    let folder = Scratch::new("events-full");
    let mounted = |command: &str| {
        let mut unshare = Command::new("unshare");
        let script = format!("mount -t tmpfs -o size=128k tmpfs \"$1\" && shift && {command}");
        unshare.args(["--mount", "sh", "-c", &script, "sh"]).arg(folder.folder());
        unshare
    };
    if !mounted("true").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        return Err("no small file system may be mounted here".to_owned());
    }
    let mut command = mounted("exec \"$@\"");
    command.arg(program);
    let origin = Origin::start_as(command, 1, &into(folder.folder())).await;
    let mut encoder = Encoder::start(&origin, "before", LADDER).await;
    let deadline = Instant::now() + FULL_WITHIN;
    while origin.metric("headwater_events_log_write_errors_total").await == 0 {
        if Instant::now() > deadline {
            return Err("a small file system did not fill".to_owned());
        }
        encoder.step().await;
    }
    Ok((origin, Some(folder), None))
}

fn single() -> Result<Broker, String> {
    match broker::find_jars("kafka") {
        Some(_) => Ok(Broker::single()),
        None => Err("scripts/jars.sh kafka has not run".to_owned()),
    }
}

fn into(folder: &Path) -> String {
    format!("[events]\ndir = {folder:?}\n")
}

fn through(bootstrap: &str) -> String {
    format!("[events.kafka]\nbootstrap = \"{bootstrap}\"\n")
}

impl Row {
    /// Pushes a new channel for some seconds.
    async fn turn(&mut self, channel: &str) {
        let Self { origin, measured, .. } = self;
        let mut encoder = Encoder::start(origin, channel, LADDER).await;
        encoder.run(SETTLING).await;
        let mut crowd = Crowd::connect(origin, WAITERS).await;
        let logged = origin.metric_sum("headwater_events_published_total").await;
        let (acknowledged, cpu) = (Buckets::read(origin).await, origin.process.cpu());
        for _ in 0..PARTS {
            let reloads = crowd.ask(&viewers::reload(channel, encoder.next_part())).await;
            let late = encoder.is_late();
            let sent = encoder.step().await;
            let answers = crowd.answered(reloads, sent).await;
            // An encoder that is itself behind its clock has its media paced: not what is measured here.
            if late {
                measured.late += 1;
            } else {
                measured.times.extend(answers);
            }
        }
        measured.cpu += origin.process.cpu() - cpu;
        measured.logged += origin.metric_sum("headwater_events_published_total").await - logged;
        measured.acknowledged.add(&Buckets::read(origin).await, &acknowledged);
    }

    async fn cells(&self) -> Vec<String> {
        let Self { origin, measured, .. } = self;
        let times = Sorted::new(measured.times.clone());
        let hours = (PART * PARTS * TURNS as u32).as_secs_f64() / 3_600.0;
        let waiting = origin.metric("headwater_events_queued").await
            + origin.metric("headwater_events_kafka_backlog_events").await;
        let mut cells = times.cells().to_vec();
        cells.extend([
            format!("{}", measured.late),
            format!("{:.1}", measured.cpu / hours),
            format!("{}", measured.logged),
            measured.acknowledged.said(0.5),
            measured.acknowledged.said(0.99),
            format!("{waiting}"),
            format!("{}", origin.metric("headwater_events_log_write_errors_total").await),
        ]);
        cells
    }
}

/// How many events the brokers acknowledged within so many seconds, the last within any time.
#[derive(Default)]
struct Buckets(Vec<(f64, u64)>);

impl Buckets {
    async fn read(origin: &Origin) -> Self {
        let text = origin.body("/metrics").await;
        let text = String::from_utf8_lossy(&text);
        let lines = text.lines().filter_map(|line| {
            let (bound, count) =
                line.strip_prefix("headwater_events_kafka_delay_seconds_bucket{le=\"")?.split_once("\"} ")?;
            Some((bound.parse().unwrap_or(f64::INFINITY), count.parse().ok()?))
        });
        Self(lines.collect())
    }

    /// Adds what came between two readings.
    fn add(&mut self, after: &Self, before: &Self) {
        self.0.resize(after.0.len(), (0.0, 0));
        for (sum, (after, before)) in self.0.iter_mut().zip(after.0.iter().zip(&before.0)) {
            *sum = (after.0, sum.1 + after.1 - before.1);
        }
    }

    /// The bound in milliseconds below which this share lies.
    fn said(&self, share: f64) -> String {
        let all = self.0.last().map_or(0, |(_, count)| *count) as f64;
        let bound = self.0.iter().find(|(_, count)| all > 0.0 && *count as f64 >= all * share);
        bound.map_or("none".to_owned(), |(bound, _)| format!("≤ {:.0}", bound * 1e3))
    }
}

#[cfg(test)]
mod tests {
    use super::Buckets;

    #[test]
    fn only_what_came_between_two_readings_counts() {
        let bounds = [0.002, 0.005, f64::INFINITY];
        let read = |counts: [u64; 3]| Buckets(bounds.into_iter().zip(counts).collect());
        let mut sum = Buckets::default();
        sum.add(&read([10, 10, 20]), &read([0, 0, 10]));
        assert_eq!(sum.said(0.5), "≤ 2");
        sum.add(&read([10, 110, 120]), &read([10, 10, 20]));
        assert_eq!((sum.said(0.5), sum.said(0.99)), ("≤ 5".to_owned(), "≤ 5".to_owned()));
        assert_eq!(Buckets::default().said(0.5), "none");
    }
}
