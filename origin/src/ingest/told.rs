// SPDX-License-Identifier: Apache-2.0
//! A push is answered once the log of events has what it published: media in memory goes with a kill, and an encoder
//! that was answered does not send it again, so nobody could tell of it later.
//!
//! Only the answer waits, and not for long: a log that cannot be written holds up no encoder.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use headwater_net::metrics::Counter;

/// How long an answer waits for the log.
const PATIENCE: Duration = Duration::from_millis(500);
/// The same while the log is known to be behind.
const SHORT_PATIENCE: Duration = Duration::from_millis(20);

/// What answers to encoders have found the log to be.
#[derive(Debug, Default)]
pub struct Told {
    /// The last answer waited in vain.
    is_behind: AtomicBool,
}

impl Told {
    /// Waits until the log has what an answer stands for; `unlogged` counts those that are given without.
    pub async fn wait(&self, logged: impl Future<Output = ()>, unlogged: &Counter) {
        let patience = if self.is_behind.load(Ordering::Relaxed) { SHORT_PATIENCE } else { PATIENCE };
        let is_behind = tokio::time::timeout(patience, logged).await.is_err();
        self.is_behind.store(is_behind, Ordering::Relaxed);
        if is_behind {
            unlogged.inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_log_that_is_not_written_holds_up_one_answer_and_the_others_hardly() {
        let (told, unlogged) = (Told::default(), Counter::default());
        let begun = Instant::now();
        told.wait(pending(), &unlogged).await;
        let first = begun.elapsed();
        told.wait(pending(), &unlogged).await;
        let second = begun.elapsed() - first;
        assert!(first >= PATIENCE && second < PATIENCE / 10, "{first:?}, then {second:?}");
        assert_eq!(unlogged.get(), 2);

        // Once it is written again an answer waits for a slow disk as before.
        told.wait(ready(()), &unlogged).await;
        told.wait(sleep(PATIENCE / 2), &unlogged).await;
        assert_eq!(unlogged.get(), 2);
    }
}
