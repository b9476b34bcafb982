// SPDX-License-Identifier: Apache-2.0
//! One follower of the feed: a task that reads the log at its pace, and the body that its connection takes from.
//!
//! The task waits for the body and never the log for the task. What is on the way to a follower is two batches, of bytes
//! that all followers share.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{Stream, unfold};
use headwater_net::Shutdown;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::warn;

use super::{KEEP_ALIVE, STALL_MAX};
use crate::filter::Filter;
use crate::log::{Log, Lost, Offset};
use crate::metrics::Metrics;
use crate::publisher::Publisher;

/// Events that are read at once.
const BATCH: usize = 128;
/// How long a stop leaves a follower to take what was told last.
const LAST_WITHIN: Duration = Duration::from_millis(500);

/// Who follows, and from where.
#[derive(Debug)]
pub(super) struct Follower {
    publisher: Publisher,
    log: Arc<Log>,
    metrics: Arc<Metrics>,
    filter: Filter,
    from: Offset,
    /// Given back when the follower is gone.
    _place: OwnedSemaphorePermit,
}

/// Why a follower's task ends.
enum End {
    /// The connection is gone.
    Gone,
    /// It took nothing for too long.
    Slow,
    /// The node stops.
    Stop,
}

type Frames = Vec<Bytes>;

/// Starts a follower's task; what it sends is the body.
pub(super) fn start(
    follower: Follower,
    shutdown: &Shutdown,
) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + use<> {
    let (sender, frames) = mpsc::channel::<Frames>(1);
    // Not among the work of a stop, which is finished before feeds are closed: they tell of it.
    tokio::spawn(follower.run(sender, shutdown.clone()));
    unfold((frames, VecDeque::new()), |(mut frames, mut ready)| async move {
        loop {
            if let Some(frame) = ready.pop_front() {
                return Some((Ok(frame), (frames, ready)));
            }
            ready = frames.recv().await?.into();
        }
    })
}

impl Follower {
    pub(super) fn new(publisher: &Publisher, filter: Filter, from: Offset, place: OwnedSemaphorePermit) -> Self {
        let (log, metrics) = (Arc::clone(publisher.log()), Arc::clone(publisher.metrics()));
        metrics.followers.inc();
        Self { publisher: publisher.clone(), log, metrics, filter, from, _place: place }
    }

    async fn run(mut self, sender: mpsc::Sender<Frames>, shutdown: Shutdown) {
        let out_of_time = async {
            shutdown.closed().await;
            sleep(LAST_WITHIN).await;
        };
        let end = tokio::select! {
            end = self.feed(&sender, &shutdown) => end,
            () = out_of_time => End::Stop,
        };
        if matches!(end, End::Slow) {
            self.metrics.drop_follower("slow");
            warn!(next = self.from.0, "a follower of the events took nothing for 30 s and is dropped");
        }
    }

    /// Sends until there is nobody to send to; at a stop, until all that was told is sent.
    async fn feed(&mut self, sender: &mpsc::Sender<Frames>, shutdown: &Shutdown) -> End {
        let mut is_complete = false;
        let mut end = self.log.end();
        if let Err(end) = send(sender, vec![Bytes::from(format!("retry: 1000\n{}", self.place()))]).await {
            return end;
        }
        loop {
            // NB: seen before the log is read, so that no append falls between.
            end.borrow_and_update();
            let frames = match self.log.fetch(self.from, BATCH).await {
                Err(lost) => self.skip(lost),
                Ok(records) if records.is_empty() && is_complete => return End::Stop,
                Ok(records) if records.is_empty() && shutdown.is_closed() => {
                    // What ended with the stop was told a moment ago and may not be written yet.
                    self.publisher.flushed().await;
                    is_complete = true;
                    continue;
                }
                Ok(records) if records.is_empty() => match self.idle(sender, &mut end, shutdown).await {
                    Some(keep_alive) => vec![keep_alive],
                    None if sender.is_closed() => return End::Gone,
                    None => continue,
                },
                Ok(records) => {
                    self.from = records.last().map_or(self.from, |last| last.offset.after());
                    let wanted = records.iter().filter(|r| self.filter.wants(r.kind, r.channel.as_deref()));
                    wanted.map(crate::log::Record::frame).collect()
                }
            };
            if frames.is_empty() {
                continue;
            }
            if let Err(end) = send(sender, frames).await {
                return end;
            }
        }
    }

    /// Waits for more; a comment if nothing comes.
    async fn idle(
        &self,
        sender: &mpsc::Sender<Frames>,
        end: &mut tokio::sync::watch::Receiver<Offset>,
        shutdown: &Shutdown,
    ) -> Option<Bytes> {
        tokio::select! {
            _ = end.changed() => None,
            () = sender.closed() => None,
            () = shutdown.closed() => None,
            () = sleep_until(Instant::now() + KEEP_ALIVE) => Some(Bytes::from(self.place())),
        }
    }

    /// Goes on where the log does, and says so.
    fn skip(&mut self, lost: Lost) -> Frames {
        self.from = lost.first;
        let data = format!("{{\"wanted\":{},\"first\":{}}}", lost.wanted.0, lost.first.0);
        vec![Bytes::from(format!("event: lost\ndata: {data}\n\n"))]
    }

    /// A block without data: it tells whoever resumes where it was, though it may want none of what passed.
    fn place(&self) -> String {
        match self.from.0.checked_sub(1) {
            Some(before) => format!("id: {before}\n: alive\n\n"),
            None => ": alive\n\n".to_owned(),
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.metrics.followers.dec();
    }
}

async fn send(sender: &mpsc::Sender<Frames>, frames: Frames) -> Result<(), End> {
    match timeout(STALL_MAX, sender.send(frames)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(End::Gone),
        Err(_) => Err(End::Slow),
    }
}
