// SPDX-License-Identifier: Apache-2.0
//! What a fill does: asks, judges the answer, tells those who wait, and has its body read.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{CONTENT_LENGTH, IF_MODIFIED_SINCE, IF_NONE_MATCH};
use http::response::Parts;
use http::{HeaderMap, HeaderName, StatusCode};
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::Shield;
use crate::arriving::{Arriving, Broken, UNKNOWN_STEP_BYTES};
use crate::fill::{By, Failure, Fill, Ready};
use crate::follow::{Standing, Version};
use crate::index::{Lead, Variant};
use crate::metrics::{self, Ended, Filled};
use crate::object::{Content, Head, Object};
use crate::obtain::Obtained;
use crate::route::{Kind, Route};
use crate::semantics::{self, Freshness, Policy, Reason, Verdict, fields};
use crate::store::{self, Class, Epoch, Resident, Tags};
use crate::upstream::{Answer, Ask, Framing, Moment, OriginId};

/// An answer for those alone who asked before it came, if it is larger than this, is for one alone.
const MOMENTARY_BYTES_MAX: u64 = 32 << 20;
/// How long a part or segment of the live edge is kept before others.
const EDGE_PROTECTED: Duration = Duration::from_secs(12);
/// Fields by which an origin groups what it may want purged.
const TAG_FIELDS: [HeaderName; 2] = [HeaderName::from_static("cache-tag"), HeaderName::from_static("surrogate-key")];

/// What a fill is for.
#[derive(Clone, Debug)]
pub(crate) struct Errand {
    pub(crate) shield: Arc<Shield>,
    pub(crate) route: Arc<Route>,
    pub(crate) kind: Kind,
    pub(crate) host: String,
    pub(crate) key: Arc<str>,
    pub(crate) path: String,
    pub(crate) query: String,
    /// The fields of the request that began it: they select a variant.
    pub(crate) request: HeaderMap,
    pub(crate) ask: Ask,
    /// What is held and may no longer be served as it is.
    pub(crate) held: Option<Arc<Object>>,
    /// Purges up to this one were before it.
    pub(crate) epoch: Epoch,
    /// Origins whose playlist was found to be older than another's.
    pub(crate) behind: Vec<OriginId>,
    /// A sibling asks: no other sibling is asked for it.
    pub(crate) of_sibling: bool,
    /// Of a playlist, where events are followed: what they had told before it began.
    pub(crate) version: Option<(Version, u64)>,
    /// Nobody asks: an event told of it. What is not there is left to whoever asks.
    pub(crate) ahead: bool,
}

impl Errand {
    /// Carries it out. Returning early gives the fill up: those who wait ask again.
    pub(crate) async fn run(self, lead: Lead) {
        let fill = Arc::clone(lead.fill());
        let mut counted = self.route.fills.begin(&self.shield.metrics.filling);
        let asked = tokio::select! {
            biased;
            asked = self.obtained(&fill) => asked,
            // Nobody is left who waits for what an origin is holding: its place there is worth more.
            () = fill.deserted(), if self.ask.held => return,
            // A stop does not wait for what may come next.
            () = self.shield.shutdown.started(), if self.ask.held => {
                counted.ended = self.failed(&lead, Failure::Stopping);
                return;
            }
        };
        counted.ended = match asked {
            // NB: given up, not told: who joined meanwhile asks as if no event had come, and waits if that is worth it.
            Ok(Obtained::Answer(answer)) if self.ahead && answer.head.status != StatusCode::OK => {
                counted.ended = Ended::with(Filled::Failed);
                return;
            }
            Ok(Obtained::Answer(answer)) => {
                let took = answer.received.instant.saturating_duration_since(answer.requested.instant);
                counted.first_byte(took);
                if let Some(channel) = &self.ask.counts {
                    channel.filled(took);
                }
                self.take(&lead, &fill, *answer).await
            }
            Ok(Obtained::Stored(object)) => {
                self.ready(&lead, object, By::Disk, true);
                Ended::with(Filled::Stored)
            }
            Err(failure) => self.failed(&lead, failure),
        };
    }

    /// What the requests of its channel are counted by.
    pub(crate) fn channel(&self) -> Option<Arc<metrics::Channel>> {
        self.ask.counts.clone()
    }

    /// How what comes stands towards events.
    fn standing(&self) -> Option<Standing> {
        self.shield.following.standing(&self.route, &self.host, &self.path, self.version, self.ahead)
    }

    /// No answer: what is held may do, if it may be served while the origin fails.
    pub(crate) fn failed(&self, lead: &Lead, failure: Failure) -> Ended {
        match self.usable() {
            Some(object) => self.ready(lead, object, By::Held, true),
            None => lead.fill().fail(failure),
        }
        Ended::with(Filled::Failed)
    }

    /// Tells those who wait. Whom the answer does not suit asks again, and must not find this fill once more.
    pub(crate) fn ready(&self, lead: &Lead, object: Arc<Object>, by: By, stored: bool) {
        let selector = semantics::selector(&object.headers, &self.request).unwrap_or_default();
        lead.release();
        lead.fill().ready(Ready { object, by, stored, selector, epoch: self.epoch });
    }

    /// Asks for the whole: what confirmed speaks of something else than what is held (RFC 9111, 4.3.4), or that is gone.
    async fn anew(&self, lead: &Lead, fill: &Arc<Fill>) -> Ended {
        let mut again = Self { held: None, ..self.clone() };
        for condition in [IF_NONE_MATCH, IF_MODIFIED_SINCE] {
            again.ask.headers.remove(condition);
        }
        match again.of_origins(fill).await {
            Ok(answer) => Box::pin(again.take(lead, fill, answer)).await,
            Err(failure) => self.failed(lead, failure),
        }
    }

    fn usable(&self) -> Option<Arc<Object>> {
        let held = self.held.as_ref().filter(|held| self.is_left(held))?;
        let usable = match held.policy.freshness(Instant::now()) {
            Freshness::Fresh { .. } => true,
            Freshness::Stale { if_error, .. } => if_error,
        };
        usable.then(|| Arc::clone(held))
    }

    /// Neither purged nor gone from memory.
    fn is_left(&self, held: &Object) -> bool {
        held.purged(&self.key, &self.shield.purges) != Some(store::Kind::Hard) && held.content.is_sound()
    }

    async fn take(&self, lead: &Lead, fill: &Arc<Fill>, answer: Answer) -> Ended {
        let status = answer.head.status;
        if status == StatusCode::NOT_MODIFIED
            && let Some(held) = &self.held
        {
            let Some(object) = self.confirmed(held, &answer) else { return self.anew(lead, fill).await };
            self.replace(lead, &object);
            self.ready(lead, object, By::Confirmation, true);
            return Ended::with(Filled::NotModified);
        }
        if status.is_server_error()
            && let Some(object) = self.usable()
        {
            self.ready(lead, object, By::Held, true);
            return Ended::with(Filled::Failed);
        }
        let (policy, stored) = match self.judge(&answer) {
            Ok(judged) => judged,
            Err(reason) => {
                debug!(path = self.path, ?reason, "not to be shared");
                // An error says nothing about what else this URL may answer, and a request must not be able to keep others
                // from sharing by what it sends.
                if reason.is_of_url() && !status.is_client_error() && !status.is_server_error() {
                    let while_remembered = self.shield.state().uncacheable;
                    lead.slot().alone(Instant::now() + while_remembered);
                }
                fill.alone(answer);
                return Ended::with(Filled::Uncacheable);
            }
        };
        let length = answer.body.framing().length_bytes();
        let max = self.shield.state().config.cache.object_bytes_max;
        let max = if stored { max } else { max.min(MOMENTARY_BYTES_MAX) };
        let charge = match length {
            Some(length) if length > max => None,
            length => self.shield.memory.charge(length.unwrap_or(UNKNOWN_STEP_BYTES)).ok(),
        };
        let Some(charge) = charge else {
            if length.is_some_and(|length| length > max) {
                let remembered = self.shield.state().uncacheable;
                lead.slot().alone(Instant::now() + remembered);
            }
            fill.alone(answer);
            return Ended::with(Filled::Uncacheable);
        };
        let body = Arriving::new(self, charge, length, max);
        if self.route.settings.live && self.kind.is_playlist() && status == StatusCode::OK {
            body.playlist(lead, fill, answer, policy, stored).await
        } else {
            body.stream(lead, answer, policy, stored).await
        }
    }

    /// What may be done with an answer; `Err` if it is for one alone.
    fn judge(&self, answer: &Answer) -> Result<(Policy, bool), Reason> {
        let (status, headers) = (answer.head.status, &answer.head.headers);
        let request = semantics::RequestHead { method: &self.ask.method, headers: &self.request };
        let defaults = self.shield.state().defaults;
        match semantics::judge(&request, status, headers, clocks(answer.requested), clocks(answer.received), &defaults)
        {
            // Its end looks like a crash: whoever waits may have it, nobody later (RFC 9112, 6.3).
            Verdict::Kept(policy) if answer.body.framing() == Framing::Close => Ok((policy, false)),
            // What is held may yet be confirmed, when the origin is well again.
            Verdict::Kept(policy) if status.is_server_error() && self.has_better() => Ok((policy, false)),
            Verdict::Kept(policy) => Ok((policy, true)),
            Verdict::Shared => Ok((Policy::momentary(answer.received.instant.into()), false)),
            Verdict::Alone(reason) => Err(reason),
        }
    }

    fn has_better(&self) -> bool {
        self.held.as_ref().is_some_and(|held| !held.status.is_server_error() && held.content.is_sound())
    }

    /// What is held with the head that the origin confirmed it by.
    fn confirmed(&self, held: &Arc<Object>, answer: &Answer) -> Option<Arc<Object>> {
        if !held.content.is_sound() {
            return None;
        }
        let mut headers = held.headers.clone();
        semantics::merge(&mut headers, &answer.head.headers, answer.received.utc).ok()?;
        let request = semantics::RequestHead { method: &self.ask.method, headers: &self.request };
        let defaults = self.shield.state().defaults;
        let (requested, received) = (clocks(answer.requested), clocks(answer.received));
        let verdict = semantics::judge(&request, held.status, &headers, requested, received, &defaults);
        let policy = match verdict {
            Verdict::Kept(policy) => policy,
            Verdict::Shared => Policy::momentary(answer.received.instant.into()),
            Verdict::Alone(_) => return None,
        };
        fields::for_storage(&mut headers, received.1);
        let headers = fields::owned(&headers);
        let standing = self.standing();
        let head = Head {
            status: held.status,
            headers,
            origin: self.origin_name(answer.origin),
            channel: self.channel(),
            standing,
        };
        Some(Arc::new(Object::new(head, policy, Arc::clone(&held.content), held.tags.clone(), self.epoch)))
    }

    /// Puts a confirmed answer in the place of the one before; the bytes stay where they are.
    fn replace(&self, lead: &Lead, object: &Arc<Object>) {
        let replaced = lead.slot().hold(&self.request, Arc::clone(object));
        self.let_go(&replaced, object);
        // NB: after it is held: bytes that left in between have been let go of under the head before only.
        if !object.content.is_sound() {
            lead.slot().drop_object(object);
        }
    }

    pub(crate) fn let_go(&self, replaced: &[Variant], by: &Object) {
        for (_, replaced) in replaced {
            if !Arc::ptr_eq(&replaced.content, &by.content) {
                self.shield.let_go(replaced);
            }
        }
    }

    /// An answer as it is held.
    pub(crate) fn object(
        &self,
        head: Parts,
        origin: OriginId,
        received: SystemTime,
        policy: Policy,
        content: Arc<Content>,
    ) -> Arc<Object> {
        let mut headers = head.headers;
        fields::for_storage(&mut headers, received);
        headers.remove(CONTENT_LENGTH);
        let headers = fields::owned(&headers);
        let mut tags = Tags::default();
        for name in TAG_FIELDS {
            for value in headers.get_all(name).iter().filter_map(|value| value.to_str().ok()) {
                tags.add_field(&self.route.tenant, value);
            }
        }
        tags.add_path(&self.route.tenant, &self.path);
        let standing = if head.status.is_success() { self.standing() } else { None };
        let head =
            Head { status: head.status, headers, origin: self.origin_name(origin), channel: self.channel(), standing };
        Arc::new(Object::new(head, policy, content, tags, self.epoch))
    }

    pub(crate) fn resident(&self, lead: &Lead) -> Arc<Resident> {
        let class = match self.kind {
            Kind::Media | Kind::Header
                if self.route.settings.live && self.shield.edges.is_near(&self.route, &self.host, &self.path) =>
            {
                Class::Live { until: (Instant::now() + EDGE_PROTECTED).into_std() }
            }
            _ => Class::Other,
        };
        Resident::new(Arc::clone(lead.slot().key()), 0, class)
    }
}

fn clocks(moment: Moment) -> (Instant, SystemTime) {
    (moment.instant.into(), moment.utc)
}

impl Errand {
    /// A playlist older than what clients have seen: another origin may know more, and what is held may do.
    pub(crate) async fn behind(&self, lead: &Lead, fill: &Arc<Fill>, origin: OriginId) -> Ended {
        let mut behind = self.behind.clone();
        behind.push(origin);
        let other = self.route.group.origins().into_iter().find(|id| !behind.contains(id));
        if let Some(other) = other
            && let Ok(answer) = self.route.group.ask_origin(other, &self.ask).await
        {
            let again = Self { behind, ..self.clone() };
            return Box::pin(again.take(lead, fill, answer)).await;
        }
        warn!(path = self.path, "every origin's playlist is older than what was served");
        // The newest that there is, however stale: players ask again, and from an error they would turn away.
        match self.held.as_ref().filter(|held| self.is_left(held)) {
            Some(held) => self.ready(lead, Arc::clone(held), By::Held, true),
            None => lead.fill().fail(Failure::Behind),
        }
        Ended::with(Filled::Failed)
    }

    fn origin_name(&self, origin: OriginId) -> Arc<str> {
        self.route.group.name_of(origin).unwrap_or_else(|| Arc::from("elsewhere"))
    }

    pub(crate) fn told(&self, broken: &Broken) {
        warn!(path = self.path, error = %broken, "a body did not come whole");
    }
}
