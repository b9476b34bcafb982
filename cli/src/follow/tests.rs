// SPDX-License-Identifier: Apache-2.0
//! What is asked for of a log's folder and of a feed, and what comes.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use clap::Parser;
use headwater_events::event::{ChannelResumed, Data, Role};
use headwater_events::feed::{self, Since};
use headwater_events::log::{Log, Offset, Settings};
use headwater_events::{Config, Event, Publisher, Source};
use headwater_media::UtcTime;
use headwater_net::Shutdown;

use super::input::{Extent, Next, Options};

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    input: Options,
}

fn options(flags: &[&str]) -> Options {
    Line::try_parse_from(std::iter::once(&"tail").chain(flags)).unwrap().input
}

/// A folder that is gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("headwater-follow-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn flag(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// So many seconds after an hour before the tests began.
fn at(second: i64) -> UtcTime {
    static BEGAN: LazyLock<UtcTime> = LazyLock::new(|| UtcTime::from_system(SystemTime::now()));
    UtcTime::from_nanos(BEGAN.nanos() + (second - 3_600) * 1_000_000_000)
}

fn data(sequence: u64) -> Data {
    Data::ChannelResumed(ChannelResumed { channel: "a".to_owned(), stalled_ms: 1, sequence })
}

/// A log of events an hour ago, a second apart, stored as they happened.
fn write(dir: &Path, first: UtcTime, count: u64) -> Arc<Log> {
    let log = Log::open(dir, Settings::of(&Config::default()), Arc::default()).unwrap();
    for number in 0..count {
        let time = UtcTime::from_nanos(first.nanos() + number as i64 * 1_000_000_000);
        log.append(&[Event::new(&Source::new(Role::Origin, "a"), time, data(number))], time).unwrap();
    }
    Arc::new(log)
}

async fn sequences(options: &Options, extent: Extent) -> Vec<u64> {
    let mut input = options.open(extent, &Shutdown::new()).await.unwrap();
    let mut sequences = Vec::new();
    let all = async {
        while let Some(next) = input.next().await {
            if let Next::Event(event, _) = next
                && let Data::ChannelResumed(data) = event.data
            {
                sequences.push(data.sequence);
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), all).await.expect("the past has an end");
    sequences
}

#[tokio::test]
async fn a_folder_is_read_from_a_time_to_a_time_while_its_owner_has_it() {
    let folder = Folder::new("times");
    let first = at(0);
    let _owner = write(&folder.0, first, 300);
    let of = |second: i64| UtcTime::from_nanos(first.nanos() + second * 1_000_000_000);
    let options = options(&["--log", folder.flag()]);
    let extent = Extent::Past { from: Since::Time(of(100)), to: Some(of(120)) };
    assert_eq!(sequences(&options, extent).await, (100..120).collect::<Vec<_>>());
    let extent = Extent::Past { from: Since::First, to: None };
    assert_eq!(sequences(&options, extent).await, (0..300).collect::<Vec<_>>());
    let extent = Extent::Past { from: Since::Offset(Offset(290)), to: None };
    assert_eq!(sequences(&options, extent).await, (290..300).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_folder_is_followed_while_it_grows() {
    let folder = Folder::new("grows");
    let owner = write(&folder.0, at(0), 3);
    let options = options(&["--log", folder.flag(), "--types", "channel.*"]);
    let mut input = options.open(Extent::Live(Since::End), &Shutdown::new()).await.unwrap();
    let time = at(10);
    // The next is waited for before it is there.
    let next = tokio::spawn(async move { input.next().await });
    owner.append(&[Event::new(&Source::new(Role::Origin, "a"), time, data(77))], time).unwrap();
    let next = tokio::time::timeout(Duration::from_secs(20), next).await.expect("what is written is followed").unwrap();
    assert!(matches!(next, Some(Next::Event(event, _)) if event.data == data(77)));
}

#[tokio::test]
async fn no_log_in_a_folder_is_said() {
    let folder = Folder::new("none");
    std::fs::create_dir_all(&folder.0).unwrap();
    let error = options(&["--log", folder.flag()])
        .open(Extent::Past { from: Since::First, to: None }, &Shutdown::new())
        .await
        .unwrap_err();
    assert!(format!("{error:#}").contains("expected a log in"), "{error:#}");
}

#[tokio::test]
async fn the_past_of_a_feed_ends_with_the_present() {
    let publisher = Publisher::memory(Source::new(Role::Origin, "a"));
    for number in 0..5 {
        publisher.publish(at(number as i64), data(number));
    }
    publisher.flushed().await;
    let shutdown = Shutdown::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = feed::router(&publisher, 4, shutdown.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    // What happens from now on is none of the past: it ends the replay, however much follows.
    publisher.publish(at(3_660), data(99));
    let extent = Extent::Past { from: Since::First, to: None };
    assert_eq!(sequences(&options(&[&url]), extent).await, [0, 1, 2, 3, 4]);
    // Without such an event silence ends it.
    let extent = Extent::Past { from: Since::First, to: Some(at(2)) };
    assert_eq!(sequences(&options(&[&url, "--channel", "a"]), extent).await, [0, 1]);
}

#[tokio::test]
async fn a_feed_that_nobody_serves_has_no_past() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error =
        options(&[&url]).open(Extent::Past { from: Since::First, to: None }, &Shutdown::new()).await.unwrap_err();
    assert!(format!("{error:#}").contains("expected a connection to 127.0.0.1"), "{error:#}");
}
