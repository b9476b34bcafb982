// SPDX-License-Identifier: Apache-2.0
//! As many requests for one object as a server takes, at little cost here: of most large bodies only the length is
//! looked at and the kernel drops the bytes; every 64th answer is read and compared.

mod h1;
mod h2;

use std::cell::Cell;
use std::ops::AddAssign;
use std::pin::Pin;
use std::time::{Duration, Instant};

use super::certificate::Certificate;
use super::client::Error;
use super::pattern::Pattern;
use super::server::Server;

/// One answer in so many is compared byte by byte.
const SAMPLE: u64 = 64;

/// How the object is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Transport {
    H1 { connections: usize },
    H2c { connections: usize, streams: usize },
    Tls { connections: usize },
}

/// An object of the origin's.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) path: String,
    pub(crate) size: u64,
}

impl Target {
    pub(crate) fn new(size: u64, name: &str) -> Self {
        Self { path: format!("/object/{size}/{name}"), size }
    }

    fn pattern(&self) -> Pattern {
        Pattern::of(&self.path)
    }
}

/// What a server did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Served {
    pub(crate) requests: u64,
    pub(crate) body_bytes: u64,
    pub(crate) cpu: f64,
    pub(crate) seconds: f64,
}

impl AddAssign for Served {
    fn add_assign(&mut self, more: Self) {
        self.requests += more.requests;
        self.body_bytes += more.body_bytes;
        self.cpu += more.cpu;
        self.seconds += more.seconds;
    }
}

impl Served {
    pub(crate) fn cpu_per_million(&self) -> f64 {
        self.cpu / self.requests as f64 * 1e6
    }

    pub(crate) fn cpu_per_gigabyte(&self) -> f64 {
        self.cpu / self.body_bytes as f64 * 1e9
    }
}

/// What all connections of a turn share: one thread does it all.
#[derive(Default)]
struct Turn {
    over: Cell<bool>,
    requests: Cell<u64>,
}

impl Turn {
    /// Counts an answer; true if it is one to compare.
    fn count(&self) -> bool {
        self.requests.set(self.requests.get() + 1);
        self.requests.get() % SAMPLE == 1
    }
}

type Client<'a> = Pin<Box<dyn Future<Output = Result<(), Error>> + 'a>>;

/// Asks for the object again and again for that long.
pub(crate) async fn hammer(
    server: &Server,
    transport: Transport,
    target: &Target,
    certificate: &Certificate,
    length: Duration,
) -> Result<Served, Error> {
    let turn = Turn::default();
    let ports = server.ports;
    let mut clients: Vec<Client<'_>> = Vec::new();
    match transport {
        Transport::H1 { connections } => {
            for _ in 0..connections {
                clients.push(Box::pin(h1::plain(ports.http, target, &turn)));
            }
        }
        Transport::Tls { connections } => {
            for _ in 0..connections {
                clients.push(Box::pin(h1::tls(ports.tls.unwrap_or(0), &certificate.connector, target, &turn)));
            }
        }
        Transport::H2c { connections, streams } => {
            for _ in 0..connections {
                clients.push(Box::pin(h2::client(ports.h2c.unwrap_or(0), streams, target, &turn)));
            }
        }
    }
    let clock = async {
        // Connections and their first answers are not what is measured.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let (cpu, requests, began) = (server.cpu(), turn.requests.get(), Instant::now());
        tokio::time::sleep(length).await;
        let requests = turn.requests.get() - requests;
        turn.over.set(true);
        let (cpu, seconds) = (server.cpu() - cpu, began.elapsed().as_secs_f64());
        Served { requests, body_bytes: requests * target.size, cpu, seconds }
    };
    let all = futures_util::future::try_join_all(clients);
    let both = async { tokio::join!(clock, all) };
    let (served, outcome) =
        tokio::time::timeout(length * 4 + Duration::from_secs(5), both).await.map_err(|_| Error::Late)?;
    outcome.map(|_| served)
}
