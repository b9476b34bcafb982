// SPDX-License-Identifier: Apache-2.0
//! Load on a real origin process, and what it costs: `make bench` prints the table with the machine named.
//! `make bench-shield` does the same for the shield.
//!
//! Each scenario starts `headwater serve` from the program given, pushes synthetic CMAF by HTTP as an encoder would, and
//! reads as viewers do. CPU is the origin's own, from the kernel's accounting; times are of this process's monotonic
//! clock. Where a peer does the same job it runs in the same minutes, so that their ratio holds on a busy machine too.

mod encoder;
mod events;
mod figures;
mod origin;
mod peers;
mod process;
mod shield;
mod viewers;

use std::time::Duration;

use origin::Origin;

fn main() -> std::process::ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if_eq("shield").is_some() {
        return shield::run(arguments);
    }
    tokio::runtime::Runtime::new().expect("a runtime").block_on(run(arguments))
}

async fn run(mut arguments: impl Iterator<Item = String>) -> std::process::ExitCode {
    let program = arguments.next().unwrap_or_else(|| "target/dist/headwater".to_owned());
    let only: Vec<String> = arguments.collect();
    let wanted = |name: &str| only.is_empty() || only.iter().any(|o| o == name);
    println!("machine   {}", process::machine());
    println!("program   {program}");
    if wanted("latency") {
        latency(&program, 100).await;
    }
    if wanted("wake") {
        wake(&program, 10_000).await;
    }
    if wanted("chunk") {
        chunk(&program, 10).await;
    }
    if wanted("channel") {
        channel(&program, 8, Duration::from_secs(30)).await;
    }
    if wanted("serve") {
        serve(&program).await;
    }
    if wanted("events") {
        events::run(&program).await;
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
    println!("latency   {waiters} waiters: playlist {}", figures::percentiles(&playlists));
    println!("          {waiters} waiters: held part {}", figures::percentiles(&parts));
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
    let (cpu, renders) = (origin.process.cpu(), origin.metric("headwater_playlists_rendered_total").await);
    let sent = encoder.step().await;
    let lists = crowd.answered(parked, sent).await;
    let (cpu, renders) =
        (origin.process.cpu() - cpu, origin.metric("headwater_playlists_rendered_total").await - renders);
    println!(
        "wake      {waiters} waiters: {:.0} ms of CPU, {renders} renders, answered {}",
        cpu * 1e3,
        figures::percentiles(&lists)
    );
}

/// From the last byte of a chunk into the socket to its last byte at whoever reads the segment in progress.
async fn chunk(program: &str, readers: usize) {
    let origin = Origin::start(program, 1, "").await;
    let mut encoder = encoder::Encoder::start(&origin, "live", encoder::LADDER).await;
    encoder.run(Duration::from_secs(3)).await;
    while encoder.next_part().1 != 0 {
        encoder.step().await;
    }
    let mut followers = viewers::Followers::connect(&origin, readers).await;
    let mut times = Vec::new();
    for _ in 0..100 {
        let (segment, part) = encoder.next_part();
        let reading = followers.follow(&format!("/live/live/v2/{segment}.m4s"), part == 0).await;
        let late = encoder.is_late();
        let sent = encoder.step().await;
        let read = followers.read(reading, sent).await;
        if !late {
            times.extend(read);
        }
    }
    println!("chunk     {readers} readers of the segment in progress: {}", figures::percentiles(&times));
}

/// What packaging costs without viewers, CPU and memory, beside ffmpeg's own muxer copying one ladder's pictures.
async fn channel(program: &str, channels: usize, length: Duration) {
    let origin = Origin::start(program, 1, "window_seconds = 10\n").await;
    let muxer = peers::Muxer::start();
    let empty = origin.process.resident_bytes();
    let names: Vec<String> = (0..channels).map(|n| format!("live{n}")).collect();
    let mut encoders = Vec::new();
    for name in &names {
        encoders.push(encoder::Encoder::start(&origin, name, encoder::LADDER).await);
    }
    let megabits = encoders.first().map_or(0.0, encoder::Encoder::megabits);
    let settling = Duration::from_secs(20);
    let running =
        encoders.into_iter().map(|mut encoder| tokio::spawn(async move { encoder.run(settling + length).await }));
    let running: Vec<_> = running.collect();
    tokio::time::sleep(settling).await;
    let (cpu, peer) = (origin.process.cpu(), muxer.as_ref().map(|m| m.process.cpu()));
    tokio::time::sleep(length - Duration::from_secs(2)).await;
    let hour = 3_600.0 / (length.as_secs_f64() - 2.0);
    let spent = (origin.process.cpu() - cpu) * hour / channels as f64;
    let peer = muxer.as_ref().zip(peer).map(|(m, begun)| (m.process.cpu() - begun) * hour);
    let memory = (origin.process.resident_bytes() - empty) as f64 / 1e6 / channels as f64;
    let held = origin.metric_sum("headwater_stored_bytes").await as f64 / 1e6 / channels as f64;
    println!(
        "channel   {channels} of {megabits:.2} Mb/s: {spent:.1} CPU-s per channel-hour; ffmpeg's HLS muxer {}",
        peers::said(peer)
    );
    println!("          {memory:.1} MB a channel over the empty origin, {held:.1} MB of it media");
    for task in running {
        task.await.expect("an encoder");
    }
}

/// What serving costs on keep-alive connections, in turns with nginx serving the same bytes from files.
async fn serve(program: &str) {
    let origin = Origin::start(program, 1, "").await;
    let mut encoder = encoder::Encoder::start(&origin, "live", encoder::LADDER).await;
    encoder.run(Duration::from_secs(5)).await;
    let list = "/live/live/v2/media.m3u8".to_owned();
    let segment = format!("/live/live/{}", encoder.complete_segment("v2"));
    let nginx =
        peers::Nginx::start(&[("list", &origin.body(&list).await), ("segment", &origin.body(&segment).await)]).await;
    let turn = Duration::from_secs(3);
    for (path, file, connections) in [(list, "/list", 8), (segment, "/segment", 4)] {
        let (mut ours, mut theirs) = (viewers::Served::default(), viewers::Served::default());
        for _ in 0..3 {
            ours += viewers::hammer(&origin.server(), &path, connections, turn).await;
            if let Some(nginx) = &nginx {
                theirs += viewers::hammer(&nginx.server(), file, connections, turn).await;
            }
        }
        let peer = nginx.is_some().then_some(&theirs);
        println!(
            "{:9} {}; nginx {}",
            file.trim_start_matches('/'),
            ours.said(),
            peer.map_or("not here".to_owned(), viewers::Served::said)
        );
    }
}
