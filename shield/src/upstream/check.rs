// SPDX-License-Identifier: Apache-2.0
//! Active checks: every origin is asked for the health page, on its own beat.

use std::sync::Arc;

use headwater_net::Shutdown;
use http::StatusCode;
use tokio::task::JoinSet;
use tokio::time::{Duration, MissedTickBehavior};

use super::ask::fault;
use super::group::{Among, Members, now};
use super::health::Fault;
use super::origin::{Deadlines, Origin, Outgoing, Transport};
use super::{Ask, Group};

/// How often the group tidies up where there are no checks, in any case.
const TIDY: Duration = Duration::from_secs(1);

impl Group {
    /// Checks the origins until the shutdown is closed.
    pub async fn run(self: Arc<Self>, shutdown: Shutdown) {
        tokio::select! {
            () = self.beat() => {}
            () = shutdown.closed() => {}
        }
    }

    async fn beat(self: &Arc<Self>) {
        let mut checks = JoinSet::new();
        loop {
            let members = self.members.load_full();
            let interval = members.settings.health_interval;
            if interval.is_some() {
                let outgoing = self.health_check(&members);
                for origin in &members.origins {
                    let (group, origin, outgoing) = (Arc::clone(self), Arc::clone(origin), outgoing.clone());
                    let within = members.settings.health_timeout;
                    checks.spawn(async move { group.check(&origin, &outgoing, within).await });
                }
            }
            let mut next = tokio::time::interval(interval.unwrap_or(TIDY));
            next.set_missed_tick_behavior(MissedTickBehavior::Delay);
            next.tick().await;
            while checks.join_next().await.is_some() {}
            self.known.machine.lock().sweep(now());
            for origin in &members.origins {
                if let Transport::Remote(pool) = &origin.transport {
                    pool.sweep();
                }
            }
            next.tick().await;
        }
    }

    /// Whether a status shows that who sent it is up.
    fn is_good(&self, status: StatusCode) -> bool {
        match self.among {
            Among::Origins => status.is_success() || status.is_redirection(),
            // Its health page may be on another port.
            Among::Siblings => !status.is_server_error(),
        }
    }

    fn health_check(&self, members: &Members) -> Outgoing {
        self.outgoing(members, &Ask::get(members.settings.health_path.clone()))
    }

    /// Any answer from 200 to 399, read to its end in time, is good.
    async fn check(&self, origin: &Origin, outgoing: &Outgoing, within: Duration) {
        let deadlines = Deadlines { head: within, between: within, total: within };
        let seen = match origin.check(outgoing, deadlines).await {
            Err(cause) => match fault(&cause) {
                Some(fault) => Err(fault),
                None => return,
            },
            Ok(status) if self.is_good(status) => Ok(()),
            Ok(status) => Err(Fault::Check(status.as_u16())),
        };
        self.known.checked(origin.id, seen);
    }
}
