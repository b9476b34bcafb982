// SPDX-License-Identifier: Apache-2.0
//! Where a source's zero lies: the first time, and each time its timeline starts anew.
//!
//! A *session* is one run of an encoder, whose clock counts on without a break. Its tracks share one anchor, found from
//! the first of them that can tell, so sound stays with its picture.

use std::time::Duration;

use headwater_media::{Kind, MediaDuration, MediaTime, Timescale, TrackId, UtcTime};

use super::output::{Defect, Output};
use super::track::TrackState;
use super::{Assembler, Segmenter};
use crate::Sample;
use crate::timeline::anchor::{Anchor, Basis};
use crate::timeline::learner;
use crate::timeline::progress::Raw;

/// Sound or text alone tells where a source lies if no picture comes for this long.
const PICTURE_WAIT: Duration = Duration::from_secs(1);
/// Tracks of one restarted encoder start within this distance of each other.
const SAME_RUN: MediaDuration = MediaDuration::from_millis(30_000);

/// One run of an encoder.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: u64,
    pub(super) anchor: Option<Anchor>,
    /// When it was noticed.
    opened: Option<UtcTime>,
    /// What a manifest had told before it began.
    hint_before: Option<MediaTime>,
    /// Another run came before it.
    continues: bool,
}

impl Session {
    /// The run that was under way before a restart of the origin.
    pub(super) const fn recalled(anchor: Anchor) -> Self {
        Self { id: 0, anchor: Some(anchor), opened: None, hint_before: None, continues: false }
    }
}

impl Assembler {
    /// The run that a track of which nothing is known belongs to.
    pub(super) fn newest_session(&mut self, now: UtcTime) -> u64 {
        if self.sessions.is_empty() {
            self.open_session(now);
        }
        self.sessions.last().map_or(0, |s| s.id)
    }

    fn open_session(&mut self, now: UtcTime) -> u64 {
        // What no track is on any more is forgotten, so an encoder that restarts for ever costs nothing.
        let (tracks, newest) = (&self.tracks, self.sessions.last().map(|s| s.id));
        self.sessions.retain(|s| Some(s.id) == newest || tracks.values().any(|t| t.session == Some(s.id)));
        let id = newest.map_or(0, |id| id + 1);
        let hint_before = newest.and(self.anchor_hint);
        let continues = newest.is_some();
        self.sessions.push(Session { id, anchor: None, opened: Some(now), hint_before, continues });
        id
    }

    /// A track's timeline starts anew with `raws`: it is on the newest run if that fits, else on another.
    pub(super) fn restart(&mut self, id: &TrackId, raws: impl IntoIterator<Item = Raw>, now: UtcTime) {
        let mut raws = raws.into_iter().peekable();
        let Some(first) = raws.peek() else { return };
        let body = first.body;
        self.outputs.push(Output::Defect(Some(id.clone()), Defect::Restart));
        self.interrupt(id, Segmenter::interrupt);
        let session = match self.session_of_restart(id, first, now) {
            Some(session) => session,
            None => self.open_session(now),
        };
        let Some(track) = self.tracks.get_mut(id) else { return };
        track.changed |= track.is_published();
        track.session = Some(session);
        track.forget_unplaced();
        track.progress.restart(body);
        track.intake.restart(track.intake.reached());
        // What has been seen of the old run is all that will be.
        if self.grid.is_some() {
            self.end_learning();
        }
        for raw in raws {
            self.note(id, raw);
        }
    }

    /// The newest run, if a track that starts anew with `raw` may be on it.
    fn session_of_restart(&self, id: &TrackId, raw: &Raw, now: UtcTime) -> Option<u64> {
        let (newest, track) = (self.sessions.last()?, self.tracks.get(id)?);
        if track.session.is_none_or(|session| session == newest.id) {
            return None;
        }
        let Some(anchor) = newest.anchor else { return Some(newest.id) };
        let mapped = anchor.map(MediaTime::new(raw.samples[0].presentation_time(), track.input.timescale));
        let now = MediaTime::new(now.nanos(), Timescale::NANOS);
        let edge = self.edge().unwrap_or(now);
        let near = |time: MediaTime| mapped < time + SAME_RUN && mapped > time - SAME_RUN;
        let half = MediaDuration::new(track.half_frame(), track.input.timescale);
        let forward = track.end().is_none_or(|end| mapped > end - half);
        (forward && (near(now) || near(edge))).then_some(newest.id)
    }

    /// Finds the anchor of every run that has none and can be told by now.
    pub(super) fn find_anchors(&mut self, now: UtcTime) {
        for at in 0..self.sessions.len() {
            if self.sessions[at].anchor.is_none() {
                self.sessions[at].anchor = self.find_anchor(&self.sessions[at], now);
            }
        }
    }

    /// A run's zero on the UTC timeline, from the evidence in the order of the table in [`anchor`](super::super::anchor).
    fn find_anchor(&self, session: &Session, now: UtcTime) -> Option<Anchor> {
        let tracks = || self.tracks.values().filter(|t| t.session == Some(session.id) && !t.raw.is_empty());
        tracks().next()?;
        // NB: on a new run time never goes back, whatever clock it tells.
        let floor = session.continues.then(|| self.tracks.values().filter_map(TrackState::end).max()).flatten();
        let first = |t: &TrackState| MediaTime::new(t.raw[0].samples[0].decode_time, t.input.timescale);
        let utc =
            tracks().any(|t| Anchor::tells_utc(first(t), now) && floor.is_none_or(|floor| first(t) + SAME_RUN > floor));
        if utc {
            return Some(Anchor::EPOCH);
        }
        let waited = session.opened.map_or(Duration::ZERO, |opened| now.since(opened));
        let picture = tracks().filter(|t| t.input.kind == Kind::Video).find_map(first_key_frame);
        // NB: the zero is snapped to whole frames of the picture, whichever track or manifest comes first.
        if picture.is_none() && waited < PICTURE_WAIT {
            return None;
        }
        let told = self.anchor_hint.filter(|hint| session.hint_before.is_none_or(|before| *hint != before));
        if let Some(offset) = told {
            let frame = picture.map_or(MediaDuration::from_millis(1), |k| k.frame);
            let scale = picture.map_or(Timescale::MILLIS, |k| k.time.timescale());
            let anchor = Anchor::at(MediaTime::new(0, scale), offset, frame, Basis::Manifest);
            if floor.is_none_or(|floor| tracks().all(|t| anchor.map(first(t)) + SAME_RUN > floor)) {
                return Some(anchor);
            }
        }
        if self.expects_hint && waited < self.config.hint {
            return None;
        }
        let key = picture.or_else(|| tracks().find_map(first_key_frame))?;
        let captured = MediaTime::new(key.received.nanos(), Timescale::NANOS) - key.length;
        match (floor, &self.grid) {
            (Some(floor), Some(grid)) => {
                let (scale, reached) = (key.time.timescale(), floor.max(captured));
                let border = grid.start(grid.number_at(reached).next(), scale);
                let offset = MediaTime::new(border.ticks().saturating_sub(key.time.ticks()), scale);
                Some(Anchor { offset, basis: Basis::Continued })
            }
            (Some(floor), None) => Some(Anchor::at(key.time, floor.max(captured), key.frame, Basis::Arrival)),
            (None, _) => Some(Anchor::at(key.time, captured, key.frame, Basis::Arrival)),
        }
    }

    /// Maps what has come for a track, once its run's anchor is known.
    pub(super) fn map(&mut self, id: &TrackId) -> Vec<Sample> {
        let Some(track) = self.tracks.get_mut(id) else { return Vec::new() };
        let session = self.sessions.iter().find(|s| Some(s.id) == track.session);
        match session.and_then(|s| s.anchor) {
            Some(anchor) if !track.raw.is_empty() => track.map(anchor.ticks(track.input.timescale)),
            _ => Vec::new(),
        }
    }
}

#[derive(Clone, Copy)]
struct KeyFrame {
    time: MediaTime,
    frame: MediaDuration,
    /// From the key frame to the end of what had arrived with it.
    length: MediaDuration,
    received: UtcTime,
}

fn first_key_frame(track: &TrackState) -> Option<KeyFrame> {
    let scale = track.input.timescale;
    track.raw.iter().find_map(|raw| {
        let run = &raw.samples[raw.samples.iter().position(|s| s.sync)?..];
        let length: i64 = run.iter().map(|s| i64::from(s.duration)).sum();
        Some(KeyFrame {
            time: MediaTime::new(run[0].presentation_time(), scale),
            frame: MediaDuration::new(learner::usual_frame(&raw.samples).unwrap_or(1), scale),
            length: MediaDuration::new(length, scale),
            received: raw.received,
        })
    })
}
