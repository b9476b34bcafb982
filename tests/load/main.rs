// SPDX-License-Identifier: Apache-2.0
//! Load on a real origin process, and what it costs: `make load` prints the table with the machine named.
//!
//! Each scenario starts `headwater serve` from `--program`, pushes synthetic CMAF by HTTP as an encoder would, and reads
//! as viewers do. CPU is the origin's own, from the kernel's accounting; times are of this process's monotonic clock.

mod encoder;
mod origin;
mod viewers;

use std::time::Duration;

use origin::Origin;

#[tokio::main]
async fn main() -> std::process::ExitCode {
    let mut arguments = std::env::args().skip(1);
    let program = arguments.next().unwrap_or_else(|| "target/dist/headwater".to_owned());
    let only: Vec<String> = arguments.collect();
    let wanted = |name: &str| only.is_empty() || only.iter().any(|o| o == name);
    println!("machine   {}", origin::machine());
    println!("program   {program}");
    if wanted("latency") {
        latency(&program, 100).await;
    }
    if wanted("wake") {
        wake(&program, 10_000).await;
    }
    if wanted("channel") {
        channel(&program, Duration::from_secs(30)).await;
    }
    if wanted("serve") {
        serve(&program).await;
    }
    std::process::ExitCode::SUCCESS
}

/// From the last byte of a part's last frame into the socket to the last byte of the answer to whoever waited for it.
async fn latency(program: &str, waiters: usize) {
    let origin = Origin::start(program, 1, "").await;
    let mut encoder = encoder::Encoder::start(&origin, "live", encoder::LADDER).await;
    encoder.run(Duration::from_secs(3)).await;
    let (mut lists, mut held) =
        (viewers::Crowd::connect(&origin, waiters).await, viewers::Crowd::connect(&origin, waiters).await);
    let (mut playlists, mut parts) = (Vec::new(), Vec::new());
    for _ in 0..100 {
        let part = encoder.next_part();
        let reloads = lists.ask(&viewers::reload("live", part)).await;
        let hinted = held.ask(&format!("/live/live/v2/{}.{}.m4s", part.0, part.1)).await;
        let late = encoder.is_late();
        let sent = encoder.step().await;
        let answers = (lists.answered(reloads, sent).await, held.answered(hinted, sent).await);
        // An encoder that is itself behind its clock has its media paced: not what is measured here.
        if !late {
            playlists.extend(answers.0);
            parts.extend(answers.1);
        }
    }
    println!("latency   {waiters} waiters: playlist {}", viewers::percentiles(&mut playlists));
    println!("          {waiters} waiters: held part {}", viewers::percentiles(&mut parts));
}

/// A reload waits three target durations at most: long segments leave time for a crowd to gather.
const CROWD_SEGMENT_SECONDS: u32 = 6;

/// What waking a crowd costs.
async fn wake(program: &str, waiters: usize) {
    let origin = Origin::start(program, CROWD_SEGMENT_SECONDS, "").await;
    let mut encoder = encoder::Encoder::start(&origin, "live", encoder::LADDER).await;
    encoder.run(Duration::from_secs(14)).await;
    let mut crowd = viewers::Crowd::connect(&origin, waiters).await;
    let part = encoder.next_part_of(i64::from(CROWD_SEGMENT_SECONDS));
    let parked = crowd.ask(&viewers::reload("live", part)).await;
    viewers::until_parked(&origin, waiters).await;
    let (cpu, renders) = (origin.cpu(), origin.metric("headwater_playlists_rendered_total").await);
    let sent = encoder.step().await;
    let mut lists = crowd.answered(parked, sent).await;
    let (cpu, renders) = (origin.cpu() - cpu, origin.metric("headwater_playlists_rendered_total").await - renders);
    println!(
        "wake      {waiters} waiters: {:.0} ms of CPU, {renders} renders, answered {}",
        cpu * 1e3,
        viewers::percentiles(&mut lists)
    );
}

/// What packaging a channel costs without viewers: CPU and memory.
async fn channel(program: &str, length: Duration) {
    let origin = Origin::start(program, 1, "window_seconds = 10\n").await;
    let before = origin.resident_bytes();
    let mut encoder = encoder::Encoder::start(&origin, "live", encoder::LADDER).await;
    encoder.run(Duration::from_secs(12)).await;
    let cpu = origin.cpu();
    encoder.run(length).await;
    let spent = (origin.cpu() - cpu) / length.as_secs_f64() * 3_600.0;
    let memory = (origin.resident_bytes() - before) as f64 / 1e6;
    println!(
        "channel   {:.2} Mb/s: {spent:.1} CPU-s per channel-hour, {memory:.1} MB over the empty origin",
        encoder.megabits()
    );
}

/// What serving costs on keep-alive connections.
async fn serve(program: &str) {
    let origin = Origin::start(program, 1, "").await;
    let mut encoder = encoder::Encoder::start(&origin, "live", encoder::LADDER).await;
    encoder.run(Duration::from_secs(5)).await;
    let list = viewers::hammer(&origin, "/live/live/v2/media.m3u8", 8, Duration::from_secs(5)).await;
    println!(
        "playlist  {} bytes: {:.1} CPU-s per million, {:.0} requests/s",
        list.bytes,
        list.cpu / list.requests as f64 * 1e6,
        list.rate()
    );
    let path = encoder.complete_segment("v2");
    let segment = viewers::hammer(&origin, &format!("/live/live/{path}"), 4, Duration::from_secs(5)).await;
    let gigabytes = segment.bytes as f64 * segment.requests as f64 / 1e9;
    println!(
        "segment   {} bytes: {:.3} CPU-s per GB, {:.2} GB/s",
        segment.bytes,
        segment.cpu / gigabytes,
        gigabytes / segment.seconds
    );
}
