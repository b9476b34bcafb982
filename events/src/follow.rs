// SPDX-License-Identifier: Apache-2.0
//! Following events, wherever they come from: a log in this process, a live feed, Kafka. All three look alike.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::event::Event;
use crate::filter::Filter;
use crate::log::{Log, Offset};

/// Where an event stood: what to go on from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// In a log, or a feed of one.
    Log(Offset),
    /// In Kafka.
    Kafka {
        /// The topic.
        topic: String,
        /// Its partition.
        partition: i32,
        /// The message.
        offset: i64,
    },
}

/// What comes.
#[derive(Clone, Debug)]
pub enum Arrival {
    /// An event. The same may come twice, and not in the order of another key's.
    Event(Box<Event>, Position),
    /// Events may be missing before the next one: whoever keeps state from them looks for itself.
    Gap,
}

/// What follows; ends when it is dropped.
#[derive(Debug)]
pub struct Follow {
    arrivals: mpsc::Receiver<Arrival>,
    feedback: Arc<Feedback>,
}

/// What the reader and what feeds it tell each other beside the arrivals.
#[derive(Debug, Default)]
pub(crate) struct Feedback {
    /// Guards the offsets that were dealt with, by topic and partition; held to write one and to take them all.
    done: Mutex<BTreeMap<(String, i32), i64>>,
    /// Messages that were no events of ours.
    malformed: AtomicU64,
}

impl Feedback {
    /// Takes what was dealt with since it was last asked.
    #[cfg(feature = "kafka")]
    pub(crate) fn take(&self) -> BTreeMap<(String, i32), i64> {
        std::mem::take(&mut *self.done.lock())
    }

    /// A message was no event of ours.
    #[cfg(feature = "kafka")]
    pub(crate) fn malformed(&self) {
        self.malformed.fetch_add(1, Ordering::Relaxed);
    }
}

/// Arrivals that may wait for their reader; the log, the feed or the broker keeps the rest.
const WAITING_MAX: usize = 1_024;
/// Read from the log at once.
const BATCH: usize = 256;

impl Follow {
    /// A follower and what feeds it.
    pub fn channel() -> (mpsc::Sender<Arrival>, Self) {
        let (sender, arrivals) = mpsc::channel(WAITING_MAX);
        (sender, Self { arrivals, feedback: Arc::default() })
    }

    #[cfg(feature = "kafka")]
    pub(crate) fn feedback(&self) -> Arc<Feedback> {
        Arc::clone(&self.feedback)
    }

    /// Follows a log in this process from `from` on.
    pub fn log(log: Arc<Log>, filter: Filter, from: Offset) -> Self {
        let (sender, follow) = Self::channel();
        tokio::spawn(feed(log, filter, from, sender));
        follow
    }

    /// The next; `None` when there will be none.
    pub async fn next(&mut self) -> Option<Arrival> {
        self.arrivals.recv().await
    }

    /// The event at `position` and all before it are dealt with. A consumer group of Kafka goes on behind it after a
    /// restart; a log and a feed keep nothing.
    pub fn done(&self, position: &Position) {
        if let Position::Kafka { topic, partition, offset } = position {
            self.feedback.done.lock().insert((topic.clone(), *partition), *offset);
        }
    }

    /// Messages so far that were no events of ours and were passed over.
    pub fn malformed(&self) -> u64 {
        self.feedback.malformed.load(Ordering::Relaxed)
    }
}

async fn feed(log: Arc<Log>, filter: Filter, mut from: Offset, sender: mpsc::Sender<Arrival>) {
    let mut end = log.end();
    loop {
        match log.fetch(from, BATCH).await {
            Err(lost) => {
                from = lost.first;
                if sender.send(Arrival::Gap).await.is_err() {
                    return;
                }
            }
            Ok(records) if records.is_empty() => {
                tokio::select! {
                    changed = end.changed() => if changed.is_err() { return },
                    () = sender.closed() => return,
                }
            }
            Ok(records) => {
                for record in records {
                    from = record.offset.after();
                    if !filter.wants(record.kind, record.channel.as_deref()) {
                        continue;
                    }
                    let arrival = match record.event() {
                        Ok(event) => Arrival::Event(Box::new(event), Position::Log(record.offset)),
                        Err(_) => Arrival::Gap,
                    };
                    if sender.send(arrival).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}
