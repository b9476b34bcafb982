// SPDX-License-Identifier: Apache-2.0
//! Publishing: what happened goes into a bounded queue and is written by a thread of its own; nobody who publishes waits.

mod queue;
mod seen;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use headwater_media::UtcTime;
use tracing::{error, info};

use crate::config::Config;
use crate::event::{Data, Event, Role, Source};
use crate::log::{self, Entry, Log};
use crate::metrics::{Metrics, Reason};

use queue::{Queue, Waiting};
use seen::Seen;

/// Events that are written at once.
const BATCH: usize = 1_024;
/// How often retention is looked after while nothing happens.
const TICK: Duration = Duration::from_secs(1);
/// How long after a failed write the next is tried.
const RETRY: Duration = Duration::from_millis(250);

/// Takes events of one source; cheap to clone.
#[derive(Clone, Debug)]
pub struct Publisher {
    source: Source,
    node: Arc<Node>,
}

/// What the sources of one node share.
#[derive(Debug)]
struct Node {
    log: Arc<Log>,
    metrics: Arc<Metrics>,
    /// None: what is published is in the log at once.
    queue: Option<Arc<Queue>>,
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(queue) = &self.queue {
            queue.close();
        }
    }
}

impl Publisher {
    /// A publisher whose log is in memory alone; an event is in it when [`publish`](Self::publish) returns.
    pub fn memory(source: Source) -> Self {
        let log = Arc::new(Log::memory());
        let metrics = Arc::clone(log.metrics());
        Self { source, node: Arc::new(Node { log, metrics, queue: None }) }
    }

    /// A publisher and the thread that writes its log, in `dir` or, without one, in memory. The thread ends when the
    /// last clone is dropped; [`stop`](Self::stop) waits for it.
    ///
    /// # Errors
    /// [`log::Error`] if the folder cannot be used, as where another process has it.
    pub fn start(config: &Config, dir: Option<&Path>, source: Source) -> Result<Self, log::Error> {
        let metrics = Arc::new(Metrics::default());
        let settings = log::Settings::of(config);
        let log = match dir {
            Some(dir) => Log::open(dir, settings, metrics)?,
            None => Log::in_memory(settings, metrics),
        };
        Self::over(log, config.queue_max, source)
    }

    /// The same over a log that is open, with a queue of so many events.
    ///
    /// # Errors
    /// [`log::Error::Io`] if there can be no thread.
    pub fn over(log: Log, queue_max: usize, source: Source) -> Result<Self, log::Error> {
        let log = Arc::new(log);
        let metrics = Arc::clone(log.metrics());
        let queue = Arc::new(Queue::new(queue_max, Arc::clone(&metrics)));
        let writer = Writer { log: Arc::clone(&log), metrics: Arc::clone(&metrics), queue: Arc::clone(&queue) };
        std::thread::Builder::new()
            .name("events".to_owned())
            .spawn(move || writer.run())
            .map_err(|cause| log::Error::Io { doing: "to start a thread for", path: "events".into(), cause })?;
        Ok(Self { source, node: Arc::new(Node { log, metrics, queue: Some(queue) }) })
    }

    /// Another source of the same node, into the same log.
    #[must_use]
    pub fn of(&self, role: Role) -> Self {
        Self { source: Source::new(role, self.source.node()), node: Arc::clone(&self.node) }
    }

    /// Who publishes.
    pub const fn source(&self) -> &Source {
        &self.source
    }

    /// Takes an event; never waits, never fails. What the bound of the queue does not let through is counted, oldest
    /// `part.ready` first.
    pub fn publish(&self, time: UtcTime, data: Data) {
        let event = Event::new(&self.source, time, data);
        match &self.node.queue {
            Some(queue) => queue.push(Waiting { event, since: Instant::now() }),
            None => {
                let stored = self.node.log.append(&[event], UtcTime::from_system(SystemTime::now()));
                debug_assert!(stored.is_ok(), "memory takes what comes");
            }
        }
    }

    /// What was published.
    pub fn log(&self) -> &Arc<Log> {
        &self.node.log
    }

    /// The metrics of this node's events.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.node.metrics
    }

    /// Waits until the log has all that was published before. Does not end while the log cannot be written.
    pub async fn flushed(&self) {
        if let Some(queue) = &self.node.queue {
            queue.flushed().await;
        }
    }

    /// Writes what is queued and ends the thread; what is published later is dropped, counted. Says how many events
    /// could not be written until the deadline. Blocks.
    pub fn stop(&self, deadline: Duration) -> usize {
        self.node.queue.as_ref().map_or(0, |queue| queue.finish(Instant::now() + deadline))
    }
}

/// The thread's own.
#[derive(Debug)]
struct Writer {
    log: Arc<Log>,
    metrics: Arc<Metrics>,
    queue: Arc<Queue>,
}

impl Writer {
    fn run(self) {
        let mut seen = Seen::of(&self.log);
        let mut failed: Option<Instant> = None;
        loop {
            let batch = self.queue.take(BATCH, TICK);
            let now = UtcTime::from_system(SystemTime::now());
            if batch.is_empty() {
                self.log.tick(now);
                if self.queue.is_done() {
                    break;
                }
                continue;
            }
            let mut entries = Vec::with_capacity(batch.len());
            for waiting in &batch {
                let kind = waiting.event.kind();
                match Entry::of(&waiting.event) {
                    Some(entry) if seen.is_new(&entry) => entries.push(entry),
                    Some(_) => {
                        self.metrics.repeated.inc();
                    }
                    None => self.metrics.count_dropped(kind, Reason::TooBig, 1),
                }
            }
            while let Err(cause) = self.log.append_entries(&entries, now) {
                if failed.is_none() {
                    error!(%cause, "the log of events cannot be written; events wait and it is tried again");
                    failed = Some(Instant::now());
                }
                if self.queue.wait(RETRY) {
                    let Self { log, queue, .. } = self;
                    drop(log);
                    queue.gave_up(batch.len());
                    return;
                }
            }
            if let Some(since) = failed.take() {
                info!(seconds = since.elapsed().as_secs(), "the log of events is written again");
            }
            for waiting in &batch {
                self.metrics.delay.observe(waiting.since.elapsed().as_secs_f64());
            }
            self.queue.wrote(batch.len());
            self.log.tick(now);
        }
        let Self { log, queue, .. } = self;
        log.close();
        // NB: before the stop is told: whoever waits for it may open the folder again.
        drop(log);
        queue.ended();
    }
}
