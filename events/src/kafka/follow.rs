// SPDX-License-Identifier: Apache-2.0
//! Following events in Kafka: alone, or sharing the work in a consumer group.
//!
//! A thread of its own reads, since librdkafka blocks. It waits for brokers that are away and for topics that are not
//! made yet; a place where messages are missing is told as a gap.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use headwater_media::UtcTime;
use headwater_net::Shutdown;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::client::{self, Context, Error};
use super::message;
use super::metrics::Metrics;
use crate::config;
use crate::event::{self, Event, Kind};
use crate::filter::Filter;
use crate::follow::{Arrival, Feedback, Follow, Position};
use crate::topic::Topic;

/// Where a reading begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Where the group of that name has got to, at the beginning if it is new; its members share the partitions.
    Group(String),
    /// With the oldest there is.
    Beginning,
    /// With what comes from now on.
    End,
    /// With what was stored at that time or later.
    Time(UtcTime),
}

/// Where a reading ends; one in a group ends when it is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Nowhere.
    Stopped,
    /// Where the topics ended when it got there.
    End,
    /// Likewise, or before with what was stored after that time.
    Time(UtcTime),
}

/// What is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Which events.
    pub filter: Filter,
    /// From where.
    pub start: Start,
    /// To where.
    pub until: Until,
}

/// How long a call to the brokers may take.
const ANSWER: Duration = Duration::from_secs(5);
/// How long the thread waits for messages before it looks whether it is still wanted.
const POLL: Duration = Duration::from_millis(100);
/// How often brokers that do not answer are asked for the partitions.
const SEEK: Duration = Duration::from_millis(500);
/// How often others are looked for.
const SEEK_MORE: Duration = Duration::from_secs(10);
/// How long a reader may take over what it has when the reading ends.
const LAST: Duration = Duration::from_secs(5);
/// How far a partition may be out of the order of its times: it has several writers.
const DISORDER: Duration = Duration::from_secs(60);

/// Follows what `config` names.
///
/// Brokers need not be there. What was dealt with is told by [`Follow::done`]; a group commits it once a second and at
/// the end. It ends when the `Follow` is dropped, at `until`, or with `shutdown`.
///
/// # Errors
/// [`Error`] if `config` makes no client.
pub fn follow(config: &config::Kafka, mut reading: Reading, shutdown: &Shutdown) -> Result<Follow, Error> {
    let group = match &reading.start {
        Start::Group(name) => Some(name.clone()),
        _ => None,
    };
    if group.is_some() {
        // Its members come and go: no one of them knows the end.
        reading.until = Until::Stopped;
    }
    let client = client::consumer(config, group.as_deref())?;
    let context = Context { metrics: Metrics::default() };
    let consumer: BaseConsumer<Context> = client.create_with_context(context).map_err(client::refused)?;
    let topics = Topic::ALL
        .into_iter()
        .filter(|&topic| Kind::ALL.iter().any(|&kind| reading.filter.kinds.has(kind) && Topic::of(kind) == topic))
        .map(|topic| (topic.of_prefix(&config.prefix), topic))
        .collect();
    let (sender, follow) = Follow::channel();
    let feed = Feed {
        consumer,
        topics,
        feedback: follow.feedback(),
        sender,
        expected: BTreeMap::new(),
        ends: BTreeMap::new(),
        assigned: BTreeSet::new(),
        is_found: false,
        reading,
    };
    let shutdown = shutdown.clone();
    let thread = std::thread::Builder::new().name("kafka-follow".to_owned());
    thread.spawn(move || feed.run(&shutdown)).map_err(|error| Error::Client(error.to_string()))?;
    Ok(follow)
}

struct Feed {
    consumer: BaseConsumer<Context>,
    topics: BTreeMap<String, Topic>,
    reading: Reading,
    sender: mpsc::Sender<Arrival>,
    feedback: Arc<Feedback>,
    /// The next message of a partition.
    expected: BTreeMap<(String, i32), i64>,
    /// Where partitions end that are not read to there, of a reading that ends.
    ends: BTreeMap<(String, i32), i64>,
    assigned: BTreeSet<(String, i32)>,
    /// Brokers have told the partitions once.
    is_found: bool,
}

impl Feed {
    fn run(mut self, shutdown: &Shutdown) {
        let is_group = matches!(self.reading.start, Start::Group(_));
        let names: Vec<&str> = self.topics.keys().map(String::as_str).collect();
        if is_group && let Err(error) = self.consumer.subscribe(&names) {
            warn!(%error, "kafka: the group cannot be joined");
            return;
        }
        let mut seek = Instant::now();
        while !self.sender.is_closed() && !shutdown.is_started() && !self.is_at_end() {
            if !is_group && Instant::now() >= seek {
                self.seek_partitions();
                seek = Instant::now() + if self.is_found { SEEK_MORE } else { SEEK };
            }
            let read = match self.consumer.poll(POLL) {
                Some(Ok(message)) => Some(self.read(&message)),
                Some(Err(error)) => {
                    // The client tries again by itself.
                    debug!(%error, "kafka: reading is in trouble");
                    None
                }
                None => None,
            };
            let arrivals = read.map(|read| self.arrived(read));
            // Full: the brokers keep the rest.
            for arrival in arrivals.into_iter().flatten().flatten() {
                if self.sender.blocking_send(arrival).is_err() {
                    break;
                }
            }
            if is_group {
                store(&self.consumer, &self.feedback);
            }
        }
        drop(self.sender);
        // The reader may still be dealing with the last ones.
        let deadline = Instant::now() + LAST;
        while is_group && Arc::strong_count(&self.feedback) > 1 && Instant::now() < deadline {
            std::thread::sleep(POLL);
        }
        store(&self.consumer, &self.feedback);
    }

    /// Looks for partitions that are not read yet, and begins with them.
    fn seek_partitions(&mut self) {
        let mut found = TopicPartitionList::new();
        for topic in self.topics.keys() {
            let metadata = match self.consumer.fetch_metadata(Some(topic), ANSWER) {
                Ok(metadata) => metadata,
                Err(error) => {
                    debug!(topic, %error, "kafka: no answer about a topic");
                    return;
                }
            };
            let partitions = metadata.topics().iter().filter(|found| found.name() == topic && found.error().is_none());
            for partition in partitions.flat_map(|topic| topic.partitions()) {
                if !self.assigned.contains(&(topic.clone(), partition.id())) {
                    found.add_partition(topic, partition.id());
                }
            }
        }
        match self.begin(found) {
            Ok(()) => self.is_found = true,
            Err(error) => debug!(%error, "kafka: partitions cannot be read yet"),
        }
    }

    fn begin(&mut self, mut found: TopicPartitionList) -> Result<(), KafkaError> {
        if found.count() == 0 {
            return Ok(());
        }
        match self.reading.start {
            // A partition that was made since then is new from its beginning.
            _ if self.is_found => found.set_all_offsets(Offset::Beginning)?,
            Start::Group(_) | Start::Beginning => found.set_all_offsets(Offset::Beginning)?,
            Start::End => found.set_all_offsets(Offset::End)?,
            Start::Time(time) => {
                found.set_all_offsets(Offset::Offset(millis(time)))?;
                found = self.consumer.offsets_for_times(found, ANSWER)?;
            }
        }
        let mut ends = Vec::new();
        for partition in found.elements().iter().filter(|_| self.reading.until != Until::Stopped) {
            let (low, high) = self.consumer.fetch_watermarks(partition.topic(), partition.partition(), ANSWER)?;
            let begins = match partition.offset() {
                Offset::Offset(offset) => offset.max(low),
                Offset::Beginning => low,
                _ => high,
            };
            if begins < high {
                ends.push(((partition.topic().to_owned(), partition.partition()), high));
            }
        }
        self.consumer.incremental_assign(&found)?;
        self.ends.extend(ends);
        self.assigned.extend(found.elements().iter().map(|p| (p.topic().to_owned(), p.partition())));
        Ok(())
    }

    fn read(&self, message: &BorrowedMessage<'_>) -> Read {
        let place = (message.topic().to_owned(), message.partition());
        let stored = message.timestamp().to_millis();
        let filter = &self.reading.filter;
        let event = match message::kind(message) {
            Some(kind) if !filter.kinds.has(kind) => Ok(None),
            _ => Event::from_json(message.payload().unwrap_or_default()).map(Some),
        };
        let is_late = match self.reading.until {
            Until::Time(until) => stored.is_some_and(|stored| stored > millis(until)),
            Until::Stopped | Until::End => false,
        };
        let event = event.map(|event| {
            event.filter(|event| !is_late && filter.wants(event.kind(), event.data.channel())).map(Box::new)
        });
        Read { place, offset: message.offset(), stored, event }
    }

    /// What a message is to the reader: up to a gap and an event.
    fn arrived(&mut self, read: Read) -> [Option<Arrival>; 2] {
        let Read { place, offset, stored, event } = read;
        let is_compacted = self.topics.get(&place.0).is_some_and(|topic| topic.is_compacted());
        let expected = self.expected.insert(place.clone(), offset + 1);
        let gap = expected.is_some_and(|expected| offset > expected && !is_compacted).then_some(Arrival::Gap);
        if let Some(&end) = self.ends.get(&place) {
            let is_past = match (self.reading.until, stored) {
                (Until::Time(until), Some(stored)) => stored > millis(until) + DISORDER.as_millis() as i64,
                _ => false,
            };
            if offset + 1 >= end || is_past {
                self.ends.remove(&place);
            }
        }
        let position = Position::Kafka { topic: place.0, partition: place.1, offset };
        let event = match event {
            Ok(event) => event.map(|event| Arrival::Event(event, position)),
            Err(error) => {
                debug!(?position, %error, "kafka: a message is no event");
                self.feedback.malformed();
                None
            }
        };
        [gap, event]
    }

    /// True if all that was to be read is read.
    fn is_at_end(&self) -> bool {
        self.reading.until != Until::Stopped && self.is_found && self.ends.is_empty()
    }
}

/// A message, off the client's hands.
struct Read {
    place: (String, i32),
    offset: i64,
    stored: Option<i64>,
    /// None: not wanted.
    event: Result<Option<Box<Event>>, event::Error>,
}

fn millis(time: UtcTime) -> i64 {
    time.nanos().div_euclid(1_000_000)
}

/// Tells the client what was dealt with; it commits that by itself.
fn store(consumer: &BaseConsumer<Context>, feedback: &Feedback) {
    for ((topic, partition), offset) in feedback.take() {
        // Another member has the partition by now: it will deal with these once more.
        if let Err(error) = consumer.store_offset(&topic, partition, offset) {
            debug!(topic, partition, %error, "kafka: not committed");
        }
    }
}
