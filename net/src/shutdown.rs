// SPDX-License-Identifier: Apache-2.0
//! One way to stop, in two steps: [`start`](Shutdown::start) asks everybody to finish what is begun and to begin
//! nothing new; [`close`](Shutdown::close) ends what is left.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;

/// Passed down to every task; clones share the state.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    asked: CancellationToken,
    closed: CancellationToken,
    /// The same without a lock, for those who look at every request; set before them.
    is: Arc<Is>,
    work: TaskTracker,
    connections: TaskTracker,
}

#[derive(Debug, Default)]
struct Is {
    asked: AtomicBool,
    closed: AtomicBool,
}

/// What a stop had to leave behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Tasks that had not finished their work when they were told to end.
    pub work: usize,
    /// Connections that were still open at the deadline.
    pub connections: usize,
}

impl Shutdown {
    /// A shutdown nobody has asked for yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks every task to finish its work.
    pub fn start(&self) {
        self.is.asked.store(true, Ordering::Release);
        self.asked.cancel();
    }

    /// True once asked.
    pub fn is_started(&self) -> bool {
        self.is.asked.load(Ordering::Acquire)
    }

    /// Waits until asked.
    pub async fn started(&self) {
        self.asked.cancelled().await;
    }

    /// Tells every task to end now: nothing more is finished, listeners close, connections end with their last answer.
    pub fn close(&self) {
        self.start();
        self.is.closed.store(true, Ordering::Release);
        self.closed.cancel();
    }

    /// True once told to end now.
    pub fn is_closed(&self) -> bool {
        self.is.closed.load(Ordering::Acquire)
    }

    /// Waits until told to end now.
    pub async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// For one task that looks often.
    pub(crate) fn closing(&self) -> Closing {
        let waiting = Box::pin(self.closed.clone().cancelled_owned());
        Closing { is: Arc::clone(&self.is), waiting, waker: None }
    }

    /// Runs a task that finishes its work once [started](Self::started) and ends when [closed](Self::closed).
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.work.spawn(task)
    }

    /// Runs a connection, which ends after its last answer when [closed](Self::closed).
    pub fn spawn_connection<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.connections.spawn(task)
    }

    /// Connections open now.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Starts the stop and waits for work and connections, at most to the deadline. Says what did not finish.
    pub async fn finished(&self, deadline: Duration) -> Left {
        self.start();
        self.work.close();
        self.connections.close();
        // What is cut off at the deadline wants to be told so.
        let last_answers = (deadline / 2).min(Duration::from_secs(1));
        let finished = tokio::time::timeout(deadline - last_answers, self.work.wait()).await.is_ok();
        let work = if finished { 0 } else { self.work.len() };
        self.close();
        let all = async { tokio::join!(self.work.wait(), self.connections.wait()) };
        let _ = tokio::time::timeout(last_answers, all).await;
        Left { work, connections: self.connections.len() }
    }
}

/// One task's wait for [`Shutdown::closed`]; a look costs a load.
#[derive(Debug)]
pub(crate) struct Closing {
    is: Arc<Is>,
    waiting: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Who is woken; every other look at `waiting` would take a lock that all connections share.
    waker: Option<Waker>,
}

impl Closing {
    /// True once told to end now.
    pub(crate) fn is_closed(&self) -> bool {
        self.is.closed.load(Ordering::Acquire)
    }

    /// Ready once told to end now.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
            let _ = self.waiting.as_mut().poll(cx);
        }
        if self.is_closed() { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn work_is_finished_before_connections_are_closed() {
        let shutdown = Shutdown::new();
        let (working, connected) = (shutdown.clone(), shutdown.clone());
        shutdown.spawn(async move {
            working.started().await;
            tokio::time::sleep(Duration::from_secs(3)).await;
        });
        shutdown.spawn_connection(async move { connected.closed().await });
        let asked = tokio::time::Instant::now();
        assert_eq!(shutdown.finished(DEADLINE).await, Left::default());
        assert_eq!(asked.elapsed(), Duration::from_secs(3));
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_finish_is_told_and_cut_off_at_the_deadline() {
        let shutdown = Shutdown::new();
        let working = shutdown.clone();
        shutdown.spawn(async move { working.closed().await });
        shutdown.spawn_connection(std::future::pending::<()>());
        let asked = tokio::time::Instant::now();
        assert_eq!(shutdown.finished(DEADLINE).await, Left { work: 1, connections: 1 });
        assert_eq!(asked.elapsed(), DEADLINE);
    }
}
