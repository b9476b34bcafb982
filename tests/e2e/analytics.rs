// SPDX-License-Identifier: Apache-2.0
//! The windows of `analytics/`, run by Flink over Apache Kafka itself, beside those that a node computes.

mod cluster {
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::process::Command;
    use std::sync::Arc;
    use std::time::{Duration, Instant, SystemTime};

    use headwater_events::event::{Delivery, FillTimes, Health, Role};
    use headwater_events::kafka::{Metrics, Reading, Sink, Start, Until, follow};
    use headwater_events::windows::{Counts, Row, Shape, Task, Windows};
    use headwater_events::{Arrival, Data, Event, Publisher, Source, config};
    use headwater_media::UtcTime;
    use headwater_net::Shutdown;
    use headwater_tests::broker::{Broker, jars};
    use rdkafka::ClientConfig;
    use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
    use rdkafka::consumer::{BaseConsumer, Consumer};
    use rdkafka::message::Message;
    use rdkafka::{Offset, TopicPartitionList};
    use serde_json::Value;

    const BEGIN_MS: i64 = 1_700_000_000_000;
    const SECONDS: i64 = 120;
    /// What a window waits for stragglers in all: the delay of the watermark in Flink.
    const WAIT_MS: i64 = 7_000;
    const TUMBLING: Shape = Shape { size_ms: 10_000, slide_ms: 10_000, delay_ms: 2_000, lateness_ms: 5_000 };
    const SLIDING: Shape = Shape { slide_ms: 2_000, ..TUMBLING };

    type Rows = BTreeMap<(String, String), Value>;

    /// Numbers that look like chance and are the same each time.
    struct Chance(u64);

    impl Chance {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % bound
        }
    }

    fn delivery(node: &str, channel: u64, ms: i64, chance: &mut Chance) -> Event {
        let requests = chance.below(500);
        let data = Delivery {
            node: node.to_owned(),
            channel: format!("channel-{channel}"),
            interval_ms: 1_000,
            requests,
            hits: chance.below(requests + 1),
            stale: chance.below(5),
            errors: chance.below(requests / 50 + 1),
            refused: chance.below(3),
            bytes: chance.below(1 << 32),
            origin_requests: chance.below(40),
            prefetches: chance.below(20),
            origin_bytes: chance.below(1 << 24),
            fills: FillTimes::of(std::array::from_fn(|class| {
                let often = [3, 2, 0, 40][class % 4] / (class as u64 + 1);
                chance.below(often + 1)
            })),
        };
        let time = UtcTime::from_nanos((BEGIN_MS + ms) * 1_000_000 + 123_456);
        Event::new(&Source::new(Role::Shield, node), time, Data::Delivery(data))
    }

    fn heartbeat(node: &str, ms: i64) -> Event {
        let data = Health {
            node: node.to_owned(),
            role: Role::Shield,
            interval_ms: 1_000,
            connections: 1,
            requests: 1,
            refused: 0,
            egress_bytes: 0,
            ingress_bytes: 0,
            egress_bits_per_second: 0,
            cpu_millicores: 0,
            cpu_millicores_max: 1_000,
            memory_bytes: 0,
            memory_bytes_max: 0,
            channels: 1,
            congested: Vec::new(),
        };
        let time = UtcTime::from_nanos((BEGIN_MS + ms) * 1_000_000);
        Event::new(&Source::new(Role::Shield, node), time, Data::Health(data))
    }

    /// Two minutes of three nodes and four channels in the order of arrival: late within the bound, copies and, if they
    /// are wanted, some that come too late.
    fn input(too_late: bool) -> Vec<Event> {
        let mut chance = Chance(7);
        let mut arrivals = Vec::new();
        for second in 0..SECONDS {
            for node in ["a", "b", "c"] {
                arrivals.push((second * 1_000 + 900, heartbeat(node, second * 1_000 + 900)));
                for channel in 0..4 {
                    let ms = second * 1_000 + chance.below(900) as i64;
                    let event = delivery(node, channel, ms, &mut chance);
                    let late = match chance.below(20) {
                        0 if too_late => WAIT_MS + chance.below(20_000) as i64,
                        _ => chance.below(WAIT_MS as u64 - 1_000) as i64,
                    };
                    if chance.below(5) == 0 {
                        let copy = chance.below(WAIT_MS as u64 - 1_000) as i64;
                        arrivals.push((ms + copy, event.clone()));
                    }
                    arrivals.push((ms + late, event));
                }
            }
        }
        arrivals.sort_by_key(|(when, _)| *when);
        arrivals.into_iter().map(|(_, event)| event).collect()
    }

    /// What is in Kafka, in the order in which it is read.
    async fn messages(config: &config::Kafka) -> Vec<Event> {
        let reading = Reading { filter: Task::filter(), start: Start::Beginning, until: Until::End };
        let mut follow = follow(config, reading, &Shutdown::new()).expect("a client");
        let mut events = Vec::new();
        while let Some(arrival) = follow.next().await {
            let Arrival::Event(event, _) = arrival else { panic!("a gap") };
            events.push(*event);
        }
        events
    }

    /// What a node says of events that come in this order.
    fn embedded(events: &[Event], shape: Shape) -> (Rows, Counts) {
        let mut windows = Windows::new(shape);
        let now = UtcTime::from_system(SystemTime::now());
        let mut rows: Vec<Row> = events.iter().flat_map(|event| windows.push(event, now)).collect();
        let counts = windows.counts();
        rows.extend(windows.finish());
        let last = rows.iter().filter(|row| row.is_final).map(|row| serde_json::to_value(row).expect("JSON"));
        let own = last.map(|mut row| {
            let fields = row.as_object_mut().expect("an object");
            assert!(fields.remove("revision").is_some() && fields.remove("final").is_some());
            row
        });
        (by_window(own.collect()), counts)
    }

    fn by_window(rows: Vec<Value>) -> Rows {
        let mut by_window = Rows::new();
        for row in rows {
            let key = |name: &str| row[name].as_str().expect("a text").to_owned();
            let before = by_window.insert((key("window_end"), key("channel")), row.clone());
            assert_eq!(before, None, "two rows of one window: {row}");
        }
        by_window
    }

    /// Runs the job of `analytics/` over what is in Kafka now.
    fn flink(config: &config::Kafka) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx768m"]);
        let of_lang = ["lang", "lang.reflect", "net", "io", "nio", "text", "time", "util", "util.concurrent"];
        for package in of_lang.map(|name| format!("java.{name}")).iter().map(String::as_str).chain(["sun.nio.ch"]) {
            command.args(["--add-opens", &format!("java.base/{package}=ALL-UNNAMED")]);
        }
        command.arg("-cp").arg(format!("{}/*", jars("flink").display()));
        let files = ["Run.java", "tables.sql", "../tests/flink/bounded.sql", "windows.sql"];
        command.args(files).current_dir(root.join("analytics"));
        command.env("BOOTSTRAP", &config.bootstrap).env("PREFIX", &config.prefix);
        command.env("PARALLELISM", config.partitions.to_string());
        command.env("WATERMARK_SECONDS", (WAIT_MS / 1_000).to_string());
        command.env("WINDOW_SECONDS", (TUMBLING.size_ms / 1_000).to_string());
        command.env("SLIDE_SECONDS", (SLIDING.slide_ms / 1_000).to_string());
        let output = command.output().expect("java");
        assert!(output.status.success(), "the job failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }

    async fn create(config: &config::Kafka, topics: &[&str]) {
        let mut client = ClientConfig::new();
        let admin: AdminClient<_> = client.set("bootstrap.servers", &config.bootstrap).create().expect("a client");
        let topics: Vec<NewTopic<'_>> =
            topics.iter().map(|name| NewTopic::new(name, 1, TopicReplication::Fixed(1))).collect();
        for made in admin.create_topics(&topics, &AdminOptions::new()).await.expect("an answer") {
            made.expect("a topic");
        }
    }

    /// All that is in a topic of one partition.
    fn rows(config: &config::Kafka, topic: &str) -> Rows {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &config.bootstrap).set("group.id", "test");
        let consumer: BaseConsumer = client.create().expect("a client");
        let (low, high) = consumer.fetch_watermarks(topic, 0, Duration::from_secs(30)).expect("its bounds");
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, 0, Offset::Beginning).expect("a partition");
        consumer.assign(&list).expect("the partition");
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut rows = Vec::new();
        while (rows.len() as i64) < high - low {
            assert!(Instant::now() < deadline, "expected {} rows, got {}", high - low, rows.len());
            let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
            let message = message.expect("a message");
            rows.push(serde_json::from_slice(message.payload().expect("a row")).expect("JSON"));
        }
        by_window(rows)
    }

    /// Publishes the input, computes its windows twice, and compares them row by row.
    fn compare(broker: &Broker, prefix: &str, partitions: u32, too_late: bool) -> [Counts; 2] {
        let config = config::Kafka {
            bootstrap: broker.bootstrap(),
            prefix: prefix.to_owned(),
            partitions,
            ..config::Kafka::default()
        };
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let (tumbling, sliding) = (format!("{prefix}.windows"), format!("{prefix}.windows.sliding"));
        let input = input(too_late);
        let read = runtime.block_on(async {
            create(&config, &[&tumbling, &sliding]).await;
            let publisher = Publisher::memory(Source::new(Role::Shield, "a"));
            let log = publisher.log();
            log.append(&input, UtcTime::from_system(SystemTime::now())).expect("memory");
            let sink = Sink::start(&config, Arc::clone(log), None, Metrics::default()).expect("a client");
            assert_eq!(sink.finish(Duration::from_secs(60)).await.events, 0);
            messages(&config).await
        });
        assert_eq!(read.len(), input.len());
        // Of one partition the order is the same for all who read it; of several a node has the order of its own log.
        let events = if partitions == 1 { read } else { input };
        flink(&config);
        [(TUMBLING, tumbling), (SLIDING, sliding)].map(|(shape, topic)| {
            let (own, counts) = embedded(&events, shape);
            let theirs = rows(&config, &topic);
            assert!(own.len() >= 4 * (SECONDS * 1_000 / shape.slide_ms) as usize, "{} rows", own.len());
            for (window, row) in &own {
                assert_eq!(theirs.get(window), Some(row), "{window:?} of {topic}");
            }
            assert_eq!(own.len(), theirs.len(), "rows of {topic}");
            counts
        })
    }

    #[test]
    fn flink_and_a_node_tell_the_same_windows_of_late_and_repeated_events() {
        let broker = Broker::single();
        for counts in compare(&broker, "one", 1, true) {
            assert!(counts.late > 0 && counts.duplicates > 0, "{counts:?}");
        }
        // Over several partitions there is no one order in which to be too late: the rest is the same in any.
        for counts in compare(&broker, "three", 3, false) {
            assert!(counts.late == 0 && counts.duplicates > 0, "{counts:?}");
        }
    }
}
