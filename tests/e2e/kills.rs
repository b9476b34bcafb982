// SPDX-License-Identifier: Apache-2.0
//! kill -9 at any moment: what is on disk is whole, and the channel goes on where it was.

use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::harness::{Headwater, Process, SOON, Scratch, free_port, get, program, until};
use crate::playlist::Playlist;

const TOML: &str = "[channels.live]\nsegment_ms = 1000\nwindow_seconds = 24\n";
const TRACKS: [&str; 2] = ["v0", "a0"];
/// Kills of one run; `make soak` asks for many more.
const KILLS: u32 = 5;

/// xorshift: moments that a failed run can be repeated with.
pub(crate) struct Moments(pub(crate) u64);

impl Moments {
    pub(crate) fn next(&mut self, at_most: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Duration::from_millis(self.0 % u64::try_from(at_most.as_millis()).expect("short"))
    }
}

/// That of the environment, to repeat a run, or one of this moment.
pub(crate) fn seed() -> u64 {
    std::env::var("HEADWATER_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        u64::from(now.subsec_nanos()) | 1
    })
}

fn list(origin: &Headwater, track: &str) -> Option<Playlist> {
    let answer = get(&origin.url(&format!("/live/live/{track}/media.m3u8")));
    if answer.status == 200 { Playlist::read(&answer.text()).ok() } else { None }
}

#[test]
fn an_origin_killed_at_any_moment_goes_on_where_it_was() {
    let kills = std::env::var("HEADWATER_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(KILLS);
    let seed = seed();
    println!("HEADWATER_SEED={seed}");
    let mut moments = Moments(seed);
    let (disk, port) = (Scratch::new("kills"), free_port());
    let disk = disk.path.display().to_string();
    let start = || Headwater::serve_on(port, TOML, &["--data-dir", &disk]);
    let mut origin = start();
    let to = origin.url("/ingest/live");
    let push = Process::spawn(Command::new(program()).args(["push", "--to", &to, "--tracks", "v0,a0"]));
    let mut headers = None;
    let mut edge = 0;
    for kill in 0..kills {
        // Before the first part, between parts, at a segment's end: the moment is chance on purpose.
        std::thread::sleep(moments.next(Duration::from_secs(3)));
        origin.process.kill();
        origin = start();
        if kill % 2 == 0 {
            // Killed again before an encoder has found it.
            continue;
        }
        let ready = || {
            let lists = TRACKS.map(|track| list(&origin, track));
            lists.into_iter().collect::<Option<Vec<_>>>().filter(|l| l.iter().all(|l| l.segments.len() >= 2))
        };
        let lists =
            until(SOON, ready).unwrap_or_else(|| panic!("kill {kill}: {}\n{}", origin.process.log(), push.log()));
        for (track, list) in TRACKS.iter().zip(&lists) {
            assert!(list.next() > edge, "kill {kill}, {track}: back at {} after {edge}", list.next());
            assert_eq!(list.discontinuity_sequence, 0, "kill {kill}, {track}: the encoder's time went on");
            for (number, segment) in list.numbered() {
                let date = segment.date.unwrap_or_else(|| panic!("{track}: {number} without a date"));
                let off = (date - i64::try_from(number).expect("this era") * 1_000_000_000).abs();
                assert!(off < 30_000_000, "kill {kill}, {track}: {number} stands {off} ns off the grid");
            }
        }
        edge = lists.iter().map(Playlist::next).max().unwrap_or(edge).saturating_sub(1);
        let here = TRACKS.map(|track| get(&origin.url(&format!("/live/live/{track}/init-0.mp4"))).body);
        assert!(*headers.get_or_insert_with(|| here.clone()) == here, "kill {kill}: a header has changed");
        let log = origin.process.log();
        assert!(!log.contains("cannot be read") && !log.contains("starts anew"), "kill {kill}: {log}");
    }
}
