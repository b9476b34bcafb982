// SPDX-License-Identifier: Apache-2.0
//! `/live/…`: playlists with their blocking reloads, MPDs, headers, segments and parts.
//!
//! A request for what comes next is parked, one for what will not come is refused at once. Whoever is parked costs a
//! place in the channel's list of waiters and nothing else; a client that leaves frees it at once.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use futures_util::TryStreamExt;
use headwater_manifests::hls::directives::Directives;
use headwater_manifests::hls::media::{Position, Skip};
use headwater_media::path::{Freshness, LivePath, Object};
use headwater_media::{MediaTime, PartIndex, SegmentNumber};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body::Body as _;

use super::respond::Ask;
use crate::Origin;
use crate::channel::{Channel, State as ChannelState, View};
use crate::edge::{Form, LiveEdge, Snapshot};
use crate::metrics::{Class, ClassLabel, ServedLabel};
use crate::store::{Media, Name};

/// How long a first playlist is held for a channel that is starting.
const START_DEADLINE: Duration = Duration::from_secs(10);
/// A wait for the first playlist before the target duration is known is counted in this.
pub(super) const TARGET_UNKNOWN: Duration = Duration::from_secs(2);

/// How many segments a source may be behind the clock for what has begun to be waited for.
const BEHIND_MAX: u64 = 4;

/// Answers any request under `/live/`.
pub(super) async fn handle(origin: Arc<Origin>, parts: Parts) -> Response<Body> {
    let path = LivePath::parse(parts.uri.path());
    let channel = path.and_then(|p| origin.channel(p.channel));
    let view = channel.as_ref().map(|c| c.view());
    let targets = view.as_ref().and_then(|view| view.targets);
    let target = targets.map_or(TARGET_UNKNOWN, |t| t.target().to_std());
    let ended = view.is_some_and(|view| view.state == ChannelState::Ended);
    let media_type = path.as_ref().map_or("", |path| path.object.media_type());
    let (cmsd, said) = (origin.config.load().http.cmsd, origin.texts.of(media_type, ended));
    let ask = Ask { method: &parts.method, headers: &parts.headers, target, cmsd, said };
    match parts.method {
        Method::GET | Method::HEAD => {}
        Method::OPTIONS => return ask.options(),
        _ => return ask.method_not_allowed(),
    }
    let Some(path) = path else {
        return ask.error(StatusCode::NOT_FOUND, Freshness::MediaError, "expected a path of the live grammar");
    };
    let Some(channel) = channel else {
        return ask.error(StatusCode::NOT_FOUND, Freshness::PlaylistError, "no such channel");
    };
    let query = parts.uri.query().unwrap_or("");
    let answer = Answer { origin: &origin, channel: &channel, ask };
    let response = tokio::select! {
        biased;
        response = answer.object(path.object, query) => response,
        // Nothing more will come: whoever is parked goes elsewhere.
        () = origin.context.shutdown.started() => {
            answer.ask.error(StatusCode::SERVICE_UNAVAILABLE, Freshness::PlaylistError, "the origin is stopping")
        }
    };
    let class = class(path.object, query);
    let label = ServedLabel { class, status: response.status().as_u16() };
    origin.context.metrics.served.get_or_create(&label).inc();
    count_bytes(&origin, class, response)
}

/// What kind of thing a request is for.
pub(super) fn class(object: Object<'_>, query: &str) -> Class {
    match object {
        Object::Media(_) | Object::IFrames(_) if query.contains("_HLS_msn") => Class::blocking,
        Object::Multivariant | Object::MultivariantPlain | Object::Media(_) | Object::Plain(_) | Object::IFrames(_) => {
            Class::playlist
        }
        Object::Manifest | Object::Timeline | Object::Patch { .. } => Class::manifest,
        Object::Header(..) => Class::header,
        Object::Segment(..) | Object::SegmentAt(..) => Class::segment,
        Object::Part(..) => Class::part,
    }
}

/// Counts a body's bytes: at once where their number is known, of a segment in progress as they are sent.
fn count_bytes(origin: &Origin, class: Class, response: Response<Body>) -> Response<Body> {
    let sent = &origin.context.metrics.served_bytes;
    if let Some(length) = response.body().size_hint().exact() {
        sent.get_or_create(&ClassLabel { class }).inc_by(length);
        return response;
    }
    let sent = sent.get_or_create_owned(&ClassLabel { class });
    response.map(|body| {
        Body::from_stream(body.into_data_stream().inspect_ok(move |piece| {
            sent.inc_by(piece.len() as u64);
        }))
    })
}

pub(super) struct Answer<'a> {
    pub(super) origin: &'a Origin,
    pub(super) channel: &'a Arc<Channel>,
    pub(super) ask: Ask<'a>,
}

/// A parked request, counted while it waits.
pub(super) struct Parked<'a> {
    origin: &'a Origin,
    channel: &'a Channel,
}

impl Drop for Parked<'_> {
    fn drop(&mut self) {
        self.origin.context.metrics.waiters.dec();
        self.channel.waiters.fetch_sub(1, Ordering::Relaxed);
    }
}

/// No place is left for another parked request.
pub(super) struct Full;

/// Why there is no view of the whole.
pub(super) enum Unready {
    /// No media yet.
    Starting,
    /// See [`Full`].
    Full,
}

impl Answer<'_> {
    async fn object(&self, object: Object<'_>, query: &str) -> Response<Body> {
        match object {
            Object::Multivariant => self.multivariant(false).await,
            Object::MultivariantPlain => self.multivariant(true).await,
            Object::Media(track) => self.playlist(track, Form::Full, query).await,
            Object::Plain(track) => self.playlist(track, Form::Plain, query).await,
            Object::IFrames(track) => self.playlist(track, Form::IFrames, query).await,
            Object::Manifest | Object::Timeline => self.mpd(object).await,
            Object::Patch { publish_ms } => self.patch(publish_ms).await,
            Object::Header(track, generation) => self.header(track, generation).await,
            Object::Segment(track, number) => self.segment(track, number, Name::Number).await,
            Object::SegmentAt(track, ticks) => self.segment_at(track, ticks).await,
            Object::Part(track, number, part) => self.part(track, number, part).await,
        }
    }

    /// A place among those who wait; it is freed when it is dropped.
    pub(super) fn parked(&self) -> Result<Parked<'_>, Full> {
        let origin = self.origin;
        let config = origin.config();
        let limits = &config.http;
        let all = usize::try_from(origin.context.metrics.waiters.inc()).unwrap_or(0);
        let here = self.channel.waiters.fetch_add(1, Ordering::Relaxed);
        let parked = Parked { origin, channel: self.channel };
        let refuse = |bound, max: usize| {
            let id = &self.channel.id;
            origin.context.tally.refuse(bound, format_args!("expected at most {max} parked requests, channel {id}"));
            Err(Full)
        };
        if all >= limits.waiters_max {
            return refuse("waiters", limits.waiters_max);
        }
        if here >= limits.waiters_per_channel_max {
            return refuse("waiters_per_channel", limits.waiters_per_channel_max);
        }
        Ok(parked)
    }

    pub(super) fn full(&self) -> Response<Body> {
        let words = "expected fewer requests that wait for what comes next; try again";
        self.ask.error(StatusCode::SERVICE_UNAVAILABLE, Freshness::BlockingError, words)
    }

    async fn multivariant(&self, plain: bool) -> Response<Body> {
        match self.settled().await {
            Ok(view) => {
                self.ask.text(&view.multivariant(plain), Object::Multivariant.media_type(), Freshness::Playlist)
            }
            Err(Unready::Starting) => self.starting(),
            Err(Unready::Full) => self.full(),
        }
    }

    /// The channel's view, once manifests over all tracks can be told.
    pub(super) async fn settled(&self) -> Result<Arc<View>, Unready> {
        let settled = |view: &Arc<View>| view.settled && !view.ladder.is_empty();
        let mut views = self.channel.watch();
        let view = Arc::clone(&views.borrow());
        if settled(&view) {
            return Ok(view);
        }
        let _parked = self.parked().map_err(|Full| Unready::Full)?;
        match tokio::time::timeout(START_DEADLINE, views.wait_for(settled)).await {
            Ok(Ok(view)) => Ok(Arc::clone(&view)),
            _ => Err(Unready::Starting),
        }
    }

    pub(super) fn starting(&self) -> Response<Body> {
        self.ask.error(
            StatusCode::SERVICE_UNAVAILABLE,
            Freshness::PlaylistError,
            "the channel is starting: no media yet",
        )
    }

    /// A track's edge; of a channel that is starting, once it is there.
    async fn edge(&self, track: &str) -> Result<Option<Arc<LiveEdge>>, Full> {
        if let Some(edge) = self.channel.edge(track) {
            return Ok(Some(edge));
        }
        let _parked = self.parked()?;
        let mut views = self.channel.watch();
        let deadline = tokio::time::Instant::now() + START_DEADLINE;
        loop {
            if let Some(edge) = self.channel.edge(track) {
                return Ok(Some(edge));
            }
            let settled = {
                let view = views.borrow_and_update();
                view.settled || view.state == ChannelState::Ended
            };
            if settled {
                return Ok(None);
            }
            match tokio::time::timeout_at(deadline, views.changed()).await {
                Ok(Ok(())) => {}
                _ => return Ok(None),
            }
        }
    }

    async fn playlist(&self, track: &str, form: Form, query: &str) -> Response<Body> {
        let media_type = Object::Multivariant.media_type();
        // After the end directives are ignored, wrong ones too.
        let ended = || self.channel.edge(track).is_some_and(|edge| edge.snapshot().ended);
        let directives = match Directives::parse(query) {
            Ok(directives) => directives,
            Err(_) if ended() => Directives::default(),
            Err(error) => return self.ask.error(StatusCode::BAD_REQUEST, Freshness::BlockingError, &error.to_string()),
        };
        let Ok(edge) = self.edge(track).await else { return self.full() };
        let Some(edge) = edge else {
            let settled = self.channel.view().settled;
            let words = "no such track";
            return if settled {
                self.ask.error(StatusCode::NOT_FOUND, Freshness::PlaylistError, words)
            } else {
                self.starting()
            };
        };
        let mut snapshot = edge.snapshot();
        if !snapshot.is_listed() {
            let Ok(_parked) = self.parked() else { return self.full() };
            match tokio::time::timeout(START_DEADLINE, edge.reached(|s| s.is_listed() || s.ended)).await {
                Ok(first) => snapshot = first,
                Err(_) => return self.starting(),
            }
        }
        if let Some((form, freshness)) = at_once(&snapshot, form, directives) {
            return self.ask.text(&snapshot.playlist(form), media_type, freshness);
        }
        if let Some(position) = directives.position {
            if let Err(error) = position.check(&snapshot.window, snapshot.part_target, snapshot.ended) {
                return self.ask.error(StatusCode::BAD_REQUEST, Freshness::BlockingError, &error.to_string());
            }
            let Ok(_parked) = self.parked() else { return self.full() };
            let deadline = snapshot.targets.target().to_std() * 3;
            let reached = |s: &Arc<Snapshot>| s.ended || position.is_reached(&s.window);
            match tokio::time::timeout(deadline, edge.reached(reached)).await {
                Ok(newer) => snapshot = newer,
                Err(_) => return self.blocked_too_long(position),
            }
        }
        let form = if snapshot.ended { form } else { skipping(form, directives.skip) };
        self.ask.text(&snapshot.playlist(form), media_type, Freshness::Blocking)
    }

    fn blocked_too_long(&self, position: Position) -> Response<Body> {
        let words =
            format!("expected segment {} within three target durations, its source is silent", position.segment);
        self.ask.error(StatusCode::SERVICE_UNAVAILABLE, Freshness::BlockingError, &words)
    }

    async fn header(&self, track: &str, generation: headwater_media::Generation) -> Response<Body> {
        if let Some(header) = self.channel.header(track, generation) {
            return self.ask.media(&header, Object::Header(track, generation).media_type());
        }
        // One that is announced for the next segment comes with it.
        let announced = self.channel.view().breaks.last().is_some_and(|b| b.generation == generation);
        if announced && let Some(edge) = self.channel.edge(track) {
            let Ok(_parked) = self.parked() else { return self.full() };
            let here = edge.reached(|_| self.channel.header(track, generation).is_some());
            if tokio::time::timeout(self.ask.target * 3, here).await.is_ok()
                && let Some(header) = self.channel.header(track, generation)
            {
                return self.ask.media(&header, Object::Header(track, generation).media_type());
            }
        }
        self.ask.error(StatusCode::NOT_FOUND, Freshness::MediaError, "no such header")
    }

    async fn segment(&self, track: &str, number: SegmentNumber, name: Name) -> Response<Body> {
        let media_type = Object::Segment(track, number).media_type();
        let Some(edge) = self.channel.edge(track) else {
            return self.ask.error(StatusCode::NOT_FOUND, Freshness::MediaError, "no such track");
        };
        if edge.store.find(number).is_none() {
            let snapshot = edge.snapshot();
            // The next object is held until its first byte is here; players ask early.
            if let Some(refused) = self.not_next(&snapshot, &edge, number) {
                return refused;
            }
            let Ok(_parked) = self.parked() else { return self.full() };
            let here = edge.reached(|s| {
                s.ended || s.window.next_number().is_some_and(|n| n > number) || edge.store.find(number).is_some()
            });
            if tokio::time::timeout(snapshot.targets.target().to_std() * 3, here).await.is_err() {
                return self.ask.error(StatusCode::NOT_FOUND, Freshness::MediaError, "the segment did not come");
            }
        }
        match edge.store.find(number).map(|s| s.media(name)) {
            Some(Media::Whole(whole)) => self.ask.media(&whole, media_type),
            Some(Media::Growing(body, said)) => self.ask.growing(&body, &said, media_type),
            None => self.ask.error(StatusCode::NOT_FOUND, Freshness::MediaError, "the segment is lost"),
        }
    }

    async fn segment_at(&self, track: &str, ticks: i64) -> Response<Body> {
        let Some(edge) = self.channel.edge(track) else {
            return self.ask.error(StatusCode::NOT_FOUND, Freshness::MediaError, "no such track");
        };
        let snapshot = edge.snapshot();
        let scale = snapshot.window.end().map(MediaTime::timescale);
        let Some(scale) = scale else { return self.starting() };
        let time = MediaTime::new(ticks, scale);
        if let Some(stored) = edge.store.find_start(time) {
            return self.segment(track, stored.number, Name::Time).await;
        }
        let next = snapshot.window.last().is_some_and(|last| last.end() == time);
        if next && let Some(number) = snapshot.window.next_number() {
            return self.segment(track, number, Name::Time).await;
        }
        self.ask.error(StatusCode::NOT_FOUND, Freshness::MediaError, "no segment starts at this time")
    }

    async fn part(&self, track: &str, number: SegmentNumber, index: PartIndex) -> Response<Body> {
        let media_type = Object::Part(track, number, index).media_type();
        let Some(edge) = self.channel.edge(track) else {
            return self.ask.error(StatusCode::NOT_FOUND, Freshness::MediaError, "no such track");
        };
        let find = || edge.store.find(number).and_then(|s| s.part(index));
        if let Some(part) = find() {
            return self.ask.media(&part, media_type);
        }
        let snapshot = edge.snapshot();
        if !hinted(&snapshot, number, index) {
            return self.ask.error(
                StatusCode::NOT_FOUND,
                expected(&snapshot, number, index),
                "neither published nor announced",
            );
        }
        let Ok(_parked) = self.parked() else { return self.full() };
        // Held until the whole part is here, or another one than announced came.
        let settled = edge.reached(|s| s.ended || find().is_some() || !hinted(s, number, index));
        if tokio::time::timeout(snapshot.targets.target().to_std() * 3, settled).await.is_err() {
            return self.ask.error(StatusCode::NOT_FOUND, Freshness::MediaError, "the announced part did not come");
        }
        match find() {
            Some(part) => self.ask.media(&part, media_type),
            None => self.ask.error(StatusCode::NOT_FOUND, Freshness::MediaError, "the announced part will not come"),
        }
    }

    /// The refusal of a segment that is neither here nor coming; `None` if it is waited for.
    fn not_next(&self, snapshot: &Snapshot, edge: &LiveEdge, number: SegmentNumber) -> Option<Response<Body>> {
        let next = match snapshot.window.open() {
            Some(open) => open.number.next(),
            None => snapshot.window.next_number()?,
        };
        if snapshot.ended || number < next {
            let stored = edge.store.first().is_none_or(|first| number >= first);
            let words = if stored { "the segment is lost" } else { "the segment has left the window" };
            return Some(self.ask.error(StatusCode::NOT_FOUND, Freshness::MediaError, words));
        }
        // Media of an encoder that sends whole segments comes later than its time, and the MPD promises it by its time:
        // what has begun by the clock is coming too.
        let now = self.origin.context.clock.now().media_time(headwater_media::Timescale::NANOS);
        let begun = self.channel.view().grid.is_some_and(|grid| number <= grid.number_at(now));
        if number == next || (begun && number.0 - next.0 <= BEHIND_MAX) {
            return None;
        }
        let ahead = u32::try_from(number.0 - next.0).unwrap_or(u32::MAX).min(1_000);
        let until = snapshot.targets.segment.to_std() * ahead;
        Some(self.ask.error(
            StatusCode::NOT_FOUND,
            Freshness::Expected(until),
            "too early: a later segment than the next",
        ))
    }
}

/// The form of a playlist that is told without waiting, and how long it lives; `None` if it is waited for, or refused.
pub(super) fn at_once(snapshot: &Snapshot, form: Form, directives: Directives) -> Option<(Form, Freshness)> {
    let told = skipping(form, directives.skip);
    match directives.position.filter(|_| form != Form::Plain && !snapshot.ended) {
        None => Some((told, Freshness::Playlist)),
        Some(position) => position.is_reached(&snapshot.window).then_some((told, Freshness::Blocking)),
    }
}

fn skipping(form: Form, skip: Skip) -> Form {
    match (form, skip) {
        (Form::Full, Skip::V1) => Form::Delta,
        (Form::Full, Skip::V2) => Form::DeltaV2,
        _ => form,
    }
}

/// How long a part that is neither here nor announced is surely missing.
fn expected(snapshot: &Snapshot, number: SegmentNumber, index: PartIndex) -> Freshness {
    let (Some(part), Some(next)) = (snapshot.part_target, snapshot.window.next_number()) else {
        return Freshness::MediaError;
    };
    let here = snapshot.window.open().map_or(0, |open| open.parts.len());
    if snapshot.ended || number < next {
        return Freshness::MediaError;
    }
    // A segment may end at any part; that its next one begins early is as near as can be told.
    let ahead = if number == next { u64::from(index.0).saturating_sub(here as u64) } else { u64::from(index.0) + 1 };
    Freshness::Expected(part.to_std() * u32::try_from(ahead).unwrap_or(u32::MAX).min(1_000))
}

/// True if the playlist announces this part.
fn hinted(snapshot: &Snapshot, number: SegmentNumber, index: PartIndex) -> bool {
    if snapshot.ended || snapshot.part_target.is_none() {
        return false;
    }
    match snapshot.window.open() {
        // A full segment's next part is the first of the one after it.
        Some(open) => {
            let next = PartIndex(u32::try_from(open.parts.len()).unwrap_or(u32::MAX));
            (open.number == number && index == next) || (open.number.next() == number && index.0 == 0)
        }
        None => snapshot.window.next_number() == Some(number) && index.0 == 0,
    }
}
