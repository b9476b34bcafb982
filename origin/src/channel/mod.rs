// SPDX-License-Identifier: Apache-2.0
//! A channel: one owner task, and the handle that everybody else holds.

mod budget;
mod commit;
mod lag;
mod ledger;
mod life;
mod markers;
mod news;
mod pacer;
mod release;
mod sources;
mod status;
mod task;
mod view;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use headwater_events::Publisher;
use headwater_media::{ChannelId, Generation, MediaDuration, MediaTime, TrackId, UtcTime};
use headwater_net::Shutdown;
use headwater_net::limits::Tally;
use headwater_packager::cmaf::{EventMessage, TrackFragment, TrackHeader};
use parking_lot::RwLock;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config;
use crate::edge::LiveEdge;
use crate::ingest::names::Names;
use crate::memory::{Account, Charge};
use crate::metrics::Metrics;
use crate::store::Tagged;

pub use ledger::Ledger;
pub use status::{SegmentStatus, Status, TrackDefects, TrackStatus};
pub use task::Break;
pub use view::{Rendering, State, View};

/// What ingest tells a channel.
#[derive(Debug)]
pub enum Command {
    /// A body under this stream name has begun; its tracks are to be expected.
    Opened {
        /// Stream name.
        name: String,
    },
    /// A body has ended.
    Closed {
        /// Stream name.
        name: String,
        /// The body.
        body: u64,
    },
    /// A track's header.
    Header {
        /// Stream name it came under.
        name: String,
        /// The body it belongs to.
        body: u64,
        /// That body is one without end, rather than an object of many.
        long: bool,
        /// The track.
        track: TrackId,
        /// Its header.
        header: Box<TrackHeader>,
    },
    /// A whole fragment of a track.
    Fragment {
        /// The track.
        track: TrackId,
        /// The body it came in.
        body: u64,
        /// It says that it is a slate.
        slate: bool,
        /// Its samples, in source time.
        fragment: TrackFragment,
        /// Messages that came before it.
        messages: Vec<EventMessage>,
        /// Its bytes, counted while it waits for the channel.
        charge: Charge,
    },
    /// A manifest push goes with this channel's media.
    ExpectHint,
    /// A pushed manifest tells the segment duration.
    HintSegment(MediaDuration),
    /// A pushed manifest tells where source time zero lies.
    HintAnchor(MediaTime),
    /// Nothing will follow: playlists get their end.
    End,
    /// Say when everything before is carried out.
    CaughtUp(tokio::sync::oneshot::Sender<()>),
    /// Tell the state, for the API.
    Status(tokio::sync::oneshot::Sender<Status>),
}

/// What a channel's task works with.
#[derive(Clone, Debug)]
pub struct Context {
    /// The wall clock.
    pub clock: Clock,
    /// Metrics of the process.
    pub metrics: Arc<Metrics>,
    /// The channel's memory.
    pub memory: Arc<Account>,
    /// Refusals by bound, of this process.
    pub tally: Arc<Tally>,
    /// Where headers and numbering survive a restart.
    pub ledger: Option<Ledger>,
    /// Who is told what changed.
    pub publisher: Publisher,
    /// The process's stop.
    pub shutdown: Shutdown,
}

/// Who said that there is this channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The configuration.
    File,
    /// A request to the API.
    Api,
    /// Its first push.
    Push,
}

/// Why a channel is closed that somebody took away.
pub(crate) const REMOVED: &str = "removed";

/// Commands that may wait for a channel; a full queue stops reading from its encoders.
const COMMANDS_MAX: usize = 256;

/// A channel's handle.
#[derive(Debug)]
pub struct Channel {
    /// Its name.
    pub id: ChannelId,
    settings: watch::Sender<Arc<config::Channel>>,
    /// Guards one word; held to copy it.
    source: RwLock<Source>,
    /// When an encoder was last heard, nanoseconds of UTC.
    heard: AtomicI64,
    /// Bodies of encoders that are open now.
    bodies: AtomicUsize,
    /// Bounds of what comes in.
    pub bounds: config::Ingest,
    /// Its memory.
    pub memory: Arc<Account>,
    /// Requests parked for what comes next.
    pub waiters: AtomicUsize,
    /// Requests of encoders that are being answered, manifests too.
    pub pushes: AtomicUsize,
    /// Names under which encoders push, and the headers they sent.
    pub names: Names,
    commands: mpsc::Sender<Command>,
    edges: ArcSwap<BTreeMap<TrackId, Arc<LiveEdge>>>,
    /// Guards the map only; headers are few and written once a generation.
    headers: RwLock<HashMap<(TrackId, Generation), Tagged>>,
    view: watch::Sender<Arc<View>>,
    closed: CancellationToken,
    /// Why, once it is closed.
    why: OnceLock<&'static str>,
    /// DASH manifests.
    pub manifests: crate::http::Manifests,
    ledger: Option<Ledger>,
}

impl Channel {
    /// Declares a channel and starts its task.
    pub fn start(
        id: ChannelId,
        source: Source,
        settings: config::Channel,
        bounds: config::Ingest,
        context: Context,
    ) -> Arc<Self> {
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let channel = Arc::new(Self {
            id,
            settings: watch::Sender::new(Arc::new(settings)),
            source: RwLock::new(source),
            heard: AtomicI64::new(context.clock.now().nanos()),
            bounds,
            memory: Arc::clone(&context.memory),
            waiters: AtomicUsize::new(0),
            pushes: AtomicUsize::new(0),
            bodies: AtomicUsize::new(0),
            names: Names::default(),
            commands,
            edges: ArcSwap::default(),
            headers: RwLock::default(),
            view: watch::Sender::new(Arc::new(View::starting())),
            closed: CancellationToken::new(),
            why: OnceLock::new(),
            manifests: crate::http::Manifests::default(),
            ledger: context.ledger.clone(),
        });
        let task = task::Task::new(Arc::clone(&channel), context.clone());
        context.shutdown.spawn(task.run(inbox));
        channel
    }

    /// Its settings now.
    pub fn settings(&self) -> Arc<config::Channel> {
        Arc::clone(&self.settings.borrow())
    }

    /// Puts new settings in force, except the durations of segments and parts: players were promised those.
    pub fn configure(&self, settings: config::Channel) {
        let known = self.settings();
        let settings = config::Channel { segment_ms: known.segment_ms, part_ms: known.part_ms, ..settings };
        if settings != *known {
            self.settings.send_replace(Arc::new(settings));
        }
    }

    /// Who said that there is this channel.
    pub fn source(&self) -> Source {
        *self.source.read()
    }

    /// Somebody else says so from here on.
    pub fn adopt(&self, source: Source) {
        *self.source.write() = source;
    }

    /// An encoder's body begins.
    pub fn body_opened(&self, now: UtcTime) {
        self.bodies.fetch_add(1, Ordering::Relaxed);
        self.heard.store(now.nanos(), Ordering::Relaxed);
    }

    /// An encoder's body has ended.
    pub fn body_closed(&self, now: UtcTime) {
        self.heard.store(now.nanos(), Ordering::Relaxed);
        self.bodies.fetch_sub(1, Ordering::Relaxed);
    }

    /// Bodies of encoders that are open now.
    pub fn bodies(&self) -> usize {
        self.bodies.load(Ordering::Relaxed)
    }

    /// Since when no encoder is connected; `None` while one is.
    pub fn left_alone_since(&self) -> Option<UtcTime> {
        (self.bodies() == 0).then(|| UtcTime::from_nanos(self.heard.load(Ordering::Relaxed)))
    }

    /// Sends a command, waiting while the queue is full. False if the channel is gone.
    pub async fn send(&self, command: Command) -> bool {
        self.commands.send(command).await.is_ok()
    }

    /// Ends the task and forgets the media; readers get what they have begun. `why` is what followers are told.
    pub fn close(&self, why: &'static str) {
        self.why.get_or_init(|| why);
        self.closed.cancel();
    }

    /// True once it has been told to end.
    pub fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// Waits until the channel is gone.
    pub async fn gone(&self) {
        self.commands.closed().await;
    }

    /// Keeps an encoder's header across restarts.
    pub fn keep_header(&self, name: &str, header: &[u8]) {
        if let Some(ledger) = &self.ledger {
            ledger.keep_header(name, header);
        }
    }

    /// A track's edge.
    pub fn edge(&self, track: &str) -> Option<Arc<LiveEdge>> {
        self.edges.load().get(track).cloned()
    }

    /// Every track's edge.
    pub fn edges(&self) -> Arc<BTreeMap<TrackId, Arc<LiveEdge>>> {
        self.edges.load_full()
    }

    /// A CMAF header.
    pub fn header(&self, track: &str, generation: Generation) -> Option<Tagged> {
        let track = TrackId::new(track).ok()?;
        self.headers.read().get(&(track, generation)).cloned()
    }

    /// The newest view.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.borrow())
    }

    /// Follows the view.
    pub fn watch(&self) -> watch::Receiver<Arc<View>> {
        self.view.subscribe()
    }

    /// Waits until the task has carried out what was sent before, or is gone. What is paced may still wait for its time.
    pub async fn caught_up(&self) {
        let (ask, answer) = tokio::sync::oneshot::channel();
        if self.send(Command::CaughtUp(ask)).await {
            // A task that is gone has published what it will.
            let _ = answer.await;
        }
    }

    /// What the task says of itself, for the API; `None` if the channel is gone.
    pub async fn status(&self) -> Option<Status> {
        let (ask, answer) = tokio::sync::oneshot::channel();
        if !self.send(Command::Status(ask)).await {
            return None;
        }
        answer.await.ok()
    }
}
