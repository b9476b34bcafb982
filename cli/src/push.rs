// SPDX-License-Identifier: Apache-2.0
//! `headwater push`: a ladder of CMAF files sent as a live encoder would, in a loop, without an encoder.
//!
//! Media time is Unix time. A chunk is handed over when a camera would have its last frame, so what an origin measures
//! as latency is real. Time and bytes follow from the clock alone (see [`ladder`]): two pushers are two redundant
//! encoders of one source (DASH-IF Live Media Ingest v1.2, source synchronisation).

mod ladder;
mod rewrite;
mod upload;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use bytes::Bytes;
use headwater_media::{MediaDuration, MediaTime, Timescale, UtcTime};
use headwater_net::Shutdown;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use ladder::{ChunkNumber, Ladder, Track};
use upload::{Error, Target};

/// Chunks between the clock and the socket; when it is full the clock waits.
const QUEUE_CHUNKS: usize = 4;
/// An origin that takes nothing for this long is lost.
const HAND_OVER_MAX: Duration = Duration::from_secs(10);
/// An origin that has the whole body answers within this.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// How far before the last chunk handed over a new connection begins: what the old one held may not have arrived.
const REWIND: MediaDuration = MediaDuration::from_millis(2_000);
/// After a longer absence the stream goes on at the present instead of sending what was missed.
const CATCH_UP_MAX: MediaDuration = MediaDuration::from_millis(10_000);
const BACK_OFF_MIN: Duration = Duration::from_millis(250);
const BACK_OFF_MAX: Duration = Duration::from_secs(5);

/// What to push, and where.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Publishing point, channel included
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080/ingest/demo")]
    pub(crate) to: String,
    /// Folder of *.cmfv, *.cmfa, *.cmft files of equal length [default: the sample ladder in this program]
    #[arg(long, value_name = "DIR")]
    pub(crate) from: Option<PathBuf>,
    /// Stream key, sent as the Basic password
    #[arg(long, value_name = "KEY", env = "HEADWATER_KEY", hide_env_values = true)]
    pub(crate) key: Option<String>,
    /// Stop after this much media [default: never]
    #[arg(long, value_name = "N")]
    pub(crate) seconds: Option<u32>,
    /// Only these tracks, such as v0,a0 [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) tracks: Vec<String>,
    /// Send whole segments at once, as encoders without chunked output do
    #[arg(long)]
    pub(crate) burst: bool,
}

impl Options {
    /// The sample ladder to `to`, without end.
    pub(crate) const fn sample(to: String) -> Self {
        Self { to, from: None, key: None, seconds: None, tracks: Vec::new(), burst: false }
    }
}

/// Pushes until the end asked for, until `shutdown`, or until the origin refuses for good.
///
/// A lost origin is tried again with back-off, and gets the last seconds once more.
///
/// # Errors
/// If the ladder cannot be read, the origin refuses, or the end comes while a track has no connection.
pub(crate) async fn run(options: Options, shutdown: Shutdown) -> anyhow::Result<()> {
    let target = Target::new(&options.to, options.key.as_deref())?;
    let ladder = match &options.from {
        Some(folder) => Ladder::read(folder, &options.tracks)?,
        None => Ladder::sample(&options.tracks)?,
    };
    let start = ladder.sync_after(now().media_time(Timescale::NANOS));
    let end = options.seconds.map(|seconds| start + MediaDuration::from_millis(i64::from(seconds) * 1_000));
    let names: Vec<_> = ladder.tracks.iter().map(Track::name).collect();
    info!(to = options.to, tracks = names.join(","), from = %start.utc(), loop_seconds = ladder.duration.decimal(3), "pushing");

    let plan = Arc::new(Plan { ladder, target, start, end, burst: options.burst });
    let mut pushes = JoinSet::new();
    let stop = CancellationToken::new();
    for index in 0..plan.ladder.tracks.len() {
        let (plan, stop) = (Arc::clone(&plan), stop.clone());
        pushes.spawn(async move {
            let track = &plan.ladder.tracks[index];
            push(&plan, track, &stop).await.with_context(|| format!("track {} ended", track.name()))
        });
    }
    let mut outcome = Ok(());
    loop {
        let ended = tokio::select! {
            ended = pushes.join_next() => ended,
            () = shutdown.started(), if !stop.is_cancelled() => {
                stop.cancel();
                continue;
            }
        };
        let Some(ended) = ended else { break };
        if let Err(error) = ended.context("a push was cut short").flatten() {
            // The first reason is the one to tell; a channel without one of its tracks is no test of anything.
            stop.cancel();
            outcome = outcome.and(Err(error));
        }
    }
    outcome
}

/// What all tracks share.
struct Plan {
    ladder: Ladder,
    target: Target,
    /// First sync frame.
    start: MediaTime,
    /// Chunks that start here or later are not sent.
    end: Option<MediaTime>,
    burst: bool,
}

impl Plan {
    /// When a chunk is sent: at its end, or at its segment's.
    fn due(&self, track: &Track, number: ChunkNumber) -> UtcTime {
        let end = track.end(number);
        if self.burst { self.ladder.sync_after(end).utc() } else { end.utc() }
    }

    fn is_over(&self, track: &Track, number: ChunkNumber) -> bool {
        self.end.is_some_and(|end| track.start(number) >= end)
    }

    /// Where a new connection begins, if `next` would have been the next chunk of the old one.
    fn resume(&self, track: &Track, next: ChunkNumber, now: MediaTime) -> ChunkNumber {
        if now > track.start(next) + CATCH_UP_MAX {
            return track.first_sync_from(now);
        }
        let first = track.opening(self.start);
        track.last_sync_until(track.start(next) - REWIND).max(first)
    }
}

/// Pushes one track, over as many connections as it takes.
async fn push(plan: &Plan, track: &Track, stop: &CancellationToken) -> Result<(), Error> {
    let mut next = track.opening(plan.start);
    let mut back_off = BACK_OFF_MIN;
    loop {
        let began = Instant::now();
        let error = match connection(plan, track, &mut next, stop).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let over = plan.end.is_some_and(|end| now() >= end.utc());
        if !error.is_retryable() || over || stop.is_cancelled() {
            return Err(error);
        }
        if began.elapsed() > BACK_OFF_MAX {
            back_off = BACK_OFF_MIN;
        }
        let wait = error.retry_after().unwrap_or(back_off).min(BACK_OFF_MAX);
        warn!(track = track.name(), "{error}; trying again in {} ms", wait.as_millis());
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return Ok(()),
        }
        back_off = (back_off * 2).min(BACK_OFF_MAX);
        next = plan.resume(track, next, now().media_time(Timescale::NANOS));
    }
}

/// Pushes one track over one connection; `next` moves past every chunk handed over.
async fn connection(plan: &Plan, track: &Track, next: &mut ChunkNumber, stop: &CancellationToken) -> Result<(), Error> {
    let stream = tokio::select! {
        connected = plan.target.connect() => connected?,
        () = stop.cancelled() => return Ok(()),
    };
    let (chunks, body) = mpsc::channel(QUEUE_CHUNKS);
    let mut answer = std::pin::pin!(plan.target.post(stream, &track.file_name, body));
    let paced = tokio::select! {
        biased;
        answered = &mut answer => return answered.and_then(|status| Err(Error::Ended { status })),
        paced = pace(plan, track, next, chunks, stop, now) => paced,
    };
    match (paced, tokio::time::timeout(ANSWER_MAX, answer).await) {
        (Err(error), _) | (Ok(()), Ok(Err(error))) => Err(error),
        (Ok(()), Ok(Ok(status))) if !plan.is_over(track, *next) && !stop.is_cancelled() => Err(Error::Ended { status }),
        (Ok(()), Ok(Ok(_))) => Ok(()),
        (Ok(()), Err(_)) => Err(Error::Silent { what: "answered", after: ANSWER_MAX }),
    }
}

/// Hands over the header, then every chunk when it is due, until the end or `stop`; dropping `chunks` ends the body.
async fn pace(
    plan: &Plan,
    track: &Track,
    next: &mut ChunkNumber,
    chunks: mpsc::Sender<Bytes>,
    stop: &CancellationToken,
    now: impl Fn() -> UtcTime,
) -> Result<(), Error> {
    let mut open = hand_over(&chunks, track.header.clone()).await?;
    while open && !plan.is_over(track, *next) {
        let wait = plan.due(track, *next).since(now());
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return Ok(()),
        }
        open = hand_over(&chunks, track.bytes(*next)).await?;
        *next = if open { next.next() } else { *next };
    }
    Ok(())
}

/// False if the body is closed: then the answer is there, and tells why.
async fn hand_over(chunks: &mpsc::Sender<Bytes>, bytes: Bytes) -> Result<bool, Error> {
    match chunks.send_timeout(bytes, HAND_OVER_MAX).await {
        Ok(()) => Ok(true),
        Err(mpsc::error::SendTimeoutError::Closed(_)) => Ok(false),
        Err(mpsc::error::SendTimeoutError::Timeout(_)) => Err(Error::Silent { what: "read", after: HAND_OVER_MAX }),
    }
}

fn now() -> UtcTime {
    UtcTime::from_system(SystemTime::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(burst: bool) -> Plan {
        let ladder = Ladder::sample(&["v0".to_owned(), "a0".to_owned()]).unwrap();
        let start = ladder.sync_after(MediaTime::new(1_700_000_003_210, Timescale::MILLIS));
        let end = Some(start + MediaDuration::from_millis(2_000));
        Plan { ladder, target: Target::new("http://origin/ingest/demo", None).unwrap(), start, end, burst }
    }

    /// Milliseconds after the start at which `track`'s chunks are handed over, under a paused clock.
    async fn hand_overs(plan: &Plan, track: &Track) -> Vec<u128> {
        let (chunks, mut body) = mpsc::channel(1);
        let (began, began_utc) = (Instant::now(), plan.start.utc());
        let clock = move || UtcTime::from_nanos(began_utc.nanos() + i64::try_from(began.elapsed().as_nanos()).unwrap());
        let mut next = track.first_sync_from(plan.start);
        let stop = CancellationToken::new();
        let reader = async {
            assert_eq!(body.recv().await, Some(track.header.clone()));
            let mut times = Vec::new();
            while body.recv().await.is_some() {
                times.push(began.elapsed().as_millis());
            }
            times
        };
        let (paced, times) = tokio::join!(pace(plan, track, &mut next, chunks, &stop, clock), reader);
        paced.unwrap();
        times
    }

    #[tokio::test(start_paused = true)]
    async fn a_chunk_is_sent_when_its_last_frame_ends() {
        let plan = plan(false);
        let sent = hand_overs(&plan, &plan.ladder.tracks[0]).await;
        assert_eq!(sent, [200, 400, 600, 800, 1_000, 1_200, 1_400, 1_600, 1_800, 2_000]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_sends_a_segment_when_it_is_whole() {
        let plan = plan(true);
        assert_eq!(hand_overs(&plan, &plan.ladder.tracks[0]).await, [[1_000; 5], [2_000; 5]].concat());
        let sound = hand_overs(&plan, &plan.ladder.tracks[1]).await;
        assert!(sound.iter().all(|at| at % 1_000 == 0), "{sound:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_origin_that_stops_reading_is_given_up() {
        let plan = plan(false);
        let track = &plan.ladder.tracks[0];
        let (chunks, _unread) = mpsc::channel(QUEUE_CHUNKS);
        let mut next = track.first_sync_from(plan.start);
        let ended = pace(&plan, track, &mut next, chunks, &CancellationToken::new(), || plan.start.utc()).await;
        assert!(matches!(ended, Err(Error::Silent { what: "read", .. })), "{ended:?}");
    }

    #[test]
    fn a_new_connection_repeats_the_last_seconds_unless_too_late() {
        let plan = plan(false);
        let track = &plan.ladder.tracks[0];
        let at = |seconds: i64| track.first_sync_from(plan.start + MediaDuration::from_millis(seconds * 1_000));
        let now = |seconds: i64| plan.start + MediaDuration::from_millis(seconds * 1_000);
        assert_eq!(plan.resume(track, at(6), now(8)), at(4));
        assert_eq!(plan.resume(track, at(1), now(2)), at(0));
        assert_eq!(plan.resume(track, at(6), now(60)), at(60));
    }
}
