// SPDX-License-Identifier: Apache-2.0
//! A push is answered once the log of events has what it published: media in memory goes with a kill, and an encoder
//! that was answered does not send it again, so nobody could tell of it later.
//!
//! Only the answer waits, and not for long: a log that cannot be written holds up no encoder.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use headwater_events::Publisher;
use headwater_net::metrics::Counter;

use crate::channel::Channel;

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
    /// Waits until the log has what `channel` published of the commands that were sent before; what comes without it is
    /// counted.
    pub async fn wait(&self, channel: &Channel, publisher: &Publisher, unlogged: &Counter) {
        let patience = if self.is_behind.load(Ordering::Relaxed) { SHORT_PATIENCE } else { PATIENCE };
        let logged = async {
            channel.caught_up().await;
            publisher.flushed().await;
        };
        let is_behind = tokio::time::timeout(patience, logged).await.is_err();
        self.is_behind.store(is_behind, Ordering::Relaxed);
        if is_behind {
            unlogged.inc();
        }
    }
}
