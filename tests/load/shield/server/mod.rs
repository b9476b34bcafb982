// SPDX-License-Identifier: Apache-2.0
//! The servers under test: the shield and its peers, each with one worker or thread and configured as its manual advises.

mod bare;
mod haproxy;
mod nginx;
mod shield;
mod squid;
mod trafficserver;
mod varnish;

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::certificate::Certificate;
use super::client::Connection;
use crate::process::{Process, Scratch, free_port};

pub(crate) use bare::serve as serve_bare;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Shield,
    Nginx,
    Haproxy,
    Varnish,
    TrafficServer,
    Squid,
    /// A hyper server with the objects in memory: what HTTP alone costs.
    Bare,
    /// The origin itself, without anything before it.
    Direct,
}

impl Kind {
    pub(crate) const CACHES: [Self; 6] =
        [Self::Shield, Self::Nginx, Self::Haproxy, Self::Varnish, Self::TrafficServer, Self::Squid];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Shield => "headwater",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Varnish => "varnish",
            Self::TrafficServer => "trafficserver",
            Self::Squid => "squid",
            Self::Bare => "bare hyper",
            Self::Direct => "direct",
        }
    }

    /// Ends when a peer is added that nobody named.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::CACHES.into_iter().chain([Self::Bare, Self::Direct]).find(|kind| kind.name() == name)
    }
}

/// What a server is put before, and with what room.
pub(crate) struct Site<'a> {
    /// The shield's program.
    pub(crate) program: &'a str,
    /// The origins' ports, the preferred one first.
    pub(crate) origins: Vec<u16>,
    /// Room for objects in memory.
    pub(crate) memory_bytes: u64,
    /// How long an origin may take to answer.
    pub(crate) answer_within: Duration,
    /// TLS beside plain HTTP.
    pub(crate) certificate: Option<&'a Certificate>,
    /// The shield fetches all that the origins' events tell of.
    pub(crate) follows: bool,
}

impl<'a> Site<'a> {
    pub(crate) fn of(program: &'a str, origins: &[u16]) -> Self {
        Self {
            program,
            origins: origins.to_vec(),
            memory_bytes: 256 << 20,
            answer_within: Duration::from_secs(30),
            certificate: None,
            follows: false,
        }
    }
}

/// Where a server listens: one port may do for several.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) http: u16,
    /// HTTP/2 by prior knowledge; `None` where it is not spoken without TLS.
    pub(crate) h2c: Option<u16>,
    pub(crate) tls: Option<u16>,
}

impl Ports {
    fn free(tls: bool) -> Self {
        Self { http: free_port(), h2c: Some(free_port()), tls: tls.then(free_port) }
    }
}

/// A running server; it ends with its handle.
pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) ports: Ports,
    processes: Vec<Process>,
    scratch: Option<Scratch>,
}

/// What a kind needs to run: its command, on its core, and its folder.
struct Start {
    command: Command,
    ports: Ports,
    scratch: Scratch,
}

impl Server {
    /// Starts one and waits until it listens; else why it is not in the table.
    pub(crate) async fn start(kind: Kind, site: &Site<'_>) -> Result<Self, String> {
        let scratch = Scratch::in_memory(kind.name());
        let start = match kind {
            Kind::Shield => shield::start(site, scratch, false)?,
            Kind::Nginx => nginx::start(site, scratch)?,
            Kind::Haproxy => haproxy::start(site, scratch)?,
            Kind::Varnish => varnish::start(site, scratch)?,
            Kind::TrafficServer => trafficserver::start(site, scratch)?,
            Kind::Squid => squid::start(site, scratch)?,
            Kind::Bare => bare::start(scratch),
            Kind::Direct => {
                let ports = Ports { http: site.origins[0], h2c: None, tls: None };
                return Ok(Self { kind, ports, processes: Vec::new(), scratch: None });
            }
        };
        let mut server = Self::listening(kind, start).await?;
        if kind == Kind::Shield && site.certificate.is_some() {
            // It has one listener, so one with TLS is another process.
            let second = Self::listening(kind, shield::start(site, Scratch::in_memory("headwater-tls"), true)?).await?;
            server.ports.tls = second.ports.tls;
            server.processes.extend(second.processes);
        }
        Ok(server)
    }

    async fn listening(kind: Kind, start: Start) -> Result<Self, String> {
        let Start { mut command, ports, scratch } = start;
        let log = scratch.folder().join("stderr");
        command.stderr(std::fs::File::create(&log).map_err(|e| e.to_string())?);
        let mut process = Process::start(&mut command).map_err(|e| e.to_string())?;
        let deadline = Instant::now() + Duration::from_secs(20);
        let port = ports.tls.filter(|_| kind == Kind::Shield).unwrap_or(ports.http);
        while Connection::open(port).await.is_err() {
            if process.has_ended() || Instant::now() > deadline {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                let last: Vec<&str> = said.lines().rev().take(3).collect();
                return Err(format!("does not start: {}", last.join(" ")));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(Self { kind, ports, processes: vec![process], scratch: Some(scratch) })
    }

    /// CPU seconds of all its processes.
    pub(crate) fn cpu(&self) -> f64 {
        self.processes.iter().map(Process::cpu).sum()
    }

    /// What it keeps in files, which lie in memory here.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.scratch.as_ref().map_or(0, |scratch| folder_bytes(scratch.folder()))
    }

    /// Resident bytes of all its processes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.processes.iter().map(Process::resident_bytes_of_all).sum()
    }
}

/// Bytes on disk, or in memory that stands for one, below a folder.
fn folder_bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(data) if data.is_dir() => folder_bytes(&entry.path()),
        Ok(data) => data.blocks() * 512,
        Err(_) => 0,
    });
    sizes.sum()
}

/// The first of these programs that is installed.
fn installed(programs: &[&str]) -> Result<std::path::PathBuf, String> {
    let found = programs.iter().map(std::path::PathBuf::from).find(|path| path.exists());
    found.ok_or_else(|| "not installed".to_owned())
}
