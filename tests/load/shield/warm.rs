// SPDX-License-Identifier: Apache-2.0
//! A real origin whose events a shield follows: how soon a part is whole in the shield, and what an edge is answered that
//! asks for it as soon as a playlist names it.

mod nodes;
mod reloads;

use std::time::{Duration, Instant};

use super::Rig;
use super::client::{Answer, Connection, Error, HOST, Want};
use super::server::Kind;
use super::table::Table;
use crate::encoder::LADDER;
use crate::figures::Sorted;
use nodes::{Layout, Nodes};
use reloads::Reloads;

const MEASURED: Duration = Duration::from_secs(30);
/// How much later than the playlist comes an edge asks: at once, or from so far away.
const AWAY: [Duration; 2] = [Duration::ZERO, Duration::from_millis(5)];
const WAIT: Duration = Duration::from_secs(10);
/// A part that is not whole by then is not fetched ahead.
const WARMED_WITHIN: Duration = Duration::from_secs(2);

pub(crate) async fn run(rig: &Rig) {
    if !rig.servers(&[]).contains(&Kind::Shield) {
        return;
    }
    let said = format!(
        "{} tracks, 1 s segments, 200 ms parts, {} s. From the first byte of the reload that was parked at the origin and \
         names a part to the shield's API saying that it is whole there; the API is asked without pause, which costs \
         time too. In one process origin and shield share a core. Event to whole: the shield's own mean.",
        LADDER.len(),
        MEASURED.as_secs()
    );
    let columns = ["parts", "p50 ms", "p99 ms", "max ms", "never", "event to whole ms"];
    let table = Table::new("Fetched ahead: from a part's publication to the shield", &said, &columns);
    for layout in [Layout::Apart, Layout::Together] {
        match Nodes::start(rig, layout).await {
            Ok(nodes) => table.row(layout.name(), &warmed(&nodes).await),
            Err(why) => table.absent(layout.name(), &why),
        }
    }
    let said = format!(
        "An edge for each track, with nothing of its own: it reloads playlists through the shield, parked, and asks for \
         each part once, when the whole playlist that names it has come, or {} ms later. Joined: the part was on its way \
         from the origin already. {} s, both in turns, part by part.",
        AWAY[1].as_millis(),
        MEASURED.as_secs()
    );
    let columns = ["parts", "hits", "joined", "missed", "first byte p50 ms", "p99 ms", "max ms"];
    let table = Table::new("Fetched ahead: cold edges", &said, &columns);
    for layout in [Layout::Apart, Layout::Together] {
        match Nodes::start(rig, layout).await {
            Ok(nodes) => {
                let asked = asked(&nodes).await;
                for (away, asked) in AWAY.iter().zip(&asked) {
                    table.row(&format!("{}, after {} ms", layout.name(), away.as_millis()), &asked.cells());
                }
            }
            Err(why) => table.absent(layout.name(), &why),
        }
    }
}

async fn warmed(nodes: &Nodes) -> Vec<String> {
    let before = (nodes.whole_after("sum").await, nodes.whole_after("count").await);
    let until = Instant::now() + MEASURED;
    let tasks: Vec<_> = LADDER
        .iter()
        .map(|(track, _)| tokio::task::spawn_local(watch(nodes.origin.port, nodes.shield_port, track, until)))
        .collect();
    let (mut times, mut never) = (Vec::new(), 0);
    for task in tasks {
        match task.await.expect("a watcher") {
            Ok(seen) => {
                never += seen.iter().filter(|time| time.is_none()).count();
                times.extend(seen.into_iter().flatten());
            }
            Err(e) => eprintln!("warm: {e}"),
        }
    }
    let after = (nodes.whole_after("sum").await, nodes.whole_after("count").await);
    let mean = match (before, after) {
        ((Ok(sum), Ok(count)), (Ok(sum_after), Ok(count_after))) => (sum_after - sum) / (count_after - count) * 1e3,
        _ => f64::NAN,
    };
    let times = Sorted::new(times);
    let mut cells = vec![format!("{}", times.len())];
    cells.extend(times.cells());
    cells.extend([format!("{never}"), format!("{mean:.2}")]);
    cells
}

/// Milliseconds from the publication of each part of a track to its last byte in the shield; `None` of what did not come.
async fn watch(
    origin_port: u16,
    shield_port: u16,
    track: &'static str,
    until: Instant,
) -> Result<Vec<Option<f64>>, Error> {
    let mut reloads = Reloads::open(origin_port, track).await?;
    let mut shield = Connection::open(shield_port).await?;
    let mut times = Vec::new();
    while Instant::now() < until {
        let (playlist, paths) = reloads.next().await?;
        // Of several the others were published before.
        let Some(path) = paths.last() else { continue };
        let object = format!("/.headwater/api/v1/object?url=http://{HOST}{path}");
        let time = loop {
            let held = tokio::time::timeout(WAIT, shield.find(&object)).await.map_err(|_| Error::Late)??;
            let time = playlist.first.elapsed();
            if held.is_some_and(|held| String::from_utf8_lossy(&held.body).contains("\"whole\":true")) {
                break Some(time.as_secs_f64() * 1e3);
            }
            if time > WARMED_WITHIN {
                break None;
            }
        };
        times.push(time);
    }
    Ok(times)
}

/// What edges were answered.
#[derive(Default)]
struct Asked {
    hits: usize,
    joined: usize,
    missed: usize,
    first_byte: Vec<f64>,
}

impl Asked {
    fn add(&mut self, asked: Instant, answer: &Answer) {
        let mut said = answer.cache_status.split(';').map(str::trim);
        if said.clone().any(|word| word == "hit") {
            self.hits += 1;
        } else if said.any(|word| word == "collapsed") {
            self.joined += 1;
        } else {
            self.missed += 1;
        }
        self.first_byte.push(answer.first.duration_since(asked).as_secs_f64() * 1e3);
    }

    fn cells(&self) -> Vec<String> {
        let parts = self.first_byte.len();
        let share = |count: usize| format!("{:.1} %", count as f64 * 100.0 / parts.max(1) as f64);
        let times = Sorted::new(self.first_byte.clone());
        let mut cells = vec![format!("{parts}"), share(self.hits), share(self.joined), share(self.missed)];
        cells.extend(times.cells());
        cells
    }
}

async fn asked(nodes: &Nodes) -> [Asked; 2] {
    let until = Instant::now() + MEASURED;
    let edges: Vec<_> =
        LADDER.iter().map(|(track, _)| tokio::task::spawn_local(edge(nodes.shield_port, track, until))).collect();
    let mut all = [Asked::default(), Asked::default()];
    for edge in edges {
        match edge.await.expect("an edge") {
            Ok(asked) => {
                for (all, asked) in all.iter_mut().zip(asked) {
                    all.hits += asked.hits;
                    all.joined += asked.joined;
                    all.missed += asked.missed;
                    all.first_byte.extend(asked.first_byte);
                }
            }
            Err(e) => eprintln!("warm: {e}"),
        }
    }
    all
}

/// Asks for each part of a track once, in turns at once and from afar.
async fn edge(port: u16, track: &'static str, until: Instant) -> Result<[Asked; 2], Error> {
    let mut reloads = Reloads::open(port, track).await?;
    let mut parts = Connection::open(port).await?;
    let mut asked = [Asked::default(), Asked::default()];
    let mut turns = (0..AWAY.len()).cycle();
    while Instant::now() < until {
        let (_, paths) = reloads.next().await?;
        for path in paths {
            let turn = turns.next().unwrap_or(0);
            if AWAY[turn] > Duration::ZERO {
                tokio::time::sleep(AWAY[turn]).await;
            }
            let began = Instant::now();
            let answer = parts.get_within(&path, Want::Body, WAIT).await?;
            asked[turn].add(began, &answer);
        }
    }
    Ok(asked)
}
