// SPDX-License-Identifier: Apache-2.0
//! The queue between those who publish and the thread that writes. At its bound the oldest `part.ready` goes, and
//! another only where no `part.ready` waits: parts are worth least when they are old.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use crate::event::{Event, Kind};
use crate::metrics::{Metrics, Reason};

/// An event that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) event: Event,
    pub(super) since: Instant,
}

#[derive(Debug)]
pub(super) struct Queue {
    /// Guards what waits; held to put in and to take out, never while something is written.
    state: Mutex<State>,
    changed: Condvar,
    max: usize,
    metrics: Arc<Metrics>,
    /// How many events are done with, of those that ever came.
    done: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// `part.ready` by number.
    parts: VecDeque<(u64, Waiting)>,
    /// All others by number.
    others: VecDeque<(u64, Waiting)>,
    /// The number of the next.
    next: u64,
    is_closed: bool,
    /// When the thread may give up, once it was asked to finish.
    deadline: Option<Instant>,
    has_ended: bool,
    unwritten: usize,
    /// Taken and not yet written.
    taken: usize,
}

impl State {
    fn len(&self) -> usize {
        self.parts.len() + self.others.len()
    }

    /// The oldest.
    fn pop(&mut self) -> Option<Waiting> {
        let parts_first = match (self.parts.front(), self.others.front()) {
            (Some((part, _)), Some((other, _))) => part < other,
            (part, _) => part.is_some(),
        };
        let from = if parts_first { &mut self.parts } else { &mut self.others };
        from.pop_front().map(|(_, waiting)| waiting)
    }
}

impl Queue {
    pub(super) fn new(max: usize, metrics: Arc<Metrics>) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), max, metrics, done: watch::Sender::new(0) }
    }

    /// Puts an event in; never waits for the writer.
    pub(super) fn push(&self, waiting: Waiting) {
        let kind = waiting.event.kind();
        let mut state = self.state.lock();
        if state.is_closed {
            drop(state);
            self.metrics.count_dropped(kind, Reason::Stopped, 1);
            return;
        }
        let number = state.next;
        state.next += 1;
        let into = if kind == Kind::PartReady { &mut state.parts } else { &mut state.others };
        into.push_back((number, waiting));
        let over = (state.len() > self.max).then(|| match state.parts.pop_front() {
            Some(part) => Some(part),
            None => state.others.pop_front(),
        });
        self.metrics.queued.set(state.len() as i64);
        drop(state);
        self.changed.notify_one();
        if let Some((_, dropped)) = over.flatten() {
            self.metrics.count_dropped(dropped.event.kind(), Reason::Queue, 1);
            self.done.send_modify(|done| *done += 1);
        }
    }

    /// Takes the oldest, at most `max`, in the order they came; none if none comes in time.
    pub(super) fn take(&self, max: usize, patience: Duration) -> Vec<Waiting> {
        let mut state = self.state.lock();
        if state.len() == 0 && !state.is_closed {
            self.changed.wait_for(&mut state, patience);
        }
        let batch: Vec<Waiting> = std::iter::from_fn(|| state.pop()).take(max).collect();
        state.taken = batch.len();
        self.metrics.queued.set(state.len() as i64);
        batch
    }

    /// What was taken is written.
    pub(super) fn wrote(&self, count: usize) {
        self.state.lock().taken = 0;
        self.done.send_modify(|done| *done += count as u64);
    }

    /// Nothing waits, and nothing will come.
    pub(super) fn is_done(&self) -> bool {
        let state = self.state.lock();
        state.is_closed && state.len() == 0
    }

    /// Waits before another try; true if there is to be none.
    pub(super) fn wait(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        let mut state = self.state.lock();
        loop {
            let now = Instant::now();
            // Without a deadline nobody waits for the thread: the last publisher is gone.
            if state.is_closed && state.deadline.is_none_or(|deadline| now >= deadline) {
                return true;
            }
            if now >= until {
                return false;
            }
            self.changed.wait_until(&mut state, until);
        }
    }

    /// What was taken cannot be written in time, nor what waits.
    pub(super) fn gave_up(&self, taken: usize) {
        let mut state = self.state.lock();
        state.unwritten = taken + state.len();
        state.has_ended = true;
        self.changed.notify_all();
    }

    /// The thread has written everything.
    pub(super) fn ended(&self) {
        self.state.lock().has_ended = true;
        self.changed.notify_all();
    }

    /// Nothing will come.
    pub(super) fn close(&self) {
        self.state.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Closes and waits for the thread; says what was not written.
    pub(super) fn finish(&self, deadline: Instant) -> usize {
        let mut state = self.state.lock();
        state.is_closed = true;
        state.deadline = Some(deadline);
        self.changed.notify_all();
        while !state.has_ended {
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                break;
            }
        }
        if state.has_ended { state.unwritten } else { state.taken + state.len() }
    }

    /// Waits until all that came before is done with.
    pub(super) async fn flushed(&self) {
        let came = self.state.lock().next;
        // The sender lives as long as this.
        let _ = self.done.subscribe().wait_for(|done| *done >= came).await;
    }
}

#[cfg(test)]
mod tests {
    use headwater_media::UtcTime;

    use super::*;
    use crate::tests::{channel_ended, part_ready};

    fn queue(max: usize) -> (Queue, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::default());
        (Queue::new(max, Arc::clone(&metrics)), metrics)
    }

    fn push(queue: &Queue, data: crate::Data) {
        let event = Event::new(&crate::Source::read("/origin/a"), UtcTime::from_nanos(0), data);
        queue.push(Waiting { event, since: Instant::now() });
    }

    fn taken(queue: &Queue) -> Vec<String> {
        queue.take(100, Duration::ZERO).into_iter().map(|waiting| waiting.event.id).collect()
    }

    #[test]
    fn at_the_bound_the_oldest_part_goes_and_others_only_when_no_part_is_left() {
        let (queue, metrics) = queue(3);
        push(&queue, channel_ended("a"));
        push(&queue, part_ready("news", 1, 0));
        push(&queue, part_ready("news", 1, 1));
        push(&queue, channel_ended("b"));
        push(&queue, channel_ended("c"));
        push(&queue, channel_ended("d"));
        let left: Vec<String> = taken(&queue).iter().map(|id| id.split('@').next().unwrap().to_owned()).collect();
        assert_eq!(left, ["channel.ended:a/b", "channel.ended:a/c", "channel.ended:a/d"]);
        let dropped = |kind: Kind| {
            let label = crate::metrics::DroppedLabel { r#type: kind.name(), reason: "queue" };
            metrics.dropped.get_or_create(&label).get()
        };
        assert_eq!((dropped(Kind::PartReady), dropped(Kind::ChannelEnded)), (2, 1));
    }

    #[test]
    fn events_leave_in_the_order_they_came() {
        let (queue, _) = queue(100);
        for n in 0..10 {
            push(&queue, if n % 3 == 0 { channel_ended(&format!("{n}")) } else { part_ready(&format!("{n}"), 1, 0) });
        }
        let ids = taken(&queue);
        assert_eq!(ids.len(), 10);
        for (n, id) in ids.iter().enumerate() {
            assert!(id.contains(&n.to_string()), "{id} came as number {n}");
        }
    }
}
