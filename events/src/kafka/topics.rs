// SPDX-License-Identifier: Apache-2.0
//! The topics of an installation: made where they are missing, looked at where they are there, and what is not as it
//! should be said once.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, ClientContext};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::client::Context;
use crate::config;
use crate::topic::Topic;

/// How long brokers may take for an answer.
const ANSWER: Duration = Duration::from_secs(5);
/// How soon they are asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// What was found of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    /// It was made.
    Made,
    /// It is there.
    There {
        /// Its partitions.
        partitions: usize,
    },
    /// It is not there, and is not to be made.
    Missing,
    /// It could not be made.
    Refused(RDKafkaErrorCode),
}

/// Looks at the topics until brokers have answered, then says `done`; ends when nobody waits for it.
pub(super) async fn look(
    client: ClientConfig,
    config: config::Kafka,
    context: Context,
    mut wait: Duration,
    mut done: oneshot::Sender<()>,
) {
    let mut is_said = false;
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = done.closed() => return,
        }
        wait = AGAIN;
        let (sender, answer) = oneshot::channel();
        let (client, config, context) = (client.clone(), config.clone(), context.clone());
        let (bootstrap, runtime) = (config.bootstrap.clone(), Handle::current());
        // A thread of its own: librdkafka blocks, and the end of the process must not wait for it.
        let thread = std::thread::Builder::new().name("kafka-topics".to_owned());
        let spawned = thread.spawn(move || match runtime.block_on(ensure(&client, &config, context)) {
            Ok(admin) => {
                let _ = sender.send(Ok(()));
                // Nobody waits for this.
                runtime.block_on(look_at_cleanup(&admin, &config));
            }
            Err(error) => drop(sender.send(Err(error))),
        });
        match spawned.map(|_| answer) {
            Ok(answer) => match answer.await {
                Ok(Ok(())) => {
                    let _ = done.send(());
                    return;
                }
                Ok(Err(error)) if !is_said => {
                    is_said = true;
                    warn!(bootstrap, %error, "kafka: no broker answers yet; events wait in the log");
                }
                Ok(Err(_)) | Err(_) => {}
            },
            Err(error) => warn!(%error, "kafka: expected a thread"),
        }
    }
}

/// Makes and looks at the topics; blocks for a few seconds at most.
///
/// # Errors
/// No broker answers.
async fn ensure(
    client: &ClientConfig,
    config: &config::Kafka,
    context: Context,
) -> Result<AdminClient<Context>, KafkaError> {
    let admin: AdminClient<Context> = client.create_with_context(context)?;
    for topic in Topic::ALL {
        let name = topic.of_prefix(&config.prefix);
        let found = match partitions(&admin, &name)? {
            Some(partitions) => Found::There { partitions },
            None if config.create_topics => make(&admin, topic, &name, config).await?,
            None => Found::Missing,
        };
        tell(&name, &found, config);
    }
    Ok(admin)
}

fn partitions<C: ClientContext>(admin: &AdminClient<C>, name: &str) -> Result<Option<usize>, KafkaError> {
    let metadata = admin.inner().fetch_metadata(Some(name), ANSWER)?;
    let topic = metadata.topics().iter().find(|topic| topic.name() == name && topic.error().is_none());
    Ok(topic.map(|topic| topic.partitions().len()).filter(|&partitions| partitions > 0))
}

async fn make<C: ClientContext>(
    admin: &AdminClient<C>,
    topic: Topic,
    name: &str,
    config: &config::Kafka,
) -> Result<Found, KafkaError> {
    let partitions = i32::try_from(config.partitions).unwrap_or(i32::MAX);
    let replicas = i32::try_from(config.replicas).unwrap_or(i32::MAX);
    let mut new = NewTopic::new(name, partitions, TopicReplication::Fixed(replicas));
    if topic.is_compacted() {
        new = new.set("cleanup.policy", "compact");
    }
    if replicas >= 3 {
        // Acknowledged is then on two machines, and one may be lost without a pause.
        new = new.set("min.insync.replicas", "2");
    }
    let options = AdminOptions::new().request_timeout(Some(ANSWER)).operation_timeout(Some(ANSWER));
    let results = admin.create_topics([&new], &options).await?;
    Ok(match results.into_iter().next() {
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Found::There { partitions: 0 },
        Some(Err((_, code))) => Found::Refused(code),
        Some(Ok(_)) | None => Found::Made,
    })
}

fn tell(name: &str, found: &Found, config: &config::Kafka) {
    match found {
        Found::Made => {
            info!(topic = name, partitions = config.partitions, replicas = config.replicas, "kafka: topic made")
        }
        Found::There { partitions } if *partitions != 0 && *partitions != config.partitions as usize => {
            info!(
                topic = name,
                partitions,
                configured = config.partitions,
                "kafka: the topic has another number of partitions than is configured, which is left as it is"
            );
        }
        Found::There { .. } => {}
        Found::Missing => {
            warn!(topic = name, "kafka: expected this topic, it is not there: make it, or set create_topics")
        }
        Found::Refused(RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed) => {
            warn!(topic = name, "kafka: not authorised to make this topic: make it by hand, or allow Create on it");
        }
        Found::Refused(RDKafkaErrorCode::InvalidReplicationFactor) => {
            warn!(
                topic = name,
                replicas = config.replicas,
                "kafka: expected as many brokers as replicas of this topic, there are fewer"
            );
        }
        Found::Refused(code) => warn!(topic = name, %code, "kafka: this topic could not be made"),
    }
}

/// Says which topics keep less than the latest of each key where they should.
async fn look_at_cleanup<C: ClientContext>(admin: &AdminClient<C>, config: &config::Kafka) {
    let options = AdminOptions::new().request_timeout(Some(ANSWER));
    for topic in Topic::ALL.into_iter().filter(|topic| topic.is_compacted()) {
        let name = topic.of_prefix(&config.prefix);
        // Not allowed to look is no reason to complain.
        let answer = admin.describe_configs([&ResourceSpecifier::Topic(&name)], &options).await;
        let resources = answer.into_iter().flatten().flatten();
        let policy = resources.into_iter().find_map(|resource| resource.get("cleanup.policy")?.value.clone());
        if policy.as_ref().is_some_and(|policy| !policy.contains("compact")) {
            warn!(
                topic = name,
                policy, "kafka: expected cleanup.policy=compact: new readers may miss anchors of channels"
            );
        }
    }
}
