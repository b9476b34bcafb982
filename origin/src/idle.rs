// SPDX-License-Identifier: Apache-2.0
//! Ends channels that began with a push and were left: names from pushes must not pile up to the bound of channels.

use std::sync::Weak;
use std::time::Duration;

use headwater_net::Shutdown;
use tracing::info;

use crate::Origin;
use crate::channel::Source;

/// Looks for such channels until the origin stops.
pub(crate) async fn sweep(origin: Weak<Origin>, shutdown: Shutdown) {
    loop {
        let Some(idle) = origin.upgrade().map(|origin| origin.config().channels_idle()) else { return };
        // A quarter late at most, and a reload that turns this on is seen soon.
        let pause = idle.map_or(Duration::from_secs(30), |idle| idle / 4);
        tokio::select! {
            () = tokio::time::sleep(pause.clamp(Duration::from_millis(250), Duration::from_secs(30))) => {}
            () = shutdown.started() => return,
        }
        let Some(origin) = origin.upgrade() else { return };
        if let Some(idle) = origin.config().channels_idle() {
            origin.end_idle(idle);
        }
    }
}

impl Origin {
    fn end_idle(&self, idle: Duration) {
        let now = self.context.clock.now();
        for channel in self.channels() {
            // Media that is promised for its window stays that long.
            let window = Duration::from_secs(u64::from(channel.settings().window_seconds));
            let left = channel.left_alone_since().is_some_and(|since| now.since(since) >= idle.max(window));
            if channel.source() == Source::Push && left {
                info!(channel = %channel.id, "removed: nothing was pushed to it for {} s", idle.max(window).as_secs());
                // A push that comes at this moment is answered 503 and begins the channel anew.
                self.forget(channel.id.as_str(), "idle");
            }
        }
    }
}
