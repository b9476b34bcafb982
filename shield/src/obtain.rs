// SPDX-License-Identifier: Apache-2.0
//! Where a fill gets its answer: from the disk, from the sibling that the key belongs to, from the origins; and from
//! these again once what comes next is published.

use std::sync::Arc;

use http::StatusCode;
use http::uri::PathAndQuery;
use tokio::time::Instant;

use crate::fill::{Failure, Fill};
use crate::object::Object;
use crate::route::{self, Kind};
use crate::task::Errand;
use crate::upstream::{Answer, Ask, OriginId};

/// Events that an object is there, for one fill that waits for it; what is told more often is not believed.
const NUDGES_MAX: u32 = 4;

/// What a fill got.
pub(crate) enum Obtained {
    /// An answer, whose body is still to come.
    Answer(Box<Answer>),
    /// What was on disk.
    Stored(Arc<Object>),
}

impl Errand {
    /// Asks, the nearest first.
    pub(crate) async fn obtained(&self, fill: &Fill) -> Result<Obtained, Failure> {
        if let Some(object) = self.shelved().await {
            return Ok(Obtained::Stored(object));
        }
        if let Some(answer) = self.of_another_shield().await {
            return Ok(Obtained::Answer(Box::new(answer)));
        }
        self.of_origins(fill).await.map(|answer| Obtained::Answer(Box::new(answer)))
    }

    /// What the sibling has that the key belongs to, or gets for both of us.
    async fn of_another_shield(&self) -> Option<Answer> {
        if self.of_sibling {
            return None;
        }
        let query = self.route.query(&self.query);
        let mark = if query.is_empty() { "" } else { "?" };
        let target = format!("{}{mark}{query}", self.path).parse::<PathAndQuery>().ok()?;
        // NB: a sibling is no origin.
        let ask = Ask { target, counts: None, ..self.ask.clone() };
        let mut answer = self.shield.siblings.ask(self.key.as_bytes(), &ask).await?;
        // No origin of the route's group is to be praised or blamed for it.
        answer.origin = OriginId::ELSEWHERE;
        Some(answer)
    }

    /// Asks the origins, and again while the answer is that what comes next is not there yet.
    pub(crate) async fn of_origins(&self, fill: &Fill) -> Result<Answer, Failure> {
        if let Some(channel) = self.ask.counts.as_ref().filter(|_| self.ahead) {
            channel.prefetched();
        }
        if self.kind == Kind::Blocking {
            self.shield.edges.asked(&self.route, &self.host, &self.path);
        }
        let mut answer = self.route.group.ask(&self.ask).await?;
        let deadline = Instant::now() + self.route.hold();
        let mut nudges = NUDGES_MAX;
        while answer.head.status == StatusCode::NOT_FOUND && self.ask.at_edge && !self.ahead {
            let Some(next) = self.shield.edges.next(&self.route, &self.host, &self.path) else { break };
            let channel = route::channel(&self.path);
            let state = self.shield.state.load_full();
            let Ok(_held) = state.guard.hold(&self.route.tenant, channel) else { break };
            tokio::select! {
                () = next.published() => {}
                () = fill.nudged(), if nudges > 0 => nudges -= 1,
                () = tokio::time::sleep_until(deadline) => break,
            }
            answer = self.route.group.ask(&self.ask).await?;
        }
        Ok(answer)
    }

    /// What the disk has of it, if that is of use; playlists of live streams never are.
    async fn shelved(&self) -> Option<Arc<Object>> {
        #[cfg(feature = "disk")]
        if let Some(disk) = &self.shield.disk
            && self.held.is_none()
            && !(self.route.settings.live && self.kind.is_playlist())
        {
            return crate::shelf::take(disk, &self.shield, &self.key, &self.request, self.channel()).await;
        }
        None
    }
}
