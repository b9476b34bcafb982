// SPDX-License-Identifier: Apache-2.0
//! One answer on its way from an origin, whoever waits for it.
//!
//! A fill is a task of its own: the request that began it is a reader like the others, and may leave or stall without
//! harm to them. Its stages are told by a watch, so nobody polls; whatever becomes of the task, its end is told.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::object::Object;
use crate::semantics::Selector;
use crate::store::Epoch;
use crate::upstream::{self, Answer};

/// How far a fill is.
#[derive(Clone, Debug)]
pub enum Stage {
    /// No head has come yet.
    Asking,
    /// An answer for all who asked before it came; its body may still be arriving.
    Ready(Ready),
    /// An answer for one alone: the others ask by themselves.
    Alone,
    /// None.
    Failed(Failure),
}

/// An answer that a fill brought.
#[derive(Clone, Debug)]
pub struct Ready {
    /// The answer.
    pub object: Arc<Object>,
    /// How it came to be.
    pub by: By,
    /// It is held for later requests too.
    pub stored: bool,
    /// What of the request that it was asked for by counts, by the answer's own Vary.
    pub selector: Selector,
    /// Purges after this one may be about it.
    pub epoch: Epoch,
}

/// How a fill's answer came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The origin sent it.
    Answer,
    /// It was on disk.
    Disk,
    /// The origin said that what was held is still right.
    Confirmation,
    /// The origin failed or went back; what was held is served on.
    Held,
}

/// Why a fill brought nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Its task ended early: ask again.
    #[error("expected an answer, its fill was given up")]
    Abandoned,
    /// It took longer than anything may.
    #[error("expected an answer within the time that a whole one may take")]
    Late,
    /// What came broke off before anybody was shown it.
    #[error("expected a whole answer: {0}")]
    Broken(Arc<str>),
    /// The shield stops.
    #[error("expected a running shield, this one is stopping")]
    Stopping,
    /// No origin answered.
    #[error(transparent)]
    Upstream(#[from] upstream::Error),
    /// The origins' playlist is older than what clients have seen.
    #[error("expected a playlist no older than the one served before")]
    Behind,
}

/// A fill, for those who wait for it.
#[derive(Debug)]
pub struct Fill {
    stage: watch::Sender<Stage>,
    /// What came for one alone; the request that began the fill takes it.
    answer: Mutex<Option<Answer>>,
    nudge: Notify,
}

impl Fill {
    /// A fill, and a place at it: without anybody's place it may be given up.
    pub fn begin() -> (Arc<Self>, Waiting) {
        let (stage, waiting) = watch::channel(Stage::Asking);
        let fill = Arc::new(Self { stage, answer: Mutex::new(None), nudge: Notify::new() });
        (Arc::clone(&fill), Waiting { fill, stage: waiting })
    }

    /// A place among those who wait.
    pub fn follow(self: &Arc<Self>) -> Waiting {
        Waiting { fill: Arc::clone(self), stage: self.stage.subscribe() }
    }

    /// Waits until nobody waits.
    pub async fn deserted(&self) {
        self.stage.closed().await;
    }

    /// What it waits for is there, an event tells: worth asking again.
    pub fn nudge(&self) {
        self.nudge.notify_one();
    }

    /// Waits for a [nudge](Self::nudge); one that came before counts.
    pub async fn nudged(&self) {
        self.nudge.notified().await;
    }

    /// Tells everybody of the answer.
    pub fn ready(&self, ready: Ready) {
        self.tell(Stage::Ready(ready));
    }

    /// Leaves the answer to the request that began the fill; the others go by themselves.
    pub fn alone(&self, answer: Answer) {
        // NB: the answer before the stage: who is woken must find it.
        *self.answer.lock() = Some(answer);
        self.tell(Stage::Alone);
    }

    /// Tells everybody that nothing will come.
    pub fn fail(&self, failure: Failure) {
        self.tell(Stage::Failed(failure));
    }

    /// As [`Self::fail`] if nothing was told yet.
    pub fn abandon(&self) {
        self.tell(Stage::Failed(Failure::Abandoned));
    }

    fn tell(&self, told: Stage) {
        self.stage.send_if_modified(|stage| {
            let first = matches!(stage, Stage::Asking);
            if first {
                *stage = told;
            }
            first
        });
    }
}

/// A place among those who wait for a fill's head. Dropping it leaves.
#[derive(Debug)]
pub struct Waiting {
    fill: Arc<Fill>,
    stage: watch::Receiver<Stage>,
}

impl Waiting {
    /// Waits for the head; cancel-safe.
    pub async fn stage(&mut self) -> Stage {
        let told = self.stage.wait_for(|stage| !matches!(stage, Stage::Asking)).await;
        told.map_or(Stage::Failed(Failure::Abandoned), |stage| stage.clone())
    }

    /// Takes what came for one alone; the first to ask gets it.
    pub fn take(&self) -> Option<Answer> {
        self.fill.answer.lock().take()
    }

    /// The fill.
    pub const fn fill(&self) -> &Arc<Fill> {
        &self.fill
    }
}
