// SPDX-License-Identifier: Apache-2.0
//! Reads one request body of an encoder, of whatever length and pace, and passes headers and whole fragments on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use headwater_media::{Kind, MediaTime, TrackId};
use headwater_net::gzip::Inflater;
use headwater_packager::cmaf::{self, Event, EventMessage, Header, Limits, Reader, TrackHeader};
use http_body_util::BodyExt;
use tokio::time::Instant;
use tracing::debug;

use crate::channel::{Channel, Command};
use crate::config;
use crate::memory::Charge;

/// Why a body was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not the media it should be.
    #[error(transparent)]
    Media(#[from] cmaf::Error),
    /// The connection broke.
    #[error("expected the end of the body, the connection broke: {0}")]
    Broken(#[source] axum::Error),
    /// Said to be gzip and is not.
    #[error("expected a gzip body as Content-Encoding says: {0}")]
    Inflate(#[source] std::io::Error),
    /// Nothing came for too long.
    #[error("expected more of the body within {0:?}")]
    Idle(Duration),
    /// A manifest past its bound.
    #[error("expected at most {bytes_max} bytes of manifest")]
    TooBig {
        /// The bound.
        bytes_max: usize,
    },
    /// Too many tracks.
    #[error("expected at most {tracks_max} tracks in a channel")]
    TooManyTracks {
        /// The bound.
        tracks_max: usize,
    },
    /// Unfolds to more than media ever does.
    #[error("expected a gzip body of media, this one unfolds to more than {ratio_max} times its size")]
    Bomb {
        /// The bound.
        ratio_max: u64,
    },
    /// Not even a short live window fits in memory.
    #[error("expected a live window that fits in memory, {held_bytes} bytes of this channel do not; try again later")]
    Memory {
        /// What it holds.
        held_bytes: u64,
    },
    /// Unfinished fragments of all bodies of the channel.
    #[error("expected at most {bytes_max} bytes of unfinished fragments in a channel")]
    Unfinished {
        /// The bound.
        bytes_max: u64,
    },
    /// The origin is stopping, or the channel was deleted under the push.
    #[error("expected a running channel, this one is stopping; try again")]
    Gone,
}

impl Error {
    /// HTTP status for the encoder.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Media(error) => error.status(),
            Self::Broken(_) | Self::Inflate(_) => 400,
            Self::Idle(_) => 408,
            Self::TooBig { .. } | Self::TooManyTracks { .. } | Self::Bomb { .. } | Self::Unfinished { .. } => 413,
            Self::Gone | Self::Memory { .. } => 503,
        }
    }

    /// Its name in metrics.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Media(cmaf::Error::TooBig { .. }) | Self::TooBig { .. } => "too_big",
            Self::Media(cmaf::Error::TooMany { .. }) => "too_many",
            Self::Media(cmaf::Error::NoHeader { .. }) => "no_header",
            Self::Media(cmaf::Error::UnsupportedCodec { .. }) => "codec",
            Self::Media(_) | Self::Inflate(_) => "broken_media",
            Self::Broken(_) => "broken_connection",
            Self::Idle(_) => "idle",
            Self::TooManyTracks { .. } => "too_many_tracks",
            Self::Bomb { .. } => "inflate_ratio",
            Self::Memory { .. } => "memory",
            Self::Unfinished { .. } => "unfinished",
            Self::Gone => "stopping",
        }
    }
}

static NEXT_BODY: AtomicU64 = AtomicU64::new(1);

/// A number that no other body of this process has.
pub fn next_id() -> u64 {
    NEXT_BODY.fetch_add(1, Ordering::Relaxed)
}

/// What one body is read against.
pub struct Context<'a> {
    /// Where it goes.
    pub channel: &'a Channel,
    /// The body's own number.
    pub id: u64,
    /// Bounds.
    pub limits: &'a config::Ingest,
    /// Stream name.
    pub name: &'a str,
    /// Object path.
    pub path: &'a str,
    /// The body is compressed.
    pub gzip: bool,
    /// One object of several, whose header may have come under another name.
    pub object: bool,
    /// Called with each piece's size.
    pub received: &'a (dyn Fn(u64) + Sync),
}

impl Context<'_> {
    fn body_idle(&self) -> Duration {
        self.limits.body_idle(self.channel.settings().segment().to_std())
    }
}

/// Reads the body to its end. What is whole is passed on at once; a stump at the end is dropped.
///
/// # Errors
/// [`Error`]; fragments that came before stay.
pub async fn read(context: &Context<'_>, body: &mut Body) -> Result<(), Error> {
    let limits = Limits {
        box_bytes_max: context.limits.box_bytes_max,
        header_bytes_max: context.limits.header_bytes_max,
        fragment_bytes_max: context.limits.fragment_bytes_max,
        tracks_max: context.limits.tracks_max,
        samples_max: context.limits.samples_max,
    };
    // After our restart the header kept on disk is the only one: senders do not repeat it.
    let mut reader = match context.channel.names.header(context.name, context.object) {
        Some(header) => Reader::with_header(header, limits),
        None => Reader::new(limits),
    };
    let mut events = Vec::new();
    let mut progress = Progress::new(context);
    let mut inflater = context.gzip.then(Inflater::default);
    while let Some(bytes) = next(body, context.body_idle()).await? {
        (context.received)(bytes.len() as u64);
        progress.come_bytes += bytes.len() as u64;
        let Some(inflater) = &mut inflater else {
            take(context, &mut reader, bytes, &mut events, &mut progress).await?;
            continue;
        };
        inflater.push(bytes);
        while let Some(bytes) = inflater.unfold().map_err(Error::Inflate)? {
            progress.unfolded(bytes.len(), context.limits.inflate_ratio_max)?;
            take(context, &mut reader, bytes, &mut events, &mut progress).await?;
        }
    }
    if let Some(inflater) = inflater {
        let rest = inflater.finish().map_err(Error::Inflate)?;
        progress.unfolded(rest.len(), context.limits.inflate_ratio_max)?;
        take(context, &mut reader, rest, &mut events, &mut progress).await?;
    }
    let header = reader.header().cloned();
    let end = reader.finish(&mut events)?;
    for event in events.drain(..) {
        pass(context, header.clone(), event, &mut progress).await?;
    }
    if end.stump_bytes > 0 {
        debug!(channel = %context.channel.id, path = context.path, stump_bytes = end.stump_bytes, "body ended inside a fragment");
    }
    Ok(())
}

/// Reads a small body whole.
///
/// # Errors
/// [`Error::TooBig`] past `bytes_max`.
pub async fn read_small(mut body: Body, bytes_max: usize, idle: Duration) -> Result<Bytes, Error> {
    let mut whole = BytesMut::new();
    while let Some(bytes) = next(&mut body, idle).await? {
        if whole.len() + bytes.len() > bytes_max {
            return Err(Error::TooBig { bytes_max });
        }
        whole.extend_from_slice(&bytes);
    }
    Ok(whole.freeze())
}

/// Reads on and throws away, for at most `within`: a refusal sent into unread data would be reset on its way.
pub async fn drain(mut body: Body, within: Duration) {
    let reading = async { while let Ok(Some(_)) = next(&mut body, within).await {} };
    let _ = tokio::time::timeout(within, reading).await;
}

async fn next(body: &mut Body, idle: Duration) -> Result<Option<Bytes>, Error> {
    loop {
        let frame = tokio::time::timeout(idle, body.frame()).await.map_err(|_| Error::Idle(idle))?;
        match frame {
            None => return Ok(None),
            Some(Err(error)) => return Err(Error::Broken(error)),
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data() {
                    return Ok(Some(bytes));
                }
            }
        }
    }
}

/// Reads the next bytes; what they complete is passed on. Waits for as long as the channel has no room or the body is
/// ahead of its rate: what is not read stays with its encoder.
async fn take(
    context: &Context<'_>,
    reader: &mut Reader,
    bytes: Bytes,
    events: &mut Vec<Event>,
    progress: &mut Progress,
) -> Result<(), Error> {
    let memory = &context.channel.memory;
    let rate = match (memory.budget().is_tight(), context.limits.body_bytes_per_second_max) {
        (false, rate) => rate,
        (true, 0) => TIGHT_BYTES_PER_SECOND,
        (true, rate) => rate.min(TIGHT_BYTES_PER_SECOND),
    };
    progress.pace(bytes.len(), rate).await;
    let pushed = reader.push(bytes, events);
    for event in events.drain(..) {
        let header = reader.header().cloned();
        pass(context, header, event, progress).await?;
    }
    pushed.map_err(Error::Media)?;
    progress.unfinished.resize(reader.buffered_bytes() as u64);
    if memory.is_overdrawn() {
        return Err(Error::Memory { held_bytes: memory.held() });
    }
    let bytes_max = context.limits.unpublished_bytes_max;
    if memory.unfinished_bytes() > bytes_max {
        return Err(Error::Unfinished { bytes_max });
    }
    if memory.unpublished() > bytes_max {
        tokio::select! {
            () = memory.room(bytes_max) => {}
            () = context.channel.gone() => return Err(Error::Gone),
        }
    }
    Ok(())
}

/// How far a body has come.
#[derive(Debug)]
struct Progress {
    /// The channel has been told the header that the fragments of this body need.
    announced: bool,
    /// The body's first sample has been noted.
    begun: bool,
    /// Messages that came since the last fragment.
    messages: Vec<EventMessage>,
    /// Bytes as they came, and unfolded.
    come_bytes: u64,
    unfolded_bytes: u64,
    /// When what has been read would have come at the rate of the bound.
    paced: Instant,
    /// What is not whole yet.
    unfinished: Charge,
}

/// Messages before one fragment.
const MESSAGES_MAX: usize = 32;
/// Media is compressed already; this much of a body may unfold however well.
const UNFOLDED_FREE_BYTES: u64 = 1 << 20;
/// What is read of one body while the process is all but at its bound: more than live media needs, less than a backlog
/// brings.
const TIGHT_BYTES_PER_SECOND: u64 = 8_000_000;
/// How far a body may be ahead of its rate: an encoder's burst after a stop.
const BURST: Duration = Duration::from_secs(1);

impl Progress {
    fn new(context: &Context<'_>) -> Self {
        Self {
            announced: false,
            begun: false,
            messages: Vec::new(),
            come_bytes: 0,
            unfolded_bytes: 0,
            paced: Instant::now(),
            unfinished: context.channel.memory.unfinished(),
        }
    }

    fn unfolded(&mut self, bytes: usize, ratio_max: u64) -> Result<(), Error> {
        self.unfolded_bytes += bytes as u64;
        let most = UNFOLDED_FREE_BYTES + self.come_bytes.saturating_mul(ratio_max);
        if self.unfolded_bytes > most { Err(Error::Bomb { ratio_max }) } else { Ok(()) }
    }

    /// Waits while the body is further ahead of `bytes_per_second` than a burst.
    async fn pace(&mut self, bytes: usize, bytes_per_second: u64) {
        if bytes_per_second == 0 {
            return;
        }
        let now = Instant::now();
        let takes = Duration::from_secs_f64(bytes as f64 / bytes_per_second as f64);
        self.paced = self.paced.max(now) + takes;
        if self.paced > now + BURST {
            tokio::time::sleep_until(self.paced - BURST).await;
        }
    }
}

async fn pass(
    context: &Context<'_>,
    header: Option<Arc<Header>>,
    event: Event,
    progress: &mut Progress,
) -> Result<(), Error> {
    match event {
        Event::Header(header) => {
            if context.channel.names.count() >= context.limits.tracks_max && !context.channel.names.knows(context.name)
            {
                return Err(Error::TooManyTracks { tracks_max: context.limits.tracks_max });
            }
            if context.channel.names.insert(context.name, &header) {
                context.channel.keep_header(context.name, &header.source);
            }
            progress.announced = true;
            announce(context, &header).await
        }
        Event::Fragment(fragment) => {
            let Some(header) = header else { return Ok(()) };
            if !progress.announced {
                progress.announced = true;
                announce(context, &header).await?;
            }
            pass_fragment(context, &header, fragment, progress).await
        }
        Event::EventMessage(message) => {
            // More before one fragment are no markers of it.
            if progress.messages.len() < MESSAGES_MAX {
                progress.messages.push(message);
            }
            Ok(())
        }
        Event::EndOfStream => Ok(()),
    }
}

async fn announce(context: &Context<'_>, header: &Arc<Header>) -> Result<(), Error> {
    for track in &header.tracks {
        let command = Command::Header {
            name: context.name.to_owned(),
            body: context.id,
            long: !context.object,
            track: track_id(context.name, header, track),
            header: Box::new(track.clone()),
        };
        if !context.channel.send(command).await {
            return Err(Error::Gone);
        }
    }
    Ok(())
}

async fn pass_fragment(
    context: &Context<'_>,
    header: &Header,
    fragment: cmaf::Fragment,
    progress: &mut Progress,
) -> Result<(), Error> {
    let slate = fragment.brands.slate;
    for part in fragment.tracks {
        let Some(track) = header.track(part.source_id) else { continue };
        if !progress.begun
            && let (Some(first), true) = (part.samples.first(), track.kind == Kind::Video || header.tracks.len() == 1)
        {
            progress.begun = true;
            let mut first = first.clone();
            track.apply_edit(&mut first);
            context.channel.names.note_start(context.path, MediaTime::new(first.presentation_time(), track.timescale));
        }
        let bytes = part.samples.iter().map(|s| s.data.len() as u64).sum();
        let command = Command::Fragment {
            track: track_id(context.name, header, track),
            body: context.id,
            slate,
            fragment: part,
            messages: std::mem::take(&mut progress.messages),
            charge: context.channel.memory.on_the_way(bytes),
        };
        if !context.channel.send(command).await {
            return Err(Error::Gone);
        }
    }
    Ok(())
}

/// A stream's only track has its name; of several, each has the name with its kind, numbered from the second of a kind.
fn track_id(name: &str, header: &Header, track: &TrackHeader) -> TrackId {
    let text = if header.tracks.len() == 1 {
        name.to_owned()
    } else {
        let same = header
            .tracks
            .iter()
            .filter(|t| t.kind == track.kind)
            .position(|t| t.source_id == track.source_id)
            .unwrap_or(0);
        if same == 0 { format!("{name}-{}", track.kind) } else { format!("{name}-{}{}", track.kind, same + 1) }
    };
    // `names` bounds and cleans stream names, so this cannot fail; `main` would only merge tracks.
    TrackId::new(&text).unwrap_or_else(|_| TrackId::new("main").expect("a valid name"))
}
