// SPDX-License-Identifier: Apache-2.0
//! A channel: one owner task, and the handle that everybody else holds.

mod commit;
mod ledger;
mod pacer;
mod release;
mod status;
mod task;
mod view;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;
use headwater_media::{ChannelId, Generation, MediaDuration, MediaTime, TrackId};
use headwater_net::Shutdown;
use headwater_packager::cmaf::{TrackFragment, TrackHeader};
use parking_lot::RwLock;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config;
use crate::edge::LiveEdge;
use crate::ingest::names::Names;
use crate::metrics::Metrics;
use crate::store::Tagged;

pub use ledger::Ledger;
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
    },
    /// A track's header.
    Header {
        /// Stream name it came under.
        name: String,
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
        /// Its samples, in source time.
        fragment: TrackFragment,
    },
    /// A manifest push goes with this channel's media.
    ExpectHint,
    /// A pushed manifest tells the segment duration.
    HintSegment(MediaDuration),
    /// A pushed manifest tells where source time zero lies.
    HintAnchor(MediaTime),
    /// Nothing will follow: playlists get their end.
    End,
    /// Tell the state, for the API.
    Status(tokio::sync::oneshot::Sender<serde_json::Value>),
}

/// What a channel's task works with.
#[derive(Clone, Debug)]
pub struct Context {
    /// The wall clock.
    pub clock: Clock,
    /// Metrics of the process.
    pub metrics: Arc<Metrics>,
    /// Media bytes in memory over all channels.
    pub memory: Arc<crate::memory::Budget>,
    /// Where headers and numbering survive a restart.
    pub ledger: Option<Ledger>,
    /// The process's stop.
    pub shutdown: Shutdown,
}

/// Commands that may wait for a channel; a full queue stops reading from its encoders.
const COMMANDS_MAX: usize = 256;

/// A channel's handle.
#[derive(Debug)]
pub struct Channel {
    /// Its name.
    pub id: ChannelId,
    /// Its settings.
    pub config: config::Channel,
    /// Names under which encoders push, and the headers they sent.
    pub names: Names,
    commands: mpsc::Sender<Command>,
    edges: ArcSwap<BTreeMap<TrackId, Arc<LiveEdge>>>,
    /// Guards the map only; headers are few and written once a generation.
    headers: RwLock<HashMap<(TrackId, Generation), Tagged>>,
    view: watch::Sender<Arc<View>>,
    closed: CancellationToken,
    /// DASH manifests.
    pub manifests: crate::http::Manifests,
    ledger: Option<Ledger>,
}

impl Channel {
    /// Declares a channel and starts its task.
    pub fn start(id: ChannelId, config: config::Channel, context: Context) -> Arc<Self> {
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let channel = Arc::new(Self {
            id,
            config,
            names: Names::default(),
            commands,
            edges: ArcSwap::default(),
            headers: RwLock::default(),
            view: watch::Sender::new(Arc::new(View::starting())),
            closed: CancellationToken::new(),
            manifests: crate::http::Manifests::default(),
            ledger: context.ledger.clone(),
        });
        let task = task::Task::new(Arc::clone(&channel), context.clone());
        context.shutdown.spawn(task.run(inbox));
        channel
    }

    /// Sends a command, waiting while the queue is full. False if the channel is gone.
    pub async fn send(&self, command: Command) -> bool {
        self.commands.send(command).await.is_ok()
    }

    /// Ends the task and forgets the media; readers get what they have begun.
    pub fn close(&self) {
        self.closed.cancel();
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

    /// What the task says of itself, for the API; `None` if the channel is gone.
    pub async fn status(&self) -> Option<serde_json::Value> {
        let (ask, answer) = tokio::sync::oneshot::channel();
        if !self.send(Command::Status(ask)).await {
            return None;
        }
        answer.await.ok()
    }
}
