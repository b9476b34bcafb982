// SPDX-License-Identifier: Apache-2.0
//! The live edge of one track: the newest snapshot, whoever waits for the next, and each playlist rendered once.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use headwater_manifests::Targets;
use headwater_manifests::hls::media::{self, Hint, Report, Skip};
use headwater_media::{Generation, TrackId, UtcTime, Window};
use headwater_net::{gzip, tag};
use http::HeaderValue;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::metrics::Counter;
use crate::store::TrackStore;

/// A text rendered once and compressed once, whoever asks first.
#[derive(Debug)]
pub struct Rendered {
    /// As is.
    pub body: Bytes,
    /// Validator of [`Self::body`].
    pub tag: HeaderValue,
    gzip: OnceLock<Bytes>,
}

impl Rendered {
    /// Tags a text.
    pub fn new(body: Bytes) -> Self {
        let tag = tag::of(&body);
        Self { body, tag, gzip: OnceLock::new() }
    }

    /// The body compressed.
    pub fn gzip(&self) -> &Bytes {
        self.gzip.get_or_init(|| gzip::compress(&self.body))
    }
}

/// The forms of a media playlist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// With parts.
    Full,
    /// With parts, older segments skipped.
    Delta,
    /// With parts, older segments and date ranges skipped.
    DeltaV2,
    /// Without parts.
    Plain,
    /// I-frames only.
    IFrames,
}

/// What an edge publishes: a track's window at one version, and what its playlists say beside it.
#[derive(Debug)]
pub struct Publication {
    /// What is listed.
    pub window: Window,
    /// What the other playlists hold.
    pub reports: Vec<Report>,
    /// The channel's promises.
    pub targets: Targets,
    /// `PART-TARGET`, if the track has parts.
    pub part_target: Option<headwater_media::MediaDuration>,
    /// Nothing will follow.
    pub ended: bool,
    /// What to announce.
    pub hint: Hint,
    /// A header the next part will need.
    pub pending_header: Option<Generation>,
    /// When the newest part was published.
    pub published: UtcTime,
}

/// A publication and the playlists of that version.
#[derive(Debug)]
pub struct Snapshot {
    publication: Publication,
    renders: Counter,
    forms: [OnceLock<Arc<Rendered>>; 5],
}

impl Deref for Snapshot {
    type Target = Publication;

    fn deref(&self) -> &Publication {
        &self.publication
    }
}

impl Snapshot {
    fn new(publication: Publication, renders: Counter) -> Self {
        Self { publication, renders, forms: Default::default() }
    }

    /// The playlist in a form, rendered by the first who asks.
    pub fn playlist(&self, form: Form) -> Arc<Rendered> {
        let rendered = self.forms[form as usize].get_or_init(|| {
            self.renders.inc();
            Arc::new(Rendered::new(self.render(form)))
        });
        Arc::clone(rendered)
    }

    /// Playlists of whole segments do not change with a part: what the version before has rendered of them holds.
    fn take_over(&mut self, before: &Self) {
        let first = |s: &Self| s.window.first().map(Arc::as_ptr);
        let last = |s: &Self| s.window.last().map(Arc::as_ptr);
        if first(self) == first(before) && last(self) == last(before) && self.ended == before.ended {
            for form in [Form::Plain, Form::IFrames] {
                self.forms[form as usize] = before.forms[form as usize].clone();
            }
        }
    }

    /// The text that readers get in a form, without being one: theirs if somebody has asked, else one of its own.
    pub fn text(&self, form: Form) -> Bytes {
        self.forms[form as usize].get().map_or_else(|| self.render(form), |rendered| rendered.body.clone())
    }

    fn render(&self, form: Form) -> Bytes {
        let input = media::Input {
            window: &self.window,
            targets: &self.targets,
            part_target: self.part_target,
            reports: &self.reports,
            ended: self.ended,
            hint: self.hint,
            pending_header: self.pending_header,
        };
        match form {
            Form::Full => media::render(&input, Skip::None),
            Form::Delta => media::render(&input, Skip::V1),
            Form::DeltaV2 => media::render(&input, Skip::V2),
            Form::Plain => media::render_plain(&input),
            Form::IFrames => media::render_iframes(&input, Skip::None),
        }
    }

    /// True if there is anything to list.
    pub fn is_listed(&self) -> bool {
        self.window.first_number().is_some()
    }
}

/// One track's edge: handles are shared, one owner publishes.
#[derive(Debug)]
pub struct LiveEdge {
    /// Whose.
    pub track: TrackId,
    /// Its bytes.
    pub store: TrackStore,
    snapshot: watch::Sender<Arc<Snapshot>>,
    /// Guards the newest snapshots, oldest first; held for a push or a look. Whoever wakes late finds its version here.
    recent: Mutex<VecDeque<Arc<Snapshot>>>,
    renders: Counter,
}

/// A part, a part with its segment's end, and both once more.
const RECENT: usize = 4;

impl LiveEdge {
    /// An edge with nothing published.
    pub fn new(track: TrackId, targets: Targets, renders: Counter) -> Self {
        let empty = Publication {
            window: Window::new(),
            reports: Vec::new(),
            targets,
            part_target: None,
            ended: false,
            hint: Hint::None,
            pending_header: None,
            published: UtcTime::from_nanos(0),
        };
        let snapshot = watch::Sender::new(Arc::new(Snapshot::new(empty, renders.clone())));
        Self { track, store: TrackStore::default(), snapshot, recent: Mutex::default(), renders }
    }

    /// The newest snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.borrow())
    }

    /// Who waits now.
    pub fn waiters(&self) -> usize {
        self.snapshot.receiver_count()
    }

    /// Publishes and wakes every waiter. The bytes it names must be in [`Self::store`] already.
    pub fn publish(&self, publication: Publication) {
        let mut snapshot = Snapshot::new(publication, self.renders.clone());
        snapshot.take_over(&self.snapshot());
        let snapshot = Arc::new(snapshot);
        let mut recent = self.recent.lock();
        if recent.len() >= RECENT {
            recent.pop_front();
        }
        recent.push_back(Arc::clone(&snapshot));
        drop(recent);
        self.snapshot.send_replace(snapshot);
    }

    /// Waits for the first snapshot that `reached` accepts. A dropped call leaves no trace.
    ///
    /// Two versions may be published before a waiter wakes. It gets the one it waited for, not the newer one: the same
    /// position is the same bytes on every origin.
    pub async fn reached(&self, mut reached: impl FnMut(&Arc<Snapshot>) -> bool) -> Arc<Snapshot> {
        let mut receiver = self.snapshot.subscribe();
        let begun = self.snapshot();
        let found = match receiver.wait_for(&mut reached).await {
            Ok(snapshot) => Arc::clone(&snapshot),
            // The sender lives in `self`, which the caller holds.
            Err(_) => self.snapshot(),
        };
        let recent: Vec<_> = self.recent.lock().iter().cloned().collect();
        let after = recent.iter().position(|s| Arc::ptr_eq(s, &begun)).unwrap_or(0);
        let first = recent[after..].iter().find(|s| reached(s)).cloned();
        first.unwrap_or(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_media::MediaDuration;

    fn at(nanos: i64, targets: Targets) -> Publication {
        Publication {
            window: Window::new(),
            reports: Vec::new(),
            targets,
            part_target: None,
            ended: false,
            hint: Hint::None,
            pending_header: None,
            published: UtcTime::from_nanos(nanos),
        }
    }

    #[test]
    fn a_part_does_not_render_the_playlists_of_whole_segments_again() {
        let [segment, part, window] = [2_000, 200, 60_000].map(MediaDuration::from_millis);
        let targets = Targets::new(segment, part, window);
        let edge = LiveEdge::new(TrackId::new("v0").unwrap(), targets, Counter::default());
        let rendered = |form| {
            edge.publish(at(1, targets));
            let before = edge.snapshot().playlist(form);
            edge.publish(at(2, targets));
            Arc::ptr_eq(&before, &edge.snapshot().playlist(form))
        };
        assert!(rendered(Form::Plain) && rendered(Form::IFrames));
        assert!(!rendered(Form::Full) && !rendered(Form::Delta));
        let before = edge.snapshot().playlist(Form::Plain);
        edge.publish(Publication { ended: true, ..at(3, targets) });
        assert!(!Arc::ptr_eq(&before, &edge.snapshot().playlist(Form::Plain)));
    }

    #[tokio::test]
    async fn a_waiter_that_wakes_late_gets_the_version_it_waited_for() {
        let [segment, part, window] = [2_000, 200, 60_000].map(MediaDuration::from_millis);
        let targets = Targets::new(segment, part, window);
        let edge = LiveEdge::new(TrackId::new("v0").unwrap(), targets, Counter::default());
        edge.publish(at(1, targets));
        let waiting = edge.reached(|s| s.published >= UtcTime::from_nanos(2));
        let (woken, ()) = tokio::join!(waiting, async {
            (2..5).for_each(|nanos| edge.publish(at(nanos, targets)));
        });
        assert_eq!(woken.published, UtcTime::from_nanos(2));
        assert_eq!(edge.reached(|_| true).await.published, UtcTime::from_nanos(4));
    }
}
