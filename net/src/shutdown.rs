// SPDX-License-Identifier: Apache-2.0
//! One way to stop: a token that is cancelled, a tracker of the tasks that heed it, and a deadline.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Passed down to every task; clones share the state.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    token: CancellationToken,
    tracker: TaskTracker,
}

impl Shutdown {
    /// A shutdown nobody has asked for yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks every task to stop.
    pub fn start(&self) {
        self.token.cancel();
        self.tracker.close();
    }

    /// True once asked.
    pub fn is_started(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits until asked.
    pub async fn started(&self) {
        self.token.cancelled().await;
    }

    /// Runs a task that heeds this shutdown.
    pub fn spawn<F>(&self, task: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: std::future::Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tracker.spawn(task)
    }

    /// Waits for the tasks, at most to the deadline. True if all are done.
    pub async fn finished(&self, deadline: Duration) -> bool {
        self.tracker.close();
        tokio::time::timeout(deadline, self.tracker.wait()).await.is_ok()
    }

    /// Tasks still running.
    pub fn remaining(&self) -> usize {
        self.tracker.len()
    }
}
