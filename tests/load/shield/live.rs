// SPDX-License-Identifier: Apache-2.0
//! A live channel of five renditions and 500 players that poll its playlists and fetch each new segment.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Rig;
use super::client::{Connection, Error, Want};
use super::origin::{Asked, Origin, live, now_ms};
use super::server::{Kind, Server, Site};
use super::table::{Table, megabytes};
use crate::figures::Sorted;

const PLAYERS: usize = 500;
const SETTLING: Duration = Duration::from_secs(4);
const MEASURED: Duration = Duration::from_secs(15);
const TARGET_MS: f64 = 1_000.0;

/// What all players saw.
#[derive(Default)]
struct Seen {
    on: Cell<bool>,
    over: Cell<bool>,
    /// How much older than the newest each playlist was, in milliseconds.
    ages: RefCell<Vec<f64>>,
    segments: RefCell<Vec<f64>>,
    body_bytes: Cell<u64>,
    failures: RefCell<Vec<String>>,
}

pub(crate) async fn run(rig: &Rig) {
    let title = format!("Live: 5 renditions of 0.4 to 6 Mb/s, 1 s segments, {PLAYERS} players");
    let said = format!(
        "Segments come 370 to 410 ms after the second. Playlists live a second (`max-age=1`) and are polled each second, after half of one if nothing is new. Age: how \
         long there had been a newer one when this one was asked for. {} s.",
        MEASURED.as_secs()
    );
    let columns = [
        "origin requests/s",
        "playlist age p50 ms",
        "p99 ms",
        "segment p50 ms",
        "p99 ms",
        "failed",
        "CPU-s per GB",
        "resident MB",
    ];
    let table = Table::new(&title, &said, &columns);
    let origin = Origin::start().await;
    for kind in rig.servers(&[Kind::Direct]) {
        match Server::start(kind, &Site::of(&rig.program, &[origin.port])).await {
            Ok(server) => table.row(kind.name(), &watched(&server, &origin).await),
            Err(why) => table.absent(kind.name(), &why),
        }
    }
}

async fn watched(server: &Server, origin: &Origin) -> Vec<String> {
    let seen = Rc::new(Seen::default());
    let players: Vec<_> =
        (0..PLAYERS).map(|n| tokio::task::spawn_local(player(server.ports.http, n, Rc::clone(&seen)))).collect();
    tokio::time::sleep(SETTLING).await;
    seen.on.set(true);
    let (before, cpu, began) = (origin.counts().await, server.cpu(), Instant::now());
    tokio::time::sleep(MEASURED).await;
    seen.on.set(false);
    let (cpu, seconds) = (server.cpu() - cpu, began.elapsed().as_secs_f64());
    let asked = origin.since(before, Asked::Playlist).await + origin.since(before, Asked::Segment).await;
    let resident = server.resident_bytes();
    seen.over.set(true);
    for player in players {
        player.await.expect("a player");
    }
    if let Some(why) = seen.failures.borrow().first() {
        eprintln!("{}: {why}", server.kind.name());
    }
    let (ages, segments) = (Sorted::new(seen.ages.take()), Sorted::new(seen.segments.take()));
    vec![
        format!("{:.1}", asked as f64 / seconds),
        format!("{:.0}", ages.at(0.5)),
        format!("{:.0}", ages.at(0.99)),
        format!("{:.1}", segments.at(0.5)),
        format!("{:.1}", segments.at(0.99)),
        format!("{}", seen.failures.borrow().len()),
        format!("{:.3}", cpu / seen.body_bytes.get() as f64 * 1e9),
        megabytes(resident),
    ]
}

/// Polls as RFC 8216, 6.3.4 says, from its own moment of the second on.
async fn player(port: u16, number: usize, seen: Rc<Seen>) {
    let (rendition, _) = live::RENDITIONS[number % live::RENDITIONS.len()];
    tokio::time::sleep(Duration::from_secs_f64(number as f64 / PLAYERS as f64)).await;
    let mut connection = None;
    let mut newest = None;
    while !seen.over.get() {
        let asked_ms = now_ms();
        let wait_ms = match turn(&mut connection, port, rendition, newest, &seen).await {
            Ok(listed) => {
                let is_new = newest != Some(listed);
                newest = Some(listed);
                if is_new { TARGET_MS } else { TARGET_MS / 2.0 }
            }
            Err(e) => {
                seen.failures.borrow_mut().push(e.to_string());
                connection = None;
                TARGET_MS / 2.0
            }
        };
        let due_ms = asked_ms + wait_ms - now_ms();
        tokio::time::sleep(Duration::from_secs_f64(due_ms.max(0.0) / 1e3)).await;
    }
}

/// One reload and what it lists anew; the newest segment.
async fn turn(
    connection: &mut Option<Connection>,
    port: u16,
    rendition: &str,
    known: Option<u64>,
    seen: &Seen,
) -> Result<u64, Error> {
    let open = match connection.take() {
        Some(open) => open,
        None => Connection::open(port).await?,
    };
    let open = connection.insert(open);
    let wait = Duration::from_secs(10);
    let asked_ms = now_ms();
    let list = open.get_within(&format!("/live/{rendition}/media.m3u8"), Want::Body, wait).await?;
    let listed = live::last_segment(&String::from_utf8_lossy(&list.body)).ok_or(Error::Wrong { at_bytes: 0 })?;
    if seen.on.get() {
        let is_newest = listed >= live::newest(asked_ms);
        seen.ages.borrow_mut().push(if is_newest { 0.0 } else { asked_ms - live::published_ms(listed + 1) });
        seen.body_bytes.set(seen.body_bytes.get() + list.body_bytes);
    }
    for segment in known.map_or(listed, |known| known + 1)..=listed {
        let path = format!("/live/{rendition}/{segment}.m4s");
        let size = live::segment_bytes(rendition).unwrap_or(0);
        let asked = Instant::now();
        let answer = open.get_within(&path, Want::of(&path, size), wait).await?;
        if seen.on.get() {
            seen.segments.borrow_mut().push(answer.last.duration_since(asked).as_secs_f64() * 1e3);
            seen.body_bytes.set(seen.body_bytes.get() + answer.body_bytes);
        }
    }
    Ok(listed)
}
