// SPDX-License-Identifier: Apache-2.0
//! A real origin whose events a shield follows: how soon a part is whole in the shield, and what an edge is answered that
//! asks for it as soon as a playlist names it.

use std::time::{Duration, Instant};

use super::Rig;
use super::client::{Answer, Connection, Error, HOST, Want};
use super::cores::Core;
use super::server::{Kind, Server, Site};
use super::table::Table;
use crate::encoder::{Encoder, LADDER};
use crate::figures::Sorted;
use crate::origin::Origin;
use crate::process::free_port;

const SETTLING: Duration = Duration::from_secs(5);
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

#[derive(Clone, Copy)]
enum Layout {
    /// The shield follows the feed of an origin in another process.
    Apart,
    /// One process is both, as in `headwater demo`.
    Together,
}

impl Layout {
    fn name(self) -> &'static str {
        match self {
            Self::Apart => "two processes",
            Self::Together => "one process",
        }
    }
}

/// An origin that is pushed to, and its shield.
struct Nodes {
    origin: Origin,
    /// Where the shield is a process of its own.
    _shield: Option<Server>,
    shield_port: u16,
    encoder: tokio::task::JoinHandle<()>,
}

impl Nodes {
    async fn start(rig: &Rig, layout: Layout) -> Result<Self, String> {
        let (origin, shield, shield_port) = match layout {
            Layout::Apart => {
                let origin = Origin::start(&rig.program, 1, "").await;
                let site = Site { follows: true, ..Site::of(&rig.program, &[origin.port]) };
                let shield = Server::start(Kind::Shield, &site).await?;
                let port = shield.ports.http;
                (origin, Some(shield), port)
            }
            Layout::Together => {
                let port = free_port();
                let shield = format!("[shield]\nlisten = \"127.0.0.1:{port}\"\n[shield.follow]\nprefetch = \"all\"\n");
                (Origin::start_as(Core::Server.command(&rig.program), 1, &shield).await, None, port)
            }
        };
        let mut encoder = Encoder::start(&origin, "live", LADDER).await;
        encoder.run(SETTLING).await;
        let encoder = tokio::task::spawn_local(async move { encoder.run(MEASURED + WAIT).await });
        let nodes = Self { origin, _shield: shield, shield_port, encoder };
        // What hosts edges use the shield hears from edges.
        let mut edge = Connection::open(shield_port).await.map_err(|e| e.to_string())?;
        for (track, _) in LADDER {
            edge.get_within(&list(track), Want::Body, WAIT).await.map_err(|e| e.to_string())?;
        }
        Ok(nodes)
    }

    /// A sum or a count of the shield's histogram of what it fetched ahead.
    async fn whole_after(&self, what: &str) -> Result<f64, Error> {
        let mut asking = Connection::open(self.shield_port).await?;
        let text = asking.get_within("/.headwater/metrics", Want::Body, WAIT).await?.body;
        let name = format!("headwater_shield_prefetch_duration_seconds_{what} ");
        let text = String::from_utf8_lossy(&text);
        Ok(text.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or(f64::NAN))
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.encoder.abort();
    }
}

/// A part's segment and its index there.
type Part = (u64, u64);

fn list(track: &str) -> String {
    format!("/live/live/{track}/media.m3u8")
}

/// The parts that a playlist names after `known`, or its last.
fn named(playlist: &str, known: Option<Part>) -> Vec<Part> {
    let part = |line: &str| {
        let name = line.strip_prefix("#EXT-X-PART:")?.split_once("URI=\"")?.1.split('"').next()?;
        let (segment, part) = name.strip_suffix(".m4s")?.split_once('.')?;
        Some((segment.parse().ok()?, part.parse().ok()?))
    };
    let parts: Vec<Part> = playlist.lines().filter_map(part).collect();
    match known {
        Some(known) => parts.into_iter().filter(|part| *part > known).collect(),
        None => parts.last().copied().into_iter().collect(),
    }
}

/// Playlists of a track that come when they name a new part.
struct Reloads {
    connection: Connection,
    track: &'static str,
    known: Part,
}

impl Reloads {
    async fn open(port: u16, track: &'static str) -> Result<Self, Error> {
        let mut connection = Connection::open(port).await?;
        let first = connection.get_within(&list(track), Want::Body, WAIT).await?;
        let known = *named(&String::from_utf8_lossy(&first.body), None)
            .last()
            .ok_or(Error::Wrong { at_bytes: first.body_bytes })?;
        Ok(Self { connection, track, known })
    }

    /// The next playlist and the paths of what it names anew.
    async fn next(&mut self) -> Result<(Answer, Vec<String>), Error> {
        let (segment, part) = self.known;
        // One past the last of a segment is the first of the next (draft-pantos-hls-rfc8216bis, 6.2.5.2).
        let path = format!("{}?_HLS_msn={segment}&_HLS_part={}", list(self.track), part + 1);
        let playlist = self.connection.get_within(&path, Want::Body, WAIT).await?;
        let parts = named(&String::from_utf8_lossy(&playlist.body), Some(self.known));
        self.known = *parts.last().ok_or(Error::Wrong { at_bytes: playlist.body_bytes })?;
        let paths = parts.iter().map(|(segment, part)| format!("/live/live/{}/{segment}.{part}.m4s", self.track));
        Ok((playlist, paths.collect()))
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

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn only_parts_after_the_known_one_are_new() {
        let playlist = "#EXTM3U\n#EXT-X-PART:DURATION=0.20000,INDEPENDENT=YES,URI=\"7.0.m4s\"\n\
            #EXT-X-PART:DURATION=0.20000,URI=\"7.1.m4s\"\n#EXTINF:0.40000,\n7.m4s\n\
            #EXT-X-PART:DURATION=0.20000,URI=\"8.0.m4s\"\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"8.1.m4s\"\n";
        assert_eq!(named(playlist, Some((7, 0))), [(7, 1), (8, 0)]);
        assert_eq!(named(playlist, None), [(8, 0)]);
        assert_eq!(named(playlist, Some((8, 0))), []);
    }
}
