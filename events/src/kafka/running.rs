// SPDX-License-Identifier: Apache-2.0
//! The task of the sink: it hands the log to the brokers and follows what they acknowledge.
//!
//! It goes on for ever: brokers that are away are waited for, a client that has broken is made anew and gets what is not
//! acknowledged once more.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use headwater_media::UtcTime;
use rdkafka::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tracing::warn;

use super::client::{self, Context, Error};
use super::flight::Flight;
use super::metrics::{Metrics, Reason};
use super::position::Position;
use super::producer::{Producer, Report, Said, Verdict};
use super::sink::Left;
use super::topics;
use crate::config;
use crate::event::Kind;
use crate::log::{Log, Lost, Offset, Record};
use crate::topic::Topic;

/// Read from the log at once.
const BATCH: usize = 512;
/// Batches handed over before reports are heard.
const BATCHES: usize = 4;
/// How often the position is kept and the backlog measured.
const TICK: Duration = Duration::from_millis(200);
/// How soon brokers are asked for the topics again, and a broken client is made anew; it doubles.
const AGAIN: Duration = Duration::from_secs(1);
/// The longest of these.
const AGAIN_MAX: Duration = Duration::from_secs(16);
/// How long a topic may refuse events before they are given up rather than hold up the others.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often what was given up is said.
const SAY: Duration = Duration::from_secs(10);

/// How far handing over got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reached {
    /// The end of the log.
    End,
    /// As much as may fly, or as the client takes.
    Full,
    /// There is more; others first.
    More,
}

/// The sink's own state.
pub(super) struct Running {
    config: config::Kafka,
    producer_config: ClientConfig,
    admin_config: ClientConfig,
    /// Names of the topics, as [`Topic::ALL`].
    names: [String; 4],
    log: Arc<Log>,
    /// By what the log knows who holds events.
    name: String,
    flight: Flight,
    /// Read, and not handed over yet: one place that gets free is not worth a reading.
    read: VecDeque<Record>,
    position: Position,
    metrics: Metrics,
    /// Made once the topics are looked at.
    producer: Option<Producer>,
    generation: u32,
    reporter: mpsc::UnboundedSender<Report>,
    reports: mpsc::UnboundedReceiver<Report>,
    /// Why another client is to be made.
    broken: Option<Option<RDKafkaErrorCode>>,
    /// Clients that broke since the last acknowledgement.
    broken_in_a_row: u32,
    /// Topics that refuse, since when.
    refusing: BTreeMap<Topic, Instant>,
    /// Given up since it was last said, and when that was.
    given_up: BTreeMap<&'static str, u64>,
    said: Option<Instant>,
}

impl Running {
    pub(super) fn new(
        config: &config::Kafka,
        log: Arc<Log>,
        from: Offset,
        position: Position,
        metrics: Metrics,
    ) -> Result<Self, Error> {
        let (reporter, reports) = mpsc::unbounded_channel();
        Ok(Self {
            producer_config: client::producer(config)?,
            admin_config: client::admin(config)?,
            config: config.clone(),
            names: Topic::ALL.map(|topic| topic.of_prefix(&config.prefix)),
            log,
            name: format!("kafka-{}", config.prefix),
            flight: Flight::from(from),
            read: VecDeque::new(),
            position,
            metrics,
            producer: None,
            generation: 0,
            reporter,
            reports,
            broken: None,
            broken_in_a_row: 0,
            refusing: BTreeMap::new(),
            given_up: BTreeMap::new(),
            said: None,
        })
    }

    /// Runs until `finish` tells a deadline, and then until all is acknowledged or the deadline has come.
    pub(super) async fn run(mut self, mut finish: watch::Receiver<Option<Instant>>) -> Left {
        let mut end = self.log.end();
        // Before anything may leave the log.
        self.look_after();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ready = self.look_at_topics(Duration::ZERO);
        let events = loop {
            if let Some(code) = self.broken.take() {
                ready = self.begin_anew(code).await;
            }
            let reached = self.hand_over().await;
            let deadline = *finish.borrow_and_update();
            let is_at_end = reached == Reached::End || self.flight.next() >= *end.borrow();
            let is_done = is_at_end && self.flight.is_empty();
            if deadline.is_some_and(|deadline| is_done || Instant::now() >= deadline) {
                break if is_done { 0 } else { self.left() };
            }
            tokio::select! {
                Some(report) = self.reports.recv() => {
                    self.hear(report);
                    self.hear_all();
                }
                // The log outlives this task: its end does not end.
                _ = end.changed(), if reached == Reached::End => {}
                () = std::future::ready(()), if reached == Reached::More => tokio::task::yield_now().await,
                _ = tick.tick() => self.look_after(),
                made = &mut ready, if self.producer.is_none() && self.broken.is_none() => match made {
                    Ok(()) => self.make_producer(),
                    Err(_) => ready = self.look_at_topics(AGAIN_MAX),
                },
                _ = finish.changed() => {}
            }
        };
        self.position.keep(self.flight.position());
        if let Some(producer) = self.producer.take() {
            producer.put_away().await;
        }
        Left { events }
    }

    /// Asks for the topics until brokers have answered.
    fn look_at_topics(&self, wait: Duration) -> oneshot::Receiver<()> {
        let (done, ready) = oneshot::channel();
        let (client, config) = (self.admin_config.clone(), self.config.clone());
        let context = Context { metrics: self.metrics.clone() };
        tokio::spawn(topics::look(client, config, context, wait, done));
        ready
    }

    fn make_producer(&mut self) {
        self.generation += 1;
        let context = Context { metrics: self.metrics.clone() };
        match Producer::new(&self.producer_config, context, self.generation, self.reporter.clone()) {
            Ok(producer) => self.producer = Some(producer),
            Err(error) => self.broken = Some(error.rdkafka_error_code()),
        }
    }

    /// Puts the client away; the next one gets what is not acknowledged.
    async fn begin_anew(&mut self, code: Option<RDKafkaErrorCode>) -> oneshot::Receiver<()> {
        let wait = (AGAIN * (1 << self.broken_in_a_row.min(8))).min(AGAIN_MAX);
        self.broken_in_a_row += 1;
        warn!(code = ?code, wait_ms = wait.as_millis() as u64, "kafka: a new client goes on from what is acknowledged");
        if let Some(producer) = self.producer.take() {
            producer.put_away().await;
        }
        self.hear_all();
        self.broken = None;
        self.read.clear();
        self.flight.rewind();
        self.look_at_topics(wait)
    }

    /// Hands over what may fly.
    async fn hand_over(&mut self) -> Reached {
        for _ in 0..BATCHES {
            if self.producer.is_none() || self.broken.is_some() || !self.flight.has_room() {
                return Reached::Full;
            }
            if self.read.is_empty() {
                match self.log.fetch(self.flight.next(), BATCH).await {
                    Ok(records) => self.read = records.into(),
                    Err(lost) => {
                        self.lost(lost);
                        continue;
                    }
                }
            }
            if self.read.is_empty() {
                // What was to be sent again may be gone.
                let lost = self.flight.skip_rest();
                self.give_up(None, Reason::Log, lost);
                return Reached::End;
            }
            while let Some(record) = self.read.pop_front() {
                if !self.hand(&record) {
                    self.read.push_front(record);
                    return Reached::Full;
                }
            }
        }
        Reached::More
    }

    /// Hands over one; false if no other may follow now.
    fn hand(&mut self, record: &Record) -> bool {
        // The log counts by type what it drops for those who are behind; this is for what the client had already.
        let lost = self.flight.skip_to(record.offset);
        self.give_up(None, Reason::Log, lost);
        let Some(producer) = self.producer.as_ref().filter(|_| self.flight.has_room()) else { return false };
        if !self.flight.wants(record) {
            self.flight.pass(record);
            return true;
        }
        match producer.send(&self.names[Topic::of(record.kind) as usize], record) {
            Said::Full => return false,
            Said::Taken => self.flight.pass(record),
            Said::Refused(code) => {
                self.flight.pass(record);
                self.hear(Report { generation: self.generation, offset: record.offset, result: Err(code) });
            }
        }
        self.broken.is_none()
    }

    fn hear_all(&mut self) {
        while let Ok(report) = self.reports.try_recv() {
            self.hear(report);
        }
    }

    /// What became of one that was handed over.
    fn hear(&mut self, report: Report) {
        let code = match report.result {
            Ok(()) => {
                if let Some(landed) = self.flight.land(report.offset) {
                    let now = UtcTime::from_system(SystemTime::now());
                    let delay = now.nanos().saturating_sub(landed.stored.nanos()).max(0);
                    self.metrics.acknowledged(Duration::from_nanos(delay.unsigned_abs()));
                    self.refusing.remove(&Topic::of(landed.kind));
                    self.broken_in_a_row = 0;
                }
                return;
            }
            Err(code) => code,
        };
        // What a client that is put away reports of itself is no news.
        let Some(kind) = self.flight.kind(report.offset).filter(|_| report.generation == self.generation) else {
            return;
        };
        if matches!(code, Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight)) {
            return;
        }
        self.metrics.error(code);
        match Verdict::of(code) {
            Verdict::Message => self.refused(report.offset, kind),
            Verdict::Topic => {
                let since = *self.refusing.entry(Topic::of(kind)).or_insert_with(Instant::now);
                if since.elapsed() >= PATIENCE {
                    self.refused(report.offset, kind);
                } else {
                    self.broken = Some(code);
                }
            }
            Verdict::Client => self.broken = Some(code),
        }
    }

    fn refused(&mut self, offset: Offset, kind: Kind) {
        self.flight.land(offset);
        self.give_up(Some(kind), Reason::Refused, 1);
    }

    fn lost(&mut self, lost: Lost) {
        let before = self.flight.next();
        let again = self.flight.skip_to(lost.first);
        self.give_up(None, Reason::Log, again.max(lost.first.0.saturating_sub(before.0)));
    }

    /// Events of the log that are not acknowledged; those that it has dropped among them are counted too.
    fn left(&self) -> u64 {
        self.flight.len() + self.log.end().borrow().0.saturating_sub(self.flight.next().0)
    }

    fn give_up(&mut self, kind: Option<Kind>, reason: Reason, events: u64) {
        if events > 0 {
            self.metrics.dropped(kind, reason, events);
            *self.given_up.entry(kind.map_or("unknown", Kind::name)).or_default() += events;
        }
    }

    /// Keeps the position, and measures what waits.
    fn look_after(&mut self) {
        let position = self.flight.position();
        self.position.keep(position);
        self.log.hold(&self.name, position, self.config.outbox_bytes_max);
        let left = self.left();
        // The log tells bytes by the stretch: nothing is nothing.
        self.metrics.backlog(left, if left == 0 { 0 } else { self.log.bytes_from(position) });
        if !self.given_up.is_empty() && self.said.is_none_or(|said| said.elapsed() >= SAY) {
            let events: Vec<String> = self.given_up.iter().map(|(kind, events)| format!("{events} {kind}")).collect();
            warn!(events = events.join(", "), "kafka: events are given up");
            self.given_up.clear();
            self.said = Some(Instant::now());
        }
    }
}
