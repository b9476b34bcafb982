// SPDX-License-Identifier: Apache-2.0
//! RAM hits: what a request and a gigabyte cost each server, in turns.

use std::time::Duration;

use super::Rig;
use super::certificate::Certificate;
use super::client::{Connection, Want};
use super::hammer::{Served, Target, Transport, hammer};
use super::origin::{Asked, Origin};
use super::server::{Kind, Server, Site};
use super::table::Table;

const TURNS: usize = 3;
const TURN: Duration = Duration::from_secs(3);

struct Case {
    title: &'static str,
    size: u64,
    transport: Transport,
}

const CASES: [Case; 5] = [
    Case { title: "2 KB, HTTP/1.1, 8 connections", size: 2_000, transport: Transport::H1 { connections: 8 } },
    Case {
        title: "2 KB, h2c, 4 connections of 8 streams",
        size: 2_000,
        transport: Transport::H2c { connections: 4, streams: 8 },
    },
    Case { title: "100 KB, HTTP/1.1, 8 connections", size: 100_000, transport: Transport::H1 { connections: 8 } },
    Case { title: "2 MB, HTTP/1.1, 4 connections", size: 2_000_000, transport: Transport::H1 { connections: 4 } },
    Case { title: "100 KB, TLS 1.3, 8 connections", size: 100_000, transport: Transport::Tls { connections: 8 } },
];

pub(crate) async fn run(rig: &Rig) {
    let origin = Origin::start().await;
    let certificate = Certificate::make();
    let mut servers = Vec::new();
    for kind in rig.servers(&[Kind::Bare]) {
        let site = Site { certificate: Some(&certificate), ..Site::of(&rig.program, &[origin.port]) };
        servers.push((kind, Server::start(kind, &site).await));
    }
    for case in CASES {
        let said = format!("{TURNS} turns of {} s each, server by server.", TURN.as_secs());
        let columns = ["CPU-s per million", "CPU-s per GB", "requests/s", "of a core"];
        let table = Table::new(&format!("RAM hits: {}", case.title), &said, &columns);
        let target = Target::new(case.size, "hit.m4s");
        let mut served: Vec<Result<Served, String>> = Vec::new();
        for (_, server) in &servers {
            served.push(match server {
                Err(why) => Err(why.clone()),
                Ok(server) => ready(server, &origin, &case, &target).await.map(|()| Served::default()),
            });
        }
        for _ in 0..TURNS {
            for ((_, server), served) in servers.iter().zip(&mut served) {
                if let (Ok(server), Ok(sum)) = (server, &mut *served) {
                    match hammer(server, case.transport, &target, &certificate, TURN).await {
                        Ok(turn) => *sum += turn,
                        Err(e) => *served = Err(e.to_string()),
                    }
                }
            }
        }
        for ((kind, _), served) in servers.iter().zip(&served) {
            match served {
                Ok(served) => table.row(
                    kind.name(),
                    &[
                        format!("{:.2}", served.cpu_per_million()),
                        format!("{:.3}", served.cpu_per_gigabyte()),
                        format!("{:.0}", served.requests as f64 / served.seconds),
                        format!("{:.0} %", served.cpu / served.seconds * 100.0),
                    ],
                ),
                Err(why) => table.absent(kind.name(), why),
            }
        }
    }
}

/// Fills the cache and sees that the origin is not asked a second time.
async fn ready(server: &Server, origin: &Origin, case: &Case, target: &Target) -> Result<(), String> {
    match case.transport {
        Transport::Tls { .. } if server.ports.tls.is_none() => return Err("no TLS".to_owned()),
        Transport::H2c { .. } if server.ports.h2c.is_none() => return Err("no HTTP/2 without TLS".to_owned()),
        _ => {}
    }
    let ask = async || {
        let mut connection = Connection::open(server.ports.http).await.map_err(|e| e.to_string())?;
        let wait = Duration::from_secs(10);
        let answer = connection.get_within(&target.path, Want::of(&target.path, target.size), wait).await;
        answer.map(|_| ()).map_err(|e| e.to_string())
    };
    ask().await?;
    // A cache may write what it keeps after it has answered.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let before = origin.counts().await;
    ask().await?;
    ask().await?;
    if origin.since(before, Asked::Object).await > 0 {
        return Err("does not keep it".to_owned());
    }
    Ok(())
}
