// SPDX-License-Identifier: Apache-2.0
//! The producing client, and what its reports mean.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, ProducerContext, ThreadedProducer};
use tokio::sync::mpsc;

use super::client::Context;
use super::message;
use crate::log::{Offset, Record};

/// How long a client that is put away may take; its threads end later by themselves.
const PUT_AWAY: Duration = Duration::from_secs(10);

/// What became of a message.
#[derive(Debug)]
pub(super) struct Report {
    /// Of which client.
    pub(super) generation: u32,
    pub(super) offset: Offset,
    pub(super) result: Result<(), Option<RDKafkaErrorCode>>,
}

/// What an error means for what is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// This message will never be taken; the next may be.
    Message,
    /// Its topic takes nothing for now.
    Topic,
    /// The client takes nothing any more.
    Client,
}

impl Verdict {
    pub(super) fn of(code: Option<RDKafkaErrorCode>) -> Self {
        use RDKafkaErrorCode as Code;
        match code {
            Some(Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidRecord) => Self::Message,
            Some(
                Code::UnknownTopic
                | Code::UnknownTopicOrPartition
                | Code::UnknownPartition
                | Code::TopicAuthorizationFailed
                | Code::InvalidTopic
                | Code::PolicyViolation,
            ) => Self::Topic,
            _ => Self::Client,
        }
    }
}

/// What the client says to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It is on its way: a report will come.
    Taken,
    /// Later.
    Full,
    /// No, and no report comes.
    Refused(Option<RDKafkaErrorCode>),
}

/// Hears what becomes of messages, in the client's own thread.
struct Reporter {
    context: Context,
    generation: u32,
    /// Bounded by the flight: each message in it is reported once.
    reports: mpsc::UnboundedSender<Report>,
}

impl ClientContext for Reporter {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.context.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.context.error(error, reason);
    }
}

impl ProducerContext for Reporter {
    type DeliveryOpaque = Box<Offset>;

    fn delivery(&self, result: &DeliveryResult<'_>, offset: Box<Offset>) {
        let result = result.as_ref().map(|_| ()).map_err(|(error, _)| error.rdkafka_error_code());
        let _ = self.reports.send(Report { generation: self.generation, offset: *offset, result });
    }
}

/// A client that produces.
pub(super) struct Producer {
    /// Present until it is put away.
    client: Option<ThreadedProducer<Reporter>>,
}

impl Producer {
    pub(super) fn new(
        config: &ClientConfig,
        context: Context,
        generation: u32,
        reports: mpsc::UnboundedSender<Report>,
    ) -> Result<Self, KafkaError> {
        let client = config.create_with_context(Reporter { context, generation, reports })?;
        Ok(Self { client: Some(client) })
    }

    /// Hands a record over.
    pub(super) fn send(&self, topic: &str, record: &Record) -> Said {
        let Some(client) = &self.client else { return Said::Full };
        let message = BaseRecord::with_opaque_to(topic, Box::new(record.offset))
            .key(record.key.as_bytes())
            .payload(record.json.as_ref())
            .timestamp(record.stored.nanos().div_euclid(1_000_000))
            .headers(message::headers(record));
        match client.send(message) {
            Ok(()) => Said::Taken,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Said::Full,
            Err((error, _)) => Said::Refused(error.rdkafka_error_code()),
        }
    }

    /// Ends it: what it still holds is reported as not acknowledged, and nothing of it is sent after this.
    pub(super) async fn put_away(mut self) {
        let Some(client) = self.client.take() else { return };
        // It joins threads.
        let gone = tokio::task::spawn_blocking(move || drop(client));
        let _ = tokio::time::timeout(PUT_AWAY, gone).await;
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        // In a task that was aborted: no thread of the runtime waits for those of the client.
        if let Some(client) = self.client.take() {
            std::thread::spawn(move || drop(client));
        }
    }
}
