// SPDX-License-Identifier: Apache-2.0
//! Where events come from: a node's feed, a log's folder, Kafka.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use headwater_events::config;
use headwater_events::event::Kinds;
use headwater_events::feed::{self, Since};
use headwater_events::kafka::{self, Reading, Start, Until};
use headwater_events::log::{Archive, Offset};
use headwater_events::{Arrival, Event, Filter, Follow, Position};
use headwater_media::UtcTime;
use headwater_net::Shutdown;
use http::header::AUTHORIZATION;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use url::Url;

use crate::check::client::{Ask, Client};

/// How often a folder is looked at for what was written since.
const LOOK: Duration = Duration::from_millis(200);
/// Read from a folder at once.
const BATCH: usize = 1_024;
/// Nothing for this long is the end of a feed: longer than a node keeps silent to its followers.
const SILENCE: Duration = Duration::from_secs(6);
/// Events happen before they are stored, and their times are not in order: how much sooner and longer is read.
const DISORDER: Duration = Duration::from_secs(60);

/// Where from, and which.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Options {
    /// A node's feed
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:8080", conflicts_with_all = ["log", "kafka"])]
    url: String,
    /// What the feed is shown, one of the node's `api.tokens`
    #[arg(long, value_name = "TOKEN", env = "HEADWATER_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// A log's folder, that of a running node too
    #[arg(long, value_name = "DIR", conflicts_with = "kafka")]
    log: Option<PathBuf>,
    /// Brokers of Kafka, separated by commas
    #[arg(long, value_name = "HOST:PORT")]
    kafka: Option<String>,
    /// What the names of the topics begin with
    #[arg(long, value_name = "PREFIX", default_value = "headwater", requires = "kafka")]
    prefix: String,
    /// A property of librdkafka, for TLS and SASL; again for each
    #[arg(long, value_name = "NAME=VALUE", requires = "kafka")]
    property: Vec<String>,
    /// Types separated by commas; `channel.*` is every type that begins so [default: all]
    #[arg(long, value_name = "TYPES", value_parser = kinds)]
    types: Option<Kinds>,
    /// Events of this channel alone; again for each
    #[arg(long, value_name = "NAME")]
    channel: Vec<String>,
}

/// Which part of what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// From there on, and whatever comes.
    Live(Since),
    /// From there to what happened before `to`, or to the end.
    Past {
        /// The first.
        from: Since,
        /// The end; none: what there is.
        to: Option<UtcTime>,
    },
}

fn kinds(text: &str) -> Result<Kinds, String> {
    Kinds::read(text).map_err(|name| format!("expected types such as segment.ready or channel.*, got {name}"))
}

/// Reads `first`, `end`, an offset or a time.
pub(crate) fn since(text: &str) -> Result<Since, String> {
    Since::read(text).map_err(|error| error.to_string())
}

/// Reads a time.
pub(crate) fn time(text: &str) -> Result<UtcTime, String> {
    UtcTime::parse(text).ok_or_else(|| format!("expected a time such as 2026-11-21T20:00:00Z, got {text}"))
}

impl Options {
    /// Every event that there is, without choice.
    pub(crate) fn filter(&self) -> Filter {
        Filter { kinds: self.types.unwrap_or(Kinds::ALL), channels: self.channel.clone() }
    }

    /// Opens what was named.
    ///
    /// # Errors
    /// If it cannot be followed, or there is no past of it to read.
    pub(crate) async fn open(&self, extent: Extent, shutdown: &Shutdown) -> anyhow::Result<Input> {
        let (since, to) = match extent {
            Extent::Live(since) => (since, None),
            Extent::Past { from, to } => (sooner(from), to),
        };
        let is_past = matches!(extent, Extent::Past { .. });
        let (follow, ends_by) = if let Some(dir) = &self.log {
            let archive = Archive::open(dir).with_context(|| format!("expected a log in {}", dir.display()))?;
            (from_folder(archive, self.filter(), since, to.map(later), is_past), Ends::Itself)
        } else if let Some(bootstrap) = &self.kafka {
            (self.brokers(bootstrap, since, to, is_past, shutdown)?, Ends::Itself)
        } else {
            if is_past {
                answers(&self.url, self.token.as_deref()).await?;
            }
            let follow = feed::follow(&self.url, self.token.as_deref(), self.filter(), since, shutdown.clone())?;
            (follow, if is_past { Ends::WithNow(now()) } else { Ends::Itself })
        };
        let first = match extent {
            Extent::Past { from: Since::Time(time), .. } => Some(time),
            _ => None,
        };
        Ok(Input { follow, ends_by, first, to })
    }

    /// Follows the brokers.
    fn brokers(
        &self,
        bootstrap: &str,
        since: Since,
        to: Option<UtcTime>,
        is_past: bool,
        shutdown: &Shutdown,
    ) -> anyhow::Result<Follow> {
        let config = config::Kafka {
            bootstrap: bootstrap.to_owned(),
            prefix: self.prefix.clone(),
            properties: self.property.clone(),
            ..config::Kafka::default()
        };
        let start = match since {
            Since::First => Start::Beginning,
            Since::End => Start::End,
            Since::Time(time) => Start::Time(time),
            Since::Offset(_) => bail!("expected first, end or a time: offsets of Kafka are of one partition"),
        };
        let until = match (is_past, to) {
            (false, _) => Until::Stopped,
            (true, None) => Until::End,
            (true, Some(to)) => Until::Time(later(to)),
        };
        Ok(kafka::follow(&config, Reading { filter: self.filter(), start, until }, shutdown)?)
    }
}

/// Events as they come, within the time that was asked for.
#[derive(Debug)]
pub(crate) struct Input {
    follow: Follow,
    ends_by: Ends,
    first: Option<UtcTime>,
    to: Option<UtcTime>,
}

#[derive(Clone, Copy, Debug)]
enum Ends {
    /// What feeds it knows.
    Itself,
    /// A feed goes on for ever: what happened after that time was not there when it was asked.
    WithNow(UtcTime),
}

/// What comes of it.
#[derive(Debug)]
pub(crate) enum Next {
    /// An event.
    Event(Box<Event>, Position),
    /// Events may be missing.
    Gap,
}

impl Input {
    /// The next; none at the end.
    pub(crate) async fn next(&mut self) -> Option<Next> {
        loop {
            let arrival = match self.ends_by {
                Ends::Itself => self.follow.next().await,
                // Past the silence nothing more is stored there.
                Ends::WithNow(_) => timeout(SILENCE, self.follow.next()).await.ok().flatten(),
            };
            match arrival? {
                Arrival::Gap => return Some(Next::Gap),
                Arrival::Event(event, position) => {
                    let time = event.time.0;
                    let over = match self.ends_by {
                        Ends::Itself => false,
                        Ends::WithNow(now) => time >= now || self.to.is_some_and(|to| time >= later(to)),
                    };
                    if over {
                        return None;
                    }
                    if self.first.is_none_or(|first| time >= first) && self.to.is_none_or(|to| time < to) {
                        return Some(Next::Event(event, position));
                    }
                }
            }
        }
    }
}

fn now() -> UtcTime {
    UtcTime::from_system(SystemTime::now())
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

fn later(time: UtcTime) -> UtcTime {
    UtcTime::from_nanos(time.nanos().saturating_add(nanos(DISORDER)))
}

fn sooner(since: Since) -> Since {
    match since {
        Since::Time(time) => Since::Time(UtcTime::from_nanos(time.nanos().saturating_sub(nanos(DISORDER)))),
        other => other,
    }
}

/// A feed is followed whatever becomes of it; whoever asks for the past wants to know that there is one.
async fn answers(url: &str, token: Option<&str>) -> anyhow::Result<()> {
    let mut asked = Url::parse(url).with_context(|| format!("expected http://host[:port] of a feed, got {url}"))?;
    if matches!(asked.path(), "" | "/") {
        asked.set_path("/events");
    }
    let mut ask = Ask::manifest().head();
    if let Some(token) = token {
        ask = ask.with(AUTHORIZATION, &format!("Bearer {token}"));
    }
    let answer = Client::new(false)?.ask(&asked, ask).await?;
    if answer.status != http::StatusCode::OK {
        bail!("expected a feed of events at {asked}, got {}", answer.status);
    }
    Ok(())
}

/// Feeds what a folder holds, and what is written to it.
fn from_folder(mut archive: Archive, filter: Filter, since: Since, to: Option<UtcTime>, is_past: bool) -> Follow {
    let (sender, follow) = Follow::channel();
    let task = async move {
        let mut from = match since {
            Since::First => archive.first(),
            Since::End => archive.end(),
            Since::Offset(offset) => offset,
            Since::Time(time) => archive.offset_at(time),
        };
        // A past ends where the log ended when it was asked for.
        let end = is_past.then(|| archive.end());
        while end.is_none_or(|end| from < end) {
            let Ok((back, read)) = tokio::task::spawn_blocking(move || {
                let read = archive.read(from, BATCH);
                (archive, read)
            })
            .await
            else {
                return;
            };
            archive = back;
            match read {
                Err(lost) => {
                    from = lost.first;
                    if sender.send(Arrival::Gap).await.is_err() {
                        return;
                    }
                }
                Ok(records) if records.is_empty() => {
                    if is_past || sender.is_closed() {
                        return;
                    }
                    sleep(LOOK).await;
                    // What cannot be read just now is looked at again.
                    let _ = archive.refresh();
                }
                Ok(records) => {
                    let last = records.last().map_or(from, |record| record.offset.after());
                    let over = to.is_some_and(|to| records.first().is_some_and(|record| record.stored >= to));
                    if over || hand_on(&records, &filter, &sender).await.is_err() {
                        return;
                    }
                    from = last;
                }
            }
        }
    };
    tokio::spawn(task);
    follow
}

async fn hand_on(
    records: &[headwater_events::Record],
    filter: &Filter,
    sender: &mpsc::Sender<Arrival>,
) -> Result<(), mpsc::error::SendError<Arrival>> {
    for record in records.iter().filter(|record| filter.wants(record.kind, record.channel.as_deref())) {
        let arrival = match record.event() {
            Ok(event) => Arrival::Event(Box::new(event), Position::Log(Offset(record.offset.0))),
            Err(_) => Arrival::Gap,
        };
        sender.send(arrival).await?;
    }
    Ok(())
}
