// SPDX-License-Identifier: Apache-2.0
//! The task that follows events, keeps windows over them and publishes alerts.
//!
//! Its state, windows and alerts that stand and how far it has followed, is one file that is replaced whole, and only
//! when the log has the alerts that follow from it. After a crash it goes on from there: an alert that is published again
//! has the id that it had, which the log knows. A group of Kafka is told what the file holds; messages that come again
//! are copies, which windows count once.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use headwater_media::UtcTime;
use headwater_net::{Shutdown, durable};
use serde::{Deserialize, Serialize};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use super::alerts::Standing;
use super::recent::Recent;
use super::{Shape, Windows};
use crate::config::Alerts;
use crate::event::{Data, Event, Kind, Kinds};
use crate::filter::Filter;
use crate::follow::{Arrival, Follow};
use crate::log::Log;
use crate::position::Positions;
use crate::publisher::Publisher;

/// How often the state is written, at most.
const KEEP: Duration = Duration::from_secs(1);

/// Windows and alerts over the events of this node or, over Kafka, of all.
#[derive(Debug)]
pub struct Task {
    alerts: Alerts,
    /// Where the state is kept, if it is.
    file: Option<PathBuf>,
    state: State,
    recent: Recent,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct State {
    /// Of which log; empty: of Kafka.
    log: String,
    positions: Positions,
    windows: Windows,
    standing: Standing,
}

impl Task {
    /// Goes on from `file`. What it holds of another log or in another form is left, and said;
    /// windows of another shape are begun anew where it stood.
    ///
    /// `log` is the identity of the log that will be followed; empty for Kafka.
    pub fn open(alerts: &Alerts, log: &str, file: Option<PathBuf>) -> Self {
        let shape = Shape::new(alerts);
        let state = file.as_deref().and_then(|file| match read(file, log, shape) {
            Ok(state) => state,
            Err(error) => {
                warn!(file = %file.display(), %error, "windows begin anew");
                None
            }
        });
        let fresh = || State {
            log: log.to_owned(),
            positions: Positions::default(),
            windows: Windows::new(shape),
            standing: Standing::default(),
        };
        let state = state.unwrap_or_else(fresh);
        Self { alerts: alerts.clone(), file, state, recent: Recent::default() }
    }

    /// The events that it is to be given.
    pub fn filter() -> Filter {
        Filter { kinds: Kinds::NONE.with(Kind::Delivery).with(Kind::Health), ..Filter::default() }
    }

    /// How far it has followed.
    pub const fn positions(&self) -> &Positions {
        &self.state.positions
    }

    /// The rows, for [`router`](super::router).
    pub fn recent(&self) -> Recent {
        self.recent.clone()
    }

    /// Follows a log in this process from where it was left.
    pub async fn run_over(self, log: Arc<Log>, publisher: Publisher, shutdown: Shutdown) {
        let from = self.state.positions.next(&log);
        self.run(Follow::log(log, Self::filter(), from), publisher, shutdown).await;
    }

    /// Follows until there is nothing to follow, or until shutdown is asked for.
    pub async fn run(mut self, mut follow: Follow, publisher: Publisher, shutdown: Shutdown) {
        let mut keep = interval(KEEP);
        keep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut changed = false;
        let mut gaps = 0_u64;
        loop {
            tokio::select! {
                arrival = follow.next() => match arrival {
                    Some(Arrival::Event(event, position)) => {
                        self.take(&event, &publisher);
                        self.state.positions.pass(position);
                        changed = true;
                    }
                    Some(Arrival::Gap) => {
                        gaps += 1;
                        info!(gaps, "windows may lack deliveries: events are missing");
                    }
                    None => break,
                },
                _ = keep.tick(), if changed => {
                    changed = false;
                    tokio::select! {
                        () = publisher.flushed() => self.keep(&follow).await,
                        () = shutdown.started() => break,
                    }
                }
                () = shutdown.started() => break,
            }
        }
        // NB: not without the log: what it lacks is published again, from the state before.
        tokio::select! {
            () = publisher.flushed() => self.keep(&follow).await,
            () = shutdown.closed() => {}
        }
    }

    fn take(&mut self, event: &Event, publisher: &Publisher) {
        let rows = self.state.windows.push(event, UtcTime::from_system(SystemTime::now()));
        for row in &rows {
            for alert in self.state.standing.judge(row, &self.alerts) {
                warn!(rule = alert.rule, state = alert.state.name(), "{}", alert.text);
                publisher.publish(alert.window_end.0, Data::Alert(alert));
            }
        }
        self.recent.take(rows, self.state.windows.counts());
    }

    /// Keeps the state, and tells a group of Kafka that it may go on from there.
    async fn keep(&mut self, follow: &Follow) {
        if let Some(file) = self.file.clone() {
            let state = self.state.clone();
            let written = tokio::task::spawn_blocking(move || {
                let content = serde_json::to_vec(&state).map_err(io::Error::other)?;
                durable::write(&file, &content)
            });
            if let Err(error) = written.await.map_err(io::Error::other).flatten() {
                warn!(%error, "the state of windows could not be written: after a restart it is computed again");
                return;
            }
        }
        self.state.positions.tell(follow);
    }
}

/// The state in a file, if it is there and of this log.
fn read(file: &Path, log: &str, shape: Shape) -> io::Result<Option<State>> {
    let Some(content) = durable::read(file)? else { return Ok(None) };
    let mut state: State =
        serde_json::from_slice(&content).map_err(|cause| io::Error::new(io::ErrorKind::InvalidData, cause))?;
    if state.log != log {
        let message = "expected the state of this log, got another's";
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    let before = state.windows.shape();
    if before != shape {
        info!(?before, now = ?shape, "windows are others: those that were open are not told");
        state.windows = Windows::new(shape);
    }
    Ok(Some(state))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::body::Body;
    use http::Request;
    use http_body_util::BodyExt;
    use tokio::time::{sleep, timeout};
    use tower::ServiceExt;

    use super::*;
    use crate::config::Config;
    use crate::event::{Role, Source};
    use crate::log::Offset;
    use crate::windows::recent::{Told, router};
    use crate::windows::tests::{delivery, heartbeat};

    const RULES: fn() -> Alerts = || Alerts { requests_min: 1, lateness_ms: 1_000, ..Alerts::default() };

    fn publisher() -> Publisher {
        Publisher::start(&Config::default(), None, Source::new(Role::Shield, "n")).unwrap()
    }

    fn put(publisher: &Publisher, events: &[Event]) {
        publisher.log().append(events, UtcTime::from_nanos(0)).unwrap();
    }

    fn alert_ids(log: &Log) -> BTreeSet<String> {
        let mut ids = BTreeSet::new();
        for record in log.read(Offset(0), usize::MAX).unwrap().iter().filter(|record| record.kind == Kind::Alert) {
            let event = record.event().unwrap();
            assert!(ids.insert(event.id.clone()), "{event:?} is there twice");
        }
        ids
    }

    async fn until(what: &str, mut holds: impl FnMut() -> bool) {
        let wait = async {
            while !holds() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(60), wait).await.unwrap_or_else(|_| panic!("expected {what}"));
    }

    #[tokio::test]
    async fn a_channel_that_fails_is_told_as_an_alert_and_as_rows() {
        let (publisher, shutdown) = (publisher(), Shutdown::new());
        put(&publisher, &[delivery("a", "news", 1_000, 110), delivery("b", "sport", 1_000, 10), heartbeat(12_000)]);
        let task = Task::open(&RULES(), publisher.log().identity(), None);
        let recent = task.recent();
        let log = Arc::clone(publisher.log());
        let running = tokio::spawn(task.run_over(log, publisher.clone(), shutdown.clone()));
        until("an alert", || !alert_ids(publisher.log()).is_empty()).await;
        shutdown.start();
        running.await.unwrap();
        let ids = alert_ids(publisher.log());
        assert_eq!(ids.into_iter().collect::<Vec<_>>(), ["alert:errors/news/firing@2023-11-14T22:13:30.000Z"]);
        let request = Request::get("/events/windows?channel=news").body(Body::empty()).unwrap();
        let answer = router(recent).oneshot(request).await.unwrap();
        let told: Told = serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap();
        assert_eq!(
            told.windows.iter().map(|row| (row.requests, row.error_permille)).collect::<Vec<_>>(),
            [(110, Some(90))]
        );
        assert_eq!(told.counts.taken, 2);
    }

    #[tokio::test]
    async fn a_task_that_is_killed_goes_on_and_every_event_counts_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("windows.json");
        let publisher = publisher();
        let log = Arc::clone(publisher.log());
        let mut published = 0;
        for round in 0..8 {
            for second in 0..20 {
                let ms = (round * 20 + second) * 1_000;
                let requests = if (ms / 10_000) % 3 == 0 { 110 } else { 5 };
                put(&publisher, &[delivery("a", "news", ms, requests), heartbeat(ms + 900)]);
                published += 1;
            }
            let task = Task::open(&RULES(), log.identity(), Some(file.clone()));
            let (recent, from) = (task.recent(), task.positions().next(&log));
            let running = tokio::spawn(task.run_over(Arc::clone(&log), publisher.clone(), Shutdown::new()));
            // Killed where it has read all, half the time before its state is written.
            until("all to be read", || recent.counts().taken == published).await;
            if round % 2 == 0 {
                let kept = || Task::open(&RULES(), log.identity(), Some(file.clone())).positions().next(&log);
                until("the state in the file", || kept() > from).await;
            }
            running.abort();
            assert!(running.await.unwrap_err().is_cancelled());
        }
        let one = self::publisher();
        let all = log.read(Offset(0), usize::MAX).unwrap();
        let all = all.iter().map(|record| record.event().unwrap()).filter(|event| event.kind() != Kind::Alert);
        put(&one, &all.collect::<Vec<_>>());
        let task = Task::open(&RULES(), one.log().identity(), None);
        let recent = task.recent();
        tokio::spawn(task.run_over(Arc::clone(one.log()), one.clone(), Shutdown::new()));
        until("all to be read", || recent.counts().taken == published).await;
        for publisher in [&publisher, &one] {
            publisher.flushed().await;
        }
        assert_eq!(alert_ids(&log), alert_ids(one.log()));
        assert!(alert_ids(&log).len() > 8);
    }

    #[tokio::test]
    async fn state_of_another_log_or_in_pieces_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("windows.json");
        let mut task = Task::open(&RULES(), "one", Some(file.clone()));
        task.state.positions.pass(crate::follow::Position::Log(Offset(7)));
        task.keep(&Follow::channel().1).await;
        let log = Log::memory();
        let next = |identity, alerts: &Alerts| Task::open(alerts, identity, Some(file.clone())).positions().next(&log);
        assert_eq!(next("one", &RULES()), Offset(8));
        assert_eq!(next("one", &Alerts { window_seconds: 60, ..RULES() }), Offset(8), "other windows, the same log");
        assert_eq!(next("two", &RULES()), Offset(0));
        std::fs::write(&file, "rubbish").unwrap();
        assert_eq!(next("one", &RULES()), Offset(0));
    }
}
