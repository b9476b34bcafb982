// SPDX-License-Identifier: Apache-2.0
//! A request's way through the shield: its route, what is held for it, its place in a fill, or the way to the origin by
//! itself.

use std::cell::RefCell;
use std::sync::Arc;

use axum::body::Body;
use http::header::ALLOW;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use tokio::time::Instant;
use tracing::debug;

use crate::Shield;
use crate::fill::{By, Failure, Fill, Ready, Stage, Waiting};
use crate::index::{Slot, Turn};
use crate::metrics::Outcome;
use crate::object::{Object, measured};
use crate::respond::{Note, ORIGIN_FAILED, of_object, refusal};
use crate::route::{self, Kind, Route};
use crate::semantics::cache_status::{self, Forwarded, Handling, Why};
use crate::semantics::{self, Freshness, RequestHead, fields};
use crate::store::Epoch;
use crate::task::Errand;
use crate::upstream::{self, Ask};

/// How often a request begins anew because what it waited for was given up or was for others.
const TURNS_MAX: u32 = 8;

thread_local! {
    /// Where keys are written: a hit allocates none.
    pub(crate) static KEY: RefCell<String> = const { RefCell::new(String::new()) };
}

/// What a request asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
}

impl Shield {
    /// What is held under the key of a URL.
    fn slot(&self, route: &Route, target: Target<'_>) -> Option<Arc<Slot>> {
        KEY.with_borrow_mut(|key| {
            route.write_key(key, target.host, target.path, target.query);
            self.index.open(key)
        })
    }
}

/// A request on its way.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) shield: &'a Arc<Shield>,
    pub(crate) route: &'a Arc<Route>,
    pub(crate) target: Target<'a>,
    pub(crate) request: &'a Parts,
    pub(crate) kind: Kind,
    /// A sibling asks: it is answered from here or from an origin.
    pub(crate) of_sibling: bool,
}

impl Asking<'_> {
    /// Answers it.
    pub(crate) async fn answer(&self) -> Response<Body> {
        match self.request.method {
            Method::GET | Method::HEAD => self.cached().await,
            // Preflights are the origin's to answer; they bring no body.
            Method::OPTIONS => self.passed(Why::Method, None).await,
            _ => {
                let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED, "expected GET, HEAD or OPTIONS", "method");
                response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
                response
            }
        }
    }

    /// GET and HEAD.
    async fn cached(&self) -> Response<Body> {
        let Some(slot) = self.shield.slot(self.route, self.target) else {
            // No room for another key: serve through.
            return self.passed(Why::Bypass, Some("keys-full")).await;
        };
        // NB: held until the answer is known: whoever here waits for that sibling over this key stops.
        let _visit = self.of_sibling.then(|| self.shield.siblings.visit(slot.key().as_bytes()));
        let response = self.through(&slot).await;
        self.shield.index.close(&slot);
        response
    }

    async fn through(&self, slot: &Arc<Slot>) -> Response<Body> {
        for _ in 0..TURNS_MAX {
            let now = Instant::now();
            let epoch = self.shield.purges.epoch();
            let held = slot.find(&self.request.headers).filter(|found| self.is_servable(slot, found));
            let why = match held.as_ref().map(|object| (object, freshness(object, now))) {
                Some((object, Freshness::Fresh { ttl })) => {
                    object.touch();
                    return self.share(object, &Handling::Hit { ttl }, None).await;
                }
                Some((object, Freshness::Stale { by, while_revalidating: true, .. })) => {
                    self.refresh(slot, object, now);
                    object.touch();
                    return self.share(object, &Handling::StaleHit { by }, Some("revalidating")).await;
                }
                Some(_) => Why::Stale,
                None => Why::UriMiss,
            };
            if semantics::only_if_cached(&self.request.headers) {
                return refusal(StatusCode::GATEWAY_TIMEOUT, "expected an answer that is held", "only-if-cached");
            }
            let (mut waiting, leads) = match self.turn(slot, held, now) {
                Some(place) => place,
                None => return self.passed(why, None).await,
            };
            // NB: its own deadlines end a fill; this one stands behind them.
            let stage = tokio::time::timeout(self.route.patience(), waiting.stage());
            match stage.await.unwrap_or(Stage::Failed(Failure::Late)) {
                Stage::Ready(ready) => {
                    if let Some(response) = self.ready(slot, &ready, why, !leads, epoch).await {
                        return response;
                    }
                }
                Stage::Alone => {
                    let own = if leads { waiting.take().filter(|_| self.is_plain()) } else { None };
                    // NB: an answer that nobody takes goes with the last who waits, and its connection with it.
                    drop(waiting);
                    return match own {
                        Some(answer) => self.forward(answer, why, None),
                        None => self.passed(Why::Bypass, None).await,
                    };
                }
                Stage::Failed(Failure::Abandoned) | Stage::Asking => {}
                Stage::Failed(failure) => return self.failed(&failure),
            }
        }
        refusal(StatusCode::SERVICE_UNAVAILABLE, "expected an answer, too many fills were given up", "turns")
    }

    /// False for what was purged, and for what turned out to be a stump.
    fn is_servable(&self, slot: &Slot, object: &Arc<Object>) -> bool {
        !self.shield.obey_purges(slot, object) && object.content.is_sound()
    }

    /// A request that a fill's answer serves as it came: no range, no condition.
    fn is_plain(&self) -> bool {
        self.request.method == Method::GET && !fields::is_conditional(&self.request.headers)
    }

    /// What to do about a slot, and this request's place if that is to lead.
    fn joined(&self, slot: &Arc<Slot>, now: Instant) -> (Turn, Option<Waiting>) {
        let mut own = None;
        let begin = || {
            let (fill, waiting) = Fill::begin();
            own = Some(waiting);
            fill
        };
        (slot.turn(&self.request.headers, now, begin), own)
    }

    /// A place in a fill, and whether it is this request's own; `None`: go alone.
    fn turn(&self, slot: &Arc<Slot>, held: Option<Arc<Object>>, now: Instant) -> Option<(Waiting, bool)> {
        let fills = usize::try_from(self.shield.metrics.filling.get()).unwrap_or(0);
        if fills >= self.shield.state().config.cache.fills_max {
            return None;
        }
        let (turn, own) = self.joined(slot, now);
        match turn {
            Turn::Alone => None,
            Turn::Follow(fill) => {
                self.shield.metrics.collapsed.inc();
                Some((fill.follow(), false))
            }
            Turn::Lead(lead) => {
                let errand = self.errand(slot, held);
                self.shield.spawn(errand.run(lead));
                own.map(|waiting| (waiting, true))
            }
        }
    }

    /// Has a stale answer confirmed behind the back of those it is served to.
    fn refresh(&self, slot: &Arc<Slot>, held: &Arc<Object>, now: Instant) {
        let (turn, own) = self.joined(slot, now);
        if let Turn::Lead(lead) = turn {
            let errand = self.errand(slot, Some(Arc::clone(held)));
            self.shield.spawn(async move {
                // Its place is kept: nobody else waits, and what nobody waits for may be given up.
                let _own = own;
                errand.run(lead).await;
            });
        }
    }

    fn errand(&self, slot: &Slot, held: Option<Arc<Object>>) -> Errand {
        let kind = self.kind;
        let mut headers = fields::for_origin(&self.request.headers);
        fields::append_via(&mut headers, self.request.version);
        if let Some(held) = &held {
            semantics::conditional(&held.headers, &mut headers);
        }
        let live = self.route.settings.live;
        Errand {
            shield: Arc::clone(self.shield),
            route: Arc::clone(self.route),
            kind,
            host: self.target.host.to_owned(),
            key: Arc::clone(slot.key()),
            path: self.target.path.to_owned(),
            query: self.target.query.to_owned(),
            request: self.request.headers.clone(),
            ask: Ask {
                method: Method::GET,
                held: live
                    && (kind == Kind::Blocking
                        || self.shield.edges.is_ahead(self.route, self.target.host, self.target.path)),
                at_edge: live && !matches!(kind, Kind::Other),
                boundary: kind == Kind::Media,
                ..self.ask(headers)
            },
            held,
            epoch: self.shield.purges.epoch(),
            behind: Vec::new(),
            of_sibling: self.of_sibling,
            version: self.shield.following.version(self.route, self.target.host, self.target.path, kind),
            ahead: false,
        }
    }

    fn ask(&self, headers: HeaderMap) -> Ask {
        let channel = self.route.settings.live.then(|| route::channel(self.target.path));
        Ask {
            method: self.request.method.clone(),
            target: self.route.target(&self.request.uri),
            host: HeaderValue::from_str(self.target.host).ok(),
            headers,
            held: false,
            at_edge: false,
            boundary: false,
            channel: channel.map(Arc::from),
            counts: channel.map(|channel| self.shield.metrics.channel(&self.route.tenant, channel)),
        }
    }

    /// What a fill brought, unless it is for requests of other fields, or was purged before this one came at `epoch`.
    async fn ready(
        &self,
        slot: &Slot,
        ready: &Ready,
        why: Why,
        collapsed: bool,
        epoch: Epoch,
    ) -> Option<Response<Body>> {
        if collapsed {
            let selector = semantics::selector(&ready.object.headers, &self.request.headers);
            let purged = || {
                ready.epoch != epoch && self.shield.purges.covers(slot.key(), &ready.object.tags, ready.epoch).is_some()
            };
            if selector.as_ref() != Some(&ready.selector) || purged() {
                debug!(path = self.target.path, "a fill's answer is for other requests");
                return None;
            }
        }
        if ready.object.content.is_spilling() {
            // It came too fast: what is passed through has no beginning for those who were not there yet.
            return Some(self.passed(why, Some("no-room")).await);
        }
        let status = (ready.by == By::Confirmation).then_some(StatusCode::NOT_MODIFIED);
        let forwarded = Forwarded { why, status, stored: ready.stored && ready.by == By::Answer, collapsed };
        let detail = (ready.by == By::Held).then_some(ORIGIN_FAILED);
        if ready.by == By::Disk
            && let Freshness::Fresh { ttl } = ready.object.policy.freshness(Instant::now())
        {
            return Some(self.share(&ready.object, &Handling::Hit { ttl }, Some("disk")).await);
        }
        Some(self.share(&ready.object, &Handling::Forwarded(forwarded), detail).await)
    }

    async fn share(&self, object: &Object, handling: &Handling, detail: Option<&'static str>) -> Response<Body> {
        object.asked(Instant::now());
        let request = RequestHead { method: &self.request.method, headers: &self.request.headers };
        of_object(&request, object, handling, detail).await
    }

    /// The way to the origin by oneself.
    async fn passed(&self, why: Why, detail: Option<&'static str>) -> Response<Body> {
        let mut headers = fields::for_passing(&self.request.headers);
        fields::append_via(&mut headers, self.request.version);
        match self.route.group.ask(&self.ask(headers)).await {
            Ok(answer) => self.forward(answer, why, detail),
            Err(error) => self.failed(&Failure::Upstream(error)),
        }
    }

    /// An answer that is for this client alone: its body goes on as the client takes it.
    fn forward(&self, answer: upstream::Answer, why: Why, detail: Option<&'static str>) -> Response<Body> {
        let upstream::Answer { head, body, origin, .. } = answer;
        let mut response = Response::from_parts(head, axum_body(body));
        fields::strip_hop_by_hop(response.headers_mut());
        let handling = Handling::Forwarded(Forwarded { why, status: None, stored: false, collapsed: false });
        cache_status::append(response.headers_mut(), &handling, detail);
        let outcome = if why == Why::Bypass { Outcome::Bypass } else { Outcome::Miss };
        let upstream = self.route.group.name_of(origin);
        response.extensions_mut().insert(Note { outcome, upstream, ..Note::default() });
        response
    }

    fn failed(&self, failure: &Failure) -> Response<Body> {
        let (status, detail) = match failure {
            Failure::Upstream(error) => (error.status(), "upstream"),
            Failure::Broken(_) => (StatusCode::BAD_GATEWAY, "broken"),
            Failure::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
            Failure::Late => (StatusCode::GATEWAY_TIMEOUT, "late"),
            Failure::Behind => (StatusCode::SERVICE_UNAVAILABLE, "behind"),
            Failure::Abandoned => (StatusCode::SERVICE_UNAVAILABLE, "abandoned"),
        };
        refusal(status, &failure.to_string(), detail)
    }
}

/// As the rules say; what was purged softly is stale whatever they say.
fn freshness(object: &Object, now: Instant) -> Freshness {
    match object.policy.freshness(now) {
        Freshness::Fresh { .. } if object.is_outdated() => {
            Freshness::Stale { by: Default::default(), while_revalidating: false, if_error: true }
        }
        other => other,
    }
}

/// A body that is read from the origin as the client takes it.
fn axum_body(body: upstream::Body) -> Body {
    let length = body.framing().length_bytes();
    let pieces = futures_util::stream::unfold(Some(body), |body| async move {
        let mut body = body?;
        match body.next().await {
            Ok(Some(piece)) => Some((Ok(piece), Some(body))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    });
    measured(pieces, length)
}
