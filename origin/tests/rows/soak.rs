// SPDX-License-Identifier: Apache-2.0
//! A day of input in minutes, through the real reader, timeline, store and disk: `make soak`.

use std::time::Duration;

use headwater_origin::memory::resident_bytes;

use crate::encoder::{Encoder, Source};
use crate::playlist::Playlist;
use crate::stage::{BASE, CHANNEL, Stage, folder, seconds, settings};

/// What stands still may breathe: allocator pages, tables that were still growing in the first hour.
const BREATH_BYTES: u64 = 8 << 20;

async fn metric(stage: &Stage, name: &str) -> f64 {
    let text = stage.get("/metrics").await.text();
    text.lines().filter(|l| l.starts_with(name)).filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[tokio::test(start_paused = true)]
#[ignore = "takes minutes: make soak"]
async fn a_day_of_input_leaves_memory_and_tables_flat() {
    let hours: u64 = std::env::var("HEADWATER_SOAK_HOURS").ok().and_then(|n| n.parse().ok()).unwrap_or(24);
    let disk = folder("soak");
    let channel = headwater_origin::config::Channel { window_seconds: 60, ..settings() };
    let clock = headwater_origin::Clock::starting_at(BASE);
    let stage = Stage::at(channel, clock, Some(&disk));
    let sources = vec![Source::video("v0"), Source::video("v1"), Source::audio("a0")];
    let mut encoder = Encoder::of(&stage, sources).in_chunks_of(10);
    let mut after_an_hour = None;
    for hour in 1..=hours {
        for quarter in 0..4 {
            encoder.play(Duration::from_secs(15 * 60 - 30)).await;
            match quarter {
                // A connection that breaks and comes back; the bodies of both overlap by nothing.
                0 => {
                    encoder.disconnect(0);
                    encoder.connect(&stage);
                }
                // A camera that is unplugged for half a minute.
                1 => encoder.feed("v1").muted = true,
                // An encoder that codes otherwise from here on.
                2 => {
                    let source = if hour % 2 == 0 { Source::video("v0") } else { Source::hevc("v0") };
                    encoder.feed("v0").change(source);
                }
                _ => {}
            }
            encoder.play(seconds(30)).await;
            encoder.feed("v1").muted = false;
        }
        encoder.play(seconds(10)).await;
        for track in ["v0", "v1", "a0"] {
            let answer = stage.get(&format!("{track}/media.m3u8")).await;
            let list = Playlist::read(&answer.text());
            assert!(list.segments.len() <= 20, "hour {hour}, {track}: {} segments listed", list.segments.len());
            assert!(list.segments.len() >= 6, "hour {hour}, {track}: {} segments listed", list.segments.len());
            let last = list.segments.iter().rev().find(|s| !s.gap).and_then(|s| s.uri.clone()).expect("a segment");
            assert_eq!(stage.get(&format!("{track}/{last}")).await.status, 200, "hour {hour}: {last}");
        }
        assert_eq!(stage.waiters(), 0, "hour {hour}");
        let (resident, held) =
            (resident_bytes().expect("a system that tells"), metric(&stage, "headwater_input_defects").await);
        println!("hour {hour:2}: {:.1} MB resident, {held:.0} defects survived", resident as f64 / 1e6);
        let first = *after_an_hour.get_or_insert(resident);
        assert!(resident <= first + BREATH_BYTES, "hour {hour}: {resident} bytes resident after {first} in the first");
    }
    let files = std::fs::read_dir(disk.join("channels").join(CHANNEL)).expect("the channel's folder").count();
    assert!(files <= 8, "{files} files kept");
    assert_eq!(encoder.finish().await.into_iter().filter(|s| !s.is_success()).count(), 0);
}
