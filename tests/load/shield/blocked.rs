// SPDX-License-Identifier: Apache-2.0
//! Blocking reloads of low-latency HLS: players that wait for each part, and a crowd that waits for one.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::Rig;
use super::client::{Connection, Error, Want};
use super::origin::live::Part;
use super::origin::{Asked, Origin, live, now_ms};
use super::server::{Kind, Server, Site};
use super::table::Table;
use crate::figures::Sorted;

const PLAYERS: usize = 500;
const PARTS: u64 = 50;
const CROWD: usize = 2_000;
const ROUNDS: usize = 5;
/// A crowd needs some time to ask.
const AHEAD: u64 = 8;
const WAIT: Duration = Duration::from_secs(15);

#[derive(Default)]
struct Seen {
    delays: RefCell<Vec<f64>>,
    failures: RefCell<Vec<String>>,
    over: Cell<bool>,
}

pub(crate) async fn run(rig: &Rig) {
    for lifetime in ["lasting", "no-cache"] {
        let (title, said) = match lifetime {
            "lasting" => ("answers may be kept (`max-age=6`)", "Delay: from the part's release to the whole answer."),
            _ => ("answers are `no-cache`", "As before, but the answer must not be used again without asking."),
        };
        let title = format!("Blocked reloads: {PLAYERS} players, 200 ms parts, {title}");
        let columns = ["origin requests per part", "delay p50 ms", "p99 ms", "max ms", "failed", "CPU ms per part"];
        let table = Table::new(&title, said, &columns);
        for kind in rig.servers(&[Kind::Direct]) {
            let origin = Origin::start().await;
            match Server::start(kind, &Site::of(&rig.program, &[origin.port])).await {
                Ok(server) => table.row(kind.name(), &players(&server, &origin, lifetime).await),
                Err(why) => table.absent(kind.name(), &why),
            }
        }
    }
    let title = format!("Parked: {CROWD} requests for one part");
    let said = format!("The last whole answer after the part's release, {ROUNDS} rounds.");
    let table =
        Table::new(&title, &said, &["origin requests per part", "last answer median ms", "max ms", "failed", "CPU ms"]);
    for kind in rig.servers(&[Kind::Direct]) {
        let origin = Origin::start().await;
        match Server::start(kind, &Site::of(&rig.program, &[origin.port])).await {
            Ok(server) => table.row(kind.name(), &parked(&server, &origin).await),
            Err(why) => table.absent(kind.name(), &why),
        }
    }
}

fn url(lifetime: &str, kind: Kind, part: Part) -> String {
    let name = kind.name();
    format!("/parts/{lifetime}/{name}/media.m3u8?_HLS_msn={}&_HLS_part={}", part.segment, part.index)
}

/// Asks for a part and checks that it is there; how long after its release.
async fn reload(connection: &mut Connection, url: &str, part: Part) -> Result<f64, Error> {
    let answer = connection.get_within(url, Want::Body, WAIT).await?;
    let came_ms = now_ms();
    let last = live::last_part(&String::from_utf8_lossy(&answer.body));
    if last.is_none_or(|last| last < part) {
        return Err(Error::Wrong { at_bytes: answer.body_bytes });
    }
    Ok(came_ms - part.released_ms())
}

async fn players(server: &Server, origin: &Origin, lifetime: &'static str) -> Vec<String> {
    let connections = Connection::crowd(server.ports.http, PLAYERS).await.expect("connections");
    let seen = Rc::new(Seen::default());
    let (before, cpu) = (origin.counts().await, server.cpu());
    let first = Part::newest(now_ms()).after(AHEAD);
    let tasks: Vec<_> = connections
        .into_iter()
        .map(|mut connection| {
            let (seen, kind, port) = (Rc::clone(&seen), server.kind, server.ports.http);
            tokio::task::spawn_local(async move {
                for n in 0..PARTS {
                    let part = first.after(n);
                    match reload(&mut connection, &url(lifetime, kind, part), part).await {
                        Ok(delay) => seen.delays.borrow_mut().push(delay),
                        Err(e) => {
                            seen.failures.borrow_mut().push(e.to_string());
                            let Ok(anew) = Connection::open(port).await else { return };
                            connection = anew;
                        }
                    }
                    if seen.over.get() {
                        return;
                    }
                }
            })
        })
        .collect();
    let length = Duration::from_millis((PARTS + AHEAD) * live::PART_MS);
    let outer = tokio::time::sleep(length + WAIT);
    let finished = async {
        for task in tasks {
            task.await.expect("a player");
        }
    };
    // Whoever is further behind than that is not waited for.
    tokio::select! { () = outer => seen.over.set(true), () = finished => {} }
    if let Some(why) = seen.failures.borrow().first() {
        eprintln!("{}: {why}", server.kind.name());
    }
    let asked = origin.since(before, Asked::Reload).await as f64 / PARTS as f64;
    let delays = Sorted::new(seen.delays.take());
    vec![
        format!("{asked:.1}"),
        format!("{:.1}", delays.at(0.5)),
        format!("{:.1}", delays.at(0.99)),
        format!("{:.1}", delays.at(1.0)),
        format!("{}", seen.failures.borrow().len()),
        format!("{:.1}", (server.cpu() - cpu) * 1e3 / PARTS as f64),
    ]
}

async fn parked(server: &Server, origin: &Origin) -> Vec<String> {
    let mut connections = Connection::crowd(server.ports.http, CROWD).await.expect("connections");
    let (before, cpu) = (origin.counts().await, server.cpu());
    let (mut last, mut failed) = (Vec::new(), 0);
    for _ in 0..ROUNDS {
        let part = Part::newest(now_ms()).after(AHEAD);
        let path = url("lasting", server.kind, part);
        let tasks: Vec<_> = connections
            .drain(..)
            .map(|mut connection| {
                let path = path.clone();
                tokio::task::spawn_local(async move {
                    let delay = reload(&mut connection, &path, part).await;
                    (connection, delay)
                })
            })
            .collect();
        let mut delays = Vec::new();
        for task in tasks {
            let (connection, delay) = task.await.expect("a client");
            match delay {
                Ok(delay) => {
                    delays.push(delay);
                    connections.push(connection);
                }
                Err(e) => {
                    if failed == 0 {
                        eprintln!("{}: {e}", server.kind.name());
                    }
                    failed += 1;
                    connections.extend(Connection::open(server.ports.http).await);
                }
            }
        }
        last.push(Sorted::new(delays).at(1.0));
    }
    let asked = origin.since(before, Asked::Reload).await as f64 / ROUNDS as f64;
    let last = Sorted::new(last);
    vec![
        format!("{asked:.1}"),
        format!("{:.1}", last.at(0.5)),
        format!("{:.1}", last.at(1.0)),
        format!("{failed}"),
        format!("{:.1}", (server.cpu() - cpu) * 1e3 / ROUNDS as f64),
    ]
}
