// SPDX-License-Identifier: Apache-2.0
//! Load on the shield beside nginx, HAProxy, Varnish, Traffic Server and Squid: `make bench-shield` prints the tables with
//! the machine named.
//!
//! All servers of a scenario do the same in the same minutes, with one worker or thread on a core of their own; this
//! process and the scripted origin share another. CPU is the kernel's accounting of a server's processes, so the
//! figures' ratios hold where their size depends on the hour. Every answer is checked: status, length, bytes (of the
//! thousands a second of [`hits`], one in 64).

mod blocked;
mod certificate;
mod client;
mod cores;
mod failover;
mod flash;
mod hammer;
mod hits;
mod live;
mod memory;
mod origin;
mod pattern;
mod server;
pub(crate) mod table;
mod warm;

use std::process::ExitCode;

use cores::Core;
use server::Kind;

/// What a run was told.
pub(crate) struct Rig {
    /// The shield's program.
    program: String,
    /// Servers that were named; none: all.
    only: Vec<Kind>,
}

impl Rig {
    /// The caches, and what else a scenario compares with, as far as they are wanted.
    fn servers(&self, more: &[Kind]) -> Vec<Kind> {
        let all = Kind::CACHES.iter().chain(more).copied();
        all.filter(|kind| self.only.is_empty() || self.only.contains(kind)).collect()
    }
}

const SCENARIOS: [&str; 7] = ["hits", "flash", "live", "blocked", "failover", "memory", "warm"];

/// `shield [PROGRAM] [SCENARIO or SERVER]…`; `shield origin PORT` and `shield bare PORT` are its own children.
pub(crate) fn run(arguments: impl Iterator<Item = String>) -> ExitCode {
    let arguments: Vec<String> = arguments.collect();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["origin", port] => runtime().block_on(origin::serve(port.parse().expect("a port"))),
        ["bare", port] => runtime().block_on(server::serve_bare(port.parse().expect("a port"))),
        named => {
            let (program, named) = match named.split_first() {
                Some((program, rest)) if program.contains('/') => ((*program).to_owned(), rest),
                _ => ("target/dist/headwater".to_owned(), named),
            };
            let stranger = named.iter().find(|n| !SCENARIOS.contains(n) && Kind::named(n).is_none());
            if let Some(stranger) = stranger {
                eprintln!("expected scenarios ({}) or servers, got {stranger}", SCENARIOS.join(", "));
                return ExitCode::FAILURE;
            }
            let only = named.iter().filter_map(|n| Kind::named(n)).collect();
            let scenarios: Vec<&str> = SCENARIOS.into_iter().filter(|s| named.contains(s)).collect();
            Core::Load.take();
            let local = tokio::task::LocalSet::new();
            let scenarios = if scenarios.is_empty() { SCENARIOS.to_vec() } else { scenarios };
            local.block_on(&runtime(), all(&Rig { program, only }, &scenarios));
        }
    }
    ExitCode::SUCCESS
}

async fn all(rig: &Rig, scenarios: &[&str]) {
    println!("machine: {}; program: {}", crate::process::machine(), rig.program);
    for scenario in scenarios {
        match *scenario {
            "hits" => hits::run(rig).await,
            "flash" => flash::run(rig).await,
            "live" => live::run(rig).await,
            "blocked" => blocked::run(rig).await,
            "failover" => failover::run(rig).await,
            "memory" => memory::run(rig).await,
            _ => warm::run(rig).await,
        }
    }
}
