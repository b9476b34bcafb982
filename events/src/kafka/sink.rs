// SPDX-License-Identifier: Apache-2.0
//! The sink as its process holds it: started, and finished in order.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::client::{self, Error};
use super::metrics::Metrics;
use super::position::Position;
use super::running::Running;
use crate::config;
use crate::log::Log;

/// The sink of a process; it ends at once when it is dropped, and with [`Sink::finish`] in order.
#[derive(Debug)]
pub struct Sink {
    /// When to give up; none: go on.
    finish: watch::Sender<Option<Instant>>,
    task: JoinHandle<Left>,
}

/// What was not acknowledged at the end. It is in the log, and sent after the next start if the log is on a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Events.
    pub events: u64,
}

impl Sink {
    /// Begins to publish what `log` holds, from where the brokers had acknowledged it; `folder` is where that is kept.
    ///
    /// Brokers need not be there: they are waited for.
    ///
    /// # Errors
    /// [`Error`] if `config` makes no client.
    pub fn start(
        config: &config::Kafka,
        log: Arc<Log>,
        folder: Option<&Path>,
        metrics: Metrics,
    ) -> Result<Self, Error> {
        client::check(config)?;
        let (position, known) = Position::open(folder, &config.prefix, log.identity());
        let end = *log.end().borrow();
        // Past the end: the machine has lost what the log had not forced to the disk.
        let from = known.map_or_else(|| log.first(), |known| known.min(end));
        let (finish, asked) = watch::channel(None);
        let running = Running::new(config, log, from, position, metrics)?;
        let task = tokio::spawn(running.run(asked));
        Ok(Self { finish, task })
    }

    /// Hands over what is in the log now and waits until it is acknowledged, at most for `within`.
    pub async fn finish(mut self, within: Duration) -> Left {
        self.finish.send_replace(Some(Instant::now() + within));
        (&mut self.task).await.unwrap_or_default()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}
