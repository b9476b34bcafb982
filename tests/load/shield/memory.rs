// SPDX-License-Identifier: Apache-2.0
//! Memory: at the start, with idle connections, with a gigabyte of objects, and with slow readers of a fast fill.

use std::time::Duration;

use super::Rig;
use super::client::{Connection, Want};
use super::origin::{Asked, Origin};
use super::server::{Kind, Server, Site};
use super::table::{Table, megabytes};

const IDLE: usize = 10_000;
const OBJECTS: usize = 10_000;
const OBJECT_BYTES: u64 = 100_000;
const FILLERS: usize = 8;
const SLOW: usize = 500;
const SLOW_BYTES_PER_SECOND: u64 = 64_000;
const LARGE_BYTES: u64 = 50_000_000;

pub(crate) async fn run(rig: &Rig) {
    let said = "MB are 2^20 bytes. Resident memory of all processes; `files` is what a server keeps in files that are \
                in memory here. Connections: what 10,000 idle ones add, each after an answer of 2 KB. Objects: all of it \
                with 10,000 of 100 KB (954 MB), and how many of them a second reading still finds. Slow: what 500 \
                readers at 64 kB/s add while an object of 50 MB (47.7 MB) comes within a second, at most.";
    let columns = ["start", "10,000 connections", "1 GB of objects", "files", "kept", "slow readers"];
    let table = Table::new("Memory", said, &columns);
    for kind in rig.servers(&[]) {
        match measured(rig, kind).await {
            Ok(cells) => table.row(kind.name(), &cells),
            Err(why) => table.absent(kind.name(), &why),
        }
    }
}

async fn measured(rig: &Rig, kind: Kind) -> Result<Vec<String>, String> {
    let origin = Origin::start().await;
    let site = Site::of(&rig.program, &[origin.port]);
    let large = Site { memory_bytes: 1_100 << 20, ..Site::of(&rig.program, &[origin.port]) };
    let server = Server::start(kind, &site).await?;
    let path = "/object/2000/first.m4s";
    let mut first = Connection::open(server.ports.http).await.map_err(|e| e.to_string())?;
    first.get(path, Want::of(path, 2_000)).await.map_err(|e| e.to_string())?;
    let start = server.resident_bytes();
    let idle = idle(&server, path).await.unwrap_or_else(|e| e);
    drop(server);
    let server = Server::start(kind, &large).await?;
    let objects = objects(&server, &origin).await.unwrap_or_else(|e| [e, String::new(), String::new()]);
    drop(server);
    let server = Server::start(kind, &site).await?;
    let slow = slow(&server).await.unwrap_or_else(|e| e);
    let [objects, files, kept] = objects;
    Ok(vec![megabytes(start), idle, objects, files, kept, slow])
}

async fn idle(server: &Server, path: &str) -> Result<String, String> {
    let before = server.resident_bytes();
    let mut open = Vec::with_capacity(IDLE);
    for _ in 0..IDLE {
        let mut connection = Connection::open(server.ports.http).await.map_err(|e| e.to_string())?;
        let wait = Duration::from_secs(10);
        connection.get_within(path, Want::of(path, 2_000), wait).await.map_err(|e| e.to_string())?;
        open.push(connection);
    }
    Ok(megabytes(server.resident_bytes().saturating_sub(before)))
}

async fn objects(server: &Server, origin: &Origin) -> Result<[String; 3], String> {
    read_all(server).await?;
    let (resident, files) = (server.resident_bytes(), server.file_bytes());
    let before = origin.counts().await;
    read_all(server).await?;
    let again = origin.since(before, Asked::Object).await;
    let kept = OBJECTS as u64 - again.min(OBJECTS as u64);
    Ok([megabytes(resident), megabytes(files), kept.to_string()])
}

/// Every object once, over a few connections.
async fn read_all(server: &Server) -> Result<(), String> {
    let fillers: Vec<_> = (0..FILLERS)
        .map(|filler| {
            let port = server.ports.http;
            tokio::task::spawn_local(async move {
                let mut connection = Connection::open(port).await.map_err(|e| e.to_string())?;
                for number in (filler..OBJECTS).step_by(FILLERS) {
                    let path = format!("/object/{OBJECT_BYTES}/{number}.m4s");
                    let wait = Duration::from_secs(10);
                    let answer = connection.get_within(&path, Want::of(&path, OBJECT_BYTES), wait).await;
                    answer.map_err(|e| e.to_string())?;
                }
                Ok::<(), String>(())
            })
        })
        .collect();
    for filler in fillers {
        filler.await.expect("a filler")?;
    }
    Ok(())
}

async fn slow(server: &Server) -> Result<String, String> {
    let readers = Connection::crowd(server.ports.http, SLOW).await.map_err(|e| e.to_string())?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before = server.resident_bytes();
    let path = format!("/drip/length/{LARGE_BYTES}/0/1000/slow.m4s");
    let reading: Vec<_> = readers
        .into_iter()
        .map(|reader| {
            let (mut reader, path) = (reader.slowly(SLOW_BYTES_PER_SECOND), path.clone());
            tokio::task::spawn_local(async move { reader.get(&path, Want::of(&path, LARGE_BYTES)).await.map(|_| ()) })
        })
        .collect();
    let mut most = before;
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        most = most.max(server.resident_bytes());
    }
    let ended = reading.iter().filter(|reader| reader.is_finished()).count();
    for reader in &reading {
        reader.abort();
    }
    if ended > 0 {
        // None of them can be done by then.
        return Err(format!("{ended} of {SLOW} readers failed"));
    }
    Ok(megabytes(most - before))
}
