// SPDX-License-Identifier: Apache-2.0
//! The events of a process: one log for all of its servers, and Kafka beside it where that is wished.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use headwater_events::event::Role;
use headwater_events::kafka::{self, Sink};
use headwater_events::webhook::Webhook;
use headwater_events::windows::{self, Recent};
use headwater_events::{Config, Publisher, Source};
use headwater_net::Shutdown;
use headwater_net::metrics::Declaring;
use tracing::{info, warn};

/// A stop waits for the log this long, and for Kafka: what it has not taken by then is sent after the next start.
const WRITTEN_WITHIN: Duration = Duration::from_secs(2);
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(5);

/// Who publishes in this process, and where that goes.
#[derive(Debug)]
pub(crate) struct Events {
    publisher: Publisher,
    sink: Option<Sink>,
    kafka: kafka::Metrics,
    /// Windows over what was delivered.
    recent: Recent,
}

impl Events {
    /// Opens the log, in the folder that is said or below `data_dir`, and begins to look at it in windows, to post what
    /// is wished of it and to send it to Kafka.
    ///
    /// # Errors
    /// If the folder cannot be had, or what is said of Kafka or the webhook makes no client.
    pub(crate) fn start(
        config: &Config,
        data_dir: Option<&Path>,
        role: Role,
        shutdown: &Shutdown,
    ) -> anyhow::Result<Self> {
        let node = config.node.clone().unwrap_or_else(host_name);
        let folder = config.dir.clone().or_else(|| data_dir.map(|dir| dir.join("events")));
        let folder = folder.as_deref();
        let publisher =
            Publisher::start(config, folder, Source::new(role, &node)).context("expected a log of events")?;
        let kafka = kafka::Metrics::default();
        let sink = match &config.kafka {
            Some(told) => {
                info!(brokers = told.bootstrap, prefix = told.prefix, "events go to Kafka");
                let log = Arc::clone(publisher.log());
                Some(Sink::start(told, log, folder, kafka.clone()).context("in events.kafka")?)
            }
            None => None,
        };
        let log = publisher.log();
        let windows =
            windows::Task::open(&config.alerts, log.identity(), folder.map(|folder| folder.join("windows.json")));
        let recent = windows.recent();
        shutdown.spawn(windows.run_over(Arc::clone(log), publisher.clone(), shutdown.clone()));
        if let Some(told) = &config.webhook {
            let file = folder.map(|folder| folder.join("webhook.json"));
            let webhook = Webhook::new(told, file, Arc::clone(publisher.metrics())).context("in events.webhook")?;
            shutdown.spawn(webhook.run_over(Arc::clone(log), shutdown.clone()));
        }
        Ok(Self { publisher, sink, kafka, recent })
    }

    /// Takes the events of the process's first server.
    pub(crate) const fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// The latest windows.
    pub(crate) fn windows(&self) -> axum::Router {
        windows::router(self.recent.clone())
    }

    /// Declares what is measured of Kafka; each server declares the rest itself.
    pub(crate) fn register(&self, registry: &mut prometheus_client::registry::Registry) {
        if self.sink.is_some() {
            let mut declaring = Declaring::new(registry, "headwater_events");
            self.kafka.declare(&mut declaring);
            declaring.finish();
        }
    }

    /// Writes what was published, and waits for Kafka to have it; says what was left. Nothing is published any more.
    pub(crate) async fn finish(self) {
        let Self { publisher, sink, .. } = self;
        // What is written by then is sent; what cannot be written is told below.
        let _ = tokio::time::timeout(WRITTEN_WITHIN, publisher.flushed()).await;
        if let Some(sink) = sink {
            let left = sink.finish(ACKNOWLEDGED_WITHIN).await;
            if left.events > 0 {
                warn!(
                    events = left.events,
                    "not acknowledged by Kafka; a log on a disk sends them after the next start"
                );
            }
        }
        let stopped = tokio::task::spawn_blocking(move || publisher.stop(WRITTEN_WITHIN)).await;
        if let Some(events) = stopped.ok().filter(|events| *events > 0) {
            warn!(events, "not written to the log of events");
        }
    }
}

/// What the machine is called; its name is what tells one node's events from another's.
fn host_name() -> String {
    let told = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let told = told.or_else(|| std::env::var("HOSTNAME").ok());
    told.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).unwrap_or_else(|| "headwater".to_owned())
}
