// SPDX-License-Identifier: Apache-2.0
//! A fill's body on its way in: handed on as it comes, joined and kept at its end.
//!
//! A body that dies goes on from another origin at the byte where it died; its readers notice nothing. One that cannot
//! go on ends as failed and is never kept: a stump is worse than an error.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tracing::debug;

use crate::edge::{Heard, Told};
use crate::fill::{By, Failure, Fill};
use crate::index::{Lead, Variant};
use crate::metrics::{Ended, Filled};
use crate::object::{Content, Object, Pen};
use crate::semantics::Policy;
use crate::store::{Charge, Packer};
use crate::task::Errand;
use crate::upstream::{self, Answer, BodyError, Resume};
use crate::whole::Whole;

/// A playlist or MPD that is larger than this is no playlist.
const PLAYLIST_BYTES_MAX: u64 = 32 << 20;
/// How often a body that died is picked up again.
const RESUMES_MAX: u32 = 8;
/// What a fill reserves first for a body of unknown length, and again.
pub(crate) const UNKNOWN_STEP_BYTES: u64 = 64 << 10;

/// A body on its way in.
pub(crate) struct Arriving<'a> {
    errand: &'a Errand,
    charge: Charge,
    length: Option<u64>,
    max: u64,
    pieces: Vec<Bytes>,
    resumes: u32,
    read_bytes: u64,
}

/// Why a body did not come whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// It died, and no origin went on with it.
    #[error("{0}, and no origin went on")]
    Body(BodyError),
    /// There is no room for more of it than what was told; this is what follows.
    #[error("expected a smaller body, there is no room for it")]
    Room(Bytes, Box<upstream::Body>),
}

impl<'a> Arriving<'a> {
    /// A body of this length, if that is known, and at most `max` bytes, for which there is room so far.
    pub(crate) const fn new(errand: &'a Errand, charge: Charge, length: Option<u64>, max: u64) -> Self {
        Self { errand, charge, length, max, pieces: Vec::new(), resumes: 0, read_bytes: 0 }
    }

    /// Tells of the answer at once and reads on behind it.
    pub(crate) async fn stream(mut self, lead: &Lead, answer: Answer, policy: Policy, stored: bool) -> Ended {
        let (content, growing) = Content::growing(self.length);
        let pen = Pen::new(growing);
        let errand = self.errand;
        let (head, received) = (answer.head.clone(), answer.received.utc);
        let object = errand.object(head, answer.origin, received, policy, Arc::new(content));
        let replaced = if stored { lead.slot().hold(&self.errand.request, Arc::clone(&object)) } else { Vec::new() };
        // NB: held before told: who comes after those who wait must find it.
        errand.ready(lead, Arc::clone(&object), By::Answer, stored);
        match self.read(answer, |piece| pen.append(piece)).await {
            Ok(whole) => {
                let bytes = whole.length_bytes();
                object.content.seal(whole);
                pen.complete();
                if stored {
                    self.keep(lead, &object, bytes, &replaced);
                } else {
                    object.content.account(self.charge);
                }
                Ended::whole(stored, bytes)
            }
            Err(Broken::Room(piece, rest)) => {
                debug!(path = errand.path, "there is no room for a body: what follows is passed through");
                lead.slot().withdraw(&object, replaced);
                if self.is_too_large() {
                    lead.slot().alone(Instant::now() + errand.shield.state().uncacheable);
                }
                // NB: begun before ended: a reader that finds the end must find that there is more.
                let outlet = object.content.spill();
                pen.complete();
                self.pieces = Vec::new();
                if let Err(error) = outlet.pour(piece, *rest).await {
                    errand.told(&Broken::Body(error));
                }
                Ended::with(Filled::Uncacheable)
            }
            Err(broken) => {
                errand.told(&broken);
                lead.slot().withdraw(&object, replaced);
                drop(pen);
                Ended::with(Filled::Failed)
            }
        }
    }

    /// Reads all of a playlist before anybody sees it: one that goes back is not shown.
    pub(crate) async fn playlist(
        mut self,
        lead: &Lead,
        fill: &Arc<Fill>,
        answer: Answer,
        policy: Policy,
        stored: bool,
    ) -> Ended {
        self.max = self.max.min(PLAYLIST_BYTES_MAX);
        let errand = self.errand;
        let head = (answer.head.clone(), answer.origin, answer.received.utc);
        let whole = match self.read(answer, |_| {}).await {
            Ok(whole) => whole,
            Err(broken) => {
                errand.told(&broken);
                return errand.failed(lead, Failure::Broken(broken.to_string().into()));
            }
        };
        let (parts, origin, received) = head;
        let (host, path, query) = (&*errand.host, &*errand.path, &*errand.query);
        let text = whole.text();
        let told = Told { host, path, query, kind: errand.kind, origin, text: &text };
        let policy = match errand.shield.edges.hear(&errand.route, told) {
            Heard::Back => return errand.behind(lead, fill, origin).await,
            // NB: a lifetime counts whole milliseconds; one of none would never be served again.
            Heard::Fine { due: Some(due) } => policy.at_most(due.max(Duration::from_millis(1))),
            Heard::Fine { due: None } => policy,
        };
        let bytes = whole.length_bytes();
        let content = Arc::new(Content::whole(whole));
        let object = errand.object(parts, origin, received, policy, content);
        let replaced = if stored { lead.slot().hold(&errand.request, Arc::clone(&object)) } else { Vec::new() };
        errand.ready(lead, Arc::clone(&object), By::Answer, stored);
        if stored {
            self.keep(lead, &object, bytes, &replaced);
        } else {
            object.content.account(self.charge);
        }
        Ended::whole(stored, bytes)
    }

    /// Reads to the end, over the death of an origin if need be.
    async fn read(&mut self, answer: Answer, told: impl Fn(Bytes)) -> Result<Whole, Broken> {
        let Answer { head, mut origin, mut body, .. } = answer;
        let mut packer = Packer::new(self.length);
        loop {
            match body.next().await {
                Ok(Some(piece)) => {
                    self.read_bytes += piece.len() as u64;
                    if !self.has_room() {
                        return Err(Broken::Room(piece, Box::new(body)));
                    }
                    let pieces = &mut self.pieces;
                    packer.pack(&piece, |piece| {
                        pieces.push(piece.clone());
                        told(piece);
                    });
                }
                Ok(None) => break,
                Err(error) => {
                    self.resumes += 1;
                    if self.resumes > RESUMES_MAX {
                        return Err(Broken::Body(error));
                    }
                    let from = Resume { from: origin, head: &head, held: &self.pieces };
                    match self.errand.route.group.resume(&self.errand.ask, from).await {
                        Ok(answer) => {
                            self.errand.shield.metrics.resumed.inc();
                            (origin, body) = (answer.origin, answer.body);
                        }
                        Err(_) => return Err(Broken::Body(error)),
                    }
                }
            }
        }
        Ok(Whole::hold(std::mem::take(&mut self.pieces), self.length.is_some()))
    }

    /// Room for what has come, where nobody said before how much it would be.
    fn has_room(&mut self) -> bool {
        if self.is_too_large() {
            return false;
        }
        let (read_bytes, reserved) = (self.read_bytes, self.charge.bytes());
        if read_bytes <= reserved {
            return true;
        }
        let needed = read_bytes - reserved;
        // The step is a guess; where it does not fit, what is needed may.
        let step = needed.max(UNKNOWN_STEP_BYTES).max(reserved / 2);
        self.charge.grow(step).or_else(|_| self.charge.grow(needed)).is_ok()
    }

    const fn is_too_large(&self) -> bool {
        self.read_bytes > self.max
    }

    /// Keeps what is whole, unless a purge came in between.
    fn keep(mut self, lead: &Lead, object: &Arc<Object>, bytes: u64, replaced: &[Variant]) {
        let errand = self.errand;
        self.charge.settle(bytes);
        let resident = errand.resident(lead);
        object.content.reside(Arc::clone(&resident));
        errand.shield.memory.keep(&resident, self.charge);
        errand.let_go(replaced, object);
        // NB: after the store has it: whoever put another in its place before that could not let go of it.
        if !lead.slot().holds(&object.content) {
            errand.shield.memory.remove(&resident);
        }
        errand.shield.obey_purges(lead.slot(), object);
    }
}
