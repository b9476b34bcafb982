// SPDX-License-Identifier: Apache-2.0
//! What an operator says of Kafka as a client of librdkafka, and what that client says back.

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tracing::{debug, warn};

use super::metrics::Metrics;
use crate::config;

/// Why no client can be made of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No broker is named.
    #[error("expected brokers in bootstrap, host:port separated by commas, got nothing")]
    Bootstrap,
    /// A property is not written `name=value`.
    #[error("expected a property of librdkafka as name=value, got {0:?}")]
    Shape(String),
    /// A property is Headwater's own, since order and delivery hang on it.
    #[error("expected a property of librdkafka that is free, {name} is set by Headwater")]
    Own {
        /// Its name.
        name: String,
    },
    /// librdkafka does not know it, or not this value of it.
    #[error("expected a property that librdkafka knows with a value it takes, got {name}: {reason}")]
    Property {
        /// Its name.
        name: String,
        /// What librdkafka says.
        reason: String,
    },
    /// Each property is known, all together are refused.
    #[error("expected properties that make a client, librdkafka says: {0}")]
    Client(String),
}

/// What order, delivery and the end of a reading hang on.
const OWN: [&str; 9] = [
    "acks",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "metadata.broker.list",
    "partitioner",
    "request.required.acks",
];

/// Says whether a client can be made of `config`; asks no broker.
///
/// # Errors
/// [`Error`] naming the property.
pub fn check(config: &config::Kafka) -> Result<(), Error> {
    producer(config)?.create::<rdkafka::producer::BaseProducer>().map(drop).map_err(refused)
}

/// The client of the sink.
pub(super) fn producer(config: &config::Kafka) -> Result<ClientConfig, Error> {
    let mut client = common();
    client
        .set("acks", "all")
        .set("enable.idempotence", "true")
        // As producers in Java choose, so that a key has one partition whoever writes it.
        .set("partitioner", "murmur2_random")
        .set("compression.codec", &config.compression)
        .set("linger.ms", config.linger_ms.to_string())
        // A message waits as long as it takes: the sink bounds how many wait, and the log holds the others.
        .set("message.timeout.ms", "0")
        .set("retry.backoff.max.ms", "1000");
    finish(client, config)
}

/// A client that asks for topics and makes them.
pub(super) fn admin(config: &config::Kafka) -> Result<ClientConfig, Error> {
    finish(common(), config)
}

/// The client of a reader; `group` shares the work with others of that name.
pub(super) fn consumer(config: &config::Kafka, group: Option<&str>) -> Result<ClientConfig, Error> {
    let mut client = common();
    client
        // librdkafka wants a name even where nobody joins a group.
        .set("group.id", group.map_or_else(|| format!("{}-follow", config.prefix), str::to_owned))
        // Committed is what the reader has dealt with, once a second.
        .set("enable.auto.offset.store", "false")
        .set("enable.auto.commit", if group.is_some() { "true" } else { "false" })
        .set("auto.commit.interval.ms", "1000")
        .set("auto.offset.reset", "earliest")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("queued.max.messages.kbytes", "16384")
        // The broker answers at once when there is something; this is how long it holds a question when there is not.
        .set("fetch.wait.max.ms", "100");
    finish(client, config)
}

fn common() -> ClientConfig {
    let mut client = ClientConfig::new();
    client
        .set("client.id", "headwater")
        .set("reconnect.backoff.ms", "100")
        .set("reconnect.backoff.max.ms", "1000")
        .set("log.connection.close", "false")
        .set_log_level(RDKafkaLogLevel::Warning);
    client
}

fn finish(mut client: ClientConfig, config: &config::Kafka) -> Result<ClientConfig, Error> {
    if config.bootstrap.trim().is_empty() {
        return Err(Error::Bootstrap);
    }
    client.set("bootstrap.servers", &config.bootstrap);
    for property in &config.properties {
        let (name, value) = property.split_once('=').ok_or_else(|| Error::Shape(property.clone()))?;
        let (name, value) = (name.trim(), value.trim());
        if OWN.contains(&name) {
            return Err(Error::Own { name: name.to_owned() });
        }
        // One by one, so that the message names the one that is wrong.
        let mut alone = ClientConfig::new();
        alone.set(name, value).create_native_config().map_err(refused)?;
        client.set(name, value);
    }
    client.create_native_config().map_err(refused)?;
    Ok(client)
}

pub(super) fn refused(error: KafkaError) -> Error {
    match error {
        KafkaError::ClientConfig(_, reason, name, _) => Error::Property { name, reason },
        KafkaError::ClientCreation(reason) => Error::Client(reason),
        other => Error::Client(other.to_string()),
    }
}

/// Hears what a client says beside its answers: into the log of the process, and whether brokers are there.
#[derive(Clone, Debug)]
pub(super) struct Context {
    pub(super) metrics: Metrics,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // Everything that matters comes back as an error; this is for those who look into a connection.
        debug!(target: "librdkafka", ?level, facility, "{message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        if code == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.metrics.disconnected();
            return;
        }
        self.metrics.error(code);
        match code {
            Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::Resolve) => {
                debug!(reason, "kafka: no connection")
            }
            _ => warn!(%error, reason, "kafka: the client is in trouble"),
        }
    }
}

impl rdkafka::consumer::ConsumerContext for Context {}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(properties: &[&str]) -> config::Kafka {
        config::Kafka {
            bootstrap: "127.0.0.1:1".to_owned(),
            properties: properties.iter().map(|&property| property.to_owned()).collect(),
            ..config::Kafka::default()
        }
    }

    #[test]
    fn any_property_of_librdkafka_is_passed_on() {
        check(&with(&["client.id=mine", "socket.keepalive.enable=true", "message.max.bytes = 2000000"])).unwrap();
    }

    #[cfg(feature = "kafka-tls")]
    #[test]
    fn tls_and_scram_are_at_hand() {
        check(&with(&[
            "security.protocol=SASL_SSL",
            "sasl.mechanisms=SCRAM-SHA-512",
            "sasl.username=headwater",
            "sasl.password=secret",
        ]))
        .unwrap();
    }

    #[test]
    fn a_property_that_is_wrong_is_named() {
        for (property, words) in [
            ("linger", "name=value, got \"linger\""),
            ("no.such.thing=1", "got no.such.thing: No such configuration property"),
            ("socket.timeout.ms=soon", "got socket.timeout.ms"),
            ("acks=1", "acks is set by Headwater"),
            ("enable.idempotence=false", "enable.idempotence is set by Headwater"),
        ] {
            let error = check(&with(&[property])).unwrap_err().to_string();
            assert!(error.contains(words), "{property}: {error}");
        }
        assert_eq!(check(&config::Kafka::default()), Err(Error::Bootstrap));
    }
}
