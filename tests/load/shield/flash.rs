// SPDX-License-Identifier: Apache-2.0
//! A flash crowd: a thousand clients ask at once for an object that nobody has yet and that comes slowly.

use std::time::{Duration, Instant};

use super::Rig;
use super::client::{Answer, Connection, Error, Want};
use super::origin::{Asked, Origin};
use super::server::{Server, Site};
use super::table::Table;
use crate::figures::Sorted;

const CLIENTS: usize = 1_000;
const SIZE: u64 = 2_000_000;
const ROUNDS: usize = 3;

pub(crate) async fn run(rig: &Rig) {
    for framing in ["length", "chunked"] {
        let said = format!("{ROUNDS} rounds, a new object each; the best and the worst of what the rounds showed.");
        let columns =
            ["origin requests", "first byte p50 ms", "first byte p99 ms", "last byte p99 ms", "failed", "CPU-s per GB"];
        let title = format!(
            "Flash crowd: {CLIENTS} clients, one new object of 2 MB, {framing}; head at 200 ms, last byte at 1,200 ms"
        );
        let table = Table::new(&title, &said, &columns);
        let origin = Origin::start().await;
        for kind in rig.servers(&[]) {
            let server = match Server::start(kind, &Site::of(&rig.program, &[origin.port])).await {
                Ok(server) => server,
                Err(why) => {
                    table.absent(kind.name(), &why);
                    continue;
                }
            };
            let mut rounds = Vec::new();
            for round in 0..ROUNDS {
                let path = format!("/drip/{framing}/{SIZE}/200/1200/{}-{round}.m4s", kind.name());
                rounds.push(crowd(&server, &origin, &path).await);
            }
            let cell = |of: fn(&Round) -> f64| {
                let values = Sorted::new(rounds.iter().map(of).collect());
                let (least, most) = (values.at(0.0), values.at(1.0));
                if least == most { format!("{least}") } else { format!("{least} – {most}") }
            };
            let gigabytes = (SIZE * CLIENTS as u64 * ROUNDS as u64) as f64 / 1e9;
            table.row(
                kind.name(),
                &[
                    cell(|r| r.asked as f64),
                    cell(|r| r.first.0),
                    cell(|r| r.first.1),
                    cell(|r| r.last),
                    cell(|r| r.failed as f64),
                    format!("{:.3}", rounds.iter().map(|r| r.cpu).sum::<f64>() / gigabytes),
                ],
            );
            if let Some(why) = rounds.iter().find_map(|r| r.why.as_ref()) {
                eprintln!("{}: {why}", kind.name());
            }
        }
    }
}

struct Round {
    asked: u64,
    /// p50 and p99.
    first: (f64, f64),
    last: f64,
    failed: usize,
    why: Option<String>,
    cpu: f64,
}

async fn crowd(server: &Server, origin: &Origin, path: &str) -> Round {
    let clients = Connection::crowd(server.ports.http, CLIENTS).await.expect("connections");
    // Servers that accept in batches have to have them all.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (before, cpu) = (origin.counts().await, server.cpu());
    let mut tasks = Vec::new();
    for mut client in clients {
        let path = path.to_owned();
        tasks.push(tokio::task::spawn_local(async move {
            let asked = Instant::now();
            let wait = Duration::from_secs(20);
            (asked, client.get_within(&path, Want::of(&path, SIZE), wait).await)
        }));
    }
    let mut answers: Vec<(Instant, Result<Answer, Error>)> = Vec::new();
    for task in tasks {
        answers.push(task.await.expect("a client"));
    }
    let since = |at: Instant, asked: &Instant| at.duration_since(*asked).as_secs_f64() * 1e3;
    let whole: Vec<(Instant, &Answer)> = answers.iter().filter_map(|(at, a)| Some((*at, a.as_ref().ok()?))).collect();
    let first = Sorted::new(whole.iter().map(|(at, a)| since(a.first, at).round()).collect());
    let last = Sorted::new(whole.iter().map(|(at, a)| since(a.last, at).round()).collect());
    Round {
        asked: origin.since(before, Asked::Drip).await,
        first: (first.at(0.5), first.at(0.99)),
        last: last.at(0.99),
        failed: answers.len() - whole.len(),
        why: answers.iter().find_map(|(_, a)| a.as_ref().err().map(ToString::to_string)),
        cpu: server.cpu() - cpu,
    }
}
