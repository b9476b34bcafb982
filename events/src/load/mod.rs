// SPDX-License-Identifier: Apache-2.0
//! A node's load: what it takes of the machine and of its bounds, told as a heartbeat, and as congestion while a
//! resource runs short.
//!
//! Processor time and memory are the process's: where origin and shield share one, both tell the same of these. All else
//! is of the node's own listeners.

pub mod congestion;
mod reading;
mod sampler;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use headwater_media::UtcTime;
use headwater_net::Shutdown;
use tokio::time::{Instant, MissedTickBehavior};

pub use reading::Reading;
pub use sampler::{Bounds, Sampler};

use crate::event::{Health, Resource};

/// How often load is looked at where nobody wants to be told.
const UNTOLD: Duration = Duration::from_secs(1);

/// Which resources of a node are short now, for whoever would act on it; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Load {
    short: Arc<AtomicU32>,
}

impl Load {
    /// True while congestion of `resource` is raised.
    pub fn is_congested(&self, resource: Resource) -> bool {
        self.short.load(Ordering::Relaxed) & 1 << resource as u32 != 0
    }

    /// True while any resource is short.
    pub fn is_in_duress(&self) -> bool {
        self.short.load(Ordering::Relaxed) != 0
    }

    fn set(&self, resource: Resource, short: bool) {
        let bit = 1 << resource as u32;
        match short {
            true => self.short.fetch_or(bit, Ordering::Relaxed),
            false => self.short.fetch_and(!bit, Ordering::Relaxed),
        };
    }
}

/// Samples a node's load at its interval until the shutdown closes it, its drain included. `read` tells what there is to
/// tell at the moment, and what time it is; `None` ends it. `told` is given each heartbeat.
pub async fn run(
    mut sampler: Sampler,
    mut read: impl FnMut() -> Option<(Reading, UtcTime)>,
    mut told: impl FnMut(&Health),
    shutdown: Shutdown,
) {
    let every = sampler.every().unwrap_or(UNTOLD);
    let mut due = tokio::time::interval_at(Instant::now() + every, every);
    // A heartbeat that is missed is not made up for: the next one speaks of the whole time since.
    due.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = due.tick() => {}
            () = shutdown.closed() => return,
        }
        let Some((reading, now)) = read() else { return };
        told(&sampler.sample(&reading, Instant::now(), now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Data, Role, Source};
    use crate::filter::Filter;
    use crate::follow::{Arrival, Follow};
    use crate::log::Offset;
    use crate::{Config, Publisher};

    const T0: UtcTime = UtcTime::from_nanos(1_790_000_000_000_000_000);
    const BOUNDS: Bounds = Bounds { cpu_millicores: 2_000, memory_bytes: 1_000_000 };

    fn publisher() -> Publisher {
        Publisher::memory(Source::new(Role::Shield, "a"))
    }

    fn sampler(publisher: &Publisher, config: &Config) -> Sampler {
        let first = (Reading::default(), Instant::now());
        Sampler::new(publisher.clone(), Role::Shield, config, BOUNDS, first)
    }

    async fn next(follow: &mut Follow) -> (UtcTime, Data) {
        match follow.next().await {
            Some(Arrival::Event(event, _)) => (event.time.0, event.data),
            other => panic!("expected an event, got {other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn heartbeats_come_at_their_interval_and_add_up() {
        let (publisher, config, begun) = (publisher(), Config { health_ms: 250, ..Config::default() }, Instant::now());
        // Half a processor, 8,000 bytes and four requests a second.
        let read = move || {
            let ran = begun.elapsed();
            let ms = u64::try_from(ran.as_millis()).unwrap();
            let passed = headwater_net::traffic::Passed { requests: ms / 250, sent_bytes: ms * 8, received_bytes: ms };
            let reading =
                Reading { cpu: Some(ran / 2), passed, memory_bytes: Some(7), refused: ms, ..Reading::default() };
            Some((reading, T0 + ran))
        };
        let shutdown = Shutdown::new();
        let running = tokio::spawn(run(sampler(&publisher, &config), read, |_| {}, shutdown.clone()));
        let mut follow = Follow::log(publisher.log().clone(), Filter::default(), Offset(0));
        let (mut requests, mut sent, mut received, mut refused) = (0, 0, 0, 0);
        for beat in 1..=8 {
            let (time, data) = next(&mut follow).await;
            let Data::Health(health) = data else { panic!("expected a heartbeat, got {data:?}") };
            assert_eq!(time, T0 + Duration::from_millis(250) * beat);
            assert_eq!((health.interval_ms, health.cpu_millicores, health.cpu_millicores_max), (250, 500, 2_000));
            assert_eq!((health.egress_bits_per_second, health.memory_bytes), (64_000, 7));
            requests += health.requests;
            sent += health.egress_bytes;
            received += health.ingress_bytes;
            refused += health.refused;
        }
        assert_eq!((requests, sent, received, refused), (8, 16_000, 2_000, 2_000));
        shutdown.close();
        running.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_is_busy_for_long_is_congested_until_it_is_not() {
        let (publisher, config) = (publisher(), Config::default());
        let mut sampler = sampler(&publisher, &config);
        let load = sampler.load();
        let mut used = Duration::ZERO;
        let mut now = Instant::now();
        let mut seconds = |sampler: &mut Sampler, cpu_ms: u64, count: u32| {
            let mut last = None;
            for _ in 0..count {
                used += Duration::from_millis(cpu_ms);
                now += Duration::from_secs(1);
                last = Some(sampler.sample(&Reading { cpu: Some(used), ..Reading::default() }, now, T0));
            }
            last.map(|health| health.congested).unwrap_or_default()
        };
        assert_eq!(seconds(&mut sampler, 1_900, congestion::SAMPLES - 1), []);
        assert_eq!(seconds(&mut sampler, 1_700, 1), [Resource::Cpu]);
        assert!(load.is_congested(Resource::Cpu) && !load.is_congested(Resource::Memory) && load.is_in_duress());
        // 77 % is above what clears it.
        assert_eq!(seconds(&mut sampler, 1_540, 20), [Resource::Cpu]);
        assert_eq!(seconds(&mut sampler, 1_000, congestion::SAMPLES), []);
        assert!(!load.is_in_duress());
        let mut follow = Follow::log(publisher.log().clone(), Filter::default(), Offset(0));
        let mut told = Vec::new();
        while told.len() < 2 {
            match next(&mut follow).await.1 {
                Data::CongestionRaised(raised) => told.push((raised.used_percent, raised.raised_at_percent)),
                Data::CongestionCleared(cleared) => told.push((cleared.used_percent, cleared.cleared_below_percent)),
                _ => {}
            }
        }
        assert_eq!(told, [(85, 85), (50, 76)]);
    }

    #[tokio::test(start_paused = true)]
    async fn congestion_is_told_where_heartbeats_are_not() {
        let (publisher, config) = (publisher(), Config { health_ms: 0, ..Config::default() });
        let full = Reading { connections: 95, connections_max: 100, ..Reading::default() };
        tokio::spawn(run(sampler(&publisher, &config), move || Some((full, T0)), |_| {}, Shutdown::new()));
        let mut follow = Follow::log(publisher.log().clone(), Filter::default(), Offset(0));
        let Data::CongestionRaised(raised) = next(&mut follow).await.1 else { panic!("expected congestion") };
        assert_eq!((raised.resource, raised.used_percent), (Resource::Connections, 95));
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_node_refuses_to_many_makes_it_congested_and_a_few_do_not() {
        let publisher = publisher();
        for (refused_each, congested) in [(9, false), (60, true)] {
            let mut sampler = sampler(&publisher, &Config::default());
            let mut reading = Reading::default();
            for _ in 0..congestion::SAMPLES {
                reading.passed.requests += 1_000;
                reading.refused_by_node += refused_each;
                sampler.sample(&reading, Instant::now(), T0);
            }
            assert_eq!(sampler.load().is_congested(Resource::Refusals), congested, "{refused_each}");
        }
    }
}
